"""Triangles in an Embree scene, with their colours under the world's light: what rays are cast at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.sim.scene_light import Lighting
from mm_nav.sim.surface import Floats, Surface
from mm_nav.sim.world import World

if TYPE_CHECKING:  # a robot's launch file makes a URDF where there is no Embree: on Arm
    from embreex.rtcore_scene import EmbreeScene

CURVED, TEXTURED, FLOOR = 1, 2, 4
_NO_HIT = 1e30  # Embree's distance of a miss is 1e37


@dataclass(frozen=True)
class Hits:
    """Where N rays met triangles. triangle: (N,) int32, -1 = nothing. distance: (N,) float32 in units of the ray's
    direction, inf = nothing. u, v: (N,) float32, barycentric. normal: (N, 3) float32, not unit."""

    triangle: npt.NDArray[np.int32]
    distance: Floats
    u: Floats
    v: Floats
    normal: Floats

    def take(self, rows: npt.NDArray[np.intp]) -> Hits:
        """Return the hits of some rays."""
        return Hits(self.triangle[rows], self.distance[rows], self.u[rows], self.v[rows], self.normal[rows])


class Layer:
    """One set of triangles; a scene has one that never changes and, where something moves, one that is built anew.

    The Embree scenes and the lit colours are made when they are first asked for.
    """

    def __init__(self, surface: Surface, world: World) -> None:
        self.surface = surface
        self._world = world

    @cached_property
    def lighting(self) -> Lighting:
        """The lit colours of the triangles."""
        return Lighting(self._world, self.surface)

    @cached_property
    def traits(self) -> npt.NDArray[np.uint8]:
        """What is special about each triangle (N,): CURVED | TEXTURED | FLOOR; 0 = plain."""
        surface = self.surface
        return np.asarray(
            CURVED * (surface.smooth_row >= 0) | TEXTURED * (surface.texture >= 0) | FLOOR * surface.checker, np.uint8
        )

    @cached_property
    def _visual(self) -> EmbreeScene:
        return embree_scene(self.surface.triangles)

    @cached_property
    def _shadow(self) -> EmbreeScene:
        casts = self.surface.cast_shadows
        return self._visual if casts.all() else embree_scene(self.surface.triangles[casts])

    def intersect(self, origins: Floats, directions: Floats) -> Hits:
        """Cast rays. origins, directions: (N, 3) float32, world; directions need not be unit."""
        found = self._visual.run(origins, directions, output=1)
        triangle = np.asarray(found["primID"], np.int32)
        distance = np.asarray(found["tfar"], np.float32)
        if not len(self.surface.triangles):
            triangle = np.full(len(triangle), -1, np.int32)
        distance[triangle < 0] = np.inf
        u, v, normal = (np.asarray(found[name], np.float32) for name in ("u", "v", "Ng"))
        return Hits(triangle, distance, u, v, normal)

    def distances(self, origins: Floats, directions: Floats) -> Floats:
        """Return how far (N,) rays fly, in units of the direction's length; inf = no hit."""
        return ray_distances(self._visual, origins, directions)

    def occluded(self, origins: Floats, directions: Floats, reach: Floats | None = None) -> npt.NDArray[np.bool_]:
        """Return which rays (N,) are stopped by something that casts shadows, within `reach` (N,) directions."""
        return np.asarray(self._shadow.run(origins, directions, dists=reach, query="OCCLUDED") != -1)


def ray_distances(scene: EmbreeScene, origins: Floats, directions: Floats) -> Floats:
    """Return how far (N,) rays fly in an Embree scene, in units of the direction's length; inf = no hit."""
    far = np.asarray(scene.run(origins, directions, query="DISTANCE"), np.float32)
    far[far > _NO_HIT] = np.inf
    return far


def repeated(point: npt.ArrayLike, count: int) -> Floats:
    """Return one point (3,) as the origin of `count` rays (count, 3) float32."""
    rays = np.empty((count, 3), np.float32)
    rays[:, 0], rays[:, 1], rays[:, 2] = np.asarray(point, np.float32)  # five times faster than all columns at once
    return rays


def embree_scene(triangles: Floats) -> EmbreeScene:
    """Return an Embree scene of triangles (N, 3, 3) float32; primID counts them in order."""
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise ConfigError(
            "the embedded simulator casts its rays with Embree, and embreex is not installed: pip install embreex (x86 only; "
            "on a Jetson there is none: use Gazebo, or simulate on another machine)"
        ) from error
    scene = EmbreeScene(robust=True)
    # Embree refuses an empty geometry: one triangle far below everything stands in and is never reached.
    filled = triangles if len(triangles) else np.full((1, 3, 3), -1e6, np.float32) + np.eye(3, dtype=np.float32)
    TriangleMesh(scene, np.ascontiguousarray(filled, np.float32))
    return scene
