"""Recordings as real robots make them: namespaces, late transforms, missing stamps, clocks that are set, cameras of all kinds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mm_nav.bags.mapping import load_mapping, preference
from mm_nav.bags.reader import BagReader, RecordedCommand
from mm_nav.errors import BagError, ConfigError
from mm_nav.geometry import Pose2D, Twist2D

STORE = get_typestore(Stores.ROS2_HUMBLE)
SEC, STEP = 10**9, 10**8


def make(msgtype, *values):
    return STORE.types[msgtype](*values)


def header(ns, frame):
    return make("std_msgs/msg/Header", make("builtin_interfaces/msg/Time", ns // SEC, ns % SEC), frame)


def vector(*xyz, kind="Vector3"):
    return make(f"geometry_msgs/msg/{kind}", *map(float, (*xyz, 0, 0, 0)[:3]))


def turn(x=0.0, y=0.0, z=0.0, w=1.0):
    return make("geometry_msgs/msg/Quaternion", x, y, z, w)


def pose(x=0.0):
    return make("geometry_msgs/msg/Pose", vector(x, kind="Point"), turn())


def covered(kind, inner):
    return make(f"geometry_msgs/msg/{kind}WithCovariance", inner, np.zeros(36))


def twist(linear=0.0, angular=0.0):
    return make("geometry_msgs/msg/Twist", vector(linear), vector(0, 0, angular))


def odometry(ns, x=0.0, child="base_link"):
    return make("nav_msgs/msg/Odometry", header(ns, "odom"), child, covered("Pose", pose(x)), covered("Twist", twist()))


def scan(ns, frame="laser"):
    beams = np.ones(8, np.float32)
    return make("sensor_msgs/msg/LaserScan", header(ns, frame), 0.0, 6.0, 0.75, 0.01, 0.1, 0.1, 9.0, beams, beams[:0])


def image(ns, frame="camera", encoding="rgb8", width=8, height=6):
    pixel = {"rgb8": 3, "32FC1": 4, "16UC1": 2, "mono8": 1}[encoding]
    data = np.arange(width * height * pixel, dtype=np.uint8)
    return make("sensor_msgs/msg/Image", header(ns, frame), height, width, encoding, 0, width * pixel, data)


def info(ns, focal=5.0, width=8, height=6, projection=4.0, distortion=(0.1, 0.0, 0.0, 0.0, 0.0)):
    k = np.array([[focal, 0, 4], [0, focal, 3], [0, 0, 1]])
    p = np.array([[projection, 0, 4, 0], [0, projection, 3, 0], [0, 0, 1, 0.0]])
    region = make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    return make(
        "sensor_msgs/msg/CameraInfo", header(ns, "camera"), height, width, "plumb_bob", np.array(distortion),
        k.ravel(), np.eye(3).ravel(), p.ravel(), 0, 0, region,
    )  # fmt: skip


def transform(ns, parent, child, x=0.0, rotation=None):
    inner = make("geometry_msgs/msg/Transform", vector(x), rotation or turn())
    return make("geometry_msgs/msg/TransformStamped", header(ns, parent), child, inner)


def tf(*transforms):
    return make("tf2_msgs/msg/TFMessage", list(transforms))


def every(message, count=30, start=SEC, receive_offset=0):
    """Messages ten times a second: (time of recording, message)."""
    times = [start + STEP * k for k in range(count)]
    return [(t + receive_offset, message(t)) for t in times]


def compose(path, **topics):
    """Write a recording; topics: name, with __ for /, -> list of (time of recording, message)."""
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        everything = []
        for name, items in topics.items():
            msgtype = items[0][1].__msgtype__
            connection = writer.add_connection("/" + name.replace("__", "/"), msgtype, typestore=STORE)
            everything += [(receive, connection, message, msgtype) for receive, message in items]
        for receive, connection, message, msgtype in sorted(everything, key=lambda e: e[0]):
            writer.write(connection, receive, STORE.serialize_cdr(message, msgtype))
    return path


def read(path, topics=None, kinds=None):
    with BagReader(path, topics) as reader:
        found = list(reader.messages(kinds))
    return found, reader.report


def items(found, kind):
    return [m.item for m in found if m.kind == kind]


@pytest.mark.parametrize(
    ("child", "parent", "frame"),
    [
        ("base_footprint", "base_footprint", "laser"),
        ("tb3_0/base_link", "tb3_0/base_link", "tb3_0/laser"),
        ("tb3_0/base_link", "tb3_0/base_link", "laser"),  # the driver does not know its namespace
        ("tb3_0/base_link", "base_link", "laser"),  # the odometry alone knows it
        ("", "base_footprint", "/laser"),  # nobody said which frame the odometry is of
    ],
)
def test_mounts_are_found_whatever_the_frames_are_called(tmp_path, child, parent, frame):
    name = "tb3_0/laser" if parent.startswith("tb3_0") else "laser"
    compose(
        tmp_path / "bag", odom=every(lambda t: odometry(t, child=child)), scan=every(lambda t: scan(t, frame)),
        tf_static=[(SEC, tf(transform(0, parent, name, 0.25)))],
    )  # fmt: skip
    found, report = read(tmp_path / "bag")
    assert items(found, "scan")[0].mount.x == 0.25 and report.missing_mounts == []


def test_transforms_that_are_recorded_late_count_from_the_start(tmp_path):
    compose(
        tmp_path / "bag", odom=every(odometry, 300), scan=every(scan, 300),
        tf_static=[(25 * SEC, tf(transform(0, "base_link", "laser", 0.25)))],
    )  # fmt: skip
    found, report = read(tmp_path / "bag")
    assert {s.mount.x for s in items(found, "scan")} == {0.25} and report.warnings == []


def test_a_mount_that_moves_is_followed(tmp_path):
    compose(
        tmp_path / "bag", odom=every(odometry), scan=every(scan),
        tf=every(lambda t: tf(transform(t, "odom", "base_link", 1e-9 * t), transform(t, "base_link", "mast", 1e-9 * t))),
        tf_static=[(SEC, tf(transform(0, "mast", "laser", 0.5)))],
    )  # fmt: skip
    found, _ = read(tmp_path / "bag")
    mounts = [s.mount.x for s in items(found, "scan")]
    assert len(set(mounts)) > 25 and mounts[10] == pytest.approx(0.5 + 2.0, abs=0.2)


def test_pose_comes_from_the_odom_frame_not_from_the_map(tmp_path):
    compose(
        tmp_path / "bag", scan=every(scan),
        tf=every(lambda t: tf(
            transform(t, "map", "odom", 50.0), transform(t, "r1/odom", "r1/base_footprint", 1e-9 * t),
        )),
        amcl_pose=every(lambda t: make(
            "geometry_msgs/msg/PoseWithCovarianceStamped", header(t, "map"), covered("Pose", pose(99.0)))),
    )  # fmt: skip
    found, report = read(tmp_path / "bag")
    poses = items(found, "odometry")
    assert len(poses) == 30 and poses[9].pose.x == pytest.approx(1.9) and report.used["odometry"] == "/tf"
    assert poses[9].twist.linear == pytest.approx(1.0)
    assert report.health["tf"].messages == 30 and report.health["tf"].missing_mounts == ("laser",)


@pytest.mark.parametrize("kind", ["TransformStamped", "PoseWithCovarianceStamped", "PoseStamped"])
def test_motion_capture(tmp_path, kind):
    def message(t):
        if kind == "TransformStamped":
            return transform(t, "world", "vicon/jackal/jackal", 1e-9 * t)
        x = pose(1e-9 * t)
        inner = covered("Pose", x) if "Covariance" in kind else x
        return make(f"geometry_msgs/msg/{kind}", header(t, "world"), inner)

    compose(tmp_path / "bag", vicon__jackal=every(message), scan=every(scan))
    found, report = read(tmp_path / "bag")
    assert report.used["odometry"] == "/vicon/jackal"
    assert items(found, "odometry")[9].twist.linear == pytest.approx(1.0)


def test_stamps_of_zero_are_replaced_by_times_of_recording(tmp_path):
    compose(tmp_path / "bag", odom=every(odometry), scan=every(lambda t: scan(0)))
    found, report = read(tmp_path / "bag")
    assert [s.stamp_ns for s in items(found, "scan")] == [SEC + STEP * k for k in range(30)]
    assert "/scan have no stamps" in " ".join(report.warnings)


def test_one_stamp_of_zero_is_no_jump_of_years(tmp_path):
    compose(tmp_path / "bag", odom=every(odometry), scan=every(lambda t: scan(0 if t == 2 * SEC else t)))
    found, report = read(tmp_path / "bag")
    assert len(items(found, "scan")) == 29 and report.skipped == {"/scan": 1}


def test_a_clock_that_is_set_is_told_with_topic_and_time(tmp_path):
    compose(
        tmp_path / "bag", odom=every(odometry, 100),
        scan=every(lambda t: scan(t - (10 * SEC if t >= 60 * STEP else 0) + 20 * SEC), 100, receive_offset=0),
    )  # fmt: skip
    _, report = read(tmp_path / "bag")
    assert any("/scan jump by -10.0 s at 4.9 s" in w for w in report.warnings)
    assert report.health["scan"].jumps == 1


def test_messages_kept_from_long_ago_do_not_make_the_recording_long(tmp_path):
    start = 1_700_000_000 * SEC
    compose(
        tmp_path / "bag", odom=every(odometry, start=start), scan=every(scan, start=start),
        tf_static=[(0, tf(transform(0, "base_link", "laser", 0.25)))],
    )  # fmt: skip
    found, report = read(tmp_path / "bag")
    assert report.duration_s == pytest.approx(2.9, abs=0.01)
    assert items(found, "scan")[0].mount.x == 0.25
    assert "before all others" in " ".join(report.warnings)


def test_frames_of_camera_bodies_are_turned(tmp_path):
    compose(
        tmp_path / "bag", odom=every(odometry), image=every(lambda t: image(t, "camera_link")),
        tf_static=[(SEC, tf(transform(0, "base_link", "camera_link", 0.2)))],
    )  # fmt: skip
    found, report = read(tmp_path / "bag")
    camera = items(found, "image")[0].base_T_camera
    np.testing.assert_allclose(camera[:3, 2], [1, 0, 0], atol=1e-12)  # it looks ahead
    assert camera[0, 3] == 0.2 and "camera's body" in " ".join(report.warnings)


def test_camera_parameters(tmp_path):
    def lens(name, **topics):
        compose(tmp_path / name, odom=every(odometry), **topics)
        found, report = read(tmp_path / name)
        picture = items(found, "image")[0]
        return picture.intrinsics[0, 0], picture.distortion, " ".join(report.warnings)

    assert lens("raw", cam__image_raw=every(image), cam__camera_info=every(info))[:2] == (
        5.0,
        (0.1, 0.0, 0.0, 0.0, 0.0),
    )
    assert lens("rect", cam__image_rect_color=every(image), cam__camera_info=every(info))[:2] == (4.0, ())
    small = every(lambda t: info(t, width=16, height=12, focal=10.0))
    focal, _, warnings = lens("resized", cam__image=every(image), cam__camera_info=small)
    assert focal == 5.0 and "scaled" in warnings
    focal, _, warnings = lens("elsewhere", cam__image=every(image), other__camera_info=every(info))
    assert focal == 5.0 and "scaled" not in warnings
    uncalibrated = every(lambda t: info(t, focal=0.0, projection=0.0))
    assert "field of view" in lens("zeros", cam__image=every(image), cam__camera_info=uncalibrated)[2]


def test_distances_are_no_pictures_and_cameras_ahead_come_first(tmp_path):
    compose(
        tmp_path / "bag", odom=every(odometry), a__image=every(lambda t: image(t, encoding="32FC1")),
        front__image=every(image), rear__image=every(image, 40),
    )  # fmt: skip
    assert read(tmp_path / "bag")[1].used["image"] == "/front/image"
    compose(
        tmp_path / "b", odom=every(odometry), scan=every(scan), a__image=every(lambda t: image(t, encoding="16UC1"))
    )
    _, report = read(tmp_path / "b")
    assert "image" not in report.used and "/a/image has distances" in " ".join(report.warnings)


def test_grey_pictures_are_pictures(tmp_path):
    compose(tmp_path / "bag", odom=every(odometry), image=every(lambda t: image(t, encoding="mono8")))
    assert items(read(tmp_path / "bag")[0], "image")[0].rgb.shape == (6, 8, 3)


@pytest.mark.parametrize("stamped", [False, True])
def test_commands(tmp_path, stamped):
    def command(t):
        inner = twist(0.5, -0.25)
        return make("geometry_msgs/msg/TwistStamped", header(t, "base_link"), inner) if stamped else inner

    compose(
        tmp_path / "bag", odom=every(odometry), scan=every(scan), cmd_vel=every(command), joy__twist=every(command, 60)
    )
    found, report = read(tmp_path / "bag")
    assert report.used["command"] == "/cmd_vel" and report.warnings == [
        "no transform from base_link to 'laser' of /scan: it is taken to be at base_link's origin"
    ]
    assert items(found, "command")[3] == RecordedCommand(SEC + 3 * STEP, Twist2D(0.5, -0.25))
    assert not items(read(tmp_path / "bag", kinds=("scan",))[0], "command")
    assert len(items(read(tmp_path / "bag", {"command": "joy/twist"})[0], "command")) == 60


def test_what_is_not_finite_arrives_as_it_is(tmp_path):
    compose(tmp_path / "bag", odom=every(lambda t: odometry(t, math.nan if t == 2 * SEC else 1.0)), scan=every(scan))
    found, report = read(tmp_path / "bag")
    assert sum(math.isnan(o.pose.x) for o in items(found, "odometry")) == 1 and report.skipped == {}


def test_health_of_what_was_read(tmp_path):
    gap = [m for m in every(scan, 100, receive_offset=30_000_000) if not 3 * SEC <= m[0] < 5 * SEC]
    compose(tmp_path / "bag", odom=every(odometry, 100), scan=gap)
    _, report = read(tmp_path / "bag")
    health = report.health
    assert set(health) == {"odometry", "scan", "tf"} and health["tf"].missing_mounts == ("laser",)
    assert health["scan"].rate_hz == pytest.approx(10.0) and health["scan"].gaps == 1
    assert health["scan"].first_gaps[0].time_s == pytest.approx(1.93, abs=0.11)
    assert health["scan"].delay_median_s == health["scan"].clock_offset_s == pytest.approx(0.03)


def test_a_mapping_names_topics_and_frames(tmp_path):
    compose(
        tmp_path / "bag", odom=every(lambda t: odometry(t, child="chassis")), odom2=every(odometry, 60),
        scan=every(scan), left__image=every(image), right__image=every(image), other__info=every(info),
        yet__another__info=every(lambda t: info(t, focal=9.0)),
        tf_static=[(SEC, tf(transform(0, "chassis", "laser", 0.25), transform(0, "root", "chassis", 1.0)))],
    )  # fmt: skip
    file = tmp_path / "robot.yaml"
    file.write_text("odometry: odom\nimage: /right/image\ncamera_info: yet/another/info\nbase_frame: root\n")
    found, report = read(tmp_path / "bag", load_mapping(file))
    assert report.used["odometry"] == "/odom" and report.used["image"] == "/right/image"
    assert items(found, "scan")[0].mount == Pose2D(1.25)
    assert items(found, "image")[0].intrinsics[0, 0] == 9.0
    with pytest.raises(BagError, match="/yet/another/info"):
        BagReader(tmp_path / "bag", {"camera_info": "/nowhere"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sonar: /s", "'sonar' is not known"),
        ("scan: 5", "give the name of a topic"),
        ("scan: [a]", "give the name"),
        ("base_frame: ''", "name of a frame"),
        ("- scan", "no mapping"),
        ("scan: {", "cannot be read"),
    ],
)
def test_mappings_that_are_wrong_say_so(tmp_path, text, words):
    file = tmp_path / "robot.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load_mapping(file)
    assert str(file) in str(caught.value)


def test_frames_of_a_mapping_choose_between_robots(tmp_path):
    def both(t):
        return tf(transform(t, "a/odom", "a/base_link", 1.0), transform(t, "b/odom", "b/base_link", 2.0))

    compose(tmp_path / "bag", scan=every(scan), tf=every(both))
    assert items(read(tmp_path / "bag")[0], "odometry")[0].pose.x == 1.0
    assert items(read(tmp_path / "bag", {"base_frame": "b/base_link"})[0], "odometry")[0].pose.x == 2.0
    assert items(read(tmp_path / "bag", {"odom_frame": "b/odom"})[0], "odometry")[0].pose.x == 2.0


def test_names():
    assert preference("image", "/front_camera/color/image_raw") > preference("image", "/rear_camera/color/image_raw")
    assert preference("image", "/camera/depth/image_raw")[0] < 0
    assert preference("image", "/camera/image_raw") > preference("image", "/camera/image_raw/compressed")
    assert preference("image", "/camera/color/image_raw/compressed") > preference("image", "/camera/image_raw")
    commands = ("/cmd_vel_nav", "/joy_teleop/cmd_vel", "/cmd_vel")
    assert max(commands, key=lambda topic: preference("command", topic)) == "/cmd_vel"
