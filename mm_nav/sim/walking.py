"""How people walk: social forces (Helbing and Molnár, Phys. Rev. E 51, 4282, 1995) over shortest ways around walls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.robot import RobotConfig
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.scene import Scene

Points = npt.NDArray[np.float64]
Place = tuple[float, float]
Segments = Sequence[tuple[Points, Points, float]]

# Relaxation time, strength and range of what keeps people apart (the paper's), and off walls (weaker: doors are narrow).
_RELAX_S, _PUSH, _PUSH_RANGE_M, _WALL_PUSH, _WALL_RANGE_M = 0.5, 2.1, 0.3, 3.0, 0.1
_KEEP_RIGHT = 0.4  # how much of the push goes to the right, so that two who meet pass each other
# Who reacts comes no nearer to the robot's circle of its own accord: people pass robots at 0.4 m and more (Pacchierotti,
# Christensen and Jensfelt, RO-MAN 2006), and do not lean on them.
_ROBOT_GAP_M = 0.2
_BEHIND = 0.5  # what happens behind somebody's back counts half
_TOP_SPEED = 1.3  # times the speed they like
_ARRIVED_M, _ROOMY_M, _GOALS, _RESOLUTION_M = 0.45, 0.6, 8, 0.1
_GIVE_UP_S = 3.0  # without getting on for this long, a wanderer picks another goal
_TURN_RATE = 4.0  # rad/s

_MAPS: WeakKeyDictionary[Scene, WalkingMap] = WeakKeyDictionary()


class WalkingMap:
    """Where people can walk in a scene: clearance from walls, and shortest ways to any place."""

    def __init__(self, scene: Scene) -> None:
        corners = tuple((0.25 * math.cos(a), 0.25 * math.sin(a)) for a in np.linspace(0, 2 * np.pi, 8, endpoint=False))
        body = RobotConfig("person", corners, height_m=1.75, ground_clearance_m=0.1)
        self.truth = GroundTruthMap(scene, body, _RESOLUTION_M)
        clearance = np.minimum(self.truth.clearance, 10.0).astype(np.float64)
        self.clearance = clearance
        self._away = _gradient(clearance)
        self._ways: dict[Place, tuple[npt.NDArray[np.float32], Points]] = {}

    def free_cells(self) -> npt.NDArray[np.int64]:
        """Return the cells (N, 2) where people can stand, of the largest connected part; if there are any, roomy ones."""
        # Places to go to are not in doorways, where somebody who waits would keep everybody else from passing.
        roomy = self.truth.traversable & (self.clearance > _ROOMY_M)
        largest = self.truth.largest_part()
        if not largest.any():
            raise WorldError("nobody can stand anywhere in this world: leave people and robots out")
        return np.argwhere(largest & roomy if (largest & roomy).any() else largest)

    def cells(self, points: Points) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return rows and columns (N,) of points (N, 2), at the map's edge for points outside."""
        cells = np.clip(self.truth.world_to_cell(points), 0, np.array(self.truth.shape) - 1)
        return cells[:, 0], cells[:, 1]

    def wall_push(self, points: Points, radii: Points) -> Points:
        """Return the walls' push (N, 2), m/s², on bodies at points (N, 2)."""
        rows, columns = self.cells(points)
        gap = self.clearance[rows, columns] - radii
        strength = _WALL_PUSH * np.exp(-np.maximum(gap, 0.0) / _WALL_RANGE_M)
        return np.asarray(strength[:, None] * self._away[rows, columns])

    def way_to(self, goal: Place, point: Points) -> Points:
        """Return the direction (2,), unit, of the shortest way from a point to a goal; straight where there is none."""
        if goal not in self._ways:
            target = np.zeros(self.truth.shape, bool)
            target[tuple(self.cells(np.array([goal])))] = True
            field = self.truth.distance_field(target)
            known = np.where(np.isfinite(field), field, field[np.isfinite(field)].max(initial=0.0) + 1.0)
            self._ways[goal] = field, -_gradient(known.astype(np.float64))
        field, downhill = self._ways[goal]
        rows, columns = self.cells(point[None])
        direction = downhill[rows[0], columns[0]]
        length = float(np.hypot(*direction))
        straight = np.array(goal) - point
        gap = float(np.hypot(*straight))
        if length < 1e-6 or gap < 2 * _ARRIVED_M or not np.isfinite(field[rows[0], columns[0]]):
            direction, length = straight, gap
        return np.asarray(direction / max(length, 1e-9))


def walking_map(scene: Scene) -> WalkingMap:
    """Return the scene's map for people; made once for each scene."""
    if scene not in _MAPS:
        _MAPS[scene] = WalkingMap(scene)
    return _MAPS[scene]


class Crowd:
    """Everybody who walks. positions, velocities: (N, 2), world, m and m/s. yaws: (N,) rad. radii: (N,) m. travelled: (N,)
    metres so far."""

    def __init__(self, map_: WalkingMap | None, random: np.random.Generator) -> None:
        self._map, self._random = map_, random
        self.positions, self.velocities = np.empty((0, 2)), np.empty((0, 2))
        self.radii, self.yaws, self.travelled = np.empty(0), np.empty(0), np.empty(0)
        self._speeds, self._waits, self._stuck = np.empty(0), np.empty(0), np.empty(0)
        self._reacts = np.empty(0, bool)
        self._routes: list[tuple[Place, ...]] = []
        self._goals: list[Place] = []
        self._stops: list[int] = []  # which place of their route they go to
        self._pauses: list[float] = []
        self._free = map_.free_cells() if map_ is not None else np.empty((0, 2), np.int64)
        self._haunts = [self._draw() for _ in range(_GOALS)] if map_ is not None else []

    def _draw(self) -> Place:
        assert self._map is not None
        x, y = self._map.truth.cell_to_world(self._free[int(self._random.integers(len(self._free)))])
        return float(x), float(y)

    def free_place(self, radius: float, robots: Points) -> Pose2D:
        """Return a free place away from the robots (R, 2) and everybody else, with a heading, drawn from the seed."""
        best, best_gap = self._draw(), -1.0
        for _ in range(40):
            place = self._draw()
            others = np.concatenate([self.positions, robots])
            gap = float(np.hypot(*(others - place).T).min()) - radius
            if gap > best_gap:
                best, best_gap = place, gap
            if gap > 1.2:
                break
        return Pose2D(*best, float(self._random.uniform(-math.pi, math.pi)))

    def add(
        self, start: Pose2D, radius: float, speed: float, pause_s: float, route: tuple[Place, ...], reacts: bool
    ) -> None:
        """Add somebody."""
        self.positions = np.concatenate([self.positions, [[start.x, start.y]]])
        self.velocities = np.concatenate([self.velocities, np.zeros((1, 2))])
        for name, value in (
            ("radii", radius), ("yaws", start.yaw), ("travelled", 0.0), ("_speeds", speed), ("_waits", 0.0), ("_stuck", 0.0)
        ):  # fmt: skip
            setattr(self, name, np.append(getattr(self, name), value))
        self._reacts = np.append(self._reacts, reacts)
        self._routes.append(route)
        self._pauses.append(pause_s)
        self._stops.append(0)
        self._goals.append(route[0] if route else self._another())

    def _another(self) -> Place:
        return self._haunts[int(self._random.integers(len(self._haunts)))]

    def stop(self, index: int, position: Points) -> None:
        """Put somebody back to where they were, standing."""
        self.positions[index], self.velocities[index] = position, 0.0

    def step(self, dt: float, robots: Points, robot_radii: Points, leaves: Segments) -> None:
        """Let everybody walk for dt seconds. robots: (R, 2) and robot_radii: (R,), metres; leaves: door leaves in the way."""
        if not len(self.positions):
            return
        assert self._map is not None
        self._think(dt)
        wanted = np.array(
            [
                self._map.way_to(goal, point) if not route else _unit(np.array(goal) - point)
                for goal, point, route in zip(self._goals, self.positions, self._routes, strict=True)
            ]
        )
        wanted *= (self._speeds * (self._waits <= 0))[:, None]
        push = (wanted - self.velocities) / _RELAX_S
        push += self._reacts[:, None] * (
            self._social(robots, robot_radii + _ROBOT_GAP_M) + self._map.wall_push(self.positions, self.radii)
        )
        velocity = self.velocities + push * dt
        velocity[~self._reacts] = wanted[~self._reacts]
        speed = np.hypot(*velocity.T)
        velocity *= np.minimum(1.0, _TOP_SPEED * self._speeds / np.maximum(speed, 1e-9))[:, None]
        self._move(velocity, dt, leaves, robots, robot_radii)

    def _think(self, dt: float) -> None:
        """Pick the next goal of those who arrived, or who do not get on."""
        self._waits = np.maximum(self._waits - dt, 0.0)
        slow = np.hypot(*self.velocities.T) < 0.2 * self._speeds
        self._stuck = np.where(slow & (self._waits <= 0), self._stuck + dt, 0.0)
        for index, (goal, route) in enumerate(zip(self._goals, self._routes, strict=True)):
            if math.dist(goal, self.positions[index]) < _ARRIVED_M:
                self._waits[index] = self._pauses[index]
                self._stops[index] += 1
                self._goals[index] = route[self._stops[index] % len(route)] if route else self._another()
            elif not route and self._stuck[index] > _GIVE_UP_S:
                self._stuck[index], self._goals[index] = 0.0, self._another()

    def _social(self, robots: Points, robot_radii: Points) -> Points:
        """Return the push (N, 2), m/s², of everybody else and of the robots."""
        others = np.concatenate([self.positions, robots])
        radii = np.concatenate([self.radii, robot_radii])
        apart = self.positions[:, None] - others[None]  # (N, N + R, 2)
        distance = np.hypot(apart[..., 0], apart[..., 1])
        gap = self.radii[:, None] + radii[None] - distance
        strength = _PUSH * np.exp(np.minimum(gap, 0.5) / _PUSH_RANGE_M)
        strength[distance < 1e-9] = 0.0  # oneself
        unit = apart / np.maximum(distance, 1e-9)[..., None]
        facing = np.einsum("nij,nj->ni", -unit, np.stack([np.cos(self.yaws), np.sin(self.yaws)], axis=-1))
        strength *= np.where(facing > 0, 1.0, _BEHIND)
        aside = np.stack([-unit[..., 1], unit[..., 0]], axis=-1) * (facing > 0)[..., None]
        return np.asarray((strength[..., None] * (unit + _KEEP_RIGHT * aside)).sum(axis=1))

    def _move(self, velocity: Points, dt: float, leaves: Segments, robots: Points, robot_radii: Points) -> None:
        """Walk on, along walls where one is in the way, and not at all into anybody or through a door leaf."""
        before = self.positions.copy()
        for index in range(len(before)):
            for share in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
                moved = before[index] + velocity[index] * share * dt
                close, was = (np.hypot(*(robots - place).T) for place in (moved, before[index]))
                near = close < np.minimum(self.radii[index] + robot_radii + _ROBOT_GAP_M, was)
                if self._reacts[index] and near.any():
                    continue
                if self._may_stand(index, moved, before[index], leaves):
                    self.positions[index] = moved
                    break
        step = self.positions - before
        self.velocities = step / dt
        self.travelled += np.hypot(*step.T)
        moving = np.hypot(*self.velocities.T) > 0.05
        heading = np.arctan2(self.velocities[:, 1], self.velocities[:, 0])
        for index in np.flatnonzero(moving).tolist():
            turn = wrap_angle(float(heading[index] - self.yaws[index]))
            self.yaws[index] += min(max(turn, -_TURN_RATE * dt), _TURN_RATE * dt)

    def _may_stand(self, index: int, place: Points, before: Points, leaves: Segments) -> bool:
        """Whether somebody may go from `before` to `place`: free, or freer than where they are."""
        assert self._map is not None
        radius = self.radii[index]
        rows, columns = self._map.cells(np.array([place, before]))
        new, old = self._map.clearance[rows, columns]
        if new < radius and new < old:
            return False
        apart = np.hypot(*(self.positions - place).T) - self.radii
        apart[index] = np.inf
        was = np.hypot(*(self.positions - before).T) - self.radii
        if np.any((apart < radius) & (apart < was)):
            return False
        for start, end, half in leaves:
            gap, earlier = distance_to_segment(np.array([place, before]), start, end)
            if gap < radius + half and gap < earlier:
                return False
        return True


def distance_to_segment(points: Points, start: Points, end: Points) -> Points:
    """Return the distances (N,) of points (N, 2) to a segment, metres."""
    along = end - start
    share = np.clip((points - start) @ along / max(float(along @ along), 1e-12), 0.0, 1.0)
    return np.asarray(np.hypot(*(points - start - share[:, None] * along).T))


def _gradient(field: Points) -> Points:
    """Return the uphill direction (H, W, 2) as (x, y), at most one long."""
    along_y, along_x = np.gradient(field, _RESOLUTION_M)
    slope = np.stack([along_x, along_y], axis=-1)
    return np.asarray(slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1.0))


def _unit(vector: Points) -> Points:
    return np.asarray(vector / max(float(np.hypot(*vector)), 1e-9))
