"""Metrics against values worked out by hand, and the coverage that intervals promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.errors import ConfigError
from mm_nav.evaluation.metrics import Outcome, bootstrap_interval, mcnemar_exact, spl, summarise, wilson_interval


@pytest.mark.parametrize(
    ("success", "path", "shortest", "expected"),
    [
        (True, 10.0, 10.0, 1.0),
        (True, 20.0, 10.0, 0.5),
        (True, 8.0, 10.0, 1.0),  # a path over free corners may be shorter than the grid's
        (False, 10.0, 10.0, 0.0),
        (True, 0.0, 0.0, 1.0),
        (True, 2.0, 0.0, 0.0),
        (True, 5.0, math.inf, 0.0),
    ],
)
def test_spl_of_one_episode(success, path, shortest, expected):
    assert spl(success, path, shortest) == pytest.approx(expected)


@pytest.mark.parametrize(
    # Values of Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_against_published_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 300), st.integers(0, 300))
def test_wilson_interval_holds_the_rate_and_mirrors(successes, failures):
    trials = successes + failures
    low, high = wilson_interval(successes, trials)
    if trials == 0:
        assert math.isnan(low) and math.isnan(high)
        return
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    mirrored = wilson_interval(failures, trials)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_impossible_counts_are_refused():
    with pytest.raises(ConfigError):
        wilson_interval(5, 4)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_wilson_interval_covers_the_truth_about_95_percent_of_the_time(rate):
    drawn = np.random.default_rng(0).binomial(100, rate, 4000)
    held = [low <= rate <= high for low, high in (wilson_interval(int(k), 100) for k in drawn)]
    assert 0.92 <= np.mean(held) <= 0.98


def test_bootstrap_interval_covers_the_mean_about_95_percent_of_the_time():
    rng = np.random.default_rng(1)
    held = []
    for trial in range(300):
        values = rng.beta(2, 1, 60)
        low, high = bootstrap_interval(values.tolist(), seed=trial, resamples=1000)
        held.append(low <= 2 / 3 <= high)
    assert 0.90 <= np.mean(held) <= 0.99


def test_bootstrap_interval_is_seeded():
    values = np.random.default_rng(2).uniform(size=50).tolist()
    assert bootstrap_interval(values, 3) == bootstrap_interval(values, 3) != bootstrap_interval(values, 4)
    assert bootstrap_interval([0.25] * 9) == (0.25, 0.25)
    assert all(map(math.isnan, bootstrap_interval([])))


def test_mcnemar_by_hand():
    # 10 pairs differ, 9 one way: p = 2 * (C(10,0) + C(10,1)) / 2^10.
    first = [True] * 9 + [False] + [True] * 5
    second = [False] * 9 + [True] + [True] * 5
    assert mcnemar_exact(first, second) == pytest.approx(2 * 11 / 1024)
    assert mcnemar_exact(second, first) == pytest.approx(2 * 11 / 1024)
    assert mcnemar_exact([True, False], [True, False]) == 1.0
    with pytest.raises(ConfigError):
        mcnemar_exact([True], [])


def test_summary_by_hand():
    outcomes = [
        Outcome(True, False, 10, 5),
        Outcome(True, False, 5, 5),
        Outcome(False, True, 1, 5),
        Outcome(False, False, 9, 5),
    ]
    summary = summarise(outcomes, seed=7)
    assert summary["success_rate"] == 0.5 and summary["collision_rate"] == 0.25 and summary["episodes"] == 4
    assert summary["spl"] == pytest.approx((0.5 + 1.0) / 4)
    assert summary["success_rate_ci95"] == pytest.approx([0.1500, 0.8500], abs=5e-5)
    assert summary["spl_ci95"][0] <= summary["spl"] <= summary["spl_ci95"][1]
    assert set(summary) == {
        "success_rate", "success_rate_ci95", "spl", "spl_ci95", "collision_rate", "collision_rate_ci95", "episodes"
    }  # fmt: skip


def test_summary_of_nothing_is_nan():
    assert math.isnan(summarise([])["success_rate"]) and summarise([])["episodes"] == 0
