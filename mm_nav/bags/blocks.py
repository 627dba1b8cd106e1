"""What the containers that store messages in chunks (MCAP, ROS 1 bags) share: bounded reads, bounded decompression, order.

Every length that a file claims is held against what the file has before anything of that size is made.
"""

from __future__ import annotations

import bz2
import mmap
import os
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import lz4.frame  # type: ignore[import-untyped]
import zstandard

from mm_nav.bags.recording import Channel, Encoding, Raw, reason
from mm_nav.errors import BagError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

Message = tuple[Channel, int, Raw]
# (receive_ns, channel, raw): the time first, to sort by.
Stamped = tuple[int, Channel, Raw]

# Larger chunks are nobody's; the ratio is beyond what pictures of one colour reach with zstd.
MAX_CHUNK = 2**30
MAX_RATIO = 4096
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Messages that wait for an overlapping chunk are given out unordered rather than kept beyond this.
_MAX_WAITING_BYTES = 2**28
_MAX_WAITING = 2**17
_MAX_NOTES = 200
_PIECE = 2**14
# Smaller reads cost less than mapping.
_MAPPED = 2**16
_POPULATE_READ = 22  # madvise's MADV_POPULATE_READ, which Python does not name


@dataclass
class PartChannel:
    """A topic as one file describes it. form, definition: of its message type, "" where the file has none."""

    id: int
    topic: str
    msgtype: str
    encoding: Encoding
    form: str
    definition: str
    count: int = 0


class Part(Protocol):
    """One file of a recording. channels: by the file's own id. start_ns > end_ns: it has no messages."""

    path: Path
    channels: dict[int, PartChannel]
    start_ns: int
    end_ns: int

    def messages(self, wanted: Mapping[int, Channel], start_ns: int, stop_ns: int) -> Iterator[Message]:
        """Yield the messages of these ids with start_ns <= receive time < stop_ns."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@dataclass(frozen=True)
class Block:
    """A stretch of a file: a chunk's record, or records between chunks. start_ns, end_ns: of its messages, as far as known.
    ids: channels in it, None = not known."""

    offset: int
    length: int
    chunk: bool
    start_ns: int = -(2**63)
    end_ns: int = 2**63
    ids: frozenset[int] | None = None


@dataclass
class Damage:
    """Warnings of one recording, each once, and not without bound."""

    notes: list[str] = field(default_factory=list)
    # What a temporary file was unpacked from.
    origins: dict[Path, Path] = field(default_factory=dict)

    def add(self, path: Path, text: str, offset: int | None = None) -> None:
        """Note what is wrong with a file, and at which byte."""
        where = "" if offset is None else f" at byte {offset}"
        note = f"{self.origins.get(path, path)}{where}: {text}"
        if len(self.notes) < _MAX_NOTES and note not in self.notes:
            self.notes.append(note)
            if len(self.notes) == _MAX_NOTES:
                self.notes.append("more damage is not listed")


class FileBytes:
    """A file by offset. Reads return fewer bytes at its end.

    Reading copies. `view` maps large stretches instead, after the kernel has read them in: a disk that fails, or a file that
    shrank, has to be an error and not the end of the process, as it is when a map is touched.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._open()
        self.size = os.fstat(self._fd).st_size
        self._at, self._window = 0, b""
        self._map: mmap.mmap | None = None
        self._can_map = True

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes. Raises OSError."""
        length = min(length, self.size - offset)
        if length <= 0 or offset < 0:
            return b""
        if self._fd < 0:
            self._open()
        data = os.pread(self._fd, length, offset)
        while len(data) < length:  # a read beyond 2 GiB, or one that was interrupted
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def view(self, offset: int, length: int) -> Raw:
        """Return the same as `read`, without a copy where the system can vouch for it (Linux 5.14 and above). Raises OSError."""
        if length >= _MAPPED and 0 <= offset <= self.size - length and self._can_map:
            if self._map is None:
                self._map_file()
            if self._map is not None:
                begin = offset - offset % mmap.PAGESIZE
                try:
                    self._map.madvise(_POPULATE_READ, begin, offset + length - begin)
                    return memoryview(self._map)[offset : offset + length]
                except (OSError, ValueError):
                    self._can_map, self._map = False, None
        return self.read(offset, length)

    def _map_file(self) -> None:
        if self._fd < 0:
            self._open()
        try:
            self._map = mmap.mmap(self._fd, self.size, prot=mmap.PROT_READ)
        except (OSError, ValueError):
            self._can_map = False

    def peek(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes, for small neighbouring reads."""
        at = offset - self._at
        if at < 0 or at + length > len(self._window):
            self._at, self._window = offset, self.read(offset, max(length, 2**14))
            at = 0
        return self._window[at : at + length]

    def close(self) -> None:
        """Close the file; the next read opens it again, so that a recording of many files does not hold them all open."""
        self._map = None  # what is still looked at keeps it
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))


def decompress(data: bytes, compression: str, size: int, partial: bool = False, checked: bool = False) -> bytes:
    """Return a chunk's content. partial: as much as a chunk that was cut off holds. checked: a checksum tells whether it is
    right, so a claimed size that is not is taken to be damaged itself.

    Raises BagError when the content is damaged, of another size than claimed, or claims more than MAX_CHUNK or MAX_RATIO
    times its data.
    """
    if compression in ("", "none"):
        return data[:size]
    limit = min(MAX_CHUNK, MAX_RATIO * max(len(data), 1))
    if size > limit or (size == 0 and checked):
        if not (partial or checked):
            raise BagError(f"a chunk of {len(data)} bytes claims {size} bytes of content")
        size = limit
    decoder = _DECOMPRESSORS.get(compression)
    if decoder is None:
        raise BagError(f"compression '{compression}' is not known")
    try:
        content = decoder(data, size, partial)
        if len(content) > size and checked:
            content = decoder(data, limit, partial)
    except Exception as error:
        raise BagError(f"a chunk cannot be decompressed ({reason(error)})") from error
    if len(content) > limit or (len(content) != size and not (partial or checked)):
        raise BagError(f"a chunk claims {size} bytes of content and has {len(content)}")
    return content


def _zstd(data: bytes, size: int, partial: bool) -> bytes:
    if not partial and zstandard.frame_content_size(data) == size:
        # One allocation, of the size that was held against the bounds. What follows the frame is not looked at.
        return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=size))
    return _stream(zstd.ZstdDecompressor, data, size, partial)


def _lz4(data: bytes, size: int, partial: bool) -> bytes:
    return _stream(lz4.frame.LZ4FrameDecompressor, data, size, partial)


def _bz2(data: bytes, size: int, partial: bool) -> bytes:
    return _stream(bz2.BZ2Decompressor, data, size, partial)


def _stream(make: Callable[[], Any], data: bytes, size: int, partial: bool) -> bytes:
    if partial:
        return _beginning(make(), data, size)
    content = b""
    while data and len(content) < size:  # what follows the content is not looked at
        decoder = make()
        piece = decoder.decompress(data, max_length=size - len(content) + 1)
        content = content + piece if content else piece
        if not decoder.eof:
            break
        data = decoder.unused_data or b""
    return content


def _beginning(decoder: Any, data: bytes, size: int) -> bytes:
    """Return what comes out before the data end or make no sense."""
    pieces: list[bytes] = []
    left = size
    for at in range(0, len(data), _PIECE):
        try:
            pieces.append(decoder.decompress(data[at : at + _PIECE], max_length=left))
        except Exception:
            break
        left -= len(pieces[-1])
        if decoder.eof or left <= 0:
            break
    return b"".join(pieces)


_DECOMPRESSORS: dict[str, Callable[[bytes, int, bool], bytes]] = {"zstd": _zstd, "lz4": _lz4, "bz2": _bz2}


def in_order(blocks: Iterator[tuple[int, Callable[[], list[Stamped]]]]) -> Iterator[Message]:
    """Yield the messages of blocks in order of time. blocks: (a lower bound of its times, what loads it).

    Right when the bounds do not decrease; otherwise as good as one block's overlap with the next allows.
    """
    waiting: list[Stamped] = []
    for start, load in blocks:
        if waiting:
            cut = bisect_left(waiting, start, key=itemgetter(0))
            for receive, channel, raw in waiting[:cut]:
                yield channel, receive, raw
            del waiting[:cut]
        loaded = load()
        loaded.sort(key=itemgetter(0))
        if not waiting:
            waiting = loaded
            continue
        # What waits on must not keep its whole chunk in memory.
        waiting = [(t, c, bytes(raw) if isinstance(raw, memoryview) else raw) for t, c, raw in waiting]
        if len(waiting) > _MAX_WAITING or sum(len(raw) for _, _, raw in waiting) > _MAX_WAITING_BYTES:
            for receive, channel, raw in waiting:
                yield channel, receive, raw
            waiting = loaded
            continue
        waiting += loaded
        waiting.sort(key=itemgetter(0))
    for receive, channel, raw in waiting:
        yield channel, receive, raw
