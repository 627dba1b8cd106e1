"""Typed access to SDF elements, numbers and poses (http://sdformat.org, versions 1.4 to 1.11)."""

from __future__ import annotations

import math
import re
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError

Matrix = npt.NDArray[np.float64]

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def check_version(root: Element, source: str) -> str:
    """Return the SDF version of an <sdf> root element; raise WorldError for anything that is not SDF."""
    if root.tag == "robot":
        raise WorldError(f"{source}: is URDF (root element <robot>), not SDF: convert it first (gz sdf -p FILE)")
    if root.tag == "gazebo":
        raise WorldError(
            f"{source}: is SDF {root.get('version', '1.2')} with the root element <gazebo>; versions 1.4 to 1.11 are "
            "read: convert the file (gz sdf -p FILE)"
        )
    if root.tag != "sdf":
        raise WorldError(f"{source}: the root element is <{root.tag}>, not <sdf>: give an SDF world or model file")
    text = (root.get("version") or "").strip()
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,2}", text):
        raise WorldError(f'{source}: <sdf version="{text}"> has no version like 1.4 to 1.11: add one')
    major, minor = (int(part) for part in f"{text}.0".split(".")[:2])
    if major != 1 or not 3 <= minor <= 12:
        raise WorldError(
            f"{source}: SDF {text} is not read; versions 1.4 to 1.11 are: convert the file (gz sdf -p FILE)"
        )
    return text


def text_of(element: Element | None, tag: str, default: str = "") -> str:
    """Return the stripped text of child `tag`, or `default` when it is absent or empty."""
    child = element.find(tag) if element is not None else None
    return (child.text or "").strip() or default if child is not None else default


def numbers(text: str, what: str, count: int | None = None) -> npt.NDArray[np.float64]:
    """Return the whitespace-separated numbers of `text` as (count,) float64.

    Numbers without a space between ("41.6-0.19", "6.00.5") are parted where the first one must end, as Gazebo's stream
    does. Raises WorldError naming `what` when something is not a finite number or the count differs.
    """
    try:
        values = np.array([float(part) for part in _number_words(text)], np.float64)
    except ValueError as error:
        raise WorldError(f"{what}: '{text[:80]}' is not a list of numbers ({error}): correct it") from error
    if count is not None and len(values) != count:
        raise WorldError(f"{what}: '{text[:80]}' has {len(values)} numbers, expected {count}: correct it")
    if not np.all(np.isfinite(values)):
        raise WorldError(f"{what}: '{text[:80]}' holds a number that is not finite: correct it")
    return values


def _number_words(text: str) -> list[str]:
    words = text.split()
    try:
        [float(word) for word in words]
    except ValueError:
        found, at = [], 0
        while (match := _NUMBER.match(text, at)) is not None:
            found.append(match[1])
            at = match.end()
        return found if at == len(text) else words
    return words


def vector(element: Element | None, tag: str, default: tuple[float, ...], what: str = "") -> npt.NDArray[np.float64]:
    """Return child `tag` as a vector of len(default) numbers; `default` when it is absent."""
    text = text_of(element, tag)
    return numbers(text, f"{what}<{tag}>", len(default)) if text else np.array(default, np.float64)


def scalar(element: Element | None, tag: str, default: float, what: str = "") -> float:
    """Return child `tag` as a number; `default` when it is absent."""
    return float(vector(element, tag, (default,), what)[0])


def flag(element: Element | None, tag: str, default: bool = False) -> bool:
    """Return child `tag` as a truth value ("1" or "true")."""
    text = text_of(element, tag).lower()
    return text in ("1", "true") if text else default


def rotation_rpy(roll: float, pitch: float, yaw: float) -> Matrix:
    """Return the (3, 3) rotation about fixed x, then y, then z (rad), as SDF defines it."""
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (math.cos, math.sin))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def transform(rotation: Matrix, translation: npt.ArrayLike) -> Matrix:
    """Return the (4, 4) rigid transform of a (3, 3) rotation and a (3,) translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def parse_pose(element: Element | None, what: str) -> Matrix:
    """Return a <pose> element as (4, 4): x y z roll pitch yaw, with `degrees` and `rotation_format="quat_xyzw"`."""
    text = (element.text or "").strip() if element is not None else ""
    if element is None or not text:
        return np.eye(4)
    if element.get("rotation_format", "euler_rpy") == "quat_xyzw":
        values = numbers(text, what, 7)
        x, y, z, w = values[3:] / max(float(np.linalg.norm(values[3:])), 1e-12)
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        return transform(rotation, values[:3])
    values = numbers(text, what)
    if not 3 <= len(values) <= 6:  # angles that are left out are 0 to Gazebo Classic
        raise WorldError(f"{what}: '{text[:80]}' has {len(values)} numbers, expected 6: x y z roll pitch yaw")
    angles = np.concatenate([values[3:], np.zeros(6 - len(values))])
    if element.get("degrees", "").lower() in ("1", "true"):
        angles = np.radians(angles)
    return transform(rotation_rpy(*angles), values[:3])
