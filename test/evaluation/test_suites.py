"""Suites: what each asks for, and that name and seed alone decide it. All seeds are for development."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.evaluation import language, suites
from mm_nav.evaluation.language import Record, SuiteConfig, run_seed, run_suite, suite_config, summarise_suite
from mm_nav.evaluation.language_report import write_report
from mm_nav.evaluation.phrasings import HELD_OUT_FORMS, HELD_OUT_PHRASINGS
from mm_nav.evaluation.suites import MIN_DISTANCE_M, SUITES, suite_episodes
from mm_nav.sim.episode import PASSING_RADIUS_M, SUCCESS_RADIUS_M, make_episode, step_radii
from mm_nav.sim.instructions import TRAIN_TEMPLATES
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.splits import HELD_OUT_PAIRS, held_out

SEEDS = (5000, 5001)


@lru_cache(maxsize=64)
def drawn(name, seed):
    return suite_episodes(name, seed)


@pytest.mark.parametrize("name", SUITES)
def test_name_and_seed_decide_the_episode(name):
    seed = 5011  # of suite "seen" it has a target that is too near
    episodes, task = suite_episodes(name, seed)
    assert episodes == drawn(name, seed)[0] and task.world.name == drawn(name, seed)[1].world.name
    assert episodes != drawn(name, 5000)[0]
    assert [e.kind for e in episodes] == list(SUITES[name].kinds if name == "swap" else [episodes[0].kind])
    for episode in episodes:
        assert episode.kind in SUITES[name].kinds and episode.seed == seed
        length = task.shortest_path(episode.start, episode.steps, step_radii(len(episode.steps)))
        assert MIN_DISTANCE_M <= length < 100.0


@pytest.mark.parametrize("seed", SEEDS)
def test_only_combination_asks_for_pairs_that_training_lacks(seed):
    for name in ("seen", "picture", "relation", "sequence", "swap"):
        episodes, task = drawn(name, seed)
        unseen = {item.name for item in held_out(task.objects)}
        assert not unseen & {name for episode in episodes for step in episode.steps for name in step}
    (episode,), task = drawn("combination", seed)
    pairs = {(item.category, item.colour) for item in task.objects if item.name in episode.target_names}
    assert len(pairs) == 1 and pairs <= HELD_OUT_PAIRS


@pytest.mark.parametrize("seed", SEEDS)
def test_a_picture_shows_its_target_large_and_in_the_middle(seed):
    (episode,), task = drawn("picture", seed)
    assert episode.instruction == "" and episode.picture_from is not None
    view = Simulator(task.scene, SimConfig(), start=episode.picture_from).render(64, 48).model_index
    numbers = [task.scene.model_names.index(name) for name in episode.target_names]
    shown = np.isin(view, numbers)
    assert shown.mean() >= 0.03 and shown[:, 16:48].sum() > 0.5 * shown.sum()
    assert not task.is_near(episode.target_names, episode.start.x, episode.start.y, SUCCESS_RADIUS_M)


def test_combination_takes_what_can_be_mistaken():
    (episode,), task = drawn("combination", 5009)  # has pairs with and without something alike
    pairs = {(item.category, item.colour) for item in task.objects if item.name in episode.target_names}
    (pair,) = pairs
    assert [o for o in task.objects if (o.category == pair[0]) != (o.colour == pair[1])]


def test_combination_goes_through_the_worlds_of_its_seed_until_one_has_a_pair(monkeypatch):
    looked = []
    original = suites.generated_task_world

    def world(seed, style=None):
        looked.append((seed, style))
        generated, task = original(seed, style)
        if style is None:
            monkeypatch.setattr(task, "objects", tuple(o for o in task.objects if o not in held_out(task.objects)))
        return generated, task

    monkeypatch.setattr(suites, "generated_task_world", world)
    (episode,), task = suite_episodes("combination", 5000)
    assert {o.name for o in held_out(task.objects)} >= set(episode.target_names)
    assert looked[0] == (5000, None) and len(looked) > 1
    assert {seed for seed, _ in looked} == {5000} and len(set(looked)) == len(looked)


def test_phrasing_asks_for_what_seen_asks_for_in_words_that_training_lacks():
    for seed in SEEDS:
        (plain,), (said,) = drawn("seen", seed)[0], drawn("phrasing", seed)[0]
        assert dataclasses.replace(said, instruction=plain.instruction, phrases=plain.phrases) == plain
        assert said.instruction != plain.instruction and said.phrases[0] in said.instruction
    train = {template.replace("{o}", "{object}") for template in TRAIN_TEMPLATES}
    assert not train & set(HELD_OUT_PHRASINGS) and len(set(HELD_OUT_PHRASINGS)) == len(HELD_OUT_PHRASINGS) == 40
    assert all(form.format(n="box", c="red") not in ("the red box", "the box that is red") for form in HELD_OUT_FORMS)


@pytest.mark.parametrize("seed", [5000, 5010])
def test_relation_has_something_of_the_category_that_does_not_fit(seed):
    (episode,), task = drawn("relation", seed)
    category = next(o.category for o in task.objects if o.name in episode.target_names)
    assert [o for o in task.objects if o.category == category and o.name not in episode.target_names]


@pytest.mark.parametrize("seed", [5000, 5017])
def test_sequence_has_two_steps_and_begins_at_neither(seed):
    (episode,), task = drawn("sequence", seed)
    first, last = episode.steps
    assert not set(first) & set(last)
    assert not task.is_near(first, episode.start.x, episode.start.y, PASSING_RADIUS_M)


@pytest.mark.parametrize("seed", [5000, 5012])
def test_no_place_counts_for_both_sentences_of_a_swap(seed):
    (first, second), task = drawn("swap", seed)
    assert first.start == second.start and first.instruction != second.instruction
    both = task.region(first.target_names, SUCCESS_RADIUS_M) & task.region(second.target_names, SUCCESS_RADIUS_M)
    assert not both.any()
    before, after = (e.instruction.replace(e.phrases[0], "it") for e in (first, second))
    assert before == after  # only the thing differs


def test_without_a_suite_the_episodes_are_what_they_were():
    for seed in (5000, 5003):
        (episode,), _ = language.tasks_of(SuiteConfig(seed=seed), seed)
        assert episode == make_episode(seed, SuiteConfig().kind(seed), "train")[0]


@pytest.mark.parametrize(("name", "lost"), [("camera_lost", "camera"), ("lidar_lost", "lidar")])
def test_lost_suites_run_the_episodes_of_seen(name, lost, monkeypatch):
    seen = []
    result = run_seed(suite_config("seen", conditions=("oracle",), time_limit_s=0.2), 5000, ("oracle",))[0].result
    monkeypatch.setattr(language, "run_episode", lambda e, t, p, c, *_: seen.append((e, c)) or result)
    run_seed(suite_config(name, conditions=("oracle",)), 5000, ("oracle",))
    ((episode, config),) = seen
    assert episode == drawn("seen", 5000)[0][0] and config.lost == lost
    # Only without its LiDAR the robot drives blind, and both who drive and who guard know.
    blind = {config.navigator.blind_time_s, config.guard.blind_time_s}
    assert blind == ({language.BLIND_TIME_S} if lost == "lidar" else {0.0})


@pytest.mark.parametrize("people", [5, 10])
def test_people_walk_through_the_episodes_of_seen(people, monkeypatch):
    seen = []
    result = run_seed(suite_config("seen", conditions=("oracle",), time_limit_s=0.2), 5000, ("oracle",))[0].result
    monkeypatch.setattr(language, "run_episode", lambda e, t, p, c, *_: seen.append((e, c)) or result)
    run_seed(suite_config(f"people_{people}", conditions=("oracle",)), 5000, ("oracle",))
    ((episode, config),) = seen
    assert episode == drawn("seen", 5000)[0][0] and config.sim.life.people == people


@pytest.mark.parametrize(
    "wrong",
    [
        {"suite": "telepathy"},
        {"suite": "relation", "kinds": ("colour",)},
        {"suite": "relation", "kinds": ("relation",), "phrases": ("go to {object}",)},
        {"phrases": ("go to {object}",)},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError):
        SuiteConfig(**wrong)


def test_every_swap_has_two_records_and_half_a_pair_is_run_again(tmp_path, monkeypatch):
    config = suite_config("swap", seed=5000, episodes=2, conditions=("oracle",), time_limit_s=0.2)
    log = tmp_path / "log.jsonl"
    whole = run_suite(config, workers=1, log=log)
    assert [(r.result.seed, r.result.kind) for r in whole] == [
        (5000, "first"), (5000, "second"), (5001, "first"), (5001, "second"),
    ]  # fmt: skip
    lines = log.read_text().split("\n")
    log.write_text("\n".join(lines[:4]) + "\n")
    ran = []
    monkeypatch.setattr(language, "run_seed", lambda c, seed, cs: ran.append(seed) or run_seed(c, seed, cs))
    assert run_suite(config, workers=1, log=log, resume=True) == whole
    assert ran == [5001]
    ran.clear()
    assert run_suite(config, workers=1, log=log, resume=True) == whole and not ran


def test_swap_summary_counts_pairs():
    config = suite_config("swap", seed=5000, episodes=4, conditions=("full", "no_language"))
    base = run_seed(suite_config("swap", conditions=("oracle",), time_limit_s=0.1), 5000, ("oracle",))[0].result
    outcomes = {
        "full": [(True, True), (True, True), (True, False), (False, False)],
        "no_language": [(True, False)] * 4,
    }
    records = [
        Record(name, dataclasses.replace(base, seed=5000 + i, kind=kind, success=won))
        for name, pairs in outcomes.items()
        for i, pair in enumerate(pairs)
        for kind, won in zip(("first", "second"), pair, strict=True)
    ]
    summary = summarise_suite(records, config)
    assert summary["suite"] == "swap" and summary["swap_rate"] == 0.5 and summary["pairs"] == 4
    low, high = summary["swap_rate_ci95"]
    assert low == pytest.approx(0.150, abs=1e-3) and high == pytest.approx(0.850, abs=1e-3)  # Wilson, 2 of 4
    assert summary["no_language_swap_rate"] == 0.0 and summary["success_rate"] == 5 / 8
    # Of eight paired episodes one was won without words only, two with them only.
    assert summary["p_value_no_language"] == pytest.approx(1.0)


def test_report_shows_the_suites_own_world_and_the_pairs(tmp_path):
    pytest.importorskip("matplotlib")
    config = suite_config("swap", seed=5000, episodes=1, conditions=("oracle",), time_limit_s=0.2)
    records = run_suite(config, workers=1)
    page = write_report(tmp_path / "report", records, summarise_suite(records, config), config).read_text()
    assert page.startswith("# Suite `swap` in worlds that may have been trained on") and "| oracle | 1 | 0.0 %" in page
    assert (tmp_path / "report" / "episode_5000_first.png").exists() and "episode_5000_second.png" in page


def test_report_of_phrases_names_each_template(tmp_path):
    pytest.importorskip("matplotlib")
    phrases = ("mosey on down to {object}", "yonder lies {object}")
    config = suite_config("seen", seed=5000, episodes=2, conditions=("oracle",), time_limit_s=0.2, phrases=phrases)
    records = run_suite(config, workers=1)
    assert [r.result.instruction.split()[0] for r in records] == ["mosey", "yonder"]
    summary = summarise_suite(records, config)
    assert summary["suite"] == "seen" and summary["phrases"] == 2 and "phrasing" not in summary
    page = write_report(tmp_path / "report", records, summary, config).read_text()
    assert "| mosey on down to {object} | 0 | 1 |" in page and "2 templates of a file" in page
