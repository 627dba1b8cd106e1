"""A robot that stands in an empty hall, as messages: odometry, scans, pictures, the guard's heartbeat."""

from __future__ import annotations

import math
import time

import numpy as np
import rclpy
from mm_nav_interfaces.msg import GuardStatus
from nav_msgs.msg import Odometry as OdometryMessage
from sensor_msgs.msg import CameraInfo, Image
from sensor_msgs.msg import LaserScan as LaserScanMessage
from tf2_msgs.msg import TFMessage

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, LaserScan, Odometry
from mm_nav.ros import conversions, qos
from mm_nav.ros.topics import frames, topics
from mm_nav.sim.camera import CameraConfig

PERIOD_S = 0.1
BASE_T_CAMERA = CameraConfig().base_T_camera()


class Player:
    """Publishes ten times a second of real time, as often as `play` is called. silent: names of what is left out."""

    def __init__(self, node: rclpy.node.Node | None = None) -> None:
        self.node = node or rclpy.create_node("player")
        t, f = topics(), frames()
        self._odom = self.node.create_publisher(OdometryMessage, t.odom, qos.ODOMETRY)
        self._scan = self.node.create_publisher(LaserScanMessage, t.scan, qos.SENSOR)
        self._image = self.node.create_publisher(Image, t.image, qos.IMAGE)
        self._info = self.node.create_publisher(CameraInfo, t.camera_info, qos.SENSOR)
        self._guard = self.node.create_publisher(GuardStatus, t.guard_status, qos.STATUS)
        self._tf = self.node.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        sensors = ((f.scan, np.eye(4)), (f.camera, BASE_T_CAMERA))
        mounts = [conversions.transform_message(mount, 0, f.base, child) for child, mount in sensors]
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
        if "image" not in self.silent:
            rgb = self._random.integers(90, 110, (72, 96, 3), np.uint8)
            k = np.array([[60.0, 0, 48], [0, 60.0, 36], [0, 0, 1]])
            image = CameraImage(now, rgb, k, BASE_T_CAMERA)
            if "camera_info" not in self.silent:
                self._info.publish(conversions.camera_info_message(image, f.camera))
            self._image.publish(conversions.image_message(image, f.camera))
        if self.play_guard and "guard_status" not in self.silent:
            self._guard.publish(GuardStatus(header=conversions.to_header(now, f.base)))
        return True
