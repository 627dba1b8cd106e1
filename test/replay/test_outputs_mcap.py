"""A replay's MCAP file: what other tools read in it, and what is left of it when a replay dies."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader

from mm_nav.errors import BagError
from mm_nav.geometry import Twist2D
from mm_nav.replay.changes import Changes
from mm_nav.replay.drawing import grounding_picture
from mm_nav.replay.outputs_mcap import McapOutputs
from mm_nav.resources import resource_path
from mm_nav.robot import RobotConfig
from mm_nav.safety.guard import GuardResult

TYPES = {
    "/replay/cmd_vel_nav": "geometry_msgs/msg/TwistStamped",
    "/replay/cmd_vel": "geometry_msgs/msg/TwistStamped",
    "/replay/recorded_twist": "geometry_msgs/msg/TwistStamped",
    "/replay/plan": "nav_msgs/msg/Path",
    "/replay/foreseen": "nav_msgs/msg/Path",
    "/replay/footprint": "geometry_msgs/msg/PolygonStamped",
    "/replay/waypoints": "visualization_msgs/msg/MarkerArray",
    "/replay/target": "visualization_msgs/msg/MarkerArray",
    "/replay/policy": "mm_nav_interfaces/msg/PolicyOutput",
    "/replay/guard": "mm_nav_interfaces/msg/GuardStatus",
    "/replay/recorded_guard": "mm_nav_interfaces/msg/GuardStatus",
    "/replay/grounding/compressed": "sensor_msgs/msg/CompressedImage",
    "/replay/map": "nav_msgs/msg/OccupancyGrid",
    "/replay/events": "rcl_interfaces/msg/Log",
    "/replay/scores/strange_scan": "std_msgs/msg/Float32",
    "/replay/scores/clearance_m": "std_msgs/msg/Float32",
    "/replay/scores/confidence": "std_msgs/msg/Float32",
    "/replay/scores/visible": "std_msgs/msg/Float32",
    "/replay/scores/latency_ms": "std_msgs/msg/Float32",
}


@pytest.fixture(scope="module")
def written(replay_steps, tmp_path_factory):
    """The file, with /tf and one of the columns that come later."""
    path = tmp_path_factory.mktemp("outputs") / "deep" / "replay.mcap"
    with McapOutputs(path, RobotConfig(), with_tf=True, provenance={"goal": "go to the red barrel"}) as sink:
        for step in replay_steps:
            sink(step)
        sink.later({"ade_2s_m": np.where(np.arange(len(replay_steps)) < 10, 0.25, np.nan).astype(np.float32)})
    return path


@pytest.fixture(scope="module")
def by_topic(written):
    """Topic -> [(log time, message)], read by the rosbags library."""
    found: dict = {}
    with AnyReader([written]) as reader:
        for connection, time, data in reader.messages():
            found.setdefault(connection.topic, []).append((time, reader.deserialize(data, connection.msgtype)))
    return found


def test_rosbags_reads_every_topic(written, by_topic, replay_steps):
    with AnyReader([written]) as reader:
        types = {connection.topic: connection.msgtype for connection in reader.connections}
    extra = {"/tf": "tf2_msgs/msg/TFMessage", "/replay/errors/ade_2s_m": "std_msgs/msg/Float32"}
    assert types == {**TYPES, **extra}
    stamps = [step.observation.stamp_ns for step in replay_steps]
    assert [time for time, _ in by_topic["/replay/cmd_vel"]] == stamps
    assert not (written.parent / "replay.partial.mcap").exists()


def test_the_ros2_decoder_of_mcap_reads_it(written, replay_steps):
    decoder = pytest.importorskip("mcap_ros2.decoder", reason="mcap-ros2-support is not installed")
    counts: Counter[str] = Counter()
    with written.open("rb") as file:
        reader = make_reader(file, decoder_factories=[decoder.DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        assert [record.metadata for record in reader.iter_metadata()] == [{"goal": "go to the red barrel"}]
        for _, channel, message, decoded in reader.iter_decoded_messages():
            assert message.log_time == message.publish_time
            counts[channel.topic] += 1
            if channel.topic == "/replay/policy":
                assert len(decoded.waypoints) == decoded.waypoint_hypotheses * decoded.waypoint_steps * 2
    assert counts["/replay/cmd_vel"] == len(replay_steps)


def test_twists_are_those_of_the_step(by_topic, replay_steps):
    for topic, wanted in (
        ("/replay/cmd_vel_nav", lambda step: step.command.twist), ("/replay/cmd_vel", lambda step: step.guarded.twist),
        ("/replay/recorded_twist", lambda step: Twist2D(0.3, -0.05)),
    ):  # fmt: skip
        for (_, message), step in zip(by_topic[topic], replay_steps, strict=True):
            twist = wanted(step)
            assert (message.twist.linear.x, message.twist.angular.z) == (twist.linear, twist.angular)
            assert message.header.frame_id == "base_link"
    assert any(step.command.twist.linear > 0.1 for step in replay_steps)


def test_paths_map_and_transform(by_topic, replay_steps):
    last, (_, plan), (_, foreseen) = replay_steps[-1], by_topic["/replay/plan"][-1], by_topic["/replay/foreseen"][-1]
    points = np.array([(pose.pose.position.x, pose.pose.position.y) for pose in plan.poses])
    assert len(points) > 1 and points == pytest.approx(last.progress.path[:, :2])
    assert len(foreseen.poses) == len(last.foreseen) and foreseen.header.frame_id == "odom"
    assert foreseen.poses[-1].pose.position.x == last.foreseen[-1, 0]
    maps = by_topic["/replay/map"]
    assert len(maps) == 2 and maps[1][0] - maps[0][0] == 2_000_000_000
    grid = last.grid.export()
    _, transform = by_topic["/tf"][-1]
    assert transform.transforms[0].transform.translation.x == last.observation.odometry.pose.x
    info = maps[0][1].info
    assert (info.height, info.width) == grid.data.shape and info.resolution == pytest.approx(grid.resolution)
    assert set(maps[0][1].data) == {-1, 0, 100}


def test_policy_waypoints_and_target(by_topic, replay_steps):
    asked = [step for step in replay_steps if step.output is not None]
    assert len(by_topic["/replay/policy"]) == len(asked) > 20
    (_, message), output = by_topic["/replay/policy"][-1], asked[-1].output
    assert message.heatmap == pytest.approx(output.heatmap.ravel())
    assert message.waypoints == pytest.approx(output.waypoints.ravel()) and message.goal_id == output.goal_id
    _, lines = by_topic["/replay/waypoints"][-1]
    assert lines.markers[0].action == 3 and len(lines.markers) == 1 + len(output.waypoints)
    alphas = [marker.color.a for marker in lines.markers[1:]]
    assert np.argmax(alphas) == np.argmax(output.waypoint_probs) and max(alphas) == pytest.approx(1.0)
    end = lines.markers[1].points[-1]
    assert (end.x, end.y) == pytest.approx(tuple(output.waypoints[0, -1])) and lines.markers[
        1
    ].header.frame_id == "base_link"
    _, target = by_topic["/replay/target"][-1]
    believed = replay_steps[-1].progress
    assert target.markers[1].pose.position.x == believed.target.x
    assert target.markers[2].text == f"{believed.confidence:.2f}"
    assert len(by_topic["/replay/target"][0][1].markers) == 1  # nothing yet: what was there is taken away


def test_picture_shows_heat_on_the_barrel(by_topic, replay_steps):
    seen = [step for step in replay_steps if step.observation.image is not None]
    pictures = by_topic["/replay/grounding/compressed"]
    assert len(pictures) == len(seen) == 25
    picture = cv2.imdecode(pictures[-1][1].data, cv2.IMREAD_COLOR)[..., ::-1]
    assert picture.shape == (240, 320, 3) and pictures[-1][1].format == "jpeg"
    bare = cv2.resize(seen[-1].observation.image.rgb, (320, 240)).astype(int)
    changed = np.abs(picture.astype(int) - bare).sum(axis=2)
    rows, columns = np.nonzero(changed[:160] > 120)
    heat = seen[-1].output.heatmap
    middle = (heat.sum(axis=0) @ (np.arange(heat.shape[1]) + 0.5)) / heat.sum() * 320 / heat.shape[1]
    assert len(rows) > 50 and abs(columns.mean() - middle) < 25


def test_large_pictures_are_reduced_and_small_ones_are_not(replay_steps):
    step = replay_steps[-1]
    for width, expected in ((640, (240, 320, 3)), (64, (48, 64, 3))):
        rgb = cv2.resize(step.observation.image.rgb, (width, width * 3 // 4))
        assert grounding_picture(replace(step.observation.image, rgb=rgb), step.output).shape == expected
        assert grounding_picture(replace(step.observation.image, rgb=rgb), None).shape == expected


def test_unknown_numbers_are_left_out(by_topic, replay_steps):
    assert "/replay/scores/strange_image" not in by_topic
    assert len(by_topic["/replay/errors/ade_2s_m"]) == 10
    assert by_topic["/replay/errors/ade_2s_m"][3][0] == replay_steps[3].observation.stamp_ns


def test_events_tell_stages(by_topic):
    texts = [message.msg for _, message in by_topic["/replay/events"]]
    assert texts[0] == "searching" and "approaching" in texts
    assert {message.name for _, message in by_topic["/replay/events"]} >= {"replay.navigator"}


def test_a_stop_is_told_when_it_begins(replay_steps):
    stop = GuardResult(Twist2D(), True, "wall ahead")
    free, held = replay_steps[0], replace(replay_steps[0], guarded=stop)
    assert not free.guarded.limited
    changes = Changes()
    told = [[change for change in changes(step) if change.source == "guard"] for step in (free, held, held, free, held)]
    assert [len(found) for found in told] == [0, 1, 0, 0, 1]
    assert told[1][0].level == "WARN" and "wall ahead" in told[1][0].text
    recorded = Changes()(replace(free, recorded=stop))
    assert any("recorded robot: wall ahead" in change.text for change in recorded)


def test_guard_status_of_a_stop(replay_steps, tmp_path):
    step = replay_steps[-1]
    held = replace(step, guarded=GuardResult(Twist2D(), True, "wall ahead"))
    with McapOutputs(tmp_path / "a.mcap", RobotConfig(), "world", "base") as sink:
        sink(held)
    with AnyReader([tmp_path / "a.mcap"]) as reader:
        (status,) = (
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages()
            if connection.topic == "/replay/guard"
        )
    assert status.stopped and status.limited and status.reason == "wall ahead" and status.header.frame_id == "base"
    assert status.requested_linear == pytest.approx(step.command.twist.linear) and status.allowed_linear == 0.0
    assert 10**9 * status.scan_stamp.sec + status.scan_stamp.nanosec == step.observation.scan.stamp_ns


def test_what_was_written_is_readable_while_the_replay_runs(replay_steps, tmp_path):
    """As it is when the process is killed: no footer, no index."""
    path = tmp_path / "replay.mcap"
    with McapOutputs(path, RobotConfig()) as sink:
        for _ in range(3):
            for step in replay_steps:
                sink(step)
        data = sink.partial.read_bytes()
        assert not path.exists()
    (tmp_path / "killed.mcap").write_bytes(data)
    with (tmp_path / "killed.mcap").open("rb") as file:
        found = Counter()
        try:
            for record in StreamReader(file).records:
                found[type(record).__name__] += 1
        except Exception:
            found["cut"] += 1
    assert found["Message"] > 800 and found["Schema"] == len(set(TYPES.values()))


def test_a_replay_that_fails_leaves_the_marked_file(replay_steps, tmp_path):
    path = tmp_path / "replay.mcap"
    with pytest.raises(RuntimeError), McapOutputs(path, RobotConfig()) as sink:
        sink(replay_steps[0])
        raise RuntimeError
    assert not path.exists()
    with AnyReader([tmp_path / "replay.partial.mcap"]) as reader:
        assert reader.message_count >= 10


def test_unusable_paths_are_refused(tmp_path):
    with pytest.raises(BagError, match=r"\.mcap"):
        McapOutputs(tmp_path / "replay.bag", RobotConfig())
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match="cannot be written"):
        McapOutputs(tmp_path / "file" / "replay.mcap", RobotConfig())


def test_the_layouts_show_topics_that_are_written(by_topic):
    """config/foxglove_replay.json and config/replay.rviz."""
    layout = json.loads(resource_path("config/foxglove_replay.json").read_text())

    def leaves(node):
        return [node] if isinstance(node, str) else leaves(node["first"]) + leaves(node["second"])

    assert sorted(leaves(layout["layout"])) == sorted(layout["configById"])
    rviz = yaml.safe_load(resource_path("config/replay.rviz").read_text())
    displays = rviz["Visualization Manager"]["Displays"]
    named = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    text = json.dumps(layout)
    named |= {part.split('"')[0].split(".")[0] for part in text.split('"') if part.startswith("/replay/")}
    ours = {name for name in named if name.startswith("/replay/")}
    columns = {"/replay/scores/strange_image", "/replay/errors/fde_2s_m", "/replay/scores/inference_ms"}
    assert len(ours) > 12 and ours <= set(by_topic) | columns
