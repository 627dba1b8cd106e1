"""`mm-nav robot check` and `mm-nav robot model`."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

NAME = "robot"
HELP = "check a running robot, or write a robot's model for Gazebo"
_ACTIONS = {
    "check": "say what is missing or wrong on a live robot, and how to mend it",
    "model": "show a robot's links, joints and sensors; write its Gazebo model, URDF and bridge file",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Look at the robot that is to drive: its topics, frames and clocks, or its body as a model."
    parser.epilog = "Example: mm-nav robot check --robot turtlebot3_waffle"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(
            name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        _load(name).add_arguments(action)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return int(_load(args.action).run(args))


def _load(name: str) -> Any:
    return importlib.import_module(f"mm_nav.cli.robot_{name}")
