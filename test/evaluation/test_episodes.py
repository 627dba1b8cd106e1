"""Episodes: what is asked, what counts as done, and that a seed decides everything."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from mm_nav.command import Command, ErrorCode, PolicyOutput, Stage
from mm_nav.errors import ConfigError
from mm_nav.evaluation import episodes as module
from mm_nav.evaluation.conditions import policy_factory
from mm_nav.evaluation.episodes import EpisodeConfig, EpisodeResult, run_episode
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.sim.episode import make_episode, step_radii
from mm_nav.sim.instructions import KINDS

SHORT = EpisodeConfig(time_limit_s=6.0)


@pytest.mark.parametrize("kind", [*KINDS, "pose"])
def test_same_seed_same_task(kind):
    first, _ = make_episode(10_003, kind)
    again, _ = make_episode(10_003, kind)
    other, _ = make_episode(10_004, kind)
    assert first == again != other
    assert first.kind == kind
    if kind == "pose":
        assert first.pose is not None and not first.instruction
    else:
        assert first.instruction and first.target_names
        assert len(first.steps) == len(first.phrases) == (2 if kind == "sequence" else 1)


def test_tasks_are_not_solved_at_the_start():
    for seed in range(10_000, 10_008):
        episode, task = make_episode(seed)
        assert not task.is_near(episode.target_names, episode.start.x, episode.start.y, 0.5)
        radii = step_radii(len(episode.steps))
        assert 0.3 < task.shortest_path(episode.start, episode.steps, radii) < math.inf


def test_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="telepathy"):
        make_episode(10_000, "telepathy")


def test_oracle_reaches_its_target_and_the_result_says_how():
    episode, task = make_episode(10_006)
    steps = []
    result = run_episode(episode, task, policy_factory("oracle"), on_step=steps.append)
    assert result.success and result.error_code == ErrorCode.NONE and result.stage == "succeeded"
    assert result.distance_to_target_m <= 1.0 and not result.collided
    assert 0 < result.spl <= 1.0
    assert result.path_length_m >= result.shortest_path_m - 0.3
    assert result.control_steps == len(steps)
    assert result.targets == episode.target_names
    assert result.ended_at in episode.target_names
    assert steps[0].pose == episode.start and steps[-1].pose.distance_to(episode.start) > 1.0
    assert {step.observation.stamp_ns for step in steps} == {100_000_000 * k for k in range(len(steps))}


def test_same_seed_same_episode_bit_for_bit():
    episode, task = make_episode(10_001)
    fresh_episode, fresh_task = make_episode(10_001)
    first = run_episode(episode, task, policy_factory("oracle"), SHORT)
    again = run_episode(fresh_episode, fresh_task, policy_factory("oracle"), SHORT)
    assert first == again and len(first.trace_hash) == 64
    nudged = dataclasses.replace(episode, start=Pose2D(episode.start.x, episode.start.y, episode.start.yaw + 1e-12))
    assert run_episode(nudged, task, policy_factory("oracle"), SHORT).trace_hash != first.trace_hash


def test_result_survives_json():
    episode, task = make_episode(10_000)
    result = run_episode(episode, task, policy_factory("oracle"), EpisodeConfig(time_limit_s=1.0))
    assert EpisodeResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result
    with pytest.raises(ConfigError, match="resume"):
        EpisodeResult.from_dict({**result.as_dict(), "mood": "good"})


class ScriptedNavigator:
    """Stands in for the Navigator: drives a fixed twist, then says how it ended."""

    twist, duration, end = Twist2D(), 1.0, Stage.SUCCEEDED

    def __init__(self, *_):
        self.ended = False

    def set_goal(self, goal):
        self.goal = goal

    def step(self, observation):
        if self.ended or observation.stamp_ns >= 1e9 * self.duration:
            message = "" if self.ended else "there"
            self.ended = True
            return Command(observation.stamp_ns, Twist2D(), self.end, ErrorCode.NONE, message)
        return Command(observation.stamp_ns, self.twist, Stage.APPROACHING)


class OpenGuard:
    """Lets everything pass, so that collisions can happen."""

    def __init__(self, *_):
        pass

    def filter(self, twist, current, scan, now_ns):
        from mm_nav.safety.guard import GuardResult

        return GuardResult(twist, False, "")


@pytest.fixture
def scripted(monkeypatch):
    def install(**attributes):
        navigator = type("Scripted", (ScriptedNavigator,), attributes)
        monkeypatch.setattr(module, "Navigator", navigator)
        monkeypatch.setattr(module, "Guard", OpenGuard)

    return install


def standing_before(task, episode, distance):
    """A pose that far from the target's surface, in its region."""
    region = task.region(episode.target_names, 1.0)
    for x, y in task.truth.cell_to_world(np.argwhere(region)):
        if abs(task.surface_distance(episode.target_names, x, y) - distance) < 0.05:
            return Pose2D(float(x), float(y), 0.0)
    raise AssertionError("no such place")


def test_claiming_success_far_away_is_a_failure(scripted):
    scripted(duration=0.5)
    episode, task = make_episode(10_001)
    result = run_episode(episode, task, lambda _: None)
    assert result.stage == "succeeded" and result.message == "there"
    assert not result.success and result.spl == 0.0


def test_claiming_success_at_the_target_is_one(scripted):
    scripted(duration=0.5)
    episode, task = make_episode(10_001)
    there = dataclasses.replace(episode, start=standing_before(task, episode, 0.8))
    assert run_episode(there, task, lambda _: None).success


def test_a_step_left_out_is_a_failure(scripted):
    scripted(duration=0.5)
    episode, task = make_episode(10_003, "sequence")
    assert not task.is_near(episode.steps[0], *dataclasses.astuple(standing_before(task, episode, 0.8))[:2], 1.5)
    there = dataclasses.replace(episode, start=standing_before(task, episode, 0.8))
    result = run_episode(there, task, lambda _: None)
    assert not result.success and result.steps_done == 0


def test_still_rolling_at_the_end_is_a_failure(scripted):
    scripted(duration=0.5)
    episode, task = make_episode(10_001)
    there = dataclasses.replace(episode, start=standing_before(task, episode, 0.8))

    class Rolling(OpenGuard):
        def filter(self, twist, current, scan, now_ns):
            return super().filter(Twist2D(0.0, 0.3), current, scan, now_ns)

    module.Guard = Rolling  # undone by the fixture's monkeypatch
    assert not run_episode(there, task, lambda _: None).success


def test_collision_ends_the_episode(scripted):
    scripted(twist=Twist2D(0.8), duration=60.0)
    episode, task = make_episode(10_001)
    result = run_episode(episode, task, lambda _: None)
    assert result.collided and not result.success and result.message.startswith("ran into ")
    assert result.time_s < 60.0


def test_time_limit_is_a_timeout(scripted):
    scripted(duration=1e9)
    episode, task = make_episode(10_001)
    result = run_episode(episode, task, lambda _: None, EpisodeConfig(time_limit_s=2.0))
    assert result.error_code == ErrorCode.TIMEOUT and result.time_s == pytest.approx(2.0)


def test_commands_pass_the_guard():
    episode, task = make_episode(10_001)
    steps = []

    def blind_rush(_):
        return lambda observation, goal: None

    run_episode(episode, task, blind_rush, EpisodeConfig(time_limit_s=3.0), steps.append)
    assert all(abs(step.driven.linear) <= abs(step.command.twist.linear) + 1e-9 for step in steps)


def test_policy_sees_what_the_robot_sees():
    seen = []

    def factory(context):
        def policy(observation, goal):
            seen.append((observation, goal.phrase))
            return PolicyOutput(
                observation.stamp_ns, goal.id,
                np.zeros(2, np.float32), np.full(2, 0.5, np.float32), np.ones(2, np.float32),
                0.0, 0.0, np.zeros((0, 8, 2), np.float32), np.zeros(0, np.float32),
            )  # fmt: skip

        return policy

    episode, task = make_episode(10_001)
    run_episode(episode, task, factory, EpisodeConfig(time_limit_s=1.0))
    observation, phrase = seen[0]
    assert phrase == episode.phrases[0]
    assert observation.image.rgb.shape == (144, 192, 3)
    # As a ROS message would carry it.
    assert observation.scan.angle_min == float(np.float32(-math.pi))


@pytest.mark.parametrize("seed", [5000, 5007, 5033])
def test_relations_have_something_else_of_their_category(seed):
    episode, task = make_episode(seed, "relation")
    again, _ = make_episode(seed, "relation")
    assert episode == again and episode.kind == "relation" and len(episode.steps) == 1
    kinds = {item.name: item.category for item in task.objects}
    (category,) = {kinds[name] for name in episode.target_names}
    assert [name for name, kind in kinds.items() if kind == category and name not in episode.target_names]


def test_the_oracle_is_told_of_every_phrase_of_a_relation():
    from mm_nav.evaluation.conditions import phrase_targets

    episode, task = make_episode(5003, "relation")
    assert "right of the yellow door" in episode.instruction
    targets = phrase_targets(episode, task.objects)
    assert {n.split("_")[1] for n in targets["the stool"]} == {"stool"} and len(targets["the stool"]) > 1
    assert [name.rsplit("_", 1)[0] for name in targets["the yellow door"]] == ["yellow_door"]
