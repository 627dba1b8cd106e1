"""Which inputs have fallen silent. Pure: the time comes as an argument."""

from __future__ import annotations

import math
from collections.abc import Mapping


class Watchdog:
    """limits: seconds of silence allowed, by name. An input that was never heard is silent from the watchdog's start.

    attention_s: who looks less often than this was held up itself, and what was said meanwhile still waits to be heard; the
    time beyond it is not held against the inputs. Infinite: all time counts. grace_s: seconds more, by name, until an input is
    heard for the first time.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        now_s: float,
        attention_s: float = math.inf,
        grace_s: Mapping[str, float] | None = None,
    ) -> None:
        self._limits, self._grace = dict(limits), dict(grace_s or {})
        self._heard = dict.fromkeys(limits, now_s)
        self._attention_s, self._looked = attention_s, now_s

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that are watched."""
        return tuple(self._limits)

    def heard(self, name: str, now_s: float) -> None:
        """Note that an input was received at now_s."""
        self._heard[name] = max(now_s, self._heard[name])
        self._grace.pop(name, None)

    def silent(self, now_s: float) -> tuple[str, ...]:
        """Return the names that have been silent for longer than they may, in the order of the limits."""
        held_up = max(now_s - self._looked - self._attention_s, 0.0)
        self._looked = max(now_s, self._looked)
        if held_up:
            self._heard = {name: min(heard + held_up, max(now_s, heard)) for name, heard in self._heard.items()}
        silence = {name: now_s - heard - self._grace.get(name, 0.0) for name, heard in self._heard.items()}
        return tuple(name for name, limit in self._limits.items() if silence[name] > limit)
