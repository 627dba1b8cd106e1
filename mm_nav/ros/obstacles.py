"""Where a node's scans come from: a LaserScan, or a PointCloud2 that is cut into one."""

from __future__ import annotations

from collections.abc import Callable

from sensor_msgs.msg import LaserScan as LaserScanMessage
from sensor_msgs.msg import PointCloud2

from mm_nav.errors import SensorError
from mm_nav.observation import LaserScan
from mm_nav.robot import RobotConfig
from mm_nav.ros import inputs, qos
from mm_nav.ros.health import Health
from mm_nav.ros.parameters import ParameterSpec
from mm_nav.ros.stack_node import StackNode
from mm_nav.ros.tf_buffer import StaticTransforms
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.clouds import obstacle_scan
from mm_nav.sensing.messages import cloud_from, scan_from

POINTS = ParameterSpec(
    "points", False, "obstacles come from `points` (PointCloud2), cut into a planar scan, instead of `scan` (LaserScan)"
)


class ScanInput:
    """Subscribes to `scan`, or to `points` where the parameter of that name says so; call it in configure.

    take: called with every scan, in its own frame with its mount, of a cloud in base_link. broken: called when one cannot be used.
    """

    def __init__(
        self,
        node: StackNode,
        mounts: StaticTransforms,
        health: Health,
        robot: RobotConfig,
        take: Callable[[LaserScan], None],
        broken: Callable[[], None] = lambda: None,
    ) -> None:
        self._mounts, self._health, self._robot, self._take, self._broken = mounts, health, robot, take, broken
        if node.value(POINTS.name):
            node.create_subscription(PointCloud2, topics().points, self._receive, qos.SENSOR)
        else:
            node.create_subscription(LaserScanMessage, topics().scan, self._receive, qos.SENSOR)

    def _receive(self, message: LaserScanMessage | PointCloud2) -> None:
        mount = self._mounts.lookup(frames().base, message.header.frame_id)
        if mount is None:
            self._health.refused("scan", inputs.no_transform(message.header.frame_id))
            return
        try:
            if isinstance(message, PointCloud2):
                scan = obstacle_scan(cloud_from(message, mount), self._robot)
            else:
                scan = scan_from(message, mount)
        except SensorError as error:
            self._health.refused("scan", str(error))
            self._broken()
            return
        self._health.heard("scan")
        self._take(scan)
