"""`mm-nav collect`: training data from generated worlds, or from recordings."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, add_worker_options, progress_bar, require_writable, write_json
from mm_nav.cli.recordings import add_topic_options, topics_of
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from mm_nav.learning.bag_frames import RecordingSummary
    from mm_nav.policy.config import PolicyConfig

NAME = "collect"
HELP = "collect training data in generated worlds, or from recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Collect camera and LiDAR frames with the expert's labels in generated worlds, as Zarr shards. An\n"
        "interrupted run goes on where it stopped. World seeds from 10000 on are held out for evaluation and refused.\n"
        "With --bag, frames are taken from recordings of a robot instead, and the label is where it drove: ways to\n"
        "poses and to pictures, no words. The shards then hold the recordings' pictures, made small (128x96 by default),\n"
        "with whoever is in them: have the right to keep them, say so with --source, and do not hand the folder on without."
    )
    parser.epilog = (
        "Examples: mm-nav collect --config config/train/tiny.yaml --out data/frames\n"
        "          mm-nav collect --bag monday.mcap tuesday/ --out data/drives --source 'our robot, internal'"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="training settings (default: config/train/tiny.yaml)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the shards (default: train.data of the config; with --bag it must be given)",
    )
    parser.add_argument("--worlds", type=int, metavar="N", help="worlds, instead of the config's")
    parser.add_argument("--seed", type=int, metavar="S", help="first world seed, instead of the config's")
    add_worker_options(parser)
    bags = parser.add_argument_group("from recordings")
    bags.add_argument(
        "--bag",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="BAG",
        help=".bag, .mcap or .db3 files, or rosbag2 folders",
    )
    bags.add_argument(
        "--every",
        type=float,
        metavar="M",
        help="metres between frames (default: 0.25; also after 20 degrees, or 2 s of movement)",
    )
    add_topic_options(bags)
    bags.add_argument(
        "--robot",
        metavar="NAME",
        help="the recorded robot, whose body is left out of point clouds: a name in config/robots, or a file (default: generic)",
    )
    bags.add_argument(
        "--source",
        default="",
        metavar="TEXT",
        help="where the recordings come from and their licence, kept in every shard",
    )
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Collect."""
    from mm_nav.cli.training_config import read_sections
    from mm_nav.config_file import from_mapping
    from mm_nav.learning.collect import CollectConfig, collect
    from mm_nav.parallel import Workers
    from mm_nav.policy.config import PolicyConfig
    from mm_nav.resources import resource_path

    path = args.config or resource_path("config/train/tiny.yaml")
    sections = read_sections(path)
    policy = from_mapping(PolicyConfig, sections["policy"], f"{path}: policy")
    if args.bag:
        return _from_bags(args, policy)
    if args.every is not None or args.topic or args.mapping or args.robot or args.source:
        raise ConfigError(
            "--every, --topic, --mapping, --robot and --source are for recordings: give --bag, or leave them out"
        )
    workers = Workers(args.workers, args.ray)
    what = from_mapping(CollectConfig, sections["collect"], f"{path}: collect")
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


def _from_bags(args: argparse.Namespace, policy: PolicyConfig) -> int:
    from mm_nav.bags.containers import find_recordings
    from mm_nav.learning.bag_drives import BagConfig
    from mm_nav.learning.bag_frames import collect_bags
    from mm_nav.robot import load_robot

    if args.worlds is not None or args.seed is not None or args.workers is not None or args.ray:
        raise ConfigError("--worlds, --seed, --workers and --ray are for generated worlds: leave them out with --bag")
    if args.out is None:
        raise ConfigError("--bag needs --out: give the frames of recordings a folder of their own")
    config = BagConfig(robot=load_robot(args.robot or "generic"))
    if args.every is not None:
        config = replace(config, every_m=args.every)
    topics = topics_of(args)
    require_writable(args.json)
    started = time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("seconds recorded", total=None)
        found = collect_bags(
            args.out, find_recordings(args.bag), config, policy, topics, args.source,
            lambda done_s, of_s: bar.update(task, completed=round(done_s), total=round(of_s)),
        )  # fmt: skip
    seconds = round(time.monotonic() - started, 1)
    for summary in found:
        _print(summary)
    names = ("frames", "ahead", "images", "scans", "drives", "shards", "metres", "minutes", "backed_m")
    totals = {name: round(sum(getattr(summary, name) for summary in found), 3) for name in names}
    print(
        f"{args.out}: {totals['frames']} frames in {totals['shards']} shards, {totals['metres']:.1f} m and "
        f"{totals['minutes']:.1f} min of driving, {seconds} s"
    )
    if args.json:
        recordings = [asdict(summary) for summary in found]
        write_json(args.json, {"out": args.out, **totals, "wall_s": seconds, "recordings": recordings})
    return 0


def _print(summary: RecordingSummary) -> None:
    print(
        f"{summary.name}: {summary.frames} frames, {summary.ahead} with a way ahead, {summary.images} with a picture, "
        f"{summary.scans} with a scan; {summary.metres:.1f} m, {summary.minutes:.1f} min in {summary.drives} drives"
    )
    if cut := summary.what_was_cut():
        print(f"  left out: {cut}")
    for warning in summary.warnings:
        print(f"  warning: {warning}")
