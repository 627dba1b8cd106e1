"""Poses relative to named frames: the frame graph of an SDF world or model (SDF 1.7 and later, `relative_to`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mm_nav.errors import WorldError
from mm_nav.sim.sdf import Matrix


@dataclass
class _Frame:
    raw: Matrix
    relative_to: str
    resolved: Matrix | None = None
    resolving: bool = False


@dataclass
class FrameScope:
    """The named frames (links, joints, frames, nested models) of one model or of the world.

    name: for error messages. absent: names of models that were not found; frames in them count as the scope's own.
    Poses come out as (4, 4) float64 in the scope's own frame ("__model__", or "world").
    """

    name: str
    source: str
    frames: dict[str, _Frame] = field(default_factory=dict)
    children: dict[str, FrameScope] = field(default_factory=dict)
    placement: dict[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()

    def add(self, name: str, raw: Matrix, relative_to: str = "") -> None:
        """Register frame `name` with pose `raw` in frame `relative_to` ("" = the scope's own frame)."""
        self.frames.setdefault(name, _Frame(raw, relative_to))

    def add_child(self, name: str, scope: FrameScope, raw: Matrix, relative_to: str, placement_frame: str) -> None:
        """Register a nested model; `placement_frame` names the frame of it that `raw` places ("" = its own)."""
        self.add(name, raw, relative_to)
        self.children.setdefault(name, scope)
        if placement_frame:
            self.placement.setdefault(name, placement_frame)

    def pose(self, name: str) -> Matrix:
        """Return the pose of frame `name` ("a::b" reaches into nested models) in this scope.

        Raises WorldError for an unknown frame and for frames that are defined in a circle.
        """
        if name in ("", "__model__", "world"):
            return np.eye(4)
        if name not in self.frames:
            head, separator, rest = name.partition("::")
            if separator and head in self.children:
                return self.pose(head) @ self.children[head].pose(rest)
            if head in self.absent:
                return np.eye(4)
            raise WorldError(
                f"{self.source}: '{self.name}' has no frame '{name}' (known: "
                f"{', '.join(sorted(self.frames)[:12]) or 'none'}): correct relative_to or attached_to"
            )
        frame = self.frames[name]
        if frame.resolved is None:
            if frame.resolving:
                raise WorldError(
                    f"{self.source}: frame '{name}' of '{self.name}' is defined relative to itself: "
                    "break the circle of relative_to or attached_to"
                )
            frame.resolving = True
            pose = self.pose(frame.relative_to) @ frame.raw
            if name in self.placement:
                pose = pose @ np.linalg.inv(self.children[name].pose(self.placement[name]))
            frame.resolved, frame.resolving = pose, False
        return frame.resolved
