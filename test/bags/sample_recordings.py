"""Small recordings in every container, for the tests that damage them. No test itself."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

START_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
STRING, SCAN, PICTURE = "std_msgs/msg/String", "sensor_msgs/msg/LaserScan", "sensor_msgs/msg/CompressedImage"
TOPICS = (("/words", STRING), ("/scan", SCAN), ("/camera/compressed", PICTURE))
STORES = {"cdr": get_typestore(Stores.ROS2_HUMBLE), "ros1": get_typestore(Stores.ROS1_NOETIC)}

# (topic, type, receive time in ns, serialised message)
Made = list[tuple[str, str, int, bytes]]


def made(count: int, encoding: str = "cdr", seed: int = 0, picture: int = 3000) -> Made:
    """Return messages on three topics, each at a time of its own."""
    rng, store = np.random.default_rng(seed), STORES[encoding]
    types, found = store.types, []
    for k in range(count):
        topic, msgtype = TOPICS[k % 3]
        receive = START_NS + STEP_NS * k
        stamp = types["builtin_interfaces/msg/Time"](*divmod(receive, 1_000_000_000))
        header = types["std_msgs/msg/Header"](
            stamp=stamp, frame_id="base", **({"seq": k} if encoding == "ros1" else {})
        )
        if msgtype == STRING:
            message = types[STRING](data="".join(chr(c) for c in rng.integers(97, 123, rng.integers(10, 200))))
        elif msgtype == SCAN:
            ranges = rng.uniform(0.2, 5, 60).astype(np.float32)
            message = types[SCAN](header, -3.0, 3.0, 0.1, 0.0, 0.1, 0.1, 8.0, ranges, np.zeros(0, np.float32))
        else:
            pixels = rng.integers(0, 256, rng.integers(picture // 2, picture + 1), np.uint8)
            message = types[PICTURE](header=header, format="png", data=pixels)
        serialize = store.serialize_ros1 if encoding == "ros1" else store.serialize_cdr
        found.append((topic, msgtype, receive, bytes(serialize(message, msgtype))))
    return found


def write_rosbag2(path: Path, messages: Made, storage: str = "mcap", compression: str = "") -> Path:
    """Write a rosbag2 folder. compression: "", "file", "message" or "storage"."""
    writer = Writer2(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        channels = {t: writer.add_connection(t, m, typestore=STORES["cdr"]) for t, m in dict.fromkeys(TOPICS)}
        for topic, _, receive, raw in messages:
            writer.write(channels[topic], receive, raw)
    return path


def write_ros1(path: Path, messages: Made, compression: str = "", chunk: int = 20_000) -> Path:
    """Write a ROS 1 bag. compression: "", "bz2" or "lz4"."""
    writer = Writer1(path)
    writer.chunk_threshold = chunk
    if compression:
        writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    with writer:
        channels = {t: writer.add_connection(t, m, typestore=STORES["ros1"]) for t, m in TOPICS}
        for topic, _, receive, raw in messages:
            writer.write(channels[topic], receive, raw)
    return path


def write_mcap(path: Path, messages: Made, compression: str = "NONE", encoding: str = "cdr", **options) -> Path:
    """Write an MCAP file as other recorders do: small chunks, checksums."""
    stream = io.BytesIO()
    writer = McapWriter(stream, **{"chunk_size": 20_000, "compression": CompressionType[compression], **options})
    writer.start(profile="ros1" if encoding == "ros1" else "ros2")
    channels = {}
    for topic, msgtype in TOPICS:
        text, _ = STORES[encoding].generate_msgdef(msgtype, ros_version=1 if encoding == "ros1" else 2)
        name = msgtype.replace("/msg/", "/") if encoding == "ros1" else msgtype
        schema = writer.register_schema(name, "ros1msg" if encoding == "ros1" else "ros2msg", text.encode())
        channels[topic] = writer.register_channel(topic, encoding, schema)
    for k, (topic, _, receive, raw) in enumerate(messages):
        writer.add_message(channels[topic], receive, raw, receive, k)
    writer.finish()
    path.write_bytes(stream.getvalue())
    return path


def storage_file(path: Path) -> Path:
    """Return the file that holds a recording's messages."""
    return path if path.is_file() else next(f for f in sorted(path.iterdir()) if f.suffix != ".yaml")


# name -> (encoding, writes path without suffix, returns what to open)
CONTAINERS = {
    "mcap": ("cdr", lambda p, m: write_rosbag2(p, m)),
    "mcap-zstd": ("cdr", lambda p, m: write_rosbag2(p, m, compression="storage")),
    "mcap-message": ("cdr", lambda p, m: write_rosbag2(p, m, compression="message")),
    "mcap-file": ("cdr", lambda p, m: write_rosbag2(p, m, compression="file")),
    "mcap-crc": ("cdr", lambda p, m: write_mcap(p.with_suffix(".mcap"), m)),
    "mcap-plain": ("cdr", lambda p, m: write_mcap(p.with_suffix(".mcap"), m, enable_crcs=False)),
    "mcap-zstd-crc": ("cdr", lambda p, m: write_mcap(p.with_suffix(".mcap"), m, "ZSTD")),
    "mcap-lz4": ("cdr", lambda p, m: write_mcap(p.with_suffix(".mcap"), m, "LZ4")),
    "mcap-bare": ("cdr", lambda p, m: write_mcap(p.with_suffix(".mcap"), m, use_chunking=False)),
    "mcap-lone": (
        "cdr",
        lambda p, m: write_mcap(p.with_suffix(".mcap"), m, repeat_channels=False, repeat_schemas=False),
    ),
    "mcap-ros1": ("ros1", lambda p, m: write_mcap(p.with_suffix(".mcap"), m, "ZSTD", "ros1")),
    "sqlite3": ("cdr", lambda p, m: write_rosbag2(p, m, "sqlite3")),
    "sqlite3-message": ("cdr", lambda p, m: write_rosbag2(p, m, "sqlite3", "message")),
    "sqlite3-file": ("cdr", lambda p, m: write_rosbag2(p, m, "sqlite3", "file")),
    "ros1": ("ros1", lambda p, m: write_ros1(p.with_suffix(".bag"), m)),
    "ros1-bz2": ("ros1", lambda p, m: write_ros1(p.with_suffix(".bag"), m, "bz2")),
    "ros1-lz4": ("ros1", lambda p, m: write_ros1(p.with_suffix(".bag"), m, "lz4")),
}


def write(path: Path, container: str, count: int, **options) -> tuple[Path, Made]:
    """Write a recording; return what to open, and what is in it."""
    encoding, writer = CONTAINERS[container]
    messages = made(count, encoding, **options)
    return writer(path, messages), messages


def read(recording, *args) -> Made:
    """Return all messages of an open recording."""
    return [
        (channel.topic, channel.msgtype, receive, bytes(raw)) for channel, receive, raw in recording.messages(*args)
    ]


def replace_bytes(file: Path, data: bytes) -> None:
    """Write a file anew, without a trace of the old one."""
    os.unlink(file)
    file.write_bytes(data)
