"""The governor keeps the deadline under load, goes back when the load is gone, and does not dither."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.errors import ConfigError
from mm_nav.runtime.governor import Governor, GovernorConfig, Level

LEVELS = (Level("small at 15 Hz", 9.0), Level("tiny at 15 Hz", 5.0), Level("tiny at 8 Hz", 2.7))
STEP_S = 1.0 / 15.0


def drive(
    governor: Governor, load: float, seconds: float, start: float = 0.0, rest_ms: float = 20.0, other_ms: float = 0.0
) -> list[tuple[float, int]]:
    """Steps under a load that makes all take `load` times as long; rest_ms: what the best level takes at rest. other_ms: what all
    the rest of a step takes at rest, at any level. Returns the times of changes, and to which level."""
    changes = []
    for k in range(round(seconds / STEP_S)):
        now = start + k * STEP_S
        network = rest_ms * load * governor.level.cost / LEVELS[0].cost
        if governor.note(network + other_ms * load, now, network if other_ms else None):
            changes.append((now, governor.index))
    return changes


def test_at_rest_nothing_changes() -> None:
    governor = Governor(LEVELS)
    assert drive(governor, 1.0, 120.0) == [] and governor.index == 0


def test_a_load_makes_it_step_down_soon_and_its_end_makes_it_return() -> None:
    governor = Governor(LEVELS)
    down = drive(governor, 4.0, 60.0)
    assert [level for _, level in down] == [1] and down[0][0] < 2.0
    assert governor.p99_ms < 0.9 * 66.0
    up = drive(governor, 1.0, 60.0, start=60.0)
    assert [level for _, level in up] == [0] and 64.0 < up[0][0] < 75.0


def test_it_returns_where_the_network_is_but_a_part_of_the_step() -> None:
    """45 ms of a step are not the network's and stay as they are; scaled with it, they would seem to take 81 ms one level up."""
    governor = Governor(LEVELS)
    assert [level for _, level in drive(governor, 1.4, 60.0, rest_ms=9.0, other_ms=36.0)] == [1]
    assert [level for _, level in drive(governor, 1.0, 60.0, 60.0, rest_ms=9.0, other_ms=36.0)] == [0]


def test_what_cannot_be_kept_ends_at_the_cheapest() -> None:
    governor = Governor(LEVELS)
    assert [level for _, level in drive(governor, 30.0, 60.0)] == [1, 2]


def test_a_load_that_comes_whenever_it_returns_makes_it_wait_longer() -> None:
    """What one level up brings is not foreseen by its cost: each try fails, and tries become rare."""
    governor, tries = Governor(LEVELS), []
    for k in range(round(600.0 / STEP_S)):
        now = k * STEP_S
        if governor.note(90.0 if governor.index == 0 else 15.0, now) and governor.index == 0:
            tries.append(now)
    gaps = [b - a for a, b in pairwise(tries)]
    assert 3 <= len(tries) <= 14 and gaps[-1] > 3 * gaps[0]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.2, 12.0), min_size=1, max_size=4), st.floats(5.0, 60.0), st.sampled_from([0.0, 5.0, 30.0]))
def test_a_steady_load_is_answered_by_one_direction(loads: list[float], rest_ms: float, other_ms: float) -> None:
    """Under any load that lasts, levels change a few times and then no more; the deadline is kept where any level can."""
    governor = Governor(LEVELS)
    for part, load in enumerate(loads):
        changes = drive(governor, load, 200.0, 200.0 * part, rest_ms, other_ms)
        assert len(changes) <= 2 * len(LEVELS)
        late = [change for change in changes if change[0] > 200.0 * part + 190.0]
        assert not late
        took = [load * (rest_ms * level.cost / LEVELS[0].cost + other_ms) for level in LEVELS]
        if took[-1] < 0.9 * 66.0:
            assert took[governor.index] <= 0.9 * 66.0 + 1e-6
        else:
            assert governor.index == len(LEVELS) - 1


def test_missed_steps_count() -> None:
    governor = Governor(LEVELS)
    assert any(governor.note(float("inf"), k * STEP_S) for k in range(20))


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="best first"):
        Governor(LEVELS[::-1])
    with pytest.raises(ConfigError, match="needs levels"):
        Governor(())
    for wrong in ({"room": 0.95}, {"deadline_ms": 0.0}, {"settle": 0}, {"settle": 100}, {"patience_s": 0.0}):
        with pytest.raises(ConfigError):
            GovernorConfig(**wrong)
