"""`mm-nav bench sim`: speeds measured here and now, as ratios to what people would use instead."""

from __future__ import annotations

import argparse
from typing import Any

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError

NAME = "bench"
HELP = "measure speeds on this machine"

_OTHERS = (
    "mujoco_frames_per_s", "ratio_mujoco", "mujoco_one_pass_frames_per_s", "ratio_mujoco_one_pass",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Measure how fast parts of the stack are on this machine, beside alternatives in the same run."
    parser.epilog = "Example: mm-nav bench sim --json out/bench_sim.json"
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    sim = actions.add_parser(
        "sim",
        help="the embedded simulator, beside MuJoCo's software renderer",
        description="Frames, rays and full environment steps per second and core. The same scene, poses and outputs (RGB + "
        "depth) are rendered by MuJoCo on software GL (EGL or OSMesa) in turn with ours, on the same core, one sample per "
        "pixel; ratios above 1 mean that ours is faster. MuJoCo is optional: pip install 'mm_nav[bench]'.",
        epilog="Example: mm-nav bench sim --seconds 2 --json out/bench_sim.json",
    )
    sim.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="time of each measurement in each of 5 rounds (default 1)",
    )
    sim.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the camera poses (default 0)")
    add_json_option(sim)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark."""
    from rich.console import Console

    from mm_nav.evaluation.bench_sim import bench_sim

    if not 0.005 <= args.seconds <= 60:
        raise ConfigError(f"--seconds is {args.seconds}: it must be between 0.005 and 60")
    if args.seed < 0:
        raise ConfigError(f"--seed is {args.seed}: give 0 or above")
    require_writable(args.json)
    with Console(stderr=True).status("starting") as status:
        report = bench_sim(args.seconds, args.seed, lambda what: status.update(f"measuring {what}"))
    if args.json:
        write_json(args.json, report)
    _show(report, Console())
    return 0


def _show(report: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table(title="RGB + depth, one core", title_justify="left")
    for heading in ("picture", "frames/s", "rays/s", "MuJoCo", "ratio", "one pass", "ratio"):
        table.add_column(heading, justify="left" if heading == "picture" else "right")
    for key in [name.removeprefix("frames_per_s_") for name in report if name.startswith("frames_per_s_")]:
        others = [report[f"{name}_{key}"] for name in _OTHERS]
        table.add_row(
            key.removeprefix("shadows_") + (" shadows" if key.startswith("shadows_") else ""),
            f"{report[f'frames_per_s_{key}']:.0f}",
            f"{report[f'camera_rays_per_s_{key}'] / 1e6:.1f} M",
            *("-" if value is None else f"{value:.2f}" if i % 2 else f"{value:.0f}" for i, value in enumerate(others)),
        )
    console.print(table)
    if "mujoco_missing" in report:
        console.print(report["mujoco_missing"])
    else:
        console.print(
            f"MuJoCo {report['environment']['mujoco']} on {report['mujoco_gl']}, without multisampling: mujoco.Renderer, and its "
            "low-level calls that read colour and depth of one pass"
        )
    console.print(
        f"LiDAR: {report['scan_360_per_s']:.0f} scans of 360 beams/s, {report['cloud_16x1024_per_s']:.0f} clouds of "
        f"16 x 1024/s ({report['cloud_16x1024_rays_per_s'] / 1e6:.1f} M rays/s)"
    )
    console.print(
        f"full steps (96x72 RGB + depth, 360 beams, physics, contacts): {report['steps_per_s_1']:.0f}/s with one worker, "
        f"{report['steps_per_s_2']:.0f}/s with two ({report['scaling_2']:.2f} times)"
    )
