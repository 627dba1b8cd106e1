"""`mm-nav world check FILE` and `mm-nav world generate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mm_nav.cli.output import add_json_option, progress_bar, require_writable, write_json
from mm_nav.errors import ConfigError

NAME = "world"
HELP = "check a world file, or generate one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Look at SDF worlds the way the embedded simulator does, or make new ones."
    parser.epilog = "Example: mm-nav world generate --seed 7 --out world.sdf && mm-nav world check world.sdf"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    check = actions.add_parser(
        "check",
        help="report what the simulator loads from a world",
        description="Load an SDF world, report its models and whatever is missing or not supported, and draw a top view "
        "and a camera view. Exit status: 0 everything was loaded, 1 something is missing, 2 the file cannot be loaded.",
        epilog="Example: mm-nav world check house.world --path models --pictures out --json report.json",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="world file (.sdf or .world)")
    check.add_argument(
        "--path", type=Path, action="append", default=[], metavar="DIR", help="folder of models; may be repeated"
    )
    check.add_argument("--search-path", dest="path", type=Path, action="append", help=argparse.SUPPRESS)
    pictures = check.add_mutually_exclusive_group()
    pictures.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        default=Path("out/world"),
        help="folder for the two pictures (%(default)s)",
    )
    pictures.add_argument("--no-pictures", action="store_true", help="draw no pictures")
    add_json_option(check)

    generate = actions.add_parser(
        "generate",
        help="write generated indoor worlds",
        description="Write a generated indoor world as SDF, loadable by Gazebo too. The same seed gives the same file. "
        "The pictures of its materials go into textures/ beside it; move both together.",
        epilog="Example: mm-nav world generate --seed 7 --out worlds/mine.sdf\n"
        "         mm-nav world generate --seed 0 --count 50 --style warehouse --out out/hall.sdf",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    generate.add_argument("--seed", type=int, required=True, metavar="N", help="seed of the world, 0 or above")
    generate.add_argument(
        "--style",
        metavar="NAME",
        help="room, apartment, office, cluttered, warehouse, maze, storeroom or showroom; default: one of the first four, drawn "
        "from the seed",
    )
    generate.add_argument("--plain", action="store_true", help="flat colours, no textures (as in training)")
    generate.add_argument(
        "--count",
        type=int,
        default=1,
        metavar="K",
        help="write K worlds, of seeds N to N+K-1, as FILE's name with _SEED added (default 1: FILE itself)",
    )
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
    console = Console(soft_wrap=True, highlight=False)
    folder = None if args.no_pictures else args.pictures
    with Console(stderr=True).status(f"loading {escape(str(args.file))}") as status:
        report = check_world(
            args.file, args.path, folder, lambda step: status.update(f"{escape(str(args.file))}: {escape(step)}")
        )
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
    if report.missing:
        console.print(escape(_advice(report.missing)))
    return 1 if report.missing else 0


def _advice(missing: tuple[str, ...]) -> str:
    """Return what one can do about missing files, in a sentence or two."""
    advice = (
        f"{len(missing)} missing; the rest of the world was loaded. Name the folders that hold the models with --path DIR, "
        "or set GZ_SIM_RESOURCE_PATH to them (several: joined by ':')."
    )
    if any(name.startswith(("http://", "https://", "fuel://")) for name in missing):
        advice += (
            " Nothing is fetched from the network: 'gz fuel download -u URL' brings remote models to this machine."
        )
    return advice


def _generate(args: argparse.Namespace) -> int:
    from mm_nav.sim.generator import generate_world

    if args.seed < 0:
        raise ConfigError(f"--seed is {args.seed}: give 0 or above")
    if args.count < 1:
        raise ConfigError(f"--count is {args.count}: give 1 or above")
    require_writable(args.out)
    require_writable(args.json)
    look = "plain" if args.plain else "textured"

    def write(seed: int, path: Path) -> dict[str, Any]:
        world = generate_world(seed, args.style, look)
        try:
            world.write(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}): give a folder you may write to") from error
        return {
            "file": path,
            "name": world.name,
            "seed": seed,
            "style": world.style,
            "look": world.look,
            "rooms": len(world.rooms),
            "objects": [item.name for item in world.objects],
            "textures": list(world.textures),
            "start": [world.start.x, world.start.y, world.start.yaw],
        }

    if args.count == 1:
        report = write(args.seed, args.out)
        print(f"{args.out}: {report['name']}, {report['rooms']} rooms, {len(report['objects'])} objects")
        if args.json:
            write_json(args.json, report)
        return 0
    reports = []
    with progress_bar() as progress:
        for seed in progress.track(range(args.seed, args.seed + args.count), description="worlds"):
            reports.append(write(seed, args.out.with_name(f"{args.out.stem}_{seed}{args.out.suffix or '.sdf'}")))
    objects = sum(len(report["objects"]) for report in reports)
    print(f"{reports[0]['file']} to {reports[-1]['file']}: {args.count} worlds, {objects} objects")
    if args.json:
        write_json(args.json, {"worlds": reports})
    return 0
