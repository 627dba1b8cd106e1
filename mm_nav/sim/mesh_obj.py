"""Wavefront OBJ meshes with their .mtl materials, objects and groups (the names that SDF's <submesh> means)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_nav.sim.materials import Colour, Material
from mm_nav.sim.mesh_files import MAX_TRIANGLES, MeshError, MeshFiles, floats, unit_normals
from mm_nav.sim.mesh_primitives import MeshPart

Floats = npt.NDArray[np.float64]


@dataclass
class _Arrays:
    vertices: Floats
    colours: Floats | None
    uv: Floats
    normals: Floats


def read_obj(data: bytes, path: Path, files: MeshFiles) -> list[MeshPart]:
    """Return the parts of an OBJ file, one for each object and material. Raises MeshError for indices that point
    nowhere and numbers that are none.
    """
    lines = data.decode("utf-8", "replace").replace("\\\r\n", " ").replace("\\\n", " ").splitlines()
    rows: dict[str, list[str]] = {"v": [], "vt": [], "vn": []}
    corners: dict[tuple[str, str], list[str]] = {}
    materials: dict[str, Material] = {}
    name = material = ""
    bucket = corners.setdefault((name, material), [])
    for line in lines:
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        if key in rows:
            rows[key].append(rest)
        elif key == "f":
            face = rest.split()
            if "-" in rest:
                face = [_absolute(corner, [len(rows[k]) for k in ("v", "vt", "vn")], path) for corner in face]
            for index in range(1, len(face) - 1):
                bucket += (face[0], face[index], face[index + 1])
        elif key in ("o", "g", "usemtl"):
            if key == "usemtl":
                material = rest.strip()
            else:
                name = rest.strip()
            bucket = corners.setdefault((name, material), [])
        elif key == "mtllib":
            materials.update(_read_library(rest.strip(), files))
    if sum(len(entries) for entries in corners.values()) > 3 * MAX_TRIANGLES:
        raise MeshError(f"{path}: has more than {MAX_TRIANGLES} triangles: simplify the mesh")
    vertices = _table(rows["v"], (3, 4, 6, 7), f"{path}: v")
    colours = vertices[:, -3:] if vertices.shape[1] >= 6 else None
    arrays = _Arrays(
        vertices[:, :3],
        colours,
        _table(rows["vt"], (2, 3, 1), f"{path}: vt"),
        _table(rows["vn"], (3,), f"{path}: vn"),
    )
    return [
        _part(entries, arrays, label, materials.get(used), path)
        for (label, used), entries in corners.items()
        if entries
    ]


def _table(rows: Sequence[str], widths: tuple[int, ...], what: str) -> Floats:
    """Return rows of numbers (N, width); the width is that of the first row."""
    if not rows:
        return np.empty((0, widths[0]))
    width = len(rows[0].split())
    values = floats(" ".join(rows), what)
    if width in widths and len(values) == width * len(rows):
        return values.reshape(-1, width)
    short = [row.split()[: widths[0]] for row in rows]
    if any(len(row) < widths[0] for row in short):
        raise MeshError(f"{what} lines have fewer than {widths[0]} numbers: export the mesh again")
    return floats(" ".join(" ".join(row) for row in short), what).reshape(-1, widths[0])


def _absolute(corner: str, counts: list[int], path: Path) -> str:
    """Turn indices counted back from the latest line (-1) into ones counted from the first."""
    try:
        numbers = [int(part) if part else 0 for part in corner.split("/")]
    except ValueError as error:
        raise MeshError(f"{path}: '{corner[:40]}' is no corner of a face: export the mesh again") from error
    return "/".join(str(n + count + 1 if n < 0 else n) for n, count in zip(numbers, counts, strict=False))


def _indices(corners: list[str], path: Path) -> npt.NDArray[np.int64]:
    """Return (N, 3) vertex, texture and normal indices from 0; -1 = none."""
    try:
        shape = {corner.count("/") for corner in corners}
        if len(shape) == 1:
            text = "/".join(corners).replace("//", "/0/").rstrip("/")
            found = np.array(text.split("/"), np.int64).reshape(len(corners), -1)
        else:
            split = [[int(part or 0) for part in corner.split("/")] for corner in corners]
            found = np.array([[*row, 0, 0][:3] for row in split], np.int64)
    except (ValueError, OverflowError) as error:
        raise MeshError(f"{path}: a face has corners that are no numbers ({error}): export it again") from error
    return np.pad(found[:, :3], ((0, 0), (0, 3 - min(found.shape[1], 3)))) - 1


def _part(corners: list[str], arrays: _Arrays, name: str, material: Material | None, path: Path) -> MeshPart:
    index = _indices(corners, path)
    vertex = index[:, 0]
    if vertex.min() < 0 or vertex.max() >= len(arrays.vertices):
        raise MeshError(
            f"{path}: a face names vertex {int(vertex.max()) + 1} of {len(arrays.vertices)}: export the mesh again"
        )

    def corner_values(values: Floats, column: int, width: int) -> Floats | None:
        rows = index[:, column]
        known = len(values) and values.shape[1] >= width and rows.min() >= 0 and rows.max() < len(values)
        return values[rows, :width].reshape(-1, 3, width) if known else None

    normals = corner_values(arrays.normals, 2, 3)
    if material is None and arrays.colours is not None:
        red, green, blue = np.clip(arrays.colours[vertex].mean(axis=0), 0.0, 1.0)
        material = Material((float(red), float(green), float(blue)))
    return MeshPart(
        arrays.vertices[vertex].reshape(-1, 3, 3),
        corner_values(arrays.uv, 1, 2),
        material,
        name,
        unit_normals(normals) if normals is not None else None,
    )


def _read_library(names: str, files: MeshFiles) -> dict[str, Material]:
    """Return the materials of an mtllib line: one name with spaces, or several."""
    found: dict[str, Material] = {}
    for name in dict.fromkeys((names, *names.split())):
        path = files.file(name)
        if path is not None and path.stat().st_size < 16_000_000:
            found.update(_parse_library(path.read_text(errors="replace"), files))
            if name == names:
                break
    return found


def _parse_library(text: str, files: MeshFiles) -> dict[str, Material]:
    found: dict[str, Material] = {}
    for block in ("\n" + text).replace("\r", "\n").replace("\nnewmtl\t", "\nnewmtl ").split("\nnewmtl ")[1:]:
        name, *lines = block.split("\n")
        diffuse: Colour = (0.7, 0.7, 0.7)
        emissive: Colour = (0.0, 0.0, 0.0)
        picture = cut = ""
        opacity = 1.0
        for line in lines:
            key, _, rest = line.strip().replace("\t", " ").partition(" ")
            if key == "Kd":
                diffuse = _colour(rest, diffuse)
            elif key == "Ke":
                emissive = _colour(rest, emissive)
            elif key in ("d", "Tr"):
                value = _colour(rest.split()[-1] if rest.split() else "", (1.0, 1.0, 1.0))[0]
                opacity = value if key == "d" else 1.0 - value
            elif key == "map_Kd":
                picture = _map_name(rest)
            elif key == "map_d":
                cut = _map_name(rest)
        image = files.texture(picture) if picture else None
        found[name.strip()] = Material(
            (1.0, 1.0, 1.0) if image is not None else diffuse,
            emissive,
            image,
            # Some exporters mix the two up: a wholly transparent material is not meant.
            opacity if opacity > 0 else 1.0,
            files.alpha(cut) if cut else None,
        )
    return found


def _colour(text: str, default: Colour) -> Colour:
    try:
        values = [min(max(float(part), 0.0), 1.0) for part in text.split()[:3]]
    except ValueError:
        return default
    return (values[0], values[1], values[2]) if len(values) == 3 else (values[0],) * 3 if values else default


def _map_name(text: str) -> str:
    """Return the file name of a map line without its options (-s 1 1 1, -bm 0.5, -clamp on)."""
    words = text.split()
    while words and words[0].startswith("-") and len(words) > 1:
        words.pop(0)
        while len(words) > 1 and _is_option_value(words[0]):
            words.pop(0)
    return " ".join(words)


def _is_option_value(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return word in ("on", "off")
    return True
