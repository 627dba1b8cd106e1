"""Sweeps that were taken in motion are put right."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Observation, Odometry
from mm_nav.robot import RobotConfig
from mm_nav.sensing.deskew import all_at_once, deskewed, deskewed_points, sweep_end_ns
from mm_nav.sensing.synchronizer import extrapolate
from mm_nav.sim.lidar import LidarConfig
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import OdometryConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

WALLS = "".join(
    f'<model name="wall_{k}"><static>true</static><pose>{x} {y} 0.5 0 0 0</pose><link name="l">{parts}</link></model>'
    for k, (x, y, size) in enumerate(((3, 0, "0.2 8 1"), (-3, 0, "0.2 8 1"), (0, 4, "8 0.2 1"), (0, -4, "8 0.2 1")))
    for parts in [
        "".join(
            f'<{kind} name="{kind}"><geometry><box><size>{size}</size></box></geometry></{kind}>'
            for kind in ("collision", "visual")
        )
    ]
)
ROOM = Scene(parse_world(f'<sdf version="1.9"><world name="room">{WALLS}</world></sdf>'))


def turning(beams: int = 720, angle_min: float = -2.0, angle_max: float = 2.0) -> Observation:
    """A robot that turns at 3 rad/s and drives at 1 m/s sweeps the room in a tenth of a second."""
    lidar = LidarConfig(beams=beams, angle_min=angle_min, angle_max=angle_max, noise_std=0.0, sweep_s=0.1,
                        position=(0.12, 0.0, 0.3), range_max=20.0)  # fmt: skip
    robot = RobotConfig(max_linear=1.0, max_angular=3.0, max_linear_accel=50.0, max_angular_accel=50.0)
    sim = Simulator(ROOM, SimConfig(robot=robot, lidar=lidar, camera=None, odometry=OdometryConfig(0, 0, 0)))
    sim.step(Twist2D(1.0, 3.0), 0.5)
    return sim.observe()


def off_the_walls(points: np.ndarray, pose: Pose2D) -> np.ndarray:
    x, y = pose.transform(points).T
    return np.minimum(np.abs(np.abs(x) - 2.9), np.abs(np.abs(y) - 3.9))


@pytest.mark.parametrize(("beams", "low", "high"), [(720, -2.0, 2.0), (360, -math.pi, math.pi)])
def test_walls_are_where_they_are(beams: int, low: float, high: float) -> None:
    seen = turning(beams, low, high)
    assert seen.scan is not None
    skewed = off_the_walls(seen.scan.points(), seen.odometry.pose)
    assert np.percentile(skewed, 90) > 0.15
    right = all_at_once(seen)
    assert right.scan is not None and right.scan.stamp_ns == seen.stamp_ns and right.scan.time_increment_s == 0.0
    spacing = (high - low) / beams
    assert np.percentile(off_the_walls(right.scan.points(), right.odometry.pose), 99) < 0.01 + 4.0 * spacing
    assert right.scan.valid().mean() > 0.9
    assert all_at_once(right) is right


def test_exact_points_are_exact() -> None:
    seen = turning()
    assert seen.scan is not None and sweep_end_ns(seen.scan) == seen.stamp_ns
    start = extrapolate(Odometry(seen.stamp_ns, Pose2D(), seen.odometry.twist), seen.scan.stamp_ns).pose
    points = deskewed_points(seen.scan, start, Pose2D())
    assert off_the_walls(points, seen.odometry.pose).max() < 0.005


def test_a_scan_that_was_taken_at_once_but_before_is_moved() -> None:
    scan = LaserScan(0, np.full(360, 2.0, np.float32), -math.pi, math.pi / 180, 0.1, 10.0)
    seen = Observation(100_000_000, Odometry(100_000_000, Pose2D(1.0, 0.0, 0.0), Twist2D(1.0, 0.0)), scan, None, None)
    right = all_at_once(seen)
    assert right.scan is not None
    # It drove 0.1 m since: what was 2 m ahead is 1.9 m ahead.
    assert right.scan.ranges[180] == pytest.approx(1.9, abs=1e-3) and right.scan.ranges[0] == pytest.approx(
        2.1, abs=1e-3
    )


def test_what_is_no_range_stays_none() -> None:
    ranges = np.full(360, 2.0, np.float32)
    ranges[100:120], ranges[200:220] = np.nan, np.inf
    scan = LaserScan(0, ranges, -math.pi, math.pi / 180, 0.1, 10.0, Pose2D(), 1e-4)
    right = deskewed(scan, Pose2D(0.0, 0.0, -0.1), Pose2D(), 0).ranges
    assert np.isnan(right).sum() in range(18, 23) and np.isinf(right).sum() in range(18, 23)
    assert_allclose(right[np.isfinite(right)], 2.0, rtol=1e-6)


def test_a_robot_at_rest_changes_nothing_but_the_time() -> None:
    scan = LaserScan(0, np.linspace(1, 5, 90, dtype=np.float32), -1.0, 0.02, 0.1, 10.0, Pose2D(0.1, 0.0, 0.0), 1e-3)
    right = deskewed(scan, Pose2D(), Pose2D(), 7)
    assert right.stamp_ns == 7 and right.time_increment_s == 0.0 and np.array_equal(right.ranges, scan.ranges)


def test_a_scan_that_was_taken_at_once_is_not_swept_by_rounding() -> None:
    scan = LaserScan(3, np.linspace(1, 5, 90, dtype=np.float32), -1.0, 0.02, 0.1, 10.0, Pose2D(0.1, 0.0, 0.0))
    assert deskewed(scan, Pose2D(), Pose2D(1e-16, 0.0, 0.0), 3).ranges is scan.ranges
