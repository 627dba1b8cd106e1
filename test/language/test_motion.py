"""Turns, ways and waits are understood in the forms in which people say them."""

import math

import pytest

from mm_nav.language import parse_instruction


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("turn left", "turn", 90), ("take a right", "turn", -90), ("turn around", "turn", 180), ("make a u-turn", "turn", 180),
        ("turn left 90 degrees", "turn", 90), ("rotate 45° to the right", "turn", -45), ("turn slightly left", "turn", 30),
        ("rotate counterclockwise by ninety degrees", "turn", 90), ("look around", "turn", 360), ("spin around", "turn", 180),
    ],
)  # fmt: skip
def test_turns(text: str, kind: str, amount: float) -> None:
    (step,) = parse_instruction(text)
    assert (step.kind, step.phrase, step.reference) == (kind, "", None)
    assert math.degrees(step.amount) == pytest.approx(amount)


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("go forward 2 metres", "move", 2.0), ("back up", "move", -1.0),
        ("go back half a metre", "move", -0.5), ("move 3 feet forward", "move", 0.9144), ("go straight ahead", "move", 1.0),
        ("drive backwards 50 cm", "move", -0.5), ("stop", "wait", 0.0), ("wait for 5 seconds", "wait", 5.0), ("wait", "wait", 3.0),
        ("pause for two minutes", "wait", 120.0),
        ("follow the corridor", "follow", 0.0), ("go down the hallway to its end", "follow", 0.0),
        ("drive to the end of the corridor", "follow", 0.0),
    ],
)  # fmt: skip
def test_ways_and_waits(text: str, kind: str, amount: float) -> None:
    (step,) = parse_instruction(text)
    assert (step.kind, step.phrase) == (kind, "") and step.amount == pytest.approx(amount, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("turn around, then follow the corridor to the red door", [("turn", ""), ("follow", "the red door")]),
        ("turn right, go forward 2 meters and stop", [("turn", ""), ("move", "")]),
        ("go to the chair and wait there for 10 seconds", [("go_to", "the chair"), ("wait", "")]),
        ("turn left at the table", [("pass", "the table"), ("turn", "")]),
        ("follow the hallway until you see a chair", [("follow", "a chair")]),
        ("wait for 5 seconds, then go to the chair", [("wait", ""), ("go_to", "the chair")]),
        ("stop next to the red chair", [("go_to", "the red chair")]),
        ("wait at the red box", [("go_to", "the red box")]),
        ("go straight to the red chair", [("go_to", "the red chair")]),
        ("go to the left chair", [("go_to", "the left chair")]),
        ("go forward until you see the chair", [("go_to", "the chair")]),
        ("turn to the red chair", [("go_to", "the red chair")]),
    ],
)  # fmt: skip
def test_motions_and_things_mix(text: str, steps: list[tuple[str, str]]) -> None:
    assert [(step.kind, step.phrase) for step in parse_instruction(text)] == steps
