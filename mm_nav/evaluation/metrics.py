"""Rates with intervals, SPL, and paired tests. Every number of a report comes from here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mm_nav.errors import ConfigError
from mm_nav.sim.episode import spl as spl

Interval = tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """What counts of one episode. Lengths in metres; shortest_path_m may be inf when no way leads to the target."""

    success: bool
    collided: bool
    path_length_m: float
    shortest_path_m: float


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a rate; (nan, nan) without trials.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Unlike the normal
    interval it keeps its coverage near 0 and 1 and for few trials.
    """
    if not 0 <= successes <= trials:
        raise ConfigError(f"{successes} successes in {trials} trials cannot be")
    if trials == 0:
        return math.nan, math.nan
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    rate, shrink = successes / trials, 1.0 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At the ends the formula is exact but its arithmetic is not.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def bootstrap_interval(
    values: Sequence[float], seed: int = 0, confidence: float = 0.95, resamples: int = 4000
) -> Interval:
    """Return the percentile bootstrap interval of the mean of `values`; (nan, nan) without any. Same seed, same
    interval."""
    if len(values) == 0:
        return math.nan, math.nan
    data = np.asarray(values, np.float64)
    rng = np.random.default_rng([seed, len(data)])
    means = np.empty(resamples)
    for start in range(0, resamples, 500):  # in blocks: 4000 x 10 000 indices at once would take 320 MB
        count = min(500, resamples - start)
        means[start : start + count] = data[rng.integers(0, len(data), (count, len(data)))].mean(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the two-sided exact p-value that two systems differ in success on the same episodes, in order.

    Source: McNemar, 1947, with the binomial distribution in place of its approximation. Raises ConfigError when the
    sequences differ in length.
    """
    if len(first) != len(second):
        raise ConfigError(f"a paired test needs the same episodes on both sides, got {len(first)} and {len(second)}")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differing = only_first + only_second
    return float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0


def summarise(outcomes: Sequence[Outcome], seed: int = 0) -> dict[str, float | int | list[float]]:
    """Return success_rate, spl and collision_rate, each with its _ci95 [low, high], and episodes.

    Rates are in [0, 1]; without outcomes they are nan. seed: of the bootstrap of SPL.
    """
    count = len(outcomes)
    successes = sum(o.success for o in outcomes)
    collisions = sum(o.collided for o in outcomes)
    lengths = [spl(o.success, o.path_length_m, o.shortest_path_m) for o in outcomes]
    return {
        "success_rate": _share(successes, count),
        "success_rate_ci95": list(wilson_interval(successes, count)),
        "spl": float(np.mean(lengths)) if lengths else math.nan,
        "spl_ci95": list(bootstrap_interval(lengths, seed)),
        "collision_rate": _share(collisions, count),
        "collision_rate_ci95": list(wilson_interval(collisions, count)),
        "episodes": count,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
