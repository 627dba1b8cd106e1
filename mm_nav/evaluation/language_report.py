"""A language suite as a Markdown page with pictures."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav import __version__
from mm_nav.evaluation import plots
from mm_nav.evaluation.conditions import CONDITIONS
from mm_nav.evaluation.endings import ending
from mm_nav.evaluation.episodes import EpisodeResult
from mm_nav.evaluation.language import Record, SuiteConfig, tasks_of
from mm_nav.evaluation.phrasings import phrasing_of
from mm_nav.evaluation.suites import suite_of
from mm_nav.sim.splits import FIRST_HELD_OUT_SEED

_MAPS = 6


def write_report(folder: Path, records: Sequence[Record], summary: Mapping[str, Any], config: SuiteConfig) -> Path:
    """Write report.md, success.png and maps of a few episodes (failures first) to a folder; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    main = str(summary["condition"])
    _draw_rates(folder / "success.png", summary, config)
    results = [r.result for r in records if r.condition == main]
    shown = [r for r in results if not r.success][:_MAPS]
    shown += [r for r in results if r.success][: _MAPS - len(shown)]
    maps = [(result, _draw_map(folder, result, config)) for result in shown if result.path]
    page = folder / "report.md"
    part = page.with_suffix(".part")
    part.write_text("\n".join(_lines(results, summary, config, maps)) + "\n", encoding="utf-8")
    part.replace(page)
    return page


def _lines(
    results: Sequence[EpisodeResult],
    summary: Mapping[str, Any],
    config: SuiteConfig,
    maps: Sequence[tuple[EpisodeResult, str]],
) -> list[str]:
    main = str(summary["condition"])
    last = config.seed + config.episodes - 1
    lines = [
        *_heading(config),
        "",
        f"{config.episodes} {'pairs of episodes' if config.turns == 2 else 'episodes'}, world seeds {config.seed} to {last}, "
        f"mm_nav {__version__}, model `{summary['model'] or 'none'}`, Python {platform.python_version()}. "
        f"{_wording(config)}At most {config.time_limit_s:.0f} simulated seconds each, camera "
        f"{config.camera[0]}x{config.camera[1]}.",
        "",
        "Success: the navigator says it has arrived and the robot stands within 1.0 m of an object that the sentence "
        "describes, with no wall between, after every step of a sequence, without a collision. Brackets are 95 % "
        "intervals (Wilson for rates, bootstrap for SPL). All conditions ran on the same episodes.",
        "",
        "| condition | goals | episodes | success | SPL | collisions |",
        "|---|---|---|---|---|---|",
    ]
    for name in config.conditions:
        prefix = "" if name == main else f"{name}_"
        for kind in ("", *config.kinds):
            key = prefix + (f"{kind}_" if kind else "")
            if summary[f"{key}episodes"]:
                cells = (_cell(summary, f"{key}{what}") for what in ("success_rate", "spl", "collision_rate"))
                lines.append(f"| {name} | {kind or '**all**'} | {summary[f'{key}episodes']} | {' | '.join(cells)} |")
    lines += ["", *(f"- `{name}`: {CONDITIONS[name].text}" for name in config.conditions), ""]
    lines += [
        f"- {main} against {name}: exact McNemar test on paired episodes, p = {summary[f'p_value_{name}']:.2g}"
        for name in config.conditions
        if f"p_value_{name}" in summary
    ]
    if config.suite == "swap":
        lines += _swap_table(summary, config)
    if config.phrases:
        lines += _phrase_table(results, config)
    lines += ["", "![Success by kind of goal](success.png)", ""]
    endings: dict[str, int] = {}
    for result in results:
        if not result.success:
            endings[ending(result)] = endings.get(ending(result), 0) + 1
    if endings:
        lines += [f"## How the failures of `{main}` ended", "", "| ending | episodes |", "|---|---|"]
        lines += [f"| {name} | {count} |" for name, count in sorted(endings.items(), key=lambda item: -item[1])]
    lines += ["", "## Episodes", "", "Green: start. Orange square: end. Yellow: what was asked for.", ""]
    for result, name in maps:
        what = "success" if result.success else f"{ending(result)} ({result.ended_at})"
        lost = "" if result.sensor_lost_at_s is None else f", sensor lost after {result.sensor_lost_at_s:.1f} s"
        lines += [f"**{result.seed}** “{result.instruction}”: {what}{lost}", "", f"![seed {result.seed}]({name})", ""]
    return lines


def _heading(config: SuiteConfig) -> list[str]:
    where = "held-out worlds" if config.seed >= FIRST_HELD_OUT_SEED else "worlds that may have been trained on"
    if not config.suite:
        return [f"# Spoken goals in {where}"]
    return [f"# Suite `{config.suite}` in {where}", "", f"What is asked: {suite_of(config.suite).text}."]


def _wording(config: SuiteConfig) -> str:
    if config.phrases:
        return f"Phrasing: {len(config.phrases)} templates of a file. "
    return "" if config.suite else f"Phrasing: {config.phrasing}. "


def _swap_table(summary: Mapping[str, Any], config: SuiteConfig) -> list[str]:
    lines = [
        "",
        "A pair counts when the robot ended at the named thing both times.",
        "",
        "| condition | pairs | both |",
        "|---|---|---|",
    ]
    for name in config.conditions:
        prefix = "" if name == summary["condition"] else f"{name}_"
        lines.append(f"| {name} | {summary[f'{prefix}pairs']} | {_cell(summary, f'{prefix}swap_rate')} |")
    return lines


def _phrase_table(results: Sequence[EpisodeResult], config: SuiteConfig) -> list[str]:
    """Success by template, worst first."""
    counts: dict[str, list[int]] = {}
    for result in results:
        count = counts.setdefault(phrasing_of(config.phrases, result.seed), [0, 0])
        count[0] += result.success
        count[1] += 1
    rows = sorted(counts.items(), key=lambda item: (item[1][0] / item[1][1], item[0]))
    lines = ["", "| template | successes | episodes |", "|---|---|---|"]
    return lines + [f"| {template.replace('|', chr(92) + '|')} | {won} | {run} |" for template, (won, run) in rows]


def _cell(summary: Mapping[str, Any], key: str) -> str:
    low, high = summary[f"{key}_ci95"]
    if key.endswith("spl"):
        return f"{summary[key]:.2f} [{low:.2f}, {high:.2f}]"
    return f"{100 * summary[key]:.1f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _draw_rates(path: Path, summary: Mapping[str, Any], config: SuiteConfig) -> None:
    series = {}
    for name in config.conditions:
        prefix = "" if name == summary["condition"] else f"{name}_"
        keys = [prefix + (f"{kind}_" if kind else "") + "success_rate" for kind in ("", *config.kinds)]
        series[name] = [(summary[key], *summary[f"{key}_ci95"]) for key in keys]
    plots.rate_bars(path, ("all", *config.kinds), series)


def _draw_map(folder: Path, result: EpisodeResult, config: SuiteConfig) -> str:
    _, task = tasks_of(config, result.seed)
    height, width = task.truth.shape
    x0, y0 = task.truth.origin
    wanted = set(result.targets)
    turn = f"_{result.kind}" if config.turns > 1 else ""
    name = f"episode_{result.seed}{turn}.png"
    plots.episode_map(
        folder / name,
        task.truth.occupied,
        (x0, y0, x0 + width * task.truth.resolution, y0 + height * task.truth.resolution),
        np.array(result.path, np.float64),
        [item.footprint for item in task.objects if item.name in wanted],
        [(item.name, item.footprint) for item in task.objects if item.name not in wanted],
        f"seed {result.seed}: {result.instruction}",
    )
    return name
