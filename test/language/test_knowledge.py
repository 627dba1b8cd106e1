"""What is known is not refused, and what is not is, by the word that says so."""

import pytest

from mm_nav.language import parse_instruction, parse_reference
from mm_nav.language.knowledge import Knowledge
from mm_nav.language.vocabulary import CATEGORIES, COLOURS, RIVALS
from mm_nav.sim.vocabulary import CATEGORY_WORDS, COLOUR_WORDS

# Names of things of the catalogue that are on no list, and nouns of anything else.
UNLISTED = (
    "bookstand", "bedframe", "rack-unit", "lampshade", "headboard", "nightstand", "workstation", "flowerbed", "doorframe",
    "tabletop desk", "lightbulb",
)  # fmt: skip
OTHERS = (
    "elephant", "dog", "helicopter", "moon", "pizza", "dinosaur", "river", "mountain", "ocean", "unicorn", "dragon", "horse",
    "computer", "television", "fridge", "toilet", "window", "giraffe", "penguin", "democracy", "happiness", "submarine", "castle",
    "sandwich", "volcano", "waterfall", "violin", "rocket", "wizard", "tractor", "pyramid", "spider", "crocodile", "whiskey",
    "snowman", "cloud", "bridge", "cathedral", "zebra", "person",
)  # fmt: skip


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge()


def test_the_words_of_the_generator_are_the_taught_ones() -> None:
    assert dict(CATEGORIES) == CATEGORY_WORDS and all(words[0] == name for name, words in CATEGORY_WORDS.items())
    assert all(set(words) <= set(COLOURS[name]) for name, words in COLOUR_WORDS.items())


def test_measured_on_words_of_no_list(knowledge: Knowledge) -> None:
    refused = [word for word in UNLISTED if knowledge.unknown_noun(f"the {word}") is not None]
    let_pass = [word for word in OTHERS if knowledge.unknown_noun(f"the {word}") is None]
    by_similarity = [word for word in OTHERS if knowledge._similar(word)]
    assert len(refused) <= 1, refused
    assert len(let_pass) <= 1, let_pass
    assert len(by_similarity) <= 2, by_similarity


@pytest.mark.parametrize(
    "phrase",
    ["the red one", "the red thing", "something blue", "red", "the kitchen", "the end", "the big armchair",
     "the waste-paper basket",
     "the couch", "two chairs", "the chair with the broken leg", "the leftmost of the boxes", "it", "the door to the kitchen"],
)  # fmt: skip
def test_legitimate_things_are_not_refused(knowledge: Knowledge, phrase: str) -> None:
    assert knowledge.unknown_word(parse_reference(phrase)) is None


@pytest.mark.parametrize(
    ("sentence", "noun"),
    [("go to the elephant", "elephant"), ("find a pink elephant", "elephant"), ("elephant", "elephant"),
     ("go to the elephant painted red", "elephant"),
     ("go to the chair next to the elephant", "elephant"), ("go to the toy giraffe on the box", "giraffe")],
)  # fmt: skip
def test_the_unknown_word_is_named(knowledge: Knowledge, sentence: str, noun: str) -> None:
    (step,) = parse_instruction(sentence)
    assert step.reference is not None
    assert knowledge.unknown_word(step.reference) == noun
    assert "elephant" in knowledge.refusal("elephant") and "barrel" in knowledge.refusal("elephant")


def test_a_model_may_know_less(knowledge: Knowledge) -> None:
    few = Knowledge(("chair", "forklift"))
    assert few.unknown_noun("the forklift") is None and few.unknown_noun("the barrel") == "barrel"
    assert "forklift" in few.refusal("barrel") and "bench" not in few.refusal("barrel")


def test_untaught_words_are_put_in_taught_ones(knowledge: Knowledge) -> None:
    assert knowledge.canonical("the red armchair") == "the red chair"
    assert knowledge.canonical("the wastebin by") == "the bin by"
    assert knowledge.canonical("the couch") == "the couch" and knowledge.canonical("the quark") == "the quark"


def test_rivals_are_what_a_thing_is_taken_for(knowledge: Knowledge) -> None:
    assert knowledge.rivals("the red chair")[:2] == ("the red stool", "the red table")
    assert knowledge.rivals("Trash can")[0] == "suitcase"
    assert knowledge.rivals("something red") == () == knowledge.rivals("the kitchen")
    assert set(RIVALS) == set(CATEGORIES)
    assert all(name not in rivals and set(rivals) <= set(CATEGORIES) for name, rivals in RIVALS.items())


def test_only_known_things_are_rivals() -> None:
    assert Knowledge(("chair", "table")).rivals("the blue chair") == ("the blue table",)


def test_other_colours_are_those_that_the_thing_was_taught_in() -> None:
    known = Knowledge(("chair", "table"), None, ("red", "blue", "green"), ("green chair",))
    assert known.other_colours("the crimson chair") == ("the blue chair",)
    assert known.other_colours("the red table") == ("the blue table", "the green table")
    for phrase in ("the chair", "the red thing", "the red and blue table"):
        assert known.other_colours(phrase) == ()


def test_parts_are_of_what_was_never_taught_together() -> None:
    known = Knowledge(("chair", "table"), None, ("red", "green"), ("green chair",))
    assert known.parts("the emerald chair") == ("the chair", "the emerald thing")
    assert known.parts("the green table") is None and known.parts("the chair") is None


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the lamp that is pink", "the lamp that is red"), ("a lamp in pink", "a lamp in red"),
        ("the lamp that's pink", "the lamp that's red"), ("a lamp which is light pink", "a lamp which is light red"),
        ("the lamp that is not pink", ""), ("the pink lamp that is red", ""), ("the lamp in the pink room", ""),
    ],
)  # fmt: skip
def test_a_colour_behind_the_noun_is_told_apart_from_others_too(phrase: str, expected: str) -> None:
    assert (expected in Knowledge().other_colours(phrase)) if expected else not Knowledge().other_colours(phrase)
