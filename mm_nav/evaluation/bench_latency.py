"""How long the network and what feeds it take on this machine: `mm-nav bench latency`, but for its part over DDS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.evaluation.bench_sim import one_core
from mm_nav.evaluation.conditions import policy_factory
from mm_nav.evaluation.episodes import EpisodeConfig, run_episode
from mm_nav.evaluation.suites import suite_episodes
from mm_nav.observation import Observation
from mm_nav.runtime.policy import OnnxPolicy, default_model
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.runtime.session import open_session
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.simulator import SimConfig

CAMERA = CameraConfig(width=640, height=480)
_ROUNDS, _RIVALS = 8, 13
_SUITE, _SEED = "seen", 5_000
Progress = Callable[[str], None]
Call = Callable[[], object]


def bench_networks(
    models: Mapping[str, Path], other: Path | None, seconds: float, progress: Progress = lambda what: None
) -> dict[str, Any]:
    """Return p50 and p99 of each model, ms: NAME_p50_ms with one phrase on one thread and core, NAME_rivals_… with the 13
    rivals of a thing in a colour, NAME_2_threads_… on two cores.

    models: by name. other: a model to compare with (`mm_nav.learning.vint_like`), None = none. seconds: for each model and way, in
    turns, so that what else the machine does falls on all alike. ratio_OTHER: how many times as long the other takes.
    """
    report: dict[str, Any] = {}
    for threads in (1, 2):
        calls: dict[str, Call] = {}
        for name, path in models.items():
            policy = OnnxPolicy(path, provider="cpu", threads=threads)
            for suffix, phrases in (("", 1), ("_rivals", 1 + _RIVALS)):
                if threads == 1 or not suffix:
                    calls[name + suffix + ("" if threads == 1 else "_2_threads")] = _runs(policy, phrases)
        if other is not None and threads == 1:
            calls["vint_like"] = _anything(other)
        progress(f"networks on {threads} thread(s)")
        if threads == 1:
            with one_core():
                times = _in_turns(calls, seconds)
        else:
            times = _in_turns(calls, seconds)
        for name, values in times.items():
            report[f"{name}_p50_ms"], report[f"{name}_p99_ms"] = _percentiles(values)
    if other is not None:
        for name in models:
            report[f"ratio_vint_like_{name}"] = round(report["vint_like_p50_ms"] / report[f"{name}_p50_ms"], 3)
    return report


def bench_preprocess(observation: Observation, seconds: float) -> dict[str, Any]:
    """Return p50 and p99 of turning an observation into the network's inputs, ms, on one core; words are encoded once a goal."""
    policy = OnnxPolicy(default_model(), provider="cpu")
    preprocess = Preprocessor(policy.config)

    def prepare() -> None:
        preprocess.image(observation.image)
        preprocess.scan(observation.scan)

    with one_core():
        values = _in_turns({"preprocess": prepare}, seconds)["preprocess"]
    p50, p99 = _percentiles(values)
    return {"preprocess_p50_ms": p50, "preprocess_p99_ms": p99}


def record_drive(seconds: float) -> tuple[str, list[Observation]]:
    """Return a sentence, and what the robot senses while it drives by it for at most so many simulated seconds: pictures of 640x480
    and scans of 360 beams, ten a second."""
    (episode, *_), task = suite_episodes(_SUITE, _SEED)
    seen: list[Observation] = []
    config = EpisodeConfig(sim=SimConfig(camera=CAMERA), time_limit_s=seconds)
    run_episode(episode, task, policy_factory("full"), config, lambda step: seen.append(step.observation))
    return episode.instruction, seen


def _runs(policy: OnnxPolicy, phrases: int) -> Call:
    feed = policy.nothing(phrases)
    feed["image_present"][:], feed["ranges_valid"][:], feed["language_mask"][:, :6] = 1.0, 1.0, 1.0
    return lambda: policy.run(feed)


def _anything(model: Path) -> Call:
    session, rng = open_session(model, ["CPUExecutionProvider"]), np.random.default_rng(0)
    feed = {item.name: rng.random(item.shape).astype(np.float32) for item in session.get_inputs()}
    return lambda: session.run(None, feed)


def _in_turns(calls: Mapping[str, Call], seconds: float) -> dict[str, npt.NDArray[np.float64]]:
    """Return how long each call took, ms: all take turns in rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            until = time.perf_counter() + seconds / _ROUNDS
            while (started := time.perf_counter()) < until or not times[name]:
                call()
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: np.array(values) for name, values in times.items()}


def _percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return round(float(p50), 4), round(float(p99), 4)
