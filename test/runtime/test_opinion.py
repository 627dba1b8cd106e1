"""The cells that a phrase points at have a say in whether its thing is there."""

import numpy as np
import numpy.typing as npt
import pytest

from mm_nav.runtime.opinion import Opinion, agreement, second_opinion

COUNTED = Opinion(1.0, 0.5, 1.0, 0.0)


def cells(*shown: int, classes: int = 3) -> npt.NDArray[np.float64]:
    """A row of cells, each sure of what it shows."""
    return np.eye(classes)[None, list(shown)]


def at(cell: int, count: int = 2) -> npt.NDArray[np.float64]:
    return np.eye(count)[cell][None, None]


def test_cells_agree_where_they_show_what_is_asked_for() -> None:
    here, there = (agreement(at(cell), cells(1, 2), np.array([1])) for cell in (0, 1))
    assert here[0] == pytest.approx(-there[0]) and here[0] > 3.0


def test_half_of_what_is_pointed_at_is_undecided() -> None:
    both = np.full((1, 1, 2), 0.5)
    assert agreement(both, cells(1, 2), np.array([1])) == pytest.approx(0.0)


def test_what_is_not_named_is_not_judged() -> None:
    heatmap = np.concatenate([at(0), at(0)])
    assert agreement(heatmap, cells(1, 2), np.array([-1, 1]))[0] == 0.0


def test_the_wrong_colour_is_believed_less_and_the_right_one_no_less() -> None:
    """Pointing at the first cell for either phrase: that cell's colour decides."""
    heatmap = np.concatenate([at(0), at(0)])
    colour = agreement(heatmap, cells(1, 2), np.array([1, 2]))
    right, wrong = second_opinion(np.array([0.9, 0.9]), np.zeros(2), colour, COUNTED)
    assert right > 0.9 and wrong < 0.3


def test_without_weights_only_the_network_counts() -> None:
    visible = np.array([0.1, 0.9])
    np.testing.assert_allclose(
        second_opinion(visible, np.full(2, 3.0), np.full(2, -3.0), Opinion()), visible, atol=1e-6
    )


def test_certainties_stay_finite() -> None:
    said = second_opinion(np.array([0.0, 1.0]), np.array([3.5, -3.5]), np.array([3.5, -3.5]), COUNTED)
    assert np.isfinite(said).all() and (said > 0.0).all() and (said < 1.0).all()
