"""Sensor messages straight from their serialised bytes, CDR in either byte order or ROS 1: structs and views, no message objects.

Every function takes the bytes and how they are laid out (`wire_of`), and raises SensorError when they do not make a whole message;
nothing is allocated by a length that the bytes do not have. Arrays are views of the bytes where their byte order is the machine's.

Sources: OMG CDR, formal/02-06-51, chapter 15.3; https://wiki.ros.org/ROS/Technical%20Overview for ROS 1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mm_nav.errors import SensorError

Raw = bytes | memoryview

# What structs and views raise when there is less than they need.
_CUT = (struct.error, ValueError, IndexError, OverflowError)


@dataclass(frozen=True)
class Wire:
    """How numbers lie in a message.

    order: "<" or ">". nul: bytes after a text that its length counts. pad4, mask4: (at + pad4) & mask4 is where the next 4-byte
    number is; pad8, mask8, shift8: ((at + pad8) & mask8) + shift8 the next 8-byte one.
    """

    order: str
    nul: int
    pad4: int
    mask4: int
    pad8: int
    mask8: int
    shift8: int
    head: struct.Struct = field(init=False)
    number: struct.Struct = field(init=False)
    two: struct.Struct = field(init=False)
    scan: struct.Struct = field(init=False)
    pose: struct.Struct = field(init=False)
    twist: struct.Struct = field(init=False)
    rows: struct.Struct = field(init=False)
    steps: struct.Struct = field(init=False)
    points: struct.Struct = field(init=False)
    float32: npt.DTypeLike = field(init=False)

    def __post_init__(self) -> None:
        gap = "3x" if self.nul else ""
        formats = {
            "head": "iII" if self.nul else "III",  # seconds, nanoseconds, length of frame_id
            "number": "I", "two": "II", "scan": "7fI", "pose": "7d", "twist": "6d",
            "rows": "III",  # height, width, length of the encoding or number of fields
            "steps": "BII",  # is_bigendian, step, length (ROS 1)
            "points": f"B{gap}III",  # is_bigendian, point_step, row_step, length
        }  # fmt: skip
        for name, code in formats.items():
            object.__setattr__(self, name, struct.Struct(self.order + code))
        object.__setattr__(self, "float32", np.dtype(self.order + "f4"))


# CDR aligns from its fifth byte on. In both formats a header's stamp begins at byte 4, in ROS 1 after its sequence number.
_CDR = {order: Wire(order, 1, 3, -4, 3, -8, 4) for order in "<>"}
_ROS1 = Wire("<", 0, 0, -1, 0, -1, 0)
_LITTLE, _BIG = _CDR["<"], _CDR[">"]
_HEAD_AT = 4


def wire_of(raw: Raw, encoding: str) -> Wire:
    """Return how a message is laid out. encoding: "cdr" or "ros1". Raises SensorError for what is neither."""
    if encoding == "ros1":
        return _ROS1
    if len(raw) < _HEAD_AT or raw[0] != 0 or raw[1] > 1:
        raise SensorError(f"a message of {len(raw)} bytes does not begin as CDR does: the recording is damaged")
    return _LITTLE if raw[1] else _BIG


class Scan(NamedTuple):
    """sensor_msgs/LaserScan; ranges: (N,) float32. Angles in rad, ranges in metres, times in s."""

    stamp_ns: int
    frame: bytes
    angle_min: float
    angle_max: float
    angle_increment: float
    time_increment: float
    scan_time: float
    range_min: float
    range_max: float
    ranges: npt.NDArray[np.float32]


class Picture(NamedTuple):
    """sensor_msgs/Image."""

    stamp_ns: int
    frame: bytes
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


class Compressed(NamedTuple):
    """sensor_msgs/CompressedImage."""

    stamp_ns: int
    frame: bytes
    data: memoryview


class Cloud(NamedTuple):
    """sensor_msgs/PointCloud2. layout: the serialised fields, to be read by `cloud_fields`."""

    stamp_ns: int
    frame: bytes
    height: int
    width: int
    layout: bytes
    is_bigendian: int
    point_step: int
    row_step: int
    data: memoryview


class Pose(NamedTuple):
    """A pose and what moves: of Odometry, PoseStamped, PoseWithCovarianceStamped or TransformStamped.

    pose: x, y, z (m), quaternion x, y, z, w. twist: linear x, y, z (m/s), angular x, y, z (rad/s), where the message has one.
    child: the frame that has this pose, b"" where the message does not say.
    """

    stamp_ns: int
    frame: bytes
    child: bytes
    pose: tuple[float, ...]
    twist: tuple[float, ...] = ()


def read_scan(raw: Raw, wire: Wire) -> Scan:
    """Return a LaserScan."""
    try:
        seconds, rest, length = wire.head.unpack_from(raw, _HEAD_AT)
        at = 16 + length
        frame = bytes(raw[16 : at - wire.nul])
        at = (at + wire.pad4) & wire.mask4
        first, last, step, beam_s, sweep_s, near, far, count = wire.scan.unpack_from(raw, at)
        at += 32
        ranges = np.frombuffer(raw, wire.float32, count, at)
        at += 4 * count
        (count,) = wire.number.unpack_from(raw, at)
        if at + 4 + 4 * count > len(raw):
            raise ValueError
    except _CUT as error:
        raise _cut("LaserScan", raw) from error
    if wire is _BIG:
        ranges = ranges.astype(np.float32)
    return Scan(seconds * 1_000_000_000 + rest, frame, first, last, step, beam_s, sweep_s, near, far, ranges)


def read_image(raw: Raw, wire: Wire) -> Picture:
    """Return an Image."""
    try:
        seconds, rest, length = wire.head.unpack_from(raw, _HEAD_AT)
        at = 16 + length
        frame = bytes(raw[16 : at - wire.nul])
        at = (at + wire.pad4) & wire.mask4
        height, width, length = wire.rows.unpack_from(raw, at)
        at += 12 + length
        encoding = str(raw[at - length : at - wire.nul], "utf-8", "replace")
        # One byte that says the byte order, then aligned numbers.
        if wire.nul:
            big, step, length = raw[at], *wire.two.unpack_from(raw, (at + 4) & -4)
            at = ((at + 4) & -4) + 8
        else:
            big, step, length = wire.steps.unpack_from(raw, at)
            at += 9
        if at + length > len(raw):
            raise ValueError
    except _CUT as error:
        raise _cut("Image", raw) from error
    data = memoryview(raw)[at : at + length]
    return Picture(seconds * 1_000_000_000 + rest, frame, height, width, encoding, big, step, data)


def read_compressed(raw: Raw, wire: Wire) -> Compressed:
    """Return a CompressedImage."""
    try:
        stamp, frame, at = _header(raw, wire)
        (length,) = wire.number.unpack_from(raw, at)
        at = (at + 4 + length + wire.pad4) & wire.mask4
        (length,) = wire.number.unpack_from(raw, at)
        at += 4
        if at + length > len(raw):
            raise ValueError
    except _CUT as error:
        raise _cut("CompressedImage", raw) from error
    return Compressed(stamp, frame, memoryview(raw)[at : at + length])


def read_cloud(raw: Raw, wire: Wire, layout: bytes = b"") -> Cloud:
    """Return a PointCloud2. layout: of the topic's message before; where it is the same, its fields are not looked through."""
    try:
        seconds, rest, length = wire.head.unpack_from(raw, _HEAD_AT)
        at = 16 + length
        frame = bytes(raw[16 : at - wire.nul])
        at = (at + wire.pad4) & wire.mask4
        height, width = wire.two.unpack_from(raw, at)
        at += 8
        end = at + len(layout)
        if not layout or raw[at:end] != layout:
            end = _fields_end(raw, wire, at)
            layout = bytes(raw[at:end])
        big, step, row_step, length = wire.points.unpack_from(raw, end)
        at = end + wire.points.size
        # One more byte, is_dense, follows; `_finite` looks at the points themselves.
        if at + length + 1 > len(raw):
            raise ValueError
    except _CUT as error:
        raise _cut("PointCloud2", raw) from error
    data = memoryview(raw)[at : at + length]
    return Cloud(seconds * 1_000_000_000 + rest, frame, height, width, layout, big, step, row_step, data)


def _fields_end(raw: Raw, wire: Wire, at: int) -> int:
    (count,) = wire.number.unpack_from(raw, at)
    at += 4
    for _ in range(count):  # each takes bytes, so a count without end runs out of them
        (length,) = wire.number.unpack_from(raw, at)
        at = (at + 4 + length + wire.pad4) & wire.mask4
        at = (at + 5 + wire.pad4) & wire.mask4  # offset and datatype
        wire.number.unpack_from(raw, at)
        at += 4
    return at


def cloud_fields(layout: bytes, wire: Wire) -> dict[str, tuple[int, int]]:
    """Return name -> (offset in a point, PointField datatype) of a Cloud's layout."""
    found: dict[str, tuple[int, int]] = {}
    (count,) = wire.number.unpack_from(layout, 0)
    at = 4
    for _ in range(count):
        (length,) = wire.number.unpack_from(layout, at)
        name = str(layout[at + 4 : at + 4 + length - wire.nul], "utf-8", "replace")
        at = (at + 4 + length + wire.pad4) & wire.mask4
        (offset,) = wire.number.unpack_from(layout, at)
        found.setdefault(name, (offset, layout[at + 4]))
        at = ((at + 5 + wire.pad4) & wire.mask4) + 4
    return found


def read_odometry(raw: Raw, wire: Wire) -> Pose:
    """Return a nav_msgs/Odometry, without its covariances."""
    try:
        seconds, rest, length = wire.head.unpack_from(raw, _HEAD_AT)
        at = 16 + length
        frame = bytes(raw[16 : at - wire.nul])
        child, at = _text(raw, wire, (at + wire.pad4) & wire.mask4)
        at = ((at + wire.pad8) & wire.mask8) + wire.shift8
        pose = wire.pose.unpack_from(raw, at)
        twist = wire.twist.unpack_from(raw, at + 344)
        if at + 680 > len(raw):
            raise ValueError
    except _CUT as error:
        raise _cut("Odometry", raw) from error
    return Pose(seconds * 1_000_000_000 + rest, frame, child, pose, twist)


def read_pose(raw: Raw, wire: Wire, covariance: bool = False) -> Pose:
    """Return a geometry_msgs/PoseStamped or, with `covariance`, a PoseWithCovarianceStamped."""
    try:
        stamp, frame, at = _header(raw, wire, aligned=False)
        at = ((at + wire.pad8) & wire.mask8) + wire.shift8
        pose = wire.pose.unpack_from(raw, at)
        if covariance and at + 344 > len(raw):
            raise ValueError
    except _CUT as error:
        raise _cut("PoseStamped", raw) from error
    return Pose(stamp, frame, b"", pose)


def read_transform(raw: Raw, wire: Wire) -> Pose:
    """Return a geometry_msgs/TransformStamped."""
    try:
        return _transform(raw, wire, _HEAD_AT if wire.nul else 0)[0]
    except _CUT as error:
        raise _cut("TransformStamped", raw) from error


def read_transforms(raw: Raw, wire: Wire) -> list[Pose]:
    """Return the transforms of a tf2_msgs/TFMessage."""
    found: list[Pose] = []
    try:
        at = _HEAD_AT if wire.nul else 0
        (count,) = wire.number.unpack_from(raw, at)
        at += 4
        for _ in range(count):
            transform, at = _transform(raw, wire, (at + wire.pad4) & wire.mask4)
            found.append(transform)
    except _CUT as error:
        raise _cut("TFMessage", raw) from error
    return found


def read_twist(raw: Raw, wire: Wire, stamped: bool) -> tuple[int, tuple[float, ...]]:
    """Return stamp (0 where a Twist has none), and linear x, y, z (m/s), angular x, y, z (rad/s) of a geometry_msgs/Twist or
    TwistStamped."""
    try:
        if not stamped:
            return 0, wire.twist.unpack_from(raw, _HEAD_AT if wire.nul else 0)
        stamp, _, at = _header(raw, wire, aligned=False)
        return stamp, wire.twist.unpack_from(raw, ((at + wire.pad8) & wire.mask8) + wire.shift8)
    except _CUT as error:
        raise _cut("Twist", raw) from error


def header_stamp_ns(raw: Raw, wire: Wire) -> int:
    """Return the stamp of any message that begins with a std_msgs/Header."""
    try:
        seconds, rest, _ = wire.head.unpack_from(raw, _HEAD_AT)
    except _CUT as error:
        raise _cut("Header", raw) from error
    return int(seconds * 1_000_000_000 + rest)


def _transform(raw: Raw, wire: Wire, at: int) -> tuple[Pose, int]:
    # ROS 1 has a sequence number in front of the stamp, CDR what was before.
    at += 0 if wire.nul else 4
    seconds, rest, length = wire.head.unpack_from(raw, at)
    at += 12 + length
    frame = bytes(raw[at - length : at - wire.nul]) if length else b""
    child, at = _text(raw, wire, (at + wire.pad4) & wire.mask4)
    at = ((at + wire.pad8) & wire.mask8) + wire.shift8
    return Pose(seconds * 1_000_000_000 + rest, frame, child, wire.pose.unpack_from(raw, at)), at + 56


def _header(raw: Raw, wire: Wire, aligned: bool = True) -> tuple[int, bytes, int]:
    """Return stamp, frame and where the header ends, with `aligned` where the next 4-byte number is."""
    seconds, rest, length = wire.head.unpack_from(raw, _HEAD_AT)
    at = 16 + length
    frame = bytes(raw[16 : at - wire.nul])
    return seconds * 1_000_000_000 + rest, frame, (at + wire.pad4) & wire.mask4 if aligned else at


def _text(raw: Raw, wire: Wire, at: int) -> tuple[bytes, int]:
    (length,) = wire.number.unpack_from(raw, at)
    at += 4 + length
    return bytes(raw[at - length : at - wire.nul]) if length else b"", at


def _cut(what: str, raw: Raw) -> SensorError:
    return SensorError(f"a {what} message of {len(raw)} bytes is cut short or damaged: check the recording")
