"""A BARN run as a Markdown page: the scores, every world, and a picture of every run that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav.evaluation import plots
from mm_nav.evaluation.barn import BarnResult
from mm_nav.evaluation.barn_worlds import BarnWorld

_RADIUS_M = 0.075


def write_barn_report(
    folder: Path, worlds: Sequence[BarnWorld], results: Sequence[BarnResult], summary: Mapping[str, Any]
) -> Path:
    """Write barn.md and world_N_run_K.png of every failure to a folder; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    by_number = {world.number: world for world in worlds}
    failed = [result for result in results if not result.success]
    for result in failed:
        _draw(folder / _picture(result), by_number[result.world], result)
    page, part = folder / "barn.md", folder / "barn.md.part"
    part.write_text("\n".join(_lines(worlds, results, failed, summary)) + "\n", encoding="utf-8")
    part.replace(page)
    return page


def _lines(
    worlds: Sequence[BarnWorld], results: Sequence[BarnResult], failed: Sequence[BarnResult], summary: Mapping[str, Any]
) -> list[str]:
    low, high = summary["success_rate_ci95"]
    first, last = summary["score_ci95"]
    lines = [
        f"# BARN: {summary['planner']}",
        "",
        f"{summary['runs']} runs in {summary['worlds']} worlds: success {summary['success_rate']:.1%} [{low:.1%}, {high:.1%}], "
        f"score {summary['score']:.3f} [{first:.3f}, {last:.3f}] (at most 0.5), contacts {summary['contacts']}, "
        f"planning {summary['plan_hz']:.0f} times a second.",
        "",
    ]
    if failed:
        lines += ["## What failed", ""]
        for result in failed:
            what = result.contact_with or result.message or f"{result.time_s:.0f} s"
            lines += [
                f"World {result.world}, run {result.run}: {result.ending} ({what})",
                "",
                f"![]({_picture(result)})",
                "",
            ]
    lines += ["## Every world", "", "| world | reached | score | time, s | optimal, s |", "|---|---|---|---|---|"]
    for world in worlds:
        runs = [result for result in results if result.world == world.number]
        times = ", ".join(f"{r.time_s:.1f}" if r.success else r.ending for r in runs)
        reached, score = sum(r.success for r in runs), np.mean([r.score() for r in runs])
        lines.append(
            f"| {world.number} | {reached} of {len(runs)} | {score:.3f} | {times} | {world.optimal_time_s:.1f} |"
        )
    return lines


def _picture(result: BarnResult) -> str:
    return f"world_{result.world}_run_{result.run}.png"


def _draw(path: Path, world: BarnWorld, result: BarnResult) -> None:
    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=(4.0, 7.5))
    for x, y in world.cylinders:
        axes.add_patch(plt.Circle((x, y), _RADIUS_M, color="#555555"))
    axes.plot(*world.path.T, "--", color="#9db7d5", linewidth=1.2, label="reference")
    driven = np.array(result.path)
    axes.plot(*driven.T, color="#c0392b", linewidth=1.6, label="driven")
    axes.plot(*driven[-1], "s", color="#c0392b", markersize=6)
    axes.set_title(f"world {result.world}, run {result.run}: {result.ending} after {result.time_s:.1f} s", fontsize=9)
    axes.set_xlabel("x, m")
    axes.set_ylabel("y, m")
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=8)
    plots.save(plt, figure, path)
