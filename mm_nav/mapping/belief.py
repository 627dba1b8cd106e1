"""Where the thing that was named may be: hypotheses in the map frame, confirmed and refuted by what the policy sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.mapping.occupancy_grid import OccupancyGrid

# Bins next to the peak belong to it.
_PEAK_WIDTH = 0.12
MAX_EVIDENCE, MIN_EVIDENCE = 6.0, -2.0
CLIP = 0.02
# Views from one place are no independent ones: a view counts in full after this much way or turn since the one before (a step
# of 0.1 s at full speed), and never less than _STANDING.
_APART_M, _APART_RAD, _STANDING = 0.07, 0.13, 0.3
# From nearer than this, in sight by the map, not seeing it counts in full: little could hide it.
_NEAR_M = 2.0
# Less likely things are not glimpsed; of those that are, so many are kept, no two nearer than this.
_GLIMPSE, _MOST_GLIMPSES, _GLIMPSES_APART_M = 0.05, 8, 1.0


@dataclass(frozen=True)
class Hypothesis:
    """A place where the target may be.

    x, y: of the target's surface that faced the robot, map frame, metres. evidence: log-odds. variance: m², of the
    position. views: how often it was seen.
    """

    x: float
    y: float
    evidence: float
    variance: float
    views: int

    @property
    def confidence(self) -> float:
        """Probability, 0 to 1."""
        return 1.0 / (1.0 + math.exp(-self.evidence))

    @property
    def point(self) -> npt.NDArray[np.float64]:
        """Position (2,), metres."""
        return np.array([self.x, self.y])


class Sighting(Protocol):
    """Grounding of one phrase in one view: a PolicyOutput, or a Grounding of another phrase. Fields as there."""

    @property
    def bearings(self) -> npt.NDArray[np.float32]:
        """Bin centres (B,), rad in base_link."""

    @property
    def bearing_probs(self) -> npt.NDArray[np.float32]:
        """Where it is (B,), given that it is in view."""

    @property
    def bearing_ranges(self) -> npt.NDArray[np.float32]:
        """Metres (B,) to its surface."""

    @property
    def visible(self) -> float:
        """Probability that it is in view."""


@dataclass(frozen=True)
class BeliefConfig:
    """gain: share of a view's log-odds that is believed, 0 to 1, since views of the same place are not independent.

    loss: the same for not seeing it. min_visible: views below this probability make no new hypothesis. max_range: metres,
    beyond which not seeing says nothing. over_time: False = nothing is kept from one view to the next, and each is believed
    in full: what the belief is compared with.
    """

    gain: float = 0.45
    loss: float = 0.35
    min_visible: float = 0.35
    max_range: float = 5.0
    over_time: bool = True

    def evidence(self, visible: float, mass: float) -> float:
        """Return the log-odds that one view lends to a place. visible, mass: of the view and of the place in it."""
        odds = math.log(visible / (1.0 - visible)) + math.log(min(1.0, mass + 0.3))
        return self.gain * odds if self.over_time else odds

    @property
    def first_evidence(self) -> float:
        """The most that a place is believed, in log-odds, when it is seen for the first time."""
        return 1.0 if self.over_time else MAX_EVIDENCE


class TargetBelief:
    """Fuses the grounding of one phrase over time. glimpses: places where it was seen, but never surely enough to be believed,
    with what the surest view said of each; all there is to go by once the camera is lost."""

    def __init__(self, config: BeliefConfig | None = None) -> None:
        self.config = config or BeliefConfig()
        self.hypotheses: list[Hypothesis] = []
        self.glimpses: list[Hypothesis] = []
        self._rejected: list[tuple[npt.NDArray[np.float64], float]] = []
        self.viewed_from: Pose2D | None = None  # where the last view was taken
        self._weight = 1.0

    def reset(self) -> None:
        """Forget everything: another thing is being looked for."""
        self.hypotheses, self.glimpses = [], []
        self._rejected = []
        self.viewed_from = None

    def reject(self, point: npt.NDArray[np.float64], radius: float = 0.7) -> None:
        """What stands within `radius` metres of a point was looked at from nearby and is not it: believe it no more."""
        self._rejected.append((point, radius))
        self.glimpses = [h for h in self.glimpses if np.hypot(*(h.point - point)) > radius]
        self.hypotheses = [h for h in self.hypotheses if np.hypot(*(h.point - point)) > radius]

    def forgive(self) -> None:
        """Give what was rejected another chance."""
        self._rejected = []

    def best(self) -> Hypothesis | None:
        """Return the most likely hypothesis, or None."""
        return max(self.hypotheses, key=lambda h: (h.evidence, h.views), default=None)

    def penalise(self, point: npt.NDArray[np.float64], amount: float, radius: float = 0.8) -> None:
        """Take `amount` log-odds from what is believed within `radius` metres of a point."""
        self.hypotheses = [
            _changed(h, evidence=h.evidence - amount) if np.hypot(*(h.point - point)) < radius else h
            for h in self.hypotheses
        ]
        self._prune()

    def update(self, output: Sighting, pose: Pose2D, grid: OccupancyGrid, horizontal_fov: float) -> None:
        """Fuse one view taken from `pose` (map frame)."""
        if not self.config.over_time:
            self.reset()
        self._weigh(pose)
        self._forget_glimpses(pose, grid, horizontal_fov)
        seen: list[int] = []
        visible = min(max(output.visible, CLIP), 1.0 - CLIP)
        for bearing, reach, mass in _peaks(output):
            angle = pose.yaw + bearing
            x, y = pose.x + reach * math.cos(angle), pose.y + reach * math.sin(angle)
            if visible * mass < 0.5 * self.config.min_visible:
                self._glimpse(x, y, visible * mass, (0.10 * reach + 0.05) ** 2)
                continue
            if self._is_rejected(x, y):
                continue
            variance = (0.10 * reach + 0.05) ** 2
            index = self._nearest(x, y, 0.45 + 0.25 * reach)
            evidence = self.config.evidence(visible, mass) * (1.0 if index is None else self._weight)
            if index is None:
                if visible >= self.config.min_visible:
                    self.hypotheses.append(Hypothesis(x, y, min(evidence, self.config.first_evidence), variance, 1))
                    seen.append(len(self.hypotheses) - 1)
                continue
            old = self.hypotheses[index]
            # A floor under the old variance: the robot sees another side of the thing as it comes round.
            share = (old.variance + 0.01) / (old.variance + 0.01 + variance)
            self.hypotheses[index] = Hypothesis(
                old.x + share * (x - old.x),
                old.y + share * (y - old.y),
                min(MAX_EVIDENCE, old.evidence + evidence),
                (1.0 - share) * (old.variance + 0.01),
                old.views + 1,
            )
            seen.append(index)
        self._refute(seen, visible, pose, grid, horizontal_fov)
        self._prune()

    def _is_rejected(self, x: float, y: float) -> bool:
        return any(math.hypot(x - point[0], y - point[1]) < radius for point, radius in self._rejected)

    def _glimpse(self, x: float, y: float, probability: float, variance: float) -> None:
        if probability < _GLIMPSE:
            return
        seen = Hypothesis(x, y, math.log(probability / (1.0 - probability)), variance, 1)
        near = [h for h in self.glimpses if math.hypot(h.x - x, h.y - y) < _GLIMPSES_APART_M]
        if any(h.evidence >= seen.evidence for h in near):
            return
        kept = [h for h in self.glimpses if h not in near]
        self.glimpses = sorted([*kept, seen], key=lambda h: -h.evidence)[:_MOST_GLIMPSES]

    def _weigh(self, pose: Pose2D) -> None:
        """Note where the next view is from, and how much it counts beside the one before."""
        last, self.viewed_from = self.viewed_from, pose
        if last is None:
            self._weight = 1.0
            return
        apart = max(pose.distance_to(last) / _APART_M, abs(wrap_angle(pose.yaw - last.yaw)) / _APART_RAD)
        self._weight = min(1.0, max(_STANDING, apart))

    def _refute(
        self, seen: list[int], visible: float, pose: Pose2D, grid: OccupancyGrid, horizontal_fov: float
    ) -> None:
        for index, h in enumerate(self.hypotheses):
            if index in seen:
                continue
            distance = math.hypot(h.x - pose.x, h.y - pose.y)
            bearing = wrap_angle(math.atan2(h.y - pose.y, h.x - pose.x) - pose.yaw)
            if abs(bearing) > 0.4 * horizontal_fov or not 0.4 < distance < self.config.max_range:
                continue
            if not grid.line_of_sight(np.array([pose.x, pose.y]), h.point, skip=0.35):
                continue
            strength = 1.0 if distance < 0.6 * self.config.max_range else 0.4
            weight = 1.0 if distance < _NEAR_M else self._weight
            self.hypotheses[index] = _changed(h, evidence=h.evidence - self.config.loss * strength * weight)

    def _forget_glimpses(self, pose: Pose2D, grid: OccupancyGrid, horizontal_fov: float) -> None:
        """Drop what a look from nearby would have shown."""
        here = np.array([pose.x, pose.y])
        self.glimpses = [
            h
            for h in self.glimpses
            if math.hypot(h.x - pose.x, h.y - pose.y) > _NEAR_M
            or abs(wrap_angle(math.atan2(h.y - pose.y, h.x - pose.x) - pose.yaw)) > 0.4 * horizontal_fov
            or not grid.line_of_sight(here, h.point, skip=0.35)
        ]

    def _nearest(self, x: float, y: float, gate: float) -> int | None:
        distances = [math.hypot(h.x - x, h.y - y) for h in self.hypotheses]
        if not distances or min(distances) > gate:
            return None
        return int(np.argmin(distances))

    def _prune(self) -> None:
        self.hypotheses = [h for h in self.hypotheses if h.evidence > MIN_EVIDENCE]


def _changed(h: Hypothesis, evidence: float) -> Hypothesis:
    return replace(h, evidence=evidence)


def _peaks(output: Sighting, most: int = 2) -> list[tuple[float, float, float]]:
    """Return (bearing, range, mass) of the strongest peaks of the bearing distribution."""
    probs = output.bearing_probs.astype(np.float64).copy()
    peaks = []
    for _ in range(most):
        top = int(np.argmax(probs))
        near = np.abs(output.bearings - output.bearings[top]) <= _PEAK_WIDTH
        weights = probs * near
        mass = float(weights.sum())
        if mass < 0.15:
            break
        bearing = float((weights * output.bearings).sum() / mass)
        log_range = float((weights * np.log(np.maximum(output.bearing_ranges, 0.05))).sum() / mass)
        peaks.append((bearing, math.exp(log_range), mass))
        probs[near] = 0.0
    return peaks
