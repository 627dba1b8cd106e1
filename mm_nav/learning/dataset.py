"""Collected frames in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import zarr
from torch import Tensor

from mm_nav.errors import ConfigError
from mm_nav.learning.frames import ASKED
from mm_nav.policy.backbones import Features
from mm_nav.policy.config import PolicyConfig

ARRAYS = (
    "image", "numbers", "planar", "rays", "ranges", "ranges_valid", "surface", "cost", "paths", "pose", "world",
)  # fmt: skip

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


def find_shards(directory: Path, made_by: str = "mm-nav collect") -> list[Path]:
    """Return the shards of a folder, in order. Raises ConfigError when it has none. made_by: the command that makes them."""
    shards = sorted(directory.glob("shard_*.zarr"))
    if not shards:
        raise ConfigError(f"{directory} has no shards: run `{made_by} --out {directory}` first")
    return shards


class FrameDataset:
    """All frames of folders of shards.

    shards: written by `mm_nav.learning.collect` (see `find_shards`). features: see `cache_features`. Raises ConfigError when
    there are none or their pictures have another size.
    """

    def __init__(self, shards: Sequence[Path], config: PolicyConfig) -> None:
        if not shards:
            raise ConfigError("there are no shards to read: run `mm-nav collect` first")
        self.config = config
        self.objects: list[list[dict[str, Any]]] = []
        self.features: list[Features] = []
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*ARRAYS, "asked")}
        for path in shards:
            shard = zarr.open_group(str(path), mode="r")
            offset = len(self.objects)
            self.objects.extend(world["objects"] for world in shard.attrs["worlds"])
            for name in ARRAYS:
                parts[name].append(np.asarray(shard[name][:]) + (offset if name == "world" else 0))
            count = len(parts["world"][-1])
            # What a driving policy was asked; nobody drove through frames that were only collected.
            asked = np.asarray(shard["asked"][:]) if "asked" in shard else np.full((count, ASKED, 2), -1, np.int8)
            parts["asked"].append(asked)
            height, width = parts["image"][-1].shape[1:3]
            if (height, width) != (config.image_height, config.image_width):
                raise ConfigError(
                    f"{path} has pictures of {width}x{height}, the policy reads {config.image_width}x"
                    f"{config.image_height}: collect again, or change the policy's size"
                )
        self.arrays = {name: np.concatenate(kept) for name, kept in parts.items()}

    def __len__(self) -> int:
        return len(self.arrays["image"])

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
