"""A robot with a 3D LiDAR only: its points are cut into the scan that the recordings' reader cuts, for its own body."""

from __future__ import annotations

import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import LaserScan, PointCloud2
from tf2_msgs.msg import TFMessage

from mm_nav.observation import PointCloud
from mm_nav.robot import load_robot
from mm_nav.ros import conversions, qos
from mm_nav.ros.guard_node import GuardNode
from mm_nav.ros.inference_node import InferenceNode
from mm_nav.ros.navigator_node import NavigatorNode
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.clouds import obstacle_scan, planar_scan

pytestmark = pytest.mark.usefixtures("started")

MOUNT = np.array([[1.0, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0.4], [0, 0, 0, 1]])


def test_the_guard_sees_what_a_replay_sees() -> None:
    wall = [[2.0, y, z] for y in np.linspace(-1, 1, 50) for z in (0.1, 0.3, 1.5)]
    table = [[1.0, y, 0.7] for y in np.linspace(-0.3, 0.3, 20)]  # the generic robot fits under it
    floor = [[x, 0.5, 0.0] for x in np.linspace(0.5, 3.0, 30)]
    body = [[0.15, 0.1, 0.3], [-0.1, 0.0, 0.2]]
    now = time.time_ns()
    around = PointCloud(now, np.array(wall + floor + table, np.float32))
    everything = PointCloud(now, np.array(wall + floor + table + body, np.float32))
    guard, node = GuardNode(), rclpy.create_node("lidar")
    executor = SingleThreadedExecutor()
    for each in (guard, node):
        executor.add_node(each)
    try:
        assert guard.set_parameters([Parameter("points", value=True)])[0].successful
        guard.start()
        tf = node.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        tf.publish(TFMessage(transforms=[conversions.transform_message(MOUNT, 0, frames().base, "velodyne")]))
        points = node.create_publisher(PointCloud2, topics().points, qos.SENSOR)
        message = conversions.cloud_message(everything, MOUNT, "velodyne")
        end = time.monotonic() + 20.0
        while guard._scan is None and time.monotonic() < end:
            points.publish(message)
            executor.spin_once(timeout_sec=0.05)
        expected = obstacle_scan(around, load_robot("generic"))
        np.testing.assert_allclose(guard._scan.ranges, expected.ranges, atol=1e-5)
        assert guard._scan.stamp_ns == now and guard._scan.angle_min == expected.angle_min
        assert 1.9 < np.nanmin(guard._scan.ranges) < 2.1
        assert np.nanmin(planar_scan(everything, 0.05, 0.4).ranges) < 0.3  # the body would have been in its way
    finally:
        guard.close()
        guard.destroy_node()
        node.destroy_node()


@pytest.mark.parametrize("node_class", [GuardNode, NavigatorNode, InferenceNode])
def test_it_is_the_one_or_the_other(node_class: type) -> None:
    node = node_class()
    for points, kind in ((True, PointCloud2), (False, LaserScan)):
        node.set_parameters([Parameter("points", value=points)])
        node.trigger_configure()
        heard = {subscription.msg_type for subscription in node.subscriptions} & {PointCloud2, LaserScan}
        assert heard == {kind}
        node.trigger_cleanup()
    node.destroy_node()
