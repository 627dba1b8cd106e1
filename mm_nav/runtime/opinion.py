"""A second opinion on what is in view: what each cell of the picture says for itself, of kind and of colour.

A network that is asked for "the yellow chair" before a red chair and a yellow table hears yellow, and hears chair. Whether both
are said of one place is told by the cells that it points at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
# No cell is believed more, for or against.
_FLOOR = 0.03
_CLIP = 1e-4


class Opinion(NamedTuple):
    """How much it counts: log-odds are scale * the network's + kind * the cells' of the kind + colour * theirs of the colour +
    offset. Fitted after training; as it is here, only the network counts."""

    scale: float = 1.0
    kind: float = 0.0
    colour: float = 0.0
    offset: float = 0.0


def agreement(heatmap: Floats, probabilities: Floats, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the log-odds (N,) of what is asked for, in the cells that the network points at.

    heatmap: (N, rows, columns), where each of N phrases is; sums to 1. probabilities: (rows, columns, classes) of each cell.
    index: (N,), the class that each phrase asks for; -1 = none, of which the cells say nothing (0).
    """
    asked = np.moveaxis(probabilities, -1, 0)[np.maximum(index, 0)]
    share = (heatmap * asked).sum(axis=(1, 2), dtype=np.float64).clip(0.0, 1.0)
    return np.where(index >= 0, np.log((share + _FLOOR) / (1.0 - share + _FLOOR)), 0.0)


def second_opinion(visible: Floats, kind: Floats, colour: Floats, opinion: Opinion) -> npt.NDArray[np.float64]:
    """Return the probability (N,) that each phrase's thing is in view. visible: the network's. kind, colour: `agreement`."""
    clipped = np.clip(np.asarray(visible, np.float64), _CLIP, 1.0 - _CLIP)
    own = np.log(clipped / (1.0 - clipped))
    together = opinion.scale * own + opinion.kind * kind + opinion.colour * colour + opinion.offset
    return np.asarray(1.0 / (1.0 + np.exp(-together)), np.float64)
