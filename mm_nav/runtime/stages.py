"""How long each part of the way from scan to command takes, over the last commands."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

# On the way from scan to wheel command: waiting for the picture and for what was begun before, arrays for the network, the
# network, the navigator, the guard.
STAGES = ("wait", "preprocess", "network", "planning", "guard")


class Arrivals:
    """When the last messages came, by their stamps. keep: how many."""

    def __init__(self, keep: int = 20) -> None:
        self._keep = keep
        self._times: dict[int, float] = {}

    def note(self, stamp_ns: int, now_s: float) -> None:
        """A message has come."""
        self._times[stamp_ns] = now_s
        while len(self._times) > self._keep:
            del self._times[next(iter(self._times))]

    def since_ms(self, stamp_ns: int, now_s: float, last: bool = False) -> float | None:
        """Return how long ago the message of a stamp came, ms; None = it is not known. last: nobody will ask again."""
        arrived = self._times.pop(stamp_ns, None) if last else self._times.get(stamp_ns)
        return None if arrived is None else 1e3 * (now_s - arrived)


class StageTimes:
    """Keeps the last times of each stage, ms. keep: how many."""

    def __init__(self, keep: int = 600) -> None:
        self._keep = keep
        self._times: dict[str, deque[float]] = {}

    def note(self, **milliseconds: float) -> None:
        """Add a time to each of the named stages."""
        for name, value in milliseconds.items():
            self._times.setdefault(name, deque(maxlen=self._keep)).append(value)

    def newest(self, name: str) -> float | None:
        """Return the last time of a stage, ms, or None."""
        times = self._times.get(name)
        return times[-1] if times else None

    def late(self, name: str, deadline_ms: float) -> int:
        """Return how many of the kept times of a stage are longer than a deadline."""
        return sum(value > deadline_ms for value in self._times.get(name, ()))

    def report(self) -> dict[str, float]:
        """Return NAME_p50_ms and NAME_p99_ms of every stage, in the order in which they were first noted."""
        found: dict[str, float] = {}
        for name, times in self._times.items():
            found[f"{name}_p50_ms"], found[f"{name}_p99_ms"] = (float(v) for v in np.percentile(times, [50, 99]))
        return found


def shares(medians: Mapping[str, float]) -> dict[str, float]:
    """Return which part of the way from a scan's arrival to its wheel command each stage takes, 0 to 1, as share_STAGE.

    medians: STAGE_p50_ms, as the nodes report them. share_transport is what is left: messages, and waiting for the processor.
    Empty without the whole ("scan_to_wheels").
    """
    whole = medians.get("scan_to_wheels_p50_ms", 0.0)
    if whole <= 0.0:
        return {}
    found = {f"share_{name}": min(1.0, medians.get(f"{name}_p50_ms", 0.0) / whole) for name in STAGES}
    found["share_transport"] = max(0.0, 1.0 - sum(found.values()))
    return {name: round(value, 3) for name, value in found.items()}
