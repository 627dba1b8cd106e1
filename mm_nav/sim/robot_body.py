"""A preset of config/robots as links, joints and sensors: what its Gazebo model and its URDF are written from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.imu import ImuConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.simulator import SensorConfig, SimConfig

Vector = tuple[float, float, float]

BODY_DENSITY, WHEEL_DENSITY = 200.0, 2000.0  # kg/m³: batteries, air and sheet metal; metal rims with tyres
ROUND_CORNERS = 8  # a footprint with this many corners or more, as wide as it is long, is taken for a disc
_DISC = 1.1  # how much longer than wide a disc may be
OPTICAL_RPY = (-math.pi / 2, 0.0, -math.pi / 2)  # REP 103: z forward, x right, y down
_TOPIC_SUFFIX: dict[type, str] = {CameraConfig: "image", LidarConfig: "scan", CloudConfig: "points", ImuConfig: "imu"}


@dataclass(frozen=True)
class Shape:
    """A primitive. kind: box (x, y, z), cylinder (radius, length along z) or sphere (radius), metres, about its centre.

    xyz, rpy: its pose in the link. slippery: it slides over the floor (a caster). roller: direction in which the floor
    holds a mecanum wheel, base_link; None = all. visible: drawn, not only felt.
    """

    kind: str
    size: tuple[float, ...]
    xyz: Vector = (0.0, 0.0, 0.0)
    rpy: Vector = (0.0, 0.0, 0.0)
    slippery: bool = False
    roller: Vector | None = None
    visible: bool = True
    solid: bool = True


@dataclass(frozen=True)
class Inertia:
    """mass: kg. moments: ixx, iyy, izz about the centre of mass, kg m², along the link's axes. xyz: centre of mass."""

    mass: float
    moments: Vector
    xyz: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Link:
    """A link and the joint that holds it. parent: its link, "" for the root. joint: fixed, continuous or revolute.

    xyz, rpy: pose in the parent with the joint at zero. axis: of the joint, in the link. limit: rad either way, velocity:
    rad/s, of a revolute joint.
    """

    name: str
    parent: str = ""
    joint: str = "fixed"
    xyz: Vector = (0.0, 0.0, 0.0)
    rpy: Vector = (0.0, 0.0, 0.0)
    axis: Vector = (0.0, 1.0, 0.0)
    limit: float = 0.0
    velocity: float = 0.0
    inertia: Inertia | None = None
    shapes: tuple[Shape, ...] = ()

    @property
    def joint_name(self) -> str:
        """Name of the joint to the parent, "" for the root."""
        return f"{self.name}_joint" if self.parent else ""


@dataclass(frozen=True)
class Sensor:
    """A sensor. xyz, rpy: its body's pose (x forward) in base_link. link: of its body; frame: that its messages name (a
    camera's optical frame, else the link). topic: relative to the robot's namespace."""

    name: str
    config: SensorConfig
    link: str
    frame: str
    topic: str
    xyz: Vector
    rpy: Vector

    @property
    def info_topic(self) -> str:
        """Where a camera's camera_info goes, "" for other sensors."""
        if not isinstance(self.config, CameraConfig):
            return ""
        return str(interface_names()["camera_info"]) if self.name == "camera" else f"{self.name}/camera_info"


@dataclass(frozen=True)
class Wheels:
    """radius, width, separation (between the middles of left and right), wheelbase (front to back axle): metres."""

    radius: float
    width: float
    separation: float
    wheelbase: float


@dataclass(frozen=True)
class RobotBody:
    """A robot as a tree of links below base_link, which lies on the floor, and its sensors."""

    name: str
    links: tuple[Link, ...]
    sensors: tuple[Sensor, ...]
    wheels: Wheels


def robot_body(rig: SimConfig) -> RobotBody:
    """Return the links, joints and sensors of a preset. Raises ConfigError where its body cannot carry wheels.

    The preset tells footprint, height and clearance. The body is the footprint's bounding box (a cylinder for a footprint of
    eight corners or more that is as long as wide), of even density; wheels are as large as clearance and length ask for, with
    the axles where the drive's kinematics have them.
    """
    low, high, disc = _extent(rig)
    wheels = _wheels(rig, low, high)
    base = Link("base_link")
    links = [base, _chassis(rig, low, high, disc), *_wheel_links(rig, wheels, low, high)]
    sensors = tuple(_sensor(name, config) for name, config in rig.sensors().items())
    for sensor in sensors:
        links.append(Link(sensor.link, base.name, xyz=sensor.xyz, rpy=sensor.rpy))
        if sensor.frame != sensor.link:
            links.append(Link(sensor.frame, sensor.link, rpy=OPTICAL_RPY))
    names = [link.name for link in links]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"robot '{rig.robot.name}': two links are named {doubled[0]}: rename one of its sensors")
    return RobotBody(rig.robot.name, tuple(links), sensors, wheels)


@lru_cache(maxsize=1)
def interface_names() -> dict[str, Any]:
    """Return the names of config/topics.yaml: topics by their key, and the mapping `frames`."""
    groups = yaml.safe_load(resource_path("config/topics.yaml").read_text(encoding="utf-8"))
    topics = {key: name for group, names in groups.items() if group != "frames" for key, name in names.items()}
    return topics | {"frames": groups["frames"]}


def wheel_joints(body: RobotBody, where: str) -> list[str]:
    """Return the names of the driven joints whose name begins with `where` ("left", "front_left", …)."""
    return [link.joint_name for link in body.links if link.joint == "continuous" and link.name.startswith(where)]


def _extent(rig: SimConfig) -> tuple[tuple[float, float], tuple[float, float], bool]:
    corners = rig.robot.footprint_array()
    low, high = corners.min(axis=0), corners.max(axis=0)
    length, width = high - low
    disc = len(corners) >= ROUND_CORNERS and max(length, width) <= _DISC * min(length, width)
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1])), bool(disc)


def _wheels(rig: SimConfig, low: tuple[float, float], high: tuple[float, float]) -> Wheels:
    robot = rig.robot
    length, half_width = high[0] - low[0], min(-low[1], high[1])
    radius = round(robot.ground_clearance_m + max(0.02, 0.06 * length), 3)
    width = round(min(max(0.12 * half_width, 0.01), 0.08), 3)
    # Mecanum wheels touch the floor as spheres do, which must stay within the footprint.
    inset = radius if robot.drive == "omni" else width
    separation = round(2 * (half_width - inset), 3)
    if separation <= width or 2 * radius > robot.height_m + robot.ground_clearance_m:
        raise ConfigError(
            f"robot '{robot.name}': no wheels fit a body {2 * half_width:.2f} m wide around base_link and {robot.height_m} m "
            "high: correct footprint, height_m and ground_clearance_m"
        )
    wheelbase = {"omni": round(length - 2 * radius, 3), "ackermann": robot.wheelbase_m}.get(robot.drive, 0.0)
    return Wheels(radius, width, separation, wheelbase)


def _chassis(rig: SimConfig, low: tuple[float, float], high: tuple[float, float], disc: bool) -> Link:
    robot = rig.robot
    x, y, z = high[0] - low[0], high[1] - low[1], robot.height_m - robot.ground_clearance_m
    centre = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, robot.ground_clearance_m + z / 2)
    if disc:
        radius = max(x, y) / 2
        mass = BODY_DENSITY * math.pi * radius**2 * z
        across = mass * (3 * radius**2 + z**2) / 12
        shape, moments = Shape("cylinder", (radius, z), centre), (across, across, mass * radius**2 / 2)
    else:
        mass = BODY_DENSITY * x * y * z
        moments = (mass * (y**2 + z**2) / 12, mass * (x**2 + z**2) / 12, mass * (x**2 + y**2) / 12)
        shape = Shape("box", (x, y, z), centre)
    shapes = [shape]
    if robot.drive == "differential":
        radius = max(robot.ground_clearance_m, 0.01)
        for end, sign in ((high[0], -1.0), (low[0], 1.0)):
            # One in front of the wheels' axle and one behind it, so that the robot cannot tip over.
            shapes.append(Shape("sphere", (radius,), (end + 1.5 * sign * radius, 0.0, radius), slippery=True))
    return Link("chassis_link", "base_link", inertia=Inertia(mass, moments, centre), shapes=tuple(shapes))


def _wheel_links(rig: SimConfig, wheels: Wheels, low: tuple[float, float], high: tuple[float, float]) -> list[Link]:
    robot, y = rig.robot, wheels.separation / 2
    if robot.drive == "differential":
        return [_wheel(wheels, f"{side}_wheel", (0.0, sign * y)) for side, sign in _SIDES]
    links = []
    if robot.drive == "omni":
        middle = (low[0] + high[0]) / 2
        for end, ahead in (("front", 1.0), ("back", -1.0)):
            for side, sign in _SIDES:
                place = (middle + ahead * wheels.wheelbase / 2, sign * y)
                links.append(_wheel(wheels, f"{end}_{side}_wheel", place, roller=(1.0, -ahead * sign, 0.0)))
        return links
    for side, sign in _SIDES:
        links.append(_wheel(wheels, f"rear_{side}_wheel", (0.0, sign * y)))
    for side, sign in _SIDES:
        # The inner wheel turns more than the middle of the axle, which the preset's max_steer is about.
        inner = math.atan(wheels.wheelbase / (wheels.wheelbase / math.tan(robot.max_steer) - y))
        knuckle = Link(
            f"front_{side}_steering", "base_link", "revolute", (wheels.wheelbase, sign * y, wheels.radius),
            axis=(0.0, 0.0, 1.0), limit=round(inner + 0.02, 4), velocity=robot.max_steer_rate,
            inertia=Inertia(0.1, (1e-4, 1e-4, 1e-4)),
        )  # fmt: skip
        links += [knuckle, _wheel(wheels, f"front_{side}_wheel", None, parent=knuckle.name)]
    return links


_SIDES = (("left", 1.0), ("right", -1.0))


def _wheel(
    wheels: Wheels, name: str, place: tuple[float, float] | None, roller: Vector | None = None, parent: str = "base_link"
) -> Link:  # fmt: skip
    radius, width = wheels.radius, wheels.width
    mass = WHEEL_DENSITY * math.pi * radius**2 * width
    across = mass * (3 * radius**2 + width**2) / 12
    lying: Vector = (-math.pi / 2, 0.0, 0.0)
    shapes = [Shape("cylinder", (radius, width), rpy=lying, solid=roller is None)]
    if roller is not None:
        shapes.append(Shape("sphere", (radius,), roller=roller, visible=False))
    xyz = (place[0], place[1], radius) if place is not None else (0.0, 0.0, 0.0)
    inertia = Inertia(mass, (across, mass * radius**2 / 2, across))
    return Link(name, parent, "continuous", xyz, inertia=inertia, shapes=tuple(shapes))


def _sensor(name: str, config: SensorConfig) -> Sensor:
    names, frames = interface_names(), interface_names()["frames"]
    rpy: Vector
    if isinstance(config, CameraConfig):
        rpy = (config.roll, config.pitch, config.yaw)
    elif isinstance(config, LidarConfig):
        rpy = (0.0, 0.0, config.yaw)
    else:
        rpy = config.rpy
    main = {
        "camera": ("image", "camera"),
        "scan": ("scan", "scan"),
        "points": ("points", "points"),
        "imu": ("imu", "imu"),
    }
    if name in main:
        topic, frame = str(names[main[name][0]]), str(frames[main[name][1]])
    else:
        optical = isinstance(config, CameraConfig)
        topic = f"{name}/{_TOPIC_SUFFIX[type(config)]}"
        frame = f"{name}_optical_frame" if optical else f"{name}_link"
    link = f"{name}_link" if isinstance(config, CameraConfig) else frame
    return Sensor(name, config, link, frame, topic, config.position, rpy)
