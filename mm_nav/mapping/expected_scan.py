"""The scan that the map says a LiDAR would measure: what the navigator has left when the LiDAR falls silent."""

from __future__ import annotations

import math

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import LaserScan

_BEAMS = 360


def expected_scan(grid: OccupancyGrid, pose: Pose2D, stamp_ns: int) -> LaserScan:
    """Return 360 beams around base_link at `pose` (map frame), each as long as the map knows free floor.

    What is unknown ends a beam as an obstacle does: without a LiDAR nothing shows what is there. inf = free to the grid's
    max_range.
    """
    angles = -math.pi + np.arange(_BEAMS) * 2 * math.pi / _BEAMS
    reach = np.arange(grid.resolution / 2, grid.max_range, grid.resolution)
    directions = np.stack([np.cos(angles + pose.yaw), np.sin(angles + pose.yaw)], axis=-1)
    cells = grid.to_cells((pose.x, pose.y) + directions[:, None] * reach[:, None])
    inside = grid.inside(cells)
    rows, columns = np.where(inside, cells[..., 0], 0), np.where(inside, cells[..., 1], 0)
    blocked = ~(inside & grid.free()[rows, columns])
    ranges = np.where(blocked.any(axis=1), reach[np.argmax(blocked, axis=1)], np.inf).astype(np.float32)
    return LaserScan(stamp_ns, ranges, -math.pi, 2 * math.pi / _BEAMS, 0.0, grid.max_range, Pose2D())
