"""Text that also arrives through the shared memory of Gymnasium's AsyncVectorEnv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

MAX_LENGTH = 200
CHARACTERS = "".join(map(chr, range(32, 127)))


class Words(spaces.Text):  # type: ignore[misc]  # mypy does not follow gymnasium
    """Printable ASCII of up to 200 characters.

    AsyncVectorEnv reads shared memory once, when it is made, and takes the result for a view that changes with it. That
    holds for arrays; the strings of a plain Text would stay empty. These are read whenever they are looked at.
    """

    def __init__(self) -> None:
        super().__init__(MAX_LENGTH, min_length=0, charset=CHARACTERS)


class _View(Sequence[str]):
    """The words of all environments as they are now; a copy is a tuple that stays."""

    def __init__(self, memory: Any, count: int) -> None:
        self._rows = np.frombuffer(memory.get_obj(), np.uint8).reshape(count, MAX_LENGTH)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[str]:
        return (bytes(row).rstrip(b"\0").decode("ascii") for row in self._rows)

    def __deepcopy__(self, memo: object) -> tuple[str, ...]:
        return tuple(self)


def _create(space: Words, n: int = 1, ctx: ModuleType | None = None) -> Any:
    if ctx is None:
        import multiprocessing

        ctx = multiprocessing
    return ctx.Array("B", n * MAX_LENGTH)


def _write(space: Words, index: int, value: str, shared_memory: Any) -> None:
    rows = np.frombuffer(shared_memory.get_obj(), np.uint8)
    row = rows[index * MAX_LENGTH : (index + 1) * MAX_LENGTH]
    row[:] = np.frombuffer(value.encode("ascii").ljust(MAX_LENGTH, b"\0"), np.uint8)


def _read(space: Words, shared_memory: Any, n: int = 1) -> _View:
    return _View(shared_memory, n)


create_shared_memory.register(Words, _create)
write_to_shared_memory.register(Words, _write)
read_from_shared_memory.register(Words, _read)
