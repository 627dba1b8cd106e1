"""What people, robots and doors look like: rigid segments, and where each is for a pose of the whole."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import trimesh

from mm_nav.robot import RobotConfig
from mm_nav.sim.materials import Colour, Material
from mm_nav.sim.mesh_primitives import MeshPart, tessellate
from mm_nav.sim.moving import Segment
from mm_nav.sim.sdf import rotation_rpy, transform
from mm_nav.sim.sdf_geometry import Box, Polyline

Matrix = npt.NDArray[np.float64]

_SIDES = 8  # few, because moving triangles are built anew at every step
_SKIN: tuple[Colour, ...] = ((0.95, 0.76, 0.62), (0.80, 0.58, 0.42), (0.55, 0.38, 0.26), (0.35, 0.23, 0.16))
_HIP_M, _SHOULDER_M, _HEIGHT_M = 0.86, 1.40, 1.75
_STRIDE_M = 1.4  # length of two steps
_FULL_STRIDE = 0.9  # m/s, from which on they are as long
_LEG_SWING, _ARM_SWING = 0.5, 0.4  # rad
_DARK: Colour = (0.12, 0.12, 0.14)
_FIRST_HUE, _NEXT_HUE = 0.6, (math.sqrt(5.0) - 1.0) / 2.0  # steps of the golden ratio keep any number of hues apart


@dataclass(frozen=True)
class Figure:
    """Segments of a body of a certain kind. kind: person | robot | door. middle: of a sphere around it, ahead of and above
    the body's origin; radius: of that sphere, metres."""

    kind: str
    segments: tuple[Segment, ...]
    middle: tuple[float, float]
    radius: float

    def sphere(self, x: float, y: float, yaw: float, floor_z: float) -> tuple[float, float, float, float]:
        """Return x, y, z and radius (m) of a sphere that holds the body at a pose, world."""
        ahead, up = self.middle
        return x + ahead * math.cos(yaw), y + ahead * math.sin(yaw), floor_z + up, self.radius

    def poses(
        self, x: float, y: float, yaw: float, floor_z: float, travelled: float, speed: float = 0.0
    ) -> list[Matrix]:
        """Return the pose (4, 4) of every segment, world.

        travelled: metres so far; legs and arms swing with it, less at a low speed, m/s: who stands has both feet side by side.
        """
        base = transform(rotation_rpy(0.0, 0.0, yaw), (x, y, floor_z))
        if self.kind != "person":
            return [base]
        swing = math.sin(2 * math.pi * travelled / _STRIDE_M) * min(1.0, speed / _FULL_STRIDE)
        limbs = (
            (0.0, 0.10, _HIP_M, _LEG_SWING * swing), (0.0, -0.10, _HIP_M, -_LEG_SWING * swing),
            (0.0, 0.24, _SHOULDER_M, -_ARM_SWING * swing), (0.0, -0.24, _SHOULDER_M, _ARM_SWING * swing),
        )  # fmt: skip
        return [base, *(base @ transform(rotation_rpy(0.0, pitch, 0.0), (x, y, z)) for x, y, z, pitch in limbs)]


def person(random: np.random.Generator) -> Figure:
    """Return a standing person, 1.75 m, looking along x: trunk and head, two legs, two arms."""
    shirt, trousers = (_cloth(random) for _ in range(2))
    skin, hair = _SKIN[int(random.integers(len(_SKIN)))], (0.15, 0.1, 0.08)
    trunk = trimesh.creation.capsule(0.42, 0.15, count=(5, _SIDES))
    trunk.apply_translation((0.0, 0.0, 1.0))
    trunk.apply_scale((0.75, 1.25, 1.0))
    head = trimesh.creation.icosphere(1, 0.11)
    head.apply_translation((0.0, 0.0, 1.63))
    top = trimesh.creation.icosphere(1, 0.115)
    top.apply_translation((-0.02, 0.0, 1.66))
    leg, shoe = _hanging(0.075, _HIP_M), trimesh.creation.box((0.26, 0.10, 0.08))
    shoe.apply_translation((0.05, 0.0, 0.04 - _HIP_M))
    arm, hand = _hanging(0.05, 0.58), trimesh.creation.icosphere(0, 0.06)
    hand.apply_translation((0.0, 0.0, -0.60))
    legs = Segment((_part(leg, trousers), _part(shoe, (0.1, 0.1, 0.1))))
    arms = Segment((_part(arm, shirt), _part(hand, skin)))
    return Figure(
        "person",
        (Segment((_part(trunk, shirt), _part(head, skin), _part(top, hair))), legs, legs, arms, arms),
        (0.0, _HEIGHT_M / 2),
        1.05,
    )


def robot_body(length: float, width: float, height: float, random: np.random.Generator) -> Figure:
    """Return a delivery robot: a box (metres) on the floor with a darker lid."""
    parts = []
    for size, z, colour in (
        ((length, width, 0.85 * height), 0.475 * height, _cloth(random)),
        ((0.9 * length, 0.9 * width, 0.1 * height), 0.95 * height, _DARK),
    ):
        parts += [_moved(part, (0.0, 0.0, z), colour) for part in tessellate(Box(size))]
    radius = math.sqrt(length**2 + width**2 + height**2) / 2
    return Figure("robot", (Segment(tuple(parts)),), (0.0, height / 2), radius)


def fleet_body(robot: RobotConfig, number: int) -> Figure:
    """Return a simulated robot as others see it: its footprint from its ground clearance up to its height, with a dark lid.

    number: which robot of its fleet it is; each has a colour of its own.
    """
    outline = robot.footprint_array()
    bottom, top = robot.ground_clearance_m, robot.height_m
    split = top - 0.15 * (top - bottom)
    colour = colorsys.hsv_to_rgb((_FIRST_HUE + number * _NEXT_HUE) % 1.0, 0.7, 0.75)
    centre = outline.mean(axis=0)
    parts = []
    for corners, low, high, paint in (
        (outline, bottom, split, colour),
        (centre + 0.9 * (outline - centre), split, top, _DARK),
    ):
        shape = Polyline((tuple((float(x), float(y)) for x, y in corners),), high - low)
        parts += [_moved(part, (0.0, 0.0, low), paint) for part in tessellate(shape)]
    radius = math.hypot(robot.circumscribed_radius, (top - bottom) / 2)
    return Figure("robot", (Segment(tuple(parts)),), (0.0, (bottom + top) / 2), radius)


def door_leaf(width: float, thickness: float, height: float, colour: Colour) -> Figure:
    """Return a door leaf that reaches from its hinge along x, with handles (metres)."""
    parts = [_moved(part, (width / 2, 0.0, height / 2), colour) for part in tessellate(Box((width, thickness, height)))]
    handle = Box((0.12, thickness + 0.10, 0.02))
    parts += [_moved(part, (width - 0.10, 0.0, 1.0), (0.75, 0.75, 0.78)) for part in tessellate(handle)]
    radius = math.hypot(width, height) / 2 + thickness + 0.1
    return Figure("door", (Segment(tuple(parts)),), (width / 2, height / 2), radius)


def _hanging(radius: float, length: float) -> trimesh.Trimesh:
    limb = trimesh.creation.cylinder(radius, length, sections=_SIDES)
    limb.apply_translation((0.0, 0.0, -length / 2))
    return limb


def _part(mesh: trimesh.Trimesh, colour: Colour) -> MeshPart:
    corners = np.asarray(mesh.vertex_normals)[mesh.faces]
    return MeshPart(np.asarray(mesh.triangles, np.float64), None, Material(diffuse=colour), "", corners)


def _moved(part: MeshPart, offset: tuple[float, float, float], colour: Colour) -> MeshPart:
    return MeshPart(part.triangles + np.array(offset), None, Material(diffuse=colour))


def _cloth(random: np.random.Generator) -> Colour:
    red, green, blue = random.uniform(0.08, 0.85, 3)
    return float(red), float(green), float(blue)
