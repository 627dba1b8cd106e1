"""Outlines are learned from generated worlds."""

import pytest

from mm_nav.errors import ConfigError
from mm_nav.learning.shape_fit import fit_shapes
from mm_nav.parallel import Workers


def test_outlines_are_learned_and_tell_more_than_chance() -> None:
    model = fit_shapes(50, 15, Workers(2))
    assert model.training["retrieval"] > 1.5 * model.training["by_chance"] > 0.0
    assert (
        model.priors.sum() == pytest.approx(1.0) and "box" in model.names and len(model.names) == len(set(model.names))
    )


@pytest.mark.parametrize(("seed", "worlds"), [(9_990, 20), (0, 5), (-1, 20)])
def test_held_out_worlds_are_refused(seed: int, worlds: int) -> None:
    with pytest.raises(ConfigError, match="give 10 or more"):
        fit_shapes(seed, worlds, Workers(1))
