"""Recordings as the stack's nouns: ROS 1 .bag, rosbag2 sqlite3 and MCAP, topics found by type."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from mm_nav.bags.pose_sources import PoseDifferentiator, is_odometry_transform, planar_pose
from mm_nav.bags.transforms import TransformTree
from mm_nav.errors import BagError, SensorError
from mm_nav.observation import CameraImage, LaserScan, Odometry, PointCloud
from mm_nav.sensing.messages import cloud_from, image_from, odometry_from, scan_from, stamp_ns, transform_matrix
from mm_nav.sensing.rectify import distortion_from

Item = Odometry | LaserScan | CameraImage | PointCloud
Matrix = npt.NDArray[np.float64]

TYPES = {
    "odometry": ("nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseStamped"),
    "scan": ("sensor_msgs/msg/LaserScan",),
    "image": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "cloud": ("sensor_msgs/msg/PointCloud2",),
}
_TF = "tf2_msgs/msg/TFMessage"
_POSE = "geometry_msgs/msg/PoseStamped"
_INFO = "sensor_msgs/msg/CameraInfo"
# What a topic's name says about its use; the first match wins, then the topic with most messages.
_PREFERRED = {
    "odometry": ("odom", "filtered"),
    "scan": ("scan",),
    "image": ("color", "rgb", "image_raw", "image"),
    "cloud": ("points", "cloud"),
}
_UNWANTED = ("depth", "mask", "infra", "debug", "costmap", "map")
# Sensors of one robot share a clock; beyond this their stamps cannot be compared.
_CLOCK_TOLERANCE_S = 1.0
_PROBES = 3
# Transforms and camera parameters are looked for in this much of a recording before it is read in earnest.
_PROBE_S = 5.0
# Fewer poses than this are goals that somebody clicked, not a robot that moves.
_MIN_POSES = 20
_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
# Where a camera is taken to be when nothing says so: a TurtleBot's, about.
_CAMERA_POSITION = (0.1, 0.0, 0.3)
_CAMERA_FOV = 1.2


@dataclass(frozen=True)
class BagMessage:
    """One message. kind: a key of TYPES. receive_ns: when it was recorded. item: knows when it was measured."""

    kind: str
    receive_ns: int
    item: Item


@dataclass
class BagReport:
    """What reading a bag showed. used: kind -> topic. skipped: messages per topic that could not be used, and why."""

    path: str
    duration_s: float = 0.0
    used: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Note a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)


class BagReader:
    """A recording, open for reading; use it in a `with` statement.

    path: a .bag, .mcap or .db3 file, a rosbag2 folder, or a folder of .bag files. topics: kind -> topic, for bags
    where the type does not decide. The robot's pose is taken from Odometry, else from PoseStamped, else from
    transforms. Raises BagError when the recording is missing, empty, unreadable, or has no pose, or neither LiDAR nor
    camera.
    """

    def __init__(self, path: Path, topics: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.report = BagReport(str(path))
        self._wanted = dict(topics or {})
        unknown = sorted(set(self._wanted) - set(TYPES))
        if unknown:
            raise BagError(f"topics of kind {', '.join(unknown)} are not known: give {', '.join(TYPES)}")
        self._reader = _open(path)
        try:
            self._transforms = [c for c in self._reader.connections if c.msgtype == _TF]
            self._connections = self._choose()
            self._pose_from_tf = "odometry" not in self._connections
            self._infos = [c for c in self._reader.connections if c.msgtype == _INFO]
            self.report.duration_s = max(0, self._reader.duration) * 1e-9
            self._intrinsics: Matrix | None = None
            self._distortion: tuple[tuple[float, ...], str] = ((), "plumb_bob")
            self._tree = TransformTree()
            self._base = "base_link"
            self._differentiator = PoseDifferentiator()
            self._receive_time = self._probe()
        except BagError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise BagError(
                f"{path} is damaged ({_reason(error)}): record it again, or repair it with its own tool"
            ) from error

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        try:
            self._reader.close()
        except Exception as error:
            self.report.warn(f"{self.path} did not close cleanly ({_reason(error)})")

    def messages(self, kinds: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Yield the messages, of these kinds only if given, in the order they were recorded. Ends at the first damage,
        with a warning in the report.

        Messages that cannot be used are counted in report.skipped, and warned about once per topic.
        """
        by_topic = {c.topic: kind for kind, c in self._connections.items() if kinds is None or kind in kinds}
        wanted = [c for c in self._reader.connections if c.topic in by_topic and c.msgtype != _INFO]
        wanted += self._transforms if kinds is None or self._pose_from_tf else []
        iterator = self._reader.messages(connections=wanted)
        last = self._reader.start_time
        while True:
            try:
                connection, receive, raw = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                at = (last - self._reader.start_time) * 1e-9
                self.report.warn(
                    f"{self.path} is damaged {at:.1f} s after its start ({_reason(error)}): the rest is not used"
                )
                return
            last = receive
            kind = by_topic.get(connection.topic, "")
            try:
                message = self._reader.deserialize(raw, connection.msgtype)
                if connection.msgtype == _TF:
                    for odometry in self._add_transforms(message, receive):
                        self.report.counts["odometry"] = self.report.counts.get("odometry", 0) + 1
                        yield BagMessage("odometry", receive, odometry)
                    continue
                item = self._item(kind, message, connection.msgtype, receive)
            except Exception as error:
                # Whatever a damaged message does to its decoder, the next one may be whole.
                self.report.skipped[connection.topic] = self.report.skipped.get(connection.topic, 0) + 1
                self.report.warn(f"messages on {connection.topic} cannot be used: {_reason(error)}")
                continue
            self.report.counts[kind] = self.report.counts.get(kind, 0) + 1
            yield BagMessage(kind, receive, item)

    def _item(self, kind: str, message: Any, msgtype: str, receive: int) -> Item:
        stamp = receive if self._receive_time else stamp_ns(message.header)
        if msgtype == _POSE:
            return self._differentiator.add(stamp, planar_pose(message.pose.position, message.pose.orientation))
        if kind == "odometry":
            return odometry_from(message, stamp)
        mount = self._mount(message.header.frame_id, kind)
        if kind == "scan":
            return scan_from(message, mount, stamp)
        if kind == "cloud":
            return cloud_from(message, mount, stamp)
        assert mount is not None
        compressed = msgtype.endswith("CompressedImage")
        if self._intrinsics is None:
            picture = image_from(message, np.eye(3), mount, stamp, compressed)
            self._intrinsics = _guessed_intrinsics(*picture.rgb.shape[:2])
            self.report.warn(
                f"no CameraInfo for {self.report.used['image']}: a field of view of {_CAMERA_FOV} rad is assumed"
            )
            return CameraImage(stamp, picture.rgb, self._intrinsics, mount)
        return image_from(message, self._intrinsics, mount, stamp, compressed, self._distortion)

    def _mount(self, frame: str, kind: str) -> Matrix | None:
        found = self._tree.lookup(self._base, frame)
        if found is not None:
            return found
        where = "at base_link's origin"
        fallback = None
        if kind == "image":
            fallback = _OPTICAL.copy()
            fallback[:3, 3] = _CAMERA_POSITION
            where = f"looking ahead from {_CAMERA_POSITION} m"
        self.report.warn(
            f"no transform from {self._base} to '{frame}' of {self.report.used[kind]}: it is taken to be {where}"
        )
        return fallback

    def _choose(self) -> dict[str, Connection]:
        chosen: dict[str, Connection] = {}
        for kind, types in TYPES.items():
            candidates = [c for c in self._reader.connections if c.msgtype in types and c.msgcount > 0]
            if kind == "odometry":
                real = [c for c in candidates if c.msgtype != _POSE]
                candidates = real or [c for c in candidates if c.msgcount >= _MIN_POSES or kind in self._wanted]
            elif kind == "image" and kind not in self._wanted:
                candidates = [c for c in candidates if _preference(kind, c.topic) >= 0]
            if kind in self._wanted:
                topic = self._wanted[kind]
                named = [c for c in candidates if c.topic.strip("/") == topic.strip("/")]
                if not named:
                    have = ", ".join(sorted({c.topic for c in candidates})) or "none"
                    raise BagError(f"{self.path} has no {kind} messages on '{topic}': topics of that type are {have}")
                chosen[kind] = named[0]
            elif candidates:
                chosen[kind] = max(candidates, key=lambda c: (_preference(kind, c.topic), c.msgcount, c.topic))
                others = sorted({c.topic for c in candidates} - {chosen[kind].topic})
                if others:
                    self.report.warn(f"{kind} is read from {chosen[kind].topic}; not used: {', '.join(others)}")
        if ("odometry" not in chosen and not self._transforms) or not set(chosen) - {"odometry"}:
            have = ", ".join(sorted({f"{c.topic} ({c.msgtype})" for c in self._reader.connections})) or "no topics"
            raise BagError(
                f"{self.path} cannot be replayed: it needs Odometry, PoseStamped or transforms, and a LaserScan, "
                f"PointCloud2 or Image topic with messages, and has {have}"
            )
        self.report.used = {kind: c.topic for kind, c in chosen.items()}
        if "odometry" not in chosen:
            self.report.used["odometry"] = "/tf"
            self.report.warn("no odometry topic: the robot's pose and velocity are taken from transforms")
        return chosen

    def _probe(self) -> bool:
        """Read transforms, camera parameters and the first messages; return whether header stamps cannot be trusted."""
        offsets: dict[str, list[float]] = {kind: [] for kind in self._connections}
        topics = {c.topic: kind for kind, c in self._connections.items()}
        image = self._connections.get("image")
        for connection, receive, raw in self._reader.messages(
            connections=[*self._connections.values(), *self._infos, *self._transforms]
        ):
            kind = topics.get(connection.topic)
            if kind is not None and len(offsets[kind]) >= _PROBES:
                continue
            try:
                message: Any = self._reader.deserialize(raw, connection.msgtype)
                if connection.msgtype == _TF:
                    self._add_transforms(message)
                elif connection.msgtype == _INFO:
                    if image is not None and _belongs(connection.topic, image.topic):
                        self._set_intrinsics(message)
                elif kind is not None:
                    offsets[kind].append(1e-9 * (receive - stamp_ns(message.header)))
                    if connection.msgtype == "nav_msgs/msg/Odometry" and message.child_frame_id:
                        self._base = message.child_frame_id
            except Exception:
                if kind is not None:
                    offsets[kind].append(0.0)
            known = not self._transforms and (image is None or self._intrinsics is not None or not self._infos)
            late = receive - self._reader.start_time > 1e9 * _PROBE_S
            if all(len(o) >= _PROBES for o in offsets.values()) and (known or late):
                break
        self._differentiator = PoseDifferentiator()
        medians = {kind: statistics.median(o) for kind, o in offsets.items() if o}
        if not medians:
            raise BagError(f"{self.path} has no messages: record it again")
        if max(medians.values()) - min(medians.values()) <= _CLOCK_TOLERANCE_S:
            return False
        far = ", ".join(f"{self.report.used[kind]} {value:.1f} s" for kind, value in medians.items())
        self.report.warn(
            f"the clocks of the sensors differ (recorded after measured by: {far}): times of recording are used"
        )
        return True

    def _set_intrinsics(self, message: Any) -> None:
        # ROS 1 calls the matrix K, ROS 2 k.
        k = np.asarray(getattr(message, "k", getattr(message, "K", ())), np.float64)
        if k.size == 9 and k[0] > 0 and k[4] > 0:
            self._intrinsics = k.reshape(3, 3)
            try:
                self._distortion = distortion_from(message)
            except SensorError as error:
                self.report.warn(f"{error}; the pictures are used as they are")

    def _add_transforms(self, message: Any, receive: int | None = None) -> list[Odometry]:
        """Take note of mounts; return the robot's poses, where those come from transforms."""
        found: list[Odometry] = []
        for item in message.transforms:
            if self._pose_from_tf and is_odometry_transform(item.header.frame_id, item.child_frame_id):
                self._base = item.child_frame_id
                stamp = stamp_ns(item.header) if receive is None or not self._receive_time else receive
                pose = planar_pose(item.transform.translation, item.transform.rotation)
                found.append(self._differentiator.add(stamp, pose))
                continue
            try:
                self._tree.add(item.header.frame_id, item.child_frame_id, transform_matrix(item.transform))
            except SensorError as error:
                self.report.warn(f"the transform to '{item.child_frame_id}' is not used: {error}")
        return found


def _open(path: Path) -> AnyReader:
    if not path.exists():
        raise BagError(f"{path} does not exist: give a .bag, .mcap or .db3 file, or a rosbag2 folder")
    paths = [path]
    if path.is_dir() and not (path / "metadata.yaml").exists():
        for pattern in ("*.bag", "*.mcap", "*.db3"):
            paths = sorted(path.glob(pattern))
            if paths:
                break
        else:
            raise BagError(f"{path} holds no recording: expected metadata.yaml, or .bag, .mcap or .db3 files")
    elif path.is_file() and path.stat().st_size == 0:
        raise BagError(f"{path} is empty (0 bytes): record it again")
    try:
        reader = AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_HUMBLE))
        reader.open()
    except Exception as error:
        raise BagError(
            f"{path} cannot be read ({_reason(error)}): it is truncated, damaged or no recording; if it was cut off "
            "while recording, repair it with `ros2 bag reindex`, `mcap recover` or `rosbag reindex`"
        ) from error
    if reader.message_count == 0:
        reader.close()
        raise BagError(f"{path} has no messages: record it again")
    return reader


def _preference(kind: str, topic: str) -> int:
    name = topic.lower()
    score = next((len(_PREFERRED[kind]) - i for i, word in enumerate(_PREFERRED[kind]) if word in name), 0)
    return score - 10 * any(word in name for word in _UNWANTED)


def _belongs(info_topic: str, image_topic: str) -> bool:
    """Return whether a camera_info topic describes an image topic: they share a namespace."""
    space = image_topic.removesuffix("/compressed").rsplit("/", 1)[0]
    return info_topic.rsplit("/", 1)[0] == space


def _guessed_intrinsics(height: int, width: int) -> Matrix:
    focal = width / 2 / np.tan(_CAMERA_FOV / 2)
    return np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__
