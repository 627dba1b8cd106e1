"""Message definitions, as recordings carry them: the text of a type, and of every type it is made of."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

_SEPARATOR = "=" * 80
_PRIMITIVES = frozenset(
    {"bool", "byte", "char", "string", "wstring", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
# "geometry_msgs/Pose[] poses", "string<=8 name", "uint8[<=4] flags"; constants have "=" after the name.
_FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+")


def message_definition(msgtype: str, prefixes: Sequence[Path] | None = None) -> str:
    """Return the definition of a type such as "nav_msgs/msg/Odometry" in ros2msg form: its text, then "MSG: package/Name" and the
    text of each type it needs, after lines of 80 "=". "" = not known.

    prefixes: folders with share/PACKAGE/msg/NAME.msg; None = those of AMENT_PREFIX_PATH and of this Python. Types that are
    not there come from the rosbags library.
    """
    places = tuple(prefixes) if prefixes is not None else _prefixes()
    return _installed(msgtype, places) or _from_library(msgtype)


def _prefixes() -> tuple[Path, ...]:
    ament = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    return tuple(dict.fromkeys([*ament, Path(sys.prefix)]))


@lru_cache(maxsize=1024)
def _installed(msgtype: str, prefixes: tuple[Path, ...]) -> str:
    first = _text(msgtype, prefixes)
    if first is None:
        return ""
    parts, waiting, seen = [first], _needs(msgtype, first), {msgtype}
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        text = _text(name, prefixes)
        if text is None:
            return ""  # half a definition is of no use
        package, _, short = name.split("/")
        parts.append(f"{_SEPARATOR}\nMSG: {package}/{short}\n{text}")
        waiting += _needs(name, text)
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _text(msgtype: str, prefixes: tuple[Path, ...]) -> str | None:
    try:
        package, kind, name = msgtype.split("/")
    except ValueError:
        return None
    for prefix in prefixes:
        path = prefix / "share" / package / kind / f"{name}.msg"
        try:
            return path.read_text(encoding="utf-8")
        except OSError:
            continue
    return None


def _needs(msgtype: str, text: str) -> list[str]:
    """Return the types that a definition names, in full."""
    package, found = msgtype.split("/")[0], []
    for line in text.splitlines():
        match = _FIELD.match(line.split("#")[0])
        if match is None or match[1] in _PRIMITIVES:
            continue
        parts = match[1].split("/")
        found.append(f"{parts[0] if len(parts) > 1 else package}/msg/{parts[-1]}")
    return found


def _from_library(msgtype: str) -> str:
    from rosbags.typesys import Stores, get_typestore

    try:
        text, _ = get_typestore(Stores.ROS2_JAZZY).generate_msgdef(msgtype, ros_version=2)
    except Exception:  # whatever it is, the type is not known there
        return ""
    return str(text)
