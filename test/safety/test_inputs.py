"""What is silent is named, with what to do about it, and what comes back is well again."""

from mm_nav.safety.inputs import Input, Inputs, Level

SCAN = Input("scan", "/scan", "LiDAR", 0.4, "is its driver running?")
IMAGE = Input("image", "/image", "camera", 0.5, "is its driver running?", Level.WARN)


def names(inputs: Inputs, now: float) -> list[str]:
    return [problem.name for problem in inputs.problems(now)]


def test_silence_is_told_from_never_and_from_unusable() -> None:
    inputs = Inputs([SCAN, IMAGE], 10.0)
    assert names(inputs, 10.3) == []
    assert [(p.name, p.level) for p in inputs.problems(10.6)] == [("scan", Level.ERROR), ("image", Level.WARN)]
    assert inputs.problems(10.6)[0].text == "LiDAR: nothing has come on /scan yet: is its driver running?"
    inputs.heard("scan", 10.7)
    assert names(inputs, 10.8) == ["image"]
    assert "nothing has come on /scan for 1.3 s" in inputs.problems(12.0)[0].text
    inputs.refused("scan", "no transform", 12.1)
    assert inputs.problems(12.2)[0].text == "LiDAR: messages on /scan cannot be used: no transform"
    # What could not be used some time ago does not come any more.
    assert "nothing has come" in inputs.problems(20.0)[0].text
    inputs.heard("scan", 20.0)
    inputs.heard("who", 20.0)  # nobody watches that
    assert names(inputs, 20.1) == ["image"]


def test_a_clock_that_stands_still_comes_first() -> None:
    inputs = Inputs([SCAN], 0.0, clock_limit_s=0.4)
    inputs.clock(5, 0.1)
    inputs.clock(5, 0.6)
    assert names(inputs, 0.6) == ["clock", "scan"]
    inputs.clock(6, 0.7)
    assert names(inputs, 0.7) == ["scan"]
    assert names(Inputs([], 0.0), 1e9) == []


def test_who_was_held_up_blames_nobody() -> None:
    inputs = Inputs([SCAN], 0.0, attention_s=0.2, clock_limit_s=0.4)
    assert names(inputs, 0.1) == []
    assert names(inputs, 5.0) == []
    assert names(inputs, 5.5) == ["clock", "scan"]
