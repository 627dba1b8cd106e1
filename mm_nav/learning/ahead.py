"""Batches made ahead of time: numpy works on one core while torch is in the serial parts of its own work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Asked = TypeVar("_Asked")
_Made = TypeVar("_Made")
_AHEAD = 2


def made_ahead(make: Callable[[_Asked], _Made], asked: Iterable[_Asked]) -> Iterator[_Made]:
    """Yield make(item) for each of `asked`, in order; a thread makes the next ones meanwhile.

    asked: read here, in the caller's thread, and no further than it must be; may be without end.
    """
    items = iter(asked)
    with ThreadPoolExecutor(max_workers=1) as worker:
        coming = deque(worker.submit(make, item) for item in islice(items, _AHEAD))
        while coming:
            made = coming.popleft().result()
            coming.extend(worker.submit(make, item) for item in islice(items, 1))
            yield made
