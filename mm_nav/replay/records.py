"""What a replay leaves behind: one step, the columns of all steps, pictures for the film strip, and events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.command import Command, PolicyOutput, Progress, Stage
from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import GridExport, OccupancyGrid
from mm_nav.observation import Observation
from mm_nav.safety.guard import GuardResult

Floats = npt.NDArray[np.float64]

STAGES = tuple(Stage)
# Times ahead of a step for which the stack's and the recorded robot's places are compared, s.
AHEAD_S = tuple(round(0.25 * k, 2) for k in range(1, 17))
HORIZONS_S = (1, 2, 4)
ERRORS = ("ade", "fde", "policy_ade", "policy_fde", "straight_ade", "straight_fde")

# Known at once, one number a step. Unknown = nan.
LIVE_COLUMNS = (
    "time_s",  # since the first step
    "x", "y", "yaw",  # of the recorded robot, odom frame
    "recorded_linear", "recorded_angular",  # m/s, rad/s: what the robot did
    "told_linear", "told_angular",  # what it had been told to do
    "wanted_linear", "wanted_angular",  # what the navigator commanded
    "linear", "angular",  # what the guard left of it
    "limited", "stopped",  # 0 or 1: the guard reduced the stack's command; to nothing
    "recorded_limited", "recorded_stopped",  # the same of what the robot was told, or did
    "active",  # 0 or 1: the stack has a goal
    "clearance_m",  # from the recorded robot's body to the nearest scan point
    "stage",  # index into STAGES
    "visible", "bearing", "confidence", "distance_m",  # target in view, where (rad), belief in it, way to it
    "strange_image", "strange_scan",  # out-of-distribution scores, 1 = as far from training as its 99th percentile
    "latency_ms", "inference_ms",
    "has_scan", "has_image", "has_cloud",
)  # fmt: skip
# Known once the recording has gone on for long enough.
LATER_COLUMNS = (
    *(f"{what}_{h}s_m" for h in HORIZONS_S for what in ERRORS),
    "heading_error",  # rad, between the ways of the next 2 s, where both go anywhere
    "foreseen_clearance_m",  # of the foreseen drive's next 2 s, from what was scanned until then
)


@dataclass(frozen=True)
class ReplayStep:
    """One step of a replay.

    command: the navigator's; guarded: what the guard made of it; recorded: what the guard would have made of what the robot
    was told, or did. progress: the navigator's, with plan and target (odom frame). output: the policy's answer, None = nothing was
    asked. foreseen: (len(AHEAD_S), 3) x, y, yaw in the odom frame, where the stack would have been. latency_ms: of navigator and
    guard. live: LIVE_COLUMNS by name.
    """

    observation: Observation
    command: Command
    guarded: GuardResult
    recorded: GuardResult
    progress: Progress
    output: PolicyOutput | None
    foreseen: Floats
    latency_ms: float
    live: dict[str, float]
    grid: OccupancyGrid


# Gets each step as it is made; must not keep its pictures or clouds.
StepSink = Callable[[ReplayStep], None]


@dataclass(frozen=True)
class FilmFrame:
    """One picture of the film strip. Everything in the odom frame unless said otherwise, metres.

    jpeg: the camera's picture, reduced; None = there was none. waypoints_px: (K, T, 2) pixels of that picture, nan = not in view;
    waypoint_probs: (K,). heatmap: (h, w) where the policy looked, 0 to 1, None = nowhere. scan: (N, 2). plan: (M, 2). foreseen:
    (len(AHEAD_S), 2). twists (linear m/s, angular rad/s): wanted, driven (after the guard), recorded.
    """

    time_s: float
    pose: Pose2D
    jpeg: bytes | None
    size: tuple[int, int]
    waypoints_px: Floats
    waypoint_probs: Floats
    heatmap: Floats | None
    scan: Floats
    plan: Floats
    foreseen: Floats
    target: tuple[float, float] | None
    confidence: float
    visible: float
    stage: str
    step_text: str
    wanted: tuple[float, float]
    driven: tuple[float, float]
    recorded: tuple[float, float]
    guard: str


@dataclass(frozen=True)
class Event:
    """Something that happened. kind: goal, stage, guard, recorded_guard, near, strange, gap or clock. until_s: its end."""

    time_s: float
    kind: str
    text: str
    until_s: float = float("nan")


@dataclass
class ReplayLog:
    """Everything of a replay that a report needs. columns: LIVE_COLUMNS and LATER_COLUMNS, (steps,) each. map: at the end, odom
    frame. strange: why frames are unlike the training, and how many."""

    columns: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    film: list[FilmFrame] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    map: GridExport | None = None
    strange: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
