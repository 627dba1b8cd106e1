"""Recordings that are written in chunks: what other readers see of them, and what is left when the writer is killed."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import yaml
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Message, MessageIndex, Schema
from mcap.stream_reader import StreamReader
from mcap_ros2.reader import read_ros2_messages
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mm_nav.bags.containers import open_recording
from mm_nav.bags.definitions import message_definition
from mm_nav.bags.mcap_log import COMPRESSIONS, LogConfig, McapLog
from mm_nav.bags.rosbag2_log import Rosbag2Log, TopicInfo
from mm_nav.errors import BagError, ConfigError

STORE = get_typestore(Stores.ROS2_HUMBLE)
STRING = "std_msgs/msg/String"
QOS = """- history: 3
  depth: 0
  reliability: 1
  durability: 2
  deadline: {sec: 9223372036, nsec: 854775807}
  lifespan: {sec: 9223372036, nsec: 854775807}
  liveliness: 1
  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}
  avoid_ros_namespace_conventions: false
"""


def text(words):
    return bytes(STORE.serialize_cdr(STORE.types[STRING](data=words), STRING))


def topic(name="/words"):
    return TopicInfo(name, STRING, message_definition(STRING), QOS, STORE.hash_rihs01(STRING))


def read(path):
    with AnyReader([path], default_typestore=STORE) as reader:
        return [(c.topic, t, reader.deserialize(raw, c.msgtype).data) for c, t, raw in reader.messages()]


def salvaged(path):
    """What a sequential reader gets of a file until it fails."""
    found = []
    try:
        for record in StreamReader(str(path), validate_crcs=True).records:
            if isinstance(record, Message):
                found.append(bytes(record.data))
    except (McapError, OSError, Exception):
        pass
    return found


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_others_read_it(tmp_path, compression):
    folder = tmp_path / "drive"
    with Rosbag2Log(folder, LogConfig(compression, chunk_bytes=4096)) as log:
        numbers = [log.add_topic(topic(name)) for name in ("/words", "/more")]
        for k in range(400):
            log.write(numbers[k % 2], 1_000_000_000 + k, text(f"{k} " * 20), 500_000_000 + k, k)
    expected = [("/words" if k % 2 == 0 else "/more", 1_000_000_000 + k, f"{k} " * 20) for k in range(400)]
    assert read(folder) == read(folder / "drive_0.mcap") == expected
    (path,) = folder.glob("*.mcap")
    messages = list(read_ros2_messages(str(path)))
    assert [m.ros_msg.data for m in messages] == [words for _, _, words in expected]
    assert messages[7].publish_time_ns == 500_000_007 and messages[7].sequence_count == 7
    records = list(StreamReader(str(path), emit_chunks=True, validate_crcs=True).records)
    chunks = [r for r in records if isinstance(r, Chunk)]
    assert len(chunks) > 5 and chunks[0].compression == ("" if compression == "none" else compression)
    assert sum(len(r.records) for r in records if isinstance(r, MessageIndex)) == 400


def test_the_index_leads_to_the_messages(tmp_path):
    from mcap.reader import SeekingReader

    path = tmp_path / "a.mcap"
    log = McapLog(path, LogConfig(chunk_bytes=500))
    channels = [log.add_channel(name, log.add_schema(STRING, "ros2msg", b"string data\n"), {}) for name in "ab"]
    for k in range(50):
        log.add_message(channels[k % 2], 10 * k, text(f"{k}"))
    log.close()
    with path.open("rb") as stream:
        reader = SeekingReader(stream, validate_crcs=True)
        found = [m.log_time for _, _, m in reader.iter_messages(topics=["b"], start_time=200, end_time=300)]
        summary = reader.get_summary()
    assert found == [210, 230, 250, 270, 290]
    data = path.read_bytes()
    for index in summary.chunk_indexes:
        assert data[index.chunk_start_offset] == 6 and len(index.message_index_offsets) == 2
        assert all((data[at], data[at + 9]) == (7, channel) for channel, at in index.message_index_offsets.items())
    assert summary.statistics.channel_message_counts == {1: 25, 2: 25} and len(summary.chunk_indexes) > 3
    assert (summary.statistics.message_start_time, summary.statistics.message_end_time) == (0, 490)


def test_metadata_is_rosbag2s(tmp_path):
    folder = tmp_path / "drive"
    with Rosbag2Log(folder) as log:
        number = log.add_topic(topic())
        silent = log.add_topic(topic("/silent"))
        log.custom["goal"] = "go home"
        for k in range(3):
            log.write(number, 100 + k, text("a"))
    data = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert data["storage_identifier"] == "mcap" and data["relative_file_paths"] == ["drive_0.mcap"]
    assert data["message_count"] == 3 and data["duration"] == {"nanoseconds": 2} and data["version"] == 8
    words, other = data["topics_with_message_count"]
    assert words["message_count"] == 3 and other["message_count"] == 0 and silent == 1
    assert words["topic_metadata"]["type_description_hash"].startswith("RIHS01_")
    assert yaml.safe_load(words["topic_metadata"]["offered_qos_profiles"])[0]["reliability"] == 1
    assert data["custom_data"] == {"goal": "go home"}
    with AnyReader([folder], default_typestore=STORE) as reader:
        assert reader.connections[0].ext.offered_qos_profiles[0].reliability.name == "RELIABLE"


def test_splitting(tmp_path):
    folder = tmp_path / "drive"
    with Rosbag2Log(folder, LogConfig(chunk_bytes=1000), max_bytes=20_000) as log:
        number = log.add_topic(topic())
        for k in range(100):
            log.write(number, k, text(f"{k:01000}"))
        files = log.files
    assert len(files) > 4 and [f.name for f in files[:2]] == ["drive_0.mcap", "drive_1.mcap"]
    assert all(f.stat().st_size < 30_000 for f in files)
    assert [int(words) for _, _, words in read(folder)] == list(range(100))
    assert [int(words) for _, _, words in read(files[2])]  # each can be read by itself


KILLED = """
import sys, time
from pathlib import Path
from mm_nav.bags.rosbag2_log import Rosbag2Log, TopicInfo
from mm_nav.bags.mcap_log import LogConfig
from mm_nav.bags.definitions import message_definition
log = Rosbag2Log(Path(sys.argv[1]), LogConfig(sys.argv[2], chunk_s=0.1))
number = log.add_topic(TopicInfo("/words", "std_msgs/msg/String", message_definition("std_msgs/msg/String")))
for k in range(10_000):
    text = f"{k}".encode() + bytes(1)
    log.write(number, k, bytes((0, 1, 0, 0)) + len(text).to_bytes(4, "little") + text)
    print(k, log.bytes_written, flush=True)
    time.sleep(0.005)
"""


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_killed_recorder_loses_its_last_moment_only(tmp_path, compression):
    folder = tmp_path / "drive"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), compression], stdout=subprocess.PIPE, text=True
    )
    try:
        written = [tuple(map(int, process.stdout.readline().split())) for _ in range(150)]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    rest = [tuple(map(int, line.split())) for line in process.stdout.read().splitlines() if len(line.split()) == 2]
    lines = written + rest
    assert not (folder / "metadata.yaml").exists()
    # All that was there when the newest chunk was closed.
    last = lines[-1][1]
    safe = next(k for k, size in lines if size == last)
    found = salvaged(folder / "drive_0.mcap")
    assert safe > 20 and len(found) >= safe
    assert [int(STORE.deserialize_cdr(raw, STRING).data) for raw in found] == list(range(len(found)))
    # And so does ours, given the folder that has no metadata.yaml.
    recording = open_recording(folder)
    assert [bytes(raw) for _, _, raw in recording.messages()] == found
    recording.close()


def test_old_chunks_are_handed_on(tmp_path):
    now = [0.0]
    log = McapLog(tmp_path / "a.mcap", LogConfig(), clock=lambda: now[0])
    channel = log.add_channel("a", 0, {})
    log.add_message(channel, 1, b"12345")
    log.poll()
    assert not salvaged(log.path)
    now[0] = 0.6
    log.poll()
    assert salvaged(log.path) == [b"12345"] and log.message_count == 1
    log.abandon()


def test_definitions_come_again(tmp_path):
    """A file whose beginning is lost can still be read, from where they do."""
    path = tmp_path / "a.mcap"
    log = McapLog(path, LogConfig(chunk_bytes=64))
    channel = log.add_channel("a", log.add_schema(STRING, "ros2msg", b"string data\n"), {})
    at = 0
    for k in range(100):
        log.add_message(channel, k, bytes(100))
        at = log.bytes_written if k == 9 else at
    log.close()
    late = io.BytesIO(path.read_bytes()[at:])
    records = list(StreamReader(late, skip_magic=True, emit_chunks=True).records)
    chunks = [r for r in records if isinstance(r, Chunk)]
    again = [k for k, c in enumerate(chunks) if c.data[0] == 3]
    assert len(chunks) == 90 and again[0] == 22 and len(again) == 3
    both = list(StreamReader(io.BytesIO(path.read_bytes()), validate_crcs=True).records)
    assert sum(isinstance(r, Schema) for r in both) == sum(isinstance(r, Channel) for r in both) > 4


def test_what_exists_is_not_touched(tmp_path):
    folder = tmp_path / "drive"
    folder.mkdir()
    with pytest.raises(BagError, match="exists already"):
        Rosbag2Log(folder)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BagError, match="file"):
        Rosbag2Log(tmp_path / "file" / "drive")
    with pytest.raises(BagError, match="exists already"):
        McapLog(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ConfigError, match="bz2"):
        LogConfig("bz2")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BagError, match="may write"):
        Rosbag2Log(tmp_path / "drive")


def test_a_full_disk_leaves_what_is_there_readable(tmp_path):
    """The limit on the size of files stands for the disk."""
    folder = tmp_path / "drive"
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with (
            pytest.raises(BagError, match=r"\d\d messages"),
            Rosbag2Log(folder, LogConfig(chunk_bytes=30_000)) as log,
        ):
            number = log.add_topic(topic())
            for k in range(1000):
                log.write(number, k, text(f"{k:0960}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    found = [int(words) for _, _, words in read(folder)]
    assert found == list(range(len(found))) and len(found) > 85


def test_recording_costs_little(tmp_path):
    """No figure is asserted; a picture must not be copied for nothing, nor held back."""
    picture = bytes(921_600)
    with Rosbag2Log(tmp_path / "drive") as log:
        number = log.add_topic(topic("/image"))
        began = time.perf_counter()
        for k in range(20):
            log.write(number, k, picture)
        assert log.bytes_written > 8 * len(picture)
    print(f"{20 / (time.perf_counter() - began):.0f} pictures/s")


@pytest.mark.parametrize(
    "msgtype", ["nav_msgs/msg/Odometry", "visualization_msgs/msg/MarkerArray", "sensor_msgs/msg/PointCloud2"]
)
def test_definitions_are_whole(msgtype):
    # From the installed files where there are some, else from the library: both must hash to the type's own hash.
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(message_definition(msgtype), msgtype))
    assert store.hash_rihs01(msgtype) == get_typestore(Stores.ROS2_JAZZY).hash_rihs01(msgtype)
    assert message_definition(msgtype, prefixes=()) and not message_definition("no_msgs/msg/Such")


def test_definitions_of_ones_own(tmp_path):
    folder = tmp_path / "share" / "my_msgs" / "msg"
    folder.mkdir(parents=True)
    (folder / "A.msg").write_text("# B[] not\nB[<=3] b  # C c\nstring<=8 s\nuint8 X=3\nother_msgs/D d\n")
    (folder / "B.msg").write_text("float64[9] k\n")
    assert message_definition("my_msgs/msg/A", [tmp_path]) == ""
    other = tmp_path / "share" / "other_msgs" / "msg"
    other.mkdir(parents=True)
    (other / "D.msg").write_text("bool a")
    from mm_nav.bags import definitions

    definitions._installed.cache_clear()
    found = message_definition("my_msgs/msg/A", [tmp_path])
    assert [line for line in found.splitlines() if line.startswith("MSG")] == ["MSG: my_msgs/B", "MSG: other_msgs/D"]
