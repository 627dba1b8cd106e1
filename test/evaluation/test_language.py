"""The language suite: conditions, resuming, summary and report."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from mm_nav.command import ErrorCode
from mm_nav.errors import ConfigError
from mm_nav.evaluation import conditions, language
from mm_nav.evaluation.conditions import phrase_targets, policy_factory
from mm_nav.evaluation.endings import ending
from mm_nav.evaluation.episodes import EpisodeContext, EpisodeResult
from mm_nav.evaluation.language import Record, SuiteConfig, run_suite, summarise_suite
from mm_nav.evaluation.language_report import write_report
from mm_nav.goal import PolicyGoal
from mm_nav.sim.episode import make_episode

ORACLE = SuiteConfig(episodes=2, conditions=("oracle",), time_limit_s=1.0)


def result(seed, success=True, kind="colour", collided=False, error=0):
    return EpisodeResult(
        seed, kind, "go to the red box", success, collided, 5.0, 4.0, 3.0, 0.75 * success, error,
        "succeeded" if success else "failed", "", 0.7, 1, 0, 50, f"{seed:064x}",
        ((0.0, 0.0, 0.0), (1.0, 0.5, 0.1)), ("red_box_1",),
    )  # fmt: skip


class Echo:
    """A policy that keeps what it was asked."""

    def __init__(self):
        self.phrases = []

    def __call__(self, observation, goal):
        self.phrases.append(goal.phrase)


@pytest.fixture
def asked(monkeypatch):
    echo = Echo()
    monkeypatch.setattr(conditions, "_loaded", lambda model, memory=True: echo)

    def ask(condition, seed=10_003, kind="sequence"):
        episode, task = make_episode(seed, kind)
        policy = policy_factory(condition)(EpisodeContext(episode, task, None))
        for phrase in phrase_targets(episode, task.objects):
            policy(None, PolicyGoal("1", phrase))
        return episode, task, list(echo.phrases)

    return ask


def test_full_hears_what_was_said(asked):
    episode, task, phrases = asked("full")
    assert phrases == list(phrase_targets(episode, task.objects))


def test_no_language_hears_words_that_fit_everything(asked):
    *_, phrases = asked("no_language")
    assert set(phrases) == {"the thing"}


def test_random_goal_hears_of_something_else_and_always_the_same(asked):
    episode, _, first = asked("random_goal")
    *_, both = asked("random_goal")
    assert both[len(first) :] == first
    for name in (name for step in episode.steps for name in step):
        category = name.split("_")[1]
        assert all(category not in phrase for phrase in first)


def test_unknown_condition_is_refused():
    with pytest.raises(ConfigError, match="telepathy"):
        policy_factory("telepathy")


@pytest.mark.parametrize("seed", range(10_000, 10_016))
def test_every_phrase_that_the_navigator_asks_for_has_targets(seed):
    episode, task = make_episode(seed)
    targets = phrase_targets(episode, task.objects)
    assert targets[conditions._asked(episode)[-1].head] == episode.target_names
    assert len(conditions._asked(episode)) == len(episode.steps)


def test_workers_give_what_one_process_gives():
    alone = run_suite(ORACLE, workers=1)
    together = run_suite(ORACLE, workers=2)
    assert [r.result.trace_hash for r in alone] == [r.result.trace_hash for r in together]
    assert alone == together


def test_interrupted_run_resumes(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    whole = run_suite(ORACLE, workers=1, log=log)
    lines = log.read_text().split("\n")
    log.write_text("\n".join(lines[:2]) + "\n" + lines[2][:30])  # the second record was being written
    ran = []
    original = language.run_seed
    monkeypatch.setattr(language, "run_seed", lambda c, seed, cs: ran.append(seed) or original(c, seed, cs))
    assert run_suite(ORACLE, workers=1, log=log, resume=True) == whole
    assert ran == [10_001]
    assert log.read_text().split("\n") == lines


def test_more_episodes_may_be_added_but_other_settings_may_not(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    monkeypatch.setattr(language, "run_seed", lambda c, seed, cs: [Record(x, result(seed)) for x in cs])
    run_suite(ORACLE, workers=1, log=log)
    more = SuiteConfig(episodes=5, conditions=("oracle",), time_limit_s=1.0)
    assert len(run_suite(more, workers=1, log=log, resume=True)) == 5
    other = SuiteConfig(episodes=5, conditions=("oracle",), time_limit_s=9.0)
    with pytest.raises(ConfigError, match="other settings"):
        run_suite(other, workers=1, log=log, resume=True)
    assert len(run_suite(other, workers=1, log=log)) == 5  # starts anew


def test_crash_of_the_stack_is_a_failed_episode(monkeypatch):
    def crash(*_):
        raise ValueError("boom")

    monkeypatch.setattr(language, "run_episode", crash)
    (record,) = language.run_seed(ORACLE, 10_000, ("oracle",))
    assert not record.result.success and record.result.error_code == ErrorCode.INTERNAL
    assert "boom" in record.result.message
    assert Record.from_line(record.to_line()) == record
    assert math.isinf(record.result.shortest_path_m)


def test_summary_keys_and_numbers():
    config = SuiteConfig(episodes=4, conditions=("full", "no_language"))
    records = [Record("full", result(10_000 + i, i < 3, ("category", "colour")[i % 2])) for i in range(4)]
    records += [
        Record("no_language", result(10_000 + i, False, ("category", "colour")[i % 2], i == 0)) for i in range(4)
    ]
    summary = summarise_suite(records, config)
    assert summary["success_rate"] == 0.75 and summary["episodes"] == 4 and summary["seed"] == 10_000
    assert summary["spl"] == pytest.approx(0.75 * 0.75)
    assert summary["category_success_rate"] == 1.0 and summary["colour_success_rate"] == 0.5
    assert summary["no_language_success_rate"] == 0.0 and summary["no_language_collision_rate"] == 0.25
    assert summary["no_language_category_collision_rate"] == 0.5
    assert summary["sequence_episodes"] == 0 and math.isnan(summary["sequence_success_rate"])
    assert summary["p_value_no_language"] == pytest.approx(2 * 0.125)
    for key in ("success_rate", "spl", "collision_rate"):
        low, high = summary[f"{key}_ci95"]
        assert low <= summary[key] <= high
    assert all(not isinstance(value, dict) for value in summary.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"episodes": 0},
        {"conditions": ("x",)},
        {"conditions": ()},
        {"kinds": ("x",)},
        {"time_limit_s": 0.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError):
        SuiteConfig(**wrong)


def test_report_names_failures_first(tmp_path):
    pytest.importorskip("matplotlib")
    config = SuiteConfig(episodes=3, conditions=("full", "random_goal"))
    records = [Record("full", result(10_000 + i, i == 0, error=3 * (i > 0))) for i in range(3)]
    records += [Record("random_goal", result(10_000 + i, False)) for i in range(3)]
    page = write_report(tmp_path / "report", records, summarise_suite(records, config), config)
    text = page.read_text()
    assert text.index("**10001**") < text.index("**10002**") < text.index("**10000**")
    assert "| no path | 2 |" in text and "exact McNemar" in text
    pictures = sorted(path.name for path in page.parent.glob("*.png"))
    assert pictures == ["episode_10000.png", "episode_10001.png", "episode_10002.png", "success.png"]
    assert all(f"({name})" in text for name in pictures)


@pytest.mark.parametrize(
    ("ended_at", "words"),
    [
        ("blue_box_1", "right category"),
        ("red_cone_2", "right colour"),
        ("blue_cone_1", "another category and colour"),
        ("red_box_1", "too far"),
    ],
)
def test_mistakes_are_sorted_by_what_was_confused(ended_at, words):
    stopped = dataclasses.replace(result(10_000, False), stage="succeeded", ended_at=ended_at)
    assert words in ending(stopped)


def test_log_lines_are_plain_json():
    line = json.loads(Record("full", result(10_000)).to_line())
    assert line["condition"] == "full" and line["trace_hash"] and np.isfinite(line["spl"])
