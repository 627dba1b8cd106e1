"""LiDARs that lose weak returns and sweep while the robot moves; clouds with rings and times; readings of an IMU."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.robot import RobotConfig
from mm_nav.sim.drive import advance
from mm_nav.sim.imu import GRAVITY, ImuConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import World, parse_world


def room(colour: str = "0.8 0.8 0.8 1", half: float = 4.0) -> World:
    """Four walls of 2 m height around the origin, whose insides are `half` metres away."""
    walls = "".join(
        f"<visual name='v{i}'><pose>{x} {y} 1 0 0 0</pose><geometry><box><size>{sx} {sy} 2</size></box></geometry>"
        f"<material><diffuse>{colour}</diffuse></material></visual>"
        for i, (x, y, sx, sy) in enumerate(
            ((half + 0.1, 0, 0.2, 2 * half), (-half - 0.1, 0, 0.2, 2 * half),
             (0, half + 0.1, 2 * half, 0.2), (0, -half - 0.1, 2 * half, 0.2))
        )
    )  # fmt: skip
    return parse_world(
        "<sdf version='1.8'><world name='w'><model name='walls'><static>1</static>"
        f"<link name='l'>{walls}</link></model></world></sdf>"
    )


def simulator(world: World, start: Pose2D | None = None, seed: int = 0, **config: object) -> Simulator:
    config.setdefault("camera", None)
    return Simulator(Scene(world), SimConfig(**config), seed, start)  # type: ignore[arg-type]


def square_room_ranges(pose: Pose2D, angles: np.ndarray, half: float = 4.0) -> np.ndarray:
    c, s = np.cos(angles + pose.yaw), np.sin(angles + pose.yaw)
    c, s = np.where(c == 0, 1e-12, c), np.where(s == 0, 1e-12, s)
    return np.minimum((np.sign(c) * half - pose.x) / c, (np.sign(s) * half - pose.y) / s)


def test_black_paint_far_away_and_glancing_hits_are_lost() -> None:
    lidar = LidarConfig(range_max=8.0, noise_std=0.0, min_signal=0.05)
    bright = simulator(room(), lidar=lidar).scan()
    dark = simulator(room("0.01 0.01 0.01 1"), lidar=lidar).scan()
    assert np.isfinite(bright.ranges).all()
    # 0.01 * cos(incidence) * (8 / range)² stays above 0.05 nowhere in a room of 4 m.
    assert np.isinf(dark.ranges).all()
    medium = simulator(room("0.02 0.02 0.02 1"), lidar=lidar).scan()
    angles = medium.angles()
    truth = square_room_ranges(Pose2D(), angles)
    cosine = np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))
    strong = 0.02 * cosine * (8.0 / truth) ** 2
    clear = np.abs(strong - 0.05) > 2e-4
    assert np.array_equal(np.isfinite(medium.ranges)[clear], (strong > 0.05)[clear])
    assert 0.2 < np.isfinite(medium.ranges).mean() < 0.9


def test_random_drop_outs_have_the_configured_share() -> None:
    scan = simulator(room(), lidar=LidarConfig(beams=20000, dropout=0.1)).scan()
    assert np.isinf(scan.ranges).mean() == pytest.approx(0.1, abs=0.01)


def test_a_turned_mount_is_told_with_the_scan() -> None:
    lidar = LidarConfig(noise_std=0.0, position=(0.2, 0.1, 0.3), yaw=0.7)
    scan = simulator(room(), Pose2D(0.5, -0.4, 0.3), lidar=lidar).scan()
    sensor = Pose2D(0.5, -0.4, 0.3) @ Pose2D(0.2, 0.1, 0.7)
    assert np.abs(scan.ranges - square_room_ranges(sensor, scan.angles())).max() < 1e-3
    points = Pose2D(0.5, -0.4, 0.3).transform(scan.points())
    assert np.abs(np.abs(points).max(axis=1) - 4.0).max() < 1e-3


def test_a_sweeping_scan_is_sheared_by_the_robots_turn() -> None:
    lidar = LidarConfig(noise_std=0.0, sweep_s=0.1, position=(0.0, 0.0, 0.2))
    robot = RobotConfig(max_angular=1.5, max_angular_accel=1000.0)
    sim = simulator(room(), lidar=lidar, robot=robot)
    sim.step(Twist2D(0.0, 1.5), 0.5)
    scan = sim.scan()
    assert scan.stamp_ns == sim.time_ns - 100_000_000
    assert scan.time_increment_s == pytest.approx(0.1 / 360)
    start = advance(sim.pose, 0.0, 1.5, -0.1)
    angles = scan.angles() + 1.5 * scan.time_increment_s * np.arange(360)
    assert np.abs(scan.ranges - square_room_ranges(start, angles)).max() < 2e-3
    at_once = square_room_ranges(start, scan.angles())
    assert np.abs(scan.ranges - at_once).max() > 0.1


def test_cloud_has_rings_and_times_of_a_spinning_lidar() -> None:
    cloud = CloudConfig(rings=4, columns=360, elevation_min=-0.2, elevation_max=0.1, noise_std=0.0, sweep_s=0.1)
    sim = simulator(room(), cloud=cloud, lidar=None)
    points = sim.cloud()
    assert points.ring is not None and points.time_s is not None
    offset = points.points - (0.0, 0.0, 0.35)
    elevation = np.arctan2(offset[:, 2], np.hypot(offset[:, 0], offset[:, 1]))
    assert np.allclose(elevation, np.linspace(-0.2, 0.1, 4)[points.ring], atol=1e-4)
    azimuth = np.arctan2(offset[:, 1], offset[:, 0])
    behind = np.abs(azimuth) > math.pi - 0.02  # the first column may be on either side
    assert np.allclose(points.time_s[~behind], (azimuth[~behind] + math.pi) / (2 * math.pi) * 0.1, atol=1e-4)
    assert points.time_s.max() < 0.1


def test_cloud_of_a_tilted_sensor_lies_on_the_walls() -> None:
    cloud = CloudConfig(noise_std=0.0, rpy=(0.1, -0.2, 0.4), position=(0.1, 0.0, 0.8), min_signal=1e-6)
    seen = simulator(room(), Pose2D(0.4, 0.2, -0.6), cloud=cloud).cloud()
    world = Pose2D(0.4, 0.2, -0.6).transform(seen.points[:, :2])
    assert len(world) > 1000
    assert np.abs(np.abs(world).max(axis=1) - 4.0).max() < 2e-3
    assert seen.intensity is not None and seen.intensity.min() > 0 and seen.intensity.max() <= 0.8


def test_any_number_of_sensors_by_name() -> None:
    extra = {"rear": LidarConfig(beams=90, yaw=math.pi), "roof": CloudConfig(rings=2, columns=16), "imu_2": ImuConfig()}
    sim = simulator(room(), extra=extra)
    assert len(sim.scan("rear").ranges) == 90 and len(sim.scan().ranges) == 360
    assert len(sim.cloud("roof").points) > 0 and sim.imu("imu_2").linear_acceleration.shape == (3,)
    with pytest.raises(ConfigError, match=r"no LiDAR 'roof' .it has scan, rear"):
        sim.scan("roof")
    with pytest.raises(ConfigError, match="name of a main one"):
        SimConfig(extra={"scan": LidarConfig()})


SILENT = {
    "gyro_noise": 0.0,
    "accel_noise": 0.0,
    "gyro_bias": 0.0,
    "accel_bias": 0.0,
    "gyro_walk": 0.0,
    "accel_walk": 0.0,
}


def test_imu_feels_gravity_turning_and_speeding_up() -> None:
    robot = RobotConfig(max_linear=2.0, max_linear_accel=1.5, max_angular_accel=1000.0)
    sim = simulator(room(half=20.0), imu=ImuConfig(position=(0.2, 0.0, 0.1), **SILENT), robot=robot)
    assert np.allclose(sim.imu().linear_acceleration, (0.0, 0.0, GRAVITY))
    sim.step(Twist2D(2.0, 0.0), 0.5)
    reading = sim.imu()
    assert np.allclose(reading.linear_acceleration, (1.5, 0.0, GRAVITY), atol=1e-6)
    sim.step(Twist2D(2.0, 0.8), 2.0)
    sim.step(Twist2D(2.0, 0.8), 0.1)
    reading = sim.imu()
    assert np.allclose(reading.angular_velocity, (0.0, 0.0, 0.8))
    # On a circle: towards its middle, and 0.2 m ahead of the axle also backwards.
    assert np.allclose(reading.linear_acceleration, (-(0.8**2) * 0.2, 2.0 * 0.8, GRAVITY), atol=1e-6)


def test_imu_on_its_side_reads_gravity_along_another_axis() -> None:
    sim = simulator(room(), imu=ImuConfig(rpy=(math.pi / 2, 0.0, 0.0), **SILENT))
    assert np.allclose(sim.imu().linear_acceleration, (0.0, GRAVITY, 0.0), atol=1e-9)


def test_imu_noise_and_bias_match_their_configuration() -> None:
    imu = ImuConfig(gyro_noise=0.002, accel_noise=0.02, gyro_bias=0.05, accel_bias=0.3, gyro_walk=0.0, accel_walk=0.0)
    means, spreads = [], []
    for seed in range(60):
        sim = simulator(room(), seed=seed, imu=imu, lidar=None)
        rates = np.array([sim.imu().angular_velocity for _ in range(60)])
        means.append(rates.mean(axis=0))
        spreads.append(rates.std(axis=0))
    assert np.mean(spreads) == pytest.approx(0.002 * math.sqrt(100.0), rel=0.05)  # at 100 Hz
    assert np.std(means) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LidarConfig(dropout=1.5),
        lambda: LidarConfig(min_signal=-1.0),
        lambda: LidarConfig(sweep_s=3.0),
        lambda: CloudConfig(rate_hz=0.0),
        lambda: ImuConfig(gyro_noise=-1.0),
        lambda: ImuConfig(rate_hz=0.0),
    ],
)
def test_impossible_sensors_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]
