"""`mm-nav replay compare A.json B.json`: whether a change made the stack worse on the same recordings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mm_nav.replay.compare import Comparison

NAME = "replay-compare"
HELP = "compare two replays of the same recordings; the same as `replay compare`"

_WORDS = {
    "regression": "worse", "improvement": "better", "changed": "changed", "no difference shown": "", "too few windows": "few",
}  # fmt: skip
_STYLES = {"regression": "bold red", "improvement": "green", "changed": "cyan"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Compare two replays of the same recordings with the same goals: B against A, window by window, with 95 % paired\n"
        "bootstrap intervals over windows. A regression is a change for the worse that is more than chance and exceeds its\n"
        "threshold: 5 % of A's mean, 20 % for times, unless --threshold says otherwise.\n"
        "Exit status: 0 no regression was shown, 1 there is one, 2 the two cannot be compared."
    )
    parser.epilog = (
        "Example: mm-nav replay compare before.json after.json --threshold ade_2s_m=0.05 --threshold guard_stops=3"
    )
    parser.add_argument("a", type=Path, metavar="A.json", help="what `mm-nav replay --json` wrote, before the change")
    parser.add_argument("b", type=Path, metavar="B.json", help="the same after the change")
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what a change of this measure must exceed, in its unit (of a count: in its total); may be repeated",
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write compare.html there, one page")
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Compare the replays; return 1 when something became worse."""
    from rich.console import Console

    from mm_nav.replay.compare import compare, read_replay

    require_writable(args.json)
    a, b = read_replay(args.a), read_replay(args.b)
    comparison = compare(a, b, _thresholds(args.threshold))
    _print(Console(soft_wrap=True), comparison)
    if args.json:
        write_json(args.json, {"a": str(args.a), "b": str(args.b), **comparison.as_dict()})
    if args.report:
        from mm_nav.replay.compare_report import write_compare_report

        told = [part if isinstance(part, dict) else {} for part in (a.get("provenance"), b.get("provenance"))]
        page = write_compare_report(args.report, comparison, (str(args.a), str(args.b)), (told[0], told[1]))
        print(f"report: {page}")
    return 1 if comparison.regressions else 0


def _thresholds(pairs: Sequence[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        try:
            found[key] = float(value)
        except ValueError as error:
            raise ConfigError(f"--threshold is '{pair}': give KEY=VALUE, such as ade_2s_m=0.05") from error
    return found


def _print(console: Console, comparison: Comparison) -> None:
    from rich.markup import escape
    from rich.table import Table

    from mm_nav.replay.compare_report import interval, named, shown, signed
    from mm_nav.replay.measures import text_of

    title = escape(f"B against A: {', '.join(comparison.recordings)}")
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    # Keys, not names: they are what --threshold takes, and fit a terminal.
    table.add_column("measure", no_wrap=True)
    for title in ("A", "B", "change", "95 % interval", "n"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for d in shown(comparison):
        cells = (d.key, text_of("", d.a), text_of("", d.b), signed(d.change), interval(d), str(d.pairs))
        table.add_row(*map(escape, cells), _WORDS[d.verdict], style=_STYLES.get(d.verdict))
    console.print(table)
    for d in comparison.regressions:
        console.print(
            f"[bold red]regression[/]: {escape(named(d))} changed by {signed(d.change)} {escape(interval(d))}, more than "
            f"{d.threshold:.3g}"
        )
    if not comparison.regressions:
        console.print("no regression was shown")
