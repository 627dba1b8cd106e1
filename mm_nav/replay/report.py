"""A replay as a Markdown page with plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_nav import __version__
from mm_nav.evaluation import plots
from mm_nav.replay.run import ReplayResult, ReplayStep

_ROWS = (
    ("steps", "steps"),
    ("recorded, s", "duration_s"),
    ("sensors", "modalities"),
    ("mean speed, m/s", "linear_mean_mps"),
    ("top speed, m/s", "linear_max_mps"),
    ("top turn rate, rad/s", "angular_max_abs_rps"),
    ("guard stops", "guard_stops"),
    ("guard slowed or stopped", "guard_limited"),
    ("latency p50, ms", "latency_p50_ms"),
    ("latency p99, ms", "latency_p99_ms"),
    ("times real time", "realtime_factor"),
    ("ended", "ended"),
)


def write_report(folder: Path, result: ReplayResult, steps: Sequence[ReplayStep]) -> Path:
    """Write report.md and replay.png to a folder; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamps = np.array([step.observation.stamp_ns for step in steps], np.int64)
    times = 1e-9 * (stamps - stamps[0])
    recorded = [step.observation.odometry.twist for step in steps]
    commanded = [step.guarded.twist for step in steps]
    plots.replay_plots(
        folder / "replay.png",
        times,
        [step.observation.odometry.pose for step in steps],
        {
            "m/s": (
                "forward speed",
                {
                    "recorded": np.array([twist.linear for twist in recorded]),
                    "commanded": np.array([twist.linear for twist in commanded]),
                },
            ),
            "rad/s": (
                "turn rate",
                {
                    "recorded": np.array([twist.angular for twist in recorded]),
                    "commanded": np.array([twist.angular for twist in commanded]),
                },
            ),
            "ms": ("latency of one step", {"latency": np.array([step.latency_ms for step in steps])}),
        },
    )
    data = result.as_dict()
    lines = [
        f"# Replay of `{Path(data['bag']).name}`",
        "",
        f"Goal: {data['goal']}. mm_nav {__version__}. The recorded robot did not follow these commands: each step "
        "shows what the stack would have commanded where the robot really was.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {title} | {_text(data[key])} |" for title, key in _ROWS),
        *(f"| {kind} topic | `{topic}` |" for kind, topic in result.bag.used.items()),
        "",
        "![drive, commands and latency](replay.png)",
        "",
    ]
    if data["warnings"]:
        lines += ["## Warnings", "", *(f"- {warning}" for warning in data["warnings"]), ""]
    page = folder / "report.md"
    part = page.with_suffix(".part")
    part.write_text("\n".join(lines), encoding="utf-8")
    part.replace(page)
    return page


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "no goal was reached"
