"""ROS 1 bags, sound or damaged, indexed or not. Format: http://wiki.ros.org/Bags/Format/2.0"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from mm_nav.bags.blocks import MAX_CHUNK, Block, PartChannel, Stamped, decompress
from mm_nav.bags.record_file import Content, Record, RecordFile, Source
from mm_nav.bags.recording import Raw, ros2_name
from mm_nav.errors import BagError

_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
_MAX_HEADER = 2**16
# Headers of messages have three fields of fixed lengths. In the orders of rospy and roscpp, and of the rosbags library,
# they are read at once; in any other, field by field. Between the parts: channel, seconds and nanoseconds, length.
_FAST = (
    (
        struct.Struct("<13sI17sIII"),
        b"\x26\0\0\0\x09\0\0\0conn=",
        b"\x04\0\0\0op=\x02\x0d\0\0\0time=",
    ),
    (
        struct.Struct("<21sI9sIII"),
        b"\x26\0\0\0\x04\0\0\0op=\x02\x09\0\0\0conn=",
        b"\x0d\0\0\0time=",
    ),
)
_FAST_LENGTH = 46
# Every record's header has this field; it is looked for where records make no sense.
_OP = re.compile(rb"\x04\0\0\0op=[\x02-\x07]")
# How far before it a header may begin: a connection's holds the topic.
_BEFORE_OP = 320

Fields = dict[bytes, bytes]


class Ros1File(RecordFile):
    """One ROS 1 bag, version 2.0. Raises BagError when it is encrypted."""

    magic = b"#ROSBAG V2.0\n"
    reach = 512

    def _read_index(self) -> bool:
        found = self._parse(self._file, len(self.magic), self._file.size)
        if found is None or found[0][b"op"] != bytes([_BAG]):
            return False
        fields, _, start = found
        if fields.get(b"encryptor"):
            raise BagError(f"{self.path} is encrypted: decrypt it with rosbag first")
        index, connections, chunks = (_number(fields, name) for name in (b"index_pos", b"conn_count", b"chunk_count"))
        at = index
        blocks: list[tuple[int, int, int, frozenset[int]]] = []
        if not start <= index <= self._file.size:
            return False
        while at < self._file.size:
            found = self._parse(self._file, at, self._file.size)
            if found is None or found[2] > self._file.size:
                break
            fields, begin, at = found
            data = self._file.read(begin, at - begin)
            if fields[b"op"] == bytes([_CONNECTION]):
                self._note(fields, data)
                connections -= 1
            elif fields[b"op"] == bytes([_CHUNK_INFO]) and len(data) % 8 == 0:
                counts = dict(struct.iter_unpack("<II", data))
                for key, count in counts.items():
                    self._counts[key] = self._counts.get(key, 0) + count
                first, last = _time(fields, b"start_time"), _time(fields, b"end_time")
                blocks.append((_number(fields, b"chunk_pos"), first, last, frozenset(counts)))
                chunks -= 1
        if connections or chunks or at != self._file.size or not self._agrees(blocks, start, index):
            self.channels, self._counts, self._blocks = {}, {}, []
            return False
        self._blocks.sort(key=lambda b: b.start_ns)
        full = [b for b in self._blocks if b.ids]
        if full:
            self.start_ns, self.end_ns = full[0].start_ns, max(b.end_ns for b in full)
        return True

    def _agrees(self, chunks: list[tuple[int, int, int, frozenset[int]]], at: int, index: int) -> bool:
        """Fill in blocks. Return whether chunks and their index records fill the file without a gap."""
        if not set(self._counts) <= set(self.channels) or any(ids and first > last for _, first, last, ids in chunks):
            return False
        for chunk in [*sorted(chunks, key=lambda c: c[0]), None]:
            stop = index if chunk is None else chunk[0]
            while at < stop:
                found = self._parse(self._file, at, self._file.size)
                if found is None or found[0][b"op"] not in (bytes([_INDEX]), bytes([_CONNECTION])):
                    return False
                at = found[2]
            if at != stop:
                return False
            if chunk is not None:
                found = self._parse(self._file, at, self._file.size)
                if found is None or found[0][b"op"] != bytes([_CHUNK]):
                    return False
                self._blocks.append(Block(at, found[2] - at, True, *chunk[1:]))
                at = found[2]
        return True

    def _scan(self, whole: bool) -> None:
        self._damage.add(self.path, "it has no index, or one that is damaged: all of it is read", 0)
        super()._scan(whole)

    def _content(self, block: Block, unchecked: bool = False) -> bytes:
        found = self._parse(self._file, block.offset, self._file.size)
        if found is None or found[0][b"op"] != bytes([_CHUNK]):
            raise BagError("there is no chunk where the index says")
        fields, begin, end = found
        # Where the walk found the chunk to end counts more than what it says.
        length = block.offset + block.length - begin
        compression = fields.get(b"compression", b"none").decode(errors="replace")
        data = self._file.read(begin, min(length, MAX_CHUNK))
        if compression == "none":
            return data
        partial = unchecked or end > self._file.size
        # bz2 has a checksum of its own.
        return decompress(data, compression, _number(fields, b"size"), partial, compression == "bz2")

    def _strict(self, data: Raw, get: Callable[[int], Any], start: int, stop: int) -> tuple[list[Stamped], bool]:
        view, end = memoryview(data), len(data)
        found: list[Stamped] = []
        at = 0
        fast = 0
        layout, before, between = _FAST[fast]
        unpack = layout.unpack_from
        while at < end:
            if at + _FAST_LENGTH <= end:
                one, key, two, seconds, nanoseconds, length = unpack(data, at)
                if one == before and two == between:
                    begin = at + _FAST_LENGTH
                    at = begin + length
                    if at > end:
                        return found, False
                    channel = get(key)
                    stamp = seconds * 1_000_000_000 + nanoseconds
                    if channel is None:
                        if key not in self.channels:
                            self._undefined(key)
                    elif start <= stamp < stop:
                        found.append((stamp, channel, view[begin:at]))
                    continue
            parsed = self._parse(Content(bytes(data)), at, end)
            if parsed is None or parsed[2] > end:
                return found, False
            fields, begin, at = parsed
            op = fields[b"op"][0]
            if op == _MESSAGE:
                fast = 1 - fast
                layout, before, between = _FAST[fast]
                unpack = layout.unpack_from
                channel, stamp = get(_number(fields, b"conn")), _time(fields, b"time")
                if channel is not None and start <= stamp < stop:
                    found.append((stamp, channel, view[begin:at]))
            elif op == _CONNECTION:
                self._note(fields, bytes(data[begin:at]))
            elif op == _CHUNK:
                return found, False
        return found, True

    # Definitions ------------------------------------------------------------------------------------------------------

    def _define(self, source: Source, at: int, record: Record) -> None:
        found = self._parse(source, at, record.end)
        if found is not None:
            self._note(found[0], source.read(record.begin, record.end - record.begin))

    def _note(self, fields: Fields, data: bytes) -> None:
        """Take up a connection; the first of an id stays. One that is damaged shows when messages use it."""
        key = _number(fields, b"conn")
        about = _fields(data)
        if key in self.channels or about is None:
            return
        topic = (about.get(b"topic") or fields.get(b"topic", b"")).decode(errors="replace")
        msgtype = about.get(b"type", b"").decode(errors="replace")
        if topic and msgtype:
            topic = "/" * topic.startswith("/") + "/".join(part for part in topic.split("/") if part)
            text = about.get(b"message_definition", b"").decode(errors="replace")
            self.channels[key] = PartChannel(key, topic, ros2_name(msgtype), "ros1", "ros1msg", text)

    # Records that may be damaged --------------------------------------------------------------------------------------

    def _parse(self, source: Source, at: int, end: int) -> tuple[Fields, int, int] | None:
        """Return a record's header fields, where its content begins and where it ends; None when it makes no sense."""
        head = source.peek(at, 4)
        length = int.from_bytes(head, "little")
        if len(head) < 4 or not 8 <= length <= _MAX_HEADER or at + 8 + length > end:
            return None
        head = source.peek(at + 4, length + 4)
        fields = _fields(head[:length]) if len(head) == length + 4 else None
        if fields is None or len(fields.get(b"op", b"")) != 1 or not _MESSAGE <= fields[b"op"][0] <= _CONNECTION:
            return None
        op, begin = fields[b"op"][0], at + 8 + length
        needed = _NEEDED[op]
        if any(len(fields.get(name, b"")) != size for name, size in needed):
            return None
        return fields, begin, begin + int.from_bytes(head[length:], "little")

    def _record(self, source: Source, at: int, end: int) -> Record | None:
        found = self._parse(source, at, end)
        if found is None:
            return None
        fields, begin, following = found
        op = fields[b"op"][0]
        if op == _CHUNK:
            compression = fields.get(b"compression", b"")
            if compression not in (b"none", b"bz2", b"lz4"):
                return None
            return Record("chunk", begin, min(following, end), bare=compression == b"none")
        if following > end:
            return None
        if op == _MESSAGE:
            return Record("message", begin, following, _number(fields, b"conn"), _time(fields, b"time"))
        return Record("definition" if op == _CONNECTION else "other", begin, following)

    def _candidates(self, window: bytes) -> Iterator[int]:
        for match in _OP.finditer(window):
            place = match.start()
            for at in range(max(0, place - _BEFORE_OP), place - 3):
                length = int.from_bytes(window[at : at + 4], "little")
                if place + 8 - at - 4 <= length <= _MAX_HEADER and _leads_to(window, at + 4, place):
                    yield at
                    break

    def _convincing(self, source: Source, at: int, record: Record) -> bool | None:
        if record.kind == "message" and self.channels:
            return record.key in self.channels
        return True if record.kind == "chunk" else None

    def _nearly(self, source: Source, at: int, found: int | None) -> bool:
        head = source.peek(at, 64)
        if found is None and at + len(head) == source.size and len(head) < 40:
            return True  # the file ends in it
        return _OP.search(head, 0, 40) is not None or head.startswith(b"\x26\0\0\0") or b"\x09\0\0\0conn=" in head[:24]


# The fields that a record must have, and their lengths; a chunk's compression is looked at where it is used.
_NEEDED: dict[int, tuple[tuple[bytes, int], ...]] = {
    _MESSAGE: ((b"conn", 4), (b"time", 8)),
    _BAG: ((b"index_pos", 8), (b"conn_count", 4), (b"chunk_count", 4)),
    _INDEX: ((b"conn", 4), (b"count", 4)),
    _CHUNK: ((b"size", 4),),
    _CHUNK_INFO: ((b"chunk_pos", 8), (b"start_time", 8), (b"end_time", 8), (b"count", 4)),
    _CONNECTION: ((b"conn", 4),),
}


def _fields(header: bytes) -> Fields | None:
    """Return a header's fields; None when they do not fill it."""
    fields: Fields = {}
    at, end = 0, len(header)
    while at + 4 <= end:
        length = int.from_bytes(header[at : at + 4], "little")
        name, equals, value = header[at + 4 : at + 4 + length].partition(b"=")
        at += 4 + length
        if not equals or at > end:
            return None
        fields[name] = value
    return fields if at == end else None


def _leads_to(window: bytes, at: int, place: int) -> bool:
    """Return whether fields from `at` on lead to the one at `place`."""
    while at < place:
        at += 4 + int.from_bytes(window[at : at + 4], "little")
    return at == place


def _number(fields: Fields, name: bytes) -> int:
    return int.from_bytes(fields.get(name, b""), "little")


def _time(fields: Fields, name: bytes) -> int:
    seconds, nanoseconds = struct.unpack("<II", fields[name])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
