"""The comparison of two replays as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm_nav import __version__
from mm_nav.replay.compare import LEAST_WINDOWS, Comparison, Difference
from mm_nav.replay.measures import DASH, label_of, number, text_of, unit_of
from mm_nav.replay.page import embed_json
from mm_nav.replay.report import render, write_page

# The plot of all changes ends here, in shares of A's mean: an arrow shows that one goes further.
_WIDEST = 1.0


def write_compare_report(
    folder: Path,
    comparison: Comparison,
    names: tuple[str, str],
    provenance: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Path:
    """Write compare.html to a folder; return its path.

    names: what A and B are called. provenance: what each was made with. Raises ConfigError when Jinja2 is not installed or the
    folder cannot be written.
    """
    from markupsafe import Markup

    order = {"regression": 0, "improvement": 1, "changed": 2, "no difference shown": 3}
    differences = sorted(shown(comparison), key=lambda d: order.get(d.verdict, 4))
    text = render(
        "compare.html.j2", ("chart.js", "compare.js"),
        names=names, recordings=comparison.recordings, goals=list(dict.fromkeys(comparison.goals)), version=__version__,
        window=text_of("window_s", comparison.window_s), least=LEAST_WINDOWS,
        regressions=[label_of(d.key) for d in comparison.regressions],
        rows=[_row(d) for d in differences],
        forest=_forest(differences),
        provenance=_provenance(*provenance),
        json=Markup(embed_json(_drawn(differences, comparison))),
    )  # fmt: skip
    return write_page(folder / "compare.html", text)


def shown(comparison: Comparison) -> list[Difference]:
    """Return what is worth a row: known in a window of either, and not a bystander that is the same in both."""
    return [d for d in comparison.differences if (d.pairs or d.only_a or d.only_b) and (d.change or d.way.better)]


def signed(value: float) -> str:
    """Return a change with its sign, a dash where it is unknown."""
    return DASH if not math.isfinite(value) else ("+" if value > 0 else "−" if value < 0 else "") + number(abs(value))


def interval(difference: Difference) -> str:
    """Return a change's 95 % interval."""
    return f"[{signed(difference.low)}, {signed(difference.high)}]" if math.isfinite(difference.low) else DASH


def named(difference: Difference) -> str:
    """Return a measure's name with what its numbers are: a total or a unit."""
    unit = "total" if difference.way.count else unit_of(difference.key)
    return f"{label_of(difference.key)}{f' ({unit})' if unit else ''}"


def _row(d: Difference) -> dict[str, Any]:
    return {
        "key": d.key, "name": named(d), "a": text_of("", d.a), "b": text_of("", d.b), "change": signed(d.change),
        "interval": interval(d), "threshold": number(d.threshold) if math.isfinite(d.threshold) else DASH, "pairs": d.pairs,
        "only": ", ".join(f"{count} only in {name}" for count, name in ((d.only_a, "A"), (d.only_b, "B")) if count),
        "verdict": d.verdict, "mark": _mark(d), "better": {-1: "lower", 1: "higher"}.get(d.way.better, ""),
    }  # fmt: skip


def _mark(d: Difference) -> str:
    if d.verdict in ("regression", "improvement"):
        return f"{'▲' if d.change > 0 else '▼'} {'worse' if d.verdict == 'regression' else 'better'}"
    return d.verdict


def _forest(differences: list[Difference]) -> dict[str, Any]:
    """Return the changes in shares of A, places as per cent of the plot's width; without measures that are 0 in A."""
    shares = [
        (d, d.change / abs(d.a), d.low / abs(d.a), d.high / abs(d.a))
        for d in differences
        if d.pairs >= LEAST_WINDOWS and math.isfinite(d.change) and abs(d.a) > 1e-12
    ]
    reach = max((max(abs(low), abs(high)) for _, _, low, high in shares), default=0.0)
    reach = min(_WIDEST, max(0.05, 1.1 * reach))

    def place(share: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, share / reach)), 2)

    return {
        "reach": f"{100 * reach:.0f}",
        "rows": [
            {
                "name": label_of(d.key), "verdict": d.verdict, "at": place(change), "low": place(low), "high": place(high),
                "width": round(place(high) - place(low), 2), "text": f"{100 * change:+.1f} %".replace("-", "−"),
            }
            for d, change, low, high in shares
        ],
    }  # fmt: skip


def _drawn(differences: list[Difference], comparison: Comparison) -> dict[str, Any]:
    """Return the windows of both over time, recordings one after the other."""
    plots = []
    for d in differences:
        times: list[float] = []
        both: tuple[list[float | None], list[float | None]] = ([], [])
        began = 0.0
        for a, b in d.series:
            # A gap breaks the line between recordings.
            times += [began + comparison.window_s * (k + 0.5) for k in range(len(a))] + [
                began + comparison.window_s * len(a)
            ]
            both[0].extend([*a, None])
            both[1].extend([*b, None])
            began += comparison.window_s * (len(a) + 1)
        if any(v is not None for values in both for v in values):
            series = [
                {"name": name, "role": role, "t": times, "y": values}
                for name, role, values in zip("AB", ("recorded", "stack"), both, strict=True)
            ]
            plots.append({"key": d.key, "unit": "", "line": None, "line_text": "", "series": series, "end": began})
    return {"plots": plots}


def _provenance(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    keys = dict.fromkeys((*a, *b))
    rows = [(str(key), text_of("", a.get(key)), text_of("", b.get(key))) for key in keys]
    return [(key, x, y, x != y) for key, x, y in rows]
