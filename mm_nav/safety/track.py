"""Where the robot was a moment ago, by its odometry."""

from __future__ import annotations

from collections import deque
from itertools import islice

from mm_nav.geometry import Pose2D
from mm_nav.observation import Odometry
from mm_nav.sensing.odometer import Odometer
from mm_nav.sensing.synchronizer import extrapolate, interpolate

_KEPT_NS = 3_000_000_000


class Track:
    """The odometry of the last three seconds, and how far the robot has come in all."""

    def __init__(self) -> None:
        self._kept: deque[Odometry] = deque()
        self.odometer = Odometer()

    def add(self, odometry: Odometry) -> None:
        """Take the newest; a clock that went back begins anew."""
        if self._kept and odometry.stamp_ns < self._kept[-1].stamp_ns:
            self._kept.clear()
            self.odometer.lift()
        if not self._kept or odometry.stamp_ns > self._kept[-1].stamp_ns:
            self.odometer.add(odometry.pose)
            self._kept.append(odometry)
        while self._kept[0].stamp_ns < odometry.stamp_ns - _KEPT_NS:
            self._kept.popleft()

    def at(self, stamp_ns: int) -> Pose2D:
        """Return the pose at a time, odom frame: between two of what is kept, or on from the last at its twist.

        Before the first it is the first.
        """
        after = self._kept[-1]
        if stamp_ns >= after.stamp_ns:
            return extrapolate(after, stamp_ns).pose
        for before in islice(reversed(self._kept), 1, None):
            if before.stamp_ns <= stamp_ns:
                return interpolate(before, after, stamp_ns).pose
            after = before
        return after.pose
