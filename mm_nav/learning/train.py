"""Train the policy by cloning the expert; one readable loop, resumable, with TensorBoard logs."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from mm_nav.errors import ConfigError
from mm_nav.language.encoder import TextEncoder
from mm_nav.learning.bag_drives import MARKER
from mm_nav.learning.batches import BatchSampler, channels_last
from mm_nav.learning.dataset import FrameDataset, Progress, find_shards
from mm_nav.learning.drive_validation import LEARNED, can_be_judged, validate_drives
from mm_nav.learning.looking import Looking, LookSampler
from mm_nav.learning.validation import Validation, validate
from mm_nav.policy.config import PolicyConfig
from mm_nav.policy.losses import policy_losses
from mm_nav.policy.model import LOOKS_WITH, CrossModalPolicy, Temperatures

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# More than all wordings of the phrase bank: encoding one costs as much as training on three pairs.
TRAINING_PHRASES = 30_000
PRECISIONS = ("fp32", "bf16")
_REPORT_STEPS = 20
_SAVE_S = 300.0


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    data: folder written by `mm-nav collect`, of worlds or of recordings; more: further ones, of `mm-nav dagger` too; one that is
    listed twice counts twice.
    batch: frames; phrases: per frame. minutes: wall-clock budget, 0 = none; the learning rate falls to zero over epochs or
    minutes, whichever ends first.
    look_share: of the run, its first part, in which the camera alone learns what stands where, without words and paths;
    look_batch: frames then. validation_shards: the last shards of `data`, and of every further folder of
    recordings that has more than these, are not trained on. init: checkpoint of another
    run whose weights are taken over as far as they fit ("" = none): a size with a backbone begins as the one without. seed:
    of weights and batches.
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
    look_share: float = 0.0
    look_batch: int = 16
    precision: str = "fp32"
    validation_shards: int = 1
    init: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.phrases < 1 or self.validation_shards < 1:
            raise ConfigError("epochs, batch, phrases and validation_shards must be at least 1")
        if not 0.0 <= self.look_share < 1.0 or self.look_batch < 1:
            raise ConfigError("look_share must be from 0 to below 1, and look_batch at least 1")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"unknown precision '{self.precision}': give {' or '.join(PRECISIONS)}")


@dataclass
class TrainState:
    """What a checkpoint holds beside the tensors. look_steps: of the steps, those that only looked."""

    step: int = 0
    look_steps: int = 0
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

    What the policy is when it has looked is kept in out/look.pt, for variants that begin with it (`init`). Started by
    torchrun, its processes share every batch and average their gradients (DistributedDataParallel); all but the first return
    nothing. report(state, steps per epoch, losses) is called every 20 steps; prepared(done, of) while a
    frozen backbone looks at all pictures, before the first.
    """
    torch.manual_seed(config.seed)
    taught, kept_back, kept_drives = _split_shards(config)
    rank, world = _join_group()
    out.mkdir(parents=True, exist_ok=True)
    encoder = TextEncoder(policy_config.language_tokens, remember=TRAINING_PHRASES, parts=policy_config.language_parts)
    data = FrameDataset(taught, policy_config)
    model = CrossModalPolicy(policy_config, pretrained=True).to(memory_format=torch.channels_last)
    if config.init:
        saved = _load(Path(config.init))
        begun = TrainState(**saved["state"])
        take_over(model, saved["model"], only_looked=0 < begun.look_steps == begun.step)
        if not kept_back:
            # Recordings tell nothing of confidences.
            model.temperatures = Temperatures(*saved.get("temperatures", ()))
    at_start = validate_drives(model, kept_drives, encoder) if config.init and kept_drives and rank == 0 else {}
    if model.camera.backbone is not None:
        data.cache_features(model.camera.backbone, np.random.default_rng([config.seed, 12]), prepared)
    own_report, writer = (report, _tensorboard(out)) if rank == 0 else (None, None)
    trainer = _Trainer(config, model, out / "checkpoint.pt", len(data) // config.batch, own_report, writer)
    if resume:
        trainer.resume()
    # A resumed run goes on with other batches than those it has seen.
    seed, part = config.seed + 1000 * trainer.state.step, (rank, world)
    if config.look_share > 0.0 and not data.labelled:
        raise ConfigError("recordings do not say what stands where: set look_share to 0, or add a folder of worlds")
    if _agreed(trainer.progress(), world) < config.look_share:
        looking: torch.nn.Module = Looking(model)
        if world > 1:
            looking = DistributedDataParallel(looking, find_unused_parameters=True)
        for look in LookSampler(data.of_worlds(), config.look_batch, seed, part).looks():
            progress = _agreed(trainer.progress(), world)
            if progress >= config.look_share:
                break
            with _autocast(config):
                losses = looking(look)
            trainer.step(losses, trainer.state.step, progress / config.look_share)
            trainer.state.look_steps = trainer.state.step
        trainer.save()
        if rank == 0:
            shutil.copyfile(trainer.path, out / "look.pt")
    sampler = BatchSampler(data, encoder, config.batch, config.phrases, seed, part=part)
    together = DistributedDataParallel(model) if world > 1 else model
    kinds, state, progress = policy_config.semantic_classes[0], trainer.state, 0.0
    while state.epoch < config.epochs and progress < 1.0:
        for batch in sampler.epoch():
            progress = _agreed(trainer.progress(), world)
            if progress >= 1.0:
                break
            with _autocast(config):
                logits = together(channels_last(batch), batch.frozen, batch.links)
            losses = policy_losses(logits, batch.targets, kinds)
            done = (progress - config.look_share) / (1.0 - config.look_share)
            trainer.step(losses, state.step - state.look_steps, done)
        else:
            state.epoch += 1
        trainer.save()
    if rank > 0:
        return {}
    found = Validation({}, model.temperatures, {})
    if kept_back:
        found = validate(model, kept_back, config.batch, config.phrases, encoder)
    metrics, model.temperatures = dict(found.metrics), found.temperatures
    if kept_drives:
        metrics |= validate_drives(model, kept_drives, encoder)
        metrics |= {f"{name}_at_start": at_start[name] for name in LEARNED if name in at_start}
    trainer.save()
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


class _Trainer:
    """Optimizer, schedule, log and checkpoint. report, writer: None = silent (all processes but the first are)."""

    def __init__(
        self,
        config: TrainConfig,
        model: CrossModalPolicy,
        path: Path,
        steps_per_epoch: int,
        report: Report | None,
        writer: torch.utils.tensorboard.SummaryWriter | None,
    ) -> None:
        self.state, self._writer = TrainState(), writer
        self._config, self._model, self.path = config, model, path
        self._steps_per_epoch, self._report = steps_per_epoch, report
        trained = [p for p in model.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1]
        others = [p for p in trained if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self._recent: dict[str, list[float]] = defaultdict(list)
        self._started = self._saved = time.monotonic()

    def resume(self) -> None:
        """Take up the checkpoint, if there is one."""
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self._model.load_state_dict(saved["model"])
            self._optimizer.load_state_dict(saved["optimizer"])
            self.state = TrainState(**saved["state"])
            self._started = time.monotonic() - self.state.seconds

    def progress(self) -> float:
        """Return the share of the run that is done: of its steps, or of its minutes."""
        config, state = self._config, self.state
        by_steps = state.step / max(1, config.epochs * self._steps_per_epoch)
        return max(by_steps, state.seconds / 60.0 / config.minutes) if config.minutes > 0 else by_steps

    def step(self, losses: dict[str, Tensor], steps: int, done: float) -> None:
        """Learn from losses["total"]. steps, done: of this part of the run, and its share that is done; the learning rate
        follows from both."""
        config, state = self._config, self.state
        rate = config.learning_rate * min(1.0, (steps + 1) / config.warmup_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * done)) + 1e-6
        self._optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        state.step += 1
        state.seconds = time.monotonic() - self._started
        if steps == 0:
            self._recent.clear()  # another part has other losses
        for name, value in losses.items():
            self._recent[name].append(float(value.detach()))
        if state.step % _REPORT_STEPS == 0:
            self._log()
        if time.monotonic() - self._saved > _SAVE_S:
            self.save()

    def _log(self) -> None:
        means = {name: sum(values) / len(values) for name, values in self._recent.items()}
        if self._report is not None:
            self._report(self.state, self._steps_per_epoch, means)
        if self._writer is not None:
            for name, value in means.items():
                self._writer.add_scalar(f"train/{name}", value, self.state.step)
        self._recent.clear()

    def save(self) -> None:
        """Write the checkpoint, as a whole or not at all; only the first process does."""
        self._saved = time.monotonic()
        if distributed.is_initialized() and distributed.get_rank() > 0:
            return
        part = self.path.with_suffix(".part")
        torch.save(
            {
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "state": asdict(self.state),
                "policy": self._model.config.to_dict(),
                "temperatures": list(self._model.temperatures),
            },
            part,
        )
        part.replace(self.path)


def _split_shards(config: TrainConfig) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the shards to train on, and those of worlds and of recordings to validate on: the last ones of the first folder,
    and of further ones of recordings."""
    taught: list[Path] = []
    kept_back: dict[bool, list[Path]] = {False: [], True: []}
    for index, folder in enumerate(map(Path, (config.data, *config.more))):
        shards = find_shards(folder, "mm-nav dagger" if index else "mm-nav collect")
        recorded = (folder / f"{MARKER}.json").exists()
        last = [shard for shard in shards if not recorded or can_be_judged(shard)]
        enough = len(last) > config.validation_shards
        if index == 0 and not enough:
            more = "worlds, or lower worlds_per_shard so that there are more, smaller shards"
            raise ConfigError(
                f"{folder} has {len(last)} shards and {config.validation_shards} of them are for validation: collect "
                f"more {'recordings' if recorded else more}"
            )
        last = last[-config.validation_shards :] if enough and (recorded or index == 0) else []
        kept_back[recorded] += [shard for shard in last if shard not in kept_back[recorded]]
        taught += [shard for shard in shards if shard not in last]
    return taught, kept_back[False], kept_back[True]


def load_policy(checkpoint: Path) -> CrossModalPolicy:
    """Return the trained policy of a checkpoint, in eval mode. Raises ConfigError when the file is missing."""
    saved = _load(checkpoint)
    policy = CrossModalPolicy(PolicyConfig.from_dict(saved["policy"]))
    policy.load_state_dict(saved["model"])
    policy.temperatures = Temperatures(*saved.get("temperatures", ()))
    return policy.eval()


def _load(checkpoint: Path) -> dict[str, Any]:
    if not checkpoint.is_file():
        raise ConfigError(f"checkpoint {checkpoint} does not exist: run `mm-nav train` first")
    saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    return saved


def take_over(model: CrossModalPolicy, weights: Mapping[str, Tensor], only_looked: bool = False) -> None:
    """Copy another policy's weights. Layers that read more than the other's did begin by not hearing the rest.

    only_looked: only what it looks with is taken: the rest, which has learned nothing, may be another. Raises ConfigError when
    the other differs in more than what its layers read.
    """
    own = model.state_dict()
    for name, weight in weights.items():
        if only_looked and name.split(".")[0] not in LOOKS_WITH:
            continue
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


def _autocast(config: TrainConfig) -> torch.autocast:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16")


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


def _tensorboard(out: Path) -> torch.utils.tensorboard.SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))
