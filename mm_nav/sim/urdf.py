"""Where the links of a URDF robot are: http://wiki.ros.org/urdf/XML/joint, fixed joints and others at zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError, WorldError
from mm_nav.sim.sdf import numbers, rotation_rpy, transform
from mm_nav.sim.sdf_xml import read_xml

Matrix = npt.NDArray[np.float64]


def link_poses(path: Path, base: str = "base_link") -> dict[str, Matrix]:
    """Return the pose (4, 4) of every link in the link `base`, metres; movable joints stand at zero.

    Raises ConfigError when the file cannot be read, is no URDF (xacro must be expanded first), lacks `base`, or has
    joints that form a loop.
    """
    try:
        root = read_xml(path)
        if root.tag != "robot":
            raise ConfigError(f"{path}: the root element is <{root.tag}>, not <robot>: give a URDF file")
        if any("xacro" in element.tag for element in root.iter()):
            raise ConfigError(f"{path}: holds xacro macros: expand them first (xacro FILE > robot.urdf)")
        joints = {}
        for joint in root.iter("joint"):
            parent, child, origin = joint.find("parent"), joint.find("child"), joint.find("origin")
            if parent is None or child is None:
                continue
            what = f"{path}: joint {joint.get('name')}"
            xyz, rpy = (
                numbers(origin.get(key, "0 0 0") if origin is not None else "0 0 0", what, 3) for key in ("xyz", "rpy")
            )
            joints[child.get("link", "")] = (parent.get("link", ""), transform(rotation_rpy(*rpy), xyz))
        names = [link.get("name", "") for link in root.iter("link")]
    except WorldError as error:
        raise ConfigError(str(error)) from error
    if base not in names:
        raise ConfigError(f"{path}: has no link '{base}' (links: {', '.join(names)}): set base_frame")

    def from_root(name: str) -> Matrix:
        pose = np.eye(4)
        for _ in range(len(joints) + 1):
            if name not in joints:
                return pose
            name, step = joints[name]
            pose = step @ pose
        raise ConfigError(f"{path}: the joints around '{name}' form a loop: correct the file")

    base_T_root = np.linalg.inv(from_root(base))
    return {name: base_T_root @ from_root(name) for name in names}
