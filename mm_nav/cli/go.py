"""`mm-nav go "go to the red chair"`: send a goal to a running stack and follow it."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.cli.demo import gives_yaw, parse_pose
from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError, SensorError
from mm_nav.sensing.images import decode_compressed

NAME = "go"
HELP = "send a goal to a running stack"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Send a sentence, a picture or a pose to the running stack (mm-nav sim, ros2 launch, or a robot) through its action; of\n"
        "several, what the sentence says comes first, then what the picture shows, then the pose. Ctrl-C cancels the goal and\n"
        "stops the robot. Exit status 0: reached, 1: not reached, 2: bad input or no stack."
    )
    parser.epilog = "Example: mm-nav go 'go to the red chair, then to the door'"
    parser.add_argument("instruction", nargs="?", default="", help="what to do, in plain English")
    parser.add_argument(
        "--pose",
        metavar="X,Y[,YAW]",
        help="drive to a pose: metres and rad, map frame; without YAW any heading will do",
    )
    parser.add_argument(
        "--image",
        type=Path,
        metavar="FILE",
        help="a picture of the thing to go to (PNG, JPEG), instead of words that name it",
    )
    parser.add_argument(
        "--namespace", default="", metavar="NAME", help="the robot's namespace, such as alpha (default: none)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="time for the goal, s (default: the navigator's default_timeout, 180 if that is not set)",
    )
    parser.add_argument("--wait", type=float, default=10.0, metavar="S", help="wait for the stack, s (default 10)")
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Send the goal."""
    pose = parse_pose(args.pose, "--pose")
    if not args.instruction.strip() and pose is None and args.image is None:
        raise ConfigError(
            "nothing to do: give an instruction, such as 'go to the red chair', --image FILE or --pose X,Y"
        )
    image = None if args.image is None else _picture(args.image)
    require_writable(args.json)
    namespace = _namespace(args.namespace)
    from mm_nav.ros.process_group import prepare_environment

    prepare_environment(loopback=False)
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rich.console import Console

    from mm_nav.ros.goal_client import GoalClient

    console = Console()
    # Ctrl-C is ours: it cancels the goal before the context goes.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("mm_nav_go", namespace=namespace)
    canceled = False
    try:
        client = GoalClient(node)
        if not client.wait(args.wait):
            where = f" in the namespace /{namespace}" if namespace else ""
            raise ConfigError(f"no navigator answered{where} within {args.wait:.0f} s: {_remedy(node)}")

        def feedback(message: Any) -> None:
            left = "" if math.isnan(message.distance_remaining) else f"{message.distance_remaining:.1f} m to go"
            line = f"{message.stage:<11} '{message.step_text}'  {left}  confidence {message.confidence:.2f}"
            console.print(line, highlight=False, markup=False, end="\r" if console.is_terminal else "\n")

        with _CtrlC() as pressed:
            outcome = client.run(
                args.instruction, pose, args.timeout or 0.0, feedback, cancel=lambda: pressed.seen, image=image,
                facing=gives_yaw(args.pose),
            )  # fmt: skip
            canceled = pressed.seen
    finally:
        node.destroy_node()
        rclpy.shutdown()
    console.print(f"{'reached' if outcome.succeeded else outcome.error.name}: {outcome.message}", highlight=False)
    if args.json is not None:
        result = {
            "success": outcome.succeeded, "error_code": int(outcome.error), "error": outcome.error.name,
            "message": outcome.message, "path_length_m": outcome.distance_m, "time_s": outcome.time_s,
        }  # fmt: skip
        write_json(args.json, result)
    return 130 if canceled else 0 if outcome.succeeded else 1


def _namespace(text: str) -> str:
    """Return a namespace without its leading slash. Raises ConfigError."""
    name = text.strip("/")
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*", name):
        raise ConfigError(f"--namespace is '{text}', which is no ROS namespace: give the robot's, such as alpha")
    return name


def _remedy(node: Any) -> str:
    """Return what to do when no navigator answers: in other namespaces there may be some."""
    from mm_nav.ros.topics import topics

    end = f"/{topics().navigate_to}/_action/feedback"
    others = sorted({name.removesuffix(end) for name, _ in node.get_topic_names_and_types() if name.endswith(end)})
    # Its own client is among them, but only navigators publish.
    found = [other for other in others if node.count_publishers(other + end)]
    if found:
        give = " or ".join(f"--namespace {other.strip('/')}" if other else "no --namespace" for other in found)
        return f"there are navigators elsewhere, give {give}"
    return (
        "start the stack (mm-nav sim, or ros2 launch mm_nav sim.launch.py), in the same ROS_DOMAIN_ID and within "
        "ROS_AUTOMATIC_DISCOVERY_RANGE"
    )


def _picture(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return decode_compressed(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"the picture {path} cannot be read: {error.strerror}") from error
    except SensorError as error:
        raise ConfigError(f"the picture {path} cannot be read: give a PNG or JPEG file") from error


class _CtrlC:
    """Notes Ctrl-C instead of raising, so that the goal can be canceled; a second one interrupts as usual."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> _CtrlC:
        import signal

        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        import signal

        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: object) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True
