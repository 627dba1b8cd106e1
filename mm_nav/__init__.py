"""mm_nav: multi-modal robot navigation, from camera, LiDAR and plain words to wheel commands.

For scripts: `from mm_nav import Robot; Robot().go_to("the red chair")`.
"""

from __future__ import annotations

# Type checkers read __init__.pyi.
import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["ErrorCode", "Feedback", "Navigation", "NavigatorLostError", "Outcome", "Pose2D", "Robot", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first asked for: the rest of mm_nav does without rclpy."""
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module 'mm_nav' has no attribute '{name}'")
    try:
        return getattr(importlib.import_module("mm_nav.ros.robot_api"), name)
    except ModuleNotFoundError as error:
        from mm_nav.errors import ConfigError

        raise ConfigError(
            f"mm_nav.{name} needs ROS 2, and Python has no module '{error.name}': source a ROS 2 installation and the workspace "
            "with mm_nav_interfaces, or run `make setup` (pip extra: mm_nav[ros])"
        ) from error
