"""How healthy the streams of a recording are: rates, jitter, gaps, stamps and delays, in memory that does not grow with it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

# Interval bins: a hundred per decade, from a microsecond to eleven days. What is in a bin is taken for the mean of what is in it.
_PER_DECADE, _DECADES, _SMALLEST_NS = 100, 12, 1_000
_BINS = _PER_DECADE * _DECADES + 2
# Messages are looked at so many at a time.
_BLOCK = 512
# An interval this many times as long as the usual one is a gap.
_GAP = 3.0
_KEPT_GAPS = 20
# Stamps that move this much more or less than the time of recording have jumped.
_JUMP_NS = 1_000_000_000


@dataclass(frozen=True)
class Gap:
    """A stream's silence: when it begins, s after the recording's start, and how long it is, s."""

    time_s: float
    length_s: float


@dataclass(frozen=True)
class TopicHealth:
    """What the stamps of one topic say. Times in s; nan = not known, for want of messages.

    rate_hz: of the median interval of the stamps. jitter_s: 99th percentile of |interval - median|. gaps: intervals of more than
    three times the median; first_gaps: 20 of them at most. out_of_order, duplicates: stamps before, or the same as, the one before
    them. delay: time of recording minus stamp; clock_offset_s: its median minus that of the robot's pose. jumps: stamps that moved
    over 1 s more or less than time did. missing_mounts: frames of used messages that no transform connects to the robot.
    """

    topic: str
    messages: int = 0
    rate_hz: float = math.nan
    jitter_s: float = math.nan
    gaps: int = 0
    longest_gap_s: float = 0.0
    first_gaps: tuple[Gap, ...] = ()
    out_of_order: int = 0
    duplicates: int = 0
    jumps: int = 0
    delay_median_s: float = math.nan
    delay_p99_s: float = math.nan
    clock_offset_s: float = math.nan
    missing_mounts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON: unknown is None."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


class LogHistogram:
    """Counts and sums of whole numbers of nanoseconds, 0 or more, in bins of equal ratio (2.3 %)."""

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self._sums = np.zeros(_BINS)

    def add(self, values: Ints) -> None:
        """Add values (N,)."""
        scaled = np.log10(np.maximum(values, 1) / _SMALLEST_NS) * _PER_DECADE + 1
        index = np.clip(scaled, 0, _BINS - 1).astype(np.intp)
        self.counts += np.bincount(index, minlength=_BINS)
        self._sums += np.bincount(index, weights=values, minlength=_BINS)

    def spread(self) -> tuple[npt.NDArray[np.float64], Ints]:
        """Return the mean and the number of values in each bin that has any, smallest first."""
        filled = self.counts > 0
        return self._sums[filled] / self.counts[filled], self.counts[filled]


def quantile(values: npt.NDArray[np.float64], counts: Ints, share: float) -> float:
    """Return the value below which this share of values (N,) lies, each of which is there counts (N,) times; nan for none."""
    if not len(values):
        return math.nan
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1])])


class TopicMonitor:
    """Watches one topic while it is read: `note` gets the stamp and the time of recording of each message, ns.

    start_ns: when the recording starts, for the times of gaps. on_jump: gets the first jump of the stamps: its time, s after the
    start, and by how much they jumped, s.
    """

    def __init__(self, topic: str, start_ns: int = 0, on_jump: Callable[[float, float], None] | None = None) -> None:
        self.topic, self._start_ns, self._on_jump = topic, start_ns, on_jump
        self._stamps, self._receives = array("q"), array("q")
        self._intervals, self._late, self._early = LogHistogram(), LogHistogram(), LogHistogram()
        self._last: tuple[int, int] | None = None
        self._base_ns = 0
        self._messages = self._out_of_order = self._duplicates = self._jumps = 0
        self._longest_ns = 0
        self._gaps: list[tuple[int, int]] = []
        self.note = self._note()

    def _note(self) -> Callable[[int, int], None]:
        stamps, receives, flush = self._stamps, self._receives, self.flush
        # Bound once: they are called for every message.
        add_stamp, add_receive = stamps.append, receives.append

        def note(stamp_ns: int, receive_ns: int) -> None:
            try:
                add_stamp(stamp_ns)
                add_receive(receive_ns)
            except OverflowError:  # a damaged time, beyond the year 2262
                del stamps[len(receives) :]
            if len(stamps) >= _BLOCK:
                flush()

        return note

    def health(self, reference: TopicHealth | None = None) -> TopicHealth:
        """Return what there is to say so far. reference: whose clock others are compared with."""
        self.flush()
        values, counts = self._intervals.spread()
        median = quantile(values, counts, 0.5)
        is_gap = values > _GAP * median
        kept = [(at, length) for at, length in self._gaps if length > _GAP * median]
        jitter = quantile(np.abs(values - median), counts, 0.99)
        delay = self._delay(0.5)
        return TopicHealth(
            self.topic,
            self._messages,
            1e9 / median if median > 0 else math.nan,
            1e-9 * jitter,
            int(counts[is_gap].sum()),
            1e-9 * self._longest_ns if is_gap.any() else 0.0,
            tuple(Gap(1e-9 * (at - self._start_ns), 1e-9 * length) for at, length in kept[:_KEPT_GAPS]),
            self._out_of_order,
            self._duplicates,
            self._jumps,
            delay,
            self._delay(0.99),
            math.nan if reference is None else delay - reference.delay_median_s,
        )

    def _delay(self, share: float) -> float:
        late, early = self._late.spread(), self._early.spread()
        values = np.concatenate([late[0], -early[0]])
        return 1e-9 * (self._base_ns + quantile(values, np.concatenate([late[1], early[1]]), share))

    def flush(self) -> None:
        """Look at what has been noted; happens by itself now and then."""
        if not self._stamps:
            return
        stamps, receives = np.array(self._stamps, np.int64), np.array(self._receives, np.int64)
        del self._stamps[:], self._receives[:]
        self._messages += len(stamps)
        # Nanoseconds of damaged stamps must not wrap around when they are subtracted.
        np.clip(stamps, -(2**61), 2**61, out=stamps)
        np.clip(receives, -(2**61), 2**61, out=receives)
        delay = receives - stamps
        if self._last is None:
            self._base_ns = int(np.sort(delay)[len(delay) // 2])
        else:
            stamps, receives = np.append(self._last[0], stamps), np.append(self._last[1], receives)
        self._last = int(stamps[-1]), int(receives[-1])
        delay -= self._base_ns
        self._late.add(delay[delay >= 0])
        self._early.add(-delay[delay < 0])
        steps, passed = np.diff(stamps), np.diff(receives)
        self._out_of_order += int((steps < 0).sum())
        self._duplicates += int((steps == 0).sum())
        self._note_jumps(receives[:-1], steps - passed)
        # Where the clock jumped, the stamps say nothing about a gap.
        whole = (steps > 0) & (np.abs(steps - passed) <= _JUMP_NS)
        self._intervals.add(steps[whole])
        if not whole.any():
            return
        self._longest_ns = max(self._longest_ns, int(steps[whole].max()))
        if len(self._gaps) < 4 * _KEPT_GAPS:
            median = quantile(*self._intervals.spread(), 0.5)
            found = np.flatnonzero(whole & (steps > _GAP * median))[: 4 * _KEPT_GAPS - len(self._gaps)]
            self._gaps += [(int(receives[k]), int(steps[k])) for k in found]

    def _note_jumps(self, receives: Ints, excess: Ints) -> None:
        jumped = np.flatnonzero(np.abs(excess) > _JUMP_NS)
        if len(jumped) and not self._jumps and self._on_jump is not None:
            first = jumped[0]
            self._on_jump(1e-9 * float(receives[first] - self._start_ns), 1e-9 * float(excess[first]))
        self._jumps += len(jumped)
