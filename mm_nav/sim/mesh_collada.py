"""COLLADA (.dae) meshes as Gazebo reads them: node transforms, <unit meter>, diffuse colours and textures.

Gazebo does not turn meshes by <up_axis> (gz-common, ColladaLoader), and worlds are built on that: TurtleBot3 World's
meshes say Y_UP and hold z-up vertices. So neither does this reader.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Colour, Image, Material
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf import numbers
from mm_nav.sim.sdf_xml import read_xml

_MAX_DEPTH = 64


def read_collada(path: Path, texture: Callable[[str], Image | None]) -> list[MeshPart]:
    """Return the triangles of a COLLADA file in metres, one part for each material of each placed geometry.

    texture: finds a picture by the file name written in the mesh. Raises WorldError when the file is no COLLADA or its
    arrays contradict each other.
    """
    root = read_xml(path)
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    if root.tag != "COLLADA":
        raise WorldError(f"{path}: the root element is <{root.tag}>, not <COLLADA>: give a COLLADA 1.4 file")
    try:
        return _Reader(root, path, texture).parts()
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise WorldError(f"{path}: its COLLADA arrays cannot be read ({error}): export the mesh again") from error


class _Reader:
    def __init__(self, root: Element, path: Path, texture: Callable[[str], Image | None]) -> None:
        self.root, self.path, self.texture = root, path, texture
        # Exporters give a scene and its node the same id, so an id counts only together with its tag.
        self.ids = {(str(e.tag), str(e.get("id"))): e for e in root.iter() if e.get("id")}
        self.materials: dict[str, Material | None] = {}
        self.geometries: dict[str, list[tuple[str, MeshPart]]] = {}
        self.found: list[MeshPart] = []

    def target(self, url: str | None, *tags: str) -> Element | None:
        name = (url or "").removeprefix("#")  # 3ds Max writes names that hold a "#" themselves
        return next((self.ids[tag, name] for tag in tags if (tag, name) in self.ids), None)

    def parts(self) -> list[MeshPart]:
        unit = self.root.find("asset/unit")
        meter = float(unit.get("meter") or 1.0) if unit is not None else 1.0
        instance = self.root.find("scene/instance_visual_scene")
        scene = self.target(instance.get("url"), "visual_scene") if instance is not None else None
        if scene is None:
            scene = self.root.find("library_visual_scenes/visual_scene")
        if scene is not None:
            for node in scene.findall("node"):
                self.visit(node, np.eye(4), "", 0)
        scale = np.diag([meter, meter, meter, 1.0])
        return [part.transformed(scale) for part in self.found]

    def visit(self, node: Element, parent: npt.NDArray[np.float64], name: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise WorldError(
                f"{self.path}: nodes are nested deeper than {_MAX_DEPTH} or instance themselves: flatten the file"
            )
        pose = parent @ _node_transform(node)
        name = node.get("name") or name
        for child in node:
            if child.tag == "node":
                self.visit(child, pose, name, depth + 1)
            elif child.tag == "instance_node":
                other = self.target(child.get("url"), "node")
                if other is not None:
                    self.visit(other, pose, name, depth + 1)
            elif child.tag in ("instance_geometry", "instance_controller"):
                self.place(child, pose, name)

    def place(self, instance: Element, pose: npt.NDArray[np.float64], name: str) -> None:
        geometry = self.target(instance.get("url"), "geometry", "controller")
        if geometry is not None and geometry.tag == "controller":
            skin = geometry.find("skin")
            geometry = self.target(skin.get("source"), "geometry") if skin is not None else None
        if geometry is None:
            return
        binding = {str(m.get("symbol")): str(m.get("target")) for m in instance.iter("instance_material")}
        key = str(geometry.get("id"))
        if key not in self.geometries:
            self.geometries[key] = self.read_geometry(geometry)
        for symbol, part in self.geometries[key]:
            placed = part.transformed(pose)
            material = self.material(binding.get(symbol, symbol))
            label = name or geometry.get("name") or key
            self.found.append(MeshPart(placed.triangles, placed.uv, material, label, placed.normals))

    def read_geometry(self, geometry: Element) -> list[tuple[str, MeshPart]]:
        mesh = geometry.find("mesh")
        parts = []
        for primitive in mesh if mesh is not None else ():
            if primitive.tag in ("triangles", "polylist", "polygons", "tristrips", "trifans"):
                part = self.read_primitive(primitive)
                if part is not None:
                    parts.append((str(primitive.get("material")), part))
        return parts

    def read_primitive(self, primitive: Element) -> MeshPart | None:
        inputs = primitive.findall("input")
        stride = max((int(i.get("offset") or 0) for i in inputs), default=0) + 1
        rows = _corner_rows(primitive, stride)
        if not len(rows):
            return None
        arrays: dict[str, npt.NDArray[np.float64]] = {}
        for entry in inputs:
            offset = int(entry.get("offset") or 0)
            semantic, source = str(entry.get("semantic")), self.target(entry.get("source"), "vertices", "source")
            if source is None:
                continue
            if source.tag == "vertices":
                for inner in source.findall("input"):
                    data = self.target(inner.get("source"), "source")
                    if data is not None:
                        arrays.setdefault(str(inner.get("semantic")), self.source(data)[rows[..., offset]])
            elif semantic in ("NORMAL", "TEXCOORD"):
                arrays.setdefault(semantic, self.source(source)[rows[..., offset]])
        triangles = arrays["POSITION"][..., :3]
        uv, normals = arrays.get("TEXCOORD"), arrays.get("NORMAL")
        if normals is not None:
            normals = normals[..., :3] / np.maximum(np.linalg.norm(normals[..., :3], axis=-1, keepdims=True), 1e-12)
        return MeshPart(triangles, uv[..., :2] if uv is not None else None, normals=normals)

    def source(self, source: Element) -> npt.NDArray[np.float64]:
        array, accessor = source.find("float_array"), source.find("technique_common/accessor")
        if array is None or accessor is None:
            raise WorldError(
                f"{self.path}: source '{source.get('id')}' has no float_array or accessor: export the mesh again"
            )
        values = numbers(array.text or "", f"{self.path}: source '{source.get('id')}'")
        stride, offset = int(accessor.get("stride") or 1), int(accessor.get("offset") or 0)
        if stride < 1 or offset < 0:
            raise WorldError(f"{self.path}: source '{source.get('id')}' has stride {stride}: export the mesh again")
        values = values[offset:]
        return values[: len(values) // stride * stride].reshape(-1, stride)

    def material(self, target: str) -> Material | None:
        if target not in self.materials:
            self.materials[target] = self.read_material(target)
        return self.materials[target]

    def read_material(self, target: str) -> Material | None:
        material = self.target(target, "material")
        instance = material.find("instance_effect") if material is not None else None
        effect = self.target(instance.get("url"), "effect") if instance is not None else None
        if effect is None:
            return None
        diffuse: Colour = (1.0, 1.0, 1.0)
        image, opacity = None, 1.0
        colour = next((c for d in effect.iter("diffuse") for c in d.iter("color")), None)
        if colour is not None:
            values = numbers(colour.text or "", f"{self.path}: diffuse")
            if len(values) >= 3:
                diffuse = (float(values[0]), float(values[1]), float(values[2]))
        picture = next((t for d in effect.iter("diffuse") for t in d.iter("texture")), None)
        if picture is not None:
            name = self.picture_name(effect, str(picture.get("texture")))
            image = self.texture(name) if name else None
            diffuse = (1.0, 1.0, 1.0) if image is not None else (0.7, 0.7, 0.7)
        return Material(diffuse, texture=image, opacity=opacity)

    def picture_name(self, effect: Element, sampler: str) -> str:
        params = {str(p.get("sid")): p for p in effect.iter("newparam")}
        name = sampler
        for _ in range(4):  # texture -> sampler2D -> surface -> image
            param = params.get(name)
            if param is None:
                break
            step = next((e for tag in ("source", "init_from") for e in param.iter(tag)), None)
            if step is None:
                break
            name = (step.text or "").strip()
        image = self.target(name, "image")
        found = next(iter(image.iter("init_from")), None) if image is not None else None
        reference = found.find("ref") if found is not None else None
        text = (reference.text if reference is not None else found.text) if found is not None else ""
        return (text or "").strip()


def _node_transform(node: Element) -> npt.NDArray[np.float64]:
    matrix = np.eye(4)
    for child in node:
        if child.tag not in ("matrix", "translate", "rotate", "scale"):
            continue
        values = numbers(child.text or "", f"<{child.tag}>", {"matrix": 16, "rotate": 4}.get(str(child.tag), 3))
        step = np.eye(4)
        if child.tag == "matrix":
            step = values.reshape(4, 4)
        elif child.tag == "translate":
            step[:3, 3] = values
        elif child.tag == "scale":
            step[:3, :3] = np.diag(values)
        else:
            axis, angle = values[:3] / max(float(np.linalg.norm(values[:3])), 1e-12), np.radians(values[3])
            cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
            step[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        matrix = matrix @ step
    return matrix


def _corner_rows(primitive: Element, stride: int) -> npt.NDArray[np.int64]:
    """Return the index rows of all triangle corners, (N, 3, stride)."""
    lists = [np.array((p.text or "").split(), np.int64) for p in primitive.iter("p")]
    lists = [values[: len(values) // stride * stride].reshape(-1, stride) for values in lists]
    if primitive.tag == "triangles":
        rows = np.concatenate(lists) if lists else np.empty((0, stride), np.int64)
        return rows[: len(rows) // 3 * 3].reshape(-1, 3, stride)
    if primitive.tag == "polylist":
        rows = np.concatenate(lists) if lists else np.empty((0, stride), np.int64)
        counts = np.array((primitive.findtext("vcount") or "").split(), np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
        fans = np.maximum(counts - 2, 0)
        first = np.repeat(starts, fans)
        step = np.arange(int(fans.sum())) - np.repeat(np.concatenate([[0], np.cumsum(fans)])[:-1], fans)
        return np.asarray(rows[np.stack([first, first + step + 1, first + step + 2], axis=-1)])
    pieces = []
    for rows in lists:
        count = len(rows) - 2
        if count < 1:
            continue
        index = np.arange(count)
        if primitive.tag == "tristrips":
            odd = index % 2
            pieces.append(rows[np.stack([index, index + 1 + odd, index + 2 - odd], axis=-1)])
        else:
            pieces.append(rows[np.stack([np.zeros_like(index), index + 1, index + 2], axis=-1)])
    return np.concatenate(pieces) if pieces else np.empty((0, 3, stride), np.int64)
