"""The privileged expert: shortest safe paths on the true map, which no robot can see."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from skimage.graph import MCP_Geometric

from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.objects import SceneObject

# The expert stops this far from an object's surface: inside the 1 m that counts as reached, outside contact.
APPROACH_M = 0.6
# Cells nearer to obstacles than this cost more, so that paths keep to the middle of doors and corridors.
COMFORT_M = 0.35


def comfort_cost(truth: GroundTruthMap) -> npt.NDArray[np.float64]:
    """Return the cost (H, W) of crossing each cell of a true map, as scikit-image's MCP takes it; -1 = cannot be crossed."""
    comfort = 1.0 + 4.0 * np.clip(1.0 - (truth.clearance - 0.2) / COMFORT_M, 0.0, 1.0) ** 2
    return np.asarray(np.where(truth.traversable, comfort, -1.0), np.float64)


class Expert:
    """Paths to every object of one world.

    truth: the true map. objects: what can be asked for. Distances are metres along the path, from the robot's centre.
    """

    def __init__(self, truth: GroundTruthMap, objects: Sequence[SceneObject]) -> None:
        self.truth = truth
        self.objects = tuple(objects)
        self._cost = comfort_cost(truth)
        self._free = truth.traversable
        self._surface = [self._distance_to_surface(item) for item in self.objects]
        self._fields = [self._field(surface) for surface in self._surface]

    def _distance_to_surface(self, item: SceneObject) -> npt.NDArray[np.float32]:
        mask = np.ones(self._free.shape, np.uint8)
        columns_rows = (np.asarray(item.footprint) - np.asarray(self.truth.origin)) / self.truth.resolution
        # fillPoly takes cell indices in 1/16 of a cell; cell centres lie at +0.5.
        polygon = np.round((columns_rows - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(mask, [polygon], 0, shift=4)
        return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5) * self.truth.resolution, np.float32)

    def _field(self, surface: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        goal = self._free & (surface <= APPROACH_M)
        if not goal.any():
            return np.full(surface.shape, np.inf, np.float32)
        costs, _ = MCP_Geometric(self._cost, fully_connected=True).find_costs(np.argwhere(goal))
        return np.asarray(np.where(self._free, costs, np.inf), np.float32)

    def surface_distance(self, index: int, x: float, y: float) -> float:
        """Return metres from (x, y) to the surface of object `index`, straight, through walls."""
        row, column = self._cell(x, y)
        return float(self._surface[index][row, column])

    def cost_to_go(self, index: int, x: float, y: float) -> float:
        """Return the path cost from (x, y) to object `index`; inf when there is no path."""
        row, column = self._cell(x, y)
        return float(self._fields[index][row, column])

    def nearest_free(self, x: float, y: float, within: float) -> tuple[float, float]:
        """Return the nearest place where the robot can stand, by the map, no farther than `within` metres; else (x, y)."""
        row, column = self._cell(x, y)
        reach = int(within / self.truth.resolution)
        if reach < 1 or self._free[row, column]:
            return x, y
        r0, c0 = max(row - reach, 0), max(column - reach, 0)
        window = self._free[r0 : row + reach + 1, c0 : column + reach + 1]
        cells = np.argwhere(window) + np.array([r0, c0])
        if not len(cells):
            return x, y
        points = self.truth.cell_to_world(cells)
        gaps = np.hypot(points[:, 0] - x, points[:, 1] - y)
        nearest = int(np.argmin(gaps))
        return (float(points[nearest, 0]), float(points[nearest, 1])) if gaps[nearest] <= within else (x, y)

    def path(self, index: int, x: float, y: float, spacing: float, count: int) -> npt.NDArray[np.float64] | None:
        """Return the next `count` points (count, 2), world metres, `spacing` apart; the last repeats after arrival.

        None when there is no path.
        """
        field = self._fields[index]
        row, column = self._cell(x, y)
        if not np.isfinite(field[row, column]):
            return None
        cells = [(row, column)]
        reach = int(1.6 * spacing * count / self.truth.resolution) + 4
        for _ in range(reach):
            row, column = self._descend(field, row, column)
            if (row, column) == cells[-1]:
                break
            cells.append((row, column))
        points = np.asarray(self.truth.origin) + (np.asarray(cells)[:, ::-1] + 0.5) * self.truth.resolution
        points = np.concatenate([[(x, y)], points[1:]]) if len(points) > 1 else np.array([[x, y]])
        return _resample(_smooth(points), spacing, count)

    @staticmethod
    def _descend(field: npt.NDArray[np.float32], row: int, column: int) -> tuple[int, int]:
        r0, c0 = max(row - 1, 0), max(column - 1, 0)
        window = field[r0 : row + 2, c0 : column + 2]
        best = int(np.argmin(window))
        r, c = r0 + best // window.shape[1], c0 + best % window.shape[1]
        return (r, c) if field[r, c] < field[row, column] else (row, column)

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        column = int((x - self.truth.origin[0]) / self.truth.resolution)
        row = int((y - self.truth.origin[1]) / self.truth.resolution)
        height, width = self._free.shape
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)


def _smooth(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(points) < 5:
        return points
    kernel = np.ones(5) / 5
    padded = np.concatenate([points[:1]] * 2 + [points] + [points[-1:]] * 2)
    smooth = np.stack([np.convolve(padded[:, i], kernel, mode="valid") for i in range(2)], axis=1)
    smooth[0], smooth[-1] = points[0], points[-1]
    return smooth


def _resample(points: npt.NDArray[np.float64], spacing: float, count: int) -> npt.NDArray[np.float64]:
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    wanted = np.minimum(spacing * np.arange(1, count + 1), along[-1])
    return np.stack([np.interp(wanted, along, points[:, i]) for i in range(2)], axis=1)
