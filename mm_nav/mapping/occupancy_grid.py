"""A log-odds occupancy grid in the map frame that grows as the robot drives."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.observation import LaserScan
from mm_nav.sensing.movers import Movers

# Log-odds of one look. A hit outweighs two misses, so that thin legs survive beams that pass beside them.
_HIT, _MISS = 0.9, -0.4
_LOWEST, _HIGHEST = -2.5, 3.5
OCCUPIED_AT, FREE_AT = 0.6, -0.3
_GROW_CELLS = 80
_SHIFT = 4


@dataclass(frozen=True)
class GridExport:
    """The grid as nav_msgs/OccupancyGrid wants it: data (H, W) int8 -1 unknown, 0 free, 100 occupied; origin (x, y) metres."""

    data: npt.NDArray[np.int8]
    origin: tuple[float, float]
    resolution: float


class OccupancyGrid:
    """Cells [row = y, col = x]. origin: (x, y) of the lower left corner of cell [0, 0] in the map frame, metres.

    resolution: metres per cell. max_range: beams are trusted as far as this, metres.
    """

    def __init__(self, resolution: float = 0.05, max_range: float = 8.0, size_m: float = 8.0) -> None:
        self.resolution, self.max_range = resolution, max_range
        cells = int(size_m / resolution)
        self.origin = (-size_m / 2, -size_m / 2)
        self.log_odds = np.zeros((cells, cells), np.float32)
        self._fresh = True

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.log_odds.shape[0], self.log_odds.shape[1]

    def occupied(self) -> npt.NDArray[np.bool_]:
        """Return where something stands, (H, W)."""
        return np.asarray(self.log_odds > OCCUPIED_AT)

    def free(self) -> npt.NDArray[np.bool_]:
        """Return where nothing stands, (H, W); neither free nor occupied is unknown."""
        return np.asarray(self.log_odds < FREE_AT)

    def to_cells(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return (..., 2) row and column of points (..., 2), metres; may lie outside the grid."""
        cells = np.floor((np.asarray(points) - self.origin) / self.resolution).astype(np.int64)
        return np.asarray(cells[..., ::-1])

    def to_points(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the centres (..., 2), metres, of cells (..., 2) given as row and column."""
        return np.asarray((np.asarray(cells)[..., ::-1] + 0.5) * self.resolution + self.origin)

    def inside(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which cells (..., 2) lie in the grid."""
        rows, columns = self.shape
        ok = (cells[..., 0] >= 0) & (cells[..., 0] < rows) & (cells[..., 1] >= 0) & (cells[..., 1] < columns)
        return np.asarray(ok)

    def update(self, scan: LaserScan, pose: Pose2D, movers: Movers | None = None) -> None:
        """Fuse a scan taken with base_link at `pose` (map frame). NaN beams say nothing; inf is free to max_range.

        movers: who moves about, map frame: the map does not hold them.
        """
        sensor = pose @ scan.mount
        ranges = scan.ranges.astype(np.float64)
        with np.errstate(invalid="ignore"):
            known = ~np.isnan(ranges) & (ranges >= scan.range_min)
            reach = min(self.max_range, scan.range_max)
            hit = known & (ranges < reach)
            ranges = np.where(known, ranges, 0.0)
        if not known.any():
            return
        length = np.minimum(ranges, reach)
        angles = scan.angles() + sensor.yaw
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        ends = (sensor.x, sensor.y) + directions * length[:, None]
        self._include(ends)
        # Free space stops a cell short of the hit, or else grazing beams would erase walls.
        inner = (sensor.x, sensor.y) + directions * np.maximum(length - 0.7 * self.resolution * hit, 0.0)[:, None]
        if movers is not None:
            hit = hit & ~movers.holding(ends)
        seen = np.zeros(self.shape, np.uint8)
        self._fill_star(seen, sensor, inner, known, scan)
        self.log_odds += _MISS * seen
        cells = self.to_cells(ends[hit])
        marked = np.zeros(self.shape, bool)
        marked[cells[:, 0], cells[:, 1]] = True
        self.log_odds[marked] += _HIT - _MISS * seen[marked]
        np.clip(self.log_odds, _LOWEST, _HIGHEST, out=self.log_odds)

    def clear_footprint(self, footprint: npt.NDArray[np.float64]) -> None:
        """Where the robot stands (K, 2) in the map frame, nothing else does."""
        self._include(footprint)
        mask = np.zeros(self.shape, np.uint8)
        cv2.fillConvexPoly(mask, self._subcells(footprint), 1, shift=_SHIFT)
        self.log_odds[mask > 0] = _LOWEST

    def line_of_sight(self, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], skip: float = 0.0) -> bool:
        """Return whether no occupied cell lies between two points, leaving out the last `skip` metres."""
        length = float(np.hypot(*(end - start)))
        count = max(2, int(2 * max(length - skip, 0.0) / self.resolution))
        share = max(length - skip, 0.0) / max(length, 1e-9)
        points = start + (end - start) * np.linspace(0.0, share, count)[:, None]
        cells = self.to_cells(points)
        cells = cells[self.inside(cells)]
        return not bool((self.log_odds[cells[:, 0], cells[:, 1]] > OCCUPIED_AT).any())

    def surface_distance(
        self, start: npt.NDArray[np.float64], point: npt.NDArray[np.float64], radius: float
    ) -> float | None:
        """Return metres from `start` to the nearest occupied cell within `radius` metres of `point`; None where there is none."""
        row, column = self.to_cells(point).tolist()
        reach = int(radius / self.resolution) + 1
        low = max(0, row - reach), max(0, column - reach)
        window = self.log_odds[low[0] : max(0, row + reach + 1), low[1] : max(0, column + reach + 1)]
        cells = self.to_points(np.argwhere(window > OCCUPIED_AT) + low)
        cells = cells[np.hypot(*(cells - point).T) <= radius]
        return float(np.hypot(*(cells - start).T).min()) if len(cells) else None

    def export(self) -> GridExport:
        """Return the grid as ROS publishes it."""
        data = np.full(self.shape, -1, np.int8)
        data[self.free()] = 0
        data[self.occupied()] = 100
        return GridExport(data, self.origin, self.resolution)

    def _fill_star(
        self,
        mask: npt.NDArray[np.uint8],
        sensor: Pose2D,
        ends: npt.NDArray[np.float64],
        known: npt.NDArray[np.bool_],
        scan: LaserScan,
    ) -> None:
        centre = np.array([[sensor.x, sensor.y]])
        # Beams that know nothing fold the polygon back to the sensor, so that it claims nothing there.
        outline = np.where(known[:, None], ends, centre)
        if not scan.looks_around:
            outline = np.concatenate([centre, outline])
        cv2.fillPoly(mask, [self._subcells(outline)], 1, shift=_SHIFT)

    def _subcells(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        cells = (points - self.origin) / self.resolution - 0.5
        return np.round(cells * (1 << _SHIFT)).astype(np.int32)

    def _include(self, points: npt.NDArray[np.float64]) -> None:
        low = np.floor((points.min(axis=0) - self.origin) / self.resolution).astype(int) - 2
        high = np.ceil((points.max(axis=0) - self.origin) / self.resolution).astype(int) + 2
        rows, columns = self.shape
        if self._fresh and (low.min() < 0 or high[0] > columns or high[1] > rows):
            # Nothing is stored yet: put the first window around the robot.
            centre = points.mean(axis=0)
            self.origin = (
                float(np.floor((centre[0]) / self.resolution) * self.resolution - columns / 2 * self.resolution),
                float(np.floor((centre[1]) / self.resolution) * self.resolution - rows / 2 * self.resolution),
            )
            self._fresh = False
            self._include(points)
            return
        self._fresh = False
        left, below = max(0, -low[0]), max(0, -low[1])
        right, above = max(0, high[0] - columns), max(0, high[1] - rows)
        if not (left or below or right or above):
            return
        left, below, right, above = (n + _GROW_CELLS if n else 0 for n in (left, below, right, above))
        self.log_odds = np.pad(self.log_odds, ((below, above), (left, right)))
        self.origin = (self.origin[0] - left * self.resolution, self.origin[1] - below * self.resolution)
