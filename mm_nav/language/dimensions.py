"""How large things usually are: what a LiDAR can tell them apart by when no camera helps."""

from __future__ import annotations

import math
from collections.abc import Mapping

# Shortest and longest longer side of the floor plan, metres, as such things are sold.
LONGER_SIDE_M: Mapping[str, tuple[float, float]] = {
    "chair": (0.4, 0.75),
    "table": (0.6, 2.0),
    "sofa": (1.3, 2.5),
    "shelf": (0.6, 1.8),
    "plant": (0.2, 0.6),
    "barrel": (0.4, 0.7),
    "box": (0.3, 0.9),
    "cone": (0.2, 0.45),
    "bin": (0.2, 0.6),
    "lamp": (0.2, 0.5),
    "door": (0.7, 1.2),
    "cabinet": (0.5, 1.8),
    "bed": (1.8, 2.3),
    "stool": (0.3, 0.5),
    "pallet": (0.8, 1.3),
    "ladder": (0.4, 1.2),
    "suitcase": (0.3, 0.8),
    "ball": (0.1, 0.6),
    "bench": (0.9, 1.9),
}
_ANY = (0.2, 2.5)
# Only one side of a thing may have been hit, so that too small says less than too large. Log of the ratio.
_SMALLER, _LARGER = 0.9, 0.3


def size_fit(category: str | None, length_m: float) -> float:
    """Return how well a thing whose longest visible side is `length_m` fits a category, 0 to 1. None = any thing."""
    low, high = LONGER_SIDE_M.get(category or "", _ANY)
    length = max(length_m, 0.05)
    if length < low:
        return math.exp(-0.5 * (math.log(low / length) / _SMALLER) ** 2)
    if length > high:
        return math.exp(-0.5 * (math.log(length / high) / _LARGER) ** 2)
    return 1.0


def longest_side(category: str | None) -> float:
    """Return the longest that a thing of a category is, metres. None = any thing."""
    return LONGER_SIDE_M.get(category or "", _ANY)[1]
