"""What a node listens to, and what to tell people when it falls silent. Pure: the time comes as an argument."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from mm_nav.safety.watchdog import Watchdog


class Level(IntEnum):
    """How bad it is. WARN: the robot goes on with less. ERROR: it stands, or cannot do what was asked."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Input:
    """Something that has to come again and again. topic: its full name. what: who sends it, for people. limit_s: longest silence,
    s of real time. remedy: what to do about it."""

    name: str
    topic: str
    what: str
    limit_s: float
    remedy: str
    level: Level = Level.ERROR


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now. name: of the input, or "clock"."""

    name: str
    level: Level
    text: str


class Inputs:
    """Which inputs are silent, and why as far as that is known.

    attention_s: who looks less often than this was held up itself; the time beyond it is not held against the inputs.
    clock_limit_s: the clock of their stamps may stand still for so long; infinite where it is the real one.
    """

    def __init__(
        self, inputs: Iterable[Input], now_s: float, attention_s: float = math.inf, clock_limit_s: float = math.inf
    ) -> None:
        self._inputs = {item.name: item for item in inputs}
        self._watchdog = Watchdog({name: item.limit_s for name, item in self._inputs.items()}, now_s, attention_s)
        self._clock = Watchdog({"clock": clock_limit_s}, now_s, attention_s)
        self._clock_ns = 0
        self._heard: dict[str, float] = {}
        self._refused: dict[str, tuple[float, str]] = {}

    def heard(self, name: str, now_s: float) -> None:
        """Note that something usable came."""
        if name in self._inputs:
            self._watchdog.heard(name, now_s)
            self._heard[name] = now_s
            self._refused.pop(name, None)

    def refused(self, name: str, why: str, now_s: float) -> None:
        """Note that something came that cannot be used."""
        self._refused[name] = now_s, why

    def clock(self, clock_ns: int, now_s: float) -> None:
        """Note what the clock of the stamps says."""
        if clock_ns != self._clock_ns:
            self._clock_ns = clock_ns
            self._clock.heard("clock", now_s)

    def problems(self, now_s: float) -> tuple[Problem, ...]:
        """Return what is wrong, in the order of the inputs; a clock that stands still comes first."""
        silent = [self._inputs[name] for name in self._watchdog.silent(now_s)]
        still = self._clock.silent(now_s)
        found = [
            Problem(
                "clock", Level.ERROR, "simulated time stands still: is the simulator or player running, and not paused?"
            )
        ]
        return (*(found if still else []), *(Problem(i.name, i.level, self.silence(i.name, now_s)) for i in silent))

    def silence(self, name: str, now_s: float) -> str:
        """Return what to tell people about an input that is silent."""
        item = self._inputs[name]
        at, why = self._refused.get(name, (-math.inf, ""))
        if now_s - at <= max(item.limit_s, 1.0):
            return f"{item.what}: messages on {item.topic} cannot be used: {why}"
        since = f"for {now_s - self._heard[name]:.1f} s" if name in self._heard else "yet"
        return f"{item.what}: nothing has come on {item.topic} {since}: {item.remedy}"
