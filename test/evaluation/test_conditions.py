"""What each condition takes away, and what it leaves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from mm_nav.command import PolicyOutput
from mm_nav.errors import ConfigError
from mm_nav.evaluation import conditions, language
from mm_nav.evaluation.conditions import CONDITIONS, condition_config, missing, pilot_factory, policy_factory
from mm_nav.evaluation.episodes import EpisodeConfig, EpisodeContext, run_episode
from mm_nav.evaluation.language import Record, resolve_variants, run_suite, runnable, suite_config
from mm_nav.evaluation.suites import suite_episodes
from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.language.knowledge import Knowledge
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry
from mm_nav.sim.episode import make_episode
from mm_nav.sim.simulator import CameraConfig


class Echo:
    """A policy that keeps what it was shown."""

    knowledge = Knowledge(("chair",), None)

    def __init__(self):
        self.seen = []

    def __call__(self, observation, goal):
        self.seen.append(observation)


@pytest.fixture
def shown(monkeypatch):
    echo = Echo()
    monkeypatch.setattr(conditions, "_loaded", lambda model, memory=True: echo)

    def show(condition):
        policy = policy_factory(condition)(EpisodeContext(None, None, None))
        scan = LaserScan(0, np.ones(8, np.float32), 0.0, 0.1, 0.1, 9.0)
        image = CameraImage(0, np.zeros((4, 4, 3), np.uint8), np.eye(3), np.eye(4))
        policy(Observation(0, Odometry(0, Pose2D()), scan, image), PolicyGoal("1", "the chair"))
        return policy, echo.seen[-1]

    return show


def test_a_sensor_is_taken_from_the_network_only(shown):
    policy, seen = shown("camera_only")
    assert seen.scan is None and seen.cloud is None and seen.image is not None
    # What words the model knows does not change with its sensors.
    assert policy.knowledge is Echo.knowledge
    _, seen = shown("lidar_only")
    assert seen.scan is not None and seen.image is None
    _, seen = shown("full")
    assert seen.scan is not None and seen.image is not None


def test_only_no_belief_map_changes_how_episodes_are_run():
    config = EpisodeConfig()
    for name in CONDITIONS:
        own = condition_config(name, config)
        if name == "no_belief_map":
            assert not own.navigator.belief.over_time
            belief = dataclasses.replace(own.navigator.belief, over_time=True)
            own = dataclasses.replace(own, navigator=dataclasses.replace(own.navigator, belief=belief))
        assert own == config
        assert (pilot_factory(name) is None) == (name != "expert")


def test_no_waypoints_tells_what_it_sees_but_no_ways(monkeypatch):
    ways, flat = np.ones((6, 8, 2), np.float32), np.ones(4, np.float32)
    output = PolicyOutput(0, "1", flat, flat, flat, 0.7, 0.1, ways, np.ones(6, np.float32) / 6)

    class Sees(Echo):
        def __call__(self, observation, goal):
            return output

    monkeypatch.setattr(conditions, "_loaded", lambda model, memory=True: Sees())
    policy = policy_factory("no_waypoints")(EpisodeContext(None, None, None))
    told = policy(None, None)
    assert told.waypoints.shape == (0, 8, 2) and len(told.waypoint_probs) == 0 and told.visible == 0.7
    assert policy.knowledge is Echo.knowledge


def test_conditions_say_what_they_lack():
    assert "late_fusion=FILE" in missing("late_fusion", {})
    assert missing("late_fusion", {"late_fusion": "x.onnx"}) == ""
    assert missing("classical", {}) == "" == missing("full", {})
    assert runnable(("full", "no_dagger"), ()).keys() == {"full", "no_dagger"}


def test_no_memory_is_the_same_model_without_its_memory(monkeypatch):
    made = []

    class Model:
        def __init__(self, model=None, provider="auto", threads=1, memory=True):
            made.append((model.name, memory))

    monkeypatch.setattr(conditions, "OnnxPolicy", Model)
    conditions._loaded.cache_clear()
    for condition in ("no_memory", "full", "no_belief_map"):
        policy_factory(condition, conditions.Path("a.onnx"))(EpisodeContext(None, None, None))
    assert made == [("a.onnx", False), ("a.onnx", True)]
    conditions._loaded.cache_clear()


@pytest.mark.parametrize("given", ["late_fusion", "=x.onnx", "full=x.onnx", "late_fusion=", "no_dagger=nowhere.onnx"])
def test_variants_that_cannot_be_are_refused(given):
    with pytest.raises(ConfigError):
        resolve_variants([given])


def test_a_variant_may_be_added_to_a_run_but_not_exchanged(tmp_path, monkeypatch):
    files = {}
    for name in ("main", "late", "other"):
        files[name] = tmp_path / f"{name}.onnx"
        files[name].write_bytes(name.encode())
    ran = []

    def ran_of(config, seed, wanted):
        ran.extend(wanted)
        episode = language.EpisodeResult(
            seed, "colour", "", True, False, 1.0, 1.0, 1.0, 1.0, 0, "succeeded", "", 0.5, 1, 0, 1, ""
        )
        return [Record(name, episode) for name in wanted]

    monkeypatch.setattr(language, "run_seed", ran_of)
    log = tmp_path / "log.jsonl"

    def run(names, variants):
        config = suite_config(
            "seen", seed=5000, episodes=1, conditions=names, model=str(files["main"]), variants=variants
        )
        return run_suite(config, 1, log, resume=log.exists())

    run(("full",), ())
    both = run(("full", "late_fusion"), (("late_fusion", str(files["late"])),))
    assert ran == ["full", "late_fusion"] and len(both) == 2
    run(("full", "late_fusion"), (("late_fusion", str(files["late"])),))
    assert len(ran) == 2
    with pytest.raises(ConfigError, match="other settings"):
        run(("full", "late_fusion"), (("late_fusion", str(files["other"])),))


def test_a_condition_runs_its_own_model():
    config = suite_config(
        "seen", conditions=("full", "no_dagger"), model="main.onnx", variants=(("no_dagger", "other.onnx"),)
    )
    assert config.model_of("no_dagger").name == "other.onnx" and config.model_of("full").name == "main.onnx"


SMALL = EpisodeConfig(time_limit_s=60.0)
SMALL = dataclasses.replace(SMALL, sim=dataclasses.replace(SMALL.sim, camera=CameraConfig(width=16, height=12)))


def test_expert_drives_nearly_the_shortest_way():
    (episode,), task = suite_episodes("seen", 5014)  # the shortest way leads close along walls
    result = run_episode(episode, task, policy_factory("expert"), SMALL, None, pilot_factory("expert"))
    assert result.success and result.spl > 0.8 and result.error_code == 0


def test_expert_does_all_steps_in_order():
    episode, task = make_episode(5003, "sequence")
    result = run_episode(episode, task, policy_factory("expert"), SMALL, None, pilot_factory("expert"))
    assert result.success and result.steps_done == 2
    assert math.isfinite(result.shortest_path_m) and result.path_length_m < 1.5 * result.shortest_path_m + 1.0
