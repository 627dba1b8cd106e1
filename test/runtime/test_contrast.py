"""What is seen where the named thing would be speaks against it, and parts of what was never taught together speak for it."""

import numpy as np
import pytest

from mm_nav.language.knowledge import Knowledge
from mm_nav.runtime.contrast import Question, compose, contrast, question, question_among

HERE, THERE = [0.9, 0.1, 0.0, 0.0], [0.0, 0.0, 0.1, 0.9]
KNOWN = Knowledge(("chair", "stool", "table"), None, ("red", "blue", "green"), ("green chair",))


def of(visible: list[float], places: list[list[float]], weight: float = 0.2) -> float:
    return contrast(np.array(visible, np.float32), np.array(places, np.float32), np.full(len(visible) - 1, weight))


def composed(visible: list[float], places: list[list[float]]) -> float:
    return compose(np.array(visible, np.float32), np.array(places, np.float32))


def test_without_rivals_nothing_changes() -> None:
    assert of([0.7], [HERE]) == pytest.approx(0.7, abs=1e-6)


def test_a_sure_rival_in_the_same_place_wins() -> None:
    assert of([0.9, 0.99], [HERE, HERE]) < 0.35


def test_a_rival_elsewhere_takes_nothing() -> None:
    assert of([0.9, 0.99], [HERE, THERE]) == pytest.approx(0.9, abs=1e-6)


def test_an_unlikely_rival_takes_little() -> None:
    assert 0.88 < of([0.9, 0.1], [HERE, HERE]) < 0.9


def test_a_rival_takes_by_its_weight() -> None:
    assert of([0.9, 0.95], [HERE, HERE], 0.05) > of([0.9, 0.95], [HERE, HERE], 0.2)


def test_certainties_stay_finite() -> None:
    assert 0.5 < of([1.0, 1.0], [HERE, HERE]) < 1.0
    assert 0.0 < of([0.0, 1.0], [HERE, HERE]) < 1e-3
    assert composed([1.0, 1.0, 1.0], [HERE] * 3) < 1.0 and composed([0.0, 0.0, 0.0], [HERE] * 3) > 0.0


def test_parts_in_one_place_speak_for_the_whole() -> None:
    together = composed([0.6, 0.95, 0.95], [HERE, HERE, HERE])
    assert together > 0.8
    assert composed([0.6, 0.95, 0.95], [HERE, HERE, THERE]) < 0.3
    assert composed([0.6, 0.1, 0.95], [HERE, HERE, HERE]) < together
    assert composed([0.02, 0.95, 0.95], [HERE, HERE, HERE]) < 0.5


def test_what_was_taught_is_asked_with_its_rivals() -> None:
    asked = question("the red chair", KNOWN)
    assert dict(asked.rivals) == {"the red stool": 0.2, "the red table": 0.2, "the blue chair": 0.05}
    assert asked.phrases[0] == "the red chair" and not asked.parts
    assert asked.without(("the red table", "the lamp")).phrases == ("the red chair", "the red stool", "the blue chair")


def test_what_was_never_taught_together_is_asked_in_parts() -> None:
    asked = question("the tall green chair", KNOWN)
    assert asked == Question("the tall green chair", parts=("the tall chair", "the tall green thing"))


@pytest.mark.parametrize("phrase", ["something red", "the kitchen", ""])
def test_what_names_no_thing_is_asked_alone(phrase: str) -> None:
    assert question(phrase, KNOWN).phrases == (phrase,)


def test_of_things_of_one_kind_it_is_asked_which() -> None:
    """ "The chair that is not red": what is a chair is known, so its colours are compared."""
    assert dict(question_among("the red chair", "the chair", KNOWN).rivals) == {"the blue chair": 0.1}
    assert question_among("the green chair", "the chair", KNOWN).parts == ("the chair", "the green thing")


@pytest.mark.parametrize("phrase", ["the red table", "the chair", "the kitchen"])
def test_of_other_things_nothing_more_is_asked(phrase: str) -> None:
    assert question_among(phrase, "the chair", KNOWN) == Question(phrase)
