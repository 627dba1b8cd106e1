"""What things are made of: a material for every part of an object, and for the walls and floors of a building."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm_nav.sim.catalogue import Part, Rgb
from mm_nav.sim.floor_plan import Room
from mm_nav.sim.textures import TEXTURES

# What the part that bears a category's name may be made of, and what the rest of it is made of.
MATERIALS: dict[str, tuple[tuple[str, ...], str]] = {
    "chair": (("wood", "plastic", "fabric", "leather"), "metal"),
    "table": (("wood", "wood", "metal", "plastic"), "wood"),
    "sofa": (("fabric", "fabric", "leather"), "wood"),
    "shelf": (("wood", "wood", "metal"), "paper"),
    "plant": (("ceramic", "plastic"), "leaves"),
    "barrel": (("metal", "plastic", "wood"), "metal"),
    "box": (("cardboard", "cardboard", "wood", "plastic"), "cardboard"),
    "cone": (("plastic", "rubber"), "plastic"),
    "bin": (("plastic", "metal"), "metal"),
    "lamp": (("fabric", "metal"), "metal"),
    "door": (("wood", "wood", "metal"), "metal"),
    "cabinet": (("wood", "wood", "metal"), "metal"),
    "bed": (("fabric",), "wood"),
    "stool": (("wood", "plastic", "leather"), "metal"),
    "pallet": (("wood", "wood", "plastic"), "wood"),
    "ladder": (("metal", "wood"), "metal"),
    "suitcase": (("plastic", "fabric", "leather"), "metal"),
    "ball": (("rubber", "leather", "plastic"), "plastic"),
    "bench": (("wood", "metal", "plastic"), "metal"),
}
# Where a category's first part is not the one that its colour names.
_NAMED_PART = {"bed": 2, "lamp": 2}
_PALE = 0.8  # linear grey above this is bedding
_COVER, _END = 0.002, 0.03  # metres that a wall end's cover stands out, and that it reaches along the wall


def clad(rng: np.random.Generator, category: str, parts: Sequence[Part]) -> list[Part]:
    """Return the parts with a material each; parts that have one keep it.

    An object's material, as SceneObject.material says it, is that of its first part. Parts in a shade of the colour
    that the object is named after share a material that fits the category.
    """
    choices, rest = MATERIALS[category]
    named = parts[min(_NAMED_PART.get(category, 0), len(parts) - 1)].colour
    main = choices[int(rng.integers(len(choices)))]
    dressed = []
    for part in parts:
        material = part.material or (main if _same_hue(part.colour, named) else _other(category, part, rest))
        dressed.append(replace(part, material=material))
    return dressed


def _other(category: str, part: Part, rest: str) -> str:
    if category == "bed" and min(part.colour) > _PALE:
        return "fabric"
    if category == "plant" and part.shape != "sphere":
        return "wood"
    if category in ("chair", "table", "stool") and max(part.colour) - min(part.colour) > 0.05:
        return "wood"
    if category == "table":
        return "metal"
    return rest


def _same_hue(colour: Rgb, other: Rgb) -> bool:
    a, b = np.array(colour), np.array(other)
    scale = float(a @ b) / max(float(b @ b), 1e-9)
    return 0.55 < scale < 1.1 and float(np.abs(a - scale * b).max()) < 0.02


@dataclass(frozen=True)
class Tile:
    """One piece of floor: its middle (x, y) and size (x, y), metres, world, with colour and material."""

    center: tuple[float, float]
    size: tuple[float, float]
    colour: Rgb
    material: str


def panels(wall: Part, material: str) -> list[Part]:
    """Return a wall (a box) cut into pieces that show one copy of the material's picture each, hardly stretched.

    Its two ends, narrow faces on which a picture would be squeezed, get a plain cover.
    """
    texture = TEXTURES[material]
    along = 0 if wall.size[0] >= wall.size[1] else 1
    columns = max(1, round(wall.size[along] / texture.width))
    rows = max(1, round(wall.size[2] / texture.height))
    size = list(wall.size)
    size[along], size[2] = wall.size[along] / columns, wall.size[2] / rows
    pieces = []
    for column in range(columns):
        for row in range(rows):
            at = list(wall.position)
            at[along] += (column + 0.5) * size[along] - wall.size[along] / 2
            at[2] += (row + 0.5) * size[2] - wall.size[2] / 2
            pieces.append(
                replace(wall, size=(size[0], size[1], size[2]), position=(at[0], at[1], at[2]), material=material)
            )
    return pieces + ([] if material == "plaster" else _ends(wall, along))


def _ends(wall: Part, along: int) -> list[Part]:
    size = [v + 2 * _COVER for v in wall.size]
    size[along] = _END
    covers = []
    for side in (-1, 1):
        at = list(wall.position)
        at[along] += side * (wall.size[along] / 2 + _COVER - _END / 2)
        covers.append(
            replace(wall, size=(size[0], size[1], size[2]), position=(at[0], at[1], at[2]), material="plaster")
        )
    return covers


def tiles(room: Room, colour: Rgb, material: str) -> list[Tile]:
    """Return a room's floor in pieces that show one copy of the material's picture each."""
    texture = TEXTURES[material]
    w, h = room.x1 - room.x0, room.y1 - room.y0
    columns, rows = max(1, math.ceil(w / texture.width - 0.5)), max(1, math.ceil(h / texture.height - 0.5))
    size = (w / columns, h / rows)
    return [
        Tile((room.x0 + (i + 0.5) * size[0], room.y0 + (j + 0.5) * size[1]), size, colour, material)
        for i in range(columns)
        for j in range(rows)
    ]


# Per style: what walls and the floors of rooms are made of.
_WALLS = {
    "warehouse": ("sheet", "concrete", "brick"), "maze": ("plaster", "brick", "concrete", "wood"),
    "storeroom": ("concrete", "brick", "plaster"), "office": ("plaster",),
}  # fmt: skip
_FLOORS = {
    "warehouse": ("concrete",), "maze": ("concrete", "tiles", "planks"), "storeroom": ("concrete", "tiles"),
    "office": ("carpet", "carpet", "tiles"),
}  # fmt: skip


def wall_material(rng: np.random.Generator, style: str) -> str:
    """Return a wall material that suits a style."""
    return str(rng.choice(_WALLS.get(style, ("plaster", "plaster", "plaster", "brick"))))


def floor_material(rng: np.random.Generator, style: str, kind: str) -> str:
    """Return a floor material that suits a style and a room's kind (room | corridor | hall)."""
    if style == "warehouse" and kind != "hall":
        return str(rng.choice(("tiles", "carpet")))
    return str(rng.choice(_FLOORS.get(style, ("planks", "planks", "carpet", "tiles"))))


def surface_colour(rng: np.random.Generator, material: str) -> Rgb:
    """Return a colour that a wall or floor of a material has, linear RGB."""
    u = rng.uniform

    def hsv(h: tuple[float, float], s: tuple[float, float], v: tuple[float, float]) -> Rgb:
        return colorsys.hsv_to_rgb(float(u(*h)), float(u(*s)), float(u(*v)))

    if material == "brick":
        return (
            hsv((0.01, 0.05), (0.35, 0.6), (0.5, 0.7))
            if rng.random() < 0.75
            else hsv((0.1, 0.1), (0.0, 0.1), (0.8, 0.95))
        )
    if material in ("planks", "wood"):
        return hsv((0.06, 0.10), (0.3, 0.55), (0.45, 0.75))
    if material == "carpet":
        return hsv((0.0, 1.0), (0.05, 0.4), (0.3, 0.6))
    if material in ("concrete", "sheet"):
        return hsv((0.08, 0.6), (0.0, 0.08), (0.5, 0.75))
    if material == "tiles":
        return hsv((0.06, 0.14), (0.02, 0.18), (0.6, 0.9))
    return (
        hsv((0.0, 1.0), (0.0, 0.12), (0.75, 0.95)) if rng.random() < 0.8 else hsv((0.0, 1.0), (0.12, 0.35), (0.65, 0.9))
    )
