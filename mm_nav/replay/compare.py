"""Two replays of the same recordings, window by window: what became better or worse, and whether that is more than chance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav.errors import ConfigError
from mm_nav.evaluation.metrics import paired_bootstrap

# With fewer pairs no interval is believed: the sign test, too, needs six that agree for p < 0.05.
LEAST_WINDOWS = 6

Values = list[float | None]


@dataclass(frozen=True)
class Way:
    """How a measure is judged. better: -1 lower, +1 higher, 0 neither. share: a change by more than this share of A's mean counts,
    unless a threshold is given. count: things that happened; their totals are compared, not their means."""

    better: int
    share: float = 0.05
    count: bool = False


_ERROR = Way(-1)
# Wall-clock time varies from run to run on a machine that does other things, too.
_TIME = Way(-1, 0.2)
_COUNT = Way(-1, 0.05, True)
_ROOM = Way(1)
# Worth seeing, but neither end is good in itself; all that is not named here is such.
_NEITHER = Way(0)
WAYS: Mapping[str, Way] = {
    **{f"{what}_{h}s_m": _ERROR for what in ("ade", "fde", "policy_ade", "policy_fde") for h in (1, 2, 4)},
    "heading_error": _ERROR, "speed_error_mps": _ERROR, "turn_error_rps": _ERROR,
    "latency_ms": _TIME, "inference_ms": _TIME,
    "guard_stops": _COUNT, "guard_limited": _COUNT, "near_collisions": _COUNT,
    "foreseen_clearance_m": _ROOM,
    "recorded_guard_stops": Way(0, count=True), "recorded_guard_limited": Way(0, count=True),
}  # fmt: skip
VERDICTS = ("regression", "improvement", "changed", "no difference shown", "too few windows")


@dataclass(frozen=True)
class Difference:
    """One measure of B against A, over the windows in which both have it.

    a, b: means of the windows, or totals of a count. change: b - a, with its 95 % interval low to high. threshold: what a change
    must exceed, same unit. verdict: one of VERDICTS. only_a, only_b: windows that only one has. series: per recording
    (values of A, values of B), None where there is none.
    """

    key: str
    way: Way
    pairs: int
    only_a: int
    only_b: int
    a: float
    b: float
    change: float
    low: float
    high: float
    p_value: float
    threshold: float
    verdict: str
    series: tuple[tuple[Values, Values], ...] = field(repr=False, default=())


@dataclass(frozen=True)
class Comparison:
    """Two replays. recordings: their names. goals: what was asked in each. differences: a measure each."""

    recordings: tuple[str, ...]
    goals: tuple[str, ...]
    window_s: float
    differences: tuple[Difference, ...]

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """What became worse by more than its threshold and more than chance."""
        return tuple(d for d in self.differences if d.verdict == "regression")

    def as_dict(self) -> dict[str, Any]:
        """Return flat JSON."""
        data: dict[str, Any] = {
            "recordings": list(self.recordings),
            "goal": list(dict.fromkeys(self.goals)),
            "window_s": self.window_s,
            "regression": bool(self.regressions),
            "regressions": [d.key for d in self.regressions],
            "improvements": [d.key for d in self.differences if d.verdict == "improvement"],
        }
        for d in self.differences:
            data |= {
                f"{d.key}_a": d.a, f"{d.key}_b": d.b, f"{d.key}_change": d.change, f"{d.key}_change_ci95": [d.low, d.high],
                f"{d.key}_p_value": d.p_value, f"{d.key}_threshold": d.threshold, f"{d.key}_windows": d.pairs,
                f"{d.key}_windows_only_a": d.only_a, f"{d.key}_windows_only_b": d.only_b, f"{d.key}_verdict": d.verdict,
            }  # fmt: skip
        return data


def read_replay(path: Path) -> dict[str, Any]:
    """Return the JSON that `mm-nav replay --json` wrote. Raises ConfigError when it is something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): give what `mm-nav replay --json` wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON ({error}): give what `mm-nav replay --json` wrote") from error
    if not isinstance(data, dict) or not isinstance(data.get("windows"), dict):
        raise ConfigError(f"{path} has no 'windows': make it with `mm-nav replay … --json {path.name}` of this version")
    return data


def compare(
    a: Mapping[str, Any], b: Mapping[str, Any], thresholds: Mapping[str, float] | None = None, seed: int = 0
) -> Comparison:
    """Return B against A; both are JSON of `mm-nav replay` of the same recordings, goals and windows.

    Steps that follow one another are alike, so whole windows are what is drawn anew: 10 000 paired bootstrap resamples, the same
    for a seed. A regression: the 95 % interval of the change lies on the bad side of 0, and the change exceeds the threshold: of
    `thresholds` in the measure's own unit (of a count: of its total), else Way.share of A. Raises ConfigError when the two cannot
    be compared, and says what differs.
    """
    one, other = _recordings(a, "A"), _recordings(b, "B")
    _check_same(one, other)
    thresholds = thresholds or {}
    keys = [key for key in dict.fromkeys(key for r in (*one, *other) for key in r["windows"])]
    for key, value in thresholds.items():
        if key not in keys:
            raise ConfigError(f"no measure is called '{key}': thresholds can be given for {', '.join(sorted(keys))}")
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"the threshold of {key} is {value}: give a number from 0 up, in the unit of the measure")
    return Comparison(
        recordings=tuple(Path(str(r.get("bag", "recording"))).name for r in one),
        goals=tuple(_goal(r) for r in one),
        window_s=float(one[0]["window_s"]),
        differences=tuple(
            _difference(key, [_paired(x, y, key) for x, y in zip(one, other, strict=True)], thresholds.get(key), seed)
            for key in keys
        ),
    )


def _recordings(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the parts of a replay that have windows, one a recording. Raises ConfigError where there are none."""
    parts = data.get("recordings") or [data]
    for part in parts:
        windows = part.get("windows") if isinstance(part, Mapping) else None
        if not isinstance(windows, Mapping) or not isinstance(part.get("window_s"), (int, float)):
            raise ConfigError(
                f"{name} has no 'windows' and 'window_s': make it with `mm-nav replay --json` of this version"
            )
        for key, values in windows.items():
            if not isinstance(values, list) or not all(v is None or _is_number(v) for v in values):
                raise ConfigError(
                    f"{name}: the windows of '{key}' are not a list of numbers: the file was changed or is damaged"
                )
    return list(parts)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_same(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> None:
    if len(one) != len(other):
        raise ConfigError(f"A has {len(one)} recordings and B {len(other)}: compare replays of the same ones")
    for x, y in zip(one, other, strict=True):
        bag = Path(str(x.get("bag", "recording"))).name
        for key, what in (("bag_fingerprint", "recording"), ("goal", "goal"), ("window_s", "window length")):
            if x.get(key) != y.get(key):
                raise ConfigError(
                    f"{bag}: the {what} differs, {key} is {x.get(key)!r} in A and {y.get(key)!r} in B: only replays of the same "
                    "recordings with the same goals can be compared"
                )


def _goal(part: Mapping[str, Any]) -> str:
    return str(part.get("goal") or "")


def _paired(x: Mapping[str, Any], y: Mapping[str, Any], key: str) -> tuple[Values, Values]:
    """Return a measure's windows of both, equally many."""
    a, b = (_known(part["windows"].get(key) or []) for part in (x, y))
    count = max(len(a), len(b))
    return a + [None] * (count - len(a)), b + [None] * (count - len(b))


def _known(values: Sequence[Any]) -> Values:
    return [None if v is None or not math.isfinite(v) else float(v) for v in values]


def _difference(key: str, series: list[tuple[Values, Values]], threshold: float | None, seed: int) -> Difference:
    way = WAYS.get(key, _NEITHER)
    both = [pair for a, b in series for pair in zip(a, b, strict=True)]
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    change, (low, high), p_value = paired_bootstrap(first, second, seed)
    # What a count adds up to is what people count in; its interval is that of the mean, as many times.
    scale = float(len(pairs)) if way.count else 1.0
    mean = (float(np.mean(first)), float(np.mean(second))) if pairs else (math.nan, math.nan)
    limit = threshold if threshold is not None else way.share * abs(scale * mean[0])
    change, low, high = scale * change, scale * low, scale * high
    return Difference(
        key=key,
        way=way,
        pairs=len(pairs),
        only_a=sum(a is not None and b is None for a, b in both),
        only_b=sum(a is None and b is not None for a, b in both),
        a=scale * mean[0],
        b=scale * mean[1],
        change=change,
        low=low,
        high=high,
        p_value=p_value,
        threshold=limit,
        verdict=_verdict(way, len(pairs), change, low, high, limit),
        series=tuple(series),
    )


def _verdict(way: Way, pairs: int, change: float, low: float, high: float, limit: float) -> str:
    if pairs < LEAST_WINDOWS:
        return "too few windows"
    if not (low > 0 or high < 0) or abs(change) <= limit:
        return "no difference shown"
    if way.better == 0:
        return "changed"
    return "improvement" if change * way.better > 0 else "regression"
