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
from diagnostic_msgs.msg import DiagnosticArray
from mm_nav_interfaces.action import NavigateTo
from mm_nav_interfaces.msg import GuardStatus
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from tf2_msgs.msg import TFMessage

from mm_nav.observation import Observation
from mm_nav.ros import conversions, qos
from mm_nav.ros.live_stack import CommandMeter, LiveStack, PlayedGoal, live_stack
from mm_nav.ros.topics import frames, topics
from mm_nav.ros.written import WrittenMessages
from mm_nav.runtime.stages import shares
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
    the moment its scan was sent to the moment the guard's status, which comes right behind it, arrives here. deadline_misses:
    scans without a command within 1/15 s while a goal was active. stage_NAME, share_NAME: where the time went (see
    `mm_nav.runtime.stages`). rss_mb: of the inference process at the end; rss_growth_mb: since the first tenth of the time.
    Raises MmNavError when the nodes do not come up.
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
    with live_stack("latency_player", logs, parameters) as stack:
        yield _Player(stack, drive)


class _Player:
    """Plays a drive. inference: process id of that node. levels: what it said that it runs, and when. stages: medians, ms,
    as the nodes report them."""

    def __init__(self, stack: LiveStack, drive: Sequence[Observation]) -> None:
        self.client, self._drive, node = stack.client, drive, stack.node
        self.inference = stack.group.processes["inference"].pid
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
        node.create_subscription(GuardStatus, t.guard_status, self._command, qos.STATUS)
        node.create_subscription(DiagnosticArray, t.diagnostics, self._diagnose, qos.STATUS)
        self.stages: dict[str, float] = {}
        self.levels: list[tuple[float, str]] = []
        self._meter = CommandMeter(1.0 / CONTROL_HZ, 1.0 / CONTROL_HZ)
        self._goal = PlayedGoal(node)
        self._next_image, self.images = 0.0, 0

    def _command(self, message: GuardStatus) -> None:
        self._meter.command(conversions.from_time(message.scan_stamp))

    def _diagnose(self, message: DiagnosticArray) -> None:
        self.stages |= conversions.times_from(message)
        self.levels += [(time.perf_counter(), s.message) for s in message.status if s.name == "/inference: mm_nav"]

    def play(self, instruction: str, seconds: float, each_second: Callable[[float], None]) -> None:
        """Play for so long. each_second(elapsed seconds)."""
        client, tick_s = self.client, 1.0 / ODOM_HZ
        per_scan, per_drive = ODOM_HZ // SCAN_HZ, len(self._drive) * (ODOM_HZ // SCAN_HZ)
        began = time.perf_counter()
        tick = 0
        while (now := time.perf_counter()) - began < seconds + _WARM_UP_S:
            due = began + tick * tick_s
            if now < due:
                client.spin(max(0.0, due - now))
                continue
            self._meter.counting = self._goal.active_s(now) > _SETTLED_S and now - began > _WARM_UP_S
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
                self._meter.scan(stamp)
                self._scan.send(at // per_scan, stamp)
            if at == 0 or self._goal.idle:
                self._goal.begin(NavigateTo.Goal(instruction=instruction, timeout=600.0))
            if tick % ODOM_HZ == 0:
                each_second(now - began)
            tick += 1

    def latency(self, since: float = -math.inf, until: float = math.inf) -> dict[str, Any]:
        """Return percentiles and misses of the commands that came in a span of time (of time.perf_counter)."""
        deadline = self._meter.deadline_s
        values, missed = self._meter.measured(since, until)
        late = int((values > 1e3 * deadline).sum()) + missed
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


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
