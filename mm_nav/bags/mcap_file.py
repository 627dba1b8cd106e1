"""MCAP files, sound or damaged. Format: https://mcap.dev/spec"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from isal.isal_zlib import crc32

from mm_nav.bags.blocks import MAX_CHUNK, ZSTD_MAGIC, Block, Damage, PartChannel, Stamped, decompress
from mm_nav.bags.record_file import Record, RecordFile, Source
from mm_nav.bags.recording import Encoding, Raw, ros2_name
from mm_nav.errors import BagError

_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _MESSAGE_INDEX = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
_CHUNK_INDEX, _STATISTICS, _DATA_END = 0x08, 0x0B, 0x0F
_HEAD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<BQHIQ")  # without the time of publication
_CHUNK_HEAD = struct.Struct("<BQQQQII")
_MESSAGE_OVERHEAD = 31
# Where a record may begin: lengths below 4 GiB, chunks of a known compression.
_CANDIDATE = re.compile(
    rb"(?=\x05.{4}\0{4}.{22}|\x06.{5}\0{3}.{28}(?:\0{4}|\x03\0{3}lz4|\x04\0{3}zstd)|[\x03\x04].{3}\0{5}|\x07.{4}\0{4}"
    rb"|\x0f\x04\0{7}|\x02\x14\0{7})",
    re.DOTALL,
)
# A message whose time is this close to another's, on a known channel and with a CDR header, is one.
_NEAR_NS = 3_600_000_000_000


class McapFile(RecordFile):
    """One MCAP file, of ROS 2 (cdr) or ROS 1 messages."""

    magic = b"\x89MCAP0\r\n"
    reach = 64

    def __init__(self, path: Path, damage: Damage) -> None:
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._channels_seen: set[int] = set()  # also those that cannot be used
        super().__init__(path, damage)

    def _read_index(self) -> bool:
        file = self._file
        footer = file.read(file.size - 37, 37)
        if len(footer) < 37 or footer[29:] != self.magic or footer[:9] != _HEAD.pack(_FOOTER, 20):
            return False
        start, _, crc = struct.unpack_from("<QQI", footer, 9)
        end = file.size - 37
        if not 8 < start <= end or end - start > MAX_CHUNK:
            return False
        summary = file.read(start, end - start)
        if crc and crc32(summary + footer[:25]) != crc:
            return False
        blocks: list[Block] = []
        statistics: tuple[Any, ...] = ()
        at = 0
        try:
            while at < len(summary):
                op, length = _HEAD.unpack_from(summary, at)
                record = summary[at + 9 : at + 9 + length]
                if len(record) < length:
                    raise BagError("a record of the index is cut")
                at += 9 + length
                if op in (_SCHEMA, _CHANNEL):
                    self._note(op, record)
                elif op == _CHUNK_INDEX:
                    first, last, offset, size, ids = struct.unpack_from("<QQQQI", record)
                    keys = frozenset(key for key, _ in struct.iter_unpack("<HQ", record[36 : 36 + ids]))
                    blocks.append(Block(offset, size, True, first, last, keys or None))
                elif op == _STATISTICS:
                    statistics = struct.unpack_from("<QHIIIIQQI", record)
                    self._counts = dict(struct.iter_unpack("<HQ", record[46 : 46 + statistics[8]]))
            if statistics and self._agrees(blocks, statistics, start):
                self._blocks = sorted(blocks, key=lambda b: b.start_ns)
                if statistics[0]:
                    self.start_ns, self.end_ns = statistics[6], statistics[7]
                return True
        except (struct.error, BagError):
            pass
        self.channels, self._schemas, self._channels_seen, self._counts = {}, {}, set(), {}
        return False

    def _agrees(self, blocks: list[Block], statistics: tuple[Any, ...], end: int) -> bool:
        """Return whether chunks, and other records without messages, fill the data section without a gap."""
        total, _, _, _, _, chunks = statistics[:6]
        if chunks != len(blocks) or (total and not blocks) or total != sum(self._counts.values()):
            return False
        if not set(self._counts) <= self._channels_seen or (total and statistics[6] > statistics[7]):
            return False
        if any(b.ids and b.start_ns > b.end_ns for b in blocks):
            return False
        at = 8
        for block in [*sorted(blocks, key=lambda b: b.offset), None]:
            stop = end if block is None else block.offset
            while at < stop:
                head = self._file.peek(at, 9)
                if len(head) < 9:
                    return False
                op, length = _HEAD.unpack(head)
                if op in (0, _FOOTER, _MESSAGE, _CHUNK) or _DATA_END < op < 0x80:
                    return False
                at += 9 + length
            if at != stop:
                return False
            at += 0 if block is None else block.length
        return True

    def _scan(self, whole: bool) -> None:
        super()._scan(whole)
        if self._file.peek(self._file.size - 8, 8) != self.magic:
            self._damage.add(self.path, "it has no end: the recorder was stopped, or the file is cut", self._file.size)

    def _content(self, block: Block, unchecked: bool = False) -> Raw:
        found = self._chunk(self._file, block.offset, self._file.size)
        if found is None:
            raise BagError("there is no chunk where the index says")
        record, size, compression, crc, cut = found
        plain = not compression and not unchecked
        read = self._file.view if plain else self._file.read
        data = read(record.begin, record.end - record.begin)
        content = data[:size] if plain else decompress(bytes(data), compression, size, cut or unchecked, bool(crc))
        if crc and not cut and not unchecked and crc32(content) != crc:
            raise BagError("a chunk's checksum is wrong")
        return content

    def _strict(self, data: Raw, get: Callable[[int], Any], start: int, stop: int) -> tuple[list[Stamped], bool]:
        unpack, view, end = _MESSAGE_HEAD.unpack_from, memoryview(data), len(data)
        found: list[Stamped] = []
        at = 0
        while at + 9 <= end:
            if at + _MESSAGE_OVERHEAD <= end:
                op, length, key, _, stamp = unpack(data, at)
            else:
                (op, length), key, stamp = _HEAD.unpack_from(data, at), 0, 0
            following = at + 9 + length
            if following > end:
                return found, False
            if op == _MESSAGE:
                if length < 22:
                    return found, False
                channel = get(key)
                if channel is None:
                    if key not in self._seen():
                        self._undefined(key)
                elif start <= stamp < stop:
                    found.append((stamp, channel, view[at + _MESSAGE_OVERHEAD : following]))
            elif op in (_SCHEMA, _CHANNEL):
                self._note(op, bytes(view[at + 9 : following]))
            elif op in (0, _CHUNK) or _DATA_END < op < 0x80:
                return found, False
            at = following
        return found, at == end

    # Definitions ------------------------------------------------------------------------------------------------------

    def _seen(self) -> set[int]:
        return self._channels_seen

    def _define(self, source: Source, at: int, record: Record) -> None:
        if record.end - record.begin <= MAX_CHUNK:
            self._note(source.peek(at, 1)[0], source.read(record.begin, record.end - record.begin))

    def _note(self, op: int, record: bytes) -> None:
        """Take up a schema or a channel; the first of an id stays. One that is damaged shows when messages use it."""
        try:
            (key,) = struct.unpack_from("<H", record)
            if op == _SCHEMA and key not in self._schemas:
                name, at = _string(record, 2)
                form, at = _string(record, at)
                text, at = _string(record, at)
                self._schemas[key] = (name, form, text)
            elif op == _CHANNEL and key not in self._channels_seen:
                (schema,) = struct.unpack_from("<H", record, 2)
                topic, at = _string(record, 4)
                encoding, at = _string(record, at)
                name, form, text = self._schemas.get(schema, ("", "", ""))
                if topic and encoding not in ("cdr", "ros1"):
                    self._channels_seen.add(key)
                    self._damage.add(self.path, f"{topic} is encoded as '{encoding}' and not used: cdr and ros1 are")
                elif topic and name:
                    self._channels_seen.add(key)
                    known: Encoding = "ros1" if encoding == "ros1" else "cdr"
                    self.channels[key] = PartChannel(key, topic, ros2_name(name), known, form, text)
        except (struct.error, ValueError):
            pass

    # Records that may be damaged --------------------------------------------------------------------------------------

    def _skip(self, source: Source, at: int) -> int:
        return 8 if source.peek(at, 8) == self.magic else 0

    def _record(self, source: Source, at: int, end: int) -> Record | None:
        head = source.peek(at, _MESSAGE_OVERHEAD)
        if len(head) < 9:
            return None
        op, length = _HEAD.unpack_from(head)
        following = int(at + 9 + length)
        if op == _CHUNK:
            found = self._chunk(source, at, end)
            return None if found is None else found[0]
        if following > end or op == 0 or _DATA_END < op < 0x80:
            return None
        if op == _MESSAGE:
            if length < 22:
                return None
            _, _, key, _, stamp = _MESSAGE_HEAD.unpack_from(head)
            return Record("message", at + 9, following, key, stamp)
        if op == _MESSAGE_INDEX and (length < 6 or int.from_bytes(head[11:15], "little") != length - 6):
            return None
        if (op == _DATA_END and length != 4) or (op == _FOOTER and length != 20):
            return None
        return Record("definition" if op in (_SCHEMA, _CHANNEL) else "other", at + 9, following)

    def _chunk(self, source: Source, at: int, end: int) -> tuple[Record, int, str, int, bool] | None:
        """Return a chunk's record, size of content, compression, checksum, and whether it is cut.

        Its length is written twice: one that is damaged is made good by the other.
        """
        head = source.peek(at, 57)
        if len(head) < 49 or head[0] != _CHUNK:
            return None
        _, claimed, _, _, size, crc, name = _CHUNK_HEAD.unpack_from(head)
        compression = head[41 : 41 + name]
        if compression not in (b"", b"lz4", b"zstd") or len(compression) != name or len(head) < 49 + name:
            return None
        (length,) = struct.unpack_from("<Q", head, 41 + name)
        begin = at + 49 + name
        if claimed != 40 + name + length:
            lengths = [n for n in (length, claimed - 40 - name) if n >= 0 and self._may_begin(source, begin + n, end)]
            if not lengths:
                return None
            length = lengths[0]
        cut = begin + length > end
        length = min(length, end - begin)
        if length > MAX_CHUNK:
            return None
        size = size if compression else length
        bare = not compression and (cut or not crc)
        return Record("chunk", begin, begin + length, bare=bare), size, compression.decode(), crc, cut

    def _may_begin(self, source: Source, at: int, end: int) -> bool:
        head = source.peek(at, 9) if at < end else b""
        if head.startswith(self.magic):
            return True
        if len(head) < 9:
            return False
        op, length = _HEAD.unpack(head)
        return bool((0 < op <= _DATA_END or op >= 0x80) and at + 9 + length <= end)

    def _candidates(self, window: bytes) -> Iterator[int]:
        return (match.start() for match in _CANDIDATE.finditer(window))

    def _convincing(self, source: Source, at: int, record: Record) -> bool | None:
        if record.kind != "message":
            return None
        channel = self.channels.get(record.key)
        if channel is None:
            return False if self._channels_seen and record.key not in self._channels_seen else None
        if channel.encoding == "cdr":
            if source.peek(at + _MESSAGE_OVERHEAD, 2) not in (b"\0\0", b"\0\1", ZSTD_MAGIC[:2]):
                return False
            if abs(record.stamp - self._near) < _NEAR_NS:
                return True
        return None

    def _nearly(self, source: Source, at: int, found: int | None) -> bool:
        head = source.peek(at, 9)
        if found is None and len(head) and 0 < head[0] <= _DATA_END:
            return True  # the file ends in it
        return head[:1] == bytes([_MESSAGE]) or (len(head) == 9 and at + 9 + _HEAD.unpack(head)[1] == found)


def _string(record: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", record, at)
    text = record[at + 4 : at + 4 + length]
    if len(text) < length:
        raise ValueError("a string is cut")
    return text.decode(), at + 4 + length
