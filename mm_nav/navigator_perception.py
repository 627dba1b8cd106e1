"""What the navigator knows of its surroundings: the map, where the camera looked, and where the things of a step may be."""

from __future__ import annotations

import math

import numpy as np

from mm_nav.command import PolicyOutput
from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.mapping.belief import Hypothesis
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.expected_scan import expected_scan
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_targets import StepTargets
from mm_nav.observation import Observation
from mm_nav.robot import RobotConfig
from mm_nav.runtime.policy import PolicySource
from mm_nav.sensing.movers import Movers, MoverTracker

# So far from where a thing is believed to be its surface may be.
SURFACE_M = 0.25


class Perception:
    """Fuses observations and what the policy says of them. fov: of the camera, rad. Times are stamps, s."""

    def __init__(self, robot: RobotConfig, config: NavigatorConfig, policy: PolicySource | None) -> None:
        self._robot, self._config, self._policy = robot, config, policy
        self.grid = OccupancyGrid()
        self.tracker, self.movers = MoverTracker(), Movers()
        self.coverage = CameraCoverage(self.grid, config.camera_range_m)
        self.targets = StepTargets(config.belief, config.high_from_m)
        self.fov = config.default_fov_rad
        self._answered = False
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Start on a goal: no picture has come yet."""
        self.last_policy = now
        self._last_picture: float | None = None

    @property
    def policy_patience_s(self) -> float:
        """How long the policy may be silent."""
        return self._config.policy_timeout_s + (0.0 if self._answered else self._config.policy_start_s)

    def sense(self, observation: Observation) -> None:
        """Fuse the scan into the map, but for those who move about."""
        pose, self.movers = observation.odometry.pose, Movers()
        if observation.scan is not None:
            self.movers = self.tracker.update(observation.scan, pose)
            self.grid.update(observation.scan, pose, self.movers)
            self.grid.clear_footprint(pose.transform(self._robot.footprint_array()))

    def consult(self, observation: Observation, goal: PolicyGoal | None, now: float) -> PolicyOutput | None:
        """Ask the policy where the goal's things are and believe it accordingly; None = nothing to ask, or no answer."""
        output = self._policy(observation, goal) if goal is not None and self._policy is not None else None
        if output is None:
            return None
        self.last_policy, self._answered = now, True
        # The policy's node has the camera, this one need not: a heat map tells that there was a picture.
        if output.heatmap is not None and (goal is None or goal.pose is None):
            self._last_picture = now
            self.fov = _field_of_view(output)
            pose = observation.odometry.pose
            # The LiDAR's view bounds the camera's; without one, what the map expects of it.
            scan = observation.scan or expected_scan(self.grid, pose, observation.stamp_ns)
            self.coverage.update(pose, scan, self.fov)
            self.targets.update(output, pose, self.grid, self.fov)
        return output

    def distance_to(self, thing: Hypothesis, pose: Pose2D) -> float:
        """Return metres from the robot to a thing's surface: as the LiDAR measured it where it shows something there, else as it is
        believed."""
        believed = math.hypot(thing.x - pose.x, thing.y - pose.y)
        measured = self.grid.surface_distance(np.array([pose.x, pose.y]), thing.point, SURFACE_M)
        return believed if measured is None else min(max(measured, believed - SURFACE_M), believed + SURFACE_M)

    def has_camera(self, now: float) -> bool:
        """Whether pictures have come for this goal, the last one not long ago."""
        return self._last_picture is not None and now - self._last_picture <= self._config.camera_lost_s

    def lost_camera(self, now: float) -> bool:
        """Whether pictures have come for this goal, and do no more."""
        return self._last_picture is not None and not self.has_camera(now)


def _field_of_view(output: PolicyOutput) -> float:
    """Return the camera's horizontal field of view, rad: the bins' centres and half a bin on either side."""
    spread = float(output.bearings.max() - output.bearings.min())
    return spread * len(output.bearings) / max(1, len(output.bearings) - 1)
