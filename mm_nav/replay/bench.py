"""How fast a recording is evaluated on this machine, and in how much memory: a long one with a camera and a LiDAR."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mm_nav.bags.writer import open_writer
from mm_nav.evaluation.bench_latency import record_drive
from mm_nav.geometry import Twist2D
from mm_nav.goal import Goal
from mm_nav.observation import Observation, Odometry
from mm_nav.replay.records import ReplayStep
from mm_nav.replay.run import ReplayConfig, replay
from mm_nav.runtime.familiarity import Familiarity
from mm_nav.runtime.policy import OnnxPolicy, default_model
from mm_nav.sensing.synchronizer import interpolate

SCAN_HZ, IMAGE_HZ, ODOM_HZ = 10, 30, 50
_STEP_NS = 1_000_000_000 // SCAN_HZ
_JPEG = 85
_PARTS = 10  # of the recording, at whose ends memory is looked at
Progress = Callable[[str, float], None]


def bench_evaluation(minutes: float, progress: Progress = lambda what, share: None) -> dict[str, Any]:
    """Return how much faster than real time the tiny model's stack is evaluated on a recording of so many minutes.

    A drive of the simulator (640x480 pictures as JPEG at 30 Hz, scans of 360 beams at 10 Hz, odometry at 50 Hz) is recorded as
    MCAP, there and back again and again: on the way back the robot backs up. The stack is asked for one thing after the other, so
    that it always has something to do. realtime_factor: with everything measured, without a report. report_realtime_factor: with
    its pictures. rss_mb: of the processes near its end; rss_growth_mb: since a tenth of the recording. active_share: of the steps
    with a goal.
    """
    progress("recording a drive", 0.0)
    instruction, drive = record_drive(60.0)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "drive"
        _write(path, drive, minutes, lambda share: progress("writing the recording", share))
        size_mb = sum(file.stat().st_size for file in path.iterdir()) / 1e6
        goals = [Goal(instruction, timeout_s=1e6, id=str(k)) for k in range(round(60 * minutes) + 1)]
        report: dict[str, Any] = {"minutes": minutes, "recording_mb": round(size_mb, 1)}
        policy, familiarity = OnnxPolicy(default_model(), provider="cpu"), Familiarity.beside(default_model())
        for name, film in (("", False), ("report_", True)):
            resident: list[float] = []

            def look(step: ReplayStep, resident: list[float] = resident) -> None:
                # The last look is a little before the end.
                if step.live["time_s"] >= 59.0 * minutes * (len(resident) + 1) / _PARTS:
                    resident.append(resident_mb())

            result = replay(
                path, goals, policy, ReplayConfig(film=film, reading="process"), sinks=[look], familiarity=familiarity,
                on_time=lambda share: progress("evaluating", share),
            )  # fmt: skip
            data = result.as_dict()
            report[f"{name}realtime_factor"] = round(data["realtime_factor"], 3)
            report[f"{name}rss_mb"] = round(resident[-1], 1)
            report[f"{name}rss_growth_mb"] = round(resident[-1] - resident[0], 1)
            if not film:
                report |= {key: data[key] for key in ("steps", "active_share", "latency_p50_ms", "latency_p99_ms")}
    return report


def resident_mb() -> float:
    """Return how much memory this process and those it has started hold, MB; files that the system can drop from memory at any
    time do not count."""
    total = 0
    for pid in ("self", *(child.pid for child in multiprocessing.active_children())):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return total * 1024 / 1e6


def _write(path: Path, drive: Sequence[Observation], minutes: float, progress: Callable[[float], None]) -> None:
    """Write a drive there and back, for so many minutes. drive: ten observations a second, with pictures and scans."""
    back = [_backwards(observation) for observation in reversed(drive)]
    loop = [*drive, *back]
    count = round(60 * minutes * SCAN_HZ)
    with open_writer(path, jpeg_quality=_JPEG) as writer:
        for k in range(count):
            now = (k + 1) * _STEP_NS
            one, following = (_at(loop[(k + j) % len(loop)], now + j * _STEP_NS) for j in range(2))
            assert one.scan is not None and one.image is not None
            due = [(now, "scan", 0)]
            due += [(now + j * 1_000_000_000 // IMAGE_HZ, "image", j) for j in range(IMAGE_HZ // SCAN_HZ)]
            due += [(now + j * 1_000_000_000 // ODOM_HZ, "odometry", j) for j in range(ODOM_HZ // SCAN_HZ)]
            for stamp, kind, _ in sorted(due):
                if kind == "scan":
                    writer.add_scan(one.scan, stamp)
                elif kind == "image":
                    writer.add_image(replace(one.image, stamp_ns=stamp), stamp)
                else:
                    writer.add_odometry(interpolate(one.odometry, following.odometry, stamp), stamp)
            if k % 100 == 0:
                progress(k / count)


def _at(observation: Observation, stamp_ns: int) -> Observation:
    assert observation.scan is not None
    return replace(
        observation,
        stamp_ns=stamp_ns,
        odometry=replace(observation.odometry, stamp_ns=stamp_ns),
        scan=replace(observation.scan, stamp_ns=stamp_ns),
    )


def _backwards(observation: Observation) -> Observation:
    odometry = observation.odometry
    twist = Twist2D(-odometry.twist.linear, -odometry.twist.angular)
    return replace(observation, odometry=Odometry(odometry.stamp_ns, odometry.pose, twist))
