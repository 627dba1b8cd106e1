"""glTF 2.0 meshes (.glb, .gltf): node transforms, materials, embedded pictures. Axes stay as they are, as in Gazebo."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Image, Material, decode_alpha, decode_texture
from mm_nav.sim.mesh_files import MAX_TRIANGLES, MeshError, MeshFiles, unit_normals
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf_resources import MAX_MESH_BYTES

Floats = npt.NDArray[np.float64]

_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_MAX_DEPTH, _MAX_NODES = 64, 100_000


def read_gltf(data: bytes, path: Path, files: MeshFiles) -> list[MeshPart]:
    """Return the parts of a glTF file, one for each primitive of each placed mesh, in metres.

    Raises WorldError when a GLB's header promises more bytes than the file holds, MeshError when the file is damaged or
    compressed (Draco, meshopt).
    """
    text, binary = _chunks(data, path) if path.suffix.lower() == ".glb" else (data, b"")
    try:
        document = json.loads(text)
        return _Reader(document, binary, path, files).parts()
    except WorldError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise MeshError(f"{path}: its glTF data contradict each other ({error}): export the mesh again") from error


def _chunks(data: bytes, path: Path) -> tuple[bytes, bytes]:
    if len(data) < 20 or data[:4] != b"glTF":
        raise MeshError(f"{path}: is not a binary glTF 2.0 file: export it again")
    _, length, first = struct.unpack_from("<III", data, 4)
    if length > len(data) or 20 + first > len(data):
        raise WorldError(
            f"{path}: its header promises {max(length, 20 + first)} bytes but the file holds {len(data)}: "
            "it is damaged, export it again"
        )
    found: dict[int, bytes] = {}
    at = 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", data, at)
        if at + 8 + size > len(data):
            raise WorldError(f"{path}: a chunk promises {size} bytes, more than the file holds: export it again")
        found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + (size + 3) // 4 * 4
    return found.get(_JSON_CHUNK, b""), found.get(_BINARY_CHUNK, b"")


class _Reader:
    def __init__(self, document: dict[str, Any], binary: bytes, path: Path, files: MeshFiles) -> None:
        self.document, self.binary, self.path, self.files = document, binary, path, files
        self.buffers: dict[int, bytes] = {}
        self.images: dict[int, Image | None] = {}
        self.materials: dict[int, Material] = {}
        self.meshes: dict[int, list[MeshPart]] = {}
        self.found: list[MeshPart] = []
        self.visited = self.count = 0

    def parts(self) -> list[MeshPart]:
        compressed = [name for name in self.document.get("extensionsRequired", []) if "compression" in str(name)]
        if compressed:
            raise MeshError(
                f"{self.path}: is compressed ({compressed[0]}), which is not read: export without compression"
            )
        nodes, scenes = self.document.get("nodes", []), self.document.get("scenes", [])
        if scenes:
            roots = scenes[self.document.get("scene", 0)].get("nodes", [])
        else:
            roots = sorted(set(range(len(nodes))) - {c for node in nodes for c in node.get("children", [])})
        for root in roots:
            self.visit(root, np.eye(4), "", 0)
        return self.found

    def visit(self, index: int, parent: Floats, name: str, depth: int) -> None:
        self.visited += 1
        if depth > _MAX_DEPTH or self.visited > _MAX_NODES:
            raise MeshError(f"{self.path}: its nodes are nested too deep or hold each other: export the mesh again")
        node = self.document["nodes"][index]
        pose = parent @ _node_transform(node)
        name = str(node.get("name") or name)
        if "mesh" in node:
            for part in self.mesh(int(node["mesh"])):
                placed = part.transformed(pose)
                self.count += len(placed.triangles)
                if self.count > MAX_TRIANGLES:
                    raise MeshError(f"{self.path}: has more than {MAX_TRIANGLES} triangles: simplify the mesh")
                label = name or part.name
                self.found.append(MeshPart(placed.triangles, placed.uv, placed.material, label, placed.normals))
        for child in node.get("children", []):
            self.visit(int(child), pose, name, depth + 1)

    def mesh(self, index: int) -> list[MeshPart]:
        if index not in self.meshes:
            mesh = self.document["meshes"][index]
            parts = [self.primitive(primitive, str(mesh.get("name", ""))) for primitive in mesh["primitives"]]
            self.meshes[index] = [part for part in parts if part is not None]
        return self.meshes[index]

    def primitive(self, primitive: dict[str, Any], name: str) -> MeshPart | None:
        attributes, mode = primitive.get("attributes", {}), primitive.get("mode", 4)
        if mode not in (4, 5, 6) or "POSITION" not in attributes:
            return None
        positions = self.accessor(attributes["POSITION"])
        if "indices" in primitive:
            order = self.accessor(primitive["indices"])[:, 0].astype(np.int64)
        else:
            order = np.arange(len(positions))
        corners = _triangle_corners(order, mode)
        if not len(corners):
            return None
        if corners.max() >= len(positions):
            raise MeshError(f"{self.path}: an index is {corners.max()}, but there are {len(positions)} vertices")
        source = self.document.get("materials", [{}])[primitive["material"]] if "material" in primitive else {}
        material = self.material(int(primitive["material"])) if "material" in primitive else None
        if "COLOR_0" in attributes:
            tint = self.accessor(attributes["COLOR_0"])[:, :3][corners.ravel()].mean(axis=0)
            material = material or Material((1.0, 1.0, 1.0))
            red, green, blue = (float(v) for v in np.clip(tint * material.diffuse, 0.0, 1.0))
            material = Material(
                (red, green, blue), material.emissive, material.texture, material.opacity, material.alpha
            )
        normals = self.accessor(attributes["NORMAL"]) if "NORMAL" in attributes else None
        return MeshPart(
            positions[corners],
            self.coordinates(attributes, source, corners),
            material,
            name,
            unit_normals(normals[corners]) if normals is not None and len(normals) == len(positions) else None,
        )

    def coordinates(
        self, attributes: dict[str, Any], material: dict[str, Any], corners: npt.NDArray[np.int64]
    ) -> Floats | None:
        """Return texture coordinates with v upwards; glTF counts it downwards."""
        use = material.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
        change = use.get("extensions", {}).get("KHR_texture_transform", {})
        name = f"TEXCOORD_{change.get('texCoord', use.get('texCoord', 0))}"
        if name not in attributes:
            return None
        uv = self.accessor(attributes[name])[:, :2]
        turn = float(change.get("rotation", 0.0))
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        uv = (uv * change.get("scale", (1, 1))) @ rotation.T + change.get("offset", (0, 0))
        return np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)[corners]

    def accessor(self, index: int) -> Floats:
        """Return the values (count, width) of an accessor as float64, normalised integers in [-1, 1]."""
        entry = self.document["accessors"][index]
        count, kind = int(entry["count"]), np.dtype(_TYPES[entry["componentType"]]).newbyteorder("<")
        width = _WIDTHS[entry["type"]]
        if "bufferView" not in entry or "sparse" in entry:
            raise MeshError(f"{self.path}: has sparse accessors, which are not read: export the mesh again")
        view = self.document["bufferViews"][entry["bufferView"]]
        data = self.view(view)
        start, stride = int(entry.get("byteOffset", 0)), int(view.get("byteStride") or width * kind.itemsize)
        if count < 0 or start < 0 or stride < 1:
            raise MeshError(f"{self.path}: accessor {index} has a negative size: export the mesh again")
        if count and start + stride * (count - 1) + width * kind.itemsize > len(data):
            raise MeshError(
                f"{self.path}: accessor {index} promises {count} values, more than its {len(data)} bytes hold: "
                "export the mesh again"
            )
        raw = np.ndarray((count, width), kind, data, start, (stride, kind.itemsize)) if count else np.empty((0, width))
        values = raw.astype(np.float64)
        if entry.get("normalized") and kind.kind in "iu":
            values = np.maximum(values / float(2 ** (8 * kind.itemsize - (kind.kind == "i")) - 1), -1.0)
        return values

    def view(self, view: dict[str, Any]) -> bytes:
        data = self.buffer(int(view["buffer"]))
        start, size = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if start < 0 or size < 0 or start + size > len(data):
            raise MeshError(f"{self.path}: a view of {size} bytes leaves its buffer of {len(data)}: export it again")
        return data[start : start + size]

    def buffer(self, index: int) -> bytes:
        if index not in self.buffers:
            uri = self.document["buffers"][index].get("uri")
            self.buffers[index] = self.binary if uri is None else self.load(str(uri))
        return self.buffers[index]

    def load(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        found = self.files.file(unquote(uri))
        if found is None or found.stat().st_size > MAX_MESH_BYTES:
            raise MeshError(f"{self.path}: its buffer '{uri[:80]}' was not found: put it beside the mesh")
        return found.read_bytes()

    def material(self, index: int) -> Material:
        if index not in self.materials:
            self.materials[index] = self.read_material(self.document["materials"][index])
        return self.materials[index]

    def read_material(self, entry: dict[str, Any]) -> Material:
        old = entry.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
        surface = entry.get("pbrMetallicRoughness", {})
        factor = [float(v) for v in surface.get("baseColorFactor") or old.get("diffuseFactor") or (1, 1, 1, 1)]
        use = surface.get("baseColorTexture") or old.get("diffuseTexture")
        mode = entry.get("alphaMode", "OPAQUE")
        image = alpha = None
        if use is not None:
            texture = self.document["textures"][use["index"]]
            source = texture.get("source", texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source"))
            if source is not None:
                image = self.image(int(source))
                alpha = self.alpha(int(source)) if mode != "OPAQUE" else None
        emissive = [min(float(v), 1.0) for v in entry.get("emissiveFactor", (0, 0, 0))]
        if "emissiveTexture" in entry:  # only some of the surface glows, and which part is not followed
            emissive = [0.0, 0.0, 0.0]
        return Material(
            (factor[0], factor[1], factor[2]),
            (emissive[0], emissive[1], emissive[2]),
            image,
            factor[3] if mode == "BLEND" else 1.0,
            alpha,
        )

    def image(self, index: int) -> Image | None:
        if index not in self.images:
            entry = self.document["images"][index]
            uri = str(entry.get("uri", ""))
            if uri and not uri.startswith("data:"):
                self.images[index] = self.files.texture(unquote(uri))
            else:
                self.images[index] = decode_texture(self.picture(entry))
        return self.images[index]

    def alpha(self, index: int) -> Image | None:
        entry = self.document["images"][index]
        uri = str(entry.get("uri", ""))
        if uri and not uri.startswith("data:"):
            return self.files.alpha(unquote(uri))
        return decode_alpha(self.picture(entry))

    def picture(self, entry: dict[str, Any]) -> npt.NDArray[np.uint8]:
        uri = entry.get("uri")
        data = self.load(str(uri)) if uri else self.view(self.document["bufferViews"][entry["bufferView"]])
        return np.frombuffer(data, np.uint8)


def _node_transform(node: dict[str, Any]) -> Floats:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = (float(v) for v in node.get("rotation", (0, 0, 0, 1)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ) * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _triangle_corners(order: npt.NDArray[np.int64], mode: int) -> npt.NDArray[np.int64]:
    """Return (N, 3) vertex indices of a triangle list (4), strip (5) or fan (6)."""
    if mode == 4:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    index = np.arange(max(len(order) - 2, 0))
    if mode == 5:
        odd = index % 2
        return order[np.stack([index, index + 1 + odd, index + 2 - odd], axis=-1)]
    return order[np.stack([np.zeros_like(index), index + 1, index + 2], axis=-1)]
