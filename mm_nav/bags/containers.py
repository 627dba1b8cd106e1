"""Opening recordings: ROS 1 .bag, rosbag2 sqlite3 and MCAP, folders and split files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from mm_nav.bags.recording import Channel, MessageTypes, Raw, Recording, reason
from mm_nav.errors import BagError

__all__ = ["Channel", "Recording", "find_recordings", "open_recording"]

_PARTS = {".bag", ".mcap", ".db3"}
_NUMBERED = re.compile(r"(.*?)_(\d+)$")
# `rosbag record --split` writes each part's own start into its name.
_DATED = re.compile(r"_?\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d$")


def open_recording(path: Path | Sequence[Path]) -> Recording:
    """Open a recording: a file, a folder, or the parts of a split one.

    Raises BagError when it is missing, empty, no recording at all, or nothing in it can be read.
    """
    parts = [path] if isinstance(path, Path) else list(path)
    if not parts:
        raise BagError("no recording given: give a .bag, .mcap or .db3 file, or a rosbag2 folder")
    name = parts[0]
    found = find_recordings(parts) if len(parts) == 1 else [parts]
    if len(found) > 1:
        names = ", ".join(str(f if isinstance(f, Path) else f[0]) for f in found[:5])
        raise BagError(f"{name} holds {len(found)} recordings ({names}): give one of them")
    files = found[0] if isinstance(found[0], list) else [found[0]]
    for file in files:
        if file.is_file() and file.stat().st_size == 0 and len(files) == 1:
            raise BagError(f"{file} is empty (0 bytes): record it again")
    try:
        reader = AnyReader(files, default_typestore=get_typestore(Stores.ROS2_HUMBLE))
        reader.open()
    except Exception as error:
        raise BagError(
            f"{name} cannot be read ({reason(error)}): it is truncated, damaged or no recording; record it again"
        ) from error
    if reader.message_count == 0:
        reader.close()
        raise BagError(f"{name} has no messages: record it again")
    return _Sound(name, reader)


def find_recordings(paths: Sequence[Path]) -> list[list[Path] | Path]:
    """Return what to open as one recording each: a file, a rosbag2 folder, or the list of a split recording's files.

    Folders are searched to their bottom; files given one by one are recordings of their own. Raises BagError when a path
    does not exist or holds no recording.
    """
    found: list[list[Path] | Path] = []
    for path in paths:
        if not path.exists():
            raise BagError(f"{path} does not exist: give a .bag, .mcap or .db3 file, or a rosbag2 folder")
        here = _in_folder(path) if path.is_dir() else [path]
        if not here:
            raise BagError(f"{path} holds no recording: expected metadata.yaml, or .bag, .mcap or .db3 files")
        found += here
    return found


def _in_folder(folder: Path) -> list[list[Path] | Path]:
    if (folder / "metadata.yaml").exists():
        return [folder]
    files, folders = [], []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            folders.append(entry)
        elif entry.suffix in _PARTS:
            files.append(entry)
    found = _split_recordings(files)
    for entry in folders:
        found += _in_folder(entry)
    return found


def _split_recordings(files: Sequence[Path]) -> list[list[Path] | Path]:
    """Group a folder's files: stem_0, stem_1, … are one recording."""
    groups: dict[tuple[str, str, int], list[tuple[int, Path]]] = {}
    rounds: dict[tuple[str, str], tuple[int, int]] = {}
    for file in files:
        match = _NUMBERED.match(file.stem)
        if match is None:
            groups[file.stem, file.suffix, -1] = [(0, file)]
            continue
        stem, number = _DATED.sub("", match[1]), int(match[2])
        dated = stem != match[1]
        turn, last = rounds.get((stem, file.suffix), (0, -1))
        if dated and number <= last:  # sorted by date: the numbers start again with the next recording
            turn += 1
        rounds[stem, file.suffix] = (turn, number)
        groups.setdefault((stem, file.suffix, turn), []).append((number, file))
    found: list[list[Path] | Path] = []
    for parts in groups.values():
        ordered = [file for _, file in sorted(parts)]
        found.append(ordered if len(ordered) > 1 else ordered[0])
    return found


class _Sound:
    """A recording through the rosbags library."""

    def __init__(self, path: Path, reader: AnyReader) -> None:
        self.path, self._reader = path, reader
        self.damage: list[str] = []
        encoding: Any = "cdr" if reader.is2 else "ros1"
        self._types = MessageTypes()
        channels: dict[tuple[str, str], Channel] = {}
        self._connections: dict[tuple[str, str], list[Any]] = {}
        for c in reader.connections:
            self._types.define(
                c.msgtype, encoding, "ros2idl" if c.msgdef.format.name == "IDL" else "ros2msg", c.msgdef.data
            )
            key = (c.topic, c.msgtype)
            self._connections.setdefault(key, []).append(c)
            count = sum(x.msgcount for x in self._connections[key])
            channels[key] = Channel(
                len(channels) if key not in channels else channels[key].id, *key, encoding, count, c
            )
        self.channels = tuple(channels.values())
        self._channels = channels
        self.start_ns, self.end_ns = reader.start_time, reader.end_time - 1
        self.message_count = reader.message_count

    def messages(
        self, channels: Sequence[Channel] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, Raw]]:
        wanted = self.channels if channels is None else channels
        connections = [c for channel in wanted for c in self._connections[channel.topic, channel.msgtype]]
        if not connections:
            return
        of = self._channels
        for connection, receive, raw in self._reader.messages(connections, start_ns, stop_ns):
            yield of[connection.topic, connection.msgtype], receive, raw

    def deserialize(self, raw: Raw, msgtype: str, encoding: str) -> Any:
        return self._types.deserialize(raw, msgtype, encoding)

    def close(self) -> None:
        self._reader.close()
