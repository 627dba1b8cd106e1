"""Providers are chosen by name; what cannot be used is refused with the remedy."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from mm_nav.errors import ConfigError, ModelError
from mm_nav.resources import resource_path
from mm_nav.runtime.session import open_session, resolve_providers


def test_auto_ends_with_the_cpu() -> None:
    assert resolve_providers("auto")[-1] == "CPUExecutionProvider"
    assert resolve_providers("cpu") == ["CPUExecutionProvider"]


def test_auto_prefers_tensorrt_then_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = ["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    assert resolve_providers("auto") == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]
    assert resolve_providers("cuda") == ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_unknown_and_absent_providers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown provider 'npu'"):
        resolve_providers("npu")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="onnxruntime-gpu"):
        resolve_providers("tensorrt")


def test_missing_and_broken_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        open_session(tmp_path / "none.onnx", ["CPUExecutionProvider"])
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07not a model")
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        open_session(broken, ["CPUExecutionProvider"])


@pytest.mark.parametrize("graphs", [True, False])
def test_cuda_computes_exactly_and_records_graphs_where_it_can(monkeypatch: pytest.MonkeyPatch, graphs: bool) -> None:
    """CUDA is played on the CPU; it refuses graphs as it does when an operator is not its own."""
    real, tried = onnxruntime.InferenceSession, list[dict[str, str]]()

    def plays(path: str, options: object, providers: list[Any]) -> object:
        tried.append(providers[0][1])
        if "enable_cuda_graph" in tried[-1] and not graphs:
            raise Fail("This session cannot use the graph capture feature")
        session = real(path, options, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(session, "get_providers", lambda: ["CUDAExecutionProvider"])
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", plays)
    open_session(resource_path("models/tiny.onnx"), ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert len(tried) == (1 if graphs else 2) and all(options["use_tf32"] == "0" for options in tried)
    assert ("enable_cuda_graph" in tried[-1]) == graphs
