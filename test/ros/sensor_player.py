"""A robot that stands in an empty hall, as messages: odometry, scans, the guard's heartbeat."""

from __future__ import annotations

import math
import time

import numpy as np
import rclpy
from mm_nav_interfaces.msg import GuardStatus
from nav_msgs.msg import Odometry as OdometryMessage
from sensor_msgs.msg import LaserScan as LaserScanMessage
from tf2_msgs.msg import TFMessage

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Odometry
from mm_nav.ros import conversions, qos
from mm_nav.ros.topics import frames, topics

PERIOD_S = 0.1


class Player:
    """Publishes ten times a second of real time, as often as `play` is called. silent: names of what is left out."""

    def __init__(self, node: rclpy.node.Node | None = None) -> None:
        self.node = node or rclpy.create_node("player")
        t, f = topics(), frames()
        self._odom = self.node.create_publisher(OdometryMessage, t.odom, qos.ODOMETRY)
        self._scan = self.node.create_publisher(LaserScanMessage, t.scan, qos.SENSOR)
        self._guard = self.node.create_publisher(GuardStatus, t.guard_status, qos.STATUS)
        self._tf = self.node.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        mounts = [conversions.transform_message(np.eye(4), 0, f.base, child) for child in (f.scan, f.camera)]
        self._tf.publish(TFMessage(transforms=mounts))
        self.silent: set[str] = set()
        self.play_guard = False
        self._next, self._random = 0.0, np.random.default_rng(3)

    def play(self) -> bool:
        """Publish what is due; return whether anything was."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + PERIOD_S
        now, f = time.time_ns(), frames()
        if "odom" not in self.silent:
            odometry = Odometry(now, Pose2D(), Twist2D())
            self._odom.publish(conversions.odometry_message(odometry, f.odom, f.base))
        if "scan" not in self.silent:
            ranges = (5.0 + self._random.normal(0.0, 0.01, 360)).astype(np.float32)
            scan = LaserScan(now, ranges, -math.pi, 2 * math.pi / 360, 0.1, 10.0)
            self._scan.publish(conversions.scan_message(scan, f.scan, PERIOD_S))
        if self.play_guard and "guard_status" not in self.silent:
            self._guard.publish(GuardStatus(header=conversions.to_header(now, f.base)))
        return True
