"""The true map of a world for one robot: for the expert, path lengths and checks, never for the stack itself."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.ndimage import distance_transform_edt
from scipy.sparse.csgraph import dijkstra

from mm_nav.errors import WorldError
from mm_nav.robot import RobotConfig
from mm_nav.sim.contacts import contact_world
from mm_nav.sim.scene import Scene
from mm_nav.sim.world import World

Mask = npt.NDArray[np.bool_]
Cells = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MARGIN_M = 0.5
_MAX_CELLS = 25_000_000
_SHIFT = 8  # cv2 draws with 1/256 cell


class GroundTruthMap:
    """Cells [row = y, col = x] of `resolution` metres; `origin` (x0, y0) is the lower left corner of cell [0, 0],
    world frame.

    occupied: (H, W) collision geometry between the robot's ground clearance and height. clearance: (H, W) float32,
    metres from a cell's centre to the nearest occupied cell's. traversable: (H, W) where the robot's centre may be,
    whatever its heading.
    """

    def __init__(
        self, scene: Scene | World, robot: RobotConfig | None = None, resolution: float = 0.05,
        bounds: tuple[float, float, float, float] | None = None,
    ) -> None:  # fmt: skip
        """bounds: x_min, y_min, x_max, y_max in metres; None = around everything in the world, with half a metre of
        margin.

        Raises WorldError when that makes more than 25 million cells.
        """
        scene = scene if isinstance(scene, Scene) else Scene(scene)
        self.robot, self.resolution = robot or RobotConfig(), resolution
        if bounds is None:
            (x0, y0, _), (x1, y1, _) = scene.world.bounds
            bounds = (x0 - _MARGIN_M, y0 - _MARGIN_M, x1 + _MARGIN_M, y1 + _MARGIN_M)
        x0, y0, x1, y1 = (float(value) for value in bounds)
        shape = (
            max(int(np.ceil((y1 - y0) / resolution - 1e-9)), 1),
            max(int(np.ceil((x1 - x0) / resolution - 1e-9)), 1),
        )
        if shape[0] * shape[1] > _MAX_CELLS:
            raise WorldError(
                f"a map of {shape[1]} x {shape[0]} cells is too large: give bounds or a coarser resolution"
            )
        self.origin = (x0, y0)
        self.shape = shape
        self.model_names = scene.model_names
        self._slice = contact_world(scene, self.robot).slice
        self.occupied = self._rasterise(np.arange(len(self._slice.polygons)))
        free = ~self.occupied
        distance = distance_transform_edt(free) * resolution if self.occupied.any() else np.full(shape, np.inf)
        self.clearance = np.asarray(distance, np.float32)
        # The obstacle may reach to the near corner of its cell, before the centre that clearance is measured to.
        self.traversable: Mask = np.asarray(self.clearance > self.robot.circumscribed_radius + resolution * 0.71)
        self._graph: sparse.csr_array | None = None

    def _rasterise(self, rows: Cells) -> Mask:
        image = np.zeros(self.shape, np.uint8)
        if len(rows):
            cells = (self._slice.polygons[rows] - self.origin) / self.resolution - 0.5
            corners = np.round(cells * (1 << _SHIFT)).clip(-(2**30), 2**30).astype(np.int32)
            for polygon in corners:
                cv2.fillConvexPoly(image, polygon, 1, lineType=cv2.LINE_8, shift=_SHIFT)
        return np.asarray(image > 0)

    def world_to_cell(self, points: npt.ArrayLike) -> Cells:
        """Return the cells (..., 2) as (row, col) of points (..., 2), metres; they may lie outside the map."""
        columns_rows = np.floor((np.asarray(points, np.float64) - self.origin) / self.resolution).astype(np.int64)
        return columns_rows[..., ::-1]

    def cell_to_world(self, cells: npt.ArrayLike) -> Floats:
        """Return the centres (..., 2), metres, of cells (..., 2) given as (row, col)."""
        return np.asarray((np.asarray(cells, np.float64)[..., ::-1] + 0.5) * self.resolution + self.origin)

    def inside(self, cells: npt.ArrayLike) -> Mask:
        """Return which cells (..., 2) lie on the map."""
        cells = np.asarray(cells)
        return np.asarray(np.all((cells >= 0) & (cells < self.shape), axis=-1))

    def model_mask(self, name: str) -> Mask:
        """Return the cells (H, W) that a model (and the models nested in it) covers at the robot's height."""
        index = [i for i, known in enumerate(self.model_names) if known == name or known.startswith(name + "::")]
        if not index:
            raise WorldError(f"the world has no model '{name}': check the name")
        return self._rasterise(np.flatnonzero(np.isin(self._slice.model, index)))

    def largest_part(self) -> Mask:
        """Return the cells (H, W) of the largest connected part of where the robot can stand; none where it cannot at all."""
        count, labels, stats, _ = cv2.connectedComponentsWithStats(self.traversable.astype(np.uint8), connectivity=4)
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if count > 1 else -1
        return np.asarray(labels == largest)

    def distance_field(self, target_mask: Mask) -> npt.NDArray[np.float32]:
        """Return the length (H, W) float32, metres, of the shortest drivable path to the target; inf = unreachable.

        The target (H, W) may be an obstacle: the last stretch, from the nearest places the robot can stand to the
        target, is straight. Target cells are 0. Paths step in 16 directions: up to 3 % longer than a free curve.
        """
        target = np.asarray(target_mask, bool)
        field = np.full(self.shape, np.inf, np.float32)
        if not target.any():
            return field
        gap = np.asarray(distance_transform_edt(~target) * self.resolution)
        seeds = self.traversable & (gap <= self.robot.circumscribed_radius + 2.5 * self.resolution)
        seeds |= self.traversable & target
        rows = np.flatnonzero(seeds)
        if len(rows):
            graph = self._connections()
            count = graph.shape[0]
            # One extra node stands for the target and reaches every seed over its remaining gap.
            data = np.concatenate([graph.data, np.maximum(gap.ravel()[rows], 1e-9)])
            columns = np.concatenate([graph.indices, rows.astype(graph.indices.dtype)])
            starts = np.concatenate([graph.indptr, [len(data)]]).astype(graph.indptr.dtype)
            full = sparse.csr_array((data, columns, starts), shape=(count + 1, count + 1))
            field = dijkstra(full, indices=count)[:count].astype(np.float32).reshape(self.shape)
        field[target] = 0.0
        return field

    def _connections(self) -> sparse.csr_array:
        if self._graph is None:
            height, width = self.shape
            index = np.arange(height * width).reshape(self.shape)
            rows, columns, lengths = [], [], []
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (1, -2), (2, 1), (2, -1)):
                here = (slice(0, height - dy), slice(max(-dx, 0), width - max(dx, 0)))
                there = (slice(dy, height), slice(max(dx, 0), width + min(dx, 0)))
                open_ = self.traversable[here] & self.traversable[there]
                if max(dy, abs(dx)) == 2:  # a knight's move passes between two cells: both must be free
                    for my, mx in ((dy // 2, int(dx / 2)), (dy - dy // 2, dx - int(dx / 2))):
                        left = here[1].start
                        between = (slice(my, my + height - dy), slice(left + mx, left + mx + width - abs(dx)))
                        open_ = open_ & self.traversable[between]
                a, b = index[here][open_], index[there][open_]
                rows += [a, b]
                columns += [b, a]
                lengths.append(np.full(2 * len(a), np.hypot(dx, dy) * self.resolution))
            self._graph = sparse.csr_array(
                (np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))),
                shape=(index.size, index.size),
            )
        return self._graph
