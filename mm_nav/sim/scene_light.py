"""Light: ambient and directional light is worked out once for each triangle, point and spot lights for each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mm_nav.sim.world import Light

if TYPE_CHECKING:
    from mm_nav.sim.world import World

Floats = npt.NDArray[np.float32]

# A little light from above and a weak one from behind the sun: without them every wall in the shade has the same grey.
_SKY_SHARE, _FILL = 0.25, 0.12
_DEFAULT_SUN = Light("default", "directional", direction=(-0.4, 0.25, -0.88), diffuse=(0.8, 0.8, 0.8))
_MAX_LOCAL_LIGHTS = 16


class Lighting:
    """Lit colours of a scene's triangles.

    base: (2N, 3) float32, ambient and emitted light of triangle i seen from its front (2i) and its back (2i + 1). sun: the same
    for directional light, unshadowed. total: their sum. sun_direction: (3,) float32 unit, towards the strongest directional
    light, for shadow rays. local: point and spot lights.
    """

    def __init__(self, world: World, normals: Floats, colour: Floats, emissive: Floats) -> None:
        directional = [light for light in world.lights if light.kind == "directional"]
        self.local = [light for light in world.lights if light.kind != "directional"][:_MAX_LOCAL_LIGHTS]
        suns = directional or ([] if self.local else [_DEFAULT_SUN])
        both = np.stack([normals, -normals], axis=1).reshape(-1, 3)
        twice = np.repeat(colour, 2, axis=0)
        ambient = np.maximum(np.array(world.ambient, np.float32), 0.25)
        up = ambient * (1.0 - _SKY_SHARE + _SKY_SHARE * both[:, 2:])
        direct = np.zeros_like(both)
        for light in suns:
            towards = -np.array(light.direction, np.float32)
            strength = np.array(light.diffuse, np.float32) * np.float32(light.intensity)
            cosine = both @ towards
            direct += np.maximum(cosine, 0)[:, None] * strength
            flat = towards * np.array([-1.0, -1.0, 0.0], np.float32)
            up += _FILL * np.maximum(both @ flat, 0)[:, None] * strength
        self.base = np.asarray(twice * up + np.repeat(emissive, 2, axis=0), np.float32)
        self.sun = np.asarray(twice * direct, np.float32)
        self.total = self.base + self.sun
        strongest = max(suns, key=lambda light: sum(light.diffuse) * light.intensity, default=None)
        self.sun_direction = None if strongest is None else -np.array(strongest.direction, np.float32)

    def local_light(self, points: Floats, normals: Floats) -> Floats:
        """Return the light (N, 3) that point and spot lights throw on points (N, 3) with unit normals (N, 3)."""
        light_sum = np.zeros_like(points)
        for light in self.local:
            offset = np.array(light.position, np.float32) - points
            distance = np.sqrt(np.einsum("ij,ij->i", offset, offset))
            towards = offset / np.maximum(distance, 1e-6)[:, None]
            constant, linear, quadratic, reach = light.attenuation
            fade = 1.0 / np.maximum(constant + linear * distance + quadratic * distance * distance, 1e-3)
            strength = np.maximum(np.einsum("ij,ij->i", towards, normals), 0) * fade * (distance <= reach) * light.intensity
            if light.kind == "spot":
                inner, outer, falloff = light.spot
                cosine = -towards @ np.array(light.direction, np.float32)
                span = max(np.cos(inner / 2) - np.cos(outer / 2), 1e-6)
                strength = strength * np.clip((cosine - np.cos(outer / 2)) / span, 0, 1) ** max(falloff, 1e-3)
            light_sum += np.minimum(strength, 4.0)[:, None].astype(np.float32) * np.array(light.diffuse, np.float32)
        return light_sum
