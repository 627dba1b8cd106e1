"""The ablation study: what each part of the stack is worth, on the same episodes. All its numbers come from here."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mm_nav import __version__
from mm_nav.errors import ConfigError
from mm_nav.evaluation.conditions import CONDITIONS
from mm_nav.evaluation.endings import ending
from mm_nav.evaluation.episodes import EpisodeResult
from mm_nav.evaluation.language import Record, SuiteConfig, summarise_suite
from mm_nav.evaluation.metrics import holm, mcnemar_exact, paired_bootstrap, paired_rate_difference
from mm_nav.evaluation.suites import SUITES
from mm_nav.runtime.manifest import load_manifest

ABLATIONS = tuple(name for name in CONDITIONS if name != "random_goal")
# Two turns a seed are no independent episodes, and a pair of them is what such a suite counts.
_NOT_PAIRED = ("swap",)


@dataclass(frozen=True)
class SuiteRun:
    """A suite that was run: its settings and all its records."""

    config: SuiteConfig
    records: tuple[Record, ...]

    def of(self, condition: str) -> list[EpisodeResult]:
        """Return a condition's results, in the order of seeds."""
        return sorted((r.result for r in self.records if r.condition == condition), key=lambda r: r.seed)


@dataclass(frozen=True)
class Comparison:
    """A condition against the main one on the same episodes of a suite.

    losses: episodes that only the main condition solved; wins: that only this one did. Differences are this condition less
    the main one, with 95 % intervals. p_value: exact McNemar test of success; spl_p_value: paired bootstrap. p_holm, spl_p_holm:
    the same after Holm's correction over all comparisons of the report.
    """

    suite: str
    condition: str
    episodes: int
    losses: int
    wins: int
    difference: float
    difference_ci95: tuple[float, float]
    p_value: float
    spl_difference: float
    spl_difference_ci95: tuple[float, float]
    spl_p_value: float
    p_holm: float = 1.0
    spl_p_holm: float = 1.0


def check_suites(names: Sequence[str]) -> None:
    """Raise ConfigError when there is no suite, or one that has no single episodes to pair."""
    wrong = [name for name in names if name in _NOT_PAIRED]
    if wrong or not names:
        raise ConfigError(
            f"suites {', '.join(wrong) or '(none)'}: an ablation pairs single episodes; give some of "
            f"{', '.join(name for name in SUITES if name not in _NOT_PAIRED)}"
        )


def main_condition(conditions: Sequence[str]) -> str:
    """Return what the others are compared with: "full", or the first where that is not run."""
    return "full" if "full" in conditions else conditions[0]


def compare(runs: Sequence[SuiteRun]) -> list[Comparison]:
    """Return every condition against the main one in every suite; Holm's correction is over all of them."""
    found = []
    for run in runs:
        main = main_condition(run.config.conditions)
        base = {r.seed: r for r in run.of(main)}
        for name in run.config.conditions:
            if name == main:
                continue
            pairs = [(base[r.seed], r) for r in run.of(name) if r.seed in base]
            found.append(_compared(run.config, name, pairs))
    corrected = holm([c.p_value for c in found])
    spl_corrected = holm([c.spl_p_value for c in found])
    return [replace(c, p_holm=p, spl_p_holm=q) for c, p, q in zip(found, corrected, spl_corrected, strict=True)]


def _compared(config: SuiteConfig, name: str, pairs: Sequence[tuple[EpisodeResult, EpisodeResult]]) -> Comparison:
    first, second = [a.success for a, _ in pairs], [b.success for _, b in pairs]
    difference, interval = paired_rate_difference(first, second)
    spl, spl_interval, spl_p = paired_bootstrap([a.spl for a, _ in pairs], [b.spl for _, b in pairs], config.seed)
    return Comparison(
        config.suite,
        name,
        len(pairs),
        sum(a and not b for a, b in zip(first, second, strict=True)),
        sum(b and not a for a, b in zip(first, second, strict=True)),
        difference,
        interval,
        mcnemar_exact(first, second),
        spl,
        spl_interval,
        spl_p,
    )


def failures(results: Sequence[EpisodeResult]) -> Counter[str]:
    """Return how often each ending of failed episodes occurred."""
    return Counter(ending(r) for r in results if not r.success)


def path_ratio(result: EpisodeResult) -> float:
    """Return the length of the driven way over the shortest; at least 1."""
    return max(1.0, result.path_length_m / max(result.shortest_path_m, 1e-6))


def summarise_ablation(
    runs: Sequence[SuiteRun],
    comparisons: Sequence[Comparison],
    not_run: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the study's flat JSON.

    Keys of a suite are those of `summarise_suite`; the first suite's stand alone, others carry the suite's name in front
    (combination_no_language_success_rate). Comparisons add, per condition, p_holm_, success_difference_, spl_difference_ (both
    with ..._ci95), spl_p_value_, spl_p_holm_, wins_ and losses_. not_run: conditions without numbers, and why.
    """
    data: dict[str, Any] = {}
    for index, run in enumerate(runs):
        prefix = "" if index == 0 else f"{run.config.suite}_"
        data.update({prefix + key: value for key, value in summarise_suite(run.records, run.config).items()})
        for c in comparisons:
            if c.suite == run.config.suite:
                data.update({prefix + key: value for key, value in _flat(c).items()})
    data["suites"] = [run.config.suite for run in runs]
    data["conditions"] = list(runs[0].config.conditions)
    data["comparisons"] = len(comparisons)
    data["not_run"] = list(not_run)
    data.update({f"not_run_{name}": why for name, why in not_run.items()})
    return {**data, **provenance}


def _flat(c: Comparison) -> dict[str, Any]:
    return {
        f"p_value_{c.condition}": c.p_value,
        f"p_holm_{c.condition}": c.p_holm,
        f"success_difference_{c.condition}": c.difference,
        f"success_difference_{c.condition}_ci95": list(c.difference_ci95),
        f"spl_difference_{c.condition}": c.spl_difference,
        f"spl_difference_{c.condition}_ci95": list(c.spl_difference_ci95),
        f"spl_p_value_{c.condition}": c.spl_p_value,
        f"spl_p_holm_{c.condition}": c.spl_p_holm,
        f"wins_{c.condition}": c.wins,
        f"losses_{c.condition}": c.losses,
    }


def provenance(config: SuiteConfig, command: str) -> dict[str, Any]:
    """Return what the numbers come from: version, Python, command line, camera, seeds, and each model's name and hash."""
    data: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "command": command,
        "camera": f"{config.camera[0]}x{config.camera[1]}",
        "first_seed": config.seed,
        "last_seed": config.seed + config.episodes - 1,
    }
    for name, file in model_files(config).items():
        prefix = "" if name == "main" else f"{name}_"
        manifest, _ = load_manifest(Path(file))
        data[f"{prefix}model"] = Path(file).name
        data[f"{prefix}model_sha256"] = manifest.model_sha256
    return data


def model_files(config: SuiteConfig) -> dict[str, str]:
    """Return the model files of a study: "main", and by condition those of variants that were run."""
    files = {"main": config.model} if config.model else {}
    return {**files, **{name: file for name, file in config.variants if name in config.conditions}}


def calibration(config: SuiteConfig) -> dict[str, Mapping[str, Any]]:
    """Return `metrics["calibration"]` of the main model's manifest: per confidence ("visible", "arrived") the tables "before"
    and "after" of {confidence, frequency, count}, ece_before, ece_after and temperature. Empty where it has none."""
    if not config.model:
        return {}
    found = load_manifest(Path(config.model))[0].metrics.get("calibration")
    if not isinstance(found, Mapping):
        return {}
    return {name: values for name, values in found.items() if isinstance(values, Mapping) and values.get("after")}
