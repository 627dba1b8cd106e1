"""The protocol of the BARN challenge in the embedded simulator: a Jackal, 10 m through cylinders, any contact fails.

success * OT / clip(AT, 2 OT, 8 OT): OT = the reference path at 2 m/s, AT = the time from the first 0.1 m of motion on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav.command import Stage
from mm_nav.errors import ConfigError
from mm_nav.evaluation.barn_pilots import Dwa, PathPilot, PurePursuit
from mm_nav.evaluation.barn_worlds import GOAL, START, BarnWorld
from mm_nav.evaluation.episodes import Pilot
from mm_nav.evaluation.metrics import bootstrap_interval, wilson_interval
from mm_nav.evaluation.run_log import RunLog
from mm_nav.goal import Goal
from mm_nav.navigator import Navigator
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.parallel import Workers, run_jobs
from mm_nav.robot import RobotConfig
from mm_nav.runtime.policy import OnnxPolicy, default_model
from mm_nav.safety.guard import Guard, GuardConfig
from mm_nav.sim.drive import OdometryConfig
from mm_nav.sim.lidar import LidarConfig
from mm_nav.sim.rig import load_rig
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator

REACHED_M, TIMEOUT_S, _STARTED_M = 1.0, 100.0, 0.1
# Hokuyo UST-10LX on the Jackal of the challenge: 270 degrees in steps of 0.25.
_LIDAR = LidarConfig(
    beams=1080, angle_min=-0.75 * math.pi, angle_max=0.75 * math.pi, range_min=0.06, range_max=10.0,
    position=(0.12, 0.0, 0.33), noise_std=0.01, rate_hz=40.0, sweep_s=0.025,
)  # fmt: skip
# Of the Jackal's filter, which takes the heading from a gyroscope, not from its skidding wheels: so it turns out half a degree in
# a hundred wrong, and a centimetre in a metre. Assumed, not measured.
_ODOMETRY = OdometryConfig(
    linear_noise=0.01, angular_noise=0.01, heading_noise=0.002, linear_scale=0.01, angular_scale=0.005, gyro=True
)


@dataclass(frozen=True)
class BarnConfig:
    """planner: a name of PLANNERS. dt_s: of control, s. guard: whether commands pass the guard. runs: of each world, each with
    its own noise. delay_s: from command to wheels; the planner knows it. odometry: "gyro", or "wheels", which do not know how much
    they slip in turns. Raises ConfigError."""

    planner: str = "mm_nav"
    dt_s: float = 0.05
    guard: bool = True
    runs: int = 3
    delay_s: float = 0.05
    odometry: str = "gyro"

    def __post_init__(self) -> None:
        if self.planner not in PLANNERS:
            raise ConfigError(f"planner '{self.planner}' is not known: give one of {', '.join(PLANNERS)}")
        if self.runs < 1:
            raise ConfigError(f"--runs is {self.runs}: give 1 or more")
        if not 0.0 <= self.delay_s <= 0.5:
            raise ConfigError(f"--delay is {self.delay_s}: give 0 to 0.5 seconds")
        if self.odometry not in ("gyro", "wheels"):
            raise ConfigError(f"--odometry is '{self.odometry}': give gyro or wheels")

    def simulation(self) -> SimConfig:
        """Return the robot of the challenge, with its LiDAR."""
        rig = load_rig("jackal")
        robot = replace(rig.robot, command_delay_s=self.delay_s)
        odometry = replace(_ODOMETRY, gyro=self.odometry == "gyro")
        return replace(
            rig, robot=robot, lidar=_LIDAR, camera=None, cloud=None, imu=None, odometry=odometry, physics_dt=0.01
        )

    def guard_config(self) -> GuardConfig:
        """Return the guard's settings: it counts on this period and delay."""
        usual = GuardConfig()
        return replace(usual, reaction_s=max(usual.reaction_s, self.dt_s + self.delay_s))


@dataclass(frozen=True)
class BarnResult:
    """One run. time_s: from the first 0.1 m on. ending: "reached", "contact", "timeout" or "gave up". plan_ms: of a step of the
    planner, mean and 99th percentile. path: (x, y) every half second, m."""

    world: int
    run: int
    ending: str
    time_s: float
    optimal_time_s: float
    path_length_m: float
    plan_ms: float
    plan_p99_ms: float
    guard_steps: int
    contact_with: str
    message: str
    path: tuple[tuple[float, float], ...]

    @property
    def success(self) -> bool:
        """Whether the goal was reached without a contact."""
        return self.ending == "reached"

    def score(self, fastest: float = 2.0) -> float:
        """Return the benchmark's metric; `fastest`: times the optimal time that no run can be better than."""
        best = self.optimal_time_s
        return self.success * best / min(max(self.time_s, fastest * best), 8.0 * best)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> BarnResult:
        """Return the result that `as_dict` gave. Raises TypeError or KeyError when it is none."""
        return BarnResult(**{**data, "path": tuple(tuple(point) for point in data["path"])})


def run_barn(world: BarnWorld, run: int, config: BarnConfig) -> BarnResult:
    """Drive one run."""
    sim_config = config.simulation()
    simulator = Simulator(Scene(world.world()), sim_config, seed=1000 * run + world.number, start=START)
    robot = sim_config.robot
    pilot, guard = PLANNERS[config.planner](robot), Guard(robot, config.guard_config()) if config.guard else None
    pilot.set_goal(Goal(pose=GOAL, timeout_s=2 * TIMEOUT_S, id=f"barn-{world.number}-{run}"))
    started: float | None = None
    length, guard_steps = 0.0, 0
    times: list[float] = []
    path: list[tuple[float, float]] = []
    ending, message = "timeout", ""
    while True:
        now = simulator.time_ns * 1e-9
        pose = simulator.pose
        if len(times) % max(1, round(0.5 / config.dt_s)) == 0:
            path.append((round(pose.x, 3), round(pose.y, 3)))
        if started is None and (pose.distance_to(START) >= _STARTED_M or now > TIMEOUT_S):
            started = now
        if simulator.collisions:
            ending = "contact"
        elif pose.distance_to(GOAL) <= REACHED_M:
            ending = "reached"
        if ending != "timeout" or (started is not None and now - started >= TIMEOUT_S):
            break
        observation = simulator.observe(image=False)
        before = time.perf_counter()
        command = pilot.step(observation)
        times.append(1e3 * (time.perf_counter() - before))
        if command.stage is Stage.FAILED:
            ending, message = "gave up", command.message
            break
        twist = command.twist
        if guard is not None:
            driven = guard.filter(twist, observation.odometry, observation.scan, observation.stamp_ns)
            guard_steps += driven.limited
            twist = driven.twist
        simulator.step(twist, config.dt_s)
        length += pose.distance_to(simulator.pose)
    path.append((round(simulator.pose.x, 3), round(simulator.pose.y, 3)))
    taken = simulator.time_ns * 1e-9 - (started or 0.0)
    return BarnResult(
        world.number, run, ending, taken, world.optimal_time_s, length, float(np.mean(times or [0.0])),
        float(np.percentile(times or [0.0], 99)), guard_steps, simulator.collision_with or "", message, tuple(path),
    )  # fmt: skip


def run_worlds(
    worlds: Sequence[BarnWorld],
    config: BarnConfig,
    workers: Workers | int | None = None,
    log: Path | None = None,
    resume: bool = False,
    on_result: Callable[[BarnResult], None] = lambda result: None,
) -> list[BarnResult]:
    """Run every world `config.runs` times and return the results by world and run.

    log: every result is appended there (JSON lines) as it comes; with `resume`, what it holds is not run again. Raises ConfigError
    when the log belongs to other settings or cannot be read.
    """
    # The number of runs and of worlds may grow from one run to the next.
    settings = {key: value for key, value in asdict(config).items() if key != "runs"}
    kept = RunLog(log, settings, resume, BarnResult.from_dict)
    done = {(r.world, r.run): r for r in kept.results}
    for result in done.values():
        on_result(result)
    jobs = [(world, run, config) for run in range(config.runs) for world in worlds if (world.number, run) not in done]
    for result in run_jobs(run_barn, jobs, workers):
        done[result.world, result.run] = result
        kept.add(result.as_dict())
        on_result(result)
    wanted = {world.number for world in worlds}
    return [done[key] for key in sorted(done) if key[0] in wanted and key[1] < config.runs]


def read_runs(log: Path) -> tuple[str, list[BarnResult]]:
    """Return the planner's name and the results of a log that `run_worlds` wrote. Raises ConfigError when it is none."""
    try:
        head, *lines = log.read_text(encoding="utf-8").splitlines()
        return str(json.loads(head)["planner"]), [BarnResult.from_dict(json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{log} holds no runs of this benchmark ({error}): give the --json file of an earlier one"
        ) from error


def summarise_barn(results: Sequence[BarnResult], config: BarnConfig) -> dict[str, Any]:
    """Return flat JSON: rates with Wilson intervals, scores with bootstrap intervals over worlds."""
    count, won = len(results), sum(r.success for r in results)
    worlds = sorted({r.world for r in results})
    scores = [float(np.mean([r.score() for r in results if r.world == world])) for world in worlds]
    endings = {name: sum(r.ending == name for r in results) for name in ("contact", "timeout", "gave up")}
    return {
        "planner": config.planner,
        "worlds": len(worlds),
        "runs": count,
        "success_rate": won / count,
        "success_rate_ci95": list(wilson_interval(won, count)),
        "score": float(np.mean([r.score() for r in results])),
        "score_ci95": list(bootstrap_interval(scores)),
        "score_4_8": float(np.mean([r.score(4.0) for r in results])),
        "collision_rate": endings["contact"] / count,
        "contacts": endings["contact"],
        "timeout_rate": endings["timeout"] / count,
        "gave_up_rate": endings["gave up"] / count,
        "mean_time_s": float(np.mean([r.time_s for r in results if r.success])) if won else None,
        "plan_hz": 1e3 / max(float(np.mean([r.plan_ms for r in results])), 1e-9),
        "plan_p99_ms": float(np.max([r.plan_p99_ms for r in results])),
        "guard_steps": sum(r.guard_steps for r in results),
    }


def _with_policy(robot: RobotConfig) -> Navigator:
    return Navigator(robot, NavigatorConfig(pose_waypoints=1.0), OnnxPolicy(default_model(), provider="cpu"))


PLANNERS: dict[str, Callable[[RobotConfig], Pilot]] = {
    "mm_nav": Navigator,
    "mm_nav_policy": _with_policy,
    "dwa": lambda robot: PathPilot(robot, Dwa(robot)),
    "pure_pursuit": lambda robot: PathPilot(robot, PurePursuit(robot)),
}
