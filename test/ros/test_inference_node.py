"""The inference node on its own: compressed pictures are decoded and answered."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
import rclpy
from mm_nav_interfaces.msg import PolicyGoal as PolicyGoalMessage
from mm_nav_interfaces.msg import PolicyOutput
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, CompressedImage, LaserScan
from tf2_msgs.msg import TFMessage

from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.resources import resource_path
from mm_nav.ros import conversions, qos
from mm_nav.ros.inference_node import InferenceNode
from mm_nav.ros.process_group import prepare_environment
from mm_nav.ros.topics import frames, topics
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import CameraConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import load_world


@pytest.mark.parametrize("broken", [False, True])
def test_compressed_pictures_are_seen_and_broken_ones_are_not(broken: bool) -> None:
    scene = Scene(load_world(resource_path("worlds/apartment.sdf")))
    seen = Simulator(scene, SimConfig(camera=CameraConfig(width=96, height=72)), start=Pose2D(2.0, 1.0)).observe()
    assert seen.image is not None and seen.scan is not None
    ok, jpeg = cv2.imencode(".jpg", cv2.cvtColor(seen.image.rgb, cv2.COLOR_RGB2BGR))
    assert ok
    prepare_environment()
    rclpy.init(args=["--ros-args", "-p", "compressed:=true"])
    node, other = InferenceNode(), rclpy.create_node("sender")
    answers: list[PolicyOutput] = []
    try:
        node.start()
        t, f = topics(), frames()
        executor = SingleThreadedExecutor()
        for each in (node, other):
            executor.add_node(each)
        other.create_subscription(PolicyOutput, t.policy, answers.append, qos.STATUS)
        publish = {
            name: other.create_publisher(kind, topic, profile)
            for name, kind, topic, profile in (
                ("tf", TFMessage, "/tf_static", qos.STATIC_TF), ("goal", PolicyGoalMessage, t.policy_goal, qos.LATCHED),
                ("info", CameraInfo, t.camera_info, qos.SENSOR), ("scan", LaserScan, t.scan, qos.SENSOR),
                ("odom", Odometry, t.odom, qos.ODOMETRY),
                ("image", CompressedImage, f"{t.image}/compressed", qos.SENSOR),
            )
        }  # fmt: skip
        mounts = [(f.scan, conversions.planar_matrix(seen.scan.mount)), (f.camera, seen.image.base_T_camera)]
        publish["tf"].publish(TFMessage(transforms=[conversions.transform_message(m, 0, f.base, c) for c, m in mounts]))
        publish["goal"].publish(conversions.policy_goal_message(PolicyGoal("g/0", "the chair")))
        info = conversions.camera_info_message(seen.image, f.camera)
        scan = conversions.scan_message(seen.scan, f.scan, 0.1)
        odometry = conversions.odometry_message(seen.odometry, f.odom, f.base)
        data = b"no picture" if broken else jpeg.tobytes()
        until = time.monotonic() + 20.0
        while (
            time.monotonic() < until
            and not any(a.heatmap_height for a in answers)
            and not (broken and len(answers) > 8)
        ):
            stamp = time.time_ns()
            image = CompressedImage(header=conversions.to_header(stamp, f.camera), format="jpeg", data=data)
            for message in (info, scan, odometry):
                message.header.stamp = conversions.to_time(stamp)
            for name, message in (("info", info), ("image", image), ("scan", scan), ("odom", odometry)):
                publish[name].publish(message)
            for _ in range(10):
                executor.spin_once(timeout_sec=0.01)
        assert answers and any(a.heatmap_height for a in answers) != broken
        pictures = [np.asarray(a.heatmap) for a in answers if a.heatmap_height]
        assert all(p.sum() == pytest.approx(1.0, abs=1e-3) for p in pictures)
    finally:
        node.deactivate()
        node.cleanup()
        node.destroy_node()
        other.destroy_node()
        rclpy.shutdown()
