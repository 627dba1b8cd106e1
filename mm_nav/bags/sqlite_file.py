"""rosbag2's sqlite3 files: through sqlite while it can, page by page where it cannot.

Format of pages: https://www.sqlite.org/fileformat2.html. A database that is cut, damaged or has lost its first page is still
full of pages whose rows are whole: those are read in the order of the file, and a write-ahead log beside it is taken into
account. Nothing is written, not even sqlite's own files.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mm_nav.bags.blocks import ZSTD_MAGIC, Damage, FileBytes, Message, PartChannel, Stamped, in_order
from mm_nav.bags.recording import Channel, reason, ros2_name
from mm_nav.bags.sqlite_pages import Cell, Pages

_TYPE = re.compile(r"\w+(/msg)?/\w+")
_FORMS = ("ros2msg", "ros2idl")
# Leaf pages that are read together.
_GROUP = 64
_COLUMNS = 500
_EVER = (-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class _Group:
    """Leaf pages with messages."""

    pages: tuple[int, ...]
    start_ns: int
    end_ns: int


class SqliteFile:
    """One .db3 file. Raises OSError when it cannot be opened."""

    def __init__(self, path: Path, damage: Damage) -> None:
        self.path, self._damage = path, damage
        self.channels: dict[int, PartChannel] = {}
        self.start_ns, self.end_ns = 2**63, -(2**63)
        self._file = FileBytes(path)
        self._pages: Pages | None = None
        self._groups: list[_Group] = []
        log = path.with_name(path.name + "-wal")
        try:
            self._sound = not (log.exists() and log.stat().st_size) and self._read_tables()
            if not self._sound:
                self._carve()
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._pages is not None:
            self._pages.close()

    def messages(self, wanted: Mapping[int, Channel], start_ns: int, stop_ns: int) -> Iterator[Message]:
        """Yield the messages of these ids with start_ns <= receive time < stop_ns, in order of receive time."""
        if not self._sound:
            return self._carved(wanted, start_ns, stop_ns, frozenset())
        return self._queried(wanted, start_ns, stop_ns)

    # Through sqlite ---------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        # immutable: no locks, and no files beside it.
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"
        database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        database.execute("PRAGMA trusted_schema=OFF")
        return database

    def _read_tables(self) -> bool:
        """Fill in channels, counts and times; return False when the database is damaged."""
        database: sqlite3.Connection | None = None
        try:
            database = self._connect()
            tables = {n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"messages", "topics"} <= tables:
                raise sqlite3.DatabaseError("it lacks the tables of a recording")
            definitions: dict[str, tuple[str, str]] = {}
            if "message_definitions" in tables:
                query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                definitions = {str(name): (str(form), str(text)) for name, form, text in database.execute(query)}
            for row in database.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id"):
                self._note(row, definitions)
            self._summarise(database)
            return True
        except (sqlite3.Error, MemoryError, OverflowError, ValueError, TypeError) as error:
            self._damage.add(self.path, f"sqlite cannot read it ({reason(error)}): its pages are read one by one", 0)
            self.channels = {}
            self.start_ns, self.end_ns = 2**63, -(2**63)
            return False
        finally:
            if database is not None:
                database.close()

    def _summarise(self, database: sqlite3.Connection) -> None:
        keys = sorted(self.channels)
        total = 0
        for first in range(0, max(len(keys), 1), _COLUMNS):
            part = keys[first : first + _COLUMNS]
            sums = "".join(f", SUM(topic_id = {key})" for key in part)
            query = f"SELECT COUNT(*), MIN(timestamp), MAX(timestamp){sums} FROM messages NOT INDEXED"
            total, start, end, *counts = database.execute(query).fetchone()
            if total:
                self.start_ns, self.end_ns = int(start), int(end)
            for key, count in zip(part, counts, strict=True):
                self.channels[key].count = count or 0
        (indexed,) = database.execute("SELECT COUNT(*) FROM messages").fetchone()
        if indexed != total:
            raise sqlite3.DatabaseError(f"its index has {indexed} rows and its table {total}")

    def _queried(self, wanted: Mapping[int, Channel], start_ns: int, stop_ns: int) -> Iterator[Message]:
        conditions: list[str] = []
        if set(wanted) != set(self.channels):
            conditions.append(f"topic_id IN ({','.join(str(key) for key in wanted)})")
        if start_ns > self.start_ns:
            conditions.append(f"timestamp >= {min(start_ns, _EVER[1])}")
        if stop_ns <= self.end_ns:
            conditions.append(f"timestamp < {max(stop_ns, _EVER[0])}")
        where = f"FROM messages {'WHERE ' * bool(conditions)}{' AND '.join(conditions)} ORDER BY timestamp, rowid"
        database, rows = None, 0
        given: set[int] = set()
        try:
            database = self._connect()
            try:
                for key, stamp, data in database.execute(f"SELECT topic_id, timestamp, data {where}"):
                    rows += 1
                    channel = wanted.get(key)
                    if channel is not None and type(data) is bytes:
                        yield channel, stamp, data
                return
            except (sqlite3.Error, MemoryError, OverflowError) as error:
                text = f"sqlite cannot read on after {rows} messages ({reason(error)}): its pages are read one by one"
                self._damage.add(self.path, text)
            # The same rows once more, without their data, to know which ones were given out.
            given.update(row for (row,) in database.execute(f"SELECT rowid {where} LIMIT {rows}"))
        except sqlite3.Error:
            if len(given) < rows:
                self._damage.add(self.path, f"up to {rows - len(given)} messages may be given twice")
        finally:
            if database is not None:
                database.close()
        channels = self.channels
        self._carve()
        self.channels, self._sound = channels, False
        yield from self._carved(wanted, start_ns, stop_ns, frozenset(given))

    # Page by page -----------------------------------------------------------------------------------------------------

    def _carve(self) -> None:
        """Find channels and the pages that hold messages."""
        self._pages = pages = Pages(self._file, self.path, self._damage)
        self._groups = []
        found: dict[int, PartChannel] = {}
        self.channels = found
        definitions: dict[str, tuple[str, str]] = {}
        topics: dict[int, tuple[Any, ...]] = {}
        counts: dict[int, int] = {}
        seen: set[tuple[int, int]] = set()
        group: list[int] = []
        start, end = 2**63, -(2**63)
        rows, highest = 0, 0
        for number, cells in pages.leaves():
            span = (cells[0].row, cells[-1].row)
            first, last = 2**63, -(2**63)
            for cell in cells:
                if _is_message(cell):
                    _, key, stamp = pages.integers(cell)
                    counts[key] = counts.get(key, 0) + (span not in seen)
                    first, last = min(first, stamp), max(last, stamp)
                    rows, highest = rows + (span not in seen), max(highest, cell.row)
                elif (row := _texts(cell, pages)) is not None:
                    if len(row) == 5 and row[2] in _FORMS:
                        definitions.setdefault(row[1], (row[2], row[3]))
                    elif _TYPE.fullmatch(row[2]) and row[3]:
                        topics.setdefault(cell.row, (cell.row, *row[1:4]))
            if first <= last and span not in seen:
                seen.add(span)
                group.append(number)
                start, end = min(start, first), max(end, last)
                if len(group) >= _GROUP:
                    self._groups.append(_Group(tuple(group), start, end))
                    group, start, end = [], 2**63, -(2**63)
        if rows < highest < 2**40:
            self._damage.add(self.path, f"{highest - rows} of {highest} messages are missing", self._file.size)
        if group:
            self._groups.append(_Group(tuple(group), start, end))
        for topic in topics.values():
            self._note(topic, definitions)
        for key, channel in self.channels.items():
            channel.count = counts.get(key, 0)
        for key in sorted(set(counts) - set(topics)):
            text = f"{counts[key]} messages of topic {key}, whose row is missing, are skipped"
            self._damage.add(self.path, text)
        self._groups.sort(key=lambda g: g.start_ns)
        if self._groups:
            self.start_ns, self.end_ns = self._groups[0].start_ns, max(g.end_ns for g in self._groups)

    def _carved(
        self, wanted: Mapping[int, Channel], start_ns: int, stop_ns: int, given: frozenset[int]
    ) -> Iterator[Message]:
        groups = [g for g in self._groups if g.start_ns < stop_ns and g.end_ns >= start_ns]
        return in_order((g.start_ns, partial(self._load, g, wanted.get, start_ns, stop_ns, given)) for g in groups)

    def _load(
        self, group: _Group, get: Callable[[int], Any], start: int, stop: int, given: frozenset[int]
    ) -> list[Stamped]:
        assert self._pages is not None
        found: list[Stamped] = []
        for number in group.pages:
            for cell in self._pages.cells(number):
                if not _is_message(cell) or cell.row in given:
                    continue
                _, key, stamp = self._pages.integers(cell)
                channel = get(key)
                if channel is None or not start <= stamp < stop:
                    continue
                data = self._pages.column(cell, 3)
                if data is None:
                    self._damage.add(self.path, f"the message of row {cell.row} is cut: it is skipped", cell.offset)
                elif data[:1] != b"\0" and data[:4] != ZSTD_MAGIC:
                    self._damage.add(self.path, f"the message of row {cell.row} is damaged: it is skipped", cell.offset)
                else:
                    found.append((stamp, channel, data))
        return found

    def _note(self, row: tuple[Any, ...], definitions: Mapping[str, tuple[str, str]]) -> None:
        key, topic, msgtype, encoding = row[:4]
        if encoding not in ("cdr", "ros1"):
            self._damage.add(self.path, f"{topic} is encoded as '{encoding}' and not used: cdr and ros1 are")
            return
        form, text = definitions.get(msgtype, ("", ""))
        self.channels[int(key)] = PartChannel(int(key), str(topic), ros2_name(str(msgtype)), encoding, form, text)


def _is_message(cell: Cell) -> bool:
    types = cell.types
    return (
        len(types) == 4
        and types[0] < 7
        and _integer(types[1])
        and _integer(types[2])
        and types[3] >= 12
        and types[3] % 2 == 0
    )


def _integer(serial: int) -> bool:
    return 1 <= serial <= 6 or serial in (8, 9)


def _texts(cell: Cell, pages: Pages) -> list[str] | None:
    """Return the columns of a row of texts behind a number, as topics and definitions are; None = another kind of row."""
    if not 4 <= len(cell.types) <= 8 or cell.types[0] > 6 or any(t < 13 or t % 2 == 0 for t in cell.types[1:]):
        return None
    found = [pages.column(cell, k) for k in range(1, len(cell.types))]
    if any(value is None for value in found):
        return None
    return ["", *(value.decode(errors="replace") for value in found if value is not None)]
