"""A replay as a Rerun recording, read back with the SDK's own reader."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mm_nav.errors import BagError, ConfigError
from mm_nav.replay.outputs_rerun import RerunOutputs
from mm_nav.robot import RobotConfig

try:
    import rerun
except ImportError:
    rerun = None

needs_rerun = pytest.mark.skipif(rerun is None, reason="rerun-sdk is not installed: pip install 'mm_nav[rerun]'")


@pytest.fixture(scope="module")
def path(replay_steps, tmp_path_factory):
    """A replay's file."""
    path = tmp_path_factory.mktemp("rerun") / "deep" / "replay.rrd"
    with RerunOutputs(path, RobotConfig()) as sink:
        for step in replay_steps:
            sink(step)
        sink.later({"ade_2s_m": np.where(np.arange(len(replay_steps)) < 10, 0.25, np.nan).astype(np.float32)})
    return path


@pytest.fixture(scope="module")
def reader(path):
    """Reads the file."""
    pytest.importorskip("rerun.chunk", reason="this version of rerun-sdk cannot read its files without a server")
    return rerun.chunk.RrdReader(str(path))


@pytest.fixture(scope="module")
def logged(reader):
    """(entity, component) -> [(message time in ns or None, values)]."""
    found: dict = {}
    for chunk in reader.stream().to_chunks():
        batch = chunk.to_record_batch()
        names = batch.schema.names
        times = batch.column("message_time") if "message_time" in names else [None] * batch.num_rows
        for name in (name for name in names if ":" in name):
            rows = found.setdefault((chunk.entity_path, name), [])
            for time, value in zip(times, batch.column(name), strict=True):
                if value.as_py() is not None:
                    rows.append((None if time is None else time.value, value.as_py()))
    return {key: sorted(rows, key=lambda row: row[0] or 0) for key, rows in found.items()}


def stamps(steps):
    return [step.observation.stamp_ns for step in steps]


@needs_rerun
def test_numbers_are_at_the_times_of_the_recording(logged, replay_steps):
    for name, wanted in (
        ("speed/wanted", [step.command.twist.linear for step in replay_steps]),
        ("turning/after_guard", [step.guarded.twist.angular for step in replay_steps]),
        ("speed/recorded", [0.3] * len(replay_steps)),
        ("latency/latency_ms", [5.0] * len(replay_steps)),
    ):
        rows = logged[f"/plots/{name}", "Scalars:scalars"]
        assert [time for time, _ in rows] == stamps(replay_steps)
        assert [value for _, (value,) in rows] == wanted
    assert len(logged["/plots/errors/ade_2s_m", "Scalars:scalars"]) == 10
    assert ("/plots/scores/strange_image", "Scalars:scalars") not in logged  # nothing was known


@needs_rerun
def test_robot_paths_and_target(logged, replay_steps):
    places = [value[0] for _, value in logged["/world/robot", "Transform3D:translation"]]
    odometry = [step.observation.odometry.pose for step in replay_steps]
    assert np.array(places)[:, :2] == pytest.approx(np.array([(pose.x, pose.y) for pose in odometry]), abs=1e-5)
    ((never, (drive,)),) = logged["/world/recorded_drive", "LineStrips3D:strips"]
    assert never is None and len(drive) == len(replay_steps)
    time, (foreseen,) = logged["/world/foreseen", "LineStrips3D:strips"][-1]
    assert time == stamps(replay_steps)[-1]
    assert np.array(foreseen)[:, :2] == pytest.approx(replay_steps[-1].foreseen[:, :2], abs=1e-5)
    believed = replay_steps[-1].progress
    _, (target,) = logged["/world/target", "Points3D:positions"][-1]
    assert target[:2] == pytest.approx([believed.target.x, believed.target.y], abs=1e-5)
    assert logged["/world/target", "Points3D:labels"][-1][1] == [f"{believed.confidence:.2f}"]
    assert logged["/world/target", "Clear:is_recursive"][0][0] == stamps(replay_steps)[0]


@needs_rerun
def test_camera_heat_and_waypoints(logged, replay_steps):
    camera = "/world/robot/camera"
    image = replay_steps[-1].observation.image
    ((_, (matrix,)),) = logged[camera, "Pinhole:image_from_camera"]  # once: the camera does not move
    found = np.array(matrix).reshape(3, 3).T
    assert found == pytest.approx(image.intrinsics, rel=1e-6)
    assert len(logged[f"{camera}/image", "EncodedImage:blob"]) == 25
    _, (heat,) = logged[f"{camera}/heat", "SegmentationImage:buffer"][-1]
    classes = np.frombuffer(bytes(heat), np.uint8).reshape(240, 320)
    wanted = replay_steps[-1].output.heatmap
    hottest = np.array(np.unravel_index(wanted.argmax(), wanted.shape)) / wanted.shape
    found = np.array(np.unravel_index(classes.argmax(), classes.shape)) / classes.shape
    assert classes.max() == 15 and np.abs(found - hottest).max() < 0.1
    _, ways = logged["/world/robot/waypoints", "LineStrips3D:strips"][-1]
    assert len(ways) == len(replay_steps[-1].output.waypoints)
    assert np.array(ways[2])[1:, :2] == pytest.approx(replay_steps[-1].output.waypoints[2], abs=1e-5)


@needs_rerun
def test_stages_are_told_and_a_blueprint_is_there(reader, logged):
    texts = [text for _, (text,) in logged["/log/navigator", "TextLog:text"]]
    assert texts[0] == "searching" and "approaching" in texts
    assert len(reader.blueprints()) == 1
    assert [entry.application_id for entry in reader.recordings()] == ["mm_nav_replay"]


@needs_rerun
def test_a_replay_that_fails_leaves_the_marked_file(replay_steps, tmp_path):
    path = tmp_path / "replay.rrd"
    with pytest.raises(RuntimeError), RerunOutputs(path, RobotConfig()) as sink:
        sink(replay_steps[0])
        raise RuntimeError
    assert not path.exists() and (tmp_path / "replay.partial.rrd").stat().st_size > 1000


@needs_rerun
def test_unwritable_paths_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match="cannot be written"):
        RerunOutputs(tmp_path / "file" / "replay.rrd", RobotConfig())


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(BagError, match=r"\.rrd"):
        RerunOutputs(tmp_path / "replay.mcap", RobotConfig())


def test_without_the_sdk_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ConfigError, match=r"pip install 'mm_nav\[rerun\]'"):
        RerunOutputs(tmp_path / "replay.rrd", RobotConfig())
    assert not any(tmp_path.iterdir())
