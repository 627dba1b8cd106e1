"""Tokens that carry geometry: camera patches, LiDAR sectors, the goal pose and earlier frames, all in base_link.

Tokens are rows of a matrix, those of one observation or phrase after those of the one before: what a layer does to each of them is
then one matrix product, without operators that only give a tensor another shape, which cost as much here as small layers do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mm_nav.policy.backbones import Features, Stem, make_backbone
from mm_nav.policy.config import PolicyConfig

BEARING_FREQUENCIES = (1.0, 2.0, 4.0, 8.0)  # each twice the one before
# Features as the weights know them: all sines, all cosines, what is left. They come as pairs of cosine and sine.
_ORDER = [1, 3, 5, 7, 0, 2, 4, 6, 8, 9]


def direction_features(rays: Tensor) -> Tensor:
    """Fourier features (..., 10) of the bearing and height of unit direction vectors `rays` (..., 3) in base_link.

    Sines and cosines of multiples of the bearing, without the bearing: CUDA has no operator for an arcus tangent, and one that is
    not the GPU's keeps a network from being recorded as a CUDA graph.
    """
    flat = rays[..., :2]
    level = torch.sqrt((flat**2).sum(-1, keepdim=True)).clamp_min(1e-6)
    around = [flat / level]  # cosine, sine
    for _ in BEARING_FREQUENCIES[1:]:
        last = around[-1]
        around.append(2.0 * last[..., :1] * last - last.new_tensor([1.0, 0.0]))
    slope = (rays[..., 2:] / level).clamp(-3.0, 3.0)
    features = torch.cat([*around, slope, (4.0 * slope).sin()], dim=-1)
    return features.index_select(-1, torch.tensor(_ORDER, device=rays.device))


class Looked(NamedTuple):
    """A picture after the convolutions. context: (B * P / 4, width) tokens that look along rays. fine: (B * P, width), the
    patches' features. cells: (B * cells, cell_width), what each grounding cell's own surroundings say."""

    context: Tensor
    fine: Tensor
    cells: Tensor


class CameraEncoder(nn.Module):
    """Pictures -> context tokens that look along rays, and finer maps for grounding."""

    def __init__(self, config: PolicyConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config.stem)
        self.backbone = make_backbone(config, pretrained)
        fine, coarse = (0, 0) if self.backbone is None else self.backbone.channels
        self.context = nn.Linear(coarse + config.stem[3], config.width)
        self.fine = nn.Linear(fine + config.stem[2], config.width)
        self.direction = nn.Linear(10, config.width)
        # What colour a cell has is said by its pixels themselves, so that no convolution has to carry it along.
        pixels = config.patch // config.cell_rows * (config.patch // config.cell_columns)
        self.colour = nn.Linear(3 * pixels, config.cell_width)
        self.detail = nn.Linear(config.stem[1], config.cell_width)

    def forward(self, image: Tensor, rays: Tensor, frozen: Features | None = None) -> Looked:
        """Look at pictures (B, 3, H, W). rays: (B, P, 3), base_link. frozen: what `backbone` made of them before, or None."""
        c = self.config
        own = self.stem(image)
        fine, coarse = own.fine, own.coarse
        if self.backbone is not None:
            frozen = self.backbone(image) if frozen is None else frozen
            fine, coarse = torch.cat([fine, frozen.fine], dim=1), torch.cat([coarse, frozen.coarse], dim=1)
        rows, columns = c.context_shape
        around = rays.reshape(-1, rows, 2, columns, 2, 3).mean(dim=(2, 4)).reshape(-1, 3)
        # Both at once, for what is done to so few numbers costs as much for half of them.
        towards = self.direction(direction_features(torch.cat([around, rays.reshape(-1, 3)])))
        context = self.context(_rows(coarse)) + towards[: len(around)]
        patches = self.fine(_rows(fine)) + towards[len(around) :]
        down, across = c.image_height // c.grid_rows, c.image_width // c.grid_columns
        blocks = image.reshape(-1, 3, c.grid_rows, down, c.grid_columns, across)
        pixels = blocks.permute(0, 2, 4, 1, 3, 5).reshape(-1, 3 * down * across)
        detail = own.cells if own.cells.shape[2:] == (c.grid_rows, c.grid_columns) else _to_grid(own.cells, c)
        cells = self.colour(pixels - 0.5) + self.detail(_rows(detail))
        return Looked(context, patches, cells)


def _rows(features: Tensor) -> Tensor:
    """Return maps (B, C, H, W) as rows (B * H * W, C)."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def _to_grid(features: Tensor, c: PolicyConfig) -> Tensor:
    """Resample a map to the grounding grid, for cells that are not 4 pixels wide."""
    return torch.nn.functional.interpolate(features, size=(c.grid_rows, c.grid_columns), mode="bilinear")


class Hues(NamedTuple):
    """What the pixels around each grounding cell say of its colour. features: (B * cells, hue_width). logits: (B, rows, columns,
    colours)."""

    features: Tensor
    logits: Tensor


class HueEncoder(nn.Module):
    """Pictures -> the colour of each grounding cell, from little more than its own pixels.

    What stands there cannot be made out of so few, so a colour is told alike on things that were never shown in it. Mean and
    spread of the whole picture say what light it was taken in.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        stride = (config.patch // config.cell_rows, config.patch // config.cell_columns)
        width = config.hue_width
        self.pixels = nn.Conv2d(3, width, kernel_size=stride, stride=stride)
        self.light = nn.Linear(6, width)
        self.around = nn.Conv2d(width, width, 3, padding=1)
        self.colour = nn.Linear(width, config.semantic_classes[1])

    def forward(self, image: Tensor) -> Hues:
        """Look at pictures (B, 3, H, W) in [0, 1]."""
        x = (image - 0.45) / 0.25
        mean = x.mean(dim=(2, 3), keepdim=True)
        spread = ((x - mean) ** 2).mean(dim=(2, 3)).clamp_min(1e-6).sqrt()
        light = self.light(torch.cat([mean.flatten(1), spread], dim=1))
        x = torch.relu(self.pixels(x) + light[:, :, None, None])
        x = torch.relu(x + self.around(x)).permute(0, 2, 3, 1)
        return Hues(x.reshape(-1, x.shape[-1]), self.colour(x))


class LidarEncoder(nn.Module):
    """ranges, valid (B, bins) -> tokens (B, sectors, width). Bin i looks along -pi + (i + 0.5) * 2 pi / bins."""

    directions: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.sectors = config.lidar_tokens
        self.max_range = config.max_range_m
        per_sector = config.lidar_bins // config.lidar_tokens
        self.embed = nn.Sequential(
            nn.Linear(3 * per_sector, config.width), nn.ReLU(inplace=True), nn.Linear(config.width, config.width)
        )
        self.direction = nn.Linear(10, config.width)
        bearings = -torch.pi + (torch.arange(self.sectors) + 0.5) * 2.0 * torch.pi / self.sectors
        rays = torch.stack([bearings.cos(), bearings.sin(), torch.zeros_like(bearings)], dim=-1)
        self.register_buffer("directions", direction_features(rays), persistent=False)

    def forward(self, ranges: Tensor, valid: Tensor) -> Tensor:
        """Encode the scan."""
        near = 1.0 / (ranges + 0.3)
        features = torch.stack([ranges / self.max_range * valid, near * valid, valid], dim=-1)
        per_sector = 3 * ranges.shape[1] // self.sectors
        tokens = self.embed(features.reshape(-1, per_sector)).reshape(len(ranges), self.sectors, -1)
        return torch.add(tokens, self.direction(self.directions))


class GoalPoseEncoder(nn.Module):
    """pose (B, 3) = (present, x, y) with x, y in base_link metres -> token (B, width)."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(5, config.width), nn.ReLU(inplace=True), nn.Linear(config.width, config.width)
        )

    def forward(self, pose: Tensor) -> Tensor:
        """Encode the goal pose."""
        present, xy = pose[:, :1], pose[:, 1:]
        distance = torch.sqrt((xy**2).sum(-1, keepdim=True) + 1e-6)
        features = torch.cat([present, xy / distance, torch.log1p(distance), 1.0 / (distance + 0.5)], dim=-1)
        encoded: Tensor = self.embed(features * present)
        return encoded


class MemoryEncoder(nn.Module):
    """Places earlier notes where they were taken: pose (B, K, 3) -> what to add to the K frames' tokens (B, K, width)."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(6, config.width), nn.ReLU(inplace=True), nn.Linear(config.width, config.width)
        )

    def forward(self, pose: Tensor) -> Tensor:
        """Encode x, y (m) and yaw (rad) of the earlier base_link in the present one."""
        xy, yaw = pose[..., :2], pose[..., 2:]
        distance = torch.sqrt((xy**2).sum(-1, keepdim=True) + 1e-6)
        features = torch.cat(
            [xy / (1.0 + distance), torch.log1p(distance), yaw.sin(), yaw.cos(), xy[..., :1] / 3.0], -1
        )
        encoded: Tensor = self.embed(features)
        return encoded
