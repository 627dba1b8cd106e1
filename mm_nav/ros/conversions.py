"""The stack's nouns as ROS messages. (The other way is mm_nav.sensing.messages, which bags share.)"""

from __future__ import annotations

import array
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, PoseStamped, TransformStamped, Twist, TwistStamped
from mm_nav_interfaces.msg import PolicyGoal as PolicyGoalMessage
from mm_nav_interfaces.msg import PolicyOutput as PolicyOutputMessage
from nav_msgs.msg import OccupancyGrid as OccupancyGridMessage
from nav_msgs.msg import Odometry as OdometryMessage
from nav_msgs.msg import Path
from sensor_msgs.msg import CameraInfo, Image, Imu, PointCloud2, PointField
from sensor_msgs.msg import LaserScan as LaserScanMessage
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker

from mm_nav.command import Grounding, PolicyOutput
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import PolicyGoal
from mm_nav.mapping.occupancy_grid import GridExport
from mm_nav.observation import CameraImage, ImuReading, LaserScan, Odometry, PointCloud
from mm_nav.safety.inputs import Level
from mm_nav.sensing.images import decode_image
from mm_nav.sensing.messages import quaternion_from_matrix, quaternion_from_yaw, stamp_ns, yaw_from_quaternion

Matrix = npt.NDArray[np.float64]
_CLOUD_ROW = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("time", "<f4")]
)
_CLOUD_FIELDS = {
    "x": (0, PointField.FLOAT32), "y": (4, PointField.FLOAT32), "z": (8, PointField.FLOAT32),
    "intensity": (12, PointField.FLOAT32), "ring": (16, PointField.UINT16), "time": (18, PointField.FLOAT32),
}  # fmt: skip
# What our nodes call their statuses, after the node's own name.
_STATUS = ": mm_nav"
PROBLEM = "problem: "  # begins the key of a value that tells one
_LEVELS = {Level.OK: DiagnosticStatus.OK, Level.WARN: DiagnosticStatus.WARN, Level.ERROR: DiagnosticStatus.ERROR}


def to_time(nanoseconds: int) -> Time:
    """Return a builtin_interfaces/Time."""
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def from_time(time: Time) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def to_header(nanoseconds: int, frame: str) -> Header:
    """Return a std_msgs/Header."""
    return Header(stamp=to_time(nanoseconds), frame_id=frame)


def diagnostics_message(
    node: str, robot: str, message: str, values: Mapping[str, float | str], nanoseconds: int, level: Level
) -> DiagnosticArray:
    """Return one node's status as /diagnostics has it. node: its fully qualified name, which keeps robots apart. robot: what it
    runs on. values: by key; numbers get one decimal, whole ones none."""
    status = DiagnosticStatus(name=f"{node}{_STATUS}", hardware_id=robot, message=message, level=_LEVELS[level])
    status.values = [
        KeyValue(key=key, value=f"{value:.1f}" if isinstance(value, float) else str(value))
        for key, value in values.items()
    ]
    return DiagnosticArray(header=to_header(nanoseconds, ""), status=[status])


def problems_of(message: DiagnosticArray, node: str) -> dict[str, str] | None:
    """Return what is wrong with one of our nodes, by its fully qualified name, as it tells it on /diagnostics: texts by the input's
    name, empty when all is well. None = it is another's message."""
    for status in message.status:
        if status.name == f"{node}{_STATUS}":
            told = {item.key[len(PROBLEM) :]: item.value for item in status.values if item.key.startswith(PROBLEM)}
            return told or ({} if status.level == DiagnosticStatus.OK else {"node": status.message})
    return None


def times_from(message: DiagnosticArray) -> dict[str, float]:
    """Return the times of stages, ms, that /diagnostics tells, by key ("network_p50_ms", "network_p99_ms")."""
    values = (item for status in message.status if status.name.endswith(_STATUS) for item in status.values)
    return {item.key: float(item.value) for item in values if item.key.endswith(("_p50_ms", "_p99_ms"))}


def floats(values: npt.ArrayLike) -> array.array[float]:
    """Return a float32 array.array: rclpy takes it as it is, where an ndarray costs 1 000 times as long."""
    result = array.array("f")
    result.frombytes(np.ascontiguousarray(values, np.float32).tobytes())
    return result


def image_message(image: CameraImage, frame: str) -> Image:
    """Return a sensor_msgs/Image, rgb8."""
    height, width = image.rgb.shape[:2]
    message = Image(
        header=to_header(image.stamp_ns, frame), height=height, width=width, encoding="rgb8", step=3 * width
    )
    message.data = array.array("B", image.rgb.tobytes())
    return message


def camera_info_message(image: CameraImage, frame: str) -> CameraInfo:
    """Return the sensor_msgs/CameraInfo of a camera."""
    height, width = image.rgb.shape[:2]
    k = image.intrinsics
    message = CameraInfo(
        header=to_header(image.stamp_ns, frame), height=height, width=width, distortion_model=image.distortion_model
    )
    message.d = list(image.distortion) or [0.0] * 5
    message.k = [float(v) for v in k.ravel()]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [float(v) for v in np.hstack([k, np.zeros((3, 1))]).ravel()]
    return message


def scan_message(scan: LaserScan, frame: str, period_s: float) -> LaserScanMessage:
    """Return a sensor_msgs/LaserScan."""
    return LaserScanMessage(
        header=to_header(scan.stamp_ns, frame),
        angle_min=float(scan.angle_min),
        angle_max=float(scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1)),
        angle_increment=float(scan.angle_increment),
        time_increment=float(scan.time_increment_s),
        scan_time=period_s,
        range_min=float(scan.range_min),
        range_max=float(scan.range_max),
        ranges=floats(scan.ranges),
    )


def cloud_message(cloud: PointCloud, base_T_sensor: Matrix, frame: str) -> PointCloud2:
    """Return a sensor_msgs/PointCloud2 in the sensor's frame, with the fields that Velodyne drivers give: x, y, z,
    intensity (0 to 100), ring and time (s after the stamp)."""
    count = len(cloud.points)
    rows = np.zeros(count, _CLOUD_ROW)
    points = (cloud.points - base_T_sensor[:3, 3]) @ base_T_sensor[:3, :3]
    rows["x"], rows["y"], rows["z"] = points.T
    for name, values, scale in (
        ("intensity", cloud.intensity, 100.0), ("ring", cloud.ring, 1), ("time", cloud.time_s, 1)
    ):  # fmt: skip
        if values is not None:
            rows[name] = values * scale
    message = PointCloud2(
        header=to_header(cloud.stamp_ns, frame), height=1, width=count, is_dense=True, point_step=_CLOUD_ROW.itemsize,
        row_step=_CLOUD_ROW.itemsize * count,
    )  # fmt: skip
    message.fields = [
        PointField(name=name, offset=offset, datatype=datatype, count=1)
        for name, (offset, datatype) in _CLOUD_FIELDS.items()
    ]
    message.data = array.array("B", rows.tobytes())
    return message


def imu_message(reading: ImuReading, frame: str) -> Imu:
    """Return a sensor_msgs/Imu; the orientation is marked unknown, as of an IMU without a filter (REP 145)."""
    message = Imu(header=to_header(reading.stamp_ns, frame))
    message.orientation_covariance = [-1.0] + [0.0] * 8
    for target, values in (
        (message.angular_velocity, reading.angular_velocity), (message.linear_acceleration, reading.linear_acceleration)
    ):  # fmt: skip
        target.x, target.y, target.z = (float(value) for value in values)
    return message


def odometry_message(odometry: Odometry, frame: str, child: str) -> OdometryMessage:
    """Return a nav_msgs/Odometry whose yaw reads back bit for bit."""
    message = OdometryMessage(header=to_header(odometry.stamp_ns, frame), child_frame_id=child)
    message.pose.pose.position.x, message.pose.pose.position.y = odometry.pose.x, odometry.pose.y
    q = message.pose.pose.orientation
    q.z, q.w = quaternion_from_yaw(odometry.pose.yaw)
    twist = message.twist.twist
    twist.linear.x, twist.linear.y, twist.angular.z = (
        odometry.twist.linear,
        odometry.twist.lateral,
        odometry.twist.angular,
    )
    return message


def transform_message(parent_T_child: Matrix, nanoseconds: int, parent: str, child: str) -> TransformStamped:
    """Return a geometry_msgs/TransformStamped of a (4, 4) pose."""
    message = TransformStamped(header=to_header(nanoseconds, parent), child_frame_id=child)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = (float(v) for v in parent_T_child[:3, 3])
    q.x, q.y, q.z, q.w = quaternion_from_matrix(parent_T_child[:3, :3])
    return message


def planar_matrix(pose: Pose2D) -> Matrix:
    """Return a planar pose as (4, 4)."""
    c, s = math.cos(pose.yaw), math.sin(pose.yaw)
    return np.array([[c, -s, 0, pose.x], [s, c, 0, pose.y], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])


def twist_message(twist: Twist2D, nanoseconds: int, frame: str) -> TwistStamped:
    """Return a geometry_msgs/TwistStamped."""
    return TwistStamped(header=to_header(nanoseconds, frame), twist=plain_twist(twist))


def plain_twist(twist: Twist2D) -> Twist:
    """Return a geometry_msgs/Twist."""
    message = Twist()
    message.linear.x, message.linear.y, message.angular.z = (
        float(twist.linear),
        float(twist.lateral),
        float(twist.angular),
    )
    return message


def twist_from(message: Twist) -> Twist2D:
    """Return the planar part of a geometry_msgs/Twist."""
    return Twist2D(message.linear.x, message.angular.z, message.linear.y)


def pose_message(pose: Pose2D, nanoseconds: int, frame: str, facing: bool = True) -> PoseStamped:
    """Return a geometry_msgs/PoseStamped. facing: False leaves the orientation all zeros, for a goal with any heading."""
    message = PoseStamped(header=to_header(nanoseconds, frame))
    message.pose.position.x, message.pose.position.y = float(pose.x), float(pose.y)
    message.pose.orientation.z, message.pose.orientation.w = quaternion_from_yaw(pose.yaw) if facing else (0.0, 0.0)
    return message


def has_heading(message: PoseStamped) -> bool:
    """Return whether a pose has an orientation: all zeros is none."""
    q = message.pose.orientation
    return any((q.x, q.y, q.z, q.w))


def pose_from(message: PoseStamped) -> Pose2D:
    """Return the planar part of a pose; an orientation of all zeros, which many tools send, is yaw 0."""
    q = message.pose.orientation
    yaw = yaw_from_quaternion(q.x, q.y, q.z, q.w)
    return Pose2D(message.pose.position.x, message.pose.position.y, 0.0 if math.isnan(yaw) else yaw)


def path_message(points: Matrix, nanoseconds: int, frame: str) -> Path:
    """Return a nav_msgs/Path of points (N, 2)."""
    message = Path(header=to_header(nanoseconds, frame))
    message.poses = [pose_message(Pose2D(float(x), float(y)), nanoseconds, frame) for x, y in points]
    return message


def map_message(grid: GridExport, nanoseconds: int, frame: str) -> OccupancyGridMessage:
    """Return a nav_msgs/OccupancyGrid."""
    message = OccupancyGridMessage(header=to_header(nanoseconds, frame))
    message.info.resolution = float(grid.resolution)
    message.info.height, message.info.width = grid.data.shape
    message.info.origin.position.x, message.info.origin.position.y = (float(v) for v in grid.origin)
    message.info.origin.orientation.w = 1.0
    message.data = array.array("b", grid.data.tobytes())
    return message


def policy_message(output: PolicyOutput, frame: str) -> PolicyOutputMessage:
    """Return a mm_nav_interfaces/PolicyOutput."""
    message = PolicyOutputMessage(header=to_header(output.stamp_ns, frame), goal_id=output.goal_id)
    message.bearings, message.bearing_probs = floats(output.bearings), floats(output.bearing_probs)
    message.bearing_ranges = floats(output.bearing_ranges)
    message.visible, message.arrived = float(output.visible), float(output.arrived)
    message.waypoint_hypotheses, message.waypoint_steps = output.waypoints.shape[:2]
    message.waypoints, message.waypoint_probs = floats(output.waypoints), floats(output.waypoint_probs)
    if output.heatmap is not None:
        message.heatmap_height, message.heatmap_width = output.heatmap.shape
        message.heatmap = floats(output.heatmap)
    message.others_visible = floats([other.visible for other in output.others])
    message.others_bearing_probs = floats(_rows([other.bearing_probs for other in output.others]))
    message.others_bearing_ranges = floats(_rows([other.bearing_ranges for other in output.others]))
    message.inference_ms = float(output.inference_ms)
    return message


def policy_from(message: PolicyOutputMessage) -> PolicyOutput:
    """Return what a mm_nav_interfaces/PolicyOutput holds."""
    heatmap = np.asarray(message.heatmap, np.float32).reshape(message.heatmap_height, message.heatmap_width)
    bearings = np.asarray(message.bearings, np.float32)
    probs = np.asarray(message.others_bearing_probs, np.float32).reshape(len(message.others_visible), len(bearings))
    ranges = np.asarray(message.others_bearing_ranges, np.float32).reshape(probs.shape)
    return PolicyOutput(
        stamp_ns=stamp_ns(message.header),
        goal_id=message.goal_id,
        bearings=bearings,
        bearing_probs=np.asarray(message.bearing_probs, np.float32),
        bearing_ranges=np.asarray(message.bearing_ranges, np.float32),
        visible=as_float(message.visible),
        arrived=as_float(message.arrived),
        waypoints=np.asarray(message.waypoints, np.float32).reshape(
            message.waypoint_hypotheses, message.waypoint_steps, 2
        ),
        waypoint_probs=np.asarray(message.waypoint_probs, np.float32),
        heatmap=heatmap if heatmap.size else None,
        inference_ms=float(message.inference_ms),
        others=tuple(
            Grounding(bearings, probs[k], ranges[k], as_float(visible))
            for k, visible in enumerate(message.others_visible)
        ),
    )


def _rows(rows: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    return np.concatenate(rows) if rows else np.zeros(0, np.float32)


def as_float(value: float) -> float:
    """Return a float32 field as the nearest float64, as the network gave it."""
    return float(np.float32(value))


def policy_goal_message(goal: PolicyGoal | None) -> PolicyGoalMessage:
    """Return a mm_nav_interfaces/PolicyGoal; None = nothing to do."""
    message = PolicyGoalMessage()
    if goal is None:
        return message
    message.id, message.phrase = goal.id, goal.phrase
    message.others = list(goal.others)
    if goal.pose is not None:
        message.has_pose = True
        message.pose = pose_message(goal.pose, 0, "").pose
    if goal.image is not None:
        message.has_image = True
        message.image = picture_message(goal.image)
    return message


def policy_goal_from(message: PolicyGoalMessage) -> PolicyGoal | None:
    """Return what a mm_nav_interfaces/PolicyGoal asks for, or None. Raises SensorError when its picture cannot be read."""
    if not message.id:
        return None
    pose = pose_from(PoseStamped(pose=message.pose)) if message.has_pose else None
    image = picture_from(message.image) if message.has_image else None
    return PolicyGoal(message.id, message.phrase, pose, image, tuple(message.others))


def picture_message(rgb: npt.NDArray[np.uint8]) -> Image:
    """Return a goal's picture (H, W, 3) uint8 as a sensor_msgs/Image without a time or a frame."""
    height, width = rgb.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = array.array("B", rgb.tobytes())
    return message


def picture_from(message: Image) -> npt.NDArray[np.uint8]:
    """Return a goal's picture (H, W, 3) uint8. Raises SensorError when it cannot be read."""
    return decode_image(
        message.data, message.encoding, message.height, message.width, message.step, bool(message.is_bigendian)
    )


def target_marker(x: float, y: float, confidence: float, nanoseconds: int, frame: str) -> Marker:
    """Return a sphere where the target is believed to be; the more believed, the more solid."""
    marker = Marker(header=to_header(nanoseconds, frame), ns="target", id=0, type=Marker.SPHERE, action=Marker.ADD)
    marker.pose.position = Point(x=float(x), y=float(y), z=0.4)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 0.35
    marker.color = ColorRGBA(r=1.0, g=0.3, b=0.1, a=float(max(0.15, confidence)))
    return marker
