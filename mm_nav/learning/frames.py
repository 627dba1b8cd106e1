"""Training frames: what the robot senses at a pose, with the expert's labels, and the Zarr shards that hold them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import zarr

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.observation import CameraImage
from mm_nav.policy.config import PolicyConfig
from mm_nav.robot import RobotConfig
from mm_nav.runtime.preprocess import Preprocessor, pixel_rays
from mm_nav.sim.expert import Expert
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.objects import SceneObject
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import RenderResult
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator

MAX_OBJECTS = 32
ASKED = 4  # phrases of a driving policy that are kept with a frame, at most
RANGE_STRIDE = 2  # distances are kept of every second pixel: they change slowly
# The network's image is drawn at twice its size and averaged down, as a real camera's is.
SUPERSAMPLE = 2

Frame = dict[str, npt.NDArray[Any]]


class WorldFrames(NamedTuple):
    """The frames of one world. arrays: by name, one row a frame (see `mm_nav.learning.dataset`)."""

    objects: tuple[SceneObject, ...]
    arrays: Frame


class FrameMaker:
    """Makes the frames of one world.

    objects: MAX_OBJECTS at most. camera: its mount and lens; the size is the network's. resolution_m: of the expert's map.
    slack_m: a pose where the robot cannot stand by that map gets the paths of the nearest place where it can, within this
    distance. seed: of the sensors' noise.
    """

    def __init__(
        self,
        scene: Scene,
        objects: Sequence[SceneObject],
        camera: CameraConfig,
        policy: PolicyConfig,
        resolution_m: float = 0.1,
        slack_m: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._policy, self._slack_m, robot = policy, slack_m, RobotConfig()
        self._camera = replace(camera, width=policy.image_width * SUPERSAMPLE, height=policy.image_height * SUPERSAMPLE)
        self.expert = Expert(GroundTruthMap(scene, robot, resolution=resolution_m), objects)
        self._simulator = Simulator(scene, SimConfig(robot=robot, camera=self._camera), seed=seed)
        self._preprocess = Preprocessor(policy)
        # Pixels of every model that is an object carry that object's number; the rest is 0.
        number_of = np.zeros(len(scene.model_names) + 1, np.uint8)
        for index, item in enumerate(objects):
            number_of[scene.model_names.index(item.name)] = index + 1
        self._labels = _CameraLabels(self._camera, number_of)

    def frame(self, pose: Pose2D) -> Frame:
        """Return what is sensed at a true pose (world frame), and its labels, by name."""
        simulator, policy = self._simulator, self._policy
        simulator.reset(pose)
        seen, scan = simulator.render(), simulator.scan()
        image = CameraImage(simulator.time_ns, seen.rgb, self._camera.intrinsics(), self._camera.base_T_camera())
        ranges, valid = self._preprocess.scan(scan)
        return {
            **self._labels.of(seen),
            **self._expert_labels(pose),
            "image": cv2.resize(image.rgb, (policy.image_width, policy.image_height), interpolation=cv2.INTER_AREA),
            "rays": self._preprocess.image(image)[2].rays,
            "ranges": ranges[0].astype(np.float16),
            "ranges_valid": valid[0].astype(np.uint8),
            "pose": np.array([pose.x, pose.y, pose.yaw], np.float32),
        }

    def _expert_labels(self, pose: Pose2D) -> Frame:
        """Return per object: surface distance, path cost (inf = none) and the next waypoints in base_link."""
        expert, policy = self.expert, self._policy
        surface = np.full(MAX_OBJECTS, np.inf, np.float16)
        cost = np.full(MAX_OBJECTS, np.inf, np.float16)
        paths = np.zeros((MAX_OBJECTS, policy.steps, 2), np.float16)
        inverse = pose.inverse()
        x, y = expert.nearest_free(pose.x, pose.y, self._slack_m)
        for index in range(len(expert.objects)):
            surface[index] = expert.surface_distance(index, pose.x, pose.y)
            path = expert.path(index, x, y, policy.waypoint_spacing_m, policy.steps)
            if path is not None:
                cost[index] = expert.cost_to_go(index, x, y)
                paths[index] = inverse.transform(path)
        return {"surface": surface, "cost": cost, "paths": paths}


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

    def of(self, seen: RenderResult) -> Frame:
        """Return object numbers (H, W) uint8, and distances from base_link over the floor, metres, float16, of every
        RANGE_STRIDE-th pixel both ways."""
        model = seen.model_index[self._pick]
        depth = np.minimum(seen.depth[self._pick][::RANGE_STRIDE, ::RANGE_STRIDE], 50.0)
        points = self._origin + self._step * depth[..., None]
        planar = np.hypot(points[..., 0], points[..., 1]).astype(np.float16)
        return {"numbers": self._number_of[np.where(model < 0, len(self._number_of) - 1, model)], "planar": planar}


def stack_frames(objects: Sequence[SceneObject], frames: Sequence[Frame]) -> WorldFrames | None:
    """Return the frames of a world as one, or None when there are none."""
    if not frames:
        return None
    return WorldFrames(tuple(objects), {name: np.stack([frame[name] for frame in frames]) for name in frames[0]})


def write_worlds(path: Path, found: Sequence[tuple[int, WorldFrames]], **attributes: Any) -> None:
    """Write a shard with the frames of several worlds, given with their seeds. attributes: plain values kept with it.

    Raises ConfigError when there is no frame at all.
    """
    if not found:
        raise ConfigError(f"{path.stem}: its worlds gave no frame: raise worlds_per_shard")
    parts = [
        world.arrays | {"world": np.full(len(world.arrays["image"]), index, np.int32)}
        for index, (_, world) in enumerate(found)
    ]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    worlds = [{"seed": seed, "objects": [_describe(item) for item in world.objects]} for seed, world in found]
    write_shard(path, arrays, worlds, **attributes)


def write_shard(path: Path, arrays: Frame, worlds: list[dict[str, Any]], **attributes: Any) -> None:
    """Write a Zarr group that appears as a whole or not at all. worlds, attributes: kept in its attributes."""
    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    zarr.save_group(str(part), **arrays)
    zarr.open_group(str(part), mode="a").attrs.update({"worlds": worlds, **attributes})
    part.replace(path)


def shard_path(directory: Path, first: int) -> Path:
    """Return the place of the shard whose first world seed is `first`."""
    return directory / f"shard_{first:05d}.zarr"


def shard_jobs(first: int, worlds: int, per_shard: int) -> Iterator[tuple[int, int]]:
    """Yield (first seed, worlds) of every shard."""
    for seed in range(first, first + worlds, per_shard):
        yield seed, min(per_shard, first + worlds - seed)


def require_shard(path: Path) -> None:
    """Raise ConfigError when a worker's shard is not here."""
    if not path.exists():
        raise ConfigError(f"{path} was written on another machine: give a folder that all machines share")


def claim_folder(directory: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Make a folder of shards and note in name.json how they are made.

    Raises ConfigError when it holds data of other settings or of another command.
    """
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / f"{name}.json"
    text = json.dumps(settings, indent=2) + "\n"
    others = [path.name for path in directory.glob("*.json") if path != marker]
    if others or (marker.exists() and json.loads(marker.read_text()) != json.loads(text)):
        raise ConfigError(f"{directory} holds data collected with other settings: choose another folder or remove it")
    marker.write_text(text)


def _describe(item: SceneObject) -> dict[str, Any]:
    return {
        "name": item.name,
        "category": item.category,
        "colour": item.colour,
        "center": [float(v) for v in item.center],
    }
