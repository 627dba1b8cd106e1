"""Drives of the stack in generated worlds as recordings, with their commands: whoever replays one gets the same commands."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mm_nav.bags.writer import Storage, open_writer
from mm_nav.command import Command
from mm_nav.errors import BagError, ConfigError
from mm_nav.evaluation.episodes import EpisodeConfig, EpisodeResult, StepRecord, run_episode
from mm_nav.goal import Goal
from mm_nav.navigator import Navigator
from mm_nav.observation import Observation
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.sim.episode import Episode, make_episode
from mm_nav.sim.simulator import CameraConfig, CloudConfig, SimConfig

_FOR_EVER_S = 1e6


@dataclass(frozen=True)
class EpisodeBag:
    """A drive that was recorded. goal: what to give to `mm-nav replay --goal`, or --goal-pose where is_pose; goal_file has the
    same text."""

    path: Path
    goal_file: Path
    goal: str
    is_pose: bool
    steps: int
    result: EpisodeResult

    def as_dict(self) -> dict[str, Any]:
        """Return flat JSON values."""
        return {
            "path": str(self.path),
            "goal_file": str(self.goal_file),
            "goal": self.goal,
            "goal_option": "--goal-pose" if self.is_pose else "--goal",
            "steps": self.steps,
            **{key: value for key, value in self.result.as_dict().items() if key != "path"},
        }


def write_episode_bag(
    path: Path,
    seed: int,
    kind: str | None = None,
    *,
    storage: Storage = "mcap",
    camera: tuple[int, int] | None = (192, 144),
    cloud: bool = False,
    zstd: bool = False,
    model: Path | None = None,
    time_limit_s: float = 120.0,
    start_ns: int = 0,
    on_time: Callable[[float], None] = lambda seconds: None,
) -> EpisodeBag:
    """Drive an episode as `mm-nav evaluate` does, with the policy and the guard, and record sensors, odometry and commands.

    seed, kind: of mm_nav.sim.episode.make_episode. path: a new rosbag2 folder, a new .bag file for "ros1". camera: width and
    height, None = the robot has none. cloud: with a 3D LiDAR. model: exported policy, None = the committed one. start_ns: time
    of the first message. on_time: gets the simulated seconds so far. The recording appears at `path` when it is whole. Raises
    BagError when the path exists or cannot be written, ConfigError for an unknown kind.
    """
    _check(path, storage, zstd)
    episode, task = make_episode(seed, kind)
    policy = None if episode.pose is not None else OnnxPolicy(model, provider="cpu")
    sim = SimConfig(
        camera=None if camera is None else CameraConfig(width=camera[0], height=camera[1]),
        cloud=CloudConfig() if cloud else None,
    )
    config = EpisodeConfig(time_limit_s=time_limit_s, sim=sim)
    steps = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            # Under its own name: rosbag2 calls the file in the folder as the folder.
            part = Path(folder) / path.name
            with open_writer(part, storage, start_ns, zstd) as writer:

                def keep(step: StepRecord) -> None:
                    nonlocal steps
                    steps += 1
                    writer.add(step.observation, step.driven)
                    on_time(1e-9 * step.observation.stamp_ns)

                pilot = _Patient(Navigator(sim.robot, config.navigator, policy))
                result = run_episode(episode, task, lambda _: policy, config, keep, lambda _: pilot)
            goal, goal_file = _goal(episode), _goal_file(path)
            beside = Path(folder) / goal_file.name if storage == "ros1" else part / goal_file.name
            beside.write_text(goal + "\n", encoding="utf-8")
            if storage == "ros1":
                os.replace(beside, goal_file)
            os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            _goal_file(path).unlink()
        raise BagError(f"{path} cannot be written ({error.strerror}): give a path where there is room") from error
    return EpisodeBag(path, goal_file, goal, episode.pose is not None, steps, result)


class _Patient:
    """The Navigator, whose goals never time out, as in a replay: else a drive that is cut off ends with another command."""

    def __init__(self, navigator: Navigator) -> None:
        self._navigator = navigator

    def set_goal(self, goal: Goal) -> None:
        self._navigator.set_goal(replace(goal, timeout_s=_FOR_EVER_S))

    def step(self, observation: Observation) -> Command:
        return self._navigator.step(observation)


def _check(path: Path, storage: Storage, zstd: bool) -> None:
    """Refuse before the drive what would fail after it."""
    if path.exists():
        raise BagError(f"{path} exists already: give another path, or remove it")
    if storage == "ros1" and zstd:
        raise ConfigError("ROS 1 recordings know no zstd: leave it out, or use mcap or sqlite3")
    if storage == "ros1" and path.suffix != ".bag":
        raise ConfigError(f"{path} is to be a ROS 1 recording: give a name that ends in .bag")


def _goal(episode: Episode) -> str:
    """Return the goal as text; numbers with all their digits, since the last one may decide a command."""
    if episode.pose is not None:
        return f"{episode.pose.x!r},{episode.pose.y!r}"
    return episode.instruction


def _goal_file(path: Path) -> Path:
    """Return where the goal lies: in the recording's folder, or beside its file."""
    return path.with_name(f"{path.stem}.goal.txt") if path.suffix == ".bag" else path / "goal.txt"
