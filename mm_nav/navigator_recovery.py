"""Noticing that the robot is stuck, and getting it loose."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.robot import RobotConfig
from mm_nav.sensing.movers import Movers

_BACK_UP_S, _TURN_S = 1.2, 1.5
_PROGRESS_M = 0.6
_SPEED = 0.15


class Recovery:
    """Backs up, then turns (the other way each time). Times are the observations' stamps, seconds."""

    def __init__(self, robot: RobotConfig, stuck_time_s: float) -> None:
        self._robot, self._stuck_time = robot, stuck_time_s
        self.reset()

    def reset(self) -> None:
        """Forget all: a new goal."""
        self._trace: deque[tuple[float, Pose2D, bool]] = deque()
        self._started: float | None = None
        self._last_place: Pose2D | None = None
        self._forward, self._turns = False, 0
        self.count = 0

    @property
    def active(self) -> bool:
        """Whether a recovery is under way."""
        return self._started is not None

    def watch(self, now: float, pose: Pose2D, wanted: Twist2D, crowd: Movers | None = None) -> bool:
        """Note a wanted twist and where the robot is; return True when a recovery starts.

        crowd: who stands around the robot, base_link: it drives away from the nearest of them, forward or back, and such a recovery
        is not counted, since they will go on.
        """
        moving = abs(wanted.linear) > 0.02 or abs(wanted.angular) > 0.1
        self._trace.append((now, pose, moving))
        while self._trace and now - self._trace[0][0] > self._stuck_time:
            self._trace.popleft()
        if self._last_place is None or pose.distance_to(self._last_place) > _PROGRESS_M:
            self._last_place, self.count = pose, 0
        first = self._trace[0]
        if now - first[0] < 0.9 * self._stuck_time or not all(entry[2] for entry in self._trace):
            return False
        travel = max(pose.distance_to(entry[1]) for entry in self._trace)
        turned = max(abs(wrap_angle(pose.yaw - entry[1].yaw)) for entry in self._trace)
        if travel > 0.06 or turned > 0.2:
            return False
        self._trace.clear()
        self._started = now
        self._turns += 1
        self._forward = False
        if crowd is not None and len(crowd):
            self._forward = bool(crowd.positions[np.argmin(np.hypot(*crowd.positions.T) - crowd.radii), 0] < 0.0)
        else:
            self.count += 1
        return True

    def command(self, now: float) -> Twist2D | None:
        """Return the twist of a recovery under way; None when it has ended."""
        if self._started is None:
            return None
        elapsed = now - self._started
        if elapsed < _BACK_UP_S:
            return Twist2D(_SPEED if self._forward else max(self._robot.min_linear, -_SPEED), 0.0)
        if elapsed < _BACK_UP_S + _TURN_S:
            return Twist2D(0.0, math.copysign(0.5 * self._robot.max_angular, 1.0 if self._turns % 2 else -1.0))
        self._started = None
        return None
