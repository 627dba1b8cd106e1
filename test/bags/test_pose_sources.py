"""Velocities from poses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.bags.pose_sources import PoseDifferentiator, best_odometry_edge, is_odometry_transform
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.sim.simulator import advance


@given(st.floats(-1, 1), st.floats(-2, 2), st.floats(-3, 3))
def test_constant_twist_is_found_again(linear, angular, yaw):
    pose, source = Pose2D(1.0, 2.0, yaw), PoseDifferentiator()
    source.add(0, pose)
    out = source.add(100_000_000, advance(pose, linear, angular, 0.1))
    # The chord is a little shorter than the arc.
    assert out.twist.linear == pytest.approx(linear, abs=0.003)
    assert out.twist.angular == pytest.approx(angular, abs=1e-6)
    assert out.twist.lateral == pytest.approx(0.0, abs=1e-6)


def test_first_pose_gaps_and_jumps_back_have_no_velocity():
    source = PoseDifferentiator()
    assert source.add(0, Pose2D()).twist == Twist2D()
    assert source.add(5_000_000_000, Pose2D(5.0)).twist == Twist2D()
    assert source.add(1_000_000_000, Pose2D(9.0)).twist == Twist2D()
    assert source.add(1_500_000_000, Pose2D(10.0)).twist.linear == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        (b"odom", b"base_link", True),
        (b"/odom", b"/base_footprint", True),
        (b"tb3_0/odom", b"tb3_0/base_link", True),
        (b"map", b"odom", False),
        (b"base_link", b"laser", False),
    ],
)
def test_which_transforms_tell_the_pose(parent, child, expected):
    assert is_odometry_transform(parent, child) is expected


def test_the_odom_frame_is_smoother_than_a_map():
    edges = [(b"map", b"base_link"), (b"map", b"odom"), (b"/odom", b"base_link"), (b"base_link", b"laser")]
    assert best_odometry_edge(edges) == (b"/odom", b"base_link")
    assert best_odometry_edge(edges[:2]) == (b"map", b"base_link")
    assert best_odometry_edge(edges[3:]) is None
