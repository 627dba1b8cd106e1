"""Collect expert-labelled frames in generated worlds and write them as Zarr shards, with several worker processes."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import zarr

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.learning import FIRST_HELD_OUT_SEED
from mm_nav.learning.expert import Expert
from mm_nav.observation import CameraImage
from mm_nav.policy.config import PolicyConfig
from mm_nav.robot import RobotConfig
from mm_nav.runtime.preprocess import Preprocessor, pixel_rays, preprocessing_fingerprint
from mm_nav.sim.generator import GeneratedWorld, generate_world
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.objects import SceneObject, scene_objects
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import RenderResult
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.splits import held_out
from mm_nav.sim.world import World, parse_world

MAX_OBJECTS = 32
RANGE_STRIDE = 2  # distances are kept of every second pixel: they change slowly
# The network's image is drawn at twice its size and averaged down, as a real camera's is.
SUPERSAMPLE = 2
_OTHER_STYLES = ("warehouse", "maze", "storeroom")


@dataclass(frozen=True)
class CollectConfig:
    """What to collect.

    first_seed, worlds: world seeds first_seed .. first_seed + worlds - 1, all below 10 000. frames: per world.
    resolution_m: of the expert's map. min_fov, max_fov: horizontal camera field of view, rad, drawn per world. textured:
    share of worlds whose surfaces have textures; extra_styles: share of warehouses, mazes and store rooms; showrooms: share of
    rooms full of things; shadows: share of worlds that are drawn with them. Objects whose pair of category and colour is held out (`mm_nav.sim.splits`) are
    taken out of every world.
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
        if self.first_seed < 0 or self.first_seed + self.worlds > FIRST_HELD_OUT_SEED:
            raise ConfigError(
                f"world seeds {self.first_seed}..{self.first_seed + self.worlds - 1} reach the held-out ones: "
                f"training uses 0..{FIRST_HELD_OUT_SEED - 1} only"
            )


class WorldFrames(NamedTuple):
    """The frames of one world. arrays: by name, one row a frame (see `mm_nav.learning.dataset`)."""

    objects: tuple[SceneObject, ...]
    arrays: dict[str, npt.NDArray[Any]]


def training_world(seed: int, config: CollectConfig) -> tuple[GeneratedWorld, World]:
    """Return the training world of a seed, without the objects that training must not see."""
    rng = np.random.default_rng([seed, 8])
    style = str(rng.choice(_OTHER_STYLES)) if rng.random() < config.extra_styles else None
    if np.random.default_rng([seed, 15]).random() < config.showrooms:
        style = "showroom"
    generated = generate_world(seed, style, "textured" if rng.random() < config.textured else "plain")
    world = parse_world(generated.sdf)
    hidden = {item.name for item in held_out(scene_objects(world))}
    return generated, replace(world, models=tuple(m for m in world.models if m.name.split("::")[0] not in hidden))


def collect_world(seed: int, config: CollectConfig, policy: PolicyConfig) -> WorldFrames | None:
    """Return the frames and objects of one world, or None when nothing could be placed."""
    rng = np.random.default_rng([seed, 7])
    generated, world = training_world(seed, config)
    scene = Scene(world)
    objects = scene_objects(world)[:MAX_OBJECTS]
    robot = RobotConfig()
    truth = GroundTruthMap(scene, robot, resolution=config.resolution_m)
    expert = Expert(truth, objects)
    camera = CameraConfig(
        width=policy.image_width * SUPERSAMPLE,
        height=policy.image_height * SUPERSAMPLE,
        horizontal_fov=float(rng.uniform(config.min_fov, config.max_fov)),
        position=(float(rng.uniform(0.05, 0.15)), 0.0, float(rng.uniform(0.25, 0.45))),
        pitch=float(rng.uniform(-0.08, 0.08)),
        shadows=bool(rng.random() < config.shadows),
    )
    simulator = Simulator(scene, SimConfig(robot=robot, camera=camera), seed=seed)
    preprocess = Preprocessor(policy)
    # Pixels of every model that is an object carry that object's number; the rest is 0.
    number_of = np.zeros(len(scene.model_names) + 1, np.uint8)
    for index, item in enumerate(objects):
        number_of[scene.model_names.index(item.name)] = index + 1
    labels = _CameraLabels(camera, number_of)

    frames: list[dict[str, npt.NDArray[Any]]] = []
    for pose in _poses(rng, expert, generated.start, config.frames):
        simulator.reset(pose)
        seen, scan = simulator.render(), simulator.scan()
        image = CameraImage(simulator.time_ns, seen.rgb, camera.intrinsics(), camera.base_T_camera())
        frames.append(
            {
                **labels.of(seen),
                **_expert_labels(expert, pose, policy),
                "image": cv2.resize(image.rgb, (policy.image_width, policy.image_height), interpolation=cv2.INTER_AREA),
                "rays": preprocess.image(image)[2].rays,
                "ranges": preprocess.scan(scan)[0][0].astype(np.float16),
                "ranges_valid": preprocess.scan(scan)[1][0].astype(np.uint8),
                "pose": np.array([pose.x, pose.y, pose.yaw], np.float32),
            }
        )
    if not frames:
        return None
    return WorldFrames(objects, {name: np.stack([frame[name] for frame in frames]) for name in frames[0]})


def _poses(rng: np.random.Generator, expert: Expert, start: Pose2D, count: int) -> Iterator[Pose2D]:
    """Yield poses: some anywhere, some along the expert's paths, some facing an object from nearby."""
    truth = expert.truth
    reachable = truth.traversable & np.isfinite(_reach(truth, start))
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


def _reach(truth: GroundTruthMap, start: Pose2D) -> npt.NDArray[np.float32]:
    target = np.zeros(truth.traversable.shape, bool)
    row, column = truth.world_to_cell((start.x, start.y))
    target[row, column] = True
    return truth.distance_field(target)


class _CameraLabels:
    """What each pixel of a camera shows, at the network's size.

    number_of: (models + 1,) uint8 number of the object that a model is; the last is that of nothing.
    """

    def __init__(self, camera: CameraConfig, number_of: npt.NDArray[np.uint8]) -> None:
        columns, rows = np.meshgrid(
            np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64)
        )
        pose, shape = camera.base_T_camera(), (camera.height, camera.width, 3)
        rays = pixel_rays(columns.ravel(), rows.ravel(), camera.intrinsics(), pose).reshape(shape)
        # One pixel of each block; depth is along the optical axis, so a point is at camera + ray * depth / (ray . axis).
        pick = slice(SUPERSAMPLE // 2, None, SUPERSAMPLE)
        self._pick = (pick, pick)
        rays = rays[self._pick]
        self._step = (rays / (rays @ pose[:3, 2])[..., None])[::RANGE_STRIDE, ::RANGE_STRIDE, :2]
        self._origin = pose[:2, 3]
        self._number_of = number_of

    def of(self, seen: RenderResult) -> dict[str, npt.NDArray[Any]]:
        """Return object numbers (H, W) uint8, and distances from base_link over the floor, metres, float16, of every
        RANGE_STRIDE-th pixel both ways."""
        model = seen.model_index[self._pick]
        depth = np.minimum(seen.depth[self._pick][::RANGE_STRIDE, ::RANGE_STRIDE], 50.0)
        points = self._origin + self._step * depth[..., None]
        planar = np.hypot(points[..., 0], points[..., 1]).astype(np.float16)
        return {"numbers": self._number_of[np.where(model < 0, len(self._number_of) - 1, model)], "planar": planar}


def _expert_labels(expert: Expert, pose: Pose2D, policy: PolicyConfig) -> dict[str, npt.NDArray[Any]]:
    """Return per object: surface distance, path cost (inf = none) and the next waypoints in base_link."""
    surface = np.full(MAX_OBJECTS, np.inf, np.float16)
    cost = np.full(MAX_OBJECTS, np.inf, np.float16)
    paths = np.zeros((MAX_OBJECTS, policy.steps, 2), np.float16)
    inverse = pose.inverse()
    for index in range(len(expert.objects)):
        surface[index] = expert.surface_distance(index, pose.x, pose.y)
        path = expert.path(index, pose.x, pose.y, policy.waypoint_spacing_m, policy.steps)
        if path is not None:
            cost[index] = expert.cost_to_go(index, pose.x, pose.y)
            paths[index] = inverse.transform(path)
    return {"surface": surface, "cost": cost, "paths": paths}


def _collect_shard(job: tuple[int, int, CollectConfig, PolicyConfig, str]) -> tuple[str, int]:
    first, count, config, policy, directory = job
    cv2.setNumThreads(1)
    path = Path(directory) / f"shard_{first:05d}.zarr"
    if path.exists():
        return str(path), 0
    worlds: list[dict[str, Any]] = []
    parts: list[dict[str, npt.NDArray[Any]]] = []
    for seed in range(first, first + count):
        found = collect_world(seed, config, policy)
        if found is None:
            continue
        parts.append(found.arrays | {"world": np.full(len(found.arrays["image"]), len(worlds), np.int32)})
        worlds.append({"seed": seed, "objects": [_describe(item) for item in found.objects]})
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    write_shard(path, arrays, worlds)
    return str(path), len(arrays["image"])


def write_shard(path: Path, arrays: dict[str, npt.NDArray[Any]], worlds: list[dict[str, Any]]) -> None:
    """Write a Zarr group that appears as a whole or not at all. worlds: kept in its attributes."""
    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    zarr.save_group(str(part), **arrays)
    zarr.open_group(str(part), mode="a").attrs["worlds"] = worlds
    part.replace(path)


def _describe(item: SceneObject) -> dict[str, Any]:
    return {
        "name": item.name,
        "category": item.category,
        "colour": item.colour,
        "center": [float(v) for v in item.center],
    }


def collect(
    directory: Path, config: CollectConfig, policy: PolicyConfig, workers: int | None = None
) -> Iterator[tuple[int, int]]:
    """Collect all shards into `directory`, resuming what is there; yield (worlds done, worlds in all) as they finish.

    Raises ConfigError when the folder holds data of other settings.
    """
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "collect": asdict(config),
        "policy": policy.to_dict(),
        "preprocessing": preprocessing_fingerprint(policy),
    }
    marker = directory / "collect.json"
    if marker.exists() and json.loads(marker.read_text()) != json.loads(json.dumps(settings)):
        raise ConfigError(f"{directory} holds data collected with other settings: choose another folder or remove it")
    marker.write_text(json.dumps(settings, indent=2) + "\n")
    end = config.first_seed + config.worlds
    jobs = [
        (first, min(config.worlds_per_shard, end - first), config, policy, str(directory))
        for first in range(config.first_seed, end, config.worlds_per_shard)
    ]
    done = 0
    with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count() or 1) as pool:
        for shard, _ in pool.imap_unordered(_collect_shard, jobs):
            first = int(Path(shard).stem.split("_")[1])
            done += min(config.worlds_per_shard, end - first)
            yield done, config.worlds
