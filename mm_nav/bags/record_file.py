"""Files that are a sequence of records, some of which are chunks of further records: what MCAP and ROS 1 bags share.

A sound file is read chunk by chunk as its own index says. Without index, or where that does not agree with the file, all
records are walked; where they make no sense the walk looks for the next place where they do, so that whatever lies before
and behind the damage is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from mm_nav.bags.blocks import Block, Damage, FileBytes, Message, PartChannel, Stamped, in_order
from mm_nav.bags.recording import Channel, Raw
from mm_nav.errors import BagError

_WINDOW = 2**20
# Records between chunks are read in runs of about this many bytes.
_RUN = 2**20
# Places looked at before a search is given up: only files made for it have so many.
_MAX_CANDIDATES = 2**20


class Source(Protocol):
    """A file, or a chunk's content."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes."""
        ...

    def peek(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes, for small neighbouring reads."""
        ...


class Content:
    """A chunk's content, read as a file is."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes."""
        return self._data[offset : offset + length]

    peek = read


@dataclass(frozen=True)
class Record:
    """A record that makes sense. begin: offset of its content; end: of the next record. key, stamp: a message's channel
    and receive time, ns. bare: a chunk whose records lie in the file as they are."""

    kind: Literal["message", "chunk", "definition", "other"]
    begin: int
    end: int
    key: int = 0
    stamp: int = 0
    bare: bool = False


class RecordFile(ABC):
    """One such file. Raises OSError when it cannot be opened, BagError when its format is not supported."""

    magic: bytes
    # Longest head that `_candidates` needs to see.
    reach: int

    def __init__(self, path: Path, damage: Damage) -> None:
        self.path, self._damage = path, damage
        self.channels: dict[int, PartChannel] = {}
        self.start_ns, self.end_ns = 2**63, -(2**63)
        self._counts: dict[int, int] = {}
        self._blocks: list[Block] = []
        self._near = 0  # the time of the last message that was walked over
        self._file = FileBytes(path)
        try:
            whole = self._file.peek(0, len(self.magic)) == self.magic
            if not (whole and self._read_index()):
                self._scan(whole)
            self._count()
        finally:
            self._file.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(self, wanted: Mapping[int, Channel], start_ns: int, stop_ns: int) -> Iterator[Message]:
        """Yield the messages of these ids with start_ns <= receive time < stop_ns, in order of receive time."""
        blocks = [b for b in self._blocks if b.start_ns < stop_ns and b.end_ns >= start_ns]
        blocks = [b for b in blocks if b.ids is None or not b.ids.isdisjoint(wanted)]
        return in_order((b.start_ns, partial(self._load, b, wanted.get, start_ns, stop_ns)) for b in blocks)

    # What a format knows --------------------------------------------------------------------------------------------

    @abstractmethod
    def _read_index(self) -> bool:
        """Fill in blocks, channels, counts and times from the file's index. Return False when it is not whole."""

    @abstractmethod
    def _record(self, source: Source, at: int, end: int) -> Record | None:
        """Return the record at `at`, None when it makes no sense there. A chunk that is cut ends at `end`."""

    @abstractmethod
    def _content(self, block: Block, unchecked: bool = False) -> Raw:
        """Return a chunk's content. unchecked: as much as there is. Raises BagError when it is damaged."""

    @abstractmethod
    def _strict(self, data: Raw, get: Callable[[int], Any], start: int, stop: int) -> tuple[list[Stamped], bool]:
        """Return the messages with start <= receive time < stop as (time, get(channel), view), without those for which
        `get` returns None, and whether all records made sense."""

    @abstractmethod
    def _define(self, source: Source, at: int, record: Record) -> None:
        """Note what a definition at `at` defines."""

    @abstractmethod
    def _candidates(self, window: bytes) -> Iterator[int]:
        """Yield where in a window records may begin, in ascending order."""

    @abstractmethod
    def _convincing(self, source: Source, at: int, record: Record) -> bool | None:
        """Return whether what was found in a search is a record: None = if another follows."""

    @abstractmethod
    def _nearly(self, source: Source, at: int, found: int | None) -> bool:
        """Return whether a record with one damaged field begins at `at`. found: where records make sense again."""

    def _seen(self) -> set[int]:
        """Return the ids that are defined, whether they can be used or not."""
        return set(self.channels)

    def _skip(self, source: Source, at: int) -> int:
        """Return the number of bytes at `at` that are no record but belong there."""
        return 0

    # Reading ----------------------------------------------------------------------------------------------------------

    def _load(self, block: Block, get: Callable[[int], Any], start: int, stop: int) -> list[Stamped]:
        try:
            if block.chunk:
                data = self._content(block)
            else:
                data = self._file.read(block.offset, block.length)
        except (BagError, OSError, MemoryError) as error:
            text = str(error) or "not enough memory"
            self._damage.add(self.path, f"{text}: {block.length} bytes are skipped", block.offset)
            self._define_all(block)
            return []
        found, whole = self._strict(data, get, start, stop)
        if whole:
            return found
        self._damage.add(self.path, "some records in a chunk make no sense: the others are used", block.offset)
        runs = [b for b in self._walk(Content(bytes(data)), 0, len(data)) if not b.chunk]
        pieces = [data[b.offset : b.offset + b.length] for b in runs]
        return [message for piece in pieces for message in self._strict(piece, get, start, stop)[0]]

    def _define_all(self, block: Block) -> None:
        """Note what a damaged chunk defines: other chunks may need it, and a definition that is wrong shows."""
        try:
            content = Content(bytes(self._content(block, unchecked=True)))
            for _ in self._walk(content, 0, content.size):
                pass
        except (BagError, OSError, MemoryError):
            pass

    def _scan(self, whole: bool) -> None:
        """Fill in blocks, channels, counts and times by reading everything."""
        if not whole:
            self._damage.add(self.path, f"it does not begin with {self.magic!r}", 0)
        try:
            for block in self._walk(self._file, len(self.magic) if whole else 0, self._file.size):
                self._take(block)
        except OSError as error:
            if not self._blocks:
                raise
            after = max(b.offset + b.length for b in self._blocks)
            self._damage.add(self.path, f"cannot be read on ({error.strerror}): the rest is not used", after)
        self._blocks.sort(key=lambda b: b.start_ns)

    def _take(self, block: Block) -> None:
        """Add a block that has messages."""
        first, last = 2**63, -(2**63)
        counts: dict[int, int] = {}
        messages: list[Any] = self._load(block, lambda key: key, -(2**63), 2**64)
        for stamp, key, _ in messages:
            first, last = min(first, stamp), max(last, stamp)
            counts[key] = counts.get(key, 0) + 1
        if counts:
            self._blocks.append(replace(block, start_ns=first, end_ns=last, ids=frozenset(counts)))
            self.start_ns, self.end_ns = min(self.start_ns, first), max(self.end_ns, last)
            for key, count in counts.items():
                self._counts[key] = self._counts.get(key, 0) + count

    def _count(self) -> None:
        for key, channel in self.channels.items():
            channel.count = self._counts.get(key, 0)
        for key in sorted(set(self._counts) - self._seen()):
            self._undefined(key)

    def _undefined(self, key: int) -> None:
        self._damage.add(self.path, f"messages of channel {key}, whose definition is missing, are skipped")

    # The walk ---------------------------------------------------------------------------------------------------------

    def _walk(self, source: Source, at: int, end: int) -> Iterator[Block]:
        """Yield the blocks between two offsets, past whatever is damaged."""
        start = -1  # of the run of records that is being collected
        previous = -1  # the record that ends where the next one begins
        last: Record | None = None  # that record
        lengths: dict[int, int] = {}  # by channel: of its last message but one
        while at < end:
            skipped = self._skip(source, at)
            if skipped:
                if start >= 0:
                    yield Block(start, at - start, False)
                at, start, previous = at + skipped, -1, -1
                continue
            record = self._record(source, at, end)
            if record is None:
                found = self._resync(source, previous + 1 if previous >= 0 else at, end)
                stop = at
                if previous >= 0 and last is not None:
                    too_long = found is not None and found < at
                    usual = last.kind != "message" or lengths.get(last.key) == last.end - last.begin
                    if too_long or not (usual or self._nearly(source, at, found)):
                        stop = previous
                if start >= 0 and stop > start:
                    yield Block(start, stop - start, False)
                if source is self._file:
                    lost = "to the end of the file" if found is None else f"for {found - stop} bytes"
                    self._damage.add(self.path, f"records make no sense {lost}", stop)
                if found is None:
                    return
                at, start, previous = found, -1, -1
                continue
            if record.kind == "chunk" and source is self._file:
                if start >= 0:
                    yield Block(start, at - start, False)
                start = previous = -1
                if record.bare:
                    at = record.begin
                    continue
                following = record.end
                if following < end and not self._skip(source, following) and not self._record(source, following, end):
                    # What looks like a message in there may be one that is compressed: only what lies between chunks counts.
                    found = self._resync(source, record.begin, end, outer=True)
                    following = found if found is not None else end
                    self._damage.add(self.path, f"a chunk of {record.end - at} bytes is not followed by a record", at)
                yield Block(at, following - at, True)
                at = following
                continue
            if previous >= 0 and last is not None and last.kind == "message":
                lengths[last.key] = last.end - last.begin
            if record.kind == "message":
                if start >= 0 and at - start >= _RUN:
                    yield Block(start, at - start, False)
                    start = -1
                start = at if start < 0 else start
                self._near = record.stamp
            elif record.kind == "definition":
                self._define(source, at, record)
            previous, last = at, record
            at = record.end
        if start >= 0:
            yield Block(start, end - start, False)

    def _resync(self, source: Source, at: int, end: int, outer: bool = False) -> int | None:
        """Return the next offset where a record begins, as far as can be told; None = nowhere. outer: no message and no
        definition."""
        left = _MAX_CANDIDATES
        while at < end and left > 0:
            window = source.read(at, min(_WINDOW + self.reach, end - at))
            if not window:
                return None
            for offset in self._candidates(window):
                left -= 1
                if offset >= _WINDOW or left < 0:
                    break
                place = at + offset
                record = self._record(source, place, end)
                if record is None or (outer and record.kind in ("message", "definition")):
                    continue
                sure = self._convincing(source, place, record)
                if sure or (sure is None and self._followed(source, record.end, end)):
                    return place
            at += _WINDOW
        return None

    def _followed(self, source: Source, at: int, end: int) -> bool:
        return at == end or self._skip(source, at) > 0 or self._record(source, at, end) is not None
