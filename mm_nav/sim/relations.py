"""Where the things of a world stand to each other: next to, between, in the corner, left of, behind, nearest.

Every relation answers True, False, or None where people might disagree: each has a threshold up to which it clearly holds
and a wider one beyond which it clearly does not. The geometry and its thresholds are those of mm_nav.mapping.relations,
which the navigator uses too. Walls are their centre lines, and things on two sides of a wall stand in no relation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from mm_nav.geometry import Pose2D
from mm_nav.mapping import relations
from mm_nav.mapping.relations import VIEW_RAD, Divided, Point, bearing_from, gap
from mm_nav.sim.floor_plan import WALL_THICKNESS, Wall
from mm_nav.sim.objects import SceneObject

__all__ = [
    "DIRECTIONS", "between", "directed", "divided", "farthest", "gap", "in_corner", "left_to_right", "nearest", "next_to", "sees",
]  # fmt: skip

DIRECTIONS = ("left", "right", "front", "behind")

NEARER_M, NEARER_RATIO = 0.5, 1.25  # "nearest": the next one is farther by both
APART_RAD = math.radians(8.0)  # from each other, things that are counted from left to right
_TOUCH_M = 0.15


def divided(walls: Sequence[Wall], start: Point, end: Point) -> bool:
    """Return whether a wall stands between two points."""
    return relations.divided_by(walls, start, end)


def next_to(a: SceneObject, b: SceneObject, walls: Sequence[Wall] = ()) -> bool | None:
    """Return whether a is next to b. None also where one stands on or under the other."""
    return False if a.name == b.name else _graded(relations.next_to(a, b, _divided_by(walls)))


def between(a: SceneObject, b: SceneObject, c: SceneObject, walls: Sequence[Wall] = ()) -> bool | None:
    """Return whether a is between b and c, which are at most 6 m apart with no wall between them."""
    return len({a.name, b.name, c.name}) == 3 and _graded(relations.between(a, b, c, _divided_by(walls)))


def in_corner(a: SceneObject, walls: Sequence[Wall]) -> bool | None:
    """Return whether a stands in a corner: close to two walls that meet there, on the side towards which both run."""
    return _graded(relations.in_corner(a, walls, WALL_THICKNESS, _TOUCH_M))


def directed(which: str, a: SceneObject, b: SceneObject, view: Pose2D, walls: Sequence[Wall] = ()) -> bool | None:
    """Return whether a is left of, right of, in front of or behind b for a viewer at `view` (world) who looks at b.

    which: one of DIRECTIONS. None where the viewer cannot see b past the walls, or stands at it.
    """
    return False if a.name == b.name else _graded(relations.directed(which, a, b, view, _divided_by(walls)))


def nearest(objects: Sequence[SceneObject], view: Pose2D, walls: Sequence[Wall] = ()) -> SceneObject | None:
    """Return the object that is clearly nearest to the viewpoint as the crow flies and not behind a wall, or None."""
    ordered = sorted(objects, key=lambda item: item.distance(view.x, view.y))
    if len(ordered) < 2 or not sees(view, ordered[0], walls):
        return None
    first, second = (item.distance(view.x, view.y) for item in ordered[:2])
    return ordered[0] if second >= max(first + NEARER_M, first * NEARER_RATIO) else None


def farthest(objects: Sequence[SceneObject], view: Pose2D, walls: Sequence[Wall] = ()) -> SceneObject | None:
    """Return the object that is clearly farthest from the viewpoint, where none is behind a wall, or None."""
    ordered = sorted(objects, key=lambda item: item.distance(view.x, view.y))
    if len(ordered) < 2 or not all(sees(view, item, walls) for item in ordered):
        return None
    second, last = (item.distance(view.x, view.y) for item in ordered[-2:])
    return ordered[-1] if last >= max(second + NEARER_M, second * NEARER_RATIO) else None


def left_to_right(
    objects: Sequence[SceneObject], view: Pose2D, walls: Sequence[Wall] = ()
) -> tuple[SceneObject, ...] | None:
    """Return the objects in the order in which the viewer sees them from left to right.

    None unless all are ahead (within VIEW_RAD of the heading), none is behind a wall, and all are clearly apart.
    """
    if not all(sees(view, item, walls) for item in objects):
        return None
    bearings = {item.name: bearing_from(view, item) for item in objects}
    if any(abs(angle) > VIEW_RAD for angle in bearings.values()):
        return None
    ordered = sorted(objects, key=lambda item: -bearings[item.name])
    steps = [bearings[a.name] - bearings[b.name] for a, b in itertools.pairwise(ordered)]
    return tuple(ordered) if all(step >= APART_RAD for step in steps) else None


def sees(view: Pose2D, item: SceneObject, walls: Sequence[Wall] = ()) -> bool:
    """Return whether no wall stands between the viewpoint and the middle of an object; other objects do not count."""
    return not divided(walls, (view.x, view.y), item.center)


def _divided_by(walls: Sequence[Wall]) -> Divided:
    return lambda start, end: relations.divided_by(walls, start, end)


def _graded(degree: float) -> bool | None:
    if math.isnan(degree):
        return None
    return True if degree <= 0.0 else None if degree <= 1.0 else False
