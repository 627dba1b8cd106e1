"""Metrics against values worked out by hand, and the coverage that intervals promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.errors import ConfigError
from mm_nav.evaluation.metrics import (
    Outcome,
    bootstrap_interval,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_rate_difference,
    spl,
    summarise,
    wilson_interval,
)


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


def test_holm_against_values_worked_out_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.2]) == [0.2] and holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_helps(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1.0 for p, q in zip(p_values, adjusted, strict=True))
    by_raw = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)


def test_difference_of_paired_rates_covers_the_truth_about_95_percent_of_the_time():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(1500):
        common = rng.random(60)
        first, second = 0.6 * common + 0.4 * rng.random(60) < 0.55, 0.6 * common + 0.4 * rng.random(60) < 0.35
        low, high = paired_rate_difference(list(first), list(second))[1]
        hits += low <= uniform_sum(0.35) - uniform_sum(0.55) <= high
    assert 0.93 <= hits / 1500 <= 0.99


def uniform_sum(level):
    """P(0.6 u + 0.4 v < level) for independent uniform u, v and 0.4 <= level <= 0.6, or below 0.4."""
    if level < 0.4:
        return level**2 / (2 * 0.6 * 0.4)
    return (level - 0.2) / 0.6


def test_difference_of_paired_rates_has_a_sign_and_a_width():
    first, second = [True, True, True, False], [True, False, False, False]
    difference, (low, high) = paired_rate_difference(first, second)
    mirrored, (low_too, high_too) = paired_rate_difference(second, first)
    assert difference == -0.5 == -mirrored and (low, high) == pytest.approx((-high_too, -low_too))
    same, (low, high) = paired_rate_difference([True] * 10, [True] * 10)
    assert same == 0.0 and low < 0.0 < high
    assert math.isnan(paired_rate_difference([], [])[0])
    with pytest.raises(ConfigError):
        paired_rate_difference([True], [])


def test_paired_bootstrap_sees_what_an_unpaired_interval_does_not():
    base = np.random.default_rng(1).random(50)
    difference, (low, high), p_value = paired_bootstrap(list(base), list(base - 0.05), seed=4)
    assert difference == pytest.approx(-0.05) and low == pytest.approx(-0.05) == high
    assert p_value < 0.001
    assert paired_bootstrap(list(base), list(base), seed=4) == (0.0, (0.0, 0.0), 1.0)
    noisy = base + np.random.default_rng(2).normal(0.0, 0.3, 50)
    first = paired_bootstrap(list(base), list(noisy), seed=4)
    assert first == paired_bootstrap(list(base), list(noisy), seed=4)
    assert first[1][0] < first[0] < first[1][1] and 0.0 < first[2] <= 1.0
    assert math.isnan(paired_bootstrap([], [])[2])
