"""The world's triangles in two Embree scenes: what is seen and what is hit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from mm_nav.sim.materials import Material
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.scene_light import Lighting
from mm_nav.sim.scene_texture import TextureAtlas
from mm_nav.sim.sdf_geometry import Plane
from mm_nav.sim.world import Shape, World

if TYPE_CHECKING:
    from mm_nav.sim.contacts import ContactWorld

Floats = npt.NDArray[np.float32]

# Beds and sofas of a small room cover a third of it too, but stand higher than any floor slab.
_FLOOR_REACH_M, _FLOOR_SHARE, _FLOOR_LEAST_M2, _FLOOR_STEP_M = 0.15, 1 / 3, 4.0, 0.005
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


class Scene:
    """Static geometry, built once and shared by any number of simulators.

    model_names: name of each model index. surface: the visual triangles. collision_triangles: (M, 3, 3) float64 with
    collision_model (M,) int32, world, metres, planes included. floor_z: height the robot drives at, metres. lighting,
    atlas: what the renderer needs.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.model_names: list[str] = [model.name for model in world.models]
        self.atlas = TextureAtlas()
        self.surface = self._surface()
        self.lighting = Lighting(world, self.surface)
        self._visual = embree_scene(self.surface.triangles)
        blockers = self.surface.triangles[self.surface.cast_shadows]
        all_cast = len(blockers) == len(self.surface.triangles)
        self._shadow = self._visual if all_cast else embree_scene(blockers)
        triangles, owners = [np.empty((0, 3, 3))], [np.empty(0, np.int32)]
        for index, model in enumerate(world.models):
            for shape in model.collisions:
                triangles.append(shape.triangles())
                owners.append(np.full(len(triangles[-1]), index, np.int32))
        self.collision_triangles = np.concatenate(triangles)
        self.collision_model = np.concatenate(owners)
        self.floor_z = floor_height(self.collision_triangles, world.bounds)
        self._collision: EmbreeScene | None = None
        self.contact_worlds: dict[tuple[float, float], ContactWorld] = {}  # kept by contacts.contact_world

    def _surface(self) -> Surface:
        rows: list[tuple[MeshPart, int, Shape]] = []
        for index, model in enumerate(self.world.models):
            for shape in model.visuals:
                floor = isinstance(shape.geometry, Plane)
                rows += [(part, -1 if floor else index, shape) for part in shape.world_parts() if len(part.triangles)]
        counts = [len(part.triangles) for part, _, _ in rows]
        triangles = np.concatenate([part.triangles for part, _, _ in rows] or [np.empty((0, 3, 3))])
        uv, corner_normals = np.zeros((len(triangles), 3, 2)), np.zeros((len(triangles), 3, 3))
        materials = [part.material or Material() for part, _, _ in rows]
        textures = [
            self.atlas.add(material.texture) if part.uv is not None else -1
            for material, (part, _, _) in zip(materials, rows, strict=True)
        ]
        start = 0
        for (part, _, _), count in zip(rows, counts, strict=True):
            if part.uv is not None:
                uv[start : start + count] = part.uv
            if part.normals is not None:
                corner_normals[start : start + count] = part.normals
            start += count

        def spread(values: list[object], dtype: type, width: tuple[int, ...] = ()) -> npt.NDArray[np.generic]:
            return np.repeat(np.array(values, dtype).reshape(len(values), *width), counts, axis=0)

        cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        twice_area = np.linalg.norm(cross, axis=-1)
        colours = [self._flat_colour(material, texture) for material, texture in zip(materials, textures, strict=True)]
        texture = spread(list(textures), np.int32)
        edges = uv[:, 1:] - uv[:, :1]
        uv_area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
        texels = self.atlas.pixel_counts()[texture] if self.atlas.count else np.ones(len(triangles))
        density = np.sqrt(uv_area * texels / np.maximum(twice_area, 1e-12))
        keep = twice_area > _MIN_AREA
        normals = cross / np.maximum(twice_area, 1e-30)[:, None]
        # Corner normals that agree with the face add nothing; ones far from it are an exporter's mistake.
        agreement = np.einsum("nij,nj->ni", corner_normals, normals)
        smooth = keep & (agreement.min(axis=1) > 0.5) & (agreement.min(axis=1) < 0.9999)
        floors = [
            isinstance(shape.geometry, Plane) and number < 0
            for (_, _, shape), number in zip(rows, textures, strict=True)
        ]
        return Surface(
            triangles[keep].astype(np.float32),
            normals[keep].astype(np.float32),
            spread(list(colours), np.float32, (3,))[keep].astype(np.float32),
            spread([material.emissive for material in materials], np.float32, (3,))[keep].astype(np.float32),
            spread([index for _, index, _ in rows], np.int32)[keep].astype(np.int32),
            texture[keep].astype(np.int32),
            uv[keep].astype(np.float32),
            density[keep].astype(np.float32),
            spread(list(floors), np.bool_)[keep].astype(np.bool_),
            spread([shape.cast_shadows for _, _, shape in rows], np.bool_)[keep].astype(np.bool_),
            np.where(smooth, np.cumsum(smooth) - 1, -1)[keep].astype(np.int32),
            corner_normals[smooth].astype(np.float32),
        )

    def _flat_colour(self, material: Material, texture: int) -> tuple[float, float, float]:
        if material.texture is None or texture >= 0:
            return material.diffuse
        # A texture without coordinates: its mean colour is the best guess at what the surface looks like.
        red, green, blue = material.texture.reshape(-1, 3).mean(axis=0) / 255.0
        return float(red) * material.diffuse[0], float(green) * material.diffuse[1], float(blue) * material.diffuse[2]

    def intersect(self, origins: Floats, directions: Floats) -> dict[str, npt.NDArray[np.generic]]:
        """Cast rays at the visual geometry. origins, directions: (N, 3) float32, world; directions need not be unit.

        Returns tfar (N,) float32 in units of the direction's length (1e37 = no hit), primID (N,) int32 (-1 = no hit),
        u, v, Ng.
        """
        result: dict[str, npt.NDArray[np.generic]] = self._visual.run(origins, directions, output=1)
        return result

    def distances(self, origins: Floats, directions: Floats, collision: bool = False) -> Floats:
        """Return how far (N,) rays fly, in units of the direction's length; inf = no hit. Visual geometry unless
        told.
        """
        scene = self._visual
        if collision:
            if self._collision is None:
                self._collision = embree_scene(self.collision_triangles.astype(np.float32))
            scene = self._collision
        far = np.asarray(scene.run(origins, directions, query="DISTANCE"), np.float32)
        far[far > 1e30] = np.inf
        return far

    def occluded(self, origins: Floats, directions: Floats) -> npt.NDArray[np.bool_]:
        """Return which rays (N,) are stopped by a visual that casts shadows."""
        return np.asarray(self._shadow.run(origins, directions, query="OCCLUDED") != -1)


def floor_height(triangles: npt.NDArray[np.float64], bounds: npt.NDArray[np.float64]) -> float:
    """Return the height (m) of the floor: the highest level within 15 cm of 0 that covers a third of the world.

    triangles: (M, 3, 3) collision geometry. Floors of warehouses and houses are often slabs, some centimetres thick.
    """
    edges = triangles[:, 1:] - triangles[:, :1]
    cross = np.cross(edges[:, 0], edges[:, 1])
    height = triangles[..., 2].mean(axis=1)
    level = (np.ptp(triangles[..., 2], axis=1) < 1e-3) & (np.abs(height) < _FLOOR_REACH_M)
    wanted = max(_FLOOR_SHARE * float(np.prod(bounds[1, :2] - bounds[0, :2])), _FLOOR_LEAST_M2)
    found = [0.0]
    rounded = np.round(height / _FLOOR_STEP_M)
    for value in np.unique(rounded[level]):
        rows = level & (rounded == value)
        # Bottoms of slabs count as well, but the top of the same slab is higher and as large.
        if np.abs(cross[rows, 2]).sum() / 2 >= wanted:
            found.append(float(height[rows].max()))
    return max(found[1:], default=0.0)


def embree_scene(triangles: Floats) -> EmbreeScene:
    """Return an Embree scene of triangles (N, 3, 3) float32; primID counts them in order."""
    scene = EmbreeScene(robust=True)
    # Embree refuses an empty geometry: one triangle far below everything stands in and is never reached.
    filled = triangles if len(triangles) else np.full((1, 3, 3), -1e6, np.float32) + np.eye(3, dtype=np.float32)
    TriangleMesh(scene, np.ascontiguousarray(filled, np.float32))
    return scene
