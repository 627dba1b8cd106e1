"""Replaces every <include> of an SDF tree by the model it names."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from mm_nav.errors import WorldError
from mm_nav.sim.sdf import check_version, text_of
from mm_nav.sim.sdf_resources import Resources, is_remote, last_name
from mm_nav.sim.sdf_xml import parse_xml, read_xml

BASE = "mm_nav_base"  # attribute: folder of the file that an included element came from
_MAX_DEPTH = 32
# Ten models that each include ten others, nine deep, would be a thousand million: these stop far above real worlds.
_MAX_INCLUDES, _MAX_ELEMENTS = 20_000, 2_000_000
_SDF_SUFFIXES = (".sdf", ".world", ".xml", ".model")

_GROUND_PLANE = """<sdf version="1.6"><model name="ground_plane"><static>true</static><link name="link">
<collision name="collision"><geometry><plane><normal>0 0 1</normal><size>100 100</size></plane></geometry></collision>
<visual name="visual"><cast_shadows>false</cast_shadows><geometry><plane><normal>0 0 1</normal><size>100
100</size></plane> </geometry><material><ambient>0.8 0.8 0.8 1</ambient><diffuse>0.8 0.8 0.8
1</diffuse></material></visual></link></model></sdf>"""
_SUN = """<sdf version="1.6"><light type="directional" name="sun"><cast_shadows>true</cast_shadows><pose>0 0 10 0 0
0</pose> <diffuse>0.8 0.8 0.8 1</diffuse><direction>-0.5 0.1 -0.9</direction></light></sdf>"""
_BUILT_IN = {"ground_plane": _GROUND_PLANE, "sun": _SUN}


@dataclass
class Includer:
    """Expands includes in place; `missing` and `unsupported` collect what could not be, `absent` the names it had."""

    resources: Resources
    missing: dict[str, None] = field(default_factory=dict)
    unsupported: dict[str, None] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    files: dict[Path, tuple[Element, int]] = field(default_factory=dict)
    includes: int = 0
    elements: int = 0

    def expand(self, parent: Element, base: Path | None, stack: tuple[str, ...]) -> None:
        """Replace the includes below `parent` (a world or model); `stack` holds the files being read, to find
        circles.
        """
        if len(stack) > _MAX_DEPTH:
            raise WorldError(f"{stack[0]}: includes are nested deeper than {_MAX_DEPTH}: flatten them")
        children: list[Element] = []
        for child in list(parent):
            if child.tag == "model":
                self.expand(child, base, stack)
                children.append(child)
            elif child.tag == "include":
                children += self._include(child, base, stack, merge=parent.tag == "model")
            else:
                children.append(child)
        parent[:] = children

    def _include(self, include: Element, base: Path | None, stack: tuple[str, ...], merge: bool) -> list[Element]:
        uri = text_of(include, "uri")
        if not uri:
            raise WorldError(f"{stack[-1]}: an <include> has no <uri>: name the model to include")
        found, folder, source = self._open(uri, base, stack)
        if found is None:
            if f"include {uri}" not in self.unsupported:
                self.missing[uri] = None
            self.absent.add(text_of(include, "name") or last_name(uri))
            return []
        self.includes += 1
        if self.includes > _MAX_INCLUDES or self.elements > _MAX_ELEMENTS:
            raise WorldError(
                f"{stack[0]}: its includes unfold to more than {_MAX_INCLUDES} models or {_MAX_ELEMENTS} elements (last: "
                f"{uri}): it includes too much, or the same thing over and over"
            )
        if source:
            self.expand(found, folder, (*stack, source))
        if folder is not None:
            found.set(BASE, str(folder))
        for tag in ("name", "static", "pose", "placement_frame"):
            self._override(include, found, tag)
        for child in include:
            if child.tag == "plugin":
                found.append(child)
            elif child.tag.startswith("experimental"):
                self.unsupported[f"include with {child.tag.replace('_', ':', 1)}"] = None
        if merge and include.get("merge", "").lower() in ("1", "true") and found.tag == "model":
            return _merged(found)
        return [found]

    def _override(self, include: Element, found: Element, tag: str) -> None:
        value = include.find(tag)
        if value is None or (tag != "pose" and not (value.text or "").strip()):
            return
        if tag == "name":
            found.set("name", (value.text or "").strip())
        elif tag == "placement_frame":
            found.set("placement_frame", (value.text or "").strip())
        else:
            for old in found.findall(tag):
                found.remove(old)
            found.append(value)

    def _open(self, uri: str, base: Path | None, stack: tuple[str, ...]) -> tuple[Element | None, Path | None, str]:
        """Return a fresh element for a URI, the folder its own URIs start at, and its file ("" = built in)."""
        name = last_name(uri)
        path = self.resources.find(uri, base)
        if path is not None and is_remote(uri) and any(Path(file).is_relative_to(path) for file in stack):
            path = None  # a wrapper of the remote model that has its name
        if path is not None and path.is_dir():
            path = self.resources.model_file(path)
        if path is None:
            built_in = _BUILT_IN.get(name.strip().replace(" ", "_").lower())
            return (_first(parse_xml(built_in, name)), None, "") if built_in else (None, None, "")
        if path.suffix.lower() not in _SDF_SUFFIXES:
            self.unsupported[f"include {uri}"] = None
            return None, None, ""
        if str(path) in stack:
            chain = " -> ".join(Path(file).name for file in (*stack[stack.index(str(path)) :], str(path)))
            raise WorldError(f"{path}: includes itself ({chain}): remove one of these includes")
        if path not in self.files:
            root = read_xml(path)
            check_version(root, str(path))
            element = _first(root)
            if element is None:
                raise WorldError(f"{path}: has no <model> or <light> to include: give an SDF model file")
            self.files[path] = (element, sum(1 for _ in element.iter()))
        element, size = self.files[path]
        self.elements += size
        return copy.deepcopy(element), path.parent, str(path)


def _first(root: Element) -> Element | None:
    return next((child for child in root if child.tag in ("model", "light", "actor")), None)


def _merged(model: Element) -> list[Element]:
    """Return the children of a model included with merge="true": they join the including model, at the model's pose."""
    name = model.get("name", "")
    frame_name = f"_merged__{name}__model_frame__"
    frame = Element("frame", {"name": frame_name})
    pose = model.find("pose")
    if pose is not None:
        frame.append(pose)
    if model.get("placement_frame"):
        frame.append(copy.deepcopy(model))
    result = [frame]
    for child in model:
        if child.tag in ("link", "frame", "model", "joint"):
            for element in child.iter("pose"):
                if element.get("relative_to") == "__model__":
                    element.set("relative_to", frame_name)
            if child.tag == "frame" and child.get("attached_to") in ("__model__", None, ""):
                child.set("attached_to", frame_name)
            own = child.find("pose")
            if own is None:
                own = SubElement(child, "pose")
                own.text = "0 0 0 0 0 0"
            if child.tag in ("link", "model") and not own.get("relative_to"):
                own.set("relative_to", frame_name)
            if model.get(BASE) and not child.get(BASE):
                child.set(BASE, str(model.get(BASE)))
            result.append(child)
    return result
