"""Sightings become belief, and belief goes away when nothing is there."""

import math

import numpy as np
import pytest

from mm_nav.command import PolicyOutput
from mm_nav.geometry import Pose2D
from mm_nav.mapping.belief import BeliefConfig, TargetBelief
from mm_nav.mapping.instances import InstanceBelief
from mm_nav.mapping.occupancy_grid import OccupancyGrid

FOV = 1.5
BEARINGS = np.linspace(0.73, -0.73, 48).astype(np.float32)


def output(bearing: float, distance: float, visible: float) -> PolicyOutput:
    probs = np.exp(-0.5 * ((BEARINGS - bearing) / 0.05) ** 2)
    return PolicyOutput(
        0, "g", BEARINGS, (probs / probs.sum()).astype(np.float32), np.full(48, distance, np.float32), visible, 0.0,
        np.zeros((0, 8, 2), np.float32), np.zeros(0, np.float32), np.ones((1, 48), np.float32) / 48,
    )  # fmt: skip


def test_repeated_views_from_several_places_agree() -> None:
    belief, grid = TargetBelief(), OccupancyGrid()
    target = np.array([3.0, 0.5])
    for x in (0.0, 0.3, 0.6, 0.9, 1.2):
        pose = Pose2D(x, 0.0, 0.0)
        local = pose.inverse().transform(target)
        belief.update(output(math.atan2(local[1], local[0]), float(np.hypot(*local)), 0.95), pose, grid, FOV)
    best = belief.best()
    assert best is not None and best.confidence > 0.8 and best.views == 5
    assert np.hypot(*(best.point - target)) < 0.1


def test_one_doubtful_view_is_not_enough() -> None:
    belief = TargetBelief()
    belief.update(output(0.0, 3.0, 0.55), Pose2D(), OccupancyGrid(), FOV)
    best = belief.best()
    assert best is None or best.confidence < 0.6


def test_what_is_too_unlikely_to_be_believed_is_glimpsed() -> None:
    belief, grid = TargetBelief(), OccupancyGrid()
    belief.update(output(0.0, 4.0, 0.02), Pose2D(), grid, FOV)
    assert not belief.glimpses
    for visible in (0.09, 0.16, 0.12):
        belief.update(output(0.0, 4.0, visible), Pose2D(), grid, FOV)
    (glimpse,) = belief.glimpses
    assert belief.best() is None and 0.1 < glimpse.confidence < 0.16
    assert np.hypot(*(glimpse.point - (4.0, 0.0))) < 0.1
    # From nearby it is not there; what is seen there now is glimpsed anew.
    belief.update(output(0.4, 4.0, 0.02), Pose2D(2.5, 0.0, 0.0), grid, FOV)
    assert not belief.glimpses


def test_looking_and_not_seeing_refutes() -> None:
    belief, grid = TargetBelief(), OccupancyGrid()
    for k in range(4):
        belief.update(output(0.0, 2.0, 0.95), Pose2D(0.0, 0.1 * (k % 2), 0.0), grid, FOV)
    high = belief.best()
    for k in range(20):
        belief.update(output(0.5, 2.0, 0.02), Pose2D(0.0, 0.1 * (k % 2), 0.0), grid, FOV)
    assert high is not None and high.confidence > 0.75 and belief.best() is None


def test_views_from_one_place_count_less_than_views_on_the_way() -> None:
    def left_after(step: float, reach: float = 2.5) -> float:
        """Evidence after eight views that do not show the thing, each `step` metres beside the one before."""
        belief, grid = TargetBelief(), OccupancyGrid()
        for k in range(6):
            belief.update(output(0.0, reach, 0.95), Pose2D(0.0, 0.1 * (k % 2), 0.0), grid, FOV)
        for k in range(8):
            belief.update(output(0.5, reach, 0.02), Pose2D(0.0, step * (k % 2), 0.0), grid, FOV)
        best = belief.best()
        return best.evidence if best is not None else -math.inf

    assert left_after(0.0) > left_after(0.03) > left_after(0.1)
    assert left_after(0.0) > 0.0 and left_after(0.1) == left_after(0.2)
    assert left_after(0.0, reach=1.5) < left_after(0.0), "from nearby, not seeing it counts in full"


def test_what_is_out_of_view_is_kept() -> None:
    belief, grid = TargetBelief(), OccupancyGrid()
    for _ in range(4):
        belief.update(output(0.0, 2.0, 0.95), Pose2D(), grid, FOV)
    before = belief.best()
    for _ in range(20):
        belief.update(output(0.0, 2.0, 0.02), Pose2D(0.0, 0.0, math.pi), grid, FOV)
    assert belief.best() == before


@pytest.mark.parametrize("kind", [TargetBelief, InstanceBelief])
def test_without_belief_over_time_the_last_view_is_all_there_is(kind) -> None:
    forgetful, grid = kind(BeliefConfig(over_time=False)), OccupancyGrid()
    forgetful.update(output(0.4, 3.0, 0.95), Pose2D(), grid, FOV)
    best = forgetful.best()
    # One view is believed as far as the network does.
    assert best is not None and best.views == 1 and 0.85 < best.confidence < 0.96
    forgetful.update(output(-0.4, 2.0, 0.9), Pose2D(), grid, FOV)
    assert len(forgetful.hypotheses) == 1 and forgetful.best().y < 0.0
    forgetful.reject(forgetful.best().point)
    forgetful.update(output(-0.4, 2.0, 0.9), Pose2D(), grid, FOV)
    assert forgetful.best() is not None
    forgetful.update(output(0.0, 3.0, 0.02), Pose2D(), grid, FOV)
    assert forgetful.best() is None
