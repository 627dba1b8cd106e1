"""`mm-nav evaluate`: success, SPL and collisions on held-out worlds; ablations; whether words decide; BARN; the guard."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_nav.cli import evaluate_ablation, evaluate_barn, evaluate_guard
from mm_nav.cli.output import progress_bar, require_writable, write_json
from mm_nav.cli.run_options import (
    Tally,
    add_run_options,
    check_models,
    check_run_options,
    check_runnable,
    count_crashes,
    log_beside,
    names,
    size,
    warn_of_seen_seeds,
)
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from mm_nav.evaluation.language import Record, SuiteConfig

NAME = "evaluate"
HELP = "measure the stack on held-out worlds"
_REPORT = "write a Markdown report with pictures there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Measure the whole stack, closed loop, in the embedded simulator."
    parser.epilog = "Example: mm-nav evaluate language --episodes 100 --seed 10000 --json language.json"
    measures = parser.add_subparsers(dest="measure", metavar="MEASURE", required=True)
    language = measures.add_parser(
        "language",
        help="spoken goals in generated worlds, beside ablations",
        description="Drive to spoken goals in generated worlds that training never saw, with and without the words.\n"
        "Success: the navigator stops, says it has arrived, and stands within 1.0 m of an object that the sentence\n"
        "describes, with no wall between and without a collision. SPL weighs success by path length.\n"
        "Prints 95 % intervals: Wilson for rates, bootstrap for SPL. Conditions run on the same episodes.",
        epilog="Example: mm-nav evaluate language --episodes 100 --json language.json --report out/language\n"
        "         mm-nav evaluate language --suite relation --episodes 200 --json relation.json\n"
        "         mm-nav evaluate language --phrases mine.txt --episodes 60 --json mine.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    language.add_argument("--episodes", type=int, default=100, metavar="N", help="seeds to run (default: 100)")
    language.add_argument(
        "--suite",
        metavar="NAME",
        help="one suite: seen, combination, phrasing, picture, relation, sequence, "
        "camera_lost, lidar_lost, people_5, people_10 (default: by --kinds)",
    )
    language.add_argument(
        "--phrases",
        type=Path,
        metavar="FILE",
        help="suite seen in your words: one template a line, with {object} where the thing's name belongs",
    )
    language.add_argument(
        "--kinds",
        metavar="LIST",
        help="comma-separated: category, colour, synonym, sequence (default: these), relation",
    )
    language.add_argument(
        "--phrasing",
        choices=("train", "held_out"),
        default="train",
        help="sentence forms of training, or others; without a suite",
    )
    add_run_options(language, "full,no_language,random_goal; with a suite: full", _REPORT)
    swap = measures.add_parser(
        "swap",
        help="same world and start, two things, one sentence for each",
        description="Drive twice from the same start in the same world, to two different things. A pair counts when the\n"
        "robot ends at the named one both times (success as in `evaluate language`): swap_rate, with a Wilson interval.",
        epilog="Example: mm-nav evaluate swap --pairs 50 --seed 10000 --json swap.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    swap.add_argument(
        "--pairs", type=int, default=50, metavar="N", help="seeds to run, two episodes each (default: 50)"
    )
    add_run_options(swap, "full", _REPORT)
    evaluate_ablation.add_arguments(measures)
    evaluate_barn.add_arguments(measures)
    evaluate_guard.add_arguments(measures)


def _config(args: argparse.Namespace) -> SuiteConfig:
    from mm_nav.evaluation.language import (
        DEFAULT_CONDITIONS,
        SuiteConfig,
        resolve_model,
        resolve_variants,
        suite_config,
    )
    from mm_nav.evaluation.phrasings import read_phrases
    from mm_nav.sim.instructions import KINDS

    swap = args.measure == "swap"
    phrases = () if swap or args.phrases is None else read_phrases(args.phrases)
    suite = "swap" if swap else args.suite or ("seen" if phrases else "")
    given = () if args.conditions is None else names(args.conditions)
    conditions = given if args.conditions is not None else ("full",) if suite else DEFAULT_CONDITIONS
    settings: dict[str, Any] = {
        "seed": args.seed,
        "episodes": args.pairs if swap else args.episodes,
        "conditions": conditions,
        "time_limit_s": args.time_limit,
        "camera": size(args.camera),
        "model": resolve_model(args.model, conditions),
        "variants": resolve_variants(args.variant),
    }
    check_models(args, conditions)
    if not suite:
        kinds = names(args.kinds) if args.kinds else KINDS
        return SuiteConfig(kinds=kinds, phrasing=args.phrasing, **settings)
    if not swap and args.suite == "swap":
        raise ConfigError("the swap counts pairs: run `mm-nav evaluate swap --pairs N`")
    if not swap and (args.kinds or args.phrasing != "train"):
        raise ConfigError(f"suite '{suite}' decides its kinds and phrasing: leave --kinds and --phrasing out")
    return suite_config(suite, phrases=phrases, **settings)


def run(args: argparse.Namespace) -> int:
    """Run the suite."""
    if args.measure == "ablation":
        return evaluate_ablation.run(args)
    if args.measure == "barn":
        return evaluate_barn.run(args)
    if args.measure == "guard":
        return evaluate_guard.run(args)
    from rich.console import Console

    from mm_nav.evaluation.language import run_suite, summarise_suite
    from mm_nav.parallel import Workers

    config = _config(args)
    conditions = config.conditions
    check_run_options(args)
    check_runnable(config)
    workers = Workers(args.workers, args.ray)
    log = log_beside(args.json, "episodes")
    require_writable(args.json)
    errors = Console(stderr=True, soft_wrap=True)
    warn_of_seen_seeds(args.seed, errors)
    started = time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("episodes", total=config.episodes * config.turns * len(conditions))
        tally = Tally()

        def on_record(record: Record) -> None:
            tally.add(record)
            bar.update(task, advance=1, description=f"episodes ({tally.text()})")

        records = run_suite(config, workers, log, args.resume, on_record)
    summary = summarise_suite(records, config)
    summary["wall_s"] = round(time.monotonic() - started, 1)
    if args.json:
        write_json(args.json, summary)
    console = Console()
    # A pipe is taken to be 80 columns wide, which is a little less than the table needs.
    console.width = max(console.width, 92)
    console.print(_table(summary, config))
    for name in conditions:
        if "swap_rate" in summary:
            prefix = "" if name == summary["condition"] else f"{name}_"
            rate = _rate(summary, f"{prefix}swap_rate", 100, " %")
            print(f"{name}: the named thing both times in {rate} of {summary[f'{prefix}pairs']} pairs")
        if f"p_value_{name}" in summary:
            print(
                f"{summary['condition']} against {name}, paired on {summary['episodes']} episodes: "
                f"p = {summary[f'p_value_{name}']:.2g}"
            )
    crashes = count_crashes(records)
    if crashes:
        errors.print(
            f"warning: the stack crashed in {crashes} episodes, which count as failures; see {log or 'a --json run'}"
        )
    if args.report:
        from mm_nav.evaluation.language_report import write_report

        print(f"report: {write_report(args.report, records, summary, config)}")
    return 0


def _table(summary: dict[str, Any], config: SuiteConfig) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    last = config.seed + config.episodes - 1
    what = f"suite {config.suite}, " if config.suite else ""
    count = f"{config.episodes} {'pairs' if config.turns == 2 else 'episodes'}"
    table = Table(title=f"{what}{count}, seeds {config.seed} to {last}", box=SIMPLE_HEAD)
    for column in ("condition", "goals", "n", "success", "SPL", "collisions"):
        table.add_column(column, justify="left" if column in ("condition", "goals") else "right", no_wrap=True)
    for name in config.conditions:
        prefix = "" if name == summary["condition"] else f"{name}_"
        for kind in ("", *config.kinds):
            key = prefix + (f"{kind}_" if kind else "")
            if not summary[f"{key}episodes"]:
                continue
            table.add_row(
                "" if kind else name,
                kind or "all",
                str(summary[f"{key}episodes"]),
                _rate(summary, f"{key}success_rate", 100, " %"),
                _rate(summary, f"{key}spl", 1, ""),
                _rate(summary, f"{key}collision_rate", 100, " %"),
                style="bold" if not kind else None,
            )
        table.add_section()
    return table


def _rate(summary: dict[str, Any], key: str, scale: float, unit: str) -> str:
    low, high = (scale * end for end in summary[f"{key}_ci95"])
    if scale > 1:
        return f"{scale * summary[key]:.1f}{unit} [{low:.0f}, {high:.0f}]"
    return f"{summary[key]:.2f} [{low:.2f}, {high:.2f}]"
