"""How warehouses, mazes, store rooms and show rooms are furnished."""

from __future__ import annotations

import math

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.sim import catalogue
from mm_nav.sim.catalogue import sample_colour
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES, build, rack
from mm_nav.sim.cladding import Tile
from mm_nav.sim.floor_plan import WALL_THICKNESS, MazeCell, Room
from mm_nav.sim.furniture import Furniture

_RACK_COLOURS = ("blue", "red", "grey", "white")
_SMALL = ("box", "box", "barrel", "cone", "bin", "stool", "plant", "lamp", "ball", "suitcase", "chair")
_STORED = (
    "box", "box", "box", "barrel", "cone", "bin", "stool", "plant", "lamp", "ball", "suitcase", "suitcase", "chair",
    "chair", "table", "cabinet", "ladder", "bench",
)  # fmt: skip
_OFFICE = ("table", "chair", "chair", "cabinet", "shelf", "plant", "bin", "lamp", "stool")


def furnish(items: Furniture, style: str) -> None:
    """Furnish a plan of one of the styles warehouse, maze, storeroom and showroom."""
    if style == "maze":
        _furnish_maze(items)
        return
    for room in items.plan.rooms:
        if room.kind == "hall":
            _furnish_hall(items, room)
        elif style == "showroom":
            _furnish_showroom(items, room)
        elif style == "warehouse":
            for category in items.rng.choice(_OFFICE, int(items.rng.integers(3, 6)), replace=False):
                items.try_add(str(category), room)
        else:
            _furnish_storeroom(items, room)


def _furnish_hall(items: Furniture, hall: Room) -> None:
    rng = items.rng
    open_x = hall.x0 + (hall.x1 - hall.x0) * float(rng.uniform(0.58, 0.68))
    _racks(items, Room(hall.x0 + 1.9, hall.y0, open_x, hall.y1))
    yard = Room(open_x + 1.2, hall.y0 + 0.2, hall.x1, hall.y1 - 0.2, "hall")
    _pallet_yard(items, yard)
    for category in rng.choice(("barrel", "barrel", "cone", "cone", "box", "box", "bin", "ladder", "bench"), 7):
        items.try_add(str(category), yard if rng.random() < 0.7 else hall)
    _stacks(items, yard, 3)


def _racks(items: Furniture, zone: Room) -> None:
    """Rows along x: single ones at the walls, double ones between, with aisles that a lift truck needs."""
    rng = items.rng
    depth, height = float(rng.uniform(0.9, 1.05)), float(rng.uniform(3.2, 4.3))
    aisle = float(rng.uniform(1.9, 2.5))
    bay = float(rng.uniform(2.3, 2.7))
    count = max(1, int((zone.x1 - zone.x0) / (bay + 0.02)))
    first, second = rng.choice(_RACK_COLOURS, 2, replace=False)
    wall = WALL_THICKNESS / 2 + 0.08
    rows, y = [(zone.y0 + wall + depth / 2, 0)], zone.y0 + wall + depth + aisle
    paint = sample_colour(rng, "yellow")
    while y + 2 * depth + 0.1 + aisle < zone.y1 - wall:
        rows += [(y + depth / 2, 1), (y + 1.5 * depth + 0.1, 1)]
        y += 2 * depth + 0.1 + aisle
    if zone.y1 - wall - depth - (y - aisle) >= 1.6:
        rows.append((zone.y1 - wall - depth / 2, 2))
    gap_at = int(rng.integers(1, count)) if count > 3 else -1
    for number, (row, kind) in enumerate(rows):
        colour = str(first if number % 3 else second)
        for k in range(count):
            if k == gap_at and kind == 1:
                continue  # a way across, through the double rows
            x = zone.x0 + (k + 0.5) * (bay + 0.02)
            facing = -math.pi / 2 if kind == 2 else math.pi / 2
            items.add("shelf", colour, rack(rng, colour, bay, depth, height), Pose2D(x, row, facing), touching=0.07)
        for side in (-1, 1):
            at = row + side * (depth / 2 + 0.12)
            if zone.y0 + 0.3 < at < zone.y1 - 0.3 and not any(abs(at - r) < depth / 2 + 0.1 for r, _ in rows):
                middle, length = zone.x0 + count * (bay + 0.02) / 2, count * (bay + 0.02)
                items.markings.append(Tile((middle, at), (length, 0.08), paint, "plastic"))


def _pallet_yard(items: Furniture, yard: Room) -> None:
    """Pallets in marked bays."""
    rng = items.rng
    pitch_x, pitch_y = float(rng.uniform(2.3, 2.8)), float(rng.uniform(2.4, 3.0))
    paint = sample_colour(rng, "yellow")
    turn = float(rng.choice((0.0, math.pi / 2)))
    for x in np.arange(yard.x0 + 0.8, yard.x1 - 0.8, pitch_x):
        for y in np.arange(yard.y0 + 1.0, yard.y1 - 0.9, pitch_y):
            if rng.random() < 0.35:
                continue
            colour = "brown" if rng.random() < 0.6 else str(rng.choice(("blue", "red", "black")))
            pose = Pose2D(
                float(x + rng.normal(0, 0.05)), float(y + rng.normal(0, 0.05)), turn + float(rng.normal(0, 0.04))
            )
            if items.add("pallet", colour, build(rng, "pallet", colour), pose):
                for side in (-1, 1):
                    items.markings.append(Tile((float(x) + side * 0.85, float(y)), (0.07, 1.7), paint, "plastic"))


def _stacks(items: Furniture, room: Room, count: int) -> None:
    """Boxes on boxes: the lower one as large as they come, the upper one smaller and of another colour."""
    rng = items.rng
    for _ in range(count):
        below, above = (str(c) for c in rng.choice(catalogue.CATEGORIES["box"].colours, 2, replace=False))
        parts = build(rng, "box", below, 1.35)
        hx, hy, height = catalogue.half_extents(parts)
        for _ in range(6):
            pose = items.beside_wall(room, hx, hy, 0.0) if rng.random() < 0.4 else items.anywhere(room, hx, hy)
            if pose is not None and items.add("box", below, parts, pose):
                turned = Pose2D(pose.x, pose.y, pose.yaw + float(rng.normal(0.0, 0.15)))
                items.add("box", above, build(rng, "box", above, 0.8), turned, height)
                break


def _furnish_maze(items: Furniture) -> None:
    """Things in dead ends, in corners where corridors bend, and on the walls of the chamber."""
    rng = items.rng
    dead_ends = [cell for cell in items.plan.cells if sum(cell.closed) == 3]
    bends = [c for c in items.plan.cells if sum(c.closed) == 2 and any(c.closed[:2]) and any(c.closed[2:])]
    spots = [dead_ends[k] for k in rng.permutation(len(dead_ends))][:9]
    spots += [bends[k] for k in rng.permutation(len(bends))][: max(7, 13 - len(spots))]
    for cell in spots:
        for _ in range(4):
            category = str(rng.choice(_SMALL))
            colour = items.colour_of(category)
            parts = build(rng, category, colour, min(items.scale_of(category), 1.15))
            hx, hy, _ = catalogue.half_extents(parts)
            if max(hx, hy) < 0.33 and items.add(category, colour, parts, _cell_pose(rng, cell, hx, hy)):
                break


def _cell_pose(rng: np.random.Generator, cell: MazeCell, hx: float, hy: float) -> Pose2D:
    """Return a pose in the corner that the cell's walls make, or in the middle of a dead end's back wall."""
    left, right, below, above = cell.closed
    reach = cell.side / 2 - WALL_THICKNESS / 2 - float(rng.uniform(0.03, 0.08))
    if sum(cell.closed) == 3 and rng.random() < 0.6:
        if not (left and right):
            return Pose2D(cell.x + (hx - reach if left else reach - hx), cell.y, 0.0 if left else math.pi)
        yaw = math.pi / 2 if below else -math.pi / 2
        return Pose2D(cell.x, cell.y + (hx - reach if below else reach - hx), yaw)
    at_left = left if left != right else bool(rng.random() < 0.5)
    at_bottom = below if below != above else bool(rng.random() < 0.5)
    x = cell.x + (hx - reach if at_left else reach - hx)
    y = cell.y + (hy - reach if at_bottom else reach - hy)
    return Pose2D(x, y, 0.0 if at_left else math.pi)


def _furnish_storeroom(items: Furniture, room: Room) -> None:
    """A crammed room: shelves at the walls, stacks, corners filled, and the rest in heaps around what stands there."""
    rng = items.rng
    for _ in range(int(rng.integers(2, 4))):
        items.try_add("shelf", room, 12)
    _stacks(items, room, int(rng.integers(3, 6)))
    for category in rng.choice(_SMALL, 3):
        items.try_add(str(category), room, 6, "corner")
    for category in rng.choice(_STORED, int(rng.integers(16, 24))):
        if rng.random() < 0.5:
            _beside_another(items, str(category))
        else:
            items.try_add(str(category), room, 6)


def _furnish_showroom(items: Furniture, room: Room) -> None:
    """One room full of things of every kind, as many of each: much to be told apart in every view."""
    most = int(items.rng.integers(18, 28))
    for _ in range(3):
        for category in items.rng.permutation(list(ALL_CATEGORIES)):
            if len(items.objects) < most:
                items.try_add(str(category), room, 6)


def _beside_another(items: Furniture, category: str) -> bool:
    """Place an object a hand's breadth from one that stands there."""
    rng = items.rng
    if not items.objects:
        return False
    colour = items.colour_of(category)
    parts = build(rng, category, colour, items.scale_of(category))
    radius = math.hypot(*catalogue.half_extents(parts)[:2])
    for _ in range(8):
        other = items.objects[int(rng.integers(len(items.objects)))]
        away = float(rng.uniform(-math.pi, math.pi))
        gap = float(rng.uniform(0.05, 0.25)) + radius + math.hypot(*other.size[:2]) / 2 * 0.85
        x, y = other.center[0] + gap * math.cos(away), other.center[1] + gap * math.sin(away)
        if items.add(category, colour, parts, Pose2D(x, y, float(rng.uniform(-math.pi, math.pi)))):
            return True
    return False
