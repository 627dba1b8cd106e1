"""`mm-nav robot check` on live graphs: healthy ones, and ones that are broken on purpose, each in one way that must be named."""

from __future__ import annotations

import array
import gc
import json
import math
import os
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from tf2_msgs.msg import TFMessage

from mm_nav.cli import robot_check
from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, PointCloud
from mm_nav.observation import LaserScan as Scan
from mm_nav.observation import Odometry as Driven
from mm_nav.resources import resource_path
from mm_nav.ros import conversions, qos
from mm_nav.ros.graph_checks import check_graph
from mm_nav.ros.graph_listener import listen
from mm_nav.ros.graph_snapshot import Finding, Level
from mm_nav.ros.node_list import EMBEDDED
from mm_nav.ros.process_group import ProcessGroup
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.committed_worlds import committed_world

START = committed_world(resource_path("worlds/apartment.sdf")).start
# What a machine with busy cores does to any graph.
BUSY = {"gap", "slow", "below_file", "lost", "old", "heartbeat"}
TICK_S = 0.05
# Listening times, s: what a busy machine has not discovered at first is looked for once more.
PATIENCE = (0.6, 2.0, 4.0)


@pytest.fixture(scope="module", autouse=True)
def lonely_domain() -> Iterator[None]:
    """A domain where nobody else is: a stranger in it is a fault here. Those from 215 on lie above the ports that others get."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(215 + os.getpid() % 18))
        yield


class FakeRobot:
    """The drivers of a healthy robot in one node; whatever an attribute is set to beforehand breaks it.

    Drives ahead in a curve. edit: called with the name and each message before it is sent; returns the message, or None for none.
    """

    def __init__(self, context: Context, name: str = "drivers", namespace: str = "") -> None:
        self.node = rclpy.create_node(name, context=context, namespace=namespace or None, enable_rosout=False)
        self.topics: dict[str, str] = {}
        self.types: dict[str, type] = {}
        self.profiles: dict[str, QoSProfile] = {}
        self.edit: Callable[[str, Any], Any] = lambda name, message: message
        self.links = {"base_scan": (0.1, 0.2), "camera_optical_frame": CameraConfig().base_T_camera()}
        self.base: type | None = TwistStamped
        self.every = {"scan": 1, "image": 2, "camera_info": 2, "odom": 1, "tf": 1}
        self.absent: set[str] = set()
        self._beams = np.linspace(1.0, 4.0, 360, dtype=np.float32)
        self._random = np.random.default_rng(1)
        self._tick = 0

    def start(self) -> None:
        kinds: dict[str, tuple[type, QoSProfile]] = {
            "scan": (LaserScan, qos.SENSOR), "image": (Image, qos.IMAGE), "camera_info": (CameraInfo, qos.SENSOR),
            "odom": (Odometry, qos.ODOMETRY), "tf": (TFMessage, qos.STATUS), "tf_static": (TFMessage, qos.STATIC_TF),
            "points": (PointCloud2, qos.SENSOR), "clock": (Clock, qos.STATUS),
        }  # fmt: skip
        self.publishers = {
            name: self.node.create_publisher(
                self.types.get(name, kind), self.topics.get(name, name), self.profiles.get(name, profile)
            )
            for name, (kind, profile) in kinds.items()
            if name not in self.absent and (name in self.every or name == "tf_static")
        }
        if self.base is not None:
            self.node.create_subscription(self.base, self.topics.get("cmd_vel", "cmd_vel"), lambda m: None, qos.COMMAND)
        self._static()

    def _static(self) -> None:
        links = []
        for frame, place in self.links.items():
            matrix = np.asarray(place, np.float64) if np.ndim(place) == 2 else np.eye(4)
            if np.ndim(place) == 1:
                matrix[0, 3], matrix[2, 3] = place
            links.append(conversions.transform_message(matrix, 0, "base_link", frame))
        self._send("tf_static", TFMessage(transforms=links))

    def _send(self, name: str, message: Any) -> None:
        edited = self.edit(name, message)
        if edited is not None and name in self.publishers:
            self.publishers[name].publish(edited)

    def tick(self) -> None:
        now, t = time.time_ns(), self._tick * TICK_S
        pose = Pose2D(math.sin(t), 1.0 - math.cos(t), math.remainder(t, 2 * math.pi))
        noisy = self._beams + self._random.normal(0.0, 0.01, 360).astype(np.float32)
        picture = CameraConfig(width=96, height=72)
        rgb = np.full((72, 96, 3), self._tick % 200, np.uint8)
        rgb[:36] = 255
        image = CameraImage(now, rgb, picture.intrinsics(), picture.base_T_camera())
        odometry = Driven(now, pose, Twist2D(1.0, 1.0))
        cloud = PointCloud(now, self._random.uniform(1.0, 2.0, (50, 3)).astype(np.float32))
        made: dict[str, Callable[[], Any]] = {
            "scan": lambda: conversions.scan_message(
                Scan(now, noisy, -math.pi, math.tau / 360, 0.1, 10.0), "base_scan", 0.1
            ),
            "image": lambda: conversions.image_message(image, "camera_optical_frame"),
            "camera_info": lambda: conversions.camera_info_message(image, "camera_optical_frame"),
            "odom": lambda: conversions.odometry_message(odometry, "odom", "base_link"),
            "tf": lambda: TFMessage(
                transforms=[conversions.transform_message(conversions.planar_matrix(pose), now, "odom", "base_link")]
            ),
            "points": lambda: conversions.cloud_message(cloud, np.eye(4), "base_scan"),
            "clock": lambda: Clock(clock=conversions.to_time(self._tick * 50_000_000)),
        }
        for name, every in self.every.items():
            if self._tick % every == 0:
                self._send(name, made[name]())
        self._tick += 1


@contextmanager
def running(prepare: Callable[[FakeRobot, Context], list[Any] | None]) -> Iterator[None]:
    """A robot, and what `prepare` adds: nodes that are spun beside it."""
    context = Context()
    rclpy.init(context=context)
    try:
        with _spun(prepare, context):
            yield
    finally:
        gc.collect()  # a lifecycle node stays on the graph until its last reference has gone
        rclpy.shutdown(context=context)
        context.destroy()


@contextmanager
def _spun(prepare: Callable[[FakeRobot, Context], list[Any] | None], context: Context) -> Iterator[None]:
    robot = FakeRobot(context)
    more = prepare(robot, context) or []
    robot.start()
    executor = SingleThreadedExecutor(context=context)
    for node in (robot.node, *more):
        executor.add_node(node)
    over = threading.Event()

    def publish() -> None:
        due = time.monotonic()
        while not over.is_set():
            robot.tick()
            due = max(due + TICK_S, time.monotonic())
            over.wait(due - time.monotonic())

    def spin() -> None:
        while not over.is_set():
            try:
                executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                return

    threads = [threading.Thread(target=work, daemon=True) for work in (publish, spin)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        executor.shutdown()
        for node in (robot.node, *more):
            node.destroy_node()


def check(codes: set[str], **options: Any) -> dict[str, Finding]:
    """Return the faults by their codes, without those of a busy machine; `codes` are looked for with some patience."""
    for seconds in PATIENCE:
        faults = {finding.code: finding for finding in check_graph(listen(seconds, **options)) if finding.code}
        found = {code: finding for code, finding in faults.items() if code not in BUSY - codes}
        if set(found) == codes:
            break
    return found


# Faults of drivers. Each changes the robot, and names the codes that must come, and words of measured text or remedy.
def moved_image(r: FakeRobot, c: Context) -> None:
    r.topics |= {"image": "/camera/color/image_raw", "camera_info": "/camera/color/camera_info"}


def best_effort_tf(r: FakeRobot, c: Context) -> None:
    r.profiles["tf"] = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def volatile_mounts(r: FakeRobot, c: Context) -> None:
    r.profiles["tf_static"] = QoSProfile(depth=5, durability=DurabilityPolicy.VOLATILE)
    publish = r.tick
    r.tick = lambda: (publish(), r._static())  # type: ignore[method-assign]


def compressed_as_image(r: FakeRobot, c: Context) -> None:
    r.types["scan"] = PointCloud2
    r.edit = lambda name, m: m if name != "scan" else PointCloud2(header=m.header)


def only_points(r: FakeRobot, c: Context) -> None:
    r.every["points"] = 2
    r.absent.add("scan")


def forgotten_w(r: FakeRobot, c: Context) -> None:
    def edit(name: str, m: Any) -> Any:
        if name == "tf_static":
            m.transforms[0].transform.rotation.w = 0.0
        return m

    r.edit = edit


def body_frame_for_camera(r: FakeRobot, c: Context) -> None:
    r.links["camera_optical_frame"] = (0.1, 0.3)


def _edited(topic: str, **fields: Any) -> Callable[[FakeRobot, Context], None]:
    def prepare(r: FakeRobot, c: Context) -> None:
        def edit(name: str, m: Any) -> Any:
            if name == topic:
                for path, value in fields.items():
                    *way, last = path.split("__")
                    target = m
                    for part in way:
                        target = getattr(target, part)
                    setattr(target, last, value(getattr(target, last)) if callable(value) else value)
            return m

        r.edit = edit

    return prepare


def slow_lidar(r: FakeRobot, c: Context) -> None:
    r.every["scan"] = 12


def twist_base(r: FakeRobot, c: Context) -> None:
    r.base = Twist


def teleop(r: FakeRobot, c: Context) -> list[Any]:
    node = rclpy.create_node("teleop_twist_keyboard", context=c)
    publisher = node.create_publisher(TwistStamped, "cmd_vel", 1)
    node.create_timer(0.1, lambda: publisher.publish(TwistStamped()))
    return [node]


def turtlebot4(r: FakeRobot, c: Context) -> list[Any]:
    """Create 3 sends its odometry best effort; a joystick's node is there from the start, and silent."""
    r.profiles["odom"] = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    r.base = Twist
    node = rclpy.create_node("teleop_twist_joy_node", context=c)
    node.create_publisher(Twist, "cmd_vel", 1)
    return [node, *sleeping_guard_without_time(c)]


def same_names(r: FakeRobot, c: Context) -> list[Any]:
    return [rclpy.create_node("drivers", context=c)]


def sleeping_guard(r: FakeRobot, c: Context) -> list[Any]:
    node = LifecycleNode("guard", context=c, parameter_overrides=[Parameter("use_sim_time", value=True)])
    node.declare_parameter("twist_stamped", True)
    return [node]


def clock_unused(r: FakeRobot, c: Context) -> list[Any]:
    r.every["clock"] = 1
    stamp = {"n": 0}

    def edit(name: str, m: Any) -> Any:
        if hasattr(m, "header"):
            m.header.stamp = conversions.to_time(max(1, r._tick * 50_000_000))
        stamp["n"] += 1
        return m

    r.edit = edit
    return sleeping_guard_without_time(c)


def sleeping_guard_without_time(c: Context) -> list[Any]:
    node = LifecycleNode("guard", context=c)
    node.declare_parameter("twist_stamped", False)
    return [node]


def other_space(r: FakeRobot, c: Context) -> None:
    r.topics |= {n: f"/alpha/{n}" for n in ("scan", "image", "camera_info", "odom", "tf", "tf_static", "cmd_vel")}


BROKEN: dict[str, tuple[Callable[[FakeRobot, Context], list[Any] | None], set[str], str]] = {
    "image elsewhere": (moved_image, {"missing_near"}, "image:=/camera/color/image_raw"),
    "a TurtleBot 4 before the guard is active": (
        turtlebot4, {"silent_master", "inactive", "node_missing"}, "until its button is held"
    ),
    "TF best-effort": (best_effort_tf, {"qos_reliability"}, "qos_overrides./tf.publisher.reliability"),
    "static TF volatile": (volatile_mounts, {"qos_durability"}, "transient-local"),
    "scan is a cloud": (compressed_as_image, {"wrong_type"}, "LaserScan"),
    "points only": (only_points, {"points_only"}, "pointcloud_to_laserscan"),
    "quaternion without w": (forgotten_w, {"quaternion", "tf_broken"}, "forgotten w"),
    "camera's body frame": (body_frame_for_camera, {"not_optical"}, "optical"),
    "scan from the future": (
        _edited("scan", header__stamp__sec=lambda sec: sec + 2), {"future"}, "synchronise the clocks"
    ),
    "LiDAR frozen": (_edited("scan", ranges=lambda r: array.array("f", [2.0] * len(r))), {"scan_frozen"}, "repeats"),
    "backward twist": (_edited("odom", twist__twist__linear__x=-1.0), {"twist_linear"}, "wrong sign"),
    "slow LiDAR": (slow_lidar, {"slow"}, "raise the rate"),
    "base takes Twist": (twist_base, {"cmd_vel_type"}, "twist_stamped:=false"),
    "two masters": (teleop, {"two_masters"}, "teleop_twist_keyboard"),
    "two nodes of one name": (same_names, {"two_nodes"}, "/drivers"),
    "guard asleep in a time that stands": (
        sleeping_guard, {"inactive", "no_clock", "node_missing"}, "ros2 lifecycle set /guard activate"
    ),
    "clock that nobody uses": (
        clock_unused, {"inactive", "clock_unused", "node_missing", "cmd_vel_type"}, "use_sim_time:=true"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_graph_is_told(name: str) -> None:
    prepare, codes, words = BROKEN[name]
    # Where the guard is not there, that is told beside.
    codes = codes if "node_missing" in codes else codes | {"no_stack"}
    with running(prepare):
        found = check(codes)
    assert set(found) == codes, found
    assert any(words in f"{finding.measured} {finding.remedy}" for finding in found.values()), found


def test_a_healthy_robot_has_no_faults() -> None:
    with running(lambda robot, context: None):
        found = check({"no_stack"})
        assert set(found) == {"no_stack"} and found["no_stack"].level is Level.WARN, found
        remapped = check({"no_stack", "missing_near"}, remaps={"scan": "/front"})
        assert set(remapped) == {"no_stack", "missing_near"}, remapped


def test_nobody_is_told_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm_nav.ros.graph_listener._PATIENCE_S", 0.5)
    assert set(check({"deserted"})) == {"deserted"}
    with pytest.raises(ConfigError, match="'sonar' is no topic of the stack"):
        listen(0.5, remaps={"sonar": "/sonar"})
    with pytest.raises(ConfigError, match="robot 'tank' is not known"):
        listen(0.5, robot="tank")


def test_a_namespace_is_found_and_checked() -> None:
    with running(other_space):
        findings = check_graph(listen(1.0))
        assert any("check with --namespace /alpha" in finding.remedy for finding in findings), findings
        found = check({"no_stack"}, namespace="/alpha")
        assert set(found) == {"no_stack"}, found


def test_the_embedded_stack_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    robot_check.add_arguments(parser)
    report = tmp_path / "check.json"
    arguments = parser.parse_args(["--seconds", "2", "--json", str(report), "--robot", "generic"])
    start = {"start_x": START.x, "start_y": START.y, "start_yaw": START.yaw, "camera_width": 96, "camera_height": 72}
    with ProcessGroup(EMBEDDED, tmp_path, {"simulator": start}) as group:
        for _ in range(5):  # the nodes load world and network meanwhile
            status = robot_check.run(arguments)
            data = json.loads(report.read_text())
            faults = {item["code"] for item in data["findings"]} - {""} - BUSY
            if not faults:
                break
        assert not group.dead()
    assert not faults, data
    assert data["ok"] == (status == 0) and data["robot"] == "generic"
    assert "is active" in capsys.readouterr().out
