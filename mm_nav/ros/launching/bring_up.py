"""Brings lifecycle nodes up in order: each is configured and activated after the one before it is active; again after a respawn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from launch.actions import OpaqueFunction, RegisterEventHandler
from launch.event import Event
from launch.event_handler import EventHandler
from launch.event_handlers import OnProcessExit, OnProcessStart, OnShutdown
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch_ros.actions import Node
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from mm_nav.errors import MmNavError

_POLL_S = 0.05
# An answer may be lost while two processes are still getting to know each other; then the question is asked again.
_ANSWER_S = 4.0
# Opening a TensorRT engine for the first time takes minutes; whoever waits for it should know.
_PATIENCE_S = 15.0
_CONFIGURED = (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE)
_ACTIVATED = (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE)
_NAMES = {Transition.TRANSITION_CONFIGURE: "configure", Transition.TRANSITION_ACTIVATE: "activate"}


class Failed(Event):
    """Something that the launch cannot go on without has failed."""

    name = "mm_nav.ros.launching.Failed"

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Active(Event):
    """All nodes of a sequence are active for the first time."""

    name = "mm_nav.ros.launching.Active"

    def __init__(self, sequence: BringUp) -> None:
        super().__init__()
        self.sequence = sequence


def ends_on_failure() -> RegisterEventHandler:
    """Return what ends the launch with status 1 and the reason, once something has failed."""

    def end(context: LaunchContext) -> None:
        if not context.is_shutdown:
            raise MmNavError(context.locals.event.reason)

    return RegisterEventHandler(
        EventHandler(matcher=lambda event: isinstance(event, Failed), entities=OpaqueFunction(function=end))
    )


def ends_with(node: Any, what: str) -> RegisterEventHandler:
    """Return what ends the launch when a process ends, whatever its status. node: the action. what: such as "Gazebo"."""

    def ended(event: Any, context: LaunchContext) -> None:
        if not context.is_shutdown:
            context.emit_event_sync(Failed(f"{what} ended with status {event.returncode}, so everything is shut down"))

    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended))


class BringUp:
    """A sequence of lifecycle nodes. nodes: (full name, action), in the order in which they come up. after: a sequence that comes
    first.

    retry_s: above 0: once all were active, a node may die, for its action starts it again, and one that then cannot be configured
    is tried again after so long. Before, and with 0, either ends the launch: what is wrong from the start does not mend itself.
    """

    def __init__(self, nodes: Sequence[tuple[str, Node]], after: BringUp | None = None, retry_s: float = 0.0) -> None:
        self._nodes, self._after, self._retry_s = tuple(nodes), after, retry_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._active: dict[str, asyncio.Event] = {}
        self._clients: dict[str, Any] = {}
        self._complete = False

    def entities(self) -> list[RegisterEventHandler]:
        """Return what must be in the launch description before the nodes."""
        handlers = [OnShutdown(on_shutdown=self._stop)]
        for name, node in self._nodes:
            handlers.append(OnProcessStart(target_action=node, on_start=lambda _, c, name=name: self._started(name, c)))
            handlers.append(OnProcessExit(target_action=node, on_exit=lambda e, c, name=name: self._ended(name, e, c)))
        return [RegisterEventHandler(handler) for handler in handlers]

    async def wait(self) -> None:
        """Return when all are active."""
        for name, _ in self._nodes:
            await self._event(name).wait()

    def _event(self, name: str) -> asyncio.Event:
        return self._active.setdefault(name, asyncio.Event())

    def _started(self, name: str, context: LaunchContext) -> None:
        if not context.is_shutdown:
            self._tasks[name] = context.asyncio_loop.create_task(self._bring_up(name, context))

    def _ended(self, name: str, event: Any, context: LaunchContext) -> None:
        self._event(name).clear()
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        if not context.is_shutdown and not (self._retry_s and self._complete):
            reason = f"{name} ended with status {event.returncode}"
            reason += (
                ", so everything is shut down" if self._complete else " before all were up; its lines above say why"
            )
            context.emit_event_sync(Failed(reason))

    def _stop(self, event: object, context: LaunchContext) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _bring_up(self, name: str, context: LaunchContext) -> None:
        try:
            if self._after is not None:
                await self._after.wait()
            for before in (other for other, _ in self._nodes[: [n for n, _ in self._nodes].index(name)]):
                await self._event(before).wait()
            for step in (_CONFIGURED, _ACTIVATED):
                while not await self._step(name, context, *step):
                    reason = f"{name} could not {_NAMES[step[0]]}; its lines above say why"
                    # The first time, somebody is there to read it. Later on, what is missing may come back.
                    if not (self._retry_s and self._complete):
                        await context.emit_event(Failed(reason))
                        return
                    get_logger("mm_nav").error(f"{reason}; trying again in {self._retry_s:g} s")
                    await asyncio.sleep(self._retry_s)
            get_logger("mm_nav").info(f"{name} is active")
            self._event(name).set()
            if not self._complete and all(self._event(other).is_set() for other, _ in self._nodes):
                self._complete = True
                await context.emit_event(Active(self))
        except Exception as error:
            await context.emit_event(Failed(f"{name} could not be brought up: {error}"))

    async def _step(self, name: str, context: LaunchContext, transition: int, origin: int, target: int) -> bool:
        """Make one transition; return whether the node got there."""
        began = told = time.monotonic()
        change = self._client(context, ChangeState, f"{name}/change_state")
        look = self._client(context, GetState, f"{name}/get_state")
        future: Any = None
        while True:
            if future is None:
                state = await self._ask(look, GetState.Request())
                if state is not None and state.current_state.id == target:
                    return True
                if state is not None and state.current_state.id == origin:
                    future = change.call_async(ChangeState.Request(transition=Transition(id=transition)))
                    sent = time.monotonic()
            elif future.done():
                return bool(future.result().success)
            elif time.monotonic() - sent > _ANSWER_S:
                # Busy with it, done with it, or it never heard of it.
                state = await self._ask(look, GetState.Request())
                if state is not None and state.current_state.id in (origin, target) and not future.done():
                    change.remove_pending_request(future)
                    future = None
                sent = time.monotonic()
            if time.monotonic() - told > _PATIENCE_S:
                told = time.monotonic()
                doing = "does not answer yet" if future is None else f"is still at it ({_NAMES[transition]})"
                get_logger("mm_nav").warning(f"{name} {doing} after {told - began:.0f} s")
            await asyncio.sleep(_POLL_S)

    def _client(self, context: LaunchContext, kind: Any, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = get_ros_node(context).create_client(kind, name)
        return self._clients[name]

    async def _ask(self, client: Any, request: Any) -> Any:
        """Return the answer to a question, None when none comes."""
        if not client.service_is_ready():
            return None
        future, until = client.call_async(request), time.monotonic() + _ANSWER_S
        while not future.done():
            if time.monotonic() > until:
                client.remove_pending_request(future)
                return None
            await asyncio.sleep(_POLL_S)
        return future.result()
