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
_BLOCKS = 1 << 16
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
        self._pad, self._shape = pad, (rows + 2 * pad, columns + 2 * pad)
        # Worth of a cell for a metre of the circle, and how well it was seen: read together, since most of the time goes there.
        worth = np.where(planner.occupied, value, value * planner.resolution)
        self._seen = np.zeros((*self._shape, 2), np.float32)
        self._seen[pad : pad + rows, pad : pad + columns, 0] = worth
        if camera:
            self._seen[pad : pad + rows, pad : pad + columns, 1] = (
                coverage.quality()[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).max(axis=(1, 3))
            )
        # Summed along a ray: what blocks it above _BLOCKS, metres of the unknown, in cells, below.
        self._hiding = np.ones(self._shape, np.int32)
        self._hiding[pad : pad + rows, pad : pad + columns] = np.where(planner.occupied, _BLOCKS, ~known)

    def gains(self, points: Floats) -> Floats:
        """Return (N, RAYS): the worth of what a camera at points (N, 2), map frame, would newly see along each ray.

        Ray k looks along k * 2 pi / RAYS, map frame. The points lie alike in their planning cells.
        """
        cells, shown, distance = self._cast(points, RAYS)
        seen = self._seen.reshape(-1, 2)[cells]
        better = np.maximum(look_quality(distance, self._range).astype(np.float32) - seen[..., 1], 0.0)
        # A sample stands for the part of the circle's sector around it; of a surface, for the length that it cuts.
        width = (distance * (2.0 * math.pi / RAYS)).astype(np.float32)
        better *= seen[..., 0]
        better *= shown
        return np.asarray(better @ width, np.float64)

    def look_around(self, point: Floats) -> None:
        """From now on count as seen what can be seen from a point (2,), map frame, by turning there."""
        cells, shown, distance = self._cast(point[None], _FINE * RAYS)
        worth = np.broadcast_to(look_quality(distance, self._range).astype(np.float32), shown.shape)
        np.maximum.at(self._seen.reshape(-1, 2)[:, 1], cells[shown], worth[shown])

    def _cast(self, points: Floats, rays: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], Floats]:
        """Return the cells (N, rays, steps) along the rays, as indices into the flattened padded map, which of them are in sight,
        and distances (steps,)."""
        resolution = self._planner.resolution
        distance: Floats = np.asarray((np.arange(self._steps) + 1) * resolution, np.float64)
        angles = np.arange(rays) * (2.0 * math.pi / rays)
        start = (np.asarray(points) - self._planner.origin)[:, ::-1] / resolution
        first = np.clip(np.floor(start), 0, np.array(self._shape) - 2 * self._pad - 1).astype(np.int64) + self._pad
        # All points lie alike in their cells, so that their rays cross the same cells, counted from their own.
        within = start[:1] - np.floor(start[:1]) if len(start) else np.zeros((1, 2))
        rows, columns = (
            np.floor(within[0, axis] + along(angles)[:, None] * (distance / resolution)).astype(np.int64)
            for axis, along in ((0, np.sin), (1, np.cos))
        )
        cells = (first[:, 0] * self._shape[1] + first[:, 1])[:, None, None] + (rows * self._shape[1] + columns)
        hiding = self._hiding.ravel()[cells]
        before = np.cumsum(hiding, axis=-1, dtype=np.int32)
        # The first thing in the way is seen, nothing behind it.
        shown = before - np.where(hiding == _BLOCKS, hiding, 0) <= _UNKNOWN_M / resolution
        return cells, shown, distance
