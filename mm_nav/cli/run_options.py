"""What the measures of `mm-nav evaluate` share: options of a run, and its progress line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, add_worker_options
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mm_nav.evaluation.language import Record, SuiteConfig


def add_run_options(parser: argparse.ArgumentParser, conditions: str, report: str) -> None:
    """Declare the options of a run. conditions: the default, in words. report: what --report writes."""
    parser.add_argument(
        "--seed", type=int, default=10_000, metavar="S", help="first seed (default: 10000, the first held out)"
    )
    parser.add_argument(
        "--conditions",
        metavar="LIST",
        help="comma-separated: full, camera_only, lidar_only, no_language, random_goal, late_fusion, no_memory, "
        f"no_waypoints, no_belief_map, no_dagger, classical, oracle, expert (default: {conditions})",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="exported policy (default: the committed one)")
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="the model of a condition that runs another one: late_fusion, no_dagger; may be given several times",
    )
    add_worker_options(parser)
    parser.add_argument("--time-limit", type=float, default=120.0, metavar="S", help="simulated seconds (default: 120)")
    parser.add_argument("--camera", default="192x144", metavar="WxH", help="camera pixels (default: 192x144)")
    parser.add_argument("--report", type=Path, metavar="DIR", help=report)
    add_resume_option(parser)
    add_json_option(parser)


def add_resume_option(parser: argparse.ArgumentParser) -> None:
    """Declare --resume."""
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run of the same --json file")


def log_beside(json_file: Path | None, what: str) -> Path | None:
    """Return where a run's log lies, a line of JSON for each of `what`; None without a --json file."""
    return None if json_file is None else json_file.with_name(f"{json_file.name}.{what}.jsonl")


def check_run_options(args: argparse.Namespace) -> None:
    """Raise ConfigError for options that cannot work together."""
    if args.resume and args.json is None:
        raise ConfigError("--resume goes on with the run of a --json file: give --json too")


def check_models(args: argparse.Namespace, conditions: Sequence[str]) -> None:
    """Raise ConfigError for a --model or a --variant that none of the conditions runs; they are known ones."""
    from mm_nav.evaluation.conditions import CONDITIONS

    if args.model is not None and all(CONDITIONS[name].model != "main" for name in conditions):
        raise ConfigError(f"--model is run by none of the conditions {', '.join(conditions)}: leave it out")
    for name in (text.partition("=")[0] for text in args.variant):
        if name not in conditions:
            raise ConfigError(f"--variant is for {name}, which is none of the conditions: add it to --conditions")


def check_runnable(config: SuiteConfig) -> None:
    """Raise ConfigError when a condition lacks what it needs."""
    from mm_nav.evaluation.language import runnable

    for name, why in runnable(config.conditions, config.variants).items():
        if why:
            raise ConfigError(f"condition '{name}' cannot run: {why}")


def warn_of_seen_seeds(seed: int, errors: Console) -> None:
    """Say so when worlds may have been trained on."""
    from mm_nav.sim.splits import FIRST_HELD_OUT_SEED

    if seed < FIRST_HELD_OUT_SEED:
        errors.print(
            f"warning: seeds below {FIRST_HELD_OUT_SEED} may have been trained on; these numbers are not held out"
        )


def names(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def size(text: str) -> tuple[int, int]:
    """Return width and height of "192x144". Raises ConfigError."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise ConfigError(f"--camera is '{text}': give width and height in pixels, such as 192x144") from error
    return width, height


class Tally:
    """Running success per condition, for the progress line."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    def add(self, record: Record) -> None:
        """Count a record."""
        count = self._counts.setdefault(record.condition, [0, 0])
        count[0] += record.result.success
        count[1] += 1

    def text(self) -> str:
        """Return the successes and episodes of each condition."""
        return ", ".join(f"{name} {won}/{run}" for name, (won, run) in self._counts.items())


def count_crashes(records: Sequence[Record]) -> int:
    """Return in how many episodes the stack crashed."""
    from mm_nav.command import ErrorCode

    return sum(record.result.error_code == ErrorCode.INTERNAL for record in records)
