"""Does the LiDAR send the same scan again and again, while the odometry says that the robot moves?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.observation import LaserScan

# What moves slower than this stands, m/s and rad/s together: odometry that is filtered drifts a little.
_STILL = 0.01


class Repetition:
    """The scans in a row that have the very same ranges. count: how many. way: metres and radians, added up, that the robot has
    come from the first of them to the last."""

    def __init__(self) -> None:
        self.count, self.way = 0, 0.0
        self._ranges: npt.NDArray[np.float32] | None = None
        self._pose, self._stamp_ns = Pose2D(), 0

    def see(self, scan: LaserScan, pose: Pose2D) -> None:
        """Take the next scan. pose: where the robot was at its stamp, odom frame."""
        same = self._ranges is not None and np.array_equal(scan.ranges, self._ranges, equal_nan=True)
        # A world without returns is the same everywhere.
        if same and bool(scan.valid().any()):
            step = pose.distance_to(self._pose) + abs(wrap_angle(pose.yaw - self._pose.yaw))
            self.count += 1
            self.way += step if step > _STILL * 1e-9 * (scan.stamp_ns - self._stamp_ns) else 0.0
        else:
            self.count, self.way = 1, 0.0
        self._ranges, self._pose, self._stamp_ns = scan.ranges.copy(), pose, scan.stamp_ns
