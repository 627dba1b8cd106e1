"""Mesh files (COLLADA, OBJ, STL, GLB/glTF) as triangles in metres, with their colours and textures."""

from __future__ import annotations

from pathlib import Path

from mm_nav.errors import WorldError
from mm_nav.sim.mesh_collada import read_collada
from mm_nav.sim.mesh_files import MeshError, MeshFiles, finite_parts
from mm_nav.sim.mesh_gltf import read_gltf
from mm_nav.sim.mesh_obj import read_obj
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.mesh_stl import read_stl
from mm_nav.sim.sdf_resources import MAX_MESH_BYTES

SUFFIXES = (".dae", ".obj", ".stl", ".stla", ".stlb", ".glb", ".gltf")
_LARGE_FILE_STORE = b"version https://git-lfs"


def read_mesh(path: Path, files: MeshFiles) -> list[MeshPart]:
    """Return the parts of a mesh file in its own axes, metres; at least one triangle.

    files: finds the textures and other files of the mesh. Raises WorldError when the file is too large, promises more
    than it holds or declares XML entities; MeshError when it is damaged, empty or of an unknown kind.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MeshError(f"{path}: meshes of type '{suffix}' are not read, {', '.join(SUFFIXES)} are: convert the mesh")
    try:
        size = path.stat().st_size
        if size > MAX_MESH_BYTES:
            raise WorldError(f"{path}: {size} bytes is more than {MAX_MESH_BYTES}: simplify the mesh")
        data = path.read_bytes()
    except OSError as error:
        raise MeshError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from error
    if data.startswith(_LARGE_FILE_STORE):
        raise MeshError(f"{path}: is a pointer to a file in Git's large file storage: fetch it with 'git lfs pull'")
    try:
        if suffix == ".dae":
            parts = read_collada(data, path, files)
        elif suffix == ".obj":
            parts = read_obj(data, path, files)
        elif suffix in (".glb", ".gltf"):
            parts = read_gltf(data, path, files)
        else:
            parts = read_stl(data, path)
    except MemoryError as error:
        raise MeshError(f"{path}: does not fit into memory: simplify the mesh") from error
    parts = finite_parts(parts)
    if not parts:
        raise MeshError(f"{path}: holds no triangles: export the mesh again")
    return parts
