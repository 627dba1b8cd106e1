"""Gymnasium environments: mm_nav/LanguageNav-v0 and mm_nav/PointNav-v0. Importing this module registers them.

import gymnasium
import mm_nav.sim.gym_env

env = gymnasium.make("mm_nav/LanguageNav-v0", depth=True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.sim.episode import Episode, Judge, is_stopped, spl
from mm_nav.sim.gym_render import picture
from mm_nav.sim.gym_tasks import draw_task
from mm_nav.sim.gym_words import MAX_LENGTH, Words
from mm_nav.sim.instructions import KINDS
from mm_nav.sim.lidar import LidarConfig
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.task_world import TaskWorld

Arrays = dict[str, Any]

TASKS = ("language", "point")
_DEADBAND = 0.05  # smaller actions are 0: a policy that explores must be able to stand still
_FAR_M, _FAST = 1000.0, 20.0
# Stop, ahead, ahead to the left and right, turn left and right, back: shares of the limits (linear, angular).
_MOVES = ((0.0, 0.0), (0.6, 0.0), (0.5, 0.4), (0.5, -0.4), (0.0, 0.5), (0.0, -0.5), (-0.5, 0.0))


@dataclass(frozen=True)
class Reward:
    """What a step earns: `progress` for each metre that the shortest way to success became shorter, `success` once,
    `collision` for each time the robot runs into something, `step` always."""

    progress: float = 1.0
    success: float = 10.0
    collision: float = -5.0
    step: float = -0.01


@dataclass(frozen=True)
class NavEnvConfig:
    """How an environment is set up; each field is a keyword of gymnasium.make.

    task: "language" or "point". world_seeds: generated worlds are drawn from [first, last); evaluations use 10 000 and
    above. world_file: this SDF file instead. kind: of sentences, None = all. depth: add depth images. tokens: add the
    sentence's token embeddings; this and kind are for "language". discrete: 7 moves instead of speeds. end_on_collision:
    whether one ends the episode. dt_s, time_limit_s: simulated seconds of a step and of an episode. max_depth_m: depth is cut
    there.
    """

    task: str = "language"
    world_seeds: tuple[int, int] = (0, 10_000)
    world_file: str | Path | None = None
    kind: str | None = None
    depth: bool = False
    tokens: bool = False
    discrete: bool = False
    end_on_collision: bool = True
    dt_s: float = 0.1
    time_limit_s: float = 60.0
    max_depth_m: float = 10.0
    reward: Reward = field(default_factory=Reward)
    sim: SimConfig = field(default_factory=lambda: SimConfig(camera=CameraConfig(width=96, height=72)))

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task '{self.task}' is not known: give one of {', '.join(TASKS)}")
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"kind '{self.kind}' of sentences is not known: give one of {', '.join(KINDS)}")
        if self.task == "point" and (self.kind is not None or self.tokens):
            raise ConfigError("kind and tokens are of sentences, which a PointNav task has none of: leave them out")
        first, last = self.world_seeds
        if self.world_file is not None and self.world_seeds != NavEnvConfig.world_seeds:
            raise ConfigError("world_seeds and world_file are both given: generate worlds, or take the file")
        if not 0 <= first < last:
            raise ConfigError(f"world_seeds is {self.world_seeds}: give (first, last) with 0 <= first < last")
        if self.sim.camera is None or self.sim.lidar is None:
            raise ConfigError("the environment needs a camera and a LiDAR: give both in sim")
        if not (0 < self.dt_s <= self.time_limit_s and self.max_depth_m > 0):
            raise ConfigError("give dt_s above 0, time_limit_s of at least dt_s, and max_depth_m above 0")


class NavEnv(gymnasium.Env[Arrays, Any]):  # type: ignore[misc]  # mypy does not follow gymnasium
    """A robot that drives to what a sentence names (LanguageNav) or to a place (PointNav).

    Observation, a dict: image (H, W, 3) uint8; scan (beams,) float32, metres, beam 0 looks along the LiDAR's angle_min,
    no return = its range_max, invalid = 0; odometry (5,) float32: x, y (m), yaw (rad) as the wheels count them since
    the start, m/s, rad/s; depth (H, W) float32, metres along the optical axis. LanguageNav: instruction, text; tokens
    (24, 384) float32, rows of 0 after the last token. PointNav: goal (2,) float32: distance (m) and bearing (rad,
    positive to the left) in base_link, exact.

    Action: (2,) float32 in [-1, 1]: shares of the robot's top linear (backwards: of its reverse) and angular speed;
    |share| < 0.05 is 0. With `discrete`, one of 7 moves; 0 stands still.

    Success: as in evaluations the robot stands (below 0.02 m/s and rad/s, and its action is 0) within 1 m of the right
    object with no wall between, or 0.5 m of the place. info: success, collided, collisions, spl, distance (m over the
    floor to the target), way_to_go and shortest_path (m, driven), path_length (m), pose (x, y, yaw in the world),
    world_seed, instruction. reset's options: world_seed (not with a world_file), task_seed, instruction; world_seed alone
    gives the task of `make_episode(world_seed)`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (as in Gymnasium)

    def __init__(self, config: NavEnvConfig | None = None, render_mode: str | None = None, **changes: Any) -> None:
        """changes: fields of NavEnvConfig. Raises ConfigError for values that make no sense."""
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode '{render_mode}' is not known: give 'rgb_array' or None")
        try:
            self.config = replace(config or NavEnvConfig(), **changes)
        except TypeError as error:
            raise ConfigError(f"{error}: see NavEnvConfig for what can be set") from error
        self.metadata = {**self.metadata, "render_fps": round(1 / self.config.dt_s)}
        self.render_mode = render_mode
        self.observation_space = self._observations()
        self.action_space = (
            spaces.Discrete(len(_MOVES)) if self.config.discrete else spaces.Box(-1.0, 1.0, (2,), np.float32)
        )
        self._encoder: Any = None
        self._simulator: Simulator | None = None

    def _observations(self) -> spaces.Dict:
        config = self.config
        camera, lidar = self._sensors()
        reach = np.array([_FAR_M, _FAR_M, math.pi, _FAST, _FAST], np.float32)
        found: dict[str, spaces.Space[Any]] = {
            "image": spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8),
            "scan": spaces.Box(0.0, lidar.range_max, (lidar.beams,), np.float32),
            "odometry": spaces.Box(-reach, reach, dtype=np.float32),
        }
        if config.depth:
            found["depth"] = spaces.Box(0.0, config.max_depth_m, (camera.height, camera.width), np.float32)
        if config.task == "point":
            edge = np.array([_FAR_M, math.pi], np.float32)
            found["goal"] = spaces.Box(np.array([0.0, -math.pi], np.float32), edge, dtype=np.float32)
        else:
            found["instruction"] = Words()
            if config.tokens:
                found["tokens"] = spaces.Box(-100.0, 100.0, (24, 384), np.float32)
        return spaces.Dict(found)

    def _sensors(self) -> tuple[CameraConfig, LidarConfig]:
        camera, lidar = self.config.sim.camera, self.config.sim.lidar
        assert camera is not None and lidar is not None  # NavEnvConfig refuses others
        return camera, lidar

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Arrays, Arrays]:
        """Begin a task drawn from the seed. Raises ConfigError for unknown options, or when no task can be made."""
        super().reset(seed=seed)
        asked = dict(options or {})
        world, task_seed, words = (asked.pop(key, None) for key in ("world_seed", "task_seed", "instruction"))
        if asked:
            raise ConfigError(f"option '{next(iter(asked))}' is not known: give world_seed, task_seed or instruction")
        config, random = self.config, self.np_random
        if world is not None and config.world_file is not None:
            raise ConfigError("option 'world_seed' is of generated worlds, this one is a file: give task_seed instead")
        if words is not None and config.task == "point":
            raise ConfigError("a PointNav task has no instruction: use mm_nav/LanguageNav-v0")
        if words is not None and words not in Words():
            raise ConfigError(f"an instruction has at most {MAX_LENGTH} characters, all of them ASCII")
        for _ in range(20):
            drawn_world = int(random.integers(*config.world_seeds))
            drawn_task, noise = (int(value) for value in random.integers(2**31, size=2))
            if task_seed is None and world is None:
                given: int | None = drawn_task
            else:
                given = None if task_seed is None else int(task_seed)
            source = Path(config.world_file) if config.world_file else drawn_world if world is None else int(world)
            try:
                kind = "pose" if config.task == "point" else config.kind
                self.episode, self.task = draw_task(source, config.sim.robot, kind, given, words)
                break
            except ConfigError:
                if world is not None or words is not None:
                    raise
        else:
            raise ConfigError("20 draws gave no task that can be done: use other world_seeds, or another world_file")
        self._simulator = Simulator(self.task.scene, config.sim, seed=noise, start=self.episode.start)
        self._judge = Judge(self.episode, self.task)
        self._judge.see(self.episode.start)
        self._field, self._field_of = self._judge.way_to_go(), self._judge.steps_done
        self._shortest = self._judge.shortest_path()
        self._way = self._shortest if math.isfinite(self._shortest) else 0.0
        self._way = self._way_to_go(self.episode.start)
        self._length, self._over, self.success = 0.0, False, False
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[Arrays, SupportsFloat, bool, bool, Arrays]:
        """Drive for dt_s. Raises ConfigError before the first reset and after an episode's end."""
        simulator = self._running()
        if self._over:
            raise ConfigError("the episode is over: call reset()")
        config, before, hits = self.config, simulator.pose, simulator.collisions
        twist = self._twist(action)
        simulator.step(twist, config.dt_s)
        self._length += before.distance_to(simulator.pose)
        self._judge.see(simulator.pose)
        hits = simulator.collisions - hits
        stands = is_stopped(simulator) and twist == Twist2D()
        failed = config.end_on_collision and simulator.collisions > 0
        self.success = stands and not failed and self._judge.satisfied(simulator.pose)
        last, self._way = self._way, self._way_to_go(simulator.pose)
        pay = config.reward
        earned = pay.progress * (last - self._way) + pay.collision * hits + pay.step + pay.success * self.success
        terminated = self.success or failed
        truncated = not terminated and simulator.time_ns >= round(1e9 * config.time_limit_s)
        self._over = terminated or truncated
        return self._observe(), float(earned), terminated, truncated, self._info()

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the robot's view beside a map (240, 560, 3) uint8, or None without a render_mode."""
        if self.render_mode is None:
            return None
        return picture(self._running(), self.task, self.episode, self._field)

    def close(self) -> None:
        """Let go of the simulator. The environment can be reset again."""
        self._simulator = None

    def _running(self) -> Simulator:
        if self._simulator is None:
            raise ConfigError("the environment was not reset yet: call reset() first")
        return self._simulator

    def _twist(self, action: Any) -> Twist2D:
        if not self.action_space.contains(action):
            raise ConfigError(f"the action {action!r} is not in {self.action_space}")
        robot = self.config.sim.robot
        linear, angular = _MOVES[int(action)] if self.config.discrete else (float(action[0]), float(action[1]))
        linear, angular = (0.0 if abs(share) < _DEADBAND else share for share in (linear, angular))
        return Twist2D(linear * (robot.max_linear if linear > 0 else -robot.min_linear), angular * robot.max_angular)

    def _way_to_go(self, pose: Pose2D) -> float:
        """Return metres still to drive; between cells the field is continued, and off the free cells the last holds."""
        if self._field_of != self._judge.steps_done and self._judge.steps_done < max(len(self.episode.steps), 1):
            self._field, self._field_of = self._judge.way_to_go(), self._judge.steps_done
        truth = self.task.truth
        row, column = (int(value) for value in truth.world_to_cell((pose.x, pose.y)))
        rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        cells = np.argwhere(np.isfinite(self._field[rows, columns])) + np.array([rows.start, columns.start])
        if not len(cells):
            return self._way
        gaps = np.hypot(*(truth.cell_to_world(cells) - (pose.x, pose.y)).T)
        values = self._field[cells[:, 0], cells[:, 1]]
        # The own cell counts without its gap where that is the nearest: a robot that has arrived has nothing left.
        return float(min(np.min(values + gaps), values[gaps.argmin()]))

    def _observe(self) -> Arrays:
        simulator, config = self._running(), self.config
        camera, lidar = self._sensors()
        found: Arrays = {}
        depth: npt.NDArray[np.float32] | None = None
        if config.depth and not (
            camera.noise_std or camera.exposure_s or camera.exposure_jitter + camera.colour_jitter
        ):
            seen = simulator.render()  # both from one pass
            found["image"], depth = seen.rgb, seen.depth
        else:
            found["image"] = simulator.image().rgb
            if config.depth:
                depth = simulator.render().depth
        if depth is not None:
            found["depth"] = np.clip(depth, 0.0, config.max_depth_m).astype(np.float32)
        ranges = np.nan_to_num(simulator.scan().ranges, nan=0.0, posinf=lidar.range_max)
        found["scan"] = np.clip(ranges, 0.0, lidar.range_max).astype(np.float32)
        odometry = simulator.odometry()
        moved = self.episode.start.inverse() @ odometry.pose
        wheels = odometry.twist
        state = np.array([moved.x, moved.y, moved.yaw, wheels.linear, wheels.angular], np.float32)
        edge = self.observation_space["odometry"]
        found["odometry"] = np.clip(state, edge.low, edge.high)
        if self.episode.pose is not None:
            goal = simulator.pose.inverse() @ self.episode.pose
            place = np.array([math.hypot(goal.x, goal.y), math.atan2(goal.y, goal.x)], np.float32)
            edge = self.observation_space["goal"]
            found["goal"] = np.clip(place, edge.low, edge.high)
        else:
            found["instruction"] = self.episode.instruction
            if config.tokens:
                found["tokens"] = self._tokens(self.episode.instruction)
        return found

    def _tokens(self, words: str) -> npt.NDArray[np.float32]:
        if self._encoder is None:
            from mm_nav.language.encoder import TextEncoder

            self._encoder = TextEncoder(tokens=24)
        embedding: npt.NDArray[np.float32] = self._encoder.encode(words)[0]
        return embedding.copy()

    def _info(self) -> Arrays:
        simulator = self._running()
        pose = simulator.pose
        return {
            "success": self.success,
            "collided": simulator.collided,
            "collisions": simulator.collisions,
            "spl": spl(self.success, self._length, self._shortest),
            "distance": self._judge.distance(pose),
            "way_to_go": self._way,
            "shortest_path": self._shortest,
            "path_length": self._length,
            "pose": np.array([pose.x, pose.y, pose.yaw]),
            "world_seed": self.episode.seed,
            "instruction": self.episode.instruction,
        }

    # What the last reset asks for: public, so that experts and plots can use them.
    episode: Episode
    task: TaskWorld
    success: bool


def register() -> None:
    """Register both environments; calling it again changes nothing."""
    for name, task in (("LanguageNav", "language"), ("PointNav", "point")):
        if f"mm_nav/{name}-v0" not in gymnasium.registry:
            gymnasium.register(f"mm_nav/{name}-v0", entry_point="mm_nav.sim.gym_env:NavEnv", kwargs={"task": task})


register()
