"""SDF's <material>: colours, PBR maps and OGRE material scripts, found through the search paths and read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from mm_nav.errors import WorldError
from mm_nav.sim.materials import (
    Colour,
    Image,
    Material,
    ScriptMaterial,
    gazebo_material,
    load_alpha,
    load_texture,
    parse_script,
)
from mm_nav.sim.sdf import numbers, text_of
from mm_nav.sim.sdf_resources import Resources

_MAX_SCRIPT_BYTES = 4_000_000
_SCRIPT_FOLDERS = ("materials/scripts", "media/materials/scripts", "Media/materials/scripts")


class Materials:
    """Materials of one world. `missing` collects the names of files that were not found."""

    def __init__(self, resources: Resources, missing: dict[str, None]) -> None:
        self.resources, self.missing = resources, missing
        self._scripts: dict[Path, dict[str, ScriptMaterial]] = {}
        self._listings: dict[Path, list[Path]] = {}

    def read(self, element: Element | None, base: Path | None) -> Material | None:
        """Return the material of a <material> element, or None where it says nothing about colour."""
        if element is None:
            return None
        diffuse, opacity = colour_of(element, "diffuse"), _alpha(element)
        emissive = colour_of(element, "emissive") or (0.0, 0.0, 0.0)
        albedo = next((e for e in element.iter("albedo_map") if (e.text or "").strip()), None)
        if albedo is not None:
            texture = self._texture((albedo.text or "").strip(), base)
            if texture is not None:
                return Material(diffuse or (1.0, 1.0, 1.0), emissive, texture, opacity)
        script = element.find("script")
        name = text_of(script, "name")
        if script is not None and name and name != "__default__":
            found = self._script(script, name, base)
            if found is not None:
                return replace(found, opacity=min(found.opacity, opacity))
            if diffuse is None:
                self.missing[f"material {name}"] = None
        if diffuse is None:
            diffuse = colour_of(element, "ambient") or (emissive if any(emissive) else None)
        return Material(diffuse, emissive, None, opacity) if diffuse is not None else None

    def _texture(self, uri: str, base: Path | None) -> Image | None:
        path = self.resources.find(uri, base)
        image = load_texture(str(path)) if path is not None and path.is_file() else None
        if image is None:
            self.missing[uri] = None
        return image

    def _script(self, script: Element, name: str, base: Path | None) -> Material | None:
        """Return a script's material: from the files it names, Gazebo's own by its name, or the model's scripts."""
        places = [self.resources.find((uri.text or "").strip(), base) for uri in script.findall("uri")]
        folders = [path for path in places if path is not None]
        found = self._search(folders, folders, name) or gazebo_material(name)
        if found is None:
            bases = [base, *self.resources.roots] if base is not None else self.resources.roots
            found = self._search([folder / inner for folder in bases for inner in _SCRIPT_FOLDERS], folders, name)
        return found

    def _search(self, places: list[Path], pictures: list[Path], name: str) -> Material | None:
        for place in places:
            if place not in self._listings:
                self._listings[place] = sorted(place.glob("*.material")) if place.is_dir() else [place]
            for file in self._listings[place]:
                found = self._read_script(file).get(name)
                if found is not None:
                    return self._material(found, pictures, file)
        return None

    def _material(self, found: ScriptMaterial, folders: list[Path], file: Path) -> Material:
        texture = alpha = None
        if found.texture:
            name = PurePosixPath(found.texture.replace("\\", "/")).name
            places = [folder / name for folder in (*folders, file.parent, file.parent.parent / "textures")]
            path = next((path for path in places if path.is_file()), None)
            texture = load_texture(str(path)) if path is not None else None
            alpha = load_alpha(str(path)) if path is not None and found.cut_out else None
            if texture is None:
                self.missing[f"texture {name}"] = None
        return Material(found.diffuse or (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), texture, found.opacity, alpha, found.scale)

    def _read_script(self, path: Path) -> dict[str, ScriptMaterial]:
        if path not in self._scripts:
            try:
                small = path.is_file() and path.stat().st_size < _MAX_SCRIPT_BYTES
                text = path.read_text(errors="replace") if small else ""
            except OSError:
                text = ""
            self._scripts[path] = parse_script(text)
        return self._scripts[path]


def colour_of(element: Element | None, tag: str) -> Colour | None:
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
    return float(numbers(values[3], "<diffuse>")[0]) if len(values) > 3 else 1.0
