"""The embedded simulator and the stack: `ros2 launch mm_nav sim.launch.py`."""

from collections.abc import Mapping, Sequence
from typing import Any

from launch import LaunchDescription
from mm_nav.ros.launching.arguments import SIM
from mm_nav.ros.launching.simulation import embedded
from mm_nav.ros.launching.stack import launch_description


def start(values: Mapping[str, str], pushed: str) -> Sequence[Any]:
    """Return what is started."""
    return embedded(values, pushed)


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return launch_description(SIM, start, local=True)
