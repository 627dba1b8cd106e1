"""More things to furnish worlds with: of warehouses and store rooms. Kept apart from the catalogue that trained policies
know, whose order and number their outputs follow."""

from __future__ import annotations

import colorsys
import math
from dataclasses import replace

import numpy as np

from mm_nav.sim import catalogue
from mm_nav.sim.catalogue import CATEGORIES, Category, Part, Rgb, sample_colour

_METAL: Rgb = (0.55, 0.55, 0.56)
_DARK: Rgb = (0.12, 0.12, 0.12)


def box(x: float, y: float, z: float, at: tuple[float, float, float], colour: Rgb, material: str = "") -> Part:
    """Return a box of (x, y, z) metres centred at `at`."""
    return Part("box", (x, y, z), at, colour, material=material)


def _cylinder(radius: float, length: float, at: tuple[float, float, float], colour: Rgb, roll: float = 0.0) -> Part:
    return Part("cylinder", (radius, length), at, colour, (roll, 0.0, 0.0))


def cardboard(rng: np.random.Generator) -> Rgb:
    """Return a brown that cardboard has, linear RGB."""
    return colorsys.hsv_to_rgb(
        float(rng.uniform(0.075, 0.10)), float(rng.uniform(0.38, 0.55)), float(rng.uniform(0.5, 0.75))
    )


def pallet_deck(colour: Rgb, x: float = 1.0, y: float = 1.2, low: float = 0.0, material: str = "wood") -> list[Part]:
    """Return a pallet: boards over three bearers; x, y: metres; low: height of its underside, metres."""
    parts = [box(0.10, y, 0.10, (side * (x / 2 - 0.05), 0, low + 0.05), colour, material) for side in (-1, 0, 1)]
    boards = 6
    width = 0.72 * y / boards
    for k in range(boards):
        at_y = -y / 2 + width / 2 + k * (y - width) / (boards - 1)
        parts.append(box(x, width, 0.025, (0, at_y, low + 0.1125), colour, material))
    return parts


def load(rng: np.random.Generator, x: float, y: float, low: float, layers: int, deep: int = 2) -> list[Part]:
    """Return cartons in up to `layers` layers of a grid on (x, y) metres, from height `low`; the top is incomplete.

    deep: at most so many cartons one behind the other, along x.
    """
    nx, ny = int(rng.integers(1, deep + 1)), int(rng.integers(2, 4))
    tall = float(rng.uniform(0.26, 0.40))
    base = cardboard(rng)
    parts = []
    for layer in range(layers):
        for i in range(nx):
            for j in range(ny):
                if layer == layers - 1 and layers > 1 and rng.random() < 0.4:
                    continue
                shade = float(rng.uniform(0.88, 1.08))
                colour: Rgb = (min(base[0] * shade, 1.0), min(base[1] * shade, 1.0), min(base[2] * shade, 1.0))
                at = (-x / 2 + x * (i + 0.5) / nx, -y / 2 + y * (j + 0.5) / ny, low + tall * (layer + 0.5))
                size = (x / nx * 0.96, y / ny * 0.96, tall * 0.985)
                parts.append(box(*size, at, colour, "cardboard"))
    return parts


def _pallet(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    parts = pallet_deck(colour, material="")
    if rng.random() < 0.7:
        parts += load(rng, 0.92, 1.1, 0.125, int(rng.integers(1, 4)))
    else:
        for k in range(int(rng.integers(0, 5))):  # a pile of empty ones
            parts += pallet_deck(colour, low=0.13 * (k + 1), material="")
    return parts


def _ladder(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    """A step ladder: two sloping sides front and back, with treads."""
    height, width, spread = float(rng.uniform(1.2, 1.9)), float(rng.uniform(0.42, 0.5)), 0.38
    lean = math.atan2(spread, height)
    length = math.hypot(spread, height)
    parts = []
    for slope in (1.0, -1.0):
        for side in (-1, 1):
            at = (slope * spread / 2, side * width / 2, height / 2)
            parts.append(Part("box", (0.05, 0.035, length * 0.98), at, colour, (0.0, -slope * lean, 0.0)))
    steps = int(height / 0.28)
    for k in range(1, steps + 1):
        level = k * height / (steps + 1)
        parts.append(box(0.09, width, 0.03, (spread * (1 - level / height), 0, level), _METAL))
    parts.append(box(0.22, width + 0.04, 0.05, (0, 0, height), colour))
    return parts


def _suitcase(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    x, y, z = float(rng.uniform(0.22, 0.28)), float(rng.uniform(0.38, 0.48)), float(rng.uniform(0.52, 0.70))
    parts = [box(x, y, z, (0, 0, 0.05 + z / 2), colour)]
    shade: Rgb = (0.7 * colour[0], 0.7 * colour[1], 0.7 * colour[2])
    parts += [box(x + 0.012, y + 0.012, 0.035, (0, 0, 0.05 + z * level), shade) for level in (0.3, 0.7)]
    parts += [
        _cylinder(0.04, 0.05, (sx * x * 0.35, sy * y * 0.4, 0.04), _DARK, 1.5708) for sx in (-1, 1) for sy in (-1, 1)
    ]
    for side in (-1, 1):
        parts.append(box(0.02, 0.02, 0.28, (-x * 0.35, side * 0.1, 0.05 + z + 0.14), _METAL))
    parts.append(box(0.03, 0.23, 0.03, (-x * 0.35, 0, 0.05 + z + 0.28), _DARK))
    return parts


def _ball(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    radius = float(rng.uniform(0.18, 0.32))
    return [Part("sphere", (radius,), (0.0, 0.0, radius), colour)]


def _bench(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    x, y, seat = float(rng.uniform(0.36, 0.44)), float(rng.uniform(1.1, 1.5)), float(rng.uniform(0.42, 0.47))
    parts = [box(x / 3 * 0.9, y, 0.05, ((k - 1) * x / 3, 0, seat), colour) for k in range(3)]
    for side in (-1, 1):
        parts.append(box(x * 0.9, 0.06, seat - 0.03, (0, side * (y / 2 - 0.2), (seat - 0.03) / 2), _DARK))
    return parts


EXTRA_CATEGORIES: dict[str, Category] = {
    c.name: c
    for c in (
        Category("pallet", _pallet, ("brown", "blue", "red", "black"), False),
        Category("ladder", _ladder, ("grey", "yellow", "red", "blue", "orange", "green"), True),
        Category("suitcase", _suitcase, ("red", "blue", "black", "green", "purple", "grey", "orange", "pink"), True),
        Category("ball", _ball, ("red", "orange", "yellow", "green", "blue", "pink", "white", "purple"), False),
        Category("bench", _bench, ("brown", "grey", "green", "blue", "red", "white"), True),
    )
}
ALL_CATEGORIES: dict[str, Category] = {**CATEGORIES, **EXTRA_CATEGORIES}
# What comes in clearly different sizes, and by how much it is made smaller or larger.
SIZES: dict[str, tuple[float, ...]] = {
    "box": (0.65, 1.0, 1.45), "barrel": (0.7, 1.0, 1.15), "cone": (0.6, 1.0, 1.4), "bin": (0.8, 1.0, 1.45),
    "plant": (0.7, 1.0, 1.35), "lamp": (0.6, 1.0, 1.2), "ball": (0.6, 1.0, 1.3), "suitcase": (0.75, 1.0, 1.15),
    "cabinet": (0.75, 1.0, 1.3), "ladder": (0.75, 1.0, 1.25), "stool": (0.8, 1.0, 1.25),
}  # fmt: skip


def build(rng: np.random.Generator, category: str, colour: str, scale: float = 1.0) -> list[Part]:
    """Return the parts of one object of ALL_CATEGORIES, `scale` times its usual size."""
    if category in CATEGORIES:
        parts = catalogue.build(rng, category, colour)
    else:
        parts = EXTRA_CATEGORIES[category].build(rng, sample_colour(rng, colour))
    return [scaled(part, scale) for part in parts]


def scaled(part: Part, scale: float) -> Part:
    """Return a part `scale` times as large, about the object's origin on the floor."""
    x, y, z = (float(v) * scale for v in part.position)
    return replace(part, size=tuple(float(v) * scale for v in part.size), position=(x, y, z))


def lifted(parts: list[Part], height: float) -> list[Part]:
    """Return the parts moved up by `height` metres."""
    return [replace(p, position=(p.position[0], p.position[1], p.position[2] + height)) for p in parts]


def rack(rng: np.random.Generator, colour: str, length: float, depth: float, height: float) -> list[Part]:
    """Return a bay of a pallet rack along y: uprights and braces of `colour`, beams, decks, and loads on most of them.

    length, depth, height: metres. The lowest beams are above what a robot's LiDAR sees; loads stand on the floor.
    """
    tint = sample_colour(rng, colour)
    beam: Rgb = (0.85, 0.30, 0.04) if colour != "orange" else (0.1, 0.2, 0.5)
    parts = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            at = (sx * (depth / 2 - 0.05), sy * (length / 2 - 0.05), height / 2)
            parts.append(box(0.10, 0.10, height, at, tint, "metal"))
    for sy in (-1, 1):
        for k in range(int(height / 0.8)):
            at = (0.0, sy * (length / 2 - 0.05), 0.5 + 0.8 * k)
            parts.append(box(depth - 0.2, 0.04, 0.05, at, tint, "metal"))
    levels = np.arange(1.45, height - 0.2, 1.35)
    for level in (float(v) for v in levels):
        for sx in (-1, 1):
            parts.append(box(0.05, length - 0.2, 0.12, (sx * (depth / 2 - 0.05), 0, level - 0.06), beam, "metal"))
        parts.append(box(depth - 0.05, length - 0.2, 0.03, (0, 0, level + 0.015), _METAL, "metal"))
    wood = sample_colour(rng, "brown")
    for level in (0.0, *(float(v) + 0.03 for v in levels)):
        for side in (-1, 1):
            if rng.random() < 0.18:
                continue
            y = min(length / 2 - 0.2, 1.15)
            stack = [
                box(0.1, y * 0.94, 0.1, (at * depth * 0.4, 0, level + 0.05), wood, "wood") for at in (-1.0, 0.0, 1.0)
            ]
            stack.append(box(depth * 0.92, y * 0.94, 0.025, (0, 0, level + 0.1125), wood, "planks"))
            stack += load(rng, depth * 0.86, y * 0.9, level + 0.125, int(rng.integers(1, 3)), 1)
            parts += [
                replace(p, position=(p.position[0], p.position[1] + side * (length / 4 - 0.04), p.position[2]))
                for p in stack
            ]
    return [scaled(part, 1.0) for part in parts]
