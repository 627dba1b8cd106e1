"""The first part of training: the camera alone learns what stands where, three times as fast as with words and paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mm_nav.learning.ahead import made_ahead
from mm_nav.learning.dataset import FrameDataset
from mm_nav.learning.labels import (
    NUMBERS,
    Ints,
    cell_ranges,
    draw_strange,
    min_pixels,
    mirror_rays,
    pictures,
    semantics,
)
from mm_nav.policy.backbones import Features
from mm_nav.policy.losses import RANGE_WEIGHT, SEMANTIC_WEIGHT, hue_loss, range_loss, semantic_loss
from mm_nav.policy.model import CrossModalPolicy

# A frame is drawn in proportion to how many things it shows, up to this many; one that shows none, now and then.
_MOST, _NONE = 6, 0.3
_STRANGE = 0.3  # of the pictures, those whose colours are changed beyond their names


class Look(NamedTuple):
    """Pictures and what their cells show. image: (B, 3, H, W). rays: (B, P, 3). frozen: of a frozen backbone. kind, colour,
    log_range: (B, rows, columns), as in `mm_nav.policy.losses.PolicyTargets`."""

    image: Tensor
    rays: Tensor
    frozen: Features | None
    kind: Tensor
    colour: Tensor
    log_range: Tensor


class LookSampler:
    """Draws frames that show many things more often; batch: frames; seed: the whole order follows from it.

    part: (index, count), this worker's share of each batch when several train together.
    """

    def __init__(self, dataset: FrameDataset, batch: int, seed: int = 0, part: tuple[int, int] = (0, 1)) -> None:
        self._dataset, (self._index, self._count) = dataset, part
        self._batch = max(1, batch // self._count) * self._count
        self._order_rng = np.random.default_rng([seed, 13])
        self._rng = np.random.default_rng([seed, 14, self._index])
        # Every second pixel both ways will do to count things.
        least = min_pixels(dataset.config) / 4
        seen = [
            (np.bincount(numbers[::2, ::2].ravel(), minlength=NUMBERS)[1:] >= least).sum()
            for numbers in dataset.arrays["numbers"]
        ]
        weight = np.minimum(seen, _MOST) + _NONE
        self._share = weight / weight.sum()

    def looks(self) -> Iterator[Look]:
        """Return batches without end."""
        return made_ahead(self._make, self._draws())

    def _draws(self) -> Iterator[Ints]:
        while True:
            frames = self._order_rng.choice(len(self._share), self._batch, p=self._share)
            yield np.asarray(frames[self._index :: self._count], np.int64)

    def _make(self, frames: Ints) -> Look:
        a, c = self._dataset.arrays, self._dataset.config
        mirrored = self._rng.random(len(frames)) < 0.5
        strange = draw_strange(self._dataset, len(frames), _STRANGE, self._rng)
        image, frozen = pictures(self._dataset, frames, mirrored, self._rng, strange)
        rays = a["rays"][frames].copy()
        rays[mirrored] = mirror_rays(rays[mirrored], c)
        kind, colour = semantics(self._dataset, frames)
        colour[strange] = -1
        labels = (kind, colour, cell_ranges(a["planar"][frames], c))
        for label in labels:
            label[mirrored] = label[mirrored, :, ::-1]
        return Look(
            torch.from_numpy(image).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(rays),
            frozen,
            *(torch.from_numpy(label) for label in labels),
        )


class Looking(nn.Module):
    """The policy, as far as it only looks: what DistributedDataParallel can wrap."""

    def __init__(self, policy: CrossModalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, look: Look) -> dict[str, Tensor]:
        """Return the losses, their weighted sum under "total", and under "kind" the share of right cells on things."""
        kinds = self.policy.config.semantic_classes[0]
        semantic, log_range = self.policy.look(look.image, look.rays, look.frozen)
        hues = self.policy.hues(look.image)
        hue = hue_loss(None if hues is None else hues.logits, look.colour)
        what = semantic_loss(semantic, look.kind, look.colour, kinds)
        distance = range_loss(log_range, look.log_range, look.kind, torch.ones(len(look.image)))
        named = look.kind > 0
        right = semantic[..., :kinds].argmax(-1)[named] == look.kind[named]
        return {
            "total": SEMANTIC_WEIGHT * what + RANGE_WEIGHT * distance + hue,
            "semantic": what.detach(),
            "range": distance.detach(),
            "hue": hue.detach(),
            "kind": right.float().mean(),
        }
