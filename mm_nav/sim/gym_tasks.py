"""What an environment asks of the robot: tasks from seeds, in generated worlds or one world file."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.language.instruction import parse_instruction
from mm_nav.robot import RobotConfig
from mm_nav.sim.episode import Episode, episode_in, kind_of
from mm_nav.sim.objects import SceneObject
from mm_nav.sim.task_world import TaskWorld, generated_task_world
from mm_nav.sim.vocabulary import CATEGORY_WORDS, COLOUR_WORDS
from mm_nav.sim.world import load_world

_START_CLEARANCE_M = 0.4


@lru_cache(maxsize=16)
def world_of(source: int | Path, robot: RobotConfig) -> tuple[TaskWorld, Pose2D | None]:
    """Return a world, by generator seed or file, and its given start. The last 16 are kept, for all environments of a
    process."""
    if isinstance(source, Path):
        return TaskWorld(load_world(source), robot), None
    generated, task = generated_task_world(source, robot=robot)
    return task, generated.start


def draw_task(
    source: int | Path, robot: RobotConfig, kind: str | None, task_seed: int | None, instruction: str | None
) -> tuple[Episode, TaskWorld]:
    """Return a task and its world.

    source: seed of a generated world, or a world file. kind: "pose", a kind of sentence, or None for any kind.
    task_seed: of the start and the goal; None = those that `make_episode(source)` gives, which evaluations use.
    instruction: asks for this instead. Raises ConfigError when nothing fits the instruction or can be reached.
    """
    task, start = world_of(source, robot)
    seed = source if isinstance(source, int) else 0
    rng = np.random.default_rng([seed, 11] if task_seed is None else [seed, 11, task_seed])
    if start is None or task_seed is not None:
        start = _draw_start(task, rng, start)
    if instruction is not None:
        return instructed(task, start, seed, instruction), task
    drawn = kind or kind_of(seed if task_seed is None else task_seed)
    return episode_in(task, start, seed, rng, drawn), task


def instructed(task: TaskWorld, start: Pose2D, seed: int, instruction: str) -> Episode:
    """Return the task of a given sentence. Raises ConfigError when nothing in the world is called so."""
    phrases = tuple(step.phrase for step in parse_instruction(instruction) if step.phrase)
    steps = tuple(named(phrase, task.objects) for phrase in phrases)
    return Episode(seed, "sequence" if len(steps) > 1 else "given", instruction, steps, phrases, start)


def named(phrase: str, objects: tuple[SceneObject, ...]) -> tuple[str, ...]:
    """Return the names of the objects whose category, and colour where one is said, are in a phrase.

    Raises ConfigError when there is none.
    """
    categories, colours = _said(phrase, CATEGORY_WORDS), _said(phrase, COLOUR_WORDS)
    found = tuple(
        item.name for item in objects if item.category in categories and (not colours or item.colour in colours)
    )
    if not found:
        known = ", ".join(sorted({f"{item.colour} {item.category}".strip() for item in objects})) or "nothing"
        raise ConfigError(f"nothing in this world is called '{phrase}': it has {known}")
    return found


def _said(phrase: str, vocabulary: dict[str, tuple[str, ...]]) -> set[str]:
    return {
        name
        for name, words in vocabulary.items()
        if any(re.search(rf"\b{re.escape(word)}\b", phrase, re.IGNORECASE) for word in words)
    }


def _draw_start(task: TaskWorld, rng: np.random.Generator, known: Pose2D | None) -> Pose2D:
    """Return a random place that `known`, or else a random free place, can be reached from; any heading."""
    truth = task.truth
    free = truth.traversable & (truth.clearance > _START_CLEARANCE_M)
    if not free.any():
        raise ConfigError(f"the world '{task.world.name}' has no room for the robot: use another")
    if known is None:
        cells = np.argwhere(free)
        x, y = truth.cell_to_world(cells[rng.integers(len(cells))])
    else:
        x, y = known.x, known.y
    here = np.zeros(truth.shape, bool)
    here[tuple(truth.world_to_cell((x, y)))] = True
    cells = np.argwhere(free & np.isfinite(truth.distance_field(here)))
    if len(cells):
        x, y = truth.cell_to_world(cells[rng.integers(len(cells))])
    return Pose2D(float(x), float(y), float(rng.uniform(-np.pi, np.pi)))
