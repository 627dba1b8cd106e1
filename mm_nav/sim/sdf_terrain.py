"""Heightmaps: the ground that Gazebo makes of a grey picture, with one texture for each range of heights."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.sim.materials import Colour, Material, decode_heights, load_texture
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf_geometry import Heightmap
from mm_nav.sim.sdf_resources import Resources

Floats = npt.NDArray[np.float64]
_Triple = tuple[float, float, float]

MAX_SIDE = 513  # vertices along a side; finer pictures are made coarser
_GROUND: Colour = (0.45, 0.4, 0.32)
# Pictures that come with Gazebo itself, by the beginning of their names: their mean colour.
_OWN: dict[str, Colour] = {"dirt": (0.42, 0.34, 0.26), "grass": (0.31, 0.41, 0.2), "fungus": (0.4, 0.42, 0.3)}


class Terrains:
    """Heightmaps of one world. `missing` and `unsupported` collect the names of what was not found or not read."""

    def __init__(self, resources: Resources, missing: dict[str, None], unsupported: dict[str, None]) -> None:
        self.resources, self.missing, self.unsupported = resources, missing, unsupported
        self._heights: dict[Path, Floats | None] = {}
        self._grounds: dict[tuple[Path, _Triple, _Triple], MeshPart] = {}

    def parts(self, shape: Heightmap, base: Path | None, seen: bool) -> list[MeshPart] | None:
        """Return the triangles of a heightmap in its own frame, or None (and an entry in a list).

        seen: as a visual, one part for each texture.
        """
        path = self.resources.find(shape.uri, base)
        if path is None or not path.is_file():
            self.missing[shape.uri or "heightmap without a uri"] = None
            return None
        if path not in self._heights:
            self._heights[path] = decode_heights(path)
        heights = self._heights[path]
        if heights is None:
            self.unsupported[f"geometry heightmap ({shape.uri})"] = None
            return None
        key = (path, shape.size, shape.position)  # the visual and the collision share it
        if key not in self._grounds:
            self._grounds[key] = ground(heights, shape, absolute=path.suffix.lower() in (".tif", ".tiff"))
        return self._textured(self._grounds[key], shape, base) if seen else [self._grounds[key]]

    def _textured(self, part: MeshPart, shape: Heightmap, base: Path | None) -> list[MeshPart]:
        if not shape.textures:
            return [MeshPart(part.triangles, None, Material(_GROUND), part.name, part.normals)]
        # Gazebo fades from one texture to the next; here a triangle has the one that it has most of.
        middle = part.triangles[..., 2].mean(axis=1) - shape.position[2]
        layer = np.searchsorted(np.sort(shape.blends), middle)
        found = []
        for index, (uri, size) in enumerate(shape.textures):
            rows = np.minimum(layer, len(shape.textures) - 1) == index
            if rows.any():
                uv = part.triangles[rows, :, :2] / max(size, 1e-3)
                normals = part.normals[rows] if part.normals is not None else None
                found.append(MeshPart(part.triangles[rows], uv, self._material(uri, base), part.name, normals))
        return found

    def _material(self, uri: str, base: Path | None) -> Material:
        path = self.resources.find(uri, base)
        texture = load_texture(str(path)) if path is not None and path.is_file() else None
        if texture is not None:
            return Material((1.0, 1.0, 1.0), texture=texture)
        name = PurePosixPath(uri).name.lower()
        colour = next((colour for word, colour in _OWN.items() if name.startswith(word)), None)
        if uri and (colour is None or "media/materials" not in uri):
            self.missing[uri] = None
        return Material(colour or _GROUND)


def ground(heights: Floats, shape: Heightmap, absolute: bool = False) -> MeshPart:
    """Return the surface of `heights` (H, W), top row at +y: the highest pixel lies at size z, 0 at the bottom.

    absolute: heights are metres above the sea (elevation models): they span size z above their lowest.
    """
    rows, columns = (min(side, MAX_SIDE) for side in heights.shape)
    if (rows, columns) != heights.shape:
        heights = np.asarray(cv2.resize(heights, (columns, rows), interpolation=cv2.INTER_AREA), np.float64)
    low = float(heights.min()) if absolute else 0.0
    span = float(heights.max()) - low
    z = (heights - low) * (abs(shape.size[2]) / span if span > 1e-9 else 0.0) + low
    if shape.size[2] < 0:
        z = abs(shape.size[2]) - z
    x = np.linspace(-0.5, 0.5, columns) * shape.size[0]
    y = np.linspace(0.5, -0.5, rows) * shape.size[1]
    points = np.stack(np.broadcast_arrays(x[None], y[:, None], z), axis=-1) + np.array(shape.position)
    slope_y, slope_x = np.gradient(z, -shape.size[1] / (rows - 1), shape.size[0] / (columns - 1))
    normals = np.stack([-slope_x, -slope_y, np.ones_like(z)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return MeshPart(_triangles(points), normals=_triangles(normals))


def _triangles(grid: Floats) -> Floats:
    """Return the corners (N, 3, 3) of two triangles for each cell of a grid (H, W, 3), facing up."""
    a, b, c, d = (grid[top, left].reshape(-1, 3) for top in (_FIRST, _LAST) for left in (_FIRST, _LAST))
    return np.concatenate([np.stack([c, d, b], axis=1), np.stack([c, b, a], axis=1)])


_FIRST, _LAST = slice(None, -1), slice(1, None)
