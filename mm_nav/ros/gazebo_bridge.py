"""What ros_gz_bridge has to carry so that a robot in Gazebo has the topics that the embedded simulator gives it.

Names follow config/topics.yaml, message types and QoS are those of mm_nav.ros.simulator_node. Bridges of all supported releases
(Humble with Fortress, Jazzy and Kilted with Harmonic) read the same file; those that know no `qos_profile` take no notice of
it, and are told by parameters, see `qos_overrides`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import yaml
from rclpy.qos import QoSProfile, ReliabilityPolicy

from mm_nav.ros import qos
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.imu import ImuConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.robot_body import Sensor, interface_names, robot_body
from mm_nav.sim.robot_model import gazebo_prefix
from mm_nav.sim.simulator import SimConfig

JOINT_STATES = (
    "joint_states"  # for robot_state_publisher: how far the wheels have turned; the embedded simulator has none
)

_MAIN = ("camera", "scan", "points", "imu")
_TYPES: dict[type, tuple[str, str]] = {
    CameraConfig: ("sensor_msgs/msg/Image", "gz.msgs.Image"),
    LidarConfig: ("sensor_msgs/msg/LaserScan", "gz.msgs.LaserScan"),
    CloudConfig: ("sensor_msgs/msg/PointCloud2", "gz.msgs.PointCloudPacked"),
    ImuConfig: ("sensor_msgs/msg/Imu", "gz.msgs.IMU"),
}
_HEADER = """\
# ros_gz_bridge: Gazebo's topics as the ROS topics of config/topics.yaml, of robot {robot}. Written by mm_nav from the preset:
# "mm-nav robot model {robot} --bridge FILE" does it for another robot or namespace.
# Bridges up to Jazzy take no notice of qos_profile: set the parameter qos_overrides.<topic>.publisher.reliability there, as
# gazebo.launch.py does; without, they publish sensors as reliable, which the stack can read, too.
"""


@dataclass(frozen=True)
class BridgeEntry:
    """One topic. to_ros: from Gazebo to ROS, else the other way. lazy: carried only while somebody listens.

    ros_topic: relative to the bridge node's namespace, or absolute for a robot with a namespace.
    """

    ros_topic: str
    gz_topic: str
    ros_type: str
    gz_type: str
    qos: QoSProfile
    to_ros: bool = True
    lazy: bool = False

    def mapping(self) -> dict[str, str | int | bool]:
        """Return the entry as ros_gz_bridge's YAML has it."""
        queue = "publisher_queue" if self.to_ros else "subscriber_queue"
        entry: dict[str, str | int | bool] = {
            "ros_topic_name": self.ros_topic,
            "gz_topic_name": self.gz_topic,
            "ros_type_name": self.ros_type,
            "gz_type_name": self.gz_type,
            "direction": "GZ_TO_ROS" if self.to_ros else "ROS_TO_GZ",
            queue: int(self.qos.depth),
        }
        if self.qos.reliability == ReliabilityPolicy.BEST_EFFORT:
            entry["qos_profile"] = "SENSOR_DATA"
        return entry | ({"lazy": True} if self.lazy else {})


def bridge_entries(
    rig: SimConfig, namespace: str = "", twist_stamped: bool = True, clock: bool = True, joint_states: bool = True
) -> tuple[BridgeEntry, ...]:
    """Return what a robot needs; its model is `robot_sdf(rig, namespace)`.

    Without a namespace, ROS names are relative, so that the bridge node's own namespace applies; with one they are absolute,
    /tf being /<namespace>/tf, so that one bridge in the root namespace can serve many robots. twist_stamped: type of cmd_vel.
    clock: with /clock, which one bridge of a world should carry. joint_states: with the wheels' turning, which
    robot_state_publisher asks for and no node of the stack. Raises ConfigError when the namespace is no ROS name.
    """
    prefix, names = gazebo_prefix(namespace), interface_names()
    ros = f"{prefix}/" if namespace.strip("/") else ""

    def entry(topic: str, ros_type: str, gz_type: str, profile: QoSProfile, to_ros: bool = True) -> BridgeEntry:
        return BridgeEntry(f"{ros}{topic}", f"{prefix}/{topic}", ros_type, f"gz.msgs.{gz_type}", profile, to_ros)

    found = []
    if clock:
        found.append(BridgeEntry("/clock", "/clock", "rosgraph_msgs/msg/Clock", "gz.msgs.Clock", qos.STATUS))
    for sensor in robot_body(rig).sensors:
        found += _sensor_entries(sensor, ros, prefix)
    twist = "TwistStamped" if twist_stamped else "Twist"
    found += [
        entry(names["odom"], "nav_msgs/msg/Odometry", "Odometry", qos.ODOMETRY),
        BridgeEntry(f"{ros}tf" if ros else "/tf", f"{prefix}/tf", "tf2_msgs/msg/TFMessage", "gz.msgs.Pose_V", qos.TF),
        entry(names["ground_truth"], "nav_msgs/msg/Odometry", "Odometry", qos.STATUS),
        entry(names["cmd_vel"], f"geometry_msgs/msg/{twist}", "Twist", qos.COMMAND, to_ros=False),
    ]
    if joint_states:
        found.append(entry(JOINT_STATES, "sensor_msgs/msg/JointState", "Model", qos.STATUS))
    return tuple(found)


def bridge_yaml(entries: Iterable[BridgeEntry], robot: str) -> str:
    """Return the file that the bridge's parameter `config_file` names. robot: its name, for the comment."""
    lines = (
        "- " + yaml.safe_dump(entry.mapping(), sort_keys=False, default_flow_style=True, width=1000).strip()
        for entry in entries
    )
    return _HEADER.format(robot=robot) + "\n".join(lines) + "\n"


def qos_overrides(entries: Iterable[BridgeEntry]) -> dict[str, str | int]:
    """Return parameters of the bridge node (in the root namespace, without remappings) that give every topic its QoS."""
    found: dict[str, str | int] = {}
    for entry in entries:
        topic = entry.ros_topic if entry.ros_topic.startswith("/") else f"/{entry.ros_topic}"
        prefix = f"qos_overrides.{topic}.{'publisher' if entry.to_ros else 'subscription'}"
        best = entry.qos.reliability == ReliabilityPolicy.BEST_EFFORT
        found[f"{prefix}.reliability"] = "best_effort" if best else "reliable"
        found[f"{prefix}.history"] = "keep_last"
        found[f"{prefix}.depth"] = int(entry.qos.depth)
    return found


def _sensor_entries(sensor: Sensor, ros: str, prefix: str) -> list[BridgeEntry]:
    ros_type, gz_type = _TYPES[type(sensor.config)]
    lazy = sensor.name not in _MAIN  # the stack always listens to those
    # A gpu_lidar tells its scan on <topic> and its points on <topic>/points.
    gz_topic = f"{prefix}/{sensor.topic}" + ("/points" if isinstance(sensor.config, CloudConfig) else "")
    found = [BridgeEntry(f"{ros}{sensor.topic}", gz_topic, ros_type, gz_type, qos.SENSOR, lazy=lazy)]
    if info := sensor.info_topic:
        types = ("sensor_msgs/msg/CameraInfo", "gz.msgs.CameraInfo")
        found.append(BridgeEntry(f"{ros}{info}", f"{prefix}/{info}", *types, qos.SENSOR, lazy=lazy))
    return found
