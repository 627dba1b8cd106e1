"""The cross-modal policy: camera and LiDAR tokens are mixed once a frame, then words attend to them, phrase by phrase."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm_nav.policy.config import PolicyConfig
from mm_nav.policy.encoders import CameraEncoder, GoalPoseEncoder, LidarEncoder, Seen

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

    cells: (N, rows, columns) grounding over the image. log_range: (B, rows, columns) log metres from base_link to the surface
    that each cell shows. visible, arrived: (N,). waypoints: (N, K, T, 2) metres in base_link. waypoint: (N, K). semantic:
    (B, rows, columns, kinds + colours), what stands in each cell whatever was asked for; trained, but not exported.
    """

    cells: Tensor
    log_range: Tensor
    visible: Tensor
    arrived: Tensor
    waypoints: Tensor
    waypoint: Tensor
    semantic: Tensor


class Attention(nn.Module):
    """Multi-head attention of x (N, T, width) on y (N, S, width); bias (N, 1, 1, S) is added to the logits."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor, bias: Tensor) -> Tensor:
        """Apply the attention."""
        n, t, width = x.shape
        s, head = y.shape[1], width // self.heads
        q = self.query(x).reshape(n, t, self.heads, head).transpose(1, 2)
        k, v = self.key_value(y).reshape(n, s, 2, self.heads, head).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.output(attended.transpose(1, 2).reshape(n, t, width))


class SceneLayer(nn.Module):
    """Pre-norm self-attention and feed-forward among camera and LiDAR tokens."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Apply the layer to x (B, S, width)."""
        y = self.attention_norm(x)
        x = x + self.attention(y, y, bias)
        return x + self.feedforward(self.feedforward_norm(x))


class FusionLayer(nn.Module):
    """Words and goal attend to one another, then to the scene."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.own = SceneLayer(width, heads, feedforward)
        self.scene_norm = nn.LayerNorm(width)
        self.scene = Attention(width, heads)

    def forward(self, x: Tensor, bias: Tensor, scene: Tensor, scene_bias: Tensor) -> Tensor:
        """Apply the layer to x (N, T, width) and the scene (B, S, width) that N / B phrases share."""
        n, t, width = x.shape
        batch = scene.shape[0]
        # Queries do not see one another here, so the phrases of a frame stand side by side and share keys and values.
        together = self.scene_norm(x).reshape(batch, n // batch * t, width)
        x = x + self.scene(together, scene, scene_bias).reshape(n, t, width)
        mixed: Tensor = self.own(x, bias)
        return mixed


class CrossModalPolicy(nn.Module):
    """Camera, LiDAR, words and goal pose meet in one set of tokens that share base_link bearings."""

    def __init__(self, config: PolicyConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        w, d = config.width, config.cell_width
        self.camera = CameraEncoder(config, pretrained)
        self.lidar = LidarEncoder(config)
        self.pose = GoalPoseEncoder(config)
        self.language = nn.Sequential(nn.LayerNorm(config.language_width), nn.Linear(config.language_width, w))
        self.word_position = nn.Parameter(0.02 * torch.randn(config.language_tokens, w))
        self.modality = nn.Parameter(0.02 * torch.randn(4, w))
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, w))
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, w))
        layer = (w, config.heads, config.feedforward)
        self.perception = nn.ModuleList(SceneLayer(*layer) for _ in range(config.perception_layers))
        self.scene_norm = nn.LayerNorm(w)
        self.fusion = nn.ModuleList(FusionLayer(*layer) for _ in range(config.fusion_layers))
        self.norm = nn.LayerNorm(w)
        # A cell's embedding: its patch's features, the context around it, its own pixels.
        self.patch_norm = nn.LayerNorm(w)
        self.patch = nn.Linear(w, config.cell_rows * config.cell_columns * d)
        self.cell = nn.Sequential(nn.GELU(), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.asked = nn.Sequential(nn.Linear(w, w), nn.GELU(), nn.Linear(w, d + 1))
        self.semantic = nn.Linear(d, sum(config.semantic_classes))
        self.range = nn.Linear(d, 1)
        self.state = nn.Sequential(nn.Linear(w + 2, w), nn.GELU(), nn.Linear(w, 2))
        self.path = nn.Sequential(
            nn.Linear(w, 2 * w), nn.GELU(), nn.Linear(2 * w, config.hypotheses * (2 * config.steps + 1))
        )

    def forward(self, inputs: PolicyInputs, seen: Seen | None = None) -> PolicyLogits:
        """Run the network. seen: what `camera.see` made of the pictures before, instead of inputs.image."""
        c = self.config
        batch, n = inputs.ranges.shape[0], inputs.language.shape[0]
        context, fine = self.camera.tokens(seen := self.camera.see(inputs.image) if seen is None else seen, inputs.rays)
        lidar = self.lidar(inputs.ranges, inputs.ranges_valid) + self.modality[1]
        # A summary token that is always there keeps the softmax defined when both sensors are gone.
        scene = torch.cat([context + self.modality[0], lidar, self.summary.expand(batch, -1, -1)], dim=1)
        sector_seen = inputs.ranges_valid.reshape(batch, c.lidar_tokens, -1).amax(-1)
        camera_seen = inputs.image_present.expand(-1, context.shape[1])
        scene_bias = _bias(torch.cat([camera_seen, sector_seen, torch.ones_like(sector_seen[:, :1])], dim=1))
        for layer in self.perception:
            scene = layer(scene, scene_bias)
        scene = self.scene_norm(scene)
        cells = self._cells(scene[:, : context.shape[1]], fine, seen.pixels)

        words = self.language(inputs.language) + self.word_position[: inputs.language.shape[1]] + self.modality[2]
        pose = self.pose(inputs.pose) + self.modality[3]
        asked = torch.cat([self.query.expand(n, -1, -1), pose, words], dim=1)
        asked_bias = _bias(
            torch.cat([torch.ones_like(inputs.pose[:, :1]), inputs.pose[:, :1], inputs.language_mask], dim=1)
        )
        for layer in self.fusion:
            asked = layer(asked, asked_bias, scene, scene_bias)
        return self._heads(self.norm(asked[:, 0]), cells)

    def _cells(self, context: Tensor, fine: Tensor, pixels: Tensor) -> Tensor:
        """Return an embedding of each grounding cell (B, rows * columns, cell_width)."""
        c = self.config
        batch, (rows, columns), d = fine.shape[0], c.context_shape, c.cell_width
        # Each context token belongs to 2 x 2 patches.
        spread = context.reshape(batch, rows, 1, columns, 1, -1).expand(-1, -1, 2, -1, 2, -1)
        patches = self.patch(self.patch_norm(fine + spread.reshape(batch, rows * columns * 4, -1)))
        cells = patches.reshape(batch, c.token_rows, c.token_columns, c.cell_rows, c.cell_columns, d)
        cells = cells.permute(0, 1, 3, 2, 4, 5).reshape(batch, c.grid_rows * c.grid_columns, d)
        embedded: Tensor = self.cell(cells + self.camera.colour(pixels - 0.5))
        return embedded

    def _heads(self, asked: Tensor, cells: Tensor) -> PolicyLogits:
        c = self.config
        batch, n, grid = cells.shape[0], asked.shape[0], (c.grid_rows, c.grid_columns)
        query = self.asked(asked)
        towards = query[:, 1:].reshape(batch, n // batch, c.cell_width)
        flat = (torch.matmul(towards, cells.transpose(1, 2)) / c.cell_width**0.5).reshape(n, -1) + query[:, :1]
        evidence = torch.stack([flat.amax(1), torch.logsumexp(flat, 1)], dim=1)
        state = self.state(torch.cat([asked, evidence.clamp(-20.0, 20.0)], dim=1))
        path = self.path(asked).reshape(n, c.hypotheses, 2 * c.steps + 1)
        offsets = path[:, :, 1:].reshape(n, c.hypotheses, c.steps, 2)
        return PolicyLogits(
            flat.reshape(n, *grid),
            self.range(cells).reshape(batch, *grid),
            state[:, 0],
            state[:, 1],
            torch.cumsum(offsets * c.waypoint_spacing_m, dim=2),
            path[:, :, 0],
            self.semantic(cells).reshape(batch, *grid, -1),
        )


def _bias(seen: Tensor) -> Tensor:
    """Return attention biases (N, 1, 1, T) that hide the tokens where seen (N, T) is 0."""
    return ((1.0 - seen) * MASKED)[:, None, None, :]
