"""Does the exported model drive as the trained one does? Both drive the same episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm_nav.evaluation.conditions import policy_factory
from mm_nav.evaluation.episodes import EpisodeConfig, EpisodeResult, PolicyFactory, run_episode
from mm_nav.evaluation.metrics import mcnemar_exact, wilson_interval
from mm_nav.evaluation.suites import suite_episodes
from mm_nav.learning.torch_policy import TorchPolicy
from mm_nav.parallel import Workers, run_jobs

SUITE = "seen"
Pair = tuple[EpisodeResult, EpisodeResult]


def compare_closed_loop(
    checkpoint: Path,
    model: Path,
    seed: int,
    episodes: int,
    workers: Workers | int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    time_limit_s: float = 120.0,
) -> dict[str, Any]:
    """Drive suite "seen" from `seed` on with PyTorch and with ONNX Runtime; return flat plain values. time_limit_s: simulated.

    success_rate is ONNX Runtime's, torch_success_rate PyTorch's; p_value: exact McNemar test on the pairs; same_endings: share
    of pairs that end in the same way, at the same thing. Raises ModelError when the two files are of different networks.
    """
    files = str(checkpoint.absolute()), str(model.absolute())
    jobs = [(*files, one, time_limit_s) for one in range(seed, seed + episodes)]
    pairs: list[Pair] = []
    for pair in run_jobs(_drive_both, jobs, workers):
        pairs.append(pair)
        progress(len(pairs), episodes)
    onnx, torch = ([pair[k].success for pair in pairs] for k in (0, 1))
    same = sum(a.ended_at == b.ended_at and a.error_code == b.error_code for a, b in pairs)
    return {
        "suite": SUITE,
        "seed": seed,
        "episodes": episodes,
        "success_rate": sum(onnx) / episodes,
        "success_rate_ci95": list(wilson_interval(sum(onnx), episodes)),
        "torch_success_rate": sum(torch) / episodes,
        "torch_success_rate_ci95": list(wilson_interval(sum(torch), episodes)),
        "p_value": mcnemar_exact(onnx, torch),
        "same_endings": same / episodes,
    }


def _drive_both(checkpoint: str, model: str, seed: int, time_limit_s: float) -> Pair:
    (episode, *_), task = suite_episodes(SUITE, seed)
    twin = TorchPolicy(Path(checkpoint), Path(model))
    factories: tuple[PolicyFactory, PolicyFactory] = (policy_factory("full", Path(model)), lambda context: twin)
    config = EpisodeConfig(time_limit_s=time_limit_s)
    exported, trained = (run_episode(episode, task, factory, config) for factory in factories)
    return exported, trained
