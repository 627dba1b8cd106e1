"""Classical local planners to hold beside the navigator's: the dynamic window approach as ROS has it, and pure pursuit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.command import Command, ErrorCode, Stage
from mm_nav.control.mppi import ObstacleField, path_ahead
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.goal import Goal
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import Observation
from mm_nav.planning.grid_planner import GridPlanner
from mm_nav.robot import RobotConfig
from mm_nav.sensing.deskew import all_at_once

Floats = npt.NDArray[np.float64]
# What follows a path: pose and twist, path (N, 2) map frame, obstacles; the twist to drive, None = none can be.
Follow = Callable[[Pose2D, Twist2D, Floats, ObstacleField], Twist2D | None]
_REPLAN_S, _WINDOW_M, _TOLERANCE_M = 1.0, 4.0, 0.25
_STEP_S = 0.1
_ROTATE_RAD_S = 0.5  # where no way on is found: as move_base's recovery looks around


class PathPilot:
    """Stands in place of the Navigator for pose goals: a global path once a second, followed by `follow`."""

    def __init__(self, robot: RobotConfig, follow: Follow) -> None:
        self._follow, self._grid, self._planner = follow, OccupancyGrid(), GridPlanner(robot)
        self._goal, self._path, self._next_plan = Pose2D(), np.empty((0, 2)), -math.inf

    def set_goal(self, goal: Goal) -> None:
        """Start on a pose goal."""
        self._goal, self._next_plan = goal.pose or Pose2D(), -math.inf

    def step(self, observation: Observation) -> Command:
        """Return the command for one observation."""
        observation = all_at_once(observation)
        now, pose = observation.stamp_ns * 1e-9, observation.odometry.pose
        if observation.scan is not None:
            self._grid.update(observation.scan, pose)
        if pose.distance_to(self._goal) <= _TOLERANCE_M:
            return Command(observation.stamp_ns, Twist2D(), Stage.SUCCEEDED, ErrorCode.NONE, "reached the pose")
        if now >= self._next_plan:
            self._next_plan = now + _REPLAN_S
            self._planner.update(self._grid, pose)
            path = self._planner.path_to(self._goal.x, self._goal.y)
            self._path = self._path if path is None else path
        twist = None
        if len(self._path):
            points = self._grid.to_points(np.argwhere(self._grid.occupied()))
            near = np.abs(points - (pose.x, pose.y)).max(axis=1) < 0.5 * _WINDOW_M
            field = ObstacleField(pose, points[near], _WINDOW_M)
            twist = self._follow(pose, observation.odometry.twist, self._path, field)
        return Command(observation.stamp_ns, Twist2D(0.0, _ROTATE_RAD_S) if twist is None else twist, Stage.FOLLOWING)


@dataclass(frozen=True)
class DwaConfig:
    """Parameters by their names in dwa_local_planner, with the values of jackal_navigation, which the benchmark's baseline uses."""

    max_vel_x: float = 0.5
    min_vel_x: float = 0.1
    max_vel_theta: float = 1.57
    acc_lim_x: float = 10.0
    acc_lim_theta: float = 20.0
    sim_time: float = 2.0
    vx_samples: int = 6
    vtheta_samples: int = 20
    path_distance_bias: float = 0.75
    goal_distance_bias: float = 1.0
    occdist_scale: float = 0.1
    forward_point_distance: float = 0.325
    inflation_radius: float = 0.30
    cost_scaling_factor: float = 5.0
    padding_m: float = 0.01


class Dwa:
    """The dynamic window approach (Fox, Burgard and Thrun, 1997) with the critics of ROS 1's dwa_local_planner: of each constant
    twist that can be had in one period, how far the place it leads to is from path and local goal, how far a point before the robot
    is from both, and how near the body comes to obstacles. A twist whose body touches one is out."""

    def __init__(self, robot: RobotConfig, config: DwaConfig | None = None, period_s: float = 0.05) -> None:
        self._config, self._period = config or DwaConfig(), period_s
        corners = robot.footprint_array()
        corners = corners + np.sign(corners) * self._config.padding_m
        shares = np.linspace(0.0, 1.0, 8, endpoint=False)[:, None]
        self._outline = np.concatenate(
            [a + shares * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
        )

    def __call__(self, pose: Pose2D, twist: Twist2D, path: Floats, field: ObstacleField) -> Twist2D | None:
        """Return the best twist, or None where every one touches something."""
        c = self._config
        ahead = path_ahead(path, pose)
        inside = np.abs(ahead - (pose.x, pose.y)).max(axis=1) < 0.5 * _WINDOW_M
        local = ahead[: max(1, int(np.argmin(inside)) if not inside.all() else len(ahead))]
        v, w = self._window(twist)
        steps = np.arange(1, int(c.sim_time / _STEP_S) + 1) * _STEP_S
        yaw = pose.yaw + w[:, None] * steps
        # Constant twists drive arcs, and step by step their chords.
        middle = yaw - 0.5 * _STEP_S * w[:, None]
        x = pose.x + np.cumsum(v[:, None] * np.cos(middle), axis=1) * _STEP_S
        y = pose.y + np.cumsum(v[:, None] * np.sin(middle), axis=1) * _STEP_S
        cos, sin = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
        body_x = x[..., None] + cos * self._outline[:, 0] - sin * self._outline[:, 1]
        body_y = y[..., None] + sin * self._outline[:, 0] + cos * self._outline[:, 1]
        near = field.at(body_x, body_y).min(axis=(1, 2))
        legal = near > 0.0
        if not legal.any():
            return None
        end_x, end_y, end_yaw = x[:, -1], y[:, -1], yaw[:, -1]
        front_x = end_x + c.forward_point_distance * np.cos(end_yaw)
        front_y = end_y + c.forward_point_distance * np.sin(end_yaw)
        cost = c.path_distance_bias * (_to_path(end_x, end_y, local) + _to_path(front_x, front_y, local))
        goal = local[-1]
        cost += c.goal_distance_bias * (
            np.hypot(end_x - goal[0], end_y - goal[1]) + np.hypot(front_x - goal[0], front_y - goal[1])
        )
        # Costmaps count cells of 5 cm, and 252 for what the inscribed circle touches.
        occupied = np.where(
            near < c.inflation_radius, 252.0 * np.exp(-c.cost_scaling_factor * np.maximum(near, 0.0)), 0.0
        )
        cost = cost / 0.05 + c.occdist_scale * occupied
        best = int(np.argmin(np.where(legal, cost, np.inf)))
        return Twist2D(float(v[best]), float(w[best]))

    def _window(self, twist: Twist2D) -> tuple[Floats, Floats]:
        c, dt = self._config, self._period
        low, high = max(0.0, twist.linear - c.acc_lim_x * dt), min(c.max_vel_x, twist.linear + c.acc_lim_x * dt)
        right = max(-c.max_vel_theta, twist.angular - c.acc_lim_theta * dt)
        left = min(c.max_vel_theta, twist.angular + c.acc_lim_theta * dt)
        speeds = np.unique(np.append(np.linspace(min(low, high), high, c.vx_samples), 0.0))
        turns = np.unique(np.append(np.linspace(right, left, c.vtheta_samples), 0.0))
        v, w = (grid.ravel() for grid in np.meshgrid(speeds, turns))
        # min_vel_trans: slower than that it turns on the spot.
        moving = (v >= c.min_vel_x) | ((v == 0.0) & (np.abs(w) > 0.2))
        return (v[moving], w[moving]) if moving.any() else (v, w)


@dataclass(frozen=True)
class PursuitConfig:
    """speed: m/s. lookahead_m: where on the path it aims. turn_rad: from this error of heading on it turns on the spot."""

    speed: float = 1.0
    lookahead_m: float = 0.6
    turn_rad: float = 1.0


class PurePursuit:
    """Drives arcs to a point of the path before it (Coulter, 1992); blind to what the path does not go round."""

    def __init__(self, robot: RobotConfig, config: PursuitConfig | None = None) -> None:
        self._config, self._robot = config or PursuitConfig(), robot

    def __call__(self, pose: Pose2D, twist: Twist2D, path: Floats, field: ObstacleField) -> Twist2D | None:
        """Return the twist of the arc."""
        c = self._config
        ahead = path_ahead(path, pose)
        far = np.flatnonzero(np.hypot(ahead[:, 0] - pose.x, ahead[:, 1] - pose.y) >= c.lookahead_m)
        aim = ahead[far[0] if len(far) else -1]
        error = wrap_angle(math.atan2(aim[1] - pose.y, aim[0] - pose.x) - pose.yaw)
        if abs(error) > c.turn_rad:
            return Twist2D(0.0, math.copysign(min(1.5, 2.0 * abs(error)), error))
        distance = max(float(np.hypot(aim[0] - pose.x, aim[1] - pose.y)), 0.1)
        turn = 2.0 * c.speed * math.sin(error) / distance
        return Twist2D(c.speed, min(max(turn, -self._robot.max_angular), self._robot.max_angular))


def _to_path(x: Floats, y: Floats, path: Floats) -> Floats:
    return np.asarray(np.hypot(x[:, None] - path[:, 0], y[:, None] - path[:, 1]).min(axis=1))
