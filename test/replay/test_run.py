"""Replay: recordings of the simulator, real recordings, and what the report says."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mm_nav.bags.writer import open_writer
from mm_nav.command import Command, Progress, Stage
from mm_nav.errors import BagError, GoalError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal
from mm_nav.observation import Observation, Odometry, PointCloud
from mm_nav.replay.film import FilmMaker
from mm_nav.replay.records import ReplayStep
from mm_nav.replay.run import ReplayConfig, replay
from mm_nav.replay.source import driven_goals
from mm_nav.replay.together import as_one
from mm_nav.runtime.familiarity import Familiarity
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.safety.guard import GuardResult
from mm_nav.sim.simulator import CameraConfig, CloudConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

SHARED = Path(__file__).parents[2].parent / "shared"
KEYS = {
    "steps", "modalities", "guard_stops", "ade_2s_m", "fde_2s_m", "windows", "bag_fingerprint",
    "latency_p50_ms", "latency_p99_ms", "warnings", "duration_s",
    "realtime_factor",
    "linear_mean_mps", "linear_max_mps", "angular_max_abs_rps", "goal", "bag",
}  # fmt: skip


def real(name):
    path = SHARED / "bags" / name
    if not path.exists():
        pytest.skip(f"{path} is not here: it comes with the shared data, not with the repository")
    return path


def corridor():
    def wall(name, x, y, sx, sy):
        shape = f"<geometry><box><size>{sx} {sy} 1</size></box></geometry>"
        return (
            f"<model name='{name}'><static>true</static><pose>{x} {y} 0.5 0 0 0</pose><link name='l'>"
            f"<collision name='c'>{shape}</collision><visual name='v'>{shape}</visual></link></model>"
        )

    walls = wall("wall_1", 3, 1.2, 10, 0.2) + wall("wall_2", 3, -1.2, 10, 0.2) + wall("wall_3", 8, 0, 0.2, 2.4)
    return parse_world(f"<sdf version='1.9'><world name='corridor'>{walls}</world></sdf>")


FORWARD = Twist2D(0.5)


def drive(path, storage="mcap", seconds=4.0, twist=FORWARD, change=lambda o, k: o, cloud=False, **options):
    """Record a drive along a corridor; `change` may alter each observation, None leaves it out."""
    config = SimConfig(camera=CameraConfig(64, 48), cloud=CloudConfig(rings=8, columns=180) if cloud else None)
    simulator = Simulator(corridor(), config, seed=3)
    with open_writer(path, storage, **options) as writer:
        for k in range(round(10 * seconds)):
            observation = change(simulator.observe(), k)
            if observation is not None:
                writer.add(observation, twist)
            simulator.step(twist, 0.1)
    return path


def without(observation, *names):
    fields = {name: None if name in names else getattr(observation, name) for name in ("scan", "image", "cloud")}
    return Observation(observation.stamp_ns, observation.odometry, **fields)


def test_goal_from_the_end_drives_there(tmp_path):
    path = drive(tmp_path / "drive")
    (goal,) = driven_goals(path)
    assert goal.pose.x == pytest.approx(2.0, abs=0.25)
    steps = []
    result = replay(path, (goal,), sinks=[steps.append])
    data = result.as_dict()
    assert result.steps == 40 and data["guard_stops"] == 0
    assert data["modalities"] == ["image", "scan"] and data["scan_share"] == data["image_share"] == 1.0
    ahead = [step.guarded.twist.linear for step in steps[:20]]
    assert np.mean(ahead) > 0.3
    assert set(data).issuperset(KEYS)
    json.dumps(data, default=str)
    # Down an empty corridor there is one way: the stack foresees about what was driven, and better than standing still would be.
    assert data["ade_2s_m"] < 0.5 and data["straight_ade_2s_m"] < 0.1
    assert data["heading_error_deg"] < 10


def test_same_recording_same_commands(tmp_path):
    path = drive(tmp_path / "drive", seconds=2.0)
    runs = []
    for _ in range(2):
        steps = []
        replay(path, Goal(pose=Pose2D(3.0, 0.0)), sinks=[steps.append])
        runs.append([(s.command, s.guarded) for s in steps])
    assert runs[0] == runs[1]


def test_round_trip_takes_up_the_farthest_place_first(tmp_path):
    path = tmp_path / "drive"
    simulator = Simulator(corridor(), SimConfig(camera=None), seed=3)
    with open_writer(path) as writer:
        for k in range(80):
            writer.add(simulator.observe())
            simulator.step(Twist2D(0.5 if k < 20 else -0.2 if k >= 30 else 0.0), 0.1)
    far, end = driven_goals(path)
    assert far.pose.x > 0.9 and end.pose.x < 0.5 * far.pose.x
    result = replay(path, (far, end))
    assert "then" in result.goal and result.steps == 80


def test_guard_stops_are_counted(tmp_path):
    def walled(observation, k):
        # From 2 s on, something stands right before the bumper.
        if k < 20:
            return observation
        observation.scan.ranges[170:190] = 0.22
        return observation

    path = drive(tmp_path / "drive", change=walled)
    clear = replay(drive(tmp_path / "clear"), Goal(pose=Pose2D(6.0, 0.0)))
    result = replay(path, Goal(pose=Pose2D(6.0, 0.0)))
    assert clear.as_dict()["guard_stops"] == 0 and result.as_dict()["guard_limited"] >= 1
    # What the robot did is judged too: it drove on towards the thing.
    assert clear.as_dict()["recorded_guard_limited"] == 0 and result.as_dict()["recorded_guard_stops"] >= 10
    assert any(event.kind == "recorded_guard" for event in result.log.events)


@pytest.mark.parametrize("lost", ["scan", "image"])
def test_a_sensor_that_dies_half_way_is_in_the_report(tmp_path, lost):
    path = drive(tmp_path / "drive", seconds=6.0, change=lambda o, k: without(o, lost) if k >= 30 else o)
    result = replay(path, Goal(pose=Pose2D(6.0, 0.0)))
    share = result.as_dict()[f"{lost}_share"]
    assert 0.4 < share < 0.85
    if lost == "scan":
        assert result.error_code != 0 and "scan" in result.ended


@pytest.mark.parametrize("place", ["here", "thread", "process"])
def test_cloud_stands_in_for_the_planar_lidar(tmp_path, place):
    mast = np.array([[0.1, 0.1, 0.1 * k] for k in range(4)], np.float32)  # the LiDAR sees it, and it is the robot's own

    def seen(observation, k):
        rest = without(observation, "scan", "image")
        return replace(rest, cloud=PointCloud(rest.stamp_ns, np.vstack([rest.cloud.points, mast])))

    path = drive(tmp_path / "drive", cloud=True, change=seen)
    steps = []
    result = replay(path, Goal(pose=Pose2D(6.0, 0.0)), config=ReplayConfig(reading=place), sinks=[steps.append])
    assert result.as_dict()["scan_share"] == 1.0 and result.steps >= 35
    # The corridor's walls are 1.1 m to both sides.
    scan = steps[-1].observation.scan
    to_the_left = np.abs(scan.angles() - np.pi / 2) < 0.05
    assert np.nanmin(scan.ranges[to_the_left]) == pytest.approx(1.1, abs=0.08)
    assert not np.isinf(scan.ranges[to_the_left]).any() and np.nanmin(scan.ranges) > 0.5
    assert "planar LiDAR" in " ".join(result.bag.warnings)
    assert any(step.guarded.twist.linear > 0.2 for step in steps)


def test_nan_odometry_and_jumping_clock_are_survived(tmp_path):
    def broken(observation, k):
        odometry = observation.odometry
        if k == 15:
            bad = type(odometry)(odometry.stamp_ns, Pose2D(float("nan"), 0.0, 0.0), odometry.twist)
            return Observation(observation.stamp_ns, bad, observation.scan, observation.image)
        return observation

    result = replay(drive(tmp_path / "drive", change=broken), Goal(pose=Pose2D(6.0, 0.0)))
    assert result.steps >= 38 and "invalid odometry" in " ".join(result.bag.warnings)


def test_jpeg_pictures_and_one_that_is_broken_inside(tmp_path, monkeypatch):
    encode, calls = cv2.imencode, []
    # Sound at its ends and in its size, and nothing between.
    hollow = np.frombuffer(b"\xff\xd8\xff\xc0\0\x0b\x08\0\x30\0\x40\x01\x01\x11\0\xff\xd9", np.uint8)

    def encoded(*arguments):
        calls.append(arguments)
        return (True, hollow) if len(calls) == 6 else encode(*arguments)

    monkeypatch.setattr(cv2, "imencode", encoded)
    path = drive(tmp_path / "drive", seconds=2.0, jpeg_quality=90)
    monkeypatch.undo()
    seen = []
    result = replay(path, Goal(pose=Pose2D(6.0, 0.0)), sinks=[lambda step: seen.append(step.observation.image)])
    assert [image is not None for image in seen] == [k != 5 for k in range(20)]
    assert seen[4].rgb.shape == (48, 64, 3)
    assert "/camera/image_raw/compressed cannot be used" in " ".join(result.bag.warnings)
    assert result.bag.skipped == {"/camera/image_raw/compressed": 1}


def test_sentence_needs_a_policy(tmp_path):
    with pytest.raises(GoalError, match="policy"):
        replay(drive(tmp_path / "drive", seconds=1.0), Goal("go to the red chair"))


def test_progress_ends_at_one(tmp_path):
    shares = []
    replay(drive(tmp_path / "drive", seconds=1.0), Goal(pose=Pose2D(3, 0)), on_time=shares.append)
    assert shares == sorted(shares) and 0.8 < shares[-1] <= 1.0


def test_missing_recording_is_refused(tmp_path):
    with pytest.raises(BagError, match=r"none\.bag"):
        driven_goals(tmp_path / "none.bag")


@pytest.mark.parametrize("reading", ["here", "thread", "process"])
def test_film_events_and_map_are_kept(tmp_path, reading):
    path = drive(tmp_path / "drive", seconds=3.0)
    policy = OnnxPolicy(provider="cpu")
    result = replay(path, Goal(pose=Pose2D(6.0, 0.0)), policy, ReplayConfig(film=True, reading=reading))
    film = result.log.film
    assert 14 <= len(film) <= 30 and film[0].jpeg is not None and film[0].size == (64, 48)
    # The policy is asked for ways to the place, although they are not driven.
    assert film[5].waypoints_px.shape == (6, 8, 2) and np.isfinite(film[5].waypoints_px).any()
    assert film[5].foreseen.shape == (16, 2) and len(film[5].scan) > 50
    assert result.log.events[0].kind == "goal" and result.log.map.data.max() == 100
    assert result.as_dict()["policy_ade_2s_m"] < 0.5
    plain = replay(path, Goal(pose=Pose2D(6.0, 0.0)))
    np.testing.assert_array_equal(plain.log.columns["linear"], result.log.columns["linear"])


@pytest.mark.parametrize("reading", ["thread", "process"])
def test_where_it_is_read_does_not_matter(tmp_path, reading):
    path = drive(tmp_path / "drive", seconds=4.0, change=lambda o, k: without(o, "image") if k % 7 == 3 else o)
    model = OnnxPolicy(provider="cpu")

    def run(where):
        pictures = []
        result = replay(
            path, Goal("go to the red chair", id="same"), model, ReplayConfig(reading=where),
            sinks=[lambda s: pictures.append(None if s.observation.image is None else s.observation.image.rgb.copy())],
            familiarity=Familiarity.beside(model.path),
        )  # fmt: skip
        return pictures, result

    (pictures, plain), (others, result) = run("here"), run(reading)
    for a, b in zip(pictures, others, strict=True):
        assert (a is None) == (b is None)
        np.testing.assert_array_equal(a, b) if a is not None else None
    for name, column in plain.log.columns.items():
        if name not in ("latency_ms", "inference_ms"):
            np.testing.assert_array_equal(column, result.log.columns[name])
    assert (result.bag.used, result.bag.counts) == (plain.bag.used, plain.bag.counts)
    assert [topic["rate_hz"] for topic in result.as_dict()["topics"]] == pytest.approx([10.0] * 5)
    assert np.isfinite(result.log.columns["strange_image"]).sum() == sum(picture is not None for picture in pictures)


def test_errors_of_the_reading_process_arrive(tmp_path):
    empty = tmp_path / "empty.mcap"
    empty.touch()
    with pytest.raises(BagError, match="empty"):
        replay(empty, Goal(pose=Pose2D(1.0, 0.0)), config=ReplayConfig(reading="process"))
    assert not multiprocessing.active_children()


def test_a_step_that_fails_ends_the_reading_process(tmp_path):
    def broken(step):
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        replay(
            drive(tmp_path / "drive"),
            Goal(pose=Pose2D(1.0, 0.0)),
            config=ReplayConfig(reading="process"),
            sinks=[broken],
        )
    assert not multiprocessing.active_children()


def test_film_stays_within_its_frames():
    maker = FilmMaker(most=10, every_s=0.2)
    observation = Observation(0, Odometry(0, Pose2D()))
    step = ReplayStep(
        observation, Command(0, Twist2D(), Stage.IDLE), GuardResult(Twist2D(), False, ""), GuardResult(Twist2D(), False, ""),
        Progress(Stage.IDLE), None, np.full((16, 3), np.nan), 1.0, {}, None,
    )  # fmt: skip
    for k in range(1000):
        maker.add(step, 0.1 * k)
    times = np.array([frame.time_s for frame in maker.frames])
    assert 5 <= len(times) <= 10 and np.ptp(np.diff(times)) < 0.11 and times[-1] > 80


def test_the_recorded_command_is_judged_where_there_is_one(tmp_path):
    path = drive(tmp_path / "drive", twist=Twist2D(0.3))
    columns = replay(path, Goal(pose=Pose2D(6.0, 0.0))).log.columns
    assert np.nanmax(columns["told_linear"]) == pytest.approx(0.3)


def test_recordings_together(tmp_path):
    one = replay(drive(tmp_path / "one", seconds=2.0), Goal(pose=Pose2D(6.0, 0.0)))
    two = replay(drive(tmp_path / "two", seconds=7.0), Goal(pose=Pose2D(6.0, 0.0)))
    assert as_one([one])["bag"] == str(tmp_path / "one")
    both = as_one([one, two])
    assert both["steps"] == 90 and len(both["recordings"]) == 2 and len(both["windows"]["latency_ms"]) == 3
    assert both["recordings"][0]["bag_fingerprint"] != both["recordings"][1]["bag_fingerprint"]


def test_real_turtlebot_recording():
    path = real("fuse_turtlebot3.bag")
    result = replay(path, driven_goals(path))
    data = result.as_dict()
    assert data["steps"] == 457 and data["modalities"] == ["scan"]
    assert data["duration_s"] == pytest.approx(91.3, abs=0.1)
    assert data["linear_max_mps"] > 0.2 and data["scan_share"] == 1.0
    assert 0 < data["latency_p50_ms"] <= data["latency_p99_ms"]


def test_real_recording_whose_sensors_have_different_clocks():
    path = real("embag_test.bag")
    result = replay(path, driven_goals(path))
    assert result.steps >= 1 and "clocks" in " ".join(result.bag.warnings)
