"""Several robots on one ROS graph: what they are called, and what they are."""

from __future__ import annotations

import re

from mm_nav.errors import ConfigError
from mm_nav.robot import robot_file

# A robot in a namespace has a TF tree of its own there.
TF_REMAPPINGS = ("/tf:=tf", "/tf_static:=tf_static")

# One part of a ROS name. rcl refuses what is not one only when the first topic is made, and does not say whose it was.
NAME_PART = re.compile(r"(?!.*__)[A-Za-z][A-Za-z0-9_]*")


def robot_names(text: str) -> tuple[str, ...]:
    """Return the robots' namespaces of "alpha, beta"; () for "". Raises ConfigError for what cannot be a ROS namespace."""
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    for index, name in enumerate(names):
        if not NAME_PART.fullmatch(name):
            raise ConfigError(
                f"robot name '{name}' of '{text}' cannot be a ROS namespace, for it is no ROS name: give letters, digits and "
                "single underscores, beginning with a letter, and a comma between two names"
            )
        if name in names[:index]:
            raise ConfigError(f"robot name '{name}' is there twice in '{text}': give each robot a name of its own")
    return names


def robot_kinds(text: str, count: int | None = None) -> tuple[str, ...]:
    """Return what each robot is, of "generic" (all are that) or "generic, jackal": names in config/robots or YAML files.

    count: of robots, None = as many as are named. Raises ConfigError for an unknown one, and when they are neither one nor `count`.
    """
    kinds = tuple(kind.strip() for kind in text.split(","))
    for kind in kinds:
        robot_file(kind)
    if count is None or len(kinds) == count:
        return kinds
    if len(kinds) > 1:
        raise ConfigError(
            f"robot is '{text}', {len(kinds)} robots, but there are {count} ({len(kinds)} kinds for {count} "
            f"robot{'s' if count > 1 else ''}): give one for all or one for each"
        )
    return kinds * count
