"""The short way through an MCAP file gives what the library gives."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, ReaderError, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mm_nav.bags.mcap_chunks import chunk_messages, read_in_chunks

STORE = get_typestore(Stores.ROS2_HUMBLE)
STRING = "std_msgs/msg/String"


def write(path, zstd=False, count=300, size=20000, seed=0):
    """Several chunks, and times that go back within a chunk and from one to the next."""
    rng = np.random.default_rng(seed)
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    if zstd:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        topics = [writer.add_connection(name, STRING, typestore=STORE) for name in ("/a", "/b", "/rare")]
        for k in range(count):
            message = STORE.types[STRING](chr(97 + k % 26) * int(rng.integers(1, 2 * size)))
            time = k * 1000 + int(rng.integers(-90_000, 90_000)) + 10**6
            topic = 2 if k == 250 else k % 2
            writer.write(topics[topic], time, STORE.serialize_cdr(message, STRING))


def both(path, topics=None, **span):
    """What the library gives, and what the short way gives."""
    found = []
    for short in (False, True):
        with AnyReader([path]) as reader:
            if short:
                read_in_chunks(reader.connections)
            wanted = [c for c in reader.connections if topics is None or c.topic in topics]
            found.append([(c.topic, time, bytes(raw)) for c, time, raw in reader.messages(wanted, **span)])
    return found


@pytest.mark.parametrize("zstd", [False, True])
def test_order_and_bytes_are_the_librarys(tmp_path, zstd):
    write(tmp_path / "bag", zstd)
    long, short = both(tmp_path / "bag")
    assert len(long) == 300 and short == long
    assert [time for _, time, _ in short] == sorted(time for _, time, _ in short)


def test_topics_and_times_are_selected_as_the_library_does(tmp_path):
    write(tmp_path / "bag")
    for topics, span in (({"/a"}, {}), ({"/rare"}, {}), (None, {"start": 10**6 + 50_000, "stop": 10**6 + 200_000})):
        long, short = both(tmp_path / "bag", topics, **span)
        assert short == long and 0 < len(short) < 300


def test_chunks_without_the_topic_are_not_read(tmp_path):
    write(tmp_path / "bag")
    (file,) = (tmp_path / "bag").glob("*.mcap")
    with AnyReader([file]) as reader:
        (storage,) = {id(c.owner): c.owner for c in reader.connections}.values()
        rare = [c for c in reader.connections if c.topic == "/rare"]
        assert len(storage.chunks) > 3
        before = storage.bio.tell()
        (message,) = chunk_messages(storage, rare)
        holding = next(c for c in storage.chunks if any(c.channel_count.get(x.id) for x in rare))
        assert message[0].topic == "/rare" and before != storage.bio.tell()
        assert storage.bio.tell() < holding.chunk_start_offset + holding.chunk_length + 1


def test_damage_comes_after_all_that_lies_before_it(tmp_path):
    write(tmp_path / "bag")
    (file,) = (tmp_path / "bag").glob("*.mcap")
    with AnyReader([file]) as reader:
        chunks = sorted(next(iter(reader.connections)).owner.chunks, key=lambda c: c.message_start_time)
    data = bytearray(file.read_bytes())
    at = chunks[2].chunk_start_offset
    data[at + 50 : at + 58] = bytes([255]) * 8  # the length of its first record
    file.write_bytes(data)
    got = []
    with AnyReader([file]) as reader:
        read_in_chunks(reader.connections)
        with pytest.raises(ReaderError):
            got.extend(time for _, time, _ in reader.messages())
    assert got and max(got) < chunks[2].message_start_time


def test_a_chunk_that_is_cut_is_refused(tmp_path):
    write(tmp_path / "bag")
    (file,) = (tmp_path / "bag").glob("*.mcap")
    with AnyReader([file]) as reader:
        (storage,) = {id(c.owner): c.owner for c in reader.connections}.values()
        file.open("r+b").truncate(storage.chunks[0].chunk_start_offset + 1000)
        with pytest.raises(ReaderError, match="Truncated"):
            list(chunk_messages(storage, reader.connections))
