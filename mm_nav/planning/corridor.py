"""Following a corridor: straight on while there is a way ahead, round its bends, and no farther than its end."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.planning.grid_planner import GridPlanner

Path = npt.NDArray[np.float64]

_REACH_M = 5.0
_AIM_M = 2.5
_STEP_RAD = math.radians(5.0)
_AHEAD_RAD, _BEND_RAD = math.radians(40.0), math.radians(105.0)
# A way ahead shorter than this is the end; a bend needs more, or every doorway would be one.
_END_M, _BEND_M = 0.7, 2.0
_UNKNOWN_M = 0.6  # of a ray may be unknown: the LiDAR will show it in time
_TURN_COST_M = 1.6  # metres of way that a radian off the corridor's direction must be worth
_OPEN_AFTER_M = 0.8  # both sides open for so long: the corridor has let into a room


class CorridorFollower:
    """Remembers the corridor's direction, its width and how far it went. Ask for a new path about twice a second."""

    def __init__(self, grid: OccupancyGrid, planner: GridPlanner) -> None:
        self._grid, self._planner = grid, planner
        self.reset()

    def reset(self) -> None:
        """Forget the corridor."""
        self._direction: float | None = None
        self._width = math.inf
        self._last: Pose2D | None = None
        self._open_since: float | None = None
        self.travelled = 0.0

    def path(self, pose: Pose2D) -> Path | None:
        """Return the path (N, 2), map frame, metres, to follow from `pose`; None at the corridor's end."""
        self._planner.update(self._grid, pose)
        if self._direction is None:
            self._direction = self._first_direction(pose)
        if self._last is not None:
            self.travelled += pose.distance_to(self._last)
        self._last = pose
        if self._has_opened(pose):
            return None
        heading, reach = self._best(pose, self._direction, _AHEAD_RAD)
        if reach < _END_M:
            heading, reach = self._best(pose, self._direction, _BEND_RAD)
            if reach < _BEND_M:
                return None
        self._direction += 0.6 * wrap_angle(heading - self._direction)
        for share in (0.85, 0.6, 0.35):
            ahead = min(_AIM_M, share * reach)
            path = self._planner.path_to(pose.x + ahead * math.cos(heading), pose.y + ahead * math.sin(heading))
            if path is not None and len(path) > 1:
                return path
        return None

    def _first_direction(self, pose: Pose2D) -> float:
        """The longest way within a quarter turn of where the robot looks."""
        heading, _ = self._best(pose, pose.yaw, math.pi / 2)
        return heading

    def _best(self, pose: Pose2D, direction: float, spread: float) -> tuple[float, float]:
        """Return the heading (rad, map frame) of the best way within `spread` of a direction, and its length, metres."""
        steps = np.arange(-int(spread / _STEP_RAD), int(spread / _STEP_RAD) + 1)
        options = [(direction + float(k) * _STEP_RAD, abs(float(k)) * _STEP_RAD) for k in steps]
        reaches = [self._reach(pose, heading) for heading, _ in options]
        worth = [reach - _TURN_COST_M * off for reach, (_, off) in zip(reaches, options, strict=True)]
        best = int(np.argmax(worth))
        return options[best][0], reaches[best]

    def _reach(self, pose: Pose2D, heading: float) -> float:
        """Return how far the robot can go straight along a heading, metres."""
        lengths = np.arange(1, int(_REACH_M / 0.1) + 1) * 0.1
        unknown = 0.0
        for length in lengths:
            row, column = self._planner.cell(pose.x + length * math.cos(heading), pose.y + length * math.sin(heading))
            if not self._planner.passable[row, column]:
                return float(length - 0.1)
            unknown += 0.1 if not self._planner.free[row, column] else 0.0
            if unknown > _UNKNOWN_M:
                return float(length - 0.1)
        return float(lengths[-1])

    def _has_opened(self, pose: Pose2D) -> bool:
        """Whether both sides have been far away for a while, where walls were near before."""
        assert self._direction is not None
        sides = [self._side(pose, self._direction + turn) for turn in (math.pi / 2, -math.pi / 2)]
        self._width = min(self._width, sum(sides))
        if min(sides) <= max(1.2, 0.8 * self._width):
            self._open_since = None
            return False
        if self._open_since is None:
            self._open_since = self.travelled
        return self.travelled - self._open_since >= _OPEN_AFTER_M and self.travelled > 1.5

    def _side(self, pose: Pose2D, heading: float) -> float:
        """Return the distance to what stands in a direction, metres, up to the reach of a look."""
        lengths = np.arange(0.05, _REACH_M, self._grid.resolution)
        points = np.stack([pose.x + lengths * math.cos(heading), pose.y + lengths * math.sin(heading)], axis=-1)
        cells = self._grid.to_cells(points)
        inside = self._grid.inside(cells)
        occupied = np.zeros(len(lengths), bool)
        occupied[inside] = self._grid.occupied()[cells[inside, 0], cells[inside, 1]]
        hit = np.flatnonzero(occupied)
        return float(lengths[hit[0]]) if len(hit) else _REACH_M
