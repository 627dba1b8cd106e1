"""`mm-nav world generate` writes worlds that load, one or many, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mm_nav.cli.main import main
from mm_nav.sim.generator import ALL_STYLES, generate_world
from mm_nav.sim.world import load_world


def test_textures_are_the_default_and_plain_is_what_training_saw(tmp_path: Path) -> None:
    for extra, look in (([], "textured"), (["--plain"], "plain")):
        path = tmp_path / look / "w.sdf"
        assert main(["world", "generate", "--seed", "4", "--style", "office", *extra, "--out", str(path)]) == 0
        assert path.read_text() == generate_world(4, "office", look).sdf
        assert load_world(path).missing == ()
        assert (path.parent / "textures").is_dir() == (look == "textured")


def test_many_worlds_are_named_by_their_seeds(tmp_path: Path) -> None:
    command = ["world", "generate", "--seed", "5", "--count", "3", "--style", "maze", "--out", str(tmp_path / "m.sdf")]
    assert main([*command, "--json", str(tmp_path / "r.json")]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.sdf")) == ["m_5.sdf", "m_6.sdf", "m_7.sdf"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert [entry["seed"] for entry in report["worlds"]] == [5, 6, 7]


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (["--style", "castle"], "warehouse"),
        (["--count", "0"], "1 or above"),
        (["--seed", "-1"], "0 or above"),
    ],
)
def test_wrong_values_are_refused_with_advice(
    wrong: list[str], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["world", "generate", "--seed", "1", "--out", str(tmp_path / "w.sdf"), *wrong]) == 2
    assert advice in capsys.readouterr().err


def test_help_names_every_style(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["world", "generate", "--help"])
    text = capsys.readouterr().out
    assert all(style in text for style in ALL_STYLES)
