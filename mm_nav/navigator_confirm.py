"""Standing before a target: is it the one, and what may be said of it."""

from __future__ import annotations

from dataclasses import dataclass

from mm_nav.command import PolicyOutput
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_state import GoalState, StepState
from mm_nav.navigator_targets import Target

_FACING_RAD = 0.3


@dataclass(frozen=True)
class Verdict:
    """turn: rad to turn by before it can be told. reached: how the target was reached, for people. rejected: it is not it."""

    turn: float = 0.0
    reached: str = ""
    rejected: bool = False


def confirm(
    now: float,
    bearing: float,
    left: float,
    thing: str,
    found: Target,
    output: PolicyOutput | None,
    run: GoalState,
    leg: StepState,
    config: NavigatorConfig,
    camera_lost: bool,
) -> Verdict:
    """Face the target and see it some times before saying so; without a sensor, say what was not confirmed.

    bearing: of the target, rad in base_link. left: metres to its surface. thing: its name. run, leg: their counts are kept here.
    """
    if found is leg.guess:
        text = f"the camera was lost: stopped where {thing} most likely is ({found.confidence:.0%}), not confirmed"
        return Verdict(reached=text)
    if camera_lost:
        return Verdict(reached=f"the camera was lost: stopped {left:.2f} m from where {thing} had been seen")
    if leg.arrived_at is None:
        leg.arrived_at, run.confirmations = now, 0
    waited = now - leg.arrived_at
    seen = output is not None and output.visible >= config.confirm_visible
    # Without scans the guard may not let the robot turn; a target that is in view is confirmed from where it stands.
    facing = abs(bearing) <= _FACING_RAD or (run.blind and seen)
    if facing:
        # Views that do not show it count against those that do: flicker confirms nothing.
        run.confirmations = max(0, run.confirmations + (1 if seen else -1))
    if run.confirmations >= config.confirm_views:
        return Verdict(reached=f"reached {thing}, {left:.2f} m away")
    patience = config.confirm_timeout_s if run.blind else config.confirm_timeout_s + 2.0
    if waited > (patience if facing else 4 * config.confirm_timeout_s):
        if run.blind and found.hypothesis.views >= config.confirm_views:
            # Without scans there is no second search.
            return Verdict(
                reached=f"the LiDAR was lost: stopped {left:.2f} m from where {thing} had been seen, not confirmed"
            )
        leg.arrived_at = None
        return Verdict(rejected=True)
    return Verdict() if facing else Verdict(turn=bearing)
