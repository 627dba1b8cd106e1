"""`mm-nav train --smoke`: collect, train, export and drive, with the network of config/train/tiny.yaml."""

import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (make setup-train)")

from mm_nav.cli.main import EXIT_ERROR, EXIT_FAILED, EXIT_OK, main  # noqa: E402
from mm_nav.command import ErrorCode  # noqa: E402
from mm_nav.learning import smoke as module  # noqa: E402
from mm_nav.learning.export import PARITY_TOLERANCE  # noqa: E402
from mm_nav.policy.config import PolicyConfig  # noqa: E402
from mm_nav.runtime.policy import OnnxPolicy  # noqa: E402


def test_smoke_learns_exports_and_drives(tmp_path: Path, root: Path) -> None:
    arguments = ["train", "--smoke", "--config", str(root / "config/train/tiny.yaml"), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--json", str(tmp_path / "smoke.json")]) == EXIT_OK
    report = json.loads((tmp_path / "smoke.json").read_text())
    assert report["steps"] == 60 and report["frames"] == 64
    assert 0.0 < report["loss_last"] < 0.9 * report["loss_first"]
    assert math.isfinite(report["validation_total"])
    assert report["onnx_parity"] <= PARITY_TOLERANCE
    assert report["episode_error"] in ErrorCode.__members__
    # Three seconds at ten steps a second, if the robot has not run into something before.
    assert report["episode_error"] != "TIMEOUT" or report["episode_steps"] == 31
    assert OnnxPolicy(Path(report["model"]), provider="cpu").config == PolicyConfig(language_parts=True, hue_width=32)
    assert not list((tmp_path / "run").glob("frames-*")), "the frames are taken away again"


def test_a_loss_that_does_not_fall_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "smoke", lambda *_: {"passed": False})
    assert main(["train", "--smoke", "--out", str(tmp_path)]) == EXIT_FAILED


@pytest.mark.parametrize("extra", [["--resume"], ["--data", "x"], ["--minutes", "1"]])
def test_what_smoke_cannot_do_is_refused(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--smoke", *extra]) == EXIT_ERROR
    assert "--smoke collects its own data" in capsys.readouterr().err
