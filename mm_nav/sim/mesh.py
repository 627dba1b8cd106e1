"""Mesh files (COLLADA, OBJ, STL, GLB/glTF, PLY) as triangles in metres, with their colours and textures."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Image, Material
from mm_nav.sim.mesh_collada import read_collada
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf_resources import MAX_MESH_BYTES

SUFFIXES = (".dae", ".obj", ".stl", ".glb", ".gltf", ".ply")

logging.getLogger("trimesh").setLevel(logging.ERROR)  # its warnings about odd files are answered by WorldError here


def read_mesh(
    path: Path, texture: Callable[[str], Image | None], sibling: Callable[[str], Path | None]
) -> list[MeshPart]:
    """Return the parts of a mesh file in its own axes, metres.

    texture: finds a picture by the name in the mesh. sibling: finds another file (OBJ's .mtl, glTF's .bin) and
    refuses what lies outside the search paths. Raises WorldError when the file is too large, damaged or of an unknown
    kind.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WorldError(f"{path}: meshes of type '{suffix}' are not read, {', '.join(SUFFIXES)} are: convert the mesh")
    try:
        size = path.stat().st_size
        if size > MAX_MESH_BYTES:
            raise WorldError(f"{path}: {size} bytes is more than {MAX_MESH_BYTES}: simplify the mesh")
        if suffix == ".dae":
            return read_collada(path, texture)
        data = path.read_bytes()
    except OSError as error:
        raise WorldError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from error
    if suffix == ".stl":
        _check_stl(data, path)
    if suffix == ".glb":
        _check_glb(data, path)
    try:
        loaded = trimesh.load_scene(
            io.BytesIO(data), file_type=suffix[1:], resolver=_Resolver(sibling), skip_materials=False
        )
        parts = [_part(geometry, name) for name, geometry in _placed(loaded)]
    except WorldError:
        raise
    except Exception as error:  # a damaged file makes trimesh raise almost anything
        raise WorldError(
            f"{path}: the mesh cannot be read ({type(error).__name__}: {str(error)[:120]}): export it again"
        ) from error
    parts = [part for part in parts if len(part.triangles)]
    if not all(np.all(np.isfinite(part.triangles)) for part in parts):
        raise WorldError(f"{path}: the mesh holds vertices that are not finite: export it again")
    return parts


def _check_stl(data: bytes, path: Path) -> None:
    """Refuse a binary STL whose header promises more triangles than the file holds (they would be allocated first)."""
    if data[:5].lower() == b"solid" and b"facet" in data[:2048]:
        return
    if len(data) < 84:
        raise WorldError(f"{path}: {len(data)} bytes is too short for an STL file: export it again")
    (count,) = struct.unpack_from("<I", data, 80)
    if 84 + 50 * count > len(data):
        raise WorldError(
            f"{path}: its header promises {count} triangles but the file holds {(len(data) - 84) // 50}: "
            "it is damaged, export it again"
        )


def _check_glb(data: bytes, path: Path) -> None:
    """Refuse a GLB whose header or first chunk promises more bytes than the file holds."""
    if len(data) < 20 or data[:4] != b"glTF":
        raise WorldError(f"{path}: is not a binary glTF 2.0 file: export it again")
    _, length, chunk = struct.unpack_from("<III", data, 4)
    if length > len(data) or 20 + chunk > len(data):
        raise WorldError(
            f"{path}: its header promises {max(length, 20 + chunk)} bytes but the file holds {len(data)}: "
            "it is damaged, export it again"
        )


class _Resolver:
    """Gives trimesh the files that a mesh refers to, and nothing outside the search paths."""

    def __init__(self, sibling: Callable[[str], Path | None]) -> None:
        self._sibling = sibling

    def get(self, name: str) -> bytes:
        found = self._sibling(name)
        if found is None or found.stat().st_size > MAX_MESH_BYTES:
            raise FileNotFoundError(name)
        return found.read_bytes()

    __getitem__ = get

    def __contains__(self, name: str) -> bool:
        return self._sibling(name) is not None

    def write(self, name: str, data: Any) -> None:
        raise PermissionError("meshes are only read")

    def namespaced(self, namespace: str) -> _Resolver:
        return _Resolver(partial(_join, self._sibling, namespace))

    def keys(self) -> list[str]:
        return []


def _join(sibling: Callable[[str], Path | None], namespace: str, name: str) -> Path | None:
    return sibling(f"{namespace}/{name}")


def _placed(scene: Any) -> list[tuple[str, Any]]:
    placed = []
    for node in sorted(scene.graph.nodes_geometry, key=str):  # trimesh gives them in no fixed order
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        if isinstance(geometry, trimesh.Trimesh):
            copy = geometry.copy()
            copy.apply_transform(matrix)
            placed.append((str(node), copy))
    return placed


def _part(mesh: Any, name: str) -> MeshPart:
    triangles = np.asarray(mesh.triangles, np.float64)
    uv = getattr(mesh.visual, "uv", None)
    material = _material(mesh)
    coordinates = (
        np.asarray(uv, np.float64)[mesh.faces][..., :2] if uv is not None and len(uv) == len(mesh.vertices) else None
    )
    return MeshPart(triangles, coordinates, material, name)


def _material(mesh: Any) -> Material | None:
    source = getattr(mesh.visual, "material", None)
    if source is None:
        if mesh.visual.kind in ("vertex", "face"):
            colour = np.asarray(mesh.visual.main_color, np.float64)[:3] / 255.0
            return Material((float(colour[0]), float(colour[1]), float(colour[2])))
        return None
    image = getattr(source, "baseColorTexture", None) or getattr(source, "image", None)
    factor = getattr(source, "baseColorFactor", None)
    colour = np.asarray(factor if factor is not None else source.main_color, np.float64)[:3]
    if factor is None or np.asarray(factor).dtype.kind in "ui" or np.max(colour) > 1.0:
        colour = colour / 255.0
    texture = np.asarray(image.convert("RGB"), np.uint8) if image is not None else None
    if texture is not None and factor is None:
        colour = np.ones(3)
    return Material((float(colour[0]), float(colour[1]), float(colour[2])), texture=texture)
