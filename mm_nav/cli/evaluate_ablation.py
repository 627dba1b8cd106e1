"""`mm-nav evaluate ablation`: what each part of the stack is worth, as one page."""

from __future__ import annotations

import argparse
import shlex
import time
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import progress_bar, require_writable, write_json
from mm_nav.cli.run_options import (
    Tally,
    add_run_options,
    check_models,
    check_run_options,
    count_crashes,
    log_beside,
    names,
    size,
    warn_of_seen_seeds,
)
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from mm_nav.evaluation.ablation import Comparison, SuiteRun
    from mm_nav.evaluation.language import Record, SuiteConfig


def add_arguments(measures: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the measure and its options."""
    parser = measures.add_parser(
        "ablation",
        help="what each part of the stack is worth: one page with paired tests",
        description="Run the same episodes with parts of the stack taken away, beside a classical baseline and privileged\n"
        "upper bounds, and compare each with the whole: exact McNemar tests of success, paired bootstrap of SPL, both with\n"
        "Holm's correction. Conditions that run another model need --variant; without it the report lists them as not run.",
        epilog="Example: mm-nav evaluate ablation --episodes 100 --json ablation.json --report out/ablation\n"
        "         mm-nav evaluate ablation --suites seen,combination --variant late_fusion=out/late.onnx --report out/ablation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help="seeds to run (default: 100)")
    parser.add_argument(
        "--suites",
        default="seen",
        metavar="LIST",
        help="comma-separated: seen, combination, phrasing, picture, relation, sequence, "
        "camera_lost, lidar_lost, people_5, people_10 (default: seen)",
    )
    add_run_options(
        parser,
        "all but random_goal; those that cannot run are listed as not run",
        "write ablation.html (one file), ablation.md and pictures there",
    )


def run(args: argparse.Namespace) -> int:
    """Run the study."""
    from rich.console import Console

    from mm_nav.evaluation.ablation import SuiteRun, compare, provenance, summarise_ablation
    from mm_nav.evaluation.language import run_suite
    from mm_nav.parallel import Workers

    check_run_options(args)
    workers = Workers(args.workers, args.ray)
    configs, not_run = _configs(args)
    origin = provenance(configs[0], _command(args))
    require_writable(args.json)
    errors = Console(stderr=True, soft_wrap=True)
    warn_of_seen_seeds(args.seed, errors)
    for name, why in not_run.items():
        errors.print(f"not run: {name}: {why}")
    started = time.monotonic()
    runs = []
    with progress_bar() as bar:
        task = bar.add_task("episodes", total=sum(c.episodes * len(c.conditions) for c in configs))
        for config in configs:
            tally = Tally()

            def on_record(record: Record, tally: Tally = tally, suite: str = config.suite) -> None:
                tally.add(record)
                bar.update(task, advance=1, description=f"{suite} ({tally.text()})")

            records = run_suite(
                config, workers, log_beside(args.json, f"{config.suite}.episodes"), args.resume, on_record
            )
            runs.append(SuiteRun(config, tuple(records)))
    comparisons = compare(runs)
    summary = summarise_ablation(runs, comparisons, not_run, origin)
    summary["wall_s"] = round(time.monotonic() - started, 1)
    if args.json:
        write_json(args.json, summary)
    console = Console()
    # A pipe is taken to be 80 columns wide, which is less than the table needs.
    console.width = max(console.width, 124)
    for suite_run in runs:
        console.print(_table(suite_run, comparisons))
    crashes = sum(count_crashes(suite_run.records) for suite_run in runs)
    if crashes:
        errors.print(
            f"warning: the stack crashed in {crashes} episodes, which count as failures; see the --json run's log"
        )
    if args.report:
        from mm_nav.evaluation.ablation_report import write_ablation_report

        print(f"report: {write_ablation_report(args.report, runs, comparisons, summary)}")
    return 0


def _configs(args: argparse.Namespace) -> tuple[list[SuiteConfig], dict[str, str]]:
    """Return the settings of each suite, and the conditions that cannot run, with the reason."""
    from mm_nav.evaluation.ablation import ABLATIONS, check_suites
    from mm_nav.evaluation.language import resolve_model, resolve_variants, runnable, suite_config

    suites = names(args.suites)
    check_suites(suites)
    wanted = ABLATIONS if args.conditions is None else names(args.conditions)
    model, variants = resolve_model(args.model, wanted), resolve_variants(args.variant)
    check_models(args, wanted)
    not_run = {name: why for name, why in runnable(wanted, variants).items() if why}
    conditions = tuple(name for name in wanted if name not in not_run)
    if not conditions:
        raise ConfigError("none of the conditions can run: " + "; ".join(f"{k}: {v}" for k, v in not_run.items()))
    settings: dict[str, Any] = {
        "seed": args.seed,
        "episodes": args.episodes,
        "conditions": conditions,
        "time_limit_s": args.time_limit,
        "camera": size(args.camera),
        "model": model,
        "variants": variants,
    }
    return [suite_config(suite, **settings) for suite in suites], not_run


def _command(args: argparse.Namespace) -> str:
    """Return the command line that gives the same numbers."""
    words = ["mm-nav", "evaluate", "ablation", "--episodes", str(args.episodes), "--seed", str(args.seed)]
    words += ["--suites", args.suites, "--camera", args.camera, "--time-limit", f"{args.time_limit:g}"]
    words += [] if args.conditions is None else ["--conditions", args.conditions]
    words += [] if args.model is None else ["--model", str(args.model)]
    for variant in args.variant:
        words += ["--variant", variant]
    return shlex.join(words)


def _table(run: SuiteRun, comparisons: list[Comparison]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from mm_nav.evaluation.ablation import main_condition
    from mm_nav.evaluation.metrics import summarise

    config = run.config
    main = main_condition(config.conditions)
    last = config.seed + config.episodes - 1
    table = Table(
        title=f"suite {config.suite}, {config.episodes} episodes, seeds {config.seed} to {last}", box=SIMPLE_HEAD
    )
    for column in ("condition", "success", "SPL", "collisions", f"only {main}", "only it", "p", "Holm"):
        table.add_column(column, justify="left" if column == "condition" else "right", no_wrap=True)
    tests = {c.condition: c for c in comparisons if c.suite == config.suite}
    for name in config.conditions:
        numbers: dict[str, Any] = dict(summarise([r.outcome() for r in run.of(name)], config.seed))
        cells = []
        for key, scale in (("success_rate", 100), ("spl", 1), ("collision_rate", 100)):
            value, (low, high) = scale * numbers[key], (scale * end for end in numbers[f"{key}_ci95"])
            cells.append(
                f"{value:.0f} % [{low:.0f}, {high:.0f}]" if scale > 1 else f"{value:.2f} [{low:.2f}, {high:.2f}]"
            )
        c = tests.get(name)
        paired = ["", "", "", ""] if c is None else [str(c.losses), str(c.wins), f"{c.p_value:.2g}", f"{c.p_holm:.2g}"]
        table.add_row(name, *cells, *paired, style="bold" if name == main else None)
    return table
