"""Gazebo, its ROS bridge and the stack: `ros2 launch mm_nav gazebo.launch.py`. Needs ros_gz_sim and ros_gz_bridge."""

from launch import LaunchDescription
from mm_nav.ros.launching.arguments import GAZEBO
from mm_nav.ros.launching.gazebo import gazebo
from mm_nav.ros.launching.stack import launch_description


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return launch_description(GAZEBO, gazebo, local=True)
