"""Rates with intervals, SPL, and paired tests. Every number of a report comes from here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
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
    means = _bootstrap_means(np.asarray(values, np.float64), seed, resamples)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def _bootstrap_means(data: npt.NDArray[np.float64], seed: int, resamples: int) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng([seed, len(data)])
    means = np.empty(resamples)
    for start in range(0, resamples, 500):  # in blocks: 4000 x 10 000 indices at once would take 320 MB
        count = min(500, resamples - start)
        means[start : start + count] = data[rng.integers(0, len(data), (count, len(data)))].mean(axis=1)
    return means


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the two-sided exact p-value that two systems differ in success on the same episodes, in order.

    Source: McNemar, 1947, with the binomial distribution in place of its approximation. Raises ConfigError when the
    sequences differ in length.
    """
    _check_paired(first, second)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differing = only_first + only_second
    return float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, adjusted so that the chance of any false finding among them is kept.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979. Same order; each at most 1.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = most
    return adjusted


def paired_rate_difference(
    first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95
) -> tuple[float, Interval]:
    """Return the rate of `second` less that of `first` on the same episodes, in order, and its interval.

    Source: Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
    1998, method 10. Unlike a bootstrap it has a width when no episode differs. nan without episodes. Raises ConfigError
    when the sequences differ in length.
    """
    _check_paired(first, second)
    count = len(first)
    if count == 0:
        return math.nan, (math.nan, math.nan)
    pairs = list(zip(first, second, strict=True))
    both, neither = sum(a and b for a, b in pairs), sum(not a and not b for a, b in pairs)
    only_first, only_second = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    wins = both + only_first, both + only_second
    product = wins[0] * (count - wins[0]) * wins[1] * (count - wins[1])
    association = float(both * neither - only_first * only_second)
    if association > 0:
        association = max(0.0, association - count / 2)
    phi = association / math.sqrt(product) if product else 0.0
    rates = wins[0] / count, wins[1] / count
    (low1, high1), (low2, high2) = (wilson_interval(won, count, confidence) for won in wins)
    difference = rates[1] - rates[0]
    below = _joined(rates[1] - low2, high1 - rates[0], phi)
    above = _joined(high2 - rates[1], rates[0] - low1, phi)
    return difference, (difference - below, difference + above)


def _joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2.0 * phi * a * b + b * b))


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], seed: int = 0, confidence: float = 0.95, resamples: int = 10_000
) -> tuple[float, Interval, float]:
    """Return the mean of `second` less that of `first` on the same episodes, its percentile interval, and a two-sided p-value.

    Episodes are drawn with replacement, both values of one together. The p-value is twice the share of means on the smaller
    side of zero, with one resample added so that it is never 0 (Davison and Hinkley 1997). Same seed, same numbers; nan
    without episodes. Raises ConfigError when the sequences differ in length.
    """
    _check_paired(first, second)
    if len(first) == 0:
        return math.nan, (math.nan, math.nan), math.nan
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    means = _bootstrap_means(differences, seed, resamples)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    side = min(int((means <= 0.0).sum()), int((means >= 0.0).sum()))
    return float(differences.mean()), (float(low), float(high)), min(1.0, 2.0 * (side + 1) / (resamples + 1))


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


def _check_paired(first: Sequence[object], second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise ConfigError(f"a paired test needs the same episodes on both sides, got {len(first)} and {len(second)}")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
