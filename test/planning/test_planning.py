"""Paths go round walls; exploration finds what has not been looked at."""

import cv2
import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.planning.exploration import find_viewpoints
from mm_nav.planning.grid_planner import GridPlanner
from mm_nav.robot import RobotConfig


@pytest.fixture
def rooms() -> OccupancyGrid:
    """Two rooms, 6 x 4 m, with a doorway of 1 m at the top of the wall between them (x = 0)."""
    grid = OccupancyGrid(size_m=8.0)
    x, y = np.meshgrid((np.arange(160) + 0.5) * 0.05 - 4, (np.arange(160) + 0.5) * 0.05 - 4)
    inside = (np.abs(x) < 3) & (np.abs(y) < 2)
    wall = ((np.abs(x) < 0.06) & (y < 0.9)) & inside
    edge = ((np.abs(np.abs(x) - 3) < 0.06) & (np.abs(y) < 2.1)) | ((np.abs(np.abs(y) - 2) < 0.06) & (np.abs(x) < 3.1))
    grid.log_odds[inside] = -2.0
    grid.log_odds[wall | edge] = 3.0
    return grid


def test_the_path_goes_through_the_doorway(rooms: OccupancyGrid) -> None:
    planner = GridPlanner(RobotConfig())
    planner.update(rooms, Pose2D(-1.5, -1.0, 0.0))
    path = planner.path_to(1.5, -1.0)
    assert path is not None
    crossing = path[np.argmin(np.abs(path[:, 0]))]
    assert 1.1 < crossing[1] < 1.8, "it must cross in the doorway, clear of both sides"
    length = np.hypot(*np.diff(path, axis=0).T).sum()
    assert 5.0 < length < 6.6
    np.testing.assert_allclose(path[-1], (1.5, -1.0))


def test_a_sealed_place_has_no_path(rooms: OccupancyGrid) -> None:
    column = rooms.to_cells(np.array([0.0, 0.0]))[1]
    rooms.log_odds[:, column - 1 : column + 2] = 3.0
    planner = GridPlanner(RobotConfig())
    planner.update(rooms, Pose2D(-1.5, 0.0, 0.0))
    assert planner.path_to(1.5, 0.0) is None
    assert planner.approach(np.array([1.5, 0.0]), 0.6, rooms) is None


def test_approach_ends_near_the_target_in_sight_of_it(rooms: OccupancyGrid) -> None:
    planner = GridPlanner(RobotConfig())
    planner.update(rooms, Pose2D(-1.5, -1.0, 0.0))
    target = np.array([0.3, -1.0])
    path = planner.approach(target, 0.7, rooms)
    assert path is not None and np.hypot(*(path[-1] - target)) <= 0.7
    assert path[-1][0] > 0.1, "the near side of the wall is closer, but the target cannot be seen from there"


def test_unseen_space_is_what_is_explored(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 0.0)
    planner.update(rooms, pose)
    coverage.seen()[:, :78] = True
    views = find_viewpoints(rooms, coverage, planner, pose, [])
    assert views and all(view.point[0] > -0.3 for view in views)
    coverage.seen()[:] = True
    assert find_viewpoints(rooms, coverage, planner, pose, []) == []


def test_places_that_were_given_up_are_left_out(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 0.0)
    planner.update(rooms, pose)
    coverage.seen()[:, :78] = True
    first = find_viewpoints(rooms, coverage, planner, pose, [])[0]
    assert all(
        np.hypot(*(v.point - first.point)) >= 0.6
        for v in find_viewpoints(rooms, coverage, planner, pose, [first.point])
    )


def test_edges_of_the_unknown_are_left_alone_where_ways_may_not_cross_it() -> None:
    grid, pose, planner = OccupancyGrid(), Pose2D(), GridPlanner(RobotConfig())
    grid.log_odds[40:120, 40:120] = -2.0  # known free, with the unknown all round
    coverage = CameraCoverage(grid)
    coverage.seen()[:] = True
    planner.update(grid, pose)
    assert find_viewpoints(grid, coverage, planner, pose, [])
    planner.update(grid, pose, allow_unknown=False)
    assert find_viewpoints(grid, coverage, planner, pose, []) == []
    coverage.seen()[40:80] = False
    assert find_viewpoints(grid, coverage, planner, pose, []), "known floor that was not looked at is still wanted"


def test_near_a_hint_is_looked_first_and_beside_what_no_camera_saw(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 0.0)
    planner.update(rooms, pose)
    coverage.seen()[:] = True
    coverage.seen()[45:80, 24:38] = False  # on the robot's left ...
    coverage.seen()[50:75, 68:74] = False  # ... and a little less on its right
    plain = find_viewpoints(rooms, coverage, planner, pose, [])
    hinted = find_viewpoints(rooms, coverage, planner, pose, [], hints=[np.array([-0.5, -1.0])])
    assert plain[0].point[0] < -2.0 and hinted[0].point[0] > -1.0 and hinted[0].interest > 1.0
    coverage.seen()[:] = True
    assert not find_viewpoints(rooms, coverage, planner, pose, [])
    coverage.seen()[cv2.dilate(rooms.occupied().astype(np.uint8), np.ones((3, 3), np.uint8)) > 0] = False
    assert not find_viewpoints(rooms, coverage, planner, pose, [])
    assert find_viewpoints(rooms, coverage, planner, pose, [], hints=[np.array([2.5, -1.0])])


def test_a_place_that_turning_does_not_show_is_driven_to(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 0.0)
    planner.update(rooms, pose)
    coverage.seen()[:] = True
    coverage.seen()[80:95, 25:35] = False
    (view,) = find_viewpoints(rooms, coverage, planner, pose, [])
    assert view.look
    (view,) = find_viewpoints(rooms, coverage, planner, pose, [], [view.point, view.point])
    assert not view.look
