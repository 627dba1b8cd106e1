"""The scan that the map expects."""

import math

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.mapping.expected_scan import expected_scan
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import LaserScan


def room(gap: bool = False) -> LaserScan:
    """The scan from the middle of a square room of 4 m; with a gap, beams to the left know nothing."""
    angles = -math.pi + 2 * math.pi / 720 * np.arange(720)
    ranges = 2.0 / np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))
    if gap:
        ranges[np.abs(angles - math.pi / 2) < 0.5] = np.nan
    return LaserScan(0, ranges.astype(np.float32), -math.pi, 2 * math.pi / 720, 0.05, 10.0)


def mapped(scan: LaserScan) -> OccupancyGrid:
    grid = OccupancyGrid()
    for _ in range(5):
        grid.update(scan, Pose2D())
    return grid


def test_it_is_what_was_seen_from_where_it_was_seen() -> None:
    scan = expected_scan(mapped(room()), Pose2D(), 7)
    assert scan.stamp_ns == 7 and len(scan.ranges) == 360
    assert np.abs(scan.ranges - room().ranges[::2]).max() < 0.15


def test_it_follows_the_robot() -> None:
    scan = expected_scan(mapped(room()), Pose2D(1.0, 0.0, math.pi / 2), 0)
    right, ahead = scan.ranges[90], scan.ranges[180]
    assert abs(right - 1.0) < 0.1 and abs(ahead - 2.0) < 0.1


def test_the_unknown_ends_a_beam() -> None:
    grid = mapped(room(gap=True))
    grid.clear_footprint(np.array([(0.2, 0.2), (-0.2, 0.2), (-0.2, -0.2), (0.2, -0.2)]))
    scan = expected_scan(grid, Pose2D(), 0)
    assert scan.ranges[270] < 0.4 < 1.8 < scan.ranges[90]
