"""Asks the running nodes of the stack how they are and what they were told: lifecycle states and parameters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from mm_nav.config_file import read_yaml
from mm_nav.resources import resource_path
from mm_nav.ros.graph_snapshot import STACK_NODES, StackNeeds, StackNodeState
from mm_nav.ros.health import REPEATED_S
from mm_nav.safety.guard import GuardConfig

# An answer that does not come so soon is asked for again: the way back may not have been there yet.
_AGAIN_S = 1.0
# Parameters that decide what the graph must look like.
_ASKED = (
    "use_sim_time", "robot", "twist_stamped", "points", "compressed", "scan_timeout", "slow_scan_age", "max_scan_age",
    "image_timeout", "frozen_scans", "command_timeout",
)  # fmt: skip
_FIELDS = {
    ParameterType.PARAMETER_BOOL: "bool_value",
    ParameterType.PARAMETER_INTEGER: "integer_value",
    ParameterType.PARAMETER_DOUBLE: "double_value",
    ParameterType.PARAMETER_STRING: "string_value",
}


@dataclass
class _Asked:
    """The questions to one node. pending: by service, the answer that is waited for and when it was asked for."""

    name: str
    clients: dict[str, Client]
    pending: dict[str, tuple[Future, float]] = field(default_factory=dict)
    state: str = ""
    names: tuple[str, ...] | None = None
    values: dict[str, Any] | None = None

    @property
    def done(self) -> bool:
        return bool(self.state) and self.values is not None


class StackQuestions:
    """Call `ask` now and then while the node is spun; `answers` returns what has come."""

    def __init__(self, node: Node, namespace: str) -> None:
        self._node, self._space = node, namespace
        self._asked: dict[str, _Asked] = {}

    @property
    def open(self) -> bool:
        """Whether an answer is still waited for."""
        self._ask_all()
        return any(not asked.done for asked in self._asked.values())

    def ask(self, nodes: list[str]) -> None:
        """Put the questions to those of the stack's nodes that are among `nodes` (full names)."""
        for name in STACK_NODES:
            full = f"{self._space}/{name}"
            if name not in self._asked and full in nodes:
                kinds = {"get_state": GetState, "list_parameters": ListParameters, "get_parameters": GetParameters}
                clients = {what: self._node.create_client(kind, f"{full}/{what}") for what, kind in kinds.items()}
                self._asked[name] = _Asked(full, clients)
        self._ask_all()

    def answers(self) -> dict[str, StackNodeState]:
        """Return the nodes that are there, by their own names."""
        return {n: StackNodeState(asked.name, asked.state, asked.values or {}) for n, asked in self._asked.items()}

    def _ask_all(self) -> None:
        for asked in self._asked.values():
            if answer := self._answer(asked, "get_state", GetState.Request(), not asked.state):
                asked.state = str(answer.current_state.label)
            if answer := self._answer(asked, "list_parameters", ListParameters.Request(), asked.names is None):
                # Asked for one that is not declared, a node tells none at all.
                asked.names = tuple(name for name in _ASKED if name in answer.result.names)
            request = GetParameters.Request(names=list(asked.names or ()))
            wanted = asked.names is not None and asked.values is None
            if answer := self._answer(asked, "get_parameters", request, wanted):
                pairs = zip(asked.names or (), answer.values, strict=False)
                asked.values = {name: getattr(v, _FIELDS[v.type]) for name, v in pairs if v.type in _FIELDS}

    def _answer(self, asked: _Asked, what: str, request: Any, wanted: bool) -> Any:
        """Return the answer to a question, or None while there is none, and put it where that is due."""
        if not wanted:
            return None
        future, since = asked.pending.get(what, (None, 0.0))
        if future is not None and future.done():
            del asked.pending[what]
            return future.result()
        client = asked.clients[what]
        if client.service_is_ready() and (future is None or time.monotonic() - since > _AGAIN_S):
            asked.pending[what] = client.call_async(request), time.monotonic()
        return None


def needs_from(stack: Mapping[str, StackNodeState]) -> StackNeeds:
    """Return what the running stack can live with; where it does not run, what config/ and the nodes' defaults say."""
    from mm_nav.ros.guard_node import GuardNode

    guard: dict[str, Any] = {spec.name: spec.default for spec in GuardNode.PARAMETERS}
    given = read_yaml(resource_path("config/guard.yaml"), "config/guard.yaml")
    guard |= given.get("/**", {}).get("ros__parameters", {})
    if (node := stack.get("guard")) is not None:
        guard |= node.parameters
    inference = stack["inference"].parameters if "inference" in stack else {}
    limits = GuardConfig()
    return StackNeeds(
        # The navigator has a command for each scan, and repeats it.
        scan_gap_s=min(float(guard["scan_timeout"]), REPEATED_S + float(guard["command_timeout"])),
        slow_age_s=float(guard["slow_scan_age"]),
        max_age_s=float(guard["max_scan_age"]),
        image_gap_s=float(inference.get("image_timeout", StackNeeds.image_gap_s)),
        min_valid_share=limits.min_valid_share,
        frozen_scans=int(guard["frozen_scans"]),
        twist_stamped=bool(guard["twist_stamped"]),
        points=bool(guard["points"]) if "points" in guard else None,
    )
