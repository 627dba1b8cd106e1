"""A network of the size and shape of ViNT, untrained: what `mm-nav bench latency` measures beside.

ViNT (Shah et al., CoRL 2023) encodes six frames of 85x64 with one EfficientNet-B0, the newest frame together with the picture of
the goal with another, and lets the seven tokens attend to one another in four layers. Written from the papers' tables; no weights.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from mm_nav.learning.export import strip_traces

FRAMES, HEIGHT, WIDTH = 6, 64, 85
_WIDTH, _LAYERS, _HEADS = 512, 4, 4
# Channels, blocks, stride, kernel and expansion of EfficientNet-B0's stages (Tan and Le, ICML 2019).
_STAGES = (
    (16, 1, 1, 3, 1), (24, 2, 2, 3, 6), (40, 2, 2, 5, 6), (80, 3, 2, 3, 6), (112, 3, 1, 5, 6), (192, 4, 2, 5, 6), (320, 1, 1, 3, 6),
)  # fmt: skip


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.SiLU()] if act else []))


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(nn.functional.silu(self.squeeze(pooled))))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.skips = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *([_convolution(inputs, wide, 1)] if expansion > 1 else []),
            _convolution(wide, wide, kernel, stride, groups=wide),
            _SqueezeExcite(wide, max(1, inputs // 4)),
            _convolution(wide, outputs, 1, act=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.skips else y


class EfficientNetB0(nn.Module):
    """Pictures (B, channels, H, W) -> features (B, 1280)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers, inputs = [_convolution(channels, 32, 3, 2)], 32
        for outputs, count, stride, kernel, expansion in _STAGES:
            for k in range(count):
                layers.append(_Block(inputs, outputs, stride if k == 0 else 1, kernel, expansion))
                inputs = outputs
        self.layers = nn.Sequential(*layers, _convolution(inputs, 1280, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the pooled features."""
        features: Tensor = self.layers(image).mean(dim=(2, 3))
        return features


class VintLike(nn.Module):
    """frames (1, 18, 64, 85) and goal (1, 3, 64, 85) -> waypoints (1, 5, 4) and distance (1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.wanted = EfficientNetB0(3), EfficientNetB0(6)
        self.from_seen, self.from_wanted = nn.Linear(1280, _WIDTH), nn.Linear(1280, _WIDTH)
        self.position = nn.Parameter(torch.zeros(1, FRAMES + 1, _WIDTH))
        layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, 4 * _WIDTH, activation="gelu", batch_first=True, norm_first=True
        )
        self.attend = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)
        sizes = ((FRAMES + 1) * _WIDTH, 256, 128, 64, 32)
        self.head = nn.Sequential(*(part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())))
        self.distance, self.waypoints = nn.Linear(32, 1), nn.Linear(32, 20)

    def forward(self, frames: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network."""
        each = frames.reshape(FRAMES, 3, HEIGHT, WIDTH)
        both = torch.cat([each[-1:], goal], dim=1)
        tokens = torch.cat([self.from_seen(self.seen(each)), self.from_wanted(self.wanted(both))])[None]
        out = self.head(self.attend(tokens + self.position).flatten(1))
        return self.waypoints(out).reshape(1, 5, 4), self.distance(out)


def export_vint_like(output: Path) -> int:
    """Write the network to `output` (.onnx); return its number of parameters."""
    torch.manual_seed(0)
    network = VintLike().eval()
    example = (torch.rand(1, 3 * FRAMES, HEIGHT, WIDTH), torch.rand(1, 3, HEIGHT, WIDTH))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, example, str(output), input_names=["frames", "goal"], output_names=["waypoints", "distance"],
            opset_version=18, dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    strip_traces(output)
    return sum(parameter.numel() for parameter in network.parameters())
