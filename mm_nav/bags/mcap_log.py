"""An MCAP file that is readable up to its last half second, whatever happens to the process that writes it.

Format: https://mcap.dev/spec. Messages are gathered in chunks; a chunk goes to the kernel in one write as soon as it is full or
old, together with its index, so a process that is killed loses the chunk it was gathering and nothing else. The kernel is asked
every few seconds to bring everything to the disk, which bounds what a power cut costs. Definitions stand in front of the chunks,
and are repeated in chunks now and then, so that a file whose beginning is lost can be read too. `McapLog.close` adds the summary
that lets readers jump.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from isal.isal_zlib import crc32

from mm_nav import __version__
from mm_nav.errors import BagError, ConfigError

Compression = Literal["none", "zstd", "lz4"]
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX = range(1, 9)
_STATISTICS, _METADATA, _METADATA_INDEX, _SUMMARY_OFFSET, _DATA_END = 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
# A chunk in which the definitions are repeated comes after so many without: every 16 s where little is recorded.
_REPEAT_CHUNKS = 32


@dataclass(frozen=True)
class LogConfig:
    """When what goes where.

    chunk_bytes, chunk_s: a chunk is closed when it holds so many bytes, or when its first message is so old. sync_s: seconds
    between requests to bring everything to the disk.
    """

    compression: Compression = "none"
    chunk_bytes: int = 1 << 20
    chunk_s: float = 0.5
    sync_s: float = 3.0

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise ConfigError(f"compression '{self.compression}' is not known: give one of {', '.join(COMPRESSIONS)}")


@dataclass
class _Chunk:
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    start_ns: int = 0
    end_ns: int = 0
    index: dict[int, list[int]] = field(default_factory=dict)
    began_s: float = 0.0

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)


class McapLog:
    """One file being written. Not for several threads at once.

    bytes_written: given to the kernel so far. message_count; start_ns, end_ns: of the messages, 0 while there is none; counts:
    messages by channel. Raises BagError when the file exists or cannot be made. When a write fails (a full disk), the file is cut
    back to its last whole record, and BagError is raised; `close` may still be called.
    """

    def __init__(
        self, path: Path, config: LogConfig | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path, self._config, self._clock = path, config or LogConfig(), clock
        self._compress = _compressor(self._config.compression)
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError as error:
            raise BagError(f"{path} exists already: give another path, or remove it") from error
        except OSError as error:
            raise BagError(f"{path} cannot be written ({error.strerror}): give a folder you may write") from error
        self._open, self._failed = True, False
        self.bytes_written, self.message_count, self.start_ns, self.end_ns = 0, 0, 0, 0
        self.counts: dict[int, int] = {}
        self._schemas: list[bytes] = []
        self._channels: list[bytes] = []
        self._chunk = _Chunk()
        self._chunk_indexes: list[bytes] = []
        self._unrepeated = 0
        self._synced_s, self._synced_bytes = clock(), 0
        self._write([MAGIC, _record(_HEADER, _text("ros2") + _text(f"mm_nav {__version__}"))])

    @property
    def pending_bytes(self) -> int:
        """Bytes of the chunk that is being gathered."""
        return self._chunk.size

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Add a message definition and return its id. encoding: "ros2msg", or "" with no data where none is known."""
        number = len(self._schemas) + 1
        body = struct.pack("<H", number) + _text(name) + _text(encoding) + struct.pack("<I", len(data)) + data
        self._define(self._schemas, _record(_SCHEMA, body))
        return number

    def add_channel(self, topic: str, schema: int, metadata: Mapping[str, str], encoding: str = "cdr") -> int:
        """Add a topic and return the id of its channel. schema: of `add_schema`, 0 = none."""
        number = len(self._channels) + 1
        body = struct.pack("<HH", number, schema) + _text(topic) + _text(encoding) + _text_map(metadata)
        self._define(self._channels, _record(_CHANNEL, body))
        self.counts[number] = 0
        return number

    def _define(self, known: list[bytes], record: bytes) -> None:
        # In front of the chunk, and in it: some readers look only there.
        self._write([record])
        known.append(record)
        self._chunk.add(record)

    def add_message(self, channel: int, log_ns: int, data: bytes, publish_ns: int = 0, sequence: int = 0) -> None:
        """Add a message. log_ns: when it was received. publish_ns: when it was sent, 0 = not known."""
        chunk = self._chunk
        if not chunk.index:
            chunk.began_s, chunk.start_ns, chunk.end_ns = self._clock(), log_ns, log_ns
            self._unrepeated += 1
            if self._unrepeated > _REPEAT_CHUNKS:
                self._unrepeated = 0
                for record in (*self._schemas, *self._channels):
                    chunk.add(record)
        chunk.start_ns, chunk.end_ns = min(chunk.start_ns, log_ns), max(chunk.end_ns, log_ns)
        chunk.index.setdefault(channel, []).extend((log_ns, chunk.size))
        sent = publish_ns or log_ns
        chunk.add(_MESSAGE_HEAD.pack(_MESSAGE, 22 + len(data), channel, sequence & 0xFFFFFFFF, log_ns, sent))
        chunk.add(data)
        if chunk.size >= self._config.chunk_bytes or self._clock() - chunk.began_s >= self._config.chunk_s:
            self.flush()

    def poll(self) -> None:
        """Close the chunk when it is old, and bring the file to the disk when it is time; call a few times a second."""
        now = self._clock()
        if self._chunk.index and now - self._chunk.began_s >= self._config.chunk_s:
            self.flush()
        if now - self._synced_s >= self._config.sync_s:
            self._synced_s = now
            if self._synced_bytes != self.bytes_written:
                self._synced_bytes = self.bytes_written
                try:
                    os.fdatasync(self._file)
                except OSError as error:
                    raise self._failure(error) from error

    def flush(self) -> None:
        """Close the chunk and give it to the kernel."""
        chunk = self._chunk
        if not chunk.index:
            return
        self._chunk = _Chunk()
        checksum = 0
        for part in chunk.parts:
            checksum = crc32(part, checksum)
        name, packed = self._compress(chunk.parts)
        size = sum(map(len, packed))
        head = struct.pack("<QQQI", chunk.start_ns, chunk.end_ns, chunk.size, checksum)
        head += _text(name) + struct.pack("<Q", size)
        at = self.bytes_written
        length = _RECORD.size + len(head) + size
        indexes, offsets = [], []
        end = at + length
        for channel, times in sorted(chunk.index.items()):
            indexes.append(_record(_MESSAGE_INDEX, struct.pack(f"<HI{len(times)}Q", channel, 8 * len(times), *times)))
            offsets.append(struct.pack("<HQ", channel, end))
            end += len(indexes[-1])
        self._write([_RECORD.pack(_CHUNK, len(head) + size), head, *packed, *indexes])
        # Only what is in the file is counted.
        for channel, times in chunk.index.items():
            self.counts[channel] += len(times) // 2
        self.start_ns = min(self.start_ns, chunk.start_ns) if self.message_count else chunk.start_ns
        self.end_ns = max(self.end_ns, chunk.end_ns)
        self.message_count = sum(self.counts.values())
        self._chunk_indexes.append(
            _record(
                _CHUNK_INDEX,
                struct.pack("<QQQQI", chunk.start_ns, chunk.end_ns, at, length, 10 * len(offsets)) + b"".join(offsets)
                + struct.pack("<Q", end - at - length) + _text(name) + struct.pack("<QQ", size, chunk.size),
            )
        )  # fmt: skip

    def close(self, metadata: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Write what is still gathered, metadata (name -> entries), and the summary; bring all to the disk and close the file.

        Raises BagError when that fails; the file then ends with its last whole chunk. Closing twice does nothing.
        """
        if not self._open:
            return
        try:
            if not self._failed:
                self.flush()
            self._finish(metadata or {})
            os.fsync(self._file)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            self._open = False
            os.close(self._file)

    def abandon(self) -> None:
        """Close the file as it is, as a crash would leave it."""
        if self._open:
            self._open = False
            os.close(self._file)

    def _finish(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        records, at, indexes = [], self.bytes_written, []
        for name, entries in metadata.items():
            records.append(_record(_METADATA, _text(name) + _text_map(entries)))
            indexes.append(_record(_METADATA_INDEX, struct.pack("<QQ", at, len(records[-1])) + _text(name)))
            at += len(records[-1])
        records.append(_record(_DATA_END, struct.pack("<I", 0)))
        start = at + len(records[-1])
        counts = b"".join(struct.pack("<HQ", channel, count) for channel, count in sorted(self.counts.items()))
        statistics = struct.pack(
            "<QHIIIIQQI", self.message_count, len(self._schemas), len(self._channels), 0, len(metadata),
            len(self._chunk_indexes), self.start_ns, self.end_ns, len(counts),
        )  # fmt: skip
        groups = {
            _SCHEMA: self._schemas, _CHANNEL: self._channels, _STATISTICS: [_record(_STATISTICS, statistics + counts)],
            _CHUNK_INDEX: self._chunk_indexes, _METADATA_INDEX: indexes,
        }  # fmt: skip
        summary, offsets = b"", b""
        for code, group in groups.items():
            body = b"".join(group)
            if body:
                offsets += _record(_SUMMARY_OFFSET, struct.pack("<BQQ", code, start + len(summary), len(body)))
            summary += body
        footer = _RECORD.pack(_FOOTER, 20) + struct.pack("<QQ", start, start + len(summary))
        checksum = crc32(footer, crc32(offsets, crc32(summary)))
        # In one write: either the whole end is there, or none of it.
        self._write([*records, summary, offsets, footer, struct.pack("<I", checksum), MAGIC])

    def _write(self, parts: list[bytes]) -> None:
        """Write whole or not at all."""
        if not self._open:
            raise BagError(f"{self.path} is closed")
        size = sum(map(len, parts))
        try:
            written = os.writev(self._file, parts) if len(parts) <= os.sysconf("SC_IOV_MAX") else 0
            rest = memoryview(b"".join(parts))[written:] if written < size else memoryview(b"")
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            raise self._failure(error) from error
        self.bytes_written += size

    def _failure(self, error: OSError) -> BagError:
        self._failed = True
        try:
            # Half a record would be damage; what is cut off also makes room for the summary.
            os.ftruncate(self._file, self.bytes_written)
            os.lseek(self._file, self.bytes_written, os.SEEK_SET)
        except OSError:
            pass  # the record that is cut short is the last one, and readers that mend files stop there
        return BagError(
            f"{self.path} cannot be written any further ({error.strerror}): {self.message_count} messages are in it, "
            "and can be read; make room, and record again"
        )


def _compressor(name: Compression) -> Callable[[list[bytes]], tuple[str, list[bytes]]]:
    """Return what makes of a chunk's parts the name of the compression and the bytes. Raises ConfigError."""
    try:
        if name == "zstd":
            import zstandard

            # Level 1: a robot has better uses for its processor.
            zstd = zstandard.ZstdCompressor(level=1)
            return lambda parts: ("zstd", [zstd.compress(b"".join(parts))])
        if name == "lz4":
            import lz4.frame  # type: ignore[import-untyped]

            return lambda parts: ("lz4", [lz4.frame.compress(b"".join(parts))])
    except ImportError as error:
        raise ConfigError(f"compression {name} needs a package that is not installed ({error}): use none") from error
    return lambda parts: ("", parts)


def _record(code: int, body: bytes) -> bytes:
    return _RECORD.pack(code, len(body)) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _text_map(entries: Mapping[str, str]) -> bytes:
    body = b"".join(_text(key) + _text(value) for key, value in entries.items())
    return struct.pack("<I", len(body)) + body
