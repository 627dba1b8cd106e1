"""The judge of an episode: nearness, walls, and the shortest way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm_nav.errors import WorldError
from mm_nav.geometry import Pose2D
from mm_nav.sim.task_world import TaskWorld
from mm_nav.sim.world import parse_world


def box(name, x, y, sx, sy, sz=1.0):
    shape = f"<geometry><box><size>{sx} {sy} {sz}</size></box></geometry>"
    return (
        f"<model name='{name}'><static>true</static><pose>{x} {y} {sz / 2} 0 0 0</pose><link name='l'>"
        f"<collision name='c'>{shape}</collision><visual name='v'>{shape}</visual></link></model>"
    )


def task_world(*models):
    # A room of 8 x 6 m with the given models.
    walls = (
        box("wall_1", 4, 0, 8.2, 0.2),
        box("wall_2", 4, 6, 8.2, 0.2),
        box("wall_3", 0, 3, 0.2, 6),
        box("wall_4", 8, 3, 0.2, 6),
    )
    return TaskWorld(parse_world(f"<sdf version='1.9'><world name='w'>{''.join((*walls, *models))}</world></sdf>"))


@pytest.fixture(scope="module")
def halves():
    # A wall at x = 4 with a gap at the top; a red box just behind it, a blue one at the far end.
    return task_world(
        box("wall_5", 4, 2.2, 0.2, 4.4), box("red_box_1", 4.6, 1.0, 0.5, 0.5), box("blue_box_1", 7.2, 1.0, 0.5, 0.5)
    )


def test_distance_is_to_the_surface_of_the_nearest(halves):
    assert halves.surface_distance(("red_box_1",), 5.85, 1.0) == pytest.approx(1.0, abs=1e-6)
    assert halves.surface_distance(("red_box_1", "blue_box_1"), 6.65, 1.0) == pytest.approx(0.3, abs=1e-6)
    assert halves.surface_distance(("red_box_1",), 4.6, 1.0) == 0.0


def test_near_means_within_reach_and_not_through_a_wall(halves):
    assert halves.is_near(("red_box_1",), 5.8, 1.0, 1.0)
    assert not halves.is_near(("red_box_1",), 5.9, 1.0, 1.0)
    # 0.85 m away as the crow flies, on the other side of the wall.
    assert halves.surface_distance(("red_box_1",), 3.5, 1.0) < 1.0
    assert not halves.is_near(("red_box_1",), 3.5, 1.0, 1.0)


def test_region_agrees_with_is_near(halves):
    region = halves.region(("red_box_1",), 1.0)
    assert region.sum() > 50 and not (region & ~halves.truth.traversable).any()
    cells = np.argwhere(halves.truth.traversable)[::37]
    for cell, (x, y) in zip(cells, halves.truth.cell_to_world(cells), strict=True):
        if abs(halves.surface_distance(("red_box_1",), x, y) - 1.0) > 0.01:
            assert region[tuple(cell)] == halves.is_near(("red_box_1",), x, y, 1.0)


def test_shortest_path_in_the_open_is_straight(halves):
    start = Pose2D(7.2, 4.8, 0.0)
    length = halves.shortest_path(start, [("blue_box_1",)], (1.0,))
    assert length == pytest.approx(4.8 - 1.25 - 1.0, rel=0.05)


def test_shortest_path_goes_round_the_wall(halves):
    start = Pose2D(3.0, 1.0, 0.0)
    length = halves.shortest_path(start, [("red_box_1",)], (1.0,))
    corner = math.hypot(4 - 3.0, 4.7 - 1.0)
    assert length > corner + 1.5


def test_shortest_path_through_steps_in_order(halves):
    start = Pose2D(5.9, 3.0, 0.0)
    red, blue = ("red_box_1",), ("blue_box_1",)
    only_blue = halves.shortest_path(start, [blue], (1.0,))
    via_red = halves.shortest_path(start, [red, blue], (0.6, 0.6))
    to_red = halves.shortest_path(start, [red], (0.6,))
    assert to_red + 0.3 < via_red
    assert only_blue <= via_red
    # Ending where it began costs the way there, and the way back is free where the regions overlap.
    assert halves.shortest_path(start, [blue, blue], (1.0, 1.0)) == pytest.approx(only_blue, abs=0.2)


def test_start_inside_the_region_is_no_way_at_all(halves):
    assert halves.shortest_path(Pose2D(5.5, 1.0), [("red_box_1",)], (1.0,)) == pytest.approx(0.0, abs=0.06)


def test_walled_in_target_cannot_be_reached():
    task = task_world(
        box("wall_5", 6, 1.5, 0.2, 3.0), box("wall_6", 7, 3, 2.2, 0.2), box("green_box_1", 7.0, 1.5, 0.4, 0.4)
    )
    assert task.shortest_path(Pose2D(2, 3), [("green_box_1",)], (1.0,)) == math.inf
    assert task.shortest_path(Pose2D(-50, 3), [("green_box_1",)], (1.0,)) == math.inf


def test_the_object_that_the_robot_faces(halves):
    assert halves.faced_object(Pose2D(5.9, 1.0, math.pi)) == "red_box_1"
    assert halves.faced_object(Pose2D(5.9, 1.0, 0.0)) == "blue_box_1"
    assert task_world().faced_object(Pose2D(1.0, 1.0)) == ""


def test_unknown_object_is_named(halves):
    with pytest.raises(WorldError, match="pink_elephant_1"):
        halves.surface_distance(("pink_elephant_1",), 0, 0)
