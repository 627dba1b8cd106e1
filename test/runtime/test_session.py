"""Providers are chosen by name; what cannot be used is refused with the remedy."""

from pathlib import Path

import onnxruntime
import pytest

from mm_nav.errors import ConfigError, ModelError
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
