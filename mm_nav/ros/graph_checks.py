"""From a GraphSnapshot to what is wrong with the graph, in plain words, with the remedy. Needs no ROS."""

from __future__ import annotations

from dataclasses import replace

from mm_nav.ros.graph_check_frames import check_frames
from mm_nav.ros.graph_check_odometry import check_odometry
from mm_nav.ros.graph_check_sensors import check_camera, check_points, check_scan
from mm_nav.ros.graph_check_stack import check_clock, check_commands, check_network, check_stack, is_deserted
from mm_nav.ros.graph_check_topics import Limits, check_topic, missing
from mm_nav.ros.graph_snapshot import POINTS, Finding, GraphSnapshot, Level, fail, ok

# Odometry is interpolated to each scan, which waits for it up to 0.1 s.
_ODOMETRY_GAP_S = 0.15


def check_graph(s: GraphSnapshot) -> tuple[Finding, ...]:
    """Return all findings, those that are well too, in the order in which one would look: who is there, sensors, frames, commands,
    the stack."""
    found = check_network(s)
    if is_deserted(s):
        return tuple(found)
    found += check_clock(s)
    found += _lidar(s)
    found += _camera(s)
    found += check_topic(s, "odom", _limits(s, "odom"))
    found += check_odometry(s)
    if "imu" in s.robot.rates_hz:
        found += _optional(check_topic(s, "imu", None, Level.WARN))
    found += check_topic(s, "tf_static", None)
    found += _optional(check_topic(s, "tf", None, Level.WARN))
    found += check_frames(s)
    found += check_commands(s)
    found += check_stack(s)
    return tuple(found)


def passed(findings: tuple[Finding, ...]) -> bool:
    """Return whether nothing fails."""
    return all(finding.level is not Level.FAIL for finding in findings)


def _limits(s: GraphSnapshot, role: str) -> Limits:
    needs, rate = s.needs, s.robot.rates_hz.get(role, 0.0) if s.robot.said_by else 0.0
    if role in ("scan", "points"):
        stops, slows = "the guard stops the robot", "the guard slows the robot down"
        return Limits(needs.scan_gap_s, needs.max_age_s, stops, slows, needs.slow_age_s, needs.slow_age_s, rate)
    if role == "odom":
        stops, slows = "the guard stops the robot", "scans wait for odometry, or go without"
        return Limits(needs.max_age_s, needs.max_age_s, stops, slows, _ODOMETRY_GAP_S)
    return Limits(needs.image_gap_s, needs.image_gap_s, "the camera counts as lost", rate_hz=rate)


def _lidar(s: GraphSnapshot) -> list[Finding]:
    """A LaserScan, or, where the nodes can take it, a point cloud."""
    scans = _published(s, "scan")
    if s.needs.points:
        found = [ok("scan", "not needed: obstacles come from the point cloud (points: true)")]
        return [*found, *check_topic(s, "points", _limits(s, "points")), *check_points(s)]
    if not scans and not missing_near(s) and s.of_type(POINTS):
        return _points_only(s)
    found = [*check_topic(s, "scan", _limits(s, "scan")), *check_scan(s)]
    if "points" in s.robot.rates_hz or _published(s, "points"):
        found += _optional([*check_topic(s, "points", _limits(s, "points"), Level.WARN), *check_points(s)])
    return found


def _optional(findings: list[Finding]) -> list[Finding]:
    """Return findings on what the stack itself does not read, none of which fails."""
    return [replace(f, level=Level.WARN) if f.level is Level.FAIL else f for f in findings]


def missing_near(s: GraphSnapshot) -> bool:
    """Return whether some other topic is a LaserScan."""
    return bool(s.of_type(s.wanted["scan"].type))


def _published(s: GraphSnapshot, role: str) -> bool:
    return role in s.wanted and bool(s.publishers.get(s.wanted[role].topic))


def _points_only(s: GraphSnapshot) -> list[Finding]:
    cloud = s.of_type(POINTS)[0]
    text, expected = f"no LaserScan is there, only a PointCloud2: {cloud}", s.wanted["scan"].type
    convert = f"`ros2 run pointcloud_to_laserscan pointcloud_to_laserscan_node --ros-args -r cloud_in:={cloud}`"
    if s.needs.points is None:
        remedy = f"these nodes read obstacles from LaserScan alone, and the guard stops without: {convert}"
    else:
        remedy = (
            "the guard stops without: start guard, inference and navigator with `-p points:=true` (they cut the cloud into a "
            f"planar scan), or {convert}"
        )
    return [
        fail("scan", "points_only", text, expected, remedy),
        *check_topic(s, "points", _limits(s, "points")),
        *check_points(s),
    ]


def _camera(s: GraphSnapshot) -> list[Finding]:
    if "image" not in s.robot.rates_hz:
        return [ok("image", f"'{s.robot.body.name}' has no camera", "none")]
    if not _published(s, "image") and not _published(s, "camera_info"):
        return [missing(s, s.wanted["image"])]
    return [*check_topic(s, "image", _limits(s, "image")), *check_topic(s, "camera_info", None), *check_camera(s)]
