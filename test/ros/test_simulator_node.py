"""The simulator node publishes what Gazebo and its bridge would: the same topics, types, frames, sizes and rates."""

import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rclpy
import yaml
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2
from std_msgs.msg import UInt32
from tf2_msgs.msg import TFMessage

from mm_nav.resources import resource_path
from mm_nav.ros import qos
from mm_nav.ros.node_list import SIMULATOR
from mm_nav.ros.process_group import ProcessGroup, prepare_environment
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.messages import cloud_from, stamp_ns
from mm_nav.sim.committed_worlds import committed_world
from mm_nav.sim.rig import load_rig

TYPES = {"Clock": Clock, "Image": Image, "CameraInfo": CameraInfo, "LaserScan": LaserScan, "Odometry": Odometry,
         "TFMessage": TFMessage}  # fmt: skip
START = committed_world(resource_path("worlds/apartment.sdf")).start


def number(element: ElementTree.Element, path: str) -> float:
    return float(element.findtext(path) or "nan")


def listen(parameters: dict[str, Any], wanted: dict[str, type], seconds: float, logs: Path) -> dict[str, list[Any]]:
    """Run the node and return the messages of each topic over that much simulated time."""
    prepare_environment()
    rclpy.init()
    node = rclpy.create_node("listener")
    heard: dict[str, list[Any]] = {name: [] for name in wanted}
    clock: list[int] = []
    for name, kind in wanted.items():
        profile = qos.STATIC_TF if name.endswith("tf_static") else qos.ODOMETRY if kind is Odometry else qos.SENSOR
        node.create_subscription(kind, name, lambda m, box=heard[name]: box.append(m), profile)
    node.create_subscription(Clock, "/clock", lambda m: clock.append(stamp_ns_of(m)), qos.STATUS)
    try:
        start = {"start_x": START.x, "start_y": START.y, "start_yaw": START.yaw}
        with ProcessGroup((SIMULATOR,), logs, {"simulator": start | parameters}) as group:
            end = time.monotonic() + 40.0
            while time.monotonic() < end and (not clock or clock[-1] - clock[0] < seconds * 1e9):
                rclpy.spin_once(node, timeout_sec=0.2)
                assert not group.dead(), group.log("simulator").read_text()
    finally:
        node.destroy_node()
        rclpy.shutdown()
    return heard


def stamp_ns_of(message: Clock) -> int:
    return message.clock.sec * 1_000_000_000 + message.clock.nanosec


def period(messages: list[Any]) -> float:
    """Median time from one message to the next, s, in their own stamps."""
    return float(np.median(np.diff([stamp_ns(m.header) for m in messages]))) * 1e-9


def test_topics_are_those_of_the_gazebo_bridge(tmp_path: Path, root: Path) -> None:
    bridge = yaml.safe_load((root / "config" / "bridge.yaml").read_text())
    out = {entry["ros_topic_name"]: entry for entry in bridge if entry["direction"] == "GZ_TO_ROS"}
    wanted = {name: TYPES[entry["ros_type_name"].split("/")[-1]] for name, entry in out.items() if name != "/clock"}
    heard = listen({}, wanted, 2.5, tmp_path)
    assert all(heard.values()), {name: len(messages) for name, messages in heard.items()}
    model = ElementTree.parse(root / "config" / "robot.sdf").getroot()
    sensors = {element.get("type"): element for element in model.iter("sensor")}
    lidar, camera = sensors["gpu_lidar"], sensors["camera"]
    scan, image, info = heard["scan"][-1], heard["image"][-1], heard["camera_info"][-1]
    assert scan.header.frame_id == lidar.findtext("gz_frame_id") == frames().scan
    assert len(scan.ranges) == number(lidar, ".//samples")
    limits = (scan.range_min, scan.range_max, scan.angle_min, scan.angle_max)
    paths = (".//range/min", ".//range/max", ".//min_angle", ".//max_angle")
    assert limits == pytest.approx([number(lidar, path) for path in paths], abs=1e-4)
    assert image.header.frame_id == info.header.frame_id == camera.findtext("gz_frame_id") == frames().camera
    assert (image.width, image.height) == (number(camera, ".//width"), number(camera, ".//height"))
    assert image.encoding == "rgb8" and camera.findtext(".//format") == "R8G8B8"
    assert info.k[0] == pytest.approx(image.width / 2 / np.tan(number(camera, ".//horizontal_fov") / 2))
    assert period(heard["scan"]) == pytest.approx(1 / number(lidar, "update_rate"))
    assert period(heard["image"]) == pytest.approx(1 / number(camera, "update_rate"))
    drive = next(element for element in model.iter("plugin") if "DiffDrive" in (element.get("name") or ""))
    odom = heard["odom"]
    assert (odom[-1].header.frame_id, odom[-1].child_frame_id) == (
        drive.findtext("frame_id"), drive.findtext("child_frame_id"),
    )  # fmt: skip
    assert period(odom) == pytest.approx(1 / number(drive, "odom_publish_frequency"))
    transform = heard["/tf"][-1].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == (frames().odom, frames().base)


def test_the_generic_robot_and_its_gazebo_model_are_one(root: Path) -> None:
    model = ElementTree.parse(root / "config" / "robot.sdf").getroot()
    rig = load_rig("generic")
    assert rig.lidar is not None and rig.camera is not None
    for kind, position in (("gpu_lidar", rig.lidar.position), ("camera", rig.camera.position)):
        sensor = next(element for element in model.iter("sensor") if element.get("type") == kind)
        assert [float(v) for v in (sensor.findtext("pose") or "").split()][:3] == pytest.approx(position)
    lidar = next(element for element in model.iter("sensor") if element.get("type") == "gpu_lidar")
    assert number(lidar, ".//stddev") == rig.lidar.noise_std
    drive = next(element for element in model.iter("plugin") if "DiffDrive" in (element.get("name") or ""))
    robot = rig.robot
    assert number(drive, "max_linear_velocity") == robot.max_linear
    assert number(drive, "min_linear_velocity") == robot.min_linear
    assert number(drive, "max_linear_acceleration") == robot.max_linear_accel
    assert number(drive, "max_angular_velocity") == robot.max_angular


ROBOT = """
body: {max_linear: 1.0}
sensors:
  camera: {type: camera, width: 64, height: 48, rate_hz: 10, distortion: [-0.1, 0.01, 0.0, 0.0]}
  rear: {type: camera, width: 32, height: 24, yaw: 3.14159, rate_hz: 5}
  scan: {type: lidar, beams: 90, rate_hz: 20, sweep_s: 0.05}
  points: {type: cloud, rings: 4, columns: 90, rate_hz: 10, sweep_s: 0.1, min_signal: 0.0001}
  imu: {type: imu, rate_hz: 100}
"""


def test_a_robot_of_ones_own_with_many_sensors_and_people(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT)
    t = topics()
    wanted = {t.image: Image, t.camera_info: CameraInfo, "rear/image": Image, "rear/camera_info": CameraInfo,
              t.scan: LaserScan, t.points: PointCloud2, t.imu: Imu, t.odom: Odometry, "/tf_static": TFMessage,
              t.contacts: UInt32}  # fmt: skip
    heard = listen({"robot": str(path), "people": 2}, wanted, 2.0, tmp_path)
    rates = {t.image: 10, "rear/image": 5, t.scan: 20, t.points: 10, t.imu: 100, t.odom: 20}
    for name, rate in rates.items():
        assert heard[name], name
        assert period(heard[name]) == pytest.approx(1 / rate, rel=0.01), name
    assert heard["rear/image"][-1].header.frame_id == "rear_optical_frame"
    assert list(heard[t.camera_info][-1].d) == [-0.1, 0.01, 0.0, 0.0]
    assert heard[t.scan][-1].time_increment == pytest.approx(0.05 / 90)
    cloud = heard[t.points][-1]
    names = [field.name for field in cloud.fields]
    assert names == ["x", "y", "z", "intensity", "ring", "time"] and cloud.header.frame_id == frames().points
    assert len(cloud_from(cloud).points) > 50
    imu = heard[t.imu][-1]
    assert imu.linear_acceleration.z == pytest.approx(9.8, abs=0.5) and imu.orientation_covariance[0] == -1.0
    mounts = Counter(item.child_frame_id for message in heard["/tf_static"] for item in message.transforms)
    assert set(mounts) == {frames().camera, "rear_optical_frame", frames().scan, frames().points, frames().imu}


def test_people_and_noise_are_the_same_at_any_rate(tmp_path: Path) -> None:
    t = topics()
    scans: list[dict[int, bytes]] = []
    for rate in (2.0, 0.0):
        heard = listen({"people": 4, "seed": 5, "rate": rate}, {t.scan: LaserScan, t.odom: Odometry}, 12.0, tmp_path)
        scans.append({stamp_ns(m.header): np.asarray(m.ranges, np.float32).tobytes() for m in heard[t.scan]})
    both = sorted(set(scans[0]) & set(scans[1]))
    assert len(both) >= 15
    assert all(scans[0][stamp] == scans[1][stamp] for stamp in both)
    assert len(set(scans[0].values())) == len(scans[0])  # people walk and noise is drawn anew: no two scans are alike
