"""The comparison of two replays: what is a regression and what is chance, what cannot be compared, and its page."""

from __future__ import annotations

import argparse
import copy
import json
import math
import shutil
import subprocess

import numpy as np
import pytest

from mm_nav.cli.replay_compare import add_arguments, run
from mm_nav.errors import ConfigError
from mm_nav.replay.compare import LEAST_WINDOWS, compare, read_replay
from mm_nav.replay.compare_report import write_compare_report

HOSTILE = "</script><img src=x onerror=alert(1)>"


def a_replay(windows, **changes):
    return {
        "bag": "/data/drive.mcap", "bag_fingerprint": "abc", "goal": "the red chair", "window_s": 5.0, "windows": windows,
        **changes,
    }  # fmt: skip


def noisy(count=60, mean=0.5, spread=0.1, seed=0):
    return [float(v) for v in np.random.default_rng(seed).normal(mean, spread, count)]


def only(comparison):
    (difference,) = comparison.differences
    return difference


def changed(values, by, spread=0.01):
    return [
        v + by + float(n) for v, n in zip(values, np.random.default_rng(9).normal(0, spread, len(values)), strict=True)
    ]


def test_the_same_twice_differs_in_nothing():
    replay = a_replay({"ade_2s_m": noisy(), "guard_stops": [0, 1, 0, 0, 2, 0, 0, 1]})
    found = compare(replay, copy.deepcopy(replay))
    assert [d.verdict for d in found.differences] == ["no difference shown"] * 2 and not found.regressions
    assert all(d.change == d.low == d.high == 0.0 for d in found.differences)


@pytest.mark.parametrize(
    ("key", "by", "verdict"),
    [
        ("ade_2s_m", 0.1, "regression"), ("ade_2s_m", -0.1, "improvement"), ("latency_ms", 0.2, "regression"),
        ("latency_ms", 0.06, "no difference shown"),  # more than chance, but times vary: 20 %
        ("ade_2s_m", 0.02, "no difference shown"),  # more than chance, less than 5 %
        ("foreseen_clearance_m", -0.1, "regression"), ("foreseen_clearance_m", 0.1, "improvement"),
        ("near_collisions", 0.1, "regression"), ("visible", -0.1, "changed"), ("a_new_measure", 0.1, "changed"),
    ],
)  # fmt: skip
def test_verdicts(key, by, verdict):
    before = noisy()
    found = compare(a_replay({key: before}), a_replay({key: changed(before, by)}))
    assert only(found).verdict == verdict
    assert bool(found.regressions) == (verdict == "regression") == found.as_dict()["regression"]


def test_chance_is_no_regression():
    # The means differ by more than the threshold, but no more than such noise does.
    before, after = noisy(20, 0.5, 0.3, seed=1), noisy(20, 0.56, 0.3, seed=2)
    found = only(compare(a_replay({"ade_2s_m": before}), a_replay({"ade_2s_m": after})))
    assert abs(found.change) > found.threshold and found.verdict == "no difference shown"


def test_the_interval_is_that_of_paired_means():
    before = noisy(300)
    after = [v + d for v, d in zip(before, noisy(300, 0.05, 0.2, seed=5), strict=True)]
    found = only(compare(a_replay({"ade_2s_m": before}), a_replay({"ade_2s_m": after})))
    differences = np.subtract(after, before)
    half = 1.96 * differences.std(ddof=1) / math.sqrt(300)
    assert found.change == pytest.approx(differences.mean())
    assert found.low == pytest.approx(differences.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(differences.mean() + half, abs=0.1 * half)
    again = only(compare(a_replay({"ade_2s_m": before}), a_replay({"ade_2s_m": after})))
    assert (again.low, again.high) == (found.low, found.high)


def test_thresholds_are_in_the_unit_of_the_measure():
    before = noisy()
    a, b = a_replay({"ade_2s_m": before}), a_replay({"ade_2s_m": changed(before, 0.1)})
    assert not compare(a, b, {"ade_2s_m": 0.15}).regressions
    assert compare(a, b, {"ade_2s_m": 0.05}).regressions


def test_counts_are_totals():
    before, after = [0, 1, 0, 0] * 10, [1, 1, 0, 1] * 10
    a, b = a_replay({"guard_stops": before}), a_replay({"guard_stops": after})
    found = only(compare(a, b))
    assert (found.a, found.b, found.change) == (10, 30, 20) and found.low < 20 < found.high
    assert found.verdict == "regression"
    assert not compare(a, b, {"guard_stops": 20}).regressions


def test_only_windows_of_both_are_paired():
    before = [1.0, None, 3.0, 4.0, *noisy(20)]
    after = [None, 2.0, 3.0, float("nan"), *before[4:], 7.0]
    found = only(compare(a_replay({"ade_2s_m": before}), a_replay({"ade_2s_m": after})))
    assert (found.pairs, found.only_a, found.only_b, found.change) == (21, 2, 2, 0.0)


def test_few_windows_are_not_judged():
    before = [0.5] * (LEAST_WINDOWS - 1)
    found = only(compare(a_replay({"ade_2s_m": before}), a_replay({"ade_2s_m": [v + 1 for v in before]})))
    assert found.verdict == "too few windows"
    before = [0.5] * LEAST_WINDOWS
    assert compare(a_replay({"ade_2s_m": before}), a_replay({"ade_2s_m": [v + 1 for v in before]})).regressions


def test_a_measure_that_only_one_has_is_told():
    found = compare(a_replay({"ade_2s_m": noisy()}), a_replay({"policy_ade_2s_m": noisy()}))
    assert [(d.pairs, d.only_a, d.only_b, d.verdict) for d in found.differences] == [
        (0, 60, 0, "too few windows"), (0, 0, 60, "too few windows"),
    ]  # fmt: skip


def test_several_recordings_are_paired_one_by_one():
    # The second replay has a window more of the first recording: the second's windows must still meet.
    first, second = noisy(10), noisy(10, seed=4)
    parts = [a_replay({"ade_2s_m": first}, bag="one"), a_replay({"ade_2s_m": second}, bag="two")]
    longer = [a_replay({"ade_2s_m": [*first, 9.0]}, bag="one"), parts[1]]
    a, b = ({**a_replay({"ade_2s_m": []}, bag=["one", "two"]), "recordings": found} for found in (parts, longer))
    found = compare(a, b)
    assert found.recordings == ("one", "two") and only(found).pairs == 20 and only(found).change == 0.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bag_fingerprint": "xyz"}, "recording differs.*'abc'.*'xyz'"), ({"goal": "the door"}, "goal differs.*door"),
        ({"window_s": 2.0}, "window length differs"), ({"windows": {"ade_2s_m": "no"}}, "list of numbers"),
        ({"windows": {"ade_2s_m": [True]}}, "list of numbers"), ({"windows": None}, "B has no 'windows'"),
        ({"recordings": [{}, {}]}, "B has no 'windows'"), ({"recordings": [a_replay({})] * 2}, "A has 1 recordings and B 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(change, says):
    with pytest.raises(ConfigError, match=says):
        compare(a_replay({"ade_2s_m": noisy()}), a_replay({"ade_2s_m": noisy()}) | change)


@pytest.mark.parametrize(
    ("thresholds", "says"), [({"ade_3s_m": 1.0}, "no measure.*ade_2s_m"), ({"ade_2s_m": -1.0}, "from 0 up")]
)
def test_thresholds_that_are_none(thresholds, says):
    replay = a_replay({"ade_2s_m": noisy()})
    with pytest.raises(ConfigError, match=says):
        compare(replay, replay, thresholds)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"steps": 3}', "[" * 100_000])
def test_files_that_are_no_replays(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.json"):
        read_replay(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_replay(tmp_path / "none.json")


def command(tmp_path, *options, after=0.1):
    before = noisy()
    files = []
    for name, values in (("a", before), ("b", changed(before, after))):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(a_replay({"ade_2s_m": values}, provenance={"model": name})))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*map(str, files), *options]))


def test_command_says_what_became_worse(tmp_path, capsys):
    out = tmp_path / "out.json"
    assert command(tmp_path, "--json", str(out), "--report", str(tmp_path / "report")) == 1
    said = capsys.readouterr().out
    assert "regression" in said and "ade_2s_m" in said and "compare.html" in said
    data = json.loads(out.read_text())
    assert data["regressions"] == ["ade_2s_m"] and data["ade_2s_m_windows"] == 60
    assert data["ade_2s_m_change_ci95"][0] < data["ade_2s_m_change"] < data["ade_2s_m_change_ci95"][1]


def test_command_is_content(tmp_path, capsys):
    assert command(tmp_path, after=-0.1) == 0
    assert command(tmp_path, "--threshold", "ade_2s_m=0.2") == 0
    assert "no regression was shown" in capsys.readouterr().out


def test_command_refuses_what_is_no_threshold(tmp_path):
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        command(tmp_path, "--threshold", "ade_2s_m")


@pytest.fixture()
def page(tmp_path):
    before = {"ade_2s_m": noisy(), "guard_stops": [0, 1] * 30, HOSTILE: noisy(), "zero": [0.0] * 60}
    after = {**before, "ade_2s_m": changed(before["ade_2s_m"], 0.1), "zero": [1.0] * 60}
    a, b = (a_replay(windows, bag=f"/x/{HOSTILE}", goal=HOSTILE) for windows in (before, after))
    return write_compare_report(tmp_path, compare(a, b), ("a.json", HOSTILE), ({"model": "tiny"}, {"model": HOSTILE}))


def test_page_has_the_numbers_and_no_markup_of_others(page):
    text = page.read_text()
    assert "▲ worse" in text and "B is worse" in text and "<img" not in text and text.count("</script>") == 2
    assert "default-src 'none'" in text


def test_page_draws(page, tmp_path):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--dump-dom",
        "--enable-logging=stderr", "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert 'data-ready="true"' in done.stdout and done.stdout.count('data-drawn-points="120"') == 3
    assert "CONSOLE" not in done.stderr
