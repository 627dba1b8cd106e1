"""`mm-nav quantize`: an exported policy in int8, kept only when it drives as well."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mm_nav.cli.output import add_drive_options, add_json_option, drive_seed, progress_bar, require_writable, write_json
from mm_nav.errors import ConfigError, ModelError

NAME = "quantize"
HELP = "make an exported policy faster: int8, with ranges from real frames"
# In closed loop, int8 may lose so much of the success rate.
_MOST_LOST = 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Write an exported policy in int8 (weights and activations of convolutions and matrices), with ranges from frames of\n"
        "`mm-nav collect` or `mm-nav dagger`, and say how far it differs on other frames. With --episodes both drive the same\n"
        "episodes, and a model that reaches fewer goals by more than two points is not kept. Needs 'mm_nav[train]'."
    )
    parser.epilog = (
        "Example: mm-nav quantize models/tiny.onnx --data data/frames --out out/tiny_int8.onnx --episodes 200"
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="ONNX file of `mm-nav export`")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with frames")
    parser.add_argument("--out", type=Path, metavar="FILE", help="ONNX file (default: NAME_int8.onnx beside the model)")
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="frames for the ranges (default: 200)")
    add_drive_options(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Quantize."""
    try:
        from mm_nav.learning.closed_loop import compare_closed_loop
        from mm_nav.learning.dataset import find_shards
        from mm_nav.learning.quantize import quantize_policy
    except ImportError as error:
        raise ConfigError(f"quantize needs what training needs ({error}): run pip install 'mm_nav[train]'") from error
    from mm_nav.parallel import Workers
    from mm_nav.runtime.manifest import manifest_path

    seed = drive_seed(args)
    if args.frames < 1:
        raise ConfigError(f"--frames is {args.frames}: give 1 or more")
    workers = Workers(args.workers, args.ray)
    out = args.out or args.model.with_name(f"{args.model.stem}_int8.onnx")
    require_writable(out)
    require_writable(args.json)
    with progress_bar() as bar:
        task = bar.add_task("frames", total=args.frames)

        def calibrated(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        found: dict[str, Any] = quantize_policy(
            args.model, find_shards(args.data), out, args.frames, progress=calibrated
        )
        if args.episodes:
            task = bar.add_task("episodes", total=args.episodes)
            found |= compare_closed_loop(args.model, out, seed, args.episodes, workers, calibrated)
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; 'in view' differs from {args.model.name}'s by "
        f"{found['visible_difference']:.3f} on average and flips for {found['visible_flips']:.1%} of phrases"
    )
    if args.episodes:
        print(
            f"suite {found['suite']}, {args.episodes} episodes: success {found['success_rate']:.1%} in int8, "
            f"{found['other_success_rate']:.1%} in fp32, p = {found['p_value']:.2g}"
        )
        if found["success_rate"] < found["other_success_rate"] - _MOST_LOST:
            out.unlink()
            manifest_path(out).unlink()
            raise ModelError(f"{out} reached fewer goals than {args.model.name}: it was not kept")
    if args.json:
        write_json(args.json, {"model": out, "size_mb": round(out.stat().st_size / 1e6, 3), **found})
    return 0
