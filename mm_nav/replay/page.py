"""What a report page draws of a replay, as JSON: thinned series, the film strip, the map, events; small and safe to embed."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.mapping.occupancy_grid import GridExport
from mm_nav.replay.records import STAGES, Event, FilmFrame, ReplayLog

Floats = npt.NDArray[np.float64]

# More than a screen has pixels; 30 series of it are 1 MB of JSON.
MAX_POINTS = 2000
MAX_EVENTS = 3000
MAX_TEXT = 400
_MAX_SCAN_POINTS = 720
_MAX_PLAN_POINTS = 200
_MAX_MAP_CELLS = 1400  # a side
_MOST_BINS = 60
_CM = 100.0
_NOWHERE = -32768  # int16 for a pixel that is not in view


@dataclass(frozen=True)
class Series:
    """One line of a plot. column: of ReplayLog.columns. role: names its colour on the page."""

    column: str
    name: str
    role: str


@dataclass(frozen=True)
class Plot:
    """A plot over time. line: a horizontal one, None = none; line_text: what it stands for."""

    key: str
    title: str
    unit: str
    series: tuple[Series, ...]
    line: float | None = None
    line_text: str = ""


PLOTS = (
    Plot(
        "speed", "Forward speed", "m/s",
        (Series("recorded_linear", "recorded", "recorded"), Series("wanted_linear", "navigator", "wanted"),
         Series("linear", "after the guard", "stack")),
    ),
    Plot(
        "turn", "Turn rate", "rad/s",
        (Series("recorded_angular", "recorded", "recorded"), Series("wanted_angular", "navigator", "wanted"),
         Series("angular", "after the guard", "stack")),
    ),
    Plot(
        "error", "Open-loop error, mean of the next 2 s", "m",
        (Series("ade_2s_m", "stack", "stack"), Series("policy_ade_2s_m", "policy's waypoints", "policy"),
         Series("straight_ade_2s_m", "straight on", "baseline")),
    ),
    Plot(
        "clearance", "Clearance of the robot's body", "m",
        (Series("clearance_m", "recorded robot", "recorded"),
         Series("foreseen_clearance_m", "stack, least of the next 2 s", "stack")),
        0.0, "contact",
    ),
    Plot(
        "target", "Target", "probability",
        (Series("visible", "in view (policy)", "policy"), Series("confidence", "belief (navigator)", "stack")),
    ),
    Plot(
        "strange", "How far from the training data", "score",
        (Series("strange_image", "picture", "policy"), Series("strange_scan", "scan", "stack")),
        1.0, "99th percentile of training",
    ),
    Plot(
        "latency", "Latency of a step", "ms",
        (Series("latency_ms", "navigator and guard", "stack"), Series("inference_ms", "network", "policy")),
    ),
)  # fmt: skip


def page_data(log: ReplayLog, footprint: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return what the page's script draws of one replay. footprint: the robot's corners in base_link, metres."""
    times = _column(log, "time_s")
    ends = [float(t) for t in (*times[:1], *times[-1:]) if math.isfinite(t)] or [frame.time_s for frame in log.film]
    return {
        "range": [_number(min(ends, default=0.0)), _number(max(ends, default=0.0))],
        "footprint": [[_number(x), _number(y)] for x, y in footprint],
        "plots": [_plot(plot, log, times) for plot in PLOTS],
        "histogram": histogram(_column(log, "latency_ms")),
        "path": _path(log, times),
        "stages": _stages(log, times),
        "events": [_event(event) for event in _chosen(log.events)],
        "film": [_frame(frame) for frame in log.film],
        "map": None if log.map is None else _map(log.map),
    }


def embed_json(value: Any) -> str:
    """Return JSON that may stand in a <script> element of a page: no markup and no line separators in it; nan is null."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def thin(times: Floats, values: Floats, limit: int = MAX_POINTS) -> tuple[list[float], list[float | None]]:
    """Return times and values (N,) with at most `limit` points: the least and the greatest of each stretch, so that peaks stay.

    None breaks the line: values unknown, or a pause in the recording of more than a second and five steps.
    """
    times, values = _with_pauses(times[: len(values)], values[: len(times)])
    if len(values) > limit:
        picked = _extremes(values, max(1, limit // 2))
        times, values = times[picked], values[picked]
    return [_number(t) for t in times], [_number(v) if math.isfinite(v) else None for v in values]


def histogram(values: Floats) -> dict[str, Any] | None:
    """Return counts of values in equal bins from 0 to their 99.5th percentile (what is above is in `above`); None without any."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return None
    top = max(float(np.percentile(values, 99.5)), 1e-6)
    bins = min(_MOST_BINS, max(8, round(1.5 * math.sqrt(len(values)))))
    counts, _ = np.histogram(values[values <= top], bins=bins, range=(0.0, top))
    return {
        "top": _number(top),
        "counts": counts.tolist(),
        "above": int((values > top).sum()),
        "p50": _number(np.percentile(values, 50)),
        "p99": _number(np.percentile(values, 99)),
        "max": _number(values.max()),
    }


def _column(log: ReplayLog, name: str) -> Floats:
    return np.asarray(log.columns.get(name, ()), np.float64).reshape(-1)


def _plot(plot: Plot, log: ReplayLog, times: Floats) -> dict[str, Any]:
    series = []
    for item in plot.series:
        values = _column(log, item.column)
        if not np.isfinite(values).any():
            continue
        t, y = thin(times, values)
        series.append({"name": item.name, "role": item.role, "t": t, "y": y})
    return {
        "key": plot.key, "title": plot.title, "unit": plot.unit, "line": plot.line, "line_text": plot.line_text,
        "series": series, "missing": [item.name for item in plot.series if not np.isfinite(_column(log, item.column)).any()],
    }  # fmt: skip


def _with_pauses(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    if len(times) < 3:
        return times, values
    steps = np.diff(times)
    pauses = np.flatnonzero(steps > max(1.0, 5.0 * float(np.median(steps)))) + 1
    return np.insert(times, pauses, times[pauses]), np.insert(values, pauses, np.nan)


def _extremes(values: Floats, buckets: int) -> npt.NDArray[np.int64]:
    """Return the indices, ascending, of the least and greatest value of each of `buckets` stretches; of one without any value
    its first."""
    edges = np.linspace(0, len(values), buckets + 1).astype(np.int64)
    starts, known = edges[:-1], np.isfinite(values)
    owner = np.repeat(np.arange(buckets), np.diff(edges))
    picked = []
    for order in (np.lexsort((values, ~known, owner)), np.lexsort((-values, ~known, owner))):
        picked.append(order[starts])  # the first of each stretch: known ones before unknown ones
    return np.unique(np.concatenate(picked))


def _path(log: ReplayLog, times: Floats) -> dict[str, list[float]]:
    """The recorded robot's way, at most MAX_POINTS places."""
    x, y = _column(log, "x"), _column(log, "y")
    n = min(len(times), len(x), len(y))
    good = np.flatnonzero(np.isfinite(times[:n]) & np.isfinite(x[:n]) & np.isfinite(y[:n]))
    if len(good) > MAX_POINTS:
        good = good[np.linspace(0, len(good) - 1, MAX_POINTS).astype(np.int64)]
    return {name: [_number(v) for v in column[good]] for name, column in (("t", times), ("x", x), ("y", y))}


def _stages(log: ReplayLog, times: Floats) -> list[list[Any]]:
    """Stretches of one stage: start, end, name."""
    stage = _column(log, "stage")
    n = min(len(times), len(stage))
    stage, times = stage[:n], times[:n]
    if n == 0:
        return []
    changed = np.flatnonzero(np.diff(np.nan_to_num(stage, nan=-1.0)) != 0) + 1
    starts, ends = np.concatenate([[0], changed]), np.concatenate([changed, [n - 1]])
    return [
        [_number(times[a]), _number(times[b]), STAGES[int(stage[a])].value]
        for a, b in zip(starts, ends, strict=True)
        if 0 <= stage[a] < len(STAGES)
    ]


def _chosen(events: Sequence[Event]) -> list[Event]:
    """All events in order of time; of too many those that last longest."""
    if len(events) > MAX_EVENTS:
        lasting = sorted(events, key=lambda e: e.until_s - e.time_s if math.isfinite(e.until_s) else 0.0, reverse=True)
        events = lasting[:MAX_EVENTS]
    return sorted(events, key=lambda event: event.time_s)


def _event(event: Event) -> list[Any]:
    until = event.until_s if math.isfinite(event.until_s) else event.time_s
    return [_number(event.time_s), _number(until), event.kind, event.text[:MAX_TEXT]]


def _frame(frame: FilmFrame) -> dict[str, Any]:
    place = np.array([frame.pose.x, frame.pose.y])
    waypoints = np.asarray(frame.waypoints_px, np.float64)
    shape = waypoints.shape if waypoints.ndim == 3 and waypoints.size else (0, 0, 2)
    return {
        "t": _number(frame.time_s),
        "pose": [_number(frame.pose.x), _number(frame.pose.y), _number(frame.pose.yaw)],
        "jpeg": None if frame.jpeg is None else "data:image/jpeg;base64," + base64.b64encode(frame.jpeg).decode(),
        "size": list(frame.size),
        "waypoints": _int16(waypoints) if shape[0] else "",
        "waypoints_shape": list(shape[:2]),
        "probs": [_number(p) for p in np.asarray(frame.waypoint_probs, np.float64).reshape(-1)],
        "heat": _heat(frame.heatmap),
        "scan": _int16(_CM * (_spread(frame.scan, _MAX_SCAN_POINTS) - place)),
        "plan": _int16(_CM * (_spread(frame.plan, _MAX_PLAN_POINTS) - place)),
        "foreseen": _int16(_CM * (_spread(frame.foreseen, _MAX_PLAN_POINTS) - place)),
        "target": None if frame.target is None else [_number(v) for v in frame.target],
        "confidence": _number(frame.confidence),
        "visible": _number(frame.visible) if len(frame.waypoint_probs) else math.nan,
        "stage": frame.stage,
        "step": frame.step_text[:MAX_TEXT],
        "twists": [[_number(v) for v in twist] for twist in (frame.recorded, frame.wanted, frame.driven)],
        "guard": frame.guard[:MAX_TEXT],
    }


def _spread(points: Floats, limit: int) -> Floats:
    """Return the finite points, evenly fewer of them where there are too many, their last kept."""
    points = np.asarray(points, np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) > limit:
        points = points[np.linspace(0, len(points) - 1, limit).astype(np.int64)]
    return points


def _int16(values: Floats) -> str:
    """Return little-endian int16 in base64: a fifth of the same numbers as text. Unknown and too great = _NOWHERE."""
    flat = np.asarray(values, np.float64).reshape(-1)
    known = np.isfinite(flat) & (np.abs(flat) < 32767)
    numbers = np.where(known, np.rint(np.where(known, flat, 0.0)), _NOWHERE).astype("<i2")
    return base64.b64encode(numbers.tobytes()).decode()


def _heat(heatmap: Floats | None) -> dict[str, Any] | None:
    if heatmap is None or np.ndim(heatmap) != 2 or not np.size(heatmap):
        return None
    heat = np.nan_to_num(np.asarray(heatmap, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    heat = np.clip(heat / max(float(heat.max()), 1e-9), 0.0, 1.0)
    rows, columns = heat.shape
    return {"shape": [rows, columns], "data": base64.b64encode(np.rint(255 * heat).astype(np.uint8).tobytes()).decode()}


def _map(grid: GridExport) -> dict[str, Any] | None:
    """The known part of a map as a PNG, top row = greatest y: 0 unknown, 128 free, 255 occupied; None when nothing is known."""
    from PIL import Image

    rows, columns = np.flatnonzero((grid.data >= 0).any(axis=1)), np.flatnonzero((grid.data >= 0).any(axis=0))
    if len(rows) == 0:
        return None
    cells = grid.data[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = math.ceil(max(cells.shape) / _MAX_MAP_CELLS)
    cells = np.pad(cells, [(0, -size % factor) for size in cells.shape], constant_values=-1)
    height, width = (size // factor for size in cells.shape)
    # Of the cells that become one, an occupied one wins.
    cells = cells.reshape(height, factor, width, factor).max(axis=(1, 3))
    grey = np.where(cells < 0, 0, np.where(cells >= 50, 255, 128)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey[::-1]).save(file, "PNG", optimize=True)
    return {
        "png": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(),
        "size": [width, height],
        "origin": [
            _number(grid.origin[0] + columns[0] * grid.resolution),
            _number(grid.origin[1] + rows[0] * grid.resolution),
        ],
        "resolution": factor * grid.resolution,
    }


def _number(value: float) -> float:
    """A number of 5 digits at least and a tenth of a millimetre at most."""
    value = float(value)
    return round(value, 4) if math.isfinite(value) else math.nan


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
