"""`mm-nav familiarity fit` and `mm-nav familiarity check`: how unlike its training what a model sees is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, add_worker_options, progress_bar, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from mm_nav.learning.familiarity_check import Row

NAME = "familiarity"
HELP = "learn what a model's training frames are like, and how well strange ones are told from them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Scores that say how unlike its training is what a model is fed: 1 = as far out as one of a hundred training frames.\n"
        "`mm-nav replay` shows them over time. Needs 'mm_nav[train]'."
    )
    parser.epilog = "Example: mm-nav familiarity fit --data data/frames && mm-nav familiarity check"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    fit = actions.add_parser(
        "fit",
        help="take statistics of a model's training frames",
        description="Write MODEL_familiarity.json beside a model: statistics of the frames that it was trained on. A millisecond "
        "a frame.",
        epilog="Example: mm-nav familiarity fit --model models/tiny.onnx --data data/frames --data data/dagger",
    )
    _add_model(fit)
    fit.add_argument(
        "--data", type=Path, action="append", required=True, metavar="DIR", help="folder with frames; may be repeated"
    )
    fit.add_argument("--frames", type=int, default=16_000, metavar="N", help="to look at (default: 16000)")
    fit.add_argument("--seed", type=int, default=0, metavar="S", help="which of the frames (default: 0)")
    fit.add_argument("--out", type=Path, metavar="FILE", help="(default: MODEL_familiarity.json beside the model)")
    add_json_option(fit)

    check = actions.add_parser(
        "check",
        help="measure how well strange frames are told from familiar ones",
        description="Score frames of held-out worlds, the same with something wrong (dark, blurred, beams dead …), photographs "
        "and recordings, and say how surely each kind is told from held-out worlds (AUROC) and how often it is above 1.",
        epilog="Example: mm-nav familiarity check --worlds 20 --bag drive.mcap --json familiarity.json",
    )
    _add_model(check)
    check.add_argument(
        "--worlds", type=int, default=20, metavar="N", help="held-out worlds for each of five kinds (default: 20)"
    )
    check.add_argument(
        "--bag", type=Path, action="append", default=[], metavar="FILE", help="score its scans; may be repeated"
    )
    add_worker_options(check)
    add_json_option(check)


def run(args: argparse.Namespace) -> int:
    """Fit or check."""
    require_writable(args.json)
    try:
        return _fit(args) if args.action == "fit" else _check(args)
    except ImportError as error:
        raise ConfigError(
            f"familiarity needs what training needs ({error}): run pip install 'mm_nav[train]'"
        ) from error


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, metavar="FILE", help="exported policy (default: the committed one)")


def _fit(args: argparse.Namespace) -> int:
    from mm_nav.learning.familiarity_fit import fit_familiarity
    from mm_nav.runtime.familiarity import familiarity_path
    from mm_nav.runtime.policy import default_model

    model = args.model or default_model()
    out = args.out or familiarity_path(model)
    require_writable(out)
    with progress_bar() as bar:
        task = bar.add_task("shards", total=None)
        found = fit_familiarity(
            model, args.data, args.frames, args.seed, lambda done, of: bar.update(task, completed=done, total=of)
        )
    found.write(out)
    made = found.provenance
    print(
        f"{out}: of {made['frames']} frames of {made['worlds']} worlds; {made['frames_kept_back']} others say what is far"
    )
    if args.json:
        write_json(args.json, made)
    return 0


def _check(args: argparse.Namespace) -> int:
    from mm_nav.learning.familiarity_check import check_familiarity
    from mm_nav.parallel import Workers
    from mm_nav.runtime.familiarity import Familiarity
    from mm_nav.runtime.policy import default_model

    model = args.model or default_model()
    familiarity, workers = Familiarity.load(model), Workers(args.workers, args.ray)
    with progress_bar() as bar:
        task = bar.add_task("worlds", total=None)
        rows = check_familiarity(
            familiarity, args.worlds, args.bag, workers, lambda done, of: bar.update(task, completed=done, total=of)
        )
    _print(rows)
    if args.json:
        write_json(args.json, {"model": model.name, "worlds": args.worlds, "rows": [row.as_dict() for row in rows]})
    return 0


def _print(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("sensor", "frames", "number", "AUROC", "above 1", "median", "mostly since")
    for row in rows:
        table.add_row(
            row.sensor, row.kind, f"{row.frames}", f"{row.auroc:.3f}", f"{row.above:.1%}", f"{row.median:.2f}", row.why
        )
    Console().print(table)
