"""Chains of transforms."""

from __future__ import annotations

import math

import numpy as np

from mm_nav.bags.transforms import TransformTree


def pose(x=0.0, y=0.0, yaw=0.0):
    c, s = math.cos(yaw), math.sin(yaw)
    matrix = np.eye(4)
    matrix[:2, :2] = [[c, -s], [s, c]]
    matrix[:2, 3] = x, y
    return matrix


def test_chain_is_composed_in_order():
    tree = TransformTree()
    tree.add("base_link", "mast", pose(1.0, 0.0, math.pi / 2))
    tree.add("mast", "laser", pose(0.5, 0.0))
    np.testing.assert_allclose(tree.lookup("base_link", "laser")[:3, 3], [1.0, 0.5, 0.0], atol=1e-12)


def test_siblings_meet_at_their_common_ancestor():
    tree = TransformTree()
    tree.add("footprint", "base_link", pose(0.0, 0.0, math.pi))
    tree.add("footprint", "laser", pose(2.0, 0.0))
    np.testing.assert_allclose(tree.lookup("base_link", "laser")[:3, 3], [-2.0, 0.0, 0.0], atol=1e-12)


def test_unconnected_frames_and_no_name_give_none():
    tree = TransformTree()
    tree.add("base_link", "laser", pose())
    assert tree.lookup("base_link", "camera") is None
    assert tree.lookup("base_link", "") is None


def test_slashes_of_old_names_do_not_matter():
    tree = TransformTree()
    tree.add("/base_link", "/laser", pose(1.0))
    assert tree.lookup("base_link", "laser")[0, 3] == 1.0


def test_loops_and_broken_transforms_end():
    tree = TransformTree()
    tree.add("a", "b", pose())
    tree.add("b", "a", pose())
    tree.add("c", "c", pose())
    tree.add("base_link", "nan", np.full((4, 4), np.nan))
    assert tree.lookup("base_link", "a") is None and tree.lookup("base_link", "nan") is None


def test_newest_counts():
    tree = TransformTree()
    tree.add("base_link", "laser", pose(1.0))
    tree.add("base_link", "laser", pose(2.0))
    assert tree.lookup("base_link", "laser")[0, 3] == 2.0
