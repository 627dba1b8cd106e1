"""The colour of what rays hit: ambient, directional, point and spot light, shadows, textures, floor patterns, sky."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mm_nav.sim.layer import CURVED, FLOOR, TEXTURED, Hits, Layer, repeated
from mm_nav.sim.scene import Scene
from mm_nav.sim.surface import Floats

if TYPE_CHECKING:
    from mm_nav.sim.moving import MovingBodies

Rows = npt.NDArray[np.intp]

_SKY_LOW, _SKY_HIGH = np.array([0.84, 0.88, 0.93], np.float32), np.array([0.45, 0.62, 0.86], np.float32)
_BELOW = np.array([0.55, 0.55, 0.53], np.float32)  # where a ray finds no floor at all
_CHECKER_M, _CHECKER_CONTRAST, _GRAIN = 0.5, 0.07, 0.05
_CELLS_PER_M, _PERIOD = 16.0, 256  # the grain repeats every 16 m


def shade(
    scene: Scene, origins: Floats, directions: Floats, pixel: float, shadows: bool = False,
    moving: MovingBodies | None = None,
) -> tuple[Floats, Floats, npt.NDArray[np.int32]]:  # fmt: skip
    """Return colour (N, 3) float32, distance (N,) in units of the directions (inf = nothing) and model index (N,) of
    rays.

    pixel: size of a pixel at distance 1, for texture filtering. moving: bodies that stand before or behind the scene;
    rays must then start at one point.
    """
    layers = (scene.layer,) if moving is None or not shadows else (scene.layer, moving.layer)
    hits = scene.layer.intersect(origins, directions)
    missed = np.flatnonzero(hits.triangle < 0)
    if len(missed) == len(directions):
        colour, model = _sky(scene, directions), np.full(len(directions), -1, np.int32)
    else:
        colour, model = _shade_hits(scene, layers, 0, hits, origins, directions, pixel, shadows)
        if len(missed):
            colour[missed] = _sky(scene, directions[missed])
            model[missed] = -1
    distance = hits.distance
    if moving is not None:
        rows, near = moving.hits_before(origins, directions, distance)
        if near is not None:
            layers = (scene.layer, moving.layer)
            colour[rows], model[rows] = _shade_hits(
                scene, layers, 1, near, origins[rows], directions[rows], pixel, shadows
            )
            distance[rows] = near.distance
    return colour, distance, model


def _shade_hits(
    scene: Scene, layers: tuple[Layer, ...], which: int, hits: Hits, origins: Floats, directions: Floats, pixel: float,
    shadows: bool,
) -> tuple[Floats, npt.NDArray[np.int32]]:  # fmt: skip
    """Return colour and model index of hits on layer `which`; rows that hit nothing hold something."""
    surface, lighting = layers[which].surface, layers[which].lighting
    safe = np.maximum(hits.triangle, 0)
    back = _dot(directions, hits.normal) > 0
    lit = 2 * safe + back
    traits = np.take(layers[which].traits, safe)
    traits[hits.triangle < 0] = 0
    curved = np.flatnonzero(traits & CURVED)
    corners = 2 * np.take(surface.smooth_row, safe[curved]) + back[curved]

    def gather(flat: Floats, corner: Floats) -> Floats:
        taken = np.take(flat, lit, axis=0)
        if len(curved):
            taken[curved] = _interpolate(np.take(corner, corners, axis=0), hits.u[curved], hits.v[curved])
        return np.asarray(taken, np.float32)

    if shadows or lighting.local:
        colour = gather(lighting.base, lighting.corner_base)
        sun = gather(lighting.sun, lighting.corner_sun)
        hit = np.flatnonzero(hits.triangle >= 0)
        _add_direct(layers, which, colour, sun, hit, hits, back, origins, directions, shadows)
    else:
        colour = gather(lighting.total, lighting.corner_total)
    textured = np.flatnonzero(traits & TEXTURED)
    if len(textured):
        colour[textured] *= _texture(scene, layers[which], hits.take(textured), pixel)
    floor = np.flatnonzero(traits & FLOOR)
    if len(floor):
        distance = np.take(hits.distance, floor)
        along = np.take(directions, floor, axis=0)
        x, y = (distance * along[:, axis] + np.take(origins[:, axis], floor) for axis in (0, 1))
        # A factor for every ray and one product are three times faster than a product of chosen rows.
        pattern = np.ones(len(colour), np.float32)
        pattern[floor] = _floor_pattern(x, y, distance, pixel)
        colour *= pattern[:, None]
    return colour, np.take(surface.model, safe)


def _dot(a: Floats, b: Floats) -> Floats:
    """Return the dot products (N,) of rows of (N, 3): three columns are twice as fast as np.einsum."""
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2], np.float32)


def _interpolate(corners: Floats, u: Floats, v: Floats) -> Floats:
    """Return the values (N, C) inside triangles from those at their corners (N, 3, C) and Embree's u and v (N,)."""
    first = corners[:, 0]
    return np.asarray(first + u[:, None] * (corners[:, 1] - first) + v[:, None] * (corners[:, 2] - first), np.float32)


def _add_direct(
    layers: tuple[Layer, ...], which: int, colour: Floats, sun: Floats, hit: Rows, hits: Hits,
    back: npt.NDArray[np.bool_], origins: Floats, directions: Floats, shadows: bool,
) -> None:  # fmt: skip
    """Add the directional light `sun` (N, 3) and point and spot lights to `colour`, in place, shadowed where asked."""
    surface, lighting = layers[which].surface, layers[which].lighting
    triangle, distance = hits.triangle[hit], hits.distance[hit]
    normals = surface.normals[triangle] * np.where(back[hit], -1, 1).astype(np.float32)[:, None]
    # Rays leave a little above the surface, by more where it is far and float32 is coarser.
    points = origins[hit] + distance[:, None] * directions[hit]
    points += normals * (np.float32(1e-3) + np.float32(1e-4) * distance[:, None])

    def lit(rows: Rows, towards: Floats, reach: Floats | None = None) -> npt.NDArray[np.bool_]:
        start = np.ascontiguousarray(points[rows])
        dark = layers[0].occluded(start, towards, reach)
        for layer in layers[1:]:
            dark |= layer.occluded(start, towards, reach)
        return ~dark

    if shadows and lighting.sun_direction is not None:
        reached = np.flatnonzero(sun[hit].max(axis=1) > 0)
        towards = repeated(lighting.sun_direction, len(reached))
        sun[hit[reached[~lit(reached, towards)]]] = 0
    colour += sun
    if lighting.local:
        colour[hit] += surface.colour[triangle] * lighting.local_light(points, normals, lit if shadows else None)


def _texture(scene: Scene, layer: Layer, hits: Hits, pixel: float) -> Floats:
    surface = layer.surface
    uv = _interpolate(np.take(surface.uv, hits.triangle, axis=0), hits.u, hits.v)
    footprint = np.take(surface.density, hits.triangle) * hits.distance * np.float32(pixel)
    return scene.atlas.sample(np.take(surface.texture, hits.triangle), uv, footprint, smooth=pixel < 1 / 200)


def _floor_pattern(x: Floats, y: Floats, distance: Floats, pixel: float) -> Floats:
    """A faint checker with grain (N,), around 1, at world x and y (N,), that fades where a pixel is as wide as a tile."""
    column, row = (np.floor(v * np.float32(_CELLS_PER_M)).astype(np.int32) & (_PERIOD - 1) for v in (x, y))
    checker, grain = _floor_tables()
    place = row * _PERIOD + column
    width = distance * np.float32(pixel)
    factor = np.take(checker, place)
    factor *= np.maximum(1.0 - width * np.float32(4.0), 0.0)
    near = np.flatnonzero(width < np.float32(1 / 24.0))
    factor[near] += np.take(grain, place[near]) * (1.0 - width[near] * np.float32(24.0))
    return np.asarray(factor + 1.0, np.float32)


@lru_cache(maxsize=1)
def _floor_tables() -> tuple[Floats, Floats]:
    """Return contrast and grain of the floor's cells, row by row over one period: x and y from 0, then the negative."""
    cell = np.arange(_PERIOD, dtype=np.int32)
    cell = np.where(cell < _PERIOD // 2, cell, cell - _PERIOD)
    tile = cell // round(_CELLS_PER_M * _CHECKER_M)
    checker = ((tile[None, :] + tile[:, None]) & 1).astype(np.float32) - np.float32(0.5)
    mixed = (cell[None, :] * 73856093 ^ cell[:, None] * 19349663) >> 4 & 255
    grain = mixed.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5)
    return np.float32(_CHECKER_CONTRAST) * checker.ravel(), np.float32(_GRAIN) * grain.ravel()


def _sky(scene: Scene, directions: Floats) -> Floats:
    if scene.world.background is not None:
        return repeated(scene.world.background, len(directions))
    up = directions[:, 2] / np.sqrt(np.einsum("ij,ij->i", directions, directions))
    share = np.sqrt(np.clip(up, 0, 1))[:, None]
    return np.asarray(np.where(up[:, None] < 0, _BELOW, _SKY_LOW + (_SKY_HIGH - _SKY_LOW) * share), np.float32)
