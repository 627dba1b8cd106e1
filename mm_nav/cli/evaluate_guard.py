"""`mm-nav evaluate guard`: drivers that want to crash, and what the guard lets through of their commands."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import add_json_option, add_worker_options, progress_bar, require_writable, write_json
from mm_nav.cli.run_options import add_resume_option, check_run_options, log_beside

if TYPE_CHECKING:
    from mm_nav.evaluation.hostile import HostileResult


def add_arguments(measures: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the measure and its options."""
    parser = measures.add_parser(
        "guard",
        help="random, maximal and adversarial commands behind the guard",
        description="Let hostile drivers command a robot in worlds of clutter, and count what it runs into behind the guard.\n"
        "Drivers: random; maximal (the limits, kept for a while); jitter (other limits at every step); nearest (at the\n"
        "nearest thing); sideswipe (along it, corners first). Every world has its own control period, delay to the wheels,\n"
        "brakes and age of scans, within what the guard counts on (docs/safety.md).",
        epilog="Example: mm-nav evaluate guard --steps 1000000 --json guard.json\n"
        "         mm-nav evaluate guard --robot jackal --steps 100000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=100_000,
        metavar="N",
        help="steps of the guard, 1000 in each world (default: 100000)",
    )
    parser.add_argument(
        "--robot",
        default="generic",
        metavar="NAME",
        help="of config/robots, or a YAML file; differential drives (default: generic)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="first world (default: 0)")
    add_worker_options(parser)
    add_resume_option(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the drivers."""
    from rich.console import Console

    from mm_nav.evaluation.hostile import STEPS_PER_WORLD, HostileConfig, run_hostile, summarise_hostile
    from mm_nav.parallel import Workers

    check_run_options(args)
    config = HostileConfig(args.robot, -(-args.steps // STEPS_PER_WORLD), args.seed)
    require_writable(args.json)
    log = log_beside(args.json, "worlds")
    started = time.monotonic()
    contacts = 0
    with progress_bar() as bar:
        task = bar.add_task("worlds", total=config.worlds)

        def on_result(result: HostileResult) -> None:
            nonlocal contacts
            contacts += len(result.contacts)
            bar.update(task, advance=1, description=f"worlds ({contacts} contacts)")

        results = run_hostile(config, Workers(args.workers, args.ray), log, args.resume, on_result)
    summary = summarise_hostile(results, config)
    summary["wall_s"] = round(time.monotonic() - started, 1)
    if args.json:
        write_json(args.json, summary)
    _print(Console(), summary)
    return 0


def _print(console: Any, summary: dict[str, Any]) -> None:
    high = summary["contact_rate_ci95"][1]
    console.print(
        f"{summary['robot']}: {summary['contacts']} contacts in {summary['steps']} steps of the guard in {summary['worlds']} "
        f"worlds (95 %: at most {1e6 * high:.0f} in a million)\n"
        f"limited {100 * summary['limited_share']:.0f} % of the commands, {summary['guard_ms']:.2f} ms each; drove "
        f"{summary['distance_m']:.0f} m at {summary['mean_speed']:.2f} m/s on average"
    )
    for text in summary["first_contacts"]:
        console.print(f"  {text}")
