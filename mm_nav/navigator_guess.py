"""Where a thing most likely stands that the camera has not shown: by the outlines in the LiDAR's map, and by glimpses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.mapping.shapes import ShapeModel, find_shapes
from mm_nav.navigator_perception import Perception
from mm_nav.navigator_targets import Target

_APART_M = 0.7  # a glimpse within this distance of an outline is of it
_GIVEN_UP_M = 0.6
_LEAST, _MOST = 0.05, 0.95
# What was looked at and not recognised still may be it.
_LOOKED_AT = 0.9


def guess(
    category: str, known: Perception, pose: Pose2D, blocked: list[npt.NDArray[np.float64]], shapes: ShapeModel
) -> Target | None:
    """Return the likeliest place, or None where nothing is likely at all.

    category: what is looked for; "" = anything, of which no outline tells. blocked: places that were given up, map frame.
    """
    glimpses, quality = known.targets.belief.glimpses, known.coverage.quality()
    here = np.array([pose.x, pose.y])
    places = [(h.point, h.confidence) for h in glimpses]
    for shape in find_shapes(known.grid) if category else ():
        looked_at = float(quality[shape.cells[:, 0], shape.cells[:, 1]].mean())
        likely = shapes.probabilities(shape).get(category, 0.0) * (1.0 - _LOOKED_AT * looked_at)
        seen = [h.confidence for h in glimpses if np.hypot(*(shape.points - h.point).T).min() < _APART_M]
        nearest = shape.points[int(np.argmin(np.hypot(*(shape.points - here).T)))]
        places.append((nearest, likely + max(seen, default=0.0)))
    places = [
        (point, likely)
        for point, likely in places
        if likely >= _LEAST and all(np.hypot(*(point - other)) > _GIVEN_UP_M for other in blocked)
    ]
    if not places:
        return None
    point, likely = max(places, key=lambda place: place[1])
    return Target.at(point, min(likely, _MOST))
