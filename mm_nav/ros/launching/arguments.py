"""The launch files' arguments: their names, defaults and what `ros2 launch mm_nav FILE -s` says of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mm_nav.errors import ConfigError

YES_NO = ("true", "false")


@dataclass(frozen=True)
class Argument:
    """One argument. text: what it is, its unit, and what its default means. choices: what may be given, () = anything."""

    name: str
    default: str
    text: str
    choices: tuple[str, ...] = ()


def check_names(given: Iterable[str], known: Sequence[Argument]) -> None:
    """Raise ConfigError for a name that is a known one misspelt. Other unknown ones belong to whoever includes the file."""
    names = {argument.name for argument in known}
    given = set(given)
    for name in sorted(given - names):
        if near := difflib.get_close_matches(name, names - given, 1, 0.8):
            raise ConfigError(f"'{name}' is not an argument of this launch file: did you mean {near[0]}?")


class Values(dict[str, str]):
    """The arguments' values by name. given: the names of those that somebody gave; who gave an empty one did not."""

    def __init__(self, values: Mapping[str, str], given: Iterable[str]) -> None:
        super().__init__(values)
        self.given = frozenset(given)


def values_of(given: Mapping[str, str], known: Sequence[Argument]) -> Values:
    """Return the values of these arguments, without blanks around them; defaults where none was given."""
    found = {argument.name: given.get(argument.name, "").strip() for argument in known}
    values = {argument.name: found[argument.name] or argument.default for argument in known}
    return Values(values, (name for name, value in found.items() if value))


_NAMESPACE = Argument("namespace", "", "namespace of all nodes and topics, with a TF tree of its own; empty = none")
_ROBOT = Argument(
    "robot",
    "generic",
    "which robot it is, with its body, limits and sensors: a name in config/robots or the path of a YAML file like those",
)
_ROBOTS = Argument(
    "robots",
    "",
    "names of several robots in one world, such as alpha,beta: each gets a stack below its name; `robot` may then be a list as "
    "long as this one; empty = one robot",
)
_WORLD = Argument("world", "apartment", "apartment, office, cluttered, or the path of an SDF world file")
_START = Argument(
    "start",
    "",
    "where the robot starts: x,y,yaw in m and rad, in the world frame; several robots: one each, separated by ';'; empty = the "
    "world's own start, and free places for the others",
)
_POLICY = (
    Argument("model", "", "the policy, an ONNX file with its manifest beside it; empty = the one that comes with mm_nav"),
    Argument(
        "device",
        "",
        "a profile of config/edge that inference runs by (orin-nano, orin-nx, agx-orin, thor, x86-laptop) or the path of a YAML "
        "file; empty = none",
    ),
    Argument("provider", "auto", "what the network runs on; auto = the first that is there", ("auto", "tensorrt", "cuda", "cpu")),
    Argument(
        "params_file",
        "",
        "YAML file of ROS parameters, laid over those in config/; arguments that are given go before it, whatever their value, and "
        "robot and robots are always arguments; empty = none",
    ),
    Argument("log_level", "info", "of the stack's nodes", ("debug", "info", "warn", "error", "fatal")),
)  # fmt: skip
_LIFE = (
    Argument(
        "on_exit",
        "shutdown",
        "when a node of the stack dies: shutdown ends everything with status 1; respawn starts that node again and brings it up, "
        "while the robot stands. The end of the simulator, of Gazebo or of a recording always ends everything",
        ("shutdown", "respawn"),
    ),
    Argument("respawn_delay", "1.0", "how long after its death a node is started again, s"),
)
_VIEW = (
    Argument("rviz", "false", "true: RViz with the view of config/ (needs the package rviz2)", YES_NO),
    Argument("nav2", "false", "true: serve Nav2's actions navigate_to_pose, … too (needs the package nav2_msgs)", YES_NO),
)  # fmt: skip
_ROUTE = (
    Argument(
        "obstacles",
        "scan",
        "where obstacles come from: scan (LaserScan), or points (PointCloud2), cut into a planar scan, for robots without a scan",
        ("scan", "points"),
    ),
    Argument("enclaves", "", "SROS2: the nodes' enclaves are below this, such as /mm_nav (docs/security.md); empty = none"),
)  # fmt: skip
_STACK = Argument("stack", "true", "false: no stack, only the robot and its sensors", YES_NO)
_TOPICS = (
    Argument("image", "", "topic of the camera's pictures, where it is not `image`; compressed ones are below it"),
    Argument("camera_info", "", "topic of the camera's intrinsics, where it is not `camera_info`"),
    Argument("scan", "", "topic of the planar LiDAR, where it is not `scan`"),
    Argument("points", "", "topic of the 3D LiDAR, where it is not `points`"),
    Argument("odom", "", "topic of the odometry, where it is not `odom`"),
)

SIM = (
    _WORLD, _ROBOT, _ROBOTS, _START, _NAMESPACE,
    Argument("people", "0", "people who wander about, 0 to 200"),
    Argument("life", "", "YAML file with people, robots and doors that move; empty = none but `people`"),
    Argument("seed", "0", "seed of the simulated noise: the same seed, the same world and sensors"),
    Argument("rate", "1.0", "simulated seconds per second, 0 to 100; 0 = as fast as possible"),
    _STACK, *_ROUTE, *_POLICY, *_LIFE, *_VIEW,
)  # fmt: skip

GAZEBO = (
    _WORLD, _ROBOT, _ROBOTS, _START, _NAMESPACE,
    Argument("headless", "false", "true: Gazebo's server without its window", YES_NO),
    Argument(
        "gazebo",
        "auto",
        "harmonic (and later ones: `gz sim`) or fortress (`ign gazebo`); auto = what is installed, the distribution's own first",
        ("auto", "harmonic", "fortress"),
    ),
    _STACK, *_ROUTE, *_POLICY, *_LIFE, *_VIEW,
)  # fmt: skip

ROBOT = (
    _ROBOT, _NAMESPACE,
    Argument(
        "camera",
        "none",
        "driver that is started: realsense (realsense2_camera) or usb (usb_cam); none = the camera's topics come from elsewhere",
        ("none", "realsense", "usb"),
    ),
    Argument("camera_device", "", "usb: the device, empty = /dev/video0; realsense: the serial number, empty = the first"),
    Argument("camera_calibration", "", "usb: YAML file of the camera's calibration (camera_calibration writes it)"),
    Argument(
        "lidar",
        "none",
        "driver that is started: rplidar (rplidar_ros), ld08 (ld08_driver), velodyne (VLP-16); none = scans come from elsewhere",
        ("none", "rplidar", "ld08", "velodyne"),
    ),
    Argument("lidar_device", "", "rplidar: the port, empty = /dev/ttyUSB0; velodyne: the IP address, empty = 192.168.1.201"),
    Argument("lidar_baudrate", "115200", "rplidar: 115200 (A1, A2M8), 256000 (A2M7, A2M12, A3), 460800 (C1), 1000000 (S2, S3)"),
    Argument(
        "urdf",
        "robot",
        "where the sensors' mounts come from: robot = the file of `robot`; the path of a URDF or xacro file; none = the robot's "
        "own bring-up publishes them. All but none start robot_state_publisher",
    ),
    *_TOPICS,
    Argument("cmd_vel", "", "topic of the base's commands, where it is not `cmd_vel`"),
    Argument("twist_stamped", "true", "false: the base takes Twist instead of TwistStamped", YES_NO),
    Argument("compressed", "false", "true: read compressed pictures (IMAGE/compressed) instead of raw ones", YES_NO),
    Argument(
        "localization",
        "false",
        "true: AMCL or SLAM publishes map -> odom, by which goal poses in map are taken; the stack's own map is navigator/map then",
        YES_NO,
    ),
    Argument("use_sim_time", "false", "true: time comes from /clock, for a robot in a simulator", YES_NO),
    *_ROUTE, *_POLICY, *_LIFE, *_VIEW,
)  # fmt: skip

REPLAY = (
    Argument("bag", "", "the recording: a rosbag2 folder, or an MCAP or ROS 1 file; must be given"),
    Argument(
        "goal",
        "",
        "what the stack is asked to do until the recording ends, in plain English; empty = nothing until somebody asks",
    ),
    Argument("rate", "1.0", "2 = twice as fast, 0.01 to 100"),
    Argument("record", "", "new folder that what comes of it is recorded into; empty = nothing is recorded"),
    Argument(
        "player",
        "auto",
        "ros2bag (`ros2 bag play`), or mm_nav's own, which plays every format that `mm-nav replay` reads; auto = ros2bag where it "
        "is installed and reads the format",
        ("auto", "ros2bag", "mm_nav"),
    ),
    _ROBOT, _NAMESPACE, *_TOPICS, *_ROUTE, *_POLICY, *_LIFE, *_VIEW,
)  # fmt: skip
