"""Does the odometry hold together: frames, rotation, and whether its twist is the derivative of its pose?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mm_nav.observation import Odometry
from mm_nav.ros.graph_snapshot import Finding, GraphSnapshot, fail, ok, warn
from mm_nav.ros.topics import frames

Floats = npt.NDArray[np.float64]

# Pose and twist are compared over steps of at least so much time: wheel encoders are coarse.
_STEP_S = 0.1
# From so much way or turn on they are compared at all, m and rad.
_WAY, _STILL = 0.1, 0.02
# What of the pose's derivative the twist may be: smoothing and accelerating make some difference.
_LOW, _HIGH = 0.6, 1.6
# A share of what is left over that tells the wrong frame from the right one.
_BETTER = 0.25
# Beside what the robot can drive in a step, a pose may move by so much.
_JUMP_M = 0.3


def check_odometry(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on the odometry that came."""
    message = s.heard("odom").newest
    if message is None:
        return []
    f, item = frames(), "odom: frames"
    q = message.pose.pose.orientation
    length = math.sqrt(q.x**2 + q.y**2 + q.z**2 + q.w**2)
    header, child = message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/")
    names = f"{header or '?'} -> {child or '?'}"
    if header != f.odom or child not in (f.base, "base_footprint"):
        remedy = (
            "set the driver's frames (odom_frame, base_frame): the stack takes it for this, viewers and Nav2 do not"
        )
        found = [warn(item, "odom_frames", names, f"{f.odom} -> {f.base} (REP 105)", remedy)]
    else:
        found = [ok(item, names, f"{f.odom} -> {f.base} (REP 105)")]
    if not 0.9 < length < 1.1:
        text = f"pose.orientation has length {length:.3g}"
        remedy = "correct the driver: with no rotation it must say w = 1"
        return [*found, fail("odom: motion", "odom_rotation", text, "length 1", remedy)]
    return [*found, _motion(s)]


def _motion(s: GraphSnapshot) -> Finding:
    item, expected = "odom: motion", "a twist that is the derivative of the pose, in base_link"
    track = _thinned(s.odometry)
    if not all(
        math.isfinite(v) for o in track for v in (o.pose.x, o.pose.y, o.pose.yaw, o.twist.linear, o.twist.angular)
    ):
        return fail(
            item, "odom_nan", "pose or twist is not finite", expected, "correct the driver: such odometry is ignored"
        )
    if len(track) < 2:
        return ok(item, "too short to compare", expected)
    dt = np.array([1e-9 * (b.stamp_ns - a.stamp_ns) for a, b in pairwise(track)])
    world = np.array([(b.pose.x - a.pose.x, b.pose.y - a.pose.y) for a, b in pairwise(track)])
    body = _turned(world, [-a.pose.yaw - 0.5 * _turn(a, b) for a, b in pairwise(track)])
    turns = np.array([_turn(a, b) for a, b in pairwise(track)])
    told = _told(s.odometry, track) * dt[:, None]
    steps = np.hypot(*world.T)
    if (steps > 2.0 * s.robot.body.max_linear * dt + _JUMP_M).any():
        text = f"the pose jumps by {steps.max():.2f} m"
        remedy = "use odometry that never jumps (REP 105): corrections belong into map -> odom; or do two sources publish it?"
        return fail(item, "odom_jump", text, expected, remedy)
    way, turn = float(steps.sum()), float(np.abs(turns).sum())
    told_way, told_turn = float(np.hypot(told[:, 0], told[:, 1]).sum()), float(np.abs(told[:, 2]).sum())
    if max(way, turn, told_way, told_turn) < _WAY:
        return ok(item, "it stands still; drive it about while checking, and pose and twist are compared", expected)
    measured = f"pose {way:.2f} m, {turn:.2f} rad; twist {told_way:.2f} m, {told_turn:.2f} rad"
    if way >= _WAY:
        left, other = np.square(told[:, :2] - body).sum(), np.square(told[:, :2] - world).sum()
        if other < _BETTER * left and left > 0.1 * np.square(world).sum():
            text = f"{measured}: the twist is in {frames().odom}, not in {frames().base}"
            return fail(
                item, "twist_frame", text, expected, "publish the twist in child_frame_id, as nav_msgs/Odometry has it"
            )
        if wrong := _ratio(told[:, 0], body[:, 0], "linear.x", way):
            return fail(item, "twist_linear", f"{measured}: {wrong}", expected, _REMEDY)
    elif told_way >= _WAY and way < _STILL:
        return fail(item, "twist_linear", f"{measured}: the pose stands", expected, _REMEDY)
    if turn >= _WAY:
        if wrong := _ratio(told[:, 2], turns, "angular.z", turn):
            return fail(item, "twist_angular", f"{measured}: {wrong}", expected, _REMEDY)
    elif told_turn >= _WAY and turn < _STILL:
        return fail(item, "twist_angular", f"{measured}: the heading stands", expected, _REMEDY)
    return ok(item, measured, expected)


_REMEDY = (
    "correct the driver (signs, units, wheel radius and distance): the guard computes stopping ways from the twist"
)


def _ratio(told: Floats, moved: Floats, name: str, way: float) -> str:
    """Return what is wrong with a twist's component beside how the pose moved, or ""."""
    power = float(moved @ moved)
    if power < 0.25 * way * way / len(moved):  # it moved another way, such as sideways
        return ""
    share = float(told @ moved) / power
    if abs(share) < 0.1:
        return f"{name} says that it stands"
    if share < 0.0:
        return f"{name} has the wrong sign"
    if 40.0 < share < 75.0:
        return f"{name} is {share:.0f} times as much: degrees?"
    return "" if _LOW < share < _HIGH else f"{name} is {share:.2f} times as much"


def _thinned(odometry: Sequence[Odometry]) -> list[Odometry]:
    """Return messages that are at least a step apart, oldest first."""
    kept: list[Odometry] = []
    for item in odometry:
        if not kept or item.stamp_ns - kept[-1].stamp_ns >= 1e9 * _STEP_S:
            kept.append(item)
    return kept


def _told(odometry: Sequence[Odometry], track: Sequence[Odometry]) -> Floats:
    """Return the mean twist (K-1, 3) of the messages within each step: linear, lateral, angular."""
    rows = []
    for a, b in pairwise(track):
        within = [o.twist for o in odometry if a.stamp_ns <= o.stamp_ns <= b.stamp_ns]
        rows.append(np.mean([(t.linear, t.lateral, t.angular) for t in within], axis=0))
    return np.array(rows, np.float64).reshape(-1, 3)


def _turn(a: Odometry, b: Odometry) -> float:
    return math.remainder(b.pose.yaw - a.pose.yaw, 2.0 * math.pi)


def _turned(vectors: Floats, angles: Sequence[float]) -> Floats:
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([c * vectors[:, 0] - s * vectors[:, 1], s * vectors[:, 0] + c * vectors[:, 1]], axis=1)
