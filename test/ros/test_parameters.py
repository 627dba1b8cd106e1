"""Nodes refuse what they do not know and what is out of range, and say what is allowed."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import rclpy
import yaml
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from mm_nav.ros import node_list
from mm_nav.ros.guard_node import GuardNode
from mm_nav.ros.inference_node import InferenceNode
from mm_nav.ros.navigator_node import NavigatorNode
from mm_nav.ros.node_list import EMBEDDED, NodeSpec
from mm_nav.ros.parameters import ParameterSpec, refusal
from mm_nav.ros.simulator_node import SimulatorNode
from mm_nav.ros.stack_node import AUTOSTART

NODES = [GuardNode, InferenceNode, NavigatorNode, SimulatorNode]
# Nodes that are started only when they are asked for.
EXTRA = [node for node in vars(node_list).values() if isinstance(node, NodeSpec) and node not in EMBEDDED]


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
    assert node.PARAMETERS and len({spec.name for spec in node.PARAMETERS}) == len(node.PARAMETERS)
    for spec in node.PARAMETERS:
        assert refusal(spec, spec.default) == "", spec.name
        assert len(spec.text.split()) >= 2, spec.name
        if isinstance(spec.default, (int, float)) and not isinstance(spec.default, bool):
            assert spec.low is not None and spec.high is not None and spec.low < spec.high, spec.name
        if isinstance(spec.default, str) and not spec.choices:
            # What may be written there: a file, a model, a robot, or what an empty text means.
            assert any(word in spec.text for word in ("file", "empty", "config/", "ONNX", "comma")), spec.name


@pytest.mark.parametrize("node", NODES)
def test_what_a_node_is_told_while_it_runs(node: type, started: None) -> None:
    """For every parameter: `ros2 param describe` has text and range, and what is not allowed is refused in our words."""
    running = node()
    try:
        for spec in (AUTOSTART, *node.PARAMETERS):
            described = running.describe_parameter(spec.name)
            assert described.description.startswith(spec.text)
            assert len(described.floating_point_range) + len(described.integer_range) == (spec.low is not None), (
                spec.name
            )
            wrong = {Parameter(spec.name, value=[1.5]): "must be a", Parameter(spec.name): "cannot be deleted"}
            if spec.low is not None and spec.high is not None:
                kind = type(spec.default)
                far = [Parameter(spec.name, value=kind(value)) for value in (spec.low - 1, spec.high + 1)]
                wrong |= dict.fromkeys(far, f"between {spec.low} and {spec.high}")
            if spec.choices:
                wrong[Parameter(spec.name, value="nonsense")] = f"one of {', '.join(spec.choices)}"
            if isinstance(spec.default, float):
                wrong[Parameter(spec.name, value=float("nan"))] = "between"
            for parameter, words in wrong.items():
                for result in (running.set_parameters([parameter])[0], running.set_parameters_atomically([parameter])):
                    assert not result.successful and words in result.reason and spec.name in result.reason, result
            assert running.get_parameter(spec.name).value == spec.default
            kept = running.set_parameters([Parameter(spec.name, value=spec.default)])[0]
            assert kept.successful, kept.reason
        name = node.PARAMETERS[0].name
        refused = running.set_parameters([Parameter(name + "x", value=1.0)])[0]
        assert not refused.successful and f"unknown parameter '{name}x': did you mean '{name}'?" in refused.reason
        # All or nothing.
        both = [Parameter("autostart", value=False), Parameter("nonsense", value=1)]
        assert not running.set_parameters_atomically(both).successful and running.value("autostart") is True
    finally:
        running.destroy_node()


def test_what_is_told_over_the_services(started: None) -> None:
    """As `ros2 param set` does it: the refusal arrives with its reason, and the node goes on."""
    running, other = GuardNode(), rclpy.create_node("teller")
    executor = SingleThreadedExecutor()
    client = other.create_client(SetParameters, "/guard/set_parameters")
    for each in (running, other):
        executor.add_node(each)
    try:
        running.start()
        assert client.wait_for_service(20.0)
        values = [
            Parameter("margin", value=9.0), Parameter("margn", value=0.1), Parameter("margin", value="wide"),
            Parameter("margin", value=0.1), Parameter("margin"),
        ]  # fmt: skip
        request = SetParameters.Request(parameters=[value.to_parameter_msg() for value in values])
        answer = client.call_async(request)
        executor.spin_until_future_complete(answer, 20.0)
        reasons = [result.reason for result in answer.result().results]
        words = [
            "between 0.0 and 0.5",
            "did you mean 'margin'?",
            "must be a float",
            "deactivate it first",
            "cannot be deleted",
        ]
        assert all(word in reason for word, reason in zip(words, reasons, strict=True)), reasons
        assert running.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        whole = running.set_parameters([Parameter("margin", value=0)])[0]
        assert whole.successful and "configured next" in whole.reason
        assert running.get_parameter("margin").value == 0.0 and running.value("margin") == 0.03
    finally:
        running.close()
        for each in (running, other):
            each.destroy_node()


@pytest.mark.parametrize("spec", [*EMBEDDED, *EXTRA], ids=lambda spec: spec.name)
def test_files_name_only_what_a_node_has(spec: NodeSpec, root: Path) -> None:
    if not spec.parameters:
        pytest.skip("it has no file")
    text = (root / spec.parameters).read_text()
    (given,) = [values["ros__parameters"] for values in yaml.safe_load(text).values()]
    known = {
        s.name: s for s in (AUTOSTART, *getattr(import_module(spec.module), f"{_class_name(spec.name)}").PARAMETERS)
    }
    for name, value in given.items():
        assert name in known, name
        assert refusal(known[name], value) == "", name
        # A value that is written there does what leaving it out does: the file documents, it does not tune.
        assert value == known[name].default, name
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{name}:"))
        assert "#" in line, f"{name}: no comment says what follows from it"


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_")) + "Node"


@pytest.mark.parametrize(
    ("module", "arguments", "text"),
    [
        ("guard", ["-p", "margin:=7.0"], "between 0.0 and 0.5"),
        ("guard", ["-p", "marginn:=0.1"], "unknown parameter 'marginn': did you mean 'margin'?"),
        ("guard", ["-p", "qos_overrides./scan.subscription.depth:=1"], "unknown parameter 'qos_overrides"),
        ("guard", ["-p", "slow_scan_age:=1.0"], "slow_scan_age"),
        ("guard", ["-p", "use_sim_time:=3"], "use_sim_time"),
        ("guard", ["-p", "margin:=["], "ROS arguments cannot be used"),
        ("guard", ["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        ("guard", ["-p", "robot:=toaster"], "give one of"),
        ("navigator", ["-p", "robot:=/nowhere.yaml"], "/nowhere.yaml"),
        ("navigator", ["-p", "belief.decay:=1.0"], "unknown parameter 'belief.decay'"),
        ("inference", ["-p", "provider:=npu"], "one of auto, tensorrt, cuda, cpu"),
        ("inference", ["-p", "model:=/nowhere/m.onnx"], "does not exist"),
        ("inference", ["-p", "device:=toaster"], "unknown device"),
        ("simulator", ["-p", "world:=/nowhere.sdf"], "does not exist"),
    ],
)
def test_a_node_refuses_to_start(module: str, arguments: list[str], text: str) -> None:
    command = [sys.executable, "-m", f"mm_nav.ros.{module}_node", "--ros-args", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and text in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
