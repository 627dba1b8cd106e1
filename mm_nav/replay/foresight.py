"""Where the stack would have been some seconds on, had it driven from where the recorded robot was."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, Twist2D, towards, wrap_angle
from mm_nav.replay.records import AHEAD_S
from mm_nav.robot import RobotConfig

Floats = npt.NDArray[np.float64]

_DT_S = 0.05
_EVERY = round(AHEAD_S[0] / _DT_S)
# The command itself holds for so long; after it the plan is followed.
_COMMAND_S = 0.2
# The point of the plan that is driven at is so far ahead: at least, and in seconds of driving.
_AHEAD_M, _AHEAD_TIME_S = 0.35, 0.6
_CRUISE = 0.9
_GAIN = 2.0  # rad/s for each rad
_TURN_RAD = 1.2  # from here on it turns on the spot


def foresee(robot: RobotConfig, pose: Pose2D, now: Twist2D, command: Twist2D, plan: Floats) -> Floats:
    """Return (len(AHEAD_S), 3): x, y, yaw in the frame of `pose` and `plan` (N, 2), metres, at AHEAD_S.

    now: measured twist. command: what the stack asks for at this moment. The robot keeps its limits of speed and acceleration, does
    as it is told for the time to the next command or two, then pursues the plan, slows down at its end and stays there. Without
    a plan it goes on as it is told. Nothing is random.
    """
    found = np.empty((len(AHEAD_S), 3))
    x, y, yaw, v, w = pose.x, pose.y, pose.yaw, now.linear, now.angular
    dv, dw = robot.max_linear_accel * _DT_S, robot.max_angular_accel * _DT_S
    points, along = _ahead(plan, x, y)
    at = 0
    for k in range(_EVERY * len(AHEAD_S)):
        if k * _DT_S < _COMMAND_S or not points:
            wanted_v, wanted_w = command.linear, command.angular
        else:
            reach = max(_AHEAD_M, _AHEAD_TIME_S * abs(v))
            while at < len(points) - 1 and math.hypot(points[at][0] - x, points[at][1] - y) < reach:
                at += 1
            gap = math.hypot(points[at][0] - x, points[at][1] - y)
            left = along[-1] - along[at] + gap
            error = wrap_angle(math.atan2(points[at][1] - y, points[at][0] - x) - yaw)
            wanted_v = wanted_w = 0.0
            if left > 0.05:
                top = min(_CRUISE * robot.max_linear, math.sqrt(0.8 * robot.max_linear_accel * left))
                wanted_v = top * max(0.0, 1.0 - abs(error) / _TURN_RAD)
                wanted_w = _GAIN * error
        wanted_v = min(max(wanted_v, robot.min_linear), robot.max_linear)
        wanted_w = min(max(wanted_w, -robot.max_angular), robot.max_angular)
        v, w = towards(v, wanted_v, dv), towards(w, wanted_w, dw)
        middle = yaw + 0.5 * w * _DT_S
        x, y, yaw = x + v * math.cos(middle) * _DT_S, y + v * math.sin(middle) * _DT_S, yaw + w * _DT_S
        if (k + 1) % _EVERY == 0:
            found[(k + 1) // _EVERY - 1] = x, y, wrap_angle(yaw)
    return found


def straight_on(pose: Pose2D, twist: Twist2D) -> Floats:
    """Return (len(AHEAD_S), 3), as `foresee`: where a robot is that just goes on with its twist. What every planner must beat."""
    t = np.array(AHEAD_S)
    turn = twist.angular * t
    half = 0.5 * turn
    chord = twist.linear * t * np.sinc(half / np.pi)
    return np.stack(
        [pose.x + chord * np.cos(pose.yaw + half), pose.y + chord * np.sin(pose.yaw + half), pose.yaw + turn], axis=-1
    )


def _ahead(plan: Floats, x: float, y: float) -> tuple[list[tuple[float, float]], list[float]]:
    """Return what is left of a plan from its point nearest to x, y, and how far along it each point is, m."""
    if len(plan) == 0:
        return [], []
    left = plan[int(np.argmin(np.hypot(plan[:, 0] - x, plan[:, 1] - y))) :]
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(left, axis=0).T))])
    return [(float(px), float(py)) for px, py in left], [float(a) for a in along]
