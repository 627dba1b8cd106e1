"""XML that both models of a robot, SDF and URDF, are made of."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from mm_nav.sim.robot_body import Link


def add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    """Append an element to `parent` and return it."""
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def number(value: float) -> str:
    """Return a number with nine significant digits."""
    return f"{value:.9g}"


def join(values: Iterable[float]) -> str:
    """Return numbers apart by spaces; -0 becomes 0."""
    return " ".join(number(value + 0.0) for value in values)


def pose(xyz: Iterable[float], rpy: Iterable[float] = (0.0, 0.0, 0.0)) -> str:
    """Return "x y z roll pitch yaw"."""
    return f"{join(xyz)} {join(rpy)}"


def tensor(link: Link) -> dict[str, str]:
    """Return the six entries of a link's inertia, kg m²; zero for one without mass."""
    ixx, iyy, izz = link.inertia.moments if link.inertia is not None else (0.0, 0.0, 0.0)
    values = {"ixx": ixx, "ixy": 0.0, "ixz": 0.0, "iyy": iyy, "iyz": 0.0, "izz": izz}
    return {key: number(value) for key, value in values.items()}


def document(root: ET.Element, header: str) -> str:
    """Return the file: declaration, `header` as a comment, and the indented tree."""
    ET.indent(root, "  ")
    return f'<?xml version="1.0"?>\n<!-- {header} -->\n{ET.tostring(root, encoding="unicode")}\n'
