"""Tasks in generated worlds: what is asked, what counts as done, and how good it was."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.sim.instructions import EXTRA_KINDS, KINDS, Instruction, Split, relation_instruction, sample_instruction
from mm_nav.sim.objects import scene_walls
from mm_nav.sim.relation_phrases import RELATION_KINDS
from mm_nav.sim.simulator import Simulator
from mm_nav.sim.task_world import TaskWorld, generated_task_world

SUCCESS_RADIUS_M = 1.0
# An earlier step of a sequence counts as done when the robot came this close to it.
PASSING_RADIUS_M = 1.5
POSE_RADIUS_M = 0.5
_STOPPED = 0.02  # m/s and rad/s


@dataclass(frozen=True)
class Episode:
    """One task. The same seed and kind give the same task.

    seed: of the world, the sentence and the sensors' noise. kind: one of mm_nav.sim.instructions.KINDS or EXTRA_KINDS, or "pose".
    steps: per step of the sentence, the names of the objects that satisfy it. phrases: the noun phrase of each step.
    start: world frame. pose: the goal of kind "pose", world frame. picture_from: where the picture that is the goal is taken,
    world frame; None = there is none.
    """

    seed: int
    kind: str
    instruction: str
    steps: tuple[tuple[str, ...], ...]
    phrases: tuple[str, ...]
    start: Pose2D
    pose: Pose2D | None = None
    picture_from: Pose2D | None = None

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the objects where the robot may stop."""
        return self.steps[-1] if self.steps else ()


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
    _check_kind(kind)
    generated, task = generated_task_world(seed)
    rng = np.random.default_rng([seed, 11])
    if kind == "relation":
        # Few worlds have nothing to tell apart; then the seed's world of another style is taken.
        for style in (None, "apartment", "cluttered", "office", "room"):
            generated, task = (generated, task) if style is None else generated_task_world(seed, style)
            found = _relation_episode(task, generated.start, seed, rng, split, min_distance_m)
            if found is not None:
                return found, task
        raise ConfigError(f"no relation tells things apart in the worlds of seed {seed}: use another seed")
    return episode_in(task, generated.start, seed, rng, kind, split, min_distance_m), task


def episode_in(
    task: TaskWorld,
    start: Pose2D,
    seed: int,
    rng: np.random.Generator,
    kind: str,
    split: Split = "train",
    min_distance_m: float = 1.5,
) -> Episode:
    """Return an episode in a given world that begins at `start`, drawn from `rng`. Otherwise as make_episode."""
    _check_kind(kind)
    if kind == "pose":
        return _pose_episode(seed, rng, start, task)
    if kind == "relation":
        found = _relation_episode(task, start, seed, rng, split, min_distance_m)
        if found is None:
            raise ConfigError(f"no relation tells things apart in the world of seed {seed}: use another seed")
        return found
    best: tuple[float, Instruction] | None = None
    for index in rng.permutation(len(task.objects)):
        drawn = sample_instruction(rng, task.objects[index], task.objects, kind, split)
        length = task.shortest_path(start, drawn.steps, step_radii(len(drawn.steps)))
        if math.isfinite(length) and (best is None or length > best[0]):
            best = (length, drawn)
            if length >= min_distance_m:
                break
    if best is None:
        raise ConfigError(f"nothing in the world of seed {seed} can be reached from its start: use another seed")
    said = best[1]
    return Episode(seed, said.kind, said.text, said.steps, said.phrases, start)


def _check_kind(kind: str) -> None:
    known = (*KINDS, *EXTRA_KINDS, "pose")
    if kind not in known:
        raise ConfigError(f"episode kind '{kind}' is not known: give one of {', '.join(known)}")


def _relation_episode(
    task: TaskWorld, start: Pose2D, seed: int, rng: np.random.Generator, split: Split, min_distance_m: float
) -> Episode | None:
    """Return an episode that names its target by a relation, with something of the same category that does not fit."""
    walls = scene_walls(task.world)
    near: Episode | None = None
    # The kind is drawn first, or else the most frequent ("not") would be nearly all there is.
    for relation in rng.permutation(RELATION_KINDS):
        for index in rng.permutation(len(task.objects)):
            target = task.objects[index]
            said = relation_instruction(rng, target, task.objects, walls, start, split, (str(relation),))
            if said is None:
                continue
            if all(item.name in said.target_names for item in task.objects if item.category == target.category):
                continue
            length = task.shortest_path(start, said.steps, step_radii(1))
            episode = Episode(seed, said.kind, said.text, said.steps, said.phrases, start)
            if math.isfinite(length) and length >= min_distance_m:
                return episode
            if math.isfinite(length) and length > 0.0 and near is None:
                near = episode
    return near


def step_radii(count: int) -> tuple[float, ...]:
    """Return how near each of `count` steps must be reached, metres."""
    return (PASSING_RADIUS_M,) * (count - 1) + (SUCCESS_RADIUS_M,)


class Judge:
    """Keeps track of which steps were done, from true poses."""

    def __init__(self, episode: Episode, task: TaskWorld) -> None:
        self._episode, self._task = episode, task
        self.steps_done = 0
        self._left_of: tuple[int, npt.NDArray[np.float32]] | None = None

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

    def way_to_go(self) -> npt.NDArray[np.float32]:
        """Return for each cell (H, W) of the true map the metres still to drive from there to success; inf = no way."""
        if self._episode.pose is not None:
            truth, target = self._task.truth, np.zeros(self._task.truth.shape, bool)
            target[tuple(truth.world_to_cell((self._episode.pose.x, self._episode.pose.y)))] = True
            return np.asarray(np.maximum(truth.distance_field(target) - np.float32(POSE_RADIUS_M), 0.0), np.float32)
        last = len(self._episode.steps) - 1
        steps = self._episode.steps[min(self.steps_done, last) :]
        return self._task.way_to_go(steps, step_radii(len(steps)))

    def left(self, pose: Pose2D) -> float:
        """Return metres still to drive from `pose` to success; inf where there is no way."""
        if self._left_of is None or self._left_of[0] != self.steps_done:
            self._left_of = self.steps_done, self.way_to_go()
        row, column = self._task.truth.world_to_cell((pose.x, pose.y))
        return float(self._left_of[1][row, column]) if self._task.truth.inside((row, column)) else math.inf

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


def spl(success: bool, path_length_m: float, shortest_path_m: float) -> float:
    """Return one episode's success weighted by path length: S * l / max(p, l).

    Source: Anderson et al., "On Evaluation of Embodied Navigation Agents", 2018. An episode that starts at its target
    (l = 0) scores 1 when it succeeds without moving.
    """
    if not success or not math.isfinite(shortest_path_m):
        return 0.0
    longest = max(path_length_m, shortest_path_m)
    return shortest_path_m / longest if longest > 0 else 1.0


def is_stopped(simulator: Simulator) -> bool:
    """Return whether the robot stands, as success asks for."""
    return abs(simulator.twist.linear) <= _STOPPED and abs(simulator.twist.angular) <= _STOPPED


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
