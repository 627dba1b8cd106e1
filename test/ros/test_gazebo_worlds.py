"""Worlds load in Gazebo Fortress and Harmonic: what libsdformat says, and the systems that a robot's sensors need."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mm_nav.resources import resource_path
from mm_nav.sim.generator import generate_world
from mm_nav.sim.rig import load_rig
from mm_nav.sim.robot_model import robot_sdf

WORLDS = sorted(resource_path("worlds").glob("*.sdf"))
# By the names of Harmonic, which Fortress knows from 6.16 (January 2024) on: its loader turns gz-sim into ignition-gazebo, and
# its systems have the new class names as aliases. The old names have gone from later releases.
SYSTEMS = {
    "gz-sim-physics-system": "gz::sim::systems::Physics",
    "gz-sim-user-commands-system": "gz::sim::systems::UserCommands",  # puts the robot into the world
    "gz-sim-scene-broadcaster-system": "gz::sim::systems::SceneBroadcaster",  # the window
    "gz-sim-sensors-system": "gz::sim::systems::Sensors",  # cameras and LiDARs
    "gz-sim-imu-system": "gz::sim::systems::Imu",
    "gz-sim-contact-system": "gz::sim::systems::Contact",
}


def check_world(text: str, folder: Path) -> None:
    root = ET.fromstring(text)
    assert tuple(int(part) for part in (root.get("version") or "").split(".")) <= (
        1,
        9,
    )  # the newest that Fortress knows
    world = root.find("world")
    assert world is not None
    plugins = {plugin.get("filename"): plugin for plugin in world.findall("plugin")}
    assert {file: plugin.get("name") for file, plugin in plugins.items()} == SYSTEMS
    assert plugins["gz-sim-sensors-system"].findtext("render_engine") == "ogre2"
    assert "ignition" not in text and "frame_id" not in text
    # Without <gravity> it is SDF's own default, 9.8 m/s² downwards; nothing may switch it off.
    assert world.find("gravity") is None and not [
        link for link in world.iter("link") if link.find("gravity") is not None
    ]
    names = [model.get("name") for model in world.findall("model")]
    assert len(names) == len(set(names)) and "mm_nav_robot" not in names
    for picture in world.iter("albedo_map"):
        assert (folder / (picture.text or "")).is_file(), picture.text


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_committed_worlds_have_the_systems_that_sensors_need(path: Path) -> None:
    check_world(path.read_text(), path.parent)


@pytest.mark.parametrize("style", ["room", "warehouse", "showroom"])
def test_generated_worlds_have_them_too(style: str, tmp_path: Path) -> None:
    world = generate_world(11, style, "textured")
    world.write(tmp_path / "world.sdf")
    check_world((tmp_path / "world.sdf").read_text(), tmp_path)


@pytest.mark.skipif(shutil.which("ign") is None, reason="libsdformat's checker is not installed (ignition-tools)")
@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_libsdformat_accepts_worlds_with_two_robots_in_them(path: Path, tmp_path: Path) -> None:
    """As Gazebo has them once two robots of one preset are there: no name is taken twice."""
    tree = ET.fromstring(path.read_text())
    world = tree.find("world")
    assert world is not None
    for index, name in enumerate(("alpha", "beta")):
        model = ET.fromstring(robot_sdf(load_rig("jackal"), name, index=index)).find("model")
        assert model is not None
        world.append(model)
    whole = tmp_path / "world.sdf"
    whole.write_text(ET.tostring(tree, encoding="unicode"))
    for file in (path, whole):
        result = subprocess.run(["ign", "sdf", "-k", str(file)], capture_output=True, text=True, timeout=120)
        assert "Valid" in result.stdout and "Error" not in result.stderr, result.stderr
