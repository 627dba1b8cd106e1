"""Collected frames in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import zarr
from torch import Tensor

from mm_nav.errors import ConfigError
from mm_nav.learning.frames import ASKED, MAX_OBJECTS, RANGE_STRIDE
from mm_nav.policy.backbones import Features
from mm_nav.policy.config import PolicyConfig

ARRAYS = (
    "image", "numbers", "planar", "rays", "ranges", "ranges_valid", "surface", "cost", "paths", "pose", "world",
)  # fmt: skip

# What only frames of recordings have: see `mm_nav.learning.bag_drives.DriveLabeller.see`.
_OF_DRIVES = ("image_present", "along", "driven", "driven_m", "goals", "goal_m")

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


def find_shards(directory: Path, made_by: str = "mm-nav collect") -> list[Path]:
    """Return the shards of a folder, in order. Raises ConfigError when it has none. made_by: the command that makes them."""
    shards = sorted(directory.glob("shard_*.zarr"))
    if not shards:
        raise ConfigError(f"{directory} has no shards: run `{made_by} --out {directory}` first")
    return shards


class FrameDataset:
    """All frames of folders of shards: those of generated worlds, then those of recordings.

    shards: written by `mm_nav.learning.collect` or `mm_nav.learning.bag_frames` (see `find_shards`). labelled: the first so many
    frames are of worlds and know what stands there; of the others it is known where the robot went. arrays: by name, one row a
    frame, those of a recording's drive (a "world" without objects) in the order of time.
    features: see `cache_features`. Raises ConfigError when there are no shards or they do not fit the policy.
    """

    def __init__(self, shards: Sequence[Path], config: PolicyConfig) -> None:
        if not shards:
            raise ConfigError("there are no shards to read: run `mm-nav collect` first")
        self.config = config
        self.objects: list[list[dict[str, Any]]] = []
        self.features: list[Features] = []
        self.labelled = 0
        opened = [(path, zarr.open_group(str(path), mode="r")) for path in shards]
        opened.sort(key=lambda shard: "driven" in shard[1])
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*ARRAYS, "asked", *_OF_DRIVES)}
        goals = max((shard["goals"].shape[1] for _, shard in opened if "driven" in shard), default=0)
        for path, shard in opened:
            offset = len(self.objects)
            self.objects.extend(world["objects"] for world in shard.attrs["worlds"])
            count, of_drives = shard["world"].shape[0], "driven" in shard
            self.labelled += 0 if of_drives else count
            absent = _no_labels(count, config) if of_drives else _no_drive(count, config, goals)
            # What a driving policy was asked; nobody drove through frames that were only collected.
            absent["asked"] = np.full((count, ASKED, 2), -1, np.int8)
            for name, kept in parts.items():
                array = absent[name] if name in absent and name not in shard else np.asarray(shard[name][:])
                kept.append(array + (offset if name == "world" else 0))
            if of_drives:
                _require_fit(path, shard, config)
                for name in ("goals", "goal_m"):  # recordings may have been collected with fewer
                    missing = goals - parts[name][-1].shape[1]
                    parts[name][-1] = np.pad(parts[name][-1], [(0, 0), (0, missing), (0, 0)][: parts[name][-1].ndim])
            height, width = parts["image"][-1].shape[1:3]
            if (height, width) != (config.image_height, config.image_width):
                raise ConfigError(
                    f"{path} has pictures of {width}x{height}, the policy reads {config.image_width}x"
                    f"{config.image_height}: collect again, or change the policy's size"
                )
        self.arrays = {name: np.concatenate(kept) for name, kept in parts.items()}

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def of_worlds(self) -> FrameDataset:
        """Return the frames of generated worlds only, which share their memory with these."""
        if self.labelled == len(self):
            return self
        part = copy(self)
        part.arrays = {name: array[: self.labelled] for name, array in self.arrays.items()}
        part.features = [Features(*(tensor[: self.labelled] for tensor in both)) for both in self.features]
        return part

    def cache_features(
        self,
        backbone: Callable[[Tensor], Features],
        rng: np.random.Generator | None,
        progress: Progress = lambda done, of: None,
    ) -> None:
        """Run a frozen backbone over all pictures once, so that training need not.

        rng: draws each picture's colours, and then there are two of each: as it is and mirrored. None: one, unchanged.
        """
        count, step = len(self), 16  # larger batches leave the cache: twice as slow
        sides = (False, True) if rng is not None else (False,)
        done = 0
        for mirror in sides:
            kept: list[list[npt.NDArray[Any]]] = [[], []]
            for first in range(0, count, step):
                image = self.arrays["image"][first : first + step].transpose(0, 3, 1, 2).astype(np.float32) / 255.0
                if mirror:
                    image = np.ascontiguousarray(image[..., ::-1])
                if rng is not None:
                    image = recolour(image, rng)
                with torch.no_grad():
                    seen = backbone(torch.from_numpy(image).contiguous(memory_format=torch.channels_last))
                for part, features in zip(kept, seen, strict=True):
                    part.append(features.half().numpy())
                done += len(image)
                progress(done, count * len(sides))
            self.features.append(Features(*(torch.from_numpy(np.concatenate(part)) for part in kept)))


def _no_labels(count: int, c: PolicyConfig) -> dict[str, npt.NDArray[Any]]:
    """Return what frames of worlds are labelled with, for frames that are not: nothing is known, and no loss may read it."""
    return {
        "numbers": np.zeros((count, c.image_height, c.image_width), np.uint8),
        "planar": np.ones((count, c.image_height // RANGE_STRIDE, c.image_width // RANGE_STRIDE), np.float16),
        "surface": np.full((count, MAX_OBJECTS), np.inf, np.float16),
        "cost": np.full((count, MAX_OBJECTS), np.inf, np.float16),
        "paths": np.zeros((count, MAX_OBJECTS, c.steps, 2), np.float16),
    }


def _no_drive(count: int, c: PolicyConfig, goals: int) -> dict[str, npt.NDArray[Any]]:
    return {
        "image_present": np.ones(count, np.uint8),
        "along": np.zeros(count, np.float32),
        "driven": np.zeros((count, c.steps, 2), np.float32),
        "driven_m": np.zeros(count, np.float32),
        "goals": np.zeros((count, goals, 2), np.float32),
        "goal_m": np.zeros((count, goals), np.float32),
    }


def _require_fit(path: Path, shard: zarr.Group, c: PolicyConfig) -> None:
    """Raise ConfigError when the waypoints or the scans of a recording's shard are others than the policy's."""
    made = (shard["driven"].shape[1], shard.attrs["waypoint_spacing_m"], shard["ranges"].shape[1])
    if made != (c.steps, c.waypoint_spacing_m, c.lidar_bins):
        raise ConfigError(
            f"{path} has {made[0]} waypoints {made[1]} m apart and scans of {made[2]} sectors, the policy has {c.steps}, "
            f"{c.waypoint_spacing_m} m and {c.lidar_bins}: collect again with the policy's config"
        )


def recolour(image: Floats, rng: np.random.Generator) -> Floats:
    """Change exposure and white balance of pictures (N, 3, H, W) a little, and add noise; hues stay what they are called."""
    n = len(image)
    gain = rng.uniform(0.7, 1.3, (n, 1, 1, 1)) * rng.uniform(0.93, 1.07, (n, 3, 1, 1))
    offset = rng.uniform(-0.05, 0.05, (n, 1, 1, 1))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0, 0.03, (n, 1, 1, 1)).astype(np.float32)
    return np.clip(image * gain.astype(np.float32) + offset.astype(np.float32) + noise, 0.0, 1.0)


def estrange(image: Floats, rng: np.random.Generator) -> Floats:
    """Turn the hues of pictures (N, 3, H, W), or take them away, and swap light and dark now and then."""
    n = len(image)
    angle = rng.uniform(np.pi / 4, 7 * np.pi / 4, n)
    share, cross = np.full((3, 3), 1.0 / 3.0), np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3.0)
    # Rotations about the grey axis (Rodrigues); without the part that turns, only grey is left.
    turned = np.cos(angle)[:, None, None] * (np.eye(3) - share) + np.sin(angle)[:, None, None] * cross
    turned *= rng.choice([0.0, 0.6, 1.0], n, p=[0.25, 0.25, 0.5])[:, None, None]
    mixed = np.einsum("nij,njhw->nihw", (share + turned).astype(np.float32), image)
    swapped = rng.random(n) < 0.2
    mixed[swapped] = 1.0 - mixed[swapped]
    return np.asarray(np.clip(mixed, 0.0, 1.0), np.float32)
