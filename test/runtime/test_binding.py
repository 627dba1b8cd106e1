"""Bound buffers change nothing about the answers, and answers that were given stay as they are."""

import numpy as np
import numpy.typing as npt

from mm_nav.runtime.binding import BoundSession
from mm_nav.runtime.policy import OUTPUTS, OnnxPolicy
from mm_nav.runtime.session import open_session


def test_answers_are_those_of_the_session_and_stay() -> None:
    policy = OnnxPolicy(provider="cpu")
    session = open_session(policy.path, ["CPUExecutionProvider"])
    bound, rng = BoundSession(session, OUTPUTS), np.random.default_rng(0)
    given: list[tuple[dict[str, npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]]] = []
    for phrases in (1, 1, 3, 3, 3, 1, 1):
        feed = {name: rng.random(v.shape, dtype=np.float32) for name, v in policy.nothing(phrases).items()}
        given.append((bound.run(feed), session.run(list(OUTPUTS), feed)))
    for ours, theirs in given:
        assert list(ours) == list(OUTPUTS)
        for one, other in zip(ours.values(), theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_buffers_are_made_once_for_a_number_of_phrases() -> None:
    policy = OnnxPolicy(provider="cpu")
    session = open_session(policy.path, ["CPUExecutionProvider"])
    made = 0
    real = session.io_binding

    def counted() -> object:
        nonlocal made
        made += 1
        return real()

    session.io_binding = counted
    bound = BoundSession(session, OUTPUTS)
    for phrases in (2, 2, 3, 2, 3, 2):
        bound.run(policy.nothing(phrases))
    assert made == 2 and not bound.records_graphs
