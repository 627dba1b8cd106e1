"""A sensor that stops delivering half-way through an episode."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mm_nav.observation import Observation

LostSensor = Literal["", "camera", "lidar"]


class SensorLoss:
    """Takes a sensor's readings out of observations from half-way on, for good.

    Half-way is where no more than half of the shortest way from the start to success is left to drive, or where half of
    the time limit is over, whichever comes first. Counting metres driven or expected seconds instead would often take the
    camera before anything was seen, and then no robot can know where to go. lost_at_ns: when that was; None = not yet.
    """

    def __init__(self, lost: LostSensor, shortest_path_m: float, time_limit_s: float) -> None:
        self.lost = lost
        self._left_m = 0.5 * shortest_path_m
        self._time_ns = 1e9 * 0.5 * time_limit_s
        self.lost_at_ns: int | None = None

    def filter(self, observation: Observation, left_m: float) -> Observation:
        """Return what is delivered of an observation with `left_m` metres to go. "lidar" is scans and point clouds."""
        if not self.lost:
            return observation
        if self.lost_at_ns is None and (left_m <= self._left_m or observation.stamp_ns >= self._time_ns):
            self.lost_at_ns = observation.stamp_ns
        if self.lost_at_ns is None:
            return observation
        if self.lost == "camera":
            return replace(observation, image=None)
        return replace(observation, scan=None, cloud=None)
