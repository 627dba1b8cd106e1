"""COLLADA (.dae) meshes as Gazebo reads them: node transforms, <unit meter>, diffuse colours and textures.

Gazebo does not turn meshes by <up_axis> (gz-common, ColladaLoader), and worlds are built on that: TurtleBot3 World's
meshes say Y_UP and hold z-up vertices. So neither does this reader.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Colour, Material
from mm_nav.sim.mesh_files import MAX_TRIANGLES, MeshError, MeshFiles, floats, integers, unit_normals
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf_xml import MAX_XML_BYTES, parse_xml

_MAX_DEPTH = 64


def read_collada(data: bytes, path: Path, files: MeshFiles) -> list[MeshPart]:
    """Return the triangles of a COLLADA file in metres, one part for each material of each placed geometry.

    files: finds pictures by the file name written in the mesh. Raises WorldError when the file declares XML entities,
    MeshError when it is no COLLADA or its arrays contradict each other.
    """
    if len(data) > MAX_XML_BYTES:
        raise WorldError(f"{path}: {len(data)} bytes is more than {MAX_XML_BYTES}: simplify the mesh")
    try:
        root = parse_xml(data, str(path))
    except WorldError as error:
        if isinstance(error.__cause__, DefusedXmlException):
            raise
        raise MeshError(str(error)) from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    if root.tag != "COLLADA":
        raise MeshError(f"{path}: the root element is <{root.tag}>, not <COLLADA>: give a COLLADA 1.4 file")
    try:
        return _Reader(root, path, files).parts()
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise MeshError(f"{path}: its COLLADA arrays cannot be read ({error}): export the mesh again") from error


class _Reader:
    def __init__(self, root: Element, path: Path, files: MeshFiles) -> None:
        self.root, self.path, self.files = root, path, files
        self.placed = 0
        # Exporters give a scene and its node the same id, so an id counts only together with its tag.
        self.ids = {(str(e.tag), str(e.get("id"))): e for e in root.iter() if e.get("id")}
        self.materials: dict[str, Material | None] = {}
        self.sources: dict[str, npt.NDArray[np.float64]] = {}
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
                self.visit(node, np.diag([meter, meter, meter, 1.0]), "", 0)
        return self.found

    def visit(self, node: Element, parent: npt.NDArray[np.float64], name: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise MeshError(
                f"{self.path}: nodes are nested deeper than {_MAX_DEPTH} or instance themselves: flatten the file"
            )
        with np.errstate(invalid="ignore"):  # nodes without a place are left out later
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
        if geometry is not None and geometry.tag == "controller":  # a figure with bones: as it stands at rest
            skin = geometry.find("skin")
            shape = (skin.findtext("bind_shape_matrix") or "").strip() if skin is not None else ""
            if shape:
                pose = pose @ _matrix(shape, str(self.path))
            geometry = self.target(skin.get("source"), "geometry") if skin is not None else None
        if geometry is None or not np.all(np.isfinite(pose)):
            return
        binding = {str(m.get("symbol")): str(m.get("target")) for m in instance.iter("instance_material")}
        key = str(geometry.get("id"))
        if key not in self.geometries:
            self.geometries[key] = self.read_geometry(geometry)
        for symbol, part in self.geometries[key]:
            self.placed += len(part.triangles)
            if self.placed > MAX_TRIANGLES:
                raise MeshError(f"{self.path}: has more than {MAX_TRIANGLES} triangles: simplify the mesh")
            placed = part.transformed(pose)
            material = self.material(binding.get(symbol, symbol)) or part.material
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
            elif semantic in ("NORMAL", "TEXCOORD", "COLOR"):
                arrays.setdefault(semantic, self.source(source)[rows[..., offset]])
        triangles = arrays["POSITION"][..., :3]
        uv, normals, tint = arrays.get("TEXCOORD"), arrays.get("NORMAL"), arrays.get("COLOR")
        material = None
        if tint is not None and tint.shape[-1] >= 3:  # vertex colours count where there is no material
            red, green, blue = np.clip(np.nan_to_num(tint[..., :3]).reshape(-1, 3).mean(axis=0), 0.0, 1.0)
            material = Material((float(red), float(green), float(blue)))
        return MeshPart(
            triangles,
            np.nan_to_num(uv[..., :2]) if uv is not None and uv.shape[-1] >= 2 else None,
            material,
            normals=unit_normals(normals[..., :3]) if normals is not None and normals.shape[-1] >= 3 else None,
        )

    def source(self, source: Element) -> npt.NDArray[np.float64]:
        name = str(source.get("id"))
        if name not in self.sources:  # the primitives of a mesh share them
            self.sources[name] = self.read_source(source)
        return self.sources[name]

    def read_source(self, source: Element) -> npt.NDArray[np.float64]:
        array, accessor = source.find("float_array"), source.find("technique_common/accessor")
        if array is None or accessor is None:
            raise MeshError(
                f"{self.path}: source '{source.get('id')}' has no float_array or accessor: export the mesh again"
            )
        values = floats(array.text or "", f"{self.path}: source '{source.get('id')}'")
        stride, offset = int(accessor.get("stride") or 1), int(accessor.get("offset") or 0)
        if stride < 1 or offset < 0:
            raise MeshError(f"{self.path}: source '{source.get('id')}' has stride {stride}: export the mesh again")
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
        image = alpha = None
        colour = next((c for d in effect.iter("diffuse") for c in d.iter("color")), None)
        if colour is not None:
            values = np.clip(np.nan_to_num(floats(colour.text or "", f"{self.path}: diffuse")), 0.0, 1.0)
            if len(values) >= 3:
                diffuse = (float(values[0]), float(values[1]), float(values[2]))
        picture = next((t for d in effect.iter("diffuse") for t in d.iter("texture")), None)
        if picture is not None:
            name = self.picture_name(effect, str(picture.get("texture")))
            image = self.files.texture(name) if name else None
            diffuse = (1.0, 1.0, 1.0) if image is not None else (0.7, 0.7, 0.7)
        glow = next((c for d in effect.iter("emission") for c in d.iter("color")), None)
        emissive = (
            np.clip(np.nan_to_num(floats(glow.text or "", "emission")), 0, 1) if glow is not None else np.empty(0)
        )
        cut = next((t for d in effect.iter("transparent") if d.get("opaque") for t in d.iter("texture")), None)
        if cut is not None:
            name = self.picture_name(effect, str(cut.get("texture")))
            alpha = self.files.alpha(name) if name else None
        # Exporters give textured surfaces a white glow that would wash the texture out, found or not.
        glows = len(emissive) >= 3 and picture is None
        red, green, blue = (float(v) for v in emissive[:3]) if glows else (0.0, 0.0, 0.0)
        return Material(diffuse, (red, green, blue), image, _opacity(effect), alpha)

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


def _opacity(effect: Element) -> float:
    """Return how opaque an effect is, by COLLADA 1.4's rules; 1 where it says nothing of how it is meant."""
    transparent = next(effect.iter("transparent"), None)
    mode = transparent.get("opaque", "") if transparent is not None else ""
    colour = transparent.find("color") if transparent is not None else None
    if not mode or colour is None:
        return 1.0
    values = np.nan_to_num(floats(colour.text or "", "transparent"))
    share = next((e for t in effect.iter("transparency") for e in t.iter("float")), None)
    amount = float(floats(share.text or "1", "transparency")[0]) if share is not None else 1.0
    if len(values) < 4:
        return 1.0
    part = amount * (float(values[3]) if mode.startswith("A") else float(values[:3] @ (0.212671, 0.71516, 0.072169)))
    return float(np.clip(1.0 - part if mode.endswith("ZERO") else part, 0.0, 1.0))


def _matrix(text: str, what: str) -> npt.NDArray[np.float64]:
    values = floats(text, what)
    if len(values) != 16:
        raise MeshError(f"{what}: a matrix has {len(values)} numbers, expected 16: export the mesh again")
    return values.reshape(4, 4)


def _node_transform(node: Element) -> npt.NDArray[np.float64]:
    """Return a node's (4, 4) transform as Gazebo makes it (gz-common, ColladaLoader): its first matrix where it has one,
    else its first translation, all rotations and its first scale, in this order wherever they stand.
    """
    matrix = node.find("matrix")
    if matrix is not None:
        return _matrix(matrix.text or "", "<matrix>")
    pose = np.eye(4)
    translate, scale = node.find("translate"), node.find("scale")
    if translate is not None:
        pose[:3, 3] = _step(translate, 3)
    for rotate in node.findall("rotate"):
        values = _step(rotate, 4)
        axis, angle = values[:3] / max(float(np.linalg.norm(values[:3])), 1e-12), np.radians(values[3])
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        pose[:3, :3] = pose[:3, :3] @ (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
    if scale is not None:
        pose[:3, :3] = pose[:3, :3] @ np.diag(_step(scale, 3))
    return pose


def _step(element: Element, count: int) -> npt.NDArray[np.float64]:
    values = floats(element.text or "", f"<{element.tag}>")
    if len(values) != count:
        raise MeshError(
            f"<{element.tag}> '{(element.text or '')[:60]}' has {len(values)} numbers: export the mesh again"
        )
    return values


def _corner_rows(primitive: Element, stride: int) -> npt.NDArray[np.int64]:
    """Return the index rows of all triangle corners, (N, 3, stride)."""
    lists = [integers(p.text or "") for p in primitive.iter("p")]
    lists = [values[: len(values) // stride * stride].reshape(-1, stride) for values in lists]
    if primitive.tag == "triangles":
        rows = np.concatenate(lists) if lists else np.empty((0, stride), np.int64)
        return rows[: len(rows) // 3 * 3].reshape(-1, 3, stride)
    if primitive.tag == "polylist":
        rows = np.concatenate(lists) if lists else np.empty((0, stride), np.int64)
        counts = integers(primitive.findtext("vcount") or "")
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
