"""A world as loaded from SDF: models with visual and collision shapes in world coordinates, lights, and what was left
out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.resources import resource_path
from mm_nav.sim.materials import Colour, Material
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf_geometry import Geometry, Plane

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One visual or collision.

    pose: (4, 4) in the world. parts: its triangles in its own frame, metres, scale applied, with the material that is
    seen.
    """

    name: str
    link: str
    geometry: Geometry
    pose: Matrix
    parts: tuple[MeshPart, ...]
    cast_shadows: bool = True

    @property
    def material(self) -> Material:
        """The material of the largest part (a mesh can have several)."""
        best = max(self.parts, key=lambda part: len(part.triangles), default=None)
        return (best.material if best is not None else None) or Material()

    def world_parts(self) -> list[MeshPart]:
        """Return the parts in world coordinates."""
        return [part.transformed(self.pose) for part in self.parts]

    def triangles(self) -> npt.NDArray[np.float64]:
        """Return all triangles (N, 3, 3) in world coordinates, metres."""
        if not self.parts:
            return np.empty((0, 3, 3))
        return np.concatenate([part.triangles for part in self.parts]) @ self.pose[:3, :3].T + self.pose[:3, 3]

    def bounds(self) -> npt.NDArray[np.float64]:
        """Return the axis-aligned box (2, 3) around the shape, metres, world; it must have parts."""
        points = self.triangles().reshape(-1, 3)
        return np.stack([points.min(axis=0), points.max(axis=0)])


@dataclass(frozen=True)
class Model:
    """A model; nested ones stand on their own as "outer::inner". pose: (4, 4) in the world."""

    name: str
    static: bool
    pose: Matrix
    visuals: tuple[Shape, ...]
    collisions: tuple[Shape, ...]

    @property
    def is_plane(self) -> bool:
        """Whether the model is nothing but planes: a floor, and no obstacle."""
        shapes = self.visuals or self.collisions
        return bool(shapes) and all(isinstance(shape.geometry, Plane) for shape in shapes)

    def bounds(self) -> npt.NDArray[np.float64]:
        """Return the axis-aligned box (2, 3) around the visuals (collisions where there are none), metres, world."""
        return _bounds(self.visuals or self.collisions)


@dataclass(frozen=True)
class Light:
    """A light. direction: unit vector the light shines along, world. attenuation: constant, linear, quadratic, range
    (m).

    spot: inner angle, outer angle (rad) and falloff of a spot light.
    """

    name: str
    kind: str
    position: tuple[float, float, float] = (0.0, 0.0, 10.0)
    direction: tuple[float, float, float] = (0.0, 0.0, -1.0)
    diffuse: Colour = (1.0, 1.0, 1.0)
    intensity: float = 1.0
    cast_shadows: bool = False
    attenuation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 10.0)
    spot: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class World:
    """Everything of an SDF world that the simulator uses.

    missing: URIs that were not found. unsupported: names of elements that were left out. Both hold each name once.
    ambient, background: of <scene>, RGB in [0, 1]; background None = a sky.
    """

    name: str
    models: tuple[Model, ...]
    lights: tuple[Light, ...] = ()
    missing: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    ambient: Colour = (0.4, 0.4, 0.4)
    background: Colour | None = None
    source: str = field(default="", compare=False)

    @property
    def geometry_count(self) -> int:
        """Number of visuals and collisions that were loaded."""
        return sum(len(model.visuals) + len(model.collisions) for model in self.models)

    @cached_property
    def bounds(self) -> npt.NDArray[np.float64]:
        """Axis-aligned box (2, 3) around everything but planes, metres; 10 x 10 m when there is nothing else."""
        shapes = [
            shape
            for model in self.models
            for shape in (*model.visuals, *model.collisions)
            if not isinstance(shape.geometry, Plane) and shape.parts
        ]
        return _bounds(shapes) if shapes else np.array([[-5.0, -5.0, 0.0], [5.0, 5.0, 1.0]])

    def model(self, name: str) -> Model:
        """Return a model by its name; raise WorldError when there is none."""
        for model in self.models:
            if model.name == name:
                return model
        raise WorldError(f"world '{self.name}' has no model '{name}' (it has {len(self.models)}): check the name")


def load_world(path: str | Path, search_paths: Sequence[Path] = ()) -> World:
    """Load an SDF world file.

    search_paths: folders that hold models, searched first. What is missing or not supported is listed in the World, by
    name. Raises WorldError when the file cannot be read, is not SDF, contradicts itself or leaves the search paths.
    """
    from mm_nav.sim.sdf_loader import load_file

    return load_file(Path(os.path.abspath(path)), search_paths)


def parse_world(sdf_text: str, base_dir: Path | None = None, search_paths: Sequence[Path] = ()) -> World:
    """Load a world from SDF text. Errors as load_world.

    base_dir: where relative URIs start; None = worlds/ of this stack, where generated worlds' textures are.
    """
    from mm_nav.sim.sdf_loader import load_text

    return load_text(sdf_text, base_dir or resource_path("worlds"), search_paths)


def _bounds(shapes: Sequence[Shape]) -> npt.NDArray[np.float64]:
    boxes = [shape.bounds() for shape in shapes if shape.parts]
    if not boxes:
        return np.zeros((2, 3))
    return np.stack([np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)])
