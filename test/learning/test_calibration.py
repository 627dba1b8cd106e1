"""Temperature scaling finds what was done to the logits."""

import numpy as np
import pytest

from mm_nav.learning.calibration import binary, calibrate, expected_error, fit_opinion, fit_temperature, reliability
from mm_nav.runtime.opinion import Opinion


def logits(count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.normal(0.0, 2.0, count)
    return true, rng.random(count) < 1.0 / (1.0 + np.exp(-true))


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(factor: float) -> None:
    true, happened = logits()
    assert fit_temperature(binary(factor * true), happened.astype(int)) == pytest.approx(factor, rel=0.06)


def test_calibration_is_judged_on_what_it_was_not_fitted_to() -> None:
    true, happened = logits()
    found = calibrate(3.0 * true, happened)
    assert found["ece_after"] < 0.02 < found["ece_before"]
    assert sum(row["count"] for row in found["after"]) == len(true) // 2


def test_a_reliability_table_counts_everything_once() -> None:
    table = reliability(np.array([0.05, 0.15, 1.0]), np.array([False, True, True]), bins=10)
    assert [row["count"] for row in table] == [1, 1, 1]
    assert expected_error(table) == pytest.approx((0.05 + 0.85 + 0.0) / 3)
    assert fit_temperature(np.empty((0, 2)), np.empty(0, int)) == 1.0


def test_an_opinion_counts_as_far_as_it_helps() -> None:
    """The network knows half of what decides, the cells' colour the other half, their kind nothing."""
    rng = np.random.default_rng(1)
    network, colour, kind = rng.normal(0.0, 2.0, (3, 20_000))
    happened = rng.random(20_000) < 1.0 / (1.0 + np.exp(-(network + 0.7 * colour)))
    opinion, before, after = fit_opinion(network, kind, colour, happened)
    assert opinion.scale == pytest.approx(1.0, abs=0.1) and opinion.colour == pytest.approx(0.7, abs=0.1)
    assert opinion.kind < 0.05 and after < before - 0.05


def test_without_anything_in_view_there_is_no_opinion() -> None:
    nothing = np.zeros(10)
    assert fit_opinion(nothing, nothing, nothing, nothing > 0)[0] == Opinion()
