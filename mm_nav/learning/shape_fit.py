"""Learns what things look like to the LiDAR: maps of generated worlds, and which thing each outline in them is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.language.vocabulary import CATEGORIES
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.shapes import OTHER, Shape, ShapeModel, find_shapes
from mm_nav.parallel import Workers, run_jobs
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.splits import FIRST_HELD_OUT_SEED
from mm_nav.sim.task_world import TaskWorld, generated_task_world

Floats = npt.NDArray[np.float64]
Sample = tuple[str, Floats]

POSES = 12
"""From so many places a world is scanned."""
_NEAR_M, _SCANS = 0.08, 3
# A category that was seen seldom is taken to vary as all shapes do, scaled by the first; that counts as so many samples.
_SHRUNK, _COUNTS = 0.15, 20
_TEST_SHARE = 0.2


def fit_shapes(
    first_seed: int, worlds: int, workers: Workers, progress: Callable[[int, int], None] = lambda done, of: None
) -> ShapeModel:
    """Return the shapes of things in the worlds of so many seeds; the last fifth only tests them.

    `training` of the result holds "retrieval": of the test worlds' categories, how often the likeliest outline of the world was a
    thing of it, and "by_chance": how often any outline would have been. Raises ConfigError for held-out seeds or too few worlds.
    """
    if worlds < 10 or first_seed < 0 or first_seed + worlds > FIRST_HELD_OUT_SEED:
        raise ConfigError(
            f"{worlds} worlds from seed {first_seed}: give 10 or more, with seeds from 0 to {FIRST_HELD_OUT_SEED - 1}"
        )
    by_seed: dict[int, list[Sample]] = {}
    for seed, samples in run_jobs(_outlines, [(seed,) for seed in range(first_seed, first_seed + worlds)], workers):
        by_seed[seed] = samples
        progress(len(by_seed), worlds)
    seeds = sorted(by_seed)
    cut = len(seeds) - max(1, round(_TEST_SHARE * len(seeds)))
    model = _fit([sample for seed in seeds[:cut] for sample in by_seed[seed]])
    retrieval, by_chance = _retrieval(model, [by_seed[seed] for seed in seeds[cut:]])
    training = {
        "first_seed": first_seed, "worlds": worlds, "poses": POSES, "retrieval": round(retrieval, 3),
        "by_chance": round(by_chance, 3),
    }  # fmt: skip
    return replace(model, training=training)


def scanned(task: TaskWorld, seed: int, poses: int = POSES) -> OccupancyGrid:
    """Return the map of a world that was scanned from some of the places that the robot can reach."""
    rng, grid = np.random.default_rng([seed, 31]), OccupancyGrid()
    cells = np.argwhere(task.truth.largest_part())
    for x, y in task.truth.cell_to_world(cells[rng.choice(len(cells), poses)]).tolist():
        simulator = Simulator(
            task.scene, SimConfig(camera=None), seed=seed, start=Pose2D(x, y, float(rng.uniform(-3.1, 3.1)))
        )
        observation = simulator.observe()
        for _ in range(_SCANS):
            if observation.scan is not None:
                grid.update(observation.scan, observation.odometry.pose)
    return grid


def _outlines(seed: int) -> tuple[int, list[Sample]]:
    task = generated_task_world(seed)[1]
    return seed, [(_name(shape, task), shape.features()) for shape in find_shapes(scanned(task, seed))]


def _name(shape: Shape, task: TaskWorld) -> str:
    """Return the category of the one thing that a shape is, or OTHER."""
    points = shape.points[:: max(1, len(shape.points) // 20)].tolist()
    touched = [item for item in task.objects if any(item.distance(x, y) < _NEAR_M for x, y in points)]
    if len(touched) != 1 or float(np.mean([touched[0].distance(x, y) for x, y in points])) > _NEAR_M:
        return OTHER
    return touched[0].category


def _fit(samples: list[Sample]) -> ShapeModel:
    names = (OTHER, *CATEGORIES)
    everything = np.array([features for _, features in samples])
    usual = _SHRUNK * np.cov(everything.T)
    means, covariances, counts = [], [], []
    for name in names:
        own = np.array([features for label, features in samples if label == name]).reshape(-1, everything.shape[1])
        spread = np.cov(own.T) * len(own) if len(own) > 1 else np.zeros_like(usual)
        means.append(own.mean(axis=0) if len(own) else everything.mean(axis=0))
        covariances.append((spread + _COUNTS * usual) / (len(own) + _COUNTS))
        counts.append(len(own) + 0.5)
    return ShapeModel(names, np.array(means), np.array(covariances), np.array(counts) / sum(counts), {})


def _retrieval(model: ShapeModel, worlds: list[list[Sample]]) -> tuple[float, float]:
    found, chance = [], []
    for samples in worlds:
        labels = [label for label, _ in samples]
        odds = [model.of_features(features) for _, features in samples]
        for name in sorted(set(labels) - {OTHER}):
            likeliest = max(range(len(odds)), key=lambda k: odds[k][name])
            found.append(labels[likeliest] == name)
            chance.append(labels.count(name) / len(labels))
    return float(np.mean(found)), float(np.mean(chance))
