"""How good a policy is on frames that it was not trained on, and how far its confidences are to be trusted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mm_nav.language.encoder import TextEncoder
from mm_nav.learning.batches import BatchSampler, channels_last
from mm_nav.learning.calibration import calibrate, fit_temperature
from mm_nav.learning.dataset import FrameDataset
from mm_nav.policy.losses import PolicyTargets, grounding_metrics, policy_losses
from mm_nav.policy.model import CrossModalPolicy, PolicyLogits, Temperatures


class Validation(NamedTuple):
    """metrics: mean losses and grounding metrics. temperatures: fitted here. calibration: of "visible" and "arrived", tables
    of `mm_nav.learning.calibration.calibrate`."""

    metrics: dict[str, float]
    temperatures: Temperatures
    calibration: dict[str, Any]


def validate(
    model: CrossModalPolicy, shards: Sequence[Path], batch_size: int, phrases: int, encoder: TextEncoder
) -> Validation:
    """Validate on all frames of `shards`, without augmentation; batch_size: frames, phrases: per frame."""
    data = FrameDataset(shards, model.config)
    if model.camera.backbone is not None:
        data.cache_features(model.camera.backbone, None)
    sampler = BatchSampler(data, encoder, batch_size, phrases, seed=1, augment=False)
    sums: dict[str, list[float]] = defaultdict(list)
    said: dict[str, list[Tensor]] = defaultdict(list)
    training = model.training
    model.eval()
    with torch.no_grad():
        for batch in sampler.epoch():
            logits = model(channels_last(batch), batch.frozen, batch.links)
            losses = policy_losses(logits, batch.targets, model.config.semantic_classes[0])
            for name, value in {**losses, **grounding_metrics(logits, batch.targets)}.items():
                sums[name].append(float(value))
            for name, tensor in _answers(logits, batch.targets).items():
                said[name].append(tensor)
    model.train(training)
    answers = {name: torch.cat(parts).double().numpy() for name, parts in said.items()}
    calibration = {name: calibrate(answers[name], answers[f"{name}_true"] > 0.5) for name in ("visible", "arrived")}
    temperatures = Temperatures(
        calibration["visible"]["temperature"],
        calibration["arrived"]["temperature"],
        round(fit_temperature(answers["waypoint"], answers["best"].astype(np.int64)), 4),
    )
    # A metric has no value in a batch without any case of it; in a very small set, nowhere.
    metrics = {
        name: round(float(np.nanmean(values)), 5) if np.isfinite(values).any() else math.nan
        for name, values in sums.items()
    }
    return Validation(metrics, temperatures, calibration)


def _answers(logits: PolicyLogits, targets: PolicyTargets) -> dict[str, Tensor]:
    """Return what was said with a confidence, and what was true, where there is a label."""
    grounded, path = targets.has_grounding > 0, targets.has_path > 0
    gap = (logits.waypoints - targets.waypoints[:, None]).abs().sum(-1).mean(-1)
    return {
        "visible": logits.visible[grounded],
        "visible_true": targets.visible[grounded],
        "arrived": logits.arrived[grounded],
        "arrived_true": targets.arrived[grounded],
        "waypoint": logits.waypoint[path],
        "best": gap.argmin(1)[path],
    }
