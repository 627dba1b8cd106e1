"""Floor plans: a rectangle split into rooms, with doorways that connect all of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mm_nav.mapping.walls import WallSegment

WALL_THICKNESS = 0.12
DOORWAY_CLEAR_OF_CORNERS = 0.3


@dataclass(frozen=True)
class Room:
    """An axis-aligned room between its walls' centre lines, metres, world. kind: room | corridor | hall | maze."""

    x0: float
    y0: float
    x1: float
    y1: float
    kind: str = "room"

    @property
    def area(self) -> float:
        """Floor area, m²."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


@dataclass(frozen=True)
class Doorway:
    """An opening in a wall. center: world, metres. vertical: the wall runs along y. width: metres."""

    x: float
    y: float
    vertical: bool
    width: float


# Between two points of an axis-aligned line, metres, world.
Wall = WallSegment


@dataclass(frozen=True)
class FloorPlan:
    """Rooms, the openings between them, and the walls that are left. cells: those of a maze."""

    width: float
    height: float
    rooms: tuple[Room, ...]
    doorways: tuple[Doorway, ...]
    walls: tuple[Wall, ...]
    cells: tuple[MazeCell, ...] = ()


@dataclass(frozen=True)
class MazeCell:
    """A square of a maze around (x, y), metres, world. closed: whether there is a wall at its -x, +x, -y and +y side."""

    x: float
    y: float
    side: float
    closed: tuple[bool, bool, bool, bool]


def make_floor_plan(rng: np.random.Generator, style: str) -> FloorPlan:
    """Return a floor plan centred on the origin. style: one of mm_nav.sim.generator.ALL_STYLES."""
    if style == "maze":
        from mm_nav.sim.maze import make_maze

        return make_maze(rng)
    if style == "warehouse":
        width, height = rng.uniform(14.0, 24.0), rng.uniform(12.0, 16.0)
        rooms = _warehouse(rng, width, height)
    elif style == "storeroom":
        width, height = rng.uniform(6.0, 9.0), rng.uniform(5.5, 8.0)
        rooms = [Room(-width / 2, -height / 2, width / 2, height / 2)]
    elif style == "showroom":
        width, height = rng.uniform(6.5, 9.5), rng.uniform(6.0, 9.0)
        rooms = [Room(-width / 2, -height / 2, width / 2, height / 2)]
    elif style == "room":
        width, height = rng.uniform(5.0, 8.5), rng.uniform(4.5, 7.5)
        rooms = [Room(-width / 2, -height / 2, width / 2, height / 2)]
    elif style == "office":
        width, height = rng.uniform(9.0, 13.0), rng.uniform(7.5, 10.0)
        middle, half = rng.uniform(-0.6, 0.6), rng.uniform(0.75, 1.0)
        rooms = [Room(-width / 2, middle - half, width / 2, middle + half, "corridor")]
        for y0, y1 in ((-height / 2, middle - half), (middle + half, height / 2)):
            rooms += _columns(rng, -width / 2, width / 2, y0, y1)
    else:
        width, height = rng.uniform(7.5, 12.5), rng.uniform(6.0, 10.0)
        whole = Room(-width / 2, -height / 2, width / 2, height / 2)
        rooms = _split(rng, whole, 26.0 if style == "cluttered" else 20.0)
    rooms = [Room(round(r.x0, 3), round(r.y0, 3), round(r.x1, 3), round(r.y1, 3), r.kind) for r in rooms]
    doorways = _doorways(rng, rooms)
    return FloorPlan(float(width), float(height), tuple(rooms), tuple(doorways), tuple(_walls(rooms, doorways)))


def _warehouse(rng: np.random.Generator, width: float, height: float) -> list[Room]:
    """A hall, mostly with a strip of two or three small rooms along its left side."""
    if rng.random() < 0.35:
        return [Room(-width / 2, -height / 2, width / 2, height / 2, "hall")]
    cut = -width / 2 + float(rng.uniform(3.0, 4.0))
    levels = np.linspace(-height / 2, height / 2, int(rng.integers(3, 5)))
    levels[1:-1] += rng.uniform(-0.5, 0.5, len(levels) - 2)
    side = [Room(-width / 2, float(low), cut, float(high)) for low, high in itertools.pairwise(levels)]
    return [Room(cut, -height / 2, width / 2, height / 2, "hall"), *side]


def _columns(rng: np.random.Generator, x0: float, x1: float, y0: float, y1: float) -> list[Room]:
    count = max(2, int((x1 - x0) / rng.uniform(3.2, 4.4)))
    cuts = np.linspace(x0, x1, count + 1)
    cuts[1:-1] += rng.uniform(-0.4, 0.4, count - 1)
    return [Room(float(a), y0, float(b), y1) for a, b in itertools.pairwise(cuts)]


def _split(rng: np.random.Generator, room: Room, largest: float) -> list[Room]:
    w, h = room.x1 - room.x0, room.y1 - room.y0
    if room.area < largest * rng.uniform(0.8, 1.5) or max(w, h) < 5.4:
        return [room]
    share = rng.uniform(0.4, 0.6)
    if w > h:
        cut = room.x0 + share * w
        parts = (Room(room.x0, room.y0, cut, room.y1), Room(cut, room.y0, room.x1, room.y1))
    else:
        cut = room.y0 + share * h
        parts = (Room(room.x0, room.y0, room.x1, cut), Room(room.x0, cut, room.x1, room.y1))
    return [leaf for part in parts for leaf in _split(rng, part, largest)]


def _shared(a: Room, b: Room) -> tuple[bool, float, float, float] | None:
    """Return (vertical, where, from, to) of the wall between two rooms, or None."""
    for first, second in ((a, b), (b, a)):
        if first.x1 == second.x0:
            low, high = max(a.y0, b.y0), min(a.y1, b.y1)
            if high > low:
                return True, first.x1, low, high
        if first.y1 == second.y0:
            low, high = max(a.x0, b.x0), min(a.x1, b.x1)
            if high > low:
                return False, first.y1, low, high
    return None


def _doorways(rng: np.random.Generator, rooms: list[Room]) -> list[Doorway]:
    links = []
    for i in range(len(rooms)):
        for j in range(i + 1, len(rooms)):
            shared = _shared(rooms[i], rooms[j])
            if shared is None or shared[3] - shared[2] < 1.0 + 2 * DOORWAY_CLEAR_OF_CORNERS + WALL_THICKNESS:
                continue
            corridor = "corridor" in (rooms[i].kind, rooms[j].kind)
            links.append((float(rng.random()) - (2.0 if corridor else 0.0), i, j, shared))
    group = list(range(len(rooms)))
    doorways = []
    for _, i, j, (vertical, where, low, high) in sorted(links):
        joined = group[i] == group[j]
        if joined and rng.random() > 0.2:
            continue
        old, new = group[j], group[i]
        group = [new if g == old else g for g in group]
        width = float(rng.uniform(0.98, 1.2))
        spare = DOORWAY_CLEAR_OF_CORNERS + WALL_THICKNESS / 2 + width / 2
        along = float(rng.uniform(low + spare, high - spare)) if high - low > 2 * spare else (low + high) / 2
        doorways.append(Doorway(where, along, True, width) if vertical else Doorway(along, where, False, width))
    return doorways


def _walls(rooms: list[Room], doorways: list[Doorway]) -> list[Wall]:
    lines: dict[tuple[bool, float], list[tuple[float, float]]] = {}
    for r in rooms:
        for vertical, where, low, high in (
            (True, r.x0, r.y0, r.y1),
            (True, r.x1, r.y0, r.y1),
            (False, r.y0, r.x0, r.x1),
            (False, r.y1, r.x0, r.x1),
        ):
            lines.setdefault((vertical, where), []).append((low, high))
    walls = []
    for (vertical, where), spans in sorted(lines.items()):
        for low, high in _merged(spans):
            gaps = sorted(
                ((d.y if vertical else d.x) - d.width / 2, (d.y if vertical else d.x) + d.width / 2)
                for d in doorways
                if d.vertical == vertical
                and (d.x if vertical else d.y) == where
                and low < (d.y if vertical else d.x) < high
            )
            position = low
            for start, end in [*gaps, (high, high)]:
                if start - position > 1e-3:
                    walls.append(
                        Wall(where, position, where, start) if vertical else Wall(position, where, start, where)
                    )
                position = end
    return walls


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
