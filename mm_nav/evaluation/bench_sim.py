"""How fast the embedded simulator is, beside MuJoCo's software renderer in the same run: `mm-nav bench sim`."""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import MmNavError
from mm_nav.evaluation.bench_mujoco import MujocoCamera
from mm_nav.geometry import Twist2D
from mm_nav.resources import resource_path
from mm_nav.sim.camera import CameraConfig, render
from mm_nav.sim.generator import generate_world
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.lidar import CloudConfig, LidarConfig, cast, cloud_directions, lidar_directions
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf import rotation_rpy, transform
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.surface import Floats
from mm_nav.sim.world import load_world, parse_world

Matrix = npt.NDArray[np.float64]
Progress = Callable[[str], None]

WORLD = "worlds/apartment.sdf"
SIZES = ((96, 72), (160, 120), (640, 480))
STEP_S, CAMERA_STEP = 0.1, CameraConfig(96, 72)
_ROUNDS, _POSES = 5, 24
_WARM_UP_S, _WORKER_TIMEOUT_S = 0.5, 60.0


def bench_sim(seconds: float = 1.0, seed: int = 0, progress: Progress = lambda what: None) -> dict[str, Any]:
    """Return measured speeds and ratios; README.md and docs/simulator.md explain the keys.

    seconds: spent on each measurement in each of five rounds; what is compared alternates within a round. Rates are
    medians over rounds, ratios medians of each round's ratio. The process keeps to one core meanwhile. `ratio_mujoco_*`
    compares with `mujoco.Renderer`, `ratio_mujoco_one_pass_*` with MuJoCo's low-level calls; both without multisampling,
    with a shadow map of SHADOW_MAP. A ratio is null where MuJoCo cannot render; `mujoco_missing` then says what to
    install.
    """
    report: dict[str, Any] = {"environment": environment(), "seconds": seconds, "seed": seed, "world": WORLD}
    scene = Scene(load_world(resource_path(WORLD)))
    poses = bench_poses(scene, seed)
    with one_core():
        report |= _renderers(scene, poses, seconds, progress)
        report |= _lidars(scene, poses, seconds, progress)
    progress("full steps, 1 and 2 workers")
    report |= _workers(seconds, seed)
    return report


def environment() -> dict[str, Any]:
    """Return the machine and the versions that the numbers depend on."""
    found: dict[str, Any] = {"cpu": _cpu(), "cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    found["python"] = platform.python_version()
    for package in ("numpy", "embreex", "mujoco"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and the threads it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bench_poses(scene: Scene, seed: int, count: int = _POSES) -> list[Matrix]:
    """Return poses (4, 4) of a robot on free floor with any heading."""
    random = np.random.default_rng(seed)
    truth = GroundTruthMap(scene)
    free = truth.cell_to_world(np.argwhere(truth.traversable))
    spots = free[random.integers(len(free), size=count)]
    yaws = random.uniform(-math.pi, math.pi, count)
    return [
        transform(rotation_rpy(0.0, 0.0, yaw), (x, y, scene.floor_z)) for (x, y), yaw in zip(spots, yaws, strict=True)
    ]


def _renderers(scene: Scene, poses: Sequence[Matrix], seconds: float, progress: Progress) -> dict[str, Any]:
    report: dict[str, Any] = {"geometries": sum(len(model.visuals) for model in scene.world.models)}
    for width, height in SIZES:
        size = f"{width}x{height}"
        camera = CameraConfig(width, height)
        views = [pose @ camera.base_T_camera() for pose in poses]
        other: MujocoCamera | None = None
        try:
            other = MujocoCamera(scene.world, camera)
            report["mujoco_gl"] = other.platform
        except MmNavError as error:
            report["mujoco_missing"] = str(error)
        if other is not None:
            report |= {f"mujoco_depth_{k}_{size}": v for k, v in _depth_errors(scene, camera, other, views).items()}
        for shadows in (False, True):
            progress(f"{size} RGB + depth{' with shadows' if shadows else ''}")
            key = f"shadows_{size}" if shadows else size
            ways: dict[str, Callable[[Matrix], object]] = {"ours": _ours(scene, width, height, shadows)}
            if other is not None:
                other.shadows(shadows)
                ways |= {"one": other.one_pass, "two": other.two_passes}
            periods = alternate(ways, views, seconds)
            ours = periods["ours"]
            report[f"frames_per_s_{key}"] = 1.0 / float(np.median(ours))
            report[f"camera_rays_per_s_{key}"] = width * height / float(np.median(ours))
            for name, way in (("mujoco", "two"), ("mujoco_one_pass", "one")):
                theirs = periods.get(way)
                report[f"{name}_frames_per_s_{key}"] = None if theirs is None else 1.0 / float(np.median(theirs))
                report[f"ratio_{name}_{key}"] = None if theirs is None else float(np.median(theirs / ours))
        if other is not None:
            other.close()
    return report


def _ours(scene: Scene, width: int, height: int, shadows: bool) -> Callable[[Matrix], object]:
    camera = CameraConfig(width, height, shadows=shadows)
    return lambda pose: render(scene, camera, pose)


def _depth_errors(scene: Scene, camera: CameraConfig, other: MujocoCamera, views: Sequence[Matrix]) -> dict[str, float]:
    """Return by how much both renderers' depths differ: median (m), and share of pixels that differ by more than 2 cm."""
    gaps = []
    for view in views[:6]:
        depth = render(scene, camera, view).depth
        seen = np.isfinite(depth) & (depth < 50.0)
        gaps.append(np.abs(other.one_pass(view)[1] - depth)[seen])
    gap = np.concatenate(gaps)
    return {"median_error_m": float(np.median(gap)), "outliers": float(np.mean(gap > 0.02))}


def alternate(
    ways: dict[str, Callable[[Matrix], object]], arguments: Sequence[Matrix], seconds: float
) -> dict[str, npt.NDArray[np.float64]]:
    """Return seconds per call of each way (rounds,): in every round each way has its turn, so that a round's figures saw
    the same machine."""
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call(arguments[0])
    for _ in range(_ROUNDS):
        for name, call in ways.items():
            count, start = 0, time.perf_counter()
            while count < 2 or time.perf_counter() - start < seconds:
                call(arguments[count % len(arguments)])
                count += 1
            measured[name].append((time.perf_counter() - start) / count)
    return {name: np.array(values) for name, values in measured.items()}


def _lidars(scene: Scene, poses: Sequence[Matrix], seconds: float, progress: Progress) -> dict[str, Any]:
    lidar, cloud = LidarConfig(), CloudConfig(rings=16, columns=1024)
    report: dict[str, Any] = {}
    for name, config, directions in (
        ("scan_360", lidar, lidar_directions(lidar)), ("cloud_16x1024", cloud, cloud_directions(cloud)),
    ):  # fmt: skip
        progress(f"LiDAR, {len(directions)} beams")
        mounted = [pose @ config.base_T_sensor() for pose in poses]
        period = float(np.median(alternate({"ours": partial(_cast, scene, directions)}, mounted, seconds)["ours"]))
        report[f"{name}_per_s"], report[f"{name}_rays_per_s"] = 1.0 / period, len(directions) / period
    return report


def _cast(scene: Scene, directions: Floats, pose: Matrix) -> Floats:
    return cast(scene, directions, pose)


# Full steps


def _workers(seconds: float, seed: int) -> dict[str, Any]:
    """Return full steps per second of one worker and of two at the same time, each on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for count in rates:
            rates[count].append(_run_workers(count, cores, max(seconds, 0.05), seed))
    one, two = (float(np.median(values)) for values in rates.values())
    return {"steps_per_s_1": one, "steps_per_s_2": two, "scaling_2": two / one}


def _run_workers(count: int, cores: Sequence[int], seconds: float, seed: int) -> float:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(cores[i % len(cores)], seconds, seed + i, barrier, results))
        for i in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(_WORKER_TIMEOUT_S + seconds)
    if any(worker.exitcode != 0 for worker in workers):
        for worker in workers:
            worker.kill()
        raise MmNavError("a worker of the benchmark ended early: see its message above")
    return float(sum(results.get() for _ in workers))


def _work(core: int, seconds: float, seed: int, barrier: Barrier, results: Any) -> None:
    """Drive about in a world of the generator: physics, contacts, 360-beam scan and 96x72 RGB + depth at each step."""
    os.sched_setaffinity(0, {core})
    world = generate_world(seed, "apartment")
    simulator = Simulator(parse_world(world.sdf), SimConfig(camera=CAMERA_STEP), seed=seed, start=world.start)
    for duration in (_WARM_UP_S, seconds):
        barrier.wait(_WORKER_TIMEOUT_S)
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < duration:
            step_once(simulator)
            count += 1
        rate = count / elapsed
    results.put(rate)


def step_once(simulator: Simulator) -> None:
    """One full step: drive towards open space, sense everything."""
    ranges = np.nan_to_num(simulator.scan().ranges, nan=0.0, posinf=10.0)
    count = len(ranges)
    clear = float(ranges[count // 2 - count // 12 : count // 2 + count // 12].min()) > 0.6
    # Always the same way round: where both sides look alike, a robot that chooses anew each time gets nowhere.
    simulator.step(Twist2D(0.5, 0.1) if clear else Twist2D(0.0, 1.2), STEP_S)
    simulator.image()
