"""Collected frames in memory, and batches that pair each frame with several phrases."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mm_nav.errors import ConfigError
from mm_nav.language.encoder import TextEncoder
from mm_nav.learning.phrases import PhraseBank
from mm_nav.policy.config import PolicyConfig
from mm_nav.policy.losses import PolicyTargets
from mm_nav.policy.model import PolicyInputs
from mm_nav.sim.catalogue import CATEGORIES, COLOURS

# Fewer pixels than this at the network's size are not called visible, nor invisible: those pairs teach nothing.
MIN_PIXELS = 8
ARRIVED_M = 0.9
_KINDS, _COLOURS = tuple(CATEGORIES), tuple(COLOURS)
ARRAYS = (
    "image", "numbers", "planar", "rays", "ranges", "ranges_valid", "surface", "cost", "paths", "pose", "world",
)  # fmt: skip


class Batch(NamedTuple):
    """One training batch."""

    inputs: PolicyInputs
    targets: PolicyTargets


class Choice(NamedTuple):
    """One phrase for one frame. objects: numbers (from 0) of the objects that satisfy it."""

    phrase: str
    objects: tuple[int, ...]


class FrameDataset:
    """All frames of a folder of shards.

    directory: written by `mm_nav.learning.collect`. Raises ConfigError when it has no shards.
    """

    def __init__(self, directory: Path, config: PolicyConfig, shards: slice = slice(None)) -> None:
        paths = sorted(directory.glob("shard_*.npz"))[shards]
        if not paths:
            raise ConfigError(f"{directory} has no shards: run `mm-nav collect --out {directory}` first")
        self.config = config
        self.objects: list[list[dict[str, Any]]] = []
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ARRAYS}
        for path in paths:
            with np.load(path, allow_pickle=False) as shard:
                offset = len(self.objects)
                self.objects.extend(world["objects"] for world in json.loads(str(shard["worlds"])))
                for name in ARRAYS:
                    parts[name].append(shard[name] + (offset if name == "world" else 0))
        self.arrays = {name: np.concatenate(parts.pop(name)) for name in ARRAYS}

    def __len__(self) -> int:
        return len(self.arrays["image"])


class BatchSampler:
    """Draws batches: per frame, phrases for what is in view, near misses, and things that are elsewhere.

    phrases: per frame (G). seed: the whole order follows from it. augment: mirror, brightness, colour noise and
    modality dropout.
    """

    def __init__(
        self,
        dataset: FrameDataset,
        encoder: TextEncoder,
        batch: int = 64,
        phrases: int = 4,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        self.dataset, self.batch, self.phrases, self.augment = dataset, batch, phrases, augment
        self._encoder = encoder
        self._rng = np.random.default_rng([seed, 11])
        self._bank = PhraseBank()

    def epoch(self) -> Iterator[Batch]:
        """Yield batches over all frames once, in random order."""
        order = self._rng.permutation(len(self.dataset))
        parts = [
            np.sort(order[first : first + self.batch]) for first in range(0, len(order) - self.batch + 1, self.batch)
        ]
        # One batch ahead: numpy works on one core while torch is in the serial parts of its own work.
        with ThreadPoolExecutor(max_workers=1) as ahead:
            coming = deque([ahead.submit(self._make, part) for part in parts[:2]])
            for k in range(len(parts)):
                batch = coming.popleft().result()
                if k + 2 < len(parts):
                    coming.append(ahead.submit(self._make, parts[k + 2]))
                yield batch

    def _choices(self, frame: int, counts: npt.NDArray[np.int64]) -> list[Choice]:
        """Return G phrases for a frame; counts: (objects + 1,) pixels of each object number."""
        rng, bank = self._rng, self._bank
        objects = self.dataset.objects[self.dataset.arrays["world"][frame]]
        visible = [i for i in range(len(objects)) if counts[i + 1] >= MIN_PIXELS]
        choices = []
        for slot in range(self.phrases):
            kind = rng.random()
            if kind < 0.04:
                choices.append(Choice("", ()))
            elif visible and slot % 2 == 0:
                item = objects[visible[rng.integers(len(visible))]]
                choices.append(self._choice(bank.describe(rng, item), objects))
            elif visible and kind < 0.6:
                # A near miss: something in view, with one attribute swapped.
                item = objects[visible[rng.integers(len(visible))]]
                choices.append(self._choice(bank.near_miss(rng, item), objects))
            elif objects and kind < 0.85:
                choices.append(self._choice(bank.describe(rng, objects[rng.integers(len(objects))]), objects))
            else:
                choices.append(self._choice(bank.anything(rng), objects))
        return choices

    def _choice(self, drawn: tuple[str, str, str], objects: list[dict[str, Any]]) -> Choice:
        phrase, colour, category = drawn
        found = tuple(
            i
            for i, item in enumerate(objects)
            if (not colour or item["colour"] == colour) and (not category or item["category"] == category)
        )
        return Choice(phrase, found)

    def _make(self, frames: npt.NDArray[np.int64]) -> Batch:
        a, c, rng, g = self.dataset.arrays, self.dataset.config, self._rng, self.phrases
        n = len(frames) * g
        numbers = a["numbers"][frames]
        planar = a["planar"][frames].astype(np.float32)
        cells = np.zeros((n, c.grid_rows, c.grid_columns), np.float32)
        log_range = np.zeros_like(cells)
        visible, arrived = np.zeros(n, np.float32), np.zeros(n, np.float32)
        has_path, has_grounding = np.zeros(n, np.float32), np.zeros(n, np.float32)
        waypoints = np.zeros((n, c.steps, 2), np.float32)
        pose = np.zeros((n, 3), np.float32)
        phrases: list[str] = []
        for f, frame in enumerate(frames):
            counts = np.bincount(numbers[f].ravel(), minlength=64)
            for s, choice in enumerate(self._choices(int(frame), counts)):
                k = f * g + s
                phrases.append(choice.phrase)
                wanted = list(choice.objects)
                if not choice.phrase:
                    if rng.random() < 0.7 and np.isfinite(a["cost"][frame]).any():
                        # A pose goal instead of words: where some object stands.
                        wanted = [int(rng.choice(np.flatnonzero(np.isfinite(a["cost"][frame]))))]
                        pose[k] = self._pose_of(frame, wanted[0])
                else:
                    pixels = int(sum(counts[i + 1] for i in wanted))
                    has_grounding[k] = float(pixels == 0 or pixels >= MIN_PIXELS)
                    if pixels >= MIN_PIXELS:
                        visible[k] = 1.0
                        of_target = np.zeros(256, bool)
                        of_target[[i + 1 for i in wanted]] = True
                        cells[k], log_range[k] = _to_cells(of_target[numbers[f]], planar[f], c)
                        arrived[k] = float(min(a["surface"][frame][i] for i in wanted) <= ARRIVED_M)
                reachable = [i for i in wanted if np.isfinite(a["cost"][frame][i])]
                if reachable:
                    nearest = min(reachable, key=lambda i: float(a["cost"][frame][i]))
                    waypoints[k] = a["paths"][frame][nearest]
                    has_path[k] = 1.0
        image = a["image"][frames].transpose(0, 3, 1, 2).astype(np.float32) / 255.0
        ranges, valid = a["ranges"][frames].astype(np.float32), a["ranges_valid"][frames].astype(np.float32)
        rays = a["rays"][frames].copy()
        present = np.ones((len(frames), 1), np.float32)
        mirrored = np.zeros(len(frames), bool)
        if self.augment:
            image = self._colour(image)
            for f in range(len(frames)):
                part = slice(f * g, f * g + g)
                if rng.random() < 0.5:
                    mirrored[f] = True
                    image[f], rays[f] = image[f, :, :, ::-1], _mirror_rays(rays[f], c)
                    ranges[f], valid[f] = ranges[f, ::-1].copy(), valid[f, ::-1].copy()
                    cells[part], log_range[part] = cells[part, :, ::-1].copy(), log_range[part, :, ::-1].copy()
                    waypoints[part, :, 1] *= -1
                    pose[part, 2] *= -1
                drop = rng.random()
                if drop < 0.04:
                    image[f], present[f], has_grounding[part] = 0.0, 0.0, 0.0
                elif drop < 0.12:
                    ranges[f], valid[f] = 0.0, 0.0
                elif drop < 0.17:
                    # A LiDAR that sees only forward, as many do.
                    beams = np.arange(c.lidar_bins)
                    behind = np.abs(beams - c.lidar_bins / 2) > rng.uniform(0.25, 0.4) * c.lidar_bins
                    ranges[f][behind], valid[f][behind] = 0.0, 0.0
        encoded = [self._encoder.encode(phrase) for phrase in phrases]
        tensors = [
            image, present, rays, ranges, valid,
            np.stack([e[0] for e in encoded]), np.stack([e[1] for e in encoded]), pose,
        ]  # fmt: skip
        kind, colour = self._semantics(frames, numbers)
        if self.augment:
            kind[mirrored], colour[mirrored] = kind[mirrored, :, ::-1].copy(), colour[mirrored, :, ::-1].copy()
            kind[present[:, 0] == 0], colour[present[:, 0] == 0] = -1, -1
        labels = [cells, log_range, visible, arrived, waypoints, has_path, has_grounding, kind, colour]
        return Batch(
            PolicyInputs(*(torch.from_numpy(np.ascontiguousarray(t)) for t in tensors)),
            PolicyTargets(*(torch.from_numpy(np.ascontiguousarray(t)) for t in labels)),
        )

    def _semantics(
        self, frames: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the kind and the colour of what stands at the middle of each grounding cell, (B, rows, columns) each."""
        c = self.dataset.config
        down, across = c.image_height // c.grid_rows, c.image_width // c.grid_columns
        middle = numbers[:, down // 2 :: down, across // 2 :: across]
        kind, colour = np.zeros(middle.shape, np.int64), np.full(middle.shape, -1, np.int64)
        for f, frame in enumerate(frames):
            objects = self.dataset.objects[self.dataset.arrays["world"][frame]]
            kinds = np.array([0, *(1 + _KINDS.index(item["category"]) for item in objects)])
            colours = np.array([-1, *(_COLOURS.index(item["colour"]) if item["colour"] else -1 for item in objects)])
            kind[f], colour[f] = kinds[middle[f]], colours[middle[f]]
        return kind, colour

    def _pose_of(self, frame: np.int64, index: int) -> npt.NDArray[np.float32]:
        item = self.dataset.objects[self.dataset.arrays["world"][frame]][index]
        x, y, yaw = self.dataset.arrays["pose"][frame]
        dx, dy = item["center"][0] - x, item["center"][1] - y
        cos, sin = np.cos(yaw), np.sin(yaw)
        return np.array([1.0, cos * dx + sin * dy, -sin * dx + cos * dy], np.float32)

    def _colour(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Change exposure, contrast and white balance a little, and add noise; hues must stay what they are called."""
        rng, n = self._rng, len(image)
        gain = rng.uniform(0.7, 1.3, (n, 1, 1, 1)) * rng.uniform(0.93, 1.07, (n, 3, 1, 1))
        offset = rng.uniform(-0.05, 0.05, (n, 1, 1, 1))
        noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0, 0.03, (n, 1, 1, 1))
        return np.clip(image * gain + offset + noise, 0.0, 1.0).astype(np.float32)


def _to_cells(
    mask: npt.NDArray[np.bool_], planar: npt.NDArray[np.float32], c: PolicyConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the share of each grounding cell that is target, and the log of its nearest target distance."""
    shape = (c.grid_rows, c.image_height // c.grid_rows, c.grid_columns, c.image_width // c.grid_columns)
    blocks = mask.reshape(shape)
    share = blocks.mean(axis=(1, 3), dtype=np.float32)
    near = np.where(mask, planar, np.inf).reshape(shape).min(axis=(1, 3))
    return share, np.where(np.isfinite(near), np.log(np.clip(near, 0.1, 30.0)), 0.0).astype(np.float32)


def _mirror_rays(rays: npt.NDArray[np.float32], c: PolicyConfig) -> npt.NDArray[np.float32]:
    grid = rays.reshape(c.token_rows, c.token_columns, 3)[:, ::-1].copy()
    grid[..., 1] *= -1
    return grid.reshape(-1, 3)
