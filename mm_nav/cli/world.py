"""`mm-nav world check FILE` and `mm-nav world generate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError

NAME = "world"
HELP = "check a world file, or generate one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Look at SDF worlds the way the embedded simulator does, or make new ones."
    parser.epilog = (
        "Example: mm-nav world generate --seed 7 --out world.sdf && mm-nav world check world.sdf --pictures out"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    check = actions.add_parser(
        "check",
        help="report what the simulator loads from a world",
        description="Load an SDF world and report its models, and whatever is missing or not supported. "
        "Exit status: 0 everything was loaded, 1 something is missing, 2 the file cannot be loaded.",
        epilog="Example: mm-nav world check house.world --search-path models --pictures out --json report.json",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="world file (.sdf or .world)")
    check.add_argument(
        "--search-path", type=Path, action="append", default=[], metavar="DIR", help="folder of models; may be repeated"
    )
    check.add_argument("--pictures", type=Path, metavar="DIR", help="write a top view and a camera view there")
    add_json_option(check)

    generate = actions.add_parser(
        "generate",
        help="write a generated indoor world",
        description="Write a generated indoor world as SDF, loadable by Gazebo too. The same seed gives the same file.",
        epilog="Example: mm-nav world generate --seed 7 --out worlds/mine.sdf",
    )
    generate.add_argument("--seed", type=int, required=True, metavar="N", help="seed of the world, 0 or above")
    generate.add_argument("--style", metavar="NAME", help="layout style; default: drawn from the seed")
    generate.add_argument("--out", type=Path, required=True, metavar="FILE", help="SDF file to write")
    add_json_option(generate)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _check(args) if args.action == "check" else _generate(args)


def _check(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape

    from mm_nav.sim.check import check_world

    require_writable(args.json)
    console = Console(soft_wrap=True)
    with Console(stderr=True).status(f"loading {escape(str(args.file))}"):
        report = check_world(args.file, args.search_path, args.pictures)
    if args.json:
        write_json(args.json, report.as_dict())
    console.print(
        f"[bold]{escape(report.name)}[/]: {report.models} models, {report.visuals} visuals, "
        f"{report.collisions} collisions, {report.triangles} triangles, {report.textures} textures, "
        f"{report.lights} lights"
    )
    for title, names in (("missing", report.missing), ("not supported", report.unsupported)):
        for name in names:
            console.print(f"  {title}: {escape(name)}")
    for picture in report.pictures:
        console.print(f"  picture: {escape(picture)}")
    return 1 if report.missing else 0


def _generate(args: argparse.Namespace) -> int:
    from mm_nav.sim.generator import generate_world

    if args.seed < 0:
        raise ConfigError(f"--seed is {args.seed}: give 0 or above")
    require_writable(args.out)
    require_writable(args.json)
    world = generate_world(args.seed, args.style)
    world.write(args.out)
    print(f"{args.out}: {world.name}, {len(world.rooms)} rooms, {len(world.objects)} objects")
    if args.json:
        write_json(
            args.json,
            {
                "file": args.out,
                "name": world.name,
                "seed": args.seed,
                "style": world.style,
                "rooms": len(world.rooms),
                "objects": [item.name for item in world.objects],
                "start": [world.start.x, world.start.y, world.start.yaw],
            },
        )
    return 0
