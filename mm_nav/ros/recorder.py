"""Live topics into a recording: bytes as they come, written by a thread of its own."""

from __future__ import annotations

import importlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from mm_nav.bags.definitions import message_definition
from mm_nav.bags.rosbag2_log import Rosbag2Log, TopicInfo
from mm_nav.errors import MmNavError
from mm_nav.ros.topics import topics

_STACK = (
    "image", "camera_info", "scan", "points", "imu", "odom", "cmd_vel_nav", "cmd_vel", "policy", "policy_goal", "guard_status",
    "plan", "map", "markers", "diagnostics", "ground_truth", "contacts",
)  # fmt: skip
# What is waiting for the disk may take so much memory; then messages are dropped, and counted.
_QUEUE_BYTES = 96 << 20
# Kept by the middleware until this process takes them: two seconds of pictures, half a second of anything fast.
_DEPTH = 60
_WAIT_S = 0.1
Taken = tuple[int, int, bytes, int, int]


@dataclass
class TopicCount:
    """What came of a topic. size: bytes. lost: by the publishers' numbers, never arrived; dropped: arrived, but the disk was too
    slow."""

    name: str
    msgtype: str = ""
    messages: int = 0
    size: int = 0
    lost: int = 0
    dropped: int = 0
    _newest: dict[bytes, int] = field(default_factory=dict)

    def number(self, info: Mapping[str, Any]) -> int:
        """Return the number that a message's publisher gave it, 0 = not known, and count those that should have come before."""
        number = int(info.get("publication_sequence_number") or 0)
        publisher = info.get("publisher_gid")
        if number and publisher:
            gid = bytes(publisher["data"])
            newest = self._newest.get(gid, number - 1)
            self.lost += max(0, number - newest - 1)
            self._newest[gid] = max(number, newest)
        return number


def stack_topics(node: Node) -> tuple[str, ...]:
    """Return the full names of the stack's topics, in the node's namespace, with /tf and the compressed pictures."""
    names = [getattr(topics(), name) for name in _STACK]
    names.append(f"{topics().image}/compressed")
    return tuple(node.resolve_topic_name(name) for name in (*names, "/tf", "/tf_static"))


class Recorder:
    """Subscribes to topics that exist, or come to exist, and hands what they bring to a log.

    wanted: full names, None = every topic that is not hidden. say: gets warnings. counts: by topic, in the order in which they
    appeared. Call `look` about twice a second, and `close` at the end, which leaves the log open.
    """

    def __init__(
        self,
        node: Node,
        log: Rosbag2Log,
        wanted: Collection[str] | None,
        say: Callable[[str], None] = lambda text: None,
        queue_bytes: int = _QUEUE_BYTES,
    ) -> None:
        self._node, self._log, self._say, self._limit = node, log, say, queue_bytes
        self._wanted = None if wanted is None else tuple(wanted)
        self.counts: dict[str, TopicCount] = {}
        self._subscriptions: dict[str, tuple[Any, tuple[bool, bool]]] = {}
        self._numbers: dict[str, int] = {}  # of topics, in the log
        self._refused: set[str] = set()
        self._ambiguous: set[str] = set()
        self._queue: queue.SimpleQueue[Taken | TopicInfo | None] = queue.SimpleQueue()
        # Each is written by one thread only, so no lock is needed.
        self._put, self._taken = 0, 0
        self._failure: MmNavError | None = None
        self._writer = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._writer.start()

    @property
    def silent(self) -> tuple[str, ...]:
        """Topics that were to be recorded and brought nothing: named ones, and those that have a publisher."""
        named = self._wanted or ()
        present = [name for name in self.counts if name not in named]
        return tuple(n for n in (*named, *present) if n not in self.counts or not self.counts[n].messages)

    @property
    def missing(self) -> tuple[str, ...]:
        """Named topics that nobody has published so far."""
        return tuple(name for name in self._wanted or () if name not in self.counts)

    def check(self) -> None:
        """Raise what made the writer stop."""
        if self._failure is not None:
            raise self._failure

    def look(self) -> None:
        """Subscribe to wanted topics that have appeared, and anew where publishers with less to offer came."""
        for name, types in self._node.get_topic_names_and_types():
            if (self._wanted is not None and name not in self._wanted) or name in self._refused:
                continue
            if self._wanted is None and any(part.startswith("_") for part in name.split("/")):
                continue
            publishers = self._node.get_publishers_info_by_topic(name)
            if publishers:
                self._follow(name, types, publishers)

    def _follow(self, name: str, types: list[str], publishers: list[TopicEndpointInfo]) -> None:
        offered = _common(publishers)
        before = self._subscriptions.get(name)
        if before is not None:
            others = [kind for kind in types if kind != self.counts[name].msgtype]
            if others and name not in self._ambiguous:
                self._ambiguous.add(name)
                self._say(f"{name} is published as {' and as '.join(others)} too, which is not recorded")
            if before[1] == offered:
                return
        try:
            if len(types) > 1 and before is None:
                raise MmNavError(f"it is published as {' and as '.join(types)}")
            kind = _message_class(types[0] if before is None else self.counts[name].msgtype)
        except MmNavError as error:
            self._refused.add(name)
            self.counts.setdefault(name, TopicCount(name, ", ".join(types)))
            self._say(f"{name} is not recorded: {error}")
            return
        if before is not None:
            self._node.destroy_subscription(before[0])
        if name not in self.counts:
            self.counts[name] = TopicCount(name, types[0])
            definition = message_definition(types[0])
            if not definition:
                self._say(f"the definition of {types[0]} is not installed: {name} is recorded without it")
            self._queue.put(
                TopicInfo(name, types[0], definition, _qos_text(publishers), str(publishers[0].topic_type_hash))
            )
            self._numbers[name] = len(self._numbers)
        number, count = self._numbers[name], self.counts[name]

        def take(message: bytes, info: Mapping[str, Any]) -> None:
            self._take(number, count, message, info)

        reliable, latched = offered
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._subscriptions[name] = self._node.create_subscription(kind, name, take, profile, raw=True), offered

    def _take(self, number: int, count: TopicCount, message: bytes, info: Mapping[str, Any]) -> None:
        """All that happens for a message on the thread that takes them."""
        sequence = count.number(info)
        if self._put - self._taken + len(message) > self._limit:
            count.dropped += 1
            return
        count.messages += 1
        count.size += len(message)
        self._put += len(message)
        received = info.get("received_timestamp") or time.time_ns()
        self._queue.put((number, received, message, info.get("source_timestamp") or 0, sequence))

    def _write(self) -> None:
        log = self._log
        try:
            while True:
                try:
                    item = self._queue.get(timeout=_WAIT_S)
                except queue.Empty:
                    log.poll()
                    continue
                if item is None:
                    return
                if isinstance(item, TopicInfo):
                    log.add_topic(item)
                    continue
                number, received, message, sent, sequence = item
                log.write(number, received, message, sent, sequence)
                self._taken += len(message)
                log.poll()
        except MmNavError as error:
            self._failure = error

    def close(self) -> None:
        """Unsubscribe, and wait until everything that came is in the log. Raises what made the writer stop."""
        for subscription, _ in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._queue.put(None)
        self._writer.join()
        self.check()


def _message_class(msgtype: str) -> Any:
    """Import a message's class. Raises MmNavError when its package is not installed."""
    package, _, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise MmNavError(
            f"its type {msgtype} is not installed here: install {package}, or source its workspace"
        ) from error


def _common(publishers: Collection[TopicEndpointInfo]) -> tuple[bool, bool]:
    """Return whether all publishers are reliable, and whether all keep messages for those who come late."""
    return (
        all(p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers),
        all(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers),
    )


def _qos_text(publishers: Collection[TopicEndpointInfo]) -> str:
    """Return offered_qos_profiles as rosbag2 writes them: one for each publisher, with numbers for the policies."""
    profiles = []
    for publisher in publishers:
        qos = publisher.qos_profile
        profiles.append(
            {
                "history": int(qos.history),
                "depth": int(qos.depth),
                "reliability": int(qos.reliability),
                "durability": int(qos.durability),
                "deadline": _duration(qos.deadline),
                "lifespan": _duration(qos.lifespan),
                "liveliness": int(qos.liveliness),
                "liveliness_lease_duration": _duration(qos.liveliness_lease_duration),
                "avoid_ros_namespace_conventions": bool(qos.avoid_ros_namespace_conventions),
            }
        )
    return str(yaml.safe_dump(profiles, sort_keys=False)).strip()


def _duration(duration: Any) -> dict[str, int]:
    seconds, rest = divmod(int(duration.nanoseconds), 1_000_000_000)
    return {"sec": seconds, "nsec": rest}
