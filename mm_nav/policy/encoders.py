"""Tokens that carry geometry: camera patches, LiDAR sectors, words and the goal pose, all in base_link."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_nav.policy.config import PolicyConfig

BEARING_FREQUENCIES = (1.0, 2.0, 4.0, 8.0)


def direction_features(rays: Tensor) -> Tensor:
    """Fourier features (..., 10) of the bearing and height of unit direction vectors `rays` (..., 3) in base_link."""
    bearing = torch.atan2(rays[..., 1], rays[..., 0])
    angles = torch.stack([bearing * f for f in BEARING_FREQUENCIES], dim=-1)
    flat = torch.sqrt(rays[..., 0] ** 2 + rays[..., 1] ** 2).clamp_min(1e-6)
    slope = (rays[..., 2] / flat).clamp(-3.0, 3.0)
    return torch.cat([angles.sin(), angles.cos(), slope.unsqueeze(-1), (4.0 * slope).sin().unsqueeze(-1)], dim=-1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group normalisation; (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(8, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(y)))


class CameraEncoder(nn.Module):
    """image (B, 3, H, W) in [0, 1] and rays (B, P, 3) in base_link -> tokens (B, P, width)."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        a, b, c = config.stem
        self.stem = nn.Sequential(
            nn.Conv2d(3, a, 5, stride=2, padding=2, bias=False),
            nn.GroupNorm(8, a),
            nn.ReLU(inplace=True),
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, b),
            nn.ReLU(inplace=True),
            ResidualBlock(b),
            nn.Conv2d(b, c, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, c),
            nn.ReLU(inplace=True),
            ResidualBlock(c),
        )
        # The fine map keeps thin and small things apart that the token grid would blur.
        self.fine = nn.Conv2d(b, config.width, config.patch // 4, stride=config.patch // 4)
        self.project = nn.Linear(c, config.width)
        self.direction = nn.Linear(10, config.width)

    def forward(self, image: Tensor, rays: Tensor) -> Tensor:
        """Encode the image."""
        x = (image - 0.45) / 0.25
        x = self.stem[:7](x)
        fine = self.fine(x).flatten(2).transpose(1, 2)
        coarse = self.stem[7:](x).flatten(2).transpose(1, 2)
        return self.project(coarse) + fine + self.direction(direction_features(rays))


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
