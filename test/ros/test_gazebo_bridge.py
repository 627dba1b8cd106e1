"""The bridge gives a robot in Gazebo the topics of the embedded simulator: name by name, type by type, QoS by QoS."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from mm_nav.cli import robot_model
from mm_nav.errors import ConfigError
from mm_nav.ros.gazebo_bridge import JOINT_STATES, BridgeEntry, bridge_entries, bridge_yaml, qos_overrides
from mm_nav.ros.process_group import prepare_environment
from mm_nav.ros.simulator_node import SimulatorNode
from mm_nav.ros.topics import topics
from mm_nav.sim.rig import load_rig
from mm_nav.sim.robot_model import robot_sdf, robot_urdf

# What only the embedded simulator has: robot_state_publisher and its diagnostics are nodes of their own with Gazebo, the rest
# is about the simulation: it hears the guard's status for its measure of latency.
T = topics()
EMBEDDED_ONLY = {"tf_static", T.contacts, T.stamp_to_command, T.guard_status}
EVERY_NODE = {"/rosout", "/parameter_events", "/simulator/transition_event", T.diagnostics}
MANY = """
sensors:
  camera: {type: camera, width: 32, height: 24}
  rear: {type: camera, width: 32, height: 24, yaw: 3.14}
  scan: {type: lidar, beams: 36}
  velo: {type: cloud, rings: 2, columns: 36}
  low: {type: lidar, beams: 36}
  imu: {type: imu}
"""
Topic = tuple[str, str, str, str, int]  # direction, type, reliability, durability, depth


def topic(direction: str, kind: str, qos: QoSProfile) -> Topic:
    return (direction, kind, ReliabilityPolicy(qos.reliability).name, DurabilityPolicy(qos.durability).name, qos.depth)


@contextmanager
def simulator(*parameters: str) -> Iterator[SimulatorNode]:
    prepare_environment()
    rclpy.init(args=["--ros-args", *(word for text in parameters for word in ("-p", text))])
    node = SimulatorNode()
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown()


def offered(node: SimulatorNode) -> dict[str, Topic]:
    """Return what the node publishes and takes, as the graph has it; depths, which do not travel, from its endpoints."""
    found = {}
    for end in node.publishers:
        infos = [i for i in node.get_publishers_info_by_topic(end.topic_name) if i.node_name == node.get_name()]
        assert len(infos) == 1, end.topic_name
        assert infos[0].qos_profile.reliability == end.qos_profile.reliability
        assert infos[0].qos_profile.durability == end.qos_profile.durability
        found[end.topic_name] = topic("out", infos[0].topic_type, end.qos_profile)
    for end in node.subscriptions:
        infos = [i for i in node.get_subscriptions_info_by_topic(end.topic_name) if i.node_name == node.get_name()]
        assert len(infos) == 1, end.topic_name
        found[end.topic_name] = topic("in", infos[0].topic_type, end.qos_profile)
    return {name: value for name, value in found.items() if name not in EVERY_NODE}


def bridged(entries: tuple[BridgeEntry, ...]) -> dict[str, Topic]:
    """Return the same of the bridge, in the root namespace."""
    return {
        entry.ros_topic if entry.ros_topic.startswith("/") else f"/{entry.ros_topic}": topic(
            "out" if entry.to_ros else "in", entry.ros_type, entry.qos
        )
        for entry in entries
    }


@pytest.mark.parametrize("robot", ["generic", "jackal", "many"])
def test_topics_are_those_of_the_embedded_simulator(robot: str, tmp_path: Path) -> None:
    if robot == "many":
        (tmp_path / "many.yaml").write_text(MANY)
        robot = str(tmp_path / "many.yaml")
    with simulator(f"robot:={robot}") as node:
        ours = offered(node)
    gazebo = bridged(bridge_entries(load_rig(robot)))
    assert gazebo.pop(f"/{JOINT_STATES}")[1] == "sensor_msgs/msg/JointState"
    assert {name for name in ours if name not in gazebo} == {f"/{name}" for name in EMBEDDED_ONLY}
    assert {name: value for name, value in ours.items() if name in gazebo} == gazebo


def test_topics_of_two_robots_in_one_world_are_too() -> None:
    with simulator("robot:=generic,turtlebot3_waffle", "robots:=alpha,beta") as node:
        ours = offered(node)
    gazebo: dict[str, Topic] = {}
    for k, (name, robot) in enumerate((("alpha", "generic"), ("beta", "turtlebot3_waffle"))):
        entries = bridge_entries(load_rig(robot), name, clock=k == 0, joint_states=False)
        assert not set(bridged(entries)) & set(gazebo)
        gazebo |= bridged(entries)
    assert {name for name in ours if name not in gazebo} == {
        f"/{name}/{own}" for name in ("alpha", "beta") for own in EMBEDDED_ONLY
    }
    assert {name: value for name, value in ours.items() if name in gazebo} == gazebo


@pytest.mark.parametrize(
    ("robot", "namespace"), [("generic", ""), ("jackal", "alpha"), ("omni", ""), ("racecar", "x/y")]
)
def test_every_gazebo_topic_is_one_of_the_model(robot: str, namespace: str) -> None:
    rig = load_rig(robot)
    model = robot_sdf(rig, namespace)
    for entry in bridge_entries(rig, namespace, clock=False):
        told = entry.gz_topic.removesuffix("/points") if entry.gz_type.endswith("PointCloudPacked") else entry.gz_topic
        assert f">{told}<" in model, entry.gz_topic
        if told != entry.gz_topic:  # a gpu_lidar tells its points one level below its scan
            assert entry.gz_topic == f"{told}/points"


def test_the_file_and_the_overrides_say_what_bridges_understand() -> None:
    entries = bridge_entries(load_rig("jackal"), "alpha", twist_stamped=False)
    read = yaml.safe_load(bridge_yaml(entries, "jackal"))
    assert len(read) == len(entries) and all(len(line) < 250 for line in bridge_yaml(entries, "jackal").splitlines())
    known = {"ros_topic_name", "gz_topic_name", "ros_type_name", "gz_type_name", "direction", "publisher_queue",
             "subscriber_queue", "lazy", "qos_profile"}  # fmt: skip
    assert all(set(entry) <= known for entry in read)
    by_name = {entry["ros_topic_name"]: entry for entry in read}
    assert by_name["/alpha/points"]["qos_profile"] == "SENSOR_DATA"
    assert by_name["/alpha/points"]["publisher_queue"] == 5
    assert by_name["/alpha/cmd_vel"]["ros_type_name"] == "geometry_msgs/msg/Twist"
    assert by_name["/alpha/cmd_vel"]["direction"] == "ROS_TO_GZ" and "qos_profile" not in by_name["/alpha/cmd_vel"]
    overrides = qos_overrides(entries)
    assert overrides["qos_overrides./alpha/points.publisher.reliability"] == "best_effort"
    assert overrides["qos_overrides./alpha/tf.publisher.depth"] == 100
    assert overrides["qos_overrides./alpha/cmd_vel.subscription.reliability"] == "reliable"
    assert "qos_overrides./image.publisher.depth" in qos_overrides(bridge_entries(load_rig("generic")))
    with pytest.raises(ConfigError, match="no ROS name"):
        bridge_entries(load_rig("generic"), "7")


def test_the_committed_bridge_is_the_generators(root: Path) -> None:
    entries = bridge_entries(load_rig("generic"), joint_states=False)
    assert (root / "config" / "bridge.yaml").read_text() == bridge_yaml(entries, "generic")


def test_the_command_shows_a_robot_and_writes_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    robot_model.add_arguments(parser)
    files = {kind: tmp_path / "new" / f"jackal.{kind}" for kind in ("sdf", "urdf", "bridge", "json")}
    given = [word for kind, file in files.items() for word in (f"--{kind}", str(file))]
    options = ["--namespace", "alpha", "--gazebo", "fortress", "--index", "3"]
    assert robot_model.run(parser.parse_args(["jackal", *given, *options])) == 0
    rig = load_rig("jackal")
    assert files["sdf"].read_text() == robot_sdf(rig, "alpha", gazebo="fortress", index=3)
    assert files["urdf"].read_text() == robot_urdf(rig)
    assert files["bridge"].read_text() == bridge_yaml(bridge_entries(rig, "alpha"), "jackal")
    told = json.loads(files["json"].read_text())
    assert {sensor["frame"] for sensor in told["sensors"]} >= {"base_scan", "points_link", "camera_optical_frame"}
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("camera_optical_frame", "left_wheel", "points_link", "wheel slip"))
    assert robot_model.run(parser.parse_args(["generic", "--urdf", "-"])) == 0
    assert capsys.readouterr().out == robot_urdf(load_rig("generic"))
    wrong = tmp_path / "wrong.sdf"
    with pytest.raises(ConfigError, match="give 0 to 15"):
        robot_model.run(parser.parse_args(["generic", "--sdf", str(wrong), "--index", "77"]))
    assert not wrong.exists()
