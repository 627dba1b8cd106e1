"""Keeps a latency budget: steps down to something cheaper when it is threatened, and up again when there is room."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mm_nav.errors import ConfigError


@dataclass(frozen=True)
class Level:
    """One way to run. name: for people. cost: how long a step takes this way on a machine at rest, in any unit."""

    name: str
    cost: float


@dataclass(frozen=True)
class GovernorConfig:
    """deadline_ms: of each step. threatened: share of it above which the 99th percentile makes the governor step down. room:
    share below which the 99th percentile must be, as it would be one level up, to step up: the same steps, each with its
    network's time scaled by what the two levels cost; the gap between the two shares is the hysteresis. window: steps that
    the percentile is taken over. settle: steps at a level before it may be left for a cheaper one. patience_s: time with room
    before a step up; after a step up that did not last as long, it doubles, up to patience_most_s.
    """

    deadline_ms: float = 66.0
    threatened: float = 0.9
    room: float = 0.8
    window: int = 60
    settle: int = 15
    patience_s: float = 5.0
    patience_most_s: float = 80.0

    def __post_init__(self) -> None:
        if not self.deadline_ms > 0.0:
            raise ConfigError(f"deadline_ms is {self.deadline_ms}: it must be above 0")
        if not 0.0 < self.room < self.threatened <= 1.0:
            raise ConfigError(f"room ({self.room}) must be below threatened ({self.threatened}), both from 0 to 1")
        if not 1 <= self.settle <= self.window:
            raise ConfigError(f"settle ({self.settle}) must be from 1 to window ({self.window})")
        if not 0.0 < self.patience_s <= self.patience_most_s:
            raise ConfigError("patience_s must be above 0, and at most patience_most_s")


class Governor:
    """Chooses among levels by the latencies of the steps. levels: the best, which costs most, first. index: of the present one.
    Pure: the time is given."""

    def __init__(self, levels: Sequence[Level], config: GovernorConfig | None = None) -> None:
        if not levels or any(not level.cost > 0.0 for level in levels):
            raise ConfigError("a governor needs levels, each of a cost above 0")
        if any(better.cost < worse.cost for better, worse in pairwise(levels)):
            raise ConfigError("the levels of a governor come best first, and the best cost most")
        self.levels, self.config = tuple(levels), config or GovernorConfig()
        self.index = 0
        # (latency, how much of it the network took), ms.
        self._steps: deque[tuple[float, float]] = deque(maxlen=self.config.window)
        self._room_since = math.inf
        self._patience = self.config.patience_s
        self._went_up_at = -math.inf

    @property
    def level(self) -> Level:
        """The present level."""
        return self.levels[self.index]

    @property
    def p99_ms(self) -> float:
        """99th percentile of the last steps at this level, ms; nan before there are any."""
        return self._forecast_ms(self.level)

    def _forecast_ms(self, level: Level) -> float:
        """Return what the percentile of the same steps would have been at another level, ms."""
        if not self._steps:
            return math.nan
        latency, network = np.asarray(self._steps).T
        return float(np.percentile(latency + network * (level.cost / self.level.cost - 1.0), 99))

    def note(self, latency_ms: float, now_s: float, network_ms: float | None = None) -> bool:
        """Take a step's latency into account; return whether the level has changed. One that is not finite was a missed step.

        network_ms: the part of it that depends on the level; None: all of it.
        """
        c = self.config
        latency_ms = latency_ms if math.isfinite(latency_ms) else 10.0 * c.deadline_ms
        self._steps.append((latency_ms, latency_ms if network_ms is None else min(network_ms, latency_ms)))
        if len(self._steps) < c.settle:
            return False
        p99 = self.p99_ms
        if p99 > c.threatened * c.deadline_ms and self.index + 1 < len(self.levels):
            if now_s - self._went_up_at < self._patience:
                self._patience = min(2.0 * self._patience, c.patience_most_s)
            self._enter(self.index + 1)
            return True
        if self.index == 0:
            return False
        if self._forecast_ms(self.levels[self.index - 1]) > c.room * c.deadline_ms:
            self._room_since = math.inf
            return False
        self._room_since = min(self._room_since, now_s)
        if now_s - self._room_since < self._patience:
            return False
        if now_s - self._went_up_at > 4.0 * c.patience_most_s:
            self._patience = c.patience_s
        self._went_up_at = now_s
        self._enter(self.index - 1)
        return True

    def _enter(self, index: int) -> None:
        self.index = index
        self._steps.clear()
        self._room_since = math.inf
