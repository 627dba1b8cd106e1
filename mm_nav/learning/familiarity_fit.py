"""Takes from training frames the statistics by which `runtime.familiarity` tells how unlike them another frame is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mm_nav.errors import ConfigError
from mm_nav.learning.dataset import find_shards, recolour
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.descriptors import Descriptor, scan_descriptors
from mm_nav.runtime.familiarity import (
    DESCRIPTORS,
    KNOT_LEVELS,
    KNOT_Z,
    Familiarity,
    Statistics,
    image_values,
    to_normal,
)
from mm_nav.runtime.manifest import Manifest, load_manifest

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

FAR = 0.99
"""As far out as this share of the frames that were kept back is 1."""
# Of the frames, those that are recoloured as training does it (all are, there; but the simulator's and many a good camera's are
# as clean as the others), and those whose LiDAR looks forward only, as `learning.batches` has it where there is a LiDAR.
RECOLOURED, FORWARD_ONLY = 0.5, 0.05 / 0.88
_KEPT_BACK = 4  # every so manieth shard is not learned from, but sets what counts as far
_FEWEST = 400
_LOOKS = ("resolution_m", "min_fov", "max_fov", "textured", "extra_styles", "showrooms", "shadows")


def fit_familiarity(
    model: Path, folders: Sequence[Path], frames: int, seed: int = 0, progress: Progress = lambda done, of: None
) -> Familiarity:
    """Return the statistics of a model's training frames.

    folders: of shards that it was trained on (`mm-nav collect`, `mm-nav dagger`). frames: how many of them are looked at, drawn
    evenly from all shards. Raises ModelError by the model, ConfigError when there are too few shards or frames, or they were
    made for other inputs than the model's.
    """
    manifest, config = load_manifest(model)
    shards = [path for folder in folders for path in _shards(folder, manifest)]
    if len(shards) < 2 or frames < _FEWEST:
        raise ConfigError(
            f"{len(shards)} shards, {frames} frames: give at least 2 shards (one is kept back) and {_FEWEST} frames"
        )
    rng = np.random.default_rng(seed)
    per_shard = -(-frames // len(shards))
    learned: list[dict[str, Floats]] = []
    kept_back: list[dict[str, Floats]] = []
    seeds: list[int] = []
    for index, path in enumerate(shards):
        values, worlds = _shard_values(path, config, per_shard, rng)
        (kept_back if index % _KEPT_BACK == 0 else learned).append(values)
        seeds += worlds
        progress(index + 1, len(shards))
    statistics = {
        name: fit_statistics(
            np.concatenate([part[name] for part in learned]),
            np.concatenate([part[name] for part in kept_back]),
            descriptors,
        )
        for name, descriptors in DESCRIPTORS.items()
    }
    provenance = {
        "folders": [path.name for path in folders],
        "frames": sum(len(part["image"]) for part in learned),
        "frames_kept_back": sum(len(part["image"]) for part in kept_back),
        "world_seeds": [min(seeds), max(seeds)],
        "worlds": len(set(seeds)),
        "collect": _collected(folders[0]),
        "recoloured": RECOLOURED,
        "forward_only": round(FORWARD_ONLY, 4),
        "seed": seed,
    }
    return Familiarity(
        config, manifest.model_sha256, manifest.preprocessing, statistics["image"], statistics["scan"], provenance
    )


def fit_statistics(values: Floats, kept_back: Floats, descriptors: Sequence[Descriptor]) -> Statistics:
    """Return the statistics of frames' descriptors (frames, n); kept_back (others, n) set what counts as far."""
    knots = np.array([_knots(column, item.floor) for column, item in zip(values.T, descriptors, strict=True)])
    z = to_normal(values, knots)
    mean, covariance = shrunk_covariance(z)
    near = Statistics(knots, mean, np.asarray(np.linalg.inv(covariance), np.float64))
    alone, together = (np.asarray(d) for d in near.distances(to_normal(kept_back, knots)))
    far = float(np.quantile(alone, FAR)), float(np.quantile(together, FAR))
    # The larger of two passes 1 more often than either.
    both = float(np.quantile(np.maximum(alone / far[0], together / far[1]), FAR))
    return Statistics(knots, mean, near.precision, both * far[0], both * far[1])


def shrunk_covariance(values: Floats) -> tuple[Floats, Floats]:
    """Return the mean (n,) and the covariance (n, n) of rows, drawn towards a multiple of the identity by as much as is best.

    O. Ledoit, M. Wolf: A well-conditioned estimator for large-dimensional covariance matrices. Journal of Multivariate Analysis
    88 (2004), 365-411, section 3.3.
    """
    count, n = values.shape
    mean = values.mean(axis=0)
    off = values - mean
    sample = off.T @ off / count
    size = float(np.trace(sample)) / n
    distance = float(((sample - size * np.eye(n)) ** 2).sum()) / n
    error = float((np.square((off**2).sum(axis=1)).sum() / count**2 - (sample**2).sum() / count) / n)
    share = min(error, distance) / distance if distance > 0.0 else 1.0
    return mean, share * size * np.eye(n) + (1.0 - share) * sample


def frame_values(arrays: dict[str, npt.NDArray[Any]], config: PolicyConfig) -> tuple[Floats, Floats]:
    """Return the descriptors of pictures and scans (frames, n) of frames by name: image (N, H, W, 3) uint8, rays (N, P, 3),
    ranges and ranges_valid (N, bins)."""
    images = [image_values(rgb, rays, config) for rgb, rays in zip(arrays["image"], arrays["rays"], strict=True)]
    ranges, valid = arrays["ranges"].astype(np.float32), arrays["ranges_valid"].astype(np.float32)
    scans = [scan_descriptors(r, v, config.max_range_m) for r, v in zip(ranges, valid, strict=True)]
    return np.array(images), np.array(scans)


def look_forward_only(
    ranges: npt.NDArray[np.float32], valid: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return ranges and valid (bins,) of a LiDAR that looks forward only, by a share that is drawn as in training."""
    bins = len(ranges)
    behind = np.abs(np.arange(bins) - bins / 2) > rng.uniform(0.25, 0.4) * bins
    return np.where(behind, np.float32(0.0), ranges), np.where(behind, np.float32(0.0), valid)


def _shards(folder: Path, manifest: Manifest) -> list[Path]:
    shards = find_shards(folder)
    for name in ("collect.json", "dagger.json"):
        if not (folder / name).is_file():
            continue
        try:
            made_for = json.loads((folder / name).read_text())["preprocessing"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{folder / name} cannot be read ({error}): collect again") from error
        if made_for != manifest.preprocessing:
            raise ConfigError(
                f"{folder} was collected for other inputs ({made_for}) than {manifest.name} reads ({manifest.preprocessing}): "
                "give the frames that it was trained on"
            )
    return shards


def _collected(folder: Path) -> dict[str, float]:
    """Return those settings of a folder's `mm-nav collect` that say how its frames look; none where they are not noted."""
    try:
        noted = json.loads((folder / "collect.json").read_text())["collect"]
        return {name: float(noted[name]) for name in _LOOKS}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _shard_values(
    path: Path, config: PolicyConfig, most: int, rng: np.random.Generator
) -> tuple[dict[str, Floats], list[int]]:
    shard = zarr.open_group(str(path), mode="r")
    count = int(shard["world"].shape[0])
    chosen = rng.choice(count, min(most, count), replace=False)
    arrays = {name: np.asarray(shard[name][:])[chosen] for name in ("image", "rays", "ranges", "ranges_valid")}
    if arrays["image"].shape[1:3] != (config.image_height, config.image_width):
        raise ConfigError(f"{path} has pictures of another size than the model reads: give the frames of its training")
    arrays["ranges"], arrays["ranges_valid"] = (arrays[name].astype(np.float32) for name in ("ranges", "ranges_valid"))
    changed = np.flatnonzero(rng.random(len(chosen)) < RECOLOURED)
    if len(changed):
        pictures = arrays["image"][changed].transpose(0, 3, 1, 2).astype(np.float32) / 255.0
        arrays["image"][changed] = np.round(255.0 * recolour(pictures, rng)).transpose(0, 2, 3, 1).astype(np.uint8)
    for k in np.flatnonzero(rng.random(len(chosen)) < FORWARD_ONLY):
        arrays["ranges"][k], arrays["ranges_valid"][k] = look_forward_only(
            arrays["ranges"][k], arrays["ranges_valid"][k], rng
        )
    images, scans = frame_values(arrays, config)
    return {"image": images, "scan": scans}, [int(world["seed"]) for world in shard.attrs["worlds"]]


def _knots(values: Floats, floor: float) -> Floats:
    """Return where a descriptor has the quantiles KNOT_LEVELS, moved outwards where they lie closer than its floor allows: `floor`
    of its unit is at least one standard deviation."""
    knots = np.nanquantile(values, KNOT_LEVELS)
    middle = len(knots) // 2
    for k in range(middle + 1, len(knots)):
        knots[k] = max(knots[k], knots[k - 1] + floor * (KNOT_Z[k] - KNOT_Z[k - 1]))
    for k in range(middle - 1, -1, -1):
        knots[k] = min(knots[k], knots[k + 1] - floor * (KNOT_Z[k + 1] - KNOT_Z[k]))
    return np.asarray(knots, np.float64)
