"""Triangles of SDF's primitive shapes, round ones within a quarter of a millimetre of the true surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mm_nav.sim.materials import Material
from mm_nav.sim.sdf_geometry import Box, Capsule, Cone, Cylinder, Ellipsoid, Geometry, Plane, Polyline, Sphere

Points = npt.NDArray[np.float64]
TOLERANCE_M = 0.00025
_MIN_SEGMENTS, _MAX_SEGMENTS, _MAX_SPHERE_SEGMENTS = 16, 256, 96


@dataclass(frozen=True)
class MeshPart:
    """Triangles of one material. triangles: (N, 3, 3) float64, metres. uv: (N, 3, 2) float64 texture coordinates or
    None.

    normals: (N, 3, 3) float64 unit normals at the corners for smooth shading, or None for flat faces.
    """

    triangles: Points
    uv: Points | None = None
    material: Material | None = None
    name: str = ""
    normals: Points | None = None

    def transformed(self, matrix: npt.NDArray[np.float64]) -> MeshPart:
        """Return this part moved by a (4, 4) matrix (scale allowed; a mirror keeps the outside outside)."""
        with np.errstate(invalid="ignore", over="ignore"):  # corners of damaged meshes are left out later
            triangles = self.triangles @ matrix[:3, :3].T + matrix[:3, 3]
        uv, normals = self.uv, self.normals
        if normals is not None:
            normals = normals @ np.linalg.pinv(matrix[:3, :3])
            normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
        if np.linalg.det(matrix[:3, :3]) < 0:
            triangles = triangles[:, ::-1]
            uv = uv[:, ::-1] if uv is not None else None
            normals = normals[:, ::-1] if normals is not None else None
        return MeshPart(np.ascontiguousarray(triangles), uv, self.material, self.name, normals)


@lru_cache(maxsize=1024)
def tessellate(geometry: Geometry, infinite_planes: bool = False) -> tuple[MeshPart, ...]:
    """Return the triangles of a primitive shape in its own frame; () for a mesh.

    infinite_planes: as contacts see them.
    """
    if isinstance(geometry, Box):
        return (_box(geometry.size),)
    if isinstance(geometry, Cylinder):
        return (_revolve(_profile_cylinder(geometry.radius, geometry.length), segments(geometry.radius)),)
    if isinstance(geometry, Cone):
        half = geometry.length / 2
        return (_revolve(np.array([[geometry.radius, -half], [0.0, half]]), segments(geometry.radius)),)
    if isinstance(geometry, Capsule):
        return (_revolve(_profile_capsule(geometry.radius, geometry.length), segments(geometry.radius), smooth=True),)
    if isinstance(geometry, Sphere):
        return (_revolve(_profile_capsule(geometry.radius, 0.0), segments(geometry.radius, True), smooth=True),)
    if isinstance(geometry, Ellipsoid):
        unit = _revolve(_profile_capsule(1.0, 0.0), segments(max(geometry.radii), True), smooth=True)
        return (unit.transformed(np.diag([*geometry.radii, 1.0])),)
    if isinstance(geometry, Plane):
        return (_plane(geometry, infinite_planes),)
    if isinstance(geometry, Polyline):
        return (_polyline(geometry),)
    return ()


def segments(radius: float, sphere: bool = False) -> int:
    """Return how many flat sides keep a circle of `radius` (m) within TOLERANCE_M of its polygon."""
    if radius <= TOLERANCE_M:
        return _MIN_SEGMENTS
    # The corners lie as far outside as the middles of the sides lie inside, so the error is half the sagitta.
    count = math.ceil(math.pi / math.acos(max(1.0 - 2.0 * TOLERANCE_M / radius, -1.0)))
    return int(np.clip((count + 3) // 4 * 4, _MIN_SEGMENTS, _MAX_SPHERE_SEGMENTS if sphere else _MAX_SEGMENTS))


def _box(size: tuple[float, float, float]) -> MeshPart:
    """Each side carries the whole texture once, upright on the walls, as Gazebo's unit box does."""
    half = np.array(size) / 2
    triangles, uv = [], []
    for axis in range(3):
        u, v = ((1, 2), (0, 2), (0, 1))[axis]
        for sign in (-1.0, 1.0):
            corners = np.zeros((4, 3))
            corners[:, axis] = sign
            corners[:, u], corners[:, v] = (-1, 1, 1, -1), (-1, -1, 1, 1)
            square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
            outwards = np.cross(corners[1] - corners[0], corners[2] - corners[0])[axis] * sign > 0
            order = [0, 1, 2, 0, 2, 3] if outwards else [0, 2, 1, 0, 3, 2]
            triangles.append((corners * half)[order].reshape(2, 3, 3))
            uv.append(square[order].reshape(2, 3, 2))
    return MeshPart(np.concatenate(triangles), np.concatenate(uv))


def _revolve(profile: Points, sides: int, smooth: bool = False) -> MeshPart:
    """Turn a profile (M, 2) of (radius, z), bottom to top, around z; open ends are capped."""
    grow = 2.0 / (1.0 + math.cos(math.pi / sides))
    angles = np.linspace(0.0, 2 * math.pi, sides + 1)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * grow
    circle[-1] = circle[0]
    closed = np.concatenate([[[0.0, profile[0, 1]]], profile, [[0.0, profile[-1, 1]]]])
    closed = closed[np.concatenate([[True], np.any(np.abs(np.diff(closed, axis=0)) > 1e-12, axis=1)])]
    rings = np.concatenate(
        [closed[:, None, :1] * circle[None], np.broadcast_to(closed[:, None, 1:], (len(closed), sides + 1, 1))], axis=-1
    )
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    texture = np.stack(np.broadcast_arrays(angles[None] / (2 * math.pi), lengths[:, None] / lengths[-1]), axis=-1)
    triangles, uv, sides_normals = [], [], []
    for low in range(len(closed) - 1):
        high = low + 1
        rise = closed[high] - closed[low]
        tilt = np.array([rise[1], -rise[0]]) / np.hypot(*rise)
        around = np.concatenate([circle / grow * tilt[0], np.full((sides + 1, 1), tilt[1])], axis=1)
        if closed[low, 0] > 0:
            take = [(low, slice(0, -1)), (low, slice(1, None)), (high, slice(1, None))]
            sides_normals.append(np.stack([around[part] for _, part in take], axis=1))
            triangles.append(np.stack([rings[ring, part] for ring, part in take], axis=1))
            uv.append(np.stack([texture[ring, part] for ring, part in take], axis=1))
        if closed[high, 0] > 0:
            take = [(low, slice(0, -1)), (high, slice(1, None)), (high, slice(0, -1))]
            sides_normals.append(np.stack([around[part] for _, part in take], axis=1))
            triangles.append(np.stack([rings[ring, part] for ring, part in take], axis=1))
            uv.append(np.stack([texture[ring, part] for ring, part in take], axis=1))
    faces = np.concatenate(triangles)
    if not smooth:  # round about the axis, with hard edges between the profile's pieces
        normals = np.concatenate(sides_normals)
    else:
        offset = faces.copy()
        middle = (float(closed[:, 1].min()) + float(closed[:, 1].max())) / 2
        straight = max(float(closed[-1, 1] - closed[0, 1]) / 2 - float(closed[:, 0].max()), 0.0)
        offset[..., 2] -= middle
        offset[..., 2] -= np.clip(offset[..., 2], -straight, straight)
        normals = offset / np.maximum(np.linalg.norm(offset, axis=-1, keepdims=True), 1e-12)
    return MeshPart(faces, np.concatenate(uv), normals=normals)


def _profile_cylinder(radius: float, length: float) -> Points:
    return np.array([[radius, -length / 2], [radius, length / 2]])


def _profile_capsule(radius: float, length: float) -> Points:
    steps = max(segments(radius, True) // 4, 6)
    angles = np.linspace(0.0, math.pi / 2, steps + 1)
    grow = 2.0 / (1.0 + math.cos(math.pi / (4 * steps)))
    arc = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * radius
    arc[1:] *= grow
    arc[-1, 0] = 0.0
    lift = np.array([0.0, length / 2])
    top, bottom = arc + lift, arc[::-1] * (1.0, -1.0) - lift
    return np.concatenate([bottom, top]) if length > 0 else np.concatenate([bottom, top[1:]])


def _plane(geometry: Plane, infinite: bool) -> MeshPart:
    normal = np.array(geometry.normal) / np.linalg.norm(geometry.normal)
    helper = np.array([1.0, 0.0, 0.0]) if abs(normal[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x_axis = helper - normal * float(helper @ normal)
    x_axis /= np.linalg.norm(x_axis)
    sx, sy = (max(s, 200.0) if infinite else s for s in geometry.size)
    half_x, half_y = x_axis * sx / 2, np.cross(normal, x_axis) * sy / 2
    corners = np.array([-half_x - half_y, half_x - half_y, half_x + half_y, -half_x + half_y])
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    order = [[0, 1, 2], [0, 2, 3]]
    return MeshPart(corners[order], uv[order])


def _polyline(geometry: Polyline) -> MeshPart:
    walls, corners = [], []
    for outline in geometry.outlines:
        points = np.array(outline, np.float64)
        if np.allclose(points[0], points[-1]):
            points = points[:-1]
        area = np.sum(points[:, 0] * np.roll(points[:, 1], -1) - points[:, 1] * np.roll(points[:, 0], -1))
        points = points if area > 0 else points[::-1]
        a, b = points, np.roll(points, -1, axis=0)
        (low_a, high_a), (low_b, high_b) = (
            [np.column_stack([ends, np.full(len(ends), z)]) for z in (0.0, geometry.height)] for ends in (a, b)
        )
        walls += [np.stack([low_a, low_b, high_b], axis=1), np.stack([low_a, high_b, high_a], axis=1)]
        corners.append(points)
    flat = _fill(corners)
    for height in (0.0, geometry.height):
        walls.append(np.concatenate([flat, np.full((*flat.shape[:2], 1), height)], axis=-1))
    return MeshPart(np.concatenate(walls))


def _fill(outlines: list[Points]) -> Points:
    """Return triangles (N, 3, 2) of the area between outlines; an outline inside another one is a hole (even-odd rule).

    The area is cut into trapezoids at the height of every corner and crossing, which holds for any outline.
    """
    starts = np.concatenate(outlines)
    ends = np.concatenate([np.roll(outline, -1, axis=0) for outline in outlines])
    levels = np.unique(np.concatenate([starts[:, 1], _crossing_heights(starts, ends)]))
    triangles = []
    for low, high in pairwise(levels):
        middle = (low + high) / 2
        rows = np.flatnonzero((starts[:, 1] > middle) != (ends[:, 1] > middle))
        share = (np.array([[low], [middle], [high]]) - starts[rows, 1]) / (ends[rows, 1] - starts[rows, 1])
        x = starts[rows, 0] + share * (ends[rows, 0] - starts[rows, 0])  # at low, middle and high
        order = np.argsort(x[1])
        for left, right in zip(order[0::2], order[1::2], strict=False):
            quad = np.array([[x[0, left], low], [x[0, right], low], [x[2, right], high], [x[2, left], high]])
            triangles += [quad[[0, 1, 2]], quad[[0, 2, 3]]]
    return np.array(triangles) if triangles else np.empty((0, 3, 2))


def _crossing_heights(starts: Points, ends: Points) -> Points:
    """Return the y of the points where edges cross each other."""
    d = ends - starts
    cross = d[:, None, 0] * d[None, :, 1] - d[:, None, 1] * d[None, :, 0]
    gap = starts[None] - starts[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (gap[..., 0] * d[None, :, 1] - gap[..., 1] * d[None, :, 0]) / cross
        u = (gap[..., 0] * d[:, None, 1] - gap[..., 1] * d[:, None, 0]) / cross
        hit = (t > 0) & (t < 1) & (u > 0) & (u < 1)
        return np.asarray((starts[:, None, 1] + t * d[:, None, 1])[hit])
