"""Steps that need no thing: turn, go forward or back, wait, follow the corridor. No policy is asked for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.command import ErrorCode
from mm_nav.control.mppi import Mppi
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.language import Step
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import Observation
from mm_nav.planning.corridor import CorridorFollower
from mm_nav.planning.grid_planner import GridPlanner
from mm_nav.robot import RobotConfig

Path = npt.NDArray[np.float64]
# Drives along a path (N, 2), map frame, metres.
Drive = Callable[[Path], Twist2D]

_TURNED_RAD, _MOVED_M = 0.06, 0.12
_BEHIND_M = 0.12  # kept free behind the robot when it backs
_DETOUR = 2.0  # a way this much longer than what is left is no "forward"
_STANDING = (0.03, 0.08)  # m/s, rad/s


@dataclass(frozen=True)
class MotionResult:
    """What a motion wants now. twist: to drive. path: that is followed. done: how it ended well. failed: how it did not."""

    twist: Twist2D = field(default_factory=Twist2D)
    path: Path | None = None
    done: str = ""
    failed: tuple[ErrorCode, str] | None = None
    left: float = math.nan


class MotionRunner:
    """Runs one motion step at a time. Times are stamps, s."""

    def __init__(
        self, robot: RobotConfig, grid: OccupancyGrid, planner: GridPlanner, controller: Mppi, period_s: float
    ) -> None:
        self._robot, self._grid, self._planner, self._controller = robot, grid, planner, controller
        self._period = period_s
        self.corridor = CorridorFollower(grid, planner)
        self._start: tuple[float, Pose2D] | None = None
        self._turned, self._last_yaw = 0.0, 0.0
        self._path: Path | None = None
        self._next_plan = 0.0

    def reset(self) -> None:
        """Begin a step."""
        self._start, self._path, self._turned = None, None, 0.0
        self.corridor.reset()

    def run(self, step: Step, now: float, observation: Observation, drive: Drive) -> MotionResult:
        """Return what a step of a motion kind wants for one observation, whose scan the grid already holds."""
        pose = observation.odometry.pose
        if self._start is None:
            self._start, self._last_yaw, self._next_plan = (now, pose), pose.yaw, now
        twist = observation.odometry.twist
        standing = abs(twist.linear) < _STANDING[0] and abs(twist.angular) < _STANDING[1]
        if step.kind == "turn":
            return self._turn(step.amount, pose, standing)
        if step.kind == "wait":
            waited = now - self._start[0]
            return MotionResult(done=f"waited {waited:.1f} s") if standing and waited >= step.amount else MotionResult()
        if step.kind == "follow":
            return self._follow(now, pose, drive)
        if step.amount < 0:
            return self._back(-step.amount, pose, observation, standing)
        return self._forward(step.amount, now, pose, standing, drive)

    def _turn(self, amount: float, pose: Pose2D, standing: bool) -> MotionResult:
        self._turned += wrap_angle(pose.yaw - self._last_yaw)
        self._last_yaw = pose.yaw
        left = amount - self._turned
        if abs(left) <= _TURNED_RAD:
            text = f"turned {math.degrees(self._turned):.0f} degrees"
            return MotionResult(done=text) if standing else MotionResult()
        return MotionResult(self._controller.turn(left))

    def _forward(self, amount: float, now: float, pose: Pose2D, standing: bool, drive: Drive) -> MotionResult:
        assert self._start is not None
        start = self._start[1]
        goal = start.transform(np.array([amount, 0.0]))
        left = math.hypot(goal[0] - pose.x, goal[1] - pose.y)
        if left <= _MOVED_M:
            moved = math.hypot(pose.x - start.x, pose.y - start.y)
            return MotionResult(done=f"went {moved:.1f} m", left=left) if standing else MotionResult(left=left)
        if now >= self._next_plan or self._path is None:
            self._next_plan = now + self._period
            self._planner.update(self._grid, pose)
            self._path = self._planner.path_to(float(goal[0]), float(goal[1]))
            if self._path is None or _length(self._path) > _DETOUR * left + 0.5:
                done = float(start.inverse().transform(np.array([pose.x, pose.y]))[0])
                return MotionResult(
                    failed=(ErrorCode.NO_PATH, f"something stands in the way after {done:.1f} of {amount:.1f} m")
                )
        return MotionResult(drive(self._path), self._path, left=left)

    def _back(self, amount: float, pose: Pose2D, observation: Observation, standing: bool) -> MotionResult:
        assert self._start is not None
        start = self._start[1]
        done = -float(start.inverse().transform(np.array([pose.x, pose.y]))[0])
        left = amount - done
        if left <= 0.03:
            return MotionResult(done=f"went back {done:.1f} m", left=left) if standing else MotionResult(left=left)
        if self._robot.min_linear >= 0:
            return MotionResult(
                failed=(ErrorCode.INVALID_GOAL, "this robot cannot drive backwards: ask it to turn around")
            )
        body = self._robot.footprint_array()
        if observation.scan is not None:
            points = observation.scan.points()
            behind = points[:, 0] > body[:, 0].min() - min(_BEHIND_M, left)
            inside = (
                behind
                & (points[:, 0] < body[:, 0].min() / 2)
                & (np.abs(points[:, 1]) < np.abs(body[:, 1]).max() + 0.02)
            )
            if inside.any():
                return MotionResult(
                    failed=(ErrorCode.NO_PATH, f"something stands behind the robot after {done:.1f} of {amount:.1f} m")
                )
        speed = min(-self._robot.min_linear, math.sqrt(0.8 * self._robot.max_linear_accel * left) * 0.5)
        return MotionResult(Twist2D(-max(speed, 0.04), 0.0), left=left)

    def _follow(self, now: float, pose: Pose2D, drive: Drive) -> MotionResult:
        if now >= self._next_plan or self._path is None:
            self._next_plan = now + self._period / 2
            self._path = self.corridor.path(pose)
            if self._path is None:
                return MotionResult(done=f"reached the corridor's end after {self.corridor.travelled:.1f} m")
        return MotionResult(drive(self._path), self._path)


def _length(path: Path) -> float:
    return float(np.hypot(*np.diff(path, axis=0).T).sum()) if len(path) > 1 else 0.0
