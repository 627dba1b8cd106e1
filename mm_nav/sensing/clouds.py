"""Point clouds: from bytes to points, and from points to the planar scan that the guard and the map read."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import SensorError
from mm_nav.observation import LaserScan, PointCloud
from mm_nav.robot import RobotConfig

Matrix = npt.NDArray[np.float64]

_IDENTITY = np.eye(4)
# Points so near to the body are the body's own: mounts are not known better.
_BODY_M = 0.02
# Noise of the floor; and what passes above the body as near as this may touch it where the floor is uneven.
_FLOOR_M, _OVER_M = 0.05, 0.05
_NATIVE = [f"{'<' if sys.byteorder == 'little' else '>'}f4"] * 3
# sensor_msgs/PointField's datatype numbers.
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def unpack_points(
    data: bytes | bytearray | memoryview | npt.NDArray[np.uint8],
    fields: Mapping[str, tuple[int, int]],
    point_step: int,
    count: int,
    big_endian: bool = False,
    row: tuple[int, int] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the finite points (N, 3) float32, in the sensor's frame and unit, of a PointCloud2's bytes.

    fields: name -> (offset, datatype). row: (points per row, bytes per row) where rows may be padded. Raises
    SensorError when x, y or z is missing, a field lies outside its point or the data are too short.
    """
    points = _points(data, fields, point_step, count, big_endian, row)
    return points if _all_finite(points) else points[np.isfinite(points).all(axis=1)]


def mounted(points: npt.NDArray[np.float32], base_T_sensor: Matrix | None) -> npt.NDArray[np.float32]:
    """Return points (N, 3) of a sensor's frame in base_link. base_T_sensor: (4, 4), None = the same frame."""
    if base_T_sensor is None or not len(points) or np.array_equal(base_T_sensor, _IDENTITY):
        return points
    # OpenCV turns and shifts in one pass, three times as fast as a product and a sum of arrays with rows of three.
    moved = cv2.transform(points[None], base_T_sensor[:3].astype(np.float32))
    return np.asarray(moved, np.float32).reshape(-1, 3)


def _all_finite(points: npt.NDArray[np.float32]) -> bool:
    # A square that is not finite is rare and may be one of huge numbers; it is then looked at one by one.
    flat = points.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.dot(flat, flat)) or bool(np.isfinite(flat).all())


def _points(
    data: bytes | bytearray | memoryview | npt.NDArray[np.uint8],
    fields: Mapping[str, tuple[int, int]],
    point_step: int,
    count: int,
    big_endian: bool,
    row: tuple[int, int] | None,
) -> npt.NDArray[np.float32]:
    missing = [name for name in "xyz" if name not in fields]
    if missing:
        raise SensorError(f"a point cloud has no field {', '.join(missing)}: it needs x, y and z, in metres")
    formats = []
    for name in "xyz":
        offset, datatype = fields[name]
        kind = _DATATYPES.get(datatype)
        if kind is None or offset < 0 or offset + np.dtype(kind).itemsize > point_step:
            raise SensorError(
                f"field {name} of a point cloud (offset {offset}, datatype {datatype}) does not fit its "
                f"{point_step}-byte points: the publisher is broken"
            )
        formats.append((">" if big_endian else "<") + kind)
    flat = np.frombuffer(data, np.uint8)
    if row is not None and count and row[0] > 0 and row[1] > row[0] * point_step:
        rows = count // row[0]
        if flat.size >= rows * row[1]:
            flat = np.ascontiguousarray(flat[: rows * row[1]].reshape(rows, row[1])[:, : row[0] * point_step]).ravel()
    if count < 0 or flat.size < count * point_step:
        raise SensorError(
            f"a point cloud of {count} points needs {count * point_step} bytes, the message has {flat.size}: "
            "the publisher is broken"
        )
    x, y, z = (fields[name][0] for name in "xyz")
    if count and formats == _NATIVE and y == x + 4 and z == x + 8:
        if x + 16 <= point_step:
            # Four numbers at a time, whatever the fourth is, and then three of four: both are quick, three at a time is not.
            if point_step == 16:
                four = np.frombuffer(flat, np.float32, 4 * count)
            else:
                four = np.ndarray((count,), "V16", flat, x, (point_step,)).copy().view(np.float32)  # type: ignore[call-overload]
            return np.asarray(cv2.cvtColor(four.reshape(1, count, 4), cv2.COLOR_RGBA2RGB), np.float32).reshape(count, 3)
        if point_step == 12:
            return np.frombuffer(flat, np.float32, 3 * count).reshape(count, 3).copy()
    layout = np.dtype(
        {"names": list("xyz"), "formats": formats, "offsets": [fields[n][0] for n in "xyz"], "itemsize": point_step}
    )
    packed = np.frombuffer(flat, layout, count)
    points = np.empty((count, 3), np.float32)
    for axis, name in enumerate("xyz"):
        points[:, axis] = packed[name]
    return points


def planar_scan(cloud: PointCloud, low: float, high: float, beams: int = 360, range_max: float = 10.0) -> LaserScan:
    """Return the nearest point per direction, of those between `low` and `high` metres above the floor, as a scan.

    For robots whose only LiDAR is a 3D one. A direction that has only lower or higher points is inf: nothing of that
    height is there; one without any points is nan: nobody looked. Lies in base_link; beam i looks along -pi + (i +
    0.5) * 2 pi / beams.
    """
    x, y, z = cloud.points.T
    tall = (z >= low) & (z <= high)
    sector = ((np.arctan2(y, x) + math.pi) * (beams / (2 * math.pi))).astype(np.intp)
    sector = np.clip(sector, 0, beams - 1)
    ranges = np.full(beams, np.nan, np.float32)
    ranges[sector] = np.inf
    np.minimum.at(ranges, sector[tall], np.hypot(x[tall], y[tall]))
    ranges[ranges > range_max] = np.inf
    step = 2 * math.pi / beams
    return LaserScan(cloud.stamp_ns, ranges, -math.pi + step / 2, step, 0.0, range_max)


def without_body(cloud: PointCloud, robot: RobotConfig) -> PointCloud:
    """Return the cloud without the points on the robot's own body: inside its footprint, and no higher than it is."""
    corners = robot.footprint_array()
    edges = np.roll(corners, -1, axis=0) - corners
    x, y, z = cloud.points.T
    own = z <= robot.height_m + _BODY_M
    for (cx, cy), (ex, ey) in zip(corners, edges, strict=True):
        # Left of every edge, which go counter-clockwise, or no farther right of it than that.
        own &= ex * (y - cy) - ey * (x - cx) >= -_BODY_M * np.hypot(ex, ey)
    if not own.any():
        return cloud
    rest = {
        name: values[~own] for name in ("ring", "time_s", "intensity") if (values := getattr(cloud, name)) is not None
    }
    return replace(cloud, points=cloud.points[~own], **rest)


def obstacle_scan(cloud: PointCloud, robot: RobotConfig) -> LaserScan:
    """Return `planar_scan` of what a LiDAR sees around a robot, in base_link: of all points but those on its own body, and what it
    drives over (`ground_clearance_m`, and the floor's noise) or fits under (`height_m`, and a little more)."""
    low, high = max(robot.ground_clearance_m, _FLOOR_M), robot.height_m + _OVER_M
    return planar_scan(without_body(cloud, robot), low, high)
