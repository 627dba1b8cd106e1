"""The meshes of one world: found through the search paths, read once, cut to submeshes and scaled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Image, Material, load_alpha, load_texture
from mm_nav.sim.mesh import SUFFIXES, read_mesh
from mm_nav.sim.mesh_files import MeshError
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf_geometry import Mesh
from mm_nav.sim.sdf_resources import Resources

MIN_OPACITY = 0.1  # fainter than this, a surface is not seen
# A triangle whose texture leaves less than this share of it solid is not seen either (net curtains, wire fences).
_MIN_SOLID_SHARE, _SAMPLES = 0.3, 64
_MEAN_SIDE = 64  # pixels of a texture's shorter side that its mean is taken of


class Surfaces:
    """Meshes of one world. `missing` and `unsupported` collect the names of what was not found or not read."""

    def __init__(self, resources: Resources, missing: dict[str, None], unsupported: dict[str, None]) -> None:
        self.resources, self.missing, self.unsupported = resources, missing, unsupported
        self._meshes: dict[Path, list[MeshPart] | None] = {}
        self._lost: dict[Path, dict[str, None]] = {}  # what a mesh file names and was not found
        self._placed: dict[tuple[Path, Mesh], list[MeshPart]] = {}
        self._filled: dict[tuple[int, int], tuple[Image, Image, Image]] = {}
        self._solid: dict[tuple[Path, Mesh], list[MeshPart]] = {}

    def mesh_parts(
        self, mesh: Mesh, base: Path | None, seen: bool = False, material: Material | None = None
    ) -> list[MeshPart] | None:
        """Return a mesh's parts with scale and submesh applied, or None (and an entry in `missing`).

        seen: as a visual, without what is transparent. material: replaces the mesh's own. Raises WorldError when the
        file lies outside the search paths or is hostile (see read_mesh).
        """
        path = self.resources.find(mesh.uri, base)
        if path is None or not path.is_file():
            self.missing[mesh.uri or "mesh without a uri"] = None
            return None
        parts = self._place(path, mesh)
        if parts is None or not seen:
            return parts
        if material is not None:
            return self.solid_parts(clad(parts, material))
        self.missing.update(self._lost.get(path, {}))
        key = (path, mesh)
        if key not in self._solid:
            self._solid[key] = self.solid_parts(parts)
        return self._solid[key]

    def solid_parts(self, parts: Sequence[MeshPart]) -> list[MeshPart]:
        """Return what can be seen of some parts."""
        return [solid for part in parts if (solid := self._seen(part)) is not None]

    def _seen(self, part: MeshPart) -> MeshPart | None:
        """Return a part without what its material makes invisible, or None; holes in a texture get its mean colour."""
        if part.material is not None and part.material.texture is not None and part.uv is None:
            part = replace(part, material=_mean_colour(part.material))
        material = part.material
        if material is None or (material.opacity >= MIN_OPACITY and material.alpha is None):
            return part
        if material.opacity < MIN_OPACITY:
            return None
        if material.alpha is None or part.uv is None:
            return part
        keep = _solid_share(part.uv, material.alpha) >= _MIN_SOLID_SHARE
        if not keep.any():
            return None
        return MeshPart(
            part.triangles[keep],
            part.uv[keep],
            replace(material, texture=self._filled_texture(material.texture, material.alpha)),
            part.name,
            part.normals[keep] if part.normals is not None else None,
        )

    def _filled_texture(self, texture: Image | None, alpha: Image) -> Image | None:
        """Return a texture with its mean colour in its holes, the same array whenever it is asked for again."""
        if texture is None or texture.shape[:2] != alpha.shape or not (alpha >= 128).any():
            return texture
        key = (id(texture), id(alpha))
        if key not in self._filled:
            solid = alpha >= 128
            filled = texture.copy()
            filled[~solid] = texture[solid].mean(axis=0).astype(np.uint8)
            self._filled[key] = (filled, texture, alpha)  # all three, so that no other array gets one of the ids
        return self._filled[key][0]

    def _place(self, path: Path, mesh: Mesh) -> list[MeshPart] | None:
        key = (path, mesh)
        if key not in self._placed:
            parts = self._read(path, mesh.uri)
            if parts is None:
                return None
            if mesh.submesh:
                parts = [part for part in parts if part.name == mesh.submesh]
                if not parts:
                    self.missing[f"{mesh.uri} submesh {mesh.submesh}"] = None
                    return None
                if mesh.center:
                    points = np.concatenate([part.triangles.reshape(-1, 3) for part in parts])
                    shift = np.eye(4)
                    shift[:3, 3] = -(points.min(axis=0) + points.max(axis=0)) / 2
                    parts = [part.transformed(shift) for part in parts]
            if mesh.scale != (1.0, 1.0, 1.0):
                parts = [part.transformed(np.diag([*mesh.scale, 1.0])) for part in parts]
            self._placed[key] = parts
        return self._placed[key]

    def _read(self, path: Path, uri: str) -> list[MeshPart] | None:
        if path not in self._meshes:
            self._meshes[path] = None
            if path.suffix.lower() not in SUFFIXES:
                self.unsupported[f"mesh type {path.suffix.lower()} ({uri})"] = None
                return None
            try:
                lost = self._lost.setdefault(path, {})
                self._meshes[path] = read_mesh(path, MeshNeighbours(path, self.resources, lost))
            except MeshError as error:
                self.missing[f"{uri} ({str(error).removeprefix(f'{path}: ')})"] = None
        return self._meshes[path]


class MeshNeighbours:
    """The files beside a mesh, where Gazebo looks for them. Paths of its author's machine count by their last name."""

    def __init__(self, mesh: Path, resources: Resources, missing: dict[str, None]) -> None:
        self._mesh, self._resources, self._missing = mesh, resources, missing

    def file(self, name: str) -> Path | None:
        """Return a file that the mesh names, or None."""
        return self._beside(name, self._mesh.parent)

    def texture(self, name: str) -> Image | None:
        """Return a picture (H, W, 3) uint8, or None and an entry in the list of missing files."""
        image = next((image for path in self._pictures(name) if (image := load_texture(str(path))) is not None), None)
        if image is None:
            self._missing[f"texture {_last(name)} of {self._mesh.name}"] = None
        return image

    def alpha(self, name: str) -> Image | None:
        """Return the opacity (H, W) uint8 of a picture, or None."""
        path = next(self._pictures(name), None)
        return load_alpha(str(path)) if path is not None else None

    def _pictures(self, name: str) -> Iterator[Path]:
        """Yield the files a picture's name can mean: beside the mesh first, then in the model's materials/textures."""
        plain = name.removeprefix("file://").replace("\\", "/")
        last, folder, model = _last(name), self._mesh.parent, self._mesh.parent.parent
        places = [(plain, folder), (last, folder)]
        places += [(f"{inner}/{last}", model) for inner in ("materials/textures", "textures", "meshes", "materials")]
        places += [(f"materials/textures/{last}", folder), (f"textures/{last}", folder)]
        # Paths that climb ("../../../photos/a.jpg") hold where the mesh was made; what follows may lie in a search path.
        climbs = re.match(r"(?:\.\.?/)+", plain)
        places += [(plain[climbs.end() :], folder)] if climbs else []
        yield from (path for uri, base in places if (path := self._beside(uri, base)) is not None)

    def _beside(self, name: str, folder: Path) -> Path | None:
        try:
            found = self._resources.find(name, folder)
        except WorldError:
            return None
        return found if found is not None and found.is_file() else None


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def clad(parts: Sequence[MeshPart], material: Material | None) -> list[MeshPart]:
    """Return parts with another material, their texture coordinates scaled as it says."""
    scale = np.array(material.texture_scale if material is not None else (1.0, 1.0))
    if np.all(scale == 1.0):
        return [replace(part, material=material) for part in parts]
    return [
        replace(part, material=material, uv=(part.uv - 0.5) / scale + 0.5 if part.uv is not None else None)
        for part in parts
    ]


def _solid_share(uv: npt.NDArray[np.float64], alpha: Image) -> npt.NDArray[np.float64]:
    """Return the share (N,) of each triangle that its texture leaves solid, from points at random."""
    height, width = alpha.shape
    share = np.zeros(len(uv))
    for weight in np.random.default_rng(0).dirichlet((1.0, 1.0, 1.0), _SAMPLES):
        at = np.einsum("c,nck->nk", weight, uv)
        column = np.minimum(((at[:, 0] - np.floor(at[:, 0])) * width).astype(np.int64), width - 1)
        row = np.minimum(((1.0 - (at[:, 1] - np.floor(at[:, 1]))) * height).astype(np.int64), height - 1)
        share += alpha[row, column] / (255.0 * _SAMPLES)
    return share


def _mean_colour(material: Material) -> Material:
    """Return a material for surfaces without texture coordinates: its texture's mean is the best guess at their look."""
    if material.texture is None:
        return material
    step = max(min(material.texture.shape[:2]) // _MEAN_SIDE, 1)
    red, green, blue = material.texture[::step, ::step].reshape(-1, 3).mean(axis=0) / 255.0
    own = material.diffuse
    return replace(material, diffuse=(float(red) * own[0], float(green) * own[1], float(blue) * own[2]), texture=None)
