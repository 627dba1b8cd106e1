"""What the navigator believes about the things of a step: one belief per phrase, and which of them the words mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.command import PolicyOutput
from mm_nav.geometry import Pose2D
from mm_nav.language.reference import SIZE_KINDS, Reference
from mm_nav.mapping.belief import BeliefConfig, Hypothesis, Sighting, TargetBelief
from mm_nav.mapping.instances import InstanceBelief
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.relations import VIEW_RAD
from mm_nav.mapping.resolve import Scene, doubtful, resolve
from mm_nav.mapping.walls import WallMap, find_walls

_WALLS_PERIOD_S = 1.0
_HERE_M = 0.4  # from where the sentence was heard: what is seen, was seen from there
_SAME_M, _CLEARLY_BETTER = 0.5, 1.5  # m; log-odds
_SURE, _MOST_HINTS = 0.6, 4
_LOOK_ALL_ROUND = {"nearest", "farthest", *SIZE_KINDS}
_SEEN_SHARE = 0.42  # of the field of view, to either side, that counts as looked at


@dataclass(frozen=True)
class Target:
    """What a step is about. hypothesis: where. confidence: that this is what the words mean, 0 to 1."""

    hypothesis: Hypothesis
    confidence: float

    @classmethod
    def at(cls, point: npt.NDArray[np.float64], confidence: float) -> Target:
        """Return what is taken to stand at a point (2,), map frame, m, without being followed by a belief any more."""
        evidence = math.log(confidence / (1.0 - confidence))
        return cls(Hypothesis(float(point[0]), float(point[1]), evidence, 0.04, 0), confidence)


class StepTargets:
    """Beliefs about the phrases of one step, and of the next one that names a thing: what is passed by is remembered.

    `belief` is that of the step's head; motions have an empty one. high: which phrases name a colour that is only high up; what a
    view shows of such a thing from nearer than high_from_m, metres, says nothing.
    """

    def __init__(self, config: BeliefConfig, high_from_m: float = 0.0) -> None:
        self._config, self._high_from_m = config, high_from_m
        self.high: Callable[[str], bool] = lambda phrase: False
        self.belief = TargetBelief(config)
        self._reference: Reference | None = None
        self._next: Reference | None = None
        self._chosen: Hypothesis | None = None
        self._ahead: dict[str, TargetBelief] = {}
        self._instances: dict[str, InstanceBelief] = {}
        self._walls, self._walls_at = WallMap(), -math.inf
        self._heard_at = Pose2D()
        self._seen_first: dict[str, set[int]] = {}
        self._settle = False
        self.headings: list[float] = []

    @property
    def phrases(self) -> tuple[str, ...]:
        """The plain phrases to ground, the head's first, those of the next step last; () = none now."""
        if self._reference is None:
            return ()
        return tuple(dict.fromkeys((*self._reference.phrases(), *self._ahead)))

    def reset(self, reference: Reference | None, following: Reference | None = None) -> bool:
        """Begin a step. following: what the next step that names a thing is about.

        Returns whether this step's things were looked for during the one before, so that what was seen still counts.
        """
        known = self._ahead if reference is not None and reference == self._next else {}
        if reference is not None or following is None:
            self._ahead = _beliefs(following, self._config)
        elif following != self._next:
            self._ahead = {}
        self._next = following
        self._begin(reference, known)
        return bool(known)

    def _begin(self, reference: Reference | None, known: dict[str, TargetBelief]) -> None:
        self._reference, self._settle, self._chosen = reference, False, None
        self._instances = {}
        self.headings = []
        self._walls_at = -math.inf
        beliefs = known or _beliefs(reference, self._config)
        self._instances = {phrase: belief for phrase, belief in beliefs.items() if isinstance(belief, InstanceBelief)}
        if reference is None or reference.plain:
            self.belief = beliefs[reference.head] if reference is not None else TargetBelief(self._config)
            return
        self._seen_first = {phrase: set() for phrase in self._instances}
        self.belief = self._instances[reference.head]

    def hear(self, pose: Pose2D, fov: float, here: bool) -> None:
        """Note where the sentence was heard (map frame); with `here`, the robot still stands there and can look around.

        fov: of the camera, rad. `headings` then holds the headings (rad, map frame) to look along before deciding.
        """
        self._heard_at = pose
        kinds = _kinds(self._reference)
        beyond = max(0.0, VIEW_RAD - _SEEN_SHARE * fov)
        if not here or not kinds:
            self.headings = []
        elif kinds & _LOOK_ALL_ROUND or _counts_from_listener(self._reference):
            step = 2 * _SEEN_SHARE * fov
            count = math.ceil(2 * math.pi / step)
            self.headings = [pose.yaw + k * 2 * math.pi / count for k in range(1, count)]
        elif kinds & {"ordinal", "along"} and beyond > 0.0:
            self.headings = [pose.yaw + beyond, pose.yaw - beyond]

    def update(self, output: PolicyOutput, pose: Pose2D, grid: OccupancyGrid, fov: float) -> None:
        """Fuse one view taken from `pose` (map frame). Views that leave phrases out say nothing about those."""
        here = pose.distance_to(self._heard_at) < _HERE_M
        views: tuple[Sighting, ...] = (output, *output.others)
        for k, (phrase, grounding) in enumerate(zip(self.phrases, views, strict=False)):
            if self.high(phrase) and _reach(grounding) < self._high_from_m:
                continue
            for belief in (self._instances.get(phrase) if k else self.belief, self._ahead.get(phrase)):
                if belief is not None:
                    belief.update(grounding, pose, grid, fov)
        if here:
            for phrase, belief in self._instances.items():
                self._seen_first[phrase] |= {h.key for h in belief.instances()}

    def best(self, now: float, grid: OccupancyGrid) -> Target | None:
        """Return what the words mean, or None while that cannot be told. now: s."""
        reference = self._reference
        if reference is None or reference.plain:
            found = self._steady(self.belief.best())
            return None if found is None else Target(found, found.confidence)
        candidate = resolve(reference, self._scene(now, grid), self._settle)
        return None if candidate is None else Target(candidate.instance, candidate.confidence)

    def likely(self, now: float, grid: OccupancyGrid) -> list[Hypothesis]:
        """Return what may be meant, when nothing better can be hoped for: of several things, what comes nearest to the words."""
        reference = self._reference
        if reference is None or reference.plain:
            return self.belief.hypotheses
        candidate = resolve(reference, self._scene(now, grid), settle=True)
        return [] if candidate is None else [candidate.instance]

    def _steady(self, best: Hypothesis | None) -> Hypothesis | None:
        """Return the hypothesis that was best before, unless another is clearly better: of a wide thing nearby there may be two,
        and turning from one to the other leads nowhere."""
        if best is not None and self._chosen is not None:
            chosen = self._chosen
            near = [h for h in self.belief.hypotheses if math.hypot(h.x - chosen.x, h.y - chosen.y) < _SAME_M]
            same = min(near, key=lambda h: math.hypot(h.x - chosen.x, h.y - chosen.y), default=None)
            if same is not None and same.evidence > best.evidence - _CLEARLY_BETTER:
                best = same
        self._chosen = best
        return best

    def to_look_at(self, least: float, enough: float) -> tuple[TargetBelief, Hypothesis] | None:
        """Return a belief and its hypothesis that deserves a closer look: of a confidence from `least` to `enough`."""
        if self._reference is not None and not self._reference.plain:
            return doubtful(self._reference, self._instances, least, enough)
        found = self.belief.best()
        return (self.belief, found) if found is not None and found.confidence >= least else None

    def hints(self) -> list[npt.NDArray[np.float64]]:
        """Return places (2,), map frame, near which to look: where a thing is that the target stands at, or the other way."""
        reference = self._reference
        if reference is None or not reference.anchors or reference.negated:
            return []
        heads = [anchor.head for anchor in reference.anchors]
        for phrases in (heads, [reference.head]):
            sure = [h for phrase in phrases for h in self._instances[phrase].hypotheses if h.confidence >= _SURE]
            if 0 < len(sure) <= _MOST_HINTS:
                return [h.point for h in sure]
        return []

    def settle(self) -> bool:
        """Everything was looked at: from now on take what comes nearest to the words. Return whether there is such a thing."""
        if self._reference is None or self._reference.plain or self._settle:
            return False
        self._settle = any(h.confidence >= 0.5 for h in self.belief.hypotheses)
        return self._settle

    def forgive(self) -> None:
        """Give what was rejected another chance."""
        for belief in (self.belief, *self._instances.values()):
            belief.forgive()

    def _scene(self, now: float, grid: OccupancyGrid) -> Scene:
        if now - self._walls_at >= _WALLS_PERIOD_S:
            # Doors stand in walls, whose rows of cells they go on.
            beliefs = [belief for phrase, belief in self._instances.items() if "door" not in phrase.lower()]
            things = [h for belief in beliefs for h in belief.instances() if h.confidence >= _SURE]
            self._walls, self._walls_at = find_walls(grid, [h.outline() for h in things]), now
        first = {phrase: frozenset(keys) for phrase, keys in self._seen_first.items()}
        return Scene(self._instances, self._walls, self._heard_at, not self.headings, first)


def _reach(sighting: Sighting) -> float:
    """Return metres to where a thing most likely is, if it is in view."""
    return float(sighting.bearing_ranges[int(np.argmax(sighting.bearing_probs))])


def _beliefs(reference: Reference | None, config: BeliefConfig) -> dict[str, TargetBelief]:
    if reference is None:
        return {}
    if reference.plain:
        return {reference.head: TargetBelief(config)}
    return {phrase: InstanceBelief(config) for phrase in reference.phrases()}


def _kinds(reference: Reference | None) -> set[str]:
    if reference is None:
        return set()
    return {reference.relation}.union(*(_kinds(anchor) for anchor in reference.anchors)) - {""}


def _counts_from_listener(reference: Reference | None) -> bool:
    if reference is None:
        return False
    own = reference.relation == "ordinal" and not reference.side
    return own or any(_counts_from_listener(anchor) for anchor in reference.anchors)
