"""The last scan, carried along by odometry: what a guard has left when the LiDAR falls silent."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Twist2D
from mm_nav.observation import LaserScan


class ScanMemory:
    """Holds the points of the newest good scan, and how far the robot has moved since then.

    age_ns: from the scan's stamp to the last `follow`; None = there was no scan yet. travelled: metres driven and radians
    turned since the scan, added up without sign.
    """

    def __init__(self) -> None:
        self._points: npt.NDArray[np.float64] = np.empty((0, 2))
        self._stamp: int | None = None
        self._followed = 0
        self._x = self._y = self._yaw = 0.0
        self.travelled = 0.0

    def see(self, scan: LaserScan) -> None:
        """Take a good scan in place of the last."""
        self._points, self._stamp, self._followed = scan.points(), scan.stamp_ns, scan.stamp_ns
        self._x = self._y = self._yaw = self.travelled = 0.0

    def follow(self, current: Twist2D, now_ns: int) -> None:
        """Move on with the measured velocity since the last call. A clock that went back leaves nothing to rely on."""
        if self._stamp is None or now_ns < self._followed:
            self._stamp = None
            return
        dt = 1e-9 * (now_ns - self._followed)
        self._followed = now_ns
        middle = self._yaw + 0.5 * current.angular * dt
        self._x += (current.linear * math.cos(middle) - current.lateral * math.sin(middle)) * dt
        self._y += (current.linear * math.sin(middle) + current.lateral * math.cos(middle)) * dt
        self._yaw += current.angular * dt
        self.travelled += (math.hypot(current.linear, current.lateral) + abs(current.angular)) * dt

    @property
    def age_ns(self) -> int | None:
        """How old the scan is at the last `follow`, nanoseconds."""
        return None if self._stamp is None else self._followed - self._stamp

    def points(self) -> npt.NDArray[np.float64]:
        """Return (N, 2) metres: where the scan's points are in base_link now."""
        cos, sin = math.cos(self._yaw), math.sin(self._yaw)
        moved = self._points - (self._x, self._y)
        return np.asarray(moved @ np.array([[cos, -sin], [sin, cos]]))
