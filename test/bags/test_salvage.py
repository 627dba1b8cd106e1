"""Damaged recordings: what lies before the damage arrives, and what lies behind it, byte by byte as it was written."""

from __future__ import annotations

import bz2
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.rosbag1 import Reader as Reader1

from mm_nav.bags import blocks
from mm_nav.bags.containers import open_recording
from mm_nav.errors import BagError

sys.path.insert(0, str(Path(__file__).parent))

from sample_recordings import read, replace_bytes, storage_file, write

COUNT = 240
PLAIN = ["mcap-plain", "mcap-bare", "ros1"]
CHUNKED = ["mcap-crc", "mcap-zstd-crc", "mcap-lz4", "mcap-lone", "mcap-ros1", "ros1-bz2", "ros1-lz4"]
SQLITE = ["sqlite3", "sqlite3-message"]


def spans(file, messages, container):
    """Return the bytes that each message needs: its chunk, or its record where chunks are plain."""
    data = file.read_bytes()
    if file.suffix == ".bag":
        with Reader1(file) as reader:
            chunks = [
                (pos, c.datapos + c.datasize, reader.chunk_infos[k]) for k, (pos, c) in enumerate(reader.chunks.items())
            ]
        parts = [(begin, end, info.start_time, info.end_time - 1) for begin, end, info in chunks]
    elif file.suffix == ".mcap":
        with file.open("rb") as stream:
            summary = make_reader(stream).get_summary()
        parts = [
            (c.chunk_start_offset, c.chunk_start_offset + c.chunk_length, c.message_start_time, c.message_end_time)
            for c in summary.chunk_indexes
        ]
    else:
        parts = []
    found = []
    for message in messages:
        if container in PLAIN:
            at = data.find(message[3])
            found.append((at - 50, at + len(message[3])))
        else:
            found.append(next((b, e) for b, e, first, last in parts if first <= message[2] <= last))
    return found


def opened(path):
    try:
        recording = open_recording(path)
    except BagError as error:
        assert str(path) in str(error)
        return [], [str(error)]
    found = read(recording)
    recording.close()
    assert recording.message_count == len(found) or recording.damage
    return found, recording.damage


def untouched(messages, where, *damaged):
    return [
        m for m, (b, e) in zip(messages, where, strict=True) if not any(b < end and begin < e for begin, end in damaged)
    ]


@pytest.fixture(params=PLAIN + CHUNKED)
def sample(request, tmp_path):
    path, messages = write(tmp_path / "drive", request.param, COUNT)
    file = storage_file(path)
    return file, messages, spans(file, messages, request.param), request.param


def test_cut_anywhere(sample):
    file, messages, where, _ = sample
    data = file.read_bytes()
    for share in (0.2, 0.5, 0.77, 0.9, 0.999):
        cut = int(len(data) * share)
        replace_bytes(file, data[:cut])
        found, damage = opened(file)
        whole = untouched(messages, where, (cut, len(data)))
        assert found[: len(whole)] == whole, share
        assert set(found) <= set(messages) and len(set(found)) == len(found)
        assert any(str(file) in w for w in damage), share
        assert len(whole) > 20


def test_the_cut_chunk_gives_what_it_has(tmp_path):
    for container in ("mcap-crc", "ros1"):
        path, messages = write(tmp_path / container, container, COUNT)
        data = path.read_bytes()
        at = data.find(messages[200][3])
        replace_bytes(path, data[: at + 5])
        assert opened(path)[0] == messages[:200]
    path, messages = write(tmp_path / "x", "ros1-bz2", 10)  # bz2 gives whole blocks only, and these are one
    data = path.read_bytes()
    replace_bytes(path, data[:-1500])
    assert set(opened(path)[0]) <= set(messages)


def test_without_an_end(tmp_path):
    """As a recorder leaves a file when it is killed."""
    for container in ("mcap-crc", "mcap-lz4", "mcap-bare", "mcap-lone", "mcap-ros1"):
        path, messages = write(tmp_path / container, container, COUNT)
        data = path.read_bytes()
        with path.open("rb") as stream:
            start = make_reader(stream).get_summary()
            end = max((c.chunk_start_offset + c.chunk_length for c in start.chunk_indexes), default=0)
        end = end or data.rfind(messages[-1][3]) + len(messages[-1][3])
        replace_bytes(path, data[:end])
        found, damage = opened(path)
        assert found == messages
        assert any("no end" in w for w in damage)
    for container in ("ros1", "ros1-bz2", "ros1-lz4"):
        path, messages = write(tmp_path / container, container, COUNT)
        data = path.read_bytes()
        with Reader1(path) as reader:
            header = data.index(b"index_pos=") + 10
            index = int.from_bytes(data[header : header + 8], "little")
            assert reader.message_count == COUNT
        replace_bytes(path, data[:header] + bytes(8) + data[header + 8 : index])
        found, damage = opened(path)
        assert found == messages
        assert any("no index" in w for w in damage)


@pytest.mark.parametrize("length", [1, 8, 300, 30_000])
def test_overwritten_bytes(sample, length):
    file, messages, where, container = sample
    data = file.read_bytes()
    rng = np.random.default_rng(length)
    begin = where[0][1]  # definitions lie before it
    for trial in range(4):
        at = int(rng.integers(begin, len(data) - 2 * length - 3000))
        noise = bytes(rng.integers(0, 256, length, np.uint8) ^ np.frombuffer(data[at : at + length], np.uint8) | 1)
        noise = bytes(a ^ b for a, b in zip(data[at : at + length], noise, strict=True))
        replace_bytes(file, data[:at] + noise + data[at + length :])
        found, damage = opened(file)
        kept = untouched(messages, where, (at, at + length))
        missing = [m[2] for m in kept if m not in set(found)]
        # A record whose neighbour's header is gone cannot always be told from one that is too long.
        assert len(missing) <= (container in PLAIN), (trial, at, missing)
        assert len({m[2] for m in found if m[3] not in {x[3] for x in messages}}) <= 1 + length // 300, (trial, at)
        assert len({m[2] for m in found}) == len(found)
        if len(found) < COUNT:
            assert damage


@pytest.mark.parametrize("length", [5, 4000, 100_000])
def test_bytes_that_are_gone_or_too_many(sample, length):
    file, messages, where, container = sample
    data = file.read_bytes()
    rng = np.random.default_rng(length)
    begin = where[0][1]  # definitions lie before it
    for _ in range(3):
        at = int(rng.integers(begin, len(data) - length - 20_000))
        replace_bytes(file, data[:at] + data[at + length :])
        found, damage = opened(file)
        kept = untouched(messages, where, (at, at + length))
        missing = [m[2] for m in kept if m not in set(found)]
        assert len(missing) <= (container in PLAIN), (at, missing)
        assert damage
        replace_bytes(file, data[:at] + bytes(rng.integers(0, 256, length, np.uint8)) + data[at:])
        found, damage = opened(file)
        kept = untouched(messages, where, (at, at + 1))
        missing = [m[2] for m in kept if m not in set(found)]
        assert len(missing) <= (container in PLAIN), (at, missing)
        assert damage


def test_lengths_that_claim_gigabytes(sample):
    file, messages, where, container = sample
    data = file.read_bytes()
    middle = where[COUNT // 2]
    size = 4 if file.suffix == ".bag" else 8
    limit = blocks.MAX_CHUNK
    for value in (2 ** (8 * size) - 1, 2**31, limit, 0):
        for offset in range(0, 60, 7):  # some of these are the record's or the chunk's length
            at = middle[0] + offset
            replace_bytes(file, data[:at] + value.to_bytes(size, "little") + data[at + size :])
            found, _ = opened(file)
            missing = [m[2] for m in untouched(messages, where, (at, at + size)) if m not in set(found)]
            assert len(missing) <= (container in PLAIN), (value, offset)


def test_a_chunk_that_would_fill_the_memory(tmp_path):
    path, messages = write(tmp_path / "drive", "ros1-bz2", 60)
    data = path.read_bytes()
    with Reader1(path) as reader:
        place, chunk = list(reader.chunks.items())[1]
        old = data[place : chunk.datapos + chunk.datasize]
    bomb = bz2.compress(bytes(2**26))
    at = old.index(b"size=") + 5
    for size in (2**26, 2**32 - 1, 100):
        new = old[:at] + size.to_bytes(4, "little") + old[at + 4 : chunk.datapos - place - 4]
        replace_bytes(path, data[:place] + new + len(bomb).to_bytes(4, "little") + bomb + data[place + len(old) :])
        found, damage = opened(path)
        assert found and set(found) < set(messages)
        assert damage


@pytest.mark.parametrize("container", ["mcap-zstd-crc", "mcap-crc", "ros1-bz2"])
def test_a_chunk_whose_size_is_wrong_and_checksum_right(tmp_path, container):
    path, messages = write(tmp_path / "drive", container, COUNT)
    data = path.read_bytes()
    begin = spans(path, messages, container)[150][0]
    width = 4 if container == "ros1-bz2" else 8
    at = data.index(b"size=", begin) + 5 if width == 4 else begin + 9 + 16
    for size in (0, 5, 2**20, 2 ** (8 * width) - 1):
        replace_bytes(path, data[:at] + size.to_bytes(width, "little") + data[at + width :])
        assert opened(path)[0] == messages, size


def test_definitions_in_a_chunk_that_is_damaged(tmp_path):
    path, messages = write(tmp_path / "drive", "mcap-lone", COUNT)
    data = path.read_bytes()
    at = data.find(messages[5][3])
    replace_bytes(path, data[:at] + bytes(8) + data[at + 8 :])
    found, _ = opened(path)
    assert 20 < len(found) < COUNT and found == messages[-len(found) :]


def test_no_message_is_given_twice_when_the_index_is_right_and_a_chunk_is_not(tmp_path):
    for container in ("mcap-zstd-crc", "mcap-crc", "ros1-bz2", "ros1-lz4"):
        path, messages = write(tmp_path / container, container, COUNT)
        file = storage_file(path)
        where = spans(file, messages, container)
        recording = open_recording(path)
        data = file.read_bytes()
        begin, end = where[150]
        at = (begin + end) // 2
        noise = bytes(255 - b for b in data[at : at + 40])
        file.write_bytes(data[:at] + noise + data[at + 40 :])  # while it is open
        found = read(recording)
        assert found != messages
        kept = untouched(messages, where, (at, at + 40))
        assert [m for m in found if m in set(kept)] == kept
        assert len({m[2] for m in found}) == len(found)
        if container != "ros1-lz4":  # whose chunks have no checksum
            assert any(str(file) in w and "byte" in w for w in recording.damage)


@pytest.fixture(params=SQLITE)
def database(request, tmp_path):
    path, messages = write(tmp_path / "drive", request.param, COUNT, picture=9000)
    return path, storage_file(path), messages


def test_sqlite_cut(database):
    path, file, messages = database
    data = file.read_bytes()
    for share in (0.3, 0.6, 0.95):
        cut = int(len(data) * share)
        replace_bytes(file, data[:cut])
        found, damage = opened(path)
        assert set(found) <= set(messages) and len(set(found)) == len(found)
        # Of the pages that are there nothing is lost but what runs over the cut.
        assert len(found) > COUNT * share * 0.9 - 5, (share, len(found))
        assert damage


def test_sqlite_without_its_first_pages(database):
    path, file, messages = database
    data = bytearray(file.read_bytes())
    data[:100] = bytes(100)
    replace_bytes(file, bytes(data))
    found, damage = opened(path)
    assert set(found) == set(messages)
    assert any("does not begin" in w for w in damage)


def test_sqlite_overwritten_pages(database):
    path, file, messages = database
    data = file.read_bytes()
    rng = np.random.default_rng(3)
    for trial in range(8):
        broken = bytearray(data)
        pages = rng.choice(np.arange(10, len(data) // 4096), 4, replace=False)
        for page in pages:
            broken[4096 * page : 4096 * page + 4096] = bytes(rng.integers(0, 256, 4096, np.uint8))
        replace_bytes(file, bytes(broken))
        found, damage = opened(path)
        assert len({m[2] for m in found}) == len(found)
        good = [m for m in found if m in set(messages)]
        assert len(good) > COUNT - 60 and len(found) - len(good) <= 4, (trial, len(good), len(found))
        assert damage or len(good) >= COUNT - 4


def test_sqlite_that_fails_in_the_middle_goes_on_where_it_was(database):
    path, file, messages = database
    data = file.read_bytes()
    at = max(data.find(m[3][-300:]) for m in messages[140:160])
    page = at // 4096
    recording = open_recording(path)
    stream = recording.messages()
    found = [next(stream) for _ in range(100)]
    broken = bytearray(data)
    leaves = [p for p in range(page - 6, page + 6) if data[4096 * p] == 13]
    for p in leaves[:1]:
        broken[4096 * p : 4096 * p + 16] = bytes(16)
    recording.close()
    replace_bytes(file, bytes(broken))
    recording = open_recording(path)
    everything = read(recording)
    assert len({m[2] for m in everything}) == len(everything)
    assert set(everything) <= set(messages) and COUNT - 60 < len(everything) < COUNT
    assert len(found) == 100


def test_sqlite_index_that_lacks_rows(database):
    path, file, messages = database
    with sqlite3.connect(file) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'timestamp_idx'").fetchone()
    data = bytearray(file.read_bytes())
    at = 4096 * (root - 1)
    if data[at] == 10:  # a leaf: its number of cells
        data[at + 3 : at + 5] = (5).to_bytes(2, "big")
        replace_bytes(file, bytes(data))
        assert set(opened(path)[0]) == set(messages)
