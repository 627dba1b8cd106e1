"""Is it the named thing, or one that looks like it? Both are asked about the same view, and only one of them is there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Nothing is called surer than this, so that odds stay finite.
_CLIP = 1e-3
# How much a rival's odds count: fitted on frames that were not trained on. A network answers to each phrase by itself and
# gives things that look alike more than their due, so that their odds in full would take too much.
_WEIGHT = 0.2


def contrast(visible: npt.NDArray[np.float32], bearing_probs: npt.NDArray[np.float32]) -> float:
    """Return the probability that the first of N phrases is in view, given what the others, its rivals, are given there.

    visible: (N,) of each phrase alone. bearing_probs: (N, B), where each is, given that it is in view. The phrases and
    "none of them" share the odds; a rival takes part as far as it is seen in the same place.
    """
    clipped = np.clip(visible.astype(np.float64), _CLIP, 1.0 - _CLIP)
    odds = clipped / (1.0 - clipped)
    same_place = np.minimum(bearing_probs[0], bearing_probs[1:]).sum(axis=1)
    return float(odds[0] / (1.0 + odds[0] + _WEIGHT * (same_place * odds[1:]).sum()))
