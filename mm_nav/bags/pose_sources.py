"""Odometry from recordings that have poses only: transforms, or a motion-capture system's PoseStamped."""

from __future__ import annotations

import math
from typing import Any

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import Odometry
from mm_nav.sensing.messages import yaw_from_quaternion

ODOM_FRAMES = ("odom", "map", "world")
# Over a longer gap a difference of poses says nothing about the present velocity.
_LONGEST_GAP_S = 1.0


class PoseDifferentiator:
    """Adds to poses the velocity since the pose before."""

    def __init__(self) -> None:
        self._last: Odometry | None = None

    def add(self, stamp_ns: int, pose: Pose2D) -> Odometry:
        """Return the pose as odometry; its twist is the mean since the last pose, zero for the first or after a gap."""
        twist = Twist2D()
        if self._last is not None:
            dt = 1e-9 * (stamp_ns - self._last.stamp_ns)
            if 0 < dt <= _LONGEST_GAP_S:
                moved = self._last.pose.inverse() @ pose
                # Along the middle heading, so that a circle at constant speed has no sideways part.
                c, s = math.cos(moved.yaw / 2), math.sin(moved.yaw / 2)
                ahead, aside = c * moved.x + s * moved.y, c * moved.y - s * moved.x
                twist = Twist2D(ahead / dt, moved.yaw / dt, aside / dt)
        self._last = Odometry(stamp_ns, pose, twist)
        return self._last


def planar_pose(position: Any, orientation: Any) -> Pose2D:
    """Return a position and a quaternion, as messages carry them, seen from above."""
    yaw = yaw_from_quaternion(orientation.x, orientation.y, orientation.z, orientation.w)
    return Pose2D(float(position.x), float(position.y), yaw)


def is_odometry_transform(parent: str, child: str) -> bool:
    """Return whether a transform tells where the robot is: from an odometry or map frame to its base."""
    return parent.strip("/") in ODOM_FRAMES and child.strip("/").startswith("base")
