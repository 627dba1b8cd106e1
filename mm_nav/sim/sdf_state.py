"""The <state> of worlds that Gazebo Classic saved: it loads them with the poses written there, not the models' own."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from mm_nav.sim.sdf import Matrix, parse_pose


@dataclass
class SavedState:
    """Poses (4, 4) in the world. models: by name, nested ones as "outer::inner"; links: by "model::link"; lights."""

    models: dict[str, Matrix] = field(default_factory=dict)
    links: dict[str, Matrix] = field(default_factory=dict)
    lights: dict[str, Matrix] = field(default_factory=dict)


def read_state(world: Element, source: str) -> SavedState:
    """Return the first <state> of a world, as Gazebo does; empty when there is none. Raises WorldError for bad poses."""
    state = SavedState()
    element = world.find("state")
    if element is None:
        return state
    for model in element.findall("model"):
        _read_model(model, "", state, source)
    for light in element.findall("light"):
        if light.find("pose") is not None:
            state.lights[light.get("name", "")] = parse_pose(light.find("pose"), f"{source}: state of a light")
    return state


def _read_model(element: Element, prefix: str, state: SavedState, source: str) -> None:
    name = prefix + element.get("name", "")
    what = f"{source}: state of '{name}'"
    if element.find("pose") is not None:
        state.models[name] = parse_pose(element.find("pose"), what)
    for link in element.findall("link"):
        if link.find("pose") is not None:
            state.links[f"{name}::{link.get('name', '')}"] = parse_pose(link.find("pose"), what)
    for inner in element.findall("model"):
        _read_model(inner, f"{name}::", state, source)
