"""A few dozen plain numbers of what the network is fed, each with a name: how bright, how sharp, how far, how much of it is there.

They are computed on the network's own input arrays, never on the camera's picture, and a mirrored input gives the same numbers
(training mirrors half of what it shows). Everything is numpy and OpenCV on small arrays: a fraction of a millisecond.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


class Descriptor(NamedTuple):
    """One number. floor: smaller differences than this, in the number's own unit, are never made much of, however alike the
    training frames are. low, high: what it means when the number is far below, or above, that of training."""

    name: str
    floor: float
    low: str
    high: str


_THIRDS = {"top": "above", "middle": "in the middle", "bottom": "below"}
_HUES = ("red", "yellow", "green", "cyan", "blue", "purple")
_DARK, _BRIGHT, _DULL, _VIVID = "darker", "brighter", "less contrast", "more contrast"
_SMOOTH, _SHARP = "less texture", "sharper texture"

IMAGE = (
    Descriptor("luminance", 0.02, "much darker", "much brighter"),
    Descriptor("contrast", 0.02, _DULL, _VIVID),
    Descriptor("darkest", 0.02, "much black", "nothing dark in view"),
    Descriptor("lower_quarter", 0.02, _DARK, _BRIGHT),
    Descriptor("upper_quarter", 0.02, _DARK, _BRIGHT),
    Descriptor("brightest", 0.02, "nothing bright in view", "glaring spots"),
    Descriptor("entropy", 0.2, "few different shades", "many different shades"),
    Descriptor("clipped_dark", 0.3, "nothing black", "large parts black"),
    Descriptor("clipped_bright", 0.3, "nothing white", "large parts overexposed"),
    *(
        Descriptor(f"luminance_{third}", 0.02, f"darker {where}", f"brighter {where}")
        for third, where in _THIRDS.items()
    ),
    Descriptor("saturation", 0.02, "paler colours", "stronger colours"),
    Descriptor("saturation_high", 0.03, "paler colours", "stronger colours"),
    Descriptor("green_red", 0.01, "a green cast", "a red cast"),
    Descriptor("blue_yellow", 0.01, "a blue cast", "a yellow cast"),
    Descriptor("green_red_spread", 0.01, "less variety of colours", "more variety of colours"),
    Descriptor("blue_yellow_spread", 0.01, "less variety of colours", "more variety of colours"),
    *(
        Descriptor(f"{colour}_{part}", 0.01, f"a {low} cast {where}", f"a {high} cast {where}")
        for colour, low, high in (("green_red", "green", "red"), ("blue_yellow", "blue", "yellow"))
        for part, where in (("top", "above"), ("bottom", "below"))
    ),
    *(Descriptor(f"hue_{hue}", 0.05, f"less {hue}", f"much {hue}") for hue in _HUES),
    *(
        Descriptor(f"edges_{scale}_{third}", 0.2, f"{_SMOOTH} {where}", f"{_SHARP} {where}")
        for scale in (1, 2, 4)
        for third, where in _THIRDS.items()
    ),
    *(Descriptor(f"upright_{scale}", 0.1, "more level edges", "more upright edges") for scale in (1, 2, 4)),
    Descriptor("sharpest_across", 0.2, "blurred sideways", "hard upright edges"),
    Descriptor("sharpest_down", 0.2, "blurred up and down", "hard level edges"),
    Descriptor("sharpest_row", 0.2, "no level edge at all", "a level edge through the whole picture"),
    Descriptor("flat", 0.05, "hardly any plain surface", "almost nothing but plain surface"),
    Descriptor("residual", 0.3, "blurred", "noise"),
    Descriptor("residual_median", 0.4, "blurred", "noise"),
    Descriptor("colour_residual", 0.3, "smooth colours", "colour noise"),
    Descriptor("patch_plain", 0.3, "plainer patches", "texture everywhere"),
    Descriptor("patch_median", 0.3, _SMOOTH, _SHARP),
    Descriptor("patch_rich", 0.3, _SMOOTH, _SHARP),
    Descriptor("patch_darkest", 0.02, "a dark patch", "nothing dark in view"),
    Descriptor("patch_brightest", 0.02, "nothing bright in view", "a bright patch"),
)  # fmt: skip

VIEW = (
    Descriptor("view_width", 0.05, "narrower field of view", "wider field of view"),
    Descriptor("view_height", 0.05, "lower field of view", "higher field of view"),
    Descriptor("view_up", 0.05, "camera looks further down", "camera looks further up"),
    Descriptor("view_aside", 0.1, "", "camera looks aside"),
)

_CLOSEST, _MOST, _FARTHEST = (
    ("something closer to the robot", "nothing close"),
    ("everything nearer", "everything farther"),
    ("nothing far away", "farther views"),
)
_QUANTILES = {0.02: _CLOSEST, 0.1: _CLOSEST, 0.25: _MOST, 0.5: _MOST, 0.75: _MOST, 0.9: _FARTHEST, 0.98: _FARTHEST}

SCAN = (
    Descriptor("measured", 0.05, "LiDAR looks at a smaller part of the surroundings", "LiDAR sees more"),
    Descriptor("longest_gap", 0.05, "smaller blind sector", "larger blind sector"),
    Descriptor("gaps", 3.0, "", "beams missing here and there"),
    Descriptor("free", 0.05, "no beam goes far", "most beams see nothing"),
    *(Descriptor(f"range_{round(100 * q)}", 0.1, low, high) for q, (low, high) in _QUANTILES.items()),
    Descriptor("bend_median", 0.01, "smoother ranges", "noisier ranges"),
    Descriptor("bend_75", 0.01, "smoother ranges", "noisier ranges"),
    Descriptor("bend_90", 0.05, "smoother ranges", "rougher outlines"),
    Descriptor("bend_98", 0.1, "smoother ranges", "rougher outlines"),
    Descriptor("jumps", 0.02, "hardly any edge", "many edges"),
    Descriptor("spikes", 0.01, "", "single beams astray"),
    Descriptor("straight", 0.05, "few straight walls", "nothing but straight walls"),
    Descriptor("same", 0.05, "", "many beams of the same length"),
    Descriptor("touching", 0.03, "", "beams that end at the robot itself"),
    Descriptor("ahead_behind", 0.2, "less room ahead than behind", "more room ahead than behind"),
    Descriptor("left_right", 0.2, "", "much more room on one side"),
    *(
        Descriptor(f"lobes_{k}", 0.05, "surroundings too round", "surroundings of an unusual shape")
        for k in (1, 2, 3, 4)
    ),
)  # fmt: skip

_LEVELS = np.arange(256) / 255.0
_TOUCHING_M = 0.22
_ENOUGH = 0.8  # of a part of the surroundings must be measured to say anything of it


def image_descriptors(rgb: Bytes) -> Floats:
    """Return the numbers of IMAGE (len(IMAGE),) for a picture (H, W, 3) uint8 of the network's size."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    lab, hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    share = _shares(grey)
    mean = float(share @ _LEVELS)
    contrast = float(share @ (_LEVELS - mean) ** 2) ** 0.5
    entropy = float(-(share[share > 0] * np.log2(share[share > 0])).sum())
    thirds = [cv2.mean(part)[0] / 255.0 - mean for part in np.array_split(grey, 3)]
    saturation = _shares(hsv, 1)
    means, spreads = cv2.meanStdDev(lab)
    # OpenCV's eight-bit Lab has its grey axis at 128.
    a, b = (float(v) / 255.0 - 128 / 255.0 for v in means[1:, 0])
    third = len(lab) // 3
    above, below = cv2.mean(lab[:third]), cv2.mean(lab[-third:])
    casts = [(part[k] - float(means[k, 0])) / 255.0 for k in (1, 2) for part in (above, below)]
    return np.array(
        [
            mean, contrast, *_quantiles(share, (0.01, 0.25, 0.75, 0.99)), entropy,
            _log(share[:5].sum(), 1e-3), _log(share[251:].sum(), 1e-3),
            *thirds, float(saturation @ _LEVELS), *_quantiles(saturation, (0.95,)),
            a, b, *(float(v) / 255.0 for v in spreads[1:, 0]), *casts,
            *_hues(hsv), *_edges(grey), *_residuals(grey, lab), *_patches(grey),
        ],
        np.float64,
    )  # fmt: skip


def view_descriptors(rays: Float32, columns: int) -> Floats:
    """Return the numbers of VIEW (4,), rad, for the unit directions (rows * columns, 3), base_link, of a picture's patches."""
    grid = rays.reshape(-1, columns, 3).astype(np.float64)
    rows = len(grid)
    middle = grid[rows // 2, columns // 2]
    return np.array(
        [
            _angle(grid[rows // 2, 0], grid[rows // 2, -1]),
            _angle(grid[0, columns // 2], grid[-1, columns // 2]),
            float(np.arcsin(np.clip(grid[..., 2].mean(), -1.0, 1.0))),
            abs(float(np.arctan2(grid[..., 1].mean(), middle[0]))),
        ]
    )


def scan_descriptors(ranges: Float32, valid: Float32, max_range: float) -> Floats:
    """Return the numbers of SCAN (len(SCAN),) for ranges (bins,), metres around base_link from behind on, and where they are
    measured (bins,). What cannot be told, since too little is measured, is nan."""
    seen = valid > 0.5
    count, bins = int(seen.sum()), len(ranges)
    if count == 0:
        return np.array([0.0, 1.0, 0.0, *[np.nan] * (len(SCAN) - 3)])
    measured = ranges[seen].astype(np.float64)
    log = np.log(np.maximum(measured, 0.05))
    ordered = np.sort(log)
    quantiles = ordered[np.minimum((np.array(list(_QUANTILES)) * count).astype(int), count - 1)]
    whole = np.full(bins, float(np.median(log)))
    whole[seen] = log
    before, after = _beside(whole, 1)
    seen_before, seen_after = _beside(seen, 1)
    both = seen & seen_after
    inside = both & seen_before
    near_end = whole < np.log(0.98 * max_range)
    bends = np.abs(before + after - 2.0 * whole)[inside & near_end]
    step = np.abs(after - whole)[both]
    spikes = ((whole - before) * (whole - after) > 0.15**2)[inside]
    lobes = np.abs(np.fft.rfft(whole - whole.mean())[1:5]) / bins if count > _ENOUGH * bins else [np.nan] * 4
    behind, right, ahead, left = (
        float(whole[quarter].mean()) if seen[quarter].mean() > _ENOUGH else np.nan for quarter in _quarters(bins)
    )
    return np.array(
        [
            count / bins, _longest_run(~seen) / bins, float((seen != seen_before).sum()) / 2.0,
            float((measured >= 0.98 * max_range).mean()), *quantiles,
            *_sorted_quantiles(bends, (0.5, 0.75, 0.9, 0.98)), _mean(step > 0.25), _mean(spikes),
            _straight(ranges.astype(np.float64), inside & near_end), _mean(step < 1e-4), _mean(measured < _TOUCHING_M),
            ahead - behind, abs(left - right), *lobes,
        ],
        np.float64,
    )  # fmt: skip


def _shares(picture: Bytes, channel: int = 0) -> Floats:
    counts = cv2.calcHist([picture], [channel], None, [256], [0, 256]).ravel()
    return np.asarray(counts / (picture.shape[0] * picture.shape[1]), np.float64)


def _quantiles(shares: Floats, levels: tuple[float, ...]) -> list[float]:
    return [float(v) / 255.0 for v in np.searchsorted(np.cumsum(shares), np.array(levels) - 1e-9)]


def _sorted_quantiles(values: Floats, levels: tuple[float, ...]) -> list[float]:
    if len(values) == 0:
        return [0.0] * len(levels)
    ordered = np.sort(values)
    return [float(ordered[min(int(q * len(ordered)), len(ordered) - 1)]) for q in levels]


def _mean(values: npt.NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _log(value: float, least: float) -> float:
    return float(np.log(value + least))


def _hues(hsv: Bytes) -> list[float]:
    """Return how much of the picture's colour is of each hue: roots, since most hues are rare in most pictures."""
    strong = cv2.inRange(hsv, (0, 50, 40), (180, 255, 255))
    counts = cv2.calcHist([hsv], [0], strong, [180], [0, 180]).ravel() / hsv[..., 0].size
    # Red lies on both sides of 0; OpenCV's hues are half degrees.
    return [float(v) for v in np.sqrt(np.roll(counts, 15).reshape(6, 30).sum(axis=1))]


def _edges(grey: Bytes) -> list[float]:
    """Return the log of the mean gradient in each third at three scales, then how upright the edges of each scale
    are, then of the finest the 99th percentile across and down, and the strongest row."""
    strengths: list[float] = []
    upright: list[float] = []
    sharpest: list[float] = []
    for level in range(3):
        picture = (
            grey if level == 0 else cv2.resize(grey, None, fx=0.5**level, fy=0.5**level, interpolation=cv2.INTER_AREA)
        )
        across = cv2.absdiff(picture[:-1, 1:], picture[:-1, :-1])
        down = cv2.absdiff(picture[1:, :-1], picture[:-1, :-1])
        if level == 0:
            peaks = [_quantiles(_shares(part), (0.99,))[0] * 255.0 for part in (across, down)]
            rows = cv2.reduce(down, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
            sharpest = [_log(peak, 1.0) for peak in peaks] + [_log(float(rows.max()), 0.5)]
        third = len(across) // 3
        parts = (slice(0, third), slice(third, 2 * third), slice(2 * third, None))
        sums = [(cv2.mean(across[part])[0], cv2.mean(down[part])[0]) for part in parts]
        strengths += [_log(x + y, 0.3) for x, y in sums]
        upright.append(_log(sum(x for x, _ in sums), 0.5) - _log(sum(y for _, y in sums), 0.5))
    return strengths + upright + sharpest


def _residuals(grey: Bytes, lab: Bytes) -> list[float]:
    """Return the share of flat pixels, and what a 3 x 3 median takes away: of brightness (mean and median), of colours."""
    smooth = cv2.medianBlur(lab, 3)
    differences = cv2.absdiff(smooth, lab)
    laplacian = cv2.convertScaleAbs(cv2.Laplacian(grey, cv2.CV_16S))
    shares = _shares(laplacian)
    means = cv2.mean(differences)
    cumulated = np.cumsum(shares)
    # A median between whole levels, so that it is not the same for most pictures.
    middle = int(np.searchsorted(cumulated, 0.5))
    below = float(cumulated[middle - 1]) if middle else 0.0
    median = middle + (0.5 - below) / max(float(shares[middle]), 1e-6)
    return [float(cumulated[2]), _log(means[0], 0.2), _log(median, 0.5), _log(means[1] + means[2], 0.2)]


def _patches(grey: Bytes) -> list[float]:
    """Return log contrasts of 8 x 8 patches (10th, 50th and 90th percentile), and the darkest and brightest patch."""
    height, width = grey.shape
    size = (width // 8, height // 8)
    exact = grey.astype(np.float32)
    means = cv2.resize(exact, size, interpolation=cv2.INTER_AREA)
    squares = cv2.resize(exact * exact, size, interpolation=cv2.INTER_AREA)
    contrasts = np.sort(np.sqrt(np.maximum(squares - means * means, 0.0)).ravel())
    n = len(contrasts)
    logs = [_log(float(contrasts[int(q * n)]), 0.5) for q in (0.1, 0.5, 0.9)]
    return [*logs, float(means.min()) / 255.0, float(means.max()) / 255.0]


def _angle(first: Floats, second: Floats) -> float:
    return float(np.arccos(np.clip(first @ second, -1.0, 1.0)))


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    """Return the length of the longest run of set flags around a ring."""
    if flags.all():
        return len(flags)
    clear = np.flatnonzero(~flags)
    return int(np.diff(clear, append=clear[0] + len(flags)).max()) - 1


def _beside(values: npt.NDArray[Any], distance: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return what lies so many beams before and after each, around a ring."""
    around = np.concatenate([values[-distance:], values, values[:distance]])
    return around[: len(values)], around[2 * distance :]


@cache
def _directions(bins: int) -> tuple[Floats, Floats]:
    bearings = (np.arange(bins) + 0.5) * 2.0 * np.pi / bins
    return np.cos(bearings), np.sin(bearings)


@cache
def _quarters(bins: int) -> npt.NDArray[np.intp]:
    """Return the beams (4, bins / 4) that look behind, right, ahead and left."""
    whole = 4 * (bins // 4)
    return np.asarray(np.roll(np.arange(whole), whole // 8).reshape(4, -1), np.intp)


def _straight(ranges: Floats, inside: npt.NDArray[np.bool_]) -> float:
    """Return the share of beams whose end lies within 3 cm of the line through the ends of the beams two on either side."""
    cos, sin = _directions(len(ranges))
    x, y = ranges * cos, ranges * sin
    (x0, x2), (y0, y2) = _beside(x, 2), _beside(y, 2)
    ux, uy, vx, vy = x2 - x0, y2 - y0, x - x0, y - y0
    off = np.abs(ux * vy - uy * vx) / np.maximum(np.sqrt(ux * ux + uy * uy), 1e-6)
    return _mean((off < 0.03)[inside])
