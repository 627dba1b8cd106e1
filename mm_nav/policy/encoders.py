"""Tokens that carry geometry: camera patches, LiDAR sectors, words and the goal pose, all in base_link."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mm_nav.policy.backbones import make_backbone
from mm_nav.policy.config import PolicyConfig

BEARING_FREQUENCIES = (1.0, 2.0, 4.0, 8.0)


class Seen(NamedTuple):
    """A picture after the backbone. fine: (B, C8, H/8, W/8). coarse: (B, C16, H/16, W/16). pixels: (B, cells, 3 * n) RGB in
    [0, 1] of each grounding cell's n pixels."""

    fine: Tensor
    coarse: Tensor
    pixels: Tensor


def direction_features(rays: Tensor) -> Tensor:
    """Fourier features (..., 10) of the bearing and height of unit direction vectors `rays` (..., 3) in base_link."""
    bearing = torch.atan2(rays[..., 1], rays[..., 0])
    angles = torch.stack([bearing * f for f in BEARING_FREQUENCIES], dim=-1)
    flat = torch.sqrt(rays[..., 0] ** 2 + rays[..., 1] ** 2).clamp_min(1e-6)
    slope = (rays[..., 2] / flat).clamp(-3.0, 3.0)
    return torch.cat([angles.sin(), angles.cos(), slope.unsqueeze(-1), (4.0 * slope).sin().unsqueeze(-1)], dim=-1)


class CameraEncoder(nn.Module):
    """Pictures -> context tokens that look along rays, and a fine map for grounding."""

    def __init__(self, config: PolicyConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config, pretrained)
        fine, coarse = self.backbone.channels
        self.context = nn.Linear(coarse, config.width)
        self.fine = nn.Linear(fine, config.width)
        self.direction = nn.Linear(10, config.width)
        # What colour a cell has is said by its pixels themselves, so that no backbone has to carry it along.
        pixels = config.patch // config.cell_rows * (config.patch // config.cell_columns)
        self.colour = nn.Linear(3 * pixels, config.cell_width)

    def see(self, image: Tensor) -> Seen:
        """Run the backbone, and cut the picture (B, 3, H, W) into grounding cells."""
        c = self.config
        features = self.backbone(image)
        down, across = c.image_height // c.grid_rows, c.image_width // c.grid_columns
        blocks = image.reshape(-1, 3, c.grid_rows, down, c.grid_columns, across)
        pixels = blocks.permute(0, 2, 4, 1, 3, 5).reshape(-1, c.grid_rows * c.grid_columns, 3 * down * across)
        return Seen(features.fine, features.coarse, pixels)

    def tokens(self, seen: Seen, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Return context tokens (B, P / 4, width) and the patches' features (B, P, width). rays: (B, P, 3), base_link."""
        rows, columns = self.config.context_shape
        around = rays.reshape(-1, rows, 2, columns, 2, 3).mean(dim=(2, 4)).reshape(-1, rows * columns, 3)
        context = self.context(seen.coarse.flatten(2).transpose(1, 2))
        fine = self.fine(seen.fine.flatten(2).transpose(1, 2)) + self.direction(direction_features(rays))
        return context + self.direction(direction_features(around)), fine


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
        tokens = self.embed(features.reshape(ranges.shape[0], self.sectors, -1))
        return tokens + self.direction(self.directions)


class GoalPoseEncoder(nn.Module):
    """pose (B, 3) = (present, x, y) with x, y in base_link metres -> token (B, 1, width)."""

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
        return self.embed(features * present).unsqueeze(1)
