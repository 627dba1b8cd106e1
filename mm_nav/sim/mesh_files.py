"""What the mesh readers share: the error of a mesh that cannot be used, and the files beside a mesh."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Image
from mm_nav.sim.mesh_primitives import MeshPart

_Number = TypeVar("_Number", np.float64, np.int64)

MAX_TRIANGLES = 20_000_000  # of one mesh file; 1.5 GB as float64


class MeshError(WorldError):
    """A mesh that cannot be used. The world is loaded without it and lists it; a hostile mesh is a plain WorldError."""


class MeshFiles(Protocol):
    """Finds what a mesh file refers to, inside the search paths only."""

    def texture(self, name: str) -> Image | None:
        """Return a picture (H, W, 3) by the name written in the mesh, or None (and list it as missing)."""

    def alpha(self, name: str) -> Image | None:
        """Return the opacity (H, W) of such a picture, or None when it has none."""

    def file(self, name: str) -> Path | None:
        """Return another file of the mesh (an .mtl, a .bin), or None."""


def floats(text: str, what: str) -> npt.NDArray[np.float64]:
    """Return whitespace-separated numbers (N,); NaN and INF, which exporters write, are let pass."""
    try:
        return _parsed(text, np.float64)
    except ValueError as error:
        raise MeshError(f"{what}: '{text[:60].strip()}' is not a list of numbers: export the mesh again") from error


def integers(text: str) -> npt.NDArray[np.int64]:
    """Return whitespace-separated whole numbers (N,); raises ValueError for anything else."""
    return _parsed(text, np.int64)


def _parsed(text: str, kind: type[_Number]) -> npt.NDArray[_Number]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # older NumPy's way to say that it stopped half-way
            return np.fromstring(text, kind, sep=" ")  # whole numbers seven times faster than by way of split()
    except (ValueError, DeprecationWarning):
        return np.array(text.split(), kind)


def finite_parts(parts: list[MeshPart]) -> list[MeshPart]:
    """Return the parts without triangles that have a corner nowhere (NaN, infinite or farther than 10,000 km)."""
    found = []
    for part in parts:
        good = np.all(np.abs(part.triangles) < 1e7, axis=(1, 2))
        if good.all():
            found.append(part)
        else:
            uv = part.uv[good] if part.uv is not None else None
            normals = part.normals[good] if part.normals is not None else None
            found.append(MeshPart(part.triangles[good], uv, part.material, part.name, normals))
    return [part for part in found if len(part.triangles)]


def unit_normals(normals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return normals (..., 3) of length 1; zeros where a normal is not finite or has no length."""
    clean = np.nan_to_num(normals, posinf=0.0, neginf=0.0)
    return np.asarray(clean / np.maximum(np.linalg.norm(clean, axis=-1, keepdims=True), 1e-12))
