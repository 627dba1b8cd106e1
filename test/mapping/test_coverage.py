"""Only what was inside the field of view counts as looked at."""

import math

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import LaserScan


def test_field_of_view_and_growth() -> None:
    grid = OccupancyGrid(size_m=6.0)
    coverage = CameraCoverage(grid, max_range=2.0)
    scan = LaserScan(0, np.full(360, 5.0, np.float32), -math.pi, math.pi / 180, 0.1, 10.0)
    grid.update(scan, Pose2D())
    coverage.update(Pose2D(), scan, 1.5)

    def seen(x: float, y: float) -> float:
        row, column = grid.to_cells(np.array([x, y]))
        return float(coverage.quality()[row, column])

    assert seen(1.0, 0.0) > 0.99 and seen(0.9, 0.6) > 0.9 and seen(-1.0, 0.0) == seen(0.0, 1.0) == 0.0
    assert 0.5 < seen(2.0, 0.0) < 0.7 and 0.0 < seen(2.6, 0.0) < 0.5 and seen(3.5, 0.0) == 0.0
    grid.update(scan, Pose2D(12.0, 3.0, 0.0))
    assert coverage.quality().shape == grid.shape and seen(1.0, 0.0) > 0.99 and seen(12.0, 3.0) == 0.0
    coverage.reset()
    assert not coverage.quality().any()


def test_surfaces_count_as_seen_where_the_camera_looked() -> None:
    grid = OccupancyGrid(size_m=8.0)
    coverage = CameraCoverage(grid, max_range=3.0)
    scan = LaserScan(0, np.full(360, 2.0, np.float32), -math.pi, math.pi / 180, 0.1, 10.0)
    for _ in range(2):
        grid.update(scan, Pose2D())
        coverage.update(Pose2D(), scan, 1.5)
    ahead, aside = (tuple(grid.to_cells(np.array(place))) for place in ((2.0, 0.0), (0.0, 2.0)))
    assert grid.occupied()[ahead] and grid.occupied()[aside]
    assert coverage.quality()[ahead] > 0.8 and coverage.quality()[aside] == 0.0


def test_a_farther_look_takes_nothing_back() -> None:
    grid = OccupancyGrid(size_m=12.0)
    coverage = CameraCoverage(grid, max_range=3.0)
    scan = LaserScan(0, np.full(360, 8.0, np.float32), -math.pi, math.pi / 180, 0.1, 10.0)
    grid.update(scan, Pose2D())
    for x in (0.0, -2.0, -2.0, -2.0):
        coverage.update(Pose2D(x, 0.0, 0.0), scan, 1.5)
    row, column = grid.to_cells(np.array([1.0, 0.0]))
    assert coverage.quality()[row, column] > 0.99
