"""Sweeps of a LiDAR that moves while it turns, as if all their beams had been sent at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.observation import LaserScan, Observation
from mm_nav.sensing.synchronizer import extrapolate

Floats = npt.NDArray[np.float64]


def sweep_end_ns(scan: LaserScan) -> int:
    """Return the time when the sweep ends, one beam after the last."""
    return scan.stamp_ns + round(1e9 * scan.time_increment_s * len(scan.ranges))


def deskewed_points(scan: LaserScan, start: Pose2D, end: Pose2D) -> Floats:
    """Return the hits (M, 2), metres, in the frame of start and end: base_link at the first beam, and when the sweep ends."""
    hit = scan.valid()
    return _moved(scan, hit, scan.ranges[hit].astype(np.float64), start, end)


def deskewed(scan: LaserScan, start: Pose2D, end: Pose2D, stamp_ns: int) -> LaserScan:
    """Return the scan as it would have been at stamp_ns, all at once, from where the frame of the poses is base_link.

    start, end: base_link at the first beam, and when the sweep ends. Every beam keeps its length but for the way that the sensor
    made; several that end up in one direction leave the nearest, and where none does it is NaN, or what is on either side.
    """
    # Where it ends says nothing of a scan that is taken all at once; what rounding leaves of standing still is no sweep.
    if start == Pose2D() and (end == start or scan.time_increment_s == 0.0):
        return replace(scan, stamp_ns=stamp_ns, time_increment_s=0.0)
    count, every = len(scan.ranges), np.arange(len(scan.ranges))
    finite = np.isfinite(scan.ranges)
    # What has no end has a direction all the same.
    length = np.where(finite, scan.ranges, scan.range_max).astype(np.float64)
    local = scan.mount.inverse().transform(_moved(scan, every, length, start, end))
    turned = np.arctan2(local[:, 1], local[:, 0]) - scan.angles()
    position = every + (np.mod(turned + np.pi, 2 * np.pi) - np.pi) / scan.angle_increment
    ranges = np.where(finite, np.hypot(local[:, 0], local[:, 1]), scan.ranges)
    target = np.round(position).astype(np.int64)
    if scan.looks_around:
        target %= count
    known = (target >= 0) & (target < count) & ~np.isnan(ranges)
    found = np.full(count, np.inf)
    np.minimum.at(found, target[known], ranges[known])
    given = np.zeros(count, bool)
    given[target[known]] = True
    # Beams that went apart leave gaps of one.
    left, right = np.maximum(every - 1, 0), np.minimum(every + 1, count - 1)
    between = ~given & given[left] & given[right]
    found[between] = np.maximum(found[left], found[right])[between]
    found[~given & ~between] = np.nan
    return replace(scan, stamp_ns=stamp_ns, ranges=found.astype(np.float32), time_increment_s=0.0)


def all_at_once(observation: Observation) -> Observation:
    """Return the observation with its scan as it would have been taken at the observation's stamp, where the odometry is of then
    and its twist went on as it is; the same one where nothing is to be done."""
    scan, odometry = observation.scan, observation.odometry
    if scan is None or (scan.time_increment_s == 0.0 and scan.stamp_ns == observation.stamp_ns):
        return observation
    back = extrapolate(odometry, observation.stamp_ns).pose.inverse()
    start, end = (back @ extrapolate(odometry, stamp).pose for stamp in (scan.stamp_ns, sweep_end_ns(scan)))
    return replace(observation, scan=deskewed(scan, start, end, observation.stamp_ns))


def _moved(scan: LaserScan, beams: npt.NDArray[np.generic], length: Floats, start: Pose2D, end: Pose2D) -> Floats:
    """Return the ends (M, 2) of beams, an index or a mask of them, of so many metres, in the frame of the poses."""
    angles = scan.angles()[beams]
    mounted = scan.mount.transform(np.stack([length * np.cos(angles), length * np.sin(angles)], axis=-1))
    if scan.time_increment_s == 0.0 or start == end:
        return start.transform(mounted)
    share = (np.arange(len(scan.ranges)) / len(scan.ranges))[beams]
    yaw = start.yaw + share * wrap_angle(end.yaw - start.yaw)
    cos, sin = np.cos(yaw), np.sin(yaw)
    x = start.x + share * (end.x - start.x) + cos * mounted[:, 0] - sin * mounted[:, 1]
    y = start.y + share * (end.y - start.y) + sin * mounted[:, 0] + cos * mounted[:, 1]
    return np.stack([x, y], axis=-1)
