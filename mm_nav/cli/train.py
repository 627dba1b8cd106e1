"""`mm-nav train`: the policy from collected data."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, progress_bar, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from mm_nav.learning.collect import CollectConfig
    from mm_nav.learning.train import TrainConfig, TrainState
    from mm_nav.policy.config import PolicyConfig

NAME = "train"
HELP = "train the policy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Train the policy on data of `mm-nav collect`. Writes checkpoint.pt, training.json and TensorBoard logs.\n"
        "Needs PyTorch: pip install 'mm_nav[train]'."
    )
    parser.epilog = "Example: mm-nav train --config config/train/tiny.yaml --out out/train/tiny --resume"
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="training settings (default: config/train/tiny.yaml)"
    )
    parser.add_argument("--data", metavar="DIR", help="collected data, instead of the config's")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run (default: out/train/NAME of the config)"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="time budget, instead of the config's")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint, where there is one")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="try everything in minutes: collect a few worlds, train some steps, export, drive (default --out: out/smoke/NAME)",
    )
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from mm_nav.cli.training_config import read_sections
    from mm_nav.config_file import from_mapping
    from mm_nav.learning.collect import CollectConfig
    from mm_nav.policy.config import PolicyConfig
    from mm_nav.resources import resource_path

    try:
        from mm_nav.learning.train import TrainConfig, train
    except ImportError as error:
        raise ConfigError(f"training needs PyTorch ({error}): run pip install 'mm_nav[train]'") from error
    path = args.config or resource_path("config/train/tiny.yaml")
    sections = read_sections(path)
    policy = from_mapping(PolicyConfig, sections["policy"], f"{path}: policy")
    config = from_mapping(TrainConfig, sections["train"], f"{path}: train")
    if args.smoke:
        return _smoke(args, from_mapping(CollectConfig, sections["collect"], f"{path}: collect"), config, policy, path)
    if args.data is not None:
        config = replace(config, data=args.data)
    if args.minutes is not None:
        config = replace(config, minutes=args.minutes)
    require_writable(args.json)
    out = args.out or Path("out/train") / Path(path).stem
    if not Path(config.data).is_dir():
        raise ConfigError(f"{config.data} holds no data: run `mm-nav collect --config {path}` first")
    with progress_bar() as bar:
        task = bar.add_task("steps", total=None)

        def report(state: TrainState, steps_per_epoch: int, losses: dict[str, float]) -> None:
            text = f"epoch {state.epoch + 1}/{config.epochs}, loss {losses.get('total', float('nan')):.3f}"
            bar.update(task, completed=state.step, total=steps_per_epoch * config.epochs, description=text)

        def prepared(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, description="pictures through the backbone")

        metrics = train(config, policy, out, report, args.resume, prepared)
    if not metrics:
        return 0  # one of several processes that train together: the first one speaks
    for name, value in metrics.items():
        print(f"{name}: {value}")
    print(f"checkpoint: {out / 'checkpoint.pt'}")
    if args.json:
        write_json(args.json, {**metrics, "checkpoint": out / "checkpoint.pt"})
    return 0


def _smoke(
    args: argparse.Namespace, collect: CollectConfig, config: TrainConfig, policy: PolicyConfig, path: Path
) -> int:
    from mm_nav.learning.smoke import smoke

    if args.data is not None or args.resume or args.minutes is not None:
        raise ConfigError(
            "--smoke collects its own data and always begins anew: leave out --data, --resume and --minutes"
        )
    require_writable(args.json)
    with progress_bar() as bar:
        task = bar.add_task("smoke", total=None)
        out = args.out or Path("out/smoke") / path.stem
        report = smoke(collect, config, policy, out, lambda text: bar.update(task, description=text))
    for name, value in report.items():
        print(f"{name}: {value}")
    if args.json:
        write_json(args.json, report)
    return 0 if report["passed"] else 1
