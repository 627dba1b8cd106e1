"""The policy's short memory: what it keeps, where, and when it lets go."""

import math

import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.memory import FrameMemory

CONFIG = PolicyConfig(width=8, heads=2)


def note(value: float) -> np.ndarray:
    return np.full((CONFIG.memory_tokens, CONFIG.width), value, np.float32)


def test_only_places_apart_are_kept_and_the_oldest_goes_first() -> None:
    memory = FrameMemory(CONFIG)
    for k in range(60):
        memory.add(Pose2D(0.1 * k, 0.0, 0.0), note(k))
    assert len(memory) == CONFIG.memory_frames
    notes, poses, present = memory.recall(0, Pose2D(5.9, 0.0, 0.0))
    assert present.tolist() == [[1.0] * CONFIG.memory_frames]
    assert np.all(np.diff(notes[0, :, 0, 0]) >= 8) and np.all(poses[0, :, 0] < 0.0)


def test_turning_on_the_spot_shows_something_new() -> None:
    memory = FrameMemory(CONFIG)
    for yaw in (0.0, 0.3, 0.8):
        memory.add(Pose2D(0.0, 0.0, yaw), note(yaw))
    assert len(memory) == 2


def test_poses_are_those_of_then_seen_from_now() -> None:
    memory = FrameMemory(CONFIG)
    memory.add(Pose2D(1.0, 2.0, math.pi / 2), note(1.0))
    _, poses, present = memory.recall(0, Pose2D(1.0, 0.0, math.pi / 2))
    np.testing.assert_allclose(poses[0, 0], (2.0, 0.0, 0.0), atol=1e-6)
    assert present[0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("stamp_s", [20.0, 0.5])
def test_a_gap_or_a_jump_back_in_time_forgets(stamp_s: float) -> None:
    memory = FrameMemory(CONFIG)
    memory.recall(int(1e9), Pose2D())
    memory.add(Pose2D(), note(1.0))
    assert memory.recall(int(stamp_s * 1e9), Pose2D())[2].sum() == 0.0
