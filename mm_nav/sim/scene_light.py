"""Light: ambient and directional light is worked out once for each triangle, point and spot lights for each pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mm_nav.sim.world import Light

if TYPE_CHECKING:
    from mm_nav.sim.surface import Surface
    from mm_nav.sim.world import World

Floats = npt.NDArray[np.float32]
Visible = Callable[[npt.NDArray[np.intp], Floats, Floats], npt.NDArray[np.bool_]]

# A little light from above and a weak one from behind the sun: without them every wall in the shade has the same grey.
# The sun's share leaves room for the ambient part below 1, so that lit floors keep their texture. Ambient light is held
# to a range: worlds say anything from 0 to 1, and Gazebo's renderer makes little of it.
_SKY_SHARE, _FILL, _SUN_SHARE, _MIN_AMBIENT, _MAX_AMBIENT = 0.2, 0.2, 0.68, 0.42, 0.7
_DEFAULT_SUN = Light("default", "directional", direction=(-0.4, 0.25, -0.88), diffuse=(0.8, 0.8, 0.8))
_MAX_LOCAL_LIGHTS, _LOCAL_LIMIT = 16, np.float32(0.55)
# Shadow rays of a lamp end this share of the way before it; light weaker than this casts none that could be seen.
_LAMP_SHARE, _FAINT = 0.03, 2e-3


class Lighting:
    """Lit colours of a scene's triangles.

    base: (2N, 3) float32, ambient and emitted light of triangle i seen from its front (2i) and its back (2i + 1).
    sun: the same for directional light, unshadowed. total: their sum. sun_direction: (3,) float32 unit, towards the
    strongest directional light, for shadow rays. local: point and spot lights. corner_base, corner_sun, corner_total:
    (2M, 3, 3) float32, the same at the three corners of the M smooth triangles, from their corner normals (Gouraud
    shading).
    """

    def __init__(self, world: World, surface: Surface) -> None:
        directional = [light for light in world.lights if light.kind == "directional"]
        self.local = [light for light in world.lights if light.kind != "directional"][:_MAX_LOCAL_LIGHTS]
        self._suns = directional or ([] if self.local else [_DEFAULT_SUN])
        self._ambient = np.clip(np.array(world.ambient, np.float32), _MIN_AMBIENT, _MAX_AMBIENT)
        self.base, self.sun = self._lit(surface.normals, surface.colour, surface.emissive)
        self.total = self.base + self.sun
        rows = np.flatnonzero(surface.smooth_row >= 0)
        corners = [
            self._lit(surface.smooth_normals[:, corner], surface.colour[rows], surface.emissive[rows])
            for corner in range(3)
        ]
        self.corner_base = np.stack([base for base, _ in corners], axis=1)
        self.corner_sun = np.stack([sun for _, sun in corners], axis=1)
        self.corner_total = self.corner_base + self.corner_sun
        strongest = max(self._suns, key=lambda light: sum(light.diffuse) * light.intensity, default=None)
        self.sun_direction = None if strongest is None else -np.array(strongest.direction, np.float32)

    def _lit(self, normals: Floats, colour: Floats, emissive: Floats) -> tuple[Floats, Floats]:
        """Return ambient and directional light (2N, 3) each, front and back in turn, of N normals and colours."""
        both = np.stack([normals, -normals], axis=1).reshape(-1, 3)
        twice = np.repeat(colour, 2, axis=0)
        up = self._ambient * (1.0 - _SKY_SHARE + _SKY_SHARE * both[:, 2:])
        direct = np.zeros_like(both)
        for light in self._suns:
            towards = -np.array(light.direction, np.float32)
            strength = np.array(light.diffuse, np.float32) * np.float32(light.intensity)
            direct += _SUN_SHARE * np.maximum(both @ towards, 0)[:, None] * strength
            up = (
                up
                + _FILL * np.maximum(both @ (towards * np.array([-1.0, -1.0, 0.0], np.float32)), 0)[:, None] * strength
            )
        return np.asarray(twice * up + np.repeat(emissive, 2, axis=0), np.float32), np.asarray(
            twice * direct, np.float32
        )

    def local_light(self, points: Floats, normals: Floats, visible: Visible | None = None) -> Floats:
        """Return the light (N, 3) that point and spot lights throw on points (N, 3) with unit normals (N, 3).

        visible(rows, offsets, reach): which of the points `rows` nothing hides from a light at `offsets` (M, 3); None =
        no shadows.
        """
        light_sum = np.zeros_like(points)
        for light in self.local:
            offset = np.array(light.position, np.float32) - points
            distance = np.sqrt(np.einsum("ij,ij->i", offset, offset))
            towards = offset / np.maximum(distance, 1e-6)[:, None]
            constant, linear, quadratic, reach = light.attenuation
            fade = 1.0 / np.maximum(constant + linear * distance + quadratic * distance * distance, 1e-3)
            strength = (
                np.maximum(np.einsum("ij,ij->i", towards, normals), 0) * fade * (distance <= reach) * light.intensity
            )
            if light.kind == "spot":
                inner, outer, falloff = light.spot
                cosine = -towards @ np.array(light.direction, np.float32)
                span = max(np.cos(inner / 2) - np.cos(outer / 2), 1e-6)
                strength = strength * np.clip((cosine - np.cos(outer / 2)) / span, 0, 1) ** max(falloff, 1e-3)
            strong = np.asarray(strength, np.float32)
            if visible is not None and light.cast_shadows:
                rows = np.flatnonzero(strong > _FAINT)
                # Up to just before the lamp, so that its own glass does not hide it.
                before_lamp = np.full(len(rows), 1.0 - _LAMP_SHARE, np.float32)
                strong[rows] *= visible(rows, np.ascontiguousarray(offset[rows]), before_lamp)
            light_sum += strong[:, None] * np.array(light.diffuse, np.float32)
        # Gazebo adapts its exposure to strong lamps; here their light saturates below what ambient light leaves free.
        return np.asarray(_LOCAL_LIMIT * (1.0 - np.exp(light_sum / -_LOCAL_LIMIT)), np.float32)
