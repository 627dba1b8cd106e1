"""Contacts between the robot's footprint and the part of the world at the robot's height, exact in the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from mm_nav.geometry import Pose2D
from mm_nav.robot import RobotConfig
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf_geometry import Mesh, Plane, Polyline

Points = npt.NDArray[np.float64]
_CELL_M = 0.5
_TOUCH_M = 1e-9


@dataclass(frozen=True)
class Slice:
    """The world between two heights, as convex polygons on the floor.

    polygons: (N, K, 2) metres, world, counter-clockwise or flat, short ones padded by repeating their last corner.
    model: (N,) int32 index into Scene.model_names. lower, upper: (N, 2) bounding boxes.
    """

    polygons: Points
    model: npt.NDArray[np.int32]
    lower: Points
    upper: Points


def slice_scene(scene: Scene, bottom: float, top: float) -> Slice:
    """Cut the collision geometry at the heights [bottom, top] (m). Convex primitives give one solid polygon each,
    meshes one for each triangle that reaches into the slab."""
    polygons: list[Points] = []
    owners: list[int] = []
    for index, model in enumerate(scene.world.models):
        for shape in model.collisions:
            triangles = shape.triangles()
            upright = isinstance(shape.geometry, Polyline) and abs(float(shape.pose[2, 2])) > 0.9999
            if upright and triangles[..., 2].min() < top and triangles[..., 2].max() > bottom:
                # An upright extrusion has the same section at every height: its lids stand for its inside.
                triangles[..., 2] = np.clip(triangles[..., 2], bottom, top)
            if isinstance(shape.geometry, (Mesh, Plane, Polyline)):
                pieces = clip_to_slab(triangles, bottom, top)
            else:
                pieces = _section(triangles, bottom, top)
            polygons += pieces
            owners += [index] * len(pieces)
    width = max((len(polygon) for polygon in polygons), default=3)
    padded = np.empty((len(polygons), width, 2))
    for row, polygon in zip(padded, polygons, strict=True):
        row[: len(polygon)] = polygon
        row[len(polygon) :] = polygon[-1]
    lower = padded.min(axis=1) if len(padded) else np.empty((0, 2))
    upper = padded.max(axis=1) if len(padded) else np.empty((0, 2))
    return Slice(padded, np.array(owners, np.int32), lower, upper)


def clip_to_slab(triangles: Points, bottom: float, top: float) -> list[Points]:
    """Return the part of each triangle (N, 3, 3) with bottom <= z <= top, seen from above: convex polygons (K, 2)."""
    if not len(triangles):
        return []
    z = triangles[..., 2]
    low, high = z.min(axis=1), z.max(axis=1)
    whole = (low >= bottom) & (high <= top)
    pieces = [_counter_clockwise(flat) for flat in triangles[whole][..., :2]]
    for triangle in triangles[(high >= bottom) & (low <= top) & ~whole]:
        polygon = _cut(_cut(list(triangle), bottom, 1.0), top, -1.0)
        if len(polygon) >= 2:
            pieces.append(_counter_clockwise(np.array(polygon)[:, :2]))
    return pieces


def _cut(polygon: list[Points], height: float, sign: float) -> list[Points]:
    """Keep the side of a convex polygon (3D corners) where sign * (z - height) >= 0."""
    kept: list[Points] = []
    for a, b in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        da, db = sign * (a[2] - height), sign * (b[2] - height)
        if da >= 0:
            kept.append(a)
        if da * db < 0:
            kept.append(a + (b - a) * (da / (da - db)))
    return kept


def _counter_clockwise(flat: Points) -> Points:
    x, y = flat[:, 0], flat[:, 1]
    area = float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
    return flat if area >= 0 else flat[::-1]


def _section(triangles: Points, bottom: float, top: float) -> list[Points]:
    """Return the outline from above (K, 2) of what a convex body, triangles (N, 3, 3), has at the heights [bottom, top], in a
    list: of the corners in between, and of where edges go through."""
    starts, ends = triangles.reshape(-1, 3), np.roll(triangles, -1, axis=1).reshape(-1, 3)
    found = [starts[(starts[:, 2] >= bottom) & (starts[:, 2] <= top)]]
    for height in (bottom, top):
        below, above = starts[:, 2] - height, ends[:, 2] - height
        through = below * above < 0.0
        share = below[through] / (below[through] - above[through])
        found.append(starts[through] + share[:, None] * (ends[through] - starts[through]))
    points = np.concatenate(found)[:, :2]
    try:
        return [points[ConvexHull(points).vertices]] if len(points) > 2 else []
    except QhullError:  # flat: it has edges all the same
        return clip_to_slab(triangles, bottom, top)


class ContactWorld:
    """Answers whether a convex footprint touches the world's slice, and what it touches.

    A touch is an overlap of more than a nanometre, so a robot may stand flush against a wall.
    """

    def __init__(self, scene: Scene, bottom: float, top: float) -> None:
        self.slice = slice_scene(scene, bottom, top)
        self.model_names = scene.model_names
        self._cells: dict[tuple[int, int], list[int]] = {}
        for index, (low, high) in enumerate(zip(self.slice.lower, self.slice.upper, strict=True)):
            first, last = np.floor(low / _CELL_M).astype(int), np.floor(high / _CELL_M).astype(int)
            for x in range(first[0], last[0] + 1):
                for y in range(first[1], last[1] + 1):
                    self._cells.setdefault((x, y), []).append(index)

    def touching(self, footprint: Points, pose: Pose2D) -> str | None:
        """Return the name of a model that the footprint (K, 2; convex, base_link, metres) overlaps at `pose`, or
        None.
        """
        found = self.overlaps(pose.transform(footprint))
        return self.model_names[int(self.slice.model[found])] if found is not None else None

    def overlaps(self, polygon: Points) -> int | None:
        """Return the index of the first polygon of the slice that a convex polygon (K, 2), world, overlaps, or None."""
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        near: set[int] = set()
        for x in range(math.floor(low[0] / _CELL_M), math.floor(high[0] / _CELL_M) + 1):
            for y in range(math.floor(low[1] / _CELL_M), math.floor(high[1] / _CELL_M) + 1):
                near.update(self._cells.get((x, y), ()))
        if not near:
            return None
        rows = np.array(sorted(near))
        boxes = np.all((self.slice.lower[rows] < high) & (self.slice.upper[rows] > low), axis=1)
        rows = rows[boxes]
        if not len(rows):
            return None
        hit = np.flatnonzero(overlapping(polygon, self.slice.polygons[rows]))
        return int(rows[hit[0]]) if len(hit) else None


def contact_world(scene: Scene, robot: RobotConfig) -> ContactWorld:
    """Return the contacts of a robot that drives on the scene's floor. Kept with the scene: a hundred simulators cut
    it once.
    """
    key = (scene.floor_z + robot.ground_clearance_m, scene.floor_z + robot.height_m)
    if key not in scene.contact_worlds:
        scene.contact_worlds[key] = ContactWorld(scene, *key)
    return scene.contact_worlds[key]


def overlapping(polygon: Points, others: Points) -> npt.NDArray[np.bool_]:
    """Return which of the convex polygons (N, L, 2) the convex polygon (K, 2) overlaps (separating-axis test)."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    axes = np.stack([edges[:, 1], -edges[:, 0]], axis=-1)
    axes = axes / np.maximum(np.linalg.norm(axes, axis=-1, keepdims=True), 1e-12)
    own = polygon @ axes.T
    theirs = others @ axes.T  # (N, L, K)
    gap = np.maximum(theirs.min(axis=1) - own.max(axis=0), own.min(axis=0) - theirs.max(axis=1)).max(axis=1)
    candidate = gap < -_TOUCH_M
    if not candidate.any():
        return np.asarray(candidate)
    rows = np.flatnonzero(candidate)
    chosen = others[rows]
    edges = np.roll(chosen, -1, axis=1) - chosen
    length = np.linalg.norm(edges, axis=-1, keepdims=True)
    axes = np.stack([edges[..., 1], -edges[..., 0]], axis=-1) / np.maximum(length, 1e-12)
    own_all = np.einsum("kc,nlc->nlk", polygon, axes)
    theirs_all = np.einsum("nmc,nlc->nlm", chosen, axes)
    gaps = np.maximum(theirs_all.min(axis=2) - own_all.max(axis=2), own_all.min(axis=2) - theirs_all.max(axis=2))
    gaps = np.where(length[..., 0] > 1e-12, gaps, -np.inf)  # padding has no direction and separates nothing
    candidate[rows] = gaps.max(axis=1) < -_TOUCH_M
    return np.asarray(candidate)
