"""`mm-nav sim`: the embedded simulator and the stack, waiting for goals until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from mm_nav.cli.demo import default_start
from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.config_file import absolute_name
from mm_nav.errors import ConfigError, MmNavError
from mm_nav.geometry import Pose2D

NAME = "sim"
HELP = "run the embedded simulator and the stack as ROS 2 nodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Start the embedded simulator, inference, navigator and guard as ROS 2 processes and keep them until Ctrl-C. Send "
        "goals from another terminal: `mm-nav go 'go to the red barrel'` or `ros2 action send_goal`. With --robots, several "
        "share the world, each with a stack, topics and a TF tree in the namespace of its name: `mm-nav go --namespace alpha`."
    )
    parser.epilog = "Example: mm-nav sim --world worlds/office.sdf --robots alpha,beta --robot generic,jackal"
    parser.add_argument("--world", type=Path, metavar="FILE", help="SDF world (default: the apartment of mm_nav)")
    parser.add_argument(
        "--robots",
        default="",
        metavar="NAMES",
        help="names of several robots in one world, such as alpha,beta (default: one)",
    )
    parser.add_argument(
        "--start",
        metavar="X,Y[,YAW]",
        help="start pose; of several robots one for each, 'x,y,yaw; x,y,yaw' (default: the world's own, or free places)",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="ONNX policy (default: the one of mm_nav)")
    parser.add_argument("--rate", type=float, metavar="R", help="simulated seconds per second (default 1)")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the simulated noise (default 0)")
    parser.add_argument(
        "--robot",
        default="generic",
        metavar="NAME",
        help="what the robot is: a name in config/robots, or a YAML file; of several robots one for all, or one for each: a,b",
    )
    parser.add_argument("--people", type=int, metavar="N", help="people who wander about (default 0)")
    parser.add_argument("--life", type=Path, metavar="FILE", help="YAML file with people, robots and doors that move")
    parser.add_argument("--shadows", action="store_const", const=True, help="render shadows")
    parser.add_argument("--simulator-only", action="store_true", help="no stack, just the robot and its sensors")
    parser.add_argument(
        "--logs", type=Path, default=Path("out/sim/logs"), metavar="DIR", help="logs (default out/sim/logs)"
    )
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until a process dies."""
    from mm_nav.resources import resource_path
    from mm_nav.ros.namespaces import robot_kinds, robot_names
    from mm_nav.ros.process_group import ProcessGroup, last_words, prepare_environment
    from mm_nav.sim.rig import load_life
    from mm_nav.sim.starts import format_starts

    require_writable(args.json)
    # What cannot be used is told here, not in a node's log.
    names = robot_names(args.robots)
    kinds = [absolute_name(kind) for kind in robot_kinds(args.robot, max(len(names), 1))]
    if args.life is not None:
        load_life(args.life)
    if args.people is not None and not 0 <= args.people <= 200:
        raise ConfigError(f"--people is {args.people}; it must be between 0 and 200")
    if args.rate is not None and not 0 <= args.rate <= 100:
        raise ConfigError(f"--rate is {args.rate}; it must be between 0 (as fast as possible) and 100")
    world = Path(args.world or resource_path("worlds/apartment.sdf"))
    starts = _starts(args.start or "", world, names, kinds)
    prepare_environment()
    from mm_nav.ros.node_list import EMBEDDED, SIMULATOR

    parameters: dict[str, dict[str, object]] = {
        "simulator": {
            "world": str(world.resolve()), "robots": ",".join(names), "robot": ",".join(kinds), "starts": format_starts(starts),
        }
    }  # fmt: skip
    # What is not given is for config/simulator.yaml to say.
    life = None if args.life is None else absolute_name(str(args.life))
    given = {"seed": args.seed, "rate": args.rate, "people": args.people, "life": life, "shadows": args.shadows}
    parameters["simulator"] |= {name: value for name, value in given.items() if value is not None}
    for name, kind in zip(names or ("",), kinds, strict=True):
        parameters |= {f"{name}/{node}".lstrip("/"): {"robot": kind} for node in ("guard", "inference", "navigator")}
    if args.model is not None:
        for node in ("inference", "navigator"):
            parameters.setdefault(node, {})["model"] = str(args.model.resolve())
    nodes = (SIMULATOR,) if args.simulator_only else EMBEDDED
    # Whoever ends this with a mere `kill` gets rid of the nodes too.
    signal.signal(signal.SIGTERM, _interrupt)
    with ProcessGroup(nodes, args.logs, parameters, robots=names) as group:
        if args.json is not None:
            poses = [[start.x, start.y, start.yaw] for start in starts]
            where = {"starts": dict(zip(names, poses, strict=True))} if names else {"start": poses[0]}
            pids = {f"pid_{name}": process.pid for name, process in group.processes.items()}
            write_json(args.json, {"world": str(world), **where, "seed": args.seed, **pids})
        print(f"running: {', '.join(group.processes)} (logs in {args.logs}); Ctrl-C ends", flush=True)
        while not (dead := group.dead()):
            time.sleep(0.2)
        name, status = next(iter(dead.items()))
        raise MmNavError(
            f"the {name} process ended (status {status}); its log is {group.log(name)}: {last_words(group.log(name))}"
        )


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _starts(given: str, world: Path, names: tuple[str, ...], kinds: list[str]) -> tuple[Pose2D, ...]:
    """Return a start for each robot: those given, or free ones."""
    from mm_nav.sim.rig import load_rig
    from mm_nav.sim.scene import Scene
    from mm_nav.sim.starts import check_starts, parse_starts, starts_in
    from mm_nav.sim.world import load_world

    robots = [load_rig(kind).robot for kind in kinds]
    starts = parse_starts(given)
    if starts and len(starts) != len(robots):
        raise ConfigError(f"--start has {len(starts)} poses for {len(robots)} robots: give one for each, or none")
    if not names:
        return starts or (default_start(world),)
    scene = Scene(load_world(world))
    starts = starts or starts_in(world, robots, scene)
    check_starts(scene, robots, starts, names)
    return starts
