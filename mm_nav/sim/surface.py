"""Per-triangle data of what can be seen: where it is, how it reflects light, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.sim.materials import Material
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.scene_texture import TextureAtlas

Floats = npt.NDArray[np.float32]

_MIN_AREA = 1e-12  # m²; smaller triangles are dropped: Embree cannot be hit by them and they have no normal


@dataclass(frozen=True)
class Surface:
    """Per-triangle data of the visual scene; N triangles in the order of Embree's primID.

    triangles: (N, 3, 3) float32, world, metres. normals: (N, 3) float32 unit. colour, emissive: (N, 3) float32 in [0,
    1]. model: (N,) int32 index into Scene.model_names, -1 for planes. texture: (N,) int32 atlas index, -1 = none. uv:
    (N, 3, 2) float32. density: (N,) float32 texels per metre. checker: (N,) bool, floor pattern. cast_shadows: (N,)
    bool. smooth_row: (N,) int32 row of smooth_normals, -1 = flat. smooth_normals: (M, 3, 3) float32 unit normals at
    the corners.
    """

    triangles: Floats
    normals: Floats
    colour: Floats
    emissive: Floats
    model: npt.NDArray[np.int32]
    texture: npt.NDArray[np.int32]
    uv: Floats
    density: Floats
    checker: npt.NDArray[np.bool_]
    cast_shadows: npt.NDArray[np.bool_]
    smooth_row: npt.NDArray[np.int32]
    smooth_normals: Floats


@dataclass(frozen=True)
class Piece:
    """Triangles of one material and one owner. owner: index of the model, -1 = floor. plane: a plane, which gets a floor's
    pattern where it has no texture."""

    part: MeshPart
    owner: int
    plane: bool = False
    cast_shadows: bool = True


def build_surface(pieces: Sequence[Piece], atlas: TextureAtlas) -> Surface:
    """Return the triangles of all pieces as one surface; their textures are added to `atlas`."""
    pieces = [piece for piece in pieces if len(piece.part.triangles)]
    counts = [len(piece.part.triangles) for piece in pieces]
    triangles = np.concatenate([piece.part.triangles for piece in pieces] or [np.empty((0, 3, 3))])
    uv, corner_normals = np.zeros((len(triangles), 3, 2)), np.zeros((len(triangles), 3, 3))
    materials = [piece.part.material or Material() for piece in pieces]
    textures = [
        atlas.add(material.texture) if piece.part.uv is not None else -1
        for material, piece in zip(materials, pieces, strict=True)
    ]
    start = 0
    for piece, count in zip(pieces, counts, strict=True):
        if piece.part.uv is not None:
            uv[start : start + count] = piece.part.uv
        if piece.part.normals is not None:
            corner_normals[start : start + count] = piece.part.normals
        start += count

    def spread(values: Sequence[object], dtype: type, width: tuple[int, ...] = ()) -> npt.NDArray[np.generic]:
        return np.repeat(np.array(values, dtype).reshape(len(values), *width), counts, axis=0)

    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    twice_area = np.linalg.norm(cross, axis=-1)
    colours = [_flat_colour(material, texture) for material, texture in zip(materials, textures, strict=True)]
    texture = spread(textures, np.int32)
    edges = uv[:, 1:] - uv[:, :1]
    uv_area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    texels = atlas.pixel_counts()[texture] if atlas.count else np.ones(len(triangles))
    density = np.sqrt(uv_area * texels / np.maximum(twice_area, 1e-12))
    keep = twice_area > _MIN_AREA
    normals = cross / np.maximum(twice_area, 1e-30)[:, None]
    # Corner normals that agree with the face add nothing; ones far from it are an exporter's mistake.
    agreement = np.einsum("nij,nj->ni", corner_normals, normals)
    smooth = keep & (agreement.min(axis=1) > 0.5) & (agreement.min(axis=1) < 0.9999)
    floors = [piece.plane and number < 0 for piece, number in zip(pieces, textures, strict=True)]
    return Surface(
        triangles[keep].astype(np.float32),
        normals[keep].astype(np.float32),
        spread(colours, np.float32, (3,))[keep].astype(np.float32),
        spread([material.emissive for material in materials], np.float32, (3,))[keep].astype(np.float32),
        spread([piece.owner for piece in pieces], np.int32)[keep].astype(np.int32),
        texture[keep].astype(np.int32),
        uv[keep].astype(np.float32),
        density[keep].astype(np.float32),
        spread(floors, np.bool_)[keep].astype(np.bool_),
        spread([piece.cast_shadows for piece in pieces], np.bool_)[keep].astype(np.bool_),
        np.where(smooth, np.cumsum(smooth) - 1, -1)[keep].astype(np.int32),
        corner_normals[smooth].astype(np.float32),
    )


def _flat_colour(material: Material, texture: int) -> tuple[float, float, float]:
    if material.texture is None or texture >= 0:
        return material.diffuse
    # A texture without coordinates: its mean colour is the best guess at what the surface looks like.
    red, green, blue = material.texture.reshape(-1, 3).mean(axis=0) / 255.0
    return float(red) * material.diffuse[0], float(green) * material.diffuse[1], float(blue) * material.diffuse[2]
