"""Names, types, frames and QoS are what REP 103, 105 and 2003 ask for, and what RViz and Foxglove are told of them is true."""

import importlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, ReliabilityPolicy, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

from mm_nav.ros import node_list
from mm_nav.ros.node_list import EMBEDDED
from mm_nav.ros.topics import frames

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
NODES = (*EMBEDDED, *filter(None, (getattr(node_list, "NAV2_BRIDGE", None),)))
# Of robot_state_publisher, and of the goal tools of RViz and Foxglove.
OTHERS = {"robot_description": "std_msgs/String", "goal_pose": "geometry_msgs/PoseStamped",
          "navigator/map": "nav_msgs/OccupancyGrid"}  # fmt: skip
SENSORS = ("image", "camera_info", "scan", "points", "imu/data")
RVIZ_TYPES = {
    "Map": "nav_msgs/OccupancyGrid", "RobotModel": "std_msgs/String", "LaserScan": "sensor_msgs/LaserScan",
    "PointCloud2": "sensor_msgs/PointCloud2", "Path": "nav_msgs/Path", "MarkerArray": "visualization_msgs/MarkerArray",
    "Odometry": "nav_msgs/Odometry", "Image": "sensor_msgs/Image", "SetGoal": "geometry_msgs/PoseStamped",
}  # fmt: skip


def listed() -> dict[str, str]:
    """Return the types that config/topics.yaml tells, by the topics' names."""
    line = re.compile(r"^  \w+: (\S+)\s+# (?:action )?(\w+/\w+)", re.MULTILINE)
    return dict(line.findall((CONFIG / "topics.yaml").read_text()))


Endpoints = dict[str, tuple[list[TopicEndpointInfo], list[TopicEndpointInfo]]]


@pytest.fixture(scope="module")
def endpoints() -> Iterator[Endpoints]:
    """Publishers and subscriptions of all nodes, by topic, for a robot with all sensors."""
    rclpy.init(args=["--ros-args", "-p", "simulator:robot:=jackal"])
    nodes: list[Any] = []
    try:
        for spec in EMBEDDED:
            module = importlib.import_module(spec.module)
            nodes.append(next(v for k, v in vars(module).items() if getattr(v, "__module__", "") == spec.module
                              and k.endswith("Node"))())  # fmt: skip
            nodes[-1].trigger_configure()
        yield _endpoints(nodes[0])
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown()


def _endpoints(node: Node) -> Endpoints:
    """Ask the graph until it tells no more: it is told a little later."""
    found: Endpoints = {}
    for _ in range(50):
        names = [name for name, _ in node.get_topic_names_and_types()]
        now = {n: (node.get_publishers_info_by_topic(n), node.get_subscriptions_info_by_topic(n)) for n in names}
        if found and {n: tuple(map(len, e)) for n, e in now.items()} == {
            n: tuple(map(len, e)) for n, e in found.items()
        }:
            break
        found = now
        time.sleep(0.2)
    return found


def test_nodes_have_names_of_their_own() -> None:
    for names in ([spec.name for spec in NODES], [spec.executable for spec in NODES]):
        assert len(set(names)) == len(names) and all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names)


def test_topics_have_the_types_that_are_listed(endpoints: Endpoints) -> None:
    told = listed()
    assert len(told) > 15
    for name, kind in told.items():
        ends = [end for side in endpoints.get("/" + name.lstrip("/"), ((), ())) for end in side]
        types = {end.topic_type.replace("/msg/", "/") for end in ends}
        assert types == {kind} or (name == "navigate_to" and not types), f"{name}: {types}, listed is {kind}"


def test_those_who_talk_to_each_other_can(endpoints: Endpoints) -> None:
    """An offer below what is asked for is silence, and nobody says so."""
    for name, (publishers, subscriptions) in endpoints.items():
        for publisher in publishers:
            for subscription in subscriptions:
                fits, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
                text = f"{name}, {publisher.node_name} -> {subscription.node_name}: {reason}"
                assert fits == QoSCompatibility.OK, text


def test_sensors_and_map_are_as_rep_2003_says(endpoints: Endpoints) -> None:
    """Consumers of sensors ask for no more than best effort, maps are reliable and latched on both sides."""
    consumers = [end for name in SENSORS for end in endpoints.get(f"/{name}", ((), ()))[1]]
    assert {end.node_name for end in consumers} >= {"guard", "inference", "navigator"}
    assert all(end.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for end in consumers)
    assert all(end.qos_profile.durability == DurabilityPolicy.VOLATILE for end in consumers)
    maps = [end for side in endpoints["/map"] for end in side]
    assert maps and all(end.qos_profile.reliability == ReliabilityPolicy.RELIABLE for end in maps)
    assert all(end.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for end in maps)


def test_frames_are_those_of_rep_103_and_105() -> None:
    f = frames()
    assert (f.map, f.odom, f.base) == ("map", "odom", "base_link")
    # z forward, x right: REP 103 wants the suffix, so that nobody takes it for a frame of the body.
    assert f.camera.endswith(("_optical", "_optical_frame"))
    names = list(vars(f).values())
    assert len(set(names)) == len(names) and not any(name.startswith("/") for name in names)


def test_the_live_rviz_view_asks_for_topics_that_there_are() -> None:
    view = yaml.safe_load((CONFIG / "mm_nav.rviz").read_text())["Visualization Manager"]
    told, shown = {**listed(), **OTHERS}, set()
    for item in (*view["Displays"], *view["Tools"]):
        kind = item["Class"].removeprefix("rviz_default_plugins/")
        for topic in filter(None, (item.get("Topic"), item.get("Description Topic"))):
            name = topic["Value"]
            assert not name.startswith("/"), f"{name}: without the slash it is the topic of the window's namespace"
            assert told.get(name) == RVIZ_TYPES[kind], f"{kind} of {name}, which is {told.get(name)}"
            shown.add(name)
            # What is more than the publishers offer would show nothing.
            if name in SENSORS:
                assert topic["Reliability Policy"] == "Best Effort"
            latched = name in ("map", "navigator/map", "robot_description")
            assert (topic["Durability Policy"] == "Transient Local") == latched
    assert shown >= {"map", "plan", "scan", "image", "markers", "robot_description"}
    assert {"rviz_default_plugins/TF", "rviz_default_plugins/RobotModel"} <= {d["Class"] for d in view["Displays"]}
    assert view["Global Options"]["Fixed Frame"] == frames().map


def test_the_live_foxglove_layout_asks_for_topics_and_fields_that_there_are() -> None:
    layout = json.loads((CONFIG / "foxglove.json").read_text())
    told = {
        "/" + name.lstrip("/"): kind for name, kind in {**listed(), **OTHERS, "/rosout": "rcl_interfaces/Log"}.items()
    }
    assert sorted(_panels(layout["layout"])) == sorted(layout["configById"])
    named = 0
    for text in _texts(layout["configById"]):
        topic, *fields = text.split(".")
        if not topic.startswith("/"):
            continue
        assert topic in told, f"{topic} is no topic of the stack"
        package, kind = told[topic].split("/")
        message = getattr(importlib.import_module(f"{package}.msg"), kind)()
        for field in fields:
            assert hasattr(message, field), f"{text}: {type(message).__name__} has no {field}"
            message = getattr(message, field)
        named += 1
    assert named > 15


def _panels(node: Any) -> list[str]:
    return [node] if isinstance(node, str) else _panels(node["first"]) + _panels(node["second"])


def _texts(item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        for key, value in item.items():
            yield key
            yield from _texts(value)
    elif isinstance(item, list):
        for value in item:
            yield from _texts(value)
    elif isinstance(item, str):
        yield item
