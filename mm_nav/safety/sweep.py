"""Where a robot may be until it stands still: its motion under a command, and how near its body comes to points on the way.

docs/safety.md has the reasoning. The wheels follow commands with a delay that is not known exactly, and change their speeds no
faster than the robot's accelerations; forward speed and turning rate ramp one by one, so braking does not keep to an arc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Twist2D
from mm_nav.robot import RobotConfig

Floats = npt.NDArray[np.float64]

# Poses on the way are no farther apart than this, in metres of the body's fastest corner.
_STEP_M = 0.025
_FEWEST, _MOST = 6, 80


@dataclass(frozen=True)
class Pending:
    """A command that the wheels may not have answered yet. until_s: from now until they answer the one after it, at most."""

    twist: Twist2D
    until_s: float


@dataclass(frozen=True)
class Poses:
    """x, y (m), yaw (rad) in base_link of now: (rows, times) float64. times: (1, times) s from now, for what moves."""

    x: Floats
    y: Floats
    yaw: Floats
    times: Floats = field(default_factory=lambda: np.zeros((1, 1)))

    def lengths(self) -> tuple[Floats, Floats]:
        """Return how far each way is, m, and by how much it turns, rad, both without sign: (rows, 1)."""
        steps = np.hypot(np.diff(self.x, axis=1), np.diff(self.y, axis=1)).sum(axis=1, keepdims=True)
        return steps, np.abs(np.diff(self.yaw, axis=1)).sum(axis=1, keepdims=True)


def stopping_ways(
    wanted: Floats,
    now: Twist2D,
    pending: Sequence[Pending],
    robot: RobotConfig,
    reaction_s: float,
    braking_share: float,
) -> Poses:
    """Return the ways from now until standstill if each of `wanted` (K, 2), m/s and rad/s, is commanded, then zero.

    now: measured. pending: what was commanded before, in order. reaction_s: from now until the wheels answer the zero. Each has
    four rows: the command is answered at once, with braking as hard as is counted on (braking_share of what the robot can); with
    braking as hard as it can; only for half the time; as late as can be, after what is pending.
    """
    count = len(wanted)
    shares = np.tile([braking_share, 1.0, braking_share, braking_share], count)[:, None]
    # When each phase ends, in each row; the next begins there.
    late = np.tile([0.0, 0.0, 0.0, 1.0], count)[:, None]
    ends = [late * min(item.until_s, reaction_s) for item in pending]
    ends.append(np.tile([reaction_s, reaction_s, 0.5 * reaction_s, reaction_s], count)[:, None])
    repeated = np.repeat(wanted, 4, axis=0)
    commanded = [np.array([[p.twist.linear, p.twist.angular]]) for p in pending] + [repeated]
    limits = np.array([robot.max_linear_accel, robot.max_angular_accel])
    fastest = np.max([np.abs(c).max(axis=0) for c in commanded] + [np.abs([now.linear, now.angular])], axis=0)
    stop = float((fastest / (braking_share * limits)).max())
    travel = float(fastest @ [1.0, robot.circumscribed_radius]) * (reaction_s + 0.5 * stop)
    steps = int(np.clip(math.ceil(travel / _STEP_M), _FEWEST, _MOST))
    times = np.linspace(0.0, reaction_s + stop, steps + 1)[None]
    middles, dt = 0.5 * (times[:, 1:] + times[:, :-1]), np.diff(times)
    linear, angular = (
        _speeds(middles, start, [c[:, k : k + 1] for c in commanded], ends, limits[k], shares)
        for k, start in enumerate((now.linear, now.angular))
    )
    turned = angular * dt
    yaw = np.cumsum(turned, axis=1)
    towards = yaw - 0.5 * turned
    x = np.cumsum(linear * np.cos(towards) * dt, axis=1)
    y = np.cumsum(linear * np.sin(towards) * dt, axis=1)
    return Poses(x, y, yaw, times[:, 1:])


def _speeds(
    times: Floats, start: float, targets: Sequence[Floats], ends: Sequence[Floats], limit: float, shares: Floats
) -> Floats:
    """Return the speed at `times` (1, T) in each row: towards each of the targets until its end, then towards zero."""
    speed, began = np.full((len(shares), 1), start), np.zeros((len(shares), 1))
    found = np.zeros((len(shares), times.shape[1]))
    for target, end in zip(targets, ends, strict=True):
        end = np.maximum(end, began)
        found = np.where(times >= began, _ramp(speed, target, limit, np.maximum(times - began, 0.0), shares), found)
        speed, began = _ramp(speed, target, limit, end - began, shares), end
    braking = _ramp(speed, np.zeros((1, 1)), limit, np.maximum(times - began, 0.0), shares)
    return np.asarray(np.where(times >= began, braking, found))


def _ramp(start: Floats, target: Floats, limit: float, after: Floats, shares: Floats) -> Floats:
    """Return the speed `after` seconds on the way from start to target: up as fast as can be, down as is counted on."""
    # The way down ends at the target, or at zero where that lies in between.
    same = start * target >= 0.0
    lowest = np.where(same, np.sign(start) * np.minimum(np.abs(target), np.abs(start)), 0.0)
    slowing_s = np.abs(start - lowest) / (shares * limit)
    slowed = start - np.sign(start) * np.minimum(shares * limit * after, np.abs(start - lowest))
    gap = target - lowest
    return np.asarray(slowed + np.sign(gap) * np.minimum(limit * np.maximum(after - slowing_s, 0.0), np.abs(gap)))


def clearances(robot: RobotConfig, points: Floats, poses: Poses, velocities: Floats | None = None) -> Floats:
    """Return (rows, points): the least distance, m, from the body's edges to each of points (N, 2) on each of the ways.

    Negative inside; outside, near corners, a little less than the true distance. velocities: (N, 2) m/s, of points that move;
    None = they stand.
    """
    corners = robot.footprint_array()
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=-1) / np.hypot(*edges.T)[:, None]
    offsets = (corners * normals).sum(axis=1)
    rows, times = poses.x.shape
    # Of a point and an edge at a pose: n . R^T (p - t) - offset, as one product of (rows * times * edges, 3) and (3, points).
    cos, sin = np.cos(poses.yaw), np.sin(poses.yaw)
    a = cos[..., None] * normals[:, 0] - sin[..., None] * normals[:, 1]
    b = sin[..., None] * normals[:, 0] + cos[..., None] * normals[:, 1]
    c = -(a * poses.x[..., None] + b * poses.y[..., None]) - offsets
    factors, lifted = [a, b, c], [points, np.ones((len(points), 1))]
    if velocities is not None:
        after = poses.times[..., None]
        factors, lifted = [*factors, a * after, b * after], [*lifted, velocities]
    planes = np.stack(factors, axis=-1).reshape(rows * times, len(normals), len(factors))
    found = np.matmul(planes, np.concatenate(lifted, axis=1).T).max(axis=1).reshape(rows, times, len(points))
    return np.asarray(found.min(axis=1))
