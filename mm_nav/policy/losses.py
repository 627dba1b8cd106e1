"""Training losses: dense grounding, range, visibility, arrival and best-of-K waypoints."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mm_nav.policy.model import PolicyLogits


class PolicyTargets(NamedTuple):
    """Labels for N = B*G (observation, phrase) pairs.

    cells: (N, rows, columns) share of each cell's pixels on the target. log_range: (B, rows, columns) log metres to what
    each cell shows. visible, arrived: (N,) 0/1. waypoints: (N, T, 2) metres in base_link. has_path: (N,) 0/1.
    has_grounding: (N,) 0/1, 0 where the camera is hidden or no phrase is given. has_image: (B,) 0/1, 0 also where
    nothing is known of what the camera shows (frames of recordings). kind, colour: (B, rows,
    columns) int64, what stands in each cell: 0 = nothing that can be named, then the catalogue's kinds; colours from 0;
    -1 = not taught.
    """

    cells: Tensor
    log_range: Tensor
    visible: Tensor
    arrived: Tensor
    waypoints: Tensor
    has_path: Tensor
    has_grounding: Tensor
    has_image: Tensor
    kind: Tensor
    colour: Tensor


# Most cells show walls and floor.
BACKGROUND_WEIGHT = 0.15
SEMANTIC_WEIGHT, RANGE_WEIGHT = 2.0, 2.0


def semantic_loss(semantic: Tensor, kind: Tensor, colour: Tensor, kinds: int) -> Tensor:
    """Return the cross-entropy of what stands in each cell (kind and colour)."""
    weight = torch.ones(kinds, device=semantic.device)
    weight[0] = BACKGROUND_WEIGHT
    flat = semantic.flatten(0, 2).float()
    of_kind = F.cross_entropy(flat[:, :kinds], kind.flatten(), weight=weight, ignore_index=-1)
    of_colour = F.cross_entropy(flat[:, kinds:], colour.flatten(), ignore_index=-1)
    return torch.nan_to_num(of_kind) + torch.nan_to_num(of_colour)


def hue_loss(hues: Tensor | None, colour: Tensor) -> Tensor:
    """Return the cross-entropy of each cell's colour by its pixels alone; 0 without the branch."""
    if hues is None:
        return torch.zeros((), device=colour.device)
    return torch.nan_to_num(F.cross_entropy(hues.flatten(0, 2).float(), colour.flatten(), ignore_index=-1))


def range_loss(log_range: Tensor, true: Tensor, kind: Tensor, has_image: Tensor) -> Tensor:
    """Return the loss of the cells' distances: things that can be named count most; walls and floor teach what distances
    look like. All (B, rows, columns) but has_image (B,)."""
    weight = has_image[:, None, None] * (0.2 + 0.8 * (kind > 0).float())
    distance = F.smooth_l1_loss(log_range.float(), true, reduction="none", beta=0.1)
    return (distance * weight).sum() / weight.sum().clamp_min(1.0)


def policy_losses(logits: PolicyLogits, targets: PolicyTargets, kinds: int = 20) -> dict[str, Tensor]:
    """Return each loss (scalar); their weighted sum is under "total". kinds: of the semantic head, "nothing" included."""
    # Sums of half precision end here.
    logits = PolicyLogits(*(None if part is None else part.float() for part in logits))
    grounded = targets.has_grounding
    on = targets.cells.flatten(1)
    flat = logits.cells.flatten(1)
    dense = F.binary_cross_entropy_with_logits(flat, on, reduction="none")
    # Nearly all cells are background: the few that matter get a weight of their own.
    weight = 1.0 + 20.0 * on
    dense = ((dense * weight).mean(1) * grounded).sum() / grounded.sum().clamp_min(1.0)
    positive = grounded * targets.visible
    mass = on / on.sum(1, keepdim=True).clamp_min(1e-6)
    where = -(mass * F.log_softmax(flat, dim=1)).sum(1)
    where = (where * positive).sum() / positive.sum().clamp_min(1.0)
    distance = range_loss(logits.log_range, targets.log_range, targets.kind, targets.has_image)
    visible = F.binary_cross_entropy_with_logits(logits.visible, targets.visible, reduction="none")
    arrived = F.binary_cross_entropy_with_logits(logits.arrived, targets.arrived, reduction="none")
    visible = (visible * grounded).sum() / grounded.sum().clamp_min(1.0)
    arrived = (arrived * grounded).sum() / grounded.sum().clamp_min(1.0)
    gap = (logits.waypoints - targets.waypoints[:, None]).abs().sum(-1).mean(-1)
    best = gap.argmin(1)
    paths = targets.has_path.sum().clamp_min(1.0)
    # The best hypothesis follows the expert; a little of the mean keeps the others from going astray.
    path = ((gap.gather(1, best[:, None])[:, 0] + 0.03 * gap.mean(1)) * targets.has_path).sum() / paths
    choice = (F.cross_entropy(logits.waypoint, best, reduction="none") * targets.has_path).sum() / paths
    semantic = semantic_loss(logits.semantic, targets.kind, targets.colour, kinds)
    hue = hue_loss(logits.hues, targets.colour)
    total = (
        SEMANTIC_WEIGHT * semantic
        + hue
        + 20.0 * dense
        + 0.5 * where
        + RANGE_WEIGHT * distance
        + 1.0 * visible
        + 0.3 * arrived
        + 1.0 * path
        + 0.1 * choice
    )
    return {
        "total": total,
        "dense": dense.detach(),
        "where": where.detach(),
        "range": distance.detach(),
        "visible": visible.detach(),
        "arrived": arrived.detach(),
        "path": path.detach(),
        "choice": choice.detach(),
        "semantic": semantic.detach(),
        "hue": hue.detach(),
    }


def grounding_metrics(logits: PolicyLogits, targets: PolicyTargets) -> dict[str, float]:
    """Return hit rate of the grounding peak, visibility accuracy, precision and recall (floats in [0, 1])."""
    with torch.no_grad():
        grounded = targets.has_grounding > 0
        visible = targets.visible > 0
        positive = grounded & visible
        peak = logits.cells.flatten(1).argmax(1, keepdim=True)
        hit = targets.cells.flatten(1).gather(1, peak)[:, 0] > 0
        said = logits.visible > 0
        correct = said == visible
        phrases = len(peak) // len(logits.log_range)
        frame = torch.arange(len(peak)) // phrases
        log_range = logits.log_range.flatten(1)[frame, peak[:, 0]]
        true_range = targets.log_range.flatten(1)[frame, peak[:, 0]]
        use = positive & hit
        return {
            "peak_hit": _mean(hit[positive]),
            "visible_accuracy": _mean(correct[grounded]),
            "visible_recall": _mean(said[positive]),
            "visible_precision": _mean(visible[grounded & said]),
            "range_error_relative": _mean((log_range - true_range).abs()[use]),
        }


def _mean(values: Tensor) -> float:
    return float(values.float().mean()) if values.numel() else float("nan")
