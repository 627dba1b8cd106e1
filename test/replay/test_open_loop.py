"""Errors of what was foreseen against what a robot did that is known exactly."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Odometry
from mm_nav.replay.foresight import straight_on
from mm_nav.replay.open_loop import OpenLoop, clearance, scan_points
from mm_nav.replay.records import AHEAD_S
from mm_nav.robot import RobotConfig

ROBOT = RobotConfig()
TIMES = np.array(AHEAD_S)


def wall_ahead(distance):
    angles = np.linspace(-0.3, 0.3, 61)
    ranges = (distance / np.cos(angles)).astype(np.float32)
    return LaserScan(0, ranges, -0.3, 0.01, 0.1, 10.0)


def step(pose, twist, foreseen=None, way=None, scan=None):
    output = None if way is None else SimpleNamespace(waypoints=way, waypoint_probs=np.array([1.0, 0.0], np.float32))
    foreseen = np.full((len(AHEAD_S), 3), np.nan) if foreseen is None else foreseen
    observation = SimpleNamespace(odometry=Odometry(0, pose, twist), scan=scan)
    return SimpleNamespace(observation=observation, foreseen=foreseen, output=output)


def driven(seconds, speed=0.5, foresee=lambda pose: None, way=None, scan=None, dt=0.1):
    """Errors of each step of a robot that drives straight ahead."""
    loop, found = OpenLoop(ROBOT), {}
    for k in range(round(seconds / dt) + 1):
        pose = Pose2D(speed * k * dt, 0.0)
        found.update(loop.add(k, k * dt, step(pose, Twist2D(speed), foresee(pose), way, scan)))
    found.update(loop.finish())
    return found


def offset(dy):
    return lambda pose: np.stack([pose.x + 0.5 * TIMES, np.full(len(TIMES), dy), 0 * TIMES], axis=-1)


def test_a_constant_offset_is_the_error():
    found = driven(10.0, foresee=offset(0.3))
    assert len(found) == 101
    for h in (1, 2, 4):
        assert found[0][f"ade_{h}s_m"] == pytest.approx(0.3) == found[0][f"fde_{h}s_m"]
        assert found[50][f"straight_ade_{h}s_m"] == pytest.approx(0.0, abs=1e-9)
    assert found[0]["heading_error"] == pytest.approx(math.atan2(0.3, 1.0))


def test_a_growing_error_has_its_mean_and_its_end():
    found = driven(6.0, foresee=lambda pose: straight_on(pose, Twist2D(0.0)))  # it would have stood still
    assert found[0]["fde_2s_m"] == pytest.approx(1.0)
    assert found[0]["ade_2s_m"] == pytest.approx(0.5 * np.mean(TIMES[:8]))
    assert "heading_error" not in found[0]  # a robot that stands goes in no direction


def test_the_end_of_the_recording_leaves_out_what_nobody_knows():
    found = driven(10.0, foresee=offset(0.1))
    assert "ade_4s_m" in found[60] and "ade_4s_m" not in found[61] and "ade_2s_m" in found[61]
    assert "ade_1s_m" not in found[100]


def test_steps_without_a_goal_have_no_errors():
    assert driven(6.0) == {}


def test_a_gap_ends_what_is_known():
    loop, found = OpenLoop(ROBOT), {}
    for k in [*range(15), *range(60, 120)]:
        found.update(loop.add(k, 0.1 * k, step(Pose2D(0.05 * k, 0.0), Twist2D(0.5), offset(0.2)(Pose2D(0.05 * k, 0)))))
    assert found[0]["ade_1s_m"] == pytest.approx(0.2) and "ade_2s_m" not in found[0]
    assert found[60]["ade_4s_m"] == pytest.approx(0.2)


def test_waypoints_are_held_against_where_the_robot_had_gone_as_far():
    along = 0.25 * np.arange(1, 9)
    way = np.stack([np.stack([along, 0 * along + 0.2], axis=-1), np.zeros((8, 2))]).astype(np.float32)
    found = driven(10.0, speed=0.4, foresee=offset(0.0), way=way)
    # From the robot to the first waypoint it goes aslant; after that it is 0.2 m beside.
    assert found[0]["policy_fde_2s_m"] == pytest.approx(0.2, abs=0.07)
    assert found[0]["policy_ade_4s_m"] < found[0]["policy_fde_4s_m"] + 0.02
    assert "policy_ade_4s_m" in found[0]
    fast = driven(10.0, speed=0.8, foresee=offset(0.0), way=way)
    assert math.isnan(fast[0]["policy_ade_4s_m"])  # 3.2 m, the policy looks 2 m ahead
    assert math.isfinite(fast[0]["policy_ade_2s_m"])


def test_the_foreseen_drive_is_held_against_the_scans_of_its_time():
    found = driven(6.0, speed=0.0, foresee=lambda pose: straight_on(pose, Twist2D(0.5)), scan=wall_ahead(1.0))
    front = max(x for x, _ in ROBOT.footprint)
    assert found[0]["foreseen_clearance_m"] == pytest.approx(
        1.0 - 1.0 - front, abs=0.02
    )  # 2 s at 0.5 m/s: into the wall


def test_clearance_of_the_body():
    assert clearance(ROBOT, scan_points(wall_ahead(1.0))) == pytest.approx(1.0 - 0.18, abs=1e-3)
    assert clearance(ROBOT, np.array([[0.0, 0.0]])) < 0
    assert math.isnan(clearance(ROBOT, np.empty((0, 2)))) and math.isnan(clearance(ROBOT, np.array([[9.0, 0.0]])))


def test_memory_is_constant():
    loop = OpenLoop(ROBOT)
    sizes = []
    for k in range(2000):
        pose = Pose2D(0.05 * k, 0.0)
        loop.add(k, 0.1 * k, step(pose, Twist2D(0.5), offset(0.0)(pose) if k % 300 < 200 else None))
        sizes.append(len(loop._been) + len(loop._pending))
    assert max(sizes[:400]) == max(sizes)
