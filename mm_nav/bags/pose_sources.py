"""Odometry from recordings that have poses only: transforms, or a motion-capture system's PoseStamped."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import Odometry
from mm_nav.sensing.messages import yaw_from_quaternion

# A transform's parent and child, as messages name them.
Edge = tuple[bytes, bytes]

# The better ones first.
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


def planar_pose(pose: tuple[float, ...]) -> Pose2D:
    """Return x, y, z (m) and a quaternion x, y, z, w seen from above."""
    x, y, _, qx, qy, qz, qw = pose
    return Pose2D(x, y, yaw_from_quaternion(qx, qy, qz, qw))


def name_of(frame: bytes) -> str:
    """Return a frame's name without slashes around it."""
    return frame.decode("utf-8", "replace").strip("/")


def last_name(name: str) -> str:
    """Return a frame's name without its namespace."""
    return name.rsplit("/", 1)[-1]


def best_odometry_edge(edges: Iterable[Edge]) -> Edge | None:
    """Return which of the transforms to take the robot's pose from, rather from its odom frame than from a map; None = none."""
    found = [edge for edge in edges if is_odometry_transform(*edge)]
    return min(found, key=lambda edge: (ODOM_FRAMES.index(last_name(name_of(edge[0]))), edge), default=None)


def is_odometry_transform(parent: bytes, child: bytes) -> bool:
    """Return whether a transform tells where the robot is, in whatever namespace: from an odometry or map frame to its base."""
    return last_name(name_of(parent)) in ODOM_FRAMES and last_name(name_of(child)).startswith("base")
