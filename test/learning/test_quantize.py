"""A model in int8: nearly the same answers, a manifest that says so, and nothing left when it cannot be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (make setup-train)")

from mm_nav.cli.main import main
from mm_nav.errors import ConfigError
from mm_nav.learning.collect import CollectConfig, collect
from mm_nav.learning.dataset import find_shards
from mm_nav.learning.quantize import quantize_policy
from mm_nav.resources import resource_path
from mm_nav.runtime.manifest import load_manifest
from mm_nav.runtime.policy import OnnxPolicy

TINY = resource_path("models/tiny.onnx")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    list(collect(folder, CollectConfig(worlds=1, frames=24, worlds_per_shard=1), load_manifest(TINY)[1], workers=1))
    return folder


def test_int8_answers_nearly_as_fp32_does(data: Path, tmp_path: Path) -> None:
    out, done = tmp_path / "tiny_int8.onnx", []
    found = quantize_policy(TINY, find_shards(data), out, 10, progress=lambda k, of: done.append((k, of)))
    assert done[-1] == (10, 10) and found["visible_difference"] < 0.08 and found["visible_flips"] < 0.2
    assert out.stat().st_size < 0.5 * TINY.stat().st_size
    manifest, _ = load_manifest(out)
    assert manifest.precision == "int8" and manifest.metrics["int8"] == found
    assert manifest.training["quantized_from"] == load_manifest(TINY)[0].model_sha256
    policies = [OnnxPolicy(path, provider="cpu") for path in (TINY, out)]
    one, two = (policy.run(policy.nothing(2)) for policy in policies)
    assert set(one) == set(two) and all(np.isfinite(value).all() for value in two.values())
    with pytest.raises(ConfigError, match="int8 already"):
        quantize_policy(out, find_shards(data), tmp_path / "again.onnx", 10)


def test_too_few_frames_are_refused_and_leave_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    with pytest.raises(ConfigError, match="at most 12"):
        quantize_policy(TINY, find_shards(data), out, 20)
    assert not list(tmp_path.iterdir())


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (TINY, TINY.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    result = tmp_path / "q.json"
    arguments = ["quantize", str(tmp_path / "tiny.onnx"), "--data", str(data), "--frames", "6", "--json", str(result)]
    assert main(arguments) == 0
    assert (tmp_path / "tiny_int8.onnx").exists() and json.loads(result.read_text())["bearing_overlap"] > 0.5
    assert main([*arguments[:2], "--data", str(tmp_path)]) == 2
    assert "no shards" in capsys.readouterr().err
