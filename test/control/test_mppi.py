"""The controller follows a path, stops at its end and keeps clear."""

import itertools
import math

import numpy as np
import pytest

from mm_nav.control.mppi import Mppi, MppiConfig, ObstacleField
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.robot import RobotConfig
from mm_nav.sensing.movers import Movers
from mm_nav.sim.simulator import advance

ROBOT = RobotConfig()


def follow(path: np.ndarray, obstacles: np.ndarray, steps: int = 120, start: Pose2D | None = None) -> list[Pose2D]:
    controller, pose, twist = Mppi(ROBOT), start or Pose2D(), Twist2D()
    poses = [pose]
    for _ in range(steps):
        wanted = controller.command(pose, twist, path, ObstacleField(pose, obstacles))
        linear = twist.linear + float(np.clip(wanted.linear - twist.linear, -0.3, 0.3))
        angular = twist.angular + float(np.clip(wanted.angular - twist.angular, -0.4, 0.4))
        twist = Twist2D(linear, angular)
        pose = advance(pose, linear * 0.1, angular * 0.1, 1.0)
        poses.append(pose)
    return poses


def line(*corners: tuple[float, float]) -> np.ndarray:
    points = [np.linspace(a, b, 30) for a, b in itertools.pairwise(corners)]
    return np.concatenate(points)


def test_it_reaches_the_end_and_stays() -> None:
    poses = follow(line((0, 0), (3, 0), (3, 2)), np.empty((0, 2)))
    assert math.hypot(poses[-1].x - 3, poses[-1].y - 2) < 0.15
    assert poses[-1].distance_to(poses[-10]) < 0.02


def test_it_turns_on_the_spot_when_the_path_is_behind() -> None:
    twist = Mppi(ROBOT).command(Pose2D(), Twist2D(), line((0, 0), (-2, 0.1)), ObstacleField(Pose2D(), np.empty((0, 2))))
    assert twist.linear == 0.0 and abs(twist.angular) > 0.5


def test_it_swerves_round_a_post_that_juts_into_the_path() -> None:
    angles = np.linspace(0, 2 * math.pi, 24)
    post = np.stack([1.5 + 0.08 * np.cos(angles), 0.22 + 0.08 * np.sin(angles)], axis=1)
    poses = follow(line((0, 0), (3, 0)), post)
    nearest = min(np.hypot(post[:, 0] - p.x, post[:, 1] - p.y).min() for p in poses)
    assert nearest > ROBOT.inscribed_radius and poses[-1].x > 2.7


def test_the_same_inputs_give_the_same_commands() -> None:
    first, second = (follow(line((0, 0), (2, 1)), np.array([[1.0, 0.2]]), 20) for _ in range(2))
    assert first == second


def test_a_speed_limit_is_kept() -> None:
    field = ObstacleField(Pose2D(), np.empty((0, 2)))
    twist = Mppi(ROBOT).command(Pose2D(), Twist2D(0.2, 0.0), line((0, 0), (5, 0)), field, speed_limit=0.25)
    assert twist.linear <= 0.25


@pytest.mark.parametrize("distance", [0.5, 1.0])
def test_the_field_tells_distances(distance: float) -> None:
    field = ObstacleField(Pose2D(), np.array([[distance, 0.0]]))
    assert field.at(np.array([0.0]), np.array([0.0]))[0] == pytest.approx(distance, abs=0.08)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_it_lets_somebody_cross_and_touches_nobody(side: float) -> None:
    """Somebody crosses the way; where they are now stands nothing when the robot gets there."""
    controller, pose, twist, path = Mppi(ROBOT), Pose2D(), Twist2D(), line((0, 0), (4, 0))
    gaps = []
    for k in range(90):
        walker = np.array([[1.5, side * (1.2 - 0.1 * k)]])
        movers = Movers(walker, np.array([[0.0, -side]]), np.array([0.3]))
        wanted = controller.command(pose, twist, path, ObstacleField(pose, np.empty((0, 2))), movers=movers)
        linear = twist.linear + float(np.clip(wanted.linear - twist.linear, -0.3, 0.3))
        angular = twist.angular + float(np.clip(wanted.angular - twist.angular, -0.4, 0.4))
        twist = Twist2D(linear, angular)
        pose = advance(pose, linear * 0.1, angular * 0.1, 1.0)
        gaps.append(np.hypot(*(walker[0] - (pose.x, pose.y))) - 0.3)
    assert min(gaps) > ROBOT.inscribed_radius
    assert pose.x > 3.7


def test_it_waits_for_somebody_in_a_corridor_rather_than_push_through() -> None:
    walls = np.array([[x, y] for x in np.arange(-1.0, 5.0, 0.05) for y in (-0.5, 0.5)])
    movers = Movers(np.array([[0.7, 0.0]]), np.array([[-0.2, 0.0]]), np.array([0.35]))
    controller = Mppi(ROBOT)
    for _ in range(5):
        wanted = controller.command(
            Pose2D(), Twist2D(), line((0, 0), (4, 0)), ObstacleField(Pose2D(), walls), movers=movers
        )
    assert wanted.linear < 0.1


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_it_goes_round_a_corner_that_takes_it_away_from_where_the_path_leads(side: float) -> None:
    """A wall crosses the straight way; the path leads round its end, at first away from its own end."""
    wall = np.stack([np.linspace(-1.2, 1.2, 60), np.full(60, side * 0.45)], axis=1)
    path = line((0, 0), (1.7, 0), (1.7, side * 0.9), (0, side * 0.9))
    poses = follow(path, wall, steps=160)
    assert math.hypot(poses[-1].x, poses[-1].y - side * 0.9) < 0.2
    assert min(np.hypot(wall[:, 0] - p.x, wall[:, 1] - p.y).min() for p in poses) > ROBOT.inscribed_radius


def test_a_fast_robot_aims_farther_ahead_and_drives_faster() -> None:
    path, field = line((0, 0), (20, 0)), ObstacleField(Pose2D(), np.empty((0, 2)))
    robot, driven = RobotConfig(max_linear=2.0, max_linear_accel=20.0, max_angular_accel=25.0), {}
    for lookahead_s in (0.0, 1.1):
        controller, pose, twist = Mppi(robot, MppiConfig(lookahead_s=lookahead_s)), Pose2D(), Twist2D()
        for _ in range(50):
            twist = controller.command(pose, twist, path, field)
            pose = advance(pose, twist.linear * 0.1, twist.angular * 0.1, 1.0)
        driven[lookahead_s] = pose.x
    assert driven[1.1] > 1.3 * driven[0.0] and driven[1.1] < 5.0 * robot.max_linear, driven
