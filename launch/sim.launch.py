"""The embedded simulator and the stack: `ros2 launch mm_nav sim.launch.py`."""

from launch import LaunchDescription
from mm_nav.ros.launching.arguments import SIM
from mm_nav.ros.launching.simulation import embedded
from mm_nav.ros.launching.stack import launch_description


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    # One machine's business: nobody else's robot hears these commands.
    return launch_description(SIM, embedded, local=True)
