"""Shortest comfortable paths on the occupancy grid, from the robot to everywhere at once."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from skimage.graph import MCP_Geometric

from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.robot import RobotConfig

# Planning cells are this many grid cells wide: 0.1 m at 0.05 m, fine enough for doors, four times as fast.
_COARSE = 2


@dataclass(frozen=True)
class PlannerConfig:
    """comfort_m: within this distance of obstacles a way costs more. comfort_weight: how much more, at contact.

    unknown_factor: cost of a metre through unknown space. margin_m: kept between the body and obstacles.
    """

    comfort_m: float = 0.45
    comfort_weight: float = 5.0
    unknown_factor: float = 2.5
    margin_m: float = 0.03


class GridPlanner:
    """Plans on a snapshot of the grid. Call `update` when grid or pose changed, then ask for costs and paths.

    allow_unknown: whether the last `update` let ways lead through the unknown.
    """

    def __init__(self, robot: RobotConfig, config: PlannerConfig | None = None) -> None:
        self.robot, self.config = robot, config or PlannerConfig()
        self.allow_unknown = True
        self.resolution = 0.1
        self.origin = (0.0, 0.0)
        self.costs: npt.NDArray[np.float64] = np.zeros((0, 0))
        self.free: npt.NDArray[np.bool_] = np.zeros((0, 0), bool)
        self.occupied: npt.NDArray[np.bool_] = np.zeros((0, 0), bool)
        self.passable: npt.NDArray[np.bool_] = np.zeros((0, 0), bool)
        self._cell_costs: npt.NDArray[np.float64] = np.zeros((0, 0))
        self._search: MCP_Geometric | None = None

    def update(self, grid: OccupancyGrid, pose: Pose2D, allow_unknown: bool = True) -> None:
        """Compute path costs from `pose` to every cell, about metres; inf where there is no way."""
        self.resolution = grid.resolution * _COARSE
        self.origin = grid.origin
        self.occupied = _pool(grid.occupied(), any_cell=True)
        self.free = _pool(grid.free(), any_cell=False) & ~self.occupied
        clearance = cv2.distanceTransform((~self.occupied).astype(np.uint8), cv2.DIST_L2, 5) * self.resolution
        # A cell counts as far as its nearest edge.
        clearance = clearance - self.resolution / 2
        c, body = self.config, self.robot.inscribed_radius + self.config.margin_m
        near = np.clip(1.0 - (clearance - body) / c.comfort_m, 0.0, 1.0)
        cost = 1.0 + c.comfort_weight * near**2
        self.allow_unknown = allow_unknown
        if allow_unknown:
            cost = np.where(self.free, cost, cost * c.unknown_factor)
            passable = clearance >= body
        else:
            passable = (clearance >= body) & self.free
        row, column = self.cell(pose.x, pose.y)
        # The robot stands where it stands: however near to a wall, it may leave.
        around = np.zeros(passable.shape, np.uint8)
        cv2.circle(around, (column, row), int(np.ceil(self.robot.circumscribed_radius / self.resolution)) + 1, 1, -1)
        escape = (around > 0) & ~self.occupied & ~passable
        cost = np.where(escape, 3.0 * (1.0 + c.comfort_weight), cost)
        self.passable = passable | escape
        self.passable[row, column] = True
        # Smoothed paths touch cells beside the passable ones.
        tight = np.where(self.occupied, np.inf, 3.0 * (1.0 + c.comfort_weight))
        self._cell_costs = np.where(self.passable, cost, tight)
        self._search = MCP_Geometric(np.where(self.passable, cost, -1.0), fully_connected=True)
        found, _ = self._search.find_costs([(row, column)])
        self.costs = np.asarray(found) * self.resolution

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Return (row, column) of the planning cell of a point, clipped to the map."""
        column = int((x - self.origin[0]) / self.resolution)
        row = int((y - self.origin[1]) / self.resolution)
        rows, columns = self.costs.shape if self.costs.size else self.passable.shape
        rows, columns = (rows, columns) if rows else self.occupied.shape
        return min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)

    def points(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return centres (N, 2), metres, of planning cells (N, 2) given as row, column."""
        return np.asarray((np.asarray(cells)[:, ::-1] + 0.5) * self.resolution + self.origin)

    def path_to(self, x: float, y: float) -> npt.NDArray[np.float64] | None:
        """Return the path (N, 2), metres, map frame, from the robot to the cell of a point; None when there is none."""
        row, column = self.cell(x, y)
        if self._search is None or not np.isfinite(self.costs[row, column]):
            return None
        cells = np.asarray(self._search.traceback((row, column)))
        points = _smooth(self.points(cells))
        points[-1] = (x, y) if self.cell(x, y) == (row, column) else points[-1]
        return points

    def cost_of(self, path: npt.NDArray[np.float64]) -> float:
        """Return what a path (N, 2), metres, costs by the last `update`, about metres; inf where it leads through a thing."""
        steps = np.hypot(*np.diff(path, axis=0).T)
        counts = np.maximum(np.ceil(2.0 * steps / self.resolution), 1.0).astype(int)
        which = np.repeat(np.arange(len(steps)), counts)
        shares = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[which]
        points = path[which] + shares[:, None] * (path[which + 1] - path[which])
        cells = np.floor((points - self.origin) / self.resolution).astype(int)[:, ::-1]
        cells = np.clip(cells, 0, np.array(self._cell_costs.shape) - 1)
        return float((self._cell_costs[cells[:, 0], cells[:, 1]] * (steps / counts)[which]).sum())

    def approach(
        self, target: npt.NDArray[np.float64], distance: float, grid: OccupancyGrid
    ) -> npt.NDArray[np.float64] | None:
        """Return the path to the best cell within `distance` metres of `target` from which it is in line of sight."""
        rows, columns = self.costs.shape
        centre = self.cell(float(target[0]), float(target[1]))
        reach = int(distance / self.resolution) + 1
        r0, r1 = max(0, centre[0] - reach), min(rows, centre[0] + reach + 1)
        c0, c1 = max(0, centre[1] - reach), min(columns, centre[1] + reach + 1)
        window = np.argwhere(np.isfinite(self.costs[r0:r1, c0:c1])) + np.array([r0, c0])
        if len(window) == 0:
            return None
        points = self.points(window)
        gap = np.hypot(*(points - target).T)
        cost = self.costs[window[:, 0], window[:, 1]] + np.abs(gap - 0.8 * distance)
        for index in np.argsort(np.where(gap <= distance, cost, np.inf))[:40]:
            if gap[index] > distance:
                break
            if grid.line_of_sight(points[index], target, skip=0.3):
                return self.path_to(float(points[index][0]), float(points[index][1]))
        return None


def _pool(mask: npt.NDArray[np.bool_], any_cell: bool) -> npt.NDArray[np.bool_]:
    """Return for each planning cell whether any of its grid cells is set, or at least half of them."""
    rows, columns = (n - n % _COARSE for n in mask.shape)
    whole = mask[:rows, :columns].view(np.uint8)
    count = sum(whole[i::_COARSE, j::_COARSE] for i in range(_COARSE) for j in range(_COARSE))
    return np.asarray(count >= (1 if any_cell else _COARSE**2 / 2))


def _smooth(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average neighbours along the path, ends kept; wide enough to undo the grid's eight directions."""
    if len(points) < 4:
        return points
    padded = np.concatenate([points[:1], points[:1], points, points[-1:], points[-1:]])
    smooth = np.stack([np.convolve(padded[:, i], np.ones(5) / 5, mode="valid") for i in range(2)], axis=1)
    smooth[0], smooth[-1] = points[0], points[-1]
    return smooth
