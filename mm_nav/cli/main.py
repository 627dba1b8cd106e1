"""`mm-nav`: finds the subcommand, and turns its errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from mm_nav import __version__
from mm_nav.errors import MmNavError

# Spinning OpenMP threads of idle libraries take the cores that the stack needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# One line each, kept here so that `mm-nav --help` imports none of them.
SUBCOMMANDS = {
    "demo": "drive to a spoken goal in the embedded simulator, over ROS 2",
    "sim": "run the embedded simulator and the stack as ROS 2 nodes",
    "go": "send a goal to a running stack",
    "evaluate": "measure the stack on held-out worlds",
    "replay": "run the stack over a recording and report what it would have done",
    "replay-compare": "compare two replays of the same recordings; the same as `replay compare`",
    "record": "record the stack's topics, or an episode of the simulator",
    "robot": "check a running robot, or write a robot's model for Gazebo",
    "calibrate": "find where the camera is relative to the LiDAR, from a recording of a board",
    "bench": "measure speeds on this machine",
    "profile": "count what a model costs, time it here, and estimate it for another device",
    "world": "check a world file, or generate one",
    "collect": "collect training data in generated worlds, or from recordings",
    "dagger": "collect more where the trained policy goes and errs",
    "train": "train the policy",
    "export": "export a trained policy to ONNX",
    "familiarity": "learn what a model's training frames are like, and how well strange ones are told from them",
    "shapes": "learn the outlines of things in the LiDAR's map, for when the camera is lost",
    "engine": "build TensorRT engines ahead of a drive, and list those there are",
    "quantize": "make an exported policy faster: int8, with ranges from real frames",
}

EXIT_OK, EXIT_FAILED, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 2, 130


class Subcommand(Protocol):
    """What a module in mm_nav.cli offers. run returns the exit status and raises MmNavError for what the user can
    mend."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options; also sets the parser's description and epilog (an example)."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work."""


def load(name: str) -> Subcommand:
    """Import a subcommand's module."""
    return importlib.import_module(f"mm_nav.cli.{name.replace('-', '_')}")


def build_parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only the `wanted` subcommand is imported and gets its options, None = every one."""
    parser = argparse.ArgumentParser(
        prog="mm-nav",
        description="Multi-modal robot navigation: from camera, LiDAR and plain words to wheel commands.",
        epilog="`mm-nav COMMAND --help` explains a command.   Example: mm-nav demo --goal 'go to the red barrel'",
    )
    parser.add_argument("--version", action="version", version=f"mm-nav {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in SUBCOMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if wanted in (None, name):
            load(name).add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `mm-nav` and return its exit status: 0 done, 1 the run ended without success, 2 wrong input, 130
    interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:2] == ["replay", "compare"]:
        arguments[:2] = ["replay-compare"]
    wanted = next((a for a in arguments if not a.startswith("-")), "")
    try:
        args = build_parser(wanted).parse_args(arguments)
        return load(args.command).run(args)
    except MmNavError as error:
        print(f"mm-nav: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("mm-nav: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`mm-nav … | head`); what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
