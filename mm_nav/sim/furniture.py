"""Places objects on the floor of a generated world and names them."""

from __future__ import annotations

import math

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.sim import catalogue, catalogue_extra
from mm_nav.sim.catalogue import Part
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES, SIZES
from mm_nav.sim.cladding import Tile
from mm_nav.sim.floor_plan import WALL_THICKNESS, FloorPlan, Room
from mm_nav.sim.free_space import Ground
from mm_nav.sim.objects import SceneObject
from mm_nav.sim.sdf_writer import Placed


class Furniture:
    """What has been placed so far. objects and placed are of one order. markings: paint on the floor."""

    def __init__(self, rng: np.random.Generator, plan: FloorPlan) -> None:
        self.rng, self.plan, self.ground = rng, plan, Ground(plan)
        self.placed: list[Placed] = []
        self.objects: list[SceneObject] = []
        self.markings: list[Tile] = []

    def add(
        self,
        category: str,
        colour: str,
        parts: list[Part],
        pose: Pose2D,
        low: float = 0.0,
        touching: float = 0.0,
    ) -> bool:
        """Place an object and return True, or return False where it would be in the way or out of reach.

        low: height (m) of what it stands on; above 0 it takes no floor. touching: metres around its edge that are not
        checked, for things that stand flush; a cell of the floor's map is 5 cm.
        """
        hx, hy, height = catalogue.half_extents(parts)
        corners = pose.transform(np.array([(hx, hy), (-hx, hy), (-hx, -hy), (hx, -hy)]))
        taken = pose.transform(pose.inverse().transform(corners) * (1 - touching / hx, 1 - touching / hy))
        if not (self.ground.stack(corners) if low else self.ground.take(taken if touching else corners)):
            return False
        number = 1 + sum(item.category == category and item.colour == colour for item in self.objects)
        name = f"{colour}_{category}_{number}"
        spread = corners.max(axis=0) - corners.min(axis=0)
        self.objects.append(
            SceneObject(name, category, colour, (pose.x, pose.y), (float(spread[0]), float(spread[1]), height), corners)
        )
        shapes = catalogue_extra.lifted(parts, low) if low else parts
        self.placed.append(Placed(name, pose, tuple(shapes)))
        return True

    def beside_wall(self, room: Room, depth: float, along: float, turn: float) -> Pose2D | None:
        """Return a pose whose back is at a wall of the room; depth, along: half sizes (m) away from and along it."""
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

    def anywhere(self, room: Room, hx: float, hy: float) -> Pose2D | None:
        """Return any pose in the room for an object of half sizes hx, hy (m)."""
        rng = self.rng
        margin = max(hx, hy) + WALL_THICKNESS / 2 + 0.1
        if room.x1 - room.x0 < 2 * margin or room.y1 - room.y0 < 2 * margin:
            return None
        return Pose2D(
            float(rng.uniform(room.x0 + margin, room.x1 - margin)),
            float(rng.uniform(room.y0 + margin, room.y1 - margin)),
            float(rng.uniform(-math.pi, math.pi)),
        )

    def in_corner(self, room: Room, hx: float, hy: float) -> Pose2D:
        """Return a pose in one of the room's corners, square to its walls."""
        rng = self.rng
        gap = WALL_THICKNESS / 2 + float(rng.uniform(0.03, 0.1))
        right, top = rng.random() < 0.5, rng.random() < 0.5
        x = room.x1 - gap - hx if right else room.x0 + gap + hx
        y = room.y1 - gap - hy if top else room.y0 + gap + hy
        return Pose2D(float(x), float(y), math.pi if right else 0.0)

    def colour_of(self, category: str) -> str:
        """Return a colour that the category comes in, rather one that it does not have here yet."""
        colours = ALL_CATEGORIES[category].colours
        used = {item.colour for item in self.objects if item.category == category}
        return str(self.rng.choice([colour for colour in colours if colour not in used] or list(colours)))

    def scale_of(self, category: str) -> float:
        """Return how much smaller or larger than usual an object is."""
        return float(self.rng.choice(SIZES.get(category, (1.0,))))

    def try_add(self, category: str, room: Room, attempts: int = 8, where: str = "") -> bool:
        """Place an object of a category somewhere in a room. where: wall | corner | open, "" = as the category likes."""
        rng = self.rng
        colour = self.colour_of(category)
        parts = catalogue_extra.build(rng, category, colour, self.scale_of(category))
        hx, hy, _ = catalogue.half_extents(parts)
        for _ in range(attempts):
            place = where or ("wall" if ALL_CATEGORIES[category].against_wall or rng.random() < 0.35 else "open")
            pose: Pose2D | None
            if category == "door":
                pose = self.beside_wall(room, hy, hx, math.pi / 2)
            elif place == "corner":
                pose = self.in_corner(room, hx, hy)
            else:
                pose = self.beside_wall(room, hx, hy, 0.0) if place == "wall" else self.anywhere(room, hx, hy)
            if pose is not None and self.add(category, colour, parts, pose):
                return True
        return False
