"""A BARN run as a Markdown page: the scores, every world, and a picture of every run that failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.evaluation import plots
from mm_nav.evaluation.barn import BarnResult
from mm_nav.evaluation.barn_worlds import BarnWorld

_RADIUS_M = 0.075
_DIFFICULTY = "difficulty.png"
_BINS = 8


def write_barn_report(
    folder: Path,
    worlds: Sequence[BarnWorld],
    results: Sequence[BarnResult],
    summary: Mapping[str, Any],
    beside: Mapping[str, Sequence[BarnResult]] | None = None,
) -> Path:
    """Write barn.md, difficulty.png and world_N_run_K.png of every failure to a folder; return the page's path.

    beside: results of other planners, by name, to be drawn in difficulty.png, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_number = {world.number: world for world in worlds}
    failed = [result for result in results if not result.success]
    for result in failed:
        _draw(folder / _picture(result), by_number[result.world], result)
    _draw_difficulty(folder / _DIFFICULTY, worlds, {str(summary["planner"]): results, **(beside or {})})
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
        "## Score and time against difficulty",
        "",
        f"![]({_DIFFICULTY})",
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


def _draw_difficulty(path: Path, worlds: Sequence[BarnWorld], series: Mapping[str, Sequence[BarnResult]]) -> None:
    """Draw each world's score, and its time in optimal times where the goal was reached, over the room that the reference path
    has; and means over equally many worlds."""
    plt = plots.pyplot()
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.0, 6.0), sharex=True)
    room = {world.number: world.clearance_m for world in worlds}
    for index, (name, results) in enumerate(series.items()):
        colour = f"C{index}"
        score, ratio = (_by_world(results, room, value) for value in (lambda r: r.score(), _ratio))
        for axes, points in ((top, score), (bottom, ratio)):
            axes.plot(*points.T, ".", color=colour, markersize=4, alpha=0.35)
            groups = [group for group in np.array_split(points[np.argsort(points[:, 0])], _BINS) if len(group)]
            axes.plot(*np.array([group.mean(axis=0) for group in groups]).T, "o-", color=colour, label=name)
    bottom.axhline(2.0, color="#999999", linewidth=0.8, linestyle="--")
    top.set_ylabel("score (at most 0.5)")
    bottom.set_ylabel("time / optimal time, reached\n(dashed: no faster counts)")
    bottom.set_xlabel("mean distance of the reference path to the cylinders, m (left: harder)")
    top.legend(frameon=False, ncols=len(series), loc="upper center", bbox_to_anchor=(0.5, 1.18))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    plots.save(plt, figure, path)


def _ratio(result: BarnResult) -> float:
    return result.time_s / result.optimal_time_s if result.success else math.nan


def _by_world(
    results: Sequence[BarnResult], room: Mapping[int, float], value: Callable[[BarnResult], float]
) -> npt.NDArray[np.float64]:
    """Return (room, mean value) of each world (N, 2); worlds without a value are left out."""
    found: dict[int, list[float]] = {}
    for result in results:
        if result.world in room and not math.isnan(value(result)):
            found.setdefault(result.world, []).append(value(result))
    return np.array([(room[world], float(np.mean(values))) for world, values in found.items()]).reshape(-1, 2)


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
