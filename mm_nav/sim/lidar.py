"""Ray-cast LiDARs: a planar one and one with many rings. Both see visuals, like Gazebo's GPU LiDAR."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.sim.layer import repeated
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf import rotation_rpy
from mm_nav.sim.surface import Floats

if TYPE_CHECKING:
    from mm_nav.sim.moving import MovingBodies

Matrix = npt.NDArray[np.float64]

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class LidarConfig:
    """A planar LiDAR. Beam i looks along angle_min + i * (angle_max - angle_min) / beams, so that a full circle has no
    doubled beam. range_min, range_max, position (base_link): metres; yaw: rad. noise_std: metres, of each range. Farther
    than range_max is inf, nearer than range_min is nan.

    dropout: share of beams lost at random. min_signal: a hit is lost when reflectance * cos(incidence) *
    (range_max / range)² is below it; 0.05 loses black paint (0.04) at full range, and glancing hits. sweep_s: time of one
    sweep; above 0 the robot's motion during it shears the scan, and the stamp is the first beam's. rate_hz: sweeps per
    second where something publishes them.
    """

    beams: int = 360
    angle_min: float = -math.pi
    angle_max: float = math.pi
    range_min: float = 0.12
    range_max: float = 10.0
    position: tuple[float, float, float] = (0.0, 0.0, 0.20)
    noise_std: float = 0.01
    yaw: float = 0.0
    dropout: float = 0.0
    min_signal: float = 0.0
    sweep_s: float = 0.0
    rate_hz: float = 10.0

    def __post_init__(self) -> None:
        if self.beams < 1 or not self.angle_min < self.angle_max <= self.angle_min + 2 * math.pi + 1e-6:
            raise ConfigError(
                f"LiDAR with {self.beams} beams from {self.angle_min} to {self.angle_max} rad: give at least one "
                "beam and at most a full circle"
            )
        _check_ranging("LiDAR", self)

    @property
    def angle_increment(self) -> float:
        """Angle between beams, rad."""
        return (self.angle_max - self.angle_min) / self.beams

    def base_T_sensor(self) -> Matrix:
        """Return the sensor's pose (4, 4) in base_link."""
        return _mount(self.position, (0.0, 0.0, self.yaw))


@dataclass(frozen=True)
class CloudConfig:
    """A multi-ring LiDAR: `rings` from elevation_min to elevation_max (rad), `columns` over the full circle.

    rpy: rad, about the fixed axes of base_link. The other fields are as LidarConfig's. A VLP-16 at 10 Hz has 16 rings of
    ±15 degrees and 1800 columns.
    """

    rings: int = 16
    columns: int = 512
    elevation_min: float = -math.radians(15.0)
    elevation_max: float = math.radians(15.0)
    range_min: float = 0.12
    range_max: float = 30.0
    position: tuple[float, float, float] = (0.0, 0.0, 0.35)
    noise_std: float = 0.01
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    dropout: float = 0.0
    min_signal: float = 0.0
    sweep_s: float = 0.0
    rate_hz: float = 10.0

    def __post_init__(self) -> None:
        if self.rings < 1 or self.columns < 1 or self.elevation_min > self.elevation_max:
            raise ConfigError(
                f"cloud with {self.rings} rings and {self.columns} columns: give at least one of each, and "
                "elevation_min below elevation_max"
            )
        _check_ranging("cloud", self)

    def base_T_sensor(self) -> Matrix:
        """Return the sensor's pose (4, 4) in base_link."""
        return _mount(self.position, self.rpy)


def _check_ranging(what: str, config: LidarConfig | CloudConfig) -> None:
    if not 0 <= config.range_min < config.range_max or config.noise_std < 0:
        raise ConfigError(
            f"{what} range {config.range_min} to {config.range_max} m, noise {config.noise_std} m: give "
            "0 <= range_min < range_max and no negative noise"
        )
    if not 0 <= config.dropout <= 1 or config.min_signal < 0:
        raise ConfigError(
            f"{what} dropout {config.dropout}, min_signal {config.min_signal}: give a share from 0 to 1 and a signal that "
            "is not negative"
        )
    if not 0 <= config.sweep_s <= 1 or not config.rate_hz > 0:
        raise ConfigError(
            f"{what} sweep_s {config.sweep_s}, rate_hz {config.rate_hz}: give 0 to 1 s and a rate above 0"
        )


def _mount(position: tuple[float, float, float], rpy: tuple[float, float, float]) -> Matrix:
    pose = np.eye(4)
    pose[:3, :3] = rotation_rpy(*rpy)
    pose[:3, 3] = position
    return pose


@lru_cache(maxsize=32)
def lidar_directions(config: LidarConfig) -> Floats:
    """Return the beams' unit directions (N, 3) in the sensor frame."""
    angles = config.angle_min + config.angle_increment * np.arange(config.beams)
    return np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1).astype(np.float32)


@lru_cache(maxsize=32)
def cloud_directions(config: CloudConfig) -> Floats:
    """Return the beams' unit directions (columns * rings, 3) in the sensor frame, column by column, lowest ring
    first."""
    azimuth = -math.pi + 2 * math.pi / config.columns * np.arange(config.columns)
    elevation = np.linspace(config.elevation_min, config.elevation_max, config.rings)
    grid = np.empty((config.columns, config.rings, 3))
    grid[..., 0] = np.cos(azimuth)[:, None] * np.cos(elevation)
    grid[..., 1] = np.sin(azimuth)[:, None] * np.cos(elevation)
    grid[..., 2] = np.sin(elevation)
    return grid.reshape(-1, 3).astype(np.float32)


def cast(scene: Scene, directions: Floats, world_T_sensor: Matrix, moving: MovingBodies | None = None) -> Floats:
    """Return the true ranges (N,) float32, metres, along unit directions (N, 3) of a sensor; inf = no hit.

    world_T_sensor: one pose (4, 4), or one for each direction (N, 4, 4).
    """
    origins, world = _rays(directions, world_T_sensor)
    far = scene.layer.distances(origins, world)
    if moving is not None:
        far = moving.nearest(origins, world, far, world_T_sensor.ndim == 2)
    return far


def cast_signal(
    scene: Scene, directions: Floats, world_T_sensor: Matrix, moving: MovingBodies | None = None
) -> tuple[Floats, Floats]:
    """Return ranges as `cast` does, and how well each hit (N,) reflects the beam back: the surface's brightness (0 to 1)
    times the cosine of the angle to its normal; 0 where nothing was hit."""
    origins, world = _rays(directions, world_T_sensor)
    hits = scene.layer.intersect(origins, world)
    signal = _reflected(scene.layer.surface.colour, hits.triangle, hits.normal, world)
    far = hits.distance
    if moving is not None:
        rows, near = moving.hits_before(origins, world, far, world_T_sensor.ndim == 2)
        if near is not None:
            signal[rows] = _reflected(moving.layer.surface.colour, near.triangle, near.normal, world[rows])
            far[rows] = near.distance
    return far, signal


def _rays(directions: Floats, world_T_sensor: Matrix) -> tuple[Floats, Floats]:
    rotation = world_T_sensor[..., :3, :3].astype(np.float32)
    if world_T_sensor.ndim == 2:
        return repeated(world_T_sensor[:3, 3], len(directions)), np.ascontiguousarray(directions @ rotation.T)
    world = np.ascontiguousarray(np.einsum("nij,nj->ni", rotation, directions))
    return np.asarray(world_T_sensor[:, :3, 3], np.float32, order="C"), world


def _reflected(colour: Floats, triangle: npt.NDArray[np.int32], normal: Floats, direction: Floats) -> Floats:
    if not len(colour):
        return np.zeros(len(triangle), np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", normal, normal))
    cosine = np.abs(np.einsum("ij,ij->i", normal, direction)) / np.maximum(length, 1e-12)
    bright = np.take(colour, np.maximum(triangle, 0), axis=0) @ _LUMINANCE
    return np.asarray(np.where(triangle < 0, 0.0, bright * cosine), np.float32)


def lose_weak_returns(
    ranges: Floats, signal: Floats | None, config: LidarConfig | CloudConfig, random: np.random.Generator
) -> Floats:
    """Return ranges (N,) with inf where the return is too weak (see LidarConfig.min_signal) or lost at random."""
    lost = np.zeros(len(ranges), bool)
    if signal is not None:
        with np.errstate(divide="ignore", over="ignore"):
            lost |= signal * (config.range_max / np.maximum(ranges, 1e-3)) ** 2 < config.min_signal
    if config.dropout > 0:
        lost |= random.random(len(ranges), np.float32) < config.dropout
    return np.where(lost, np.float32(np.inf), ranges)


def limit_ranges(ranges: Floats, range_min: float, range_max: float) -> Floats:
    """Return ranges with inf beyond range_max and nan below range_min."""
    limited = np.where(ranges > range_max, np.float32(np.inf), ranges)
    return np.asarray(np.where(ranges < range_min, np.float32(np.nan), limited), np.float32)
