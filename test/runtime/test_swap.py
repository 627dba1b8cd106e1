"""A new model is tried before it takes over, and given up when it fails afterwards; the robot is answered all the while."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mm_nav.command import PolicyOutput
from mm_nav.errors import ModelError
from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation
from mm_nav.resources import resource_path
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.runtime.swap import SwappablePolicy, faults
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import load_world

TINY, SMALL = (resource_path(f"models/{name}.onnx") for name in ("tiny", "small"))
GOAL = PolicyGoal("g", "the red barrel")


def load(path: Path) -> OnnxPolicy:
    return OnnxPolicy(path, provider="cpu", rivals=False)


@pytest.fixture(scope="module")
def view() -> Observation:
    camera = CameraConfig(width=160, height=120)
    return Simulator(
        load_world(resource_path("worlds/apartment.sdf")), SimConfig(camera=camera), start=Pose2D()
    ).observe()


@pytest.fixture
def driving(view: Observation) -> SwappablePolicy:
    policy = SwappablePolicy(load(TINY), load, most_slower=50.0)
    for _ in range(3):
        policy(view, GOAL)
    return policy


class Broken(OnnxPolicy):
    """Answers well for a while, then not. how: what it does then."""

    def __init__(self, good: int, how: str) -> None:
        super().__init__(SMALL, provider="cpu", rivals=False)
        self._left, self._how = good, how

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        output = super().__call__(observation, goal)
        self._left -= 1
        if self._left >= 0:
            return output
        if self._how == "raises":
            raise RuntimeError("the device is gone")
        return replace(output, bearing_probs=np.full_like(output.bearing_probs, np.nan))


def test_another_model_takes_over(driving: SwappablePolicy, view: Observation) -> None:
    trial = driving.try_model(SMALL)
    assert driving.policy.path == TINY and trial.inputs == 3 and trial.slower > 0.0 and 0.0 <= trial.difference <= 1.0
    driving.take_over(trial)
    assert driving.policy.path == SMALL and driving.on_probation
    for _ in range(50):
        assert not faults(driving(view, GOAL))
    assert not driving.on_probation and driving.policy.path == SMALL


@pytest.mark.parametrize("harm", ["truncated", "no manifest", "other hash", "no onnx", "missing"])
def test_what_is_no_model_is_refused_and_the_present_one_drives_on(
    driving: SwappablePolicy, view: Observation, tmp_path: Path, harm: str
) -> None:
    path = tmp_path / "new.onnx"
    shutil.copy(SMALL, path)
    shutil.copy(SMALL.with_suffix(".json"), path.with_suffix(".json"))
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
    elif harm == "no manifest":
        path.with_suffix(".json").unlink()
    elif harm == "other hash":
        path.write_bytes(TINY.read_bytes())
    elif harm == "no onnx":
        path.write_bytes(b"hello")
    else:
        path.unlink()
    with pytest.raises(ModelError, match=r"tiny\.onnx drives on"):
        driving.try_model(path)
    assert driving.policy.path == TINY and not faults(driving(view, GOAL))


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_one_that_fails_on_what_was_seen_is_refused(driving: SwappablePolicy, how: str) -> None:
    driving._load = lambda path: load(path) if path == TINY else Broken(1, how)
    with pytest.raises(ModelError, match="failed on an input" if how == "raises" else "not finite"):
        driving.try_model(SMALL)
    assert driving.policy.path == TINY


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_one_that_fails_later_is_given_up_and_no_answer_is_missing(view: Observation, how: str) -> None:
    said: list[str] = []
    policy = SwappablePolicy(load(TINY), lambda path: load(path) if path == TINY else Broken(6, how), 50.0, said.append)
    for _ in range(3):
        policy(view, GOAL)
    policy.take_over(policy.try_model(SMALL))
    for _ in range(8):
        assert not faults(policy(view, GOAL))
    assert policy.policy.path == TINY and not policy.on_probation
    assert len(said) == 1 and "small.onnx was given up after 3 answers" in said[0] and "back to tiny.onnx" in said[0]


def test_one_that_is_too_slow_is_refused(view: Observation) -> None:
    policy = SwappablePolicy(load(TINY), load, most_slower=0.01)
    policy(view, GOAL)
    with pytest.raises(ModelError, match="times as long"):
        policy.try_model(SMALL)


def test_before_anything_was_seen_a_model_that_opens_is_taken(view: Observation) -> None:
    policy = SwappablePolicy(load(TINY), load)
    trial = policy.try_model(SMALL)
    assert trial.inputs == 0
    policy.take_over(trial)
    assert not faults(policy(view, GOAL))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"visible": 1.2}, "visible"),
        ({"arrived": float("nan")}, "arrived"),
        ({"waypoint_probs": np.zeros(6, np.float32)}, "waypoint_probs"),
        ({"bearing_ranges": np.zeros(32, np.float32)}, "bearing_ranges"),
        ({"waypoints": np.full((6, 8, 2), np.inf, np.float32)}, "waypoints"),
    ],
)
def test_answers_that_cannot_be_are_noticed(view: Observation, change: dict[str, object], word: str) -> None:
    good = load(TINY)(view, GOAL)
    assert faults(good) == "" and word in faults(replace(good, **change))
