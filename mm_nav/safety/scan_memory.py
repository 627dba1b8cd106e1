"""The last scans, carried along by odometry: what a guard has left when the LiDAR falls silent."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.observation import LaserScan

# Beside the newest scan, earlier ones are kept from this far apart: what stood round the corner of the newest, they saw.
_APART_M, _APART_RAD = 0.7, 0.8
_KEPT = 12


class ScanMemory:
    """Holds the points of the newest good scan and of some before it, and how far the robot has moved since.

    age_ns: from the newest scan's stamp to the last `follow`; None = there was no scan yet. travelled: metres driven and
    radians turned since that scan, added up without sign.
    """

    def __init__(self) -> None:
        self._pose = Pose2D()  # by the wheels, from where the first scan was taken
        self._newest: npt.NDArray[np.float64] = np.empty((0, 2))
        self._earlier: deque[tuple[Pose2D, npt.NDArray[np.float64]]] = deque(maxlen=_KEPT)
        self._stamp: int | None = None
        self._followed = 0
        self.travelled = 0.0

    def see(self, scan: LaserScan, current: Twist2D) -> None:
        """Take a good scan as the newest. current: measured velocity."""
        if scan.stamp_ns == self._stamp:
            return
        if self._stamp is None:
            self._earlier.clear()
            self._followed = scan.stamp_ns
        self._advance(current, scan.stamp_ns)
        self._newest, self._stamp = self._pose.transform(scan.points()), scan.stamp_ns
        self.travelled = 0.0
        if not self._earlier or _apart(self._earlier[-1][0], self._pose):
            self._earlier.append((self._pose, self._newest))

    def follow(self, current: Twist2D, now_ns: int) -> None:
        """Move on with the measured velocity since the last call. A clock that went back leaves nothing to rely on."""
        if self._stamp is None or now_ns < self._followed:
            self._stamp = None
            return
        self._advance(current, now_ns)

    @property
    def age_ns(self) -> int | None:
        """How old the newest scan is at the last `follow`, nanoseconds."""
        return None if self._stamp is None else self._followed - self._stamp

    def points(self) -> npt.NDArray[np.float64]:
        """Return (N, 2) metres: where the scans' points are in base_link now."""
        earlier = [points for _, points in self._earlier if points is not self._newest]
        return self._pose.inverse().transform(np.concatenate([self._newest, *earlier]))

    def _advance(self, current: Twist2D, until_ns: int) -> None:
        dt = 1e-9 * max(0, until_ns - self._followed)
        self._followed = max(self._followed, until_ns)
        # Along the chord of the arc that is driven in dt.
        middle = 0.5 * current.angular * dt
        x = (current.linear * math.cos(middle) - current.lateral * math.sin(middle)) * dt
        y = (current.linear * math.sin(middle) + current.lateral * math.cos(middle)) * dt
        self._pose = self._pose @ Pose2D(x, y, current.angular * dt)
        self.travelled += (math.hypot(current.linear, current.lateral) + abs(current.angular)) * dt


def _apart(one: Pose2D, other: Pose2D) -> bool:
    return one.distance_to(other) >= _APART_M or abs(wrap_angle(one.yaw - other.yaw)) >= _APART_RAD
