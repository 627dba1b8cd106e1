"""Contacts: exact to the millimetre, by height, for every kind of shape."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.robot import RobotConfig
from mm_nav.sim.contacts import ContactWorld, clip_to_slab, contact_world
from mm_nav.sim.scene import Scene
from mm_nav.sim.world import parse_world

SQUARE = np.array([[0.2, 0.2], [-0.2, 0.2], [-0.2, -0.2], [0.2, -0.2]])
POLYLINE = (
    "<polyline><point>0 -1</point><point>1 -1</point><point>1 1</point><point>0 1</point><height>1</height></polyline>"
)
GROUND = "<include><uri>model://ground_plane</uri></include>"


def contacts(*shapes: tuple[str, str], bottom: float = 0.03, top: float = 0.35) -> ContactWorld:
    models = "".join(
        f"<model name='m{i}'><pose>{pose}</pose><link name='l'><collision name='c'><geometry>{geometry}</geometry>"
        f"</collision>"
        "</link></model>"
        for i, (geometry, pose) in enumerate(shapes)
    )
    return ContactWorld(
        Scene(parse_world(f"<sdf version='1.8'><world name='w'>{GROUND}{models}</world></sdf>")), bottom, top
    )


@pytest.mark.parametrize(
    ("geometry", "pose", "gap_at"),
    [
        ("<box><size>1 1 1</size></box>", "1 0 0.5 0 0 0", 0.3),  # face to face
        ("<box><size>1 1 1</size></box>", f"1 0 0.5 0 0 {math.pi / 4}", 0.8 - math.sqrt(0.5)),  # corner to face
        ("<cylinder><radius>0.25</radius><length>1</length></cylinder>", "1 0 0.5 0 0 0", 0.55),
        ("<sphere><radius>0.3</radius></sphere>", "1 0 0.2 0 0 0", 0.5),
        ("<capsule><radius>0.25</radius><length>1</length></capsule>", "1 0 0.5 0 0 0", 0.55),
        (POLYLINE, "1 0 0 0 0 0", 0.8),
        ("<plane><normal>-1 0 0</normal><size>1 1</size></plane>", "1 0 0 0 0 0", 0.8),
    ],
)  # fmt: skip
def test_touch_begins_within_a_millimetre_of_the_surface(geometry: str, pose: str, gap_at: float) -> None:
    world = contacts((geometry, pose))
    assert world.touching(SQUARE, Pose2D(gap_at - 0.001, 0.0, 0.0)) is None
    assert world.touching(SQUARE, Pose2D(gap_at + 0.001, 0.0, 0.0)) == "m0"


def test_touch_depends_on_the_heading() -> None:
    world = contacts(("<box><size>1 1 1</size></box>", "1 0 0.5 0 0 0"))
    assert world.touching(SQUARE, Pose2D(0.25, 0.0, 0.0)) is None
    assert world.touching(SQUARE, Pose2D(0.25, 0.0, math.pi / 4)) == "m0"


def test_thin_things_inside_the_footprint_are_felt() -> None:
    world = contacts(("<cylinder><radius>0.005</radius><length>1</length></cylinder>", "0 0 0.5 0 0 0"))
    assert world.touching(SQUARE, Pose2D()) == "m0"


def test_robot_inside_a_big_solid_is_in_contact() -> None:
    world = contacts(("<box><size>8 8 1</size></box>", "0 0 0.5 0 0 0"))
    assert world.touching(SQUARE, Pose2D(1.0, 1.0, 0.3)) == "m0"


@pytest.mark.parametrize(("height", "hit"), [(0.34, True), (0.36, False)])
def test_a_table_can_be_driven_under_when_it_is_high_enough(height: float, hit: bool) -> None:
    top = ("<box><size>1 1 0.04</size></box>", f"0 0 {height + 0.02} 0 0 0")
    assert (contacts(top).touching(SQUARE, Pose2D()) is not None) == hit


def test_a_low_sill_is_driven_over() -> None:
    assert contacts(("<box><size>1 1 0.02</size></box>", "0 0 0.01 0 0 0")).touching(SQUARE, Pose2D()) is None
    assert contacts(("<box><size>1 1 0.05</size></box>", "0 0 0.025 0 0 0")).touching(SQUARE, Pose2D()) == "m0"


def test_a_cone_is_as_wide_as_at_the_robots_lowest_point() -> None:
    # Radius 0.5 at the floor, 0 at 1 m: 0.485 at 0.03 m.
    world = contacts(("<cone><radius>0.5</radius><length>1</length></cone>", "1 0 0.5 0 0 0"))
    assert world.touching(SQUARE, Pose2D(0.8 - 0.485 - 0.001, 0.0, 0.0)) is None
    assert world.touching(SQUARE, Pose2D(0.8 - 0.485 + 0.001, 0.0, 0.0)) == "m0"


@pytest.mark.parametrize("height", [0.2, 2.0])
def test_a_polyline_with_a_notch_and_a_hole_is_filled_where_it_is_solid(height: float) -> None:
    corners = "".join(f"<point>{x} {y}</point>" for x, y in [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)])
    outer = f"<polyline>{corners}<height>{height}</height></polyline>"
    hole = "<polyline><point>1 0.2</point><point>3 0.2</point><point>3 0.8</point><point>1 0.8</point></polyline>"
    world = contacts((outer + hole, "0 0 0 0 0 0"))
    tiny = SQUARE * 0.1
    for x, y, solid in ((0.5, 0.5, 1), (3.5, 3.0, 1), (2.0, 2.0, 0), (2.0, 0.5, 0), (2.0, 0.1, 1), (-0.5, 1, 0)):
        assert (world.touching(tiny, Pose2D(x, y, 0.0)) is not None) == bool(solid), (x, y)


def test_clipping_keeps_what_is_between_the_heights() -> None:
    triangle = np.array([[[0, 0, -1], [2, 0, -1], [0, 0, 1.0]]])  # in the xz plane
    (piece,) = clip_to_slab(triangle, -0.5, 0.5)
    assert piece[:, 0].min() == 0.0 and piece[:, 0].max() == pytest.approx(1.5)
    assert clip_to_slab(triangle, 1.5, 2.0) == []
    assert clip_to_slab(np.empty((0, 3, 3)), 0, 1) == []


def test_agrees_with_many_points_of_the_footprint() -> None:
    """A slow reference: the overlap of two convex shapes holds a point of one in the other, or crossing edges."""
    random = np.random.default_rng(4)
    shapes = [
        ("<box><size>0.5 0.3 1</size></box>", f"{x:.3f} {y:.3f} 0.5 0 0 {a:.3f}")
        for x, y, a in random.uniform(-3, 3, (30, 3))
    ]
    world = contacts(*shapes)
    grid = np.stack(np.meshgrid(np.linspace(-0.2, 0.2, 41), np.linspace(-0.2, 0.2, 41)), axis=-1).reshape(-1, 2)
    disagree, hits = 0, 0
    for x, y, yaw in random.uniform(-3, 3, (300, 3)):
        pose = Pose2D(x, y, yaw)
        points = pose.transform(grid)
        inside = False
        for _, text in shapes:
            bx, by, _, _, _, angle = (float(v) for v in text.split())
            local = Pose2D(bx, by, angle).inverse().transform(points)
            inside |= bool(np.any((np.abs(local[:, 0]) < 0.25) & (np.abs(local[:, 1]) < 0.15)))
        touched = world.touching(SQUARE, pose) is not None
        assert touched or not inside
        disagree += touched != inside
        hits += touched
    assert 50 < hits < 290 and disagree <= 3  # the grid misses overlaps below a centimetre


def test_floor_slab_is_driven_on() -> None:
    slab = (
        "<model name='floor'><link name='l'><collision name='c'><pose>0 0 -0.01 0 0 0</pose><geometry><box><size>10"
        " 10 0.1</size>"
        "</box></geometry></collision></link></model><model name='m'><pose>2 0 0.3 0 0 0</pose><link name='l'>"
        "<collision name='c'><geometry><box><size>1 1 1</size></box></geometry></collision></link></model>"
    )
    scene = Scene(parse_world(f"<sdf version='1.8'><world name='w'>{slab}</world></sdf>"))
    assert scene.floor_z == pytest.approx(0.04)
    world = contact_world(scene, RobotConfig())
    assert world.touching(SQUARE, Pose2D()) is None
    assert world.touching(SQUARE, Pose2D(1.5, 0, 0)) == "m"
    assert contact_world(scene, RobotConfig()) is world
