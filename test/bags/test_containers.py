"""Sound recordings of every container, folder and file name; and what is no recording."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer

from mm_nav.bags.containers import find_recordings, open_recording
from mm_nav.errors import BagError

sys.path.insert(0, str(Path(__file__).parent))

from sample_recordings import (
    CONTAINERS,
    SCAN,
    START_NS,
    STEP_NS,
    STORES,
    made,
    read,
    storage_file,
    write,
    write_mcap,
    write_ros1,
    write_rosbag2,
)


@pytest.mark.parametrize("container", CONTAINERS)
def test_all_messages_arrive_in_order(tmp_path, container):
    path, messages = write(tmp_path / "drive", container, 90)
    for opened in (path, storage_file(path)):
        recording = open_recording(opened)
        assert read(recording) == messages
        assert recording.damage == []
        assert (recording.start_ns, recording.end_ns) == (START_NS, START_NS + 89 * STEP_NS)
        assert recording.message_count == 90
        assert {(c.topic, c.count) for c in recording.channels} == {(t, 30) for t in {m[0] for m in messages}}
        assert {c.encoding for c in recording.channels} == {CONTAINERS[container][0]}
        recording.close()


@pytest.mark.parametrize("container", ["mcap", "mcap-zstd", "sqlite3", "ros1", "ros1-lz4"])
def test_the_same_as_rosbags_reads(tmp_path, container):
    path, messages = write(tmp_path / "drive", container, 60)
    # Times that are equal, and that are out of order.
    writer = CONTAINERS[container][1]
    shuffled = [
        (t, m, START_NS + (r - START_NS) // 40_000_000 * 40_000_000 % 130_000_000, raw) for t, m, r, raw in messages
    ]
    other = writer(tmp_path / "other", shuffled)
    for p in (path, other):
        recording = open_recording(p)
        with AnyReader([p]) as reader:
            want = [(c.topic, c.msgtype, receive, bytes(raw)) for c, receive, raw in reader.messages()]
            found = read(recording)
            assert [m[2] for m in found] == [m[2] for m in want]
            # Among equal times rosbags orders ROS 1 messages by topic; here they stay as they were recorded.
            assert sorted(found) == sorted(want) if container.startswith("ros1") else found == want
            wanted = [c for c in recording.channels if c.topic == "/scan"]
            connections = [c for c in reader.connections if c.topic == "/scan"]
            begin, end = START_NS + 40_000_000, START_NS + 120_000_000
            part = [(c.topic, c.msgtype, r, bytes(raw)) for c, r, raw in reader.messages(connections, begin, end)]
            assert read(recording, wanted, begin, end) == part
            assert part
        recording.close()


@pytest.mark.parametrize("container", ["mcap", "sqlite3", "ros1", "mcap-ros1"])
def test_messages_become_objects(tmp_path, container):
    path, _ = write(tmp_path / "drive", container, 6)
    recording = open_recording(path)
    for channel, _, raw in recording.messages():
        message = recording.deserialize(raw, channel.msgtype, channel.encoding)
        if channel.msgtype == SCAN:
            assert len(message.ranges) == 60
        with pytest.raises(BagError, match=channel.msgtype):
            recording.deserialize(raw[:9], channel.msgtype, channel.encoding)


def test_types_of_the_recording_and_unknown_ones(tmp_path):
    from mcap.writer import Writer as McapWriter

    path = tmp_path / "own.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        own = writer.register_schema("my_msgs/msg/Own", "ros2msg", b"uint8 level\nmy_msgs/Part part\n" + b"=" * 80
                                     + b"\nMSG: my_msgs/Part\nuint8 x\n")  # fmt: skip
        unknown = writer.register_schema("my_msgs/msg/Unknown", "ros2msg", b"")
        for name, schema, encoding in (("/own", own, "cdr"), ("/unknown", unknown, "cdr"), ("/json", own, "json")):
            channel = writer.register_channel(name, encoding, schema)
            writer.add_message(channel, START_NS, b"\0\1\0\0\7\5", START_NS)
        writer.finish()
    recording = open_recording(path)
    ((channel, _, raw),) = recording.messages()
    message = recording.deserialize(raw, channel.msgtype, channel.encoding)
    assert (channel.topic, message.level, message.part.x) == ("/own", 7, 5)
    assert any("/unknown" in w and "my_msgs/msg/Unknown" in w and str(path) in w for w in recording.damage)
    assert any("/json" in w and "'json'" in w for w in recording.damage)


def test_sqlite_without_definitions_has_the_standard_types(tmp_path):
    path, messages = write(tmp_path / "drive", "sqlite3", 9)
    with sqlite3.connect(storage_file(path)) as database:
        database.execute("DROP TABLE message_definitions")
        database.execute("DROP TABLE schema")
    recording = open_recording(path)
    assert read(recording) == messages
    channel, _, raw = next(m for m in recording.messages() if m[0].msgtype == SCAN)
    assert len(recording.deserialize(raw, channel.msgtype, channel.encoding).ranges) == 60


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_split_recording_in_a_folder(tmp_path, storage):
    messages, folder = made(90), tmp_path / "split"
    suffix = {"mcap": ".mcap", "sqlite3": ".db3"}[storage]
    folder.mkdir()
    names = []
    for k in range(11):  # split_10 comes after split_9, not after split_1
        one = write_rosbag2(tmp_path / f"part{k}", messages[8 * k : 8 * k + 8 if k < 10 else None], storage)
        names.append(f"split_{k}{suffix}")
        os.rename(storage_file(one), folder / names[-1])
    assert find_recordings([folder]) == [[folder / name for name in names]]
    assert read(open_recording(folder)) == messages
    metadata = folder / "metadata.yaml"
    metadata.write_text(f"rosbag2_bagfile_information:\n  relative_file_paths: [{', '.join(names)}]\n")
    assert find_recordings([folder]) == [folder]
    recording = open_recording(folder)
    assert read(recording) == messages
    assert recording.damage == []
    # Whatever metadata.yaml says: what is there is used.
    metadata.write_text(f"rosbag2_bagfile_information:\n  relative_file_paths: [gone{suffix}, {names[0]}]\n")
    recording = open_recording(folder)
    assert read(recording) == messages
    assert any("gone" in w for w in recording.damage) and any(names[5] in w for w in recording.damage)
    for text in (
        "rosbag2_bagfile_information: [",
        "",
        "a: 1",
        "\0\1",
        "rosbag2_bagfile_information: {relative_file_paths: 3}",
    ):
        metadata.write_text(text)
        recording = open_recording(folder)
        assert read(recording) == messages
        assert any("metadata.yaml" in w for w in recording.damage)
    (folder / names[3]).write_bytes(b"")
    recording = open_recording(folder)
    assert read(recording) == messages[:24] + messages[32:]
    assert any(names[3] in w and "empty" in w for w in recording.damage)


def test_split_ros1_bags_with_dates(tmp_path):
    messages = made(60, "ros1")
    parts = [
        write_ros1(tmp_path / f"lab_2024-05-01-10-{m:02}-00_{n}.bag", messages[10 * k : 10 * k + 10])
        for k, (m, n) in enumerate(((0, 0), (5, 1), (10, 2), (30, 0), (35, 1), (50, 0)))
    ]
    assert find_recordings([tmp_path]) == [parts[:3], parts[3:5], parts[5]]
    assert read(open_recording(parts[:3])) == messages[:30]
    with pytest.raises(BagError, match="holds 3 recordings"):
        open_recording(tmp_path)


def test_folders_of_several_recordings(tmp_path):
    write(tmp_path / "a", "mcap", 6)
    write(tmp_path / "b", "sqlite3", 6)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "deep" / "er" / "c", "ros1", 6)
    os.symlink(tmp_path, tmp_path / "deep" / "loop")
    (tmp_path / "notes.txt").write_text("nothing")
    found = find_recordings([tmp_path])
    assert found == [tmp_path / "a", tmp_path / "b", tmp_path / "deep" / "er" / "c.bag"]
    assert find_recordings([tmp_path / "a", storage_file(tmp_path / "b")]) == [
        tmp_path / "a",
        storage_file(tmp_path / "b"),
    ]


def test_a_folder_named_as_a_file_and_files_named_as_others(tmp_path):
    path, messages = write(tmp_path / "x.bag", "mcap", 9)
    os.rename(storage_file(tmp_path / "x.bag"), tmp_path / "inner")
    (path / "metadata.yaml").unlink()
    os.rename(tmp_path / "inner", path / "y.mcap")
    assert read(open_recording(path)) == messages
    os.rename(path / "y.mcap", path / "z.bag.active")
    assert read(open_recording(path)) == messages
    active, messages = write(tmp_path / "drive", "ros1", 9)
    os.rename(active, tmp_path / "drive.bag.active")
    assert read(open_recording(tmp_path / "drive.bag.active")) == messages


def test_recordings_that_overlap_in_time_are_merged(tmp_path):
    messages = made(60)
    files = [
        write_mcap(tmp_path / f"cameras_{k}.mcap", [m for n, m in enumerate(messages) if n % 2 == k]) for k in range(2)
    ]
    assert read(open_recording(files)) == messages


def test_sqlite_with_a_write_ahead_log(tmp_path):
    path, messages = write(tmp_path / "drive", "sqlite3", 9)
    file = storage_file(path)
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    begin = messages[-1][2]
    for k in range(30):
        raw = b"\0\1\0\0\5\0\0\0more\0" + bytes(5000)
        database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", (begin + 1 + k, raw))
        messages.append(("/words", messages[0][1], begin + 1 + k, raw))
        database.commit()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (file.name, file.name + "-wal"):
        (copy / name).write_bytes((file.parent / name).read_bytes())
    before = sorted(copy.iterdir())
    recording = open_recording(copy)
    assert read(recording) == messages
    assert recording.damage == []
    assert sorted(copy.iterdir()) == before
    database.close()


def test_what_is_no_recording(tmp_path):
    (tmp_path / "text.mcap").write_text("this is no recording " * 50)
    (tmp_path / "text.db3").write_text("this is no recording " * 50)
    (tmp_path / "text.bag").write_text("this is no recording " * 50)
    (tmp_path / "picture.png").write_bytes(bytes(100))
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "metadata.yaml").write_text("rosbag2_bagfile_information: {relative_file_paths: [a.db3]}")
    for name, words in (
        ("none.bag", "does not exist"),
        ("text.mcap", "cannot be read"),
        ("text.db3", "cannot be read"),
        ("text.bag", "cannot be read"),
        ("picture.png", "no recording"),
        ("empty.mcap", "empty"),
        ("folder", "no recording"),
        ("named", "no recording"),
    ):
        with pytest.raises(BagError, match=words) as caught:
            open_recording(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(BagError, match="no recording given"):
        open_recording([])
    with Writer(tmp_path / "silent", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/scan", SCAN, typestore=STORES["cdr"])
    with pytest.raises(BagError, match="no messages"):
        open_recording(tmp_path / "silent")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path):
    path, _ = write(tmp_path / "drive", "ros1", 3)
    path.chmod(0)
    with pytest.raises(BagError, match="Permission denied"):
        open_recording(path)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_disk_that_fails_is_a_warning(tmp_path, monkeypatch, indexed):
    path, messages = write(tmp_path / "drive", "mcap-crc", 90)
    recording = open_recording(path)
    if not indexed:
        path.write_bytes(path.read_bytes()[:-8])
    real, bad = os.pread, path.read_bytes().find(messages[45][3])

    def pread(fd, length, offset):
        if offset <= bad < offset + length:
            raise OSError(5, "Input/output error")
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    recording = recording if indexed else open_recording(path)
    found = read(recording)
    assert set(found) < set(messages) and len(found) > (60 if indexed else 20)
    assert any("Input/output error" in w for w in recording.damage)
