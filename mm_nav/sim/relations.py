"""Where things stand to each other: next to, between, in the corner, left of, behind, nearest.

Every relation answers True, False, or None where people might disagree: each has a threshold up to which it clearly holds
and a wider one beyond which it clearly does not. Distances are metres over the floor between footprints; walls are
their centre lines, and things on two sides of a wall stand in no relation.

"Left of", "right of", "in front of" and "behind" are meant as seen by someone at a viewpoint (the robot where it hears
the sentence) who looks at the thing that is named last: in front of it is nearer to the viewer, behind it is farther.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.sim.floor_plan import WALL_THICKNESS, Wall
from mm_nav.sim.objects import SceneObject

Point = tuple[float, float]
DIRECTIONS = ("left", "right", "front", "behind")

# Each pair: up to here it holds, beyond here it does not.
NEXT_TO_M = (0.7, 1.2)
CORNER_M = (0.35, 0.6)  # to both walls
DIRECTED_M = (2.5, 3.5)
DIRECTED_RAD = (math.radians(40.0), math.radians(55.0))  # off the direction that is meant
BETWEEN_SHARE = (0.25, 0.12)  # of the way between the two, that a thing keeps at least from either
BETWEEN_OFF = (0.22, 0.4)  # of the distance of the two, that a thing is at most off their line
BETWEEN_APART_M = 6.0
NEARER_M, NEARER_RATIO = 0.5, 1.25  # "nearest": the next one is farther by both
APART_RAD = math.radians(8.0)  # from each other, things that are counted from left to right
VIEW_RAD = math.radians(55.0)  # half of what the robot sees, for counting
_CORNER_WALL_M = 0.5  # walls that make a corner are at least this long
_TOUCH_M = 0.15
_TURN = {"left": math.pi / 2, "right": -math.pi / 2, "front": math.pi, "behind": 0.0}


def divided(walls: Sequence[Wall], start: Point, end: Point) -> bool:
    """Return whether a wall stands between two points."""
    (x0, y0), (x1, y1) = start, end
    for wall in walls:
        if wall.vertical:
            along, across = (x0, x1, wall.x0), (y0, y1, wall.y0, wall.y1)
        else:
            along, across = (y0, y1, wall.y0), (x0, x1, wall.x0, wall.x1)
        a, b, line = along
        if (a - line) * (b - line) >= 0.0:
            continue
        at = across[0] + (across[1] - across[0]) * (line - a) / (b - a)
        if min(across[2:]) <= at <= max(across[2:]):
            return True
    return False


def gap(a: SceneObject, b: SceneObject) -> tuple[float, Point, Point]:
    """Return the distance (m) of two footprints and the points of a and b that are nearest; 0 where they overlap."""
    best = (math.inf, a.center, b.center)
    for first, second, swap in ((a, b, False), (b, a, True)):
        for x, y in first.footprint:
            foot = _foot(second.footprint, float(x), float(y))
            distance = math.hypot(foot[0] - x, foot[1] - y)
            if distance < best[0]:
                here = (float(x), float(y))
                best = (distance, foot, here) if swap else (distance, here, foot)
    overlap, _ = cv2.intersectConvexConvex(a.footprint.astype(np.float32), b.footprint.astype(np.float32))
    return (0.0, a.center, b.center) if overlap > 1e-6 else best


def next_to(a: SceneObject, b: SceneObject, walls: Sequence[Wall] = ()) -> bool | None:
    """Return whether a is next to b. None also where one stands on or under the other."""
    if a.name == b.name:
        return False
    distance, here, there = gap(a, b)
    if distance == 0.0:
        return None
    if divided(walls, here, there):
        return False
    return _graded(distance, NEXT_TO_M)


def between(a: SceneObject, b: SceneObject, c: SceneObject, walls: Sequence[Wall] = ()) -> bool | None:
    """Return whether a is between b and c, which are at most 6 m apart with no wall between them."""
    if len({a.name, b.name, c.name}) < 3:
        return False
    line = np.array(c.center) - b.center
    apart = float(np.hypot(*line))
    if apart < 1e-6 or apart > BETWEEN_APART_M or divided(walls, b.center, c.center):
        return False
    offset = np.array(a.center) - b.center
    share = float(offset @ line) / apart**2
    off = abs(float(offset[0] * line[1] - offset[1] * line[0])) / apart**2
    kept = min(share, 1.0 - share)
    if kept < BETWEEN_SHARE[1] or off > BETWEEN_OFF[1]:
        return False
    return True if kept >= BETWEEN_SHARE[0] and off <= BETWEEN_OFF[0] else None


def in_corner(a: SceneObject, walls: Sequence[Wall]) -> bool | None:
    """Return whether a stands in a corner: close to two walls that meet there, on the side towards which both run."""
    answer: bool | None = False
    for x, y, right, up, width, height in _corners(walls):
        local = (a.footprint - (x, y)) * (right, up) - WALL_THICKNESS / 2
        centre = local.mean(axis=0)
        if not (0.0 < centre[0] < width and 0.0 < centre[1] < height):
            continue
        found = _graded(float(local.min(axis=0).max()), CORNER_M)
        if found:
            return True
        answer = None if found is None else answer
    return answer


def directed(which: str, a: SceneObject, b: SceneObject, view: Pose2D, walls: Sequence[Wall] = ()) -> bool | None:
    """Return whether a is left of, right of, in front of or behind b for a viewer at `view` (world) who looks at b.

    which: one of DIRECTIONS. None where the viewer cannot see b past the walls, or stands at it.
    """
    if a.name == b.name:
        return False
    ahead = np.array(b.center) - (view.x, view.y)
    if b.distance(view.x, view.y) < 0.3 or divided(walls, (view.x, view.y), b.center):
        return None
    distance, here, there = gap(a, b)
    if distance == 0.0:
        return None
    if divided(walls, here, there):
        return False
    offset = np.array(a.center) - b.center
    angle = math.atan2(offset[1], offset[0]) - math.atan2(ahead[1], ahead[0])
    answers = (
        _graded(abs(wrap_angle(angle - _TURN[which])), DIRECTED_RAD),
        _graded(distance, DIRECTED_M),
    )
    if False in answers:
        return False
    return None if None in answers else True


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
    bearings = {
        item.name: wrap_angle(math.atan2(item.center[1] - view.y, item.center[0] - view.x) - view.yaw)
        for item in objects
    }
    if any(abs(angle) > VIEW_RAD for angle in bearings.values()):
        return None
    ordered = sorted(objects, key=lambda item: -bearings[item.name])
    steps = [bearings[a.name] - bearings[b.name] for a, b in itertools.pairwise(ordered)]
    return tuple(ordered) if all(step >= APART_RAD for step in steps) else None


def sees(view: Pose2D, item: SceneObject, walls: Sequence[Wall] = ()) -> bool:
    """Return whether no wall stands between the viewpoint and the middle of an object; other objects do not count."""
    return not divided(walls, (view.x, view.y), item.center)


def _graded(value: float, limits: tuple[float, float]) -> bool | None:
    return True if value <= limits[0] else None if value <= limits[1] else False


def _corners(walls: Sequence[Wall]) -> list[tuple[float, float, int, int, float, float]]:
    """Return (x, y, side in x, side in y, length in x, length in y) of every inner corner that two walls make."""
    found = []
    for v in (wall for wall in walls if wall.vertical):
        for h in (wall for wall in walls if not wall.vertical):
            x, y = v.x0, h.y0
            if not (h.x0 - _TOUCH_M <= x <= h.x1 + _TOUCH_M and v.y0 - _TOUCH_M <= y <= v.y1 + _TOUCH_M):
                continue
            for right, width in ((-1, x - h.x0), (1, h.x1 - x)):
                for up, height in ((-1, y - v.y0), (1, v.y1 - y)):
                    if min(width, height) >= _CORNER_WALL_M:
                        found.append((x, y, right, up, width, height))
    return found


def _foot(polygon: npt.NDArray[np.float64], x: float, y: float) -> Point:
    """Return the point of a polygon's outline that is nearest to (x, y)."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    along = np.einsum("kc,kc->k", (x, y) - polygon, edges) / np.maximum(np.einsum("kc,kc->k", edges, edges), 1e-12)
    feet = polygon + np.clip(along, 0.0, 1.0)[:, None] * edges
    best = feet[int(np.argmin(np.hypot(*(feet - (x, y)).T)))]
    return float(best[0]), float(best[1])
