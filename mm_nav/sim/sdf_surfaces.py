"""What SDF shapes look like: their meshes, textures and materials, found through the search paths and read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from mm_nav.errors import WorldError
from mm_nav.sim.materials import Colour, Image, Material, ScriptMaterial, gazebo_colour, load_texture, parse_script
from mm_nav.sim.mesh import read_mesh
from mm_nav.sim.mesh_primitives import MeshPart
from mm_nav.sim.sdf import numbers, text_of
from mm_nav.sim.sdf_geometry import Mesh
from mm_nav.sim.sdf_resources import Resources


class Surfaces:
    """Meshes and materials of one world. `missing` collects the names of files that were not found."""

    def __init__(self, resources: Resources, missing: dict[str, None]) -> None:
        self.resources, self.missing = resources, missing
        self._meshes: dict[Path, list[MeshPart]] = {}
        self._placed: dict[tuple[Path, Mesh], list[MeshPart]] = {}
        self._scripts: dict[Path, dict[str, ScriptMaterial]] = {}

    def mesh_parts(self, mesh: Mesh, base: Path | None) -> list[MeshPart] | None:
        """Return a mesh's parts with scale and submesh applied, or None (and an entry in `missing`)."""
        path = self.resources.find(mesh.uri, base)
        if path is None or not path.is_file():
            self.missing[mesh.uri or "mesh without a uri"] = None
            return None
        key = (path, mesh)
        if key not in self._placed:
            parts = self._read(path)
            if mesh.submesh:
                chosen = [part for part in parts if part.name == mesh.submesh]
                if not chosen:
                    self.missing[f"{mesh.uri} submesh {mesh.submesh}"] = None
                    return None
                parts = chosen
                if mesh.center:
                    points = np.concatenate([part.triangles.reshape(-1, 3) for part in parts])
                    shift = np.eye(4)
                    shift[:3, 3] = -(points.min(axis=0) + points.max(axis=0)) / 2
                    parts = [part.transformed(shift) for part in parts]
            self._placed[key] = [part.transformed(np.diag([*mesh.scale, 1.0])) for part in parts]
        return self._placed[key]

    def _read(self, path: Path) -> list[MeshPart]:
        if path not in self._meshes:
            self._meshes[path] = read_mesh(
                path, lambda name: self._mesh_texture(name, path), lambda name: self._sibling(name, path.parent)
            )
        return self._meshes[path]

    def _sibling(self, name: str, folder: Path) -> Path | None:
        try:
            found = self.resources.find(name, folder)
        except WorldError:
            found = None  # the mesh names a folder of its author's machine; only the file's name counts then
        return found if found is not None and found.is_file() else None

    def _mesh_texture(self, name: str, mesh: Path) -> Image | None:
        """Find a mesh's texture as Gazebo does: beside the mesh, then in the model's materials/textures."""
        plain = name.removeprefix("file://").replace("\\", "/")
        last = PurePosixPath(plain).name
        model = mesh.parent.parent
        places = [(plain, mesh.parent), (last, mesh.parent)]
        places += [(f"{folder}/{last}", model) for folder in ("materials/textures", "textures", "meshes")]
        for uri, folder in places:
            found = self._sibling(uri, folder)
            image = load_texture(str(found)) if found is not None else None
            if image is not None:
                return image
        self.missing[f"texture {last} of {mesh.name}"] = None
        return None

    def material(self, element: Element | None, base: Path | None, what: str) -> Material | None:
        """Return the material of a <material> element, or None where it says nothing about colour."""
        if element is None:
            return None
        diffuse = self.colour(element, "diffuse")
        opacity = _alpha(element)
        emissive = self.colour(element, "emissive") or (0.0, 0.0, 0.0)
        albedo = next((e for e in element.iter("albedo_map") if (e.text or "").strip()), None)
        if albedo is not None:
            uri = (albedo.text or "").strip()
            texture = self._texture(uri, base)
            if texture is not None:
                return Material(diffuse or (1.0, 1.0, 1.0), emissive, texture, opacity)
        script = element.find("script")
        name = text_of(script, "name")
        if name:
            found = self._script(script, name, base)
            if found is not None:
                return replace(found, opacity=opacity)
            if diffuse is None:
                self.missing[f"material {name}"] = None
        if diffuse is None:
            diffuse = self.colour(element, "ambient") or (emissive if any(emissive) else None)
        return Material(diffuse, emissive, None, opacity) if diffuse is not None else None

    def _texture(self, uri: str, base: Path | None) -> Image | None:
        path = self.resources.find(uri, base)
        image = load_texture(str(path)) if path is not None and path.is_file() else None
        if image is None:
            self.missing[uri] = None
        return image

    def _script(self, script: Element | None, name: str, base: Path | None) -> Material | None:
        colour = gazebo_colour(name)
        if colour is not None or script is None:
            return Material(colour) if colour is not None else None
        folders = [
            path for uri in script.findall("uri") if (path := self._find((uri.text or "").strip(), base)) is not None
        ]
        for folder in folders:
            for file in sorted(folder.glob("*.material")) if folder.is_dir() else [folder]:
                found = self._read_script(file).get(name)
                if found is not None:
                    return Material(
                        found.diffuse or (1.0, 1.0, 1.0), texture=self._script_texture(found, folders, file)
                    )
        return None

    def _script_texture(self, material: ScriptMaterial, folders: list[Path], file: Path) -> Image | None:
        if not material.texture:
            return None
        name = PurePosixPath(material.texture.replace("\\", "/")).name
        for folder in [*folders, file.parent, file.parent.parent / "textures"]:
            path = folder / name
            image = load_texture(str(path)) if path.is_file() else None
            if image is not None:
                return image
        self.missing[f"texture {name}"] = None
        return None

    def _find(self, uri: str, base: Path | None) -> Path | None:
        return self.resources.find(uri, base)

    def _read_script(self, path: Path) -> dict[str, ScriptMaterial]:
        if path not in self._scripts:
            try:
                text = path.read_text(errors="replace") if path.stat().st_size < 4_000_000 else ""
            except OSError:
                text = ""
            self._scripts[path] = parse_script(text)
        return self._scripts[path]

    def colour(self, element: Element | None, tag: str) -> Colour | None:
        """Return child `tag` as RGB in [0, 1], or None when it is absent. Values above 1 are cut."""
        text = text_of(element, tag)
        if not text:
            return None
        values = np.clip(numbers(text, f"<{tag}>"), 0.0, 1.0)
        if len(values) < 3:
            raise WorldError(f"<{tag}> '{text}' has {len(values)} numbers, expected 3 or 4: red green blue alpha")
        return float(values[0]), float(values[1]), float(values[2])


def _alpha(element: Element) -> float:
    values = text_of(element, "diffuse").split()
    return float(values[3]) if len(values) > 3 else 1.0
