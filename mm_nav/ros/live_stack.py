"""The real nodes without a simulator, for what plays to them; its goal, and how long their commands take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from mm_nav_interfaces.action import NavigateTo
from rclpy.action import ActionClient
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from mm_nav.errors import MmNavError
from mm_nav.ros.goal_client import GoalClient
from mm_nav.ros.node_list import STACK
from mm_nav.ros.process_group import ProcessGroup, last_words, prepare_environment
from mm_nav.ros.topics import topics

_PATIENCE_S = 40.0


@dataclass(frozen=True)
class LiveStack:
    """The processes, and a node of this one whose client spins it."""

    group: ProcessGroup
    node: rclpy.node.Node
    client: GoalClient

    def check(self) -> None:
        """Raise MmNavError when a process has ended."""
        if dead := self.group.dead():
            words = ", ".join(f"{name}: {last_words(self.group.log(name))}" for name in dead)
            raise MmNavError(f"a node ended while it was played to: {words}")


@contextmanager
def live_stack(
    name: str, logs: Path, parameters: Mapping[str, Mapping[str, object]], domain_id: int | None = None
) -> Iterator[LiveStack]:
    """Start guard, inference and navigator on real time, and end them whatever happens.

    name: of this process's node. parameters: of theirs. domain_id: None = the environment's. Raises MmNavError when they do not
    come up.
    """
    prepare_environment(domain_id)
    # Ctrl-C is Python's: it leaves the context as it is until the processes have ended.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(name)
    try:
        with ProcessGroup(STACK, logs, parameters, use_sim_time=False) as group:
            client = GoalClient(node)
            if not client.wait(_PATIENCE_S, lambda: ", ".join(group.dead())):
                raise MmNavError(
                    f"the nodes did not come up: {', '.join(last_words(group.log(n.name)) for n in STACK)}"
                )
            yield LiveStack(group, node, client)
    finally:
        node.destroy_node()
        rclpy.shutdown()


class PlayedGoal:
    """The goal that the navigator works on while something is played to it. idle: nothing was asked for, or it has ended."""

    def __init__(self, node: rclpy.node.Node) -> None:
        self._client = ActionClient(node, NavigateTo, topics().navigate_to)
        self._sent: Future | None = None
        self._handle: Any = None
        self._result: Future | None = None
        self._accepted = math.inf

    @property
    def idle(self) -> bool:
        return self._sent is None or (self._result is not None and bool(self._result.done()))

    @property
    def outcome(self) -> NavigateTo.Result | None:
        """How it ended; None = it has not."""
        return self._result.result().result if self._result is not None and self._result.done() else None

    def begin(self, goal: NavigateTo.Goal) -> None:
        """Send a goal; it takes the place of the one before."""
        self._result, self._handle, self._accepted = None, None, math.inf
        self._sent = self._client.send_goal_async(goal)

    def active_s(self, now: float) -> float:
        """Return for how long the present goal has been worked on, s; 0 when it is not."""
        if self._sent is not None and self._result is None and self._sent.done():
            self._handle = self._sent.result()
            self._result, self._accepted = self._handle.get_result_async(), now
        return 0.0 if self.idle else max(0.0, now - self._accepted)

    def cancel(self) -> None:
        """Ask the navigator to stop working on it."""
        if self._handle is not None and not self.idle:
            self._handle.cancel_goal_async()


class CommandMeter:
    """From the moment a scan was sent to the moment its command arrived.

    deadline_s: later commands are misses. patience_s: a scan that has no command by then never gets one, which is a miss too.
    counting: whether what happens now counts; a scan counts when it is so from its sending to its end.
    """

    def __init__(self, deadline_s: float, patience_s: float) -> None:
        self.deadline_s, self._patience_s = deadline_s, patience_s
        self.counting = False
        self._sent: dict[int, tuple[float, bool]] = {}
        self._latencies: list[tuple[float, float]] = []
        self._missed: list[float] = []

    def scan(self, stamp_ns: int) -> None:
        """Note that a scan is being sent."""
        self._give_up(self._patience_s)
        self._sent[stamp_ns] = time.perf_counter(), self.counting

    def end(self) -> None:
        """Count the scans that have no command yet: none will come."""
        self._give_up(-math.inf)

    def _give_up(self, after_s: float) -> None:
        now = time.perf_counter()
        for stamp in [stamp for stamp, (sent, _) in self._sent.items() if now - sent > after_s]:
            if self._sent.pop(stamp)[1] and self.counting:
                self._missed.append(now)

    def command(self, stamp_ns: int) -> bool:
        """Note a command by the stamp of its scan; return whether it is counted."""
        sent, counted = self._sent.pop(stamp_ns, (0.0, False))
        if not (counted and self.counting):
            return False
        now = time.perf_counter()
        self._latencies.append((now, 1e3 * (now - sent)))
        return True

    def measured(self, since: float = -math.inf, until: float = math.inf) -> tuple[np.ndarray[Any, Any], int]:
        """Return the latencies (N,), ms, of commands in a span of time.perf_counter, and how many scans got none."""
        values = np.array([took for at, took in self._latencies if since <= at < until], np.float64)
        return values, sum(since <= at < until for at in self._missed)
