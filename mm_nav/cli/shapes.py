"""`mm-nav shapes`: learn what things look like to the LiDAR."""

from __future__ import annotations

import argparse
from pathlib import Path

from mm_nav.cli.output import add_json_option, add_worker_options, progress_bar, require_writable, write_json

NAME = "shapes"
HELP = "learn the outlines of things in the LiDAR's map, for when the camera is lost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Scan generated worlds, find what stands in their maps, and learn by which outline each kind of thing is told. The\n"
        "navigator goes by models/shapes.json, and by no other file, when the camera is lost before it has seen what it was\n"
        "sent to. Half a second a world and core."
    )
    parser.epilog = "Example: mm-nav shapes --worlds 400 --out models/shapes.json"
    parser.add_argument("--worlds", type=int, default=400, metavar="N", help="worlds to scan (default: 400)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="first seed of the worlds (default: 0)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/shapes.json"), metavar="FILE", help="(default: out/shapes.json)"
    )
    add_worker_options(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Learn."""
    from mm_nav.learning.shape_fit import fit_shapes
    from mm_nav.parallel import Workers

    require_writable(args.out)
    require_writable(args.json)
    with progress_bar() as bar:
        task = bar.add_task("worlds", total=args.worlds)
        workers = Workers(args.workers, args.ray)
        model = fit_shapes(args.seed, args.worlds, workers, lambda done, of: bar.update(task, completed=done, total=of))
    model.write(args.out)
    print(
        f"{args.out}: in worlds that were not learned from, the likeliest outline for a kind is a thing of it in "
        f"{model.training['retrieval']:.0%} of cases ({model.training['by_chance']:.0%} by chance)"
    )
    if args.json:
        write_json(args.json, dict(model.training))
    return 0
