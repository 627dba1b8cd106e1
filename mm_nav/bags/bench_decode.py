"""How fast recordings become the stack's nouns, beside what the `rosbags` library and mcap-ros2-support take to read them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from mm_nav.bags.reader import BagReader

KINDS = ("image", "cloud", "cloud_16", "cloud_32", "scan")
_MESSAGES = {"image": 120, "scan": 12_000}
_CLOUDS = 120
_POINTS, _BEAMS, _HEIGHT, _WIDTH = 30_000, 360, 480, 640
_MIN_ROUNDS, _MAX_ROUNDS = 3, 50
# That many different messages, so that compression has something to do and memory stays small.
_DIFFERENT = 4
_CLOUD = "sensor_msgs/msg/PointCloud2"
_TYPES = {"image": "sensor_msgs/msg/Image", "scan": "sensor_msgs/msg/LaserScan"}


def bench_decode(seconds: float = 2.0, progress: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """Return how many messages a second each reader gets out of MCAP files of one sensor, plain (…) and of zstd chunks (zstd_…).

    seconds: for each reader of each file. The readers take turns, and the median of the rounds counts. Ours gives CameraImage,
    PointCloud and LaserScan in base_link, the others give message objects. Types are image (640x480 rgb8), cloud (30 000 points of
    22 bytes, as a Velodyne's), cloud_16 and cloud_32 (of 16 and 32 bytes), and scan (360 beams). For each: TYPE_messages_per_s,
    TYPE_mb_per_s, TYPE_rosbags_…, TYPE_mcap_ros2_…, ratio_vs_rosbags_TYPE, ratio_vs_mcap_ros2_TYPE; above 1 ours is
    faster. mcap_ros2_missing: why mcap-ros2-support was left out; its time includes opening the file, a millisecond or two.
    """
    report: dict[str, Any] = {}
    readers: dict[str, Callable[[Path, str], float]] = {"rosbags": _rosbags, "mcap_ros2": _mcap_ros2, "": _ours}
    try:
        import mcap_ros2.reader  # noqa: F401
    except ImportError as error:
        del readers["mcap_ros2"]
        report["mcap_ros2_missing"] = f"{error}: pip install mcap-ros2-support"
    for compressed in (False, True):
        for name in KINDS:
            progress(f"{name}{', zstd' if compressed else ''}")
            with tempfile.TemporaryDirectory(prefix="mm_nav_bench_") as folder:
                path, count, size = _write(Path(folder), name, compressed)
                rounds = _rounds(readers, path, seconds)
            report |= _figures(("zstd_" if compressed else "") + name, rounds, count, size)
    return report


def _rounds(readers: dict[str, Callable[[Path, str], float]], path: Path, seconds: float) -> dict[str, list[float]]:
    """Return the seconds that each reader took, one number a round, until the slowest has had its time."""
    took: dict[str, list[float]] = {reader: [] for reader in readers}
    kind = _kind(path.name)
    for done in range(_MAX_ROUNDS):
        if done >= _MIN_ROUNDS and max(map(sum, took.values())) >= seconds:
            break
        for reader, read in readers.items():
            took[reader].append(read(path, kind))
    return took


def _figures(name: str, rounds: dict[str, list[float]], count: int, size: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    ours = statistics.median(rounds[""])
    for reader, took in rounds.items():
        median = statistics.median(took)
        prefix = f"{name}_{reader}" if reader else name
        figures[f"{prefix}_messages_per_s"] = round(count / median, 1)
        figures[f"{prefix}_mb_per_s"] = round(1e-6 * count * size / median, 1)
        if reader:
            figures[f"ratio_vs_{reader}_{name}"] = round(median / ours, 3)
    figures[f"{name}_rounds"] = len(rounds[""])
    return figures


def _kind(name: str) -> str:
    return name.split("_")[0]


def _rosbags(path: Path, kind: str) -> float:
    with AnyReader([path]) as reader:
        wanted = [c for c in reader.connections if c.msgtype == _TYPES.get(kind, _CLOUD)]
        begun = time.perf_counter()
        for connection, _, raw in reader.messages(wanted):
            reader.deserialize(raw, connection.msgtype)
        return time.perf_counter() - begun


def _mcap_ros2(path: Path, kind: str) -> float:
    from mcap_ros2.reader import read_ros2_messages

    begun = time.perf_counter()
    for _ in read_ros2_messages(str(next(path.glob("*.mcap"))), topics=["/sensor"]):
        pass
    return time.perf_counter() - begun


def _ours(path: Path, kind: str) -> float:
    with BagReader(path) as reader:
        begun = time.perf_counter()
        for _ in reader.messages(kinds=(kind,)):
            pass
        return time.perf_counter() - begun


def _write(folder: Path, name: str, compressed: bool) -> tuple[Path, int, int]:
    """Write a recording of one sensor on a robot; return it, how many messages it has, and bytes of one."""
    kind = _kind(name)
    path = folder / name
    make = {"image": _image, "scan": _scan}.get(kind, _cloud)
    msgtype, count = _TYPES.get(kind, _CLOUD), _MESSAGES.get(kind, _CLOUDS)
    store, step = get_typestore(Stores.ROS2_HUMBLE), int(name.split("_")[1]) if "_" in name else 22
    rng = np.random.default_rng(0)
    several = [bytearray(store.serialize_cdr(make(store.types, rng, step), msgtype)) for _ in range(_DIFFERENT)]
    writer = Writer2(path, version=8, storage_plugin=StoragePlugin.MCAP)
    if compressed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        transforms = writer.add_connection("/tf_static", "tf2_msgs/msg/TFMessage", typestore=store)
        odometry = writer.add_connection("/odom", "nav_msgs/msg/Odometry", typestore=store)
        sensor = writer.add_connection("/sensor", msgtype, typestore=store)
        start = 1_700_000_000_000_000_000
        writer.write(transforms, start, store.serialize_cdr(_mount(store.types), "tf2_msgs/msg/TFMessage"))
        writer.write(odometry, start, store.serialize_cdr(_odometry(store.types), "nav_msgs/msg/Odometry"))
        for k in range(count):
            raw, stamp = several[k % _DIFFERENT], start + 10_000_000 * k
            raw[4:12] = np.array([stamp // 10**9, stamp % 10**9], "<u4").tobytes()
            writer.write(sensor, stamp, raw)
    return path, count, len(several[0])


def _header(types: Any, frame: str) -> Any:
    return types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1_700_000_000, 0), frame)


def _image(types: Any, rng: np.random.Generator, step: int) -> Any:
    # Smooth like a picture, with some noise, so that it compresses as one.
    ramp = np.add.outer(np.arange(_HEIGHT) / 4, np.arange(_WIDTH) / 4)[..., None] + np.array([0.0, 40.0, 80.0])
    pixels = np.clip(ramp % 256 + rng.normal(0, 2, (_HEIGHT, _WIDTH, 3)), 0, 255).astype(np.uint8)
    return types["sensor_msgs/msg/Image"](
        _header(types, "sensor"), _HEIGHT, _WIDTH, "rgb8", 0, 3 * _WIDTH, pixels.ravel()
    )


def _scan(types: Any, rng: np.random.Generator, step: int) -> Any:
    ranges = rng.uniform(0.2, 12, _BEAMS).astype(np.float32)
    strengths = rng.integers(0, 256, _BEAMS).astype(np.float32)
    return types["sensor_msgs/msg/LaserScan"](
        _header(types, "sensor"), -3.14, 3.14, 6.28 / _BEAMS, 0.0, 0.1, 0.1, 12.0, ranges, strengths
    )


def _cloud(types: Any, rng: np.random.Generator, step: int) -> Any:
    names, formats, offsets = ["x", "y", "z"], ["<f4"] * 3, [0, 4, 8]
    if step > 16:
        names, formats = [*names, "intensity", "ring", "time"], [*formats, "<f4", "<u2", "<f4"]
        offsets += [12, 16, 18] if step == 22 else [16, 20, 24]
    layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": step})
    points = np.zeros(_POINTS, layout)
    for name in names:
        points[name] = rng.integers(0, 16, _POINTS) if name == "ring" else rng.normal(0, 8, _POINTS)
    datatypes = {"<f4": 7, "<u2": 4}
    fields = [
        types["sensor_msgs/msg/PointField"](name, offset, datatypes[form], 1)
        for name, form, offset in zip(names, formats, offsets, strict=True)
    ]
    data = points.view(np.uint8).ravel()
    return types[_CLOUD](_header(types, "sensor"), 1, _POINTS, fields, False, step, step * _POINTS, data, True)


def _mount(types: Any) -> Any:
    vector, turn = types["geometry_msgs/msg/Vector3"](0.2, 0.0, 0.3), np.array([0.0, 0.0, np.sin(0.1), np.cos(0.1)])
    transform = types["geometry_msgs/msg/Transform"](vector, types["geometry_msgs/msg/Quaternion"](*map(float, turn)))
    return types["tf2_msgs/msg/TFMessage"](
        [types["geometry_msgs/msg/TransformStamped"](_header(types, "base_link"), "sensor", transform)]
    )


def _odometry(types: Any) -> Any:
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0), types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    still = types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    return types["nav_msgs/msg/Odometry"](
        _header(types, "odom"),
        "base_link",
        types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        types["geometry_msgs/msg/TwistWithCovariance"](types["geometry_msgs/msg/Twist"](still, still), np.zeros(36)),
    )
