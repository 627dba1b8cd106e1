"""One loop, three hosts: a simulated drive, recorded and replayed, gives the very same commands.

The third host, the nodes over DDS, is compared in test/ros.
"""

from __future__ import annotations

import numpy as np
import pytest

from mm_nav.bags.writer import open_writer
from mm_nav.evaluation.episodes import EpisodeConfig, run_episode
from mm_nav.goal import Goal
from mm_nav.replay.run import replay
from mm_nav.resources import resource_path
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.sim.episode import make_episode


def record(path, storage, kind, policy, seed=10_001, limit=20.0, **options):
    episode, task = make_episode(seed, kind)
    config = EpisodeConfig(time_limit_s=limit)
    steps = []
    with open_writer(path, storage, **options) as writer:

        def on_step(step):
            steps.append(step)
            writer.add(step.observation, step.driven)

        run_episode(episode, task, lambda _: policy, config, on_step)
    goal = Goal(episode.instruction, episode.pose, timeout_s=limit, id=f"episode-{seed}-{episode.kind}")
    return steps, goal


def assert_same(steps, path, goal, policy):
    replayed = []
    result = replay(path, goal, policy, sinks=[replayed.append])
    assert result.steps == len(steps) > 10
    for live, again in zip(steps, replayed, strict=True):
        assert live.observation.stamp_ns == again.observation.stamp_ns
        assert live.observation.odometry == again.observation.odometry
        np.testing.assert_array_equal(live.observation.scan.ranges, again.observation.scan.ranges)
        np.testing.assert_array_equal(live.observation.image.rgb, again.observation.image.rgb)
        assert live.command == again.command
        assert live.driven == again.guarded.twist
    assert any(abs(step.command.twist.linear) > 0.1 for step in replayed)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1"])
def test_pose_goal(tmp_path, storage):
    path = tmp_path / ("drive.bag" if storage == "ros1" else "drive")
    steps, goal = record(path, storage, "pose", None)
    assert_same(steps, path, goal, None)


def test_recording_times_do_not_matter(tmp_path):
    steps, goal = record(tmp_path / "drive", "mcap", "pose", None, limit=6.0, start_ns=1_700_000_000_000_000_000)
    assert_same(steps, tmp_path / "drive", goal, None)


def test_sentence_goal(tmp_path):
    try:
        model = resource_path("models/tiny.onnx")
    except Exception as error:
        pytest.skip(f"no trained model here: {error}")
    policy = OnnxPolicy(model, provider="cpu")
    steps, goal = record(tmp_path / "drive", "mcap", "colour", policy, limit=10.0)
    assert_same(steps, tmp_path / "drive", goal, OnnxPolicy(model, provider="cpu"))
