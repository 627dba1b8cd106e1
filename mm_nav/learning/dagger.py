"""Dataset aggregation: the stack drives, and the expert labels the frames that it really comes to.

Ross, Gordon and Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", 2011.
Poses are logged while the policy (or, now and then, the oracle) drives whole episodes in training worlds. Those that teach
most are rendered and labelled as `mm-nav collect` does, and written as the same shards, with what was asked there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mm_nav.command import ErrorCode, Stage
from mm_nav.errors import ConfigError
from mm_nav.evaluation.conditions import phrase_targets, policy_factory
from mm_nav.evaluation.episodes import EpisodeConfig, EpisodeContext, run_episode
from mm_nav.geometry import Pose2D
from mm_nav.learning.collect import (
    CollectConfig,
    reach,
    require_training_seeds,
    run_shards,
    training_camera,
    training_world,
)
from mm_nav.learning.frames import (
    ASKED,
    Frame,
    FrameMaker,
    WorldFrames,
    claim_folder,
    shard_jobs,
    shard_path,
    stack_frames,
    write_worlds,
)
from mm_nav.learning.visits import Reason, Visit, Watch, choose, mark_ending
from mm_nav.parallel import Workers
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.manifest import file_sha256
from mm_nav.runtime.policy import PolicySource
from mm_nav.runtime.preprocess import preprocessing_fingerprint
from mm_nav.sim.catalogue import COLOURS
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES
from mm_nav.sim.episode import Episode, episode_in
from mm_nav.sim.instructions import EXTRA_KINDS, KINDS, phrase_meaning
from mm_nav.sim.simulator import CameraConfig
from mm_nav.sim.splits import is_held_out
from mm_nav.sim.task_world import TaskWorld

# A robot that drives comes nearer to things than the expert's map allows: such poses get the paths from next to them.
SLACK_M = 0.4
_DRIVEN_SIZE = (192, 144)  # pixels of the camera that the policy sees through, as in evaluations
_START_CLEARANCE_M = 0.45
# Settings of collection that say nothing of how its worlds look.
_ONLY_COLLECT = ("first_seed", "worlds", "frames", "worlds_per_shard")
_CATEGORIES, _COLOURS = tuple(ALL_CATEGORIES), tuple(COLOURS)


@dataclass(frozen=True)
class DaggerConfig:
    """How to aggregate.

    data: folder of the shards. first_seed, worlds: world seeds, all below 10 000. episodes: per world. frames: per episode,
    at most. beta: probability that the oracle's perception drives instead of the policy's; mix: whether that is drawn per
    "episode" or per "step". hard_share: of the frames, those where the policy is wrong, confirms or is about to fail; what
    there is of other frames never exceeds the rest. spacing_m, spacing_rad: two frames of the same phrases differ by one of
    these. time_limit_s: simulated. kinds: of sentences, in turn; in a world without relations "relation" becomes "colour".
    """

    data: str = "data/dagger"
    first_seed: int = 2000
    worlds: int = 200
    episodes: int = 2
    frames: int = 12
    beta: float = 0.3
    mix: str = "episode"
    hard_share: float = 0.75
    spacing_m: float = 0.3
    spacing_rad: float = 0.35
    time_limit_s: float = 60.0
    kinds: tuple[str, ...] = (*KINDS, *EXTRA_KINDS)
    worlds_per_shard: int = 10

    def __post_init__(self) -> None:
        require_training_seeds(self.first_seed, self.worlds)
        for name in ("beta", "hard_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"dagger: {name} is {getattr(self, name)}: give a share from 0 to 1")
        if min(self.episodes, self.frames, self.worlds_per_shard) < 1 or not self.time_limit_s > 0:
            raise ConfigError("dagger: episodes, frames, worlds_per_shard and time_limit_s must be above 0")
        if self.mix not in ("episode", "step"):
            raise ConfigError(f"dagger: mix is '{self.mix}': give episode or step")
        unknown = [kind for kind in self.kinds if kind not in (*KINDS, *EXTRA_KINDS)]
        if unknown or not self.kinds:
            known = ", ".join((*KINDS, *EXTRA_KINDS))
            raise ConfigError(f"dagger: kinds {', '.join(unknown) or '(none)'} are not known: give some of {known}")


@dataclass
class _World:
    """What one world gave. episodes: one record each, as plain values."""

    frames: list[Frame] = field(default_factory=list)
    episodes: list[dict[str, Any]] = field(default_factory=list)


def dagger(
    directory: Path,
    config: DaggerConfig,
    collect: CollectConfig,
    policy: PolicyConfig,
    model: Path,
    workers: Workers | int | None = None,
) -> Iterator[tuple[int, int]]:
    """Drive all episodes and write their shards, resuming what is there; yield (worlds done, worlds in all).

    collect: how the worlds look, and their cameras. policy: the size of the frames. model: the exported policy that drives.
    workers: as in `run_jobs`. Raises ConfigError when the model is missing or the folder holds data of other settings.
    """
    if not model.is_file():
        raise ConfigError(f"model {model} does not exist: give the path of an .onnx file made by `mm-nav export`")
    looks = {name: value for name, value in asdict(collect).items() if name not in _ONLY_COLLECT}
    settings = {
        "dagger": {name: value for name, value in asdict(config).items() if name != "data"},
        "collect": looks,
        "policy": policy.to_dict(),
        "preprocessing": preprocessing_fingerprint(policy),
        "model_sha256": file_sha256(model),
    }
    claim_folder(directory, "dagger", settings)
    jobs: list[tuple[Any, ...]] = [
        (first, count, config, collect, policy, str(model.absolute()), str(directory.absolute()))
        for first, count in shard_jobs(config.first_seed, config.worlds, config.worlds_per_shard)
    ]
    return run_shards(_dagger_shard, directory, jobs, config.worlds, workers)


def summarise_dagger(directory: Path) -> dict[str, Any]:
    """Return what the shards of a folder hold, as flat plain values.

    success_rate, collisions: of the episodes that the policy drove alone or in part. wrong_share: of the frames, those where
    the policy was wrong about a phrase; hard_share: those and the other decisive ones.
    """
    episodes: list[dict[str, Any]] = []
    reasons: list[npt.NDArray[np.uint8]] = []
    for path in sorted(directory.glob("shard_*.zarr")):
        shard = zarr.open_group(str(path), mode="r")
        episodes += shard.attrs["episodes"]
        reasons.append(np.asarray(shard["reason"][:]))
    reason = np.concatenate(reasons) if reasons else np.zeros(0, np.uint8)
    driven = [record for record in episodes if record["driver"] != "oracle"]
    count = max(len(reason), 1)
    return {
        "episodes": len(episodes),
        "policy_episodes": len(driven),
        "success_rate": sum(r["success"] for r in driven) / len(driven) if driven else math.nan,
        "collisions": sum(r["collided"] for r in driven),
        "frames": len(reason),
        "wrong_share": int(((reason & Reason.WRONG) > 0).sum()) / count,
        "hard_share": int((reason > 0).sum()) / count,
        **{
            f"frames_{one.name.lower()}": int(((reason & one) > 0).sum())
            for one in Reason
            if one.bit_count() == 1 and one.name
        },
    }


def _dagger_shard(
    first: int,
    count: int,
    config: DaggerConfig,
    collect: CollectConfig,
    policy: PolicyConfig,
    model: str,
    directory: str,
) -> tuple[int, int]:
    path = shard_path(Path(directory), first)
    if not path.exists():
        found: list[tuple[int, WorldFrames]] = []
        episodes: list[dict[str, Any]] = []
        for seed in range(first, first + count):
            frames, records = dagger_world(seed, config, collect, policy, Path(model))
            episodes += records
            if frames is not None:
                found.append((seed, frames))
        write_worlds(path, found, episodes=episodes)
    return first, count


def dagger_world(
    seed: int, config: DaggerConfig, collect: CollectConfig, policy: PolicyConfig, model: Path
) -> tuple[WorldFrames | None, list[dict[str, Any]]]:
    """Drive a world's episodes; return the frames that were kept (None: there are none) and a record of each episode.

    Beside `mm-nav collect`'s, the frames have: asked (ASKED, 2) int8, category and colour of the phrases that were asked
    there, as indices into ALL_CATEGORIES and COLOURS, those that the policy was wrong about first; -1 = any, and both -1 = no
    more phrases. reason: uint8, why the frame was kept, a sum of Reason; 0 = on the way.
    """
    generated, world = training_world(seed, collect)
    task = TaskWorld(world)
    camera = training_camera(np.random.default_rng([seed, 7]), collect)
    found = _World()
    maker: FrameMaker | None = None
    for index in range(config.episodes):
        rng = np.random.default_rng([seed, 14, index])
        start = generated.start if index == 0 else _other_start(rng, task, generated.start)
        kind = config.kinds[(seed * config.episodes + index) % len(config.kinds)]
        episode = _episode(task, start, seed, rng, kind)
        if episode is None:
            continue
        visits, record = _drive(episode, task, camera, config, model, rng)
        kept = choose(visits, config.frames, config.hard_share, config.spacing_m, config.spacing_rad, rng)
        if kept and maker is None:
            maker = FrameMaker(task.scene, task.objects, camera, policy, collect.resolution_m, SLACK_M, seed)
        for visit in kept:
            assert maker is not None
            labels = {"asked": _asked(visit), "reason": np.array(visit.reason, np.uint8)}
            found.frames.append({**maker.frame(visit.pose), **labels})
        found.episodes.append({**record, "frames": len(kept)})
    return stack_frames(task.objects, found.frames), found.episodes


def _episode(task: TaskWorld, start: Pose2D, seed: int, rng: np.random.Generator, kind: str) -> Episode | None:
    for wanted in (kind, "colour") if kind == "relation" else (kind,):
        try:
            return episode_in(task, start, seed, rng, wanted)
        except ConfigError:
            continue  # nothing of this kind can be asked or reached here
    return None


def _other_start(rng: np.random.Generator, task: TaskWorld, start: Pose2D) -> Pose2D:
    """Return another place to start from, connected with the world's own."""
    truth = task.truth
    free = truth.traversable & np.isfinite(reach(truth, start)) & (truth.clearance > _START_CLEARANCE_M)
    cells = np.argwhere(free)
    if not len(cells):
        return start
    x, y = truth.cell_to_world(cells[rng.integers(len(cells))])
    return Pose2D(float(x), float(y), float(rng.uniform(-math.pi, math.pi)))


def _drive(
    episode: Episode,
    task: TaskWorld,
    camera: CameraConfig,
    config: DaggerConfig,
    model: Path,
    rng: np.random.Generator,
) -> tuple[list[Visit], dict[str, Any]]:
    """Run an episode; return what the policy was asked on the way, and the episode's record."""
    base = EpisodeConfig(time_limit_s=config.time_limit_s)
    width, height = _DRIVEN_SIZE
    sim = replace(base.sim, camera=replace(camera, width=width, height=height))
    whole = config.mix == "episode"
    oracle = config.beta if not whole else float(rng.random() < config.beta)
    watches: list[Watch] = []

    def make(context: EpisodeContext) -> PolicySource:
        eyes = policy_factory("full", model)(context), policy_factory("oracle")(context)
        known = phrase_targets(context.episode, context.task.objects)
        watches.append(Watch(context.simulator, *eyes, known, oracle, rng))
        return watches[0]

    result = run_episode(episode, task, make, replace(base, sim=sim), lambda step: watches[0].note(step))
    visits = watches[0].visits
    stopped_wrong = result.stage == Stage.SUCCEEDED.value and not result.success
    if stopped_wrong or result.collided or result.error_code == ErrorCode.TIMEOUT:
        mark_ending(visits)
    driver = ("policy" if oracle == 0.0 else "oracle" if oracle == 1.0 else "mixed") if visits else "none"
    wrong = sum(bool(visit.reason & Reason.WRONG) for visit in visits)
    names = ("seed", "kind", "instruction", "success", "collided", "stage", "error_code", "ended_at", "control_steps")
    return visits, {**{name: getattr(result, name) for name in names}, "driver": driver, "wrong_steps": wrong}


def _asked(visit: Visit) -> npt.NDArray[np.int8]:
    rows = np.full((ASKED, 2), -1, np.int8)
    meanings = [phrase_meaning(phrase) for phrase in visit.phrases]
    kept = [pair for pair in dict.fromkeys(meanings) if any(pair) and not is_held_out(*pair)]
    for row, (category, colour) in zip(rows, kept, strict=False):
        row[0] = _CATEGORIES.index(category) if category else -1
        row[1] = _COLOURS.index(colour) if colour else -1
    return rows
