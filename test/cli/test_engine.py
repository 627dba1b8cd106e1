"""`mm-nav engine`, without a GPU: TensorRT is played on the CPU, as in test_engines.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from mm_nav.cli import engine
from mm_nav.errors import ConfigError
from mm_nav.runtime import accelerated
from mm_nav.runtime.gpu import Gpu

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def mm_nav_engine(*words: str) -> int:
    """Run the subcommand by itself."""
    import argparse

    parser = argparse.ArgumentParser()
    engine.add_arguments(parser)
    return engine.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Play TensorRT; return the folders in which engines were made. Cleared, none is made any more."""
    made = ["on"]
    real = onnxruntime.InferenceSession

    def plays(path: str, options: object, providers: list[Any]) -> object:
        for provider in providers:
            if provider[0] == ALL[0] and made:
                file = Path(provider[1]["trt_engine_cache_path"]) / "policy_1.engine"
                if not file.exists():
                    file.write_bytes(b"engine" * 1000)
                    made.append(provider[1]["trt_fp16_enable"])
        session = real(path, options, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(session, "get_providers", lambda: ALL)
        monkeypatch.setattr(session, "get_provider_options", lambda: {name: {} for name in ALL})
        return session

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(onnxruntime, "InferenceSession", plays)
    monkeypatch.setattr(accelerated, "find_gpu", lambda: Gpu("Orin (compute capability 8.7)", "540", "12.6", "10.3.0"))
    return made


def test_a_device_gets_the_engines_that_its_node_opens(
    tensorrt: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.json"
    for built in (True, False):
        assert mm_nav_engine("build", "--device", "agx-orin", "--cache", tmp_path / "c", "--json", report) == 0
        data = json.loads(report.read_text())
        assert [Path(row["model"]).stem for row in data["engines"]] == ["small", "tiny"]
        for row in data["engines"]:
            assert row["built"] is built and row["bytes"] == 6000 and row["precision"] == "fp16"
            assert (Path(row["folder"]) / "policy_1.engine").is_file()
    assert tensorrt == ["on", "1", "1"] and "building a TensorRT engine (fp16) for Orin" in capsys.readouterr().out
    assert mm_nav_engine("list", "--cache", tmp_path / "c", "--json", report) == 0
    assert {row["gpu"] for row in json.loads(report.read_text())["engines"]} == {"Orin (compute capability 8.7)"}
    shown = capsys.readouterr().out
    assert "small" in shown and "tiny" in shown and "10.3.0" in shown


def test_the_node_uses_what_was_built(tensorrt: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_nav.runtime.edge import InferenceSettings
    from mm_nav.runtime.policy import OnnxPolicy

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert mm_nav_engine("build", "--device", "orin-nano") == 0
    settings, said = InferenceSettings().on("orin-nano"), list[str]()
    OnnxPolicy(Path(settings.model), settings.provider, precision=settings.precision, say=said.append)
    assert not said and len(tensorrt) == 2


def test_what_cannot_be_built_is_refused(tensorrt: list[str], tmp_path: Path) -> None:
    for words, text in (
        ([], "nothing to build"),
        (["--device", "x86-laptop"], "provider cpu"),
        (["--device", "toaster"], "unknown device"),
    ):
        with pytest.raises(ConfigError, match=text):
            mm_nav_engine("build", *words, "--cache", tmp_path)
    tensorrt.clear()
    with pytest.raises(ConfigError, match="no engine that can be kept"):
        mm_nav_engine("build", "tiny", "--cache", tmp_path)


def test_without_tensorrt_it_says_what_to_install(tmp_path: Path) -> None:
    if ALL[0] in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has TensorRT")
    with pytest.raises(ConfigError, match="install onnxruntime-gpu"):
        mm_nav_engine("build", "tiny", "--cache", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_empty_or_broken_cache_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mm_nav_engine("list", "--cache", tmp_path) == 0
    assert "no engines in" in capsys.readouterr().out
    (tmp_path / "x").mkdir()
    (tmp_path / "x/provenance.json").write_text("{}")
    assert mm_nav_engine("list", "--cache", tmp_path) == 0
    assert "broken" in capsys.readouterr().out
