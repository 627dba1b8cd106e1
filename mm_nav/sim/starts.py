"""Where robots start: given as text, checked, or found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.robot import RobotConfig
from mm_nav.sim.committed_worlds import committed_world
from mm_nav.sim.contacts import contact_world, overlapping
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.scene import Scene
from mm_nav.sim.world import load_world

Floats = npt.NDArray[np.float64]

_APART_M = (
    1.5,
    1.0,
    0.7,
)  # between the middles of two robots; the nearer ones are taken only where there is no more room
_GAP_M = 0.2  # at least between two bodies that may turn on the spot
_ROOMY_M = 1.0  # more clearance than this makes a place no better
_ROOM = 4.0  # metres to go that a metre of clearance is worth


def parse_starts(text: str) -> tuple[Pose2D, ...]:
    """Return the poses of "x,y,yaw; x,y,yaw" (metres, rad, world frame; yaw may be left out); () for "". Raises ConfigError."""
    poses = []
    for part in text.split(";") if text.strip() else ():
        try:
            values = [float(value) for value in part.split(",")]
        except ValueError:
            values = []
        if len(values) not in (2, 3) or not all(math.isfinite(value) for value in values):
            raise ConfigError(
                f"start '{part.strip()}' of '{text}': give x,y,yaw for each robot in metres and rad, separated by semicolons, "
                "such as '1,2,0; 3,2,1.57'"
            )
        poses.append(Pose2D(*values))
    return tuple(poses)


def format_starts(starts: Iterable[Pose2D]) -> str:
    """Return what `parse_starts` reads, to the last digit."""
    return "; ".join(f"{start.x!r},{start.y!r},{start.yaw!r}" for start in starts)


def starts_in(world: Path, robots: Sequence[RobotConfig], scene: Scene | None = None) -> tuple[Pose2D, ...]:
    """Return where robots start in a world file when nobody says: the first at the world's own start, where it comes with the
    stack, the others at free places. scene: of that file, where it is loaded. Raises ConfigError when there is no room."""
    entry = committed_world(world)
    if entry is not None and len(robots) == 1:
        return (entry.start,)
    return free_starts(scene or Scene(load_world(world)), robots, None if entry is None else entry.start)


def check_starts(scene: Scene, robots: Sequence[RobotConfig], starts: Sequence[Pose2D], names: Sequence[str]) -> None:
    """Raise ConfigError, naming robot and obstacle, when one of them does not stand free."""
    corners = [start.transform(robot.footprint_array()) for robot, start in zip(robots, starts, strict=True)]
    for index, (robot, start, name) in enumerate(zip(robots, starts, names, strict=True)):
        where = f"robot '{name}' would start at {start.x:.2f},{start.y:.2f},{start.yaw:.2f}"
        obstacle = contact_world(scene, robot).touching(robot.footprint_array(), start)
        if obstacle is not None:
            raise ConfigError(f"{where}, in '{obstacle}': give it a free place, or no starts, and free ones are found")
        for other in range(index):
            if overlapping(corners[index], corners[other][None])[0]:
                raise ConfigError(f"{where}, where '{names[other]}' starts: give starts that do not overlap")


def free_starts(scene: Scene, robots: Sequence[RobotConfig], first: Pose2D | None = None) -> tuple[Pose2D, ...]:
    """Return a free pose for each robot, world frame: roomy places of the largest free region, near each other but apart.

    first: of the first robot; None = a roomy place near the middle of the world. All look where the first one looks. Raises
    ConfigError when there is no room.
    """
    maps = {robot: GroundTruthMap(scene, robot) for robot in dict.fromkeys(robots)}
    places = _places(maps[robots[0]])  # of every map: they differ in what the bodies touch, not in where they lie
    apart = np.full(places.shape[:2], np.inf)  # metres to the nearest start
    room = apart.copy()  # metres to the nearest of the circles in which those robots turn
    starts: list[Pose2D] = []
    for robot in robots:
        start = first if first is not None and not starts else _free_start(maps[robot], places, apart, room, starts)
        starts.append(start)
        distance = _distance(places, (start.x, start.y))
        apart, room = np.minimum(apart, distance), np.minimum(room, distance - robot.circumscribed_radius)
    return tuple(starts)


def _free_start(truth: GroundTruthMap, places: Floats, apart: Floats, room: Floats, taken: Sequence[Pose2D]) -> Pose2D:
    middle = (taken[0].x, taken[0].y) if taken else tuple(places.reshape(-1, 2).mean(axis=0))
    score = np.minimum(truth.clearance, _ROOMY_M) * _ROOM - _distance(places, middle)
    free = truth.largest_part() & (room >= truth.robot.circumscribed_radius + _GAP_M)
    for least in _APART_M:
        if (chosen := free & (apart >= least)).any():
            x, y = places[np.unravel_index(int(np.argmax(np.where(chosen, score, -np.inf))), score.shape)]
            return Pose2D(round(float(x), 3), round(float(y), 3), taken[0].yaw if taken else 0.0)
    raise ConfigError(
        f"the world has no free place for robot {len(taken) + 1} ('{truth.robot.name}'): give starts, fewer robots, or another "
        "world"
    )


def _places(truth: GroundTruthMap) -> Floats:
    return truth.cell_to_world(np.moveaxis(np.indices(truth.shape), 0, -1))


def _distance(places: Floats, point: tuple[float, ...]) -> Floats:
    return np.asarray(np.hypot(places[..., 0] - point[0], places[..., 1] - point[1]))
