"""Bases: differential, omni, Ackermann; slip; and the robots that come with mm_nav."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.robot import RobotConfig, load_robot
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.drive import Drive, OdometryConfig, advance
from mm_nav.sim.imu import ImuConfig
from mm_nav.sim.rig import load_life, load_rig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world

EMPTY = parse_world("<sdf version='1.8'><world name='w'/></sdf>")
OMNI = RobotConfig("o", drive="omni", max_lateral=0.6, max_linear=1.0, max_linear_accel=2.0)
CAR = RobotConfig("c", drive="ackermann", wheelbase_m=0.4, max_steer=0.5, max_steer_rate=100.0, max_angular=10.0)


def simulator(robot: RobotConfig, seed: int = 0) -> Simulator:
    return Simulator(EMPTY, SimConfig(robot=robot, camera=None, lidar=None, odometry=OdometryConfig(0, 0, 0)), seed)


def test_sideways_arcs_are_exact() -> None:
    whole = advance(Pose2D(0.3, -0.2, 0.4), 0.5, 0.7, 2.0, 0.3)
    steps = Pose2D(0.3, -0.2, 0.4)
    for _ in range(200):
        steps = advance(steps, 0.5, 0.7, 0.01, 0.3)
    assert (whole.x, whole.y, whole.yaw) == pytest.approx((steps.x, steps.y, steps.yaw))
    assert advance(Pose2D(), 0.0, 0.0, 1.0, 0.5) == Pose2D(0.0, 0.5, 0.0)


def test_omni_base_drives_sideways_within_its_limits() -> None:
    sim = simulator(OMNI)
    sim.step(Twist2D(0.0, 0.0, 5.0), 0.1)
    assert sim.twist.lateral == pytest.approx(0.2)
    sim.step(Twist2D(0.0, 0.0, 5.0), 3.0)
    assert sim.twist == Twist2D(0.0, 0.0, 0.6)
    assert sim.pose.x == 0.0 and sim.pose.y > 1.5
    assert sim.odometry().pose == sim.pose


def test_other_bases_ignore_sideways_commands() -> None:
    sim = simulator(RobotConfig())
    sim.step(Twist2D(0.0, 0.0, 0.5), 1.0)
    assert sim.pose == Pose2D()


def test_car_does_not_turn_on_the_spot_and_keeps_its_turning_circle() -> None:
    sim = simulator(CAR)
    sim.step(Twist2D(0.0, 2.0), 1.0)
    assert sim.pose == Pose2D() and sim.twist == Twist2D()
    assert CAR.min_turning_radius == pytest.approx(0.4 / math.tan(0.5))
    sim.step(Twist2D(0.5, 5.0), 1.0)
    start = sim.pose
    places = []
    for _ in range(100):
        sim.step(Twist2D(0.5, 5.0), 0.1)
        places.append((sim.pose.x, sim.pose.y))
    radius = CAR.min_turning_radius
    centre = np.array([start.x - radius * math.sin(start.yaw), start.y + radius * math.cos(start.yaw)])
    assert np.hypot(*(np.array(places) - centre).T) == pytest.approx(radius, abs=1e-6)


def test_car_steers_for_the_turn_it_was_asked_for_also_backwards() -> None:
    sim = simulator(CAR)
    sim.step(Twist2D(0.5, 0.3), 2.0)
    assert sim.twist.angular == pytest.approx(0.3)
    sim.step(Twist2D(-0.2, 0.2), 2.0)
    assert sim.twist.linear == pytest.approx(-0.2) and sim.twist.angular == pytest.approx(0.2)


def test_steering_takes_time() -> None:
    drive = Drive(RobotConfig("c", drive="ackermann", wheelbase_m=0.4, max_steer=0.5, max_steer_rate=1.0))
    drive.twist = drive.next_twist(Twist2D(0.5, 5.0), 0.1)
    assert drive.steer == pytest.approx(0.1)


def test_slip_costs_way_that_the_odometry_does_not_notice() -> None:
    lost, turned = [], []
    for seed in range(40):
        sim = simulator(RobotConfig(wheel_slip=0.1, turn_slip=0.3), seed)
        sim.step(Twist2D(0.8, 0.0), 5.0)
        lost.append(1.0 - sim.pose.x / sim.odometry().pose.x)
        sim.reset(Pose2D(), seed)
        sim.step(Twist2D(0.0, 0.5), 4.0)
        turned.append(1.0 - sim.pose.yaw / sim.odometry().pose.yaw)
    # The mean of a half-normal distribution.
    assert np.mean(lost) == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.1)
    assert np.mean(turned) == pytest.approx(0.3 * math.sqrt(2 / math.pi), rel=0.1)


def test_a_gyroscope_knows_how_far_slipping_wheels_turn() -> None:
    config = SimConfig(robot=RobotConfig(wheel_slip=0.1, turn_slip=0.3), camera=None, lidar=None,
                       odometry=OdometryConfig(0, 0, 0, gyro=True))  # fmt: skip
    sim = Simulator(EMPTY, config, 1)
    sim.step(Twist2D(0.3, 0.5), 4.0)
    odometry = sim.odometry()
    assert odometry.pose.yaw == pytest.approx(sim.pose.yaw) and odometry.twist.angular == sim.twist.angular
    assert odometry.pose.distance_to(sim.pose) > 0.05 and odometry.twist.linear > sim.twist.linear


@pytest.mark.parametrize(
    "wrong",
    [
        {"drive": "hover"},
        {"drive": "omni"},
        {"drive": "ackermann"},
        {"wheel_slip": 1.5},
        {"command_delay_s": -0.1},
        {"ground_clearance_m": 0.4},
        {"footprint": ((0.1, 0.1), (-0.1, -0.1), (-0.1, 0.1), (0.1, -0.1))},
        {"footprint": ((0.1, -0.1), (-0.1, -0.1), (-0.1, 0.1), (0.1, 0.1))},
    ],
)
def test_impossible_robots_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="robot"):
        RobotConfig(**wrong)  # type: ignore[arg-type]


# Robots from files


def test_the_generic_file_is_the_default_robot() -> None:
    rig = load_rig("generic")
    default = SimConfig()
    assert (rig.robot, rig.camera, rig.lidar, rig.cloud, rig.imu) == (
        default.robot, default.camera, default.lidar, default.cloud, default.imu
    )  # fmt: skip


@pytest.mark.parametrize("name", ["turtlebot3_burger", "turtlebot3_waffle", "jackal", "omni", "racecar"])
def test_every_robot_drives_and_senses(name: str, root: Path) -> None:
    assert (root / "config" / "robots" / f"{name}.yaml").is_file()
    rig = load_rig(name)
    assert rig.robot.name == name
    sim = Simulator(EMPTY, rig)
    sim.step(Twist2D(0.2, 0.3), 1.0)
    assert sim.pose.x > 0.1 and sim.pose.yaw > 0.05
    assert sim.scan().range_max == rig.lidar.range_max
    assert sim.image().rgb.shape[1] == rig.camera.width


def test_published_limits_of_real_robots() -> None:
    jackal = load_robot("jackal")
    extent = jackal.footprint_array()
    assert tuple(np.ptp(extent, axis=0)) == pytest.approx((0.42, 0.31))
    assert (jackal.max_linear, jackal.max_angular, jackal.max_linear_accel) == (2.0, 4.0, 20.0)
    burger, waffle = load_robot("turtlebot3_burger"), load_robot("turtlebot3_waffle")
    assert (burger.max_linear, burger.max_angular) == (0.22, 2.84)
    assert (waffle.max_linear, waffle.max_angular) == (0.26, 1.82)
    assert float(np.ptp(burger.footprint_array()[:, 1])) == pytest.approx(0.178)


URDF = """<robot name="r"><link name="base_footprint"/><link name="base_link"/><link name="mast"/><link name="cam"/>
<link name="cam_optical"/><link name="laser"/><link name="tilted"/>
<joint name="a" type="fixed"><parent link="base_footprint"/><child link="base_link"/><origin xyz="0 0 0.1"/></joint>
<joint name="b" type="fixed"><parent link="base_link"/><child link="mast"/><origin xyz="0.1 0 0.5" rpy="0 0 1.5707963"/></joint>
<joint name="c" type="fixed"><parent link="mast"/><child link="cam"/><origin xyz="0.2 0 0" rpy="0 0.3 0"/></joint>
<joint name="d" type="fixed"><parent link="cam"/><child link="cam_optical"/><origin rpy="-1.5707963 0 -1.5707963"/></joint>
<joint name="e" type="fixed"><parent link="mast"/><child link="laser"/><origin rpy="0 0 0.2"/></joint>
<joint name="f" type="fixed"><parent link="mast"/><child link="tilted"/><origin rpy="0.2 0 0"/></joint></robot>"""


def robot_yaml(folder: Path, text: str) -> Path:
    (folder / "robot.urdf").write_text(URDF)
    path = folder / "robot.yaml"
    path.write_text(text)
    return path


def test_extrinsics_come_from_the_urdf(tmp_path: Path) -> None:
    path = robot_yaml(
        tmp_path,
        "urdf: robot.urdf\nbody: {max_linear: 1}\nsensors:\n  front: {type: camera, frame: cam}\n"
        "  same: {type: camera, frame: cam_optical}\n  scan: {type: lidar, frame: laser}\n  imu: {type: imu, frame: tilted}\n",
    )
    rig = load_rig(path)
    assert rig.robot.max_linear == 1.0 and rig.robot.name == "robot"
    camera, other = rig.camera, rig.extra["same"]
    assert camera is not None and rig.lidar is not None and isinstance(other, CameraConfig)
    assert camera.position == pytest.approx((0.1, 0.2, 0.5))
    assert (camera.yaw, camera.pitch) == pytest.approx((math.pi / 2, 0.3))
    assert np.allclose(other.base_T_camera(), camera.base_T_camera(), atol=1e-6)
    assert rig.lidar.yaw == pytest.approx(math.pi / 2 + 0.2)
    assert isinstance(rig.imu, ImuConfig)
    assert Simulator(EMPTY, rig).image("same").rgb.shape == (240, 320, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sensors: {a: {type: sonar}}", "give one of camera, lidar, cloud, imu"),
        ("sensors: {a: {type: camera, frame: nose}}", "frame 'nose' is not known"),
        ("sensors: {a: {type: camera, widht: 3}}", "a.widht is not known"),
        ("sensors: {a: {type: camera, width: broad}}", "expected int"),
        ("sensors: {a: {type: camera, position: [1, 2]}}", "expected 3"),
        ("urdf: robot.urdf\nsensors: {a: {type: lidar, frame: tilted}}", "must be level"),
        ("urdf: missing.urdf", "missing.urdf"),
        ("wheels: 4", "unknown wheels"),
        ("body: {footprint: 3}", "footprint"),
        ("body: {drive: hover}", "hover"),
        ("sensors: [1, 2]", "not a mapping"),
        ("{unclosed", "cannot be read as YAML"),
        ("just text", "no mapping"),
        ("life: {doors: [{name: a}]}", "hinge"),
        ("life: {walkers: [{name: a, route: [1, 2]}]}", "list of"),
    ],
)
def test_broken_robot_files_are_refused_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        load_rig(robot_yaml(tmp_path, text))
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("urdf", "message"),
    [
        ("<robot", "well-formed"),
        ("<sdf/>", "not <robot>"),
        ("<robot xmlns:xacro='http://ros.org/wiki/xacro'><xacro:macro/></robot>", "xacro"),
        ("<robot name='r'><link name='x'/></robot>", "no link 'base_link'"),
    ],
)
def test_broken_urdfs_are_refused(tmp_path: Path, urdf: str, message: str) -> None:
    path = robot_yaml(tmp_path, "urdf: robot.urdf\n")
    (tmp_path / "robot.urdf").write_text(urdf)
    with pytest.raises(ConfigError, match=message):
        load_rig(path)


def test_names_of_robots_are_checked_and_life_can_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="generic, jackal"):
        load_rig("batmobile")
    path = tmp_path / "life.yaml"
    path.write_text("people: 2\nwalkers: [{name: guard, route: [[0, 0], [2, 0]]}]\ndoors: [{name: d, hinge: [1, 1]}]\n")
    life = load_life(path)
    assert life.people == 2 and life.walkers[0].route == ((0.0, 0.0), (2.0, 0.0)) and life.doors[0].hinge == (1.0, 1.0)
