"""Phrases of one colour and one thing come apart; all others stay whole."""

import numpy as np
import pytest

from mm_nav.language.parts import in_parts
from mm_nav.language.vocabulary import CATEGORIES, COLOURS
from mm_nav.sim.instructions import sample_phrase


@pytest.mark.parametrize(
    ("phrase", "thing", "colour"),
    [
        ("the black plant", "the plant", "the black thing"),
        ("go to the chair that is red", "go to the chair", "the red thing"),
        ("a box which is dark grey", "a box", "the dark grey thing"),
        ("the crate in blue", "the crate", "the blue thing"),
        ("any cabinet coloured Red", "any cabinet", "the red thing"),
        ("a scarlet couch", "a couch", "the scarlet thing"),
    ],
)
def test_thing_and_colour(phrase: str, thing: str, colour: str) -> None:
    assert in_parts(phrase) == (thing, colour)


@pytest.mark.parametrize(
    "phrase",
    [
        "chair",
        "the second door",
        "green thing",
        "the red one",
        "orange",
        "black and white box",
        "the chair that is not red",
        "",
    ],
)
def test_what_stays_whole(phrase: str) -> None:
    assert in_parts(phrase) == (phrase,)


def test_every_trained_pair_comes_apart_without_a_trace_of_the_other_part() -> None:
    rng = np.random.default_rng(0)
    words = {word for names in COLOURS.values() for word in names}
    for category in CATEGORIES:
        for colour in COLOURS:
            thing, hue = in_parts(sample_phrase(rng, category, colour))
            assert not words & set(thing.replace(",", " ").split())
            assert hue.removeprefix("the ").removesuffix(" thing") in words
