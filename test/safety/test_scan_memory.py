"""Driving on without scans: slowly, by the last one, and not for long."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Odometry
from mm_nav.robot import RobotConfig
from mm_nav.safety.guard import Guard, GuardConfig
from mm_nav.safety.scan_memory import ScanMemory

SECOND = 1_000_000_000
ROBOT = RobotConfig()
BLIND = GuardConfig(blind_time_s=20.0)


def wall_ahead(distance: float, stamp: int = 0) -> LaserScan:
    angles = -math.pi + 2 * math.pi / 720 * np.arange(720)
    with np.errstate(divide="ignore"):
        ranges = np.where(np.abs(angles) < 1.2, distance / np.cos(angles), np.inf)
    return LaserScan(stamp, ranges.astype(np.float32), -math.pi, 2 * math.pi / 720, 0.05, 10.0)


def test_points_are_where_the_robot_has_left_them() -> None:
    memory, pose, scan = ScanMemory(), Pose2D(1.0, 2.0, 0.5), wall_ahead(3.0)
    assert memory.age_ns is None
    memory.see(scan, pose)
    start = pose
    for k, twist in enumerate([Twist2D(0.4, 0.5)] * 30 + [Twist2D(-0.1, -0.9)] * 20, start=1):
        half = Pose2D(0.0, 0.0, 0.5 * twist.angular / 50)
        pose = pose @ half @ Pose2D(twist.linear / 50) @ half
        memory.follow(pose, k * SECOND // 50)
    seen = start.transform(scan.points())
    assert np.allclose(memory.points(), pose.inverse().transform(seen), atol=1e-9)
    assert memory.age_ns == SECOND and memory.travelled == pytest.approx(0.6 * 0.9 + 0.4 * 1.0)


def test_what_only_earlier_scans_saw_is_remembered() -> None:
    memory, nothing = ScanMemory(), LaserScan(0, np.full(720, np.inf, np.float32), -math.pi, math.tau / 720, 0.05, 10.0)
    memory.see(wall_ahead(4.0), Pose2D())
    assert len(memory.points()) == len(wall_ahead(4.0).points())
    for k in range(1, 21):
        memory.follow(Pose2D(0.05 * k), k * SECOND // 10)
        memory.see(replace(nothing, stamp_ns=k * SECOND // 10), Pose2D(0.05 * k))
    assert memory.travelled == 0.0 and memory.age_ns == 0
    assert memory.points()[:, 0] == pytest.approx(3.0)
    memory.follow(Pose2D(1.5), 3 * SECOND)
    assert memory.points()[:, 0] == pytest.approx(2.5) and memory.travelled == pytest.approx(0.5)


def test_of_earlier_scans_a_few_are_kept() -> None:
    memory = ScanMemory()
    for k in range(400):
        memory.see(wall_ahead(4.0, k * SECOND // 10), Pose2D(0.05 * k))
    assert 5 * 240 < len(memory.points()) < 14 * 480


def test_a_clock_that_goes_back_leaves_nothing_to_rely_on() -> None:
    memory = ScanMemory()
    memory.see(wall_ahead(3.0, 5 * SECOND), Pose2D())
    memory.follow(Pose2D(), 4 * SECOND)
    assert memory.age_ns is None


def blind_drive(distance: float, config: GuardConfig, seconds: float = 40.0) -> tuple[float, float, list[float]]:
    """Command full speed at a wall seen once; return the gap left, when the robot stood, and its speeds."""
    guard, x, speeds = Guard(ROBOT, config), 0.0, [0.0]
    guard.filter(Twist2D(0.8), Odometry(0, Pose2D()), wall_ahead(distance), 0)
    for k in range(1, int(seconds * 10)):
        now = Odometry(k * SECOND // 10, Pose2D(x), Twist2D(speeds[-1]))
        result = guard.filter(Twist2D(0.8), now, None, now.stamp_ns)
        assert result.limited and result.reason
        speeds.append(result.twist.linear)
        x += 0.1 * speeds[-1]
    stood = next(k for k in range(1, len(speeds)) if all(s == 0.0 for s in speeds[k:])) / 10
    return distance - 0.18 - x, stood, speeds


def test_without_scans_the_guard_slows_and_stops_before_what_it_saw() -> None:
    gap, stood, speeds = blind_drive(2.0, BLIND)
    assert max(speeds) == pytest.approx(BLIND.blind_speed) and 0.02 < gap < 0.3 and stood < 20.0


def test_without_scans_the_guard_stops_when_its_time_is_over() -> None:
    gap, stood, _ = blind_drive(9.0, BLIND)
    assert stood == pytest.approx(20.1) and gap > 3.0
    assert blind_drive(9.0, GuardConfig())[1] == pytest.approx(0.1)  # by default at once


def test_a_broken_scan_is_no_silence() -> None:
    guard = Guard(ROBOT, BLIND)
    guard.filter(Twist2D(0.2), Odometry(0, Pose2D()), wall_ahead(5.0), 0)
    nan = LaserScan(SECOND, np.full(720, np.nan, np.float32), -math.pi, 2 * math.pi / 720, 0.05, 10.0)
    assert guard.filter(Twist2D(0.2), Odometry(SECOND, Pose2D()), nan, SECOND).twist == Twist2D()
    assert guard.filter(Twist2D(0.2), Odometry(2 * SECOND, Pose2D()), None, 2 * SECOND).twist.linear > 0.0


def test_what_was_never_seen_is_not_driven_by() -> None:
    assert Guard(ROBOT, BLIND).filter(Twist2D(0.2), Odometry(SECOND, Pose2D()), None, SECOND).twist == Twist2D()
