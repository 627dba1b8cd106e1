"""Nodes refuse what they do not know and what is out of range, and say what is allowed."""

import subprocess
import sys

import pytest
import rclpy
from rclpy.parameter import Parameter

from mm_nav.ros.guard_node import GuardNode
from mm_nav.ros.inference_node import InferenceNode
from mm_nav.ros.navigator_node import NavigatorNode
from mm_nav.ros.parameters import ParameterSpec, refusal
from mm_nav.ros.simulator_node import SimulatorNode

NODES = [GuardNode, InferenceNode, NavigatorNode, SimulatorNode]


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "between 0.0 and 1.0"), ("x", "must be a float"), (float("nan"), "between"), (0.5, "")]
)
def test_refusals_name_the_range(value: object, text: str) -> None:
    reason = refusal(ParameterSpec("margin", 0.1, "metres", 0.0, 1.0), value)
    assert (text in reason) if text else reason == ""


def test_choices_are_listed() -> None:
    assert "auto, cpu" in refusal(ParameterSpec("provider", "auto", "p", choices=("auto", "cpu")), "npu")


@pytest.mark.parametrize("node", NODES)
def test_every_parameter_is_described(node: type) -> None:
    assert node.PARAMETERS and all(spec.text for spec in node.PARAMETERS)
    for spec in node.PARAMETERS:
        assert refusal(spec, spec.default) == "", spec.name
        if isinstance(spec.default, (int, float)) and not isinstance(spec.default, bool):
            assert spec.low is not None and spec.high is not None, spec.name


@pytest.mark.parametrize(
    ("module", "argument", "text"),
    [
        ("guard", "margin:=7.0", "between 0.0 and 0.5"),
        ("guard", "marginn:=0.1", "unknown parameter 'marginn'"),
        ("guard", "robot:=toaster", "give one of"),
        ("navigator", "robot:=/nowhere.yaml", "/nowhere.yaml"),
        ("inference", "provider:=npu", "one of auto, tensorrt, cuda, cpu"),
        ("inference", "model:=/nowhere/m.onnx", "does not exist"),
        ("inference", "device:=toaster", "unknown device"),
        ("simulator", "world:=/nowhere.sdf", "does not exist"),
    ],
)
def test_a_node_refuses_to_start(module: str, argument: str, text: str) -> None:
    command = [sys.executable, "-m", f"mm_nav.ros.{module}_node", "--ros-args", "-p", argument]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and text in result.stdout + result.stderr


def test_a_running_node_refuses_too() -> None:
    rclpy.init()
    try:
        node = GuardNode()
        refused = node.set_parameters([Parameter("margin", value=3.0)])[0]
        taken = node.set_parameters([Parameter("margin", value=0.1)])[0]
        # rclpy checks the declared range before it asks us, in its own words.
        assert not refused.successful and "Min: 0.0, Max: 0.5" in refused.reason and taken.successful
        assert node.describe_parameter("margin").description
        node.destroy_node()
    finally:
        rclpy.shutdown()
