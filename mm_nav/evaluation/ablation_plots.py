"""Plots of the ablation report, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav.evaluation.ablation import Comparison, SuiteRun, path_ratio
from mm_nav.evaluation.plots import pyplot, save

# Tableau's colour-blind ten and two more: as many as there are conditions.
_COLOURS = (
    "#006ba4", "#ff800e", "#2e2e2e", "#5f9ed1", "#c85200", "#898989", "#a2c8ec", "#ffbc79", "#8c564b", "#2ca02c", "#9467bd",
    "#bcbd22",
)  # fmt: skip
_MAIN, _OTHER, _WIN, _LOSS = "#006ba4", "#a9b4bf", "#2c8a4b", "#c0504d"


def intervals(path: Path, rows: Sequence[tuple[str, float, float, float]], label: str, main: str) -> None:
    """Draw a value and its interval per condition, one above the other. rows: (name, value, low, high), 0 to 1."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 0.7 + 0.36 * len(rows)))
    for k, (name, value, low, high) in enumerate(rows):
        colour = _MAIN if name == main else _OTHER
        axes.barh(k, value, height=0.62, color=colour)
        axes.errorbar(
            value, k, xerr=[[max(0.0, value - low)], [max(0.0, high - value)]], color="#222222", capsize=3, lw=1.1
        )
        axes.text(1.02, k, f"{value:.2f}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.0)
    axes.set_xlabel(f"{label} (95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    save(plt, figure, path)


def by_kind(path: Path, kinds: Sequence[str], series: Mapping[str, Sequence[tuple[float, float, float]]]) -> None:
    """Draw success by kind of goal. series: condition -> per kind (rate, low, high), nan = no episodes."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(2.0 + 2.2 * len(kinds), 3.6))
    spread = np.linspace(-0.36, 0.36, max(2, len(series)))
    for i, (name, rates) in enumerate(series.items()):
        x = np.arange(len(kinds)) + (spread[i] if len(series) > 1 else 0.0)
        value, low, high = (np.array(column, float) for column in zip(*rates, strict=True))
        errors = np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))
        axes.errorbar(x, value, errors, fmt="o", ms=5, capsize=2, lw=1.1, color=_COLOURS[i % len(_COLOURS)], label=name)
    axes.set_xticks(np.arange(len(kinds)), kinds)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("success (95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(plt, figure, path)


def solved_curves(path: Path, run: SuiteRun) -> None:
    """Draw the share of episodes that were solved within a time, and within a multiple of the shortest way."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), sharey=True, layout="constrained")
    for i, name in enumerate(run.config.conditions):
        results = run.of(name)
        solved = [r for r in results if r.success]
        style = {"color": _COLOURS[i % len(_COLOURS)], "lw": 2.2 if i == 0 else 1.3, "label": name, "where": "post"}
        _steps(left, [r.time_s for r in solved], len(results), run.config.time_limit_s, 0.0, style)
        _steps(right, [path_ratio(r) for r in solved], len(results), 5.0, 1.0, style)
    left.set_xlabel("simulated time, s")
    left.set_ylabel("share of episodes solved")
    right.set_xlabel("driven way / shortest way")
    left.set_ylim(0, 1.02)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(plt, figure, path)


def _steps(axes: Any, values: Sequence[float], count: int, end: float, start: float, style: Mapping[str, Any]) -> None:
    within = np.sort([value for value in values if value <= end])
    x = np.concatenate([[start], within, [end]])
    y = np.concatenate([[0.0], np.arange(1, len(within) + 1), [len(within)]]) / max(1, count)
    axes.step(x, y, **style)
    axes.set_xlim(start, end)


def wins_and_losses(path: Path, comparisons: Sequence[Comparison], main: str) -> None:
    """Draw for each condition how many episodes only it solved, and how many only the main condition did."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.36 * len(comparisons)))
    for k, c in enumerate(comparisons):
        axes.barh(k, -c.losses, height=0.62, color=_LOSS)
        axes.barh(k, c.wins, height=0.62, color=_WIN)
        axes.text(-c.losses, k, f"{c.losses} ", ha="right", va="center", fontsize=8)
        axes.text(c.wins, k, f" {c.wins}", ha="left", va="center", fontsize=8)
    reach = 1.15 * max([1, *(max(c.losses, c.wins) for c in comparisons)])
    axes.set_xlim(-reach, reach)
    ticks = [tick for tick in axes.get_xticks() if abs(tick) <= reach and float(tick).is_integer()]
    axes.set_xticks(ticks, [f"{abs(tick):.0f}" for tick in ticks])
    axes.set_yticks(range(len(comparisons)), [c.condition for c in comparisons])
    axes.invert_yaxis()
    axes.axvline(0, color="#222222", lw=0.8)
    axes.set_xlabel(f"episodes that only {main} solved  |  that only the condition solved")
    axes.spines[["top", "right"]].set_visible(False)
    save(plt, figure, path)


def reliability(path: Path, calibration: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw how often something was so against how sure the network was, per confidence of the model's manifest."""
    plt = pyplot()
    figure, panels = plt.subplots(1, len(calibration), figsize=(4.4 * len(calibration), 4.0), squeeze=False)
    for axes, (name, values) in zip(panels[0], calibration.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="#999999", lw=1, ls="--")
        for key, colour in (("before", _LOSS), ("after", _MAIN)):
            bins = values.get(key) or ()
            most = max((b["count"] for b in bins), default=1)
            x, y = [b["confidence"] for b in bins], [b["frequency"] for b in bins]
            ece = values.get(f"ece_{key}")
            axes.plot(x, y, color=colour, lw=1.2, label=f"{key} scaling" + ("" if ece is None else f", ECE {ece:.3f}"))
            axes.scatter(x, y, [12 + 60 * b["count"] / most for b in bins], color=colour)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("confidence")
        axes.set_ylabel("how often it was so")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    save(plt, figure, path)
