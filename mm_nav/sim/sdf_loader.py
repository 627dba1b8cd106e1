"""Turns an SDF tree into a World: frames, shapes, materials, lights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Colour
from mm_nav.sim.mesh_primitives import MeshPart, tessellate
from mm_nav.sim.sdf import (
    Matrix,
    check_version,
    flag,
    parse_pose,
    scalar,
    text_of,
    vector,
)
from mm_nav.sim.sdf_frames import FrameScope
from mm_nav.sim.sdf_geometry import MAX_LENGTH_M, Heightmap, Mesh, parse_geometry
from mm_nav.sim.sdf_include import BASE, Includer
from mm_nav.sim.sdf_materials import Materials, colour_of
from mm_nav.sim.sdf_resources import Resources
from mm_nav.sim.sdf_state import SavedState, read_state
from mm_nav.sim.sdf_surfaces import MIN_OPACITY, Surfaces, clad
from mm_nav.sim.sdf_terrain import Terrains
from mm_nav.sim.sdf_xml import parse_xml, read_xml
from mm_nav.sim.world import Light, Model, Shape, World

_UNSUPPORTED = ("actor", "road", "population", "particle_emitter", "projector", "plugin")
_TOP_LEVEL = ("model", "light", "actor", "include")
_MAX_TRIANGLES = 60_000_000  # of a whole world: about 10 GB once it is drawn


def load_file(path: Path, search_paths: Sequence[Path]) -> World:
    """Load a world file (see mm_nav.sim.world.load_world)."""
    if not path.is_file():
        raise WorldError(f"{path}: no such file: give the path of an SDF world")
    return _Loader(str(path), path.parent, search_paths).load(read_xml(path))


def load_text(text: str, base_dir: Path | None, search_paths: Sequence[Path]) -> World:
    """Load a world from text (see mm_nav.sim.world.parse_world)."""
    source = "SDF text"
    return _Loader(source, base_dir, search_paths).load(parse_xml(text, source))


class _Loader:
    def __init__(self, source: str, base: Path | None, search_paths: Sequence[Path]) -> None:
        self.source, self.base = source, base
        self.resources = Resources(base, search_paths)
        self.includer = Includer(self.resources)
        self.surfaces = Surfaces(self.resources, self.includer.missing, self.includer.unsupported)
        self.terrains = Terrains(self.resources, self.includer.missing, self.includer.unsupported)
        self.materials = Materials(self.resources, self.includer.missing)
        self.models: list[Model] = []
        self.lights: list[Light] = []
        self.names: set[str] = set()
        self.state = SavedState()
        self.triangles = 0

    def load(self, root: Element) -> World:
        check_version(root, self.source)
        world = root.find("world")
        if world is None:
            models = [child for child in root if child.tag in _TOP_LEVEL]
            if not models:
                raise WorldError(f"{self.source}: has neither <world> nor <model>: give an SDF world file")
            world = Element("world", {"name": models[0].get("name", "world")})
            world.extend(models)
        for extra in root.findall("world")[1:]:
            self.includer.unsupported[f"second world '{extra.get('name')}'"] = None
        self.includer.expand(world, self.base, (self.source,))
        scope = self.scope(world.get("name", "world"))
        self.register(world, scope)
        self.state = read_state(world, self.source)
        for child in world:
            if child.tag == "model":
                self.build_model(child, scope, np.eye(4), "", False, self.base)
            elif child.tag == "light":
                saved = self.state.lights.get(child.get("name", ""))
                self.build_light(child, self.pose_in(child, scope, "") if saved is None else saved, "")
            elif child.tag in _UNSUPPORTED:
                self.unsupported(child)
        scene = world.find("scene")
        if scene is not None and scene.find("fog") is not None:
            self.includer.unsupported["fog"] = None
        background = scene is not None and bool(text_of(scene, "background")) and scene.find("sky") is None
        return World(
            world.get("name", "world"),
            tuple(self.models),
            tuple(self.lights),
            tuple(self.includer.missing),
            tuple(self.includer.unsupported),
            colour_of(scene, "ambient") or (0.4, 0.4, 0.4),
            colour_of(scene, "background") if background else None,
            self.source,
        )

    def unsupported(self, element: Element, where: str = "") -> None:
        label = (
            element.get("filename") or element.get("name") or "" if element.tag == "plugin" else element.get("name", "")
        )
        if element.tag == "plugin" and element.get("name"):
            label = str(element.get("name"))
        self.includer.unsupported[" ".join(part for part in (str(element.tag), label, where) if part)] = None

    # Frames

    def register(self, parent: Element, scope: FrameScope) -> None:
        """Enter every link, frame, joint and nested model of `parent` into its frame scope."""
        for child in parent:
            name = child.get("name", "")
            if child.tag not in ("link", "frame", "joint", "model"):
                continue
            if not name:
                raise WorldError(f"{self.source}: a <{child.tag}> in '{scope.name}' has no name: add one")
            raw, relative_to = self.raw_pose(child, f"pose of {child.tag} '{name}'")
            if child.tag == "model":
                if name in scope.children:
                    name = self.unique(name, set(scope.children))
                    child.set("name", name)
                inner = self.scope(name)
                self.register(child, inner)
                scope.add_child(name, inner, raw, relative_to, child.get("placement_frame", ""))
                continue
            if child.tag == "frame":
                relative_to = relative_to or child.get("attached_to", "")
                merged = child.find("model")
                if merged is not None:  # sdf_include put it there: the model whose frame is placed
                    whole = self.scope(merged.get("name", ""))
                    self.register(merged, whole)
                    raw = raw @ np.linalg.inv(whole.pose(merged.get("placement_frame", "")))
            elif child.tag == "joint":
                relative_to = relative_to or text_of(child, "child")
            scope.add(name, raw, relative_to)

    def scope(self, name: str) -> FrameScope:
        return FrameScope(name, self.source, absent=frozenset(self.includer.absent))

    @staticmethod
    def unique(name: str, taken: set[str]) -> str:
        number = 1
        while f"{name}_{number}" in taken:
            number += 1
        return f"{name}_{number}"

    def raw_pose(self, element: Element, what: str) -> tuple[Matrix, str]:
        pose = element.find("pose")
        raw = parse_pose(pose, f"{self.source}: {what}")
        # SDF 1.5 and 1.6 said frame="" for what became relative_to.
        relative_to = (pose.get("relative_to") or pose.get("frame") or "") if pose is not None else ""
        return raw, relative_to.strip()

    def pose_in(self, element: Element, scope: FrameScope, default: str) -> Matrix:
        raw, relative_to = self.raw_pose(element, f"pose of '{element.get('name', '')}'")
        return scope.pose(relative_to or default) @ raw

    # Models

    def build_model(
        self, element: Element, scope: FrameScope, parent: Matrix, prefix: str, static: bool, base: Path | None
    ) -> None:
        name = element.get("name", "")
        inner = scope.children[name]
        full = prefix + name
        pose = self.state.models.get(full, parent @ scope.pose(name))
        if full in self.names:
            full = self.unique(full, self.names)
        self.names.add(full)
        static = static or flag(element, "static")
        base = Path(element.get(BASE, "")) if element.get(BASE) else base
        visuals: list[Shape] = []
        collisions: list[Shape] = []
        slot = len(self.models)
        for child in element:
            if child.tag == "link":
                self.build_link(child, inner, pose, full, base, visuals, collisions)
            elif child.tag == "model":
                self.build_model(child, inner, pose, full + "::", static, base)
            elif child.tag in _UNSUPPORTED:
                self.unsupported(child)
        if visuals or collisions:
            self.models.insert(slot, Model(full, static, pose, tuple(visuals), tuple(collisions)))

    def build_link(
        self,
        link: Element,
        scope: FrameScope,
        parent: Matrix,
        model: str,
        base: Path | None,
        visuals: list[Shape],
        collisions: list[Shape],
    ) -> None:
        name = link.get("name", "")
        base = Path(link.get(BASE, "")) if link.get(BASE) else base
        saved = self.state.links.get(f"{model}::{name}")
        if saved is not None:
            parent = saved @ np.linalg.inv(scope.pose(name))
        for child in link:
            if child.tag in ("visual", "collision"):
                shape = self.build_shape(child, parent @ self.pose_in(child, scope, name), model, name, base)
                if shape is not None:
                    (visuals if child.tag == "visual" else collisions).append(shape)
            elif child.tag == "light":
                self.build_light(child, parent @ self.pose_in(child, scope, name), model + "::")
            elif child.tag in ("sensor", "projector", "particle_emitter"):
                self.includer.unsupported[f"{child.tag} {child.get('type', '')} in {model}".replace("  ", " ")] = None

    def build_shape(self, element: Element, pose: Matrix, model: str, link: str, base: Path | None) -> Shape | None:
        name = element.get("name", "")
        what = f"{self.source}: {element.tag} '{model}::{link}::{name}'"
        source = element.find("geometry")
        geometry = parse_geometry(source, what) if source is not None else ""
        if isinstance(geometry, str):
            if geometry:
                self.includer.unsupported[f"geometry {geometry}"] = None
            return None
        if not np.all(np.abs(pose[:3, 3]) < MAX_LENGTH_M):
            raise WorldError(f"{what} lies farther than {MAX_LENGTH_M:g} m from the origin: correct its pose")
        seen = element.tag == "visual"
        opacity = (1.0 - scalar(element, "transparency", 0.0, what + ": ")) if seen else 1.0
        if opacity < MIN_OPACITY:
            return None
        material = self.materials.read(element.find("material"), base) if seen else None
        found: list[MeshPart] | None
        if isinstance(geometry, Mesh):
            found = self.surfaces.mesh_parts(geometry, base, seen, material)
        elif isinstance(geometry, Heightmap):
            found = self.terrains.parts(geometry, base, seen)
        else:
            found = clad(tessellate(geometry, infinite_planes=not seen), material)
            found = self.surfaces.solid_parts(found) if seen else found
        if not found:
            return None
        if not seen:
            found = [MeshPart(part.triangles, name=part.name) for part in found]
        self.triangles += sum(len(part.triangles) for part in found)
        if self.triangles > _MAX_TRIANGLES:
            raise WorldError(
                f"{self.source}: has more than {_MAX_TRIANGLES} triangles: leave models out or simplify them"
            )
        return Shape(name, link, geometry, pose, tuple(found), flag(element, "cast_shadows", True))

    def build_light(self, element: Element, pose: Matrix, prefix: str) -> None:
        kind = element.get("type", "point")
        name = prefix + element.get("name", "light")
        what = f"{self.source}: light '{name}': "
        if kind not in ("directional", "point", "spot"):
            self.includer.unsupported[f"light {kind}"] = None
            return
        if element.find("light_on") is not None and not flag(element, "light_on", True):
            return
        direction = pose[:3, :3] @ vector(element, "direction", (0.0, 0.0, -1.0), what)
        direction = direction / max(float(np.linalg.norm(direction)), 1e-9)
        fade, spot = element.find("attenuation"), element.find("spot")
        diffuse: Colour = colour_of(element, "diffuse") or (1.0, 1.0, 1.0)
        x, y, z = (float(v) for v in pose[:3, 3])
        dx, dy, dz = (float(v) for v in direction)
        self.lights.append(
            Light(
                name,
                kind,
                (x, y, z),
                (dx, dy, dz),
                diffuse,
                scalar(element, "intensity", 1.0, what),
                flag(element, "cast_shadows"),
                (
                    scalar(fade, "constant", 1.0, what),
                    scalar(fade, "linear", 1.0, what),
                    scalar(fade, "quadratic", 0.0, what),
                    scalar(fade, "range", 10.0, what),
                ),
                (
                    scalar(spot, "inner_angle", 0.0, what),
                    scalar(spot, "outer_angle", 0.0, what),
                    scalar(spot, "falloff", 0.0, what),
                ),
            )
        )
