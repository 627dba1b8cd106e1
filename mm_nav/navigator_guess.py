"""Where a thing most likely stands once the camera is lost: by the outlines in the LiDAR's map, and by what was seen before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.mapping.shapes import Shape, ShapeModel, find_shapes
from mm_nav.navigator_perception import Perception
from mm_nav.navigator_state import Doubt
from mm_nav.navigator_targets import Target

_APART_M = 0.7  # what was seen within this distance of an outline is of it
_GIVEN_UP_M = 0.6
_LEAST, _MOST = 0.05, 0.95
# What was looked at and not recognised still may be it.
_LOOKED_AT = 0.9
# How far a thing may stand from where it was seen: off the line of sight, m, and along it, m and share of the distance; and how
# many of these deviations are too many.
_ACROSS_M, _ALONG_M, _ALONG_SHARE, _MOST_OFF = 0.2, 0.15, 0.2, 3.0
# An outline that is not that of the thing counts for this much.
_UNLIKE = 0.03


def guess(
    category: str,
    known: Perception,
    pose: Pose2D,
    doubts: Sequence[Doubt],
    blocked: Sequence[npt.NDArray[np.float64]],
    shapes: ShapeModel,
) -> Target | None:
    """Return the likeliest place, or None where nothing is likely at all.

    category: what is looked for; "" = anything, of which no outline tells. doubts: what was set aside. blocked: places that were
    given up, map frame.
    """
    belief, quality = known.targets.belief, known.coverage.quality()
    here = np.array([pose.x, pose.y])
    places = [(h.point, h.confidence) for h in (*belief.glimpses, *belief.hypotheses)]
    places += [(doubt.point, doubt.confidence) for doubt in doubts]
    points = np.array([point for point, _ in places]).reshape(-1, 2)
    outlined = []
    for shape in find_shapes(known.grid) if category else ():
        looked_at = float(quality[shape.cells[:, 0], shape.cells[:, 1]].mean())
        likely = shapes.probabilities(shape).get(category, 0.0) * (1.0 - _LOOKED_AT * looked_at)
        apart = np.hypot(*(shape.points[:, None] - points).T).min(axis=1, initial=math.inf)
        seen = [confidence for (_, confidence), off in zip(places, apart, strict=False) if off < _APART_M]
        outlined.append((_nearest(shape, here), likely + max(seen, default=0.0)))
    places = [
        (point, likely)
        for point, likely in (*places, *outlined)
        if likely >= _LEAST and all(np.hypot(*(point - other)) > _GIVEN_UP_M for other in blocked)
    ]
    if not places:
        return None
    point, likely = max(places, key=lambda place: place[1])
    return Target.at(point, min(likely, _MOST))


def placed(target: Target, category: str, known: Perception, pose: Pose2D, shapes: ShapeModel) -> Target:
    """Return the target where the map has the outline that it most likely is of, or as it is where none is likely: of how far away
    a thing is, a picture says less than of its direction.

    category: as of `guess`. pose: of the robot, map frame; the outline's nearest point is taken.
    """
    point, seen_from = target.hypothesis.point, known.targets.belief.viewed_from or pose
    sight = point - (seen_from.x, seen_from.y)
    reach = max(float(np.hypot(*sight)), 1e-6)
    ahead = sight / reach
    best: tuple[float, npt.NDArray[np.float64]] | None = None
    for shape in find_shapes(known.grid):
        off = shape.points - point
        along = off @ ahead / (_ALONG_M + _ALONG_SHARE * reach)
        across = off @ np.array([-ahead[1], ahead[0]]) / _ACROSS_M
        deviation = float(np.hypot(along, across).min())
        if deviation > _MOST_OFF:
            continue
        alike = shapes.probabilities(shape).get(category, 0.0) if category else 1.0
        score = math.log(alike + _UNLIKE) - 0.5 * deviation**2
        if best is None or score > best[0]:
            best = (score, _nearest(shape, np.array([pose.x, pose.y])))
    if best is None:
        return target
    x, y = best[1].tolist()
    return replace(target, hypothesis=replace(target.hypothesis, x=x, y=y))


def _nearest(shape: Shape, point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    nearest: npt.NDArray[np.float64] = shape.points[int(np.argmin(np.hypot(*(shape.points - point).T)))]
    return nearest
