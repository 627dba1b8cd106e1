"""Where things stand to each other, as a degree: 0 or less clearly holds, 1 or more clearly does not, nan cannot be told.

The generator of sentences (mm_nav.sim.relations) and the navigator (mm_nav.mapping.resolve) share these definitions. Distances
are metres over the floor between footprints. "Left of", "right of", "in front of" and "behind" are meant as seen by someone
at a viewpoint (the robot where it hears the sentence) who looks at the thing that is named last: in front of it is
nearer to the viewer, behind it is farther.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle

Point = tuple[float, float]
# Whether a wall stands between two points.
Divided = Callable[[Point, Point], bool]

# Each pair: up to here it holds, beyond here it does not.
NEXT_TO_M = (0.7, 1.2)
CORNER_M = (0.35, 0.6)  # to both walls
DIRECTED_M = (2.5, 3.5)
DIRECTED_RAD = (math.radians(40.0), math.radians(55.0))  # off the direction that is meant
BETWEEN_SHARE = (0.25, 0.12)  # of the way between the two, that a thing keeps at least from either
BETWEEN_OFF = (0.22, 0.4)  # of the distance of the two, that a thing is at most off their line
BETWEEN_APART_M = 6.0
VIEW_RAD = math.radians(55.0)  # half of what the robot sees, for counting
_CORNER_WALL_M = 0.5  # walls that make a corner are at least this long
_TURN = {"left": math.pi / 2, "right": -math.pi / 2, "front": math.pi, "behind": 0.0}
NO = math.inf


class Thing(Protocol):
    """Something on the floor. center: (x, y). footprint: (K, 2) convex polygon. Metres, all things in one frame."""

    @property
    def center(self) -> Point:
        """Middle, metres."""

    @property
    def footprint(self) -> npt.NDArray[np.float64]:
        """Shadow on the floor, (K, 2) metres."""


class WallLine(Protocol):
    """A straight wall along x or y between two points, metres."""

    @property
    def x0(self) -> float:
        """Least x."""

    @property
    def y0(self) -> float:
        """Least y."""

    @property
    def x1(self) -> float:
        """Greatest x."""

    @property
    def y1(self) -> float:
        """Greatest y."""

    @property
    def vertical(self) -> bool:
        """Whether it runs along y."""


def divided_by(walls: Sequence[WallLine], start: Point, end: Point) -> bool:
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


def gap(a: Thing, b: Thing) -> tuple[float, Point, Point]:
    """Return the distance (m) of two footprints and the points of a and b that are nearest; 0 where they overlap."""
    overlap, _ = cv2.intersectConvexConvex(a.footprint.astype(np.float32), b.footprint.astype(np.float32))
    if overlap > 1e-6:
        return 0.0, a.center, b.center
    from_a, foot_on_b, corner_of_a = _nearest(a.footprint, b.footprint)
    from_b, foot_on_a, corner_of_b = _nearest(b.footprint, a.footprint)
    return (from_a, corner_of_a, foot_on_b) if from_a <= from_b else (from_b, foot_on_a, corner_of_b)


def distance_to(thing: Thing, x: float, y: float) -> float:
    """Return metres from (x, y) to the footprint's edge; 0 inside."""
    contour = thing.footprint.astype(np.float32).reshape(-1, 1, 2)
    return max(0.0, -float(cv2.pointPolygonTest(contour, (float(x), float(y)), True)))


def next_to(a: Thing, b: Thing, divided: Divided) -> float:
    """Return the degree to which a is next to b; nan where one stands on or under the other."""
    distance, here, there = gap(a, b)
    if distance == 0.0:
        return math.nan
    return NO if divided(here, there) else _degree(distance, NEXT_TO_M)


def between(a: Thing, b: Thing, c: Thing, divided: Divided) -> float:
    """Return the degree to which a is between b and c, which are at most 6 m apart with no wall between them."""
    line = np.array(c.center) - b.center
    apart = float(np.hypot(*line))
    if apart > BETWEEN_APART_M or apart < 1e-6 or divided(b.center, c.center):
        return NO
    offset = np.array(a.center) - b.center
    share = float(offset @ line) / apart**2
    off = abs(float(offset[0] * line[1] - offset[1] * line[0])) / apart**2
    kept = min(share, 1.0 - share)
    return max(_degree(-kept, (-BETWEEN_SHARE[0], -BETWEEN_SHARE[1])), _degree(off, BETWEEN_OFF))


def in_corner(a: Thing, walls: Sequence[WallLine], thickness: float, touch: float) -> float:
    """Return the degree to which a stands in a corner: close to two walls that meet there, on the side towards which
    both run. thickness: of the walls, whose middle lines are given. touch: how far apart walls may end that meet, metres."""
    best = NO
    for x, y, right, up, width, height in _corners(walls, touch):
        local = (a.footprint - (x, y)) * (right, up) - thickness / 2
        centre = local.mean(axis=0)
        if 0.0 < centre[0] < width and 0.0 < centre[1] < height:
            best = min(best, _degree(float(local.min(axis=0).max()), CORNER_M))
    return best


def directed(which: str, a: Thing, b: Thing, view: Pose2D, divided: Divided) -> float:
    """Return the degree to which a is left of, right of, in front of or behind b for a viewer at `view` who looks at b.

    which: left | right | front | behind. nan where the viewer cannot see b past the walls, or stands at it.
    """
    ahead = np.array(b.center) - (view.x, view.y)
    if distance_to(b, view.x, view.y) < 0.3 or divided((view.x, view.y), b.center):
        return math.nan
    distance, here, there = gap(a, b)
    if distance == 0.0:
        return math.nan
    if divided(here, there):
        return NO
    offset = np.array(a.center) - b.center
    angle = math.atan2(offset[1], offset[0]) - math.atan2(ahead[1], ahead[0])
    return max(_degree(abs(wrap_angle(angle - _TURN[which])), DIRECTED_RAD), _degree(distance, DIRECTED_M))


def bearing_from(view: Pose2D, thing: Thing) -> float:
    """Return the direction of a thing's middle from the viewer's heading, rad, counter-clockwise."""
    return wrap_angle(math.atan2(thing.center[1] - view.y, thing.center[0] - view.x) - view.yaw)


def _degree(value: float, limits: tuple[float, float]) -> float:
    return (value - limits[0]) / (limits[1] - limits[0])


def _corners(walls: Sequence[WallLine], touch: float) -> list[tuple[float, float, int, int, float, float]]:
    """Return (x, y, side in x, side in y, length in x, length in y) of every inner corner that two walls make."""
    found = []
    for v in (wall for wall in walls if wall.vertical):
        for h in (wall for wall in walls if not wall.vertical):
            x, y = v.x0, h.y0
            if not (h.x0 - touch <= x <= h.x1 + touch and v.y0 - touch <= y <= v.y1 + touch):
                continue
            for right, width in ((-1, x - h.x0), (1, h.x1 - x)):
                for up, height in ((-1, y - v.y0), (1, v.y1 - y)):
                    if min(width, height) >= _CORNER_WALL_M:
                        found.append((x, y, right, up, width, height))
    return found


def _nearest(points: npt.NDArray[np.float64], polygon: npt.NDArray[np.float64]) -> tuple[float, Point, Point]:
    """Return the least distance of points (N, 2) to the outline of a polygon (M, 2), the outline's point, and the one of N."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    offsets = points[:, None] - polygon
    along = (offsets * edges).sum(axis=-1) / np.maximum((edges * edges).sum(axis=-1), 1e-12)
    feet = polygon + np.clip(along, 0.0, 1.0)[..., None] * edges
    off = points[:, None] - feet
    distances = np.hypot(off[..., 0], off[..., 1])
    point, edge = np.unravel_index(int(np.argmin(distances)), distances.shape)
    (x, y), (foot_x, foot_y) = points[point], feet[point, edge]
    return float(distances[point, edge]), (float(foot_x), float(foot_y)), (float(x), float(y))
