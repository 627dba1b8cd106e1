"""A world that stands still, ready for rays and contacts. Built once, shared by any number of simulators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mm_nav.sim.layer import Layer, embree_scene, ray_distances
from mm_nav.sim.scene_texture import TextureAtlas
from mm_nav.sim.sdf_geometry import Plane
from mm_nav.sim.surface import Floats, Piece, build_surface
from mm_nav.sim.world import World

if TYPE_CHECKING:
    from embreex.rtcore_scene import EmbreeScene

    from mm_nav.sim.contacts import ContactWorld

# Beds and sofas of a small room cover a third of it too, but stand higher than any floor slab.
_FLOOR_REACH_M, _FLOOR_SHARE, _FLOOR_LEAST_M2, _FLOOR_STEP_M = 0.15, 1 / 3, 4.0, 0.005


class Scene:
    """Static geometry.

    model_names: name of each model index. layer: what is seen. collision_triangles: (M, 3, 3) float64 with
    collision_model (M,) int32, world, metres, planes included. floor_z: height the robot drives at, metres. atlas: the
    textures.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.model_names: list[str] = [model.name for model in world.models]
        self.atlas = TextureAtlas()
        pieces = []
        for index, model in enumerate(world.models):
            for shape in model.visuals:
                plane = isinstance(shape.geometry, Plane)
                pieces += [
                    Piece(part, -1 if plane else index, plane, shape.cast_shadows) for part in shape.world_parts()
                ]
        self.layer = Layer(build_surface(pieces, self.atlas), world)
        triangles, owners = [np.empty((0, 3, 3))], [np.empty(0, np.int32)]
        for index, model in enumerate(world.models):
            for shape in model.collisions:
                triangles.append(shape.triangles())
                owners.append(np.full(len(triangles[-1]), index, np.int32))
        self.collision_triangles = np.concatenate(triangles)
        self.collision_model = np.concatenate(owners)
        self.floor_z = floor_height(self.collision_triangles, world.bounds)
        self._collision: EmbreeScene | None = None
        self.contact_worlds: dict[tuple[float, float], ContactWorld] = {}

    def distances(self, origins: Floats, directions: Floats, collision: bool = False) -> Floats:
        """Return how far (N,) rays fly, in units of the direction's length; inf = no hit. Visual geometry unless
        told.
        """
        if not collision:
            return self.layer.distances(origins, directions)
        if self._collision is None:
            self._collision = embree_scene(self.collision_triangles.astype(np.float32))
        return ray_distances(self._collision, origins, directions)


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
