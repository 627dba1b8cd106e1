"""Closed-loop episodes in generated worlds: what is asked, how it is driven, and whether it was done."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.command import Command, ErrorCode, Stage
from mm_nav.errors import ConfigError
from mm_nav.evaluation.metrics import Outcome, spl
from mm_nav.evaluation.task_world import TaskWorld, generated_task_world
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal
from mm_nav.navigator import Navigator
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.observation import Observation
from mm_nav.runtime.policy import PolicySource
from mm_nav.safety.guard import Guard, GuardConfig
from mm_nav.sensing.messages import as_carried
from mm_nav.sim.instructions import KINDS, Instruction, Split, sample_instruction
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator

SUCCESS_RADIUS_M = 1.0
# An earlier step of a sequence counts as done when the robot came this close to it.
PASSING_RADIUS_M = 1.5
POSE_RADIUS_M = 0.5
_STOPPED = 0.02  # m/s and rad/s
_COAST_S = 1.5


@dataclass(frozen=True)
class Episode:
    """One task. The same seed and kind give the same task.

    seed: of the world, the sentence and the sensors' noise. kind: one of mm_nav.sim.instructions.KINDS, or "pose".
    steps: per step of the sentence, the names of the objects that satisfy it. phrases: the noun phrase of each step.
    start: world frame. pose: the goal of kind "pose", world frame.
    """

    seed: int
    kind: str
    instruction: str
    steps: tuple[tuple[str, ...], ...]
    phrases: tuple[str, ...]
    start: Pose2D
    pose: Pose2D | None = None

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the objects where the robot may stop."""
        return self.steps[-1] if self.steps else ()


@dataclass(frozen=True)
class EpisodeConfig:
    """How episodes are run. dt_s: seconds between observations. time_limit_s: simulated. camera: None = no camera."""

    dt_s: float = 0.1
    time_limit_s: float = 120.0
    sim: SimConfig = field(default_factory=lambda: SimConfig(camera=CameraConfig(width=192, height=144)))
    navigator: NavigatorConfig = field(default_factory=NavigatorConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)


@dataclass(frozen=True)
class EpisodeContext:
    """What a policy factory may look at; a learned policy needs none of it, the oracle all of it."""

    episode: Episode
    task: TaskWorld
    simulator: Simulator


PolicyFactory = Callable[[EpisodeContext], PolicySource | None]


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
    and rad. targets: the objects that count. ended_at: the object that it stands before.
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


def kind_of(seed: int) -> str:
    """Return the kind of sentence that a mixed suite gives this seed."""
    return KINDS[seed % len(KINDS)]


def make_episode(
    seed: int, kind: str | None = None, split: Split = "train", min_distance_m: float = 1.5
) -> tuple[Episode, TaskWorld]:
    """Return the episode of a seed, and its world.

    kind: None = `kind_of(seed)`; "pose" gives a place instead of a sentence. split: which phrasings. min_distance_m:
    the shortest way to success is at least this long where the world allows it. Raises ConfigError for an unknown
    kind or when nothing in the world can be reached.
    """
    kind = kind or kind_of(seed)
    if kind not in (*KINDS, "pose"):
        raise ConfigError(f"episode kind '{kind}' is not known: give one of {', '.join((*KINDS, 'pose'))}")
    generated, task = generated_task_world(seed)
    rng = np.random.default_rng([seed, 11])
    if kind == "pose":
        return _pose_episode(seed, rng, generated.start, task), task
    best: tuple[float, Instruction] | None = None
    for index in rng.permutation(len(task.objects)):
        drawn = sample_instruction(rng, task.objects[index], task.objects, kind, split)
        length = task.shortest_path(generated.start, drawn.steps, step_radii(len(drawn.steps)))
        if math.isfinite(length) and (best is None or length > best[0]):
            best = (length, drawn)
            if length >= min_distance_m:
                break
    if best is None:
        raise ConfigError(f"nothing in the world of seed {seed} can be reached from its start: use another seed")
    said = best[1]
    return Episode(seed, said.kind, said.text, said.steps, said.phrases, generated.start), task


def step_radii(count: int) -> tuple[float, ...]:
    """Return how near each of `count` steps must be reached, metres."""
    return (PASSING_RADIUS_M,) * (count - 1) + (SUCCESS_RADIUS_M,)


def run_episode(
    episode: Episode,
    task: TaskWorld,
    policy: PolicyFactory,
    config: EpisodeConfig | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
) -> EpisodeResult:
    """Drive one episode: observe, Navigator.step, Guard.filter, simulate, every dt_s; end at success, failure or limit.

    policy: called once, before the first step. on_step: sees every step, for recording and pictures.
    """
    config = config or EpisodeConfig()
    robot = config.sim.robot
    simulator = Simulator(task.scene, config.sim, seed=episode.seed, start=episode.start)
    source = policy(EpisodeContext(episode, task, simulator))
    navigator = Navigator(robot, config.navigator, source)
    guard = Guard(robot, config.guard)
    navigator.set_goal(
        Goal(
            instruction=episode.instruction,
            pose=episode.pose,
            timeout_s=config.time_limit_s,
            id=f"episode-{episode.seed}-{episode.kind}",
        )
    )
    judge = _Judge(episode, task)
    trace = _Trace()
    length, guard_steps, count = 0.0, 0, 0
    path: list[tuple[float, float, float]] = []
    ended: Command | None = None
    while True:
        observation = as_carried(simulator.observe())
        command = navigator.step(observation)
        driven = guard.filter(command.twist, observation.odometry.twist, observation.scan, observation.stamp_ns)
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
        if ended is not None and (_stopped(simulator) or now - ended.stamp_ns > 1e9 * _COAST_S):
            break
        if simulator.collisions or now >= round(1e9 * config.time_limit_s):
            break
        before = simulator.pose
        simulator.step(driven.twist, config.dt_s)
        length += before.distance_to(simulator.pose)
    path.append(_rounded(simulator.pose))
    collided = simulator.collisions > 0
    shortest = judge.shortest_path()
    last = ended or command
    success = last.stage is Stage.SUCCEEDED and not collided and _stopped(simulator) and judge.satisfied(simulator.pose)
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
    )


class _Judge:
    """Keeps track of which steps were done, from true poses."""

    def __init__(self, episode: Episode, task: TaskWorld) -> None:
        self._episode, self._task = episode, task
        self.steps_done = 0

    def see(self, pose: Pose2D) -> None:
        """Note a pose on the way; all steps but the last are done by coming near."""
        steps = self._episode.steps
        while self.steps_done < len(steps) - 1 and self._task.is_near(
            steps[self.steps_done], pose.x, pose.y, PASSING_RADIUS_M
        ):
            self.steps_done += 1

    def satisfied(self, pose: Pose2D) -> bool:
        """Return whether stopping at `pose` completes the task."""
        if self._episode.pose is not None:
            return pose.distance_to(self._episode.pose) <= POSE_RADIUS_M
        names = self._episode.target_names
        if self.steps_done < len(self._episode.steps) - 1 or not self._task.is_near(
            names, pose.x, pose.y, SUCCESS_RADIUS_M
        ):
            return False
        self.steps_done = len(self._episode.steps)
        return True

    def distance(self, pose: Pose2D) -> float:
        """Return metres over the floor to the target."""
        if self._episode.pose is not None:
            return pose.distance_to(self._episode.pose)
        return self._task.surface_distance(self._episode.target_names, pose.x, pose.y)

    def shortest_path(self) -> float:
        """Return the length of the shortest way from the start to success, metres."""
        episode, truth = self._episode, self._task.truth
        if episode.pose is None:
            return self._task.shortest_path(episode.start, episode.steps, step_radii(len(episode.steps)))
        target = np.zeros(truth.shape, bool)
        row, column = truth.world_to_cell((episode.pose.x, episode.pose.y))
        target[row, column] = True
        cell = truth.world_to_cell((episode.start.x, episode.start.y))
        return max(0.0, float(truth.distance_field(target)[tuple(cell)]) - POSE_RADIUS_M)


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


def _pose_episode(seed: int, rng: np.random.Generator, start: Pose2D, task: TaskWorld) -> Episode:
    truth = task.truth
    target = np.zeros(truth.shape, bool)
    target[tuple(truth.world_to_cell((start.x, start.y)))] = True
    field_ = truth.distance_field(target)
    reachable = np.argwhere(truth.traversable & np.isfinite(field_) & (truth.clearance > 0.45))
    if not len(reachable):
        raise ConfigError(f"nothing in the world of seed {seed} can be reached from its start: use another seed")
    far = reachable[field_[reachable[:, 0], reachable[:, 1]] >= 3.0]
    choice = far if len(far) else reachable
    x, y = truth.cell_to_world(choice[rng.integers(len(choice))])
    return Episode(seed, "pose", "", (), (), start, Pose2D(float(x), float(y), 0.0))


def _stopped(simulator: Simulator) -> bool:
    return abs(simulator.twist.linear) <= _STOPPED and abs(simulator.twist.angular) <= _STOPPED


def _floats(pose: Pose2D) -> tuple[float, float, float]:
    return pose.x, pose.y, pose.yaw


def _rounded(pose: Pose2D) -> tuple[float, float, float]:
    return round(pose.x, 3), round(pose.y, 3), round(pose.yaw, 3)
