"""What can go wrong with a camera and a LiDAR, done to good frames of the network's size; and what must not count as wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.learning.familiarity_fit import look_forward_only

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
ImageChange = Callable[[Bytes, np.random.Generator], Bytes]
ScanChange = Callable[[Floats, Floats, np.random.Generator], tuple[Floats, Floats]]

_MAX_M = 10.0


def image_changes() -> Mapping[str, ImageChange]:
    """Return by name what is done to pictures (H, W, 3) uint8 RGB. "mirrored" must stay familiar: half of the training is."""
    return {
        "mirrored": lambda rgb, rng: np.ascontiguousarray(rgb[:, ::-1]),
        "dusk (a third of the light)": lambda rgb, rng: _scaled(rgb, 0.33),
        "dark (a tenth of the light)": lambda rgb, rng: _noisy(_scaled(rgb, 0.1), 3.0, rng),
        "overexposed": lambda rgb, rng: _scaled(rgb, 2.5),
        "blurred (sigma 1.5 px)": lambda rgb, rng: _blurred(rgb, 1.5),
        "blurred (sigma 4 px)": lambda rgb, rng: _blurred(rgb, 4.0),
        "motion blur (12 px)": lambda rgb, rng: np.asarray(cv2.blur(rgb, (12, 1)), np.uint8),
        "noise (sigma 15)": lambda rgb, rng: _noisy(rgb, 15.0, rng),
        "noise (sigma 40)": lambda rgb, rng: _noisy(rgb, 40.0, rng),
        "colour cast": lambda rgb, rng: _scaled(rgb, rng.permutation([0.6, 1.0, 1.4])),
        "red and blue swapped": lambda rgb, rng: np.ascontiguousarray(rgb[..., ::-1]),
        "grey (no colours)": lambda rgb, rng: np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
        "upside down": lambda rgb, rng: np.ascontiguousarray(rgb[::-1, ::-1]),
        "on its side": _on_its_side,
        "frozen grey": lambda rgb, rng: np.full_like(rgb, int(rng.integers(90, 160))),
        "dirt on the lens": _dirt,
        "fog": lambda rgb, rng: _fog(rgb, 0.65),
        "JPEG blocks (quality 8)": lambda rgb, rng: _jpeg(rgb, 8),
        "torn (lines shifted)": _torn,
    }


def scan_changes() -> Mapping[str, ScanChange]:
    """Return by name what is done to ranges (bins,) metres and valid (bins,). "mirrored" and "looks forward only" must stay
    familiar: they are trained with. Turned round is hardly anything else."""
    return {
        "mirrored": lambda r, v, rng: (r[::-1].copy(), v[::-1].copy()),
        "looks forward only": look_forward_only,
        "every second beam dead": lambda r, v, rng: _without(r, v, np.arange(len(r)) % 2 == 0),
        "half of the beams dead": lambda r, v, rng: _without(r, v, rng.random(len(r)) < 0.5),
        "one side dead": lambda r, v, rng: _without(r, v, _turned(np.arange(len(r)) < len(r) // 2, rng)),
        "everything at 0.3 m": lambda r, v, rng: (np.full_like(r, 0.3), v),
        "nothing in reach": lambda r, v, rng: (np.full_like(r, _MAX_M), v),
        "half as far": lambda r, v, rng: (0.5 * r, v),
        "twice as far": lambda r, v, rng: (np.minimum(2.0 * r, _MAX_M), v),
        "salt (5 % of beams anywhere)": lambda r, v, rng: (_salted(r, 0.05, rng), v),
        "noise (10 cm)": lambda r, v, rng: (
            np.clip(r + 0.1 * rng.standard_normal(len(r)).astype(np.float32), 0.05, _MAX_M),
            v,
        ),
        "the robot's own posts": _posts,
        "the robot's own body (a ring)": lambda r, v, rng: (
            np.minimum(r, np.float32(0.2) + 0.01 * rng.random(len(r), np.float32)),
            v,
        ),
        "beams shuffled": lambda r, v, rng: _shuffled(r, v, rng),
        "frozen noise": lambda r, v, rng: (rng.uniform(0.3, _MAX_M, len(r)).astype(np.float32), v),
    }


def _bytes(values: npt.NDArray[np.floating]) -> Bytes:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _scaled(rgb: Bytes, factor: float | npt.NDArray[np.float64]) -> Bytes:
    return _bytes(rgb.astype(np.float32) * np.asarray(factor, np.float32))


def _noisy(rgb: Bytes, sigma: float, rng: np.random.Generator) -> Bytes:
    return _bytes(rgb + np.float32(sigma) * rng.standard_normal(rgb.shape, np.float32))


def _blurred(rgb: Bytes, sigma: float) -> Bytes:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma), np.uint8)


def _on_its_side(rgb: Bytes, rng: np.random.Generator) -> Bytes:
    height, width = rgb.shape[:2]
    return np.asarray(cv2.resize(np.rot90(rgb, rng.choice([1, 3])), (width, height)), np.uint8)


def _dirt(rgb: Bytes, rng: np.random.Generator) -> Bytes:
    """A dark smear, out of focus, over about a tenth of the picture."""
    height, width = rgb.shape[:2]
    spot = np.zeros((height, width), np.float32)
    centre = (int(rng.uniform(0.2, 0.8) * width), int(rng.uniform(0.2, 0.8) * height))
    cv2.ellipse(spot, centre, (width // 5, height // 6), float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    spot = cv2.GaussianBlur(spot, (0, 0), 4.0)[..., None]
    return _bytes(rgb * (1.0 - 0.85 * spot) + 0.85 * spot * np.array([30, 25, 20], np.float32))


def _fog(rgb: Bytes, density: float) -> Bytes:
    """Thicker above, where what is seen is farther."""
    share = density * np.linspace(1.2, 0.6, len(rgb), dtype=np.float32)[:, None, None]
    return _bytes(rgb * (1.0 - share) + 200.0 * share)


def _jpeg(rgb: Bytes, quality: int) -> Bytes:
    coded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def _torn(rgb: Bytes, rng: np.random.Generator) -> Bytes:
    """Bands of lines that lie beside where they belong, as of a broken transfer."""
    torn = rgb.copy()
    for first in range(0, len(rgb), 8):
        torn[first : first + 8] = np.roll(torn[first : first + 8], int(rng.integers(0, rgb.shape[1])), axis=1)
    return torn


def _without(ranges: Floats, valid: Floats, dead: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    return np.where(dead, np.float32(_MAX_M), ranges), np.where(dead, np.float32(0.0), valid)


def _turned(flags: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A side, left or right; never the front alone, which many LiDARs have."""
    return np.roll(flags, int(rng.choice([0, len(flags) // 2])))


def _salted(ranges: Floats, share: float, rng: np.random.Generator) -> Floats:
    anywhere = rng.uniform(0.15, _MAX_M, len(ranges)).astype(np.float32)
    return np.where(rng.random(len(ranges)) < share, anywhere, ranges)


def _posts(ranges: Floats, valid: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Four posts of the robot's frame, each some beams wide, 15 cm away."""
    seen = ranges.copy()
    for quarter in range(4):
        first = (quarter * len(ranges) // 4 + len(ranges) // 8) % len(ranges)
        seen[first : first + 6] = np.minimum(seen[first : first + 6], 0.15)
    return seen, valid


def _shuffled(ranges: Floats, valid: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    order = rng.permutation(len(ranges))
    return ranges[order], valid[order]
