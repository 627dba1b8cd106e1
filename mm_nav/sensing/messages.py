"""ROS messages as the stack's nouns, and back to what a message can carry.

Works on anything that has the fields of the ROS message (an rclpy message, a `rosbags` one), so that a live robot and
its recording are read by the same code.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import SensorError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud
from mm_nav.sensing.clouds import mounted, unpack_points
from mm_nav.sensing.images import decode_compressed, decode_image

Matrix = npt.NDArray[np.float64]

LONGEST_SWEEP_S = 0.5  # of a spinning LiDAR at 2 Hz, slower than any on the market


def stamp_ns(header: Any) -> int:
    """Return a std_msgs/Header's stamp in nanoseconds."""
    stamp = header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def yaw_from_quaternion(x: float, y: float, z: float, w: float) -> float:
    """Return the heading, rad, of a rotation: of its x axis, seen from above. nan for a quaternion of zeros."""
    if x == 0.0 and y == 0.0 and (z != 0.0 or w != 0.0):
        # Twice the half angle keeps every digit; the general form loses some near 0 and pi.
        yaw = 2.0 * math.atan2(z, w)
        return yaw - 2.0 * math.pi if yaw >= math.pi else yaw + 2.0 * math.pi if yaw < -math.pi else yaw
    sine, cosine = 2.0 * (w * z + x * y), w * w + x * x - y * y - z * z
    return math.atan2(sine, cosine) if sine or cosine else math.nan


def quaternion_from_yaw(yaw: float) -> tuple[float, float]:
    """Return (z, w) of the planar rotation by `yaw`, in [-pi, pi); `yaw_from_quaternion` gives `yaw` back, bit for bit.

    Exactness makes live, simulated and replayed drives equal; rounding alone would let them differ in the last digit.
    """
    z, w = math.sin(yaw / 2), math.cos(yaw / 2)
    if yaw_from_quaternion(0.0, 0.0, z, w) == yaw:
        return z, w
    for step in range(1, 9):
        for toward in (math.inf, -math.inf):
            nudged = z
            for _ in range(step):
                nudged = math.nextafter(nudged, toward)
            for other in (w, math.nextafter(w, math.inf), math.nextafter(w, -math.inf)):
                if yaw_from_quaternion(0.0, 0.0, nudged, other) == yaw:
                    return nudged, other
    return z, w


def rotation_matrix(x: float, y: float, z: float, w: float) -> Matrix:
    """Return the (3, 3) rotation of a quaternion. Raises SensorError when its length is far from 1."""
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not 0.9 < length < 1.1:
        raise SensorError(f"a transform's quaternion has length {length:.3g}, expected 1: the publisher is broken")
    if abs(length - 1.0) > 1e-12:
        x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_matrix(rotation: Matrix) -> tuple[float, float, float, float]:
    """Return the quaternion (x, y, z, w), w >= 0, of a (3, 3) rotation.

    Source: Shepperd, "Quaternion from rotation matrix", 1978: divides by the largest component, so it is stable.
    """
    m = rotation
    squares = np.array(
        [
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
            1 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    largest = int(np.argmax(squares))
    s = math.sqrt(float(squares[largest])) * 2
    values = [
        (s / 4, (m[0, 1] + m[1, 0]) / s, (m[0, 2] + m[2, 0]) / s, (m[2, 1] - m[1, 2]) / s),
        ((m[0, 1] + m[1, 0]) / s, s / 4, (m[1, 2] + m[2, 1]) / s, (m[0, 2] - m[2, 0]) / s),
        ((m[0, 2] + m[2, 0]) / s, (m[1, 2] + m[2, 1]) / s, s / 4, (m[1, 0] - m[0, 1]) / s),
        ((m[2, 1] - m[1, 2]) / s, (m[0, 2] - m[2, 0]) / s, (m[1, 0] - m[0, 1]) / s, s / 4),
    ][largest]
    sign = -1.0 if values[3] < 0 else 1.0
    x, y, z, w = (float(sign * v) for v in values)
    return x, y, z, w


def transform_matrix(transform: Any) -> Matrix:
    """Return a geometry_msgs/Transform as (4, 4). Raises SensorError for a broken quaternion."""
    q, t = transform.rotation, transform.translation
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(q.x, q.y, q.z, q.w)
    matrix[:3, 3] = (t.x, t.y, t.z)
    return matrix


def planar(base_T_sensor: Matrix) -> Pose2D:
    """Return the x, y and heading of a sensor's pose (4, 4) in base_link. Raises SensorError when it is upside down.

    An upside-down LiDAR turns the other way round; `scan_from` handles it, so ask `is_upside_down` first.
    """
    heading = math.atan2(base_T_sensor[1, 0], base_T_sensor[0, 0])
    return Pose2D(float(base_T_sensor[0, 3]), float(base_T_sensor[1, 3]), heading)


def is_upside_down(base_T_sensor: Matrix) -> bool:
    """Return whether the sensor's z axis points to the floor."""
    return bool(base_T_sensor[2, 2] < 0)


def odometry_from(message: Any, stamp: int | None = None) -> Odometry:
    """Return a nav_msgs/Odometry."""
    p, q = message.pose.pose.position, message.pose.pose.orientation
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    pose = Pose2D(float(p.x), float(p.y), yaw_from_quaternion(q.x, q.y, q.z, q.w))
    twist = Twist2D(float(linear.x), float(angular.z), float(linear.y))
    return Odometry(stamp_ns(message.header) if stamp is None else stamp, pose, twist)


def scan_from(message: Any, base_T_sensor: Matrix | None = None, stamp: int | None = None) -> LaserScan:
    """Return a sensor_msgs/LaserScan. base_T_sensor: (4, 4), None = at base_link's origin.

    Raises SensorError for a scan without beams or with a beam spacing of zero.
    """
    mount, flipped = (
        (Pose2D(), False) if base_T_sensor is None else (planar(base_T_sensor), is_upside_down(base_T_sensor))
    )
    return scan_of(
        stamp_ns(message.header) if stamp is None else stamp,
        np.asarray(message.ranges, np.float32),
        float(np.float32(message.angle_min)),
        float(np.float32(message.angle_increment)),
        float(np.float32(message.range_min)),
        float(np.float32(message.range_max)),
        mount,
        flipped,
        float(np.float32(message.time_increment)),
    )


def scan_of(
    stamp_ns: int,
    ranges: npt.NDArray[np.float32],
    angle_min: float,
    angle_increment: float,
    range_min: float,
    range_max: float,
    mount: Pose2D,
    upside_down: bool = False,
    time_increment_s: float = 0.0,
) -> LaserScan:
    """Return a LaserScan of a LaserScan message's numbers.

    -inf, an echo from nearer than the sensor measures (REP 117), becomes range_min: what is so near is no free space.
    A time_increment_s that cannot be one (below 0, not finite, a sweep of more than LONGEST_SWEEP_S) counts as 0, all beams at
    once: some drivers fill that field with anything. Raises SensorError for a scan without beams or with a beam spacing of zero.
    """
    if (
        len(ranges) == 0
        or not math.isfinite(angle_increment)
        or not math.isfinite(angle_min)
        or (angle_increment == 0 and len(ranges) > 1)
    ):
        raise SensorError(
            f"a scan of {len(ranges)} beams from {angle_min} by {angle_increment} rad is of no use: the publisher is broken"
        )
    if upside_down:
        angle_min, angle_increment = -angle_min, -angle_increment
    # fmin passes over NaN.
    if np.fmin.reduce(ranges) == -np.inf:
        ranges = np.where(np.isneginf(ranges), np.float32(range_min), ranges)
    if not 0.0 <= time_increment_s * len(ranges) <= LONGEST_SWEEP_S:
        time_increment_s = 0.0
    return LaserScan(stamp_ns, ranges, angle_min, angle_increment, range_min, range_max, mount, time_increment_s)


def image_from(
    message: Any, intrinsics: Matrix, base_T_camera: Matrix, stamp: int | None = None, compressed: bool = False,
    distortion: tuple[tuple[float, ...], str] = ((), "plumb_bob"),
) -> CameraImage:  # fmt: skip
    """Return a sensor_msgs/Image or, with `compressed`, a CompressedImage. distortion: coefficients and model, as
    rectify.distortion_from gives them. Raises SensorError when it cannot be decoded."""
    if compressed:
        rgb = decode_compressed(message.data)
    else:
        rgb = decode_image(
            message.data, message.encoding, message.height, message.width, message.step, bool(message.is_bigendian)
        )
    taken = stamp_ns(message.header) if stamp is None else stamp
    return CameraImage(taken, rgb, intrinsics, base_T_camera, *distortion)


def cloud_from(message: Any, base_T_sensor: Matrix | None = None, stamp: int | None = None) -> PointCloud:
    """Return a sensor_msgs/PointCloud2 in base_link; points that are not finite are left out. Raises SensorError."""
    points = unpack_points(
        message.data,
        {field.name: (int(field.offset), int(field.datatype)) for field in message.fields},
        int(message.point_step),
        int(message.width) * int(message.height),
        bool(message.is_bigendian),
        row=(int(message.width), int(message.row_step)),
    )
    return PointCloud(stamp_ns(message.header) if stamp is None else stamp, mounted(points, base_T_sensor))


def as_carried(observation: Observation) -> Observation:
    """Return the observation as it is after a trip through ROS messages: a LaserScan's geometry is float32 there."""
    scan = observation.scan
    if scan is None:
        return observation
    carried = replace(
        scan,
        angle_min=float(np.float32(scan.angle_min)),
        angle_increment=float(np.float32(scan.angle_increment)),
        range_min=float(np.float32(scan.range_min)),
        range_max=float(np.float32(scan.range_max)),
        time_increment_s=float(np.float32(scan.time_increment_s)),
    )
    return replace(observation, scan=carried)
