"""A sensor that stops delivering half-way through an episode."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mm_nav.observation import Observation

LostSensor = Literal["", "camera", "lidar"]

# The time that an episode is expected to take, searching included, for each metre of the shortest way. Tuned on the
# oracle's successes in suite `seen`, seeds 5000 to 5039: the medians of the thirds by length are 2.1 m in 5.9 s, 4.6 m
# in 16.9 s and 8.5 m in 25.7 s.
_S_PER_M = 3.0


def expected_time_s(shortest_path_m: float) -> float:
    """Return the seconds that an episode with so long a way takes."""
    return _S_PER_M * shortest_path_m


class SensorLoss:
    """Takes a sensor's readings out of observations from half-way on, for good.

    Half-way is where the robot has driven half the length of the shortest way to success (wherever it went), or half the
    expected time is over, whichever comes first. lost_at_ns: when that was; None = not yet.
    """

    def __init__(self, lost: LostSensor, shortest_path_m: float) -> None:
        self._lost = lost
        self._distance_m = 0.5 * shortest_path_m
        self._time_ns = 1e9 * 0.5 * expected_time_s(shortest_path_m)
        self.lost_at_ns: int | None = None

    def filter(self, observation: Observation, driven_m: float) -> Observation:
        """Return what is left of an observation after `driven_m` metres. "lidar" stands for scans and point clouds."""
        if not self._lost:
            return observation
        if self.lost_at_ns is None and (driven_m >= self._distance_m or observation.stamp_ns >= self._time_ns):
            self.lost_at_ns = observation.stamp_ns
        if self.lost_at_ns is None:
            return observation
        if self._lost == "camera":
            return replace(observation, image=None)
        return replace(observation, scan=None, cloud=None)
