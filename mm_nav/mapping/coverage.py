"""How well the camera has looked at each place: searching means looking where it has not."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import LaserScan
from mm_nav.sensing.lidar import resample

# Shares of the camera's range: up to the first a look settles what is there, at the range itself it is worth _AT_RANGE,
# from the last on nothing.
_SURE_SHARE, _AT_RANGE, _REACH_SHARE = 0.6, 0.6, 1.5


def look_quality(distance: npt.NDArray[np.float64], camera_range: float) -> npt.NDArray[np.float64]:
    """Return what a look from `distance` metres is worth, 0 to 1, for a camera of that range, metres."""
    share = np.asarray(distance, np.float64) / camera_range
    return np.asarray(np.interp(share, (_SURE_SHARE, 1.0, _REACH_SHARE), (1.0, _AT_RANGE, 0.0)))


def look_reach(camera_range: float) -> float:
    """Return the distance from which on a look is worth nothing, metres."""
    return _REACH_SHARE * camera_range


class CameraCoverage:
    """Keeps for each cell of a grid the worth of the best look at it.

    The best one counts, not their number: views from one place show one thing only once, however slowly the robot drives.
    max_range: metres at which the camera can just tell what stands there. The grid may grow; the marks follow it.
    """

    def __init__(self, grid: OccupancyGrid, max_range: float = 4.5) -> None:
        self.grid, self.max_range = grid, max_range
        self._origin = grid.origin
        self._quality = np.zeros(grid.shape, np.float32)
        half = math.ceil(look_reach(max_range) / grid.resolution)
        offsets = np.arange(-half, half + 1) * grid.resolution
        # What a look is worth around the cell that it is taken from.
        self._worth = look_quality(np.hypot(offsets[:, None], offsets), max_range).astype(np.float32)

    def quality(self) -> npt.NDArray[np.float32]:
        """Return (H, W), 0 to 1: how well the grid's cells were looked at; of occupied ones, their surface."""
        self._follow()
        return self._quality

    def update(self, pose: Pose2D, scan: LaserScan, horizontal_fov: float) -> None:
        """Mark what the camera sees from `pose` (map frame): the free space of the scan inside the field of view."""
        self._follow()
        farthest = look_reach(self.max_range)
        ranges, valid = resample(scan, 360, farthest)
        bearings = -math.pi + (np.arange(360) + 0.5) * 2 * math.pi / 360
        # The image's edge shows things cut off; only what is a little inside counts as seen.
        inside = (np.abs(bearings) < 0.45 * horizontal_fov) & (valid > 0)
        if not inside.any():
            return
        reach = np.minimum(ranges[inside], farthest).astype(np.float64)
        angles = bearings[inside] + pose.yaw
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        centre = (np.array([pose.x, pose.y]) - self.grid.origin) / self.grid.resolution - 0.5
        ends = centre + directions * (reach / self.grid.resolution)[:, None]
        mask = np.zeros(self.grid.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(np.concatenate([centre[None], ends]) * 16).astype(np.int32)], 1, shift=4)
        # Surfaces: the cells of the hits and those around them.
        struck = np.round(ends[reach < farthest]).astype(np.int64)
        struck = struck[((struck >= 0) & (struck < np.array(mask.shape)[::-1])).all(axis=1)]
        hits = np.zeros(self.grid.shape, np.uint8)
        hits[struck[:, 1], struck[:, 0]] = 1
        mask |= cv2.dilate(hits, np.ones((5, 5), np.uint8))
        self._mark(mask, round(float(centre[1])), round(float(centre[0])))

    def reset(self) -> None:
        """Forget everything: another thing is being looked for."""
        self._follow()
        self._quality[:] = 0.0

    def _mark(self, mask: npt.NDArray[np.uint8], row: int, column: int) -> None:
        """Take over what a look from a cell is worth at the cells of the mask."""
        half = len(self._worth) // 2
        rows, columns = self._quality.shape
        top, left = max(0, row - half), max(0, column - half)
        bottom, right = min(rows, row + half + 1), min(columns, column + half + 1)
        worth = self._worth[top - row + half : bottom - row + half, left - column + half : right - column + half]
        part = self._quality[top:bottom, left:right]
        np.maximum(part, worth * mask[top:bottom, left:right], out=part)

    def _follow(self) -> None:
        if self._quality.shape == self.grid.shape and self._origin == self.grid.origin:
            return
        moved = np.zeros(self.grid.shape, np.float32)
        column = round((self._origin[0] - self.grid.origin[0]) / self.grid.resolution)
        row = round((self._origin[1] - self.grid.origin[1]) / self.grid.resolution)
        # The grid only grows, except for its very first placement, before anything was marked.
        if self._quality.any():
            rows, columns = self._quality.shape
            moved[row : row + rows, column : column + columns] = self._quality
        self._quality, self._origin = moved, self.grid.origin
