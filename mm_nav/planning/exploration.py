"""Where to look next: free space that the camera has not seen, and the edges of the unknown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.planning.grid_planner import GridPlanner

_MIN_CELLS = 10
# A place in view and nearer than this is looked at by turning, not by driving there.
LOOK_RANGE_M = 3.5
_TURN_COST = 0.5


@dataclass(frozen=True)
class Viewpoint:
    """A place worth looking at. point: (2,) map frame, metres. look: turning on the spot shows it. cost: metres. area: m²."""

    point: npt.NDArray[np.float64]
    look: bool
    cost: float
    area: float


def find_viewpoints(
    grid: OccupancyGrid,
    coverage: CameraCoverage | None,
    planner: GridPlanner,
    pose: Pose2D,
    blocked: list[npt.NDArray[np.float64]],
) -> list[Viewpoint]:
    """Return what is left to look at, best first. planner: updated for `pose`. blocked: places that were given up.

    coverage None (no camera): only the edges of the unknown count; where the planner may not cross it, they do not.
    """
    reachable = np.isfinite(planner.costs) & planner.free
    known = planner.free | planner.occupied
    beside_unknown = cv2.dilate((~known).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    frontier = reachable & beside_unknown & planner.allow_unknown
    wanted = frontier.copy()
    if coverage is not None:
        seen = coverage.seen()
        rows, columns = wanted.shape
        looked = seen[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).any(axis=(1, 3))
        wanted |= reachable & ~looked
    count, labels = cv2.connectedComponents(wanted.astype(np.uint8), connectivity=8)
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
        look = coverage is not None and distance < LOOK_RANGE_M and grid.line_of_sight(here, point)
        if look and (unseen_only or distance > 0.3):
            turn = abs(wrap_angle(math.atan2(point[1] - pose.y, point[0] - pose.x) - pose.yaw))
            views.append(Viewpoint(point, True, _TURN_COST * turn, area))
        else:
            views.append(Viewpoint(point, False, float(costs.min()), area))
    views.sort(key=lambda view: -math.sqrt(min(view.area, 6.0)) / (view.cost + 1.0))
    return views
