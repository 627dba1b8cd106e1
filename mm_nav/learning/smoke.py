"""The whole way in miniature: collect a few worlds, train a little, export, and let the result drive.

It shows that the parts fit together, not that the policy is any good.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mm_nav.command import ErrorCode
from mm_nav.evaluation.episodes import EpisodeConfig, run_episode
from mm_nav.learning.collect import CollectConfig, collect
from mm_nav.learning.export import export_policy
from mm_nav.learning.train import TrainConfig, TrainState, load_policy, train
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.sim.episode import make_episode

_WORLDS, _WORLDS_PER_SHARD, _FRAMES = 4, 2, 16  # the second shard is for validation
_BATCH, _PHRASES, _EPOCHS = 8, 4, 15  # four steps an epoch; losses are means of 20 steps
_EPISODE_SEED, _EPISODE_S = 1, 3.0


def smoke(
    collect_config: CollectConfig,
    train_config: TrainConfig,
    policy_config: PolicyConfig,
    out: Path,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Do it all in `out`, which keeps smoke.onnx and checkpoint.pt; return flat plain values.

    The settings are the given ones but for the amounts: worlds, frames, steps, batch; it does not look first, for losses are
    compared, and it begins from nothing. The network is the given one. say: hears what is done now. passed: the loss of the
    last steps is below that of the first. Raises ModelError when the exported file differs from the network.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    few = replace(
        collect_config,
        first_seed=0,
        worlds=_WORLDS,
        frames=_FRAMES,
        worlds_per_shard=_WORLDS_PER_SHARD,
        extra_styles=0.0,
    )
    losses: list[float] = []
    steps = [0]

    def report(state: TrainState, steps_per_epoch: int, values: dict[str, float]) -> None:
        losses.append(values["total"])
        steps[0] = state.step
        say(f"step {state.step}, loss {values['total']:.3f}")

    with tempfile.TemporaryDirectory(dir=out, prefix="frames-") as data:
        for done, of in collect(Path(data), few, policy_config, 1):
            say(f"frames of {done} of {of} worlds")
        little = replace(
            train_config,
            data=data,
            more=(),
            init="",
            epochs=_EPOCHS,
            minutes=0.0,
            batch=_BATCH,
            phrases=_PHRASES,
            warmup_steps=10,
            look_share=0.0,
            validation_shards=1,
        )
        metrics = train(little, policy_config, out, report)
    say("export")
    model = out / "smoke.onnx"
    difference = export_policy(load_policy(out / "checkpoint.pt"), model, metrics=metrics)
    say("an episode")
    policy = OnnxPolicy(model, provider="cpu")
    episode, task = make_episode(_EPISODE_SEED, "category")
    result = run_episode(episode, task, lambda _: policy, EpisodeConfig(time_limit_s=_EPISODE_S))
    return {
        "passed": losses[-1] < losses[0],
        "frames": _WORLDS * _FRAMES,
        "steps": steps[0],
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "validation_total": metrics["total"],
        "onnx_parity": difference,
        "model": model,
        "episode_seed": episode.seed,
        "episode_steps": result.control_steps,
        "episode_error": ErrorCode(result.error_code).name,
        "episode_success": result.success,
        "wall_s": round(time.monotonic() - started, 1),
    }
