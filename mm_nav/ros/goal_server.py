"""The action navigate_to: one goal at a time, each of which ends with a result."""

from __future__ import annotations

import math
from collections.abc import Callable

from mm_nav_interfaces.action import NavigateTo
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from rclpy.timer import Timer

from mm_nav.command import ErrorCode
from mm_nav.ros.stack_node import StackNode
from mm_nav.ros.topics import topics

# How a goal ends when an input of the navigator is silent for too long.
LOST = {
    "scan": ErrorCode.SENSOR_LOST,
    "odom": ErrorCode.SENSOR_LOST,
    "policy": ErrorCode.INFERENCE_LOST,
    "guard_status": ErrorCode.GUARD_LOST,
}
# A result is on its way for so long at most.
_DELIVERY_S = 0.5


class GoalServer:
    """Takes goals while its node is active. accept: called with each; it calls `begin`, and sooner or later `end`."""

    def __init__(self, node: StackNode, accept: Callable[[ServerGoalHandle], None]) -> None:
        self._node = node
        self._results: dict[bytes, Future] = {}
        self._handle: ServerGoalHandle | None = None
        self._ended_s = -math.inf
        self._retirement: Timer | None = None
        self._server: ActionServer | None = ActionServer(
            node, NavigateTo, topics().navigate_to, execute_callback=self._execute, goal_callback=self._consider,
            handle_accepted_callback=accept, cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )  # fmt: skip

    @property
    def busy(self) -> bool:
        """Whether a goal is being worked on."""
        return self._handle is not None

    @property
    def cancel_requested(self) -> bool:
        """Whether who sent the goal wants it no more."""
        return self._handle is not None and bool(self._handle.is_cancel_requested)

    def _consider(self, request: NavigateTo.Goal) -> GoalResponse:
        if self._node.active and self._retirement is None:
            return GoalResponse.ACCEPT
        self._node.get_logger().warning("goal refused: the navigator is not active")
        return GoalResponse.REJECT

    def begin(self, handle: ServerGoalHandle) -> None:
        """Work on a goal from now on; the one before has been ended."""
        self._handle = handle
        self._results[bytes(handle.goal_id.uuid)] = Future()
        handle.execute()

    def tell(self, feedback: NavigateTo.Feedback) -> None:
        """Tell who sent the goal how it goes."""
        if self._handle is not None and self._handle.is_active:
            self._handle.publish_feedback(feedback)

    def end(self, result: NavigateTo.Result) -> None:
        """End the goal."""
        if self._handle is not None:
            self._results[bytes(self._handle.goal_id.uuid)].set_result(result)
            self._handle, self._ended_s = None, self._node.steady_s()

    async def _execute(self, handle: ServerGoalHandle) -> NavigateTo.Result:
        key = bytes(handle.goal_id.uuid)
        result: NavigateTo.Result = await self._results[key]
        del self._results[key]
        if result.error_code == ErrorCode.NONE:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def retire(self) -> None:
        """Take no more goals, and go as soon as the last result has been delivered."""
        if self._node.steady_s() - self._ended_s > _DELIVERY_S and not self._results:
            self.destroy()
        elif self._retirement is None and self._server is not None:
            self._retirement = self._node.create_timer(_DELIVERY_S, self.destroy, clock=self._node.steady)

    def destroy(self) -> None:
        """Go at once."""
        if self._retirement is not None:
            self._node.destroy_timer(self._retirement)
            self._retirement = None
        if self._server is not None:
            self._server.destroy()
            self._server = None
