"""Where a driving policy came by, what it said there and whether it was right; and which of these places teach most."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from mm_nav.command import Grounding, PolicyOutput, Stage
from mm_nav.evaluation.episodes import StepRecord
from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.goal import PolicyGoal
from mm_nav.language.knowledge import Knowledge
from mm_nav.observation import Observation
from mm_nav.runtime.policy import PolicySource
from mm_nav.sim.simulator import Simulator

# The peak of the grounding may lie this far, rad, beside what the phrase names: two of the network's columns.
PEAK_RAD = 0.1
_VISIBLE = 0.5
Seen = Grounding | PolicyOutput
_STANDING = 0.02  # m/s
ENDING_S = 3.0


class Reason(IntFlag):
    """Why a visit is decisive.

    FALSE_ALARM, MISSED: the policy says of a phrase that it is in view, or not, and it is the other way round. MISPLACED: it
    points beside what the phrase names. CONFIRMING: the robot stands before something and looks whether that is it. ENDING:
    the last ENDING_S before the episode failed.
    """

    FALSE_ALARM = 1
    MISSED = 2
    MISPLACED = 4
    CONFIRMING = 8
    ENDING = 16
    WRONG = FALSE_ALARM | MISSED | MISPLACED


@dataclass
class Visit:
    """One step in which the policy was asked. pose: the truth, world frame. phrases: those it was wrong about first."""

    stamp_ns: int
    pose: Pose2D
    phrases: tuple[str, ...]
    reason: Reason


class Watch:
    """A PolicySource that asks both the policy and the oracle, notes the difference, and answers as one of them.

    known: the phrases that the oracle knows; only of these it can be told who is right. oracle: probability that an answer
    is the oracle's, drawn from `rng`.
    """

    def __init__(
        self,
        simulator: Simulator,
        policy: PolicySource | None,
        oracle: PolicySource | None,
        known: Collection[str],
        share: float,
        rng: np.random.Generator,
    ) -> None:
        assert policy is not None and oracle is not None
        self._simulator, self._policy, self._oracle = simulator, policy, oracle
        self._known, self._share, self._rng = known, share, rng
        self.visits: list[Visit] = []
        self.knowledge = getattr(policy, "knowledge", None) or Knowledge()

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput | None:
        """Return what is driven by."""
        said, true = self._policy(observation, goal), self._oracle(observation, goal)
        assert said is not None and true is not None
        phrases = (goal.phrase, *goal.others)
        given: tuple[Seen, ...] = (said, *said.others)
        wanted: tuple[Seen, ...] = (true, *true.others)
        faults = {
            phrase: fault_of(a, b) for phrase, a, b in zip(phrases, given, wanted, strict=True) if phrase in self._known
        }
        ordered = sorted(phrases, key=lambda phrase: not faults.get(phrase))
        reason = Reason(0)
        for fault in faults.values():
            reason |= fault
        self.visits.append(Visit(observation.stamp_ns, self._simulator.pose, tuple(ordered), reason))
        return true if self._rng.random() < self._share else said

    def note(self, step: StepRecord) -> None:
        """Look at how the step went on after the policy was asked."""
        if not self.visits or self.visits[-1].stamp_ns != step.observation.stamp_ns:
            return
        standing = abs(step.driven.linear) < _STANDING and abs(step.observation.odometry.twist.linear) < _STANDING
        if step.command.stage is Stage.APPROACHING and standing:
            self.visits[-1].reason |= Reason.CONFIRMING


def fault_of(said: Seen, true: Seen) -> Reason:
    """Return what is wrong with a grounding, given the oracle's; 0 when nothing is."""
    if (said.visible >= _VISIBLE) != (true.visible >= _VISIBLE):
        return Reason.FALSE_ALARM if said.visible >= _VISIBLE else Reason.MISSED
    if said.visible < _VISIBLE:
        return Reason(0)
    peak = said.bearings[int(np.argmax(said.bearing_probs))]
    off = np.abs(true.bearings[true.bearing_probs > 0] - peak)
    return Reason.MISPLACED if float(off.min()) > PEAK_RAD else Reason(0)


def mark_ending(visits: Sequence[Visit]) -> None:
    """Call the last ENDING_S of an episode decisive."""
    for visit in visits:
        if visits[-1].stamp_ns - visit.stamp_ns <= 1e9 * ENDING_S:
            visit.reason |= Reason.ENDING


def choose(
    visits: Sequence[Visit],
    count: int,
    hard_share: float,
    spacing_m: float,
    spacing_rad: float,
    rng: np.random.Generator,
) -> list[Visit]:
    """Return up to `count` visits in the order of time, drawn at random, no two of the same phrases alike in pose.

    Those without a reason are at most (1 - hard_share) of `count`: an episode in which all goes well gives few.
    """
    plain_most = round(count * (1.0 - hard_share))
    kept: list[Visit] = []

    def take(candidates: Sequence[Visit], most: int) -> None:
        for index in rng.permutation(len(candidates)):
            if len(kept) >= most:
                return
            visit = candidates[index]
            if all(_differ(visit, other, spacing_m, spacing_rad) for other in kept):
                kept.append(visit)

    hard = [visit for visit in visits if visit.reason]
    take(hard, count - plain_most)
    take([visit for visit in visits if not visit.reason], len(kept) + plain_most)
    take(hard, count)
    return sorted(kept, key=lambda visit: visit.stamp_ns)


def _differ(one: Visit, other: Visit, spacing_m: float, spacing_rad: float) -> bool:
    if set(one.phrases) != set(other.phrases):
        return True
    apart = math.hypot(one.pose.x - other.pose.x, one.pose.y - other.pose.y)
    return apart >= spacing_m or abs(wrap_angle(one.pose.yaw - other.pose.yaw)) >= spacing_rad
