"""What a frame of a recorded drive is asked in training: ways to where the robot was later, given as a pose or as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mm_nav.learning.bag_drives import STRAIGHT
from mm_nav.learning.dataset import Floats, FrameDataset

# Of what is asked of a frame, pictures of goals where there are any; nearer and farther ones say too little.
_PICTURES, _NEAREST_M, _FARTHEST_M = 0.3, 0.5, 8.0


class DrivenGoal(NamedTuple):
    """A goal that the robot came to. place: (2,) base_link, metres; None = the picture of a frame is the goal. picture: that
    frame's place in the batch, -1 = none. waypoints: (steps, 2) base_link, the way driven; its last point repeats."""

    place: Floats | None
    picture: int
    waypoints: Floats


def driven_goals(
    dataset: FrameDataset, frame: int, pictures: Sequence[tuple[int, int]], count: int, rng: np.random.Generator
) -> list[DrivenGoal]:
    """Draw `count` goals for a frame of a drive, at different distances as far as there are; none where it drove no farther.

    pictures: place in the batch and frame of what may be a picture of the goal; those that are not ahead are left out.
    """
    a = dataset.arrays
    distances = np.flatnonzero(a["goal_m"][frame] > 0)
    shown = [(place, gone) for place, other in pictures if (gone := _gone(dataset, frame, other)) > 0.0]
    if not len(distances) and not shown:
        return []
    goals: list[DrivenGoal] = []
    order: list[int] = []
    for _ in range(count):
        if shown and (not len(distances) or rng.random() < _PICTURES):
            place, gone = shown[int(rng.integers(len(shown)))]
            goals.append(DrivenGoal(None, place, waypoints_to(dataset, frame, gone)))
            continue
        order = order or list(rng.permutation(distances))
        k = order.pop()
        goals.append(DrivenGoal(a["goals"][frame][k], -1, waypoints_to(dataset, frame, float(a["goal_m"][frame][k]))))
    return goals


def waypoints_to(dataset: FrameDataset, frame: int, gone_m: float) -> Floats:
    """Return the waypoints (steps, 2) of a frame, base_link, to a goal that the robot reached after so many metres."""
    a, c = dataset.arrays, dataset.config
    spaced = c.waypoint_spacing_m * np.arange(c.steps + 1)
    known = np.minimum(spaced, a["driven_m"][frame])
    way = np.concatenate([np.zeros((1, 2)), a["driven"][frame]])
    at = np.minimum(spaced[1:], gone_m)
    return np.stack([np.interp(at, known, way[:, axis]) for axis in range(2)], axis=-1).astype(np.float32)


def _gone(dataset: FrameDataset, frame: int, other: int) -> float:
    """Return how many metres after a frame the robot came to where another was taken; 0 = not, or by no way to get there."""
    a = dataset.arrays
    gone = float(a["along"][other] - a["along"][frame])
    straight = float(np.hypot(*(a["pose"][other][:2] - a["pose"][frame][:2])))
    return gone if _NEAREST_M <= gone <= _FARTHEST_M and straight >= STRAIGHT * gone else 0.0


def is_earlier(frames: npt.NDArray[np.int64], memory: npt.NDArray[np.int64], labelled: int) -> npt.NDArray[np.bool_]:
    """Return which of the frames that each one may remember (B, K), places in the batch, it can have seen: on a drive, earlier
    ones; in a generated world, where nobody drove, all. labelled: see `FrameDataset`."""
    return np.asarray((frames < labelled)[:, None] | (frames[memory] < frames[:, None]), np.bool_)
