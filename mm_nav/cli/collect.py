"""`mm-nav collect`: training data from generated worlds."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from mm_nav.cli.output import add_json_option, add_worker_options, progress_bar, require_writable, write_json

NAME = "collect"
HELP = "collect training data in generated worlds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Collect camera and LiDAR frames with the expert's labels in generated worlds, as Zarr shards. An\n"
        "interrupted run goes on where it stopped. World seeds from 10000 on are held out for evaluation and refused."
    )
    parser.epilog = "Example: mm-nav collect --config config/train/tiny.yaml --out data/frames"
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="training settings (default: config/train/tiny.yaml)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the shards (default: train.data of the config)"
    )
    parser.add_argument("--worlds", type=int, metavar="N", help="worlds, instead of the config's")
    parser.add_argument("--seed", type=int, metavar="S", help="first world seed, instead of the config's")
    add_worker_options(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Collect."""
    from mm_nav.cli.training_config import read_sections
    from mm_nav.config_file import from_mapping
    from mm_nav.learning.collect import CollectConfig, collect
    from mm_nav.parallel import Workers
    from mm_nav.policy.config import PolicyConfig
    from mm_nav.resources import resource_path

    workers = Workers(args.workers, args.ray)
    path = args.config or resource_path("config/train/tiny.yaml")
    sections = read_sections(path)
    what = from_mapping(CollectConfig, sections["collect"], f"{path}: collect")
    policy = from_mapping(PolicyConfig, sections["policy"], f"{path}: policy")
    if args.worlds is not None:
        what = replace(what, worlds=args.worlds)
    if args.seed is not None:
        what = replace(what, first_seed=args.seed)
    require_writable(args.json)
    out = args.out or Path(sections["train"].get("data", "data/frames"))
    started = time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("worlds", total=what.worlds)
        for done, total in collect(out, what, policy, workers):
            bar.update(task, completed=done, total=total)
    seconds = round(time.monotonic() - started, 1)
    shards = len(list(out.glob("*.zarr")))
    print(f"{out}: {what.worlds} worlds in {shards} shards, {seconds} s")
    if args.json:
        write_json(
            args.json,
            {"out": out, "first_seed": what.first_seed, "worlds": what.worlds, "shards": shards, "wall_s": seconds},
        )
    return 0
