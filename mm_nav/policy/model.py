"""The cross-modal policy: tokens -> perception layers -> fusion with language -> grounding, waypoints, arrival."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm_nav.policy.config import PolicyConfig
from mm_nav.policy.encoders import CameraEncoder, GoalPoseEncoder, LidarEncoder

MASKED = -1e4


class PolicyInputs(NamedTuple):
    """What the network reads. B observations; G phrases per observation (G = 1 at run time).

    image: (B, 3, H, W) in [0, 1]. image_present: (B, 1) 1 or 0. rays: (B, P, 3) unit directions of the patch centres
    in base_link. ranges, ranges_valid: (B, bins) metres and 1/0. language: (B*G, L, 384). language_mask: (B*G, L)
    1 = word. pose: (B*G, 3) = (present, x, y) in base_link.
    """

    image: Tensor
    image_present: Tensor
    rays: Tensor
    ranges: Tensor
    ranges_valid: Tensor
    language: Tensor
    language_mask: Tensor
    pose: Tensor


class PolicyLogits(NamedTuple):
    """What the network says, before softmax and sigmoid. N = B*G.

    cells: (N, rows, columns) grounding over the image. log_range: (N, rows, columns) log metres from base_link to the target's
    surface. visible, arrived: (N,). waypoints: (N, K, T, 2) metres in base_link. waypoint: (N, K). semantic: (B, rows, columns,
    kinds + colours), what stands in each cell whatever was asked for; trained, but not exported.
    """

    cells: Tensor
    log_range: Tensor
    visible: Tensor
    arrived: Tensor
    waypoints: Tensor
    waypoint: Tensor
    semantic: Tensor


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward; x (N, T, width), bias (N, 1, 1, T) added to the attention logits."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Apply the layer."""
        n, t, width = x.shape
        qkv = self.query_key_value(self.attention_norm(x)).reshape(n, t, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.output(attended.transpose(1, 2).reshape(n, t, width))
        return x + self.feedforward(self.feedforward_norm(x))


class CrossModalPolicy(nn.Module):
    """Camera, LiDAR, words and goal pose meet in one set of tokens that share base_link bearings."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.camera = CameraEncoder(config)
        self.lidar = LidarEncoder(config)
        self.pose = GoalPoseEncoder(config)
        self.language = nn.Sequential(nn.LayerNorm(config.language_width), nn.Linear(config.language_width, w))
        self.word_position = nn.Parameter(0.02 * torch.randn(config.language_tokens, w))
        self.modality = nn.Parameter(0.02 * torch.randn(4, w))
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, w))
        layer = (w, config.heads, config.feedforward)
        self.perception = nn.ModuleList(TransformerLayer(*layer) for _ in range(config.perception_layers))
        self.fusion = nn.ModuleList(TransformerLayer(*layer) for _ in range(config.fusion_layers))
        self.norm = nn.LayerNorm(w)
        cells = config.cell_rows * config.cell_columns
        self.ground = nn.Sequential(nn.Linear(w, w), nn.GELU(), nn.Linear(w, 2 * cells))
        self.semantic = nn.Linear(w, cells * sum(config.semantic_classes))
        self.state = nn.Sequential(nn.Linear(w + 2, w), nn.GELU(), nn.Linear(w, 2))
        self.path = nn.Sequential(
            nn.Linear(w, 2 * w), nn.GELU(), nn.Linear(2 * w, config.hypotheses * (2 * config.steps + 1))
        )

    def forward(self, inputs: PolicyInputs) -> PolicyLogits:
        """Run the network."""
        c = self.config
        batch = inputs.image.shape[0]
        n = inputs.language.shape[0]
        camera = self.camera(inputs.image, inputs.rays) + self.modality[0]
        lidar = self.lidar(inputs.ranges, inputs.ranges_valid) + self.modality[1]
        sector_seen = inputs.ranges_valid.reshape(batch, c.lidar_tokens, -1).amax(-1)
        seen = torch.cat([inputs.image_present.expand(-1, c.camera_tokens), sector_seen], dim=1)
        tokens = torch.cat([camera, lidar], dim=1)
        # A summary token that is always there keeps the softmax defined when both sensors are gone.
        tokens = torch.cat([tokens, self.summary.expand(batch, -1, -1)], dim=1)
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        for layer in self.perception:
            tokens = layer(tokens, self._bias(seen))
        semantic = self._to_grid(self.semantic(tokens[:, : c.camera_tokens]), sum(c.semantic_classes)).permute(
            1, 2, 3, 0
        )
        semantic = semantic.reshape(batch, c.grid_rows, c.grid_columns, -1)

        if n != batch:
            tokens = tokens.repeat_interleave(n // batch, dim=0)
            seen = seen.repeat_interleave(n // batch, dim=0)
        words = self.language(inputs.language) + self.word_position + self.modality[2]
        pose = self.pose(inputs.pose) + self.modality[3]
        tokens = torch.cat([tokens, words, pose], dim=1)
        seen = torch.cat([seen, inputs.language_mask, inputs.pose[:, :1]], dim=1)
        for layer in self.fusion:
            tokens = layer(tokens, self._bias(seen))
        tokens = self.norm(tokens)
        return self._heads(tokens, semantic)

    def _to_grid(self, values: Tensor, channels: int) -> Tensor:
        """Spread each camera token's values (N, P, channels * cells) over its cells: (channels, N, rows, columns)."""
        c = self.config
        n = values.shape[0]
        values = values.reshape(n, c.token_rows, c.token_columns, channels, c.cell_rows, c.cell_columns)
        return values.permute(3, 0, 1, 4, 2, 5).reshape(channels, n, c.grid_rows, c.grid_columns)

    def _heads(self, tokens: Tensor, semantic: Tensor) -> PolicyLogits:
        c = self.config
        n = tokens.shape[0]
        cells, log_range = self._to_grid(self.ground(tokens[:, : c.camera_tokens]), 2)
        summary = tokens[:, c.camera_tokens + c.lidar_tokens]
        flat = cells.flatten(1)
        evidence = torch.stack([flat.amax(1), torch.logsumexp(flat, 1)], dim=1)
        state = self.state(torch.cat([summary, evidence.clamp(-20.0, 20.0)], dim=1))
        path = self.path(summary).reshape(n, c.hypotheses, 2 * c.steps + 1)
        offsets = path[:, :, 1:].reshape(n, c.hypotheses, c.steps, 2)
        waypoints = torch.cumsum(offsets * c.waypoint_spacing_m, dim=2)
        return PolicyLogits(cells, log_range, state[:, 0], state[:, 1], waypoints, path[:, :, 0], semantic)

    @staticmethod
    def _bias(seen: Tensor) -> Tensor:
        return ((1.0 - seen) * MASKED)[:, None, None, :]
