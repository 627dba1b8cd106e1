"""One number a step and column, and what happened when, in little memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from mm_nav.replay.records import LATER_COLUMNS, LIVE_COLUMNS

Floats32 = npt.NDArray[np.float32]

COLUMNS = (*LIVE_COLUMNS, *LATER_COLUMNS)
_PLACE = {name: k for k, name in enumerate(COLUMNS)}
_BLOCK = 1024


class Columns:
    """Grows by a row a step: 4 bytes a column. What is not said is nan."""

    def __init__(self) -> None:
        self._blocks: list[Floats32] = []
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, values: Mapping[str, float]) -> int:
        """Add a row; return its index."""
        index = self._rows
        if index % _BLOCK == 0:
            self._blocks.append(np.full((_BLOCK, len(COLUMNS)), np.nan, np.float32))
        self._rows += 1
        self.set(index, values)
        return index

    def set(self, index: int, values: Mapping[str, float]) -> None:
        """Fill in more of a row."""
        row = self._blocks[index // _BLOCK][index % _BLOCK]
        for name, value in values.items():
            row[_PLACE[name]] = value

    def arrays(self) -> dict[str, Floats32]:
        """Return the columns (rows,) by name."""
        if not self._blocks:
            return {name: np.zeros(0, np.float32) for name in COLUMNS}
        table = np.concatenate(self._blocks)[: self._rows]
        return {name: np.ascontiguousarray(table[:, k]) for name, k in _PLACE.items()}


def spans(times: Floats32, mask: npt.NDArray[np.bool_], apart_s: float = 0.5) -> Iterator[tuple[int, int]]:
    """Yield (first, last) row of every stretch in which a mask (N,) is set; what is less than `apart_s` apart is one stretch."""
    set_at = np.flatnonzero(mask)
    if not len(set_at):
        return
    breaks = np.flatnonzero(np.diff(times[set_at]) > apart_s) + 1
    for part in np.split(set_at, breaks):
        yield int(part[0]), int(part[-1])
