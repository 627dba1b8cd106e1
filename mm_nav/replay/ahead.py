"""The policy on the next observation while the stack still works on this one: two cores, the same answers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

from mm_nav.command import PolicyOutput
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation
from mm_nav.runtime.memory import FrameMemory
from mm_nav.runtime.policy import OnnxPolicy, PolicySource

Item = TypeVar("Item")


class PolicyAhead:
    """A PolicySource that asks another one, and begins on the next observation with the goal of this one as soon as this one is
    answered. Where the goal turns out to be another, or nothing is asked of an observation, what was begun is undone.

    policy: one that can be set back (OnnxPolicy) is asked ahead, any other one only when its turn comes. waited_s: so much time was
    spent in here. Use it in a `with` statement.
    """

    def __init__(self, policy: PolicySource) -> None:
        self._policy = policy
        self._own = policy if isinstance(policy, OnnxPolicy) and policy.in_thread else None
        self._worker = ThreadPoolExecutor(1, "policy")
        self._begun: tuple[int, PolicyGoal, tuple[str, FrameMemory], Future[PolicyOutput | None]] | None = None
        self._upcoming: Observation | None = None
        self._last: PolicyOutput | None = None
        self.waited_s = 0.0
        # The navigator asks the policy what it knows.
        self.knowledge = getattr(policy, "knowledge", None)
        self.image_goals = bool(getattr(policy, "image_goals", False))

    def __enter__(self) -> PolicyAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)

    def expect(self, upcoming: Observation | None) -> None:
        """Say which observation comes after the one that is asked about now; None = nobody knows."""
        self._upcoming = upcoming

    def taken(self) -> PolicyOutput | None:
        """Return the answer to the present observation, if one was asked for, and forget it."""
        last, self._last = self._last, None
        return last

    def skip(self, observation: Observation) -> None:
        """Say that nothing was asked about an observation."""
        if self._begun is not None and self._begun[0] <= observation.stamp_ns:
            self._undo()

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput | None:
        """Return the policy's answer."""
        began = time.perf_counter()
        if self._begun is not None and self._begun[0] == observation.stamp_ns and self._begun[1] == goal:
            output = self._begun[3].result()
            self._begun = None
        else:
            self._undo()
            output = self._policy(observation, goal)
        self._last = output
        if self._own is not None and self._upcoming is not None:
            upcoming, self._upcoming = self._upcoming, None
            before = self._own.remembered()
            self._begun = upcoming.stamp_ns, goal, before, self._worker.submit(self._policy, upcoming, goal)
        self.waited_s += time.perf_counter() - began
        return output

    def _undo(self) -> None:
        """Wait for what was begun and forget it, and so does the policy."""
        if self._begun is None or self._own is None:
            return
        *_, state, future = self._begun
        self._begun = None
        try:
            future.result()
        finally:
            self._own.remember(state)


class Prefetched(Generic[Item]):
    """An iterator that a thread of its own reads ahead, a few items and no more. Use it in a `with` statement; what the reading
    raises is raised here, in its turn."""

    def __init__(self, items: Iterable[Item], depth: int = 4) -> None:
        self._items, self._end = items, object()
        self._queue: queue.Queue[object] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)

    def __enter__(self) -> Prefetched[Item]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self._queue.get()
            if item is self._end:
                return
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(self._end)
        except BaseException as error:
            self._put(error)

    def _put(self, item: object) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
