"""`mm-nav profile`: what a model costs here, and what it might take on another device."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError
from mm_nav.runtime.edge import EdgeProfile, edge_devices, load_edge_profile
from mm_nav.runtime.engines import PRECISIONS

if TYPE_CHECKING:
    from mm_nav.evaluation.graph_profile import Estimate, GraphProfile

NAME = "profile"
HELP = "count what a model costs, time it here, and estimate it for another device"
_MODELS = ("tiny", "small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Parameters, operations and bytes of an ONNX model, its time on this machine by kind of operator, and, with --device, "
        "a roofline estimate for another one. The estimate is arithmetic over published peak rates, not a measurement: its "
        "assumptions are printed with it."
    )
    parser.epilog = "Example: mm-nav profile tiny --device orin-nano --json out/profile.json"
    parser.add_argument("model", metavar="MODEL", help="ONNX file, or tiny or small: the models that come with mm_nav")
    parser.add_argument(
        "--device", metavar="NAME", help=f"{', '.join(edge_devices())}, or a YAML file like those of config/edge"
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="of the estimate (default: the device's)")
    parser.add_argument(
        "--phrases",
        type=int,
        default=5,
        metavar="N",
        help="phrases asked at once (default 5: a thing and four that look like it)",
    )
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="runs that are timed (default 100)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the network (default 1)")
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Profile the model."""
    from rich.console import Console

    from mm_nav.evaluation.graph_profile import estimate, profile_graph
    from mm_nav.resources import resource_path

    if not (1 <= args.phrases <= 64 and 1 <= args.runs <= 100_000 and 1 <= args.threads <= 64):
        raise ConfigError(
            f"--phrases {args.phrases}, --runs {args.runs}, --threads {args.threads}: give 1 to 64, 1 to 100000 and 1 to 64"
        )
    if args.precision and not args.device:
        raise ConfigError("--precision is that of an estimate: give --device as well")
    require_writable(args.json)
    device = load_edge_profile(args.device) if args.device else None
    model = resource_path(f"models/{args.model}.onnx") if args.model in _MODELS else Path(args.model)
    console = Console()
    with Console(stderr=True).status(f"running {model.name}"):
        profile = profile_graph(model, args.phrases, args.runs, args.threads)
    p50, p99 = (float(value) for value in np.percentile(profile.times, [50, 99]))
    precision = args.precision or (device.precision if device is not None else "fp32")
    report: dict[str, Any] = {
        "model": model,
        "phrases": args.phrases,
        "threads": args.threads,
        "parameters": profile.parameters,
        "flops": round(profile.flops),
        "bytes_moved": sum(operator.bytes_moved("fp32") for operator in profile.operators),
        "measured_p50_ms": round(p50, 3),
        "measured_p99_ms": round(p99, 3),
    }
    report |= {f"measured_ms_{kind}": round(ms, 4) for kind, ms in sorted(profile.by_kind.items())}
    _show(profile, model, report, console)
    if device is not None:
        guess = estimate(profile, device.hardware, precision)
        report |= {
            "device": device.name,
            "precision": precision,
            "estimate_ms": round(guess.total, 3),
            "estimate_compute_ms": round(guess.compute, 4),
            "estimate_memory_ms": round(guess.memory, 4),
            "estimate_launch_ms": round(guess.launch, 4),
            "estimate_bound_ms": round(guess.bound, 4),
            "deadline_ms": device.deadline_ms,
        }
        _show_estimate(guess, device, precision, console)
    if args.json:
        write_json(args.json, report)
    return 0


def _show(profile: GraphProfile, model: Path, report: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    console.print(
        f"{model}: {profile.parameters / 1e6:.2f} M parameters, {profile.flops / 1e6:.0f} MFLOP and "
        f"{report['bytes_moved'] / 1e6:.1f} MB moved (fp32) a run of {report['phrases']} phrases; here p50 "
        f"{report['measured_p50_ms']:.2f} ms, p99 {report['measured_p99_ms']:.2f} ms with {report['threads']} thread(s)"
    )
    table = Table(title="here, by kind of operator (as ONNX Runtime fuses them)", title_justify="left")
    for heading in ("operator", "ms", "share"):
        table.add_column(heading, justify="left" if heading == "operator" else "right")
    whole = sum(profile.by_kind.values())
    for kind, ms in sorted(profile.by_kind.items(), key=lambda item: -item[1])[:12]:
        table.add_row(kind, f"{ms:.3f}", f"{ms / whole:.0%}")
    console.print(table)
    counted: dict[str, tuple[int, float, int]] = {}
    for operator in profile.operators:
        count, flops, moved = counted.get(operator.kind, (0, 0.0, 0))
        counted[operator.kind] = count + 1, flops + operator.flops, moved + operator.bytes_moved("fp32")
    table = Table(title="counted, by kind of operator (as the file has them)", title_justify="left")
    for heading in ("operator", "nodes", "MFLOP", "MB moved"):
        table.add_column(heading, justify="left" if heading == "operator" else "right")
    for kind, (count, flops, moved) in sorted(counted.items(), key=lambda item: -item[1][1])[:12]:
        table.add_row(kind, str(count), f"{flops / 1e6:.2f}", f"{moved / 1e6:.2f}")
    console.print(table)


def _show_estimate(guess: Estimate, device: EdgeProfile, precision: str, console: Any) -> None:
    h = device.hardware
    console.print(
        f"ESTIMATE for {device.name}, {precision}: {guess.total:.2f} ms (computing {guess.compute:.2f}, memory {guess.memory:.2f}, "
        f"starting kernels {guess.launch:.2f}); never below {guess.bound:.2f} ms. Not measured. Assumed: peaks of "
        f"{h.peak(precision) / 1e12:.2f} TFLOP/s and {h.memory_gb_s:.0f} GB/s, of which {h.compute_share:.0%} and "
        f"{h.memory_share:.0%} are reached; {h.launch_us:.0f} us a kernel; what works element by element is fused into the "
        "kernels; nothing stays in a cache between them."
    )
