"""The list of nodes is complete, and the launch files build from it where `launch` is installed."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from mm_nav.ros.node_list import EMBEDDED, NodeSpec

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("spec", EMBEDDED, ids=lambda spec: spec.name)
def test_every_node_has_a_program_and_known_parameters(spec: NodeSpec) -> None:
    nodes = re.search(r"^NODES = [(\[](.*?)[)\]]$", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)
    assert nodes is not None and f'"{spec.name}"' in nodes[1], f"setup.py installs no {spec.executable}"
    assert callable(importlib.import_module(spec.module).main)
    assert set(yaml.safe_load((ROOT / spec.parameters).read_text())) <= {f"/**/{spec.name}", spec.name, "/**"}


@pytest.mark.parametrize("name", ["sim", "gazebo"])
def test_launch_file_declares_described_arguments_and_the_stack(name: str) -> None:
    # The folder launch/ of this repository can pass for a package of that name, so ask for a module inside.
    pytest.importorskip("launch.actions", reason="ROS 2 launch is not installed; there is no wheel of it")
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed; there is no wheel of it")
    from launch.actions import DeclareLaunchArgument
    from launch_ros.actions import Node

    found = importlib.util.spec_from_file_location(f"{name}_launch", ROOT / "launch" / f"{name}.launch.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    arguments = [entity for entity in entities if isinstance(entity, DeclareLaunchArgument)]
    assert arguments and all(len(argument.description) > 10 for argument in arguments)
    programs = {entity.node_executable for entity in entities if isinstance(entity, Node)}
    wanted = {spec.executable for spec in EMBEDDED if name == "sim" or spec.name != "simulator"}
    assert wanted <= programs
