"""Several recordings, one result: what the JSON of `mm-nav replay` says of all of them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_nav.replay.run import ReplayResult
from mm_nav.replay.summary import WINDOW_S, measures_of, pooled, windows_of


def as_one(results: Sequence[ReplayResult]) -> dict[str, Any]:
    """Return the JSON of one recording or of several.

    Of several, the measures are those of all steps together, the windows follow one another, and `recordings` has each one's.
    """
    if len(results) == 1:
        return results[0].as_dict()
    each = [result.as_dict() for result in results]
    columns = pooled([result.log.columns for result in results])
    wall, message_time = sum(r.wall_s for r in results), sum(r.message_time_s for r in results)
    goals = list(dict.fromkeys(result.goal for result in results))
    reasons: Counter[str] = Counter()
    for result in results:
        reasons.update(result.log.strange)
    return {
        "bag": [result.bag.path for result in results],
        "bag_fingerprint": hashlib.sha256(" ".join(r.fingerprint for r in results).encode()).hexdigest()[:16],
        "goal": goals[0] if len(goals) == 1 else goals,
        "steps": sum(result.steps for result in results),
        "duration_s": round(sum(result.bag.duration_s for result in results), 3),
        "message_time_s": round(message_time, 3),
        "modalities": sorted({name for one in each for name in one["modalities"]}),
        **{f"{name}_share": round(float(np.nanmean(columns[f"has_{name}"])), 4) for name in ("scan", "image", "cloud")},
        **measures_of(columns),
        "strange_reasons": dict(reasons.most_common(8)),
        "ended": "; ".join(f"{Path(r.bag.path).name}: {r.ended}" for r in results if r.ended),
        "error_code": max(result.error_code for result in results),
        "realtime_factor": message_time / wall if wall > 0 else math.nan,
        "wall_s": round(wall, 3),
        "messages_skipped": sum(one["messages_skipped"] for one in each),
        "warnings": [f"{Path(r.bag.path).name}: {warning}" for r in results for warning in r.bag.warnings],
        "window_s": WINDOW_S,
        "windows": windows_of(columns),
        "recordings": each,
    }
