"""One drive that a script has started: its feedback, its end, and how to call it off; from threads and from asyncio."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mm_nav.geometry import Pose2D
from mm_nav.ros.goal_client import Outcome, SentGoal
from mm_nav.ros.map_frame import MapFrame

STOP_S = 3.0  # so long an interrupted wait waits for the robot to have been stopped


@dataclass(frozen=True)
class Feedback:
    """Where a drive stands.

    stage: searching, approaching, following, moving or recovering. step_text: the part of the sentence that is being followed,
    which is number step_index (from 0) of step_count. distance_m: way to go, m, nan while that is not known. target: where the
    thing is believed to be, map frame, None while it has not been found. confidence: belief in it, 0 to 1. latency_ms: from
    the newest scan's arrival at the navigator to its command. time_s: since the goal was sent.
    """

    stage: str
    step_text: str
    step_index: int
    step_count: int
    distance_m: float
    target: Pose2D | None
    confidence: float
    latency_ms: float
    time_s: float

    def __str__(self) -> str:
        left = "" if math.isnan(self.distance_m) else f", {self.distance_m:.1f} m to go"
        said = f" '{self.step_text}'" if self.step_text else ""
        return f"{self.time_s:.1f} s: {self.stage}{said}{left}"


def feedback_from(message: Any, time_s: float, map_frame: MapFrame) -> Feedback:
    """Return what a NavigateTo feedback message says."""
    target = map_frame.stamped_in_map(message.target_pose) if message.target_pose.header.frame_id else None
    return Feedback(
        stage=message.stage, step_text=message.step_text, step_index=int(message.step_index),
        step_count=int(message.step_count), distance_m=float(message.distance_remaining), target=target,
        confidence=float(message.confidence), latency_ms=float(message.latency_ms), time_s=time_s,
    )  # fmt: skip


class Navigation:
    """A drive under way.

    Iterate over it (`for`, or `async for`) for its feedback: the newest each time, until it ends. `wait` or `await` gives the
    outcome. Leaving the loop does not end the drive; `cancel` does. Ctrl-C while it is waited for cancels it, and so does
    canceling the asyncio task that awaits it.
    """

    def __init__(
        self,
        send: Callable[[Callable[[Any], None]], SentGoal],
        within: Callable[[Callable[[], None]], None],
        rescue: Callable[[Navigation], None],
        map_frame: MapFrame,
    ) -> None:
        """send: sends the goal; called in the thread that spins, as `poll` is. within: hands a call to that thread.

        rescue: cancels the goal when that thread cannot any more, because rclpy was shut down. map_frame: takes targets to map.
        """
        self._within, self._rescue, self._map_frame = within, rescue, map_frame
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._count = 0
        self._newest: Feedback | None = None
        self._outcome: Outcome | None = None
        self._started = time.monotonic()
        self._sent: SentGoal | None = None
        self._send, self._canceled = send, False
        # Whether the goal may go on though it has ended here.
        self.severed = False

    # In the thread that spins

    def begin(self) -> None:
        """Send the goal."""
        self._sent = self._send(self._receive)
        if self._canceled:
            self._sent.cancel()

    def poll(self) -> bool:
        """Look how the goal stands; return whether it has ended."""
        if self._sent is not None and self._outcome is None:
            outcome = self._sent.poll()
            if outcome is not None:
                self.end(outcome)
        return self._outcome is not None

    def end(self, outcome: Outcome, severed: bool = False) -> None:
        """Note the outcome, the first one only. severed: this process cannot follow the goal any more; the robot may."""
        with self._changed:
            if self._outcome is None:
                self._outcome, self.severed = outcome, severed
        self._tell()

    def _receive(self, message: Any) -> None:
        feedback = feedback_from(message, time.monotonic() - self._started, self._map_frame)
        with self._changed:
            self._count, self._newest = self._count + 1, feedback
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    # For users, in any thread

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._outcome is not None

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it has not."""
        return self._outcome

    @property
    def feedback(self) -> Feedback | None:
        """The newest feedback; None before the first."""
        return self._newest

    @property
    def goal_id(self) -> Any:
        """unique_identifier_msgs/UUID of the action's goal; None until it is sent."""
        return None if self._sent is None else self._sent.goal_id

    def cancel(self) -> None:
        """Ask the robot to stop and return at once; `wait` says when it has."""
        self._canceled = True
        self._within(lambda: self._sent.cancel() if self._sent is not None else None)

    def wait(self, timeout_s: float | None = None) -> Outcome:
        """Wait for the end. Raises TimeoutError when it has not come after timeout_s; the drive goes on then."""
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._interruptible(), self._changed:
            while self._outcome is None:
                if time.monotonic() >= until:
                    raise TimeoutError(f"the drive goes on after {timeout_s} s: wait longer, or cancel()")
                self._changed.wait(min(0.5, until - time.monotonic()))
        return self._outcome

    def __iter__(self) -> Iterator[Feedback]:
        seen = 0
        while True:
            with self._interruptible(), self._changed:
                while self._outcome is None and self._count == seen:
                    self._changed.wait(0.5)
                if self._count == seen or self._newest is None:
                    return
                seen, newest = self._count, self._newest
            yield newest

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self._finished().__await__()

    async def _finished(self) -> Outcome:
        async with _Wakening(self) as wakening:
            while self._outcome is None:
                await wakening.wait()
        return self._outcome

    async def __aiter__(self) -> AsyncIterator[Feedback]:
        seen = 0
        async with _Wakening(self) as wakening:
            while True:
                while self._outcome is None and self._count == seen:
                    await wakening.wait()
                if self._count == seen or self._newest is None:
                    return
                seen, newest = self._count, self._newest
                yield newest

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self.stop()
            raise

    def stop(self) -> None:
        """Cancel, and wait up to STOP_S until the robot has been stopped."""
        if not self.done:
            self.cancel()
        until = time.monotonic() + STOP_S
        with self._changed:
            while self._outcome is None and time.monotonic() < until:
                self._changed.wait(0.1)
        if self.severed:
            self.severed = False
            self._rescue(self)


class _Wakening:
    """Wakes an asyncio task whenever something about a drive changes; cancels the drive with the task."""

    def __init__(self, navigation: Navigation) -> None:
        self._navigation = navigation
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()

    async def __aenter__(self) -> _Wakening:
        with self._navigation._changed:
            self._navigation._listeners.append(self._wake)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._navigation._changed:
            self._navigation._listeners.remove(self._wake)
        if kind is asyncio.CancelledError:
            self._navigation.cancel()

    async def wait(self) -> None:
        await self._event.wait()
        self._event.clear()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)
