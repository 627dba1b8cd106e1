"""Looks at a target: only those that can show it count."""

import numpy as np
import pytest

from mm_nav.command import PolicyOutput
from mm_nav.geometry import Pose2D
from mm_nav.language import parse_reference
from mm_nav.language.knowledge import Knowledge
from mm_nav.mapping.belief import Hypothesis
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_confirm import belief_of, confirm, watch
from mm_nav.navigator_state import GoalState, StepState
from mm_nav.navigator_targets import StepTargets, Target

TARGET = Hypothesis(2.0, 0.0, 4.0, 0.01, 20)
HERE = Pose2D()


def said(visible: float) -> PolicyOutput:
    bins = np.linspace(0.6, -0.6, 8, dtype=np.float32)
    probs = np.full(8, 1 / 8, np.float32)
    return PolicyOutput(
        0, "g", bins, probs, np.full(8, 1.5, np.float32), visible, 0.0, np.zeros((0, 8, 2), np.float32),
        np.zeros(0, np.float32), probs[None],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bearing", "left", "sight", "counts"),
    [(0.1, 1.5, True, True), (0.1, 1.5, False, False), (0.1, 2.5, True, False), (0.7, 1.5, True, False)],
    ids=["near and in sight", "hidden", "far", "beside the view"],
)
def test_which_looks_count(bearing: float, left: float, sight: bool, counts: bool) -> None:
    leg = StepState()
    watch(HERE, bearing, left, sight, TARGET, said(0.9), leg)
    assert len(leg.looks) == counts


def test_what_hid_the_target_on_the_way_is_not_held_against_it() -> None:
    leg = StepState()
    for _ in range(15):
        watch(HERE, 0.0, 1.6, False, TARGET, said(0.02), leg)
    for _ in range(5):
        watch(HERE, 0.0, 0.8, True, TARGET, said(0.95), leg)
    assert belief_of(leg.looks) > 0.9


def test_another_target_is_looked_at_anew() -> None:
    leg = StepState()
    watch(HERE, 0.0, 1.0, True, TARGET, said(0.9), leg)
    watch(HERE, 0.0, 1.0, True, Hypothesis(2.0, 1.5, 4.0, 0.01, 20), said(0.3), leg)
    assert leg.looks == [0.3]


def test_what_was_seen_on_the_way_counts_beside_what_is_seen_from_one_place() -> None:
    leg = StepState()
    for k in range(10):
        watch(Pose2D(0.1 * k), 0.0, 2.0 - 0.1 * k, True, TARGET, said(0.9), leg)
    for _ in range(40):
        watch(Pose2D(0.9), 0.0, 1.0, True, TARGET, said(0.3), leg)
    assert leg.looks == pytest.approx([0.9] * 8 + [0.3] * 8)
    watch(Pose2D(0.9, 0.0, 0.4), 0.0, 1.0, True, TARGET, said(0.6), leg)
    assert leg.looks[-2:] == pytest.approx([0.3, 0.6]), "another place, from which nothing was seen yet"


@pytest.mark.parametrize("bearing", [0.1, 0.45])
def test_what_it_cannot_turn_to_is_confirmed_from_where_it_stands(bearing: float) -> None:
    leg, config = StepState(looks=[0.9] * 8), NavigatorConfig()
    said = [
        confirm(k / 10, bearing, 0.7, "the lamp", Target(TARGET, 0.9), GoalState(), leg, config, False)
        for k in range(30)
    ]
    if bearing < 0.3:
        assert said[0].reached == "reached the lamp, 0.70 m away"
    else:
        assert said[0].turn == bearing and not said[0].reached and said[-1].reached


def test_what_has_its_colour_high_up_is_told_by_looks_from_farther_away() -> None:
    """From 0.8 m a lamp's shade is above the picture: looks from there are not noted; without any, belief has to do."""
    leg, config = StepState(), NavigatorConfig()
    watch(HERE, 0.0, 0.8, True, TARGET, said(0.1), leg, 1.5)
    assert leg.looks == []
    watch(HERE, 0.0, 1.8, True, TARGET, said(0.9), leg, 1.5)
    assert leg.looks == [0.9]

    def ends(confidence: float, looks: list[float]) -> str:
        given, run = StepState(looks=looks), GoalState()
        return confirm(
            0.0, 0.1, 0.8, "the red lamp", Target(TARGET, confidence), run, given, config, False, True
        ).reached

    assert ends(0.9, []) and not ends(0.5, []) and not ends(0.9, [0.1] * 8) and ends(0.9, [0.9] * 8)


def test_which_colours_are_high_up() -> None:
    known = Knowledge()
    assert known.coloured_high_up("the red lamp") and known.coloured_high_up("floor lamp that is crimson")
    assert not any(known.coloured_high_up(phrase) for phrase in ("the lamp", "the red chair", "the red thing", ""))


def test_a_view_from_nearby_says_nothing_of_a_colour_that_is_high_up() -> None:
    grid = OccupancyGrid()
    for phrase, believed in (("the red lamp", False), ("the red chair", True)):
        targets = StepTargets(NavigatorConfig().belief, 2.0)
        targets.high = Knowledge().coloured_high_up
        targets.reset(parse_reference(phrase))
        seen = said(0.95)
        seen.bearing_probs[:] = [0.0, 0.0, 0.1, 0.8, 0.1, 0.0, 0.0, 0.0]
        for _ in range(3):
            targets.update(seen, HERE, grid, 1.5)
        assert bool(targets.belief.hypotheses) == believed
