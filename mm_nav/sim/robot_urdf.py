"""Presets of config/robots as URDF (http://wiki.ros.org/urdf/XML)."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from mm_nav.sim.robot_body import Link, Shape, robot_body
from mm_nav.sim.robot_xml import add, document, join, number, tensor
from mm_nav.sim.simulator import SimConfig


def robot_urdf(rig: SimConfig, name: str = "") -> str:
    """Return the URDF of a preset: the same links, joints, shapes and inertias, and a link for each sensor.

    base_link is the root and lies on the floor. Frames of sensors are those of config/topics.yaml, and have no prefix: each
    robot has its TF tree below its own namespace. name: of the robot, by default the preset's. Raises ConfigError as
    `robot_sdf`.
    """
    root = ET.Element("robot", {"name": name or rig.robot.name})
    for link in robot_body(rig).links:
        _urdf_link(root, link)
        if link.parent:
            _urdf_joint(root, link)
    return document(root, f"Robot '{rig.robot.name}', written by mm_nav from its preset: do not edit.")


def _urdf_link(root: ET.Element, link: Link) -> None:
    element = add(root, "link", name=link.name)
    if link.inertia is not None:
        inertial = add(element, "inertial")
        add(inertial, "origin", xyz=join(link.inertia.xyz), rpy="0 0 0")
        add(inertial, "mass", value=number(link.inertia.mass))
        add(inertial, "inertia", **tensor(link))
    for shape in link.shapes:
        for kind, there in (("visual", shape.visible), ("collision", shape.solid)):
            if there:
                part = add(element, kind)
                add(part, "origin", xyz=join(shape.xyz), rpy=join(shape.rpy))
                _urdf_geometry(add(part, "geometry"), shape)


def _urdf_geometry(geometry: ET.Element, shape: Shape) -> None:
    if shape.kind == "box":
        add(geometry, "box", size=join(shape.size))
    elif shape.kind == "cylinder":
        add(geometry, "cylinder", radius=number(shape.size[0]), length=number(shape.size[1]))
    else:
        add(geometry, "sphere", radius=number(shape.size[0]))


def _urdf_joint(root: ET.Element, link: Link) -> None:
    joint = add(root, "joint", name=link.joint_name, type=link.joint)
    add(joint, "parent", link=link.parent)
    add(joint, "child", link=link.name)
    add(joint, "origin", xyz=join(link.xyz), rpy=join(link.rpy))
    if link.joint != "fixed":
        add(joint, "axis", xyz=join(link.axis))
    if link.joint == "revolute":
        reach = number(link.limit)
        add(joint, "limit", lower=f"-{reach}", upper=reach, effort="25", velocity=number(link.velocity))
