"""ROS messages as nouns, whatever library made them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.errors import SensorError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Observation, Odometry
from mm_nav.sensing import messages
from mm_nav.sensing.messages import quaternion_from_matrix, quaternion_from_yaw, rotation_matrix, yaw_from_quaternion

# Half of a number near 1e-308 has fewer digits than the number: no robot turns by so little.
angles = st.floats(-math.pi, math.pi, exclude_max=True).filter(lambda v: v == 0 or abs(v) > 1e-300)
unit = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1)


def ns(**fields):
    return SimpleNamespace(**fields)


def stamped(sec=3, nanosec=5, frame="x"):
    return ns(stamp=ns(sec=sec, nanosec=nanosec), frame_id=frame)


def vector(x=0.0, y=0.0, z=0.0):
    return ns(x=x, y=y, z=z)


@settings(max_examples=500)
@given(angles)
def test_heading_survives_the_quaternion_bit_for_bit(yaw):
    z, w = quaternion_from_yaw(yaw)
    assert yaw_from_quaternion(0.0, 0.0, z, w) == yaw
    assert math.hypot(z, w) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("yaw", [0.0, -math.pi, math.pi / 2, -1e-299, 3.141592653589793 - 4e-16])
def test_heading_survives_at_the_edges(yaw):
    assert yaw_from_quaternion(0.0, 0.0, *quaternion_from_yaw(yaw)) == yaw


@given(angles, st.floats(-0.5, 0.5), st.floats(0.1, 3.0))
def test_heading_of_a_tilted_robot_of_any_quaternion_length(yaw, roll, scale):
    cr, sr, cy, sy = math.cos(roll / 2), math.sin(roll / 2), math.cos(yaw / 2), math.sin(yaw / 2)
    q = [scale * v for v in (sr * cy, sr * sy, cr * sy, cr * cy)]
    assert math.remainder(yaw_from_quaternion(*q) - yaw, 2 * math.pi) == pytest.approx(0.0, abs=1e-9)


def test_heading_of_nothing_is_nan():
    assert math.isnan(yaw_from_quaternion(0.0, 0.0, 0.0, 0.0))


@given(unit)
def test_rotations_survive_the_quaternion(q):
    q = np.array(q) / np.linalg.norm(q)
    rotation = rotation_matrix(*q)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(rotation_matrix(*quaternion_from_matrix(rotation)), rotation, atol=1e-9)


def test_optical_axes_are_exact():
    optical = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    np.testing.assert_array_equal(rotation_matrix(*quaternion_from_matrix(optical)), optical)


@pytest.mark.parametrize("q", [(0, 0, 0, 0), (0, 0, 0, 2), (math.nan, 0, 0, 1)])
def test_broken_quaternion_is_refused(q):
    with pytest.raises(SensorError, match="quaternion"):
        rotation_matrix(*q)


def test_odometry():
    z, w = quaternion_from_yaw(1.25)
    message = ns(
        header=stamped(),
        pose=ns(pose=ns(position=vector(1.0, 2.0, 9.0), orientation=ns(x=0.0, y=0.0, z=z, w=w))),
        twist=ns(twist=ns(linear=vector(0.5, 0.1), angular=vector(z=-0.3))),
    )
    assert messages.odometry_from(message) == Odometry(3_000_000_005, Pose2D(1.0, 2.0, 1.25), Twist2D(0.5, -0.3, 0.1))
    assert messages.odometry_from(message, 7).stamp_ns == 7


def scan(n=4, increment=0.5, time_increment=0.0):
    return ns(
        header=stamped(), ranges=np.arange(1, n + 1, dtype=np.float32), angle_min=-0.75, angle_increment=increment,
        range_min=0.1, range_max=9.0, time_increment=time_increment,
    )  # fmt: skip


def test_scan_and_its_mount():
    mount = np.eye(4)
    mount[:2, :2] = [[0, -1], [1, 0]]
    mount[:3, 3] = (0.3, 0.1, 0.5)
    out = messages.scan_from(scan(), mount)
    assert out.mount == Pose2D(0.3, 0.1, math.pi / 2) and out.angle_min == -0.75
    assert out.range_max == 9.0 and out.range_min == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("told", "taken"),
    [(0.05, float(np.float32(0.05))), (0.0, 0.0), (-0.05, 0.0), (math.nan, 0.0), (math.inf, 0.0), (0.2, 0.0)],
)
def test_times_of_the_beams_are_taken_where_they_can_be(told, taken):
    assert messages.scan_from(scan(time_increment=told)).time_increment_s == taken


def test_what_is_nearer_than_can_be_measured_is_no_free_space():
    seen = scan()
    seen.ranges = np.array([2.0, -np.inf, np.nan, np.inf], np.float32)
    out = messages.scan_from(seen)
    np.testing.assert_array_equal(out.ranges, np.array([2.0, 0.1, np.nan, np.inf], np.float32))
    assert out.valid().tolist() == [True, True, False, False]


def test_upside_down_lidar_turns_the_other_way():
    over = np.diag([1.0, -1.0, -1.0, 1.0])  # rolled by pi
    upright, flipped = messages.scan_from(scan()), messages.scan_from(scan(), over)
    np.testing.assert_allclose(flipped.points(), upright.points() * [1, -1], atol=1e-6)


@pytest.mark.parametrize("broken", [scan(0), scan(4, 0.0), scan(4, math.nan), scan(4, math.inf)])
def test_useless_scan_is_refused(broken):
    with pytest.raises(SensorError, match="no use"):
        messages.scan_from(broken)


def test_cloud_is_moved_to_base_link():
    points = np.array([[1, 2, 3], [np.nan, 0, 0], [4, 5, 6]], np.float32)
    message = ns(
        header=stamped(), data=points.tobytes(), point_step=12, row_step=36, width=3, height=1, is_bigendian=False,
        fields=[ns(name=name, offset=4 * i, datatype=7) for i, name in enumerate("xyz")],
    )  # fmt: skip
    mount = np.eye(4)
    mount[2, 3] = 0.5
    out = messages.cloud_from(message, mount)
    np.testing.assert_allclose(out.points, [[1, 2, 3.5], [4, 5, 6.5]])


def test_as_carried_rounds_the_geometry_of_the_scan_only():
    ranges = np.ones(4, np.float32)
    made = Observation(1, Odometry(1, Pose2D(0.1)), LaserScan(1, ranges, -math.pi, 0.1, 0.12, 10.0))
    carried = messages.as_carried(made)
    assert carried.scan.angle_min == float(np.float32(-math.pi)) != made.scan.angle_min
    assert carried.scan.ranges is ranges and carried.odometry is made.odometry
    assert messages.as_carried(carried).scan.angle_min == carried.scan.angle_min
    blind = Observation(1, made.odometry)
    assert messages.as_carried(blind) is blind
