"""Which of the things that were seen a reference means: relations, order and negation, decided over hypotheses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.language.reference import SIZE_KINDS, Reference
from mm_nav.mapping import relations
from mm_nav.mapping.belief import Hypothesis
from mm_nav.mapping.instances import Instance, InstanceBelief
from mm_nav.mapping.relations import NO, VIEW_RAD, Point
from mm_nav.mapping.walls import WallMap

# Degrees (mm_nav.mapping.relations) up to which a relation is taken to hold. Outlines are blurred by about a decimetre, and
# until a thing was seen from all sides, gaps look larger than they are. Tuned on seeds 5000-5099 with true grounding.
_ACCEPTED: Mapping[str, float] = {"next_to": 0.3, "corner": 1.0, "between": 0.7, "closest": 1.0}
_ACCEPTED_DIRECTION = 0.6
_UNDECIDED = 3.0
# Hypotheses below this confidence are no candidates.
_LEAST = 0.35
_CLOSEST_M, _ROOM_M = 2.5, 7.0
_WALL_TOUCH_M = 0.5
_SAME_M = 0.35
# Views and confidence from which a thing's size counts, and how far parts of one may lie apart.
_WELL_SEEN, _WELL_KNOWN, _PARTS_M = 5, 0.6, 0.4


@dataclass(frozen=True)
class Candidate:
    """A thing that may be meant. confidence: 0 to 1, of it and of the things it is related to. degree: of the relation."""

    instance: Instance
    confidence: float
    degree: float = 0.0
    limit: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the relation is taken to hold."""
        return self.degree <= self.limit


@dataclass(frozen=True)
class Scene:
    """What is known: a belief per plain phrase, the walls, where the sentence was heard (map frame), and whether the robot
    has looked around there. seen_first: per phrase, keys of the instances that were seen from there."""

    beliefs: Mapping[str, InstanceBelief]
    walls: WallMap
    heard_at: Pose2D
    looked_around: bool = True
    seen_first: Mapping[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Placed:
    """An instance as a thing of mm_nav.mapping.relations, in the walls' frame."""

    instance: Instance
    center: Point
    footprint: npt.NDArray[np.float64]


def resolve(reference: Reference, scene: Scene, settle: bool = False) -> Candidate | None:
    """Return the best candidate, or None while that cannot be told.

    settle: everything was looked at, so take what comes nearest to the words.
    """
    candidates = _Resolver(scene, settle).candidates(reference)
    holding = [candidate for candidate in candidates if candidate.holds]
    if not holding and not settle:
        return None
    # Small differences of confidence do not count against a clearer relation.
    return min(
        holding or candidates,
        key=lambda c: (
            round(max(c.degree, 0.0) if math.isfinite(c.degree) else 99.0, 1) - 2.0 * min(c.confidence, 0.9),
            -c.instance.views,
        ),
        default=None,
    )


def doubtful(
    reference: Reference, beliefs: Mapping[str, InstanceBelief], least: float, enough: float
) -> tuple[InstanceBelief, Hypothesis] | None:
    """Return the likeliest hypothesis of any phrase that needs a closer look, and its belief."""
    found = [
        (h.confidence, belief, h)
        for phrase in reference.phrases()
        if (belief := beliefs.get(phrase)) is not None
        for h in belief.hypotheses
        if least <= h.confidence < enough
    ]
    best = max(found, key=lambda entry: entry[0], default=None)
    return None if best is None else (best[1], best[2])


class _Resolver:
    def __init__(self, scene: Scene, settle: bool) -> None:
        self.scene, self.settle = scene, settle
        self.view = scene.walls.pose_to_walls(scene.heard_at)

    def candidates(self, reference: Reference) -> list[Candidate]:
        """Return all things of the head's kind with the degree to which the reference fits them."""
        things = self._things(reference)
        kind = reference.relation
        if not kind:
            return [Candidate(t.instance, t.instance.confidence) for t in things]
        if kind in ("nearest", "farthest", "ordinal", "along", *SIZE_KINDS):
            return self._ordered(reference, things)
        if kind == "corner":
            segments = self.scene.walls.segments
            # A thing in a corner hides as much of the walls as it is long.
            graded = [(t, relations.in_corner(t, segments, 0.0, _WALL_TOUCH_M + _length(t)), 1.0) for t in things]
        else:
            groups = self._groups(reference)
            graded = [self._best(reference, t, groups) for t in things]
        return [self._candidate(reference, t, degree, sure) for t, degree, sure in graded]

    def _things(self, reference: Reference) -> list[_Placed]:
        belief = self.scene.beliefs.get(reference.head)
        things = [self._place(h) for h in (belief.instances() if belief else []) if h.confidence >= _LEAST]
        for phrase in reference.excluded:
            other = self.scene.beliefs.get(phrase)
            for h in other.instances() if other else []:
                if h.confidence >= 0.5:
                    wrong = self._place(h)
                    same = min(things, key=lambda t: relations.gap(t, wrong)[0], default=None)
                    if same is not None and relations.gap(same, wrong)[0] < _SAME_M:
                        things = [t for t in things if t is not same]
        return things

    def _groups(self, reference: Reference) -> list[tuple[tuple[_Placed, ...], float]]:
        """Return what may be the anchors, with how sure that is: one thing each, or two for "between"."""
        choices: list[list[tuple[_Placed, float]]] = []
        for anchor in reference.anchors:
            found = self.candidates(anchor)
            good = [c for c in found if c.holds] or (found if self.settle else [])
            choices.append([(self._place(c.instance), c.confidence) for c in good])
        if self.settle and any(choices):
            choices = [choice for choice in choices if choice]
        groups = []
        for combined in itertools.product(*choices):
            placed = tuple(entry[0] for entry in combined)
            if len({id(p.instance) for p in placed}) == len(placed):
                groups.append((placed, min((entry[1] for entry in combined), default=1.0)))
        return groups

    def _best(
        self, reference: Reference, thing: _Placed, groups: list[tuple[tuple[_Placed, ...], float]]
    ) -> tuple[_Placed, float, float]:
        """Return the thing, its least degree over all groups of anchors, and how sure those anchors are."""
        best = (thing, math.inf, 0.0)
        for anchors, sure in groups:
            if any(self._is_same(thing, anchor) for anchor in anchors):
                continue
            degree = self._degree(reference.relation, thing, anchors)
            degree = _UNDECIDED / 2 if math.isnan(degree) else degree
            if (degree, -sure) < (best[1], -best[2]) or best[2] == 0.0:
                best = (thing, degree, sure)
        return best if best[2] > 0.0 else (thing, math.nan, 1.0)

    def _degree(self, kind: str, thing: _Placed, anchors: tuple[_Placed, ...]) -> float:
        if kind == "next_to":
            degree = relations.next_to(thing, anchors[0], self._divided)
            return 0.0 if math.isnan(degree) else degree  # one stands on or under the other
        if kind == "between" and len(anchors) < 2:
            return _UNDECIDED + relations.gap(thing, anchors[0])[0]
        if kind == "between":
            return relations.between(thing, anchors[0], anchors[1], self._divided)
        if kind == "closest":
            return relations.gap(thing, anchors[0])[0] / _CLOSEST_M
        if kind == "room":
            far = relations.gap(thing, anchors[0])[0] > _ROOM_M
            return NO if far or self._divided(thing.center, anchors[0].center) else 0.0
        return relations.directed(kind, thing, anchors[0], self.view, self._divided)

    def _candidate(self, reference: Reference, thing: _Placed, degree: float, sure: float) -> Candidate:
        limit = _ACCEPTED.get(reference.relation, _ACCEPTED_DIRECTION)
        if math.isnan(degree):
            # None of what it refers to was found.
            return Candidate(
                thing.instance,
                thing.instance.confidence,
                0.0 if reference.negated and self.settle else _UNDECIDED,
                limit,
            )
        if reference.negated:
            degree, limit = 1.0 - degree, 0.4
        return Candidate(thing.instance, min(thing.instance.confidence, sure), degree, limit)

    def _ordered(self, reference: Reference, things: list[_Placed]) -> list[Candidate]:
        ranked = self._ranking(reference, things)
        index = self._index(reference, len(ranked))
        undecided = not self.scene.looked_around or not 0 <= index < len(ranked)
        # Of one thing there is no biggest: there must be another one somewhere.
        undecided = undecided or (reference.relation in ("biggest", "smallest") and len(ranked) < 2)
        if undecided and not self.settle:
            return [Candidate(t.instance, t.instance.confidence, _UNDECIDED) for t in things]
        chosen = ranked[min(max(index, 0), len(ranked) - 1)] if ranked else None
        return [Candidate(t.instance, t.instance.confidence, 0.0 if t is chosen else NO) for t in things]

    def _ranking(self, reference: Reference, things: list[_Placed]) -> list[_Placed]:
        view = self.view
        first = self.scene.seen_first.get(reference.head, frozenset())
        in_sight = [t for t in things if t.instance.key in first or not self._divided((view.x, view.y), t.center)]
        kind = reference.relation
        if kind in SIZE_KINDS:
            return [t for t, _ in sorted(_sizes(things), key=lambda entry: entry[1], reverse=kind.startswith("big"))]
        if kind == "along":
            sign = 1.0 if reference.side == "left" else -1.0
            places = [(t, view.inverse().transform(np.array(t.center))) for t in things]
            ahead = [(t, place) for t, place in places if place[0] > -0.3 and sign * place[1] > 0.0]
            return [t for t, _ in sorted(ahead, key=lambda entry: float(entry[1][0]))]
        if kind == "ordinal" and reference.side:
            ahead_of = (
                [t for t in in_sight if abs(relations.bearing_from(view, t)) <= VIEW_RAD + 0.1] or in_sight or things
            )
            ranked = sorted(ahead_of, key=lambda t: -relations.bearing_from(view, t))
            return ranked if reference.side == "left" else ranked[::-1]
        ranked = sorted(in_sight or things, key=lambda t: relations.distance_to(t, view.x, view.y))
        return ranked[::-1] if kind == "farthest" else ranked

    @staticmethod
    def _index(reference: Reference, count: int) -> int:
        if reference.relation in ("nearest", "farthest", *SIZE_KINDS):
            return 0
        if reference.count == 0:
            return (count - 1) // 2
        return count - 1 if reference.count < 0 else reference.count - 1

    def _place(self, instance: Instance) -> _Placed:
        outline = self.scene.walls.to_walls(instance.outline())
        low, high = outline.min(axis=0), outline.max(axis=0)
        middle = (low + high) / 2
        return _Placed(instance, (float(middle[0]), float(middle[1])), outline)

    def _is_same(self, a: _Placed, b: _Placed) -> bool:
        """Whether two hypotheses, of different phrases, are of one thing."""
        if a.instance is b.instance:
            return True
        near = math.hypot(a.center[0] - b.center[0], a.center[1] - b.center[1]) < _SAME_M
        return near and relations.gap(a, b)[0] < 0.02

    def _divided(self, start: Point, end: Point) -> bool:
        return relations.divided_by(self.scene.walls.segments, start, end)


def _sizes(things: list[_Placed]) -> list[tuple[_Placed, float]]:
    """Return things with their lengths, m. Parts of one that something else hides in the middle count as one, and a
    splinter, seen in passing, as none."""
    left = [t for t in things if t.instance.views >= _WELL_SEEN and t.instance.confidence >= _WELL_KNOWN]
    left.sort(key=_length, reverse=True)
    found: list[tuple[_Placed, float]] = []
    while left:
        group = [left.pop(0)]
        for part in group:
            group += [t for t in left if relations.gap(part, t)[0] < _PARTS_M]
            left = [t for t in left if all(t is not other for other in group)]
        found.append((group[0], float(np.ptp(np.concatenate([t.footprint for t in group]), axis=0).max())))
    return found


def _length(thing: _Placed) -> float:
    return float(np.ptp(thing.footprint, axis=0).max())
