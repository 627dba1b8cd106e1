"""The policy's shape. Pure data: read by training, export and the run-time preprocessing without importing torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from mm_nav.errors import ConfigError

FUSIONS = ("cross_attention", "late")


@dataclass(frozen=True)
class PolicyConfig:
    """Sizes of the cross-modal policy.

    image_height, image_width: pixels of the network's camera input. backbone: what looks at the picture beside the stem: none,
    efficientnet_lite0 (pretrained on ImageNet, frozen) or torchvision:MODEL (frozen). stem: channels of the own convolutions
    at strides 2, 4, 8 and 16, which are always trained. patch: pixels of a patch, both ways: the stride of the fine map;
    context tokens stand for 2 x 2 patches. cell_rows, cell_columns: grounding cells per patch; cell_width: of their
    embeddings. lidar_bins: beams around the robot after resampling; lidar_tokens: sectors they are grouped into.
    max_range_m: ranges are clipped here. language_tokens: words read (longer phrases are cut);
    language_parts: of a phrase, thing and colour are read one by one (mm_nav.language.parts). language_width: width of the
    sentence encoder. width, heads, feedforward: of the transformer. The first of perception_layers mixes camera and LiDAR,
    the others bring in the memory; words and goal are read into asked_tokens, which attend to all of it in fusion_layers.
    memory_frames: earlier frames that are remembered, each as memory_tokens; goal_tokens: what a picture that is a goal is
    boiled down to. fusion: "cross_attention", or "late" (camera, LiDAR and words meet only in the heads; for comparison).
    hypotheses x steps waypoints, spaced waypoint_spacing_m along the path. semantic_classes: kinds and colours that cells
    are taught to tell apart before they meet words (training only): (kinds, none included; colours). hue_width: channels of
    a branch that tells a cell's colour from the pixels around it alone, whatever stands there; 0 = none.
    """

    image_height: int = 96
    image_width: int = 128
    backbone: str = "none"
    stem: tuple[int, ...] = (24, 40, 64, 80)
    patch: int = 8
    cell_rows: int = 2
    cell_columns: int = 2
    cell_width: int = 64
    lidar_bins: int = 360
    lidar_tokens: int = 36
    max_range_m: float = 10.0
    language_tokens: int = 24
    language_width: int = 384
    language_parts: bool = False
    width: int = 128
    heads: int = 4
    feedforward: int = 256
    perception_layers: int = 2
    fusion_layers: int = 2
    asked_tokens: int = 4
    memory_frames: int = 3
    memory_tokens: int = 4
    goal_tokens: int = 2
    fusion: str = "cross_attention"
    hypotheses: int = 6
    steps: int = 8
    waypoint_spacing_m: float = 0.25
    semantic_classes: tuple[int, int] = (20, 12)
    hue_width: int = 0

    def __post_init__(self) -> None:
        if self.image_height % self.patch or self.image_width % self.patch:
            raise ConfigError(
                f"image {self.image_width}x{self.image_height} is not a multiple of the patch ({self.patch}): change one"
            )
        if self.patch % self.cell_rows or self.patch % self.cell_columns:
            raise ConfigError(f"cells per token must divide the patch ({self.patch})")
        if self.lidar_bins % self.lidar_tokens:
            raise ConfigError(
                f"lidar_bins ({self.lidar_bins}) must be a multiple of lidar_tokens ({self.lidar_tokens})"
            )
        if self.fusion not in FUSIONS:
            raise ConfigError(f"unknown fusion '{self.fusion}': give {' or '.join(FUSIONS)}")
        if self.perception_layers < 1 or min(self.memory_frames, self.memory_tokens, self.goal_tokens) < 1:
            raise ConfigError("perception_layers, memory_frames, memory_tokens and goal_tokens must be at least 1")
        if self.width % self.heads:
            raise ConfigError(f"width ({self.width}) must be a multiple of heads ({self.heads})")

    @property
    def context_shape(self) -> tuple[int, int]:
        """Rows and columns of the context tokens: one for 2 x 2 patches."""
        return self.token_rows // 2, self.token_columns // 2

    @property
    def token_rows(self) -> int:
        """Rows of camera tokens."""
        return self.image_height // self.patch

    @property
    def token_columns(self) -> int:
        """Columns of camera tokens."""
        return self.image_width // self.patch

    @property
    def camera_tokens(self) -> int:
        """Number of camera tokens."""
        return self.token_rows * self.token_columns

    @property
    def note_tokens(self) -> int:
        """Number of tokens that the network gives out for later: of memory, then of a goal."""
        return self.memory_tokens + self.goal_tokens

    @property
    def grid_rows(self) -> int:
        """Rows of the grounding grid over the image."""
        return self.token_rows * self.cell_rows

    @property
    def grid_columns(self) -> int:
        """Columns of the grounding grid over the image; one bearing bin each."""
        return self.token_columns * self.cell_columns

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain JSON types."""
        fields = asdict(self)
        fields["stem"] = list(self.stem)
        fields["semantic_classes"] = list(self.semantic_classes)
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> PolicyConfig:
        """Inverse of `to_dict`; unknown names raise ConfigError."""
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise ConfigError(f"unknown policy settings {sorted(unknown)}; known: {sorted(cls.__dataclass_fields__)}")
        values = dict(fields)
        for name in ("stem", "semantic_classes"):
            if name in values:
                values[name] = tuple(values[name])  # type: ignore[arg-type]
        return cls(**values)  # type: ignore[arg-type]

    def fingerprint(self) -> str:
        """Return a short hash that changes with any field."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
