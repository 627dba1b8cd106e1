"""A world as the judge of an episode sees it: where its objects are, what is near them, and how long the way is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.robot import RobotConfig
from mm_nav.sim.generator import GeneratedWorld, generate_world
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.objects import SceneObject, scene_objects
from mm_nav.sim.scene import Scene
from mm_nav.sim.world import World, parse_world

Mask = npt.NDArray[np.bool_]
Field = npt.NDArray[np.float32]

# A line of sight may graze a wall by this much: objects stand against walls, and cells are 5 cm.
_GRAZE_M = 0.1


class TaskWorld:
    """A world with its scene, its true map and the objects that a sentence can name."""

    def __init__(self, world: World, robot: RobotConfig | None = None, resolution: float = 0.05) -> None:
        self.world = world
        self.scene = Scene(world)
        self.truth = GroundTruthMap(self.scene, robot, resolution)
        self.objects: tuple[SceneObject, ...] = scene_objects(world)
        self._by_name = {item.name: item for item in self.objects}
        self._walls = np.zeros(self.truth.shape, bool)
        for model in world.models:
            if model.name.startswith("wall"):
                self._walls |= self.truth.model_mask(model.name)
        self._regions: dict[tuple[tuple[str, ...], float], Mask] = {}
        self._fields: dict[tuple[tuple[str, ...], float], Field] = {}

    def surface_distance(self, names: Sequence[str], x: float, y: float) -> float:
        """Return metres over the floor from (x, y) to the nearest of the named objects, whatever stands between."""
        return min((self._object(name).distance(x, y) for name in names), default=np.inf)

    def faced_object(self, pose: Pose2D) -> str:
        """Return the name of the object that the robot stands before: near, and in the middle of its view.

        "" in a world without any. A radian off the middle counts as much as a metre of distance.
        """

        def off(item: SceneObject) -> float:
            bearing = math.atan2(item.center[1] - pose.y, item.center[0] - pose.x)
            return item.distance(pose.x, pose.y) + abs(wrap_angle(bearing - pose.yaw))

        return min(self.objects, key=off).name if self.objects else ""

    def is_near(self, names: Sequence[str], x: float, y: float, radius: float) -> bool:
        """Return whether (x, y) is within `radius` metres of the surface of a named object, with no wall between."""
        for name in names:
            item = self._object(name)
            if item.distance(x, y) <= radius:
                nearest = _nearest_on_polygon(item.footprint, x, y)
                if not self._wall_between(np.array([[x, y]]), nearest[None])[0]:
                    return True
        return False

    def region(self, names: Sequence[str], radius: float) -> Mask:
        """Return the cells (H, W) where the robot can stand and `is_near` holds for the cell's centre."""
        key = (tuple(names), radius)
        if key not in self._regions:
            inside = np.zeros(self.truth.shape, bool)
            for name in names:
                inside |= self._region_of(self._object(name), radius)
            self._regions[key] = inside
        return self._regions[key]

    def shortest_path(self, start: Pose2D, steps: Sequence[Sequence[str]], radii: Sequence[float]) -> float:
        """Return the length in metres of the shortest way from `start` through the regions of all steps, in order.

        inf when there is none. The way enters each region at the cell where the whole is shortest.
        """
        to_go = self.way_to_go(steps, radii)
        row, column = self.truth.world_to_cell((start.x, start.y))
        if not self.truth.inside((row, column)):
            return float("inf")
        return float(to_go[row, column])

    def way_to_go(self, steps: Sequence[Sequence[str]], radii: Sequence[float]) -> Field:
        """Return the same from every cell (H, W) of the true map."""
        regions = [self.region(names, radius) for names, radius in zip(steps, radii, strict=True)]
        to_go = self._field(tuple(steps[-1]), radii[-1])
        for region in reversed(regions[:-1]):
            to_go = self._field_from(np.where(region, to_go, np.inf))
        return to_go

    def _field(self, names: tuple[str, ...], radius: float) -> Field:
        key = (names, radius)
        if key not in self._fields:
            self._fields[key] = self.truth.distance_field(self.region(names, radius))
        return self._fields[key]

    def _field_from(self, start_costs: npt.NDArray[np.floating]) -> Field:
        """Return the least, over cells with a finite cost, of path length to the cell plus its cost."""
        best = np.full(self.truth.shape, np.inf, np.float32)
        finite = np.isfinite(start_costs)
        if not finite.any():
            return best
        # Bands of similar cost, each a plain distance field: exact to within the width of a band.
        low, high = float(start_costs[finite].min()), float(start_costs[finite].max())
        edges = np.linspace(low, high, 2 + min(6, int((high - low) / 0.25)))
        for lower, upper in pairwise(edges):
            band = finite & (start_costs >= lower) & (start_costs <= upper)
            if band.any():
                np.minimum(best, self.truth.distance_field(band) + np.float32(start_costs[band].mean()), out=best)
        return best

    def _region_of(self, item: SceneObject, radius: float) -> Mask:
        truth = self.truth
        corners = truth.world_to_cell(
            np.stack([item.footprint.min(axis=0) - radius, item.footprint.max(axis=0) + radius])
        )
        low, high = np.clip(corners[0], 0, truth.shape), np.clip(corners[1] + 1, 0, truth.shape)
        rows, columns = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]), indexing="ij")
        cells = np.stack([rows.ravel(), columns.ravel()], axis=-1)
        cells = cells[truth.traversable[cells[:, 0], cells[:, 1]]]
        points = truth.cell_to_world(cells)
        nearest = _nearest_on_polygon_many(item.footprint, points)
        close = np.hypot(*(points - nearest).T) <= radius
        cells, points, nearest = cells[close], points[close], nearest[close]
        cells = cells[~self._wall_between(points, nearest)]
        mask = np.zeros(truth.shape, bool)
        mask[cells[:, 0], cells[:, 1]] = True
        return mask

    def _wall_between(self, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Mask:
        """Return for each pair of points (N, 2) whether the segment crosses a wall before its last 10 cm."""
        length = np.hypot(*(b - a).T)
        share = np.clip(1.0 - _GRAZE_M / np.maximum(length, 1e-9), 0.0, 1.0)
        samples = np.linspace(0.0, 1.0, 41)[None, :] * share[:, None]
        points = a[:, None] + samples[..., None] * (b - a)[:, None]
        cells = self.truth.world_to_cell(points)
        cells = np.clip(cells, 0, np.array(self.truth.shape) - 1)
        return np.asarray(self._walls[cells[..., 0], cells[..., 1]].any(axis=1))

    def _object(self, name: str) -> SceneObject:
        if name not in self._by_name:
            raise WorldError(f"the world '{self.world.name}' has no object '{name}': check the episode's target names")
        return self._by_name[name]


def generated_task_world(
    seed: int, style: str | None = None, robot: RobotConfig | None = None
) -> tuple[GeneratedWorld, TaskWorld]:
    """Return the generated world of a seed, and its judge."""
    generated = generate_world(seed, style)
    return generated, TaskWorld(parse_world(generated.sdf), robot)


def _nearest_on_polygon(polygon: npt.NDArray[np.float64], x: float, y: float) -> npt.NDArray[np.float64]:
    return np.asarray(_nearest_on_polygon_many(polygon, np.array([[x, y]]))[0])


def _nearest_on_polygon_many(
    polygon: npt.NDArray[np.float64], points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return for each point (N, 2) the nearest point of a polygon (K, 2); a point inside is its own nearest."""
    starts, edges = polygon, np.roll(polygon, -1, axis=0) - polygon
    squared = np.maximum(np.einsum("kc,kc->k", edges, edges), 1e-12)
    along = np.einsum("nkc,kc->nk", points[:, None] - starts, edges) / squared
    feet = starts + np.clip(along, 0.0, 1.0)[..., None] * edges
    gaps = np.hypot(*np.moveaxis(points[:, None] - feet, -1, 0))
    nearest = feet[np.arange(len(points)), gaps.argmin(axis=1)]
    contour = polygon.astype(np.float32).reshape(-1, 1, 2)
    for i, (x, y) in enumerate(points):
        if cv2.pointPolygonTest(contour, (float(x), float(y)), False) >= 0:
            nearest[i] = (x, y)
    return np.asarray(nearest)
