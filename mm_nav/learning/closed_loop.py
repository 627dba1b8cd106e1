"""Does one model drive as another does: the exported one as the trained one, the one in int8 as the one in fp32?"""

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
    other: Path,
    model: Path,
    seed: int,
    episodes: int,
    workers: Workers | int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    time_limit_s: float = 120.0,
) -> dict[str, Any]:
    """Drive suite "seen" from `seed` on with an exported model and with another one: a checkpoint of the same network, which
    runs in PyTorch, or an exported model. Return flat plain values. time_limit_s: simulated.

    success_rate is the model's; torch_success_rate or other_success_rate the other's; p_value: exact McNemar test on the pairs;
    same_endings: share of pairs that end in the same way, at the same thing. Raises ModelError when a checkpoint is of another
    network.
    """
    files, prefix = (str(other.absolute()), str(model.absolute())), "other" if other.suffix == ".onnx" else "torch"
    jobs = [(*files, one, time_limit_s) for one in range(seed, seed + episodes)]
    pairs: list[Pair] = []
    for pair in run_jobs(_drive_both, jobs, workers):
        pairs.append(pair)
        progress(len(pairs), episodes)
    own, others = ([pair[k].success for pair in pairs] for k in (0, 1))
    same = sum(a.ended_at == b.ended_at and a.error_code == b.error_code for a, b in pairs)
    return {
        "suite": SUITE,
        "seed": seed,
        "episodes": episodes,
        "success_rate": sum(own) / episodes,
        "success_rate_ci95": list(wilson_interval(sum(own), episodes)),
        f"{prefix}_success_rate": sum(others) / episodes,
        f"{prefix}_success_rate_ci95": list(wilson_interval(sum(others), episodes)),
        "p_value": mcnemar_exact(own, others),
        "same_endings": same / episodes,
    }


def _drive_both(other: str, model: str, seed: int, time_limit_s: float) -> Pair:
    (episode, *_), task = suite_episodes(SUITE, seed)
    config = EpisodeConfig(time_limit_s=time_limit_s)
    own, others = (
        run_episode(episode, task, make, config) for make in (policy_factory("full", Path(model)), _made(other, model))
    )
    return own, others


def _made(other: str, model: str) -> PolicyFactory:
    if other.endswith(".onnx"):
        return policy_factory("full", Path(other))
    twin = TorchPolicy(Path(other), Path(model))
    return lambda context: twin
