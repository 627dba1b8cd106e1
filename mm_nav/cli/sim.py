"""`mm-nav sim`: the embedded simulator and the stack, waiting for goals until Ctrl-C."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mm_nav.cli.demo import default_start, parse_pose
from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError, MmNavError

NAME = "sim"
HELP = "run the embedded simulator and the stack as ROS 2 nodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Start the embedded simulator, inference, navigator and guard as ROS 2 processes and keep them until Ctrl-C. Send "
        "goals from another terminal: `mm-nav go 'go to the red barrel'` or `ros2 action send_goal`."
    )
    parser.epilog = "Example: mm-nav sim --world worlds/office.sdf"
    parser.add_argument("--world", type=Path, metavar="FILE", help="SDF world (default: the apartment of mm_nav)")
    parser.add_argument("--start", metavar="X,Y[,YAW]", help="start pose (default: the world's own, or a free spot)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="ONNX policy (default: the one of mm_nav)")
    parser.add_argument("--rate", type=float, default=1.0, metavar="R", help="simulated seconds per second (default 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the simulated noise (default 0)")
    parser.add_argument(
        "--robot",
        default="generic",
        metavar="NAME",
        help="robot of the simulator: a name in config/robots, or a YAML file",
    )
    parser.add_argument("--people", type=int, default=0, metavar="N", help="people who wander about (default 0)")
    parser.add_argument("--life", type=Path, metavar="FILE", help="YAML file with people, robots and doors that move")
    parser.add_argument("--shadows", action="store_true", help="render shadows")
    parser.add_argument("--simulator-only", action="store_true", help="no stack, just the robot and its sensors")
    parser.add_argument(
        "--logs", type=Path, default=Path("out/sim/logs"), metavar="DIR", help="logs (default out/sim/logs)"
    )
    add_json_option(parser)


def _absolute(name: str | Path) -> str:
    """Return a YAML file's whole path, since nodes run elsewhere; other names as they are."""
    return str(Path(name).resolve()) if str(name).endswith((".yaml", ".yml")) else str(name)


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until a process dies."""
    from mm_nav.resources import resource_path
    from mm_nav.ros.process_group import ProcessGroup, last_words, prepare_environment

    require_writable(args.json)
    from mm_nav.sim.rig import load_life, load_rig

    load_rig(args.robot)  # what cannot be read is told here, not in a node's log
    if args.life is not None:
        load_life(args.life)
    if not 0 <= args.people <= 200:
        raise ConfigError(f"--people is {args.people}; it must be between 0 and 200")
    if not 0 <= args.rate <= 100:
        raise ConfigError(f"--rate is {args.rate}; it must be between 0 (as fast as possible) and 100")
    world = args.world or resource_path("worlds/apartment.sdf")
    start = parse_pose(args.start, "--start") or default_start(Path(world))
    prepare_environment()
    from mm_nav.ros.node_list import EMBEDDED, SIMULATOR

    parameters: dict[str, dict[str, object]] = {
        "simulator": {
            "world": str(Path(world).resolve()), "seed": args.seed, "rate": args.rate,
            "start_x": start.x, "start_y": start.y, "start_yaw": start.yaw, "people": args.people,
            "robot": _absolute(args.robot), "life": _absolute(args.life or ""), "shadows": args.shadows,
        }
    }  # fmt: skip
    if args.model is not None:
        parameters["inference"] = {"model": str(args.model.resolve())}
    nodes = (SIMULATOR,) if args.simulator_only else EMBEDDED
    with ProcessGroup(nodes, args.logs, parameters) as group:
        if args.json is not None:
            pids = {f"pid_{name}": process.pid for name, process in group.processes.items()}
            write_json(
                args.json, {"world": str(world), "start": [start.x, start.y, start.yaw], "seed": args.seed, **pids}
            )
        print(f"running: {', '.join(group.processes)} (logs in {args.logs}); Ctrl-C ends", flush=True)
        while not (dead := group.dead()):
            time.sleep(0.2)
        name, status = next(iter(dead.items()))
        raise MmNavError(
            f"the {name} process ended (status {status}); its log is {group.log(name)}: {last_words(group.log(name))}"
        )
