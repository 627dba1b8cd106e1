"""A real robot: the drivers of its sensors, where these sit, and the stack."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch_ros.actions import Node

from mm_nav.errors import ConfigError
from mm_nav.ros.launching.arguments import Values
from mm_nav.ros.launching.bring_up import ends_with
from mm_nav.ros.launching.options import StackOptions, integer, stack_options, yes
from mm_nav.ros.launching.stack import require_package, robot_description, ros_node, stack, text_parameters
from mm_nav.ros.topics import frames, topics
from mm_nav.sim.rig import load_rig
from mm_nav.sim.robot_model import robot_urdf
from mm_nav.sim.simulator import SimConfig

_VELODYNE = "velodyne"
# Names of the drivers' nodes, which a file of parameters may name.
_NODES = {
    "realsense": ("camera",), "usb": ("usb_cam",), "rplidar": ("rplidar_node",), "ld08": ("ld08_driver",),
    "velodyne": ("velodyne_driver_node", "velodyne_transform_node", "velodyne_laserscan_node"), "none": (),
}  # fmt: skip
# Which drivers an argument is for.
_FOR = {
    "camera_device": ("realsense", "usb"), "camera_calibration": ("usb",), "lidar_device": ("rplidar", "velodyne"),
    "lidar_baudrate": ("rplidar",),
}  # fmt: skip


def hardware(values: Values, pushed: str) -> Sequence[Any]:
    """Return the entities of the sensors' drivers, the robot's description and the stack."""
    for name, known in _FOR.items():
        kind = name.partition("_")[0]
        if name in values.given and values[kind] not in known:
            wanted = " or ".join(f"{kind}:={driver}" for driver in known)
            raise ConfigError(f"{name} is not for {kind}:={values[kind]}: leave it out, or give {wanted}")
    nodes = [*_NODES[values["camera"]], *_NODES[values["lidar"]]]
    nodes += ["robot_state_publisher"] if values["urdf"] != "none" else []
    use_sim_time = yes(values, "use_sim_time") if "use_sim_time" in values.given else None
    options = stack_options(values, use_sim_time, pushed, nodes)
    rig = load_rig(options.robot)
    drivers = [*camera_driver(values, options), *lidar_driver(values, options)]
    description = _description(values, options, rig)
    ends = [] if options.respawn else [ends_with(node, name) for name, node in drivers]
    return [*ends, *description, *(node for _, node in drivers), *stack(options)[0]]


def camera_driver(values: Values, options: StackOptions) -> list[tuple[str, Node]]:
    """Return the camera's driver, none for "none". Raises ConfigError where its package is not installed."""
    device, size = values["camera_device"], {"image_width": 640, "image_height": 480}
    if values["camera"] == "realsense":
        require_package("realsense2_camera", "camera:=realsense")
        # Which of the two a release knows differs, and so does whether topics lie below the node's name.
        profile = {"rgb_camera.color_profile": "640x480x15", "rgb_camera.profile": "640x480x15"}
        preset = {"camera_name": "camera", "enable_color": True, "enable_depth": False, "enable_infra1": False,
                  "enable_infra2": False, "publish_tf": True, **profile}  # fmt: skip
        given = {"serial_no": device} if device else {}
        own = [(f"{prefix}color/{name}", to) for prefix in ("~/", "") for name, to in _camera_topics(options).items()]
        return [
            (
                "the camera's driver",
                _driver("realsense2_camera", "realsense2_camera_node", "camera", preset, given, own, options),
            )
        ]
    if values["camera"] == "usb":
        require_package("usb_cam", "camera:=usb")
        calibration = Path(values["camera_calibration"]).expanduser()
        if not values["camera_calibration"] or not calibration.is_file():
            what = f"'{calibration}' does not exist" if values["camera_calibration"] else "is not given"
            raise ConfigError(
                f"camera_calibration {what}: camera:=usb needs the YAML file that `ros2 run camera_calibration cameracalibrator` "
                "writes, since without it nobody knows where a pixel looks"
            )
        _require_device(device, "/dev/video0", "camera_device", options)
        preset = {"video_device": "/dev/video0", "frame_id": frames().camera, "framerate": 15.0,
                  "pixel_format": "mjpeg2rgb", **size}  # fmt: skip
        given = {"camera_info_url": f"file://{calibration.resolve()}", **({"video_device": device} if device else {})}
        own = [*_camera_topics(options).items()]
        return [("the camera's driver", _driver("usb_cam", "usb_cam_node_exe", "usb_cam", preset, given, own, options))]
    return []


def lidar_driver(values: Values, options: StackOptions) -> list[tuple[str, Node]]:
    """Return the LiDAR's drivers, none for "none". Raises ConfigError where a package is not installed."""
    kind, device, what = values["lidar"], values["lidar_device"], "the LiDAR's driver"
    scan = [("scan", _topic("scan", options))]
    if kind == "rplidar":
        folder = Path(require_package("rplidar_ros", "lidar:=rplidar")) / "lib" / "rplidar_ros"
        # What the distribution's package and the maker's own call it.
        program = next((p for p in ("rplidar_node", "rplidar_composition") if (folder / p).exists()), "rplidar_node")
        _require_device(device, "/dev/ttyUSB0", "lidar_device", options)
        baudrate = {"serial_baudrate": integer(values, "lidar_baudrate", 9600, 2_000_000)}
        preset = {"channel_type": "serial", "serial_port": "/dev/ttyUSB0", "frame_id": frames().scan, "inverted": False,
                  "angle_compensate": True, **baudrate}  # fmt: skip
        port = {"serial_port": device} if device else {}
        given = {**port, **(baudrate if "lidar_baudrate" in values.given else {})}
        return [(what, _driver("rplidar_ros", program, "rplidar_node", preset, given, scan, options))]
    if kind == "ld08":
        require_package("ld08_driver", "lidar:=ld08")
        preset = {"frame_id": frames().scan}
        return [(what, _driver("ld08_driver", "ld08_driver", "ld08_driver", preset, {}, scan, options))]
    if kind == _VELODYNE:
        return [(what, node) for node in _velodyne(device, scan, options)]
    return []


def _velodyne(address: str, scan: list[tuple[str, str]], options: StackOptions) -> list[Node]:
    """Return its driver, what makes points of packets, and what cuts a scan out of the points."""
    parts = ("velodyne_driver", "velodyne_pointcloud", "velodyne_laserscan")
    prefixes = [Path(require_package(part, "lidar:=velodyne", "velodyne")) for part in parts]
    points = [("velodyne_points", _topic("points", options))]
    calibration = prefixes[1] / "share" / parts[1] / "params" / "VLP16db.yaml"
    driver = {"device_ip": "192.168.1.201", "model": "VLP16", "rpm": 600.0, "port": 2368, "frame_id": frames().points}
    cloud = {"model": "VLP16", "calibration": str(calibration), "min_range": 0.4, "max_range": 130.0,
             "fixed_frame": "", "target_frame": "", "organize_cloud": False}  # fmt: skip
    return [
        _driver(parts[0], "velodyne_driver_node", "velodyne_driver_node", driver,
                {"device_ip": address} if address else {}, [], options),
        _driver(parts[1], "velodyne_transform_node", "velodyne_transform_node", cloud, {}, points, options),
        _driver(parts[2], "velodyne_laserscan_node", "velodyne_laserscan_node", {"ring": -1, "resolution": 0.007}, {},
                [*points, *scan], options),
    ]  # fmt: skip


def _camera_topics(options: StackOptions) -> dict[str, str]:
    image = _topic("image", options)
    return {
        "image_raw": image,
        "image_raw/compressed": f"{image}/compressed",
        "camera_info": _topic("camera_info", options),
    }


def _topic(name: str, options: StackOptions) -> str:
    own = str(getattr(topics(), name))
    return dict(options.remappings).get(own, own)


def _driver(
    package: str,
    program: str,
    name: str,
    preset: Mapping[str, Any],
    given: Mapping[str, Any],
    remappings: Sequence[tuple[str, str]],
    options: StackOptions,
) -> Node:
    """Return a driver's node. preset: parameters that files go before. given: those of arguments, which go before files."""
    return ros_node(
        package,
        program,
        name=name,
        namespace=options.namespace or "/",
        parameters=[text_parameters(preset), *options.files, *([text_parameters(given)] if given else [])],
        remappings=[*options.tf_remappings, *remappings],
        respawn=options.respawn,
        respawn_delay=options.respawn_delay_s,
    )


def _require_device(device: str, usual: str, argument: str, options: StackOptions) -> None:
    """Raise ConfigError when a device is not there. device: the one that was given, "" = none; then a file may name another."""
    path = device or usual
    if not Path(path).exists() and (device or not options.params_file):
        raise ConfigError(f"{argument} '{path}' does not exist: plug it in, or give another (ls /dev/tty* /dev/video*)")


def _description(values: Mapping[str, str], options: StackOptions, rig: SimConfig) -> list[Node]:
    """Return what tells where the sensors sit, none where the robot's own bring-up does."""
    source = values["urdf"]
    if source == "none":
        return []
    if source != "robot":
        return [robot_description(read_urdf(Path(source).expanduser()), options)]
    wanted = {
        "camera": (values["camera"] != "none", rig.camera, "camera"),
        "lidar": (values["lidar"] not in ("none", _VELODYNE), rig.lidar, "lidar"),
        "lidar ": (values["lidar"] == _VELODYNE, rig.cloud, "cloud"),
    }
    for argument, (given, sensor, kind) in wanted.items():
        if given and sensor is None:
            raise ConfigError(
                f"{argument.strip()}:={values[argument.strip()]}: robot '{options.robot}' has no sensor of type {kind}, so nobody "
                "knows where it sits: add it to the robot's file, or give urdf:=FILE"
            )
    return [robot_description(robot_urdf(rig), options)]


def read_urdf(path: Path) -> str:
    """Return the text of a URDF, made from xacro where it is that. Raises ConfigError when it cannot be read."""
    if not path.is_file():
        raise ConfigError(f"urdf '{path}' does not exist: give robot, none, or the path of a URDF or xacro file")
    if path.suffix != ".xacro":
        return path.read_text(encoding="utf-8")
    program = shutil.which("xacro")
    if program is None:
        raise ConfigError(f"urdf '{path}' needs xacro, which is not installed: sudo apt install ros-$ROS_DISTRO-xacro")
    made = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        words = " ".join(made.stderr.split()[-30:])
        raise ConfigError(f"urdf '{path}' cannot be made into a URDF by xacro: {words}")
    return made.stdout
