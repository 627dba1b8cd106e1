"""What a camera's pictures and their grounding cells show: inputs and labels that every part of training shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mm_nav.learning.dataset import Floats, FrameDataset, estrange, recolour
from mm_nav.learning.frames import MAX_OBJECTS, RANGE_STRIDE
from mm_nav.policy.backbones import Features
from mm_nav.policy.config import PolicyConfig
from mm_nav.sim.catalogue import COLOURS as _COLOURS
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES

Ints = npt.NDArray[np.int64]

KINDS, COLOURS = tuple(ALL_CATEGORIES), tuple(_COLOURS)
# In the cells, kind 0 is nothing that can be named.
KIND_INDEX = {name: 1 + index for index, name in enumerate(KINDS)}
COLOUR_INDEX = {name: index for index, name in enumerate(COLOURS)}
NUMBERS = MAX_OBJECTS + 1  # of objects, and 0 for everything else
# Fewer of the network's pixels than this share are not called visible, nor invisible: those pairs teach nothing.
_MIN_SHARE = 1 / 900


def min_pixels(c: PolicyConfig) -> float:
    """Return from how many of the network's pixels on a thing is called visible."""
    return _MIN_SHARE * c.image_height * c.image_width


def draw_strange(dataset: FrameDataset, count: int, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return which of `count` pictures get strange colours; a frozen backbone has looked at them before."""
    return np.asarray(rng.random(count) < (0.0 if dataset.features else share), np.bool_)


def pictures(
    dataset: FrameDataset,
    frames: Ints,
    mirrored: npt.NDArray[np.bool_],
    rng: np.random.Generator | None,
    strange: npt.NDArray[np.bool_] | None = None,
) -> tuple[Floats, Features | None]:
    """Return pictures (B, 3, H, W) in [0, 1], mirrored where told to (B,), and what a frozen backbone made of them.

    rng: draws other colours; None leaves them as they are. strange: (B,) where they are such that no name fits any more: what
    a thing is does not hang on its colour.
    """
    image = dataset.arrays["image"][frames].transpose(0, 3, 1, 2).astype(np.float32) / 255.0
    if rng is not None:
        if strange is not None and strange.any():
            image[strange] = estrange(image[strange], rng)
        image = recolour(image, rng)
    image[mirrored] = image[mirrored, :, :, ::-1]
    if not dataset.features:
        return image, None
    rows = torch.from_numpy(frames)
    taken = [part[rows] for part in dataset.features[0]]
    if mirrored.any():
        flip = torch.from_numpy(np.flatnonzero(mirrored))
        for mine, other in zip(taken, dataset.features[1], strict=True):
            mine[flip] = other[rows[flip]]
    return image, Features(*(part.float() for part in taken))


def semantics(dataset: FrameDataset, frames: Ints) -> tuple[Ints, Ints]:
    """Return the kind and the colour of what stands at the middle of each grounding cell, (B, rows, columns) each.

    Kinds are 0 where nothing stands, else 1 + the index in KINDS; colours are indices of COLOURS, -1 where there is none.
    """
    c = dataset.config
    down, across = c.image_height // c.grid_rows, c.image_width // c.grid_columns
    middle = dataset.arrays["numbers"][frames][:, down // 2 :: down, across // 2 :: across]
    kind, colour = np.zeros(middle.shape, np.int64), np.full(middle.shape, -1, np.int64)
    for f, frame in enumerate(frames):
        objects = dataset.objects[dataset.arrays["world"][frame]]
        kinds = np.array([0, *(KIND_INDEX[item["category"]] for item in objects)])
        colours = np.array([-1, *(COLOUR_INDEX.get(item["colour"], -1) for item in objects)])
        kind[f], colour[f] = kinds[middle[f]], colours[middle[f]]
    return kind, colour


def cell_ranges(planar: npt.NDArray[np.float16], c: PolicyConfig) -> Floats:
    """Return the log of the nearest distance (m) in each grounding cell (B, rows, columns).

    planar: (B, H / RANGE_STRIDE, W / RANGE_STRIDE) metres over the floor from base_link to what each pixel shows.
    """
    down, across = c.image_height // c.grid_rows, c.image_width // c.grid_columns
    blocks = planar.reshape(len(planar), c.grid_rows, down // RANGE_STRIDE, c.grid_columns, across // RANGE_STRIDE)
    return np.asarray(np.log(np.clip(blocks.min(axis=(2, 4)).astype(np.float32), 0.1, 30.0)), np.float32)


def mirror_rays(rays: Floats, c: PolicyConfig) -> Floats:
    """Return the rays (B, P, 3) of pictures that are mirrored: +y in base_link is then -y."""
    grid = rays.reshape(len(rays), c.token_rows, c.token_columns, 3)[:, :, ::-1].copy()
    grid[..., 1] *= -1
    return grid.reshape(rays.shape)
