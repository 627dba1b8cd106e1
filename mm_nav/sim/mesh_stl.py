"""STL meshes, binary and as text."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from mm_nav.errors import WorldError
from mm_nav.sim.mesh_files import MAX_TRIANGLES, MeshError
from mm_nav.sim.mesh_primitives import MeshPart

_NUMBER = rb"\s+([-+.\deE]+|[-+]?nan|[-+]?inf)"
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("colour", "<u2")])


def read_stl(data: bytes, path: Path) -> list[MeshPart]:
    """Return the part of an STL file.

    Raises WorldError when a binary file's header promises more triangles than the file holds, MeshError when it is
    damaged in another way.
    """
    if data[:80].lstrip()[:5].lower() == b"solid" and b"facet" in data[:4096].lower():
        return _read_text(data, path)
    if len(data) < 84:
        raise MeshError(f"{path}: {len(data)} bytes is too short for an STL file: export it again")
    (count,) = struct.unpack_from("<I", data, 80)
    if 84 + 50 * count > len(data):
        raise WorldError(
            f"{path}: its header promises {count} triangles but the file holds {(len(data) - 84) // 50}: "
            "it is damaged, export it again"
        )
    if count > MAX_TRIANGLES:
        raise MeshError(f"{path}: has {count} triangles, more than {MAX_TRIANGLES}: simplify the mesh")
    records = np.frombuffer(data, _RECORD, count, 84)
    return [MeshPart(records["corners"].astype(np.float64))]


def _read_text(data: bytes, path: Path) -> list[MeshPart]:
    found = re.findall(rb"vertex" + 3 * _NUMBER, data, flags=re.IGNORECASE)
    if len(found) % 3:
        raise MeshError(f"{path}: has {len(found)} vertices, not three for each facet: export it again")
    try:
        values = np.array(found, np.bytes_).astype(np.float64) if found else np.empty((0, 3))
    except ValueError as error:
        raise MeshError(f"{path}: a vertex is not three numbers ({error}): export it again") from error
    return [MeshPart(values.reshape(-1, 3, 3))]
