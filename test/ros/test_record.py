"""Recording live topics: all of them arrive as they were sent, and a killed recorder leaves them readable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import TwistStamped
from mm_nav_interfaces.msg import GuardStatus
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image, LaserScan
from tf2_msgs.msg import TFMessage

from mm_nav.bags.reader import BagReader
from mm_nav.bags.rosbag2_log import Rosbag2Log
from mm_nav.ros import conversions, qos
from mm_nav.ros.process_group import ENVIRONMENT, prepare_environment
from mm_nav.ros.recorder import Recorder, stack_topics
from mm_nav.ros.topics import frames, topics
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

DOMAIN = 83
STORE = get_typestore(Stores.ROS2_HUMBLE)
COMMAND = """
import argparse, sys
from mm_nav.cli import record
from mm_nav.errors import MmNavError
parser = argparse.ArgumentParser()
record.add_arguments(parser)
try:
    sys.exit(record.run(parser.parse_args()))
except MmNavError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
"""
WALL = (
    "<model name='w'><static>true</static><pose>3 0 0.5 0 0 0</pose><link name='l'><collision name='c'><geometry><box><size>"
    "0.2 4 1</size></box></geometry></collision></link></model>"
)


@pytest.fixture
def node(monkeypatch):
    prepare_environment()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    rclpy.init()
    made = rclpy.create_node("sender")
    yield made
    made.destroy_node()
    rclpy.shutdown()


@contextmanager
def recording(*arguments):
    """`mm-nav record` as a process."""
    environment = {**os.environ, **ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN)}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Robot:
    """Publishes what a robot's sensors and guard do."""

    def __init__(self, node):
        t = topics()
        self.observation = Simulator(
            parse_world(f"<sdf version='1.9'><world name='w'>{WALL}</world></sdf>"),
            SimConfig(camera=CameraConfig(width=64, height=48)),
        ).observe()
        self.kinds = {
            t.scan: (LaserScan, qos.SENSOR), t.odom: (Odometry, qos.ODOMETRY), t.cmd_vel: (TwistStamped, qos.COMMAND),
            t.guard_status: (GuardStatus, qos.STATUS), "/tf_static": (TFMessage, qos.STATIC_TF), t.image: (Image, qos.SENSOR),
        }  # fmt: skip
        self.publishers = {name: node.create_publisher(kind, name, q) for name, (kind, q) in self.kinds.items()}
        f = frames()
        mounts = [
            (f.scan, conversions.planar_matrix(self.observation.scan.mount)),
            (f.camera, self.observation.image.base_T_camera),
        ]
        self.publishers["/tf_static"].publish(
            TFMessage(transforms=[conversions.transform_message(m, 0, f.base, frame) for frame, m in mounts])
        )
        self.sent = 0
        self.first = 0

    def heard(self):
        return all(p.get_subscription_count() for p in self.publishers.values())

    def send(self):
        t, f, o = topics(), frames(), self.observation
        stamp = time.time_ns()
        self.first = self.first or stamp
        messages = {
            t.scan: conversions.scan_message(o.scan, f.scan, 0.1),
            t.odom: conversions.odometry_message(o.odometry, f.odom, f.base),
            t.cmd_vel: TwistStamped(), t.guard_status: GuardStatus(reason=f"number {self.sent}"),
            t.image: conversions.image_message(o.image, f.camera),
        }  # fmt: skip
        for name, message in messages.items():
            message.header.stamp = conversions.to_time(stamp)
            self.publishers[name].publish(message)
        self.sent += 1

    def run(self, seconds, until=lambda: False):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.send()
            time.sleep(0.05)

    def wait(self, process):
        end = time.monotonic() + 20.0
        while not self.heard():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end, "the recorder does not subscribe"
            time.sleep(0.05)
        time.sleep(0.3)


def raw(path):
    with AnyReader([path], default_typestore=STORE) as reader:
        return {
            connection.topic: [
                (stamp, reader.deserialize(data, connection.msgtype))
                for _, stamp, data in reader.messages(connections=[connection])
            ]
            for connection in reader.connections
        }


def test_everything_that_was_sent_is_in_the_recording(node, tmp_path):
    robot, out = Robot(node), tmp_path / "drive"
    with recording("--out", out, "--json", tmp_path / "r.json", "--compression", "zstd") as process:
        robot.wait(process)
        robot.run(2.0)
        late = node.create_publisher(TFMessage, "/tf", qos.STATUS)  # appears while it records
        end = time.monotonic() + 10.0
        while not late.get_subscription_count() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        late.publish(TFMessage(transforms=[]))
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    found, sent = raw(out), robot.sent
    names = {name: f"/{name}".replace("//", "/") for name in robot.kinds}
    for name in robot.kinds:
        assert len(found[names[name]]) == (1 if name == "/tf_static" else sent), name
    assert len(found["/tf"]) == 1
    times = [stamp for stamp, _ in found["/scan"]]
    assert times == sorted(times) and abs(times[0] - robot.first) < 1e9
    assert [m.reason for _, m in found["/guard_status"]] == [f"number {k}" for k in range(sent)]
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["messages"] == 5 * sent + 2 and result["lost"] == result["dropped"] == 0
    assert "/map" in result["missing"] and "/scan" not in result["silent"]
    assert "drive" in output and "/scan" in output
    with BagReader(out) as reader:
        items = {m.kind: m.item for m in reader.messages()}
        np.testing.assert_array_equal(items["scan"].ranges, robot.observation.scan.ranges)
        np.testing.assert_array_equal(items["image"].rgb, robot.observation.image.rgb)
        np.testing.assert_allclose(items["image"].base_T_camera, robot.observation.image.base_T_camera, atol=1e-6)
    assert (out / "metadata.yaml").read_text().count("RIHS01_") == 7


def test_killed_it_leaves_all_but_the_last_moment(node, tmp_path):
    from mcap.records import Message
    from mcap.stream_reader import StreamReader

    robot, out = Robot(node), tmp_path / "drive"
    with recording("--out", out, topics().guard_status, topics().scan, "nothing") as process:
        end = time.monotonic() + 20
        watched = [robot.publishers[name] for name in (topics().guard_status, topics().scan)]
        while not all(p.get_subscription_count() for p in watched) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        robot.run(2.0)
        process.kill()
        process.wait()
    count = 0
    try:
        for record in StreamReader(str(out / "drive_0.mcap"), validate_crcs=True).records:
            count += isinstance(record, Message)
    except Exception as error:
        print(error)
    assert not (out / "metadata.yaml").exists()
    # 20 rounds a second, of which the last 0.5 s may be missing, and a little for a busy machine.
    assert 2 * robot.sent >= count >= 2 * (robot.sent - 16) > 0


def test_the_end_tells_what_stayed_silent(node, tmp_path):
    silent = node.create_publisher(Odometry, "quiet", qos.SENSOR)
    with recording("--out", tmp_path / "a", "quiet", "absent", "--max-duration", "2.5") as process:
        output, errors = process.communicate(timeout=30)
    assert silent is not None and process.returncode == 1, errors
    assert "/quiet, /absent" in output and "ROS_DOMAIN_ID" in output


def test_wrong_input_is_told_in_a_line(tmp_path):
    (tmp_path / "there").mkdir()
    for arguments, words in (
        (("--out", tmp_path / "there"), "exists already"),
        (("a", "--all"), "--all"),
        (("--cloud",), "--cloud is for recordings of --episode"),
        (("--episode", "first"), "give a seed"),
        (("--episode", "3", "--max-size", "4"), "--max-size"),
        (("--max-duration", "-1"), "above 0"),
    ):
        with recording(*arguments) as process:
            _, errors = process.communicate(timeout=30)
        assert process.returncode == 2 and words in errors, errors


class SlowLog(Rosbag2Log):
    def write(self, *arguments):
        time.sleep(0.05)
        super().write(*arguments)


def test_a_slow_disk_drops_and_counts(node, tmp_path):
    publisher = node.create_publisher(GuardStatus, "status", qos.STATUS)
    other = rclpy.create_node("recorder")
    executor = SingleThreadedExecutor()
    executor.add_node(other)
    with SlowLog(tmp_path / "drive") as log:
        recorder = Recorder(other, log, ["/status"], queue_bytes=1000)
        end = time.monotonic() + 10
        while not publisher.get_subscription_count() and time.monotonic() < end:
            recorder.look()
            executor.spin_once(timeout_sec=0.1)
        for k in range(40):
            publisher.publish(GuardStatus(reason=f"{k:040}"))
            executor.spin_once(timeout_sec=0.5)
        recorder.close()
        count = recorder.counts["/status"]
    other.destroy_node()
    assert count.dropped > 10 and count.messages > 5 and count.lost == 0
    assert len(raw(tmp_path / "drive")["/status"]) == count.messages == 40 - count.dropped


def test_publishers_that_offer_less(node, tmp_path):
    """A reliable subscription gets nothing from a publisher that is not: when one comes, the subscription is made anew."""
    publisher = node.create_publisher(GuardStatus, "status", qos.LATCHED)
    publisher.publish(GuardStatus(reason="latched"))
    other = rclpy.create_node("recorder")
    executor = SingleThreadedExecutor()
    executor.add_node(other)
    said = []
    with Rosbag2Log(tmp_path / "drive") as log:
        recorder = Recorder(other, log, ["/status", "/two"], said.append)

        def spin(until):
            end = time.monotonic() + 10
            while not until() and time.monotonic() < end:
                recorder.look()
                executor.spin_once(timeout_sec=0.1)

        spin(lambda: "/status" in recorder.counts and recorder.counts["/status"].messages == 1)
        weak = node.create_publisher(GuardStatus, "status", qos.SENSOR)
        spin(lambda: weak.get_subscription_count() and publisher.get_subscription_count())
        weak.publish(GuardStatus(reason="weak"))
        spin(lambda: recorder.counts["/status"].messages == 2)
        # One participant refuses a second type by itself.
        context = rclpy.Context()
        context.init()
        stranger = rclpy.create_node("stranger", context=context)
        twice = [n.create_publisher(t, "two", qos.SENSOR) for n, t in ((node, GuardStatus), (stranger, Odometry))]
        spin(lambda: said)
        stranger.destroy_node()
        context.shutdown()
        assert recorder.missing == () and recorder.silent == ("/two",) and len(twice) == 2
        recorder.close()
    other.destroy_node()
    assert [m.reason for _, m in raw(tmp_path / "drive")["/status"]] == ["latched", "weak"]
    # Which of the two is seen first is the middleware's affair.
    assert len(said) == 1 and said[0].startswith("/two is") and "not recorded" in said[0]


def test_the_stacks_topics(node):
    names = stack_topics(node)
    assert {"/scan", "/image", "/image/compressed", "/odom", "/cmd_vel", "/tf", "/diagnostics", "/policy"} <= set(names)
