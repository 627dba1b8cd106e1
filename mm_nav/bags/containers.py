"""Opening recordings: ROS 1 .bag, rosbag2 sqlite3 and MCAP, folders, split and compressed files, sound or damaged.

What a file is, its first bytes say, and its name only where they are damaged. The files are read by this package's own
readers (record_file.py, sqlite_file.py), which read a sound file by its index and a damaged one as far as its records make
sense; messages become objects through the `rosbags` library's types.
"""

from __future__ import annotations

import heapq
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mm_nav.bags import sqlite_pages
from mm_nav.bags.blocks import MAX_CHUNK, MAX_RATIO, ZSTD_MAGIC, Damage, Message, Part
from mm_nav.bags.folders import find_recordings, storage_files
from mm_nav.bags.mcap_file import McapFile
from mm_nav.bags.recording import Channel, MessageTypes, Raw, Recording, reason, select
from mm_nav.bags.ros1_file import Ros1File
from mm_nav.bags.sqlite_file import SqliteFile
from mm_nav.errors import BagError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Channel", "Recording", "find_recordings", "open_recording"]

_READERS: dict[str, Callable[[Path, Damage], Part]] = {".bag": Ros1File, ".mcap": McapFile, ".db3": SqliteFile}
_MAGIC = {Ros1File.magic: ".bag", McapFile.magic: ".mcap", sqlite_pages.MAGIC: ".db3"}
_MIN_FREE = 2**29
_PIECE = 2**20


def open_recording(path: Path | Sequence[Path]) -> Recording:
    """Open a recording: a file, a folder that holds one, or the files of a split one.

    Raises BagError when it is missing, empty, no recording at all, or nothing in it can be read.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    if not paths:
        raise BagError("no recording given: give a .bag, .mcap or .db3 file, or a rosbag2 folder")
    damage = Damage()
    files = paths
    if len(paths) == 1:
        found = find_recordings(paths)
        if len(found) > 1:
            names = ", ".join(str(f if isinstance(f, Path) else f[0]) for f in found[:5])
            raise BagError(f"{paths[0]} holds {len(found)} recordings ({names}): give one of them")
        files = found[0] if isinstance(found[0], list) else [found[0]]
        if files[0].is_dir():
            files = storage_files(files[0], damage)
    return _Files(paths[0], files, damage)


class _Files:
    """A recording of one or more files."""

    def __init__(self, path: Path, files: Sequence[Path], damage: Damage) -> None:
        self.path, self.damage = path, damage.notes
        self._damage = damage
        self._unpacked: TemporaryDirectory[str] | None = None
        self._types = MessageTypes()
        self._parts: list[Part] = []
        self._closed = False
        try:
            for file in files:
                part = self._open(file, damage)
                if part is not None:
                    self._parts.append(part)
            self._join(damage)
        except BaseException:
            self.close()
            raise

    def messages(
        self, channels: Sequence[Channel] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, Raw]]:
        """Yield (channel, receive time in ns, serialised message)."""
        if self._closed:
            raise BagError(f"{self.path} is closed: open it again")
        names = select(channels)
        start = -(2**63) if start_ns is None else start_ns
        stop = 2**64 if stop_ns is None else stop_ns
        streams: list[Iterator[Message]] = []
        overlap, until = False, -(2**63)
        for part, ids in self._wanted(names):
            if ids:
                overlap |= part.start_ns < until
                until = max(until, part.end_ns)
                streams.append(_plain(part.messages(ids, start, stop), part.path, self._damage))
        if overlap:
            return heapq.merge(*streams, key=itemgetter(1))
        return streams[0] if len(streams) == 1 else chain.from_iterable(streams)

    def deserialize(self, raw: Raw, msgtype: str, encoding: str) -> Any:
        """Return the message as an object. Raises BagError when it cannot be decoded."""
        return self._types.deserialize(raw, msgtype, encoding)

    def close(self) -> None:
        """Close the files."""
        self._closed = True
        for part in self._parts:
            part.close()
        if self._unpacked is not None:
            self._unpacked.cleanup()
            self._unpacked = None

    def _wanted(self, names: set[tuple[str, str, str]] | None) -> Iterator[tuple[Part, dict[int, Channel]]]:
        for part in self._parts:
            ids: dict[int, Channel] = {}
            for key, c in part.channels.items():
                name = (c.topic, c.msgtype, c.encoding)
                if name in self._channels and (names is None or name in names):
                    ids[key] = self._channels[name]
            yield part, ids

    def _join(self, damage: Damage) -> None:
        """Make one list of channels of those of the files, without those that nobody could decode."""
        self._parts.sort(key=lambda part: part.start_ns)
        self._channels: dict[tuple[str, str, str], Channel] = {}
        for part in self._parts:
            for c in part.channels.values():
                self._types.define(c.msgtype, c.encoding, c.form, c.definition)
        for part in self._parts:
            for c in part.channels.values():
                name = (c.topic, c.msgtype, c.encoding)
                if not self._types.known(c.msgtype, c.encoding):
                    damage.add(
                        part.path, f"{c.topic} is not used: its type {c.msgtype} is not known, nor defined in the file"
                    )
                    continue
                have = self._channels.get(name)
                if have is None:
                    self._channels[name] = Channel(len(self._channels), *name, c.count)  # type: ignore[arg-type]
                else:
                    self._channels[name] = replace(have, count=have.count + c.count)
        self.channels = tuple(self._channels.values())
        self.message_count = sum(c.count for c in self.channels)
        full = [part for part in self._parts if part.start_ns <= part.end_ns] or self._parts
        if not self.message_count:
            if damage.notes:
                notes = "; ".join(dict.fromkeys((damage.notes[0], damage.notes[-1])))
                raise BagError(
                    f"{self.path} cannot be read ({notes}): it is truncated, damaged or no recording; record it again"
                )
            raise BagError(f"{self.path} has no messages: record it again")
        self.start_ns = min(part.start_ns for part in full)
        self.end_ns = max(part.end_ns for part in full)

    def _open(self, file: Path, damage: Damage) -> Part | None:
        """Return a file's reader, None when there is nothing in it to read."""
        try:
            with file.open("rb") as stream:
                head = stream.read(16)
            if not head:
                damage.add(file, "is empty (0 bytes)")
                return None
            name = file.name
            if head[:4] == ZSTD_MAGIC:
                file = self._unpack(file, damage)
                name = file.name
                with file.open("rb") as stream:
                    head = stream.read(16)
            kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
            kind = kind or next((kind for kind in _READERS if kind in name), "")
            if kind not in _READERS:
                damage.add(file, "is no recording: a .bag, .mcap or .db3 file is expected")
                return None
            return _READERS[kind](file, damage)
        except OSError as error:
            damage.add(file, f"cannot be read: {error.strerror or reason(error)}")
            return None
        except MemoryError:
            damage.add(file, "cannot be read: not enough memory")
            return None

    def _unpack(self, file: Path, damage: Damage) -> Path:
        """Decompress a file as far as it goes, into a temporary folder. Raises OSError when the disk is full."""
        if self._unpacked is None:
            self._unpacked = TemporaryDirectory(prefix="mm_nav_")
        folder = Path(self._unpacked.name)
        target = folder / f"{len(list(folder.iterdir()))}_{file.stem}"
        damage.origins[target] = file
        decoder = zstd.ZstdDecompressor()
        with file.open("rb") as packed, target.open("wb") as unpacked:
            while piece := packed.read(_PIECE):
                try:
                    while piece:
                        unpacked.write(decoder.decompress(piece, max_length=_PIECE))
                        while not decoder.eof and not decoder.needs_input:
                            unpacked.write(decoder.decompress(b"", max_length=_PIECE))
                            if shutil.disk_usage(folder).free < _MIN_FREE:
                                raise OSError(28, f"no space in {folder.parent} to decompress it")
                        piece = b""
                        if decoder.eof:
                            piece = decoder.unused_data
                            decoder = zstd.ZstdDecompressor()
                except zstd.ZstdError as error:
                    damage.add(file, f"is compressed, and damaged in its last part ({reason(error)})", packed.tell())
                    break
        return target


def _plain(messages: Iterator[Message], path: Path, damage: Damage) -> Iterator[Message]:
    """Decompress messages where they are compressed one by one, as rosbag2 does on request."""
    first = next(messages, None)
    if first is None:
        return iter(())
    if bytes(first[2][:4]) != ZSTD_MAGIC:
        return chain((first,), messages)
    return _decompressed(chain((first,), messages), path, damage)


def _decompressed(messages: Iterator[Message], path: Path, damage: Damage) -> Iterator[Message]:
    for channel, receive, raw in messages:
        if bytes(raw[:4]) == ZSTD_MAGIC:
            try:
                raw = _whole(raw)
            except (zstd.ZstdError, BagError, MemoryError) as error:
                text = f"a message on {channel.topic} at {receive} ns cannot be decompressed ({reason(error)})"
                damage.add(path, f"{text}: it is skipped")
                continue
        yield channel, receive, raw


def _whole(raw: Raw) -> bytes:
    size = zstd.get_frame_info(raw).decompressed_size
    limit = min(MAX_CHUNK, MAX_RATIO * len(raw))
    if size is not None and size > limit:
        raise BagError(f"{len(raw)} bytes claim to be {size}")
    decoder = zstd.ZstdDecompressor()
    content = decoder.decompress(raw, max_length=limit if size is None else size)
    if not decoder.eof:
        raise BagError("it is cut")
    return bytes(content)
