"""The things that generated worlds are furnished with: categories, shape variants and colours, from SDF primitives."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Rgb = tuple[float, float, float]

# Hue (degrees), saturation and value of each colour name, with the half-width of each that still bears the name.
COLOURS: dict[str, tuple[float, float, float, float, float, float]] = {
    "red": (0.0, 0.88, 0.75, 6.0, 0.10, 0.15),
    "orange": (28.0, 0.95, 0.95, 5.0, 0.05, 0.05),
    "yellow": (55.0, 0.90, 0.92, 5.0, 0.10, 0.08),
    "green": (125.0, 0.80, 0.55, 15.0, 0.15, 0.15),
    "cyan": (182.0, 0.75, 0.80, 6.0, 0.15, 0.10),
    "blue": (222.0, 0.85, 0.70, 10.0, 0.12, 0.18),
    "purple": (278.0, 0.72, 0.60, 8.0, 0.12, 0.12),
    "pink": (332.0, 0.48, 0.97, 8.0, 0.10, 0.03),
    "brown": (24.0, 0.70, 0.38, 5.0, 0.10, 0.06),
    "white": (0.0, 0.01, 0.95, 180.0, 0.01, 0.04),
    "grey": (0.0, 0.02, 0.50, 180.0, 0.02, 0.08),
    "black": (0.0, 0.05, 0.06, 180.0, 0.05, 0.03),
}


def sample_colour(rng: np.random.Generator, name: str) -> Rgb:
    """Return linear RGB (0 to 1) of a colour that bears `name`."""
    hue, saturation, value, dh, ds, dv = COLOURS[name]
    h = ((hue + rng.uniform(-dh, dh)) % 360.0) / 360.0
    s = float(np.clip(saturation + rng.uniform(-ds, ds), 0.0, 1.0))
    v = float(np.clip(value + rng.uniform(-dv, dv), 0.02, 1.0))
    return colorsys.hsv_to_rgb(h, s, v)


@dataclass(frozen=True)
class Part:
    """One primitive. shape: box | cylinder | sphere. size: box (x, y, z); cylinder (radius, length); sphere (radius,).

    position: centre in the object's frame (z = 0 on the floor), metres. rpy: rad. colour: linear RGB. material: one of
    mm_nav.sim.textures.TEXTURES, "" = not said.
    """

    shape: str
    size: tuple[float, ...]
    position: tuple[float, float, float]
    colour: Rgb
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    material: str = ""


@dataclass(frozen=True)
class Category:
    """A kind of object. build(rng, colour) -> parts. colours: names that the kind comes in. against_wall: where it stands."""

    name: str
    build: Callable[[np.random.Generator, Rgb], list[Part]]
    colours: tuple[str, ...]
    against_wall: bool


def _box(x: float, y: float, z: float, at: tuple[float, float, float], colour: Rgb, yaw: float = 0.0) -> Part:
    return Part("box", (x, y, z), at, colour, (0.0, 0.0, yaw))


def _cylinder(radius: float, length: float, at: tuple[float, float, float], colour: Rgb) -> Part:
    return Part("cylinder", (radius, length), at, colour)


def _dark(rng: np.random.Generator) -> Rgb:
    v = float(rng.uniform(0.08, 0.25))
    return (v, v, v)


def _wood(rng: np.random.Generator) -> Rgb:
    return colorsys.hsv_to_rgb(
        float(rng.uniform(0.06, 0.10)), float(rng.uniform(0.35, 0.6)), float(rng.uniform(0.35, 0.7))
    )


def _legs(rng: np.random.Generator, x: float, y: float, height: float, thickness: float, colour: Rgb) -> list[Part]:
    round_legs = rng.random() < 0.4
    parts = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            at = (sx * (x / 2 - thickness), sy * (y / 2 - thickness), height / 2)
            parts.append(
                _cylinder(thickness / 2, height, at, colour)
                if round_legs
                else _box(thickness, thickness, height, at, colour)
            )
    return parts


def _chair(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    w, d, seat = rng.uniform(0.40, 0.50), rng.uniform(0.40, 0.50), rng.uniform(0.42, 0.48)
    back = rng.uniform(0.38, 0.52)
    frame = colour if rng.random() < 0.5 else _dark(rng)
    parts = [_box(d, w, 0.06, (0, 0, seat), colour)]
    if rng.random() < 0.75:
        parts += _legs(rng, d, w, seat, 0.045, frame)
    else:
        # An office chair: one column on a cross.
        parts += [_cylinder(0.035, seat, (0, 0, seat / 2), frame), _box(0.50, 0.06, 0.06, (0, 0, 0.06), frame)]
        parts += [_box(0.06, 0.50, 0.06, (0, 0, 0.06), frame), _cylinder(0.10, 0.20, (0, 0, 0.16), frame)]
    parts.append(_box(0.05, w, back, (-d / 2 + 0.025, 0, seat + back / 2), colour))
    if rng.random() < 0.3:
        for side in (-1, 1):
            parts.append(_box(d * 0.8, 0.05, 0.05, (0, side * (w / 2 - 0.025), seat + 0.22), frame))
    return parts


def _stool(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    height, radius = rng.uniform(0.45, 0.65), rng.uniform(0.17, 0.21)
    parts = [_cylinder(radius, 0.07, (0, 0, height), colour)]
    frame = _dark(rng) if rng.random() < 0.5 else colour
    for k in range(3 if rng.random() < 0.5 else 4):
        angle = 2 * math.pi * k / 3
        parts.append(
            _cylinder(
                0.025, height, (0.75 * radius * math.cos(angle), 0.75 * radius * math.sin(angle), height / 2), frame
            )
        )
    return parts


def _table(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    height = rng.uniform(0.70, 0.76)
    if rng.random() < 0.3:
        radius = rng.uniform(0.40, 0.55)
        return [
            _cylinder(radius, 0.05, (0, 0, height), colour),
            _cylinder(0.06, height, (0, 0, height / 2), _dark(rng)),
            _cylinder(0.28, 0.30, (0, 0, 0.15), _dark(rng)),
        ]
    x, y = rng.uniform(0.6, 0.8), rng.uniform(0.9, 1.4)
    frame = colour if rng.random() < 0.5 else _wood(rng)
    return [_box(x, y, 0.06, (0, 0, height), colour), *_legs(rng, x, y, height, 0.07, frame)]


def _sofa(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    x, y, seat = rng.uniform(0.75, 0.9), rng.uniform(1.3, 1.9), rng.uniform(0.38, 0.44)
    arm = rng.uniform(0.12, 0.2)
    shade = tuple(0.85 * v for v in colour)
    parts = [_box(x, y, seat, (0, 0, seat / 2), shade)]  # type: ignore[arg-type]
    parts.append(_box(0.22, y, 0.82, (-x / 2 + 0.11, 0, 0.41), colour))
    for side in (-1, 1):
        parts.append(_box(x, arm, 0.58, (0, side * (y / 2 - arm / 2), 0.29), colour))
    cushions = int(rng.integers(2, 4))
    width = (y - 2 * arm) / cushions
    for k in range(cushions):
        at = (0.1, -y / 2 + arm + width * (k + 0.5), seat + 0.04)
        parts.append(_box(x - 0.25, width * 0.94, 0.10, at, colour))
    return parts


def _bed(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    x, y = rng.uniform(1.8, 2.0), rng.uniform(0.9, 1.4)
    wood = _wood(rng)
    parts = [_box(x, y, 0.28, (0, 0, 0.14), wood), _box(x - 0.06, y - 0.04, 0.20, (0, 0, 0.38), (0.85, 0.84, 0.80))]
    parts.append(_box(x * 0.65, y, 0.10, (x * 0.16, 0, 0.47), colour))
    parts.append(_box(0.06, y, rng.uniform(0.75, 0.95), (-x / 2, 0, 0.43), wood))
    parts.append(_box(0.35, y * 0.6, 0.12, (-x / 2 + 0.28, 0, 0.52), (0.92, 0.92, 0.9)))
    return parts


def _shelf(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    x, y, z = rng.uniform(0.28, 0.4), rng.uniform(0.7, 1.1), rng.uniform(1.4, 1.9)
    parts = [_box(0.02, y, z, (-x / 2, 0, z / 2), colour)]
    parts += [_box(x, 0.04, z, (0, side * (y / 2 - 0.02), z / 2), colour) for side in (-1, 1)]
    boards = int(rng.integers(4, 6))
    for k in range(boards):
        low = 0.04 + k * (z - 0.08) / (boards - 1)
        parts.append(_box(x, y, 0.04, (0, 0, low), colour))
        if k < boards - 1 and rng.random() < 0.85:
            # Books and boxes, so that a shelf is not just a frame.
            width, tall = rng.uniform(0.3, 0.8) * y, rng.uniform(0.15, 0.26)
            at = (0.0, float(rng.uniform(-1, 1)) * (y - width) / 2 * 0.85, low + 0.02 + tall / 2)
            book = colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.3, 0.8)))
            parts.append(_box(x * 0.7, width, tall, at, book))
    return parts


def _cabinet(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    x, y, z = rng.uniform(0.4, 0.5), rng.uniform(0.7, 1.1), rng.uniform(0.75, 1.1)
    parts = [_box(x, y, z, (0, 0, z / 2), colour)]
    shade: Rgb = (0.7 * colour[0], 0.7 * colour[1], 0.7 * colour[2])
    doors = int(rng.integers(2, 4))
    for k in range(doors):
        at_y = -y / 2 + y * (k + 0.5) / doors
        parts.append(_box(0.012, y / doors * 0.88, z * 0.86, (x / 2 + 0.006, at_y, z / 2), shade))
        parts.append(_box(0.03, 0.03, 0.12, (x / 2 + 0.02, at_y + y / doors * 0.3, z * 0.6), (0.75, 0.75, 0.72)))
    return parts


def _barrel(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    radius, height = rng.uniform(0.25, 0.30), rng.uniform(0.78, 0.92)
    parts = [_cylinder(radius, height, (0, 0, height / 2), colour)]
    rim: Rgb = (0.6 * colour[0], 0.6 * colour[1], 0.6 * colour[2]) if rng.random() < 0.6 else (0.45, 0.45, 0.45)
    for level in (0.03, height / 3, 2 * height / 3, height - 0.03):
        parts.append(_cylinder(radius + 0.015, 0.035, (0, 0, level), rim))
    return parts


def _cone(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    base, height = rng.uniform(0.36, 0.44), rng.uniform(0.55, 0.75)
    parts = [_box(base, base, 0.05, (0, 0, 0.025), _dark(rng) if rng.random() < 0.4 else colour)]
    levels = 8
    stripes = rng.random() < 0.6
    for k in range(levels):
        radius = (base / 2 - 0.03) * (1 - (k + 0.3) / levels) + 0.02
        white = stripes and k in (3, 4)
        at = (0.0, 0.0, 0.05 + (height - 0.05) * (k + 0.5) / levels)
        parts.append(_cylinder(radius, (height - 0.05) / levels, at, (0.93, 0.93, 0.93) if white else colour))
    return parts


def _crate(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    x, y, z = rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.6)
    parts = [_box(x, y, z, (0, 0, z / 2), colour)]
    if rng.random() < 0.5:
        tape: Rgb = (0.75 * colour[0], 0.75 * colour[1], 0.75 * colour[2])
        parts.append(_box(x + 0.01, 0.06, z + 0.005, (0, 0, z / 2), tape))
    return parts


def _bin(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    radius, height = rng.uniform(0.16, 0.21), rng.uniform(0.42, 0.58)
    dark: Rgb = (0.05, 0.05, 0.05)
    if rng.random() < 0.5:
        # A pedal bin: a can with a domed lid.
        return [
            _cylinder(radius, height, (0, 0, height / 2), colour),
            _cylinder(radius + 0.01, 0.03, (0, 0, height), (0.3, 0.3, 0.3)),
            Part("sphere", (radius * 0.9,), (0, 0, height), (0.3, 0.3, 0.3)),
        ]
    # An open basket: dark inside, wider at the top.
    return [
        _cylinder(radius * 0.85, height * 0.5, (0, 0, height * 0.25), colour),
        _cylinder(radius, height * 0.5, (0, 0, height * 0.75), colour),
        _cylinder(radius * 0.88, 0.02, (0, 0, height), dark),
    ]


def _plant(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    radius, pot = rng.uniform(0.16, 0.22), rng.uniform(0.28, 0.40)
    parts = [_cylinder(radius, pot, (0, 0, pot / 2), colour)]
    for _ in range(int(rng.integers(5, 9))):
        angle, out, up = rng.uniform(0, 2 * math.pi), rng.uniform(0.0, 0.18), rng.uniform(0.12, 0.6)
        leaf = colorsys.hsv_to_rgb(
            float(rng.uniform(0.27, 0.38)), float(rng.uniform(0.6, 0.9)), float(rng.uniform(0.25, 0.5))
        )
        at = (float(out * math.cos(angle)), float(out * math.sin(angle)), float(pot + up))
        parts.append(Part("sphere", (float(rng.uniform(0.10, 0.18)),), at, leaf))
    parts.append(_cylinder(0.025, 0.5, (0, 0, pot + 0.25), (0.3, 0.2, 0.1)))
    return parts


def _lamp(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    height, shade = rng.uniform(1.35, 1.65), rng.uniform(0.18, 0.25)
    frame = _dark(rng)
    return [
        _cylinder(0.16, 0.24, (0, 0, 0.12), frame),
        _cylinder(0.022, height, (0, 0, height / 2), frame),
        _cylinder(shade, 0.14, (0, 0, height), colour),
        _cylinder(shade * 0.8, 0.14, (0, 0, height + 0.14), colour),
    ]


def _door(rng: np.random.Generator, colour: Rgb) -> list[Part]:
    width, height = rng.uniform(0.82, 0.92), rng.uniform(2.0, 2.1)
    shade: Rgb = (0.75 * colour[0], 0.75 * colour[1], 0.75 * colour[2])
    parts = [_box(width, 0.05, height, (0, 0, height / 2), colour)]
    for level in (0.28, 0.72):
        parts.append(_box(width * 0.7, 0.06, height * 0.34, (0, 0, height * level), shade))
    parts.append(_box(0.10, 0.14, 0.03, (width * 0.38, 0, height * 0.5), (0.8, 0.75, 0.5)))
    return parts


_BRIGHT = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black")
_FURNITURE = ("red", "green", "blue", "yellow", "white", "black", "brown", "grey", "purple")

CATEGORIES: dict[str, Category] = {
    c.name: c
    for c in (
        Category("chair", _chair, _FURNITURE, False),
        Category("table", _table, ("brown", "white", "black", "grey", "red", "blue", "green"), False),
        Category("sofa", _sofa, ("red", "blue", "green", "grey", "brown", "white", "purple", "yellow"), True),
        Category("shelf", _shelf, ("brown", "white", "black", "grey", "blue", "red"), True),
        Category("plant", _plant, ("brown", "white", "black", "orange", "blue", "red"), True),
        Category("barrel", _barrel, _BRIGHT, False),
        Category("box", _crate, (*_BRIGHT, "brown", "grey"), False),
        Category("cone", _cone, ("orange", "red", "yellow", "green", "blue", "pink"), False),
        Category("bin", _bin, (*_BRIGHT, "grey"), True),
        Category("lamp", _lamp, ("red", "yellow", "white", "green", "blue", "orange", "pink"), True),
        Category("door", _door, ("brown", "white", "red", "green", "blue", "grey", "yellow"), True),
        Category("cabinet", _cabinet, ("brown", "white", "grey", "black", "green", "blue", "red"), True),
        Category("bed", _bed, ("red", "blue", "green", "grey", "purple", "yellow", "pink"), True),
        Category("stool", _stool, (*_BRIGHT, "brown"), False),
    )
}


def build(rng: np.random.Generator, category: str, colour: str) -> list[Part]:
    """Return the parts of one object; `colour` is a name of the category's colours."""
    kind = CATEGORIES[category]
    parts = kind.build(rng, sample_colour(rng, colour))
    return [replace(p, size=tuple(float(v) for v in p.size), position=_floats(p.position)) for p in parts]


def _floats(position: tuple[float, float, float]) -> tuple[float, float, float]:
    return float(position[0]), float(position[1]), float(position[2])


def half_extents(parts: list[Part]) -> tuple[float, float, float]:
    """Return the half size in x and y around the object's origin, and the height, metres."""
    x = y = z = 0.0
    for part in parts:
        if part.shape == "box":
            sx, sy, sz = (v / 2 for v in part.size)
        elif part.shape == "cylinder":
            sx = sy = part.size[0]
            sz = part.size[1] / 2
        else:
            sx = sy = sz = part.size[0]
        x, y = max(x, abs(part.position[0]) + sx), max(y, abs(part.position[1]) + sy)
        z = max(z, part.position[2] + sz)
    return x, y, z
