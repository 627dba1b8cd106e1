"""What goes through ROS messages comes back as it was."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from mm_nav.command import Grounding, PolicyOutput
from mm_nav.errors import SensorError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import PolicyGoal
from mm_nav.mapping.occupancy_grid import GridExport
from mm_nav.observation import CameraImage, LaserScan, Odometry
from mm_nav.ros import conversions
from mm_nav.ros.raw_image import parse_image
from mm_nav.sensing.images import decode_image
from mm_nav.sensing.messages import odometry_from, scan_from

OPTICAL = np.array([[0.0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 0.3], [0, 0, 0, 1]])


@settings(max_examples=200)
@given(
    st.floats(-100, 100),
    st.floats(-100, 100),
    st.floats(-math.pi, math.pi - 1e-9, allow_subnormal=False),
    st.integers(0, 2**61),
)
def test_odometry_is_exact(x: float, y: float, yaw: float, stamp: int) -> None:
    odometry = Odometry(stamp % (2**31 * 10**9), Pose2D(x, y, yaw), Twist2D(0.3, -0.2))
    assert odometry_from(conversions.odometry_message(odometry, "odom", "base_link")) == odometry


def test_scans_are_exact_in_float32() -> None:
    ranges = np.array([1.0, np.inf, np.nan, 0.3], np.float32)
    scan = LaserScan(12_345_678_901, ranges, -math.pi, math.pi / 2, 0.1, 10.0, time_increment_s=0.03)
    back = scan_from(conversions.scan_message(scan, "base_scan", 0.1))
    np.testing.assert_array_equal(back.ranges, ranges)
    assert back.stamp_ns == scan.stamp_ns and back.angle_min == np.float32(-math.pi)
    assert back.time_increment_s == np.float32(0.03)


@pytest.mark.parametrize("frame", ["", "c", "camera_optical_frame"])
@pytest.mark.parametrize("size", [(3, 5), (48, 64)])
def test_images_are_read_from_their_bytes(frame: str, size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    message = conversions.image_message(CameraImage(7_000_000_001, rgb, np.eye(3), OPTICAL), frame)
    raw = parse_image(serialize_message(message))
    assert (raw.header.frame_id, raw.header.stamp.sec, raw.header.stamp.nanosec) == (frame, 7, 1)
    np.testing.assert_array_equal(
        decode_image(raw.data, raw.encoding, raw.height, raw.width, raw.step, bool(raw.is_bigendian)), rgb
    )


@settings(max_examples=60)
@given(st.integers(0, 200))
def test_a_cut_image_is_refused(length: int) -> None:
    whole = serialize_message(Image(height=8, width=8, encoding="rgb8", step=24, data=bytes(192)))
    with pytest.raises(SensorError):
        parse_image(whole[: min(length, len(whole) - 1)])


def test_policy_output_is_exact() -> None:
    rng = np.random.default_rng(1)
    output = PolicyOutput(
        5, "goal/0", *(rng.random(48).astype(np.float32) for _ in range(3)), float(np.float32(0.7)), float(np.float32(0.1)),
        rng.random((6, 8, 2)).astype(np.float32), rng.random(6).astype(np.float32), rng.random((18, 48)).astype(np.float32), 2.5,
    )  # fmt: skip
    back = conversions.policy_from(conversions.policy_message(output, "base_link"))
    for name in PolicyOutput.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(output, name), err_msg=name)


def test_other_phrases_travel_with_the_output() -> None:
    rng = np.random.default_rng(2)
    rows = [rng.random(48).astype(np.float32) for _ in range(7)]
    others = tuple(Grounding(rows[0], rows[k], rows[k + 1], float(np.float32(0.1 * k))) for k in (1, 3))
    output = PolicyOutput(
        5, "goal/0", rows[0], rows[5], rows[6], 0.5, 0.25, np.zeros((0, 8, 2), np.float32), np.zeros(0, np.float32), others=others
    )  # fmt: skip
    back = conversions.policy_from(conversions.policy_message(output, "base_link"))
    assert len(back.others) == 2
    for ours, theirs in zip(others, back.others, strict=True):
        for name in Grounding.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), err_msg=name)


def test_policy_goals() -> None:
    goal = PolicyGoal("id/1", "the red barrel", Pose2D(1.0, 2.0, 0.5), others=("the table", "the sofa"))
    assert conversions.policy_goal_from(conversions.policy_goal_message(goal)) == goal
    assert conversions.policy_goal_from(conversions.policy_goal_message(None)) is None


def test_the_picture_of_a_goal_travels_with_it() -> None:
    picture = np.random.default_rng(3).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    back = conversions.policy_goal_from(conversions.policy_goal_message(PolicyGoal("id/0", image=picture)))
    assert back is not None and back.phrase == "" and back.image is not None
    np.testing.assert_array_equal(back.image, picture)
    message = conversions.policy_goal_message(PolicyGoal("id/0", image=picture))
    message.image.encoding = "smell8"
    with pytest.raises(SensorError, match="smell8"):
        conversions.policy_goal_from(message)


def test_transforms_and_maps() -> None:
    message = conversions.transform_message(OPTICAL, 3, "base_link", "camera")
    from mm_nav.sensing.messages import transform_matrix

    np.testing.assert_allclose(transform_matrix(message.transform), OPTICAL, atol=1e-12)
    grid = conversions.map_message(GridExport(np.array([[-1, 0, 100]], np.int8), (1.0, 2.0), 0.05), 0, "map")
    assert list(grid.data) == [-1, 0, 100] and (grid.info.width, grid.info.height) == (3, 1)


def test_a_pose_without_orientation_looks_along_x() -> None:
    message = conversions.pose_message(Pose2D(1.0, 2.0, 0.3), 0, "map")
    assert conversions.pose_from(message).yaw == pytest.approx(0.3)
    message.pose.orientation.z = message.pose.orientation.w = 0.0
    assert conversions.pose_from(message) == Pose2D(1.0, 2.0, 0.0)
