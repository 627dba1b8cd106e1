"""What comes out of the stack: the policy's view, the navigator's command, its stage and its error codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, Twist2D


class ErrorCode(IntEnum):
    """Why a goal ended. The values are those of mm_nav_interfaces/action/NavigateTo."""

    NONE = 0
    INVALID_GOAL = 1
    TARGET_NOT_FOUND = 2
    NO_PATH = 3
    STUCK = 4
    TIMEOUT = 5
    CANCELED = 6
    SENSOR_LOST = 7
    INFERENCE_LOST = 8
    GUARD_LOST = 9
    NAVIGATOR_LOST = 10
    INTERNAL = 11
    UNKNOWN_TARGET = 12


class Stage(str, Enum):
    """What the navigator is doing."""

    IDLE = "idle"
    SEARCHING = "searching"
    APPROACHING = "approaching"
    FOLLOWING = "following"
    MOVING = "moving"
    RECOVERING = "recovering"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Grounding:
    """Where one phrase's thing is in one view. Fields as in PolicyOutput."""

    bearings: npt.NDArray[np.float32]
    bearing_probs: npt.NDArray[np.float32]
    bearing_ranges: npt.NDArray[np.float32]
    visible: float


@dataclass(frozen=True)
class PolicyOutput:
    """What the learned policy says about one observation.

    bearings: (B,) float32, rad in base_link, bin centres. bearing_probs: (B,) float32, sums to 1: where the target is,
    given that it is in view. bearing_ranges: (B,) float32, metres from base_link's origin to the target's surface, were it in
    that bin. visible: probability that the target is in view. arrived: probability that the robot is at the target.
    waypoints: (K, T, 2) float32, metres in base_link, T points along each of K hypotheses. waypoint_probs: (K,)
    float32, sums to 1. heatmap: (h, w) float32, sums to 1, over the camera image (for people to look at).
    inference_ms: time spent in preprocessing and network; preprocess_ms: of that, in preprocessing. others: groundings of the
    goal's other phrases, in their order.
    """

    stamp_ns: int
    goal_id: str
    bearings: npt.NDArray[np.float32]
    bearing_probs: npt.NDArray[np.float32]
    bearing_ranges: npt.NDArray[np.float32]
    visible: float
    arrived: float
    waypoints: npt.NDArray[np.float32]
    waypoint_probs: npt.NDArray[np.float32]
    heatmap: npt.NDArray[np.float32] | None = None
    inference_ms: float = 0.0
    others: tuple[Grounding, ...] = ()
    preprocess_ms: float = 0.0


@dataclass(frozen=True)
class Command:
    """One decision of the navigator.

    stamp_ns: stamp of the observation it was computed from. twist: base_link velocity. degraded: names of the
    inputs that were missing or stale when it was computed.
    """

    stamp_ns: int
    twist: Twist2D
    stage: Stage
    error: ErrorCode = ErrorCode.NONE
    message: str = ""
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Where the navigator stands with its goal; feeds action feedback and displays.

    distance_m: path length to go where known, else straight-line distance, else nan. target: in the map frame.
    confidence: belief in the target, 0 to 1.
    """

    stage: Stage
    step_index: int = 0
    step_count: int = 1
    step_text: str = ""
    distance_m: float = float("nan")
    target: Pose2D | None = None
    confidence: float = 0.0
    path: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
