"""The instruction swap: does the robot go where the sentence says, or where it would have gone anyway?

Each pair is one world and one start with two sentences for two things. It counts when the robot ends at the named thing
both times; a robot that does not listen cannot have both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mm_nav.evaluation.episodes import EpisodeResult
from mm_nav.evaluation.metrics import wilson_interval


def swap_numbers(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Return swap_rate, its Wilson interval swap_rate_ci95, and pairs, from the results of both turns in any order."""
    turns: dict[int, list[bool]] = {}
    for result in results:
        turns.setdefault(result.seed, []).append(result.success)
    pairs = [all(both) for both in turns.values() if len(both) == 2]
    return {
        "swap_rate": sum(pairs) / len(pairs) if pairs else math.nan,
        "swap_rate_ci95": list(wilson_interval(sum(pairs), len(pairs))),
        "pairs": len(pairs),
    }
