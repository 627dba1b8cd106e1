"""Any planar LiDAR as a ring of equal sectors around base_link."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mm_nav.observation import LaserScan

# Beams that lie on a sector's edge (a 360-beam LiDAR and 360 sectors) must all fall on the same side of it.
_EDGE = 1e-4


def resample(
    scan: LaserScan, bins: int = 360, max_range: float = 10.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return (ranges, valid), each (bins,) float32: how far base_link sees in every direction.

    Sector i is centred on -pi + (i + 0.5) * 2 pi / bins in base_link. ranges: metres from base_link's origin, the
    nearest return of the sector, at most max_range; no return (inf, or beyond the sensor's range) is max_range.
    valid: 1 = measured, 0 = the LiDAR does not look there or gave nothing usable (nan, below range_min); its range is
    max_range. Fewer beams than sectors: a sector takes the nearest beam that is at most half a beam spacing away.
    """
    width = 2.0 * math.pi / bins
    raw = np.asarray(scan.ranges, np.float64)
    with np.errstate(invalid="ignore"):
        # REP 117: -inf is something too close to measure, inf nothing at all, nan a fault.
        close = np.isneginf(raw)
        free = raw > scan.range_max
        used = close | free | ((raw >= scan.range_min) & (raw <= scan.range_max))
    distance = np.where(close, scan.range_min, np.where(free, max_range, raw))[used]
    angles = scan.angles()[used]
    mount = scan.mount
    if mount.x == 0.0 and mount.y == 0.0:
        bearings, reach = angles + mount.yaw, distance
    else:
        ends = mount.transform(np.stack([distance * np.cos(angles), distance * np.sin(angles)], axis=-1))
        bearings, reach = np.arctan2(ends[:, 1], ends[:, 0]), np.hypot(ends[:, 0], ends[:, 1])
        reach = np.where(free[used], max_range, reach)

    position = np.mod((bearings + math.pi) / width + _EDGE, bins)
    ranges = np.full(bins, np.inf)
    np.minimum.at(ranges, np.minimum(position.astype(np.intp), bins - 1), reach)
    spacing = abs(scan.angle_increment) / width
    # Seen from base_link, the beams of a LiDAR that sits elsewhere spread up to about twice as far near the robot.
    allowed = (0.5 if reach is distance else 1.0) * spacing
    if allowed > 0.5 and len(position):
        _fill(ranges, position, reach, allowed)
    valid = np.isfinite(ranges)
    return (
        np.where(valid, np.clip(ranges, 0.0, max_range), max_range).astype(np.float32),
        valid.astype(np.float32),
    )


def _fill(
    ranges: npt.NDArray[np.float64], position: npt.NDArray[np.float64], reach: npt.NDArray[np.float64], allowed: float
) -> None:
    """Give every empty sector the nearest beam's range, if that beam is at most `allowed` sectors away; in place."""
    bins = len(ranges)
    order = np.argsort(position, kind="stable")
    around = np.concatenate([position[order] - bins, position[order], position[order] + bins])
    values = np.tile(reach[order], 3)
    empty = np.flatnonzero(~np.isfinite(ranges))
    centre = empty + 0.5
    right = np.clip(np.searchsorted(around, centre), 1, len(around) - 1)
    to_left, to_right = centre - around[right - 1], around[right] - centre
    nearest = np.where(to_left <= to_right, right - 1, right)
    near = np.minimum(to_left, to_right) <= allowed + 2 * _EDGE
    ranges[empty[near]] = values[nearest[near]]
