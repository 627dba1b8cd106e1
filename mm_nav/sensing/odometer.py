"""How far a robot has come, by the poses that its odometry tells."""

from __future__ import annotations

from mm_nav.geometry import Pose2D, wrap_angle


class Odometer:
    """way, turned: metres driven and radians turned so far, added up without sign."""

    def __init__(self) -> None:
        self.way, self.turned = 0.0, 0.0
        self._last: Pose2D | None = None

    def add(self, pose: Pose2D) -> None:
        """Take the next pose."""
        if self._last is not None:
            self.way += pose.distance_to(self._last)
            self.turned += abs(wrap_angle(pose.yaw - self._last.yaw))
        self._last = pose

    def lift(self) -> None:
        """What comes next is no way from the last pose: a clock went back."""
        self._last = None
