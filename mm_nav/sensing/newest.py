"""Work off the control thread, on the newest input only: an older one that waits is dropped, so that queues never grow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from mm_nav.errors import MmNavError

Input = TypeVar("Input")
Output = TypeVar("Output")


class NewestWorker(Generic[Input, Output]):
    """Calls work(input) in a thread of its own. ready: called there when a result can be taken. dropped: inputs that were never
    worked on, for a newer one came."""

    def __init__(self, work: Callable[[Input], Output], ready: Callable[[], object], name: str = "worker") -> None:
        self._work, self._ready = work, ready
        self._changed = threading.Condition()
        self._waiting: Input | None = None
        self._done: list[Output | MmNavError] = []
        self._closed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: Input) -> None:
        """Work on this next, instead of what waits."""
        with self._changed:
            self.dropped += self._waiting is not None
            self._waiting = item
            self._changed.notify()

    def take(self) -> list[Output | MmNavError]:
        """Return what was made since the last call, oldest first; an MmNavError where the work failed."""
        with self._changed:
            done, self._done = self._done, []
        return done

    def close(self) -> None:
        """End the thread; what waits is not worked on."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting is not None)
                if self._closed:
                    return
                item, self._waiting = self._waiting, None
            assert item is not None
            result: Output | MmNavError
            try:
                result = self._work(item)
            except MmNavError as error:
                result = error
            except Exception as error:  # the thread must live on, and whoever takes the result be told
                result = MmNavError(f"{type(error).__name__}: {error}")
            with self._changed:
                self._done.append(result)
            self._ready()
