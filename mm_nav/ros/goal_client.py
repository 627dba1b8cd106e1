"""Sends one goal to the running stack and follows it; used by `mm-nav demo` and `mm-nav go`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rclpy
from action_msgs.msg import GoalStatus
from mm_nav_interfaces.action import NavigateTo
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from mm_nav.command import ErrorCode
from mm_nav.geometry import Pose2D
from mm_nav.ros import conversions
from mm_nav.ros.topics import frames, topics

# The generated class of the action's feedback; rosidl gives it no type that a checker could read.
Feedback = Any


@dataclass(frozen=True)
class GoalOutcome:
    """How a goal ended. distance_m: driven, by odometry. time_s: from acceptance, real time."""

    error: ErrorCode
    message: str
    distance_m: float = math.nan
    time_s: float = math.nan

    @property
    def succeeded(self) -> bool:
        """Whether the navigator says that it got there."""
        return self.error == ErrorCode.NONE


class GoalClient:
    """An action client on its own executor. node: any node of this process; it is spun by `run`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._client = ActionClient(node, NavigateTo, topics().navigate_to)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def spin(self, seconds: float) -> None:
        """Handle what comes in for `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._executor.spin_once(timeout_sec=max(0.0, min(0.05, until - time.monotonic())))

    def wait(self, seconds: float, alive: Callable[[], str] = lambda: "") -> bool:
        """Wait for the navigator; False when it does not come. alive: says what died, "" = nothing."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not alive():
            if self._client.server_is_ready():
                return True
            self.spin(0.1)
        return self._client.server_is_ready()

    def run(
        self,
        instruction: str,
        pose: Pose2D | None,
        timeout_s: float,
        on_feedback: Callable[[Feedback], None],
        on_tick: Callable[[], str] = lambda: "",
        cancel: Callable[[], bool] = lambda: False,
        image: npt.NDArray[np.uint8] | None = None,
    ) -> GoalOutcome:
        """Send the goal and wait for its end.

        on_tick: called about 20 times a second; a text says that something died and why. cancel: True asks the stack to stop.
        image: (H, W, 3) uint8, a picture of the target.
        A navigator that vanishes ends the goal with NAVIGATOR_LOST.
        """
        goal = NavigateTo.Goal(instruction=instruction, timeout=float(timeout_s))
        if pose is not None:
            goal.use_pose = True
            goal.pose = conversions.pose_message(pose, 0, frames().map)
        if image is not None:
            goal.use_image = True
            goal.image = conversions.picture_message(image)
        sent = self._client.send_goal_async(goal, feedback_callback=lambda message: on_feedback(message.feedback))
        self._spin_until(sent, 10.0)
        if not sent.done():
            return GoalOutcome(ErrorCode.NAVIGATOR_LOST, "the navigator did not answer within 10 s: is it running?")
        handle = sent.result()
        if not handle.accepted:
            return GoalOutcome(ErrorCode.INVALID_GOAL, "the navigator refused the goal: is it active?")
        result = handle.get_result_async()
        died, since, asked = "", 0.0, False
        gone_since: float | None = None
        while not result.done():
            self.spin(0.05)
            now = time.monotonic()
            died = died or on_tick()
            since = since or (now if died else 0.0)
            if cancel() and not asked:
                handle.cancel_goal_async()
                asked = True
            gone_since = None if self._client.server_is_ready() else gone_since or now
            # The navigator itself says what it has lost; only when it cannot speak any more is it the one that is gone.
            if (gone_since is not None and now - gone_since > 0.3) or (died and now - since > 2.5):
                return GoalOutcome(ErrorCode.NAVIGATOR_LOST, died or "the navigator vanished: look at its log")
        answer = result.result()
        if answer.status == GoalStatus.STATUS_UNKNOWN:
            return GoalOutcome(ErrorCode.NAVIGATOR_LOST, "the navigator forgot the goal: was it restarted?")
        got = answer.result
        return GoalOutcome(ErrorCode(got.error_code), got.message, got.distance, got.time)

    def _spin_until(self, future: rclpy.task.Future, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not future.done() and time.monotonic() < until:
            self.spin(0.02)
