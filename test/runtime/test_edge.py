"""What a device's profile makes of the inference node's settings."""

from pathlib import Path

import pytest

from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path
from mm_nav.runtime.edge import InferenceSettings


def test_without_a_device_nothing_changes() -> None:
    assert InferenceSettings(provider="cuda").on("") == InferenceSettings(provider="cuda")


def test_a_profile_fills_what_is_left_at_its_default() -> None:
    found = InferenceSettings().on("orin-nx")
    assert Path(found.model).name == "small.onnx" and Path(found.light_model).name == "tiny.onnx"
    assert (found.provider, found.precision, found.deadline_ms) == ("tensorrt", "fp16", 66.0)
    laptop = InferenceSettings().on("x86-laptop")
    assert Path(laptop.model).is_file() and (laptop.provider, laptop.light_model) == ("cpu", "")


def test_what_is_given_holds() -> None:
    found = InferenceSettings(model="/my.onnx", provider="cpu", deadline_ms=30.0).on("orin-nx")
    assert found == InferenceSettings("/my.onnx", "cpu", "auto", 30.0, "")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(
        resource_path("config/edge/x86-laptop.yaml").read_text().replace("deadline_ms: 66", "deadline_ms: 20")
    )
    assert InferenceSettings().on(str(own)).deadline_ms == 20.0
    with pytest.raises(ConfigError, match="unknown device 'toaster'"):
        InferenceSettings().on("toaster")


def test_a_file_from_before_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It gave a rate, which nothing went by."""
    old = tmp_path / "old.yaml"
    old.write_text(resource_path("config/edge/x86-laptop.yaml").read_text() + "rate_hz: 15\n")
    assert InferenceSettings().on(str(old)).deadline_ms == 66.0
    assert capsys.readouterr().err == f"{old}: rate_hz is not used any more: take it out\n"
