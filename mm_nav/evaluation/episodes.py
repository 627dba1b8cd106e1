"""Closed-loop episodes in generated worlds: what is asked, how it is driven, and whether it was done."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mm_nav.command import Command, ErrorCode, Stage
from mm_nav.errors import ConfigError
from mm_nav.evaluation.metrics import Outcome, spl
from mm_nav.evaluation.sensor_loss import LostSensor, SensorLoss
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal
from mm_nav.navigator import Navigator
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.observation import Observation
from mm_nav.runtime.policy import PolicySource
from mm_nav.safety.guard import Guard, GuardConfig
from mm_nav.sensing.messages import as_carried
from mm_nav.sim.episode import Episode, Judge, is_stopped
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.task_world import TaskWorld

_COAST_S = 1.5


@dataclass(frozen=True)
class EpisodeConfig:
    """How episodes are run.

    dt_s: seconds between observations. time_limit_s: simulated. lost: the sensor that stops delivering half-way, as
    SensorLoss says; "" = none.
    """

    dt_s: float = 0.1
    time_limit_s: float = 120.0
    sim: SimConfig = field(default_factory=lambda: SimConfig(camera=CameraConfig(width=192, height=144)))
    navigator: NavigatorConfig = field(default_factory=NavigatorConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    lost: LostSensor = ""


@dataclass(frozen=True)
class EpisodeContext:
    """What a policy factory may look at; a learned policy needs none of it, the oracle all of it."""

    episode: Episode
    task: TaskWorld
    simulator: Simulator


PolicyFactory = Callable[[EpisodeContext], PolicySource | None]


class Pilot(Protocol):
    """What drives to a goal: the Navigator, or something that stands in its place."""

    def set_goal(self, goal: Goal) -> None:
        """Start on a goal."""

    def step(self, observation: Observation) -> Command:
        """Return the command for one observation."""


PilotFactory = Callable[[EpisodeContext], Pilot]


@dataclass(frozen=True)
class StepRecord:
    """One step of an episode: what came in, what was decided, what drove (after the guard), and where it happened."""

    observation: Observation
    command: Command
    driven: Twist2D
    pose: Pose2D


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended.

    success: the navigator says so, the robot stands within reach of the right object, after all steps in order,
    without a collision. distance_to_target_m: over the floor, to the nearest satisfying object's surface. trace_hash:
    SHA-256 of every observation, command and true pose. path: (N, 3) x, y, yaw every half second, world frame, metres
    and rad. targets: the objects that count. ended_at: the object that it stands before. sensor_lost_at_s: when a sensor
    stopped delivering; None = all delivered to the end.
    """

    seed: int
    kind: str
    instruction: str
    success: bool
    collided: bool
    time_s: float
    path_length_m: float
    shortest_path_m: float
    spl: float
    error_code: int
    stage: str
    message: str
    distance_to_target_m: float
    steps_done: int
    guard_steps: int
    control_steps: int
    trace_hash: str
    path: tuple[tuple[float, float, float], ...] = ()
    targets: tuple[str, ...] = ()
    ended_at: str = ""
    sensor_lost_at_s: float | None = None

    def outcome(self) -> Outcome:
        """Return what the metrics need."""
        return Outcome(self.success, self.collided, self.path_length_m, self.shortest_path_m)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> EpisodeResult:
        """Return the result that `as_dict` gave. Raises ConfigError when fields are missing or unknown."""
        try:
            fields = {**data, "path": tuple(tuple(point) for point in data.get("path", ()))}
            fields["targets"] = tuple(data.get("targets", ()))
            for name in ("shortest_path_m", "distance_to_target_m"):
                fields[name] = math.inf if fields[name] is None else float(fields[name])
            return EpisodeResult(**fields)
        except (TypeError, KeyError) as error:
            raise ConfigError(
                f"an episode's record does not fit this version ({error}): run without --resume"
            ) from error


def run_episode(
    episode: Episode,
    task: TaskWorld,
    policy: PolicyFactory,
    config: EpisodeConfig | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
    pilot: PilotFactory | None = None,
) -> EpisodeResult:
    """Drive one episode: observe, Navigator.step, Guard.filter, simulate, every dt_s; end at success, failure or limit.

    policy: called once, before the first step. on_step: sees every step, for recording and pictures. pilot: makes what
    drives in place of the Navigator, without the policy.
    """
    config = config or EpisodeConfig()
    robot = config.sim.robot
    simulator = Simulator(task.scene, config.sim, seed=episode.seed, start=episode.start)
    context = EpisodeContext(episode, task, simulator)
    navigator: Pilot = Navigator(robot, config.navigator, policy(context)) if pilot is None else pilot(context)
    guard = Guard(robot, config.guard)
    navigator.set_goal(
        Goal(
            instruction=episode.instruction,
            pose=episode.pose,
            image=_picture(episode, task, config.sim),
            timeout_s=config.time_limit_s,
            id=f"episode-{episode.seed}-{episode.kind}",
        )
    )
    judge = Judge(episode, task)
    shortest = judge.shortest_path()
    loss = SensorLoss(config.lost, shortest, config.time_limit_s)
    trace = _Trace()
    length, guard_steps, count = 0.0, 0, 0
    path: list[tuple[float, float, float]] = []
    ended: Command | None = None
    while True:
        left = judge.left(simulator.pose) if loss.lost else math.inf
        observation = loss.filter(as_carried(simulator.observe()), left)
        command = navigator.step(observation)
        driven = guard.filter(command.twist, observation.odometry, observation.scan, observation.stamp_ns)
        guard_steps += driven.limited
        count += 1
        trace.add(observation, command, driven.twist, simulator.pose)
        judge.see(simulator.pose)
        if (count - 1) % max(1, round(0.5 / config.dt_s)) == 0:
            path.append(_rounded(simulator.pose))
        if on_step is not None:
            on_step(StepRecord(observation, command, driven.twist, simulator.pose))
        now = simulator.time_ns
        if command.stage in (Stage.SUCCEEDED, Stage.FAILED) and ended is None:
            ended = command
        if ended is not None and (is_stopped(simulator) or now - ended.stamp_ns > 1e9 * _COAST_S):
            break
        if simulator.collisions or now >= round(1e9 * config.time_limit_s):
            break
        before = simulator.pose
        simulator.step(driven.twist, config.dt_s)
        length += before.distance_to(simulator.pose)
    path.append(_rounded(simulator.pose))
    collided = simulator.collisions > 0
    last = ended or command
    success = (
        last.stage is Stage.SUCCEEDED and not collided and is_stopped(simulator) and judge.satisfied(simulator.pose)
    )
    return EpisodeResult(
        seed=episode.seed,
        kind=episode.kind,
        instruction=episode.instruction,
        success=success,
        collided=collided,
        time_s=1e-9 * simulator.time_ns,
        path_length_m=length,
        shortest_path_m=shortest,
        spl=spl(success, length, shortest),
        error_code=int(ErrorCode.TIMEOUT if ended is None and not collided else last.error),
        stage=last.stage.value,
        message=f"ran into {simulator.collision_with}" if collided else last.message,
        distance_to_target_m=judge.distance(simulator.pose),
        steps_done=judge.steps_done,
        guard_steps=guard_steps,
        control_steps=count,
        trace_hash=trace.digest(),
        path=tuple(path),
        targets=episode.target_names,
        ended_at=task.faced_object(simulator.pose),
        sensor_lost_at_s=None if loss.lost_at_ns is None else 1e-9 * loss.lost_at_ns,
    )


def _picture(episode: Episode, task: TaskWorld, sim: SimConfig) -> npt.NDArray[np.uint8] | None:
    """Return what the robot's camera would show from where the goal's picture is taken."""
    if episode.picture_from is None:
        return None
    return Simulator(task.scene, sim, seed=episode.seed, start=episode.picture_from).render().rgb


class _Trace:
    """A hash over everything an episode did; equal hashes mean bit-for-bit equal episodes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, observation: Observation, command: Command, driven: Twist2D, pose: Pose2D) -> None:
        odometry = observation.odometry
        numbers = (
            *_floats(odometry.pose), odometry.twist.linear, odometry.twist.angular,
            command.twist.linear, command.twist.angular, driven.linear, driven.angular, *_floats(pose),
        )  # fmt: skip
        self._hash.update(struct.pack(f"<qq{len(numbers)}d", observation.stamp_ns, int(command.error), *numbers))
        self._hash.update(command.stage.value.encode())
        arrays: tuple[npt.NDArray[Any] | None, ...] = (
            None if observation.scan is None else observation.scan.ranges,
            None if observation.image is None else observation.image.rgb,
            None if observation.cloud is None else observation.cloud.points,
        )
        for array in arrays:
            self._hash.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())

    def digest(self) -> str:
        return self._hash.hexdigest()


def _floats(pose: Pose2D) -> tuple[float, float, float]:
    return pose.x, pose.y, pose.yaw


def _rounded(pose: Pose2D) -> tuple[float, float, float]:
    return round(pose.x, 3), round(pose.y, 3), round(pose.yaw, 3)
