"""Frames of recordings: where a drive is cut, what a frame is labelled with, and training on them beside frames of worlds."""

import hashlib
import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr

from mm_nav.bags.reader import BagReader
from mm_nav.bags.writer import open_writer
from mm_nav.cli.main import EXIT_ERROR, EXIT_OK, main
from mm_nav.errors import BagError, ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.learning import bag_frames
from mm_nav.learning.bag_drives import BagConfig, DriveLabeller
from mm_nav.learning.bag_frames import collect_bags
from mm_nav.learning.frames import MAX_OBJECTS, RANGE_STRIDE, write_shard
from mm_nav.observation import CameraImage, Observation, Odometry
from mm_nav.policy.config import PolicyConfig
from mm_nav.replay.source import observations
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.sensing.deskew import all_at_once
from mm_nav.sensing.synchronizer import ObservationSynchronizer
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

SMALL = PolicyConfig(width=32, feedforward=32, fusion_layers=1, perception_layers=2, stem=(8, 8, 16, 16))
DT_NS = 100_000_000


def label(poses, config=None, times=None, twist=None):
    """The labelled frames of poses that follow one another at 10 Hz, and the labeller."""
    labeller = DriveLabeller(config or BagConfig(), 0.25, 8)
    frames = []
    for k, pose in enumerate(poses):
        stamp = DT_NS * k if times is None else times[k]
        ahead = poses[min(k + 1, len(poses) - 1)]
        speed = twist or Twist2D(pose.distance_to(ahead) / 0.1, (ahead.yaw - pose.yaw) / 0.1)
        frames += labeller.see(stamp, Odometry(stamp, pose, speed), lambda k=k: {"at": np.array(k)})
    return frames + labeller.finish(), labeller


def straight(count, step=0.05, yaw=0.0, x=0.0, y=0.0):
    return [Pose2D(x + step * k * math.cos(yaw), y + step * k * math.sin(yaw), yaw) for k in range(count)]


@pytest.mark.parametrize("yaw", [0.0, 1.2, -2.5])
def test_a_straight_drive_is_labelled_with_what_lies_ahead(yaw):
    frames, labeller = label(straight(201, yaw=yaw, x=500_000.0))  # 10 m, far from the origin, as with GPS
    assert len(frames) == 41 and labeller.counts.ahead == 39 and not labeller.counts.cuts
    assert labeller.counts.metres == pytest.approx(10.0) and labeller.counts.seconds == pytest.approx(20.0)
    first, last = frames[0], frames[-1]
    np.testing.assert_allclose(first["driven"], np.stack([0.25 * np.arange(1, 9), np.zeros(8)], 1), atol=1e-5)
    np.testing.assert_allclose(first["goals"][:, 0], BagConfig().goals_m, atol=1e-5)
    np.testing.assert_allclose(first["goal_m"], BagConfig().goals_m)
    assert last["driven_m"] == 0.0 and not last["goal_m"].any() and not last["driven"].any()
    near_end = frames[-4]  # 0.75 m before the end
    assert near_end["driven_m"] == pytest.approx(0.75, abs=1e-5) and (near_end["goal_m"] > 0).sum() == 1
    np.testing.assert_allclose(near_end["driven"][2:, 0], 0.75, atol=1e-5)
    steps = [b["pose"] - a["pose"] for a, b in pairwise(frames)]
    np.testing.assert_allclose(np.hypot(*np.array(steps)[:, :2].T), 0.25, atol=1e-5)


def test_on_a_circle_waypoints_and_goals_are_where_the_robot_was_later():
    radius = 2.0
    poses = [Pose2D(radius * math.sin(a), radius * (1 - math.cos(a)), a) for a in np.arange(0.0, 3.0, 0.02)]
    frames, _ = label(poses)
    for frame in frames[::5]:
        left = float(frame["driven_m"])
        for k, point in enumerate(frame["driven"]):
            angle = min(0.25 * (k + 1), left) / radius
            assert point == pytest.approx([radius * math.sin(angle), radius * (1 - math.cos(angle))], abs=2e-3)
    # All around and back: where it comes by again is no goal that it took 12 m to get to.
    poses = [Pose2D(radius * math.sin(a), radius * (1 - math.cos(a)), a) for a in np.arange(0.0, 14.0, 0.02)]
    frames, labeller = label(poses, BagConfig(goals_m=(1.0, 12.0)))
    assert labeller.counts.roundabout > 10 and not any(frame["goal_m"][1] for frame in frames)


def test_standing_still_is_not_repeated_and_once_around_is_enough():
    frames, _ = label([Pose2D(1e-3 * (k % 2), 0.0, 0.0) for k in range(600)])
    assert len(frames) == 1
    spin = [Pose2D(0.0, 0.0, (0.1 * k + math.pi) % (2 * math.pi) - math.pi) for k in range(300)]  # almost five turns
    frames, labeller = label([*spin, *straight(60, yaw=spin[-1].yaw)])
    on_the_spot = [f for f in frames if f["along"] == 0.0]
    assert 14 <= len(on_the_spot) <= 19 and labeller.counts.spun > 50
    ahead = on_the_spot[7]["driven"][-1]
    bearing = math.atan2(ahead[1], ahead[0])
    expected = spin[-1].yaw - on_the_spot[7]["pose"][2]
    assert math.cos(bearing - expected) == pytest.approx(1.0, abs=1e-3), "the way leads on from where it had turned to"
    slow, _ = label(straight(301, step=0.004))
    assert len(slow) == pytest.approx(301 / 20, abs=2), "creeping, after 2 s"


def test_a_robot_that_backs_up_has_no_way_ahead_there():
    ahead, back = straight(61), [Pose2D(3.0 - 0.05 * k, 0.0, 0.0) for k in range(1, 41)]
    again = [Pose2D(1.0 + 0.05 * k, 0.0, 0.0) for k in range(1, 61)]
    frames, labeller = label([*ahead, *back, *again])
    assert dict(labeller.counts.cuts) == {"backing": 1} and labeller.counts.backed_m == pytest.approx(2.0, abs=0.11)
    assert {int(f["drive"]) for f in frames} == {0, 1} and labeller.counts.drives == 2
    assert not any(61 + 3 <= int(f["at"]) < 100 for f in frames), "no frame while it backs up"
    for frame in frames:
        assert (frame["driven"][:, 0] >= 0.0).all(), "never backwards"
    assert max(f["driven_m"] + f["along"] for f in frames if f["drive"] == 0) == pytest.approx(3.0, abs=0.06)
    # A little way back is part of a manoeuvre.
    nudge = [*straight(61), Pose2D(2.95, 0.0, 0.0), Pose2D(2.9, 0.0, 0.0), *straight(40, x=2.95)]
    assert not label(nudge)[1].counts.cuts


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("off", [Pose2D(0.9, 0.0, 0.0), Pose2D(0.0, -1.2, 0.0), Pose2D(0.0, 0.0, 1.5)])
def test_odometry_that_jumps_cuts_the_drive(off, halves):
    before = straight(60)
    middle = [Pose2D(*(np.array([before[-1].x + 0.05, 0.0, 0.0]) + np.array([off.x, off.y, off.yaw]) / 2))]
    start = before[-1] @ Pose2D(0.1 + off.x, off.y, off.yaw)
    after = [start @ Pose2D(0.05 * k, 0.0, 0.0) for k in range(60)]
    frames, labeller = label([*before, *(middle if halves else []), *after], twist=Twist2D(0.5))
    assert labeller.counts.cuts["jump"] == 1 and set(labeller.counts.cuts) == {"jump"}
    for frame in frames:
        steps = np.diff(np.concatenate([np.zeros((1, 2)), frame["driven"]]), axis=0)
        assert np.hypot(*steps.T).max() < 0.27 and abs(frame["driven"][:, 1]).max() < 1e-4, "no way leads across"


def test_a_clock_that_goes_back_and_a_gap_cut_the_drive():
    poses = straight(120)
    gap = [DT_NS * (k + 50 * (k >= 60)) for k in range(120)]
    assert dict(label(poses, times=gap)[1].counts.cuts) == {"gap": 1}
    back = [DT_NS * (k - 90 * (k >= 60)) + 10**11 for k in range(120)]
    frames, labeller = label(poses, times=back)
    assert dict(labeller.counts.cuts) == {"clock": 1} and {int(f["drive"]) for f in frames} == {0, 1}
    fast = label(straight(200, step=0.3))[1].counts  # 3 m/s is no jump
    assert not fast.cuts


def test_what_waits_is_bounded():
    labeller = DriveLabeller(BagConfig(), 0.25, 8)
    most, given = 0, 0
    for k, pose in enumerate(straight(4000)):
        given += len(labeller.see(DT_NS * k, Odometry(DT_NS * k, pose, Twist2D(0.5)), dict))
        most = max(most, len(labeller._waiting), len(labeller._points) // 5)
    assert most <= 36 and given > 760


@pytest.mark.parametrize(
    "wrong", [{"every_m": 0.0}, {"gap_s": math.nan}, {"goals_m": ()}, {"goals_m": (2.0, 1.0)}, {"frames_per_shard": 0}]
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BagConfig(**wrong)


# Recordings


def corridor():
    def wall(name, x, y, sx, sy, colour="0.7 0.7 0.7"):
        shape = f"<geometry><box><size>{sx} {sy} 1</size></box></geometry>"
        look = f"<material><diffuse>{colour} 1</diffuse></material>"
        return (
            f"<model name='{name}'><static>true</static><pose>{x} {y} 0.5 0 0 0</pose><link name='l'>"
            f"<collision name='c'>{shape}</collision><visual name='v'>{shape}{look}</visual></link></model>"
        )

    walls = wall("wall_1", 5, 1.2, 16, 0.2) + wall("wall_2", 5, -1.2, 16, 0.2, "0.8 0.3 0.2")
    return parse_world(
        f"<sdf version='1.9'><world name='corridor'>{walls}{wall('wall_3', 12, 0, 0.2, 2.4)}</world></sdf>"
    )


def record(path, seconds=10.0, change=lambda o, k: o, twist=Twist2D(0.5)):  # noqa: B008
    simulator = Simulator(corridor(), SimConfig(camera=CameraConfig(64, 48)), seed=3)
    with open_writer(path) as writer:
        for k in range(round(10 * seconds)):
            observation = change(simulator.observe(), k)
            if observation is not None:
                writer.add(observation, twist)
            simulator.step(twist, 0.1)
    return path


def lens(observation, k):
    image = observation.image
    bent = CameraImage(
        image.stamp_ns, image.rgb, image.intrinsics, image.base_T_camera, (-0.2, 0.05, 0.0, 0.0, 0.0), "plumb_bob"
    )
    return Observation(observation.stamp_ns, observation.odometry, observation.scan, bent)


def blind(observation, k):
    return Observation(observation.stamp_ns, observation.odometry, observation.scan)


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    return record(folder / "seen", change=lens), record(folder / "scan_only", change=blind)


@pytest.fixture(scope="module")
def drives(bags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drives")
    collect_bags(folder, bags, BagConfig(frames_per_shard=8), SMALL, source="ours, CC0")
    return folder


def shards_of(folder):
    return [zarr.open_group(str(path), mode="r") for path in sorted(folder.glob("shard_*.zarr"))]


def test_frames_are_what_the_robot_would_feed_the_network(bags, drives):
    with BagReader(bags[0]) as reader:
        live = {o.stamp_ns: o for o in observations(reader, ObservationSynchronizer())}
    preprocess, compared = Preprocessor(SMALL), 0
    for shard in shards_of(drives)[:2]:
        assert shard.attrs["source"] == "ours, CC0" and shard.attrs["recording"]["name"] == "seen"
        assert len(shard.attrs["recording"]["fingerprint"]) >= 16
        for k, stamp in enumerate(shard["stamp_ns"][:]):
            observation = live[int(stamp)]
            image, present, geometry = preprocess.image(observation.image)
            np.testing.assert_array_equal(shard["image"][k], np.rint(255 * image[0].transpose(1, 2, 0)))
            np.testing.assert_array_equal(shard["rays"][k], geometry.rays)
            ranges, valid = preprocess.scan(observation.scan)
            np.testing.assert_allclose(shard["ranges"][k], ranges[0], rtol=1e-3)
            np.testing.assert_array_equal(shard["ranges_valid"][k], valid[0])
            assert present[0, 0] == shard["image_present"][k] == 1
            compared += 1
    assert compared >= 15
    assert np.abs(shard["image"][0].astype(float) - shard["image"][-1]).mean() > 0.5, "it saw something"


def test_a_sweep_is_taken_as_if_all_at_once():
    observation = Simulator(corridor(), SimConfig(camera=None), seed=3).observe()
    sweep = replace(observation.scan, time_increment_s=0.1 / len(observation.scan.ranges))
    turning = replace(observation, scan=sweep, odometry=replace(observation.odometry, twist=Twist2D(0.3, 1.5)))
    frame = bag_frames.ObservationFrames(SMALL).frame(turning)
    ranges, _ = Preprocessor(SMALL).scan(all_at_once(turning).scan)
    np.testing.assert_array_equal(frame["ranges"], ranges[0].astype(np.float16))
    assert np.abs(frame["ranges"] - Preprocessor(SMALL).scan(sweep)[0][0]).max() > 0.1


def test_without_a_camera_it_says_so(drives):
    shard = shards_of(drives)[-1]
    assert not shard["image_present"][:].any() and not shard["image"][:].any() and shard["ranges_valid"][:].any()
    assert shard.attrs["summary"]["images"] == 0 and shard.attrs["recording"]["name"] == "scan_only"


def test_without_a_lidar_it_says_so(tmp_path):
    path = record(tmp_path / "b", 3.0, lambda o, k: Observation(o.stamp_ns, o.odometry, image=o.image))
    (summary,) = collect_bags(tmp_path / "out", [path], BagConfig(), SMALL)
    assert summary.frames == summary.images >= 4 and summary.scans == 0


def test_a_run_goes_on_and_nothing_is_mixed(bags, drives, tmp_path, monkeypatch):
    read, real = [], bag_frames.recorded_frames
    monkeypatch.setattr(bag_frames, "recorded_frames", lambda path, *rest: read.append(path.name) or real(path, *rest))
    config, out = BagConfig(frames_per_shard=8), tmp_path / "out"
    first = collect_bags(out, bags, config, SMALL, source="s")
    shards = sorted(out.glob("shard_0001_*.zarr"))
    shards[-1].rename(tmp_path / "gone")  # the second recording was not read to its end
    assert len(shards) >= 2 and collect_bags(out, bags, config, SMALL, source="s") == first
    assert read == ["seen", "scan_only", "scan_only"] and sorted(out.glob("shard_0001_*.zarr")) == shards
    for other in (
        lambda: collect_bags(out, bags[:1], config, SMALL, source="s"),
        lambda: collect_bags(out, bags, config, SMALL, source="t"),
        lambda: collect_bags(out, bags, BagConfig(), SMALL, source="s"),
    ):
        with pytest.raises(ConfigError, match="other settings"):
            other()


def test_nothing_at_all_is_an_error_and_one_that_stands_still_a_warning(tmp_path):
    def lost(observation, k):
        nowhere = Odometry(observation.stamp_ns, Pose2D(math.nan, 0.0, 0.0))
        return Observation(observation.stamp_ns, nowhere, observation.scan)

    nothing = record(tmp_path / "nothing", 1.0, lost)
    with pytest.raises(BagError, match=r"no recording gave a frame .*nothing"):
        collect_bags(tmp_path / "out", [nothing], BagConfig(), SMALL)
    still = record(tmp_path / "still", 1.0, twist=Twist2D())
    first, second = collect_bags(tmp_path / "both", [nothing, still], BagConfig(), SMALL)
    assert first.frames == 0 and "gave no frame" in " ".join(first.warnings)
    assert second.frames == 1 and "no frame has a way ahead" in " ".join(second.warnings)


def test_command(bags, tmp_path, capsys):
    out = ["collect", "--bag", str(bags[0]), "--bag", str(bags[1]), "--out", str(tmp_path / "out"), "--every", "0.5"]
    assert main([*out, "--source", "ours", "--json", str(tmp_path / "c.json")]) == EXIT_OK
    data = json.loads((tmp_path / "c.json").read_text())
    assert data["frames"] == sum(r["frames"] for r in data["recordings"]) and 15 <= data["frames"] <= 24
    assert "seen: " in (said := capsys.readouterr().out) and "with a way ahead" in said
    assert json.loads((tmp_path / "out/bags.json").read_text())["bags"]["every_m"] == 0.5
    for wrong, match in (
        (["collect", "--bag", str(bags[0])], "--bag needs --out"),
        (["collect", "--source", "x", "--out", str(tmp_path)], "are for recordings"),
        ([*out, "--worlds", "3"], "are for generated worlds"),
        ([*out, "--topic", "scan"], "KIND=TOPIC"),
    ):
        assert main(wrong) == EXIT_ERROR and match in capsys.readouterr().err
    assert main(["collect", "--bag", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == EXIT_ERROR
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("name", "frames", "ahead"), [("fuse_turtlebot3.bag", 106, 104), ("embag_test.bag", 1, 0)])
def test_real_recordings_give_frames(shared, tmp_path, name, frames, ahead):
    path = shared / "bags" / name
    if not path.exists():
        pytest.skip(f"{path} is not here: it comes with the shared data, not with the repository")
    (summary,) = collect_bags(tmp_path / "out", [path], BagConfig(), SMALL)
    assert summary.frames == pytest.approx(frames, abs=2) and summary.ahead == pytest.approx(ahead, abs=2)
    assert summary.scans == summary.frames and summary.images == 0


# Training


def synthetic_worlds(folder: Path, policy: PolicyConfig, shards: int = 2) -> list[Path]:
    """Shards as `mm-nav collect` writes them, of noise."""
    rng = np.random.default_rng(4)
    folder.mkdir(parents=True)
    n, (h, w) = 12, (policy.image_height, policy.image_width)
    for number in range(shards):
        coarse = rng.integers(0, 5, (n, h // 16, w // 16)).astype(np.uint8)
        arrays = {
            "image": rng.integers(0, 256, (n, h, w, 3)).astype(np.uint8),
            "numbers": coarse.repeat(16, axis=1).repeat(16, axis=2),
            "planar": rng.uniform(0.5, 5.0, (n, h // RANGE_STRIDE, w // RANGE_STRIDE)).astype(np.float16),
            "rays": rng.uniform(-1.0, 1.0, (n, policy.camera_tokens, 3)).astype(np.float32),
            "ranges": rng.uniform(0.2, 10.0, (n, policy.lidar_bins)).astype(np.float16),
            "ranges_valid": np.ones((n, policy.lidar_bins), np.uint8),
            "surface": rng.uniform(0.2, 5.0, (n, MAX_OBJECTS)).astype(np.float16),
            "cost": np.where(np.arange(MAX_OBJECTS) < 4, rng.uniform(1.0, 9.0, (n, 1)), np.inf).astype(np.float16),
            "paths": rng.uniform(-2.0, 2.0, (n, MAX_OBJECTS, policy.steps, 2)).astype(np.float16),
            "pose": rng.uniform(-3.0, 3.0, (n, 3)).astype(np.float32),
            "world": np.repeat(np.arange(2, dtype=np.int32), n // 2),
        }
        things = [("chair", "red"), ("table", "blue"), ("barrel", "green"), ("box", "yellow")]
        objects = [{"name": c, "category": c, "colour": k, "center": [1.0, 2.0, 0.5]} for c, k in things]
        write_shard(folder / f"shard_{number:05d}.zarr", arrays, [{"seed": s, "objects": objects} for s in range(2)])
    return sorted(folder.glob("*.zarr"))


def sampler_of(shards, policy, **options):
    pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
    from mm_nav.language.encoder import TextEncoder
    from mm_nav.learning.batches import BatchSampler
    from mm_nav.learning.dataset import FrameDataset

    return BatchSampler(FrameDataset(shards, policy), TextEncoder(policy.language_tokens), **options)


# Taken before training could read recordings. Without embeddings and logarithms, whose last digits depend on the machine.
@pytest.mark.parametrize(
    ("augment", "digest"), [(True, "4b99f2e28a20e2306fbdd990"), (False, "1d49aa81ba1c6ff20ae99379")]
)
def test_batches_of_worlds_alone_are_what_they_were(tmp_path, augment, digest):
    sampler = sampler_of(
        synthetic_worlds(tmp_path / "worlds", SMALL), SMALL, batch=8, phrases=8, seed=5, augment=augment
    )
    total, batches = hashlib.sha256(), 0
    for _ in range(2):
        for batch in sampler.epoch():
            batches += 1
            for part in (batch.inputs, batch.targets, batch.links):
                for name, tensor in part._asdict().items():
                    if name not in ("language", "log_range"):
                        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                        total.update(tensor.numpy().tobytes())
    assert batches == 4 and total.hexdigest()[:24] == digest


def group_of(drives, **options):
    pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
    return sampler_of(sorted(drives.glob("*.zarr")), SMALL, batch=4, phrases=8, seed=2, **options)


@pytest.mark.parametrize("augment", [False, True])
def test_a_drives_batches_ask_for_where_the_robot_was_later(drives, augment):
    sampler = group_of(drives, augment=augment)
    poses, pictures, remembered = 0, 0, 0
    for _ in range(4):
        for batch in sampler.epoch():
            inputs, targets, links = batch.inputs, batch.targets, batch.links
            assert not targets.has_grounding.any() and not targets.has_image.any() and not targets.visible.any()
            assert (targets.kind == -1).all() and (targets.colour == -1).all() and not inputs.language_mask.any()
            asked = (inputs.pose[:, 0] > 0).numpy(), (inputs.goal_present[:, 0] > 0).numpy()
            np.testing.assert_array_equal(targets.has_path.numpy() > 0, asked[0] | asked[1])
            assert not (asked[0] & asked[1]).any()
            way, place = targets.waypoints.numpy(), inputs.pose.numpy()[:, 1:]
            near = asked[0] & (np.hypot(*place.T) < 1.95)
            # The corridor is straight, and so was the drive; slip of the wheels turns it a little.
            np.testing.assert_allclose(way[near, -1], place[near], atol=0.01)
            assert (way[targets.has_path.numpy() > 0][:, :, 0] > 0.2).all()
            for k in np.flatnonzero(asked[1]):
                goal, frame = int(links.goal[k]), k // 8
                assert goal // 4 == frame // 4 and goal != frame and inputs.image_present[goal, 0] == 1
            # What is remembered was seen earlier, so it lies behind.
            behind = inputs.memory_pose[..., 0][inputs.memory_present > 0]
            assert (behind < 0.15 * augment).all()
            remembered += len(behind)
            poses, pictures = poses + asked[0].sum(), pictures + asked[1].sum()
    assert poses > 100 and pictures > 10 and remembered > 10


def test_a_drives_picture_leads_to_where_it_was_taken(drives):
    from mm_nav.learning.dataset import FrameDataset
    from mm_nav.learning.hindsight import driven_goals, waypoints_to

    data = FrameDataset(sorted(drives.glob("*.zarr")), SMALL)
    frames = np.flatnonzero(data.arrays["world"] == 0)
    drawn = driven_goals(data, int(frames[0]), [(2, int(frames[5])), (1, int(frames[0]))], 60, np.random.default_rng(0))
    shown = [goal for goal in drawn if goal.place is None]
    assert len(drawn) == 60 and 8 <= len(shown) <= 30 and {goal.picture for goal in shown} == {2}
    gone = float(data.arrays["along"][frames[5]])
    x, y, _ = data.arrays["pose"][frames[5]] - data.arrays["pose"][frames[0]]
    assert 1.0 < gone < 1.6 and np.hypot(*shown[0].waypoints[-1]) == pytest.approx(np.hypot(x, y), abs=0.01)
    half = waypoints_to(data, int(frames[0]), 0.6)
    np.testing.assert_allclose(np.hypot(*half.T), [0.25, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], atol=5e-3)


def test_nothing_but_the_way_is_learned_from_a_drive(drives):
    torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
    from mm_nav.learning.batches import channels_last
    from mm_nav.policy.losses import policy_losses
    from mm_nav.policy.model import CrossModalPolicy

    torch.manual_seed(0)
    batch = next(iter(group_of(drives).epoch()))
    losses = policy_losses(CrossModalPolicy(SMALL)(channels_last(batch), None, batch.links), batch.targets)
    assert losses["path"] > 0 and losses["choice"] > 0
    for name in ("dense", "where", "range", "visible", "arrived", "semantic", "hue"):
        assert losses[name] == 0.0, name


def test_worlds_and_drives_are_trained_on_together(drives, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
    from mm_nav.learning.train import TrainConfig, load_policy, train

    torch.set_num_threads(2)
    synthetic_worlds(tmp_path / "worlds", SMALL, 3)
    base = TrainConfig(data=str(tmp_path / "worlds"), epochs=1, batch=8, phrases=4, warmup_steps=2)
    settings = {**base.__dict__, "more": (str(drives), str(drives)), "look_share": 0.3, "look_batch": 4}
    metrics = train(TrainConfig(**settings), SMALL, tmp_path / "both")
    assert np.isfinite(metrics["total"]) and metrics["drive_frames"] >= 4
    assert 0.0 < metrics["waypoint_error_best_m"] <= metrics["waypoint_error_m"] < 3.0
    assert (
        json.loads((tmp_path / "both/training.json").read_text())["metrics"]["drive_frames"] == metrics["drive_frames"]
    )
    # On with recordings alone: what is known of confidences stays.
    checkpoint = tmp_path / "both/checkpoint.pt"
    alone = TrainConfig(**{**base.__dict__, "data": str(drives), "init": str(checkpoint), "epochs": 3})
    after = train(alone, SMALL, tmp_path / "alone")
    assert after["waypoint_error_m_at_start"] == metrics["waypoint_error_m"] != after["waypoint_error_m"]
    assert load_policy(tmp_path / "alone/checkpoint.pt").temperatures == load_policy(checkpoint).temperatures
    with pytest.raises(ConfigError, match="look_share"):
        train(TrainConfig(**{**base.__dict__, "data": str(drives), "look_share": 0.2}), SMALL, tmp_path / "no")


def test_waypoints_that_do_not_fit_the_policy_are_refused(drives):
    with pytest.raises(ConfigError, match="collect again with the policy's config"):
        sampler_of(sorted(drives.glob("*.zarr")), replace(SMALL, steps=6))
