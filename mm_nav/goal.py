"""What the robot is asked to do."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.errors import GoalError
from mm_nav.geometry import Pose2D

MAX_INSTRUCTION_CHARACTERS = 500


@dataclass(frozen=True)
class Goal:
    """A sentence, a pose, or a picture; any subset, but at least one. They are followed in the order sentence, picture, pose.

    instruction: plain English, up to 500 characters. pose: in the map frame, metres and rad. image: (H, W, 3) uint8
    picture of the target; the navigator refuses it beside a sentence that names a thing. timeout_s: seconds until the goal fails.
    facing: whether the robot is to take up the pose's yaw in the end; it may stand as it likes otherwise. Raises GoalError when
    there is nothing to do, the sentence is too long or the timeout is not positive.
    """

    instruction: str = ""
    pose: Pose2D | None = None
    image: npt.NDArray[np.uint8] | None = None
    timeout_s: float = 180.0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    facing: bool = False

    def __post_init__(self) -> None:
        if len(self.instruction) > MAX_INSTRUCTION_CHARACTERS:
            raise GoalError(
                f"the instruction has {len(self.instruction)} characters; at most "
                f"{MAX_INSTRUCTION_CHARACTERS} are read: shorten it"
            )
        if not self.instruction.strip() and self.pose is None and self.image is None:
            raise GoalError("the goal is empty: give an instruction, a pose or an image")
        if not self.timeout_s > 0:
            raise GoalError(f"timeout_s is {self.timeout_s}; it must be above 0 seconds")
        if self.pose is not None and not np.all(np.isfinite([self.pose.x, self.pose.y, self.pose.yaw])):
            raise GoalError(f"the goal pose {self.pose} is not finite: give numbers in metres and radians")


@dataclass(frozen=True)
class PolicyGoal:
    """The part of a goal that the policy is conditioned on right now: one step of an instruction.

    id: changes whenever the step changes. phrase: the noun phrase or sentence to ground ("" = none). pose: the goal
    in base_link at the observation's time is derived from this map-frame pose. image: (H, W, 3) uint8. others: further noun
    phrases to ground in the same view, of things that the target is told apart by ("the table" of "the chair next to it").
    """

    id: str
    phrase: str = ""
    pose: Pose2D | None = None
    image: npt.NDArray[np.uint8] | None = None
    others: tuple[str, ...] = ()
