"""What is seen where the named thing would be speaks against it."""

import numpy as np
import pytest

from mm_nav.runtime.contrast import contrast

HERE, THERE = [0.9, 0.1, 0.0, 0.0], [0.0, 0.0, 0.1, 0.9]


def of(visible: list[float], places: list[list[float]]) -> float:
    return contrast(np.array(visible, np.float32), np.array(places, np.float32))


def test_without_rivals_nothing_changes() -> None:
    assert of([0.7], [HERE]) == pytest.approx(0.7, abs=1e-6)


def test_a_sure_rival_in_the_same_place_wins() -> None:
    assert of([0.9, 0.99], [HERE, HERE]) < 0.35


def test_a_rival_elsewhere_takes_nothing() -> None:
    assert of([0.9, 0.99], [HERE, THERE]) == pytest.approx(0.9, abs=1e-6)


def test_an_unlikely_rival_takes_little() -> None:
    assert 0.88 < of([0.9, 0.1], [HERE, HERE]) < 0.9


def test_certainties_stay_finite() -> None:
    assert 0.5 < of([1.0, 1.0], [HERE, HERE]) < 1.0
    assert 0.0 < of([0.0, 1.0], [HERE, HERE]) < 1e-3
