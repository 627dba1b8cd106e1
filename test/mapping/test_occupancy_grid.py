"""The grid holds what scans show."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import LaserScan
from mm_nav.sensing.movers import Movers


def box_scan(half: float = 2.0, beams: int = 360) -> LaserScan:
    """What a LiDAR sees in the middle of a square room."""
    angles = -math.pi + 2 * math.pi / beams * np.arange(beams)
    ranges = half / np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))
    return LaserScan(0, ranges.astype(np.float32), -math.pi, 2 * math.pi / beams, 0.1, 10.0)


def test_walls_are_occupied_inside_is_free_outside_is_unknown() -> None:
    grid = OccupancyGrid()
    for _ in range(3):
        grid.update(box_scan(), Pose2D(1.0, -0.5, 0.7))
    pose = Pose2D(1.0, -0.5, 0.7)
    inside = grid.to_cells(pose.transform(np.array([[0.0, 0.0], [1.5, 1.5], [-1.0, 0.3]])))
    wall = grid.to_cells(pose.transform(np.array([[2.0, 0.0], [0.0, -2.0]])))
    outside = grid.to_cells(pose.transform(np.array([[2.6, 0.0], [0.0, -2.8]])))
    assert grid.free()[inside[:, 0], inside[:, 1]].all()
    for row, column in wall:
        assert grid.occupied()[row - 1 : row + 2, column - 1 : column + 2].any()
    assert (
        not grid.free()[outside[:, 0], outside[:, 1]].any() and not grid.occupied()[outside[:, 0], outside[:, 1]].any()
    )


def test_walls_survive_many_looks() -> None:
    grid = OccupancyGrid()
    for k in range(40):
        grid.update(box_scan(), Pose2D(0.3 * math.sin(k / 5), 0.0, 0.1 * k) if k == 0 else Pose2D(0.0, 0.0, 0.1 * k))
    count = grid.occupied().sum()
    assert count > 200


def test_nan_beams_say_nothing_and_inf_beams_say_free() -> None:
    grid = OccupancyGrid(max_range=3.0)
    scan = LaserScan(0, np.full(360, np.nan, np.float32), -math.pi, math.pi / 180, 0.1, 10.0)
    grid.update(scan, Pose2D())
    assert not grid.log_odds.any()
    grid.update(LaserScan(0, np.full(360, np.inf, np.float32), -math.pi, math.pi / 180, 0.1, 10.0), Pose2D())
    assert grid.free().sum() * grid.resolution**2 > 0.9 * math.pi * 9 and not grid.occupied().any()


def test_it_grows_and_keeps_what_it_knows() -> None:
    grid = OccupancyGrid(size_m=4.0)
    grid.update(box_scan(), Pose2D())
    before = grid.occupied().sum()
    grid.update(box_scan(), Pose2D(15.0, -9.0, 0.0))
    far, near = grid.to_cells(np.array([[15.0, -9.0], [0.0, 0.0]]))
    assert grid.inside(np.stack([far, near])).all()
    assert grid.occupied().sum() >= 1.8 * before and grid.free()[near[0], near[1]]


def test_line_of_sight_stops_at_walls() -> None:
    grid = OccupancyGrid()
    for _ in range(3):
        grid.update(box_scan(), Pose2D())
    assert grid.line_of_sight(np.zeros(2), np.array([1.5, 0.5]))
    assert not grid.line_of_sight(np.zeros(2), np.array([3.0, 0.0]))
    assert grid.line_of_sight(np.zeros(2), np.array([2.0, 0.0]), skip=0.3)


def test_export_has_the_values_of_nav_msgs() -> None:
    grid = OccupancyGrid()
    grid.update(box_scan(), Pose2D())
    exported = grid.export()
    assert set(np.unique(exported.data)) == {-1, 0, 100} and exported.data.dtype == np.int8


def test_how_far_away_a_surface_was_measured() -> None:
    grid = OccupancyGrid()
    for _ in range(3):
        grid.update(box_scan(), Pose2D())
    here = np.zeros(2)
    assert grid.surface_distance(here, np.array([2.15, 0.0]), 0.25) == pytest.approx(2.0, abs=0.06)
    assert grid.surface_distance(np.array([0.5, 0.0]), np.array([2.15, 0.0]), 0.25) == pytest.approx(1.5, abs=0.06)
    assert grid.surface_distance(here, np.array([1.0, 0.0]), 0.25) is None
    assert grid.surface_distance(here, np.array([40.0, -40.0]), 0.25) is None


def test_who_moves_about_leaves_no_trace_but_the_floor_before_them_is_free() -> None:
    grid, scan = OccupancyGrid(), box_scan()
    ahead = np.abs(scan.angles()) < 0.1
    scan = replace(scan, ranges=np.where(ahead, np.float32(1.2), scan.ranges))
    somebody = Movers(np.array([[1.25, 0.0]]), np.zeros((1, 2)), np.array([0.3]))
    for _ in range(5):
        grid.update(scan, Pose2D(), somebody)
    place, before = (tuple(grid.to_cells(np.array(point))) for point in ((1.2, 0.0), (0.8, 0.0)))
    assert not grid.occupied()[place] and grid.free()[before] and grid.occupied().sum() > 200
    grid.update(scan, Pose2D())
    assert grid.occupied()[place]
