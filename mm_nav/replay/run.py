"""What the stack would have done: a recording through the same synchroniser, Navigator and guard as the live robot."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav.bags.reader import BagMessage, BagReader, BagReport
from mm_nav.command import Command
from mm_nav.errors import BagError
from mm_nav.geometry import Pose2D
from mm_nav.goal import Goal
from mm_nav.navigator import Navigator
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud
from mm_nav.robot import RobotConfig
from mm_nav.runtime.policy import PolicySource
from mm_nav.safety.guard import Guard, GuardConfig, GuardResult
from mm_nav.sensing.clouds import planar_scan
from mm_nav.sensing.synchronizer import ObservationSynchronizer, SyncConfig


@dataclass(frozen=True)
class ReplayConfig:
    """How a recording is run through the stack."""

    robot: RobotConfig = field(default_factory=RobotConfig)
    navigator: NavigatorConfig = field(default_factory=NavigatorConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    sync: SyncConfig = field(default_factory=SyncConfig)


@dataclass(frozen=True)
class ReplayStep:
    """One step: the observation, the navigator's command, what the guard made of it, and how long both took."""

    observation: Observation
    command: Command
    guarded: GuardResult
    latency_ms: float


@dataclass
class ReplayResult:
    """What a replay showed. Latency is wall-clock time of Navigator.step and Guard.filter, milliseconds."""

    bag: BagReport
    goal: str
    steps: int = 0
    modalities: dict[str, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    linear: list[float] = field(default_factory=list)
    angular: list[float] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)
    guard_stops: int = 0
    guard_limited: int = 0
    error_code: int = 0
    ended: str = ""
    message_time_s: float = 0.0
    wall_s: float = 0.0
    path: list[tuple[float, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the flat JSON of `mm-nav replay`."""
        share = {name: count / self.steps for name, count in self.modalities.items() if self.steps}
        return {
            "bag": self.bag.path,
            "goal": self.goal,
            "steps": self.steps,
            "duration_s": round(self.bag.duration_s, 3),
            "message_time_s": round(self.message_time_s, 3),
            "modalities": sorted(name for name, count in self.modalities.items() if count),
            **{f"{name}_share": round(value, 4) for name, value in share.items()},
            **{f"{kind}_topic": topic for kind, topic in self.bag.used.items()},
            **{f"{kind}_messages": count for kind, count in self.bag.counts.items()},
            "linear_mean_mps": _mean(self.linear),
            "linear_max_mps": max(self.linear, default=math.nan),
            "angular_mean_abs_rps": _mean([abs(v) for v in self.angular]),
            "angular_max_abs_rps": max((abs(v) for v in self.angular), default=math.nan),
            "moving_share": _mean(
                [float(abs(v) > 0.01 or abs(w) > 0.01) for v, w in zip(self.linear, self.angular, strict=True)]
            ),
            "stages": dict(self.stages),
            "ended": self.ended,
            "error_code": self.error_code,
            "guard_stops": self.guard_stops,
            "guard_limited": self.guard_limited,
            "latency_p50_ms": _percentile(self.latencies_ms, 50),
            "latency_p99_ms": _percentile(self.latencies_ms, 99),
            "latency_max_ms": max(self.latencies_ms, default=math.nan),
            "realtime_factor": self.message_time_s / self.wall_s if self.wall_s > 0 else math.nan,
            "wall_s": round(self.wall_s, 3),
            "messages_skipped": sum(self.bag.skipped.values()),
            "warnings": self.bag.warnings,
        }


def driven_goals(path: Path, topics: Mapping[str, str] | None = None, timeout_s: float = 1e6) -> tuple[Goal, ...]:
    """Return where the recorded drive went, as pose goals: its end or, when that is near its start, its farthest
    place first.

    Raises BagError when there is no usable odometry.
    """
    with BagReader(path, topics) as reader:
        items = (message.item for message in reader.messages(kinds=("odometry",)))
        poses = [item.pose for item in items if isinstance(item, Odometry) and _finite(item.pose)]
    if not poses:
        raise BagError(f"{path} has no usable odometry: give a goal with --goal or --goal-pose")
    end, farthest = poses[-1], max(poses, key=poses[0].distance_to)
    round_trip = end.distance_to(poses[0]) < 0.5 * farthest.distance_to(poses[0])
    places = (farthest, end) if round_trip else (end,)
    return tuple(Goal(pose=place, timeout_s=timeout_s) for place in places)


def observations(reader: BagReader, sync: ObservationSynchronizer) -> Iterator[Observation]:
    """Yield the observations that a live stack would have made of a recording's messages.

    Where there is no planar LiDAR, one is made of the point clouds.
    """
    flatten = "cloud" in reader.report.used and "scan" not in reader.report.used
    for message in reader.messages():
        yield from _push(sync, message, flatten)
    yield from sync.flush()


def replay(
    path: Path,
    goals: Goal | Sequence[Goal],
    policy: PolicySource | None = None,
    config: ReplayConfig | None = None,
    topics: Mapping[str, str] | None = None,
    on_step: Callable[[ReplayStep], None] | None = None,
    on_time: Callable[[float], None] | None = None,
) -> ReplayResult:
    """Run a recording through the stack, as fast as possible; the same recording gives the same commands.

    goals: one, or several that are taken up one after the other. After the last has ended the stack goes on sensing,
    with commands of zero. on_time: gets the share of the recording that is done, 0 to 1. Raises BagError when the
    recording cannot be used, GoalError when the goal cannot be followed.
    """
    config = config or ReplayConfig()
    waiting = [goals] if isinstance(goals, Goal) else list(goals)
    described = ", then ".join(_describe(goal) for goal in waiting)
    with BagReader(path, topics) as reader:
        navigator = Navigator(config.robot, config.navigator, policy)
        navigator.set_goal(waiting.pop(0))
        guard = Guard(config.robot, config.guard)
        sync = ObservationSynchronizer(config.sync)
        result = ReplayResult(reader.report, described, modalities={"scan": 0, "image": 0, "cloud": 0})
        started = time.perf_counter()
        first: int | None = None
        for observation in observations(reader, sync):
            begun = time.perf_counter()
            command = navigator.step(observation)
            guarded = guard.filter(command.twist, observation.odometry, observation.scan, observation.stamp_ns)
            latency = 1e3 * (time.perf_counter() - begun)
            first = observation.stamp_ns if first is None else first
            result.message_time_s = max(0.0, 1e-9 * (observation.stamp_ns - first))
            _count(result, ReplayStep(observation, command, guarded, latency))
            if waiting and not navigator.active:
                navigator.set_goal(waiting.pop(0))
            if on_step is not None:
                on_step(ReplayStep(observation, command, guarded, latency))
            if on_time is not None and reader.report.duration_s > 0:
                on_time(min(1.0, result.message_time_s / reader.report.duration_s))
        result.wall_s = time.perf_counter() - started
        _warn(result, sync)
    if result.steps == 0:
        reasons = "; ".join(reader.report.warnings) or "scans and odometry never overlap in time"
        raise BagError(f"{path} gave no observation ({reasons}): check its topics and stamps")
    return result


def _push(sync: ObservationSynchronizer, message: BagMessage, flatten: bool) -> list[Observation]:
    item = message.item
    if isinstance(item, Odometry):
        return sync.push_odometry(item)
    if isinstance(item, LaserScan):
        return sync.push_scan(item)
    if isinstance(item, CameraImage):
        return sync.push_image(item)
    assert isinstance(item, PointCloud)
    made = sync.push_scan(planar_scan(item)) if flatten else []
    return made + sync.push_cloud(item)


def _count(result: ReplayResult, step: ReplayStep) -> None:
    result.steps += 1
    for name in result.modalities:
        result.modalities[name] += getattr(step.observation, name) is not None
    result.latencies_ms.append(step.latency_ms)
    result.linear.append(step.guarded.twist.linear)
    result.angular.append(step.guarded.twist.angular)
    result.stages[step.command.stage.value] += 1
    result.guard_limited += step.guarded.limited
    asked, given = step.command.twist, step.guarded.twist
    moving = abs(asked.linear) > 0.01 or abs(asked.angular) > 0.01
    result.guard_stops += moving and given.linear == 0.0 and given.angular == 0.0
    if step.command.message:
        result.ended, result.error_code = step.command.message, int(step.command.error)
    pose = step.observation.odometry.pose
    result.path.append((pose.x, pose.y))


def _warn(result: ReplayResult, sync: ObservationSynchronizer) -> None:
    report = result.bag
    for kind, counts in sync.counts.items():
        for what, number in (("duplicate", counts.duplicate), ("late", counts.late), ("invalid", counts.invalid)):
            if number:
                report.warn(f"{number} {what} {kind} messages were not used")
    if sync.counts["odometry"].dropped:
        report.warn(
            f"{sync.counts['odometry'].dropped} observations had no odometry near their stamp and were left out"
        )
    if sync.resets:
        report.warn(f"the clock jumped back {sync.resets} times; the stack started anew each time")
    for kind in ("image", "scan"):
        if kind not in report.used:
            report.warn(f"no {kind} topic: the stack ran without {'a camera' if kind == 'image' else 'a planar LiDAR'}")


def _describe(goal: Goal) -> str:
    if goal.instruction:
        return goal.instruction
    return f"pose {goal.pose.x:.2f}, {goal.pose.y:.2f}" if goal.pose is not None else "picture"


def _finite(pose: Pose2D) -> bool:
    return all(map(math.isfinite, (pose.x, pose.y, pose.yaw)))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, share)) if values else math.nan
