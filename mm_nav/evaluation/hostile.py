"""Drivers that want to crash: what the guard lets through of their commands must touch nothing that the LiDAR sees.

Clutter of cylinders and boxes, all higher than the LiDAR, which looks all around. Each world has its own delays and brakes, within
what the guard counts on, and is driven by each driver in turn.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav.errors import ConfigError
from mm_nav.evaluation.metrics import wilson_interval
from mm_nav.evaluation.run_log import RunLog
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan
from mm_nav.parallel import Workers, run_jobs
from mm_nav.robot import RobotConfig
from mm_nav.safety.guard import Guard, GuardConfig
from mm_nav.sim.lidar import LidarConfig
from mm_nav.sim.rig import load_rig
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf_writer import plain_model
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world

Driver = Callable[[np.random.Generator, RobotConfig, Twist2D, LaserScan], Twist2D]

STEPS_PER_WORLD = 1000
_HALF_M = 4.0  # of the square arena
_FREE_M = 0.6  # around the start
_HEIGHT_M = 1.0
_PHYSICS_S = 0.01
_MOST_DELAY_S = 0.2


def _random(rng: np.random.Generator, robot: RobotConfig, last: Twist2D, scan: LaserScan) -> Twist2D:
    """Anything within the limits, kept for a while."""
    if rng.random() > 0.3:
        return last
    return Twist2D(rng.uniform(robot.min_linear, robot.max_linear), rng.uniform(-1.0, 1.0) * robot.max_angular)


def _maximal(rng: np.random.Generator, robot: RobotConfig, last: Twist2D, scan: LaserScan) -> Twist2D:
    """The limits themselves, kept for a while."""
    return last if rng.random() > 0.15 else _jitter(rng, robot, last, scan)


def _jitter(rng: np.random.Generator, robot: RobotConfig, last: Twist2D, scan: LaserScan) -> Twist2D:
    """Other limits at every step."""
    linear = (robot.min_linear, robot.max_linear)[rng.integers(2)]
    return Twist2D(linear, float(rng.integers(-1, 2)) * robot.max_angular)


def _nearest(rng: np.random.Generator, robot: RobotConfig, last: Twist2D, scan: LaserScan) -> Twist2D:
    """As fast as it can at the nearest thing, or at any; backwards at what is behind."""
    points = scan.points()
    if len(points) == 0:
        return last
    at = points[np.argmin(np.hypot(*points.T)) if rng.random() < 0.7 else rng.integers(len(points))]
    bearing = math.atan2(at[1], at[0])
    behind = abs(bearing) > 0.7 * math.pi
    if behind:
        bearing = math.atan2(-at[1], -at[0])
    turn = max(-1.0, min(1.0, 4.0 * bearing)) * robot.max_angular
    return Twist2D(robot.min_linear if behind else robot.max_linear, turn)


def _sideswipe(rng: np.random.Generator, robot: RobotConfig, last: Twist2D, scan: LaserScan) -> Twist2D:
    """Along the nearest thing, and at full speed into the turn that swings a corner at it."""
    points = scan.points()
    if len(points) == 0:
        return last
    at = points[np.argmin(np.hypot(*points.T))]
    bearing = math.atan2(at[1], at[0])
    if rng.random() < 0.3:
        return Twist2D(0.0, math.copysign(robot.max_angular, bearing))
    along = bearing - math.copysign(math.pi / 2, bearing)
    return Twist2D(robot.max_linear, max(-1.0, min(1.0, 3.0 * along)) * robot.max_angular)


DRIVERS: dict[str, Driver] = {
    "random": _random,
    "maximal": _maximal,
    "jitter": _jitter,
    "nearest": _nearest,
    "sideswipe": _sideswipe,
}


@dataclass(frozen=True)
class HostileConfig:
    """robot: a name in config/robots, or a file like those; its LiDAR is one that looks all around. worlds: how many, from `seed`
    on. steps: of the guard in each, shared by the drivers. guard: its settings, but for the reaction time, which is each world's
    own. Raises ConfigError."""

    robot: str = "generic"
    worlds: int = 10
    seed: int = 0
    steps: int = STEPS_PER_WORLD
    guard: GuardConfig = field(default_factory=GuardConfig)

    def __post_init__(self) -> None:
        if self.worlds < 1 or self.seed < 0 or self.steps < len(DRIVERS):
            raise ConfigError(
                f"{self.worlds} worlds of {self.steps} steps from seed {self.seed} on: give 1 world, {len(DRIVERS)} steps and a "
                "seed of 0 or more"
            )

    def simulation(self) -> SimConfig:
        """Return the robot, with nothing but its LiDAR."""
        rig = load_rig(self.robot)
        if rig.robot.drive != "differential":
            raise ConfigError(f"robot '{self.robot}' is {rig.robot.drive}: the guard is tried on differential drives")
        at = rig.lidar.position if rig.lidar is not None else (0.0, 0.0, 0.2)
        lidar = LidarConfig(beams=720, range_min=0.02, position=at)
        return replace(rig, lidar=lidar, camera=None, cloud=None, imu=None, extra={}, physics_dt=_PHYSICS_S)


@dataclass(frozen=True)
class HostileResult:
    """One world. contacts: (driver, step, what was touched), one for each time the robot ran into something. steps: of the guard;
    limited: those in which it let less through than was wanted. distance_m: driven. period_s: of control. delay_s: from command
    to wheels; the guard counts on both together. brakes: share of the robot's accelerations that its wheels have. scan_age_s: of
    every scan when it is judged. guard_ms: mean time of a step of the guard."""

    seed: int
    steps: int
    limited: int
    distance_m: float
    contacts: tuple[tuple[str, int, str], ...]
    period_s: float
    delay_s: float
    brakes: float
    scan_age_s: float
    guard_ms: float

    @staticmethod
    def from_dict(data: dict[str, Any]) -> HostileResult:
        """Return the result of `asdict`. Raises TypeError, KeyError or ValueError when it is none."""
        return HostileResult(**{**data, "contacts": tuple((str(d), int(k), str(w)) for d, k, w in data["contacts"])})


def run_hostile_world(seed: int, config: HostileConfig) -> HostileResult:
    """Let every driver have its share of the steps in the world of a seed."""
    rng = np.random.default_rng([seed, 77])
    sim = config.simulation()
    period = (0.05, 0.1)[rng.integers(2)]
    delay = round(float(rng.uniform(0.0, _MOST_DELAY_S)), 2)
    lag = int(rng.integers(0, 1 + int(config.guard.slow_scan_age_s / period)))
    settings, brakes = (
        replace(config.guard, reaction_s=period + delay),
        float(rng.uniform(config.guard.braking_share, 1.0)),
    )
    limits = {name: brakes * getattr(sim.robot, name) for name in ("max_linear_accel", "max_angular_accel")}
    robot = replace(sim.robot, command_delay_s=delay, **limits)
    simulator = Simulator(Scene(parse_world(_clutter(rng))), replace(sim, robot=robot), seed=seed)
    contacts: list[tuple[str, int, str]] = []
    limited, distance, judged, share = 0, 0.0, 0.0, config.steps // len(DRIVERS)
    for name, driver in DRIVERS.items():
        simulator.reset(Pose2D(yaw=float(rng.uniform(-math.pi, math.pi))), seed)
        guard, twist = Guard(sim.robot, settings), Twist2D()
        scans: deque[LaserScan] = deque(maxlen=lag + 1)
        for step in range(share):
            observation = simulator.observe(image=False)
            assert observation.scan is not None
            scans.append(observation.scan)
            twist = driver(rng, robot, twist, observation.scan)
            before = time.perf_counter()
            driven = guard.filter(twist, observation.odometry, scans[0], observation.stamp_ns)
            judged += time.perf_counter() - before
            limited += driven.limited
            had, pose = simulator.collisions, simulator.pose
            simulator.step(driven.twist, period)
            distance += pose.distance_to(simulator.pose)
            if simulator.collisions > had:
                contacts.append((name, step, simulator.collision_with or ""))
    steps = share * len(DRIVERS)
    return HostileResult(
        seed, steps, limited, distance, tuple(contacts), period, delay, brakes, lag * period, 1e3 * judged / steps
    )


def run_hostile(
    config: HostileConfig,
    workers: Workers | int | None = None,
    log: Path | None = None,
    resume: bool = False,
    on_result: Callable[[HostileResult], None] = lambda result: None,
) -> list[HostileResult]:
    """Run all worlds and return the results by seed.

    log: every result is appended there as a line of JSON; with `resume`, what it holds is not run again. Raises ConfigError when
    the log belongs to other settings or cannot be read.
    """
    settings = {key: value for key, value in asdict(config).items() if key not in ("worlds", "seed")}
    kept = RunLog(log, settings, resume, HostileResult.from_dict)
    wanted = range(config.seed, config.seed + config.worlds)
    done = {r.seed: r for r in kept.results if r.seed in wanted}
    for result in done.values():
        on_result(result)
    for result in run_jobs(run_hostile_world, [(seed, config) for seed in wanted if seed not in done], workers):
        done[result.seed] = result
        kept.add(asdict(result))
        on_result(result)
    return [done[seed] for seed in sorted(done)]


def summarise_hostile(results: Sequence[HostileResult], config: HostileConfig) -> dict[str, Any]:
    """Return flat JSON. contact_rate_ci95: Wilson interval of contacts for each step of the guard."""
    steps, contacts = sum(r.steps for r in results), [(r.seed, *c) for r in results for c in r.contacts]
    seconds = sum(r.steps * r.period_s for r in results)
    return {
        "robot": config.robot,
        "worlds": len(results),
        "steps": steps,
        "contacts": len(contacts),
        "contact_rate": len(contacts) / steps,
        "contact_rate_ci95": list(wilson_interval(len(contacts), steps)),
        **{f"contacts_{name}": sum(driver == name for _, driver, _, _ in contacts) for name in DRIVERS},
        "limited_share": sum(r.limited for r in results) / steps,
        "distance_m": sum(r.distance_m for r in results),
        "mean_speed": sum(r.distance_m for r in results) / seconds,
        "guard_ms": float(np.average([r.guard_ms for r in results], weights=[r.steps for r in results])),
        "first_contacts": [
            f"world {seed}, {driver}, step {step}: {what}" for seed, driver, step, what in contacts[:20]
        ],
    }


def _clutter(rng: np.random.Generator) -> str:
    """Return the SDF of an arena with walls, cylinders and boxes in it."""
    models = []
    for k in range(int(rng.integers(15, 70))):
        x, y = rng.uniform(-_HALF_M, _HALF_M, 2)
        if rng.random() < 0.6:
            radius = float(rng.uniform(0.03, 0.3))
            shape = f"<cylinder><radius>{radius:.3f}</radius><length>{_HEIGHT_M}</length></cylinder>"
        else:
            sides = rng.uniform(0.04, 0.8, 2)
            radius = float(np.hypot(*sides)) / 2
            shape = f"<box><size>{sides[0]:.3f} {sides[1]:.3f} {_HEIGHT_M}</size></box>"
        if math.hypot(x, y) > _FREE_M + radius:
            models.append(_model(f"thing_{k}", x, y, float(rng.uniform(-math.pi, math.pi)), shape))
    for k, (x, y) in enumerate(((_HALF_M, 0.0), (-_HALF_M, 0.0), (0.0, _HALF_M), (0.0, -_HALF_M))):
        size = f"0.1 {2 * _HALF_M}" if x else f"{2 * _HALF_M} 0.1"
        models.append(_model(f"wall_{k}", x, y, 0.0, f"<box><size>{size} {_HEIGHT_M}</size></box>"))
    return f'<sdf version="1.9"><world name="clutter">{"".join(models)}</world></sdf>'


def _model(name: str, x: float, y: float, yaw: float, shape: str) -> str:
    return plain_model(name, f"{x:.3f} {y:.3f} {_HEIGHT_M / 2} 0 0 {yaw:.3f}", shape)
