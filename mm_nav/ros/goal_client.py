"""Sends goals to the running stack and follows them: for mm_nav.Robot, `mm-nav demo`, `mm-nav go` and the Nav2 bridge."""

from __future__ import annotations

import math
import time
import uuid
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
from unique_identifier_msgs.msg import UUID

from mm_nav.command import ErrorCode
from mm_nav.geometry import Pose2D
from mm_nav.ros import conversions
from mm_nav.ros.topics import frames, topics

# The generated class of the action's feedback; rosidl gives it no type that a checker could read.
FeedbackMessage = Any

ANSWER_S = 10.0  # so long may a navigator take to accept a goal
# The middleware notices a killed process only after 10 to 20 s; one that has sent feedback five times a second is missed earlier.
SILENCE_S = 5.0
_GONE_S, _DIED_S, _ATTENTION_S = 0.3, 2.5, 0.5


@dataclass(frozen=True)
class Outcome:
    """How a goal ended; true when the robot got there. distance_m: driven, by odometry. time_s: from acceptance, real time."""

    error: ErrorCode
    message: str
    distance_m: float = math.nan
    time_s: float = math.nan

    @property
    def succeeded(self) -> bool:
        """Whether the navigator says that it got there."""
        return self.error == ErrorCode.NONE

    def __bool__(self) -> bool:
        return self.succeeded

    def __str__(self) -> str:
        return f"{'reached' if self else self.error.name}: {self.message}"


def goal_message(
    instruction: str = "",
    pose: Pose2D | None = None,
    image: npt.NDArray[np.uint8] | None = None,
    timeout_s: float = 0.0,
    facing: bool = False,
) -> NavigateTo.Goal:
    """Return the action's goal. pose: map frame. image: (H, W, 3) uint8, of the target. timeout_s: 0 = the navigator's own. facing:
    whether the pose's yaw counts."""
    goal = NavigateTo.Goal(instruction=instruction, timeout=float(timeout_s))
    if pose is not None:
        goal.use_pose = True
        goal.pose = conversions.pose_message(pose, 0, frames().map, facing)
    if image is not None:
        goal.use_image = True
        goal.image = conversions.picture_message(image)
    return goal


class SentGoal:
    """One goal that was sent; it spins nothing.

    Whoever spins the client's node calls `poll` about 20 times a second, in the thread that spins, until it gives an outcome. A
    navigator that vanishes or falls silent ends the goal with NAVIGATOR_LOST. goal_id: unique_identifier_msgs/UUID.
    """

    def __init__(
        self, client: ActionClient, goal: NavigateTo.Goal, on_feedback: Callable[[FeedbackMessage], None]
    ) -> None:
        self._client, self._on_feedback = client, on_feedback
        # Known from the start, so that the goal can be canceled before it is accepted, and from elsewhere.
        self.goal_id = UUID(uuid=list(uuid.uuid4().bytes))
        self._sent = client.send_goal_async(goal, feedback_callback=self._feedback, goal_uuid=self.goal_id)
        self._sent_at = self._polled_at = time.monotonic()
        self._handle: Any = None
        self._result: rclpy.task.Future | None = None
        self._cancel = False
        self._heard_at = self._died_at = self._gone_at = math.nan
        self._died = ""
        self.outcome: Outcome | None = None

    def cancel(self) -> None:
        """Ask the stack to stop; it says so in the outcome. One that was not accepted yet is canceled as soon as it is."""
        if not self._cancel:
            self._cancel = True
            self._sent.add_done_callback(_cancel_accepted)

    @property
    def accepted(self) -> bool:
        """Whether the navigator has taken it."""
        return self._handle is not None

    def poll(self, died: str = "") -> Outcome | None:
        """Return how it ended, None while it has not. died: what the caller knows to be dead, "" = nothing."""
        if self.outcome is None:
            now = time.monotonic()
            self.outcome = self._look(now, died)
            self._polled_at = now
            if self.outcome is not None and self.outcome.error is ErrorCode.NAVIGATOR_LOST:
                self.cancel()  # should it only be out of reach
        return self.outcome

    def _feedback(self, message: Any) -> None:
        self._heard_at = time.monotonic()
        if self.outcome is None:
            self._on_feedback(message.feedback)

    def _look(self, now: float, died: str) -> Outcome | None:
        if self._handle is None:
            if not self._sent.done():
                if now - self._sent_at < ANSWER_S:
                    return None
                text = died or f"the navigator did not answer within {ANSWER_S:.0f} s: is it running?"
                return Outcome(ErrorCode.NAVIGATOR_LOST, text)
            handle = self._sent.result()
            if handle is None or not handle.accepted:
                return Outcome(ErrorCode.INVALID_GOAL, "the navigator refused the goal: is it active?")
            self._handle, self._result = handle, handle.get_result_async()
        assert self._result is not None
        if self._result.done():
            return self._ended(self._result.result())
        if died and not self._died:
            self._died, self._died_at = died, now
        gone = not self._client.server_is_ready()
        self._gone_at = (now if math.isnan(self._gone_at) else self._gone_at) if gone else math.nan
        if now - self._polled_at > _ATTENTION_S and not math.isnan(self._heard_at):
            # It was us who did not listen.
            self._heard_at = now
        # The navigator itself says what it has lost; only when it cannot speak any more is it the one that is gone.
        if now - self._gone_at > _GONE_S or now - self._died_at > _DIED_S or now - self._heard_at > SILENCE_S:
            return Outcome(ErrorCode.NAVIGATOR_LOST, self._died or "the navigator vanished: look at its log")
        return None

    def _ended(self, answer: Any) -> Outcome:
        if answer is None or answer.status == GoalStatus.STATUS_UNKNOWN:
            return Outcome(ErrorCode.NAVIGATOR_LOST, "the navigator forgot the goal: was it restarted?")
        got = answer.result
        return Outcome(ErrorCode(got.error_code), got.message, got.distance, got.time)


def _cancel_accepted(sent: rclpy.task.Future) -> None:
    handle = sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()


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
        on_feedback: Callable[[FeedbackMessage], None],
        on_tick: Callable[[], str] = lambda: "",
        cancel: Callable[[], bool] = lambda: False,
        image: npt.NDArray[np.uint8] | None = None,
        facing: bool = False,
    ) -> Outcome:
        """Send the goal and wait for its end.

        on_tick: called about 20 times a second; a text says that something died and why. cancel: True asks the stack to stop.
        image: (H, W, 3) uint8, a picture of the target. facing: whether the pose's yaw counts.
        """
        sent = SentGoal(self._client, goal_message(instruction, pose, image, timeout_s, facing), on_feedback)
        died, asked = "", False
        while (outcome := sent.poll(died)) is None:
            self.spin(0.05)
            if sent.accepted:
                died = died or on_tick()
            if not asked and cancel():
                sent.cancel()
                asked = True
        return outcome
