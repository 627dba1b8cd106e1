"""A recording through the live nodes in real time: here it shows when commands come too late."""

from __future__ import annotations

import math
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mm_nav_interfaces.msg import GuardStatus, PolicyOutput
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from sensor_msgs.msg import LaserScan as LaserScanMessage
from tf2_msgs.msg import TFMessage

from mm_nav.bags.reader import BagMessage, BagReader
from mm_nav.command import ErrorCode
from mm_nav.errors import BagError, ConfigError, MmNavError
from mm_nav.goal import Goal
from mm_nav.observation import CameraImage, LaserScan, Odometry, PointCloud
from mm_nav.replay.ahead import Prefetched
from mm_nav.robot import RobotConfig, load_robot, robot_file
from mm_nav.ros import conversions, qos
from mm_nav.ros.goal_client import goal_message
from mm_nav.ros.live_stack import CommandMeter, LiveStack, PlayedGoal, live_stack
from mm_nav.ros.node_list import STACK
from mm_nav.ros.tf_buffer import SensorMounts
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.clouds import obstacle_scan

DEADLINE_MS = 1000.0 / 15.0
_SETTLED_S = 0.5  # after a goal was accepted
_BEHIND_S = 0.001  # for what comes in, while there is no time to wait
_PATIENCE_S = 2.0  # a scan without a command by then gets none
_MATCH_S = 20.0
_ACQUAINTED_S = 2.0  # then for the nodes to find each other, which cannot be seen from here
_AHEAD = 256  # messages that are ready before they are due: two seconds and more
# So many messages tell how long after its stamp a message is recorded at the least.
_PROBED = 60
_LOOKED_AT = 200
# A longer pause, or a jump back, is not waited for: what comes after it follows at once.
_PAUSE_NS, _BACK_NS, _AFTER_PAUSE_NS = 5_000_000_000, 1_000_000_000, 100_000_000
_FAR_NS = 60_000_000_000
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class _Sending:
    """A message that is ready to be sent. due_s: after the start. stamp_ns: the same for its stamp. mount: frame and
    base_T_frame of its sensor."""

    topic: str
    due_s: float
    stamp_ns: int
    data: bytearray
    mount: tuple[str, np.ndarray[Any, Any]] | None = None


@dataclass
class _Guarded:
    """What the guard says of itself while the goal is worked on."""

    messages: int = 0
    limited: int = 0
    stopped: int = 0
    limits: int = 0
    stops: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    _before: tuple[bool, bool] = (False, False)

    def add(self, status: GuardStatus, counting: bool) -> None:
        limited, stopped = bool(status.limited), bool(status.stopped)
        if counting:
            self.messages += 1
            self.limited += limited
            self.stopped += stopped
            self.limits += limited and not self._before[0]
            if stopped and not self._before[1]:
                self.stops += 1
                self.reasons[status.reason] = self.reasons.get(status.reason, 0) + 1
        self._before = limited, stopped


def replay_realtime(
    path: Path | Sequence[Path],
    goal: Goal,
    logs: Path,
    rate: float = 1.0,
    model: Path | None = None,
    topics: Mapping[str, str] | None = None,
    progress: Progress = lambda done, of: None,
    deadline_ms: float = DEADLINE_MS,
    domain_id: int | None = None,
    robot: str = "generic",
) -> dict[str, Any]:
    """Play a recording over DDS to guard, inference and navigator, processes of their own, and measure how long commands take.

    Odometry is played as it was: the robot does not follow. Messages get fresh stamps. goal: a sentence or a place. logs: folder
    for the nodes' logs. rate: 2 = twice as fast. model: exported policy, None = the committed one. topics: as BagReader's.
    progress(seconds done, seconds of all). domain_id: None = one of this run's own, so that no robot hears these commands.
    robot: the recorded one, a name in config/robots or a file.

    Returns, for scans that were sent while the goal was worked on: realtime_observations, realtime_commands (in whatever time),
    realtime_latency_p50_ms, …_p99_ms, …_max_ms from the sending of a scan to the arrival of its command; deadline_ms,
    deadline_misses (later, or never), deadline_miss_share; what the guard did (guard_stops: how often it began to); how the goal
    ended; what was sent, lost and missing. Numbers that nobody could measure are nan. Raises BagError when the recording cannot be
    used, MmNavError when the nodes do not come up or one ends, ConfigError for a goal or rate that cannot be played.
    """
    if not 0.01 <= rate <= 100.0:
        raise ConfigError(f"rate is {rate}: it must be between 0.01 and 100")
    if goal.pose is None and not goal.instruction:
        raise ConfigError("goals that are pictures cannot be played in real time: give a sentence or a place")
    body, file = load_robot(robot), str(robot_file(robot).resolve())
    parameters: dict[str, dict[str, object]] = {node.name: {"robot": file} for node in STACK}
    if model is not None:
        for name in ("inference", "navigator"):  # which takes the words that the model knows
            parameters[name]["model"] = str(model.resolve())
    domain = _own_domain() if domain_id is None else domain_id
    with BagReader(path, topics) as reader:  # type: ignore[arg-type]
        missing = _missing(reader)
        if "scan" not in reader.report.used and "cloud" not in reader.report.used:
            raise BagError(f"{path} has neither scans nor point clouds: the live nodes give no commands without")
        schedule = _Schedule(reader, rate, body)
        with (
            Prefetched(schedule.items(), _AHEAD) as items,
            live_stack("replay_player", logs, parameters, domain) as stack,
        ):
            player = _Player(stack, goal, deadline_ms)
            player.play(iter(items), rate, reader.report.duration_s / rate, progress)
        return player.result() | {"realtime_rate": rate, "realtime_warnings": missing + schedule.warnings}


class _Schedule:
    """The messages of a recording as they are to be sent. robot: the recorded one. warnings: what is not played as it was."""

    def __init__(self, reader: BagReader, rate: float, robot: RobotConfig) -> None:
        self._reader, self._rate, self._robot = reader, rate, robot
        self.warnings: list[str] = []

    def items(self) -> Iterator[_Sending]:
        used = self._reader.report.used
        kinds = [kind for kind in ("odometry", "image", "scan" if "scan" in used else "cloud") if kind in used]
        source = self._reader.messages(kinds)
        first: list[BagMessage] = []
        for message in source:
            first.append(message)
            if len(first) == _PROBED:
                break
        if not first:
            raise BagError(f"{self._reader.path} has no messages that could be played")
        # Stamps keep their distance to the time of recording, less what is common to all: no stamp lies ahead of its sending.
        lag = min(m.receive_ns - m.item.stamp_ns for m in first)
        last, shift = first[0].receive_ns, first[0].receive_ns
        pauses = 0
        for message in chain(first, source):
            gap = message.receive_ns - last
            if not -_BACK_NS <= gap <= _PAUSE_NS:
                shift += gap - _AFTER_PAUSE_NS
                pauses += 1
            last = message.receive_ns
            due = message.receive_ns - shift
            stamp = message.item.stamp_ns + lag - shift
            stamp = min(max(stamp, due - _FAR_NS), due + _FAR_NS)
            for topic, data, mount in _messages(message.item, self._robot):
                yield _Sending(topic, 1e-9 * due / self._rate, round(stamp / self._rate), data, mount)
        if pauses:
            self.warnings.append(
                f"{pauses} pauses of more than {1e-9 * _PAUSE_NS:.0f} s, or jumps back, were not waited for"
            )


def _messages(
    item: object, robot: RobotConfig
) -> Iterator[tuple[str, bytearray, tuple[str, np.ndarray[Any, Any]] | None]]:
    """Yield topic, bytes and mount of what one item becomes."""
    t, f = topics(), frames()
    if isinstance(item, Odometry):
        yield t.odom, _written(conversions.odometry_message(item, f.odom, f.base)), None
    elif isinstance(item, CameraImage):
        mount = f.camera, item.base_T_camera
        yield t.camera_info, _written(conversions.camera_info_message(item, f.camera)), mount
        yield t.image, _written(conversions.image_message(item, f.camera)), mount
    elif isinstance(item, LaserScan | PointCloud):
        scan = obstacle_scan(item, robot) if isinstance(item, PointCloud) else item
        yield t.scan, _written(conversions.scan_message(scan, f.scan, 0.1)), (
            f.scan, conversions.planar_matrix(scan.mount)
        )  # fmt: skip


def _written(message: Any) -> bytearray:
    return bytearray(serialize_message(message))


class _Player:
    """Sends what is due, and listens."""

    def __init__(self, stack: LiveStack, goal: Goal, deadline_ms: float) -> None:
        self._stack, self._goal = stack, PlayedGoal(stack.node)
        timeout_s = min(goal.timeout_s, 86_400.0)
        self._asked = goal_message(goal.instruction, goal.pose, timeout_s=timeout_s, facing=goal.facing)
        self._meter = CommandMeter(1e-3 * deadline_ms, max(_PATIENCE_S, 2e-3 * deadline_ms))
        self._guarded = _Guarded()
        self._moving, self._speeds, self._answered, self._pictures, self._late_s = 0, 0.0, 0, 0, 0.0
        self._sent: dict[str, int] = {}
        self._ended = ""
        node, t = stack.node, topics()
        kinds = {
            t.odom: (OdometryMessage, qos.ODOMETRY), t.scan: (LaserScanMessage, qos.SENSOR), t.image: (Image, qos.SENSOR),
            t.camera_info: (CameraInfo, qos.SENSOR),
        }  # fmt: skip
        self._publishers = {name: node.create_publisher(kind, name, profile) for name, (kind, profile) in kinds.items()}
        self._mounts = SensorMounts(node.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF))
        node.create_subscription(GuardStatus, t.guard_status, self._status, qos.STATUS)
        node.create_subscription(PolicyOutput, t.policy, self._policy, qos.STATUS)

    def _status(self, message: GuardStatus) -> None:
        self._guarded.add(message, self._meter.counting)
        if self._meter.command(conversions.from_time(message.scan_stamp)):
            linear, angular = message.allowed_linear, message.allowed_angular
            self._moving += abs(linear) > 0.01 or abs(angular) > 0.01
            self._speeds += linear

    def _policy(self, message: PolicyOutput) -> None:
        self._answered += 1
        self._pictures += message.heatmap_height > 0

    def play(self, items: Iterator[_Sending], rate: float, seconds: float, progress: Progress) -> None:
        """Send everything, each when it is due."""
        client, stack = self._stack.client, self._stack
        waiting = self._look_ahead(items)
        self._match()
        began = next_look = time.perf_counter()
        origin_ns = time.time_ns()
        for item in chain(waiting, items):
            if time.perf_counter() - began >= item.due_s:
                client.spin(_BEHIND_S)
            while (now := time.perf_counter()) - began < item.due_s:
                client.spin(min(0.5, item.due_s - (now - began)))
                self._notice(time.perf_counter())
            self._late_s = max(self._late_s, now - began - item.due_s)
            self._notice(now)
            self._send(item, origin_ns + item.stamp_ns)
            if item.topic == topics().scan and self._sent[item.topic] == 1:
                self._goal.begin(self._asked)
            if now >= next_look:
                next_look = now + 0.5
                stack.check()
                progress(min(seconds, now - began), seconds)
        until = time.perf_counter() + 0.5
        while (now := time.perf_counter()) < until:
            client.spin(0.05)
            self._notice(now)
        self._meter.end()
        self._meter.counting = False
        stack.check()
        outcome = self._goal.outcome
        self._ended = "" if outcome is None else f"{ErrorCode(outcome.error_code).name}: {outcome.message}"
        progress(seconds, seconds)
        self._goal.cancel()
        client.spin(0.2)

    def _notice(self, now: float) -> None:
        self._meter.counting = self._goal.active_s(now) > _SETTLED_S

    def _look_ahead(self, items: Iterator[_Sending]) -> list[_Sending]:
        """Return the first messages, and say where their sensors are: nodes that do not know it yet cannot use them."""
        found: deque[_Sending] = deque()
        for item in items:
            found.append(item)
            if item.mount is not None:
                self._mounts.place(*item.mount)
            if len(found) == _LOOKED_AT:
                break
        return list(found)

    def _match(self) -> None:
        """Wait until all nodes hear; the inference node subscribes when its network is loaded."""
        until = time.monotonic() + _MATCH_S
        t = topics()
        while not (
            all(self._publishers[name].get_subscription_count() >= 3 for name in (t.scan, t.odom))
            and self._publishers[t.image].get_subscription_count() >= 1
        ):
            self._stack.check()
            if time.monotonic() > until:
                raise MmNavError(f"the nodes do not listen {_MATCH_S:.0f} s after they came up: look at their logs")
            self._stack.client.spin(0.1)
        self._stack.client.spin(_ACQUAINTED_S)

    def _send(self, item: _Sending, stamp: int) -> None:
        if item.mount is not None:
            self._mounts.place(*item.mount)
        # CDR: four bytes of encapsulation, then the header's stamp.
        struct.pack_into("<iI", item.data, 4, *divmod(stamp, 1_000_000_000))
        if item.topic == topics().scan:
            self._meter.scan(stamp)
        self._publishers[item.topic].publish(bytes(item.data))
        self._sent[item.topic] = self._sent.get(item.topic, 0) + 1

    def result(self) -> dict[str, Any]:
        """Return the numbers."""
        values, never = self._meter.measured()
        deadline = 1e3 * self._meter.deadline_s
        observations, misses = len(values) + never, int((values > deadline).sum()) + never
        p50, p99 = np.percentile(values, [50, 99]) if len(values) else (math.nan, math.nan)
        guarded, t = self._guarded, topics()

        def share(count: float, of: int) -> float:
            return round(count / of, 4) if of else math.nan

        return {
            "realtime_observations": observations,
            "realtime_commands": len(values),
            "realtime_latency_p50_ms": round(float(p50), 3),
            "realtime_latency_p99_ms": round(float(p99), 3),
            "realtime_latency_max_ms": round(float(values.max()), 3) if len(values) else math.nan,
            "deadline_ms": round(deadline, 2),
            "deadline_misses": misses,
            "deadline_miss_share": share(misses, observations),
            "realtime_moving_share": share(self._moving, len(values)),
            "realtime_linear_mean_mps": share(self._speeds, len(values)),
            "realtime_guard_stops": guarded.stops,
            "realtime_guard_limits": guarded.limits,
            "realtime_guard_stopped_share": share(guarded.stopped, guarded.messages),
            "realtime_guard_limited_share": share(guarded.limited, guarded.messages),
            "realtime_guard_reasons": guarded.reasons,
            "realtime_scans_sent": self._sent.get(t.scan, 0),
            "realtime_scans_dropped": never,
            "realtime_images_sent": self._sent.get(t.image, 0),
            "realtime_policy_answers": self._answered,
            "realtime_policy_answers_with_image": self._pictures,
            "realtime_player_late_max_ms": round(1e3 * self._late_s, 3),
            "realtime_ended": self._ended,
        }


def _missing(reader: BagReader) -> list[str]:
    used = reader.report.used
    found = [] if "image" in used else ["the recording has no pictures: the nodes ran without a camera"]
    if "scan" not in used and "cloud" in used:
        found.append("the recording has no scans: they were made of its point clouds")
    return found


def _own_domain() -> int:
    """Return a ROS domain, 1 to 101, that is not the environment's."""
    domain = 1 + os.getpid() % 100
    return domain if str(domain) != os.environ.get("ROS_DOMAIN_ID", "0") else domain + 1
