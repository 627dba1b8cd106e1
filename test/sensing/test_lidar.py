"""Resampling of LaserScans to sectors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.geometry import Pose2D
from mm_nav.observation import LaserScan
from mm_nav.sensing.lidar import resample

CENTRED = Pose2D()


def scan(ranges, angle_min=-math.pi, increment=None, mount=CENTRED, range_min=0.1, range_max=30.0):
    ranges = np.asarray(ranges, np.float32)
    step = 2 * math.pi / len(ranges) if increment is None else increment
    return LaserScan(0, ranges, angle_min, step, range_min, range_max, mount)


def bearing(i, bins=360):
    return -math.pi + (i + 0.5) * 2 * math.pi / bins


def test_same_resolution_keeps_every_beam_in_order():
    values = np.linspace(1, 5, 360)
    ranges, valid = resample(scan(values))
    np.testing.assert_allclose(ranges, values, rtol=1e-6)
    assert valid.all() and ranges.dtype == valid.dtype == np.float32


def test_more_beams_than_sectors_keeps_the_nearest():
    values = np.full(3600, 8.0)
    values[1234] = 0.7
    ranges, _ = resample(scan(values))
    assert ranges[123] == pytest.approx(0.7) and np.sum(ranges < 8) == 1


@pytest.mark.parametrize("beams", [24, 90, 180, 270])
def test_fewer_beams_leave_no_holes(beams):
    ranges, valid = resample(scan(np.full(beams, 3.0)))
    assert valid.all()
    np.testing.assert_allclose(ranges, 3.0)


def test_unseen_directions_are_marked():
    ranges, valid = resample(scan(np.full(181, 2.0), angle_min=-math.pi / 2, increment=math.pi / 180))
    behind = np.array([abs(bearing(i)) > math.radians(92) for i in range(360)])
    ahead = np.array([abs(bearing(i)) < math.radians(89) for i in range(360)])
    assert not valid[behind].any() and valid[ahead].all()
    assert (ranges[behind] == 10.0).all()


def test_what_counts_as_measured():
    values = np.full(360, 2.0)
    values[10], values[20], values[30], values[40], values[50] = np.inf, np.nan, 0.0, 99.0, -np.inf
    ranges, valid = resample(scan(values))
    assert (ranges[10], valid[10]) == (10.0, 1.0)
    assert valid[20] == 0 and valid[30] == 0
    assert (ranges[40], valid[40]) == (10.0, 1.0)
    assert ranges[50] == pytest.approx(0.1) and valid[50] == 1


def test_mount_turned_round_and_moved_sees_the_same_wall():
    # A wall at x = 2 in base_link, sensor at (-0.5, 0) looking backwards.
    angles = -math.pi + np.arange(720) * math.pi / 360
    heading = angles + math.pi
    with np.errstate(divide="ignore"):
        values = np.where(np.cos(heading) > 0.05, 2.5 / np.cos(heading), np.inf)
    ranges, valid = resample(scan(values, mount=Pose2D(-0.5, 0.0, math.pi)))
    for i in range(360):
        if abs(bearing(i)) < 1.2:
            assert valid[i]
            assert ranges[i] == pytest.approx(2.0 / math.cos(bearing(i)), rel=0.04)


def test_all_invalid_or_empty_gives_nothing_seen():
    for values in (np.full(100, np.nan), np.zeros(0)):
        ranges, valid = resample(scan(values, increment=0.01))
        assert not valid.any() and (ranges == 10.0).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=0, max_size=400),
    st.floats(-7, 7),
    st.floats(-0.1, 0.1).filter(lambda v: abs(v) > 1e-4),
    st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-4, 4)),
    st.sampled_from([1, 36, 360]),
)
def test_any_scan_gives_finite_sectors(values, angle_min, increment, mount, bins):
    ranges, valid = resample(scan(values, angle_min, increment, Pose2D(*mount)), bins=bins, max_range=6.0)
    assert ranges.shape == valid.shape == (bins,)
    assert np.all((ranges >= 0) & (ranges <= 6.0)) and set(np.unique(valid)) <= {0.0, 1.0}
    assert (ranges[valid == 0] == 6.0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 359), st.integers(1, 359))
def test_turning_the_sensor_turns_the_sectors(first, turn):
    values = np.random.default_rng(first).uniform(1, 9, 360)
    straight, _ = resample(scan(values))
    turned, _ = resample(scan(values, mount=Pose2D(0, 0, math.radians(turn))))
    np.testing.assert_allclose(np.roll(straight, turn), turned, rtol=1e-5)
