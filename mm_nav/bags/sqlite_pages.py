"""A sqlite database's table rows, straight from its pages. Format: https://www.sqlite.org/fileformat2.html"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mm_nav.bags.blocks import MAX_CHUNK, Damage, FileBytes

MAGIC = b"SQLite format 3\0"
_LEAF = 0x0D
_SIZES = (4096, 1024, 2048, 8192, 16384, 32768, 65536, 512)
_LOG_HEADER, _FRAME_HEADER = 32, 24
_LENGTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)  # of serial types
_MAX_COLUMNS = 64
# Pages of a row's overflow are mostly neighbours: so many are read at once.
_TOGETHER = 64


@dataclass(frozen=True)
class Cell:
    """One row. row: its id. types: sqlite's serial types of the columns. data: the part of the record behind its header that
    lies in the page; rest: the first page of what does not, 0 = all does. size: of both. offset: in the file."""

    row: int
    types: tuple[int, ...]
    data: bytes
    rest: int
    size: int
    offset: int


class Pages:
    """The pages of a database and of the write-ahead log beside it."""

    def __init__(self, file: FileBytes, path: Path, damage: Damage) -> None:
        self._file, self._path, self._damage = file, path, damage
        head = file.read(0, 100)
        self.size, reserved = 0, 0
        if head[:16] == MAGIC:
            (size,) = struct.unpack_from(">H", head, 16)
            self.size, reserved = 65536 if size == 1 else size, head[20]
        else:
            damage.add(path, "it does not begin as a sqlite database", 0)
        if self.size not in _SIZES:
            self.size, reserved = self._guessed_size(), 0
        self._usable = self.size - reserved
        self.count = -(-file.size // self.size)
        if len(head) >= 32 and head[:16] == MAGIC:
            (claimed,) = struct.unpack_from(">I", head, 28)
            if claimed > self.count:
                damage.add(path, f"it is cut: {claimed} pages of {self.size} bytes are {self.count}", file.size)
        self._log: FileBytes | None = None
        self._logged: dict[int, int] = {}
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            self._log = FileBytes(log)
            self._read_log(self._log)
            self.count = max([self.count, *self._logged])

    def close(self) -> None:
        """Close the log; the database belongs to who opened it."""
        if self._log is not None:
            self._log.close()

    def leaves(self) -> Iterator[tuple[int, list[Cell]]]:
        """Yield (page, rows) of every table leaf page."""
        numbers = range(1, self.count + 1)
        if self.count > self._file.size // self.size + 1:  # a log may name any page
            numbers = range(1, -(-self._file.size // self.size) + 1)
        extra = sorted(n for n in self._logged if n not in numbers)
        for number in (*numbers, *extra) if extra else numbers:
            if cells := self.cells(number):
                yield number, cells

    def cells(self, number: int) -> list[Cell]:
        """Return a page's rows, none if it is no table leaf page."""
        page = self._page(number, peek=True)
        start = 100 if number == 1 else 0
        if len(page) < start + 8 or page[start] != _LEAF:
            return []
        (count,) = struct.unpack_from(">H", page, start + 3)
        found: list[Cell] = []
        for k in range(min(count, (self.size - start - 8) // 2)):
            if start + 10 + 2 * k > len(page):
                break
            (at,) = struct.unpack_from(">H", page, start + 8 + 2 * k)
            cell = self._cell(page, at, (number - 1) * self.size)
            if cell is not None:
                found.append(cell)
        return found

    def integers(self, cell: Cell) -> tuple[int, int, int]:
        """Return the first three columns, which must be integers or null (0)."""
        values: list[int] = []
        at = 0
        for serial in cell.types[:3]:
            length = _LENGTHS[serial]
            value = 1 if serial == 9 else int.from_bytes(cell.data[at : at + length], "big", signed=True)
            values.append(value)
            at += length
        return values[0], values[1], values[2]

    def column(self, cell: Cell, index: int) -> bytes | None:
        """Return the bytes of a text or blob column; None when part of it is missing."""
        begin = sum(_length(serial) for serial in cell.types[:index])
        length = _length(cell.types[index])
        if begin + length <= len(cell.data):
            return cell.data[begin : begin + length]
        if begin + length > cell.size or not cell.rest:
            return None
        rest = self._overflow(cell.rest, begin + length - len(cell.data))
        if rest is None:
            return None
        return cell.data[begin:] + rest if begin < len(cell.data) else rest[begin - len(cell.data) :]

    def _cell(self, page: bytes, at: int, offset: int) -> Cell | None:
        begin = at
        payload, at = _varint(page, at)
        row, at = _varint(page, at)
        if not 0 < payload <= min(MAX_CHUNK, self._file.size + (self._log.size if self._log else 0)) or at > len(page):
            return None
        local = payload
        if payload > self._usable - 35:
            least = (self._usable - 12) * 32 // 255 - 23
            local = least + (payload - least) % (self._usable - 4)
            local = local if local <= self._usable - 35 else least
        data = page[at : at + local]
        if len(data) < local:
            return None
        rest = 0
        if local < payload:
            tail = page[at + local : at + local + 4]
            if len(tail) < 4:
                return None
            rest = int.from_bytes(tail, "big")
        header, position = _varint(data, 0)
        if not 1 < header <= len(data):
            return None
        types: list[int] = []
        while position < header:
            serial, position = _varint(data, position)
            types.append(serial)
            if serial in (10, 11) or len(types) > _MAX_COLUMNS:
                return None
        if position != header or sum(_length(serial) for serial in types) != payload - header:
            return None
        row -= 2**64 if row >= 2**63 else 0
        return Cell(row, tuple(types), data[header:], rest, payload - header, offset + begin)

    def _overflow(self, number: int, length: int) -> bytes | None:
        pieces: list[bytes] = []
        room = self._usable - 4
        while length > 0:
            if not 0 < number <= self.count:
                return None
            together = 1 if self._logged else min(_TOGETHER, -(-length // room))
            block = (
                self._page(number) if together == 1 else self._file.read((number - 1) * self.size, together * self.size)
            )
            for at in range(0, len(block), self.size):
                following = int.from_bytes(block[at : at + 4], "big")
                piece = block[at + 4 : at + 4 + min(room, length)]
                if len(piece) < min(room, length):
                    return None
                pieces.append(piece)
                length -= len(piece)
                number += 1
                if length <= 0 or following != number:
                    number = following
                    break
            if not block:
                return None
        return b"".join(pieces)

    def _page(self, number: int, peek: bool = False) -> bytes:
        if number in self._logged and self._log is not None:
            return self._log.read(self._logged[number], self.size)
        offset = (number - 1) * self.size
        return (
            self._file.peek(offset, min(self.size, max(self._file.size - offset, 0)))
            if peek
            else self._file.read(offset, self.size)
        )

    def _read_log(self, log: FileBytes) -> None:
        """Note which pages have a newer version in the log: those up to its last commit."""
        head = log.read(0, _LOG_HEADER)
        if len(head) < _LOG_HEADER or head[:3] != b"\x37\x7f\x06":
            self._damage.add(log.path, "it is no write-ahead log: it is not used", 0)
            return
        (size,) = struct.unpack_from(">I", head, 8)
        if size != self.size:
            self._damage.add(log.path, f"its pages of {size} bytes are not the database's: it is not used", 8)
            return
        pending: dict[int, int] = {}
        at = _LOG_HEADER
        while at + _FRAME_HEADER + size <= log.size:
            frame = log.peek(at, _FRAME_HEADER)
            number, commit = struct.unpack_from(">II", frame)
            if len(frame) < _FRAME_HEADER or frame[8:16] != head[16:24] or number == 0:
                break  # what follows is of an older log
            pending[number] = at + _FRAME_HEADER
            if commit:
                self._logged.update(pending)
                pending = {}
            at += _FRAME_HEADER + size
        # A page of a transaction that was not finished is whole nevertheless; new pages add rows.
        self._logged.update({n: o for n, o in pending.items() if n not in self._logged})

    def _guessed_size(self) -> int:
        """Return the largest page size at which about as many pages look like table leaf pages as at any."""
        leaves = dict.fromkeys(sorted(_SIZES), 0)
        for size in leaves:
            for at in range(0, min(self._file.size, 2**24), size):
                head = self._file.peek(at, 8)
                if len(head) == 8 and head[0] == _LEAF:
                    count, content = struct.unpack_from(">HH", head, 3)
                    leaves[size] += 0 < count < size // 4 and 8 + 2 * count <= (content or 65536) <= size
        most = max(leaves.values())
        return max((size for size in leaves if leaves[size] >= 0.75 * most), default=_SIZES[0]) if most else _SIZES[0]


def _length(serial: int) -> int:
    return _LENGTHS[serial] if serial < 12 else (serial - 12) // 2


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to nine bytes and where the next one begins; beyond the end that is past it."""
    value = 0
    for k in range(9):
        if at + k >= len(data):
            return 0, len(data) + 1
        byte = data[at + k]
        if k == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + k + 1
    raise AssertionError("unreachable")
