"""What would be newly seen from where: rays over the map, weighted by what may stand where they end."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.mapping.coverage import CameraCoverage, look_quality
from mm_nav.planning.grid_planner import GridPlanner

Floats = npt.NDArray[np.float64]

RAYS = 48
# Worth of seeing a metre of surface, a square metre of the unknown, and one of floor that the LiDAR found empty: what is
# looked for stands where the LiDAR hits something or where it has not been. Chosen by reasoning, not tuned.
SURFACE, UNKNOWN, FLOOR = 1.0, 0.6, 0.1
_UNKNOWN_M = 2.0  # of a ray may lead through the unknown: what is behind is anyone's guess
_HINTED, _HINT_M = 3.0, 2.0
_FINE = 8  # times as many rays to mark what is in sight of the robot


class GainMap:
    """A snapshot of map and coverage. planner: updated for the robot's pose. hints: near these (2,), map frame, something is
    more likely to be found. camera: False = only the LiDAR sees, for which what it has measured is nothing new."""

    def __init__(
        self, planner: GridPlanner, coverage: CameraCoverage, hints: list[Floats] | None = None, camera: bool = True
    ) -> None:
        self._planner = planner
        self._range = coverage.max_range
        self._steps = int(coverage.max_range / planner.resolution)
        pad = self._steps + 2
        rows, columns = planner.occupied.shape
        known = planner.free | planner.occupied
        value = np.where(planner.free, FLOOR * camera, UNKNOWN * planner.allow_unknown)
        value = np.where(planner.occupied, SURFACE * camera, value).astype(np.float32)
        for x, y in hints or []:
            around = np.zeros(value.shape, np.uint8)
            row, column = planner.cell(float(x), float(y))
            cv2.circle(around, (column, row), int(_HINT_M / planner.resolution), 1, -1)
            value[around > 0] *= _HINTED
        quality = coverage.quality()[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).max(axis=(1, 3))
        self._pad = pad
        self._value = np.pad(value, pad)
        self._quality = np.pad(quality if camera else np.zeros_like(quality), pad)
        self._occupied = np.pad(planner.occupied, pad)
        self._unknown = np.pad(~known, pad, constant_values=True)

    def gains(self, points: Floats) -> Floats:
        """Return (N, RAYS): the worth of what a camera at points (N, 2), map frame, would newly see along each ray.

        Ray k looks along k * 2 pi / RAYS, map frame.
        """
        cells, shown, distance = self._cast(points, RAYS)
        flat = cells[..., 0] * self._value.shape[1] + cells[..., 1]
        better = look_quality(distance, self._range).astype(np.float32) - self._quality.ravel()[flat]
        occupied = self._occupied.ravel()[flat]
        # A sample stands for the part of the circle's sector around it; of a surface, for the length that it cuts.
        width = distance * (2.0 * math.pi / RAYS)
        size = np.where(occupied, width, width * self._planner.resolution)
        gain = np.where(shown, np.maximum(better, 0.0) * self._value.ravel()[flat] * size, 0.0)
        return np.asarray(gain.sum(axis=-1), np.float64)

    def look_around(self, point: Floats) -> None:
        """From now on count as seen what can be seen from a point (2,), map frame, by turning there."""
        cells, shown, distance = self._cast(point[None], _FINE * RAYS)
        worth = np.broadcast_to(look_quality(distance, self._range).astype(np.float32), shown.shape)
        np.maximum.at(self._quality, (cells[shown][:, 0], cells[shown][:, 1]), worth[shown])

    def _cast(self, points: Floats, rays: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], Floats]:
        """Return the padded cells (N, rays, steps, 2) along the rays, which of them are in sight, and distances (steps,)."""
        resolution = self._planner.resolution
        distance = (np.arange(self._steps) + 1) * resolution
        angles = np.arange(rays) * (2.0 * math.pi / rays)
        offsets = np.stack([np.sin(angles), np.cos(angles)], axis=-1)[:, None] * (distance / resolution)[:, None]
        start = (np.asarray(points) - self._planner.origin)[:, ::-1] / resolution + self._pad
        cells = np.floor(start[:, None, None] + offsets).astype(np.int64)
        cells = np.asarray(np.clip(cells, 0, np.array(self._value.shape) - 1), np.int64)
        flat = cells[..., 0] * self._value.shape[1] + cells[..., 1]
        blocked = self._occupied.ravel()[flat]
        behind = np.cumsum(blocked, axis=-1) - blocked > 0
        unknown = np.cumsum(self._unknown.ravel()[flat], axis=-1) * resolution > _UNKNOWN_M
        return cells, np.asarray(~behind & ~unknown), np.asarray(distance, np.float64)
