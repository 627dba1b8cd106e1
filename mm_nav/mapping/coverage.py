"""Which free cells the camera has looked at: searching means looking where it has not."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import LaserScan
from mm_nav.sensing.lidar import resample


class CameraCoverage:
    """Marks the cells of a grid that were in the camera's view, near enough to tell what stands there.

    max_range: metres. The grid may grow; the marks follow it.
    """

    def __init__(self, grid: OccupancyGrid, max_range: float = 4.5) -> None:
        self.grid, self.max_range = grid, max_range
        self._origin = grid.origin
        self._seen = np.zeros(grid.shape, bool)

    def seen(self) -> npt.NDArray[np.bool_]:
        """Return (H, W) cells of the grid that were looked at; of occupied ones, those whose surface was."""
        self._follow()
        return self._seen

    def update(self, pose: Pose2D, scan: LaserScan, horizontal_fov: float) -> None:
        """Mark what the camera sees from `pose` (map frame): the free space of the scan inside the field of view."""
        self._follow()
        ranges, valid = resample(scan, 360, self.max_range)
        bearings = -math.pi + (np.arange(360) + 0.5) * 2 * math.pi / 360
        # The image's edge shows things cut off; only what is a little inside counts as seen.
        inside = (np.abs(bearings) < 0.45 * horizontal_fov) & (valid > 0)
        if not inside.any():
            return
        reach = np.minimum(ranges[inside], self.max_range).astype(np.float64)
        angles = bearings[inside] + pose.yaw
        ends = np.stack([pose.x + reach * np.cos(angles), pose.y + reach * np.sin(angles)], axis=-1)
        outline = np.concatenate([[(pose.x, pose.y)], ends])
        cells = (outline - self.grid.origin) / self.grid.resolution - 0.5
        mask = np.zeros(self.grid.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(cells * 16).astype(np.int32)], 1, shift=4)
        # Surfaces: the cells of the hits and those around them.
        struck = cells[1:][ranges[inside] < self.max_range]
        index = np.round(struck).astype(np.int64)
        index = index[((index >= 0) & (index < np.array(mask.shape)[::-1])).all(axis=1)]
        hits = np.zeros(self.grid.shape, np.uint8)
        hits[index[:, 1], index[:, 0]] = 1
        self._seen |= (mask > 0) | (cv2.dilate(hits, np.ones((5, 5), np.uint8)) > 0)

    def reset(self) -> None:
        """Forget everything: another thing is being looked for."""
        self._follow()
        self._seen[:] = False

    def _follow(self) -> None:
        if self._seen.shape == self.grid.shape and self._origin == self.grid.origin:
            return
        moved = np.zeros(self.grid.shape, bool)
        column = round((self._origin[0] - self.grid.origin[0]) / self.grid.resolution)
        row = round((self._origin[1] - self.grid.origin[1]) / self.grid.resolution)
        # The grid only grows, except for its very first placement, before anything was marked.
        if self._seen.any():
            moved[row : row + self._seen.shape[0], column : column + self._seen.shape[1]] = self._seen
        self._seen, self._origin = moved, self.grid.origin
