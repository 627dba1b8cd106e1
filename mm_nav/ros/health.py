"""A node's status on /diagnostics: every second, and at once when something falls silent or comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from diagnostic_msgs.msg import DiagnosticArray

from mm_nav.ros import conversions, qos
from mm_nav.ros.parameters import ParameterSpec
from mm_nav.ros.stack_node import StackNode
from mm_nav.ros.topics import topics
from mm_nav.safety.inputs import Input, Inputs, Level, Problem

# A look for silent inputs every so often; one that comes later than ATTENTION_S was kept from it by this node's own work.
_CHECK_S, _ATTENTION_S = 0.1, 0.3
# The inference node says so often that it lives, goal or not.
HEARTBEAT_S = 0.2
# The navigator sends a step's command again for so long after it. The guard judges it by the newest scan, and stops where that is
# old.
REPEATED_S = 0.35

SILENCE = ParameterSpec(
    "silence", 0.4, "what is silent for longer is reported in /diagnostics and to who waits for a goal, s", 0.1, 10.0
)


# What a node says of itself while all is well, and values by key.
Status = tuple[str, Mapping[str, float | str]]


class Health:
    """Watches a node's inputs while it is active. robot: what the node runs on."""

    def __init__(self, node: StackNode, robot: str) -> None:
        self._node, self._robot = node, robot
        self._publisher = node.create_publisher(DiagnosticArray, topics().diagnostics, qos.STATUS)
        self._inputs: Inputs | None = None
        self.problems: tuple[Problem, ...] = ()

    def start(
        self,
        inputs: Iterable[Input],
        status: Callable[[], Status],
        others: Callable[[], tuple[Problem, ...]] = lambda: (),
        period_s: float = 1.0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to watch; call it in activate.

        status: what the node says of itself. others: what else is wrong with it. period_s: longest time between two reports.
        on_change: called when a problem comes or goes.
        """
        node, limit = self._node, float(self._node.value(SILENCE.name))
        clock_limit = limit if node.get_parameter("use_sim_time").value else float("inf")
        self._inputs = Inputs(inputs, node.steady_s(), _ATTENTION_S, clock_limit)
        self._status, self._others, self._period_s, self._on_change = status, others, period_s, on_change
        self.problems, self._sent_s = (), -float("inf")
        node.create_timer(_CHECK_S, self._look, clock=node.steady)

    def stop(self) -> None:
        """Say that the node watches no more; call it in deactivate."""
        self._inputs, self.problems = None, ()
        self._publish("inactive: activate this node", {}, Level.WARN)

    def heard(self, name: str) -> None:
        """Note that something usable came."""
        if self._inputs is not None:
            self._inputs.heard(name, self._node.steady_s())

    def refused(self, name: str, why: str) -> None:
        """Note that something came that cannot be used, and warn in the log."""
        self._node.get_logger().warning(why, throttle_duration_sec=5.0)
        if self._inputs is not None:
            self._inputs.refused(name, why, self._node.steady_s())

    def silence(self, name: str) -> str:
        """Return what to tell people about an input that is silent."""
        return "" if self._inputs is None else self._inputs.silence(name, self._node.steady_s())

    def _look(self) -> None:
        if self._inputs is None:
            return
        now = self._node.steady_s()
        self._inputs.clock(self._node.get_clock().now().nanoseconds, now)
        before, due = self.problems, now - self._sent_s >= self._period_s - _CHECK_S / 2
        self.problems = (*self._inputs.problems(now), *self._others())
        is_news = [(p.name, p.level) for p in before] != [(p.name, p.level) for p in self.problems]
        if not (is_news or due):
            return
        self._sent_s = now
        text, values = self._status()
        if self.problems:
            text = "; ".join(problem.text for problem in self.problems)
            values = {**values, **{conversions.PROBLEM + problem.name: problem.text for problem in self.problems}}
        self._publish(text, values, max((problem.level for problem in self.problems), default=Level.OK))
        if is_news:
            self._on_change()

    def _publish(self, text: str, values: Mapping[str, float | str], level: Level) -> None:
        name, now = self._node.get_fully_qualified_name(), self._node.get_clock().now().nanoseconds
        self._publisher.publish(conversions.diagnostics_message(name, self._robot, text, values, now, level))
