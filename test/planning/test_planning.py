"""Paths go round walls; exploration finds what has not been looked at."""

import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.planning.exploration import Viewpoint, find_viewpoints, stay_with
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


def test_what_a_path_costs(rooms: OccupancyGrid) -> None:
    planner = GridPlanner(RobotConfig())
    planner.update(rooms, Pose2D(-1.5, -1.0, 0.0))
    path = planner.path_to(1.5, -1.0)
    assert path is not None
    row, column = planner.cell(1.5, -1.0)
    assert planner.cost_of(path) == pytest.approx(planner.costs[row, column], rel=0.15)
    assert planner.cost_of(path[::10]) == pytest.approx(planner.cost_of(path), rel=0.2)
    assert planner.cost_of(np.array([(-1.5, -1.0), (1.5, -1.0)])) == np.inf, "straight through the wall"
    open_space = np.array([(-2.0, 0.0), (-1.0, 0.0)])
    assert 1.0 <= planner.cost_of(open_space) < 1.5


FOV = 1.5


def test_unseen_space_is_what_is_explored(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 0.0)
    planner.update(rooms, pose)
    coverage.quality()[:, :78] = 1.0
    drives = [view for view in find_viewpoints(coverage, planner, pose, FOV, []) if not view.look]
    assert drives and drives[0].point[0] > -0.8 and drives[0].point[1] > 0.5, "the doorway shows the other room"
    coverage.quality()[:] = 1.0
    assert find_viewpoints(coverage, planner, pose, FOV, []) == []


def test_what_turning_shows_is_looked_at_before_driving(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 0.0)
    planner.update(rooms, pose)
    coverage.quality()[:] = 1.0
    coverage.quality()[60:100, 18:26] = 0.0  # the wall behind the robot
    first = find_viewpoints(coverage, planner, pose, FOV, [])[0]
    assert first.look and first.heading is not None and abs(abs(first.heading) - np.pi) < 0.6
    assert not first.is_done(pose) and first.is_done(Pose2D(pose.x, pose.y, first.heading))
    views = find_viewpoints(coverage, planner, pose, FOV, [], [first])
    assert all(v.gain < 0.5 * first.gain for v in views), "what a look did not show, it will not"


def test_places_that_were_given_up_are_left_out(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 0.0)
    planner.update(rooms, pose)
    coverage.quality()[:, :78] = 1.0
    drives = [view for view in find_viewpoints(coverage, planner, pose, FOV, []) if not view.look]
    given_up = drives[0].point
    left = [view for view in find_viewpoints(coverage, planner, pose, FOV, [given_up]) if not view.look]
    assert 0 < len(left) < len(drives) and all(np.hypot(*(v.point - given_up)) >= 0.6 for v in left)


def test_edges_of_the_unknown_are_left_alone_where_ways_may_not_cross_it() -> None:
    grid, pose, planner = OccupancyGrid(), Pose2D(), GridPlanner(RobotConfig())
    grid.log_odds[40:120, 40:120] = -2.0  # known free, with the unknown all round
    coverage = CameraCoverage(grid)
    coverage.quality()[40:120, 40:120] = 1.0
    planner.update(grid, pose)
    assert find_viewpoints(coverage, planner, pose, FOV, [])
    assert find_viewpoints(coverage, planner, pose, FOV, [], camera=False), "the LiDAR can explore it alone"
    planner.update(grid, pose, allow_unknown=False)
    assert find_viewpoints(coverage, planner, pose, FOV, []) == []
    assert find_viewpoints(coverage, planner, pose, FOV, [], camera=False) == []
    coverage.quality()[:] = 0.0
    assert find_viewpoints(coverage, planner, pose, FOV, []), "low things may lie on floor that was not looked at"


def test_near_a_hint_is_looked_first(rooms: OccupancyGrid) -> None:
    coverage, planner, pose = CameraCoverage(rooms), GridPlanner(RobotConfig()), Pose2D(-1.5, 0.0, 1.57)
    planner.update(rooms, pose)
    coverage.quality()[:] = 1.0
    coverage.quality()[60:90, 17:24] = 0.0  # the wall on the left of the room ...
    coverage.quality()[65:85, 76:82] = 0.0  # ... and less of the one on its right
    plain = find_viewpoints(coverage, planner, pose, FOV, [])[0]
    hinted = find_viewpoints(coverage, planner, pose, FOV, [], hints=[np.array([0.0, -0.3])])[0]
    assert plain.heading is not None and abs(plain.heading) > 2.0
    assert hinted.heading is not None and abs((hinted.heading + 1.0) % (2 * np.pi) - 1.0) < 1.0


def test_the_present_viewpoint_is_kept_unless_another_is_clearly_better() -> None:
    here = np.zeros(2)
    old, near, better = (
        Viewpoint(np.array([x, 0.0]), None, 1.0, gain) for x, gain in ((2.0, 2.0), (4.0, 2.6), (5.0, 9.0))
    )
    assert stay_with(old, [near, old]) is old and stay_with(old, [better, old]) is better
    assert stay_with(old, []) is None and stay_with(None, [near]) is near
    assert stay_with(Viewpoint(here, 0.5, 0.1, 2.0), [near, Viewpoint(here, 0.6, 0.1, 2.0)]).look  # type: ignore[union-attr]
