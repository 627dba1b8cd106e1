"""Model predictive path integral control of a differential drive (Williams et al., ICRA 2017), vectorised in numpy.

Sampled trajectories, simple primitives and the policy's waypoint hypotheses are scored by the same cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.robot import RobotConfig
from mm_nav.sensing.movers import Movers

Floats = npt.NDArray[np.float64]

_WAY_POINTS = 24  # of the path, that states are held against


@dataclass(frozen=True)
class MppiConfig:
    """samples: random trajectories. steps x dt_s: horizon. lookahead_m: where on the path the robot aims, or lookahead_s at its
    cruising speed, whichever is farther.

    temperature: of the average over samples. margin_m: body to obstacle, nearer counts as contact. cruise: share of the
    robot's top speed that is used. seed: of the samples.
    """

    samples: int = 160
    steps: int = 18
    dt_s: float = 0.1
    lookahead_m: float = 1.2
    lookahead_s: float = 1.1
    temperature: float = 0.4
    margin_m: float = 0.04
    mover_margin_m: float = 0.1
    cruise: float = 0.9
    goal_tolerance_m: float = 0.08
    turn_in_place_rad: float = 1.0
    seed: int = 0


class ObstacleField:
    """Distance to the nearest obstacle in a window around the robot.

    points: (N, 2) obstacle points in the map frame, metres. size_m: width of the window.
    """

    def __init__(self, centre: Pose2D, points: Floats, size_m: float = 6.0, resolution: float = 0.05) -> None:
        self.resolution = resolution
        self.cells = int(size_m / resolution)
        self.origin = np.array([centre.x, centre.y]) - size_m / 2
        free = np.ones((self.cells, self.cells), np.uint8)
        index = np.floor((points - self.origin) / resolution).astype(int)
        ok = ((index >= 0) & (index < self.cells)).all(axis=1)
        free[index[ok, 1], index[ok, 0]] = 0
        self.distance = cv2.distanceTransform(free, cv2.DIST_L2, 5).astype(np.float64) * resolution - resolution / 2
        if free.all():
            self.distance[:] = size_m

    def at(self, x: Floats, y: Floats) -> Floats:
        """Return metres to the nearest obstacle at points of any shape; the window's edge stands for what is beyond."""
        column = np.clip(((x - self.origin[0]) / self.resolution).astype(np.int32), 0, self.cells - 1)
        row = np.clip(((y - self.origin[1]) / self.resolution).astype(np.int32), 0, self.cells - 1)
        return np.asarray(self.distance[row, column])


class Mppi:
    """Follows a path; keeps the last solution as the next one's start."""

    def __init__(self, robot: RobotConfig, config: MppiConfig | None = None) -> None:
        self.robot, self.config = robot, config or MppiConfig()
        self._outline = _outline(robot)
        self._lookahead_m = max(
            self.config.lookahead_m, self.config.lookahead_s * self.config.cruise * robot.max_linear
        )
        self._turn_m = 0.5 * self._lookahead_m
        self.reset()

    def reset(self) -> None:
        """Forget the last solution."""
        self._random = np.random.default_rng(self.config.seed)
        self._nominal = np.zeros((self.config.steps, 2))

    def command(
        self,
        pose: Pose2D,
        twist: Twist2D,
        path: Floats,
        field: ObstacleField,
        waypoints: Floats | None = None,
        speed_limit: float = math.inf,
        movers: Movers | None = None,
    ) -> Twist2D:
        """Return the twist to apply now.

        pose, path (N, 2): map frame. waypoints: (K, T, 2) hypotheses in base_link, or None. speed_limit: m/s.
        movers: who moves about, map frame; None = nobody.
        """
        c, robot = self.config, self.robot
        way, left = _way(path, pose, self._lookahead_m)
        aim = way.at(self._turn_m)
        error = wrap_angle(math.atan2(aim[1] - pose.y, aim[0] - pose.x) - pose.yaw)
        if left < c.goal_tolerance_m:
            self._nominal[:] = 0.0
            return Twist2D()
        if abs(error) > c.turn_in_place_rad:
            self._nominal[:] = 0.0
            return self.turn(error)
        top = min(c.cruise * robot.max_linear, speed_limit, math.sqrt(2 * 0.4 * robot.max_linear_accel * left) + 0.05)
        controls = self._candidates(pose, path, waypoints, top)
        states, applied = self._rollout(pose, twist, controls, top)
        cost = self._cost(states, applied, way, field, movers)
        sampled = cost[: c.samples]
        weights = np.exp(-(sampled - sampled.min()) / c.temperature)
        mean = np.tensordot(weights / weights.sum(), controls[: c.samples], axes=1)[None]
        mean_states, mean_applied = self._rollout(pose, twist, mean, top)
        mean_cost = self._cost(mean_states, mean_applied, way, field, movers)[0]
        best = int(np.argmin(cost))
        chosen, chosen_cost = (mean[0], mean_cost) if mean_cost <= cost[best] else (controls[best], cost[best])
        if chosen_cost >= 500.0:
            # Everything touches something: turn on the spot towards the path rather than push on.
            self._nominal[:] = 0.0
            return self.turn(error)
        self._nominal = np.concatenate([chosen[1:], chosen[-1:]])
        linear = float(np.clip(chosen[0, 0], 0.5 * robot.min_linear, top))
        return Twist2D(linear, float(np.clip(chosen[0, 1], -robot.max_angular, robot.max_angular)))

    def turn(self, error: float) -> Twist2D:
        """Return the twist that turns on the spot by `error` rad and ends without overshoot."""
        rate = math.sqrt(2.0 * 0.5 * self.robot.max_angular_accel * abs(error))
        return Twist2D(0.0, math.copysign(min(rate, 0.75 * self.robot.max_angular), error))

    def _candidates(self, pose: Pose2D, path: Floats, waypoints: Floats | None, top: float) -> npt.NDArray[np.float64]:
        c, robot = self.config, self.robot
        noise = self._random.standard_normal((c.samples, c.steps, 2)) * (0.25, 0.7)
        # Noise that lasts some steps explores manoeuvres; white noise averages out.
        for k in range(1, c.steps):
            noise[:, k] = 0.75 * noise[:, k - 1] + 0.66 * noise[:, k]
        random = self._nominal + noise
        speeds = np.array([0.0, 0.35, 0.7, 1.0]) * top
        rates = np.array([-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0]) * 0.8 * robot.max_angular
        fixed = np.stack(np.meshgrid(speeds, rates, indexing="ij"), axis=-1).reshape(-1, 1, 2).repeat(c.steps, axis=1)
        extra = [fixed, self._pursue(pose, path, top)[None]]
        if waypoints is not None and len(waypoints):
            extra += [self._pursue(pose, pose.transform(points), top)[None] for points in waypoints]
        controls = np.concatenate([random, *extra])
        controls[..., 0] = np.clip(controls[..., 0], 0.5 * robot.min_linear, top)
        controls[..., 1] = np.clip(controls[..., 1], -robot.max_angular, robot.max_angular)
        return np.asarray(controls)

    def _pursue(self, pose: Pose2D, points: Floats, top: float) -> Floats:
        """Return the (steps, 2) controls of a pure pursuit of `points`, map frame."""
        c = self.config
        controls = np.zeros((c.steps, 2))
        x, y, yaw = pose.x, pose.y, pose.yaw
        aim = 0
        for k in range(c.steps):
            while aim < len(points) - 1 and math.hypot(points[aim][0] - x, points[aim][1] - y) < 0.45:
                aim += 1
            error = wrap_angle(math.atan2(points[aim][1] - y, points[aim][0] - x) - yaw)
            gap = math.hypot(points[aim][0] - x, points[aim][1] - y)
            v = top * max(0.0, 1.0 - abs(error) / 1.2) * min(1.0, gap / 0.4)
            w = min(max(2.0 * error, -self.robot.max_angular), self.robot.max_angular)
            controls[k] = (v, w)
            yaw += w * c.dt_s
            x, y = x + v * math.cos(yaw) * c.dt_s, y + v * math.sin(yaw) * c.dt_s
        return controls

    def _rollout(self, pose: Pose2D, twist: Twist2D, controls: Floats, top: float) -> tuple[Floats, Floats]:
        """Return states (S, T, 3) and the controls (S, T, 2) that the acceleration limits leave of the wanted ones."""
        c, robot = self.config, self.robot
        count = len(controls)
        states, applied = np.empty((count, c.steps, 3)), np.empty((count, c.steps, 2))
        x, y = np.full(count, pose.x), np.full(count, pose.y)
        yaw, v, w = np.full(count, pose.yaw), np.full(count, twist.linear), np.full(count, twist.angular)
        dv, dw = robot.max_linear_accel * c.dt_s, robot.max_angular_accel * c.dt_s
        for k in range(c.steps):
            # np.clip checks its arguments for longer than this takes.
            v = v + np.minimum(np.maximum(controls[:, k, 0] - v, -dv), dv)
            w = w + np.minimum(np.maximum(controls[:, k, 1] - w, -dw), dw)
            middle = yaw + 0.5 * w * c.dt_s
            x, y, yaw = x + v * np.cos(middle) * c.dt_s, y + v * np.sin(middle) * c.dt_s, yaw + w * c.dt_s
            states[:, k, 0], states[:, k, 1], states[:, k, 2] = x, y, yaw
            applied[:, k, 0], applied[:, k, 1] = v, w
        return states, applied

    def _cost(
        self,
        states: Floats,
        applied: Floats,
        way: _Way,
        field: ObstacleField,
        movers: Movers | None,
    ) -> Floats:
        c = self.config
        x, y, yaw = states[..., 0], states[..., 1], states[..., 2]
        cos, sin = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
        ox, oy = self._outline[:, 0], self._outline[:, 1]
        clearance = field.at(x[..., None] + cos * ox - sin * oy, y[..., None] + sin * ox + cos * oy).min(axis=-1)
        # What touches within the next half second cannot be mended later.
        urgency = np.linspace(1.5, 0.5, c.steps)
        touched = clearance < c.margin_m
        cost = 1000.0 * (touched * urgency).max(axis=1)
        cost += 0.9 * np.exp(-np.maximum(clearance, 0.0) / 0.10).mean(axis=1)
        apart = np.hypot(x[..., None] - way.points[:, 0], y[..., None] - way.points[:, 1])
        nearest = apart.argmin(axis=-1)
        off = np.take_along_axis(apart, nearest[..., None], axis=-1)[..., 0]
        # What is left is counted along the path: by air, standing before a corner may be nearer than any way round it.
        gap = off + way.along[-1] - way.along[nearest]
        cost += 1.2 * gap[:, -1] + 0.8 * gap.mean(axis=1)
        cost += 0.6 * off.mean(axis=1)
        aim = way.points[
            np.searchsorted(way.along, np.minimum(way.along[nearest[:, -1]] + self._turn_m, way.along[-1]))
        ]
        end = np.arctan2(aim[:, 1] - y[:, -1], aim[:, 0] - x[:, -1]) - yaw[:, -1]
        facing = np.abs(np.arctan2(np.sin(end), np.cos(end)))
        cost += 0.25 * facing * np.minimum(1.0, gap[:, -1] / 0.4)
        cost += 0.06 * np.abs(np.diff(applied[..., 1], axis=1)).sum(axis=1) + 0.02 * np.abs(applied[..., 1]).mean(
            axis=1
        )
        cost += 0.5 * (applied[..., 0] < -0.01).mean(axis=1)
        if movers is not None and len(movers):
            cost += self._crossing(states, applied, movers, urgency)
        return np.asarray(cost)

    def _crossing(self, states: Floats, applied: Floats, movers: Movers, urgency: Floats) -> Floats:
        """Return (S,) what it costs to come near to those who move about, where they will be by then.

        Being touched while it stands is not the robot's doing: waiting is cheaper than any way through somebody.
        """
        c = self.config
        after = c.dt_s * np.arange(1, c.steps + 1)[None, :, None]
        x = movers.positions[:, 0] + after * movers.velocities[:, 0] - states[..., :1]
        y = movers.positions[:, 1] + after * movers.velocities[:, 1] - states[..., 1:2]
        cos, sin = np.cos(states[..., 2:]), np.sin(states[..., 2:])
        low, high = self.robot.footprint_array().min(axis=0), self.robot.footprint_array().max(axis=0)
        middle, half = (low + high) / 2, (high - low) / 2
        ahead = np.maximum(np.abs(cos * x + sin * y - middle[0]) - half[0], 0.0)
        aside = np.maximum(np.abs(cos * y - sin * x - middle[1]) - half[1], 0.0)
        gap = (np.hypot(ahead, aside) - movers.radii).min(axis=-1)
        moves = (np.abs(applied[..., 0]) > 0.03) | (np.abs(applied[..., 1]) > 0.1)
        cost = 300.0 * ((gap < c.mover_margin_m) * moves * urgency).max(axis=1)
        return np.asarray(cost + 1.5 * (np.exp(-np.maximum(gap, 0.0) / 0.3) * moves).mean(axis=1))


def path_ahead(path: Floats, pose: Pose2D) -> Floats:
    """Return what is left of a path (N, 2) from its point nearest to the robot on."""
    return path[int(np.argmin(np.hypot(path[:, 0] - pose.x, path[:, 1] - pose.y))) :]


def _outline(robot: RobotConfig, spacing: float = 0.09) -> Floats:
    """Return points (N, 2) around the footprint, no farther apart than `spacing`."""
    corners = robot.footprint_array()
    points = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        count = max(1, math.ceil(float(np.hypot(*(end - start))) / spacing))
        points.append(start + (end - start) * (np.arange(count) / count)[:, None])
    return np.concatenate(points)


@dataclass(frozen=True)
class _Way:
    """The next stretch of a path: points (N, 2), m, map frame, and how far along it they are, (N,) m."""

    points: Floats
    along: Floats

    def at(self, metres: float) -> Floats:
        """Return the point so far along, or the last."""
        return np.asarray(self.points[min(int(np.searchsorted(self.along, metres)), len(self.points) - 1)])


def _way(path: Floats, pose: Pose2D, reach: float) -> tuple[_Way, float]:
    """Return the next `reach` metres of the path from the robot, and the metres that are left of all of it."""
    gaps = np.hypot(path[:, 0] - pose.x, path[:, 1] - pose.y)
    nearest = int(np.argmin(gaps))
    ahead = path[nearest:]
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ahead, axis=0).T))]) if len(ahead) > 1 else np.zeros(1)
    left = float(along[-1]) if along[-1] > 0 else float(gaps[-1])
    left = max(left, float(gaps[-1]) if nearest == len(path) - 1 else left)
    last = min(int(np.searchsorted(along, reach)), len(ahead) - 1)
    kept = np.unique(np.linspace(0, last, min(last + 1, _WAY_POINTS)).astype(int))
    return _Way(ahead[kept], along[kept]), left
