"""`mm-nav dagger`: more training data, from where the trained policy really goes."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from mm_nav.cli.output import add_json_option, add_worker_options, progress_bar, require_writable, write_json

NAME = "dagger"
HELP = "collect more where the trained policy goes and errs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Dataset aggregation (DAgger): the whole stack drives to spoken goals in training worlds, with the exported policy\n"
        "or, with probability beta, the oracle's perception; the frames it comes to are kept with the expert's labels, those\n"
        "first where the policy is wrong. Shards are as those of `mm-nav collect`. An interrupted run goes on where it\n"
        "stopped. World seeds from 10000 on are held out for evaluation and refused."
    )
    parser.epilog = "Example: mm-nav dagger --config config/train/tiny.yaml --model out/tiny.onnx --out data/dagger1"
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="training settings (default: config/train/tiny.yaml)"
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="exported policy (default: the committed one)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the shards (default: dagger.data of the config)"
    )
    parser.add_argument("--worlds", type=int, metavar="N", help="worlds, instead of the config's")
    parser.add_argument("--seed", type=int, metavar="S", help="first world seed, instead of the config's")
    parser.add_argument("--beta", type=float, metavar="P", help="how often the oracle drives, instead of the config's")
    add_worker_options(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Aggregate."""
    from mm_nav.cli.training_config import read_sections
    from mm_nav.config_file import from_mapping
    from mm_nav.learning.collect import CollectConfig
    from mm_nav.learning.dagger import DaggerConfig, dagger, summarise_dagger
    from mm_nav.parallel import Workers
    from mm_nav.policy.config import PolicyConfig
    from mm_nav.resources import resource_path
    from mm_nav.runtime.policy import default_model

    workers = Workers(args.workers, args.ray)
    path = args.config or resource_path("config/train/tiny.yaml")
    sections = read_sections(path)
    config = from_mapping(DaggerConfig, sections["dagger"], f"{path}: dagger")
    looks = from_mapping(CollectConfig, sections["collect"], f"{path}: collect")
    policy = from_mapping(PolicyConfig, sections["policy"], f"{path}: policy")
    given = {"worlds": args.worlds, "first_seed": args.seed, "beta": args.beta}
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    require_writable(args.json)
    out = args.out or Path(config.data)
    started = time.monotonic()
    progress = dagger(out, config, looks, policy, args.model or default_model(), workers)
    with progress_bar() as bar:
        task = bar.add_task("worlds", total=config.worlds)
        for done, total in progress:
            bar.update(task, completed=done, total=total)
    summary = summarise_dagger(out)
    seconds = round(time.monotonic() - started, 1)
    alone = summary["policy_episodes"]
    reached = f", which reached {100 * summary['success_rate']:.0f} % of their goals" if alone else ""
    print(f"{out}: {summary['episodes']} episodes, {alone} of them driven by the policy{reached}")
    print(
        f"{summary['frames']} frames, {100 * summary['hard_share']:.0f} % decisive, "
        f"{100 * summary['wrong_share']:.0f} % where the policy was wrong; {seconds} s"
    )
    if args.json:
        write_json(args.json, {"out": out, "first_seed": config.first_seed, **summary, "wall_s": seconds})
    return 0
