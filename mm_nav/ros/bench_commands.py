"""From sensor stamp to wheel command through the real nodes and DDS: a recorded drive is played to them in real time."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from mm_nav_interfaces.action import NavigateTo
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from tf2_msgs.msg import TFMessage

from mm_nav.errors import MmNavError
from mm_nav.observation import Observation
from mm_nav.ros import conversions, qos
from mm_nav.ros.goal_client import GoalClient
from mm_nav.ros.node_list import STACK
from mm_nav.ros.process_group import ProcessGroup, last_words, prepare_environment
from mm_nav.ros.topics import frames, topics
from mm_nav.ros.written import WrittenMessages
from mm_nav.runtime.stages import shares
from mm_nav.sensing.messages import stamp_ns
from mm_nav.sensing.synchronizer import interpolate

ODOM_HZ, SCAN_HZ, IMAGE_HZ = 50, 10, 30
CONTROL_HZ = 15.0
_WARM_UP_S = 3.0
_SETTLED_S = 0.5  # after a goal was accepted
Progress = Callable[[float, float], None]


def bench_commands(
    instruction: str,
    drive: Sequence[Observation],
    seconds: float,
    logs: Path,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Play a drive to inference, navigator and guard, processes of their own, and return how long commands take.

    drive: ten observations a second, with pictures; it is played again and again, each time as a new goal. A command counts from
    the moment its scan was sent to the moment it arrives here. deadline_misses: scans without a command within 1/15 s while a goal
    was active. stage_NAME, share_NAME: where the time went (see `mm_nav.runtime.stages`). rss_mb: of the inference process at the
    end; rss_growth_mb: since the first tenth of the time. Raises MmNavError when the nodes do not come up.
    """
    resident: list[float] = []

    with _player(drive, logs, {}) as player:

        def each_second(elapsed: float) -> None:
            resident.append(_resident_mb(player.inference))
            progress(elapsed, seconds + _WARM_UP_S)

        player.play(instruction, seconds, each_second)
    early = resident[max(1, len(resident) // 10)]
    return {
        **player.latency(),
        "seconds": seconds,
        "images_per_s": round(player.images / (seconds + _WARM_UP_S), 2),
        **{f"stage_{name}": round(value, 2) for name, value in player.stages.items()},
        **shares(player.stages),
        "rss_mb": round(resident[-1], 1),
        "rss_growth_mb": round(resident[-1] - early, 1),
    }


def bench_governor(
    instruction: str,
    drive: Sequence[Observation],
    seconds: float,
    logs: Path,
    settings: Mapping[str, object],
    load: int,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Play a drive as `bench_commands` does: for `seconds` at rest, as long beside `load` busy processes, and as long at rest.

    settings: parameters of the inference node; deadline_ms among them makes it governed. Returns for each part PART_levels, in the
    order in which they were entered, and PART_stamp_to_command_p50_ms, PART_…_p99_ms; down_s, up_s: from the load's begin and end
    to the first change of level, None = there was none.
    """
    busy: list[subprocess.Popen[bytes]] = []
    turns: list[float] = []

    def each_second(elapsed: float) -> None:
        part = (elapsed - _WARM_UP_S) / seconds
        if not turns and part >= 1.0:
            turns.append(time.perf_counter())
            busy.extend(subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load))
        elif len(turns) == 1 and part >= 2.0:
            turns.append(time.perf_counter())
            _end(busy)
        progress(elapsed, 3.0 * seconds + _WARM_UP_S)

    try:
        with _player(drive, logs, {"inference": settings}) as player:
            began = time.perf_counter()
            player.play(instruction, 3.0 * seconds, each_second)
    finally:
        _end(busy)
    bounds = [began, *turns, math.inf]
    report: dict[str, Any] = {"load": load, **{f"setting_{name}": value for name, value in settings.items()}}
    for name, since, until in zip(("rest", "loaded", "after"), bounds[:-1], bounds[1:], strict=True):
        levels = [level for at, level in player.levels if since <= at < until]
        report[f"{name}_levels"] = [level for k, level in enumerate(levels) if k == 0 or level != levels[k - 1]]
        report |= {f"{name}_{key}": value for key, value in player.latency(since, until).items()}
    for key, since, until in (("down_s", turns[0], turns[1]), ("up_s", turns[1], math.inf)):
        before = [level for at, level in player.levels if at < since][-1]
        changed = [at for at, level in player.levels if since <= at < until and level != before]
        report[key] = round(changed[0] - since, 1) if changed else None
    return report


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()
    processes.clear()


@contextmanager
def _player(
    drive: Sequence[Observation], logs: Path, parameters: Mapping[str, Mapping[str, object]]
) -> Iterator[_Player]:
    """The stack without a simulator, and what plays to it. parameters: of the nodes."""
    prepare_environment()
    rclpy.init()
    node = rclpy.create_node("latency_player")
    try:
        with ProcessGroup(STACK, logs, parameters, use_sim_time=False) as group:
            player = _Player(node, drive, group.processes["inference"].pid)
            if not player.client.wait(40.0, lambda: ", ".join(group.dead())):
                raise MmNavError(
                    f"the nodes did not come up: {', '.join(last_words(group.log(n.name)) for n in STACK)}"
                )
            yield player
    finally:
        node.destroy_node()
        rclpy.shutdown()


class _Player:
    """Plays a drive. inference: process id of that node. levels: what it said that it runs, and when. stages: medians, ms,
    as the nodes report them."""

    def __init__(self, node: rclpy.node.Node, drive: Sequence[Observation], inference: int) -> None:
        self.client, self._drive, self.inference = GoalClient(node), drive, inference
        t, f = topics(), frames()
        first = drive[0]
        assert first.image is not None and first.scan is not None
        tf = node.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        mount = conversions.planar_matrix(first.scan.mount)
        tf.publish(
            TFMessage(
                transforms=[
                    conversions.transform_message(mount, 0, f.base, f.scan),
                    conversions.transform_message(first.image.base_T_camera, 0, f.base, f.camera),
                ]
            )
        )
        self._tf = tf
        images = [conversions.image_message(o.image, f.camera) for o in drive if o.image is not None]
        scans = [conversions.scan_message(o.scan, f.scan, 1.0 / SCAN_HZ) for o in drive if o.scan is not None]
        self._info = node.create_publisher(CameraInfo, t.camera_info, qos.SENSOR)
        self._info_message = conversions.camera_info_message(first.image, f.camera)
        self._image = WrittenMessages(node.create_publisher(Image, t.image, qos.SENSOR), images)
        self._scan = WrittenMessages(node.create_publisher(LaserScan, t.scan, qos.SENSOR), scans)
        self._odom = node.create_publisher(Odometry, t.odom, qos.ODOMETRY)
        node.create_subscription(TwistStamped, t.cmd_vel, self._command, qos.COMMAND)
        node.create_subscription(DiagnosticArray, t.diagnostics, self._diagnose, qos.STATUS)
        self.stages: dict[str, float] = {}
        self.levels: list[tuple[float, str]] = []
        self._sent: dict[int, float] = {}
        self._latencies: list[tuple[float, float]] = []
        self._missed: list[float] = []
        self._goals = _Goals(node)
        self._counting = False
        self._next_image, self.images = 0.0, 0

    def _command(self, message: TwistStamped) -> None:
        sent = self._sent.pop(stamp_ns(message.header), None)
        if sent is not None and self._counting:
            now = time.perf_counter()
            self._latencies.append((now, 1e3 * (now - sent)))

    def _diagnose(self, message: DiagnosticArray) -> None:
        self.stages |= conversions.times_from(message)
        self.levels += [(time.perf_counter(), s.message) for s in message.status if s.name == "mm_nav: inference"]

    def play(self, instruction: str, seconds: float, each_second: Callable[[float], None]) -> None:
        """Play for so long. each_second(elapsed seconds)."""
        client, deadline, tick_s = self.client, 1.0 / CONTROL_HZ, 1.0 / ODOM_HZ
        per_scan, per_drive = ODOM_HZ // SCAN_HZ, len(self._drive) * (ODOM_HZ // SCAN_HZ)
        began = time.perf_counter()
        tick = 0
        while (now := time.perf_counter()) - began < seconds + _WARM_UP_S:
            due = began + tick * tick_s
            if now < due:
                client.spin(max(0.0, due - now))
                continue
            self._counting = self._goals.active_s(now) > _SETTLED_S and now - began > _WARM_UP_S
            at = tick % per_drive
            stamp = time.time_ns()
            self._send_odometry(at / per_scan, stamp)
            if now >= self._next_image:
                self._next_image = max(self._next_image + 1.0 / IMAGE_HZ, now)
                self._info_message.header.stamp = conversions.to_time(stamp)
                self._info.publish(self._info_message)
                self._image.send(at // per_scan, stamp)
                self.images += 1
            if tick % per_scan == 0:
                overdue = [old for old, sent in self._sent.items() if now - sent > deadline]
                self._missed += [now] * len(overdue) if self._counting else []
                for old in overdue:
                    del self._sent[old]
                self._sent[stamp] = time.perf_counter()
                self._scan.send(at // per_scan, stamp)
            if at == 0 or self._goals.idle:
                self._goals.begin(instruction)
            if tick % ODOM_HZ == 0:
                each_second(now - began)
            tick += 1

    def latency(self, since: float = -math.inf, until: float = math.inf) -> dict[str, Any]:
        """Return percentiles and misses of the commands that came in a span of time (of time.perf_counter)."""
        deadline = 1.0 / CONTROL_HZ
        values = np.array([took for at, took in self._latencies if since <= at < until])
        late = int((values > 1e3 * deadline).sum()) + sum(since <= at < until for at in self._missed)
        p50, p99 = np.percentile(values, [50, 99]) if len(values) else (math.nan, math.nan)
        return {
            "stamp_to_command_p50_ms": round(float(p50), 3),
            "stamp_to_command_p99_ms": round(float(p99), 3),
            "stamp_to_command_max_ms": round(float(values.max(initial=0.0)), 3),
            "commands": len(values),
            "deadline_ms": round(1e3 * deadline, 2),
            "deadline_misses": late,
        }

    def _send_odometry(self, at: float, stamp: int) -> None:
        k = min(int(at), len(self._drive) - 1)
        before, after = self._drive[k].odometry, self._drive[min(k + 1, len(self._drive) - 1)].odometry
        share = round((at - k) * (after.stamp_ns - before.stamp_ns))
        odometry = interpolate(before, after, before.stamp_ns + share) if share else before
        message = conversions.odometry_message(odometry, frames().odom, frames().base)
        message.header.stamp = conversions.to_time(stamp)
        self._odom.publish(message)


class _Goals:
    """Keeps the navigator busy. idle: whether nothing was asked for, or the last goal has ended."""

    def __init__(self, node: rclpy.node.Node) -> None:
        self._client = ActionClient(node, NavigateTo, topics().navigate_to)
        self._sent: Future | None = None
        self._result: Future | None = None
        self._accepted = math.inf

    @property
    def idle(self) -> bool:
        return self._sent is None or (self._result is not None and bool(self._result.done()))

    def begin(self, instruction: str) -> None:
        """Send a goal; it takes the place of the one before."""
        self._result, self._accepted = None, math.inf
        self._sent = self._client.send_goal_async(NavigateTo.Goal(instruction=instruction, timeout=600.0))

    def active_s(self, now: float) -> float:
        """Return for how long the present goal has been worked on, s; 0 when it is not."""
        if self._sent is not None and self._result is None and self._sent.done():
            self._result, self._accepted = self._sent.result().get_result_async(), now
        return 0.0 if self.idle else max(0.0, now - self._accepted)


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
