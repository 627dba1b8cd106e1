"""Recordings played to the live nodes: they answer in time, with fresh stamps, whatever sensors there are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mm_nav.bags.reader import BagReader
from mm_nav.bags.writer import open_writer
from mm_nav.errors import BagError, ConfigError, MmNavError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal
from mm_nav.resources import resource_path
from mm_nav.robot import RobotConfig
from mm_nav.ros import replay_player
from mm_nav.ros.live_stack import CommandMeter
from mm_nav.ros.replay_player import _Schedule, replay_realtime
from mm_nav.ros.topics import topics
from mm_nav.sim.simulator import CameraConfig, CloudConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

DOMAIN = 85
NUMBERS = {
    "realtime_observations", "realtime_commands", "realtime_latency_p50_ms", "realtime_latency_p99_ms", "realtime_latency_max_ms",
    "deadline_ms", "deadline_misses", "deadline_miss_share", "realtime_guard_stops", "realtime_guard_limits",
    "realtime_scans_dropped", "realtime_images_sent",
}  # fmt: skip


def corridor():
    def wall(name, x, y, sx, sy):
        shape = f"<geometry><box><size>{sx} {sy} 1</size></box></geometry>"
        return (
            f"<model name='{name}'><static>true</static><pose>{x} {y} 0.5 0 0 0</pose><link name='l'>"
            f"<collision name='c'>{shape}</collision><visual name='v'>{shape}</visual></link></model>"
        )

    walls = wall("wall_1", 3, 1.2, 10, 0.2) + wall("wall_2", 3, -1.2, 10, 0.2) + wall("wall_3", 8, 0, 0.2, 2.4)
    return parse_world(f"<sdf version='1.9'><world name='corridor'>{walls}</world></sdf>")


def drive(path, seconds=6.0, without=(), cloud=False, start_ns=0, speed=0.4):
    config = SimConfig(camera=CameraConfig(64, 48), cloud=CloudConfig(rings=8, columns=180) if cloud else None)
    simulator = Simulator(corridor(), config, seed=3)
    with open_writer(path, start_ns=start_ns) as writer:
        for _ in range(round(10 * seconds)):
            writer.add(replace(simulator.observe(), **{name: None for name in without}), Twist2D(speed))
            simulator.step(Twist2D(speed), 0.1)
    return path


def model():
    try:
        resource_path("models/tiny.onnx")
    except MmNavError as error:
        pytest.skip(f"no trained model here: {error}")


def test_a_sentence_is_answered_in_time(tmp_path):
    model()
    told = []
    result = replay_realtime(
        drive(tmp_path / "drive"), Goal("go to the red chair", timeout_s=1e6), tmp_path / "logs", domain_id=DOMAIN,
        progress=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert set(result) >= NUMBERS
    assert result["realtime_scans_sent"] == result["realtime_images_sent"] == 60
    # The first half second after the goal was accepted does not count.
    assert 40 <= result["realtime_observations"] <= 56
    assert result["realtime_commands"] >= 0.8 * result["realtime_observations"]
    assert result["realtime_moving_share"] > 0.5
    assert 0 < result["realtime_latency_p50_ms"] <= result["realtime_latency_p99_ms"]
    assert result["realtime_policy_answers_with_image"] > 20
    assert result["realtime_warnings"] == [] and result["deadline_ms"] == pytest.approx(66.67)
    assert told == sorted(told) and told[-1][0] == told[-1][1] == pytest.approx(5.9, abs=0.2)


def test_a_place_without_a_camera_and_with_point_clouds_only(tmp_path):
    without = ("image", "scan")
    path = drive(tmp_path / "drive", 5.0, without, cloud=True, start_ns=1_600_000_000_000_000_000)
    result = replay_realtime(
        path, Goal(pose=Pose2D(6.0, 0.0)), tmp_path / "logs", domain_id=DOMAIN, robot="turtlebot3_waffle"
    )
    assert result["realtime_scans_sent"] == 50 and result["realtime_images_sent"] == 0
    assert result["realtime_commands"] >= 0.8 * result["realtime_observations"] > 25
    assert (
        result["realtime_moving_share"] > 0.8 and 0.15 < result["realtime_linear_mean_mps"] <= 0.26
    )  # as fast as it can
    assert "camera" in result["realtime_warnings"][0]
    assert len(result["realtime_warnings"]) == len(without)


def test_a_goal_that_ends(tmp_path):
    path = drive(tmp_path / "drive", 4.0, ("image",), speed=0.0)
    result = replay_realtime(path, Goal(pose=Pose2D(0.05, 0.0)), tmp_path / "logs", domain_id=DOMAIN, rate=2.0)
    assert result["realtime_ended"].startswith("NONE") and result["realtime_rate"] == 2.0
    # What comes after the end is not asked for.
    assert result["realtime_observations"] < 20 and result["deadline_miss_share"] != 1.0


def test_what_cannot_be_played_is_refused_before_anything_starts(tmp_path):
    path, goal = drive(tmp_path / "drive", 1.0, ("scan",)), Goal(pose=Pose2D(1.0, 0.0))
    for bag, given, error, words in (
        (path, {}, BagError, "neither scans nor"),
        (tmp_path / "none", {}, BagError, "none"),
        (path, {"rate": 0.0}, ConfigError, "rate"),
        (path, {"robot": "toaster"}, ConfigError, "toaster"),
    ):
        with pytest.raises(error, match=words):
            replay_realtime(bag, goal, tmp_path / "logs", **given)
    assert not (tmp_path / "logs").exists()


def test_nodes_that_do_not_come_up_end_it(tmp_path):
    path = drive(tmp_path / "drive", 1.0)
    with pytest.raises(MmNavError, match=r"none\.onnx"):
        replay_realtime(
            path, Goal(pose=Pose2D(1.0, 0.0)), tmp_path / "logs", model=tmp_path / "none.onnx", domain_id=DOMAIN
        )


def test_another_model_is_told_to_all_who_go_by_it(tmp_path, monkeypatch):
    """The navigator takes and refuses words by the model's manifest."""
    told = {}

    def stack(name, logs, parameters, domain):
        told.update(parameters)
        raise MmNavError("that is enough")

    monkeypatch.setattr(replay_player, "live_stack", stack)
    path, model = drive(tmp_path / "drive", 1.0), tmp_path / "other.onnx"
    with pytest.raises(MmNavError, match="enough"):
        replay_realtime(path, Goal("go to the red chair"), tmp_path / "logs", model=model)
    assert {name for name, values in told.items() if values.get("model") == str(model)} == {"inference", "navigator"}


def test_stamps_keep_their_distances_and_pauses_are_cut(tmp_path):
    path = tmp_path / "drive"
    simulator = Simulator(corridor(), SimConfig(camera=None), seed=3)
    with open_writer(path, start_ns=7_000_000_000) as writer:
        for k in range(40):
            observation = simulator.observe()
            late = (60_000_000_000 if k >= 20 else 0) + observation.stamp_ns
            odometry = replace(observation.odometry, stamp_ns=late)
            scan = replace(observation.scan, stamp_ns=late)
            writer.add(replace(observation, stamp_ns=late, odometry=odometry, scan=scan))
            simulator.step(Twist2D(0.4), 0.1)
    with BagReader(path) as reader:
        schedule = _Schedule(reader, 2.0, RobotConfig())
        scans = [item for item in schedule.items() if item.topic == topics().scan]
    assert len(scans) == 40 and "1 pauses" in schedule.warnings[0]
    assert [s.due_s for s in scans] == pytest.approx([0.05 * k for k in range(40)], abs=1e-6)
    assert [1e-9 * s.stamp_ns for s in scans] == pytest.approx([0.05 * k for k in range(40)], abs=1e-6)


def test_the_meter(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("mm_nav.ros.live_stack.time.perf_counter", lambda: now[0])
    meter = CommandMeter(0.1, 1.0)
    meter.scan(1)
    assert not meter.command(1)  # nothing is asked for yet
    meter.counting = True
    for stamp, took in ((2, 0.05), (3, 0.2)):
        meter.scan(stamp)
        now[0] += took
        assert meter.command(stamp) and not meter.command(stamp)
    meter.scan(4)
    now[0] += 1.5
    meter.scan(5)
    values, never = meter.measured()
    assert list(values) == pytest.approx([50.0, 200.0]) and never == 1
    meter.end()
    assert meter.measured()[1] == 2
