"""Do the sensors stand where they should, and does the TF tree hold together? Pure functions of a GraphSnapshot."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from mm_nav.ros.graph_snapshot import Finding, GraphSnapshot, Matrix, Transform, fail, ok, warn
from mm_nav.ros.topics import frames

_DEEPEST = 64
# A planar LiDAR that leans by more sees the floor at 10 m if it sits 0.2 m high.
_LEVEL_RAD = math.radians(1.2)


def mount(s: GraphSnapshot, frame: str) -> Matrix | None:
    """Return base_T_frame (4, 4) from /tf_static alone, as the stack's nodes look it up, or None."""
    chain = _chain(_parents(s.static), _plain(frame), frames().base)
    if chain is None:
        return None
    pose = np.eye(4)
    for link in chain:
        if link.matrix is None:
            return None
        pose = link.matrix @ pose
    return pose


def check_frames(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on TF: quaternions, parents, the sensors' mounts, odom -> base_link, map -> odom."""
    found = [*_links(s)]
    for role, what in (("scan", "scan: frame"), ("image", "image: frame"), ("points", "points: frame")):
        if s.heard(role).arrivals_s:
            found.append(_sensor(s, role, what))
    found.append(_odometry_link(s))
    return found + _map_link(s)


def _plain(frame: str) -> str:
    return frame.lstrip("/")


def _parents(links: tuple[Transform, ...]) -> dict[str, Transform]:
    return {_plain(link.child): link for link in links}


def _chain(parents: dict[str, Transform], frame: str, base: str) -> list[Transform] | None:
    """Return the links from a frame up to base, or None where they do not get there."""
    links: list[Transform] = []
    for _ in range(_DEEPEST):
        if frame == base:
            return links
        if frame not in parents:
            return None
        links.append(parents[frame])
        frame = _plain(links[-1].parent)
    return None


def _root(parents: dict[str, Transform], frame: str) -> str:
    for _ in range(_DEEPEST):
        if frame not in parents:
            return frame
        frame = _plain(parents[frame].parent)
    return f"{frame} (a loop)"


def _links(s: GraphSnapshot) -> list[Finding]:
    broken = [link for link in (*s.static, *s.moving) if link.matrix is None]
    if broken:
        link = broken[0]
        text = f"{link.parent} -> {link.child} has a quaternion of length {link.length:.3g}"
        remedy = "publish a rotation of length 1; none at all is x 0, y 0, z 0, w 1 (a forgotten w is the usual reason)"
        return [fail("tf: rotations", "quaternion", text, "length 1", remedy)]
    every = {(_plain(link.parent), _plain(link.child)) for link in (*s.static, *s.moving)}
    twice = [child for child, number in Counter(child for _, child in every).items() if number > 1]
    if twice:
        parents = " and ".join(sorted(parent for parent, child in every if child == twice[0]))
        remedy = "stop one of the publishers (`ros2 topic info -v /tf_static`, or /tf): of two parents, the last wins"
        text = f"{twice[0]} hangs from {parents}"
        return [fail("tf: parents", "two_parents", text, "one parent for each frame", remedy)]
    if not s.static:
        return []
    return [
        ok("tf: links", f"{len(s.static)} on /tf_static, {len(s.moving)} on /tf", "rotations of length 1, one parent")
    ]


def _sensor(s: GraphSnapshot, role: str, item: str) -> Finding:
    frame, base = s.heard(role).frame, frames().base
    expected = f"{base} -> {frame or '?'} on /tf_static"
    if not frame:
        remedy = "set the driver's frame_id: nobody can tell where this sensor sits"
        return fail(item, "no_frame", "header.frame_id is empty", expected, remedy)
    pose = mount(s, frame)
    if pose is None:
        return _no_mount(s, frame, item, expected)
    return _camera(pose, item, frame) if role == "image" else _lidar(pose, item, frame, role)


def _no_mount(s: GraphSnapshot, frame: str, item: str, expected: str) -> Finding:
    base, name = frames().base, _plain(frame)
    fixed, every = _parents(s.static), _parents((*s.static, *s.moving))
    publish = (
        f"`ros2 run tf2_ros static_transform_publisher --x 0 --y 0 --z 0.2 --frame-id {base} --child-frame-id {frame}` with "
        "the measured place, or robot_state_publisher with the robot's URDF"
    )
    if chain := _chain(fixed, name, base):
        link = next(link for link in chain if link.matrix is None)
        text = f"{link.parent} -> {link.child} is no rotation"
        return fail(item, "tf_broken", text, expected, "correct its quaternion: the stack leaves that link out")
    if _chain(every, name, base):
        text = f"the way from {base} to {frame} is on /tf, which the stack does not read for mounts"
        return fail(item, "tf_moving", text, expected, f"make its joints fixed in the URDF, or {publish}")
    root, own = _root(fixed, name), _root(fixed, base)
    known = {_plain(link.child) for link in s.static} | {_plain(link.parent) for link in s.static}
    alike = sorted(other for other in known if other.endswith(f"/{name}") or name.endswith(f"/{other}"))
    if alike:
        text = f"{frame} is not there, {alike[0]} is"
        remedy = f"give driver and robot_state_publisher the same frame names (frame_id, frame_prefix), or {publish}"
        return fail(item, "tf_prefix", text, expected, remedy)
    if not known:
        where = (
            " and ".join(sorted({end.node for end in s.publishers.get(s.wanted["tf_static"].topic, ())})) or "nobody"
        )
        text = f"nothing came on {s.wanted['tf_static'].topic} ({where} publishes there)"
        return fail(item, "tf_missing", text, expected, publish)
    if base not in known:
        text = f"there is no frame {base}; {frame} hangs from {root}"
        remedy = f"name the robot's base {base} (REP 105) in its URDF and in the driver of its wheels, now {root}"
        return fail(item, "tf_no_base", text, expected, remedy)
    if root == own:
        text = f"{frame} hangs from {root}, beside {base}, not below it"
        return fail(item, "tf_beside", text, expected, f"hang it from {base} in the URDF, or {publish}")
    text = f"{frame} hangs from nothing" if root == name else f"{frame} hangs from {root}, which is not below {base}"
    return fail(item, "tf_missing", text, expected, publish)


def _place(pose: Matrix) -> str:
    x, y, z = pose[:3, 3]
    return f"at {x:.2f}, {y:.2f}, {z:.2f} m"


def _camera(pose: Matrix, item: str, frame: str) -> Finding:
    """REP 103: x to the right, y down, z ahead."""
    right, down, ahead = pose[:3, 0], pose[:3, 1], pose[:3, 2]
    expected = "an optical frame: z ahead, x right, y down (REP 103)"
    yaw = math.degrees(math.atan2(ahead[1], ahead[0]))
    if ahead[2] > 0.7:
        text = f"{frame} looks up, and its x axis ahead: it is the camera's body, not its optical frame"
        if right[0] < 0.7:
            text = f"{frame} looks up"
        remedy = (
            "set the driver's frame_id to the optical frame; if there is none: `ros2 run tf2_ros static_transform_publisher --roll "
            f"-1.5708 --yaw -1.5708 --frame-id {frame} --child-frame-id {frame}_optical`"
        )
        return fail(item, "not_optical", text, expected, remedy)
    if down[2] > 0.5:
        text = f"{frame} is upside down: its y axis points up"
        remedy = (
            "turn the pictures in the driver (rotation: 180) and the frame with them: the network knows upright ones"
        )
        return fail(item, "camera_upside_down", text, expected, remedy)
    if ahead[2] < -0.8:
        remedy = "look at the mount's pitch: of the room, such a camera sees the floor only"
        return warn(item, "camera_down", f"{frame} looks at the floor", expected, remedy)
    if abs(down[2]) < 0.5 and abs(ahead[2]) < 0.5:
        remedy = "look at the mount's roll, or turn the pictures in the driver: the network knows upright ones"
        return fail(item, "camera_rolled", f"{frame} is rolled onto its side", expected, remedy)
    if pose[2, 3] < 0.0:
        text = f"{frame} lies {-pose[2, 3]:.2f} m below {frames().base}"
        return warn(item, "below_floor", text, "above the floor", "look at z of its mount on /tf_static")
    return ok(item, f"{frame} {_place(pose)}, looks to {yaw:.0f} deg", expected)


def _lidar(pose: Matrix, item: str, frame: str, role: str) -> Finding:
    up, expected = pose[2, 2], "above the floor" + (", level" if role == "scan" else "")
    measured = f"{frame} {_place(pose)}, turned by {math.degrees(math.atan2(pose[1, 0], pose[0, 0])):.0f} deg"
    if pose[2, 3] < 0.0:
        text = f"{measured}: below {frames().base}"
        remedy = "look at z of its mount on /tf_static: base_link's origin is taken to be on the floor"
        return warn(item, "below_floor", text, expected, remedy)
    lean = math.acos(min(1.0, abs(float(up))))
    if role == "scan" and lean > _LEVEL_RAD:
        text = f"{measured}: it leans by {math.degrees(lean):.1f} deg"
        remedy = "look at roll and pitch of its mount: the stack takes its beams for level"
        return (fail if lean > math.radians(10.0) else warn)(item, "lidar_leans", text, expected, remedy)
    return ok(item, measured + (", upside down, which the stack allows for" if up < 0.0 else ""), expected)


def _odometry_link(s: GraphSnapshot) -> Finding:
    f, item = frames(), "tf: odometry"
    every = _parents((*s.static, *s.moving))
    chain = _chain(every, f.base, f.odom)
    expected = f"{f.odom} -> {f.base} on {s.wanted['tf'].topic if 'tf' in s.wanted else '/tf'}"
    if chain:
        return ok(item, " -> ".join([f.odom, *(_plain(link.child) for link in reversed(chain))]), expected)
    remedy = (
        "let the base's driver publish it (publish_odom_tf, enable_odom_tf): the stack itself reads the odometry's topic, RViz, "
        "SLAM and Nav2 need this"
    )
    root = _root(every, f.base)
    text = f"{f.base} hangs from {root}" if root != f.base else f"{f.base} hangs from nothing"
    return warn(item, "tf_odom", text, expected, remedy)


def _map_link(s: GraphSnapshot) -> list[Finding]:
    f = frames()
    if all(any(_plain(link.child) == f.odom for link in links) for links in (s.static, s.moving)):
        text = f"{f.map} -> {f.odom} is on /tf and on /tf_static"
        remedy = "the navigator's own, which stands, fights with that of the localisation: stop one of them"
        return [warn("tf: map", "two_maps", text, "one publisher", remedy)]
    return []
