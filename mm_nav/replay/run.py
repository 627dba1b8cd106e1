"""What the stack would have done: a recording through the same synchroniser, Navigator and guard as the live robot."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mm_nav.bags.reader import BagReport
from mm_nav.command import PolicyOutput, Stage
from mm_nav.errors import BagError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal, PolicyGoal
from mm_nav.navigator import Navigator
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.replay.ahead import PolicyAhead
from mm_nav.replay.columns import Columns
from mm_nav.replay.film import FilmMaker
from mm_nav.replay.foresight import foresee
from mm_nav.replay.open_loop import OpenLoop, clearance, scan_points
from mm_nav.replay.reading import Place, Reading, open_reading
from mm_nav.replay.records import AHEAD_S, STAGES, Event, ReplayLog, ReplayStep, StepSink
from mm_nav.replay.sensors import gaps_of, topics_of
from mm_nav.replay.source import Recorded, fingerprint
from mm_nav.replay.summary import WINDOW_S, events_of, measures_of, remarks_on, windows_of
from mm_nav.robot import RobotConfig
from mm_nav.runtime.familiarity import Familiarity
from mm_nav.runtime.policy import OnnxPolicy, PolicySource
from mm_nav.runtime.preprocess import RecentInputs
from mm_nav.safety.guard import Guard, GuardConfig, Issued
from mm_nav.sensing.movers import FollowedTracker, FollowingTracker
from mm_nav.sensing.synchronizer import SyncConfig

_NOWHERE = np.full((len(AHEAD_S), 3), np.nan)
# Python hands the interpreter from thread to thread so often: the network's thread must not wait for it.
_SWITCH_S = 0.0005
_NAMED = 4  # goals that are named
_REASONS = 8  # why frames are strange, that are kept
# Where a place is driven to there is nothing to believe in.
_NO_TARGET = (Stage.FOLLOWING, Stage.IDLE, Stage.MOVING)
_MODALITIES = ("scan", "image", "cloud")


@dataclass(frozen=True)
class ReplayConfig:
    """How a recording is run through the stack. film: whether pictures are kept for a report. reading: "here" = one thing after the
    other; "thread" = reading and the policy run ahead in threads of their own; "process" = reading in a process, which pays for
    its start after a minute, and lends pictures for two steps only. The commands are the same."""

    robot: RobotConfig = field(default_factory=RobotConfig)
    navigator: NavigatorConfig = field(default_factory=NavigatorConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    sync: SyncConfig = field(default_factory=SyncConfig)
    film: bool = False
    reading: Place = "thread"


@dataclass
class ReplayResult:
    """What a replay showed. log: everything for a report. Latency is wall-clock time of Navigator.step and Guard.filter, ms."""

    bag: BagReport
    goal: str
    fingerprint: str
    log: ReplayLog = field(default_factory=ReplayLog)
    error_code: int = 0
    ended: str = ""
    message_time_s: float = 0.0
    wall_s: float = 0.0

    @property
    def steps(self) -> int:
        """Number of observations."""
        return len(self.log.columns["time_s"]) if self.log.columns else 0

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of `mm-nav replay` for one recording: flat, but for windows and topics."""
        c = self.log.columns
        share = {name: float(np.nanmean(c[f"has_{name}"])) for name in _MODALITIES}
        topics = topics_of(self.bag)
        return {
            "bag": self.bag.path,
            "bag_fingerprint": self.fingerprint,
            "goal": self.goal,
            "steps": self.steps,
            "duration_s": round(self.bag.duration_s, 3),
            "message_time_s": round(self.message_time_s, 3),
            "modalities": [name for name in sorted(_MODALITIES) if share[name] > 0],
            **{f"{name}_share": round(value, 4) for name, value in share.items()},
            **{f"{kind}_topic": topic for kind, topic in self.bag.used.items()},
            **{f"{kind}_messages": count for kind, count in self.bag.counts.items()},
            **{f"{topic['kind']}_rate_hz": topic["rate_hz"] for topic in topics},
            **{f"{topic['kind']}_gaps": topic["gaps"] for topic in topics},
            **measures_of(c),
            "strange_reasons": self.log.strange,
            "ended": self.ended,
            "error_code": self.error_code,
            "realtime_factor": self.message_time_s / self.wall_s if self.wall_s > 0 else math.nan,
            "wall_s": round(self.wall_s, 3),
            "messages_skipped": sum(self.bag.skipped.values()),
            "warnings": self.bag.warnings,
            "window_s": WINDOW_S,
            "windows": windows_of(c),
            "topics": topics,
        }


def replay(
    path: Path | Sequence[Path],
    goals: Goal | Sequence[Goal],
    policy: PolicySource | None = None,
    config: ReplayConfig | None = None,
    topics: Mapping[str, str] | None = None,
    sinks: Sequence[StepSink] = (),
    on_time: Callable[[float], None] | None = None,
    familiarity: Familiarity | None = None,
) -> ReplayResult:
    """Run a recording through the stack, as fast as possible; the same recording gives the same commands.

    goals: one, or several that are taken up one after the other. After the last has ended the stack goes on sensing,
    with commands of zero. policy: None for goals that are poses; where it is given with such a goal, its waypoints are measured
    although they are not driven. sinks: get each step. on_time: gets the share of the recording that is done, 0 to 1.
    familiarity: says of each frame how unlike the training it is. Raises BagError when the recording cannot be used, GoalError
    when the goal cannot be followed.
    """
    config = config or ReplayConfig()
    waiting = [goals] if isinstance(goals, Goal) else list(goals)
    described = ", then ".join(_describe(goal) for goal in waiting[:_NAMED])
    if len(waiting) > _NAMED:
        described += f" and {len(waiting) - _NAMED} more"
    with ExitStack() as stack:
        ahead = None if policy is None else stack.enter_context(PolicyAhead(policy))
        if config.reading != "here":
            stack.enter_context(_switching())
        shared = stack.enter_context(_sharing(policy)) if familiarity is not None else None
        reading = stack.enter_context(
            open_reading(path, topics, config.sync, familiarity, shared, config.reading, config.robot)
        )
        report = reading.report
        result = ReplayResult(report, described, fingerprint(path))
        run = _Run(config, waiting, ahead, result)
        started = time.perf_counter()
        for item, upcoming in _with_next(reading.items):
            if ahead is not None and config.reading != "here":
                ahead.expect(None if upcoming is None else upcoming.observation)
            step = run.step(item)
            for sink in sinks:
                sink(step)
            if on_time is not None and report.duration_s > 0:
                on_time(min(1.0, result.message_time_s / report.duration_s))
        result.wall_s = time.perf_counter() - started
        if not run.columns:
            reasons = "; ".join(report.warnings) or "scans and odometry never overlap in time"
            raise BagError(f"{report.path} gave no observation ({reasons}): check its topics and stamps")
        run.finish()
        result.log.events = sorted([*result.log.events, *gaps_of(report)], key=lambda event: event.time_s)
        _warn(result, reading)
    return result


class _Run:
    """The stack, and what is noted of each of its steps."""

    def __init__(
        self, config: ReplayConfig, waiting: list[Goal], policy: PolicyAhead | None, result: ReplayResult
    ) -> None:
        self._config, self._waiting, self._policy, self._result = config, waiting, policy, result
        self._navigator = Navigator(config.robot, config.navigator, policy)
        self._goal = waiting.pop(0)
        self._navigator.set_goal(self._goal)
        # Most often both see the same scan from the same place: who moves about is found out once.
        tracker = self._navigator.known.tracker = FollowedTracker()
        self._guard = Guard(config.robot, config.guard, FollowingTracker(tracker))
        self._told = Issued()
        self._open_loop = OpenLoop(config.robot)
        self._film = FilmMaker() if config.film else None
        self._first_ns: int | None = None
        self._stage = ""
        self.columns = Columns()
        self._reasons: Counter[str] = Counter()
        self._events: list[Event] = [Event(0.0, "goal", _describe(self._goal))]

    def step(self, item: Recorded) -> ReplayStep:
        """Do one step of the stack, and measure it."""
        observation, policy = item.observation, self._policy
        navigator, odometry = self._navigator, observation.odometry
        active = navigator.active
        waited = 0.0 if policy is None else policy.waited_s
        begun = time.perf_counter()
        command = navigator.step(observation)
        guarded = self._guard.filter(command.twist, odometry, observation.scan, observation.stamp_ns)
        spent = time.perf_counter() - begun
        output: PolicyOutput | None = None
        if policy is not None:
            spent -= policy.waited_s - waited
            output = policy.taken()
            if output is not None:
                spent += 1e-3 * output.inference_ms
            elif active and self._goal.pose is not None and navigator.policy_goal is None:
                policy(observation, PolicyGoal(f"{self._goal.id}/measured", pose=self._goal.pose))
                output = policy.taken()
            else:
                policy.skip(observation)
        told = item.told or odometry.twist
        recorded_ = self._guard.judge(told, self._told, observation.stamp_ns)
        self._told.add(observation.stamp_ns, told)
        plan, pose = navigator.progress.path, odometry.pose
        foreseen = (
            foresee(self._config.robot, pose, odometry.twist, guarded.twist, plan) if navigator.active else _NOWHERE
        )
        step = ReplayStep(
            observation, command, guarded, recorded_, navigator.progress, output, foreseen, 1e3 * spent, {},
            navigator.grid,
        )  # fmt: skip
        time_s = self._note(step, item, active)
        self._follow_goals(command.message, int(command.error), time_s, pose)
        return step

    def finish(self) -> None:
        """Put the log together."""
        for index, values in self._open_loop.finish():
            self.columns.set(index, values)
        log = self._result.log
        log.columns = dict(self.columns.arrays())
        log.events = sorted([*self._events, *events_of(log.columns)], key=lambda event: event.time_s)
        log.map = self._navigator.grid.export()
        log.strange = dict(self._reasons.most_common(_REASONS))
        log.film = [] if self._film is None else self._film.frames

    def _note(self, step: ReplayStep, item: Recorded, active: bool) -> float:
        observation, command, twist = step.observation, step.command, step.observation.odometry.twist
        if self._first_ns is None:
            self._first_ns = observation.stamp_ns
        time_s = 1e-9 * (observation.stamp_ns - self._first_ns)
        self._result.message_time_s = max(self._result.message_time_s, time_s)
        pose, scan, output, progress = observation.odometry.pose, observation.scan, step.output, step.progress
        asked = command.twist
        step.live.update(
            time_s=time_s,
            x=pose.x,
            y=pose.y,
            yaw=pose.yaw,
            recorded_linear=twist.linear,
            recorded_angular=twist.angular,
            wanted_linear=asked.linear,
            wanted_angular=asked.angular,
            linear=step.guarded.twist.linear,
            angular=step.guarded.twist.angular,
            limited=step.guarded.limited,
            stopped=_moves(asked) and step.guarded.twist == Twist2D(),
            recorded_limited=step.recorded.limited,
            recorded_stopped=_moves(item.told or twist) and step.recorded.twist == Twist2D(),
            active=active,
            stage=STAGES.index(command.stage),
            confidence=math.nan if command.stage in _NO_TARGET else progress.confidence,
            distance_m=progress.distance_m,
            latency_ms=step.latency_ms,
            **{f"has_{name}": getattr(observation, name) is not None for name in _MODALITIES},
        )
        if item.strange is not None:
            step.live.update(strange_image=item.strange.image, strange_scan=item.strange.scan)
            if item.strange.why:
                self._reasons[item.strange.why] += 1
        if item.told is not None:
            step.live.update(told_linear=item.told.linear, told_angular=item.told.angular)
        if scan is not None:
            step.live["clearance_m"] = clearance(self._config.robot, scan_points(scan))
        if output is not None:
            step.live.update(inference_ms=output.inference_ms)
            if active and (goal := self._navigator.policy_goal) is not None and goal.pose is None:
                step.live.update(
                    visible=output.visible, bearing=float(output.bearings[int(output.bearing_probs.argmax())])
                )
        index = self.columns.add(step.live)
        for earlier, values in self._open_loop.add(index, time_s, step):
            self.columns.set(earlier, values)
        if self._film is not None:
            self._film.add(step, time_s)
        if command.stage.value != self._stage:
            self._stage = command.stage.value
            self._events.append(Event(time_s, "stage", self._stage))
        return time_s

    def _follow_goals(self, message: str, error: int, time_s: float, pose: Pose2D) -> None:
        if message:
            self._result.ended, self._result.error_code = message, error
            self._events.append(Event(time_s, "goal", message))
        place = self._goal.pose
        # The recorded robot does not stop for the stack, which would take its time at a place.
        passed = place is not None and pose.distance_to(place) <= self._config.navigator.pose_tolerance_m
        if self._waiting and (passed or not self._navigator.active):
            self._goal = self._waiting.pop(0)
            self._navigator.set_goal(self._goal)
            self._events.append(Event(time_s, "goal", _describe(self._goal)))


@contextmanager
def _switching() -> Iterator[None]:
    """Let the threads of a replay take turns quickly, and OpenCV have none of its own: they would take the policy's core."""
    before, threads = sys.getswitchinterval(), cv2.getNumThreads()
    sys.setswitchinterval(_SWITCH_S)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        cv2.setNumThreads(threads)


@contextmanager
def _sharing(policy: PolicySource | None) -> Iterator[RecentInputs | None]:
    """Let a policy look at inputs that were made for another purpose, too."""
    if not isinstance(policy, OnnxPolicy):
        yield None
        return
    before, shared = policy.preprocess, RecentInputs(policy.config)
    policy.preprocess = shared
    try:
        yield shared
    finally:
        policy.preprocess = before


def _with_next(items: Iterator[Recorded]) -> Iterator[tuple[Recorded, Recorded | None]]:
    """Yield each item with the one after it, None after the last."""
    last = next(items, None)
    while last is not None:
        upcoming = next(items, None)
        yield last, upcoming
        last = upcoming


def _moves(twist: Twist2D) -> bool:
    return abs(twist.linear) > 0.01 or abs(twist.angular) > 0.01


def _warn(result: ReplayResult, sync: Reading) -> None:
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
    for remark in remarks_on(result.log.columns):
        report.warn(remark)


def _describe(goal: Goal) -> str:
    if goal.instruction:
        return goal.instruction
    return f"pose {goal.pose.x:.2f}, {goal.pose.y:.2f}" if goal.pose is not None else "picture"
