"""Goal poses in map where somebody else localises the robot."""

import math
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from tf2_msgs.msg import TFMessage

from mm_nav.errors import GoalError
from mm_nav.geometry import Pose2D
from mm_nav.ros import conversions, qos
from mm_nav.ros.map_frame import MapFrame


@pytest.fixture
def world() -> Iterator[SimpleNamespace]:
    """A node that listens, and one that localises."""
    rclpy.init()
    listener, localiser = rclpy.create_node("listener"), rclpy.create_node("localiser")
    executor = SingleThreadedExecutor()
    executor.add_node(listener)
    publisher = localiser.create_publisher(TFMessage, "/tf", qos.TF)

    def send(*transforms: tuple[str, str, Pose2D]) -> None:
        messages = [
            conversions.transform_message(conversions.planar_matrix(pose), 1, parent, child)
            for parent, child, pose in transforms
        ]
        while not publisher.get_subscription_count():
            executor.spin_once(timeout_sec=0.05)
        publisher.publish(TFMessage(transforms=messages))

    def spin(until: object) -> None:
        for _ in range(200):
            if until():  # type: ignore[operator]
                return
            executor.spin_once(timeout_sec=0.05)

    yield SimpleNamespace(frame=MapFrame(listener), send=send, spin=spin)
    for node in (listener, localiser):
        node.destroy_node()
    rclpy.shutdown()


def goal(frame: str, x: float = 3.0, y: float = 1.0, yaw: float = 0.5) -> object:
    return conversions.pose_message(Pose2D(x, y, yaw), 0, frame)


def test_a_goal_in_map_is_taken_to_odom(world: SimpleNamespace) -> None:
    with pytest.raises(GoalError, match="nobody publishes map -> odom"):
        world.frame.goal_in_odom(goal("map"))
    where = Pose2D(1.0, -2.0, math.pi / 2)
    world.send(("odom", "base_link", Pose2D(9.0, 9.0, 0.0)), ("map", "odom", where))
    world.spin(lambda: world.frame.map_T_odom is not None)
    found = world.frame.goal_in_odom(goal("map"))
    assert (found.x, found.y, found.yaw) == pytest.approx((3.0, -2.0, 0.5 - math.pi / 2))
    assert world.frame.in_map(found).distance_to(Pose2D(3.0, 1.0)) == pytest.approx(0.0, abs=1e-9)
    assert world.frame.goal_in_odom(goal("odom")).distance_to(Pose2D(3.0, 1.0)) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(GoalError, match="frame 'kitchen'"):
        world.frame.goal_in_odom(goal("kitchen"))


def test_a_broken_transform_changes_nothing(world: SimpleNamespace) -> None:
    world.send(("map", "odom", Pose2D(1.0, 0.0, 0.0)))
    world.spin(lambda: world.frame.map_T_odom is not None)
    broken = conversions.transform_message(np.eye(4), 1, "map", "odom")
    broken.transform.rotation.w = 0.0
    far = conversions.transform_message(np.eye(4), 1, "map", "odom")
    far.transform.translation.x = math.nan
    world.frame._receive(TFMessage(transforms=[broken, far]))
    assert world.frame.map_T_odom == Pose2D(1.0, 0.0, 0.0)


def test_without_localisation_map_is_odom() -> None:
    frame = MapFrame(SimpleNamespace(get_logger=lambda: None), listens=False)  # type: ignore[arg-type]
    assert frame.goal_in_odom(goal("map")) == frame.goal_in_odom(goal("odom"))  # type: ignore[arg-type]
