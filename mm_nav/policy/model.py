"""The cross-modal policy: camera and LiDAR tokens are mixed once a frame, then words attend to them, phrase by phrase."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm_nav.policy.backbones import Features
from mm_nav.policy.config import PolicyConfig
from mm_nav.policy.encoders import CameraEncoder, GoalPoseEncoder, HueEncoder, Hues, LidarEncoder, Looked, MemoryEncoder

MASKED = -1e4
# The parts of the policy that `look` and `hues` go through.
LOOKS_WITH = ("camera", "hue", "modality", "scene_norm", "patch_norm", "patch", "cell", "semantic", "range")


class PolicyInputs(NamedTuple):
    """What the network reads. B observations; N = B*G phrases, G per observation; K = memory_frames; M = memory_tokens.

    image: (B, 3, H, W) in [0, 1]. image_present: (B, 1) 1 or 0. rays: (B, P, 3) unit directions of the patch centres
    in base_link. ranges, ranges_valid: (B, bins) metres and 1/0. memory: (B, K, M, width) notes of earlier frames;
    memory_pose: (B, K, 3) x, y (m) and yaw (rad) of base_link then in base_link now; memory_present: (B, K) 1/0. language:
    (N, L, 384). language_mask: (N, L) 1 = word. pose: (N, 3) = (present, x, y) in base_link. goal: (N, goal_tokens, width),
    notes of a picture of the goal; goal_present: (N, 1) 1/0.
    """

    image: Tensor
    image_present: Tensor
    rays: Tensor
    ranges: Tensor
    ranges_valid: Tensor
    memory: Tensor
    memory_pose: Tensor
    memory_present: Tensor
    language: Tensor
    language_mask: Tensor
    pose: Tensor
    goal: Tensor
    goal_present: Tensor


class Links(NamedTuple):
    """In training, notes come from frames of the same batch, so that they are learned along.

    memory: (B, K) int64, the frames that are remembered. goal: (N,) int64, the frame whose picture is the goal. Where
    memory_present and goal_present are 0, any index.
    """

    memory: Tensor
    goal: Tensor


class PolicyLogits(NamedTuple):
    """What the network says, before softmax and sigmoid.

    cells: (N, rows, columns) grounding over the image. log_range: (B, rows, columns) log metres from base_link to the surface
    that each cell shows. visible, arrived: (N,). waypoints: (N, K, T, 2) metres in base_link. waypoint: (N, K). semantic:
    (B, rows, columns, kinds + colours), what stands in each cell whatever was asked for; trained, but not exported. notes:
    (B, memory_tokens + goal_tokens, width), this frame for later. hues: (B, rows, columns, colours), the colour of what each
    cell shows, by its pixels alone; None without hue_width.
    """

    cells: Tensor
    log_range: Tensor
    visible: Tensor
    arrived: Tensor
    waypoints: Tensor
    waypoint: Tensor
    semantic: Tensor
    notes: Tensor
    hues: Tensor | None


class Temperatures(NamedTuple):
    """What the exported model divides logits by, so that its probabilities are frequencies; fitted after training."""

    visible: float = 1.0
    arrived: float = 1.0
    waypoint: float = 1.0


# Sets of tokens and tokens in each; -1 = as many as there are. The one that is the same in every export is given.
Shape = tuple[int, int]


class Gelu(nn.Module):
    """GELU (Hendrycks & Gimpel 2016), exported so that ONNX Runtime makes one operator of it and older TensorRT knows each part."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to any shape."""
        return 0.5 * (x * (1.0 + torch.erf(x / 2.0**0.5))) if torch.compiler.is_exporting() else F.gelu(x)


class Attention(nn.Module):
    """Multi-head attention of x (N * T, width) on y (N * S, width); bias (N, 1, 1 or T, S), if any, is added to the logits."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, x_shape: Shape, y: Tensor, y_shape: Shape, bias: Tensor | None) -> Tensor:
        """Apply the attention. x_shape, y_shape: (N, T) and (N, S)."""
        (query,) = self._by_head(self.query(x), x_shape, 1)
        key, value = self._by_head(self.key_value(y), y_shape, 2)
        return self._attend(query, key, value, bias)

    def to_itself(self, x: Tensor, shape: Shape, bias: Tensor | None) -> Tensor:
        """Apply the attention of x on x."""
        weight = torch.cat([self.query.weight, self.key_value.weight])
        query_key_value = F.linear(x, weight, torch.cat([self.query.bias, self.key_value.bias]))
        query, key, value = self._by_head(query_key_value, shape, 3)
        return self._attend(query, key, value, bias)

    def _by_head(self, z: Tensor, shape: Shape, parts: int) -> tuple[Tensor, ...]:
        """Return (N, heads, tokens, width / heads) of each of the parts that stand side by side in z."""
        head = z.shape[1] // (parts * self.heads)
        return z.reshape(*shape, parts * self.heads, head).transpose(1, 2).split(self.heads, dim=1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        if torch.compiler.is_exporting():
            # The exporter's own way guards against rows without any token, which there are none of here.
            logits = torch.matmul(query, key.transpose(2, 3)) * query.shape[3] ** -0.5
            attended = torch.matmul(torch.softmax(logits if bias is None else logits + bias, dim=3), value)
        else:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        output: Tensor = self.output(attended.transpose(1, 2).reshape(-1, self.heads * query.shape[3]))
        return output


class SceneLayer(nn.Module):
    """Pre-norm self-attention and feed-forward among camera and LiDAR tokens."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), Gelu(), nn.Linear(feedforward, width))

    def forward(self, x: Tensor, shape: Shape, bias: Tensor | None) -> Tensor:
        """Apply the layer to x (N * T, width). shape: (N, T)."""
        x = x + self.attention.to_itself(self.attention_norm(x), shape, bias)
        return torch.add(x, self.feedforward(self.feedforward_norm(x)))


class FusionLayer(nn.Module):
    """What is asked attends to the scene, then to itself."""

    def __init__(self, width: int, heads: int, feedforward: int, late: bool) -> None:
        super().__init__()
        self.own = SceneLayer(width, heads, feedforward)
        self.late = late
        if not late:
            self.scene_norm = nn.LayerNorm(width)
            self.scene = Attention(width, heads)

    def forward(self, x: Tensor, tokens: int, scene: Tensor, scene_bias: Tensor) -> Tensor:
        """Apply the layer to x (N * tokens, width) and the scene (B * S, width) that N / B phrases share. scene_bias:
        (B, 1, 1, S)."""
        if not self.late:
            # Queries do not see one another here, so the phrases of a frame stand side by side and share keys and values.
            frames = scene_bias.shape[0], -1
            x = x + self.scene(self.scene_norm(x), frames, scene, frames, scene_bias)
        mixed: Tensor = self.own(x, (-1, tokens), None)
        return mixed


class CrossModalPolicy(nn.Module):
    """Camera, LiDAR, words, goal and memory meet in tokens that share base_link bearings."""

    def __init__(self, config: PolicyConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.temperatures = Temperatures()
        w, d, late = config.width, config.cell_width, config.fusion == "late"
        self.camera = CameraEncoder(config, pretrained)
        self.hue = HueEncoder(config) if config.hue_width else None
        self.lidar = LidarEncoder(config)
        self.pose = GoalPoseEncoder(config)
        self.memory = MemoryEncoder(config)
        self.language = nn.Sequential(nn.LayerNorm(config.language_width), nn.Linear(config.language_width, w))
        self.word_position = nn.Parameter(0.02 * torch.randn(config.language_tokens, w))
        self.modality = nn.Parameter(0.02 * torch.randn(6, w))
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, w))
        # Words, pose and picture of a goal are read into a few tokens: what is asked.
        self.query = nn.Parameter(0.02 * torch.randn(1, config.asked_tokens, w))
        self.request_norm = nn.LayerNorm(w)
        self.read = Attention(w, config.heads)
        layer = (w, config.heads, config.feedforward)
        self.perception = nn.ModuleList(SceneLayer(*layer) for _ in range(config.perception_layers))
        self.scene_norm = nn.LayerNorm(w)
        self.fusion = nn.ModuleList(FusionLayer(*layer, late) for _ in range(config.fusion_layers))
        self.norm = nn.LayerNorm(w)
        # What is kept of a frame for later: its memory, and what it shows where it is the picture of a goal.
        self.note_query = nn.Parameter(0.02 * torch.randn(1, config.note_tokens, w))
        self.note_norm = nn.LayerNorm(w)
        self.note = Attention(w, config.heads)
        self.note_output = nn.LayerNorm(w)
        # A cell's embedding: its patch's features, the context around it, its own surroundings.
        self.patch_norm = nn.LayerNorm(w)
        self.patch = nn.Linear(w, config.cell_rows * config.cell_columns * d)
        self.cell = nn.Sequential(
            nn.ReLU(inplace=True), nn.Linear(d, 2 * d), nn.ReLU(inplace=True), nn.Linear(2 * d, d)
        )
        queries = d + 1 if self.hue is None else 2 * (d + 1) + config.hue_width
        self.asked = nn.Sequential(nn.Linear(w, w), Gelu(), nn.Linear(w, queries))
        self.semantic = nn.Linear(d, sum(config.semantic_classes))
        self.range = nn.Linear(d, 1)
        heads_width = 2 * w if late else w
        self.state = nn.Sequential(nn.Linear(heads_width + 2, w), Gelu(), nn.Linear(w, 2))
        self.path = nn.Sequential(
            nn.Linear(heads_width, 2 * w), Gelu(), nn.Linear(2 * w, config.hypotheses * (2 * config.steps + 1))
        )

    def forward(self, inputs: PolicyInputs, frozen: Features | None = None, links: Links | None = None) -> PolicyLogits:
        """Run the network. frozen: what `camera.backbone` made of the pictures before. links: notes of this very batch in
        place of inputs.memory and inputs.goal."""
        c = self.config
        batch, n = inputs.ranges.shape[0], inputs.language.shape[0]
        looked = self.camera(inputs.image, inputs.rays, frozen)
        lidar = self.lidar(inputs.ranges, inputs.ranges_valid) + self.modality[1]
        context = self._per_frame(looked.context, batch) + self.modality[0]
        patches = context.shape[1]
        # A summary token that is always there keeps the softmax defined when both sensors are gone.
        scene = torch.cat([context, lidar, self.summary.expand(batch, -1, -1)], dim=1)
        camera_seen = inputs.image_present.expand(-1, patches)
        sector_seen = inputs.ranges_valid.reshape(batch, c.lidar_tokens, -1).amax(-1)
        seen = torch.cat([camera_seen, sector_seen, torch.ones_like(sector_seen[:, :1])], dim=1)
        mixed = self.perception[0](scene.flatten(0, 1), (batch, -1), self._among(seen, c.lidar_tokens))
        notes = self._notes(mixed, seen)
        if links is None:
            memory, goal = inputs.memory, inputs.goal
        else:
            memory = notes[:, : c.memory_tokens][links.memory]
            goal = self._portraits(context, inputs.image_present)[links.goal]
        remembered = memory + (self.memory(inputs.memory_pose) + self.modality[4])[:, :, None]
        scene = torch.cat([self._per_frame(mixed, batch), remembered.flatten(1, 2)], dim=1).flatten(0, 1)
        present = inputs.memory_present[:, :, None].expand(-1, -1, c.memory_tokens)
        seen = torch.cat([seen, present.reshape(batch, -1)], dim=1)
        for layer in self.perception[1:]:
            scene = layer(scene, (batch, -1), self._among(seen, c.lidar_tokens))
        scene = self.scene_norm(scene)
        cells = self._cells(self._per_frame(scene, batch)[:, :patches].flatten(0, 1), looked)

        asked = self._read(inputs, goal)
        for layer in self.fusion:
            asked = layer(asked, c.asked_tokens, scene, _bias(seen))
        answer = self.norm(asked.reshape(-1, c.asked_tokens, c.width)[:, 0])
        if c.fusion == "late":
            share = seen / seen.sum(1, keepdim=True)
            pooled = (self._per_frame(scene, batch) * share[:, :, None]).sum(1, keepdim=True)
            answer = torch.cat([answer, pooled.expand(-1, n // batch, -1).reshape(n, -1)], dim=1)
        return self._heads(answer, self._per_frame(cells, batch), notes, self.hues(inputs.image))

    def _per_frame(self, rows: Tensor, batch: int) -> Tensor:
        """Return rows (B * T, width) as (B, T, width)."""
        return rows.reshape(batch, -1, rows.shape[1])

    def hues(self, image: Tensor) -> Hues | None:
        """Return the colours of pictures (B, 3, H, W) by their pixels alone; None without hue_width."""
        return None if self.hue is None else self.hue(image)

    def look(self, image: Tensor, rays: Tensor, frozen: Features | None = None) -> tuple[Tensor, Tensor]:
        """Return what the camera alone makes of each grounding cell: semantic (B, rows, columns, kinds + colours) and
        log_range (B, rows, columns), as in `PolicyLogits`. Costs a third of `forward`: the first part of training."""
        c = self.config
        looked = self.camera(image, rays, frozen)
        cells = self._cells(self.scene_norm(looked.context + self.modality[0]), looked)
        grid = (image.shape[0], c.grid_rows, c.grid_columns)
        return self.semantic(cells).reshape(*grid, -1), self.range(cells).reshape(grid)

    def _read(self, inputs: PolicyInputs, goal: Tensor) -> Tensor:
        """Return what is asked (N, asked_tokens, width). Nothing at all leaves the queries as they are."""
        c, n = self.config, inputs.language.shape[0]
        words = self.language(inputs.language.flatten(0, 1)).reshape(-1, inputs.language.shape[1], c.width)
        words = words + (self.word_position[: inputs.language.shape[1]] + self.modality[2])
        pose = self.pose(inputs.pose) + self.modality[3]
        # A token that is always there keeps the softmax defined when nothing is asked.
        nothing = self.query[:, :1].expand(n, -1, -1)
        request = torch.cat([nothing, pose[:, None], goal + self.modality[5], words], dim=1)
        given = [
            torch.ones_like(inputs.goal_present),
            inputs.pose[:, :1],
            inputs.goal_present.expand(-1, goal.shape[1]),
            inputs.language_mask,
        ]
        query = self.query.expand(n, -1, -1).reshape(-1, c.width)
        shapes = (-1, c.asked_tokens), (-1, request.shape[1])
        normed = self.request_norm(request.flatten(0, 1))
        asked: Tensor = query + self.read(query, shapes[0], normed, shapes[1], _bias(torch.cat(given, dim=1)))
        return asked

    def _among(self, seen: Tensor, sectors: int) -> Tensor:
        """Return the bias that decides which tokens of the scene attend to which: patches, sectors of the LiDAR, others."""
        bias = _bias(seen)
        if self.config.fusion != "late":
            return bias
        # Late fusion: camera, LiDAR and the rest keep to themselves.
        rows, columns = self.config.context_shape
        group = torch.full((seen.shape[1],), 2, device=seen.device)
        group[: rows * columns] = 0
        group[rows * columns : rows * columns + sectors] = 1
        return bias + (group[:, None] != group).float() * MASKED

    def _notes(self, scene: Tensor, seen: Tensor) -> Tensor:
        """Boil a scene (B * S, width) down to what is kept of it, (B, memory_tokens + goal_tokens, width)."""
        batch, tokens = len(seen), self.config.note_tokens
        query = self.note_query.expand(batch, -1, -1).reshape(-1, scene.shape[1])
        kept = query + self.note(query, (batch, tokens), self.note_norm(scene), (batch, -1), _bias(seen))
        return self._per_frame(self.note_output(kept), batch)

    def _portraits(self, context: Tensor, image_present: Tensor) -> Tensor:
        """Return the goal tokens (B, goal_tokens, width) of pictures without any scan, as pictures of goals come. context:
        (B, P / 4, width), the pictures' tokens."""
        batch, patches = context.shape[:2]
        scene = torch.cat([context, self.summary.expand(batch, -1, -1)], dim=1)
        seen = torch.cat([image_present.expand(-1, patches), torch.ones_like(image_present)], dim=1)
        mixed = self.perception[0](scene.flatten(0, 1), (batch, -1), self._among(seen, 0))
        return self._notes(mixed, seen)[:, self.config.memory_tokens :]

    def _cells(self, context: Tensor, looked: Looked) -> Tensor:
        """Return an embedding of each grounding cell (B * rows * columns, cell_width)."""
        c = self.config
        (rows, columns), d = c.context_shape, c.cell_width
        # Each context token belongs to 2 x 2 patches.
        spread = context.reshape(-1, rows, 1, columns, 1, c.width).expand(-1, -1, 2, -1, 2, -1)
        patches = self.patch(self.patch_norm(looked.fine + spread.reshape(-1, c.width)))
        cells = patches.reshape(-1, c.token_rows, c.token_columns, c.cell_rows, c.cell_columns, d)
        embedded: Tensor = self.cell(cells.permute(0, 1, 3, 2, 4, 5).reshape(-1, d) + looked.cells)
        return embedded

    def _heads(self, answer: Tensor, cells: Tensor, notes: Tensor, hues: Hues | None) -> PolicyLogits:
        c = self.config
        batch, n, grid = cells.shape[0], answer.shape[0], (c.grid_rows, c.grid_columns)
        query = self.asked(answer[:, : c.width])
        flat = _scores(query[:, : c.cell_width + 1], cells)
        if hues is not None:
            # Two things are asked of a cell, and both must hold there: red here and a chair there are no red chair.
            other = _scores(
                query[:, c.cell_width + 1 :], torch.cat([cells, hues.features.reshape(batch, -1, c.hue_width)], dim=2)
            )
            flat = flat - F.softplus(flat - other)
        evidence = torch.stack([flat.amax(1), torch.logsumexp(flat, 1)], dim=1)
        state = self.state(torch.cat([answer, evidence.clamp(-20.0, 20.0)], dim=1))
        path = self.path(answer).reshape(n, c.hypotheses, 2 * c.steps + 1)
        offsets = path[:, :, 1:].reshape(n, c.hypotheses, c.steps, 2)
        return PolicyLogits(
            flat.reshape(n, *grid),
            self.range(cells).reshape(batch, *grid),
            state[:, 0],
            state[:, 1],
            torch.cumsum(offsets * c.waypoint_spacing_m, dim=2),
            path[:, :, 0],
            self.semantic(cells).reshape(batch, *grid, -1),
            notes,
            None if hues is None else hues.logits,
        )


def _scores(query: Tensor, cells: Tensor) -> Tensor:
    """Return how well each cell fits each query (N, cells). query: (N, 1 + D), an offset and a direction. cells: (B, cells, D)."""
    n, (batch, _, width) = query.shape[0], cells.shape
    towards = query[:, 1:].reshape(batch, n // batch, width)
    return (torch.matmul(towards, cells.transpose(1, 2)) / width**0.5).reshape(n, -1) + query[:, :1]


def _bias(seen: Tensor) -> Tensor:
    """Return attention biases (N, 1, 1, T) that hide the tokens where seen (N, T) is 0."""
    return ((1.0 - seen) * MASKED)[:, None, None, :]
