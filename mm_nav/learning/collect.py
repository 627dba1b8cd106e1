"""Collect expert-labelled frames in generated worlds and write them as Zarr shards, with several worker processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.learning.frames import (
    MAX_OBJECTS,
    FrameMaker,
    WorldFrames,
    claim_folder,
    require_shard,
    shard_jobs,
    shard_path,
    stack_frames,
    write_worlds,
)
from mm_nav.parallel import Workers, run_jobs
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.preprocess import preprocessing_fingerprint
from mm_nav.sim.expert import Expert
from mm_nav.sim.generator import GeneratedWorld, generate_world
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.objects import scene_objects
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import CameraConfig
from mm_nav.sim.splits import FIRST_HELD_OUT_SEED, held_out
from mm_nav.sim.world import World, parse_world

_OTHER_STYLES = ("warehouse", "maze", "storeroom")


@dataclass(frozen=True)
class CollectConfig:
    """What to collect.

    first_seed, worlds: world seeds first_seed .. first_seed + worlds - 1, all below 10 000. frames: per world.
    resolution_m: of the expert's map. min_fov, max_fov: horizontal camera field of view, rad, drawn per world. textured:
    share of worlds whose surfaces have textures; extra_styles: share of warehouses, mazes and store rooms; showrooms: share
    of rooms full of things; shadows: share of worlds that are drawn with them. Objects whose pair of category and colour is
    held out (`mm_nav.sim.splits`) are taken out of every world.
    """

    first_seed: int = 0
    worlds: int = 1000
    frames: int = 40
    resolution_m: float = 0.1
    min_fov: float = 1.3
    max_fov: float = 1.7
    textured: float = 0.25
    extra_styles: float = 0.1
    showrooms: float = 0.0
    shadows: float = 0.3
    worlds_per_shard: int = 50

    def __post_init__(self) -> None:
        for name in ("textured", "extra_styles", "showrooms", "shadows"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"collect: {name} is {getattr(self, name)}: give a share from 0 to 1")
        require_training_seeds(self.first_seed, self.worlds)


def training_world(seed: int, config: CollectConfig) -> tuple[GeneratedWorld, World]:
    """Return the training world of a seed, without the objects that training must not see."""
    rng = np.random.default_rng([seed, 8])
    style = str(rng.choice(_OTHER_STYLES)) if rng.random() < config.extra_styles else None
    if np.random.default_rng([seed, 15]).random() < config.showrooms:
        style = "showroom"
    generated = generate_world(seed, style, "textured" if rng.random() < config.textured else "plain")
    world = parse_world(generated.sdf)
    hidden = {item.name for item in held_out(scene_objects(world))}
    # What has no number cannot be labelled, so it must not be seen either.
    kept = [item.name for item in scene_objects(world) if item.name not in hidden]
    hidden |= set(kept[MAX_OBJECTS:])
    return generated, replace(world, models=tuple(m for m in world.models if m.name.split("::")[0] not in hidden))


def require_training_seeds(first: int, worlds: int) -> None:
    """Raise ConfigError when there are no world seeds, or when they reach those that are held out."""
    if first < 0 or worlds < 1:
        raise ConfigError(f"{worlds} worlds from seed {first}: give 1 or more, from 0 or above")
    if first + worlds > FIRST_HELD_OUT_SEED:
        raise ConfigError(
            f"world seeds {first}..{first + worlds - 1} reach the held-out ones: "
            f"training uses 0..{FIRST_HELD_OUT_SEED - 1} only"
        )


def training_camera(rng: np.random.Generator, config: CollectConfig) -> CameraConfig:
    """Draw a camera's lens and mount."""
    return CameraConfig(
        horizontal_fov=float(rng.uniform(config.min_fov, config.max_fov)),
        position=(float(rng.uniform(0.05, 0.15)), 0.0, float(rng.uniform(0.25, 0.45))),
        pitch=float(rng.uniform(-0.08, 0.08)),
        shadows=bool(rng.random() < config.shadows),
    )


def collect_world(seed: int, config: CollectConfig, policy: PolicyConfig) -> WorldFrames | None:
    """Return the frames and objects of one world, or None when nothing could be placed."""
    rng = np.random.default_rng([seed, 7])
    generated, world = training_world(seed, config)
    objects = scene_objects(world)
    camera = training_camera(rng, config)
    maker = FrameMaker(Scene(world), objects, camera, policy, config.resolution_m, seed=seed)
    poses = _poses(rng, maker.expert, generated.start, config.frames)
    return stack_frames(objects, [maker.frame(pose) for pose in poses])


def _poses(rng: np.random.Generator, expert: Expert, start: Pose2D, count: int) -> Iterator[Pose2D]:
    """Yield poses: some anywhere, some along the expert's paths, some facing an object from nearby."""
    truth = expert.truth
    reachable = truth.traversable & np.isfinite(reach(truth, start))
    cells = np.argwhere(reachable)
    if len(cells) == 0 or not expert.objects:
        return
    while count > 0:
        row, column = cells[rng.integers(len(cells))]
        x, y = np.asarray(truth.origin) + (np.array([column, row]) + rng.uniform(0.2, 0.8, 2)) * truth.resolution
        kind = rng.random()
        if kind < 0.2:
            yield Pose2D(float(x), float(y), float(rng.uniform(-math.pi, math.pi)))
            count -= 1
            continue
        index = int(rng.integers(len(expert.objects)))
        if kind < 0.5:
            path = expert.path(index, float(x), float(y), 0.5, 16)
            if path is None or np.hypot(*(path[1] - path[0])) < 1e-3:
                continue
            for k in range(0, min(12, len(path) - 1), 4):
                step = path[k + 1] - path[k]
                if count <= 0 or np.hypot(*step) < 1e-3:
                    break
                yaw = math.atan2(step[1], step[0]) + rng.normal(0.0, 0.35)
                yield Pose2D(float(path[k][0]), float(path[k][1]), float(yaw))
                count -= 1
        else:
            if expert.surface_distance(index, float(x), float(y)) > 5.0:
                continue
            cx, cy = expert.objects[index].center
            yield Pose2D(float(x), float(y), math.atan2(cy - y, cx - x) + float(rng.normal(0.0, 0.3)))
            count -= 1


def reach(truth: GroundTruthMap, start: Pose2D) -> npt.NDArray[np.float32]:
    """Return how far each cell (H, W) of a true map is from `start` on the way, metres; inf = out of reach."""
    target = np.zeros(truth.traversable.shape, bool)
    row, column = truth.world_to_cell((start.x, start.y))
    target[row, column] = True
    return truth.distance_field(target)


def collect(
    directory: Path, config: CollectConfig, policy: PolicyConfig, workers: Workers | int | None = None
) -> Iterator[tuple[int, int]]:
    """Collect all shards into `directory`, resuming what is there; yield (worlds done, worlds in all) as they finish.

    workers: as in `run_jobs`. Raises ConfigError when the folder holds data of other settings.
    """
    settings = {
        "collect": asdict(config),
        "policy": policy.to_dict(),
        "preprocessing": preprocessing_fingerprint(policy),
    }
    claim_folder(directory, "collect", settings)
    jobs = [
        (first, count, config, policy, str(directory.absolute()))
        for first, count in shard_jobs(config.first_seed, config.worlds, config.worlds_per_shard)
    ]
    yield from run_shards(_collect_shard, directory, jobs, config.worlds, workers)


def run_shards(
    make: Callable[..., tuple[int, int]],
    directory: Path,
    jobs: Sequence[tuple[Any, ...]],
    worlds: int,
    workers: Workers | int | None,
) -> Iterator[tuple[int, int]]:
    """Yield (worlds done, worlds in all) as shards are finished. make: writes a job's shard, returns its first seed and worlds."""
    done = 0
    for first, count in run_jobs(make, jobs, workers):
        require_shard(shard_path(directory, first))
        done += count
        yield done, worlds


def _collect_shard(
    first: int, count: int, config: CollectConfig, policy: PolicyConfig, directory: str
) -> tuple[int, int]:
    path = shard_path(Path(directory), first)
    if not path.exists():
        found = [(seed, collect_world(seed, config, policy)) for seed in range(first, first + count)]
        write_worlds(path, [(seed, frames) for seed, frames in found if frames is not None])
    return first, count
