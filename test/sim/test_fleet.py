"""Several robots in one world: they see each other, keep out of each other, and one alone is what it was."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.robot import RobotConfig
from mm_nav.sim.bodies import fleet_body
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.fleet import Fleet
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.life import Door, LifeConfig, Walker
from mm_nav.sim.rig import load_rig
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import ImuConfig, SimConfig, Simulator
from mm_nav.sim.starts import free_starts, parse_starts
from mm_nav.sim.world import parse_world

RIG = SimConfig(camera=CameraConfig(96, 72), lidar=LidarConfig(beams=720, noise_std=0.0))
HERE, AHEAD = Pose2D(0.0, 0.0, 0.0), Pose2D(2.0, 0.0, math.pi)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A room of 10 x 8 m with a pillar."""
    boxes = [(5.1, 0, 0.2, 8.4), (-5.1, 0, 0.2, 8.4), (0, 4.1, 10, 0.2), (0, -4.1, 10, 0.2), (0, 3.0, 0.4, 0.4)]
    shapes = "".join(
        f"<collision name='c{i}'><pose>{x} {y} 1 0 0 0</pose><geometry><box><size>{sx} {sy} 2</size></box></geometry>"
        f"</collision><visual name='v{i}'><pose>{x} {y} 1 0 0 0</pose><geometry><box><size>{sx} {sy} 2</size></box>"
        "</geometry></visual>"
        for i, (x, y, sx, sy) in enumerate(boxes)
    )
    return Scene(
        parse_world(
            "<sdf version='1.8'><world name='w'><include><uri>model://ground_plane</uri></include>"
            f"<model name='walls'><static>1</static><link name='l'>{shapes}</link></model></world></sdf>"
        )
    )


def test_each_is_seen_by_the_other_in_a_colour_of_its_own(scene: Scene) -> None:
    config = replace(RIG, cloud=CloudConfig(noise_std=0.0))
    fleet = Fleet(scene, [config] * 3, [HERE, AHEAD, Pose2D(2.0, 1.2, -math.pi / 2)], names=("alpha", "beta", "gamma"))
    alpha = fleet.robots[0]
    assert alpha.scan().ranges[360] == pytest.approx(2.0 - 0.18, abs=1e-3)  # beta's front
    points = alpha.cloud().points
    on_beta = points[(np.hypot(points[:, 0] - 2.0, points[:, 1]) < 0.25) & (points[:, 2] > 0.01)]
    assert len(on_beta) > 5 and on_beta[:, 2].min() > 0.03 - 1e-3 and on_beta[:, 2].max() <= 0.35 + 1e-3
    seen = alpha.render()
    assert alpha.moving is not None and alpha.moving.names == ["beta", "gamma"]
    first = len(scene.model_names)
    colours = []
    for index in (first, first + 1):
        body = seen.model_index == index
        assert body.sum() > 20
        colours.append(np.median(seen.rgb[body], axis=0))
    assert np.abs(colours[0] - colours[1]).max() > 40
    # Nobody sees its own body, and who has left is not seen where it was.
    assert all(not np.any(r.scan().ranges < 0.5) for r in fleet.robots)
    before = alpha.scan().ranges[360]
    fleet.step([Twist2D(), Twist2D(-0.2, 0.0), Twist2D()], 2.0)
    assert alpha.scan().ranges[360] > before + 0.3


@pytest.mark.parametrize("name", ["generic", "racecar"])
def test_a_body_is_as_large_as_the_robot_that_collides(name: str) -> None:
    robot = load_rig(name).robot
    (segment,) = fleet_body(robot, 1).segments
    corners = np.concatenate([part.triangles.reshape(-1, 3) for part in segment.parts])
    outline = robot.footprint_array()
    assert corners.min(axis=0) == pytest.approx([*outline.min(axis=0), robot.ground_clearance_m])
    assert corners.max(axis=0) == pytest.approx([*outline.max(axis=0), robot.height_m])
    x, y, z, radius = fleet_body(robot, 1).sphere(0.0, 0.0, 0.0, 0.0)
    assert np.linalg.norm(corners - (x, y, z), axis=-1).max() <= radius + 1e-9


def test_who_drives_into_another_one_has_collided_and_who_stands_has_not(scene: Scene) -> None:
    fleet = Fleet(scene, [RIG, RIG], [HERE, Pose2D(1.0, 0.0, 0.0)], names=("alpha", "beta"))
    alpha, beta = fleet.robots
    for _ in range(40):
        fleet.step([Twist2D(0.5, 0.0), Twist2D()], 0.1)
    assert (alpha.collisions, alpha.collision_with) == (1, "beta")
    assert beta.collisions == 0 and beta.pose == Pose2D(1.0, 0.0, 0.0)
    assert alpha.pose.x + 0.18 == pytest.approx(1.0 - 0.18, abs=0.011)
    # It can back out, and both collide when both drive.
    fleet.step([Twist2D(-0.2, 0.0), Twist2D()], 1.0)
    assert alpha.pose.x < 0.55 and alpha.collisions == 1
    for _ in range(30):
        fleet.step([Twist2D(0.4, 0.0), Twist2D(-0.2, 0.0)], 0.1)
    assert alpha.collisions == 2 and beta.collisions == 1 and beta.collision_with == "alpha"


def test_a_low_robot_fits_under_a_high_one(scene: Scene) -> None:
    low = replace(RIG, robot=RobotConfig("low", height_m=0.2))
    high = replace(RIG, robot=RobotConfig("gantry", height_m=1.0, ground_clearance_m=0.4))
    fleet = Fleet(scene, [low, high], [HERE, Pose2D(1.0, 0.0, 0.0)])
    for _ in range(40):
        fleet.step([Twist2D(0.5, 0.0), Twist2D()], 0.1)
    assert fleet.robots[0].collisions == 0 and fleet.robots[0].pose.x > 1.5


def record(sim: Simulator) -> bytes:
    state = repr((sim.pose, sim.twist, sim.odometry(), sim.imu(), sim.collisions, sim.collision_with)).encode()
    return state + sim.scan().ranges.tobytes() + sim.image().rgb.tobytes()


@pytest.mark.parametrize(
    "life", [None, LifeConfig(people=3, doors=(Door("d", (1.0, 0.5), opens="cycle", period_s=2.0),))]
)
def test_a_fleet_of_one_is_the_simulator_bit_for_bit(scene: Scene, life: LifeConfig | None) -> None:
    rig = replace(
        load_rig("jackal"), camera=CameraConfig(48, 36, noise_std=2.0, exposure_jitter=0.2), cloud=None, life=life
    )
    alone, fleet = Simulator(scene, rig, 7, HERE), Fleet(scene, [rig], [HERE], 7)
    for _ in range(2):
        for i in range(20):
            twist = Twist2D(0.8, 0.6 * (-1) ** i)
            alone.step(twist, 0.1)
            fleet.step([twist], 0.1)
            assert record(alone) == record(fleet.robots[0])
        alone.reset(AHEAD, 8)
        fleet.reset([AHEAD], 8)


def test_the_first_robots_noise_is_that_of_one_alone_and_the_others_have_their_own(scene: Scene) -> None:
    noisy = replace(
        load_rig("jackal"), camera=None, cloud=None, lidar=LidarConfig(beams=8, noise_std=0.1, range_max=50.0)
    )
    starts = [HERE, Pose2D(-4.0, -3.0, 0.0)]
    alone, fleet = Simulator(scene, noisy, 3, HERE), Fleet(scene, [noisy, noisy], starts, 3)
    twin = Fleet(scene, [noisy, noisy], starts, 3)
    for _ in range(10):
        alone.step(Twist2D(0.5, 0.3), 0.1)
        for any_fleet in (fleet, twin):
            any_fleet.step([Twist2D(0.5, 0.3)] * 2, 0.1)
    first = fleet.robots[0]
    assert first.pose == alone.pose and first.odometry() == alone.odometry()
    assert repr(first.imu()) == repr(alone.imu())
    assert [r.odometry() for r in fleet.robots] == [r.odometry() for r in twin.robots]
    gone = [r.odometry().pose.distance_to(start) for r, start in zip(fleet.robots, starts, strict=True)]
    assert abs(gone[0] - gone[1]) > 1e-4  # drift and slip of its own
    assert np.sum(first.scan().ranges == alone.scan().ranges) >= 7  # all but a beam that may meet the other robot


def test_people_give_way_to_all_and_doors_open_for_all(scene: Scene) -> None:
    walker = Walker("eve", start=Pose2D(4.0, 0.05, math.pi), route=((-4.0, 0.0), (4.0, 0.0)))
    # At the wall, where nobody passes by and only the second robot is near.
    door = Door("door", hinge=(4.0, 3.5), closed_yaw=0.0, open_angle=-1.0, width=0.8)
    life = LifeConfig(walkers=(walker,), doors=(door,))
    config = SimConfig(camera=None, lidar=None)
    starts = [Pose2D(-1.5, 0.0, 0.0), Pose2D(1.5, 0.0, 0.0), Pose2D(4.2, 2.4, 0.0)]
    fleet = Fleet(scene, [replace(config, life=life), config, config], starts)
    closest, arrived, opened = [np.inf] * 3, False, False
    for _ in range(150):
        fleet.step([Twist2D()] * 3, 0.1)
        assert fleet.life is not None
        eve, leaf = fleet.life.poses()
        closest = [min(c, eve.distance_to(start)) for c, start in zip(closest, starts, strict=True)]
        arrived |= eve.x < -3.4
        opened |= abs(leaf.yaw) > 0.5
    assert arrived and opened and all(robot.collisions == 0 for robot in fleet.robots)
    # Radii of person and robot, and the gap that who reacts keeps.
    kept = 0.25 + load_rig("generic").robot.circumscribed_radius + 0.2
    assert all(kept - 0.01 < gap < 1.5 for gap in closest[:2])
    near = Fleet(scene, [replace(config, life=life), config], [Pose2D(0.0, -3.0), Pose2D(-3.0, -3.0)])
    near.step([Twist2D()] * 2, 2.0)
    assert near.life is not None and near.life.poses()[1].yaw == 0.0  # nobody is near: it stays closed


def test_one_who_does_not_react_stops_before_any_robot(scene: Scene) -> None:
    walker = Walker("bob", start=Pose2D(4.0, 0.0, math.pi), route=((-4.0, 0.0),), reacts=False)
    config = SimConfig(camera=None, lidar=LidarConfig(noise_std=0.0), life=LifeConfig(walkers=(walker,)))
    fleet = Fleet(scene, [config, config], [Pose2D(-3.0, 0.0, 0.0), HERE], names=("alpha", "beta"))
    alpha, beta = fleet.robots
    assert alpha.moving is not None and alpha.moving.names == ["bob", "beta"]
    fleet.step([Twist2D()] * 2, 6.0)
    assert fleet.life is not None and fleet.life.poses()[0].x == pytest.approx(0.43, abs=0.1)
    assert beta.collisions == 0
    # Each body is where it is, and no other's.
    assert alpha.scan().ranges[180] == pytest.approx(3.0 - 0.18, abs=1e-3)
    assert beta.scan().ranges[170:190].min() == pytest.approx(0.35, abs=0.15)  # a leg
    fleet.step([Twist2D(), Twist2D(0.5, 0.0)], 1.0)
    assert beta.collision_with == "bob" and alpha.collisions == 0


@pytest.mark.parametrize(
    ("starts", "names", "message"),
    [
        ([HERE], ("a", "b"), "1 starts"),
        ([HERE, AHEAD], ("a",), "1 names"),
        ([HERE, AHEAD], ("a", "a"), "same name"),
        ([HERE, Pose2D(0.2, 0.1, 0.0)], ("a", "b"), "'b' would start at 0.20,0.10,0.00, where 'a' starts"),
        ([HERE, Pose2D(0.0, 3.0, 0.0)], ("a", "b"), "'b' would start at 0.00,3.00,0.00, in 'walls'"),
    ],
)
def test_impossible_fleets_are_refused(
    scene: Scene, starts: list[Pose2D], names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Fleet(scene, [RIG, RIG], starts, names=names)


def test_what_does_not_fit_a_fleet_is_refused(scene: Scene) -> None:
    with pytest.raises(ConfigError, match="physics_dt"):
        Fleet(scene, [RIG, replace(RIG, physics_dt=0.01)], [HERE, AHEAD])
    fleet = Fleet(scene, [RIG, RIG], [HERE, AHEAD])
    with pytest.raises(ConfigError, match="1 commands"):
        fleet.step([Twist2D()], 0.1)
    with pytest.raises(ConfigError, match="multiple of physics_dt"):
        fleet.step([Twist2D()] * 2, 0.03)
    with pytest.raises(ConfigError, match="1 starts"):
        fleet.reset([HERE])
    with pytest.raises(ConfigError, match="where 'robot1' starts"):
        fleet.reset([HERE, HERE])


def test_free_starts_are_free_and_apart(scene: Scene) -> None:
    bodies = [load_rig(name).robot for name in ("generic", "jackal", "generic", "omni")]
    starts = free_starts(scene, bodies)
    assert len(starts) == 4 and starts == free_starts(scene, bodies)
    Fleet(scene, [replace(RIG, robot=body) for body in bodies], starts)
    assert min(a.distance_to(b) for i, a in enumerate(starts) for b in starts[:i]) >= 1.5
    given = free_starts(scene, bodies[:2], AHEAD)
    assert given[0] == AHEAD and 1.5 <= given[1].distance_to(AHEAD) < 2.5 and given[1].yaw == AHEAD.yaw
    with pytest.raises(ConfigError, match="no free place for robot"):
        free_starts(scene, [load_rig("generic").robot] * 200)


def test_starts_as_text() -> None:
    assert parse_starts("1,2,0.5; -3.5,4") == (Pose2D(1.0, 2.0, 0.5), Pose2D(-3.5, 4.0, 0.0))
    assert parse_starts("  ") == ()
    for text in ("1", "1,2,3,4", "a,b", "1,2;", "nan,1"):
        with pytest.raises(ConfigError, match="x,y,yaw for each robot"):
            parse_starts(text)


def test_an_imu_feels_the_stop_at_another_robot(scene: Scene) -> None:
    config = replace(RIG, camera=None, lidar=None, imu=ImuConfig(gyro_noise=0.0, accel_noise=0.0))
    fleet = Fleet(scene, [config, config], [HERE, Pose2D(1.0, 0.0, 0.0)])
    felt = []
    for _ in range(20):
        fleet.step([Twist2D(0.5, 0.0), Twist2D()], 0.1)
        felt.append([robot.imu().linear_acceleration[0] for robot in fleet.robots])
    assert np.min(felt, axis=0)[0] < -1.0 and abs(np.min(felt, axis=0)[1]) < 0.5
