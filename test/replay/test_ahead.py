"""Reading and asking ahead: the same items, the same answers, nothing left running."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import PolicyGoal
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry
from mm_nav.replay.ahead import PolicyAhead, Prefetched
from mm_nav.runtime.policy import OnnxPolicy

LENS = np.array([[50.0, 0.0, 31.5], [0.0, 50.0, 23.5], [0.0, 0.0, 1.0]])
MOUNT = np.array([[0.0, 0.0, 1.0, 0.1], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.3], [0.0, 0.0, 0.0, 1.0]])


def observations(count):
    rng = np.random.default_rng(0)
    made = []
    for k in range(1, count + 1):
        stamp = 100_000_000 * k
        scan = LaserScan(stamp, rng.uniform(0.5, 5.0, 360).astype(np.float32), -np.pi, 2 * np.pi / 360, 0.1, 10.0)
        image = CameraImage(stamp, rng.integers(0, 256, (48, 64, 3), np.uint8), LENS, MOUNT)
        # Far enough apart for each to be remembered.
        made.append(Observation(stamp, Odometry(stamp, Pose2D(float(k), 0.0), Twist2D(0.5)), scan, image))
    return made


RED, BLUE = PolicyGoal("g/0", "the red chair"), PolicyGoal("g/1", "the blue box")


def ask(policy, seen, goals, ahead):
    answers = []
    with PolicyAhead(policy) as source:
        for k, (observation, goal) in enumerate(zip(seen, goals, strict=True)):
            if ahead:
                source.expect(seen[k + 1] if k + 1 < len(seen) else None)
            if goal is None:
                source.skip(observation)
                continue
            output = source(observation, goal)
            assert output is source.taken() and source.taken() is None
            assert output.stamp_ns == observation.stamp_ns
            answers.append((output.goal_id, output.bearing_probs, output.waypoints))
    return answers


@pytest.mark.parametrize(
    "goals",
    [
        [RED] * 8,
        [RED, RED, BLUE, BLUE, RED, RED, BLUE, RED],  # what was begun was of another goal
        [RED, RED, None, None, RED, RED, None, RED],  # nothing is asked of some
    ],
)
def test_answers_are_those_of_one_thing_after_the_other(goals):
    seen = observations(8)
    plain = ask(OnnxPolicy(provider="cpu", rivals=False), seen, goals, ahead=False)
    quick = ask(OnnxPolicy(provider="cpu", rivals=False), seen, goals, ahead=True)
    assert len(plain) == len(quick) > 4
    for a, b in zip(plain, quick, strict=True):
        assert a[0] == b[0]
        np.testing.assert_array_equal(a[1], b[1])
        np.testing.assert_array_equal(a[2], b[2])


def test_another_policy_is_asked_in_its_turn_only():
    asked = []

    def policy(observation, goal):
        asked.append(observation.stamp_ns)

    seen = observations(3)
    with PolicyAhead(policy) as source:
        source.expect(seen[1])
        assert source(seen[0], RED) is None and asked == [seen[0].stamp_ns]


def test_prefetched_items_are_all_and_in_order():
    with Prefetched(iter(range(100)), depth=3) as items:
        assert list(items) == list(range(100))


def test_prefetching_raises_in_its_turn():
    def broken():
        yield 1
        raise ValueError("broken")

    with Prefetched(broken()) as items:
        read = iter(items)
        assert next(read) == 1
        with pytest.raises(ValueError, match="broken"):
            next(read)


def test_prefetching_reads_no_further_than_it_must_and_ends_with_its_owner():
    read = []

    def endless():
        k = 0
        while True:
            read.append(k)
            yield k
            k += 1

    before = threading.active_count()
    with Prefetched(endless(), depth=2) as items:
        assert next(iter(items)) == 0
    assert threading.active_count() == before and len(read) < 8
