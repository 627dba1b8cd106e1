"""The third host: the nodes over DDS command what the simulator's episode commanded, for the same observations."""

import sys
from pathlib import Path

import pytest

from mm_nav.evaluation.episodes import EpisodeConfig, StepRecord, run_episode
from mm_nav.goal import Goal
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.sim.episode import make_episode

sys.path.insert(0, str(Path(__file__).parent))

from lockstep import play_over_dds


@pytest.mark.parametrize("kind", ["pose", "colour"])
def test_commands_agree(kind: str, tmp_path: Path) -> None:
    policy = OnnxPolicy(provider="cpu")
    episode, task = make_episode(10_001, kind)
    steps: list[StepRecord] = []
    run_episode(episode, task, lambda _: policy, EpisodeConfig(time_limit_s=6.0), steps.append)
    # The last command of a run that ends is the end itself; the nodes publish a stop with another stamp then.
    steps = [
        step for step in steps if not step.command.error and step.command.stage.value not in ("succeeded", "failed")
    ]
    goal = Goal(episode.instruction, episode.pose, timeout_s=6.0)
    got = play_over_dds([step.observation for step in steps], goal, tmp_path)
    assert len(got) == len(steps) > 20
    assert got == [(step.observation.stamp_ns, step.command.twist) for step in steps]
    assert any(abs(twist.linear) > 0.1 or abs(twist.angular) > 0.3 for _, twist in got)
