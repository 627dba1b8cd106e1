"""Two pictures of any world: a map-like one from above, with roofs taken off, and one from a telling place inside."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.sim import sensors
from mm_nav.sim.camera import BODY_R_OPTICAL, as_rgb, render_colour
from mm_nav.sim.layer import repeated
from mm_nav.sim.materials import Image
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf import rotation_rpy, transform
from mm_nav.sim.sdf_geometry import Plane
from mm_nav.sim.sensors import CameraConfig
from mm_nav.sim.surface import Floats

Boxes = npt.NDArray[np.float64]

_ROOF_SHARE, _CEILING_SHARE, _ROOF_HEIGHT_M, _LAYERS = 0.4, 0.6, 1.8, 12
_NONE = -2  # no model; -1 = a plane, which can be a ceiling as well as the ground
_CHUNK = 65536  # rays at a time: memory does not grow with the picture
_COARSE_SIDE = 160  # cells of the longer side of the map in which viewpoints are looked for
_PLACES, _HEADINGS = 70, 8
# A small robot's eye and that of a tall one: the better view wins.
_EYES = ((0.35, 0.0), (1.1, 0.08))  # metres above the floor, pitch down in rad
_AROUND_M = 15.0
_WELL_EXPOSED, _MAX_GAIN = 0.65, 2.5
_FAR_SPREADS, _FAR_M, _HUGE = 20.0, 100.0, 6.0


@dataclass(frozen=True)
class TopFrame:
    """Where a top view lies: its upper left corner (x0, y1), metres, world; metres per pixel; its size in pixels."""

    x0: float
    y1: float
    cell: float
    rows: int
    columns: int


def top_frame(scene: Scene, side: int) -> TopFrame:
    """Return the frame of `top_view(scene, side)`."""
    (x0, y0, _), (x1, y1, _) = view_box(scene)
    margin = 0.03 * max(x1 - x0, y1 - y0) + 0.2
    x0, y0, x1, y1 = x0 - margin, y0 - margin, x1 + margin, y1 + margin
    cell = max(x1 - x0, y1 - y0) / side
    return TopFrame(float(x0), float(y1), float(cell), max(int((y1 - y0) / cell), 1), max(int((x1 - x0) / cell), 1))


def view_box(scene: Scene) -> Boxes:
    """Return the axis-aligned box (2, 3), metres, world, that is worth a picture: without single things that lie far
    from all others, and without ground meshes and skies many times larger than all that stands on them.
    """
    shapes = [
        shape
        for model in scene.world.models
        for shape in (*model.visuals, *model.collisions)
        if shape.parts and not isinstance(shape.geometry, Plane)
    ]
    if len(shapes) < 3:
        return scene.world.bounds
    boxes = np.array([shape.bounds() for shape in shapes])
    centres = boxes.mean(axis=1)
    apart = np.abs(centres - np.median(centres, axis=0))
    boxes = boxes[np.all(apart <= _FAR_SPREADS * np.median(apart, axis=0) + _FAR_M, axis=1)]
    boxes = boxes[np.argsort(_width(boxes))]
    while len(boxes) > 3 and _width(boxes[-1:])[0] > _HUGE * _width(_around(boxes[:-1])[None])[0]:
        boxes = boxes[:-1]
    return _around(boxes)


def _around(boxes: Boxes) -> Boxes:
    return np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])


def _width(boxes: Boxes) -> npt.NDArray[np.float64]:
    return np.asarray(np.hypot(*(boxes[:, 1, :2] - boxes[:, 0, :2]).T))


def top_view(scene: Scene, side: int) -> Image:
    """Return a map-like picture (H, W, 3) from straight above, x to the right and y up, with roofs taken off."""
    frame = top_frame(scene, side)
    origins = _rays_from_above(scene, frame)
    ground = _ground_level(scene)
    roofs = _roofs(scene, ground)
    picture = np.empty((len(origins), 3), np.uint8)
    for start in range(0, len(origins), _CHUNK):
        part = origins[start : start + _CHUNK]
        down = _downwards(len(part))
        _start_below(scene, part, down, ground, roofs)
        # Only the texture filter asks for a pixel's angle; as if from 10 m above.
        colour, _, _ = sensors.shade(scene, part, down, frame.cell / 10.0)
        picture[start : start + _CHUNK] = np.clip(colour * 255.0, 0, 255)
    return picture.reshape(frame.rows, frame.columns, 3)


def _rays_from_above(scene: Scene, frame: TopFrame) -> Floats:
    origins = np.empty((frame.rows, frame.columns, 3), np.float32)
    origins[..., 0] = frame.x0 + (np.arange(frame.columns) + 0.5) * frame.cell
    origins[..., 1] = (frame.y1 - (np.arange(frame.rows) + 0.5) * frame.cell)[:, None]
    origins[..., 2] = view_box(scene)[1, 2] + 1.0
    return origins.reshape(-1, 3)


def _downwards(count: int) -> Floats:
    down = np.zeros((count, 3), np.float32)
    down[:, 2] = -1.0
    return down


def _ground_level(scene: Scene) -> float:
    """Return the height (m) at which most rays from above end: what everything stands on."""
    origins = _rays_from_above(scene, top_frame(scene, _COARSE_SIDE))
    down = _downwards(len(origins))
    lowest = np.full(len(origins), np.nan)
    for _ in range(_LAYERS):
        hits = scene.layer.intersect(origins, down)
        found = hits.triangle >= 0
        if not found.any():
            break
        lowest[found] = origins[found, 2] - hits.distance[found]
        origins[found, 2] = lowest[found] - 0.01
    lowest = lowest[np.isfinite(lowest)]
    if not len(lowest):
        return 0.0
    levels, counts = np.unique(np.round(lowest * 10.0), return_counts=True)
    return float(levels[np.argmax(counts)] / 10.0)


def _roofs(scene: Scene, ground: float) -> frozenset[int]:
    """Return the models that, high up, cover much of the world, each alone or as a ceiling made of many."""
    origins = _rays_from_above(scene, top_frame(scene, _COARSE_SIDE))
    down = _downwards(len(origins))
    roofs: frozenset[int] = frozenset()
    for _ in range(_LAYERS):
        model = _start_below(scene, origins, down, ground, roofs)
        high = set(model[model > _NONE].tolist())
        ceiling = (model > _NONE).mean() > _CEILING_SHARE
        found = {index for index in high if ceiling or (model == index).mean() > _ROOF_SHARE}
        if not found - roofs:
            break
        roofs |= found
    return roofs


def _start_below(
    scene: Scene, origins: Floats, down: Floats, ground: float, roofs: frozenset[int]
) -> npt.NDArray[np.int32]:
    """Start rays (N,) below the roofs, `origins` change in place, and return which other model each meets high up, _NONE =
    none.

    A block that stands on the ground is no roof, however much it covers: below its top there is only its own bottom.
    """
    owner = scene.layer.surface.model
    met = np.full(len(origins), _NONE, np.int32)
    if not len(owner):
        return met
    rows = np.arange(len(origins))
    for _ in range(_LAYERS):
        hits = scene.layer.intersect(origins[rows], down[rows])
        model = owner[np.maximum(hits.triangle, 0)]
        height = origins[rows, 2] - hits.distance
        high = (height > ground + _ROOF_HEIGHT_M) & (hits.triangle >= 0)
        rows, model, height = rows[high], model[high], height[high]
        if not len(rows):
            break
        below = origins[rows]
        below[:, 2] = height - 0.01
        under = scene.layer.intersect(below, down[rows])
        # The ray comes out of the thing that it went into; floors of other models can face down as well.
        leaves = np.einsum("ij,ij->i", down[rows], under.normal) > 0
        leaves &= owner[np.maximum(under.triangle, 0)] == model
        block = leaves & (under.triangle >= 0) & (below[:, 2] - under.distance < ground + 0.5)
        open_ = ~block
        met[rows[open_]] = model[open_]
        covered = open_ & np.isin(model, list(roofs))
        rows = rows[covered]
        met[rows] = _NONE
        origins[rows, 2] = height[covered] - 0.01
        if not len(rows):
            break
    return met


def camera_view(scene: Scene, width: int = 640, height: int = 480) -> Image:
    """Return what a camera sees from the free place, of some tried, that shows most (H, W, 3)."""
    small = CameraConfig(64, 48)
    best, best_score = None, -1.0
    for x, y, z in _standing_places(scene):
        for eye, pitch in _EYES:
            inside = _enclosure(scene, x, y, z + eye)
            for turn in range(_HEADINGS):
                pose = _camera_pose(x, y, z + eye, pitch, 2 * np.pi * turn / _HEADINGS - np.pi)
                seen = sensors.render(scene, small, pose)
                score = (0.1 + inside) * _interest(seen.rgb, seen.depth, seen.model_index)
                if score > best_score:
                    best, best_score = pose, score
    if best is None:
        return top_view(scene, max(width, height))
    colour, _, _ = render_colour(scene, CameraConfig(width, height, supersample=2, shadows=True), best)
    return as_rgb(colour * _exposure(colour))


def _enclosure(scene: Scene, x: float, y: float, z: float) -> float:
    """Return the share of level directions in which something stands around a place: most of it lies inside a world."""
    angles = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    level = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1).astype(np.float32)
    return float(np.mean(scene.distances(repeated((x, y, z), len(level)), level) < _AROUND_M))


def _exposure(colour: Floats) -> float:
    """Return the gain with which a camera's automatic exposure would show a picture (H, W, 3) that is too dark."""
    bright = float(np.percentile(colour.mean(axis=-1), 85))
    return float(np.clip(_WELL_EXPOSED / max(bright, 1e-3), 1.0, _MAX_GAIN))


def _camera_pose(x: float, y: float, z: float, pitch: float, yaw: float) -> npt.NDArray[np.float64]:
    return transform(rotation_rpy(0.0, pitch, yaw) @ BODY_R_OPTICAL, (x, y, z))


def _standing_places(scene: Scene) -> npt.NDArray[np.float64]:
    """Return places (N, 3), metres, world, on level ground and near something to see."""
    frame = top_frame(scene, _COARSE_SIDE)
    origins = _rays_from_above(scene, frame)
    down = _downwards(len(origins))
    ground = _ground_level(scene)
    _start_below(scene, origins, down, ground, _roofs(scene, ground))
    hits = scene.layer.intersect(origins, down)
    shape = (frame.rows, frame.columns)
    height = np.where(hits.triangle >= 0, origins[:, 2] - hits.distance, -1e6).reshape(shape).astype(np.float32)
    reach = max(round(0.35 / frame.cell), 1)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    level = cv2.dilate(height, kernel) - cv2.erode(height, kernel) < 0.12
    standable = level & (height > -1e5)
    on_ground = standable & (np.abs(height - ground) < 0.4)
    if on_ground.mean() > 0.02:
        standable = on_ground
    things = (np.abs(height - ground) >= 0.4) & (height > -1e5)
    if things.any():
        near = cv2.distanceTransform((~things).astype(np.uint8), cv2.DIST_L2, 3) * frame.cell < 6.0
        standable = standable & near if (standable & near).any() else standable
    cells = np.argwhere(standable)
    if not len(cells):
        return np.empty((0, 3))
    picks = cells[np.linspace(0, len(cells) - 1, min(_PLACES, len(cells))).astype(np.int64)]
    x = frame.x0 + (picks[:, 1] + 0.5) * frame.cell
    y = frame.y1 - (picks[:, 0] + 0.5) * frame.cell
    return np.column_stack([x, y, height[picks[:, 0], picks[:, 1]]])


def _interest(rgb: Image, depth: Floats, model: npt.NDArray[np.int32]) -> float:
    """Many colours and models at a good distance make a telling picture."""
    coarse = rgb.reshape(-1, 3).astype(np.int32) >> 5
    colours = len(np.unique(coarse[:, 0] * 64 + coarse[:, 1] * 8 + coarse[:, 2]))
    near = float(np.mean(depth < 0.8))
    good = float(np.mean((depth > 1.0) & (depth < 12.0) & (model >= 0)))
    distance = np.log(np.clip(depth, 0.01, 100.0))
    outlines = float(np.mean(np.abs(np.diff(distance, axis=1)) > 0.1))  # where something stands before something else
    return (colours + 3 * len(np.unique(model)) + 400 * outlines) * (0.2 + good) * (1.0 - near)
