"""Point clouds: unpacking and flattening."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.errors import SensorError
from mm_nav.observation import PointCloud
from mm_nav.robot import RobotConfig, load_robot
from mm_nav.sensing.clouds import mounted, obstacle_scan, planar_scan, unpack_points, without_body

POINTS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def packed(kind="<f4", extra=4, row_padding=0, rows=1):
    size = np.dtype(kind).itemsize
    step = 3 * size + extra
    raw = np.full((len(POINTS), step), 99, np.uint8)
    for axis in range(3):
        raw[:, axis * size : (axis + 1) * size] = POINTS[:, axis].astype(kind).view(np.uint8).reshape(-1, size)
    raw = raw.reshape(rows, -1)
    raw = np.hstack([raw, np.full((rows, row_padding), 77, np.uint8)])
    datatype = 7 if size == 4 else 8
    return raw.tobytes(), {n: (i * size, datatype) for i, n in enumerate("xyz")}, step


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
def test_formats(kind):
    data, fields, step = packed(kind)
    out = unpack_points(data, fields, step, 20, big_endian=kind[0] == ">")
    np.testing.assert_array_equal(out, POINTS)


def test_rows_may_be_padded():
    data, fields, step = packed(row_padding=7, rows=4)
    np.testing.assert_array_equal(unpack_points(data, fields, step, 20, row=(5, 5 * step + 7)), POINTS)


def test_points_that_are_not_finite_are_left_out():
    points = POINTS.copy()
    points[3, 1], points[7, 2] = np.nan, np.inf
    fields = {n: (4 * i, 7) for i, n in enumerate("xyz")}
    out = unpack_points(points.tobytes(), fields, 12, 20)
    np.testing.assert_array_equal(out, np.delete(POINTS, [3, 7], axis=0))


@pytest.mark.parametrize(("first", "step"), [(0, 12), (0, 16), (0, 22), (0, 32), (5, 30), (8, 24), (4, 16), (2, 14)])
def test_layouts_of_real_lidars(first, step):
    rng = np.random.default_rng(step)
    raw = rng.integers(0, 256, (20, step), np.uint8)
    raw[:, first : first + 12] = POINTS.view(np.uint8)
    raw[3, first : first + 4] = np.array([np.nan], "<f4").view(np.uint8)
    raw[4, first : first + 12] = np.array([3e38, -3e38, 3e38], "<f4").view(np.uint8)
    expected = POINTS.copy()
    expected[4] = 3e38, -3e38, 3e38
    fields = {n: (first + 4 * i, 7) for i, n in enumerate("xyz")}
    out = unpack_points(raw.tobytes(), fields, step, 20)
    np.testing.assert_array_equal(out, np.delete(expected, 3, axis=0))
    assert out.flags.c_contiguous


def test_points_are_turned_and_shifted():
    mount = np.eye(4)
    np.testing.assert_array_equal(mounted(POINTS, mount), POINTS)
    np.testing.assert_array_equal(mounted(POINTS, None), POINTS)
    mount[:3, :3] = np.array([[0, -1, 0], [0.6, 0, -0.8], [0.8, 0, 0.6]])
    mount[:3, 3] = 1, 2, 3
    out = mounted(POINTS, mount)
    np.testing.assert_allclose(out, POINTS @ mount[:3, :3].T + mount[:3, 3], rtol=1e-5, atol=1e-6)
    assert out.dtype == np.float32 and out.flags.c_contiguous
    assert mounted(np.empty((0, 3), np.float32), mount).shape == (0, 3)


@pytest.mark.parametrize(
    ("fields", "step", "count"),
    [
        ({"x": (0, 7), "y": (4, 7)}, 12, 1),
        ({"x": (0, 7), "y": (4, 7), "z": (10, 7)}, 12, 1),
        ({"x": (0, 7), "y": (4, 7), "z": (8, 42)}, 12, 1),
        ({"x": (0, 7), "y": (4, 7), "z": (8, 7)}, 12, 1000),
    ],
)
def test_broken_clouds_are_refused(fields, step, count):
    with pytest.raises(SensorError):
        unpack_points(bytes(24), fields, step, count)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=100),
    st.integers(0, 40),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(-1, 30),
    st.integers(-3, 40),
)
def test_any_bytes_give_points_or_a_sensor_error(data, step, datatype, count, offset, row):
    fields = {"x": (0, 7), "y": (4, 7), "z": (offset, datatype)}
    try:
        out = unpack_points(data, fields, step, count, row=(3, row))
    except SensorError:
        return
    assert out.ndim == 2 and np.isfinite(out).all()


def test_planar_scan_takes_the_nearest_of_the_right_height():
    cloud = PointCloud(5, np.array([[2, 0, 0.3], [1, 0, 0.01], [1.5, 0, 2.0], [3, 0, 0.4], [0, -4, 0.2]], np.float32))
    scan = planar_scan(cloud, low=0.05, high=0.6, beams=8)
    ahead = [round(math.degrees(a)) for a in scan.angles()]
    assert scan.ranges[ahead.index(22)] == 2.0
    assert np.isnan(np.delete(scan.ranges, [ahead.index(22), ahead.index(-68)])).all()
    assert scan.stamp_ns == 5 and scan.ranges[ahead.index(-68)] == 4.0


def test_floor_alone_is_free_and_nothing_at_all_is_unseen():
    floor = PointCloud(0, np.array([[2, 0.1, 0.0]], np.float32))
    ranges = planar_scan(floor, 0.05, 0.6, beams=4).ranges
    assert np.isinf(ranges[2]) and np.isnan(np.delete(ranges, 2)).all()
    assert np.isnan(planar_scan(PointCloud(0, np.zeros((0, 3), np.float32)), 0.05, 0.6).ranges).all()


@pytest.mark.parametrize(
    ("clearance", "height", "seen"),
    [
        (0.03, 0.35, {0.1, 0.3, 0.39}),
        (0.12, 0.35, {0.3, 0.39}),  # it drives over what is lower
        (0.0, 1.2, {0.1, 0.3, 0.39, 0.75, 1.24}),  # it does not fit under a table
    ],
)
def test_what_a_robot_drives_over_or_fits_under_is_no_obstacle(clearance, height, seen):
    robot = RobotConfig(ground_clearance_m=clearance, height_m=height)
    for z in (0.02, 0.1, 0.3, 0.39, 0.75, 1.24, 2.0):
        scan = obstacle_scan(PointCloud(0, np.array([[2, 0.0, z]], np.float32)), robot)
        assert (np.nanmin(scan.ranges) == 2.0) == (z in seen), z


def test_only_the_body_is_left_out():
    robot = load_robot("generic")  # 0.36 m x 0.32 m x 0.35 m
    points = np.array(
        [[0.17, 0.15, 0.2], [0.19, 0.0, 0.1], [0.22, 0.0, 0.2], [0.0, 0.2, 0.2], [0.0, 0.0, 0.5], [-0.18, 0.16, 0.0]],
        np.float32,
    )
    ring = np.arange(6, dtype=np.uint16)
    left = without_body(PointCloud(0, points, ring), robot)
    assert left.ring is not None and left.ring.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(left.points, points[2:5])
    assert without_body(left, robot) is left
