"""`mm-nav world check`: what was loaded from a world, what was not, and two pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.geometry import Pose2D
from mm_nav.robot import RobotConfig
from mm_nav.sim import sensors
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.materials import Image
from mm_nav.sim.scene import Scene
from mm_nav.sim.surface import Floats
from mm_nav.sim.sensors import CameraConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import load_world

_TOP_SIDE = 900  # pixels of the top view's longer side
_ROOF_SHARE, _ROOF_HEIGHT_M = 0.4, 1.8
_CANDIDATES, _HEADINGS = 80, 8


@dataclass(frozen=True)
class WorldReport:
    """What a world file gave. loaded: visuals and collisions that were loaded. missing, unsupported: each name once.
    pictures: files that were written (top view, camera view)."""

    path: str
    name: str
    loaded: int
    models: int
    visuals: int
    collisions: int
    triangles: int
    textures: int
    lights: int
    missing: tuple[str, ...]
    unsupported: tuple[str, ...]
    pictures: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def check_world(path: str | Path, search_paths: Sequence[Path] = (), out_dir: Path | None = None) -> WorldReport:
    """Load a world and describe it; with `out_dir`, write <name>_top.png and <name>_camera.png there.

    Raises WorldError when the world cannot be loaded or the pictures cannot be written.
    """
    world = load_world(path, search_paths)
    scene = Scene(world)
    pictures: list[str] = []
    if out_dir is not None:
        stem = Path(path).stem
        for suffix, image in (("top", top_view(scene)), ("camera", camera_view(scene))):
            target = Path(out_dir) / f"{stem}_{suffix}.png"
            _write_png(target, image)
            pictures.append(str(target))
    return WorldReport(
        str(path),
        world.name,
        world.geometry_count,
        len(world.models),
        sum(len(model.visuals) for model in world.models),
        sum(len(model.collisions) for model in world.models),
        len(scene.layer.surface.triangles),
        scene.atlas.count,
        len(world.lights),
        world.missing,
        world.unsupported,
        tuple(pictures),
    )


@dataclass(frozen=True)
class TopFrame:
    """Where a top view lies: its upper left corner (x0, y1), metres, world; metres per pixel; its size in pixels."""

    x0: float
    y1: float
    cell: float
    rows: int
    columns: int


def top_frame(scene: Scene, side: int = _TOP_SIDE) -> TopFrame:
    """Return the frame of `top_view(scene, side)`."""
    (x0, y0, _), (x1, y1, _) = scene.world.bounds
    margin = 0.03 * max(x1 - x0, y1 - y0) + 0.2
    x0, y0, x1, y1 = x0 - margin, y0 - margin, x1 + margin, y1 + margin
    cell = max(x1 - x0, y1 - y0) / side
    return TopFrame(float(x0), float(y1), float(cell), max(int((y1 - y0) / cell), 1), max(int((x1 - x0) / cell), 1))


def top_view(scene: Scene, side: int = _TOP_SIDE) -> Image:
    """Return a map-like picture (H, W, 3) from straight above, x to the right and y up, with roofs taken off."""
    top = scene.world.bounds[1, 2]
    frame = top_frame(scene, side)
    x0, y1, cell, rows, columns = frame.x0, frame.y1, frame.cell, frame.rows, frame.columns
    origins = np.empty((rows, columns, 3), np.float32)
    origins[..., 0] = x0 + (np.arange(columns) + 0.5) * cell
    origins[..., 1] = (y1 - (np.arange(rows) + 0.5) * cell)[:, None]
    origins[..., 2] = top + 1.0
    flat = origins.reshape(-1, 3)
    down = np.zeros_like(flat)
    down[:, 2] = -1.0
    _take_off_roofs(scene, flat, down)
    # Only the texture filter asks for a pixel's angle; as if from 10 m above.
    colour, _, _ = sensors.shade(scene, flat, down, float(cell) / 10.0)
    return np.asarray(np.clip(colour.reshape(rows, columns, 3) * 255.0, 0, 255), np.uint8)


def _take_off_roofs(scene: Scene, origins: Floats, down: Floats) -> None:
    """Start the rays below every model that, high up, covers much of the world; `origins` change in place."""
    roofs: set[int] = set()
    for _ in range(8):
        hits = scene.layer.intersect(origins, down)
        owner = scene.layer.surface.model
        model = np.where(hits.triangle >= 0, owner[np.maximum(hits.triangle, 0)] if len(owner) else -1, -1)
        height = origins[:, 2] - hits.distance
        for index in set(model[model >= 0].tolist()) - roofs:
            of_it = model == index
            if of_it.mean() > _ROOF_SHARE and np.median(height[of_it]) > _ROOF_HEIGHT_M:
                roofs.add(index)
        covered = np.isin(model, list(roofs)) & (height > _ROOF_HEIGHT_M)
        if not covered.any():
            return
        origins[covered, 2] = height[covered] - 0.01


def camera_view(scene: Scene, width: int = 960, height: int = 720) -> Image:
    """Return what a robot's camera sees from the free place, of some tried, that shows most (H, W, 3)."""
    robot = RobotConfig()
    truth = GroundTruthMap(scene, robot, resolution=_resolution(scene))
    cells = np.argwhere(truth.traversable)
    if not len(cells):
        return top_view(scene)
    picks = cells[np.linspace(0, len(cells) - 1, min(_CANDIDATES, len(cells))).astype(np.int64)]
    small = CameraConfig(64, 48)
    simulator = Simulator(scene, SimConfig(robot, small))
    best, best_score = Pose2D(), -1.0
    for x, y in truth.cell_to_world(picks):
        for turn in range(_HEADINGS):
            pose = Pose2D(float(x), float(y), 2 * np.pi * turn / _HEADINGS - np.pi)
            seen = simulator.render(pose=pose)
            score = _interest(seen.rgb, seen.depth, seen.model_index)
            if score > best_score:
                best, best_score = pose, score
    return simulator.render(pose=best, camera=CameraConfig(width, height, supersample=2)).rgb


def _interest(rgb: Image, depth: Floats, model: npt.NDArray[np.int32]) -> float:
    """Many colours and models at a good distance make a telling picture."""
    coarse = rgb.reshape(-1, 3).astype(np.int32) >> 5
    colours = len(np.unique(coarse[:, 0] * 64 + coarse[:, 1] * 8 + coarse[:, 2]))
    near = float(np.mean(depth < 0.8))
    good = float(np.mean((depth > 1.0) & (depth < 12.0) & (model >= 0)))
    distance = np.log(np.minimum(depth, 100.0))
    outlines = float(np.mean(np.abs(np.diff(distance, axis=1)) > 0.1))  # where something stands before something else
    return (colours + 3 * len(np.unique(model)) + 400 * outlines) * (0.2 + good) * (1.0 - near)


def _resolution(scene: Scene) -> float:
    (x0, y0, _), (x1, y1, _) = scene.world.bounds
    return float(max(0.05, max(x1 - x0, y1 - y0) / 600))


def _write_png(path: Path, image: Image) -> None:
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes() if encoded else b"")
    except OSError as error:
        raise WorldError(
            f"{path}: the picture cannot be written ({error.strerror}): give a folder you may write to"
        ) from error
