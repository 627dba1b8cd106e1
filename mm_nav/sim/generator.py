"""Indoor worlds from a seed: rooms, doorways and named furniture, all of it reachable, as SDF that Gazebo loads."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError, WorldError
from mm_nav.geometry import Pose2D
from mm_nav.sim import catalogue
from mm_nav.sim.catalogue import Part, Rgb
from mm_nav.sim.floor_plan import WALL_THICKNESS, Doorway, FloorPlan, Room, Wall, make_floor_plan
from mm_nav.sim.objects import SceneObject
from mm_nav.sim.sdf_writer import Lighting, Placed, world_sdf

STYLES = ("room", "apartment", "office", "cluttered")
CELL = 0.05
# A disc of this radius must get everywhere: the robot's half diagonal and a hand's breadth.
CLEARANCE = 0.32
START_CLEARANCE = 0.40
APPROACH = 0.6
_ATTEMPTS = 20


@dataclass(frozen=True)
class GeneratedWorld:
    """A generated world.

    sdf: SDF 1.9 text. objects: what can be named. start: a free pose, world frame. bounds: (x0, y0, x1, y1), metres.
    """

    seed: int
    name: str
    style: str
    sdf: str
    objects: tuple[SceneObject, ...]
    rooms: tuple[Room, ...]
    start: Pose2D
    bounds: tuple[float, float, float, float]

    def write(self, path: Path) -> None:
        """Write the SDF file, whole or not at all."""
        part = path.with_suffix(path.suffix + ".part")
        part.write_text(self.sdf)
        part.replace(path)


def generate_world(seed: int, style: str | None = None) -> GeneratedWorld:
    """Return the world of a seed; the same seed and style give the same world, byte for byte.

    Every room and every object can be reached from the start by a disc of CLEARANCE. style: one of STYLES, or None
    for one drawn by the seed. Raises ConfigError for an unknown style, WorldError when no layout could be found.
    """
    if style is not None and style not in STYLES:
        raise ConfigError(f"unknown world style '{style}'; use one of {', '.join(STYLES)}")
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, attempt, 3])
        chosen = style or str(rng.choice(STYLES, p=[0.25, 0.4, 0.2, 0.15]))
        world = _Builder(rng, seed, chosen).build()
        if world is not None:
            return world
    raise WorldError(f"no reachable layout found for world seed {seed}: use another seed")


class _Builder:
    """One attempt at a world."""

    def __init__(self, rng: np.random.Generator, seed: int, style: str) -> None:
        self.rng, self.seed, self.style = rng, seed, style
        self.plan: FloorPlan = make_floor_plan(rng, style)
        self.x0, self.y0 = -self.plan.width / 2 - 0.2, -self.plan.height / 2 - 0.2
        rows, columns = int((self.plan.height + 0.4) / CELL) + 1, int((self.plan.width + 0.4) / CELL) + 1
        self.blocked = np.zeros((rows, columns), np.uint8)
        self.keep_out = np.zeros((rows, columns), np.uint8)
        self.placed: list[Placed] = []
        self.objects: list[SceneObject] = []

    def build(self) -> GeneratedWorld | None:
        """Furnish the plan; None when it came out badly."""
        rng = self.rng
        for wall in self.plan.walls:
            self._fill(self.blocked, _wall_corners(wall))
        for door in self.plan.doorways:
            centre = self._cells(np.array([[door.x, door.y]]))[0]
            cv2.circle(self.keep_out, (int(centre[0]), int(centre[1])), int(0.95 / CELL), 1, -1)
        count = int(rng.integers(6, 11)) + (5 if self.style == "cluttered" else 0) + len(self.plan.rooms)
        self._furnish(min(count, 18))
        start = self._start()
        if start is None or len(self.objects) < 4:
            return None
        name = f"mm_nav_{self.style}_{self.seed}"
        sdf = world_sdf(name, self._walls_part(), self._floor_colour(), self.placed, start, self._lighting())
        w, h = self.plan.width / 2, self.plan.height / 2
        return GeneratedWorld(
            self.seed,
            f"{self.style}_{self.seed}",
            self.style,
            sdf,
            tuple(self.objects),
            self.plan.rooms,
            start,
            (-w, -h, w, h),
        )

    def _furnish(self, count: int) -> None:
        rng = self.rng
        names = list(catalogue.CATEGORIES)
        used: set[tuple[str, str]] = set()
        wanted: list[str] = []
        while len(wanted) < count:
            # Often a second of the same kind, so that its colour matters.
            if wanted and rng.random() < 0.35:
                wanted.append(wanted[int(rng.integers(len(wanted)))])
            else:
                wanted.append(names[int(rng.integers(len(names)))])
        for category in wanted:
            kind = catalogue.CATEGORIES[category]
            free = [colour for colour in kind.colours if (category, colour) not in used]
            if not free:
                continue
            colour = str(rng.choice(free))
            parts = catalogue.build(rng, category, colour)
            for _ in range(12):
                pose = self._propose(category, parts)
                if pose is not None and self._place(category, colour, parts, pose):
                    used.add((category, colour))
                    break

    def _propose(self, category: str, parts: list[Part]) -> Pose2D | None:
        rng = self.rng
        rooms = [r for r in self.plan.rooms if r.kind == "room"] or list(self.plan.rooms)
        room = rooms[int(rng.choice(len(rooms), p=np.array([r.area for r in rooms]) / sum(r.area for r in rooms)))]
        hx, hy, _ = catalogue.half_extents(parts)
        if category == "door":
            return self._beside_wall(room, hy, hx, turn=math.pi / 2)
        if catalogue.CATEGORIES[category].against_wall or rng.random() < 0.35:
            return self._beside_wall(room, hx, hy, turn=0.0)
        margin = max(hx, hy) + WALL_THICKNESS / 2 + 0.1
        if room.x1 - room.x0 < 2 * margin or room.y1 - room.y0 < 2 * margin:
            return None
        return Pose2D(
            float(rng.uniform(room.x0 + margin, room.x1 - margin)),
            float(rng.uniform(room.y0 + margin, room.y1 - margin)),
            float(rng.uniform(-math.pi, math.pi)),
        )

    def _beside_wall(self, room: Room, depth: float, along: float, turn: float) -> Pose2D | None:
        """A pose whose back is at a wall; depth, along: half sizes away from and along it."""
        rng = self.rng
        gap = depth + WALL_THICKNESS / 2 + float(rng.uniform(0.02, 0.05))
        side = int(rng.integers(4))
        low, high = (room.y0, room.y1) if side < 2 else (room.x0, room.x1)
        spare = along + WALL_THICKNESS / 2 + 0.05
        if high - low < 2 * spare:
            return None
        at = float(rng.uniform(low + spare, high - spare))
        x, y, yaw = (
            (room.x0 + gap, at, 0.0),
            (room.x1 - gap, at, math.pi),
            (at, room.y0 + gap, math.pi / 2),
            (at, room.y1 - gap, -math.pi / 2),
        )[side]
        return Pose2D(x, y, yaw + turn + float(rng.normal(0.0, 0.02)) * (turn == 0.0))

    def _place(self, category: str, colour: str, parts: list[Part], pose: Pose2D) -> bool:
        hx, hy, height = catalogue.half_extents(parts)
        corners = pose.transform(np.array([(hx, hy), (-hx, hy), (-hx, -hy), (hx, -hy)]))
        footprint = np.zeros_like(self.blocked)
        self._fill(footprint, corners)
        if not footprint.any() or (footprint & (self.blocked | self.keep_out)).any():
            return False
        trial = self.blocked | footprint
        if not _connected(trial, footprint):
            return False
        # Everything placed before must stay within reach.
        reach = _reachable(trial)
        near = int((APPROACH + 0.05) / CELL)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * near + 1, 2 * near + 1))
        shapes = [*[item.footprint for item in self.objects], corners]
        for shape in shapes:
            mask = np.zeros_like(self.blocked)
            self._fill(mask, shape)
            if not (cv2.dilate(mask, kernel) & reach).any():
                return False
        self.blocked = trial
        number = 1 + sum(item.category == category and item.colour == colour for item in self.objects)
        name = f"{colour}_{category}_{number}"
        spread = corners.max(axis=0) - corners.min(axis=0)
        self.objects.append(
            SceneObject(name, category, colour, (pose.x, pose.y), (float(spread[0]), float(spread[1]), height), corners)
        )
        self.placed.append(Placed(name, pose, tuple(parts)))
        return True

    def _start(self) -> Pose2D | None:
        free = _reachable(self.blocked)
        distance = cv2.distanceTransform(1 - self.blocked, cv2.DIST_L2, 5) * CELL
        cells = np.argwhere((free > 0) & (distance >= START_CLEARANCE))
        if len(cells) == 0:
            return None
        row, column = cells[int(self.rng.integers(len(cells)))]
        yaw = float(self.rng.uniform(-math.pi, math.pi))
        return Pose2D(
            round(self.x0 + (float(column) + 0.5) * CELL, 3),
            round(self.y0 + (float(row) + 0.5) * CELL, 3),
            round(yaw, 3),
        )

    def _walls_part(self) -> list[Part]:
        rng = self.rng
        height = float(rng.uniform(2.2, 2.6))
        parts = []
        tints = [self._wall_colour() for _ in range(2)]
        for wall in self.plan.walls:
            length = abs(wall.x1 - wall.x0) + abs(wall.y1 - wall.y0) + WALL_THICKNESS * 0.98
            size = (WALL_THICKNESS, length, height) if wall.vertical else (length, WALL_THICKNESS, height)
            centre = ((wall.x0 + wall.x1) / 2, (wall.y0 + wall.y1) / 2, height / 2)
            # A wall that ends in a doorway must not reach into it.
            size, centre = _trimmed(wall, self.plan.doorways, size, centre)
            parts.append(Part("box", size, centre, tints[int(rng.integers(2))]))
        return parts

    def _wall_colour(self) -> Rgb:
        rng = self.rng
        saturation = rng.uniform(0.0, 0.12) if rng.random() < 0.8 else rng.uniform(0.12, 0.35)
        return colorsys.hsv_to_rgb(float(rng.random()), float(saturation), float(rng.uniform(0.65, 0.95)))

    def _lighting(self) -> Lighting:
        rng = self.rng
        around, tilt = rng.uniform(-math.pi, math.pi), rng.uniform(0.3, 0.8)
        direction = (float(tilt * math.cos(around)), float(tilt * math.sin(around)), -0.9)
        return Lighting(float(rng.uniform(0.45, 0.7)), float(rng.uniform(0.55, 0.9)), direction)

    def _floor_colour(self) -> Rgb:
        rng = self.rng
        if rng.random() < 0.5:
            return colorsys.hsv_to_rgb(
                float(rng.uniform(0.06, 0.11)), float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.3, 0.65))
            )
        v = float(rng.uniform(0.25, 0.75))
        return (v, v * float(rng.uniform(0.95, 1.0)), v * float(rng.uniform(0.92, 1.0)))

    def _cells(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray((points - (self.x0, self.y0)) / CELL - 0.5)

    def _fill(self, mask: npt.NDArray[np.uint8], corners: npt.NDArray[np.float64]) -> None:
        cv2.fillConvexPoly(mask, np.round(self._cells(corners) * 16).astype(np.int32), 1, lineType=8, shift=4)


def _wall_corners(wall: Wall) -> npt.NDArray[np.float64]:
    t = WALL_THICKNESS / 2
    x0, x1 = min(wall.x0, wall.x1) - t * wall.vertical, max(wall.x0, wall.x1) + t * wall.vertical
    y0, y1 = min(wall.y0, wall.y1) - t * (not wall.vertical), max(wall.y0, wall.y1) + t * (not wall.vertical)
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _trimmed(
    wall: Wall, doorways: tuple[Doorway, ...], size: tuple[float, float, float], centre: tuple[float, float, float]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    extra = WALL_THICKNESS * 0.98 / 2
    low, high = (wall.y0, wall.y1) if wall.vertical else (wall.x0, wall.x1)
    start, end = low - extra, high + extra
    for door in doorways:
        line, along = (door.x, door.y) if door.vertical else (door.y, door.x)
        if door.vertical != wall.vertical or line != (wall.x0 if wall.vertical else wall.y0):
            continue
        if abs(along + door.width / 2 - low) < 1e-6:
            start = low
        if abs(along - door.width / 2 - high) < 1e-6:
            end = high
    middle, length = (start + end) / 2, end - start
    if wall.vertical:
        return (size[0], length, size[2]), (centre[0], middle, centre[2])
    return (length, size[1], size[2]), (middle, centre[1], centre[2])


def _free(blocked: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    distance = cv2.distanceTransform(1 - blocked, cv2.DIST_L2, 5) * CELL
    return np.asarray(distance >= CLEARANCE, np.uint8)


def _reachable(blocked: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the largest connected part of where the robot's disc fits, inside the outer walls."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_inside(_free(blocked)), connectivity=4)
    if count < 2:
        return np.zeros_like(blocked)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.uint8)


def _inside(free: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    inside = free.copy()
    edge = int(0.2 / CELL) + 1
    inside[:edge], inside[-edge:], inside[:, :edge], inside[:, -edge:] = 0, 0, 0, 0
    return inside


def _connected(blocked: npt.NDArray[np.uint8], added: npt.NDArray[np.uint8]) -> bool:
    """Return whether what was added leaves no pocket of more than 0.5 m² cut off."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(_inside(_free(blocked)), connectivity=4)
    areas = stats[1:count, cv2.CC_STAT_AREA] * CELL**2
    return bool(added.any()) and len(areas) > 0 and bool(areas.sum() - areas.max() < 0.5)
