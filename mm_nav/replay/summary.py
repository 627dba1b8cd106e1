"""The numbers of a replay, from its columns: of one recording, of several together, and window by window."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.replay.columns import spans
from mm_nav.replay.records import ERRORS, HORIZONS_S, STAGES, Event

Column = npt.NDArray[np.float32]
Columns = Mapping[str, Column]

# Of this much of a recording one number is kept for the comparison of two replays: steps in a row are alike.
WINDOW_S = 5.0
# Nearer to the body than this is a near-collision; the guard keeps 0.03 m by default.
NEAR_M = 0.05
# Where more of the scans have points inside the body than this, it is another robot's.
_OWN_BODY_SHARE = 0.2
_STRANGE_FRAMES = 4
_MEANS = tuple(f"{what}_{h}s_m" for h in HORIZONS_S for what in ERRORS)


def measures_of(c: Columns) -> dict[str, Any]:
    """Return the measures of columns (steps,) each. What could not be measured is nan."""
    active = c["active"] > 0
    moving = (np.abs(c["linear"]) > 0.01) | (np.abs(c["angular"]) > 0.01)
    return {
        "active_share": _mean(c["active"]),
        **{name: _mean(c[name]) for name in _MEANS},
        # The policy looks 2 m ahead: of a robot that goes farther in the time, or nowhere, nothing can be said.
        **{f"policy_{h}s_share": _share(c[f"policy_ade_{h}s_m"], c[f"ade_{h}s_m"]) for h in HORIZONS_S},
        "ade_2s_p90_m": _percentile(c["ade_2s_m"], 90),
        "heading_error_deg": math.degrees(_mean(c["heading_error"])),
        "speed_error_mps": _mean(np.abs(c["linear"] - c["recorded_linear"])[active]),
        "turn_error_rps": _mean(np.abs(c["angular"] - c["recorded_angular"])[active]),
        "linear_mean_mps": _mean(c["linear"]),
        "linear_max_mps": _max(c["linear"]),
        "angular_mean_abs_rps": _mean(np.abs(c["angular"])),
        "angular_max_abs_rps": _max(np.abs(c["angular"])),
        "moving_share": _mean(moving.astype(np.float32)),
        "recorded_linear_mean_mps": _mean(c["recorded_linear"]),
        "recorded_linear_max_mps": _max(c["recorded_linear"]),
        "stages": {
            stage.value: int((c["stage"] == k).sum()) for k, stage in enumerate(STAGES) if (c["stage"] == k).any()
        },
        "guard_stops": _count(c["stopped"]),
        "guard_limited": _count(c["limited"]),
        "recorded_guard_stops": _count(c["recorded_stopped"]),
        "recorded_guard_limited": _count(c["recorded_limited"]),
        "near_collisions": _episodes(c, c["foreseen_clearance_m"] < NEAR_M),
        "recorded_near_collisions": _episodes(c, c["clearance_m"] < NEAR_M),
        "clearance_min_m": _min(c["clearance_m"]),
        "clearance_p05_m": _percentile(c["clearance_m"], 5),
        "foreseen_clearance_min_m": _min(c["foreseen_clearance_m"]),
        "visible_share": _mean((c["visible"] >= 0.5).astype(np.float32)[np.isfinite(c["visible"])]),
        "confidence_mean": _mean(c["confidence"][active]),
        "confidence_max": _max(c["confidence"][active]),
        **{
            f"strange_{of}_{name}": value
            for of in ("image", "scan")
            for name, value in (
                ("p50", _percentile(c[f"strange_{of}"], 50)),
                ("p99", _percentile(c[f"strange_{of}"], 99)),
                ("share", _mean((c[f"strange_{of}"] > 1).astype(np.float32)[np.isfinite(c[f"strange_{of}"])])),
            )
        },
        "latency_p50_ms": _percentile(c["latency_ms"], 50),
        "latency_p99_ms": _percentile(c["latency_ms"], 99),
        "latency_max_ms": _max(c["latency_ms"]),
    }


def windows_of(c: Columns) -> dict[str, list[float | None]]:
    """Return one value for each WINDOW_S of message time, by measure; None where there is none. Counts are per window."""
    if not len(c["time_s"]):
        return {}
    index = (c["time_s"] / WINDOW_S).astype(np.int64)
    count = int(index.max()) + 1
    near = np.zeros(len(index), np.float32)
    near[[first for first, _ in spans(c["time_s"], c["foreseen_clearance_m"] < NEAR_M)]] = 1.0
    what: dict[str, tuple[Column, Callable[[Column], float]]] = {
        **{name: (c[name], _mean) for name in _MEANS},
        "heading_error": (c["heading_error"], _mean),
        "speed_error_mps": (np.where(c["active"] > 0, np.abs(c["linear"] - c["recorded_linear"]), np.nan), _mean),
        "latency_ms": (c["latency_ms"], lambda v: _percentile(v, 99)),
        "guard_stops": (c["stopped"], _total),
        "guard_limited": (c["limited"], _total),
        "near_collisions": (near, _total),
        "foreseen_clearance_m": (c["foreseen_clearance_m"], _min),
        "visible": (c["visible"], _mean),
        "confidence": (c["confidence"], _mean),
        "strange_image": (c["strange_image"], _mean),
        "strange_scan": (c["strange_scan"], _mean),
    }
    found: dict[str, list[float | None]] = {}
    for name, (values, reduce) in what.items():
        per_window = [reduce(values[index == k]) for k in range(count)]
        found[name] = [None if math.isnan(v) else round(v, 6) for v in per_window]
    return found


def events_of(c: Columns) -> list[Event]:
    """Return what the columns show to have happened for a while."""
    kinds = (
        ("guard", c["stopped"] > 0, "guard stopped the stack"),
        ("recorded_guard", c["recorded_stopped"] > 0, "guard would have stopped the recorded robot"),
        ("near", c["clearance_m"] < NEAR_M, f"recorded robot less than {NEAR_M} m from something"),
        ("near", c["foreseen_clearance_m"] < NEAR_M, f"foreseen drive comes within {NEAR_M} m of something"),
        ("strange", c["strange_image"] > 1, "pictures unlike those of training"),
        ("strange", c["strange_scan"] > 1, "scans unlike those of training"),
    )
    found = []
    for kind, mask, text in kinds:
        for first, last in spans(c["time_s"], mask):
            # One frame in a hundred is strange even in training.
            if kind == "strange" and last - first < _STRANGE_FRAMES:
                continue
            found.append(Event(float(c["time_s"][first]), kind, text, float(c["time_s"][last])))
    return sorted(found, key=lambda event: event.time_s)


def remarks_on(c: Columns) -> list[str]:
    """Return what the columns say about the settings of the replay."""
    remarks = []
    inside = c["clearance_m"][np.isfinite(c["clearance_m"])] < 0
    if len(inside) and inside.mean() > _OWN_BODY_SHARE:
        remarks.append(
            f"{100 * inside.mean():.0f} % of the scans have points inside the robot's body, so clearances and guard stops say "
            "little: give the recorded robot with --robot, or the LiDAR's place with a mapping file"
        )
    return remarks


def pooled(columns: Sequence[Columns]) -> dict[str, Column]:
    """Return the columns of several recordings one after the other, a window apart."""
    began, parts = 0.0, []
    for c in columns:
        parts.append({**c, "time_s": c["time_s"] + np.float32(began)})
        if len(c["time_s"]):
            began += (math.floor(float(c["time_s"].max()) / WINDOW_S) + 1) * WINDOW_S
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _finite(values: Column) -> Column:
    return values[np.isfinite(values)]


def _mean(values: Column) -> float:
    known = _finite(values)
    return float(known.mean(dtype=np.float64)) if len(known) else math.nan


def _max(values: Column) -> float:
    return float(_finite(values).max(initial=-math.inf)) if len(_finite(values)) else math.nan


def _min(values: Column) -> float:
    return float(_finite(values).min(initial=math.inf)) if len(_finite(values)) else math.nan


def _total(values: Column) -> float:
    return float(_finite(values).sum()) if len(_finite(values)) else math.nan


def _percentile(values: Column, share: float) -> float:
    known = _finite(values)
    return float(np.percentile(known, share)) if len(known) else math.nan


def _share(some: Column, of: Column) -> float:
    known = np.isfinite(of).sum()
    return float(np.isfinite(some).sum() / known) if known else math.nan


def _count(values: Column) -> int:
    return int(np.nansum(values))


def _episodes(c: Columns, mask: npt.NDArray[np.bool_]) -> int:
    return sum(1 for _ in spans(c["time_s"], mask))
