"""Straight walls out of an occupancy grid, in a frame whose axes run along most of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid

Floats = npt.NDArray[np.float64]
_LEAST_LENGTH_M = 0.9
_FURNITURE_MARGIN_M = 0.1
_ANGLES = 45
_MOST_POINTS = 4000


@dataclass(frozen=True)
class WallSegment:
    """A straight wall (or its surface) along x or y of its frame, metres; x0 <= x1, y0 <= y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def vertical(self) -> bool:
        """Whether it runs along y."""
        return self.x0 == self.x1


@dataclass(frozen=True)
class WallMap:
    """Walls in a frame turned by `yaw` (rad, 0 to pi/2) from the map frame, about the map's origin."""

    yaw: float = 0.0
    segments: tuple[WallSegment, ...] = ()

    def to_walls(self, points: npt.NDArray[np.float64]) -> Floats:
        """Return points (..., 2) of the map frame in the walls' frame, metres."""
        return Pose2D(0.0, 0.0, -self.yaw).transform(points)

    def pose_to_walls(self, pose: Pose2D) -> Pose2D:
        """Return a pose of the map frame in the walls' frame."""
        return Pose2D(0.0, 0.0, -self.yaw) @ pose


def find_walls(grid: OccupancyGrid, furniture: Sequence[Floats] = ()) -> WallMap:
    """Return the walls of a grid: straight rows of occupied cells, 0.9 m and longer.

    furniture: outlines (K, 2), map frame, metres, of things that are known to be none, however long and flat.
    """
    cells = np.argwhere(grid.occupied() & ~_covered(grid, furniture))
    if len(cells) < 20:
        return WallMap()
    points = grid.to_points(cells)
    yaw = _main_direction(points[:: max(1, len(points) // _MOST_POINTS)], grid.resolution)
    turned = Pose2D(0.0, 0.0, -yaw).transform(points)
    origin = turned.min(axis=0) - 4 * grid.resolution
    index = np.floor((turned - origin) / grid.resolution).astype(int)
    image = np.zeros((index[:, 1].max() + 5, index[:, 0].max() + 5), np.uint8)
    image[index[:, 1], index[:, 0]] = 1
    segments: list[WallSegment] = []
    for vertical in (False, True):
        picture = image.T if vertical else image
        for low, high, at in _rows(np.ascontiguousarray(picture), int(_LEAST_LENGTH_M / grid.resolution)):
            a, b = low * grid.resolution, (high + 1) * grid.resolution
            line = (at + 0.5) * grid.resolution
            if vertical:
                segments.append(WallSegment(line + origin[0], a + origin[1], line + origin[0], b + origin[1]))
            else:
                segments.append(WallSegment(a + origin[0], line + origin[1], b + origin[0], line + origin[1]))
    return WallMap(yaw, tuple(segments))


def _covered(grid: OccupancyGrid, outlines: Sequence[Floats]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(grid.shape, np.uint8)
    for outline in outlines:
        cells = np.round(((outline - grid.origin) / grid.resolution - 0.5) * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, cells, 1, shift=4)
    around = 2 * int(_FURNITURE_MARGIN_M / grid.resolution) + 1
    return np.asarray(cv2.dilate(mask, np.ones((around, around), np.uint8)) > 0)


def _main_direction(points: Floats, resolution: float) -> float:
    """Return the direction, rad from 0 to pi/2, along which points fall into the fewest and fullest rows and columns."""
    best = (-1.0, 0.0)
    for step in range(_ANGLES):
        angle = step * math.pi / 2 / _ANGLES
        c, s = math.cos(angle), math.sin(angle)
        score = 0.0
        for along in (points @ (c, s), points @ (-s, c)):
            bins = np.floor((along - along.min()) / (2 * resolution)).astype(int)
            score += float((np.bincount(bins).astype(float) ** 2).sum())
        if score > best[0] * (1.0 + 1e-9):
            best = (score, angle)
    return best[1]


def _rows(image: npt.NDArray[np.uint8], length: int) -> list[tuple[int, int, float]]:
    """Return (first column, last column, row) of horizontal rows of at least `length` cells; small gaps are bridged."""
    wide = cv2.dilate(image, np.ones((3, 1), np.uint8))
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones((1, 7), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    rows = []
    for label in range(1, count):
        left, top, width, height = (int(v) for v in stats[label, :4])
        if height > width:
            continue
        inside = (labels[top : top + height, left : left + width] == label) & (
            image[top : top + height, left : left + width] > 0
        )
        at = np.nonzero(inside)[0]
        if len(at):
            rows.append((left, left + width - 1, top + float(at.mean())))
    return rows
