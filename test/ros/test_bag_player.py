"""Our own player: a recording's topics in its own time, whatever it was recorded with."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from tf2_msgs.msg import TFMessage

from mm_nav.bags.reader import BagReader
from mm_nav.bags.writer import open_writer
from mm_nav.errors import ConfigError
from mm_nav.geometry import Twist2D
from mm_nav.resources import resource_path
from mm_nav.ros import qos
from mm_nav.ros.bag_player import BagPlayer, main
from mm_nav.ros.topics import frames
from mm_nav.sim.simulator import CameraConfig, CloudConfig, LidarConfig, SimConfig, Simulator
from mm_nav.sim.world import load_world

START_NS = 1_600_000_000_000_000_000


@pytest.fixture
def node() -> Iterator[rclpy.node.Node]:
    rclpy.init()
    node = rclpy.create_node("listener", namespace="/alpha")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def drive(path: Path, cloud: CloudConfig | None = None) -> Path:
    config = SimConfig(camera=CameraConfig(48, 36), lidar=LidarConfig(beams=90), cloud=cloud)
    simulator = Simulator(load_world(resource_path("worlds/apartment.sdf")), config)
    with open_writer(path, start_ns=START_NS) as writer:
        for _ in range(20):
            observation = simulator.observe()
            writer.add(observation, Twist2D(0.1))
            simulator.step(Twist2D(0.1), 0.1)
    return path


def test_everything_comes_in_the_recording_s_time(tmp_path: Path, node: rclpy.node.Node) -> None:
    heard: dict[str, list[object]] = {}

    def listen(kind: type, name: str, profile: object) -> None:
        node.create_subscription(kind, name, lambda message: heard.setdefault(name, []).append(message), profile)

    for kind, name, profile in (
        (LaserScan, "scan", qos.SENSOR), (Odometry, "odom", qos.ODOMETRY), (Image, "image", qos.SENSOR),
        (CameraInfo, "camera_info", qos.SENSOR), (TFMessage, "tf_static", qos.STATIC_TF), (Clock, "/clock", qos.STATUS),
    ):  # fmt: skip
        listen(kind, name, profile)
    ages: list[float] = []
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    words = [
        str(drive(tmp_path / "drive")),
        "--rate",
        "2",
        "--ros-args",
        "-r",
        "__ns:=/alpha",
        "-r",
        "/tf_static:=tf_static",
    ]
    with subprocess.Popen([sys.executable, "-m", "mm_nav.ros.bag_player", *words]) as player:
        until = time.monotonic() + 60.0
        while player.poll() is None and time.monotonic() < until:
            scans = len(heard.get("scan", ()))
            executor.spin_once(timeout_sec=0.1)
            if len(heard.get("scan", ())) > scans and "/clock" in heard:
                clock, stamp = heard["/clock"][-1].clock, heard["scan"][-1].header.stamp
                ages.append(clock.sec - stamp.sec + 1e-9 * (clock.nanosec - stamp.nanosec))
        player.kill()
    assert player.returncode == 0
    for _ in range(20):
        executor.spin_once(timeout_sec=0.01)
    assert len(heard["scan"]) == len(heard["odom"]) == len(heard["image"]) == len(heard["camera_info"]) == 20
    # By the nodes' clock a scan is fresh, though the recorder's clock was decades ahead of the sensors'.
    assert len(ages) > 10 and -0.05 < np.median(ages) < 0.2, ages
    times = [message.clock.sec + 1e-9 * message.clock.nanosec for message in heard["/clock"]]
    assert times == sorted(times) and 1.8 < times[-1] - times[0] < 2.1 and abs(times[0]) < 1.0
    placed = {transform.child_frame_id for message in heard["tf_static"] for transform in message.transforms}
    assert placed == {frames().scan, frames().camera}


def test_clouds_are_cut_into_scans_though_there_are_scans(tmp_path: Path, node: rclpy.node.Node) -> None:
    path, beams = drive(tmp_path / "drive", CloudConfig(rings=4, columns=90)), []
    for clouds in (False, True):
        with BagReader(path) as reader:
            player = BagPlayer(node, reader, rate=100.0, listeners=0, clouds=clouds)
            heard = Mock(get_subscription_count=lambda: 0)
            player._publishers["scan"] = heard
            assert player.play() == 60
        beams.append([len(call.args[0].ranges) for call in heard.publish.call_args_list])
    assert beams == [[90] * 20, [360] * 20]
    with BagReader(drive(tmp_path / "no_clouds")) as reader, pytest.raises(ConfigError, match="no point clouds"):
        BagPlayer(node, reader, clouds=True)


def test_what_cannot_be_played_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "error: " in capfd.readouterr().err
    assert main([str(drive(tmp_path / "drive")), "--rate", "0"]) == 2
    assert "rate is 0.0: it must be between 0.01 and 100" in capfd.readouterr().err
