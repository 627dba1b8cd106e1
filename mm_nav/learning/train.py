"""Train the policy by cloning the expert; one readable loop, resumable, with TensorBoard logs."""

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from mm_nav.errors import ConfigError
from mm_nav.language.encoder import TextEncoder
from mm_nav.learning.batches import BatchSampler, channels_last
from mm_nav.learning.dataset import FrameDataset, Progress, find_shards
from mm_nav.learning.validation import validate
from mm_nav.policy.config import PolicyConfig
from mm_nav.policy.losses import policy_losses
from mm_nav.policy.model import CrossModalPolicy, Temperatures

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# More than all wordings of the phrase bank: encoding one costs as much as training on three pairs.
TRAINING_PHRASES = 30_000


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    data: folder written by `mm-nav collect`; more: further ones, of `mm-nav dagger`. batch: frames; phrases: per frame.
    minutes: wall-clock budget, 0 = none; the learning rate falls to zero over epochs or minutes, whichever ends first.
    validation_shards: the last shards of `data` are not trained on. init: checkpoint of another run whose weights are taken
    over as far as they fit ("" = none): a size with a backbone begins as the one without. seed: of weights and batches.
    """

    data: str = "data/frames"
    more: tuple[str, ...] = ()
    epochs: int = 10
    minutes: float = 0.0
    batch: int = 64
    phrases: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    validation_shards: int = 1
    init: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.phrases < 1 or self.validation_shards < 1:
            raise ConfigError("epochs, batch, phrases and validation_shards must be at least 1")


@dataclass
class TrainState:
    """What a checkpoint holds beside the tensors."""

    step: int = 0
    epoch: int = 0
    seconds: float = 0.0


Report = Callable[[TrainState, int, dict[str, float]], None]


def train(
    config: TrainConfig,
    policy_config: PolicyConfig,
    out: Path,
    report: Report | None = None,
    resume: bool = False,
    prepared: Progress = lambda done, of: None,
) -> dict[str, float]:
    """Train and return the validation metrics; checkpoints go to out/checkpoint.pt after every epoch and 5 minutes.

    Started by torchrun, its processes share every batch and average their gradients (DistributedDataParallel); all but the
    first return nothing. report(state, steps per epoch, losses) is called every 20 steps; prepared(done, of) while a
    frozen backbone looks at all pictures, before the first.
    """
    torch.manual_seed(config.seed)
    taught, kept_back = _split_shards(config)
    rank, world = _join_group()
    out.mkdir(parents=True, exist_ok=True)
    encoder = TextEncoder(policy_config.language_tokens, remember=TRAINING_PHRASES)
    data = FrameDataset(taught, policy_config)
    model = CrossModalPolicy(policy_config, pretrained=True).to(memory_format=torch.channels_last)
    if config.init:
        take_over(model, load_policy(Path(config.init)))
    if model.camera.backbone is not None:
        data.cache_features(model.camera.backbone, np.random.default_rng([config.seed, 12]), prepared)
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    state = TrainState()
    checkpoint = out / "checkpoint.pt"
    if resume and checkpoint.exists():
        state = _load(checkpoint, model, optimizer)
    # A resumed run goes on with other batches than those it has seen.
    seed = config.seed + 1000 * state.step
    sampler = BatchSampler(data, encoder, config.batch, config.phrases, seed, part=(rank, world))
    together = DistributedDataParallel(model) if world > 1 else model
    writer = _tensorboard(out) if rank == 0 else None
    kinds = policy_config.semantic_classes[0]
    steps_per_epoch = len(data) // config.batch
    started = last_saved = time.monotonic() - state.seconds
    running: dict[str, float] = defaultdict(float)
    while state.epoch < config.epochs:
        for batch in sampler.epoch():
            progress = _agreed(_progress(config, state, steps_per_epoch), world)
            if progress >= 1.0:
                break
            rate = config.learning_rate * min(1.0, (state.step + 1) / config.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * progress)) + 1e-6
            losses = policy_losses(together(channels_last(batch), batch.frozen, batch.links), batch.targets, kinds)
            optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            state.step += 1
            state.seconds = time.monotonic() - started
            for name, value in losses.items():
                running[name] += float(value.detach()) / 20
            if state.step % 20 == 0:
                if report is not None and rank == 0:
                    report(state, steps_per_epoch, dict(running))
                for name, value in running.items():
                    if writer is not None:
                        writer.add_scalar(f"train/{name}", value, state.step)
                running.clear()
            if rank == 0 and time.monotonic() - last_saved > 300:
                _save(checkpoint, model, optimizer, state, policy_config)
                last_saved = time.monotonic()
        if _agreed(_progress(config, state, steps_per_epoch), world) >= 1.0:
            break
        state.epoch += 1
        if rank == 0:
            _save(checkpoint, model, optimizer, state, policy_config)
    if rank > 0:
        return {}
    found = validate(model, kept_back, config.batch, config.phrases, encoder)
    metrics, model.temperatures = found.metrics, found.temperatures
    _save(checkpoint, model, optimizer, state, policy_config)
    if writer is not None:
        for name, number in metrics.items():
            writer.add_scalar(f"validation/{name}", number, state.step)
        writer.close()
    summary = {
        "train": asdict(config),
        "metrics": metrics,
        "calibration": found.calibration,
        "steps": state.step,
        "seconds": round(state.seconds, 1),
    }
    (out / "training.json").write_text(json.dumps(summary, indent=2) + "\n")
    return metrics


def _split_shards(config: TrainConfig) -> tuple[list[Path], list[Path]]:
    """Return the shards to train on, and those to validate on: the last ones of the first folder."""
    shards = find_shards(Path(config.data))
    if len(shards) <= config.validation_shards:
        raise ConfigError(
            f"{config.data} has {len(shards)} shards and {config.validation_shards} of them are for validation: collect "
            "more worlds, or lower worlds_per_shard so that there are more, smaller shards"
        )
    more = [shard for folder in config.more for shard in find_shards(Path(folder))]
    return shards[: -config.validation_shards] + more, shards[-config.validation_shards :]


def load_policy(checkpoint: Path) -> CrossModalPolicy:
    """Return the trained policy of a checkpoint, in eval mode. Raises ConfigError when the file is missing."""
    if not checkpoint.is_file():
        raise ConfigError(f"checkpoint {checkpoint} does not exist: run `mm-nav train` first")
    saved = torch.load(checkpoint, weights_only=True)
    policy = CrossModalPolicy(PolicyConfig.from_dict(saved["policy"]))
    policy.load_state_dict(saved["model"])
    policy.temperatures = Temperatures(*saved.get("temperatures", ()))
    return policy.eval()


def take_over(model: CrossModalPolicy, other: CrossModalPolicy) -> None:
    """Copy another policy's weights. Layers that read more than the other's did begin by not hearing the rest.

    Raises ConfigError when the other differs in more than what its layers read.
    """
    own, given = model.state_dict(), other.state_dict()
    for name, weight in given.items():
        mine = own.get(name)
        if mine is None or mine.shape[:1] + mine.shape[2:] != weight.shape[:1] + weight.shape[2:]:
            raise ConfigError(f"init: the other policy's {name} does not fit: it must differ in its backbone only")
        if mine.shape == weight.shape:
            own[name] = weight
            continue
        if mine.ndim < 2 or mine.shape[1] < weight.shape[1]:
            raise ConfigError(f"init: the other policy's {name} does not fit: it must differ in its backbone only")
        # What a backbone adds is concatenated behind what the stem gives.
        own[name] = torch.zeros_like(mine)
        own[name][:, : weight.shape[1]] = weight
    model.load_state_dict(own)


def _join_group() -> tuple[int, int]:
    """Return this process's rank and how many train together: 0 and 1, or as torchrun's environment says."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return int(os.environ.get("RANK", "0")) if world > 1 else 0, world


def _agreed(progress: float, world: int) -> float:
    """Return the largest progress of all processes: they must take the same number of steps."""
    if world == 1:
        return progress
    value = torch.tensor(progress, dtype=torch.float64)
    distributed.all_reduce(value, distributed.ReduceOp.MAX)
    return float(value)


def _progress(config: TrainConfig, state: TrainState, steps_per_epoch: int) -> float:
    by_steps = state.step / max(1, config.epochs * steps_per_epoch)
    return max(by_steps, state.seconds / 60.0 / config.minutes) if config.minutes > 0 else by_steps


def _save(
    path: Path, model: CrossModalPolicy, optimizer: torch.optim.Optimizer, state: TrainState, config: PolicyConfig
) -> None:
    part = path.with_suffix(".part")
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "state": asdict(state),
            "policy": config.to_dict(),
            "temperatures": list(model.temperatures),
        },
        part,
    )
    part.replace(path)


def _load(path: Path, model: CrossModalPolicy, optimizer: torch.optim.Optimizer) -> TrainState:
    saved = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return TrainState(**saved["state"])


def _tensorboard(out: Path) -> torch.utils.tensorboard.SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))
