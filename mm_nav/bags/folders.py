"""Which files in a folder belong to one recording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from mm_nav.bags.blocks import Damage
from mm_nav.bags.recording import reason
from mm_nav.errors import BagError

_PARTS = (".bag", ".mcap", ".db3", ".bag.active")
_PACKED = (".zstd", ".zst")
_METADATA = "metadata.yaml"
_MAX_METADATA = 2**24
_NUMBERED = re.compile(r"(.*?)_(\d+)$")
# `rosbag record --split` writes each part's own start into its name.
_DATED = re.compile(r"_?\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d$")


def find_recordings(paths: Sequence[Path]) -> list[list[Path] | Path]:
    """Return what to open as one recording each: a file, a rosbag2 folder, or the list of a split recording's files.

    Folders are searched to their bottom; files given one by one are recordings of their own. Raises BagError when a path
    does not exist or holds no recording.
    """
    found: list[list[Path] | Path] = []
    for path in paths:
        try:
            if not path.exists():
                raise BagError(f"{path} does not exist: give a .bag, .mcap or .db3 file, or a rosbag2 folder")
            here = _in_folder(path, set()) if path.is_dir() else [path]
        except OSError as error:
            raise BagError(f"{path} cannot be read: {error.strerror or reason(error)}") from error
        if not here:
            raise BagError(f"{path} holds no recording: expected metadata.yaml, or .bag, .mcap or .db3 files")
        if here == [path] and path.is_file() and path.stat().st_size == 0:
            raise BagError(f"{path} is empty (0 bytes): record it again")
        found += here
    return found


def storage_files(folder: Path, damage: Damage) -> list[Path]:
    """Return a rosbag2 folder's files in their order: those that its metadata.yaml names, and the rest of a split.

    Where metadata.yaml is damaged or names other files, those that are there. Raises BagError when there are none.
    """
    here = {file.name: file for file in sorted(folder.iterdir()) if file.is_file() and is_part(file)}
    if not here:
        raise BagError(f"{folder} holds no recording: its metadata.yaml has no .mcap or .db3 file beside it")
    named: list[Path] = []
    try:
        for name in _named(folder / _METADATA):
            found = next((here[n] for n in (name, *(name + p for p in _PACKED), _unpacked(name)) if n in here), None)
            if found is None:
                damage.add(folder / _METADATA, f"names {name}, which is missing: the other files are used")
            elif found not in named:
                named.append(found)
    except Exception as error:  # whatever a damaged file does to the parser
        damage.add(folder / _METADATA, f"is damaged ({reason(error)}): the files beside it are used")
    if not named:
        return list(here.values())
    stems = {_stem(file) for file in named}
    others = [file for file in here.values() if file not in named and _stem(file) in stems and file.stat().st_size]
    others = [f for f in others if f.name not in {_unpacked(n.name) for n in named}]
    others = [f for f in others if _unpacked(f.name) not in {n.name for n in named}]
    for file in others:
        damage.add(file, "is not named in metadata.yaml: it is used as a part of the recording")
    return named + others


def is_part(file: Path) -> bool:
    """Return whether a file's name is one of a recording."""
    return _unpacked(file.name).endswith(_PARTS)


def _named(metadata: Path) -> list[str]:
    if metadata.stat().st_size > _MAX_METADATA:
        raise ValueError("it is too large")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(metadata.read_text(errors="replace"), Loader=loader)
    names = content["rosbag2_bagfile_information"]["relative_file_paths"]
    if not isinstance(names, list) or not names:
        raise ValueError("it names no files")
    return [PurePath(str(name)).name for name in names]


def _unpacked(name: str) -> str:
    for suffix in _PACKED:
        name = name.removesuffix(suffix)
    return name


def _stem(file: Path) -> tuple[str, str]:
    name = PurePath(_unpacked(file.name))
    match = _NUMBERED.match(name.stem)
    return (match[1] if match else name.stem, name.suffix)


def _in_folder(folder: Path, seen: set[Path]) -> list[list[Path] | Path]:
    real = folder.resolve()
    if real in seen:
        return []
    seen.add(real)
    files: list[Path] = []
    folders: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            folders.append(entry)
        elif is_part(entry):
            files.append(entry)
    if files and (folder / _METADATA).exists():
        return [folder]
    found = _split_recordings(files)
    for entry in folders:
        if not entry.name.startswith("."):
            found += _in_folder(entry, seen)
    return found


def _split_recordings(files: Sequence[Path]) -> list[list[Path] | Path]:
    """Group a folder's files: stem_0, stem_1, … are one recording."""
    groups: dict[tuple[str, str, int], list[tuple[int, Path]]] = {}
    rounds: dict[tuple[str, str], tuple[int, int]] = {}
    for file in files:
        name = PurePath(_unpacked(file.name.removesuffix(".active")))
        match = _NUMBERED.match(name.stem)
        if match is None:
            groups[name.stem, file.suffix, -1] = [(0, file)]
            continue
        stem, number = _DATED.sub("", match[1]), int(match[2])
        turn, last = rounds.get((stem, name.suffix), (0, -1))
        if stem != match[1] and number <= last:  # in order of dates: the numbers start again with the next recording
            turn += 1
        rounds[stem, name.suffix] = (turn, number)
        groups.setdefault((stem, name.suffix, turn), []).append((number, file))
    found: list[list[Path] | Path] = []
    for parts in groups.values():
        ordered = [file for _, file in sorted(parts)]
        found.append(ordered if len(ordered) > 1 else ordered[0])
    return found
