"""The ablation study's numbers against ones worked out by hand, and its page."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from mm_nav.errors import ConfigError
from mm_nav.evaluation import ablation
from mm_nav.evaluation.ablation import (
    ABLATIONS,
    SuiteRun,
    check_suites,
    compare,
    failures,
    provenance,
    summarise_ablation,
)
from mm_nav.evaluation.ablation_report import write_ablation_report
from mm_nav.evaluation.episodes import EpisodeResult
from mm_nav.evaluation.language import Record, suite_config
from mm_nav.evaluation.metrics import mcnemar_exact
from mm_nav.runtime.policy import default_model

KINDS = ("category", "colour", "synonym")
WINS = {"full": "1111110011", "no_language": "0000000001", "camera_only": "1111100111"}
NOT_RUN = {"late_fusion": "it runs another model: give --variant late_fusion=FILE"}


def result(seed, success, **changes):
    base = EpisodeResult(
        seed, KINDS[seed % 3], "go to the <red> box", success, False, 20.0 + seed % 7, 6.0, 4.0, success * 4.0 / 6.0,
        0 if success else 5, "succeeded" if success else "failed", "", 0.7, 1, 0, 50, f"{seed:064x}", (), ("red_box_1",),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def study(suites=("seen",), model=""):
    runs = []
    for suite in suites:
        config = suite_config(suite, seed=5000, episodes=10, conditions=tuple(WINS), model=model)
        records = [
            Record(name, result(5000 + i, letter == "1"))
            for name, letters in WINS.items()
            for i, letter in enumerate(letters)
        ]
        runs.append(SuiteRun(config, tuple(records)))
    return runs


def summary_of(runs):
    comparisons = compare(runs)
    return comparisons, summarise_ablation(runs, comparisons, NOT_RUN, provenance(runs[0].config, "mm-nav x"))


def test_every_condition_is_compared_with_the_whole_stack_on_the_same_episodes():
    no_language, camera_only = compare(study())
    assert (no_language.losses, no_language.wins, no_language.episodes) == (7, 0, 10)
    assert no_language.difference == pytest.approx(-0.7)
    assert no_language.p_value == pytest.approx(2 * 0.5**7)
    assert (camera_only.losses, camera_only.wins) == (1, 1) and camera_only.p_value == 1.0
    assert camera_only.spl_difference == pytest.approx(0.0)
    assert no_language.spl_difference == pytest.approx(-0.7 * 4 / 6) and no_language.spl_p_value < 0.01
    # Holm over two comparisons: the smaller one counts twice.
    assert no_language.p_holm == pytest.approx(2 * no_language.p_value) and camera_only.p_holm == 1.0


def test_correction_is_over_all_suites():
    alone, both = compare(study()), compare(study(("seen", "combination")))
    assert [c.suite for c in both] == ["seen", "seen", "combination", "combination"]
    assert both[0].p_value == alone[0].p_value and both[0].p_holm == pytest.approx(4 * alone[0].p_value)


def test_episodes_that_only_one_of_the_two_has_are_left_out():
    (run,) = study()
    run = dataclasses.replace(
        run, records=tuple(r for r in run.records if r.result.seed != 5003 or r.condition == "full")
    )
    no_language, _ = compare([run])
    assert no_language.episodes == 9 and no_language.losses == 6
    assert no_language.p_value == mcnemar_exact([True] * 6, [False] * 6)


def test_summary_is_flat_and_names_what_was_not_run():
    _, data = summary_of(study(("seen", "combination")))
    assert data["success_rate"] == 0.8 == data["combination_success_rate"]
    assert data["no_language_success_rate"] == 0.1 and data["combination_camera_only_success_rate"] == 0.8
    assert data["p_holm_no_language"] >= data["p_value_no_language"]
    assert data["losses_no_language"] == 7 and data["wins_camera_only"] == 1
    low, high = data["success_difference_no_language_ci95"]
    assert low < data["success_difference_no_language"] < high < 0
    assert data["not_run"] == ["late_fusion"] and "--variant" in data["not_run_late_fusion"]
    assert data["suites"] == ["seen", "combination"] and data["command"] == "mm-nav x"
    assert not any(isinstance(value, dict) for value in data.values())
    json.dumps(data)


def test_failures_are_counted_by_how_they_ended():
    ended = [result(1, True), result(2, False), result(3, False, collided=True)]
    ended.append(result(4, False, stage="succeeded", ended_at="blue_box_1"))
    assert failures(ended) == {
        "timeout": 1, "collision": 1, "stopped at an object of the right category and another colour": 1,
    }  # fmt: skip


@pytest.mark.parametrize("names", [(), ("seen", "swap")])
def test_suites_without_single_episodes_are_refused(names):
    with pytest.raises(ConfigError, match="single episodes"):
        check_suites(names)


def test_all_conditions_of_the_study_are_known():
    assert {"full", "camera_only", "lidar_only", "no_language", "late_fusion", "no_memory", "no_belief_map"} <= set(
        ABLATIONS
    )
    assert {"no_dagger", "expert", "classical"} <= set(ABLATIONS)


def test_page_is_one_file_that_says_everything(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    manifest, config = ablation.load_manifest(default_model())
    bare = dataclasses.replace(manifest, metrics={})
    monkeypatch.setattr(ablation, "load_manifest", lambda path: (bare, config))
    runs = study(model=str(default_model()))
    comparisons, data = summary_of(runs)
    page = write_ablation_report(tmp_path, runs, comparisons, data)
    text = page.read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert len(sources) == 5 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text) and "<script" not in text
    for words in (
        "Motivation",
        "Setup",
        "not run: it runs another model",
        "Not in this model",
        "not held out",
        "p (Holm)",
    ):
        assert words in text
    assert "&lt; 0.001" in text and data["model_sha256"] in text and "80.0 % [49, 94]" in text
    assert "0.031" in text  # of no_language, after the correction
    assert re.search(r"<tr><td>timeout</td><td>2</td><td>9</td><td>2</td></tr>", text)
    markdown = (tmp_path / "ablation.md").read_text()
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", markdown)
    assert len(pictures) == 5 and all((tmp_path / name).stat().st_size > 1000 for name in pictures)
    assert "| no_language | 10 | 10.0 % [2, 40] |" in markdown
    # No line between a table's head and its rows, or it is no table.
    assert re.search(r"\| success, points .*\n\|---.*\n\| no_language \| 7 \| 0 \|", markdown)


def test_page_shows_the_calibration_that_the_model_brings(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    bins = [{"confidence": 0.1, "frequency": 0.2, "count": 30}, {"confidence": 0.9, "frequency": 0.8, "count": 10}]
    found = {"visible": {"before": bins, "after": bins, "ece_before": 0.125, "ece_after": 0.031, "temperature": 1.5}}
    manifest, config = ablation.load_manifest(default_model())
    with_calibration = dataclasses.replace(manifest, metrics={**manifest.metrics, "calibration": found})
    monkeypatch.setattr(ablation, "load_manifest", lambda path: (with_calibration, config))
    runs = study(model=str(default_model()))
    comparisons, data = summary_of(runs)
    text = write_ablation_report(tmp_path, runs, comparisons, data).read_text()
    assert "Reliability diagram" in text and "0.125" in text and "Not in this model" not in text
    assert (tmp_path / "reliability.png").exists()


def test_page_of_one_condition_has_nothing_to_compare(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    config = suite_config("sequence", seed=10_000, episodes=2, conditions=("oracle",))
    run = SuiteRun(config, tuple(Record("oracle", result(10_000 + i, False, kind="sequence")) for i in range(2)))
    comparisons, data = summary_of([run])
    text = write_ablation_report(tmp_path, [run], comparisons, data).read_text()
    assert comparisons == [] and "Paired tests" not in text and "By kind" not in text and "not held out" not in text
    assert data["success_rate"] == 0.0 and data["condition"] == "oracle"
