"""Can the stack use what the sensors say? Pure functions of a GraphSnapshot; messages are duck-typed, as in sensing.messages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import SensorError
from mm_nav.geometry import Pose2D
from mm_nav.ros.graph_check_frames import mount
from mm_nav.ros.graph_snapshot import COMPRESSED, Finding, GraphSnapshot, fail, ok, warn
from mm_nav.ros.topics import frames
from mm_nav.safety.guard import GuardConfig
from mm_nav.sensing.images import ENCODINGS, decode_compressed, decode_image
from mm_nav.sensing.messages import cloud_from, scan_from
from mm_nav.sensing.rectify import distortion_from

# The network looks at pictures of some 96 x 72 pixels: a smaller one shows it less, one beyond this is work for nothing.
_SMALL_PIXELS, _LARGE_PIXELS = 64 * 48, 1280 * 720
# Horizontal fields of view that lenses have, rad.
_NARROW, _WIDE = math.radians(15.0), math.radians(170.0)
# So many beams that end inside the body are no noise.
_OWN_BODY_BEAMS, _BODY_SLACK_M = 3, 0.01
# Who comes no farther stands.
_STANDS_M = 0.03


def check_scan(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on the newest LaserScan: geometry, ranges, what the guard would refuse, its own body."""
    message = s.heard("scan").newest
    if message is None:
        return []
    return [_scan_geometry(message), _scan_ranges(s, message), *_own_body(s, message)]


def _scan_geometry(m: Any) -> Finding:
    item, count, step = "scan: geometry", len(m.ranges), float(m.angle_increment)
    measured = f"{count} beams, {math.degrees(m.angle_min):.0f} to {math.degrees(m.angle_max):.0f} deg by {math.degrees(step):.2f}"
    expected = "as many beams as its angles say"
    driver = "correct the driver's settings"
    if count == 0 or not all(map(math.isfinite, (step, m.angle_min, m.angle_max))) or step == 0.0:
        return fail(item, "scan_geometry", measured, expected, f"{driver}: no beam's direction can be told")
    told = (m.angle_max - m.angle_min) / step + 1.0
    if abs(told - count) > max(1.5, 0.03 * count):
        text = f"{measured}: that would be {told:.0f} beams"
        remedy = f"{driver}: with a wrong angle_increment every obstacle lies in a wrong direction"
        return fail(item, "scan_geometry", text, expected, remedy)
    if not 0.0 <= m.range_min < m.range_max:
        text = f"range_min {m.range_min:.2f} m, range_max {m.range_max:.2f} m"
        return fail(item, "scan_limits", text, "0 <= range_min < range_max", f"{driver}: no range lies between")
    seen = abs(step) * count
    if seen < math.pi:
        remedy = "look whether the driver cuts the scan (angle_min, angle_max): beside and behind, the guard is blind"
        return warn(item, "scan_narrow", f"{measured}: it sees {math.degrees(seen):.0f} deg", "180 deg or more", remedy)
    return ok(item, measured, expected)


def _scan_ranges(s: GraphSnapshot, m: Any) -> Finding:
    item, ranges = "scan: ranges", np.asarray(m.ranges, np.float32)
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(ranges) & (ranges >= m.range_min) & (ranges <= m.range_max)
        usable = valid | (ranges > m.range_max)
        near = np.isfinite(ranges) & (ranges < m.range_min)
    share = float(usable.mean()) if len(ranges) else 0.0
    measured = f"{100 * share:.0f} % usable, {100 * float(valid.mean()) if len(ranges) else 0.0:.0f} % hit something"
    expected = f"at least {100 * s.needs.min_valid_share:.0f} % usable"
    kinds = {"NaN": np.isnan(ranges), "0": ranges == 0.0, "below range_min": near}
    most = max(kinds, key=lambda name: int(kinds[name].sum()))
    if share < s.needs.min_valid_share:
        text = f"{measured}: {100 * float(kinds[most].mean()):.0f} % are {most}" if len(ranges) else "no ranges"
        remedy = (
            "the guard stops the robot: uncover the LiDAR, look whether its motor turns, and let the driver say inf where "
            "nothing is (REP 117)"
        )
        return fail(item, "scan_unusable", text, expected, remedy)
    if s.same_scans >= (s.needs.frozen_scans or GuardConfig.frozen_scans):
        return _frozen(s, item)
    if not valid.any():
        remedy = "put something within its reach and look again: a LiDAR that sees nothing says the same"
        return warn(item, "scan_empty", f"{measured}: all are inf", "some that hit something", remedy)
    if float(kinds["0"].mean()) > 0.2:
        text = f"{measured}: {100 * float(kinds['0'].mean()):.0f} % are 0"
        remedy = "let the driver say inf where nothing is (REP 117); 0 counts as not seen, which no free way is made of"
        return warn(item, "scan_zeros", text, "inf where nothing is", remedy)
    if m.range_min > 0.4:
        remedy = (
            f"what is nearer than {m.range_min:.2f} m is not seen: lower range_min in the driver where the LiDAR can"
        )
        return warn(item, "scan_range_min", f"range_min {m.range_min:.2f} m", "below 0.40 m", remedy)
    return ok(item, measured, expected)


def _frozen(s: GraphSnapshot, item: str) -> Finding:
    text, expected = f"{s.same_scans} scans in a row have the very same ranges", "ranges that change with the noise"
    start = s.odometry[0].pose if s.odometry else Pose2D()
    stands = all(o.pose.distance_to(start) < _STANDS_M for o in s.odometry)
    if s.simulated and stands:
        remedy = "a simulator without noise says that while the robot stands: drive it about while checking"
        return warn(item, "scan_frozen", text, expected, remedy)
    effect = "the guard stops the robot as soon as it moves: " if s.needs.frozen_scans else ""
    remedy = f"{effect}the driver repeats an old scan; restart it, look at the LiDAR's cable"
    return fail(item, "scan_frozen", text, expected, remedy)


def _own_body(s: GraphSnapshot, m: Any) -> list[Finding]:
    pose = mount(s, m.header.frame_id)
    if pose is None:
        return []
    try:
        points = scan_from(m, pose).points()
    except SensorError:
        return []
    inside = int(_inside(s.robot.body.footprint_array(), points).sum())
    item, expected = "scan: own body", f"no beams that end inside the footprint of '{s.robot.body.name}'"
    if inside < _OWN_BODY_BEAMS:
        return [ok(item, f"{inside} beams end inside", expected)]
    remedy = (
        "the guard cannot let it drive: say which robot it is (robot:=NAME, here --robot), correct the LiDAR's mount on "
        "/tf_static, or raise range_min in the driver"
    )
    return [fail(item, "own_body", f"{inside} beams end inside the robot", expected, remedy)]


def _inside(corners: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which of points (N, 2) lie inside a convex polygon (K, 2), counter-clockwise, by more than a little."""
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / np.hypot(*edges.T)[:, None]
    depth = np.einsum("nkd,kd->nk", points[:, None, :] - corners[None], normals)
    return np.asarray(np.all(depth > _BODY_SLACK_M, axis=1))


def check_camera(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on the newest picture and its camera_info."""
    message, info = s.heard("image").newest, s.heard("camera_info").newest
    size = None
    found: list[Finding] = []
    if message is not None:
        picture, size = _picture(s, message)
        found.append(picture)
    if info is not None:
        found += [_info_size(info, size), _info_matrix(info), _info_frame(s)]
    return found


def _picture(s: GraphSnapshot, m: Any) -> tuple[Finding, tuple[int, int] | None]:
    item, compressed = "image: pixels", s.wanted["image"].type == COMPRESSED
    expected = "JPEG or PNG" if compressed else "an encoding that is known, up to 1280 x 720"
    try:
        rgb = (
            decode_compressed(m.data)
            if compressed
            else decode_image(m.data, m.encoding, m.height, m.width, m.step, bool(m.is_bigendian))
        )
    except SensorError as error:
        known = compressed or str(m.encoding).lower() in ENCODINGS
        remedy = "set the driver's encoding to rgb8" if not known else "look at the driver's log"
        if not known and "fc1" in str(m.encoding).lower():
            remedy = "this is a depth picture: remap image:= to the colour camera's topic"
        return fail(item, "image_data" if known else "encoding", str(error), expected, remedy), None
    height, width = rgb.shape[:2]
    kind = str(m.format) if compressed else str(m.encoding)
    measured = f"{width} x {height}, {kind}"
    size = width, height
    if kind.lower() in ("16uc1", "mono16"):
        text, remedy = f"{measured}: that looks like depth", "remap image:= to the colour camera's topic"
        return warn(item, "depth_picture", text, "a colour picture", remedy), size
    if rgb.min() == rgb.max():
        text, remedy = f"{measured}, every pixel the same", "take the lens's cap off; look at the camera's exposure"
        return warn(item, "blank_picture", text, "a picture", remedy), size
    if not _SMALL_PIXELS <= width * height <= _LARGE_PIXELS:
        remedy = "set the driver to 640 x 480 or so: more costs time in every step, less shows too little"
        return warn(item, "image_size", measured, "64 x 48 to 1280 x 720", remedy), size
    return ok(item, measured, expected), size


def _info_size(info: Any, size: tuple[int, int] | None) -> Finding:
    item, told = "camera_info: size", (int(info.width), int(info.height))
    measured = f"{told[0]} x {told[1]}"
    if size is None:
        return ok(item, measured)
    if told != size:
        text = f"{measured}, the picture is {size[0]} x {size[1]}"
        remedy = "let both come from one driver at one resolution, or calibrate at this one: bearings come out wrong"
        return fail(item, "info_size", text, f"{size[0]} x {size[1]}", remedy)
    return ok(item, measured, "as the picture")


def _info_matrix(info: Any) -> Finding:
    item, k = "camera_info: K", [float(value) for value in info.k]
    fx, cx, fy, cy = k[0], k[2], k[4], k[5]
    remedy = "calibrate the camera (camera_calibration) and give its driver the file: camera_info_url"
    if not all(map(math.isfinite, k)) or fx <= 0.0 or fy <= 0.0:
        return fail(item, "info_k", f"fx {fx:.1f}, fy {fy:.1f}: not calibrated", "fx, fy above 0", remedy)
    if not (0.0 < cx < info.width and 0.0 < cy < info.height):
        text = f"centre {cx:.0f}, {cy:.0f} lies outside of the picture"
        return fail(item, "info_k", text, f"inside {info.width} x {info.height}", remedy)
    try:
        _, model = distortion_from(info)
    except SensorError as error:
        return fail(item, "distortion", str(error), "a distortion model that is known", remedy)
    fov = 2.0 * math.atan(0.5 * info.width / fx)
    measured = f"fx {fx:.0f}, fy {fy:.0f} px, {math.degrees(fov):.0f} deg, {model}"
    if not _NARROW < fov < _WIDE:
        return fail(item, "info_k", measured, "a field of view of 15 to 170 deg", remedy)
    if not 0.8 < fx / fy < 1.25:
        return warn(item, "info_k", measured, "fx and fy nearly equal", remedy)
    return ok(item, measured, "calibrated")


def _info_frame(s: GraphSnapshot) -> Finding:
    image, info, item = s.heard("image"), s.heard("camera_info"), "camera_info: match"
    if image.arrivals_s and image.frame != info.frame:
        text = f"frame '{info.frame}', the picture's is '{image.frame}'"
        remedy = "let one driver send both: this camera_info may be another camera's"
        return warn(item, "info_frame", text, "the picture's frame and stamp", remedy)
    paired = len(set(image.stamps_ns) & set(info.stamps_ns))
    slower = info.rate_hz < 0.5 * image.rate_hz
    if len(image.stamps_ns) > 3 and not paired and not slower:
        remedy = "let one driver send both at once; viewers that pair them by stamp show nothing"
        return warn(item, "info_stamp", "no picture has a camera_info of its stamp", "the same stamps", remedy)
    return ok(item, f"frame '{info.frame}', {paired} of {len(image.stamps_ns)} stamps pair up")


def check_points(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on the newest PointCloud2."""
    message, item = s.heard("points").newest, "points: cloud"
    if message is None:
        return []
    make = fail if s.needs.points else warn
    try:
        cloud = cloud_from(message, mount(s, message.header.frame_id))
    except SensorError as error:
        remedy = "let the driver send x, y, z as float32"
        return [make(item, "points_data", str(error), "x, y, z", remedy)]
    count = len(cloud.points)
    if count == 0:
        return [make(item, "points_empty", "no point is finite", "some points", "uncover the LiDAR; look at its log")]
    return [ok(item, f"{count} points in {frames().base}", "x, y, z")]
