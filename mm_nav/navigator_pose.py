"""Driving to a pose: the way there, and the heading in the end."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mm_nav.control.mppi import path_ahead
from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.goal import Goal
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.planning.grid_planner import GridPlanner
from mm_nav.robot import RobotConfig

Path = npt.NDArray[np.float64]
_OTHER_WAY_M = 0.5  # that another way must cost less


def way_to(
    goal: Pose2D, pose: Pose2D, planner: GridPlanner, grid: OccupancyGrid, tolerance_m: float, begun: Path
) -> Path | None:
    """Return the way (N, 2) from `pose` to within `tolerance_m` of the goal, map frame, metres; None = there is none.

    begun: the one that is being driven, (0, 2) = none: of two ways round something it is kept, unless the other is clearly better.
    """
    planner.update(grid, pose)
    plan = planner.path_to(goal.x, goal.y)
    if plan is None:
        plan = planner.approach(np.array([goal.x, goal.y]), tolerance_m, grid)
    if plan is None:
        return None
    rest = [(pose.x, pose.y), *path_ahead(begun, pose)[1:]] if len(begun) else []
    if len(rest) < 2 or planner.cost_of(np.array(rest)) > planner.cost_of(plan) + _OTHER_WAY_M:
        return plan
    return begun


def left_to_turn(goal: Goal, pose: Pose2D, robot: RobotConfig, tolerance_rad: float) -> tuple[float, str]:
    """Return by how much the robot has still to turn at a goal's pose, rad, 0 = not at all, and what there is to say of it."""
    if not goal.facing or goal.pose is None:
        return 0.0, ""
    if robot.min_turning_radius > 0.0:
        return 0.0, f"; this robot cannot turn on the spot to face {math.degrees(goal.pose.yaw):.0f} degrees"
    turn = wrap_angle(goal.pose.yaw - pose.yaw)
    return turn if abs(turn) > tolerance_rad else 0.0, f" and {abs(math.degrees(turn)):.0f} degrees off"
