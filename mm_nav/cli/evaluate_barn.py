"""`mm-nav evaluate barn`: 10 m through cylinders that others have set up, by the benchmark's own protocol."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import (
    add_json_option,
    add_worker_options,
    progress_bar,
    refuse_options,
    require_writable,
    write_json,
)
from mm_nav.cli.run_options import add_resume_option, check_run_options, log_beside
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from mm_nav.evaluation.barn import BarnResult
    from mm_nav.evaluation.barn_worlds import BarnWorld


def add_arguments(measures: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the measure and its options."""
    parser = measures.add_parser(
        "barn",
        help="the BARN benchmark's worlds: 10 m of tight clutter",
        description="Drive the BARN challenge's Jackal (0.42 x 0.31 m, 2 m/s, Hokuyo UST-10) from (-2, 3) to (-2, 13) through\n"
        "worlds of cylinders. Any contact fails; success within 1 m of the goal, at most 100 s after the first 0.1 m.\n"
        "score = success * OT / clip(AT, 2 OT, 8 OT), OT = the reference path at 2 m/s, AT = the time taken: at most 0.5.\n"
        "Prints 95 % intervals: Wilson for rates, bootstrap over worlds for the score.",
        epilog="Example: mm-nav evaluate barn --worlds BARN/worlds --runs 3 --json barn.json --report out/barn\n"
        "         mm-nav evaluate barn --worlds BARN/worlds --planner dwa --json dwa.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--worlds",
        type=Path,
        required=True,
        metavar="PATH",
        help="a folder with world_N.world and path_N.npy, one such .world, or a .npz with cyl_N and path_N",
    )
    parser.add_argument(
        "--planner",
        default="mm_nav",
        metavar="NAME",
        help="mm_nav, mm_nav_policy, dwa or pure_pursuit (default: mm_nav)",
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="runs of each world (default: 3)")
    parser.add_argument("--only", metavar="LIST", help="comma-separated numbers of worlds (default: all)")
    parser.add_argument(
        "--delay", type=float, default=0.05, metavar="S",
        help="seconds from command to wheels (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--odometry", choices=("gyro", "wheels"), default="gyro",
        help="where the heading comes from; wheels do not know how they slip (default: gyro)",
    )  # fmt: skip
    parser.add_argument(
        "--guard", choices=("on", "off"), help="whether commands pass the guard (default: on for mm_nav, else off)"
    )
    add_worker_options(parser)
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write barn.md there, with every world and a picture of every failure",
    )
    parser.add_argument(
        "--beside",
        type=Path,
        action="append",
        default=[],
        metavar="JSON",
        help="draw the runs of another planner beside these in the report: its --json file; may be given again",
    )
    add_resume_option(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark."""
    from rich.console import Console

    from mm_nav.evaluation.barn import BarnConfig, read_runs, run_worlds, summarise_barn
    from mm_nav.evaluation.barn_worlds import load_barn
    from mm_nav.parallel import Workers

    check_run_options(args)
    if args.report is None:
        refuse_options(args, "beside", "draws runs in a report: give --report DIR too")
    guard = args.planner.startswith("mm_nav") if args.guard is None else args.guard == "on"
    config = BarnConfig(planner=args.planner, runs=args.runs, guard=guard, delay_s=args.delay, odometry=args.odometry)
    worlds = _chosen(load_barn(args.worlds), args.only)
    require_writable(args.json)
    beside = dict(read_runs(log) for file in args.beside if (log := log_beside(file, "runs")) is not None)
    log = log_beside(args.json, "runs")
    started = time.monotonic()
    won = 0
    with progress_bar() as bar:
        task = bar.add_task("runs", total=len(worlds) * config.runs)

        def on_result(result: BarnResult) -> None:
            nonlocal won
            won += result.success
            bar.update(task, advance=1, description=f"runs ({won} reached)")

        results = run_worlds(worlds, config, Workers(args.workers, args.ray), log, args.resume, on_result)
    summary = summarise_barn(results, config)
    summary["wall_s"] = round(time.monotonic() - started, 1)
    if args.json:
        write_json(args.json, summary)
    _print(Console(), summary)
    if args.report:
        from mm_nav.evaluation.barn_report import write_barn_report

        print(f"report: {write_barn_report(args.report, worlds, results, summary, beside)}")
    return 0


def _chosen(worlds: tuple[BarnWorld, ...], only: str | None) -> tuple[BarnWorld, ...]:
    if only is None:
        return worlds
    try:
        numbers = {int(part) for part in only.split(",") if part.strip()}
    except ValueError as error:
        raise ConfigError(f"--only is '{only}': give numbers of worlds, such as 1,43,85") from error
    known = {world.number for world in worlds}
    if missing := sorted(numbers - known):
        raise ConfigError(f"--only names {', '.join(map(str, missing))}, which --worlds does not hold")
    if not numbers:
        raise ConfigError("--only is empty: give numbers of worlds, such as 1,43,85")
    return tuple(world for world in worlds if world.number in numbers)


def _print(console: Any, summary: dict[str, Any]) -> None:
    low, high = (100 * end for end in summary["success_rate_ci95"])
    first, last = summary["score_ci95"]
    mean = summary["mean_time_s"]
    console.print(
        f"{summary['planner']}: {summary['runs']} runs in {summary['worlds']} worlds\n"
        f"success {100 * summary['success_rate']:.1f} % [{low:.1f}, {high:.1f}], "
        f"score {summary['score']:.3f} [{first:.3f}, {last:.3f}] (at most 0.5; clipped at 4 OT: {summary['score_4_8']:.3f})\n"
        f"contacts {summary['contacts']}, timeouts {100 * summary['timeout_rate']:.1f} %, "
        f"gave up {100 * summary['gave_up_rate']:.1f} %, time {'-' if mean is None else f'{mean:.1f}'} s\n"
        f"planning {summary['plan_hz']:.0f} times a second on one core (99th percentile {summary['plan_p99_ms']:.0f} ms), "
        f"guard limited {summary['guard_steps']} steps"
    )
