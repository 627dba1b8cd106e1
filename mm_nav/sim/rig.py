"""A robot with its sensors from a YAML file, with mounts from a URDF where the file names link frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mm_nav.config_file import from_mapping, read_yaml
from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.robot import load_robot, robot_file
from mm_nav.sim.camera import BODY_R_OPTICAL, CameraConfig
from mm_nav.sim.drive import OdometryConfig
from mm_nav.sim.imu import ImuConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.life import Door, LifeConfig, Walker
from mm_nav.sim.simulator import SensorConfig, SimConfig
from mm_nav.sim.urdf import link_poses

SENSOR_KINDS: dict[str, type[CameraConfig] | type[LidarConfig] | type[CloudConfig] | type[ImuConfig]] = {
    "camera": CameraConfig,
    "lidar": LidarConfig,
    "cloud": CloudConfig,
    "imu": ImuConfig,
}
_SECTIONS = ("body", "sensors", "odometry", "life", "urdf", "base_frame", "physics_dt")
_LEVEL = 1e-3  # rad; how far a planar LiDAR's mount may lean
_Item = TypeVar("_Item", Walker, Door)


def load_rig(name: str | Path, urdf: str | Path | None = None) -> SimConfig:
    """Return a robot with everything on it, by its name in config/robots or by its YAML file.

    urdf: takes the place of the file's own `urdf`. A sensor with `frame: LINK` stands where the URDF has that link
    (fixed joints, relative to base_frame, by default base_link). The first sensor of each type is the one that the
    stack reads. Raises ConfigError, naming file and key, for whatever cannot be used.
    """
    path = robot_file(name)
    data = read_yaml(path)
    if unknown := sorted(set(map(str, data)) - set(_SECTIONS)):
        raise ConfigError(f"{path}: unknown {', '.join(unknown)}; sections are {', '.join(_SECTIONS)}")
    links: dict[str, npt.NDArray[np.float64]] = {}
    source = Path(urdf) if urdf is not None else path.parent / str(data["urdf"]) if data.get("urdf") else None
    if source is not None:
        links = link_poses(source, str(data.get("base_frame", "base_link")))
    main: dict[type, SensorConfig] = {}
    extra: dict[str, SensorConfig] = {}
    for sensor_name, values in _mapping(data, "sensors", path).items():
        config = _sensor(values, links, f"{path}: sensors: {sensor_name}", source)
        if type(config) in main:
            extra[str(sensor_name)] = config
        else:
            main[type(config)] = config
    physics_dt = data.get("physics_dt", SimConfig.physics_dt)
    if not isinstance(physics_dt, (int, float)):
        raise ConfigError(f"{path}: physics_dt is {physics_dt!r}: give seconds")
    camera, lidar, cloud, imu = (main.get(kind) for kind in SENSOR_KINDS.values())
    return SimConfig(
        robot=load_robot(path),
        camera=camera if isinstance(camera, CameraConfig) else None,
        lidar=lidar if isinstance(lidar, LidarConfig) else None,
        cloud=cloud if isinstance(cloud, CloudConfig) else None,
        imu=imu if isinstance(imu, ImuConfig) else None,
        extra=extra,
        odometry=from_mapping(OdometryConfig, _mapping(data, "odometry", path), f"{path}: odometry"),
        life=life_from(data["life"], f"{path}: life") if data.get("life") else None,
        physics_dt=float(physics_dt),
    )


def load_life(path: str | Path) -> LifeConfig:
    """Return who and what moves in a world, from a YAML file with people, robots, walkers and doors."""
    return life_from(read_yaml(Path(path)), str(path))


def life_from(data: Any, what: str) -> LifeConfig:
    """Return a LifeConfig from a mapping, as in a YAML file; `what` begins the errors."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{what} is not a mapping: give people, robots, walkers, doors")
    walkers = _items(data.get("walkers"), Walker, f"{what}: walkers")
    doors = _items(data.get("doors"), Door, f"{what}: doors")
    return from_mapping(LifeConfig, {**data, "walkers": walkers, "doors": doors}, what)


def _items(data: Any, kind: type[_Item], what: str) -> tuple[_Item, ...]:
    if data is None:
        return ()
    if not isinstance(data, list):
        raise ConfigError(f"{what} is not a list")
    return tuple(_item(values, kind, f"{what}[{index}]") for index, values in enumerate(data))


def _item(values: Any, kind: type[_Item], what: str) -> _Item:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what} is not a mapping of names to values")
    given = dict(values)
    try:
        if given.get("start") is not None:
            given["start"] = Pose2D(*(float(value) for value in given["start"]))
        if "hinge" in given:
            x, y = given["hinge"]
            given["hinge"] = (float(x), float(y))
        if "route" in given:
            given["route"] = tuple((float(x), float(y)) for x, y in given["route"])
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{what}: start is [x, y, yaw], hinge [x, y] and route a list of [x, y], in metres ({error})"
        ) from error
    return from_mapping(kind, given, what)


def _mapping(data: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    values = data.get(key) or {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: {key} is not a mapping of names to values")
    return values


def _sensor(values: Any, links: Mapping[str, npt.NDArray[np.float64]], what: str, urdf: Path | None) -> SensorConfig:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what} is not a mapping of names to values")
    given = dict(values)
    kind = SENSOR_KINDS.get(str(given.pop("type", "")))
    if kind is None:
        raise ConfigError(f"{what}: type is {values.get('type')!r}: give one of {', '.join(SENSOR_KINDS)}")
    frame = given.pop("frame", None)
    if frame is not None:
        if frame not in links:
            where = f"{urdf} has {', '.join(links)}" if urdf else "no `urdf` is given"
            raise ConfigError(f"{what}: frame '{frame}' is not known ({where})")
        given |= _mount(kind, links[frame], what)
    config: SensorConfig = from_mapping(kind, given, what)
    return config


def _mount(kind: type, base_T_link: npt.NDArray[np.float64], what: str) -> dict[str, Any]:
    """Return the fields that put a sensor to a link. A camera's link is its body, or its optical frame (REP 103)."""
    rotation = base_T_link[:3, :3]
    if kind is CameraConfig and abs(rotation[2, 2]) < 0.5 and rotation[2, 1] < -0.5:
        rotation = rotation @ BODY_R_OPTICAL.T
    roll = math.atan2(rotation[2, 1], rotation[2, 2])
    pitch = math.asin(float(np.clip(-rotation[2, 0], -1.0, 1.0)))
    yaw = math.atan2(rotation[1, 0], rotation[0, 0])
    given: dict[str, Any] = {"position": tuple(float(value) for value in base_T_link[:3, 3])}
    if kind is CameraConfig:
        return given | {"roll": roll, "pitch": pitch, "yaw": yaw}
    if kind is LidarConfig:
        if abs(roll) > _LEVEL or abs(pitch) > _LEVEL:
            raise ConfigError(f"{what}: its link leans by {roll:.3f}, {pitch:.3f} rad: a planar LiDAR must be level")
        return given | {"yaw": yaw}
    return given | {"rpy": (roll, pitch, yaw)}
