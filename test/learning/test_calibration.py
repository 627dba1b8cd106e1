"""Temperature scaling finds what was done to the logits."""

import numpy as np
import pytest

from mm_nav.learning.calibration import binary, calibrate, expected_error, fit_temperature, reliability


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
