"""The last scans, carried along by odometry: what a guard has left when the LiDAR falls silent."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.observation import LaserScan

# Beside the newest scan, earlier ones are kept from this far apart: what stood round the corner of the newest, they saw.
_APART_M, _APART_RAD = 0.7, 0.8
_KEPT = 12


class ScanMemory:
    """Holds the points of the newest good scan and of some before it, and how far the robot has moved since.

    age_ns: from the newest scan's stamp to the last `follow`; None = there was no scan yet. travelled: metres driven and
    radians turned since that scan, added up without sign. Poses are the odometry's.
    """

    def __init__(self) -> None:
        self._pose = Pose2D()
        self._newest: npt.NDArray[np.float64] = np.empty((0, 2))
        self._earlier: deque[tuple[Pose2D, npt.NDArray[np.float64]]] = deque(maxlen=_KEPT)
        self._stamp: int | None = None
        self._followed = 0
        self.travelled = 0.0

    def see(self, scan: LaserScan, pose: Pose2D) -> None:
        """Take a good scan as the newest. pose: from where it was taken."""
        if scan.stamp_ns == self._stamp:
            return
        if self._stamp is None:
            self._earlier.clear()
        self._pose, self._followed = pose, max(scan.stamp_ns, self._followed)
        self._newest, self._stamp = pose.transform(scan.points()), scan.stamp_ns
        self.travelled = 0.0
        if not self._earlier or _apart(self._earlier[-1][0], pose):
            self._earlier.append((pose, self._newest))

    def follow(self, pose: Pose2D, now_ns: int) -> None:
        """Note where the robot is now. A clock that went back leaves nothing to rely on."""
        if self._stamp is None or now_ns < self._followed:
            self._stamp, self._followed = None, now_ns
            return
        self.travelled += pose.distance_to(self._pose) + abs(wrap_angle(pose.yaw - self._pose.yaw))
        self._pose, self._followed = pose, now_ns

    @property
    def age_ns(self) -> int | None:
        """How old the newest scan is at the last `follow`, nanoseconds."""
        return None if self._stamp is None else self._followed - self._stamp

    def points(self) -> npt.NDArray[np.float64]:
        """Return (N, 2) metres: where the scans' points are in base_link now."""
        earlier = [points for _, points in self._earlier if points is not self._newest]
        return self._pose.inverse().transform(np.concatenate([self._newest, *earlier]))


def _apart(one: Pose2D, other: Pose2D) -> bool:
    return one.distance_to(other) >= _APART_M or abs(wrap_angle(one.yaw - other.yaw)) >= _APART_RAD
