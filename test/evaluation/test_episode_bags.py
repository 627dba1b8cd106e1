"""Episodes as recordings: replayed from what is on the disk alone, they give the very same commands."""

from __future__ import annotations

import json

import pytest
import yaml

from mm_nav.bags.reader import BagReader
from mm_nav.cli.main import main
from mm_nav.errors import BagError, ConfigError, MmNavError
from mm_nav.evaluation import episode_bags
from mm_nav.evaluation.episode_bags import write_episode_bag
from mm_nav.evaluation.episodes import run_episode
from mm_nav.geometry import Pose2D
from mm_nav.goal import Goal
from mm_nav.replay.run import replay
from mm_nav.resources import resource_path
from mm_nav.runtime.policy import OnnxPolicy


@pytest.fixture
def driven(monkeypatch):
    """The steps of the drive that is recorded."""
    steps = []

    def watched(episode, task, policy, config, on_step, pilot):
        def both(step):
            steps.append(step)
            on_step(step)

        return run_episode(episode, task, policy, config, both, pilot)

    monkeypatch.setattr(episode_bags, "run_episode", watched)
    return steps


class Kept:
    """A sink of a replay."""

    def __init__(self):
        self.steps = []

    def __call__(self, step):
        self.steps.append(step)


def assert_same(driven, path, goal, policy=None):
    kept = Kept()
    replay(path, goal, policy, sinks=[kept])
    assert len(kept.steps) == len(driven) > 20
    for live, again in zip(driven, kept.steps, strict=True):
        assert live.command == again.command
        assert live.driven == again.guarded.twist
    assert any(abs(s.command.twist.linear) + abs(s.command.twist.angular) > 0.1 for s in driven)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1"])
def test_a_place(tmp_path, driven, storage):
    path = tmp_path / "deep" / ("drive.bag" if storage == "ros1" else "drive")
    cloud = storage == "mcap"
    bag = write_episode_bag(path, 10_001, "pose", storage=storage, cloud=cloud, camera=(64, 48), time_limit_s=4.0)
    x, y = map(float, bag.goal_file.read_text().split(","))
    assert bag.is_pose and bag.steps == len(driven) and bag.result.steps_done == 0
    assert_same(driven, path, Goal(pose=Pose2D(x, y), timeout_s=1e6))
    with BagReader(path) as reader:
        assert set(reader.report.used) >= {"odometry", "scan", "image"}
        assert ("cloud" in reader.report.used) == (storage == "mcap")
    left = [p.name for p in path.parent.iterdir()]
    assert sorted(left) == (["drive.bag", "drive.goal.txt"] if storage == "ros1" else ["drive"])
    if storage != "ros1":
        data = yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        topics = {t["topic_metadata"]["name"] for t in data["topics_with_message_count"]}
        assert {"/scan", "/odom", "/tf", "/tf_static", "/cmd_vel", "/camera/image_raw"} <= topics


def test_a_sentence(tmp_path, driven):
    try:
        resource_path("models/tiny.onnx")
    except MmNavError as error:
        pytest.skip(f"no trained model here: {error}")
    path = tmp_path / "drive"
    bag = write_episode_bag(path, 10_001, "colour", time_limit_s=4.0, zstd=True)
    assert bag.goal == bag.result.instruction and not bag.is_pose
    goal = Goal((path / "goal.txt").read_text().strip(), timeout_s=1e6)
    assert_same(driven, path, goal, OnnxPolicy(None, provider="cpu"))


def test_what_cannot_be_recorded_is_refused_before_the_drive(tmp_path, driven):
    (tmp_path / "there").mkdir()
    for path, options, error, words in (
        (tmp_path / "there", {}, BagError, "exists already"),
        (tmp_path / "a", {"storage": "ros1"}, ConfigError, r"\.bag"),
        (tmp_path / "a.bag", {"storage": "ros1", "zstd": True}, ConfigError, "zstd"),
        (tmp_path / "a", {"kind": "nonsense"}, ConfigError, "nonsense"),
    ):
        with pytest.raises(error, match=words):
            write_episode_bag(path, 10_001, **options)
    assert not driven and [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_drive_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def failing(*arguments):
        arguments[-2](None)

    monkeypatch.setattr(episode_bags, "run_episode", failing)
    with pytest.raises(AttributeError):
        write_episode_bag(tmp_path / "drive", 10_001, "pose")
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path, capsys):
    path = tmp_path / "drive"
    arguments = ["record", "--episode", "10001:pose", "--camera", "32x24", "--out", str(path)]
    assert main([*arguments, "--json", str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    goal = (path / "goal.txt").read_text().strip()
    assert result["goal"] == goal and result["goal_option"] == "--goal-pose" and result["success"]
    assert capsys.readouterr().out.splitlines()[-1] == goal
    assert main(arguments) == 2 and "exists already" in capsys.readouterr().err
