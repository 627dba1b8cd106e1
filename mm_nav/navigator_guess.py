"""The likeliest place of a thing once the camera is gone: what was half seen, else what on the map has the right size."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.language.dimensions import longest_side, size_fit
from mm_nav.mapping.belief import Hypothesis
from mm_nav.mapping.things import find_things
from mm_nav.navigator_perception import Perception
from mm_nav.navigator_targets import Target
from mm_nav.planning.grid_planner import GridPlanner

Point = npt.NDArray[np.float64]

_LEAST = 0.15  # weight of a thing, 0 to 1, below which it is no candidate
_LOOKED_AT = 0.05  # what a camera looked at well and did not find is hardly it
_NEARBY_M = 5.0  # what is this much farther is worth 1/e as much: the search had come near
_ELSEWHERE = 1.0  # weight of all that is not on the map
_GAP_M = 0.8


def guess_target(
    category: str | None, pose: Pose2D, known: Perception, planner: GridPlanner, blocked: list[Point], least: float
) -> Target | None:
    """Return the likeliest place of a thing of a category (None = of any) and how likely it is; None = no idea.

    planner: updated for `pose`. blocked: places that were given up. least: confidence from which what the camera took for it
    counts.
    """
    candidates = [(h.confidence, h.point) for h in known.targets.belief.hypotheses if h.confidence >= least]
    for thing in find_things(known.grid, known.coverage.quality(), longest_side(category)):
        weight = size_fit(category, thing.length) * max(_LOOKED_AT, 1.0 - thing.seen)
        if weight >= _LEAST:
            candidates.append((weight, thing.nearest_to(np.array([pose.x, pose.y]))))
    rated = []
    for weight, point in candidates:
        if any(np.hypot(*(point - other)) < _GAP_M for other in blocked):
            continue
        plan = planner.approach(point, _GAP_M, known.grid)
        if plan is not None:
            length = float(np.hypot(*np.diff(plan, axis=0).T).sum()) if len(plan) > 1 else 0.0
            rated.append((weight * math.exp(-length / _NEARBY_M), weight, point))
    if not rated:
        return None
    worth, weight, point = max(rated, key=lambda entry: entry[0])
    share = worth / (sum(entry[0] for entry in rated) + _ELSEWHERE * weight)
    evidence = math.log(share / (1.0 - share))
    return Target(Hypothesis(float(point[0]), float(point[1]), evidence, 0.04, 0), share)
