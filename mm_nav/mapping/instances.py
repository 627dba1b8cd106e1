"""Several things of one name, kept apart: relations and ordinals need each chair, where a plain goal needs but the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.mapping.belief import CLIP, MAX_EVIDENCE, BeliefConfig, Hypothesis, Sighting, TargetBelief
from mm_nav.mapping.occupancy_grid import OccupancyGrid

Floats = npt.NDArray[np.float64]
_CELL_M = 0.1
# A run of bins is a thing when it holds this much of the view.
_LEAST_MASS = 0.025
# Bins of a run that show its outline, as a share of its highest.
_OUTLINE_SHARE = 0.25
_JUMP_M, _JUMP_RATIO = 0.4, 1.07  # in range, from one bin to the next: another thing
_VALLEY = 0.45  # of the lower of two peaks: between them is another thing
# One thing is parted when a view from nearby shows a gap of this much in it.
_PARTED_M, _PARTED_REACH_M = 0.45, 5.0
_TOUCH_M, _CLEARLY_APART_M, _OVERLAP_M2 = 0.13, 0.25, 0.02
_HEAVIEST, _LIGHTEST_SHARE = 3.0, 0.08
_REJECTED_M = 0.45


@dataclass(frozen=True, eq=False)
class Instance(Hypothesis):
    """A hypothesis with an outline.

    cells: weight of each cell of 10 cm (x, y index, map frame) that showed its surface. key: tells instances of one belief
    apart.
    """

    cells: Mapping[tuple[int, int], float] = field(default_factory=dict)
    key: int = 0

    def points(self) -> Floats:
        """Return the surface points (N, 2), map frame, metres."""
        most = max(self.cells.values(), default=0.0)
        kept = [cell for cell, weight in self.cells.items() if weight >= _LIGHTEST_SHARE * most]
        return (np.array(kept, float).reshape(-1, 2) + 0.5) * _CELL_M if kept else self.point[None]

    def outline(self) -> Floats:
        """Return the convex hull (K, 2) of the surface that was seen, map frame, metres; K >= 3."""
        points = self.points()
        half = 0.3 * _CELL_M
        corners = [points + np.array([dx, dy]) for dx in (-half, half) for dy in (-half, half)]
        hull = cv2.convexHull(np.concatenate(corners).astype(np.float32)).reshape(-1, 2)
        return np.asarray(hull, np.float64)


@dataclass(frozen=True)
class _Segment:
    """What one view shows of one thing. points: (N, 2) map frame. mass: share of the view's probability."""

    points: Floats
    x: float
    y: float
    reach: float
    mass: float


class InstanceBelief(TargetBelief):
    """A TargetBelief that tells things of the same name apart by where their surfaces are."""

    def __init__(self, config: BeliefConfig | None = None) -> None:
        super().__init__(config)
        self._next_key = 0
        # Pairs that one view showed as two: they are not joined, however near.
        self._two: set[tuple[int, int]] = set()

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._next_key, self._two = 0, set()

    def reject(self, point: npt.NDArray[np.float64], radius: float = _REJECTED_M) -> None:
        """As of TargetBelief; what stands beside it is another thing."""
        super().reject(point, radius)

    def penalise(self, point: npt.NDArray[np.float64], amount: float, radius: float = _REJECTED_M) -> None:
        """As of TargetBelief; what stands beside it is another thing."""
        super().penalise(point, amount, radius)

    def instances(self) -> list[Instance]:
        """Return the hypotheses with their outlines."""
        return [h for h in self.hypotheses if isinstance(h, Instance)]

    def update(self, output: Sighting, pose: Pose2D, grid: OccupancyGrid, horizontal_fov: float) -> None:
        """Fuse one view taken from `pose` (map frame)."""
        if not self.config.over_time:
            self.reset()
        self._weigh(pose)
        visible = min(max(output.visible, CLIP), 1.0 - CLIP)
        segments = _segments(output, pose) if visible >= 0.5 * self.config.min_visible else []
        seen: list[int] = []
        matched: list[tuple[int, _Segment]] = []
        for segment in sorted(segments, key=lambda s: -s.mass):
            if self._is_rejected(segment.x, segment.y):
                continue
            evidence = self.config.evidence(visible, segment.mass)
            index = self._match(segment, pose, seen)
            if index is None:
                if visible < self.config.min_visible or evidence <= 0.0:
                    continue
                self.hypotheses.append(
                    Instance(
                        segment.x, segment.y, min(evidence, self.config.first_evidence), (0.10 * segment.reach + 0.05) ** 2, 1,
                        _cells({}, segment), self._next_key,
                    )
                )  # fmt: skip
                index = len(self.hypotheses) - 1
                self._next_key += 1
            elif index in seen and (other := self._to_part(index, segment, matched)) is not None:
                index = self._part(index, segment, other)
            else:
                evidence *= self._weight
                self.hypotheses[index] = _fused(self.hypotheses[index], segment, evidence, index in seen)
            seen.append(index)
            h = self.hypotheses[index]
            if isinstance(h, Instance):
                matched.append((h.key, segment))
        self._note_two(matched)
        # What is far is lost beside what is near, in a view whose probability sums to one.
        nearest = min((s.reach for s in segments), default=math.inf) if visible >= 0.5 else math.inf
        hidden = [
            k for k, h in enumerate(self.hypotheses) if k not in seen and math.hypot(h.x - pose.x, h.y - pose.y) > 1.5 * nearest
        ]  # fmt: skip
        self._refute([*seen, *hidden], visible, pose, grid, horizontal_fov)
        self._prune()
        self._join()

    def _match(self, segment: _Segment, pose: Pose2D, seen: list[int]) -> int | None:
        """Return the hypothesis that a segment shows, or None."""
        ahead = np.array([segment.x - pose.x, segment.y - pose.y]) / max(segment.reach, 1e-6)
        across = 0.16 + 0.03 * segment.reach
        along = 0.18 + 0.12 * segment.reach
        best: tuple[float, int] | None = None
        for index, h in enumerate(self.hypotheses):
            points = h.points() if isinstance(h, Instance) else h.point[None]
            offsets = (segment.points[:, None] - points[None]).reshape(-1, 2)
            forward = np.abs(offsets @ ahead)
            sideways = np.abs(offsets @ np.array([-ahead[1], ahead[0]]))
            off = float(np.min(np.hypot(forward / along, sideways / across)))
            limit = 0.5 if index in seen else 1.0
            if off <= limit and (best is None or off < best[0]):
                best = (off, index)
        return None if best is None else best[1]

    def _to_part(self, index: int, segment: _Segment, matched: list[tuple[int, _Segment]]) -> _Segment | None:
        """Return the segment of the same view that shows that a hypothesis is two things, or None."""
        h = self.hypotheses[index]
        beside = [other for key, other in matched if isinstance(h, Instance) and key == h.key]
        gap = min((_apart(segment.points, other.points) for other in beside), default=0.0)
        return beside[0] if gap > _PARTED_M and segment.reach < _PARTED_REACH_M else None

    def _part(self, index: int, segment: _Segment, other: _Segment) -> int:
        """Take from a hypothesis the cells that are nearer to `segment` than to `other`; return the index of their own."""
        h = self.hypotheses[index]
        assert isinstance(h, Instance)
        mine: dict[tuple[int, int], float] = {}
        rest: dict[tuple[int, int], float] = {}
        for cell, weight in h.cells.items():
            middle = (np.array([cell], float) + 0.5) * _CELL_M
            (mine if _apart(middle, segment.points) < _apart(middle, other.points) else rest)[cell] = weight
        self.hypotheses[index] = replace(h, x=other.x, y=other.y, cells=rest)
        own = replace(h, x=segment.x, y=segment.y, cells=_cells(mine, segment), key=self._next_key)
        self.hypotheses.append(own)
        self._next_key += 1
        return len(self.hypotheses) - 1

    def _note_two(self, matched: list[tuple[int, _Segment]]) -> None:
        for (key, segment), (other, beside) in itertools.combinations(matched, 2):
            if key != other and _apart(segment.points, beside.points) > _CLEARLY_APART_M:
                self._two.add((min(key, other), max(key, other)))

    def _join(self) -> None:
        """Two outlines that touch are one thing, seen from two sides."""
        index = 0
        while index < len(self.hypotheses):
            a = self.hypotheses[index]
            for other in range(len(self.hypotheses) - 1, index, -1):
                b = self.hypotheses[other]
                if not isinstance(a, Instance) or not isinstance(b, Instance):
                    continue
                two = (min(a.key, b.key), max(a.key, b.key)) in self._two
                touch = not two and _apart(a.points(), b.points()) <= _TOUCH_M
                if not touch and not _overlap(a.outline(), b.outline()):
                    continue
                major, minor = (a, b) if a.views >= b.views else (b, a)
                cells = dict(major.cells)
                for cell, weight in minor.cells.items():
                    cells[cell] = min(_HEAVIEST, cells.get(cell, 0.0) + weight)
                key, views = min(a.key, b.key), max(a.views, b.views)
                a = replace(major, evidence=max(a.evidence, b.evidence), views=views, cells=cells, key=key)
                self.hypotheses[index] = a
                del self.hypotheses[other]
            index += 1


def _apart(a: Floats, b: Floats) -> float:
    return float(np.hypot(*(a[:, None] - b[None]).reshape(-1, 2).T).min())


def _overlap(a: Floats, b: Floats) -> bool:
    area, _ = cv2.intersectConvexConvex(a.astype(np.float32), b.astype(np.float32))
    return bool(area > _OVERLAP_M2)


def _fused(old: Hypothesis, segment: _Segment, evidence: float, again: bool) -> Hypothesis:
    cells = _cells(old.cells if isinstance(old, Instance) else {}, segment)
    key = old.key if isinstance(old, Instance) else 0
    if again:  # a second part of the same thing in one view: its outline counts, not its evidence
        return Instance(old.x, old.y, old.evidence, old.variance, old.views, cells, key)
    variance = (0.10 * segment.reach + 0.05) ** 2
    share = (old.variance + 0.01) / (old.variance + 0.01 + variance)
    return Instance(
        old.x + share * (segment.x - old.x),
        old.y + share * (segment.y - old.y),
        min(MAX_EVIDENCE, old.evidence + evidence),
        (1.0 - share) * (old.variance + 0.01),
        old.views + 1,
        cells,
        key,
    )


def _cells(old: Mapping[tuple[int, int], float], segment: _Segment) -> dict[tuple[int, int], float]:
    cells = dict(old)
    weight = 1.0 / max(segment.reach, 0.5)
    for x, y in {(int(i), int(j)) for i, j in np.floor(segment.points / _CELL_M)}:
        cells[x, y] = min(_HEAVIEST, cells.get((x, y), 0.0) + weight)
    return cells


def _segments(output: Sighting, pose: Pose2D) -> list[_Segment]:
    """Return the things in a view: runs of likely bins, cut where range jumps or probability has a valley."""
    probs, ranges = output.bearing_probs.astype(np.float64), np.maximum(output.bearing_ranges.astype(np.float64), 0.05)
    likely = probs > max(0.03 * float(probs.max()), 0.25 / len(probs) ** 1.5)
    runs: list[list[int]] = []
    for k in np.flatnonzero(likely):
        if runs and runs[-1][-1] == k - 1 and not _jumps(ranges[k - 1], ranges[k]):
            runs[-1].append(int(k))
        else:
            runs.append([int(k)])
    segments = []
    for run in (part for whole in runs for part in _cut(whole, probs)):
        weights = probs[run]
        mass = float(weights.sum())
        if mass < _LEAST_MASS:
            continue
        clear = [k for k in run if probs[k] >= _OUTLINE_SHARE * weights.max()]
        angles = pose.yaw + output.bearings[clear].astype(np.float64)
        points = np.stack([pose.x + ranges[clear] * np.cos(angles), pose.y + ranges[clear] * np.sin(angles)], axis=-1)
        bearing = pose.yaw + float((weights * output.bearings[run]).sum()) / mass
        reach = math.exp(float((weights * np.log(ranges[run])).sum()) / mass)
        segments.append(
            _Segment(points, pose.x + reach * math.cos(bearing), pose.y + reach * math.sin(bearing), reach, mass)
        )
    return segments


def _jumps(a: float, b: float) -> bool:
    return abs(a - b) > _JUMP_M and max(a, b) / min(a, b) > _JUMP_RATIO


def _cut(run: list[int], probs: Floats) -> list[list[int]]:
    """Cut a run at its deepest valley, if that is clearly lower than what is on both sides of it."""
    if len(run) < 5:
        return [run]
    values = probs[run]
    left, right = np.maximum.accumulate(values), np.maximum.accumulate(values[::-1])[::-1]
    depth = values / np.maximum(np.minimum(left, right), 1e-12)
    low = int(np.argmin(depth))
    if depth[low] >= _VALLEY or not 1 <= low < len(run) - 1:
        return [run]
    return [*_cut(run[:low], probs), *_cut(run[low + 1 :], probs)]
