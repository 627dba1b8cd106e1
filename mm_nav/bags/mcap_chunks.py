"""Messages of sound MCAP files a chunk at a time: one read of the file, and views into it instead of copies.

The order, the checks and the errors are those of the `rosbags` library, whose index of the file this uses; only the way from the
file to a message is shorter.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress

# Opcode, length, channel, sequence, log time and publish time of a message record.
_MESSAGE = struct.Struct("<BQHIQQ")
_CHUNK_HEAD = struct.Struct("<BQQQQII")
_LENGTH = struct.Struct("<Q")
_OPCODE_MESSAGE, _OPCODE_CHUNK = 5, 6
_NEVER = 2**63 - 1

_Entry = tuple[int, int, int, Connection, memoryview]
_by_time = itemgetter(0, 1, 2)


def read_in_chunks(connections: Iterable[Any]) -> None:
    """Let an open rosbags reader hand out views instead of copies, for those of its files that are MCAP with an index.

    connections: of the reader; what belongs to other containers is left as it is.
    """
    owners = {id(owner): owner for owner in (getattr(connection, "owner", None) for connection in connections)}
    for owner in owners.values():
        for storage in getattr(owner, "storages", [owner]):
            if isinstance(storage, McapReader) and storage.chunks:
                # Its own method reads the same, more slowly.
                vars(storage)["messages"] = partial(chunk_messages, storage)


def chunk_messages(
    storage: McapReader, connections: Collection[Connection], start: int | None = None, stop: int | None = None
) -> Iterator[tuple[Connection, int, memoryview]]:
    """Yield (connection, log time, message) of an open, indexed MCAP file, in order of log time, from start until before stop, ns.

    Chunks without messages of these connections are not read. Raises ReaderError where the file is damaged, when all messages
    before the damaged chunk have been yielded.
    """
    wanted = {connection.id: connection for connection in connections}
    begin, end = 0 if start is None else start, _NEVER if stop is None else stop
    chunks = sorted(
        (
            chunk
            for chunk in storage.chunks
            if begin <= chunk.message_end_time
            and chunk.message_start_time < end
            and any(chunk.channel_count.get(key, 0) for key in wanted)
        ),
        key=lambda chunk: (chunk.message_start_time, chunk.chunk_start_offset),
    )
    pending: list[_Entry] = []
    for chunk in chunks:
        # What lies before the chunk's first message cannot be overtaken any more.
        ready = bisect_left(pending, chunk.message_start_time, key=itemgetter(0))
        for time, _, _, connection, data in pending[:ready]:
            yield connection, time, data
        del pending[:ready]
        entries = _entries(storage, chunk, wanted, begin, end)
        if pending:
            entries += pending
            entries.sort(key=_by_time)
        pending = entries
    for time, _, _, connection, data in pending:
        yield connection, time, data


def _entries(
    storage: McapReader, chunk: ChunkInfo, wanted: dict[int, Connection], begin: int, end: int
) -> list[_Entry]:
    offset = chunk.chunk_start_offset
    view = memoryview(_read(storage, chunk))
    size, at, last, found, in_order = len(view), 0, -1, list[_Entry](), True
    unpack = _MESSAGE.unpack_from
    try:
        while at < size:
            if view[at] != _OPCODE_MESSAGE:
                (length,) = _LENGTH.unpack_from(view, at + 1)
                at += 9 + length
                continue
            _, length, channel, _, time, _ = unpack(view, at)
            following = at + 9 + length
            if length < 22 or following > size:
                raise ReaderError(f"Invalid message record of {length} bytes in the chunk at offset {offset}.")
            if channel in wanted and begin <= time < end:
                found.append((time, offset, at, wanted[channel], view[at + 31 : following]))
                in_order &= time >= last
                last = time
            at = following
    except struct.error as error:
        raise ReaderError(f"Truncated record in the chunk at offset {offset}.") from error
    if at != size:
        raise ReaderError(f"Truncated record in the chunk at offset {offset}.")
    if not in_order:
        found.sort(key=_by_time)
    return found


def _read(storage: McapReader, chunk: ChunkInfo) -> bytes:
    """Return what is in a chunk."""
    file, offset = storage.bio, chunk.chunk_start_offset
    assert file is not None
    name = len(chunk.compression)
    file.seek(offset)
    head = file.read(_CHUNK_HEAD.size + name + _LENGTH.size)
    if len(head) < _CHUNK_HEAD.size + name + _LENGTH.size:
        raise ReaderError(f"Truncated chunk at offset {offset}.")
    opcode, _, _, _, _, crc, _ = _CHUNK_HEAD.unpack_from(head)
    if opcode != _OPCODE_CHUNK:
        raise ReaderError(f"No chunk at offset {offset}, where the index has one.")
    data = file.read(chunk.compressed_size)
    if len(data) != chunk.compressed_size:
        raise ReaderError(
            f"Truncated chunk at offset {offset}: {chunk.compressed_size} bytes expected, {len(data)} read."
        )
    raw: bytes = decompress(data, chunk.compression, chunk.uncompressed_size, crc)
    return raw
