"""The transform to correct, whatever the tree looks like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.bags.decode import Pose
from mm_nav.calibration.frames import Frames, xyz_rpy
from mm_nav.sim.sdf import rotation_rpy, transform


def tree(*edges):
    frames = Frames()
    for parent, child, x in edges:
        frames.add(Pose(0, parent.encode(), child.encode(), (x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)))
    return frames


def test_the_topmost_transform_that_moves_only_the_camera_is_corrected():
    frames = tree(("base_link", "laser", 0.1), ("base_link", "camera_link", 0.2), ("camera_link", "optical", 0.01))
    assert frames.edge_between("laser", "optical") == ("base_link", "camera_link")
    assert frames.lookup("laser", "optical")[0, 3] == pytest.approx(0.11)
    assert frames.base_of("laser") == "base_link" and frames.base_of("laser", "nowhere") is None
    mast = tree(("base_link", "mast", 0.0), ("mast", "laser", 0.1), ("mast", "optical", 0.2))
    assert mast.edge_between("laser", "optical") == ("mast", "optical")


def test_a_lidar_on_the_camera_is_corrected_itself():
    frames = tree(("base_link", "camera", 0.2), ("camera", "laser", 0.1))
    assert frames.edge_between("laser", "camera") == ("camera", "laser")


def test_two_that_only_a_map_connects_are_not_connected():
    frames = tree(("odom", "base_link", 1.0), ("base_link", "laser", 0.1), ("odom", "optical", 0.2))
    assert frames.edge_between("laser", "optical") is None and frames.lookup("laser", "optical") is None
    assert tree(("a", "laser", 0.1)).lookup("laser", "optical") is None


@given(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))
def test_angles_make_the_rotation_they_are_of(roll, pitch, yaw):
    pose = transform(rotation_rpy(roll, pitch, yaw), (1.0, 2.0, 3.0))
    x, y, z, *angles = xyz_rpy(pose)
    assert (x, y, z) == (1.0, 2.0, 3.0)
    assert np.allclose(rotation_rpy(*angles), pose[:3, :3], atol=1e-9) and abs(angles[1]) <= math.pi / 2
