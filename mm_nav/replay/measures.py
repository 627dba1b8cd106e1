"""What the measures of a replay are called and how they are written, for the report and for the comparison of two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DASH = "–"

_UNITS = {
    "_s_m": "m", "_mps": "m/s", "_rps": "rad/s", "_ms": "ms", "_deg": "°", "_hz": "Hz", "_share": "%", "_rate": "%",
    "_m": "m", "_s": "s", "_rad": "rad", "_mb": "MB", "_px": "px",
}  # fmt: skip
_LABELS = {
    "bag": "recording", "goal": "asked", "ended": "how the goal ended", "error_code": "error code of the goal",
    "steps": "steps of the stack", "duration_s": "recorded time", "message_time_s": "replayed time", "wall_s": "time it took",
    "realtime_factor": "times real time", "modalities": "sensors", "moving_share": "steps in which the stack moves",
    "guard_stops": "steps in which the guard stopped the stack", "guard_limited": "steps in which the guard limited the stack",
    "recorded_guard_stops": "steps in which it would have stopped the recorded robot",
    "recorded_guard_limited": "steps in which it would have limited the recorded robot",
    "near_collisions": "near collisions, foreseen", "recorded_near_collisions": "near collisions of the recorded robot",
    "heading_error_deg": "heading error over 2 s",
    "speed_error_mps": "speed error", "turn_error_rps": "turn rate error",
    "ade_2s_p90_m": "error over 2 s, 90th percentile", "active_share": "steps with a goal",
    "visible_share": "steps with the target in view", "strange_image_share": "pictures unlike the training",
    "strange_scan_share": "scans unlike the training",
    "strange_reasons": "why they are",
    "messages_skipped": "messages skipped", "window_s": "window of the comparison",
    "bag_fingerprint": "fingerprint of the recording",
    "heading_error": "heading error over 2 s", "visible": "target in view", "latency_ms": "latency, p99",
}  # fmt: skip
_WHO = {"policy_": "policy's waypoints, ", "straight_": "straight on, "}
_WHAT = {"ade": "error over", "fde": "error at"}
_WORDS = {"p50": "median", "p05": "5th percentile", "max": "max", "mean": "mean", "abs": "absolute"}
_OWN_UNITS = {"heading_error": "rad"}

# Groups of the table of all measures: title and how its keys begin; the first that fits.
_GROUPS = (
    ("Open loop: what would have been driven against what was driven",
     ("ade_", "fde_", "policy_ade", "policy_fde", "straight_", "heading_error", "speed_error", "turn_error", "open_loop")),
    ("Safety", ("guard", "recorded_guard", "recorded_near", "near", "clearance", "foreseen")),
    ("Commands", ("active", "linear", "angular", "moving", "recorded_", "wanted_")),
    ("Perception", ("strange", "visible", "target", "confidence", "policy_", "inference")),
    ("Goal", ("goal", "ended", "error_code", "stages")),
    ("Speed of the stack", ("latency", "realtime", "wall", "deadline")),
    ("Recording", ("bag", "steps", "duration", "message", "modalities", "scan_", "image_", "cloud_", "odometry_", "command_",
                   "camera", "window", "topic")),
)  # fmt: skip
# Shown elsewhere on the page, or not for people.
_LEFT_OUT = ("windows", "topics", "warnings", "provenance", "events")


@dataclass(frozen=True)
class Measure:
    """One row: key in the JSON, what it is called, its value as text with its unit."""

    key: str
    label: str
    text: str


def unit_of(key: str) -> str:
    """Return the unit that a key's ending names, "" = none."""
    if key in _OWN_UNITS:
        return _OWN_UNITS[key]
    parts = key.split("_")
    if parts[-1] in ("p05", "p50", "p90", "p95", "p99", "max", "mean", "min"):
        key = "_".join(parts[:-1])
    return next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")


def label_of(key: str) -> str:
    """Return what a measure is called: of the known ones a phrase, of any other its key in words."""
    if key in _LABELS:
        return _LABELS[key]
    who = next((text for start, text in _WHO.items() if key.startswith(start)), "")
    parts = key.removeprefix(next((start for start in _WHO if key.startswith(start)), "")).split("_")
    if len(parts) == 3 and parts[0] in _WHAT and parts[1].endswith("s") and parts[1][:-1].isdigit() and parts[2] == "m":
        return f"{who}{_WHAT[parts[0]]} {parts[1][:-1]} s"
    ending = next((ending for ending in _UNITS if key.endswith(ending)), "")
    words = key.removesuffix(ending).split("_") if ending and ending != "_share" else key.split("_")
    return " ".join(_WORDS.get(word, word) for word in words if word) or key


def text_of(key: str, value: Any, unit: bool = True) -> str:
    """Return a value as people read it, a dash where there is none. Shares become per cent."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)) or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text_of('', item)}" for name, item in value.items()) or DASH
    if isinstance(value, (list, tuple)):
        return ", ".join(text_of("", item) for item in value) or DASH
    name = unit_of(key)
    if isinstance(value, (int, float)):
        text = number(100 * value) if name == "%" else number(value)
        return f"{text}\u202f{name}" if unit and name else text
    return str(value)


def number(value: float) -> str:
    """Return a number with three digits that count, whole ones as they are."""
    if isinstance(value, int) or (value == round(value) and abs(value) < 1e15):
        return f"{round(value):,}".replace(",", "\u202f")
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def grouped(data: Mapping[str, Any]) -> list[tuple[str, list[Measure]]]:
    """Return all measures of a replay's JSON by group, those that nobody foresaw in the last."""
    groups: dict[str, list[Measure]] = {title: [] for title, _ in _GROUPS}
    for key, value in data.items():
        if key in _LEFT_OUT or (
            isinstance(value, (list, tuple)) and any(isinstance(v, (Mapping, list)) for v in value)
        ):
            continue
        title = next((title for title, starts in _GROUPS if key.startswith(starts)), "Other")
        groups.setdefault(title, []).append(Measure(key, label_of(key), text_of(key, value)))
    return [(title, rows) for title, rows in groups.items() if rows]
