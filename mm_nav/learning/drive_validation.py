"""How far a policy's waypoints are from where recorded robots drove, on frames that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import zarr
from torch import Tensor

from mm_nav.language.encoder import TextEncoder
from mm_nav.learning.batches import BatchSampler, channels_last
from mm_nav.learning.dataset import FrameDataset
from mm_nav.policy.model import CrossModalPolicy

# What says how well a policy has learned to drive as was driven.
LEARNED = ("waypoint_error_m", "waypoint_error_best_m", "waypoint_error_pose_m", "waypoint_error_picture_m")
_PHRASES = 8


def can_be_judged(shard: Path) -> bool:
    """Return whether a recording's shard holds any frame with a way ahead."""
    return bool((np.asarray(zarr.open_group(str(shard), mode="r")["goal_m"][:]) > 0.0).any())


def validate_drives(model: CrossModalPolicy, shards: Sequence[Path], encoder: TextEncoder) -> dict[str, float]:
    """Return what the waypoints of all frames of recordings' shards are off by, without augmentation.

    drive_frames: frames with a way ahead, in drives of enough frames to remember one another. waypoint_error_m: of the
    hypothesis that the policy holds most likely, mean distance to the way driven; waypoint_error_best_m: of the best one;
    …_pose_m and …_picture_m: of the most likely one, where the goal is a pose or a picture; …_straight_m: of the straight way to
    a pose, which asks no policy. Metres; what there is no case of is left out.
    """
    data = FrameDataset(shards, model.config)
    if model.camera.backbone is not None:
        data.cache_features(model.camera.backbone, None)
    group = model.config.memory_frames + 1  # one by one: no frame is left out to fill a batch
    sampler = BatchSampler(data, encoder, group, _PHRASES, seed=1, augment=False)
    likely: list[Tensor] = []
    best: list[Tensor] = []
    straight: list[Tensor] = []
    to_pose: list[Tensor] = []
    frames, training = 0, model.training
    model.eval()
    with torch.no_grad():
        for batch in sampler.epoch():
            driven = batch.targets.has_path > 0
            if not driven.any():
                continue
            frames += int(driven.reshape(-1, _PHRASES).any(1).sum())
            logits = model(channels_last(batch), batch.frozen, batch.links)
            true, pose = batch.targets.waypoints[driven], batch.inputs.pose[driven]
            off = (logits.waypoints[driven].float() - true[:, None]).norm(dim=-1).mean(-1)
            likely.append(off.gather(1, logits.waypoint[driven].argmax(1, keepdim=True))[:, 0])
            best.append(off.amin(1))
            straight.append(
                (_straight(pose[:, 1:], model.config.waypoint_spacing_m, true) - true).norm(dim=-1).mean(-1)
            )
            to_pose.append(pose[:, 0] > 0)
    model.train(training)
    if not frames:
        return {"drive_frames": 0}
    off, pose_goal = torch.cat(likely), torch.cat(to_pose)
    errors = {
        "waypoint_error_m": off,
        "waypoint_error_best_m": torch.cat(best),
        "waypoint_error_pose_m": off[pose_goal],
        "waypoint_error_picture_m": off[~pose_goal],
        "waypoint_error_straight_m": torch.cat(straight)[pose_goal],
    }
    means = {name: round(float(values.mean()), 5) for name, values in errors.items() if len(values)}
    return {"drive_frames": frames, **means}


def _straight(goal: Tensor, spacing_m: float, like: Tensor) -> Tensor:
    """Return waypoints (N, T, 2) on the straight way to goals (N, 2), base_link; the last one repeats."""
    distance = goal.norm(dim=-1, keepdim=True)
    gone = torch.minimum(spacing_m * torch.arange(1, like.shape[1] + 1, device=goal.device), distance)
    return gone[..., None] * (goal / distance.clamp_min(1e-6))[:, None]
