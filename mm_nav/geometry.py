"""Planar geometry: poses, twists and angles. Metres, radians, right-handed, x forward, y left (REP 103)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def wrap_angle(angle: float) -> float:
    """Return `angle` (rad) wrapped to [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


def wrap_angles(angles: FloatArray) -> FloatArray:
    """Return `angles` (any shape, rad) wrapped to [-pi, pi)."""
    return (angles + np.pi) % (2.0 * np.pi) - np.pi


def towards(value: float, target: float, step: float) -> float:
    """Return `value` moved by at most `step` (0 or more) to `target`."""
    return min(value + step, target) if target > value else max(value - step, target)


@dataclass(frozen=True)
class Pose2D:
    """Position and heading of a frame in its parent frame.

    x, y: metres. yaw: radians, counter-clockwise from the parent's x axis.
    """

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0

    def __matmul__(self, other: Pose2D) -> Pose2D:
        """Compose: `a_T_b @ b_T_c` is `a_T_c`."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return Pose2D(
            self.x + c * other.x - s * other.y,
            self.y + s * other.x + c * other.y,
            wrap_angle(self.yaw + other.yaw),
        )

    def inverse(self) -> Pose2D:
        """Return the pose of the parent frame in this frame."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return Pose2D(-c * self.x - s * self.y, s * self.x - c * self.y, wrap_angle(-self.yaw))

    def transform(self, points: FloatArray) -> npt.NDArray[np.float64]:
        """Map points (..., 2), metres, from this frame to its parent frame."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        rotation = np.array([[c, -s], [s, c]])
        return np.asarray(np.asarray(points, np.float64) @ rotation.T + (self.x, self.y))

    def distance_to(self, other: Pose2D) -> float:
        """Return the straight-line distance to `other` in metres."""
        return math.hypot(self.x - other.x, self.y - other.y)


@dataclass(frozen=True)
class Twist2D:
    """Velocity of the robot in its own frame (base_link).

    linear: m/s forward. angular: rad/s counter-clockwise. lateral: m/s to the left (0 for differential drives).
    """

    linear: float = 0.0
    angular: float = 0.0
    lateral: float = 0.0
