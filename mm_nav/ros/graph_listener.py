"""Listens to a ROS graph for a few seconds without being part of it, and returns what was there as a GraphSnapshot.

It subscribes with the least that QoS can ask for, so that what the stack itself would not hear is measured too, and takes the
serialised messages: headers are read from the bytes, and only what is judged is deserialised.
"""

from __future__ import annotations

import importlib
import os
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription

from mm_nav.errors import ConfigError, MmNavError, SensorError
from mm_nav.observation import Odometry
from mm_nav.ros import graph_snapshot as graph
from mm_nav.ros.graph_questions import StackQuestions, needs_from
from mm_nav.ros.graph_snapshot import Endpoint, GraphSnapshot, RobotNeeds, Traffic, Transform, Wanted
from mm_nav.ros.raw_image import parse_image
from mm_nav.ros.topics import topics
from mm_nav.ros.transports import VARIABLES, transport_profile
from mm_nav.sensing.messages import odometry_from, transform_matrix
from mm_nav.sim.rig import load_rig

_NAME = "mm_nav_robot_check"
# Time for others to be discovered, before listening begins; and for the stack's nodes to answer, after it.
_PATIENCE_S, _ANSWERS_S = 4.0, 2.0
# Participants announce themselves anew every 3 s: who was missed at first is heard of then, and listened to for as long.
_LATECOMERS_S = 4.0
_LOOK_S = 0.2
_DEPTH = 40
_KINDS = {"camera": "image", "lidar": "scan", "cloud": "points", "imu": "imu"}
# Whose subscription tells what a role's topic is called where the stack runs with other names: node, types.
_FOLLOWED = {
    "scan": ("guard", (graph.SCAN,)), "points": ("guard", (graph.POINTS,)), "odom": ("guard", (graph.ODOMETRY,)),
    "image": ("inference", (graph.IMAGE, graph.COMPRESSED)), "camera_info": ("inference", (graph.CAMERA_INFO,)),
    "tf_static": ("guard", (graph.TF,)),
}  # fmt: skip
_SENT = {"cmd_vel": ("guard", (graph.TWIST, graph.TWIST_STAMPED)), "cmd_vel_nav": ("navigator", (graph.TWIST_STAMPED,))}
_ENVIRONMENT = (
    "ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "RMW_IMPLEMENTATION", *VARIABLES,
)  # fmt: skip
_LEAST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=_DEPTH,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
_LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def listen(
    seconds: float = 5.0,
    namespace: str = "",
    robot: str = "",
    compressed: bool = False,
    remaps: Mapping[str, str] | None = None,
) -> GraphSnapshot:
    """Return what is there. seconds: for how long messages are taken.

    namespace: of the robot, as "/alpha" or "alpha". robot: its name or YAML file, "" = as the guard says. compressed: pictures are
    expected on image/compressed. remaps: topics by the stack's own name for them ("scan": "/front/scan"); without, they are where
    the running nodes listen. Raises ConfigError for a robot that is not known.
    """
    space = "/" + namespace.strip("/") if namespace.strip("/") else ""
    needs = robot_needs(robot, "--robot") if robot else RobotNeeds()
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(
        f"{_NAME}_{os.getpid()}", context=context, enable_rosout=False, start_parameter_services=False
    )
    executor = SingleThreadedExecutor(context=context)
    try:
        executor.add_node(node)
        return _Listener(node, executor, space, needs, compressed, remaps or {}).run(seconds)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
        context.destroy()


def robot_needs(robot: str, said_by: str) -> RobotNeeds:
    """Return what a robot's file says about its body and sensors. Raises ConfigError."""
    rig = load_rig(robot)
    main = {"image": rig.camera, "scan": rig.lidar, "points": rig.cloud, "imu": rig.imu}
    rates = {role: float(sensor.rate_hz) for role, sensor in main.items() if sensor is not None}
    return RobotNeeds(rig.robot, rates, said_by)


@dataclass
class _Box:
    """What has come for a role so far."""

    wanted: Wanted
    subscriptions: list[Any] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    clock: list[int] = field(default_factory=list)
    numbers: dict[bytes, int] = field(default_factory=dict)
    frame: str = ""
    lost: int = 0
    newest: bytes = b""


class _Listener:
    def __init__(
        self,
        node: Node,
        executor: SingleThreadedExecutor,
        space: str,
        robot: RobotNeeds,
        compressed: bool,
        remaps: Mapping[str, str],
    ) -> None:
        self._node, self._executor, self._space, self._robot = node, executor, space, robot
        self._remaps = dict(remaps)
        self._boxes: dict[str, _Box] = {}
        self._now_ns = 0
        self._odometry: list[Odometry] = []
        self._links: dict[bool, dict[tuple[str, str], Transform]] = {True: {}, False: {}}
        self._ranges: np.ndarray[Any, Any] | None = None
        self._same, self._longest = 0, 0
        self._questions = StackQuestions(node, space)
        self._wanted = self._defaults(compressed)

    def _defaults(self, compressed: bool) -> dict[str, Wanted]:
        t = topics()
        image = f"{t.image}/compressed" if compressed else t.image
        # The stack's nodes name TF absolutely; with a namespace the launch files put it in there, as Nav2's do.
        tf, tf_static = ("tf", "tf_static") if self._space else ("/tf", "/tf_static")
        table = (
            Wanted("image", image, graph.COMPRESSED if compressed else graph.IMAGE),
            Wanted("camera_info", t.camera_info, graph.CAMERA_INFO),
            Wanted("scan", t.scan, graph.SCAN),
            Wanted("points", t.points, graph.POINTS),
            Wanted("imu", t.imu, graph.IMU),
            Wanted("odom", t.odom, graph.ODOMETRY),
            Wanted("tf", tf, graph.TF, reliable=True),
            Wanted("tf_static", tf_static, graph.TF, reliable=True, transient_local=True),
            Wanted("clock", "/clock", graph.CLOCK),
            Wanted("guard_status", t.guard_status, graph.GUARD_STATUS, reliable=True),
            Wanted("cmd_vel", t.cmd_vel, graph.TWIST_STAMPED),
            Wanted("cmd_vel_nav", t.cmd_vel_nav, graph.TWIST_STAMPED),
        )
        known = {item.role for item in table}
        if strange := sorted(set(self._remaps) - known):
            raise ConfigError(f"'{strange[0]}' is no topic of the stack: known are {', '.join(sorted(known))}")
        return {w.role: replace(w, topic=self._full(self._remaps.get(w.role, w.topic))) for w in table}

    def _full(self, topic: str) -> str:
        return topic if topic.startswith("/") else f"{self._space}/{topic}"

    def run(self, seconds: float) -> GraphSnapshot:
        """Wait until somebody is there, listen, and return what came."""
        until = time.monotonic() + _PATIENCE_S
        while not (known := self._look()) and time.monotonic() < until:
            self._spin(_LOOK_S)
        until = time.monotonic() + seconds
        last = until + _LATECOMERS_S
        while (left := until - time.monotonic()) > 0.0:
            self._spin(min(_LOOK_S, left))
            if not (seen := self._look()) <= known:
                known |= seen
                until = min(last, time.monotonic() + seconds)
        ended = time.time()
        until = time.monotonic() + _ANSWERS_S
        while self._questions.open and time.monotonic() < until:
            self._spin(0.05)
        return self._snapshot(seconds, ended)

    def _spin(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left)

    def _look(self) -> set[str]:
        """Subscribe to what is there now; return the nodes, and the roles that have a publisher."""
        nodes = self._others()
        self._questions.ask(nodes)
        self._follow(nodes)
        for role, wanted in self._wanted.items():
            box = self._boxes.get(role)
            if role == "cmd_vel_nav":
                continue
            sent = [info.topic_type for info in self._node.get_publishers_info_by_topic(wanted.topic)]
            if role == "cmd_vel" and sent and wanted.type not in sent:
                # Whoever drives where the guard is not there; one topic can be listened to as one type only.
                wanted = replace(wanted, type=sent[0])
            if box is not None and box.wanted == wanted:
                continue
            if box is not None:
                for subscription in box.subscriptions:
                    self._node.destroy_subscription(subscription)
            if wanted.type in sent:
                self._boxes[role] = self._subscribe(wanted)
            else:
                self._boxes.pop(role, None)
        return set(nodes) | (set(self._boxes) if nodes else set())

    def _others(self) -> list[str]:
        """Full names of all nodes but this one and those of tools, which hide theirs."""
        return sorted(
            f"{space.rstrip('/')}/{name}"
            for name, space in self._node.get_node_names_and_namespaces()
            if not name.startswith(("_", _NAME))
        )

    def _follow(self, nodes: list[str]) -> None:
        """Take the topics that the running nodes of the stack really use."""
        for table, query in (
            (_FOLLOWED, self._node.get_subscriber_names_and_types_by_node),
            (_SENT, self._node.get_publisher_names_and_types_by_node),
        ):
            for role, (name, types) in table.items():
                if role in self._remaps or f"{self._space}/{name}" not in nodes:
                    continue
                try:
                    used = query(name, self._space or "/")
                except Exception:  # rclpy's NodeNameNonExistentError has moved between versions: the node has just gone
                    continue
                fitting = [(topic, kind) for topic, kinds in used for kind in kinds if kind in types]
                if role == "tf_static":
                    fitting = [pair for pair in fitting if pair[0].endswith("tf_static")]
                if fitting and (fitting[0][0], fitting[0][1]) != (self._wanted[role].topic, self._wanted[role].type):
                    self._wanted[role] = replace(self._wanted[role], topic=fitting[0][0], type=fitting[0][1])
        if "tf" not in self._remaps:  # none of them reads it; who moves one of the two moves both
            beside = self._wanted["tf_static"].topic.removesuffix("_static")
            self._wanted["tf"] = replace(self._wanted["tf"], topic=beside)

    def _subscribe(self, wanted: Wanted) -> _Box:
        box = _Box(wanted)
        kind = _message_class(wanted.type)
        if kind is None:
            return box
        handle = self._handlers().get(wanted.role)

        def take(message: bytes, info: Mapping[str, Any]) -> None:
            self._take(box, message, info)
            if handle is not None:
                handle(deserialize_message(message, kind))

        # rclpy of Humble hands over the message alone.
        callback = take if hasattr(Subscription, "CallbackType") else lambda message: take(message, {})
        profiles = (_LATCHED, _LEAST) if wanted.role == "tf_static" else (_LEAST,)
        for profile in profiles:
            box.subscriptions.append(self._node.create_subscription(kind, wanted.topic, callback, profile, raw=True))
        return box

    def _handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            "clock": self._clock,
            "scan": self._scan,
            "odom": lambda message: self._odometry.append(odometry_from(message)),
            "tf": lambda message: self._transforms(message, static=False),
            "tf_static": lambda message: self._transforms(message, static=True),
        }

    def _take(self, box: _Box, message: bytes, info: Mapping[str, Any]) -> None:
        box.arrivals.append(1e-9 * (info.get("received_timestamp") or time.time_ns()))
        box.newest = message
        if box.wanted.type not in (graph.TF, graph.CLOCK, graph.TWIST):
            stamp, box.frame = _header(message)
            box.stamps.append(stamp)
            box.clock.append(self._now_ns)
            # Middlewares before ROS 2 Jazzy give no numbers.
            number, publisher = int(info.get("publication_sequence_number") or 0), info.get("publisher_gid")
            if number and publisher and number < 2**63:
                gid = bytes(publisher["data"])
                box.lost += max(0, number - box.numbers.get(gid, number - 1) - 1)
                box.numbers[gid] = number

    def _clock(self, message: Any) -> None:
        self._now_ns = int(message.clock.sec) * 1_000_000_000 + int(message.clock.nanosec)

    def _scan(self, message: Any) -> None:
        ranges = np.asarray(message.ranges, np.float32)
        with np.errstate(invalid="ignore"):
            hits = bool(((ranges >= message.range_min) & (ranges <= message.range_max)).any())
        same = self._ranges is not None and hits and np.array_equal(ranges, self._ranges, equal_nan=True)
        self._same = self._same + 1 if same else 1
        self._longest, self._ranges = max(self._longest, self._same), ranges

    def _transforms(self, message: Any, static: bool) -> None:
        for item in message.transforms:
            parent, child, q = item.header.frame_id, item.child_frame_id, item.transform.rotation
            try:
                matrix = transform_matrix(item.transform)
            except SensorError:
                matrix = None
            length = float(np.linalg.norm([q.x, q.y, q.z, q.w]))
            self._links[static].pop((parent, child), None)
            self._links[static][parent, child] = Transform(parent, child, matrix, length)

    def _snapshot(self, seconds: float, ended: float) -> GraphSnapshot:
        answers = self._questions.answers()
        robot = self._robot
        guard = answers.get("guard")
        if not robot.said_by and guard is not None and guard.parameters.get("robot"):
            with suppress(MmNavError):  # its file may be on another machine
                robot = robot_needs(str(guard.parameters["robot"]), "guard")
        names = [name for name, _ in self._node.get_topic_names_and_types()]
        return GraphSnapshot(
            seconds=seconds,
            until_s=ended,
            namespace=self._space,
            nodes=tuple(self._others()),
            publishers={n: ends for n in names if (ends := _ends(self._node.get_publishers_info_by_topic(n)))},
            subscriptions={n: ends for n in names if (ends := _ends(self._node.get_subscriptions_info_by_topic(n)))},
            wanted=dict(self._wanted),
            traffic={role: _traffic(box, ended) for role, box in self._boxes.items()},
            odometry=tuple(self._odometry),
            same_scans=self._longest,
            static=tuple(self._links[True].values()),
            moving=tuple(self._links[False].values()),
            stack=answers,
            needs=needs_from(answers),
            robot=robot,
            environment={name: os.environ.get(name, "") for name in _ENVIRONMENT} | {"profile": transport_profile()},
        )


def _header(message: bytes) -> tuple[int, str]:
    """Return the stamp, ns, and frame of a serialised message that begins with a std_msgs/Header."""
    order = "<" if message[1] & 1 else ">"
    seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", message, 4)
    return seconds * 1_000_000_000 + nanoseconds, bytes(message[16 : 16 + max(0, length - 1)]).decode(
        "utf-8", "replace"
    )


def _message_class(msgtype: str) -> Any:
    package, _, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError:  # such as mm_nav_interfaces on a machine that only looks at a robot's sensors
        return None


def _traffic(box: _Box, ended: float) -> Traffic:
    newest, unreadable = None, ""
    if box.newest:
        try:
            if box.wanted.type == graph.IMAGE:
                newest = parse_image(box.newest)
            else:
                newest = deserialize_message(box.newest, _message_class(box.wanted.type))
        except SensorError as error:
            unreadable = str(error)
    # What came after the end, while answers were waited for, counts too: a gap before it is none.
    return Traffic(
        tuple(box.arrivals),
        tuple(box.stamps),
        tuple(box.clock),
        box.frame,
        box.lost,
        len(box.newest),
        newest,
        unreadable,
    )


def _ends(infos: list[Any]) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(
            f"{info.node_namespace.rstrip('/')}/{info.node_name}",
            info.topic_type,
            info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for info in infos
        if not info.node_name.startswith(("_ros2cli", _NAME))
    )
