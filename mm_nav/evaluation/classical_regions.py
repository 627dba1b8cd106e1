"""Regions of one named colour in a picture, with the LiDAR ranges at which they may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.observation import LaserScan
from mm_nav.runtime.preprocess import pixel_rays

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
# Hue (degrees, may wrap), saturation and value (0 to 1), each from - to, of the colours as the camera sees them. Set on
# pictures of the development worlds 5000-5015.
COLOUR_RANGES: Mapping[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((345.0, 14.0), (0.70, 1.0), (0.10, 1.0)),
    "orange": ((17.0, 42.0), (0.86, 1.0), (0.24, 1.0)),
    "yellow": ((44.0, 68.0), (0.68, 1.0), (0.20, 1.0)),
    "green": ((95.0, 152.0), (0.55, 1.0), (0.10, 1.0)),
    "cyan": ((170.0, 196.0), (0.55, 1.0), (0.15, 1.0)),
    "blue": ((205.0, 242.0), (0.62, 1.0), (0.10, 1.0)),
    "purple": ((262.0, 298.0), (0.50, 1.0), (0.10, 1.0)),
    "pink": ((316.0, 344.0), (0.30, 0.66), (0.18, 1.0)),
    "brown": ((12.0, 40.0), (0.58, 0.86), (0.06, 0.29)),
    "white": ((0.0, 360.0), (0.0, 0.06), (0.30, 1.0)),
    "grey": ((0.0, 360.0), (0.0, 0.10), (0.13, 0.34)),
    "black": ((0.0, 360.0), (0.0, 0.60), (0.0, 0.07)),
}
# Walls and floors are of these too: they count only where the LiDAR sees something that is no wall.
_OF_WALLS = ("white", "grey", "brown")
_LEAST_PIXELS = 14  # at 192 x 144; for other sizes in proportion
_RUN_GAP_M = 0.25
_WALL_M = 2.3  # a run of LiDAR points that is longer is a wall
_CONTACT = 0.94  # a pixel that would meet the floor before this share of the LiDAR's range shows floor


@dataclass(frozen=True)
class Region:
    """Pixels of one colour that may be one thing.

    azimuths: from - to, rad in base_link, as seen from the camera. slopes: height over distance of its lowest and highest
    pixel, seen from the camera. fill: share of its bounding box that it covers. cut: whether it reaches the picture's left,
    right, upper, lower edge. distances: metres from the camera over the floor, nearest first, at which it may be.
    """

    colour: str
    azimuths: tuple[float, float]
    slopes: tuple[float, float]
    fill: float
    cut: tuple[bool, bool, bool, bool]
    distances: tuple[float, ...]
    camera: tuple[float, float, float]

    def measures(self, distance: float) -> tuple[float, float, float]:
        """Return its width, and the heights of its lower and upper end above the floor, were it so far off; metres."""
        width = 2.0 * distance * math.tan(0.5 * (self.azimuths[1] - self.azimuths[0]))
        low, high = (self.camera[2] + slope * distance for slope in self.slopes)
        return max(width, 1e-3), max(low, 0.0), high

    def range_of(self, distance: float) -> float:
        """Return metres from base_link's origin, were it `distance` from the camera."""
        middle = 0.5 * (self.azimuths[0] + self.azimuths[1])
        x, y = self.camera[0] + distance * math.cos(middle), self.camera[1] + distance * math.sin(middle)
        return math.hypot(x, y)


@dataclass(frozen=True)
class _Beams:
    """The scan as the camera sees it, by rising azimuth. distance: (N,) metres, inf = no return. run: (N,) number of the
    connected run of points. wall: (N,) whether that is a wall."""

    azimuth: Floats
    distance: Floats
    run: npt.NDArray[np.int64]
    wall: Mask


def find_regions(
    rgb: npt.NDArray[np.uint8], intrinsics: Floats, base_T_camera: Floats, scan: LaserScan
) -> list[Region]:
    """Return the regions of all colours in a rectified picture (H, W, 3)."""
    height, width = rgb.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    rays = pixel_rays(columns.ravel(), rows.ravel(), intrinsics, base_T_camera).reshape(height, width, 3)
    azimuth = np.arctan2(rays[..., 1], rays[..., 0])
    slope = rays[..., 2] / np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 1e-6)
    camera = (float(base_T_camera[0, 3]), float(base_T_camera[1, 3]), float(base_T_camera[2, 3]))
    beams = _beams(scan, camera)
    if len(beams.azimuth) == 0:
        return []
    nearest = _nearest(beams.azimuth, azimuth)
    meets_floor = np.where(slope < 0.0, camera[2] / np.maximum(-slope, 1e-6), np.inf)
    floor = meets_floor < _CONTACT * beams.distance[nearest]
    wall = beams.wall[nearest]
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV_FULL).astype(np.float32) / np.float32(255.0)
    least = max(4, round(_LEAST_PIXELS * height * width / (192 * 144)))
    found: list[Region] = []
    for colour in COLOUR_RANGES:
        mask = colour_mask(hsv, colour) & ~floor
        if colour in _OF_WALLS:
            mask &= ~wall
        if np.count_nonzero(mask) < least:
            continue
        for part in _parts(mask, least):
            found.append(_region(part, colour, azimuth, slope, beams, camera))
    return [region for region in found if region.distances]


def colour_mask(hsv: npt.NDArray[np.float32], colour: str) -> Mask:
    """Return where (H, W) a picture (H, W, 3: hue, saturation, value, 0 to 1) has a colour of COLOUR_RANGES."""
    (low, high), saturation, value = COLOUR_RANGES[colour]
    hue = 360.0 * hsv[..., 0]
    inside = (hue >= low) & (hue <= high) if low <= high else (hue >= low) | (hue <= high)
    for channel, (least, most) in ((1, saturation), (2, value)):
        inside &= (hsv[..., channel] >= least) & (hsv[..., channel] <= most)
    return np.asarray(inside)


def _beams(scan: LaserScan, camera: tuple[float, float, float]) -> _Beams:
    points = scan.points() - np.array(camera[:2])
    if len(points) == 0:
        return _Beams(np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0, bool))
    gaps = np.hypot(*(points - np.roll(points, 1, axis=0)).T)
    distance = np.hypot(*points.T)
    # Neighbouring beams part with the range, too.
    breaks = gaps > np.maximum(_RUN_GAP_M, 0.06 * distance)
    run = np.cumsum(breaks)
    run[run == run[-1]] = 0 if not breaks[0] else run[-1]  # the sweep closes behind the robot
    wall = np.zeros(len(points), bool)
    for number in np.unique(run):
        members = points[run == number]
        wall[run == number] = float(np.hypot(*np.ptp(members, axis=0))) > _WALL_M
    order = np.argsort(azimuth := np.arctan2(points[:, 1], points[:, 0]))
    return _Beams(azimuth[order], distance[order], run[order], wall[order])


def _nearest(rising: Floats, wanted: Floats) -> npt.NDArray[np.int64]:
    """Return the index of the nearest of `rising` (N,) for each of `wanted`."""
    right = np.clip(np.searchsorted(rising, wanted), 1, max(1, len(rising) - 1))
    right = np.minimum(right, len(rising) - 1)
    left = np.maximum(right - 1, 0)
    return np.asarray(np.where(wanted - rising[left] <= rising[right] - wanted, left, right), np.int64)


def _parts(mask: Mask, least: int) -> list[Mask]:
    """Return the connected parts of a mask; parts one above the other (the stripes of a cone) are one."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    # (left, right, top, bottom, members), edges included.
    boxes: list[tuple[int, int, int, int, list[int]]] = []
    for k in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[k])
        if area >= max(4, least // 3):
            boxes.append((x, x + w, y, y + h, [k]))
    merged = True
    while merged:
        merged = False
        for i in range(len(boxes)):
            for j in range(i + 1, len(boxes)):
                if _stacked(boxes[i], boxes[j]):
                    a, b = boxes[i], boxes.pop(j)
                    boxes[i] = (min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3]), a[4] + b[4])
                    merged = True
                    break
            if merged:
                break
    parts = [np.asarray(np.isin(labels, box[4]) & (closed > 0)) for box in boxes]
    return [part for part in parts if np.count_nonzero(part) >= least]


def _stacked(a: tuple[int, int, int, int, list[int]], b: tuple[int, int, int, int, list[int]]) -> bool:
    overlap = min(a[1], b[1]) - max(a[0], b[0])
    gap = max(a[2], b[2]) - min(a[3], b[3])
    return overlap >= 0.7 * min(a[1] - a[0], b[1] - b[0]) and gap <= 0.6 * max(a[3] - a[2], b[3] - b[2])


def _region(
    part: Mask, colour: str, azimuth: Floats, slope: Floats, beams: _Beams, camera: tuple[float, float, float]
) -> Region:
    rows, columns = np.nonzero(part)
    height, width = part.shape
    left, right, top, bottom = int(columns.min()), int(columns.max()), int(rows.min()), int(rows.max())
    half = 0.5 * abs(float(azimuth[0, min(left + 1, width - 1)] - azimuth[0, left]))
    low, high = float(azimuth[part].min()) - half, float(azimuth[part].max()) + half
    fill = len(rows) / ((right - left + 1) * (bottom - top + 1))
    cut = (left == 0, right == width - 1, top == 0, bottom == height - 1)
    region = Region(colour, (low, high), (float(slope[part].min()), float(slope[part].max())), fill, cut, (), camera)
    return replace(region, distances=_distances(beams, low, high))


def _distances(beams: _Beams, low: float, high: float) -> tuple[float, ...]:
    """Return the nearest distance of each run of LiDAR points between two azimuths, nearest first."""
    inside = np.flatnonzero((beams.azimuth >= low) & (beams.azimuth <= high))
    if len(inside) == 0:
        inside = _nearest(beams.azimuth, np.array([0.5 * (low + high)]))
    near = {int(run): float(beams.distance[inside[beams.run[inside] == run]].min()) for run in beams.run[inside]}
    return tuple(sorted(near.values()))
