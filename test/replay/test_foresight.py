"""Where the stack would have been: along its plan, by its command, within the robot's limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.replay.foresight import foresee, straight_on
from mm_nav.replay.records import AHEAD_S
from mm_nav.robot import RobotConfig

ROBOT = RobotConfig()
NO_PLAN = np.empty((0, 2))


def line(length, yaw=0.0, points=40):
    along = np.linspace(0.0, length, points)
    return np.stack([along * math.cos(yaw), along * math.sin(yaw)], axis=-1)


def test_drives_along_the_plan_and_stops_at_its_end():
    found = foresee(ROBOT, Pose2D(), Twist2D(), Twist2D(0.6), line(1.0))
    assert found.shape == (len(AHEAD_S), 3)
    assert np.all(np.diff(found[:, 0]) > -1e-6) and found[-1, 0] == pytest.approx(1.0, abs=0.07)
    assert np.abs(found[:, 1]).max() < 1e-9


def test_keeps_the_limits():
    quick = RobotConfig(max_linear=0.4, max_linear_accel=0.5)
    found = foresee(quick, Pose2D(), Twist2D(), Twist2D(2.0), line(10.0))
    times = np.array(AHEAD_S)
    assert np.all(found[:, 0] <= np.minimum(0.25 * times**2 + 0.03, 0.4 * times) + 1e-6)
    assert np.diff(found[:, 0]).max() <= 0.4 * 0.25 + 1e-9


def test_turns_on_the_spot_towards_a_plan_behind():
    found = foresee(ROBOT, Pose2D(), Twist2D(), Twist2D(0.0, 1.0), line(3.0, math.pi))
    assert np.hypot(found[2, 0], found[2, 1]) < 0.05
    assert found[-1, 0] < -0.5 and abs(found[-1, 1]) < 0.3


def test_without_a_plan_it_goes_on_as_it_is_told():
    found = foresee(ROBOT, Pose2D(1.0, 2.0, 0.5), Twist2D(0.3, 0.2), Twist2D(0.3, 0.2), NO_PLAN)
    np.testing.assert_allclose(found, straight_on(Pose2D(1.0, 2.0, 0.5), Twist2D(0.3, 0.2)), atol=1e-3)


def test_is_the_same_wherever_the_frame_lies():
    pose = Pose2D(3.0, -2.0, 1.1)
    plan = line(2.0) + np.array([0.0, 0.2])
    here = foresee(ROBOT, Pose2D(), Twist2D(0.2, 0.1), Twist2D(0.5, 0.3), plan)
    there = foresee(ROBOT, pose, Twist2D(0.2, 0.1), Twist2D(0.5, 0.3), pose.transform(plan))
    np.testing.assert_allclose(pose.transform(here[:, :2]), there[:, :2], atol=1e-9)


def test_straight_on_is_an_arc():
    found = straight_on(Pose2D(), Twist2D(1.0, math.pi / 2))
    np.testing.assert_allclose(found[3, :2], [2 / math.pi, 2 / math.pi], atol=1e-9)  # a quarter circle in 1 s
    np.testing.assert_allclose(straight_on(Pose2D(), Twist2D(1.0))[:, 0], AHEAD_S)
