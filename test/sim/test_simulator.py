"""The robot's motion, its contacts, its odometry, and that the same seed gives the same bits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.observation import Observation
from mm_nav.robot import RobotConfig
from mm_nav.sim.drive import OdometryConfig, advance
from mm_nav.sim.sensors import CameraConfig, CloudConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import World, parse_world

SMALL = CameraConfig(32, 24, noise_std=2.0)


def wall_world(x: float = 1.0) -> World:
    box = "<geometry><box><size>0.2 4 1</size></box></geometry>"
    return parse_world(
        "<sdf version='1.8'><world name='w'><include><uri>model://ground_plane</uri></include><model name='wall'>"
        f"<static>1</static><pose>{x + 0.1} 0 0.5 0 0 0</pose><link name='l'><visual name='v'>{box}</visual>"
        f"<collision name='c'>{box}</collision></link></model></world></sdf>"
    )


def simulator(seed: int = 0, start: Pose2D | None = None, **config: object) -> Simulator:
    config.setdefault("camera", None)
    return Simulator(wall_world(), SimConfig(**config), seed, start)


def test_arc_is_exact() -> None:
    pose = advance(Pose2D(1.0, 2.0, 0.5), 0.7, 0.4, 2.0)
    radius = 0.7 / 0.4
    assert pose.x == pytest.approx(1.0 + radius * (math.sin(1.3) - math.sin(0.5)))
    assert pose.y == pytest.approx(2.0 - radius * (math.cos(1.3) - math.cos(0.5)))
    assert pose.yaw == pytest.approx(1.3)
    straight = advance(Pose2D(), 1.0, 1e-9, 1.0)
    assert straight.x == pytest.approx(1.0, abs=1e-12)


def test_many_small_steps_equal_one_arc() -> None:
    pose = Pose2D()
    for _ in range(100):
        pose = advance(pose, 0.5, 0.8, 0.02)
    whole = advance(Pose2D(), 0.5, 0.8, 2.0)
    assert (pose.x, pose.y, pose.yaw) == pytest.approx((whole.x, whole.y, whole.yaw))


def test_accelerations_and_speeds_are_limited() -> None:
    robot = RobotConfig(max_linear=0.5, min_linear=-0.1, max_angular=1.0, max_linear_accel=1.0, max_angular_accel=2.0)
    sim = simulator(start=Pose2D(-5.0, 0.0, math.pi), robot=robot)
    speeds = []
    for _ in range(40):
        sim.step(Twist2D(9.0, 9.0), 0.02)
        speeds.append((sim.twist.linear, sim.twist.angular))
    change = np.diff([(0.0, 0.0), *speeds], axis=0)
    assert change.max(axis=0) == pytest.approx((0.02, 0.04))
    assert speeds[-1] == pytest.approx((0.5, 1.0))
    sim.step(Twist2D(-9.0, 0.0), 0.1)
    assert sim.twist.linear == pytest.approx(0.5 - 0.1)
    sim.step(Twist2D(-9.0, 0.0), 2.0)
    assert sim.twist.linear == pytest.approx(-0.1)


def test_command_delay_is_kept_to_the_nanosecond() -> None:
    sim = simulator(start=Pose2D(-5.0, 0.0, 0.0), robot=RobotConfig(command_delay_s=0.2))
    for _ in range(10):
        sim.step(Twist2D(0.5, 0.0), 0.02)
        assert sim.pose.x == -5.0
    sim.step(Twist2D(0.5, 0.0), 0.02)
    assert sim.pose.x > -5.0
    assert sim.time_ns == 220_000_000


def test_the_robot_stops_at_a_wall_and_does_not_enter_it() -> None:
    sim = simulator()
    for _ in range(30):
        sim.step(Twist2D(0.8, 0.0), 0.1)
        assert sim.pose.x + 0.18 <= 1.0
    assert sim.collided and sim.collisions == 1 and sim.collision_with == "wall"
    assert sim.pose.x + 0.18 > 1.0 - 0.8 * 0.02 - 1e-9
    assert sim.twist == Twist2D()


def test_leaving_the_wall_and_running_into_it_again_counts_twice() -> None:
    sim = simulator()
    sim.step(Twist2D(0.8, 0.0), 3.0)
    sim.step(Twist2D(-0.2, 0.0), 1.0)
    assert not sim.collided and sim.collisions == 1
    sim.step(Twist2D(0.8, 0.0), 1.0)
    assert sim.collided and sim.collisions == 2


def test_standing_still_before_a_wall_is_no_collision() -> None:
    sim = simulator(start=Pose2D(0.81, 0.0, 0.0))
    sim.step(Twist2D(), 1.0)
    assert not sim.collided and sim.collisions == 0


def test_a_robot_put_into_a_wall_may_leave_it() -> None:
    sim = simulator(start=Pose2D(1.0, 0.0, math.pi))
    for _ in range(20):
        sim.step(Twist2D(0.5, 0.0), 0.1)
    assert sim.pose.x < 0.8


PERFECT = OdometryConfig(0.0, 0.0, 0.0)


@pytest.mark.parametrize("physics_dt", [0.02, 0.1])
def test_odometry_starts_at_the_truth_and_drifts_as_configured(physics_dt: float) -> None:
    config = OdometryConfig(linear_noise=0.03, angular_noise=0.05, heading_noise=0.04)
    along, turned = [], []
    for seed in range(200):
        sim = simulator(seed, Pose2D(-40.0, 0.0, 0.0), odometry=config, lidar=None, physics_dt=physics_dt)
        assert sim.odometry().pose == sim.pose
        sim.step(Twist2D(0.8, 0.0), 10.0)
        travelled = sim.pose.x + 40.0
        along.append(sim.odometry().pose.x - sim.pose.x)
        before = sim.odometry().pose.yaw - sim.pose.yaw
        turned.append(before)
    # Whatever the length of a step: 3 cm after a metre, and with the square root of the way.
    assert np.std(along) == pytest.approx(0.03 * math.sqrt(travelled), rel=0.15)
    assert np.std(turned) == pytest.approx(0.04 * math.sqrt(travelled), rel=0.15)
    assert abs(np.mean(turned)) < 3 * np.std(turned) / math.sqrt(len(turned))


def test_odometry_loses_its_heading_in_turns() -> None:
    config = OdometryConfig(linear_noise=0.0, angular_noise=0.05, heading_noise=0.0)
    errors = []
    for seed in range(200):
        sim = simulator(seed, Pose2D(-40.0, 0.0, 0.0), odometry=config, lidar=None)
        sim.step(Twist2D(0.0, 1.0), 5.0)
        errors.append(wrap_angle(sim.odometry().pose.yaw - sim.pose.yaw))
    angle = 5.0 - 1.0 / (2 * 4.0)  # speeding up at 4 rad/s² costs an eighth of a radian
    assert np.std(errors) == pytest.approx(0.05 * math.sqrt(angle), rel=0.15)


def test_badly_calibrated_wheels_err_in_proportion_and_perfect_ones_not_at_all() -> None:
    config = OdometryConfig(0.0, 0.0, 0.0, linear_scale=0.02, angular_scale=0.05)
    shares = []
    for seed in range(200):
        sim = simulator(seed, Pose2D(-40.0, 0.0, 0.0), odometry=config, lidar=None)
        sim.step(Twist2D(0.8, 0.0), 4.0)
        shares.append((sim.odometry().pose.x + 40.0) / (sim.pose.x + 40.0) - 1.0)
    assert np.std(shares) == pytest.approx(0.02, rel=0.15)
    perfect = simulator(0, Pose2D(-4.0, 0.0, 0.0), odometry=PERFECT)
    perfect.step(Twist2D(0.5, 0.7), 3.0)
    assert perfect.odometry().pose == perfect.pose


def test_blocked_wheels_do_not_move_the_odometry() -> None:
    sim = simulator()
    sim.step(Twist2D(0.8, 0.0), 3.0)
    before = sim.odometry().pose
    sim.step(Twist2D(0.8, 0.0), 1.0)
    assert sim.odometry().pose == before


def drive(sim: Simulator) -> list[Observation]:
    seen = []
    for i in range(12):
        sim.step(Twist2D(0.6, 0.5 * (-1) ** i), 0.1)
        seen.append(sim.observe())
    return seen


def same(a: Observation, b: Observation) -> bool:
    assert a.scan is not None and b.scan is not None and a.image is not None and b.image is not None
    assert a.cloud is not None and b.cloud is not None
    return (
        a.stamp_ns == b.stamp_ns
        and a.odometry == b.odometry
        and a.scan.ranges.tobytes() == b.scan.ranges.tobytes()
        and a.image.rgb.tobytes() == b.image.rgb.tobytes()
        and a.cloud.points.tobytes() == b.cloud.points.tobytes()
    )


def test_same_seed_same_bits() -> None:
    config = SimConfig(camera=SMALL, cloud=CloudConfig(rings=4, columns=32))
    first, second = (drive(Simulator(wall_world(), config, seed=7)) for _ in range(2))
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    sim = Simulator(wall_world(), config, seed=3)
    drive(sim)
    sim.reset(Pose2D(), seed=7)
    assert all(same(a, b) for a, b in zip(first, drive(sim), strict=True))
    sim.reset(Pose2D(), seed=8)
    assert not any(same(a, b) for a, b in zip(first, drive(sim), strict=True))


def test_sensors_draw_their_noise_from_streams_of_their_own() -> None:
    both = Simulator(wall_world(), SimConfig(camera=SMALL), seed=1)
    one = Simulator(wall_world(), SimConfig(camera=None), seed=1)
    for _ in range(3):
        both.step(Twist2D(0.3, 0.1), 0.1)
        one.step(Twist2D(0.3, 0.1), 0.1)
        a, b = both.observe(), one.observe()
        assert b.image is None and a.scan is not None and b.scan is not None
        assert a.scan.ranges.tobytes() == b.scan.ranges.tobytes() and a.odometry == b.odometry


def test_rendering_does_not_touch_the_noise_and_goes_anywhere() -> None:
    a, b = (Simulator(wall_world(), SimConfig(camera=SMALL), seed=1) for _ in range(2))
    elsewhere = a.render(64, 48, pose=Pose2D(-3.0, 0.0, 0.0))
    assert elsewhere.rgb.shape == (48, 64, 3)
    assert elsewhere.depth[24, 32] == pytest.approx(4.0 - 0.12, abs=1e-3)
    assert a.pose == Pose2D()
    assert a.image().rgb.tobytes() == b.image().rgb.tobytes()


def test_observation_has_what_the_robot_has() -> None:
    sim = Simulator(wall_world(), SimConfig(camera=SMALL))
    seen, without = sim.observe(), sim.observe(image=False)
    assert seen.image is not None and seen.cloud is None and without.image is None
    blind = Simulator(wall_world(), SimConfig(camera=None, lidar=None))
    assert blind.observe().scan is None
    for sense in (blind.scan, blind.image, blind.cloud):
        with pytest.raises(ConfigError, match="this robot has no"):
            sense()


@pytest.mark.parametrize("dt", [0.0, -0.1, 0.03, 0.001])
def test_dt_must_be_a_multiple_of_the_physics_step(dt: float) -> None:
    with pytest.raises(ConfigError, match="multiple of physics_dt"):
        simulator().step(Twist2D(), dt)


def test_commands_and_configurations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="not finite"):
        simulator().step(Twist2D(float("nan"), 0.0), 0.1)
    with pytest.raises(ConfigError, match="physics_dt"):
        SimConfig(physics_dt=0.0)
    with pytest.raises(ConfigError, match="noise"):
        OdometryConfig(linear_noise=-1.0)
