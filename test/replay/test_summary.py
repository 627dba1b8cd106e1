"""Measures, windows, events and pooling, of columns that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm_nav.replay.columns import COLUMNS, Columns, spans
from mm_nav.replay.records import STAGES
from mm_nav.replay.summary import events_of, measures_of, pooled, remarks_on, windows_of


def columns(steps=100, dt=0.1, **values):
    made = Columns()
    for k in range(steps):
        row = {"time_s": k * dt, "active": 1, "stage": 1, "linear": 0.5, "angular": 0.0, "recorded_linear": 0.4}
        row |= {"recorded_angular": 0.1, "limited": 0, "stopped": 0, "recorded_limited": 0, "recorded_stopped": 0}
        made.add(row | {name: value[k] if hasattr(value, "__len__") else value for name, value in values.items()})
    return made.arrays()


def test_columns_keep_rows_over_blocks_and_are_filled_in_later():
    made = Columns()
    for k in range(2500):
        assert made.add({"time_s": k}) == k
    made.set(2047, {"ade_1s_m": 0.5})
    found = made.arrays()
    assert set(found) == set(COLUMNS) and len(made) == 2500
    np.testing.assert_array_equal(found["time_s"], np.arange(2500))
    assert found["ade_1s_m"][2047] == 0.5 and np.isnan(found["ade_1s_m"]).sum() == 2499
    assert all(len(column) == 0 for column in Columns().arrays().values())


def test_spans_join_what_is_near():
    times = np.arange(20, dtype=np.float32) * 0.1
    mask = np.zeros(20, bool)
    mask[[2, 3, 5, 15]] = True
    assert list(spans(times, mask)) == [(2, 5), (15, 15)]
    assert list(spans(times, np.zeros(20, bool))) == []


def test_measures():
    found = measures_of(
        columns(
            ade_2s_m=np.where(np.arange(100) < 50, 0.2, np.nan),
            stopped=np.arange(100) < 3,
            recorded_stopped=np.arange(100) >= 98,
            clearance_m=np.where((np.arange(100) % 40) < 5, 0.01, 1.0),
            visible=np.where(np.arange(100) < 10, 0.9, np.where(np.arange(100) < 40, 0.1, np.nan)),
            strange_scan=np.linspace(0, 2, 100),
            latency_ms=10.0,
        )
    )
    assert found["ade_2s_m"] == pytest.approx(0.2) and math.isnan(found["ade_4s_m"])
    assert found["speed_error_mps"] == pytest.approx(0.1) and found["turn_error_rps"] == pytest.approx(0.1)
    assert (found["guard_stops"], found["recorded_guard_stops"]) == (3, 2)
    assert found["recorded_near_collisions"] == 3 and found["near_collisions"] == 0
    assert found["clearance_min_m"] == pytest.approx(0.01)
    assert found["visible_share"] == pytest.approx(0.25)
    assert found["strange_scan_share"] == pytest.approx(0.5) and math.isnan(found["strange_image_p50"])
    assert found["stages"] == {STAGES[1].value: 100}


def test_windows_hold_five_seconds_each():
    found = windows_of(columns(120, ade_2s_m=np.arange(120) // 50, stopped=np.arange(120) < 3, latency_ms=1.0))
    assert found["ade_2s_m"] == [0.0, 1.0, 2.0] and found["guard_stops"] == [3.0, 0.0, 0.0]
    assert found["visible"] == [None, None, None]
    assert windows_of(Columns().arrays()) == {}


def test_events_have_a_beginning_and_an_end():
    found = events_of(columns(stopped=(np.arange(100) >= 20) & (np.arange(100) <= 30), strange_image=1.5))
    guard = [event for event in found if event.kind == "guard"]
    assert len(guard) == 1 and guard[0].time_s == pytest.approx(2.0) and guard[0].until_s == pytest.approx(3.0)
    assert [event.kind for event in found] == ["strange", "guard"]


def test_another_robots_body_is_remarked_on():
    assert "--robot" in remarks_on(columns(clearance_m=-0.05))[0]
    assert remarks_on(columns(clearance_m=0.3)) == [] and remarks_on(columns()) == []


def test_recordings_are_pooled_with_their_windows_apart():
    both = pooled([columns(70, ade_2s_m=0.1), columns(30, ade_2s_m=0.4)])
    assert measures_of(both)["ade_2s_m"] == pytest.approx(0.19)
    assert windows_of(both)["ade_2s_m"] == pytest.approx([0.1, 0.1, 0.4])
