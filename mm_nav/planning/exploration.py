"""Where to look next: free space that the camera has not seen, and the edges of the unknown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.mapping.belief import Hypothesis, TargetBelief
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.planning.grid_planner import GridPlanner

_MIN_CELLS = 10
# A place in view and nearer than this is looked at by turning, not by driving there.
LOOK_RANGE_M = 3.5
_TURN_COST = 0.5
_HINTED, _HINT_M, _BESIDE_M = 3.0, 2.0, 0.4


@dataclass(frozen=True)
class Viewpoint:
    """A place worth looking at.

    point: (2,) map frame, metres. look: turning on the spot shows it. cost: metres. area: m². interest: how much more likely
    than elsewhere it is that something is to be found there.
    """

    point: npt.NDArray[np.float64]
    look: bool
    cost: float
    area: float
    interest: float = 1.0

    @property
    def worth(self) -> float:
        """What is to be seen for the way there."""
        return self.interest * math.sqrt(min(self.area, 6.0)) / (self.cost + 1.0)

    def is_done(self, pose: Pose2D) -> bool:
        """Whether a robot at `pose` (map frame) has done what the viewpoint is for."""
        if self.look:
            turn = wrap_angle(math.atan2(self.point[1] - pose.y, self.point[0] - pose.x) - pose.yaw)
            return abs(turn) < 0.15
        return math.hypot(self.point[0] - pose.x, self.point[1] - pose.y) < 0.35


def stay_with(old: Viewpoint | None, views: list[Viewpoint]) -> Viewpoint | None:
    """Return the best viewpoint, but the present one unless another is clearly better: no dithering."""
    if old is not None and views:
        same = [v for v in views if np.hypot(*(v.point - old.point)) < 0.8]
        if same and same[0].worth > 0.6 * views[0].worth:
            return same[0]
    return views[0] if views else None


def closer_look(
    belief: TargetBelief,
    target: Hypothesis,
    pose: Pose2D,
    grid: OccupancyGrid,
    planner: GridPlanner,
    blocked: list[npt.NDArray[np.float64]],
) -> Viewpoint | None:
    """Return where to look at a doubtful hypothesis from; None when it was given up, or lost belief for want of a place."""
    if any(np.hypot(*(target.point - other)) < 0.6 for other in blocked):
        return None
    left = math.hypot(target.x - pose.x, target.y - pose.y)
    sight = grid.line_of_sight(np.array([pose.x, pose.y]), target.point, skip=0.35)
    if sight and left < 1.5:
        bearing = wrap_angle(math.atan2(target.y - pose.y, target.x - pose.x) - pose.yaw)
        if abs(bearing) < 0.3:
            # Near, in sight, and still no more than doubtful: the longer it lasts, the less it is believed.
            belief.penalise(target.point, 0.4)
            return None
        return Viewpoint(target.point, True, 0.0, 0.0)
    plan = planner.approach(target.point, 1.4, grid)
    if plan is None or math.hypot(*(plan[-1] - (pose.x, pose.y))) < 0.35:
        # No better place to look from than this one.
        belief.penalise(target.point, 0.8)
        return None
    return Viewpoint(plan[-1], False, 0.0, 0.0)


def find_viewpoints(
    grid: OccupancyGrid,
    coverage: CameraCoverage | None,
    planner: GridPlanner,
    pose: Pose2D,
    blocked: list[npt.NDArray[np.float64]],
    looked: list[npt.NDArray[np.float64]] | None = None,
    hints: list[npt.NDArray[np.float64]] | None = None,
) -> list[Viewpoint]:
    """Return what is left to look at, best first. planner: updated for `pose`. blocked: places that were given up.

    coverage None (no camera): only the edges of the unknown count; where the planner may not cross it, they do not.
    looked: places that turning did not show: they are driven to. hints: near these something is to be found.
    """
    reachable = np.isfinite(planner.costs) & planner.free
    known = planner.free | planner.occupied
    beside_unknown = cv2.dilate((~known).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    frontier = reachable & beside_unknown & planner.allow_unknown
    wanted = frontier.copy()
    if coverage is not None:
        seen = coverage.seen()
        rows, columns = wanted.shape
        shown = seen[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).any(axis=(1, 3))
        wanted |= reachable & ~shown
    near = _around(hints or [], planner, wanted.shape)
    if coverage is not None and near.any():
        # Beside what is known, things count that the camera has only seen the way round of.
        hidden = (planner.occupied & ~shown & near).astype(np.uint8)
        reach = int(_BESIDE_M / planner.resolution)
        wanted |= reachable & (cv2.dilate(hidden, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0)
    count, labels = cv2.connectedComponents((wanted & ~near).astype(np.uint8), connectivity=8)
    more, close = cv2.connectedComponents((wanted & near).astype(np.uint8), connectivity=8)
    labels = np.where(close > 0, close + count - 1, labels)
    hinted, count = count, count + more - 1
    views = []
    here = np.array([pose.x, pose.y])
    order = np.argsort(labels.ravel(), kind="stable")
    bounds = np.searchsorted(labels.ravel()[order], np.arange(count + 1))
    for label in range(1, count):
        flat = order[bounds[label] : bounds[label + 1]]
        if len(flat) < _MIN_CELLS:
            continue
        cells = np.stack(np.unravel_index(flat, labels.shape), axis=1)
        costs = planner.costs[cells[:, 0], cells[:, 1]]
        middle = cells[np.argmin(np.hypot(*(cells - cells.mean(axis=0)).T))]
        point = planner.points(middle[None])[0]
        if any(np.hypot(*(point - other)) < 0.6 for other in blocked):
            continue
        area = len(flat) * planner.resolution**2
        distance = float(np.hypot(*(point - here)))
        unseen_only = not frontier[cells[:, 0], cells[:, 1]].any()
        interest = _HINTED if label >= hinted else 1.0
        look = coverage is not None and distance < LOOK_RANGE_M and grid.line_of_sight(here, point)
        look = look and sum(np.hypot(*(point - other)) < 0.5 for other in (looked or [])) < 2
        if look and (unseen_only or distance > 0.3):
            turn = abs(wrap_angle(math.atan2(point[1] - pose.y, point[0] - pose.x) - pose.yaw))
            views.append(Viewpoint(point, True, _TURN_COST * turn, area, interest))
        else:
            views.append(Viewpoint(point, False, float(costs.min()), area, interest))
    views.sort(key=lambda view: -view.worth)
    return views


def _around(
    points: list[npt.NDArray[np.float64]], planner: GridPlanner, shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, np.uint8)
    for x, y in points:
        row, column = planner.cell(float(x), float(y))
        cv2.circle(mask, (column, row), int(_HINT_M / planner.resolution), 1, -1)
    return np.asarray(mask > 0)
