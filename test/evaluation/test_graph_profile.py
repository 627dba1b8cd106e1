"""Operations are counted as anyone would by hand, and estimates follow from them."""

from pathlib import Path

import numpy as np
import pytest

from mm_nav.errors import ConfigError, ModelError
from mm_nav.evaluation.graph_profile import GraphProfile, Operator, estimate, profile_graph
from mm_nav.resources import resource_path
from mm_nav.runtime.edge import edge_devices, load_edge_profile

TINY = resource_path("models/tiny.onnx")


def graph(*operators: Operator) -> GraphProfile:
    return GraphProfile(operators, sum(o.parameters for o in operators), np.ones(3), {"Conv": 1.0})


def test_what_is_known_of_a_layer_is_counted(tmp_path: Path) -> None:
    """A 3x3 convolution from 3 to 8 channels on 16x16 pixels, a matrix, and a sum of what comes out."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (make setup-train)")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def weights(name: str, *shape: int) -> object:
        return helper.make_tensor(name, kind, shape, np.ones(shape, np.float32).ravel())

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["z"]),
    ]
    described = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [1, 3, 16, "wide"])],
        [helper.make_tensor_value_info("z", kind, None)],
        [weights("w", 8, 3, 3, 3), weights("b", 8), weights("m", 16, 5)],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(described, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    profile = profile_graph(path, phrases=16, runs=3)
    by_kind = {operator.kind: operator for operator in profile.operators}
    assert by_kind["Conv"].flops == 2 * 8 * 16 * 16 * 27 + 8 * 16 * 16
    assert by_kind["Relu"].flops == 8 * 16 * 16
    assert by_kind["MatMul"].flops == 2 * 8 * 16 * 5 * 16
    assert profile.parameters == 8 * 27 + 8 + 16 * 5 and len(profile.times) == 3
    assert by_kind["Relu"].bytes_moved("fp16") == 2 * 2 * 8 * 16 * 16


def test_the_model_that_comes_with_it(request: pytest.FixtureRequest) -> None:
    one, many = (profile_graph(TINY, phrases, runs=2) for phrases in (1, 8))
    assert 1.3e6 < one.parameters < 1.6e6 and 1e8 < one.flops < one.flops * 1.1 < many.flops < 2 * one.flops
    assert sum(one.by_kind.values()) <= 1.3 * one.times.mean()


def test_an_estimate_is_never_below_what_the_hardware_can() -> None:
    hardware = load_edge_profile("orin-nano").hardware
    heavy = graph(Operator("c", "Conv", 1e9, 1000, 10))
    wide = graph(Operator("t", "Transpose", 0.0, 10_000_000, 0))
    by_compute, by_memory = estimate(heavy, hardware, "fp16"), estimate(wide, hardware, "fp16")
    assert by_compute.bound == pytest.approx(1e3 * 1e9 / hardware.peak("fp16")) and by_compute.memory == 0.0
    assert by_memory.bound == pytest.approx(1e3 * 2e7 / 68.3e9) and by_memory.compute == 0.0
    for guess in (by_compute, by_memory):
        assert guess.total > guess.bound
    assert estimate(heavy, hardware, "int8").total < by_compute.total


def test_faster_devices_are_estimated_faster() -> None:
    profile = profile_graph(TINY, 1, runs=1)
    totals = [
        estimate(profile, load_edge_profile(name).hardware, "fp16").total for name in ("orin-nano", "agx-orin", "thor")
    ]
    assert totals == sorted(totals, reverse=True)


def test_every_device_has_a_budget() -> None:
    assert {"orin-nano", "orin-nx", "agx-orin", "thor", "x86-laptop"} <= set(edge_devices())
    for name in edge_devices():
        device = load_edge_profile(name)
        assert device.name == name and 0.0 < device.deadline_ms <= 66.0


def test_what_cannot_be_profiled_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(TINY.read_bytes()[:5000])
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        profile_graph(broken)
    with pytest.raises(ModelError, match="does not exist"):
        profile_graph(tmp_path / "none.onnx")
    with pytest.raises(ConfigError, match="phrases"):
        profile_graph(TINY, phrases=0)
    with pytest.raises(ConfigError, match="unknown device"):
        load_edge_profile("toaster")
    other = tmp_path / "mine.yaml"
    other.write_text(resource_path("config/edge/thor.yaml").read_text().replace("memory_gb_s: 273.0", "memory_gb_s: 0"))
    with pytest.raises(ConfigError, match="memory_gb_s"):
        load_edge_profile(str(other))
