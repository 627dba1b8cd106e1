"""What a LiDAR that does not look all around has seen before, in the directions where it does not look now."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.observation import LaserScan

Floats = npt.NDArray[np.float64]

# What is farther from the robot matters no more; of points in one cell so wide, the newest is kept.
_NEAR_M, _CELL_M = 2.5, 0.02


class OutOfView:
    """Keeps points of earlier scans until the LiDAR looks there again. Poses are the odometry's, in odom; way and turned: metres
    driven and radians turned by then, added up without sign."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._points, self._seen = np.empty((0, 2)), np.empty((0, 2))
        self._stamp_ns: int | None = None

    def see(self, scan: LaserScan, points: Floats, start: Pose2D, end: Pose2D, way: float, turned: float) -> None:
        """Take a scan. points: its hits (N, 2), odom. start, end: base_link at its first and last beam. The same scan again
        changes nothing; one from before the last leaves nothing that could be relied on."""
        if scan.stamp_ns == self._stamp_ns or scan.looks_around:
            return
        if self._stamp_ns is not None and scan.stamp_ns < self._stamp_ns:
            self.forget()
        self._stamp_ns = scan.stamp_ns
        hidden = ~_looked_at(scan, self._points, start) | ~_looked_at(scan, self._points, end)
        kept = np.concatenate([points, self._points[hidden]])
        seen = np.concatenate([np.tile((way, turned), (len(points), 1)), self._seen[hidden]])
        near = np.hypot(kept[:, 0] - end.x, kept[:, 1] - end.y) <= _NEAR_M
        kept, seen = kept[near], seen[near]
        columns, rows = np.floor(kept / _CELL_M).astype(np.int64).T
        _, first = np.unique((rows << 32) + columns, return_index=True)
        self._points, self._seen = kept[first], seen[first]

    def hidden(self, scan: LaserScan, taken: Pose2D) -> tuple[Floats, Floats, Floats]:
        """Return the points (N, 2), odom, where the scan, taken from `taken`, does not look; and way and turned (N,) when they
        were seen."""
        if scan.looks_around or not len(self._points):
            return np.empty((0, 2)), np.empty(0), np.empty(0)
        out = ~_looked_at(scan, self._points, taken)
        return self._points[out], self._seen[out, 0], self._seen[out, 1]


def _looked_at(scan: LaserScan, points: Floats, base: Pose2D) -> npt.NDArray[np.bool_]:
    """Return which of points (N, 2) are in a direction where the scan has beams."""
    local = (base @ scan.mount).inverse().transform(points)
    last = abs(scan.angle_increment) * (len(scan.ranges) - 1)
    first = scan.angle_min if scan.angle_increment > 0 else scan.angle_min - last
    return np.asarray(np.mod(np.arctan2(local[:, 1], local[:, 0]) - first, 2 * math.pi) <= last)
