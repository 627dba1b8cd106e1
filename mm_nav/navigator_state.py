"""What the navigator keeps in mind: for a goal, and for the step of it that is under way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.command import ErrorCode, Stage
from mm_nav.geometry import Pose2D
from mm_nav.navigator_targets import Target
from mm_nav.planning.exploration import Viewpoint

Point = npt.NDArray[np.float64]
Outcome = tuple[Stage, ErrorCode, str]


@dataclass(frozen=True)
class Doubt:
    """A thing that was looked at from nearby and may be what is wanted. point: map frame, m. confidence: 0 to 1."""

    point: Point
    confidence: float


@dataclass
class GoalState:
    """Times are stamps in seconds; started is None until the first observation. aim: where the robot is heading, map frame.

    outcome: how the goal ended, once a behaviour returns no twist. heard_at: where the robot was given the goal, map frame.
    driving: whether a path is being followed. refusal: why its words cannot be followed, "" = they can. moved: how often its pose
    was moved.
    """

    started: float | None = None
    last_scan: float = 0.0
    had_scan: bool = False
    blind: bool = False
    heard_at: Pose2D = field(default_factory=Pose2D)
    driving: bool = False
    refusal: str = ""
    aim: Point | None = None
    planned_for: Point = field(default_factory=lambda: np.full(2, np.inf))
    moved: int = 0
    outcome: Outcome = (Stage.FAILED, ErrorCode.INTERNAL, "ended without a reason")


@dataclass
class StepState:
    """approaching: committed to a target. arrived_at: when the robot first stood before it, or came to the goal pose. blocked:
    places given up.

    tried: viewpoints that were taken. rounds: how often everything was looked at. no_path: plans in a row that
    found no way. at_corridor_end: nothing is left to follow, the rest is searched for. looks: probabilities that the last views
    from nearby gave to what is at looked_at, the last looks_from_here of them from looked_from. doubts: what was set aside.
    last_resort: the likeliest of them, once nothing better can be found. explored: nothing unknown is left, for a robot that lost
    its camera. next_guess: when it may guess again where the target is. placed: where it was put last by the outlines in the map,
    with where it had been seen; placed_at: when.
    """

    approaching: bool = False
    arrived_at: float | None = None
    viewpoint: Viewpoint | None = None
    blocked: list[Point] = field(default_factory=list)
    tried: list[Viewpoint] = field(default_factory=list)
    rounds: int = 0
    no_path: int = 0
    next_plan: float = 0.0
    at_corridor_end: bool = False
    looks: list[float] = field(default_factory=list)
    looked_at: Point | None = None
    looked_from: Pose2D | None = None
    looks_from_here: int = 0
    doubts: list[Doubt] = field(default_factory=list)
    last_resort: Target | None = None
    explored: bool = False
    next_guess: float = 0.0
    placed: tuple[Target, Target] | None = None
    placed_at: float = -math.inf
