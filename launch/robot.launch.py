"""The stack on a robot, with its sensors' drivers: `ros2 launch mm_nav robot.launch.py robot:=turtlebot3_waffle lidar:=ld08`."""

from launch import LaunchDescription
from mm_nav.ros.launching.arguments import ROBOT
from mm_nav.ros.launching.hardware import hardware
from mm_nav.ros.launching.stack import launch_description


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return launch_description(ROBOT, hardware)
