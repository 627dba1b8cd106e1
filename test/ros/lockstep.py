"""Plays observations to the real nodes over DDS, one at a time, and collects the navigator's commands."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped
from mm_nav_interfaces.action import NavigateTo
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from tf2_msgs.msg import TFMessage

from mm_nav.geometry import Twist2D
from mm_nav.goal import Goal
from mm_nav.observation import Observation
from mm_nav.ros import conversions, qos
from mm_nav.ros.node_list import STACK
from mm_nav.ros.process_group import ProcessGroup, prepare_environment
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.messages import stamp_ns

# The player sets the pace, so no watchdog may bark while it waits for an answer.
PATIENT = {"policy_deadline": 1.0, "sensor_timeout": 10.0, "inference_timeout": 10.0, "guard_timeout": 10.0}


def play_over_dds(observations: Sequence[Observation], goal: Goal, logs: Path) -> list[tuple[int, Twist2D]]:
    """Return (stamp, twist) of the navigator node's command for every observation."""
    prepare_environment()
    rclpy.init()
    node = rclpy.create_node("lockstep_player")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    t, f = topics(), frames()
    heard: dict[int, Twist2D] = {}
    node.create_subscription(
        TwistStamped, t.cmd_vel_nav, lambda m: heard.setdefault(stamp_ns(m.header), conversions.twist_from(m.twist)),
        qos.STATUS,
    )  # fmt: skip
    tf = node.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
    odom = node.create_publisher(Odometry, t.odom, qos.ODOMETRY)
    scan = node.create_publisher(LaserScan, t.scan, qos.ODOMETRY)
    image = node.create_publisher(Image, t.image, qos.ODOMETRY)
    info = node.create_publisher(CameraInfo, t.camera_info, qos.ODOMETRY)
    client = ActionClient(node, NavigateTo, t.navigate_to)

    def spin(until: object, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.02)
            if until():  # type: ignore[operator]
                return True
        return False

    def publish(observation: Observation) -> None:
        odom.publish(conversions.odometry_message(observation.odometry, f.odom, f.base))
        if observation.image is not None:
            info.publish(conversions.camera_info_message(observation.image, f.camera))
            image.publish(conversions.image_message(observation.image, f.camera))
        scan.publish(conversions.scan_message(observation.scan, f.scan, 0.1))

    try:
        with ProcessGroup(STACK, logs, {"navigator": PATIENT}, use_sim_time=False) as group:
            first = observations[0]
            mount = np.eye(4)
            mount[:2, 3] = first.scan.mount.x, first.scan.mount.y
            mounts = [conversions.transform_message(mount, 0, f.base, f.scan)]
            if first.image is not None:
                mounts.append(conversions.transform_message(first.image.base_T_camera, 0, f.base, f.camera))
            tf.publish(TFMessage(transforms=mounts))
            assert spin(lambda: client.server_is_ready(), 40), f"no navigator: {group.dead()}"
            assert spin(lambda: scan.get_subscription_count() >= 3 and image.get_subscription_count() >= 1, 20)
            # The camera's geometry must be known before the first picture counts.
            if first.image is not None:
                info.publish(conversions.camera_info_message(first.image, f.camera))
            spin(lambda: False, 1.0)
            request = NavigateTo.Goal(instruction=goal.instruction, timeout=float(goal.timeout_s))
            if goal.pose is not None:
                request.use_pose, request.pose = True, conversions.pose_message(goal.pose, 0, f.map)
            sent = client.send_goal_async(request)
            assert spin(sent.done, 10) and sent.result().accepted
            spin(lambda: False, 0.5)
            for observation in observations:
                publish(observation)
                if not spin(lambda stamp=observation.stamp_ns: stamp in heard, 10):
                    break
            return [(o.stamp_ns, heard[o.stamp_ns]) for o in observations if o.stamp_ns in heard]
    finally:
        node.destroy_node()
        rclpy.shutdown()
