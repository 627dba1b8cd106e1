"""Presets of config/robots as Gazebo models (SDF 1.9), from the same links, joints and sensors as their URDF."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from mm_nav.errors import ConfigError
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.imu import ImuConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.robot_body import Link, RobotBody, Sensor, Shape, interface_names, robot_body, wheel_joints
from mm_nav.sim.robot_urdf import robot_urdf
from mm_nav.sim.robot_xml import add, document, join, number, pose, tensor
from mm_nav.sim.simulator import SimConfig

__all__ = ["DIALECTS", "MAX_ROBOTS", "ODOMETRY_HZ", "gazebo_prefix", "not_in_gazebo", "robot_sdf", "robot_urdf"]

ODOMETRY_HZ = 20.0  # as the embedded simulator's node
MAX_ROBOTS = 16  # in one world: each has a bit of the cameras' visibility mask
DEFAULT_PREFIX = "mm_nav"  # below which a robot without a namespace has its Gazebo topics

_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")
_ALL_VISIBLE, _GUI, _SELECTABLE = 0x0FFFFFFF, 0x1, 0x2  # RenderTypes.hh of gz-rendering
_COLOURS = ("0.20 0.25 0.30", "0.55 0.25 0.15", "0.15 0.40 0.25", "0.40 0.20 0.45")
_STEER_GAIN = 10.0  # 1/s: the steering is within 5 % of its target after 0.3 s
_IMU_WALK_S = 1000.0  # correlation time over which Gazebo's drifting bias is a random walk


@dataclass(frozen=True)
class Dialect:
    """How a Gazebo release spells what differs. plugin: begins file names; scope: begins class names; frame: element with a
    sensor's frame; schema: XML namespace of expressed_in."""

    plugin: str
    scope: str
    frame: str
    schema: tuple[str, str]


DIALECTS = {
    "harmonic": Dialect("gz-sim", "gz::sim::systems", "gz_frame_id", ("gz", "http://gazebosim.org/schema")),
    "fortress": Dialect(
        "ignition-gazebo", "ignition::gazebo::systems", "ignition_frame_id",
        ("ignition", "http://ignitionrobotics.org/schema"),
    ),
}  # fmt: skip


def robot_sdf(rig: SimConfig, namespace: str = "", name: str = "", gazebo: str = "harmonic", index: int = 0) -> str:
    """Return the Gazebo model of a preset: body, wheels, drive, limits and sensors as the embedded simulator has them.

    namespace: of the robot's topics; its Gazebo topics lie below it, those of a robot without one below /mm_nav. name: of the
    model, by default the namespace or "mm_nav_robot". gazebo: harmonic or fortress. index: which of the robots of a world it
    is, 0 to 15; with an index of its own a robot's sensors see all other robots, but never the robot itself.

    What Gazebo cannot simulate is left out: see `not_in_gazebo`. Raises ConfigError for a wrong argument or a body that
    cannot carry wheels.
    """
    prefix = gazebo_prefix(namespace)
    if gazebo not in DIALECTS:
        raise ConfigError(f"Gazebo '{gazebo}' is not known: give one of {', '.join(DIALECTS)}")
    if not 0 <= index < MAX_ROBOTS:
        raise ConfigError(f"the robot's index is {index}: give 0 to {MAX_ROBOTS - 1}")
    dialect, body = DIALECTS[gazebo], robot_body(rig)
    root = ET.Element("sdf", {"version": "1.9", f"xmlns:{dialect.schema[0]}": dialect.schema[1]})
    model_name = name or namespace.replace("/", "_") or "mm_nav_robot"
    model = ET.SubElement(root, "model", {"name": model_name, "canonical_link": "base_link"})
    own = 1 << (index + 2)
    look = _Look(_COLOURS[index % len(_COLOURS)], own | _SELECTABLE, dialect)
    base = ET.SubElement(model, "link", {"name": "base_link"})
    for link in body.links:
        if link.inertia is None:
            continue
        if link.joint == "fixed":  # the chassis: one rigid body with base_link, which the sensors are part of, too
            _sdf_link(base, link, look)
            for sensor in body.sensors:
                mask = _ALL_VISIBLE & ~own & ~_SELECTABLE & ~_GUI
                _sdf_sensor(base, sensor, prefix, mask, dialect)
            continue
        _sdf_link(ET.SubElement(model, "link", {"name": link.name}), link, look, placed=True)
        _sdf_joint(model, link)
    _drive_plugins(model, rig, body, prefix, dialect)
    header = (
        f"Robot '{rig.robot.name}' for Gazebo {gazebo.capitalize()}, written by mm_nav from its preset: do not edit."
    )
    return document(root, header)


def gazebo_prefix(namespace: str = "") -> str:
    """Return what a robot's Gazebo topics begin with, "/alpha". Raises ConfigError when it is no ROS namespace."""
    plain = namespace.strip("/")
    if plain and not _NAMESPACE.fullmatch(plain):
        raise ConfigError(
            f"namespace '{namespace}' is no ROS name: give letters, digits and _, a letter first, levels apart by /"
        )
    return f"/{plain or DEFAULT_PREFIX}"


def not_in_gazebo(rig: SimConfig) -> tuple[str, ...]:
    """Return what of a preset its Gazebo model does not have, each in a few words."""
    found = []
    for name, config in rig.sensors().items():
        if isinstance(config, CameraConfig):
            # Only the old engine (ogre) bends pictures; ogre2 would tell of a distortion that the pictures do not have.
            found += [f"{name}: lens distortion"] * bool(config.distortion)
            found += [f"{name}: motion blur"] * bool(config.exposure_s)
            found += [f"{name}: drawn brightness and colour"] * bool(config.exposure_jitter or config.colour_jitter)
        elif isinstance(config, LidarConfig | CloudConfig):
            found += [f"{name}: the sweep's duration (all beams at once)"] * bool(config.sweep_s)
            found += [f"{name}: weak and lost returns"] * bool(config.min_signal or config.dropout)
    robot, odometry = rig.robot, rig.odometry
    found += ["drawn wheel slip"] * bool(robot.wheel_slip or robot.turn_slip)
    found += ["command delay"] * bool(robot.command_delay_s)
    drifts = odometry.linear_noise or odometry.angular_noise or odometry.linear_scale or odometry.angular_scale
    found += ["drawn odometry errors"] * bool(drifts or odometry.heading_noise)
    return tuple(found)


# SDF


@dataclass(frozen=True)
class _Look:
    colour: str
    flags: int
    dialect: Dialect


def _sdf_link(element: ET.Element, link: Link, look: _Look, placed: bool = False) -> None:
    if placed:
        if link.parent != "base_link":
            add(element, "pose", pose(link.xyz, link.rpy)).set("relative_to", link.parent)
        else:
            add(element, "pose", pose(link.xyz, link.rpy))
    if link.inertia is not None:
        inertial = add(element, "inertial")
        add(inertial, "pose", pose(link.inertia.xyz))
        add(inertial, "mass", number(link.inertia.mass))
        inertia = add(inertial, "inertia")
        for key, value in tensor(link).items():
            add(inertia, key, value)
    for k, shape in enumerate(link.shapes):
        if shape.solid:
            collision = add(element, "collision", name=f"{link.name}_collision_{k}")
            add(collision, "pose", pose(shape.xyz, shape.rpy))
            _sdf_geometry(collision, shape)
            if shape.slippery or shape.roller is not None:
                ode = add(add(add(collision, "surface"), "friction"), "ode")
                add(ode, "mu", "0" if shape.slippery else "1")
                add(ode, "mu2", "0")
                if shape.roller is not None:
                    held = add(ode, "fdir1", join(shape.roller))
                    held.set(f"{look.dialect.schema[0]}:expressed_in", "base_link")
        if shape.visible:
            visual = add(element, "visual", name=f"{link.name}_visual_{k}")
            add(visual, "pose", pose(shape.xyz, shape.rpy))
            _sdf_geometry(visual, shape)
            material = add(visual, "material")
            colour = look.colour if link.joint == "fixed" else "0.08 0.08 0.08"
            add(material, "ambient", f"{colour} 1")
            add(material, "diffuse", f"{colour} 1")
            add(visual, "visibility_flags", str(look.flags))


def _sdf_geometry(element: ET.Element, shape: Shape) -> None:
    inner = add(add(element, "geometry"), shape.kind)
    if shape.kind == "box":
        add(inner, "size", join(shape.size))
        return
    add(inner, "radius", number(shape.size[0]))
    if shape.kind == "cylinder":
        add(inner, "length", number(shape.size[1]))


def _sdf_joint(model: ET.Element, link: Link) -> None:
    joint = add(model, "joint", name=link.joint_name, type="revolute")
    add(joint, "parent", link.parent)
    add(joint, "child", link.name)
    axis = add(joint, "axis")
    add(axis, "xyz", join(link.axis))
    limit = add(axis, "limit")
    reach = number(link.limit) if link.joint == "revolute" else "inf"
    add(limit, "lower", f"-{reach}")
    add(limit, "upper", reach)
    if link.joint == "revolute":
        add(limit, "effort", "25")
        add(limit, "velocity", number(link.velocity))


def _sdf_sensor(link: ET.Element, sensor: Sensor, prefix: str, mask: int, dialect: Dialect) -> None:
    config = sensor.config
    kind = {CameraConfig: "camera", ImuConfig: "imu"}.get(type(config), "gpu_lidar")
    element = add(link, "sensor", name=sensor.name, type=kind)
    add(element, "pose", pose(sensor.xyz, sensor.rpy))
    add(element, "topic", f"{prefix}/{sensor.topic}")
    add(element, dialect.frame, sensor.frame)
    add(element, "update_rate", number(config.rate_hz))
    add(element, "always_on", "1")
    if isinstance(config, CameraConfig):
        camera = add(element, "camera")
        add(camera, "camera_info_topic", f"{prefix}/{sensor.info_topic}")
        add(camera, "horizontal_fov", number(config.horizontal_fov))
        image = add(camera, "image")
        add(image, "width", str(config.width))
        add(image, "height", str(config.height))
        add(image, "format", "R8G8B8")
        clip = add(camera, "clip")
        add(clip, "near", "0.02")
        add(clip, "far", "100")
        _noise(camera, config.noise_std / 255.0)
        add(camera, "visibility_mask", str(mask))
    elif isinstance(config, ImuConfig):
        _sdf_imu(add(element, "imu"), config)
    else:
        _sdf_lidar(add(element, "lidar"), config, mask)


def _sdf_lidar(lidar: ET.Element, config: LidarConfig | CloudConfig, mask: int) -> None:
    scan = add(lidar, "scan")
    horizontal = add(scan, "horizontal")
    if isinstance(config, LidarConfig):
        beams, first, step = config.beams, config.angle_min, config.angle_increment
    else:
        beams, first, step = config.columns, -math.pi, 2 * math.pi / config.columns
    add(horizontal, "samples", str(beams))
    add(horizontal, "resolution", "1")
    add(horizontal, "min_angle", number(first))
    # Gazebo's last beam looks along max_angle: on a full circle it must not double the first.
    add(horizontal, "max_angle", number(first + step * (beams - 1)))
    if isinstance(config, CloudConfig):
        vertical = add(scan, "vertical")
        add(vertical, "samples", str(config.rings))
        add(vertical, "resolution", "1")
        add(vertical, "min_angle", number(config.elevation_min))
        add(vertical, "max_angle", number(config.elevation_max))
    limits = add(lidar, "range")
    add(limits, "min", number(config.range_min))
    add(limits, "max", number(config.range_max))
    _noise(lidar, config.noise_std)
    add(lidar, "visibility_mask", str(mask))


def _sdf_imu(imu: ET.Element, config: ImuConfig) -> None:
    add(imu, "enable_orientation", "0")  # none comes without a filter (REP 145)
    # A density over the reading's bandwidth, half its rate, as in mm_nav.sim.imu.
    width = math.sqrt(config.rate_hz)
    for group, density, bias, walk in (
        ("angular_velocity", config.gyro_noise, config.gyro_bias, config.gyro_walk),
        ("linear_acceleration", config.accel_noise, config.accel_bias, config.accel_walk),
    ):
        axes = add(imu, group)
        for axis in "xyz":
            noise = add(add(axes, axis), "noise", type="gaussian")
            add(noise, "mean", "0")
            add(noise, "stddev", number(density * width))
            add(noise, "bias_mean", "0")
            add(noise, "bias_stddev", number(bias))
            add(noise, "dynamic_bias_stddev", number(walk))
            add(noise, "dynamic_bias_correlation_time", number(_IMU_WALK_S))


def _noise(element: ET.Element, stddev: float) -> None:
    if stddev > 0:
        noise = add(element, "noise")
        add(noise, "type", "gaussian")
        add(noise, "mean", "0")
        add(noise, "stddev", number(stddev))


def _drive_plugins(model: ET.Element, rig: SimConfig, body: RobotBody, prefix: str, dialect: Dialect) -> None:
    robot, wheels, names = rig.robot, body.wheels, interface_names()
    frames, odom_topic = names["frames"], f"{prefix}/{names['odom']}"
    odometry = {
        "odom_topic": odom_topic, "tf_topic": f"{prefix}/tf", "frame_id": frames["odom"],
        "child_frame_id": frames["base"], "odom_publish_frequency": number(ODOMETRY_HZ),
    }  # fmt: skip
    size = {"wheel_separation": number(wheels.separation), "wheel_radius": number(wheels.radius)}
    command = {"topic": f"{prefix}/{names['cmd_vel']}"}
    # These two plugins know one limit for speed and turning rate: the larger, so that it never holds back what the other
    # may. The stack does not ask for more than the preset allows.
    speed, gain = max(robot.max_linear, robot.max_angular), max(robot.max_linear_accel, robot.max_angular_accel)
    shared = {
        "min_velocity": number(-speed), "max_velocity": number(speed), "min_acceleration": number(-gain),
        "max_acceleration": number(gain),
    }  # fmt: skip
    if robot.drive == "differential":
        plugin = _plugin(model, dialect, "diff-drive", "DiffDrive")
        _joints(plugin, "left_joint", wheel_joints(body, "left"))
        _joints(plugin, "right_joint", wheel_joints(body, "right"))
        _fill(plugin, size | {
            "max_linear_velocity": number(robot.max_linear), "min_linear_velocity": number(robot.min_linear),
            "max_linear_acceleration": number(robot.max_linear_accel),
            "min_linear_acceleration": number(-robot.max_linear_accel),
            "max_angular_velocity": number(robot.max_angular), "min_angular_velocity": number(-robot.max_angular),
            "max_angular_acceleration": number(robot.max_angular_accel),
            "min_angular_acceleration": number(-robot.max_angular_accel),
        } | command | odometry)  # fmt: skip
    elif robot.drive == "omni":
        plugin = _plugin(model, dialect, "mecanum-drive", "MecanumDrive")
        for corner in ("front_left", "front_right", "back_left", "back_right"):
            _joints(plugin, f"{corner}_joint", wheel_joints(body, corner))
        _fill(plugin, size | {"wheelbase": number(wheels.wheelbase)} | shared | command)
        # Fortress's mecanum drive tells no odometry: this plugin does, from the true motion.
        _odometry_publisher(model, dialect, frames["odom"], frames["base"], odom_topic, f"{prefix}/tf")
    else:
        plugin = _plugin(model, dialect, "ackermann-steering", "AckermannSteering")
        for side in ("left", "right"):
            _joints(plugin, f"{side}_joint", wheel_joints(body, f"rear_{side}"))
            _joints(plugin, f"{side}_steering_joint", [f"front_{side}_steering_joint"])
        # The plugin's smallest radius is wheel_base / sin(steering_limit); the preset's wheel_base / tan(max_steer).
        limit = math.asin(min(math.tan(robot.max_steer), 1.0))
        more = {"steer_p_gain": number(_STEER_GAIN)} if dialect is DIALECTS["harmonic"] else {}
        _fill(plugin, size | more | {
            "kingpin_width": number(wheels.separation), "wheel_base": number(wheels.wheelbase),
            "steering_limit": number(limit),
        } | shared | command | odometry)  # fmt: skip
    truth = f"{prefix}/{names['ground_truth']}"
    _odometry_publisher(model, dialect, frames["map"], frames["base"], truth, f"{truth}/tf")
    states = _plugin(model, dialect, "joint-state-publisher", "JointStatePublisher")
    _fill(states, {"topic": f"{prefix}/joint_states", "update_rate": number(ODOMETRY_HZ)})


def _odometry_publisher(model: ET.Element, dialect: Dialect, frame: str, base: str, topic: str, tf_topic: str) -> None:
    plugin = _plugin(model, dialect, "odometry-publisher", "OdometryPublisher")
    _fill(plugin, {
        "odom_frame": frame, "robot_base_frame": base, "odom_topic": topic, "tf_topic": tf_topic,
        "odom_covariance_topic": f"{topic}_covariance", "odom_publish_frequency": number(ODOMETRY_HZ), "dimensions": "2",
    })  # fmt: skip


def _plugin(model: ET.Element, dialect: Dialect, file: str, name: str) -> ET.Element:
    return add(model, "plugin", filename=f"{dialect.plugin}-{file}-system", name=f"{dialect.scope}::{name}")


def _joints(plugin: ET.Element, tag: str, joints: Iterable[str]) -> None:
    for joint in joints:
        add(plugin, tag, joint)


def _fill(plugin: ET.Element, values: dict[str, str]) -> None:
    for tag, value in values.items():
        add(plugin, tag, value)
