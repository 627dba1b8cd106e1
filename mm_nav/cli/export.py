"""`mm-nav export`: a checkpoint as ONNX, checked against PyTorch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mm_nav.cli.output import add_drive_options, add_json_option, drive_seed, progress_bar, require_writable, write_json
from mm_nav.errors import ConfigError

NAME = "export"
HELP = "export a trained policy to ONNX"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Export a checkpoint of `mm-nav train` to ONNX with its manifest. ONNX Runtime's outputs are compared with\n"
        "PyTorch's; a model that differs is not written. With --episodes both also drive the same episodes, and their\n"
        "success is compared. Needs PyTorch: pip install 'mm_nav[train]'."
    )
    parser.epilog = "Example: mm-nav export out/train/tiny/checkpoint.pt --out models/tiny.onnx --episodes 100"
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint.pt of a training run")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="ONNX file (default: policy.onnx beside the checkpoint)"
    )
    add_drive_options(parser)
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Export."""
    try:
        from mm_nav.learning.closed_loop import compare_closed_loop
        from mm_nav.learning.export import export_policy
        from mm_nav.learning.train import load_policy
    except ImportError as error:
        raise ConfigError(f"export needs PyTorch ({error}): run pip install 'mm_nav[train]'") from error
    from mm_nav.parallel import Workers

    seed = drive_seed(args)
    workers = Workers(args.workers, args.ray)
    out = args.out or args.checkpoint.with_name("policy.onnx")
    require_writable(out)
    require_writable(args.json)
    policy = load_policy(args.checkpoint)
    summary = _summary(args.checkpoint.with_name("training.json"))
    difference = export_policy(policy, out, _training(summary), _metrics(summary))
    size = out.stat().st_size / 1e6
    print(f"{out}: {size:.1f} MB, differs from PyTorch by {difference:.1e} at most")
    result: dict[str, Any] = {"model": out, "size_mb": round(size, 3), "onnx_parity": difference}
    if args.episodes:
        with progress_bar() as bar:
            task = bar.add_task("episodes", total=args.episodes)

            def progress(done: int, of: int) -> None:
                bar.update(task, completed=done, total=of)

            found = compare_closed_loop(args.checkpoint, out, seed, args.episodes, workers, progress)
        print(
            f"suite {found['suite']}, seeds {seed} to {seed + args.episodes - 1}: success "
            f"{found['success_rate']:.0%} in ONNX Runtime, {found['torch_success_rate']:.0%} in PyTorch, "
            f"p = {found['p_value']:.2g}; {found['same_endings']:.0%} of the episodes end alike"
        )
        result |= found
    if args.json:
        write_json(args.json, result)
    return 0


def _training(summary: dict[str, Any]) -> dict[str, Any]:
    """Return how it was trained; of folders and files their names, for a manifest travels to other machines."""
    given = dict(summary.get("train") or {})
    for name in ("data", "init"):
        given[name] = Path(given[name]).name if given.get(name) else ""
    given["more"] = [Path(folder).name for folder in given.get("more") or ()]
    return {**given, "steps": summary.get("steps"), "seconds": summary.get("seconds")} if summary else {}


def _metrics(summary: dict[str, Any]) -> dict[str, Any]:
    return {**(summary.get("metrics") or {}), "calibration": summary.get("calibration") or {}}


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON ({error}): train again, or remove it") from error
    return data if isinstance(data, dict) else {}
