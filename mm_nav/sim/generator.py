"""Indoor worlds from a seed: rooms, doorways and named furniture, all of it reachable, as SDF that Gazebo loads."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mm_nav.errors import ConfigError, WorldError
from mm_nav.geometry import Pose2D
from mm_nav.sim import catalogue, cladding
from mm_nav.sim.catalogue import Part, Rgb
from mm_nav.sim.floor_plan import WALL_THICKNESS, Doorway, FloorPlan, Room, Wall, make_floor_plan
from mm_nav.sim.free_space import CLEARANCE
from mm_nav.sim.furniture import Furniture
from mm_nav.sim.layouts import furnish
from mm_nav.sim.objects import SceneObject, with_size_words
from mm_nav.sim.sdf_writer import Cladding, Lighting, Placed, world_sdf
from mm_nav.sim.textures import copy_textures

__all__ = ["ALL_STYLES", "CLEARANCE", "LOOKS", "STYLES", "GeneratedWorld", "generate_world"]

# Those that a seed alone draws from; training data and published numbers come from these.
STYLES = ("room", "apartment", "office", "cluttered")
# Those that are made when they are named.
EXTRA_STYLES = ("warehouse", "maze", "storeroom", "showroom")
ALL_STYLES = (*STYLES, *EXTRA_STYLES)
LOOKS = ("plain", "textured")
_ATTEMPTS = 20


@dataclass(frozen=True)
class GeneratedWorld:
    """A generated world.

    sdf: SDF 1.9 text. objects: what can be named. start: a free pose, world frame. bounds: (x0, y0, x1, y1), metres.
    walls: world, metres. textures: names of the pictures that the text refers to.
    """

    seed: int
    name: str
    style: str
    sdf: str
    objects: tuple[SceneObject, ...]
    rooms: tuple[Room, ...]
    start: Pose2D
    bounds: tuple[float, float, float, float]
    walls: tuple[Wall, ...] = ()
    look: str = "plain"
    textures: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the SDF file, whole or not at all, and the pictures it refers to into textures/ beside it."""
        if self.textures:
            copy_textures(self.textures, path.parent)
        part = path.with_suffix(path.suffix + ".part")
        part.write_text(self.sdf)
        part.replace(path)


def generate_world(seed: int, style: str | None = None, look: str = "plain") -> GeneratedWorld:
    """Return the world of a seed; the same seed, style and look give the same world, byte for byte.

    Every room and every object can be reached from the start by a disc of CLEARANCE. style: one of ALL_STYLES, or None
    for one of STYLES drawn by the seed. look: "plain" colours, or "textured": surfaces show what they are made of, and
    nothing else changes. Raises ConfigError for an unknown style or look, WorldError when no layout could be found.
    """
    if style is not None and style not in ALL_STYLES:
        raise ConfigError(f"unknown world style '{style}'; use one of {', '.join(ALL_STYLES)}")
    if look not in LOOKS:
        raise ConfigError(f"unknown look '{look}' of a world; use one of {', '.join(LOOKS)}")
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, attempt, 3])
        chosen = style or str(rng.choice(STYLES, p=[0.25, 0.4, 0.2, 0.15]))
        world = _Builder(rng, seed, chosen, look).build()
        if world is not None:
            return world
    raise WorldError(f"no reachable layout found for world seed {seed}: use another seed")


class _Builder:
    """One attempt at a world."""

    def __init__(self, rng: np.random.Generator, seed: int, style: str, look: str) -> None:
        self.rng, self.seed, self.style, self.look = rng, seed, style, look
        self.plan: FloorPlan = make_floor_plan(rng, style)
        self.items = Furniture(rng, self.plan)

    def build(self) -> GeneratedWorld | None:
        """Furnish the plan; None when it came out badly."""
        rng = self.rng
        if self.style in EXTRA_STYLES:
            furnish(self.items, self.style)
        else:
            count = int(rng.integers(6, 11)) + (5 if self.style == "cluttered" else 0) + len(self.plan.rooms)
            self._furnish(min(count, 18))
        start = self.items.ground.start(rng)
        if start is None or len(self.items.objects) < 4:
            return None
        name = f"mm_nav_{self.style}_{self.seed}"
        walls, floor, light = self._walls_part(), self._floor_colour(), self._lighting()
        # Materials have a stream of their own, so that a look changes nothing but looks.
        look_rng = np.random.default_rng([self.seed, 29])
        placed = self._clad(look_rng)
        detail = self._cladding(look_rng, walls, floor)
        sdf = world_sdf(name, walls, floor, placed, start, light, detail)
        w, h = self.plan.width / 2, self.plan.height / 2
        return GeneratedWorld(
            self.seed,
            f"{self.style}_{self.seed}",
            self.style,
            sdf,
            self._objects(placed),
            self.plan.rooms,
            start,
            (-w, -h, w, h),
            self.plan.walls,
            self.look,
            _textures(placed, detail) if detail.pictures else (),
        )

    def _clad(self, rng: np.random.Generator) -> list[Placed]:
        """Return the objects with materials; the old styles' plain worlds have none, they stay as they were."""
        if self.look == "plain" and self.style in STYLES:
            return self.items.placed
        return [
            replace(placed, parts=tuple(cladding.clad(rng, item.category, placed.parts)))
            for item, placed in zip(self.items.objects, self.items.placed, strict=True)
        ]

    def _cladding(self, rng: np.random.Generator, walls: Sequence[Part], floor: Rgb) -> Cladding:
        if self.look == "plain":
            return Cladding(markings=tuple(self.items.markings))
        paints: dict[Rgb, tuple[str, Rgb]] = {}
        panels: list[Part] = []
        for wall in walls:
            if wall.colour not in paints:
                material = cladding.wall_material(rng, self.style)
                paints[wall.colour] = (material, cladding.surface_colour(rng, material))
            material, colour = paints[wall.colour]
            panels += cladding.panels(replace(wall, colour=colour), material)
        tiles: list[cladding.Tile] = []
        floors: dict[str, tuple[str, Rgb]] = {}
        for room in self.plan.rooms:
            if room.kind not in floors or rng.random() < 0.3:
                material = cladding.floor_material(rng, self.style, room.kind)
                floors[room.kind] = (material, cladding.surface_colour(rng, material))
            material, colour = floors[room.kind]
            tiles += cladding.tiles(room, colour, material)
        return Cladding(tuple(panels), tuple(tiles), tuple(self.items.markings), True)

    def _objects(self, placed: Sequence[Placed]) -> tuple[SceneObject, ...]:
        shapes = [item.points() for item in placed]
        objects = [
            replace(item, material=there.parts[0].material)
            for item, there in zip(self.items.objects, placed, strict=True)
        ]
        return with_size_words(objects, shapes)

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
                if pose is not None and self.items.add(category, colour, parts, pose):
                    used.add((category, colour))
                    break

    def _propose(self, category: str, parts: list[Part]) -> Pose2D | None:
        rng = self.rng
        rooms = [r for r in self.plan.rooms if r.kind == "room"] or list(self.plan.rooms)
        room = rooms[int(rng.choice(len(rooms), p=np.array([r.area for r in rooms]) / sum(r.area for r in rooms)))]
        hx, hy, _ = catalogue.half_extents(parts)
        if category == "door":
            return self.items.beside_wall(room, hy, hx, turn=math.pi / 2)
        if catalogue.CATEGORIES[category].against_wall or rng.random() < 0.35:
            return self.items.beside_wall(room, hx, hy, turn=0.0)
        return self.items.anywhere(room, hx, hy)

    def _walls_part(self) -> list[Part]:
        rng = self.rng
        height = float(rng.uniform(2.2, 2.6)) * (2.1 if self.style == "warehouse" else 1.0)
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


def _textures(placed: Sequence[Placed], detail: Cladding) -> tuple[str, ...]:
    used = {part.material for item in placed for part in item.parts} | {part.material for part in detail.panels}
    return tuple(sorted(used | {tile.material for tile in (*detail.tiles, *detail.markings)}))
