"""A shadow answers the newest question, keeps a record, and holds nobody up."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from mm_nav.command import PolicyOutput
from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation, Odometry
from mm_nav.runtime.shadow import Shadow

GOAL = PolicyGoal("g", "the red barrel")


def answer(stamp: int, visible: float = 0.9) -> PolicyOutput:
    probs = np.full(4, 0.25, np.float32)
    return PolicyOutput(
        stamp, "g", probs, probs, probs, visible, 0.0, np.zeros((1, 8, 2)), np.ones(1), inference_ms=2.0
    )


def question(stamp: int) -> tuple[Observation, PolicyGoal, PolicyOutput]:
    return Observation(stamp, Odometry(stamp, Pose2D())), GOAL, answer(stamp)


class Slow:
    """A policy that waits to be let go."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        self.asked.release()
        assert self.go.acquire(timeout=10.0)
        if observation.stamp_ns == 5:
            raise RuntimeError("no memory left")
        return answer(observation.stamp_ns, 0.4)


def test_the_newest_question_is_answered_and_the_others_are_counted(tmp_path: Path) -> None:
    policy, log = Slow(), tmp_path / "deep" / "shadow.jsonl"
    shadow = Shadow(policy, log)  # type: ignore[arg-type]
    shadow.offer(*question(1))
    assert policy.asked.acquire(timeout=10.0)
    for stamp in (2, 3, 4):
        shadow.offer(*question(stamp))
    policy.go.release(2)
    assert policy.asked.acquire(timeout=10.0)
    shadow.offer(*question(5))
    policy.go.release()
    shadow.close()
    first, newest, failed = (json.loads(line) for line in log.read_text().splitlines())
    assert (first["stamp_ns"], newest["stamp_ns"], newest["skipped"]) == (1, 4, 2)
    assert (first["visible"], first["shadow_visible"], first["bearing_overlap"]) == (0.9, 0.4, 1.0)
    assert failed["stamp_ns"] == 5 and "no memory left" in failed["error"]


def test_a_record_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Shadow(Slow(), tmp_path / "file" / "shadow.jsonl")  # type: ignore[arg-type]
