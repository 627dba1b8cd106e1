"""The ablation study as one self-contained HTML page, and the same as Markdown with pictures beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mm_nav.errors import ConfigError
from mm_nav.evaluation import ablation_plots as draw
from mm_nav.evaluation.ablation import (
    Comparison,
    SuiteRun,
    calibration,
    failures,
    main_condition,
    model_files,
)
from mm_nav.evaluation.conditions import CONDITIONS
from mm_nav.evaluation.metrics import summarise
from mm_nav.evaluation.suites import suite_of
from mm_nav.runtime.manifest import load_manifest
from mm_nav.sim.splits import FIRST_HELD_OUT_SEED

_TEMPLATES = Path(__file__).parent / "templates"
Rows = list[list[str]]


def write_ablation_report(
    folder: Path,
    runs: Sequence[SuiteRun],
    comparisons: Sequence[Comparison],
    summary: Mapping[str, Any],
) -> Path:
    """Write ablation.html (one file, nothing from elsewhere), ablation.md and its pictures; return the HTML page's path.

    summary: what `summarise_ablation` gave. Raises ConfigError when Jinja2 or Matplotlib is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ConfigError("reports need Jinja2: run pip install 'mm_nav[view]', or leave --report out") from error
    folder.mkdir(parents=True, exist_ok=True)
    page = _page(folder, runs, comparisons, summary)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(("html", "html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def embedded(name: str) -> str:
        return "data:image/png;base64," + base64.b64encode((folder / name).read_bytes()).decode()

    for name, picture in (("ablation.html", embedded), ("ablation.md", str)):
        text = environment.get_template(f"{name}.j2").render(**page, picture=picture)
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)
    return folder / "ablation.html"


def _page(
    folder: Path, runs: Sequence[SuiteRun], comparisons: Sequence[Comparison], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the templates print: texts and tables of ready cells, and the names of pictures in the folder."""
    config = runs[0].config
    main = main_condition(config.conditions)
    last = config.seed + config.episodes - 1
    held_out = config.seed >= FIRST_HELD_OUT_SEED
    return {
        "main": main,
        "episodes": config.episodes,
        "seeds": f"{config.seed} to {last}",
        "held_out": held_out,
        "time_limit": f"{config.time_limit_s:.0f}",
        "camera": summary["camera"],
        "conditions": _conditions(summary),
        "suites": [_suite(folder, run, [c for c in comparisons if c.suite == run.config.suite]) for run in runs],
        "comparisons": len(comparisons),
        "calibration": _calibration(folder, runs),
        "models": _models(runs),
        "provenance": [
            ["version of mm_nav", str(summary["version"])],
            ["Python", str(summary["python"])],
            ["command", str(summary["command"])],
            ["world seeds", f"{config.seed} to {last}"],
            ["camera", f"{summary['camera']} pixels"],
            ["time limit", f"{config.time_limit_s:.0f} simulated seconds"],
        ],
    }


def _conditions(summary: Mapping[str, Any]) -> Rows:
    """Rows of name, what drives, and whether it was run."""
    rows = [[name, CONDITIONS[name].text, "run"] for name in summary["conditions"]]
    return rows + [
        [name, CONDITIONS[name].text, f"not run: {summary[f'not_run_{name}']}"] for name in summary["not_run"]
    ]


def _suite(folder: Path, run: SuiteRun, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    config = run.config
    main = main_condition(config.conditions)
    numbers = {name: summarise([r.outcome() for r in run.of(name)], config.seed) for name in config.conditions}
    names = {what: f"{config.suite}_{what}.png" for what in ("success", "spl", "kinds", "solved", "wins")}
    for what, key in (("success", "success_rate"), ("spl", "spl")):
        rows = [(name, *_triple(found, key)) for name, found in numbers.items()]
        draw.intervals(folder / names[what], rows, "success" if what == "success" else "SPL", main)
    draw.solved_curves(folder / names["solved"], run)
    if comparisons:
        draw.wins_and_losses(folder / names["wins"], comparisons, main)
    kinds, kind_rows = _kinds(folder / names["kinds"], run)
    return {
        "name": config.suite,
        "text": suite_of(config.suite).text,
        "results": [_result_row(name, found, run) for name, found in numbers.items()],
        "tests": [_test_row(c) for c in comparisons],
        "kinds": kinds,
        "kind_rows": kind_rows,
        "failures": _failures(run),
        "picture_names": names,
    }


def _triple(numbers: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    low, high = numbers[f"{key}_ci95"]
    return float(numbers[key]), float(low), float(high)


def _result_row(name: str, numbers: Mapping[str, Any], run: SuiteRun) -> list[str]:
    solved = [r for r in run.of(name) if r.success]
    time = f"{sum(r.time_s for r in solved) / len(solved):.0f} s" if solved else "-"
    return [
        name,
        str(numbers["episodes"]),
        _percent(*_triple(numbers, "success_rate")),
        _plain(*_triple(numbers, "spl")),
        _percent(*_triple(numbers, "collision_rate")),
        time,
    ]


def _test_row(c: Comparison) -> list[str]:
    low, high = c.difference_ci95
    return [
        c.condition,
        str(c.losses),
        str(c.wins),
        f"{100 * c.difference:+.1f} [{100 * low:+.0f}, {100 * high:+.0f}]",
        _p(c.p_value),
        _p(c.p_holm),
        f"{c.spl_difference:+.2f} [{c.spl_difference_ci95[0]:+.2f}, {c.spl_difference_ci95[1]:+.2f}]",
        _p(c.spl_p_value),
        _p(c.spl_p_holm),
    ]


def _kinds(picture: Path, run: SuiteRun) -> tuple[list[str], Rows]:
    """Return the kinds of a suite with more than one that occur, and a row of success rates per condition."""
    main = run.of(main_condition(run.config.conditions))
    kinds = [kind for kind in run.config.kinds if any(r.kind == kind for r in main)]
    if len(kinds) < 2:
        return [], []
    series = {}
    for name in run.config.conditions:
        results = run.of(name)
        series[name] = [
            _triple(summarise([r.outcome() for r in results if r.kind == kind], run.config.seed), "success_rate")
            for kind in kinds
        ]
    draw.by_kind(picture, kinds, series)
    return kinds, [[name, *(_percent(*cell) for cell in cells)] for name, cells in series.items()]


def _failures(run: SuiteRun) -> dict[str, Any]:
    """Return the table of how failed episodes ended: a row per ending, a column per condition; most frequent first."""
    counts = {name: failures(run.of(name)) for name in run.config.conditions}
    endings = sorted(
        {e for found in counts.values() for e in found}, key=lambda e: (-sum(c[e] for c in counts.values()), e)
    )
    rows = [[e, *(str(found[e]) if found[e] else "" for found in counts.values())] for e in endings]
    return {"columns": list(counts), "rows": rows}


def _calibration(folder: Path, runs: Sequence[SuiteRun]) -> dict[str, Any] | None:
    found = calibration(runs[0].config)
    if not found:
        return None
    draw.reliability(folder / "reliability.png", found)
    keys = ("temperature", "ece_before", "ece_after")
    rows = [
        [name, *("-" if values.get(key) is None else f"{float(values[key]):.3f}" for key in keys)]
        for name, values in found.items()
    ]
    return {"picture_name": "reliability.png", "rows": rows}


def _models(runs: Sequence[SuiteRun]) -> Rows:
    rows = []
    for name, file in model_files(runs[0].config).items():
        manifest, _ = load_manifest(Path(file))
        rows.append(["under test" if name == "main" else name, manifest.name, Path(file).name, manifest.model_sha256])
    return rows


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % [{100 * low:.0f}, {100 * high:.0f}]" if value == value else "-"


def _plain(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if value == value else "-"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
