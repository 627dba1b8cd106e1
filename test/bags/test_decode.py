"""Messages from their bytes: equal to what the library makes of them, and nothing but SensorError when they are damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mm_nav.bags import decode
from mm_nav.errors import SensorError

ROS2, ROS1 = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS1_NOETIC)
ROS1.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms\n", "tf2_msgs/msg/TFMessage"))
FORMS = ("little", "big", "ros1")

f4 = st.floats(width=32)
f8 = st.floats()
u4 = st.integers(0, 2**32 - 1)
names = st.text(max_size=12).filter(lambda s: "\0" not in s)


def serialised(form, msgtype, message):
    if form == "ros1":
        return bytes(ROS1.serialize_ros1(message, msgtype))
    return bytes(ROS2.serialize_cdr(message, msgtype, little_endian=form == "little"))


def again(form, msgtype, raw):
    return ROS1.deserialize_ros1(raw, msgtype) if form == "ros1" else ROS2.deserialize_cdr(raw, msgtype)


def wire(form, raw):
    return decode.wire_of(raw, "ros1" if form == "ros1" else "cdr")


def make(form, msgtype, *values):
    return (ROS1 if form == "ros1" else ROS2).types[msgtype](*values)


def header(form, draw):
    sec, nanosec = draw(st.integers(0, 2**31 - 1)), draw(st.integers(0, 999_999_999))
    time = make(form, "builtin_interfaces/msg/Time", sec, nanosec)
    extra = (draw(u4),) if form == "ros1" else ()
    return make(form, "std_msgs/msg/Header", *extra, time, draw(names))


def doubles(form, draw, msgtype, count):
    return make(form, f"geometry_msgs/msg/{msgtype}", *(draw(f8) for _ in range(count)))


def pose(form, draw):
    point, turn = doubles(form, draw, "Point", 3), doubles(form, draw, "Quaternion", 4)
    return make(form, "geometry_msgs/msg/Pose", point, turn)


def twist(form, draw):
    return make(form, "geometry_msgs/msg/Twist", doubles(form, draw, "Vector3", 3), doubles(form, draw, "Vector3", 3))


def transform(form, draw):
    moved = doubles(form, draw, "Vector3", 3), doubles(form, draw, "Quaternion", 4)
    inner = make(form, "geometry_msgs/msg/Transform", *moved)
    return make(form, "geometry_msgs/msg/TransformStamped", header(form, draw), draw(names), inner)


def same(fast, slow):
    """Whether numbers have the same bits, NaNs included."""
    return struct.pack(f"{len(fast)}d", *fast) == struct.pack(f"{len(slow)}d", *slow)


def xyz(vector):
    return [float(getattr(vector, name)) for name in "xyzw" if hasattr(vector, name)]


def stamp(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def assert_header(fast, message):
    assert fast.stamp_ns == stamp(message) and fast.frame == message.header.frame_id.encode()


many = settings(max_examples=40, deadline=None)
forms = pytest.mark.parametrize("form", FORMS)


@forms
@many
@given(st.data())
def test_scan(form, data):
    draw = data.draw
    ranges, strengths = draw(st.lists(f4, max_size=20)), draw(st.lists(f4, max_size=5))
    message = make(
        form, "sensor_msgs/msg/LaserScan", header(form, draw), *(draw(f4) for _ in range(7)),
        np.array(ranges, np.float32), np.array(strengths, np.float32),
    )  # fmt: skip
    raw = serialised(form, "sensor_msgs/msg/LaserScan", message)
    fast, slow = decode.read_scan(raw, wire(form, raw)), again(form, "sensor_msgs/msg/LaserScan", raw)
    assert_header(fast, slow)
    assert fast.ranges.dtype == np.float32 and fast.ranges.tobytes() == slow.ranges.tobytes()
    assert same(
        fast[2:9],
        (slow.angle_min, slow.angle_max, slow.angle_increment, slow.time_increment, slow.scan_time, slow.range_min,
         slow.range_max),
    )  # fmt: skip


@forms
@many
@given(st.data())
def test_image(form, data):
    draw = data.draw
    pixels = np.frombuffer(draw(st.binary(max_size=40)), np.uint8)
    message = make(
        form, "sensor_msgs/msg/Image", header(form, draw), draw(u4), draw(u4), draw(names), draw(st.integers(0, 255)),
        draw(u4), pixels,
    )  # fmt: skip
    raw = serialised(form, "sensor_msgs/msg/Image", message)
    fast, slow = decode.read_image(raw, wire(form, raw)), again(form, "sensor_msgs/msg/Image", raw)
    assert_header(fast, slow)
    assert (fast.height, fast.width, fast.encoding) == (slow.height, slow.width, slow.encoding)
    assert (fast.is_bigendian, fast.step, bytes(fast.data)) == (slow.is_bigendian, slow.step, slow.data.tobytes())


@forms
@many
@given(st.data())
def test_compressed_image(form, data):
    draw = data.draw
    content = np.frombuffer(draw(st.binary(max_size=40)), np.uint8)
    message = make(form, "sensor_msgs/msg/CompressedImage", header(form, draw), draw(names), content)
    raw = serialised(form, "sensor_msgs/msg/CompressedImage", message)
    fast = decode.read_compressed(raw, wire(form, raw))
    assert_header(fast, message)
    assert bytes(fast.data) == content.tobytes()


@forms
@many
@given(st.data())
def test_cloud(form, data):
    draw = data.draw
    fields = [
        make(form, "sensor_msgs/msg/PointField", draw(names), draw(u4), draw(st.integers(0, 255)), draw(u4))
        for _ in range(draw(st.integers(0, 6)))
    ]
    content = np.frombuffer(draw(st.binary(max_size=40)), np.uint8)
    message = make(
        form, "sensor_msgs/msg/PointCloud2", header(form, draw), draw(u4), draw(u4), fields, draw(st.booleans()),
        draw(u4), draw(u4), content, True,
    )  # fmt: skip
    raw = serialised(form, "sensor_msgs/msg/PointCloud2", message)
    how = wire(form, raw)
    fast = decode.read_cloud(raw, how)
    assert_header(fast, message)
    assert (fast.height, fast.width, bool(fast.is_bigendian)) == (message.height, message.width, message.is_bigendian)
    assert (fast.point_step, fast.row_step) == (message.point_step, message.row_step)
    assert bytes(fast.data) == content.tobytes()
    expected: dict[str, tuple[int, int]] = {}
    for entry in fields:
        expected.setdefault(entry.name, (entry.offset, entry.datatype))
    assert decode.cloud_fields(fast.layout, how) == expected
    assert decode.read_cloud(raw, how, fast.layout) == fast
    assert decode.read_cloud(memoryview(raw), how, b"something else") == fast


@forms
@many
@given(st.data())
def test_odometry(form, data):
    draw = data.draw
    covariance = np.arange(36.0)
    message = make(
        form, "nav_msgs/msg/Odometry", header(form, draw), draw(names),
        make(form, "geometry_msgs/msg/PoseWithCovariance", pose(form, draw), covariance),
        make(form, "geometry_msgs/msg/TwistWithCovariance", twist(form, draw), covariance),
    )  # fmt: skip
    raw = serialised(form, "nav_msgs/msg/Odometry", message)
    fast = decode.read_odometry(raw, wire(form, raw))
    assert_header(fast, message)
    assert fast.child == message.child_frame_id.encode()
    assert same(fast.pose, xyz(message.pose.pose.position) + xyz(message.pose.pose.orientation))
    assert same(fast.twist, xyz(message.twist.twist.linear) + xyz(message.twist.twist.angular))


@forms
@many
@given(st.data())
def test_poses_and_transforms(form, data):
    draw = data.draw
    plain = make(form, "geometry_msgs/msg/PoseStamped", header(form, draw), pose(form, draw))
    raw = serialised(form, "geometry_msgs/msg/PoseStamped", plain)
    fast = decode.read_pose(raw, wire(form, raw))
    assert_header(fast, plain)
    assert same(fast.pose, xyz(plain.pose.position) + xyz(plain.pose.orientation))
    uncertain = make(form, "geometry_msgs/msg/PoseWithCovariance", pose(form, draw), np.arange(36.0))
    whole = make(form, "geometry_msgs/msg/PoseWithCovarianceStamped", header(form, draw), uncertain)
    raw = serialised(form, "geometry_msgs/msg/PoseWithCovarianceStamped", whole)
    fast = decode.read_pose(raw, wire(form, raw), covariance=True)
    assert_header(fast, whole)
    assert same(fast.pose, xyz(uncertain.pose.position) + xyz(uncertain.pose.orientation))
    several = [transform(form, draw) for _ in range(draw(st.integers(0, 3)))]
    message = make(form, "tf2_msgs/msg/TFMessage", several)
    raw = serialised(form, "tf2_msgs/msg/TFMessage", message)
    found = decode.read_transforms(raw, wire(form, raw))
    if several:
        raw = serialised(form, "geometry_msgs/msg/TransformStamped", several[0])
        found, several = [*found, decode.read_transform(raw, wire(form, raw))], [*several, several[0]]
    for fast, slow in zip(found, several, strict=True):
        assert_header(fast, slow)
        assert fast.child == slow.child_frame_id.encode()
        assert same(fast.pose, xyz(slow.transform.translation) + xyz(slow.transform.rotation))


@forms
@many
@given(st.data())
def test_twists(form, data):
    draw = data.draw
    inner = twist(form, draw)
    raw = serialised(form, "geometry_msgs/msg/Twist", inner)
    assert same(decode.read_twist(raw, wire(form, raw), False)[1], xyz(inner.linear) + xyz(inner.angular))
    message = make(form, "geometry_msgs/msg/TwistStamped", header(form, draw), inner)
    raw = serialised(form, "geometry_msgs/msg/TwistStamped", message)
    taken, values = decode.read_twist(raw, wire(form, raw), True)
    assert taken == decode.header_stamp_ns(raw, wire(form, raw)) == stamp(message)
    assert same(values, xyz(inner.linear) + xyz(inner.angular))


class _Fixed:
    """Stands for hypothesis' draw where any values do."""

    def __init__(self):
        self.rng = np.random.default_rng(3)

    def __call__(self, strategy):
        return {f8: 0.5, f4: 0.25, u4: 3, names: "laser"}.get(strategy, 1)


READERS = {
    "sensor_msgs/msg/LaserScan": decode.read_scan,
    "sensor_msgs/msg/Image": decode.read_image,
    "sensor_msgs/msg/CompressedImage": decode.read_compressed,
    "sensor_msgs/msg/PointCloud2": decode.read_cloud,
    "nav_msgs/msg/Odometry": decode.read_odometry,
    "geometry_msgs/msg/PoseStamped": decode.read_pose,
    "geometry_msgs/msg/PoseWithCovarianceStamped": lambda raw, how: decode.read_pose(raw, how, True),
    "geometry_msgs/msg/TransformStamped": decode.read_transform,
    "tf2_msgs/msg/TFMessage": decode.read_transforms,
    "geometry_msgs/msg/TwistStamped": lambda raw, how: decode.read_twist(raw, how, True),
    "geometry_msgs/msg/Twist": lambda raw, how: decode.read_twist(raw, how, False),
}  # fmt: skip


def example(form, msgtype):
    draw, data = _Fixed(), np.arange(24, dtype=np.uint8)
    name = msgtype.rsplit("/", 1)[1]
    uncertain = make(form, "geometry_msgs/msg/PoseWithCovariance", pose(form, draw), np.arange(36.0))
    if name == "TFMessage":
        return make(form, msgtype, [transform(form, draw), transform(form, draw)])
    if name == "TransformStamped":
        return transform(form, draw)
    if name == "Twist":
        return twist(form, draw)
    fields = [make(form, "sensor_msgs/msg/PointField", n, 4 * i, 7, 1) for i, n in enumerate("xyz")]
    rest = {
        "LaserScan": (*([0.5] * 7), np.ones(5, np.float32), np.ones(2, np.float32)),
        "Image": (2, 4, "rgb8", 0, 12, data),
        "CompressedImage": ("jpeg", data),
        "PointCloud2": (1, 2, fields, False, 12, 24, data, True),
        "Odometry": (
            "base",
            uncertain,
            make(form, "geometry_msgs/msg/TwistWithCovariance", twist(form, draw), np.arange(36.0)),
        ),
        "PoseStamped": (pose(form, draw),),
        "PoseWithCovarianceStamped": (uncertain,),
        "TwistStamped": (twist(form, draw),),
    }
    return make(form, msgtype, header(form, draw), *rest[name])


@forms
@pytest.mark.parametrize("msgtype", READERS)
def test_a_message_cut_anywhere_is_refused_and_views_are_read_too(form, msgtype):
    raw = serialised(form, msgtype, example(form, msgtype))
    whole = READERS[msgtype](raw, wire(form, raw))
    repr(whole)
    for end in range(4, len(raw) - 3 if form != "ros1" else len(raw)):  # CDR may be padded at its end
        with pytest.raises(SensorError, match="cut short"):
            READERS[msgtype](raw[:end], wire(form, raw))
    for end in range(4):
        with pytest.raises(SensorError):
            READERS[msgtype](raw[:end], decode.wire_of(raw[:end], "ros1" if form == "ros1" else "cdr"))
    READERS[msgtype](memoryview(bytes(7) + raw)[7:], wire(form, raw))


@forms
@pytest.mark.parametrize("msgtype", READERS)
def test_damaged_bytes_give_something_or_a_sensor_error(form, msgtype):
    raw = serialised(form, msgtype, example(form, msgtype))
    how, rng, outcomes = wire(form, raw), np.random.default_rng(1), set()
    for at in range(4, len(raw)):
        for value in (0, 255, int(rng.integers(256))):
            for width in (1, 4):
                broken = bytearray(raw)
                broken[at : at + width] = bytes([value]) * width
                try:
                    READERS[msgtype](bytes(broken[: len(raw)]), how)
                    outcomes.add("read")
                except SensorError:
                    outcomes.add("refused")
    assert "read" in outcomes


@pytest.mark.parametrize("raw", [b"", b"\0", b"\0\1\0", b"\0\7\0\0", b"\1\1\0\0", b"\xff" * 8])
def test_what_is_no_cdr_is_refused(raw):
    with pytest.raises(SensorError, match="CDR"):
        decode.wire_of(raw, "cdr")
