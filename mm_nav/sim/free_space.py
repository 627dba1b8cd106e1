"""The floor of a generated world while it is furnished: what is taken, and whether the robot still gets everywhere."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.sim.floor_plan import WALL_THICKNESS, FloorPlan, Wall

Mask = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float64]

CELL = 0.05
# A disc of this radius must get everywhere: the robot's half diagonal and a hand's breadth.
CLEARANCE = 0.32
START_CLEARANCE = 0.40
APPROACH = 0.6
_DOORWAY_RADIUS = 0.95
_POCKET_M2 = 0.5


class Ground:
    """Cells [row = y, column = x] of CELL metres over a floor plan. blocked, keep_out: (H, W) uint8, 1 = no place.

    shapes: footprints (K, 2), world, metres, of what was placed; each stays within APPROACH of where the disc gets.
    """

    def __init__(self, plan: FloorPlan) -> None:
        self._half = np.array([plan.width / 2, plan.height / 2])
        self.x0, self.y0 = -plan.width / 2 - 0.2, -plan.height / 2 - 0.2
        rows, columns = int((plan.height + 0.4) / CELL) + 1, int((plan.width + 0.4) / CELL) + 1
        self.blocked = np.zeros((rows, columns), np.uint8)
        self.keep_out = np.zeros((rows, columns), np.uint8)
        self.shapes: list[Corners] = []
        for wall in plan.walls:
            self.fill(self.blocked, wall_corners(wall))
        for door in plan.doorways:
            centre = self._cells(np.array([[door.x, door.y]]))[0]
            cv2.circle(self.keep_out, (int(centre[0]), int(centre[1])), int(_DOORWAY_RADIUS / CELL), 1, -1)

    def take(self, corners: Corners) -> bool:
        """Put a convex footprint (K, 2) there and return True, or return False where it would be in the way or outside."""
        if (np.abs(corners) > self._half).any():
            return False
        footprint = np.zeros_like(self.blocked)
        self.fill(footprint, corners)
        if not footprint.any() or (footprint & (self.blocked | self.keep_out)).any():
            return False
        trial = self.blocked | footprint
        if not _connected(trial):
            return False
        # Everything placed before must stay within reach.
        reach = reachable(trial)
        if not all(self._approachable(shape, reach) for shape in [*self.shapes, corners]):
            return False
        self.blocked = trial
        self.shapes.append(corners)
        return True

    def stack(self, corners: Corners) -> bool:
        """Note a footprint that takes no floor (it stands on something); False when the robot cannot come near it."""
        if not self._approachable(corners, reachable(self.blocked)):
            return False
        self.shapes.append(corners)
        return True

    def start(self, rng: np.random.Generator) -> Pose2D | None:
        """Return a pose with START_CLEARANCE around it, or None."""
        free = reachable(self.blocked)
        distance = cv2.distanceTransform(1 - self.blocked, cv2.DIST_L2, 5) * CELL
        cells = np.argwhere((free > 0) & (distance >= START_CLEARANCE))
        if len(cells) == 0:
            return None
        row, column = cells[int(rng.integers(len(cells)))]
        yaw = float(rng.uniform(-math.pi, math.pi))
        return Pose2D(
            round(self.x0 + (float(column) + 0.5) * CELL, 3),
            round(self.y0 + (float(row) + 0.5) * CELL, 3),
            round(yaw, 3),
        )

    def fill(self, mask: Mask, corners: Corners) -> None:
        """Set the cells of `mask` that a convex polygon (K, 2), world, metres, covers."""
        cv2.fillConvexPoly(mask, np.round(self._cells(corners) * 16).astype(np.int32), 1, lineType=8, shift=4)

    def _approachable(self, shape: Corners, reach: Mask) -> bool:
        near = int((APPROACH + 0.05) / CELL)
        # Only the cells around the shape matter, and cutting them out first is what makes this fast.
        low = np.floor(self._cells(shape).min(axis=0)).astype(int) - near - 2
        high = np.ceil(self._cells(shape).max(axis=0)).astype(int) + near + 3
        left, top = (max(int(v), 0) for v in low)
        right, bottom = (int(v) for v in high)
        mask = np.zeros_like(self.blocked)
        self.fill(mask, shape)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * near + 1, 2 * near + 1))
        around = cv2.dilate(np.ascontiguousarray(mask[top:bottom, left:right]), kernel)
        return bool((around & reach[top:bottom, left:right]).any())

    def _cells(self, points: Corners) -> Corners:
        return np.asarray((points - (self.x0, self.y0)) / CELL - 0.5)


def wall_corners(wall: Wall) -> Corners:
    """Return the four corners (4, 2) of a wall with its thickness, world, metres."""
    t = WALL_THICKNESS / 2
    x0, x1 = min(wall.x0, wall.x1) - t * wall.vertical, max(wall.x0, wall.x1) + t * wall.vertical
    y0, y1 = min(wall.y0, wall.y1) - t * (not wall.vertical), max(wall.y0, wall.y1) + t * (not wall.vertical)
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def reachable(blocked: Mask) -> Mask:
    """Return the largest connected part of where the robot's disc fits, inside the outer walls."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_inside(_free(blocked)), connectivity=4)
    if count < 2:
        return np.zeros_like(blocked)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.uint8)


def _free(blocked: Mask) -> Mask:
    distance = cv2.distanceTransform(1 - blocked, cv2.DIST_L2, 5) * CELL
    return np.asarray(distance >= CLEARANCE, np.uint8)


def _inside(free: Mask) -> Mask:
    inside = free.copy()
    edge = int(0.2 / CELL) + 1
    inside[:edge], inside[-edge:], inside[:, :edge], inside[:, -edge:] = 0, 0, 0, 0
    return inside


def _connected(blocked: Mask) -> bool:
    """Return whether no pocket of more than half a square metre is cut off."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(_inside(_free(blocked)), connectivity=4)
    areas = stats[1:count, cv2.CC_STAT_AREA] * CELL**2
    return len(areas) > 0 and bool(areas.sum() - areas.max() < _POCKET_M2)
