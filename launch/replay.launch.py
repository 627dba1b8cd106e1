"""A recording played to the stack: `ros2 launch mm_nav replay.launch.py bag:=PATH goal:="go to the red chair" record:=NEW`."""

from launch import LaunchDescription
from mm_nav.ros.launching.arguments import REPLAY
from mm_nav.ros.launching.replay import replayed
from mm_nav.ros.launching.stack import launch_description


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    # One machine's business: nobody else's robot hears these commands.
    return launch_description(REPLAY, replayed, local=True)
