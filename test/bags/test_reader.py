"""Reading recordings: every container, mounts, clocks, and what is damaged or missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mm_nav.bags.reader import BagReader
from mm_nav.bags.writer import open_writer
from mm_nav.errors import BagError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud

STORE = get_typestore(Stores.ROS2_HUMBLE)


def camera_pose():
    c, s = math.cos(0.1), math.sin(0.1)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    pose[:3, 3] = (0.12, 0.0, 0.32)
    return pose


def observation(k, image=True, cloud=True):
    rng = np.random.default_rng(k)
    stamp = 1_000_000_000 + 100_000_000 * k
    return Observation(
        stamp,
        Odometry(stamp, Pose2D(0.1 * k, -0.2, 3.0 - 0.3 * k), Twist2D(1.0, -0.3)),
        LaserScan(stamp, rng.uniform(0.2, 5, 90).astype(np.float32), -3.0, 0.0625, 0.125, 8.0, Pose2D(0.1, -0.05, 0.5), 2**-10),
        CameraImage(
            stamp, rng.integers(0, 256, (12, 16, 3), np.uint8), np.array([[9.0, 0, 8], [0, 9, 6], [0, 0, 1]]),
            camera_pose(),
        ) if image else None,
        PointCloud(stamp, rng.normal(size=(50, 3)).astype(np.float32)) if cloud else None,
    )  # fmt: skip


def write(path, storage="mcap", count=10, **options):
    made = [observation(k) for k in range(count)]
    with open_writer(path, storage, **options) as writer:
        for item in made:
            writer.add(item, Twist2D(0.2, 0.1))
    return made


def read(path, topics=None):
    with BagReader(path, topics) as reader:
        messages = list(reader.messages())
    return messages, reader.report


def of_kind(messages, kind):
    return [m.item for m in messages if m.kind == kind]


@pytest.mark.parametrize(
    ("storage", "options"),
    [("mcap", {}), ("mcap", {"zstd": True}), ("sqlite3", {}), ("sqlite3", {"zstd": True}), ("ros1", {})],
)
def test_what_was_written_is_read(tmp_path, storage, options):
    path = tmp_path / ("drive.bag" if storage == "ros1" else "drive")
    made = write(path, storage, **options)
    messages, report = read(path)
    assert report.warnings == [] and report.skipped == {}
    assert report.counts == {"odometry": 10, "scan": 10, "image": 10, "cloud": 10, "command": 10}
    assert report.used == {
        "odometry": "/odom", "scan": "/scan", "image": "/camera/image_raw", "cloud": "/points", "command": "/cmd_vel",
    }  # fmt: skip
    assert [c.twist for c in of_kind(messages, "command")] == [Twist2D(0.2, 0.1)] * 10
    assert [c.stamp_ns for c in of_kind(messages, "command")] == [o.stamp_ns for o in made]
    assert report.duration_s == pytest.approx(0.9, abs=0.2) or report.duration_s > 0.9
    assert of_kind(messages, "odometry") == [o.odometry for o in made]
    for was, now in zip((o.scan for o in made), of_kind(messages, "scan"), strict=True):
        np.testing.assert_array_equal(was.ranges, now.ranges)
        assert now.angle_min == was.angle_min and now.stamp_ns == was.stamp_ns and now.range_max == was.range_max
        assert now.time_increment_s == 2**-10
        assert (now.mount.x, now.mount.y, now.mount.yaw) == pytest.approx((0.1, -0.05, 0.5))
    for was, now in zip((o.image for o in made), of_kind(messages, "image"), strict=True):
        np.testing.assert_array_equal(was.rgb, now.rgb)
        np.testing.assert_array_equal(was.intrinsics, now.intrinsics)
        np.testing.assert_allclose(was.base_T_camera, now.base_T_camera, atol=1e-12)
    for was, now in zip((o.cloud for o in made), of_kind(messages, "cloud"), strict=True):
        np.testing.assert_array_equal(was.points, now.points)


def test_single_files_of_a_folder_are_read_too(tmp_path):
    write(tmp_path / "a", "mcap")
    write(tmp_path / "b", "sqlite3")
    for file in (*(tmp_path / "a").glob("*.mcap"), *(tmp_path / "b").glob("*.db3")):
        assert read(file)[1].counts["scan"] == 10
    (tmp_path / "c").mkdir()
    write(tmp_path / "c" / "one.bag", "ros1")
    assert read(tmp_path / "c")[1].counts["scan"] == 10


def compose(path, *topics):
    """Write a rosbag2 of (topic, type, list of (receive_ns, message))."""
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, msgtype, items in topics:
            connection = writer.add_connection(topic, msgtype, typestore=STORE)
            for receive, message in items:
                writer.write(connection, receive, STORE.serialize_cdr(message, msgtype))


def header(ns, frame=""):
    types = STORE.types
    return types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9), frame)


def odometry_message(ns, x=0.0, child="base_link"):
    t = STORE.types
    vector, point = t["geometry_msgs/msg/Vector3"], t["geometry_msgs/msg/Point"]
    pose = t["geometry_msgs/msg/Pose"](point(x, 0.0, 0.0), t["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0))
    twist = t["geometry_msgs/msg/Twist"](vector(0.0, 0.0, 0.0), vector(0.0, 0.0, 0.0))
    return t["nav_msgs/msg/Odometry"](
        header(ns, "odom"), child,
        t["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        t["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )  # fmt: skip


def scan_message(ns, beams=8, frame="laser"):
    return STORE.types["sensor_msgs/msg/LaserScan"](
        header(ns, frame), 0.0, 6.0, 0.75, 0.0, 0.0, 0.1, 9.0, np.ones(beams, np.float32), np.zeros(0, np.float32)
    )


def odometry_topic(count=5, name="/odom", offset=0):
    return name, "nav_msgs/msg/Odometry", [(k * 10**8 + offset, odometry_message(k * 10**8)) for k in range(count)]


def scan_topic(count=5, name="/scan", offset=0, **options):
    return (
        name,
        "sensor_msgs/msg/LaserScan",
        [(k * 10**8 + offset, scan_message(k * 10**8, **options)) for k in range(count)],
    )


def test_names_decide_between_topics_of_one_type_and_options_overrule(tmp_path):
    compose(tmp_path / "bag", odometry_topic(), scan_topic(9, "/debug/scan"), scan_topic(5, "/front/scan"))
    _, report = read(tmp_path / "bag")
    assert report.used["scan"] == "/front/scan" and "/debug/scan" in " ".join(report.warnings)
    _, report = read(tmp_path / "bag", {"scan": "debug/scan"})
    assert report.used["scan"] == "/debug/scan" and report.counts["scan"] == 9
    with pytest.raises(BagError, match="/front/scan"):
        BagReader(tmp_path / "bag", {"scan": "/rear/scan"})
    with pytest.raises(BagError, match="smell"):
        BagReader(tmp_path / "bag", {"smell": "/nose"})


def test_sensors_whose_clocks_differ_get_times_of_recording(tmp_path):
    hour = 3600 * 10**9
    late = ("/scan", "sensor_msgs/msg/LaserScan", [(k * 10**8, scan_message(k * 10**8 + hour)) for k in range(5)])
    compose(tmp_path / "bag", odometry_topic(), late)
    messages, report = read(tmp_path / "bag")
    assert "clocks" in " ".join(report.warnings)
    assert [s.stamp_ns for s in of_kind(messages, "scan")] == [k * 10**8 for k in range(5)]


def transforms_topic(count=30):
    types = STORE.types
    vector, quaternion = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)

    def message(k):
        transform = types["geometry_msgs/msg/Transform"](vector(0.05 * k, 0.0, 0.0), quaternion)
        pose = types["geometry_msgs/msg/TransformStamped"](header(k * 10**8, "odom"), "base_footprint", transform)
        mount = types["geometry_msgs/msg/Transform"](vector(0.2, 0.0, 0.3), quaternion)
        fixed = types["geometry_msgs/msg/TransformStamped"](header(k * 10**8, "base_footprint"), "laser", mount)
        return types["tf2_msgs/msg/TFMessage"]([pose, fixed])

    return "/tf", "tf2_msgs/msg/TFMessage", [(k * 10**8, message(k)) for k in range(count)]


def test_pose_from_transforms(tmp_path):
    compose(tmp_path / "bag", scan_topic(30), transforms_topic())
    messages, report = read(tmp_path / "bag")
    found = of_kind(messages, "odometry")
    assert len(found) == 30 and report.used["odometry"] == "/tf"
    assert found[10].pose.x == pytest.approx(0.5) and found[10].twist.linear == pytest.approx(0.5)
    assert of_kind(messages, "scan")[5].mount.x == 0.2
    assert "transforms" in " ".join(report.warnings)


def test_pose_from_motion_capture_but_not_from_clicked_goals(tmp_path):
    types = STORE.types

    def message(k):
        point = types["geometry_msgs/msg/Point"](0.05 * k, 1.0, 0.0)
        pose = types["geometry_msgs/msg/Pose"](point, types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0))
        return types["geometry_msgs/msg/PoseStamped"](header(k * 10**8, "world"), pose)

    def poses(count):
        return "/vrpn/pose", "geometry_msgs/msg/PoseStamped", [(k * 10**8, message(k)) for k in range(count)]

    compose(tmp_path / "bag", scan_topic(30), poses(30))
    messages, report = read(tmp_path / "bag")
    assert report.used["odometry"] == "/vrpn/pose"
    assert of_kind(messages, "odometry")[9].twist.linear == pytest.approx(0.5)
    compose(tmp_path / "goals", scan_topic(30), poses(3))
    with pytest.raises(BagError, match="PoseStamped"):
        BagReader(tmp_path / "goals")


def test_depth_pictures_are_not_taken_for_colour(tmp_path):
    picture = STORE.types["sensor_msgs/msg/Image"](header(0), 2, 2, "16UC1", 0, 4, np.zeros(8, np.uint8))
    depth = ("/camera/depth/image", "sensor_msgs/msg/Image", [(0, picture)])
    compose(tmp_path / "bag", odometry_topic(), scan_topic(), depth)
    assert "image" not in read(tmp_path / "bag")[1].used


def test_missing_mount_is_warned_about_once(tmp_path):
    compose(tmp_path / "bag", odometry_topic(), scan_topic())
    messages, report = read(tmp_path / "bag")
    assert len([w for w in report.warnings if "laser" in w]) == 1
    assert of_kind(messages, "scan")[0].mount == Pose2D()


def test_useless_messages_are_skipped_and_counted(tmp_path):
    mixed = [(k * 10**8, scan_message(k * 10**8, beams=0 if k == 2 else 8)) for k in range(5)]
    compose(tmp_path / "bag", odometry_topic(), ("/scan", "sensor_msgs/msg/LaserScan", mixed))
    messages, report = read(tmp_path / "bag")
    assert len(of_kind(messages, "scan")) == 4 and report.skipped == {"/scan": 1}


@pytest.mark.parametrize("topics", [(scan_topic(),), (odometry_topic(),), ()])
def test_bag_without_what_is_needed_says_what_it_has(tmp_path, topics):
    compose(tmp_path / "bag", *topics)
    with pytest.raises(BagError, match="bag") as caught:
        BagReader(tmp_path / "bag")
    if topics:
        assert "Odometry" in str(caught.value)


def test_missing_empty_and_foreign_files(tmp_path):
    empty, text, folder = tmp_path / "empty.bag", tmp_path / "text.mcap", tmp_path / "folder"
    empty.touch()
    text.write_text("this is no recording")
    folder.mkdir()
    for path, words in (
        (tmp_path / "no.bag", "does not exist"),
        (empty, "empty"),
        (text, "cannot be read"),
        (folder, "no recording"),
    ):
        with pytest.raises(BagError, match=words) as caught:
            BagReader(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_truncated_file_is_read_in_part_or_refused(tmp_path, storage, share):
    path = tmp_path / ("drive.bag" if storage == "ros1" else "drive")
    write(path, storage, 40)
    file = path if storage == "ros1" else next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    try:
        messages, report = read(path)
    except BagError as error:
        assert str(path) in str(error)
    else:
        assert len(messages) == 200 or report.warnings


@pytest.mark.parametrize("storage", ["mcap", "ros1"])
def test_mutated_files_never_crash_the_reader(tmp_path, storage):
    path = tmp_path / ("drive.bag" if storage == "ros1" else "drive")
    write(path, storage, 8)
    file = path if storage == "ros1" else next(path.glob("*.mcap"))
    data = np.frombuffer(file.read_bytes(), np.uint8)
    rng = np.random.default_rng(5)
    outcomes = set()
    for _ in range(60):
        broken = data.copy()
        where = rng.integers(0, len(data), rng.integers(1, 30))
        broken[where] = rng.integers(0, 256, len(where))
        file.write_bytes(broken.tobytes())
        try:
            read(path)
            outcomes.add("read")
        except BagError:
            outcomes.add("refused")
    assert "read" in outcomes
