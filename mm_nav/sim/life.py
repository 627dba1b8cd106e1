"""Everything in a world that moves by itself: people and robots that walk about, doors that open and close."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.sim import bodies
from mm_nav.sim.contacts import overlapping
from mm_nav.sim.moving import MovingBodies
from mm_nav.sim.scene import Scene
from mm_nav.sim.walking import Crowd, Place, WalkingMap, distance_to_segment, walking_map

Points = npt.NDArray[np.float64]

KINDS = ("person", "robot")
_RADII = {"person": 0.25, "robot": 0.32}
_ROBOT_SIZE = (0.5, 0.4, 0.6)
_SIDES = 12
_TICK_S = 0.05  # people move this often at most; the robot's physics may be finer
_DOOR_HOLD_S = 2.0  # an automatic door stays open this long after the last one has passed


@dataclass(frozen=True)
class Walker:
    """A person or robot that moves about.

    kind: person | robot. start: world, None = a free place drawn from the seed. route: places (x, y), world, metres,
    visited in turn and for ever; () = wanders between places drawn from the seed. speed: m/s. pause_s: at each place.
    reacts: gives way to people, robots and walls (social forces); False: keeps to its route and stops only where it would
    touch something.
    """

    name: str
    kind: str = "person"
    start: Pose2D | None = None
    route: tuple[Place, ...] = ()
    speed: float = 1.0
    pause_s: float = 1.0
    reacts: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"walker '{self.name}': kind '{self.kind}' is not known: give one of {', '.join(KINDS)}")
        if not 0 < self.speed <= 5 or not self.pause_s >= 0:
            raise ConfigError(
                f"walker '{self.name}': speed {self.speed} m/s, pause {self.pause_s} s: give a speed above 0 and at most 5, "
                "and a pause that is not negative"
            )


@dataclass(frozen=True)
class Door:
    """A door leaf on a hinge (x, y), world, metres. closed_yaw: direction of the closed leaf from its hinge, rad.
    open_angle: rad, from closed to open, its sign says to which side. width, height, thickness: metres. speed: rad/s.

    opens: near = while somebody (or the robot) is within reach_m of its middle; cycle = by the clock, open for the second
    half of every period_s. A leaf never moves into anybody; it waits.
    """

    name: str
    hinge: Place
    closed_yaw: float = 0.0
    open_angle: float = 1.5
    width: float = 0.9
    height: float = 2.0
    thickness: float = 0.04
    speed: float = 1.2
    opens: str = "near"
    reach_m: float = 1.5
    period_s: float = 12.0

    def __post_init__(self) -> None:
        if self.opens not in ("near", "cycle"):
            raise ConfigError(f"door '{self.name}': opens '{self.opens}' is not known: give near or cycle")
        for key in ("width", "height", "thickness", "speed", "reach_m", "period_s"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"door '{self.name}': {key} must be above 0, got {getattr(self, key)}")


@dataclass(frozen=True)
class LifeConfig:
    """Who is about: `people` and `robots` that wander, `walkers` with plans of their own, and doors."""

    people: int = 0
    robots: int = 0
    walkers: tuple[Walker, ...] = ()
    doors: tuple[Door, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.people <= 200 or not 0 <= self.robots <= 200:
            raise ConfigError(f"life with {self.people} people and {self.robots} robots: give 0 to 200 of each")

    def everyone(self) -> tuple[Walker, ...]:
        """Return all walkers, the wandering ones last."""
        people = (Walker(f"person_{i}", speed=1.0 + 0.06 * (i % 5)) for i in range(self.people))
        robots = (Walker(f"robot_{i}", "robot", speed=0.6) for i in range(self.robots))
        return (*self.walkers, *people, *robots)


class Life:
    """All that moves by itself in one simulator, or in one fleet of them. Deterministic for a seed, and for what the
    simulated robots do.

    names, figures: of walkers and doors, in the order of the moving bodies. time: seconds since the start.
    """

    def __init__(self, scene: Scene, config: LifeConfig, random: np.random.Generator, robots: Sequence[Pose2D]) -> None:
        """robots: where the simulated robots start."""
        self._doors = [_Leaf(door) for door in config.doors]
        walkers, floor = config.everyone(), scene.floor_z
        self._map: WalkingMap | None = walking_map(scene) if walkers else None
        self._floor, self.time, self._behind = floor, 0.0, 0.0
        self.crowd = Crowd(self._map, random)
        figures, places = [], _places(robots)
        for walker in walkers:
            assert self._map is not None
            radius = _RADII[walker.kind]
            start = walker.start or self.crowd.free_place(radius, places)
            self.crowd.add(start, radius, walker.speed, walker.pause_s, walker.route, walker.reacts)
            figures.append(
                bodies.person(random) if walker.kind == "person" else bodies.robot_body(*_ROBOT_SIZE, random)
            )
        self._kinds = [walker.kind for walker in walkers]
        colour = (0.55, 0.38, 0.22)
        figures += [bodies.door_leaf(d.width, d.thickness, d.height, colour) for d in config.doors]
        self.figures: list[bodies.Figure] = figures
        self.names: list[str] = [walker.name for walker in walkers] + [door.name for door in config.doors]
        figures_by_name = [(n, f.segments) for n, f in zip(self.names, figures, strict=True)]
        self._bodies = MovingBodies(scene, figures_by_name, self.segment_poses)
        self._stale = True

    def step(self, dt: float, footprints: Sequence[Points], robots: Sequence[Pose2D]) -> list[str | None]:
        """Let everybody move for `dt` seconds; return for each robot who was kept from walking into it, None = nobody.

        footprints: (K, 2) of each robot, its corners in the world, metres. Nobody moves into one.
        """
        self.time += dt
        self._behind += dt
        blocked: list[str | None] = [None] * len(robots)
        if self._behind < _TICK_S - 1e-9:
            return blocked
        dt, self._behind = self._behind, 0.0
        leaves = [leaf.segment() for leaf in self._doors]
        before, places = self.crowd.positions.copy(), _places(robots)
        reach = [float(np.hypot(*(corners - place).T).max()) for corners, place in zip(footprints, places, strict=True)]
        self.crowd.step(dt, places, np.array(reach), leaves)
        for robot, footprint in enumerate(footprints):
            for index in self._near(footprint):
                now, earlier = self._outline(index), self._outline(index, before[index])
                if overlapping(footprint, now[None])[0] and not overlapping(footprint, earlier[None])[0]:
                    self.crowd.stop(index, before[index])
                    blocked[robot] = self.names[index]
        around = np.concatenate([self.crowd.positions, places])
        radii = np.concatenate([self.crowd.radii, np.zeros(len(robots))])
        for leaf in self._doors:
            leaf.step(dt, self.time, around, radii, footprints)
        self._stale = True
        return blocked

    def touching(self, footprint: Points) -> str | None:
        """Return the name of what the robot's corners (K, 2), world, overlap; None = nothing."""
        for index in self._near(footprint):
            if overlapping(footprint, self._outline(index)[None])[0]:
                return self.names[index]
        for index, leaf in enumerate(self._doors):
            if overlapping(footprint, leaf.outline()[None])[0]:
                return self.names[len(self._kinds) + index]
        return None

    def poses(self) -> list[Pose2D]:
        """Return where the walkers are and where they look, and the doors' hinges with the leaf's direction."""
        walkers = [
            Pose2D(float(x), float(y), wrap_angle(float(yaw)))
            for (x, y), yaw in zip(self.crowd.positions, self.crowd.yaws, strict=True)
        ]
        return walkers + [Pose2D(*leaf.door.hinge, leaf.yaw) for leaf in self._doors]

    def _near(self, footprint: Points) -> list[int]:
        centre = footprint.mean(axis=0)
        reach = float(np.hypot(*(footprint - centre).T).max())
        away = np.hypot(*(self.crowd.positions - centre).T)
        return [int(index) for index in np.flatnonzero(away < reach + self.crowd.radii * 1.1)]

    def _outline(self, index: int, position: Points | None = None) -> Points:
        """A walker's corners on the floor: a polygon for a person, a box for a robot."""
        centre = self.crowd.positions[index] if position is None else position
        if self._kinds[index] == "robot":
            half_length, half_width = _ROBOT_SIZE[0] / 2, _ROBOT_SIZE[1] / 2
            corners = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * (half_length, half_width)
            return Pose2D(float(centre[0]), float(centre[1]), float(self.crowd.yaws[index])).transform(corners)
        angles = 2 * np.pi / _SIDES * np.arange(_SIDES)
        return np.asarray(centre + self.crowd.radii[index] * np.stack([np.cos(angles), np.sin(angles)], axis=-1))

    @property
    def moving(self) -> MovingBodies:
        """What sensors see of everybody, where they are now."""
        if self._stale:
            self._stale = False
            table = self.spheres()
            self._bodies.move(table[:, :3], table[:, 3])
        return self._bodies

    def spheres(self) -> npt.NDArray[np.float64]:
        """Return a sphere that holds each body: x, y, z and radius (N, 4), metres, world."""
        spheres = [f.sphere(p.x, p.y, p.yaw, self._floor) for p, f in zip(self.poses(), self.figures, strict=True)]
        return np.array(spheres, np.float64).reshape(-1, 4)

    def segment_poses(self) -> npt.NDArray[np.float64]:
        """Return the poses (S, 4, 4), world, of all segments of all bodies, in order."""
        speeds, doors = np.hypot(*self.crowd.velocities.T), [0.0] * len(self._doors)
        gaits = zip([*self.crowd.travelled, *doors], [*speeds, *doors], strict=True)
        poses = [
            matrix
            for pose, figure, (travelled, speed) in zip(self.poses(), self.figures, gaits, strict=True)
            for matrix in figure.poses(pose.x, pose.y, pose.yaw, self._floor, float(travelled), float(speed))
        ]
        return np.array(poses).reshape(-1, 4, 4)


def _places(robots: Sequence[Pose2D]) -> Points:
    return np.array([(robot.x, robot.y) for robot in robots], np.float64).reshape(-1, 2)


class _Leaf:
    """A door and how far it is open."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.angle = 0.0
        self._hold = 0.0

    @property
    def yaw(self) -> float:
        return self.door.closed_yaw + math.copysign(self.angle, self.door.open_angle)

    def segment(self) -> tuple[Points, Points, float]:
        """Return both ends (2,) of the leaf's middle line and half its thickness, metres."""
        start = np.array(self.door.hinge)
        end = start + self.door.width * np.array([math.cos(self.yaw), math.sin(self.yaw)])
        return start, end, self.door.thickness / 2

    def outline(self) -> Points:
        half = self.door.thickness / 2
        corners = np.array([(self.door.width, half), (0.0, half), (0.0, -half), (self.door.width, -half)])
        return Pose2D(*self.door.hinge, self.yaw).transform(corners)

    def step(self, dt: float, time: float, around: Points, radii: Points, footprints: Sequence[Points]) -> None:
        """Move by `dt` seconds. around (N, 2), radii (N,): who stands where; footprints (K, 2): of the robots."""
        door = self.door
        if door.opens == "cycle":
            wanted = time % door.period_s >= door.period_s / 2
        else:
            closed = door.width / 2 * np.array([math.cos(door.closed_yaw), math.sin(door.closed_yaw)])
            near = np.hypot(*(around - (np.array(door.hinge) + closed)).T) < door.reach_m
            self._hold = _DOOR_HOLD_S if near.any() else max(0.0, self._hold - dt)
            wanted = self._hold > 0
        before = self.angle
        change = door.speed * dt if wanted else -door.speed * dt
        self.angle = min(max(before + change, 0.0), abs(door.open_angle))
        if self.angle == before:
            return
        start, end, half = self.segment()
        hits_somebody = distance_to_segment(around, start, end) < radii + half
        outline = self.outline()[None]
        if hits_somebody.any() or any(overlapping(footprint, outline)[0] for footprint in footprints):
            self.angle = before
