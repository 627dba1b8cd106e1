"""Sensor health from stamps alone."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.bags.health import Gap, LogHistogram, TopicMonitor, quantile

MS = 1_000_000


def watched(stamps, delay=5 * MS, **options):
    monitor = TopicMonitor("/scan", int(stamps[0]) + int(np.max(delay)), **options)
    for stamp, receive in zip(stamps, np.asarray(stamps) + delay, strict=True):
        monitor.note(int(stamp), int(receive))
    return monitor


def test_a_steady_stream():
    health = watched(10**18 + 100 * MS * np.arange(2000)).health()
    assert health.messages == 2000
    assert health.rate_hz == pytest.approx(10.0, rel=1e-9) and health.jitter_s == pytest.approx(0.0, abs=1e-9)
    assert (health.gaps, health.longest_gap_s, health.first_gaps) == (0, 0.0, ())
    assert (health.out_of_order, health.duplicates, health.jumps) == (0, 0, 0)
    assert health.delay_median_s == health.delay_p99_s == pytest.approx(0.005)


def test_gaps_are_counted_and_named_wherever_blocks_end():
    keep = np.ones(3000, bool)
    for at, length in ((100, 10), (511, 5), (1024, 3), (2500, 40)):
        keep[at + 1 : at + length] = False
    health = watched(10**18 + 100 * MS * np.flatnonzero(keep)).health()
    assert health.gaps == 3 and health.longest_gap_s == pytest.approx(4.0)  # 0.3 s is not more than three intervals
    assert [gap.time_s for gap in health.first_gaps] == pytest.approx([10.0, 51.1, 250.0])
    assert health.first_gaps[0] == Gap(pytest.approx(10.0), pytest.approx(1.0))


def test_only_the_first_gaps_are_kept():
    steps = np.full(20_000, 10 * MS)
    steps[::100] = 200 * MS
    health = watched(10**18 + np.cumsum(steps)).health()
    assert health.gaps in (199, 200) and len(health.first_gaps) == 20


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 0.3), st.integers(1000, 3000))
def test_spread_is_that_of_numpy(seed, spread, count):
    rng = np.random.default_rng(seed)
    steps = np.maximum(1, rng.normal(50 * MS, spread * 50 * MS, count).astype(np.int64))
    delay = rng.gamma(2.0, 10 * MS, count + 1).astype(np.int64)
    stamps = 10**18 + np.concatenate([[0], np.cumsum(steps)])
    health = watched(stamps, delay).health()
    median = np.median(steps)
    assert health.rate_hz == pytest.approx(1e9 / median, rel=0.03)
    deviation = 1e-9 * np.percentile(np.abs(steps - median), 99)
    assert health.jitter_s == pytest.approx(deviation, rel=0.15, abs=0.002)
    assert health.delay_median_s == pytest.approx(1e-9 * np.median(delay), rel=0.05, abs=1e-3)


def test_order_and_repetition():
    health = watched(10**18 + 100 * MS * np.array([0, 1, 2, 2, 1, 3, 4, 5])).health()
    assert (health.out_of_order, health.duplicates) == (1, 1)


@pytest.mark.parametrize("by_s", [-30.0, 3600.0])
def test_a_jump_of_the_clock_is_told_once_and_is_no_gap(by_s):
    told = []
    monitor = TopicMonitor("/scan", 0, on_jump=lambda at, by: told.append((at, by)))
    for k in range(1000):
        monitor.note(10**18 + 100 * MS * k + (round(by_s * 1e9) if k >= 600 else 0), 100 * MS * k)
    health = monitor.health()
    assert health.jumps == 1 and health.gaps == 0
    assert told == [(pytest.approx(59.9, abs=0.01), pytest.approx(by_s, abs=1e-6))]


def test_clock_offset_is_relative():
    stamps = 10**18 + 100 * MS * np.arange(100)
    pose, scan = watched(stamps).health(), watched(stamps, 75 * MS)
    assert scan.health(pose).clock_offset_s == pytest.approx(0.07, abs=1e-4)
    assert math.isnan(scan.health().clock_offset_s)


def test_nothing_and_one_message_are_nothing_known():
    for health in (TopicMonitor("/a").health(), watched(np.array([5])).health()):
        assert math.isnan(health.rate_hz) and health.gaps == 0
        assert health.as_dict()["rate_hz"] is None
        json.dumps(health.as_dict(), allow_nan=False)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)), max_size=30))
def test_any_stamps_are_survived(pairs):
    monitor = TopicMonitor("/a")
    for stamp, receive in pairs:
        monitor.note(stamp, receive)
    assert monitor.health().messages == len(pairs)


def test_times_beyond_all_calendars_are_left_out():
    monitor = TopicMonitor("/a")
    for k in range(5):
        monitor.note(100 * MS * k, 2**64 - 1 if k == 2 else 100 * MS * k)
        monitor.note(100 * MS * k + 2**63 if k == 3 else 100 * MS * k, 100 * MS * k)
    assert monitor.health().messages == 8


def test_memory_does_not_grow():
    monitor, sizes = TopicMonitor("/a"), set()
    for k in range(5000):
        monitor.note(100 * MS * k, 100 * MS * k)
        sizes.add(len(monitor._stamps))
    assert max(sizes) < 1000 and sys.getsizeof(monitor._gaps) < 2000


def test_quantiles_count_what_is_in_a_bin():
    histogram = LogHistogram()
    histogram.add(np.array([100, 10_000, 10_000, 10_000, 10**9]))
    assert quantile(*histogram.spread(), 0.5) == 10_000
    assert quantile(*histogram.spread(), 0.99) == 10**9
    assert math.isnan(quantile(*LogHistogram().spread(), 0.5))
