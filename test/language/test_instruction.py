"""Instructions are split into the steps that a person would name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.errors import GoalError
from mm_nav.language import parse_instruction


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("go to the red barrel", [("go_to", "the red barrel")]),
        ("Please find a blue box.", [("go_to", "a blue box")]),
        ("take me to the barrel that is red", [("go_to", "the barrel that is red")]),
        ("barrel", [("go_to", "barrel")]),
        (
            "go past the table to the red chair, then to the door",
            [("pass", "the table"), ("go_to", "the red chair"), ("go_to", "the door")],
        ),
        ("go to the blue box, then to the door", [("go_to", "the blue box"), ("go_to", "the door")]),
        ("go around the sofa and stop at the lamp", [("pass", "the sofa"), ("go_to", "the lamp")]),
        ("pass the table and go to the bin", [("pass", "the table"), ("go_to", "the bin")]),
        ("make your way to the big red barrel and stop there", [("go_to", "the big red barrel")]),
        ("find the red box and park there", [("go_to", "the red box")]),
        ("give the red chair a short visit", [("go_to", "the red chair")]),
        ("drive to the plant the cat likes", [("go_to", "the plant")]),
        ("bring this parcel to the red chair", [("go_to", "the red chair")]),
        ("make a beeline for the lamp", [("go_to", "the lamp")]),
        ("find out where the red chair is and go there", [("go_to", "the red chair")]),
        ("is there a red chair here? if so, go to it", [("go_to", "a red chair")]),
        ("roll towards the lamp until you are close", [("go_to", "the lamp")]),
        ("please be at the door in a minute", [("go_to", "the door")]),
        ("what you must find is the lamp", [("go_to", "the lamp")]),
        ("the thing that is next to the table", [("go_to", "the thing that is next to the table")]),
        ("the sofa needs you", [("go_to", "the sofa")]),
        ("we need you over by the red cone", [("go_to", "the red cone")]),
        ("i need you to go to the lamp", [("go_to", "the lamp")]),
        ("time to pay the table painted blue a visit", [("go_to", "the blue table")]),
        ("let's see the cabinet whose colour is black", [("go_to", "the black cabinet")]),
        (
            "a box of red color, then the lamp with the colour white",
            [("go_to", "a red box"), ("go_to", "the white lamp")],
        ),
        ("go to the chair by the door that is painted in light blue", [("go_to", "the chair by the light blue door")]),
        ("go to the red chair painted blue", [("go_to", "the red chair painted blue")]),
        ("go to the bin not painted red", [("go_to", "the bin not painted red")]),
        ("go to the sofa whose colour isn't green", [("go_to", "the sofa that isn't green")]),
        ("first the lamp, after that the green bin", [("go_to", "the lamp"), ("go_to", "the green bin")]),
    ],
)
def test_steps(text: str, steps: list[tuple[str, str]]) -> None:
    assert [(step.kind, step.phrase) for step in parse_instruction(text)] == steps


@pytest.mark.parametrize("text", ["", "   ", "?!", "12 34"])
def test_no_words_is_refused(text: str) -> None:
    with pytest.raises(GoalError, match="no words"):
        parse_instruction(text)


def test_ten_kilobytes_are_refused() -> None:
    with pytest.raises(GoalError, match="shorten"):
        parse_instruction("go to the chair " * 640)


@given(st.text(max_size=500))
def test_any_text_gives_steps_or_a_goal_error(text: str) -> None:
    try:
        steps = parse_instruction(text)
    except GoalError:
        return
    assert steps and all(step.phrase.strip() for step in steps)
