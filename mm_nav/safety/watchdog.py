"""Which inputs have fallen silent. Pure: the time comes as an argument."""

from __future__ import annotations

from collections.abc import Mapping


class Watchdog:
    """limits: seconds of silence allowed, by name. An input that was never heard is silent from the watchdog's start."""

    def __init__(self, limits: Mapping[str, float], now_s: float) -> None:
        self._limits = dict(limits)
        self._heard = dict.fromkeys(limits, now_s)

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that are watched."""
        return tuple(self._limits)

    def heard(self, name: str, now_s: float) -> None:
        """Note that an input was received at now_s."""
        self._heard[name] = max(now_s, self._heard[name])

    def silent(self, now_s: float) -> tuple[str, ...]:
        """Return the names that have been silent for longer than they may, in the order of the limits."""
        return tuple(name for name, limit in self._limits.items() if now_s - self._heard[name] > limit)
