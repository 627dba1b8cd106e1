"""Bodies that move: their triangles are built anew for every pose, beside the scene that stands still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mm_nav.sim.layer import Hits, Layer
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.scene import Scene
from mm_nav.sim.surface import Floats, Piece, build_surface

Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
PoseSource = Callable[[], Matrix]


@dataclass(frozen=True)
class Segment:
    """A rigid part of a body, such as a person's leg. parts: in the segment's own frame, metres."""

    parts: tuple[MeshPart, ...]


class Surroundings(Protocol):
    """All that moves around one robot."""

    @property
    def moving(self) -> MovingBodies:
        """What its sensors see of it, where it is now."""

    def touching(self, footprint: Matrix) -> str | None:
        """Return the name of what a footprint (K, 2), world, metres, overlaps; None = nothing."""


class MovingBodies:
    """Bodies of one or more segments. `move` sets where they are; rays then meet them there.

    names: one for each body; body i has the model index len(scene.model_names) + i.
    """

    def __init__(self, scene: Scene, bodies: Sequence[tuple[str, Sequence[Segment]]], poses: PoseSource) -> None:
        """poses: gives the pose (4, 4) in the world of every segment, in order; asked for when a ray comes near."""
        self.names = [name for name, _ in bodies]
        self._world, self._poses = scene.world, poses
        pieces: list[Piece] = []
        owner: list[int] = []
        for index, (_, segments) in enumerate(bodies):
            for segment in segments:
                pieces += [Piece(part, len(owner)) for part in segment.parts]
                owner.append(index)
        at_rest = build_surface(pieces, scene.atlas)
        self._segment = at_rest.model
        body = np.array(owner, np.int32)[self._segment]
        self._rest = replace(at_rest, model=body + np.int32(len(scene.model_names)))
        self._smooth = np.flatnonzero(at_rest.smooth_row >= 0)
        self._layer: Layer | None = None
        self._centres, self._radii = np.empty((0, 3), np.float32), np.empty(0, np.float32)

    def move(self, centres: Matrix, radii: Matrix) -> None:
        """Say that bodies have moved: spheres that hold them, centres (B, 3) in the world and radii (B,), metres."""
        self._centres, self._radii = centres.astype(np.float32), radii.astype(np.float32)
        self._layer = None

    @property
    def layer(self) -> Layer:
        """The triangles where they are now."""
        if self._layer is None:
            rest, poses = self._rest, self._poses()
            rotation = poses[self._segment, :3, :3].astype(np.float32)
            turned = np.swapaxes(rotation, 1, 2)
            triangles = rest.triangles @ turned + poses[self._segment, None, :3, 3].astype(np.float32)
            normals = np.einsum("nij,nj->ni", rotation, rest.normals)
            smooth = rest.smooth_normals @ turned[self._smooth]
            self._layer = Layer(replace(rest, triangles=triangles, normals=normals, smooth_normals=smooth), self._world)
        return self._layer

    def _candidates(self, origins: Floats, directions: Floats, distance: Floats, common: bool) -> Rows:
        """Return the rays that enter a body's sphere before `distance`. common: all rays start at one point."""
        square = np.einsum("ij,ij->i", directions, directions)[:, None]
        if common:
            offset = self._centres - origins[:1]
            along = directions @ offset.T
            room = np.einsum("ij,ij->i", offset, offset) - self._radii**2
        else:
            apart = self._centres[None] - origins[:, None]
            along = np.einsum("nj,naj->na", directions, apart)
            room = np.einsum("naj,naj->na", apart, apart) - self._radii**2
        through = (room <= 0) | ((along > 0) & (along**2 >= square * room))
        with np.errstate(invalid="ignore"):
            before = along - self._radii * np.sqrt(square) < distance[:, None] * square
        return np.flatnonzero((through & before).any(axis=1))

    def hits_before(
        self, origins: Floats, directions: Floats, distance: Floats, common: bool = True
    ) -> tuple[Rows, Hits | None]:
        """Return the rows of the rays (N, 3) that meet a body before `distance` (N,), and those hits (None: no row)."""
        rows = self._candidates(origins, directions, distance, common)
        if not len(rows):
            return rows, None
        hits = self.layer.intersect(np.ascontiguousarray(origins[rows]), np.ascontiguousarray(directions[rows]))
        nearer = np.flatnonzero(hits.distance < distance[rows])
        return rows[nearer], hits.take(nearer)

    def nearest(self, origins: Floats, directions: Floats, distance: Floats, common: bool = True) -> Floats:
        """Return `distance` (N,), shortened where a body stands before it."""
        rows = self._candidates(origins, directions, distance, common)
        if len(rows):
            near = self.layer.distances(np.ascontiguousarray(origins[rows]), np.ascontiguousarray(directions[rows]))
            distance[rows] = np.minimum(distance[rows], near)
        return distance
