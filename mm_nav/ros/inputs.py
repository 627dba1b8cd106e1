"""What the nodes listen to, in words: who sends it, and what to do when it does not come."""

from __future__ import annotations

import math

from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.node import Node

from mm_nav.errors import SensorError
from mm_nav.observation import Odometry
from mm_nav.ros.stack_node import StackNode
from mm_nav.ros.topics import frames, topics
from mm_nav.safety.inputs import Input, Level
from mm_nav.sensing.messages import odometry_from


def scan(node: StackNode, limit_s: float, level: Level) -> Input:
    """Return the LiDAR, of whichever kind. limit_s: longest silence, s. level: how bad one is for this node."""
    remedy = "is the LiDAR's driver (or the simulator) running, on this topic and ROS_DOMAIN_ID?"
    topic = topics().points if node.value("points") else topics().scan
    return Input("scan", node.resolve_topic_name(topic), "LiDAR", limit_s, remedy, level)


def odometry(node: Node, limit_s: float) -> Input:
    """Return the odometry, without which nothing drives."""
    remedy = "is the base's driver (or the simulator) running, on this topic and ROS_DOMAIN_ID?"
    return Input("odom", node.resolve_topic_name(topics().odom), "odometry", limit_s, remedy)


def camera(node: Node, topic: str, limit_s: float) -> Input:
    """Return the camera; without it, things are not seen."""
    remedy = "is the camera's driver (or the simulator) running, on this topic and ROS_DOMAIN_ID?"
    return Input("image", node.resolve_topic_name(topic), "camera", limit_s, remedy, Level.WARN)


def guard(node: Node, limit_s: float) -> Input:
    """Return the guard, without which nothing moves."""
    remedy = "is the guard running and active?"
    return Input("guard_status", node.resolve_topic_name(topics().guard_status), "guard", limit_s, remedy)


def policy(node: Node, limit_s: float) -> Input:
    """Return the inference node's answers."""
    remedy = "is the inference node running and active, and do its sensors come?"
    return Input("policy", node.resolve_topic_name(topics().policy), "inference", limit_s, remedy)


def inference(node: Node, limit_s: float) -> Input:
    """Return the inference node's sign of life, which comes without a goal, too."""
    remedy = "is the inference node running and active?"
    return Input("inference", node.resolve_topic_name(topics().diagnostics), "inference", limit_s, remedy)


def no_transform(frame: str) -> str:
    """Return what to tell people whose sensor's mount is not known."""
    return (
        f"no transform from {frames().base} to {frame or 'a frame without a name'} on /tf_static: is robot_state_publisher, or "
        "static_transform_publisher, running?"
    )


def finite_odometry(message: OdometryMessage) -> Odometry:
    """Return what a nav_msgs/Odometry holds. Raises SensorError for one with numbers that are none."""
    odometry = odometry_from(message)
    pose, twist = odometry.pose, odometry.twist
    if not all(map(math.isfinite, (pose.x, pose.y, pose.yaw, twist.linear, twist.lateral, twist.angular))):
        raise SensorError("the odometry's pose or twist is not finite, or its orientation is no quaternion")
    return odometry
