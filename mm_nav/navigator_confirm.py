"""Standing before a target: is it the one, and what may be said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.command import PolicyOutput
from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.mapping.belief import Hypothesis
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_state import Doubt, GoalState, StepState
from mm_nav.navigator_targets import Target

_FACING_RAD = 0.3
_LOOK_M, _LOOK_RAD = 2.0, 0.5  # from nearer than this, and this far to either side at most, looks at a target count
# So many looks count, and so many of them from one place, for those say nearly the same: what was seen on the way counts as well.
_MOST_LOOKS, _MOST_FROM_HERE = 16, 8
_HERE_M, _HERE_RAD = 0.05, 0.1
_SAME_M = 0.7  # a target that moved by more is another one
_CLIP = 0.02


@dataclass(frozen=True)
class Verdict:
    """turn: rad to turn by before it can be told. reached: how the target was reached, for people. rejected: it is not it, or
    not surely: another one is looked for first."""

    turn: float = 0.0
    reached: str = ""
    rejected: bool = False


def watch(
    pose: Pose2D,
    bearing: float,
    left: float,
    sight: bool,
    target: Hypothesis,
    output: PolicyOutput | None,
    leg: StepState,
    least_m: float = 0.0,
) -> None:
    """Note in leg.looks what the policy says of a target while the robot comes near.

    pose: of the robot, map frame. bearing: of the target, rad in base_link; left: metres to it. sight: whether the map has nothing
    in between; of what is hidden a picture says nothing. least_m: nor of what is nearer.
    """
    if leg.looked_at is None or math.hypot(target.x - leg.looked_at[0], target.y - leg.looked_at[1]) > _SAME_M:
        leg.looks.clear()
        leg.looked_from = None
    leg.looked_at = target.point
    near = sight and least_m <= left <= _LOOK_M and abs(bearing) <= _LOOK_RAD
    if output is not None and output.heatmap is not None and near:
        here = leg.looked_from
        if here is None or pose.distance_to(here) > _HERE_M or abs(wrap_angle(pose.yaw - here.yaw)) > _HERE_RAD:
            leg.looked_from, leg.looks_from_here = pose, 0
        leg.looks.append(output.visible)
        leg.looks_from_here += 1
        if leg.looks_from_here > _MOST_FROM_HERE:
            del leg.looks[-1 - _MOST_FROM_HERE]
        del leg.looks[:-_MOST_LOOKS]


def confirm(
    now: float,
    bearing: float,
    left: float,
    thing: str,
    found: Target,
    run: GoalState,
    leg: StepState,
    config: NavigatorConfig,
    camera_lost: bool,
    unseen: bool = False,
) -> Verdict:
    """Face the target and look at it long enough to be sure. One that stays doubtful is set aside: there may be a better one.

    bearing: of the target, rad in base_link. left: metres to its surface. thing: its name. run, leg: what is noted is kept there.
    unseen: from nearby it cannot be told; where too few looks from farther away were noted, what is believed has to do.
    """
    if found is leg.last_resort:
        why = "the camera was lost" if camera_lost else "nothing fits better"
        return Verdict(reached=f"{why}: stopped {left:.2f} m from what most likely is {thing} ({found.confidence:.0%})")
    if camera_lost:
        return Verdict(reached=f"the camera was lost: stopped {left:.2f} m from where {thing} had been seen")
    if leg.arrived_at is None:
        leg.arrived_at = now
    waited = now - leg.arrived_at
    enough = len(leg.looks) >= config.confirm_views
    sure = found.confidence if unseen and not enough else belief_of(leg.looks)
    # Without scans the guard may not let the robot turn; a target that is in view is confirmed from where it stands.
    # So is one that something keeps it from turning to.
    confirmed = (enough or unseen) and sure >= config.confirm_visible
    facing = abs(bearing) <= _FACING_RAD or (run.blind and sure >= config.confirm_visible)
    if confirmed and (facing or waited > config.confirm_timeout_s):
        return Verdict(reached=f"reached {thing}, {left:.2f} m away")
    if waited <= (config.confirm_timeout_s if facing else 4 * config.confirm_timeout_s):
        return Verdict() if facing else Verdict(turn=bearing)
    leg.arrived_at = None
    if run.blind and found.hypothesis.views >= config.confirm_views:
        # Without scans there is no second search.
        return Verdict(
            reached=f"the LiDAR was lost: stopped {left:.2f} m from where {thing} had been seen, not confirmed"
        )
    if sure >= config.doubt_visible:
        leg.doubts.append(Doubt(found.hypothesis.point, sure))
    return Verdict(rejected=True)


def last_resort(known: list[Hypothesis], leg: StepState, least: float) -> Target | None:
    """Return the likeliest of what was set aside, and of what is known with a confidence of at least `least`; None = there is
    nothing."""
    places = [(doubt.confidence, doubt.point) for doubt in leg.doubts]
    places += [(h.confidence, h.point) for h in known if h.confidence >= least]
    if not places:
        return None
    confidence, point = max(places, key=lambda place: place[0])
    return Target.at(point, confidence)


def belief_of(looks: list[float]) -> float:
    """Return what looks from nearby say together, 0 to 1: the mean of their log-odds, for they are too much alike to add up."""
    if not looks:
        return 0.0
    clipped: npt.NDArray[np.float64] = np.clip(np.asarray(looks, float), _CLIP, 1.0 - _CLIP)
    return float(1.0 / (1.0 + np.exp(-np.log(clipped / (1.0 - clipped)).mean())))
