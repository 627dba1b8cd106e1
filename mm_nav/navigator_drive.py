"""Driving along a path among what the map and the newest scan hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mm_nav.command import PolicyOutput
from mm_nav.control.delay import CommandDelay
from mm_nav.control.mppi import Mppi, ObstacleField, path_ahead
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.observation import Observation
from mm_nav.sensing.movers import Movers

Path = npt.NDArray[np.float64]


def drive_along(
    path: Path,
    observation: Observation,
    grid: OccupancyGrid,
    movers: Movers,
    controller: Mppi,
    output: PolicyOutput | None,
    delay: CommandDelay,
) -> Twist2D:
    """Return the twist along a path (N, 2), map frame, metres. output: whose waypoints are candidates; None = none. delay: of the
    wheels, whose answer is planned from where the robot is by then."""
    pose = observation.odometry.pose
    points = grid.to_points(np.argwhere(grid.occupied()))
    if observation.scan is not None:
        points = np.concatenate([points, pose.transform(observation.scan.points())])
    points = points[~movers.holding(points)]
    then = delay.ahead(observation.odometry)
    waypoints = None
    if output is not None:
        waypoints = (then.pose.inverse() @ pose).transform(output.waypoints.astype(np.float64))
    movers = movers.after(1e-9 * (then.stamp_ns - observation.odometry.stamp_ns))
    return controller.command(then.pose, then.twist, path, ObstacleField(pose, points), waypoints, movers=movers)


def length_left(path: Path, pose: Pose2D) -> float:
    """Return how much of a path (N, 2) is left from the point that is nearest to `pose`, metres."""
    if len(path) < 2:
        return 0.0
    return float(np.hypot(*np.diff(path_ahead(path, pose), axis=0).T).sum())
