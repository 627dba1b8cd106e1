"""Ray-cast sensors: pinhole camera with depth, planar LiDAR, multi-ring LiDAR. Pure functions of scene and sensor
pose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.sim.scene import Scene

Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

# Camera axes (x right, y down, z forward; REP 103) in the axes of a body (x forward, y left, z up).
BODY_R_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

_SKY_LOW, _SKY_HIGH = np.array([0.84, 0.88, 0.93], np.float32), np.array([0.45, 0.62, 0.86], np.float32)
_BELOW = np.array([0.55, 0.55, 0.53], np.float32)  # where a ray finds no floor at all
# Rays are shaded in pieces whose arrays stay in the cache (of 4k to 1M, 16k was fastest at 320x240 and 640x480).
_CHUNK = 16384
_CHECKER_M, _CHECKER_CONTRAST, _GRAIN = 0.5, 0.07, 0.05


@dataclass(frozen=True)
class CameraConfig:
    """A rectified pinhole camera.

    horizontal_fov: rad. position: metres in base_link. pitch: rad, down positive. noise_std: of each colour value, in
    [0, 255]. supersample: rays per pixel side (2 = four rays). shadows: cast by the strongest directional light.
    """

    width: int = 320
    height: int = 240
    horizontal_fov: float = 1.5
    position: tuple[float, float, float] = (0.12, 0.0, 0.32)
    pitch: float = 0.0
    noise_std: float = 0.0
    supersample: int = 1
    shadows: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or self.width * self.height > 2**25:
            raise ConfigError(f"camera of {self.width} x {self.height} pixels: give 1 to 33 million pixels")
        if not 0.01 < self.horizontal_fov < 3.1:
            raise ConfigError(f"camera horizontal_fov is {self.horizontal_fov} rad: it must be between 0.01 and 3.1")
        if not 1 <= self.supersample <= 4:
            raise ConfigError(f"camera supersample is {self.supersample}: it must be 1 to 4")
        if self.noise_std < 0:
            raise ConfigError(f"camera noise_std is {self.noise_std}: it must not be negative")

    def intrinsics(self) -> Matrix:
        """Return the (3, 3) camera matrix, pixels; pixel (0, 0)'s centre is at (0, 0), as in OpenCV."""
        focal = self.width / 2 / math.tan(self.horizontal_fov / 2)
        return np.array([[focal, 0.0, (self.width - 1) / 2], [0.0, focal, (self.height - 1) / 2], [0.0, 0.0, 1.0]])

    def base_T_camera(self) -> Matrix:
        """Return the pose (4, 4) of the optical frame in base_link."""
        c, s = math.cos(self.pitch), math.sin(self.pitch)
        pose = np.eye(4)
        pose[:3, :3] = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) @ BODY_R_OPTICAL
        pose[:3, 3] = self.position
        return pose


@dataclass(frozen=True)
class LidarConfig:
    """A planar LiDAR. Beam i looks along angle_min + i * (angle_max - angle_min) / beams, so that a full circle has no
    doubled beam. range_min, range_max, position (base_link): metres. noise_std: metres, of each range. Farther than
    range_max is inf, nearer than range_min is nan."""

    beams: int = 360
    angle_min: float = -math.pi
    angle_max: float = math.pi
    range_min: float = 0.12
    range_max: float = 10.0
    position: tuple[float, float, float] = (0.0, 0.0, 0.20)
    noise_std: float = 0.01

    def __post_init__(self) -> None:
        if self.beams < 1 or not self.angle_min < self.angle_max <= self.angle_min + 2 * math.pi + 1e-6:
            raise ConfigError(
                f"LiDAR with {self.beams} beams from {self.angle_min} to {self.angle_max} rad: give at least one "
                "beam and at most a full circle"
            )
        if not 0 <= self.range_min < self.range_max or self.noise_std < 0:
            raise ConfigError(
                f"LiDAR range {self.range_min} to {self.range_max} m, noise {self.noise_std} m: give "
                "0 <= range_min < range_max and no negative noise"
            )

    @property
    def angle_increment(self) -> float:
        """Angle between beams, rad."""
        return (self.angle_max - self.angle_min) / self.beams


@dataclass(frozen=True)
class CloudConfig:
    """A multi-ring LiDAR: `rings` from elevation_min to elevation_max (rad), `columns` over the full circle."""

    rings: int = 16
    columns: int = 512
    elevation_min: float = -math.radians(15.0)
    elevation_max: float = math.radians(15.0)
    range_min: float = 0.12
    range_max: float = 30.0
    position: tuple[float, float, float] = (0.0, 0.0, 0.35)
    noise_std: float = 0.01

    def __post_init__(self) -> None:
        if self.rings < 1 or self.columns < 1 or self.elevation_min > self.elevation_max:
            raise ConfigError(
                f"cloud with {self.rings} rings and {self.columns} columns: give at least one of each, and "
                "elevation_min below elevation_max"
            )
        if not 0 <= self.range_min < self.range_max or self.noise_std < 0:
            raise ConfigError(
                f"cloud range {self.range_min} to {self.range_max} m, noise {self.noise_std} m: give "
                "0 <= range_min < range_max and no negative noise"
            )


@dataclass(frozen=True)
class RenderResult:
    """What a camera saw.

    rgb: (H, W, 3) uint8. depth: (H, W) float32, metres along the optical axis, inf = nothing. model_index: (H, W)
    int32 into Scene.model_names, -1 = sky or floor plane.
    """

    rgb: npt.NDArray[np.uint8]
    depth: Floats
    model_index: npt.NDArray[np.int32]


@lru_cache(maxsize=32)
def _camera_rays(width: int, height: int, focal: float, samples: int) -> Floats:
    """Ray directions (H * W * samples², 3) in the optical frame, z = 1, so that Embree's distance is the depth."""
    step = (np.arange(width * samples) + 0.5) / samples - 0.5
    x = (step - (width - 1) / 2) / focal
    step = (np.arange(height * samples) + 0.5) / samples - 0.5
    y = (step - (height - 1) / 2) / focal
    grid = np.empty((height * samples, width * samples, 3), np.float32)
    grid[..., 0], grid[..., 1], grid[..., 2] = x[None, :], y[:, None], 1.0
    return grid.reshape(-1, 3)


def render(scene: Scene, camera: CameraConfig, world_T_camera: Matrix) -> RenderResult:
    """Render what a camera sees from world_T_camera (4, 4; optical frame). Noise is the simulator's part, not this
    one's.
    """
    samples = camera.supersample
    focal = float(camera.intrinsics()[0, 0])
    rays = _camera_rays(camera.width, camera.height, focal, samples)
    rotation = world_T_camera[:3, :3].T.astype(np.float32)
    colour, depth = np.empty((len(rays), 3), np.float32), np.empty(len(rays), np.float32)
    model = np.empty(len(rays), np.int32)
    for start in range(0, len(rays), _CHUNK):
        rows = slice(start, start + _CHUNK)
        directions = rays[rows] @ rotation
        origins = np.empty_like(directions)
        origins[:] = world_T_camera[:3, 3]
        colour[rows], depth[rows], model[rows] = shade(
            scene, origins, directions, 1.0 / (focal * samples), camera.shadows
        )
    height, width = camera.height, camera.width
    if samples > 1:
        blocks = (height, samples, width, samples)
        colour = colour.reshape(*blocks, 3).mean(axis=(1, 3)).reshape(-1, 3)
        middle = samples // 2  # depth and labels are those of one ray: their mean is on neither side of an edge
        depth, model = depth.reshape(blocks)[:, middle, :, middle], model.reshape(blocks)[:, middle, :, middle]
    rgb = np.clip(colour * np.float32(255.0) + np.float32(0.5), 0, 255).astype(np.uint8)
    return RenderResult(rgb.reshape(height, width, 3), depth.reshape(height, width), model.reshape(height, width))


def shade(
    scene: Scene, origins: Floats, directions: Floats, pixel: float, shadows: bool = False
) -> tuple[Floats, Floats, npt.NDArray[np.int32]]:
    """Return colour (N, 3) float32, distance (N,) in units of the directions (inf = nothing) and model index (N,) of
    rays.

    pixel: size of a pixel at distance 1, for texture filtering.
    """
    hits = scene.intersect(origins, directions)
    prim = np.asarray(hits["primID"], np.int32)
    distance = np.asarray(hits["tfar"], np.float32)
    surface, lighting = scene.surface, scene.lighting
    missed = prim < 0
    if len(surface.triangles) == 0:
        missed, prim = np.ones(len(prim), bool), np.full(len(prim), -1, np.int32)
    if missed.all():
        return _sky(scene, directions), np.full(len(prim), np.inf, np.float32), np.full(len(prim), -1, np.int32)
    back = np.einsum("ij,ij->i", directions, np.asarray(hits["Ng"], np.float32)) > 0
    safe = np.where(missed, 0, prim)
    lit = 2 * safe + back
    u, v = np.asarray(hits["u"], np.float32), np.asarray(hits["v"], np.float32)
    smooth = np.take(surface.smooth_row, safe)
    curved = np.flatnonzero((smooth >= 0) & ~missed)
    corners = 2 * smooth[curved] + back[curved]

    def gather(flat: Floats, corner: Floats) -> Floats:
        taken = np.take(flat, lit, axis=0)
        if len(curved):
            taken[curved] = _interpolate(np.take(corner, corners, axis=0), u[curved], v[curved])
        return np.asarray(taken, np.float32)

    if shadows or lighting.local:
        colour = gather(lighting.base, lighting.corner_base)
        sun = gather(lighting.sun, lighting.corner_sun)
        _add_direct(scene, colour, sun, np.flatnonzero(~missed), safe, back, origins, directions, distance, shadows)
    else:
        colour = gather(lighting.total, lighting.corner_total)
    model = np.take(surface.model, safe)
    textured = np.flatnonzero((np.take(surface.texture, safe) >= 0) & ~missed)
    if len(textured):
        colour[textured] *= _texture(scene, textured, safe, u, v, distance, pixel)
    floor = np.flatnonzero(np.take(surface.checker, safe) & ~missed)
    if len(floor):
        points = origins[floor, :2] + distance[floor, None] * directions[floor, :2]
        colour[floor] *= _floor_pattern(points, distance[floor], pixel)[:, None]
    if missed.any():
        colour[missed] = _sky(scene, directions[missed])
        distance[missed] = np.inf
        model[missed] = -1
    return colour, distance, model


def _interpolate(corners: Floats, u: Floats, v: Floats) -> Floats:
    """Return the values (N, C) inside triangles from those at their corners (N, 3, C) and Embree's u and v (N,)."""
    first = corners[:, 0]
    return np.asarray(first + u[:, None] * (corners[:, 1] - first) + v[:, None] * (corners[:, 2] - first), np.float32)


def _add_direct(
    scene: Scene, colour: Floats, sun: Floats, hit: npt.NDArray[np.intp], prim: npt.NDArray[np.int32],
    back: npt.NDArray[np.bool_], origins: Floats, directions: Floats, distance: Floats, shadows: bool,
) -> None:  # fmt: skip
    """Add the directional light `sun` (N, 3), shadowed where asked, and point and spot lights to `colour`, in place."""
    lighting, surface = scene.lighting, scene.surface
    normals = surface.normals[prim[hit]] * np.where(back[hit], -1, 1).astype(np.float32)[:, None]
    # Rays leave a little above the surface, by more where it is far and float32 is coarser.
    points = origins[hit] + distance[hit, None] * directions[hit]
    points += normals * (np.float32(1e-3) + np.float32(1e-4) * distance[hit, None])
    if shadows and lighting.sun_direction is not None:
        reached = np.flatnonzero(sun[hit].max(axis=1) > 0)
        towards = np.empty((len(reached), 3), np.float32)
        towards[:] = lighting.sun_direction
        sun[hit[reached[scene.occluded(np.ascontiguousarray(points[reached]), towards)]]] = 0
    colour += sun
    if lighting.local:
        colour[hit] += surface.colour[prim[hit]] * lighting.local_light(points, normals)


def _texture(
    scene: Scene,
    rows: npt.NDArray[np.intp],
    prim: npt.NDArray[np.int32],
    u: Floats,
    v: Floats,
    distance: Floats,
    pixel: float,
) -> Floats:
    surface = scene.surface
    triangle = np.take(prim, rows)
    uv = _interpolate(np.take(surface.uv, triangle, axis=0), u[rows], v[rows])
    footprint = np.take(surface.density, triangle) * distance[rows] * np.float32(pixel)
    return scene.atlas.sample(np.take(surface.texture, triangle), uv, footprint, smooth=pixel < 1 / 200)


def _floor_pattern(points: Floats, distance: Floats, pixel: float) -> Floats:
    """A faint checker with grain (N,), around 1, that fades where a pixel is as wide as a tile."""
    tile = np.floor(points * np.float32(1 / _CHECKER_M)).astype(np.int32)
    fine = np.floor(points * np.float32(16.0)).astype(np.int32)
    checker = ((tile[:, 0] + tile[:, 1]) & 1).astype(np.float32) - np.float32(0.5)
    noise = ((fine[:, 0] * 73856093 ^ fine[:, 1] * 19349663) >> 4 & 255).astype(np.float32) * np.float32(
        1 / 255
    ) - np.float32(0.5)
    width = distance * np.float32(pixel)
    fade = np.clip(1.0 - width * np.float32(4.0), 0.0, 1.0)
    grain = np.clip(1.0 - width * np.float32(24.0), 0.0, 1.0)
    return np.asarray(1.0 + _CHECKER_CONTRAST * fade * checker + _GRAIN * grain * noise, np.float32)


def _sky(scene: Scene, directions: Floats) -> Floats:
    if scene.world.background is not None:
        colour = np.empty((len(directions), 3), np.float32)
        colour[:] = scene.world.background
        return colour
    up = directions[:, 2] / np.sqrt(np.einsum("ij,ij->i", directions, directions))
    share = np.sqrt(np.clip(up, 0, 1))[:, None]
    return np.asarray(np.where(up[:, None] < 0, _BELOW, _SKY_LOW + (_SKY_HIGH - _SKY_LOW) * share), np.float32)


@lru_cache(maxsize=32)
def lidar_directions(config: LidarConfig) -> Floats:
    """Return the beams' unit directions (N, 3) in the sensor frame."""
    angles = config.angle_min + config.angle_increment * np.arange(config.beams)
    return np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1).astype(np.float32)


@lru_cache(maxsize=32)
def cloud_directions(config: CloudConfig) -> Floats:
    """Return the beams' unit directions (columns * rings, 3) in the sensor frame, column by column."""
    azimuth = -math.pi + 2 * math.pi / config.columns * np.arange(config.columns)
    elevation = np.linspace(config.elevation_min, config.elevation_max, config.rings)
    grid = np.empty((config.columns, config.rings, 3))
    grid[..., 0] = np.cos(azimuth)[:, None] * np.cos(elevation)
    grid[..., 1] = np.sin(azimuth)[:, None] * np.cos(elevation)
    grid[..., 2] = np.sin(elevation)
    return grid.reshape(-1, 3).astype(np.float32)


def cast(scene: Scene, directions: Floats, world_T_sensor: Matrix) -> Floats:
    """Return the true ranges (N,) float32, metres, along unit directions (N, 3) of a sensor; inf = no hit.

    Like Gazebo's GPU LiDAR this sees visuals, not collision shapes.
    """
    world = np.ascontiguousarray(directions @ world_T_sensor[:3, :3].T.astype(np.float32))
    origins = np.empty_like(world)
    origins[:] = world_T_sensor[:3, 3]
    return scene.distances(origins, world)


def limit_ranges(ranges: Floats, range_min: float, range_max: float) -> Floats:
    """Return ranges with inf beyond range_max and nan below range_min."""
    limited = np.where(ranges > range_max, np.float32(np.inf), ranges)
    return np.asarray(np.where(ranges < range_min, np.float32(np.nan), limited), np.float32)
