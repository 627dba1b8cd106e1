"""What is judged of a GraphSnapshot, without a graph: each fault by its code, from a snapshot of a robot that is well."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace as Message
from typing import Any

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import Odometry
from mm_nav.ros import graph_snapshot as graph
from mm_nav.ros.graph_checks import check_graph, passed
from mm_nav.ros.graph_snapshot import (
    Endpoint,
    Finding,
    GraphSnapshot,
    Level,
    RobotNeeds,
    StackNodeState,
    Traffic,
    Transform,
    Wanted,
)
from mm_nav.sim.camera import CameraConfig

NOW = 1_700_000_000.0
PERIODS = {"scan": 0.1, "image": 0.1, "camera_info": 0.1, "odom": 0.05, "tf": 0.05}
TYPES = {
    "scan": graph.SCAN, "image": graph.IMAGE, "camera_info": graph.CAMERA_INFO, "odom": graph.ODOMETRY, "points": graph.POINTS,
    "imu": graph.IMU, "tf": graph.TF, "tf_static": graph.TF, "cmd_vel": graph.TWIST_STAMPED, "cmd_vel_nav": graph.TWIST_STAMPED,
    "guard_status": graph.GUARD_STATUS, "clock": graph.CLOCK,
}  # fmt: skip
FRAMES = {"scan": "base_scan", "image": "camera_optical_frame", "camera_info": "camera_optical_frame", "odom": "odom"}
Edit = Callable[[GraphSnapshot], GraphSnapshot]


def header(frame: str) -> Message:
    return Message(frame_id=frame, stamp=Message(sec=int(NOW), nanosec=0))


def scan(**fields: Any) -> Message:
    ranges = np.linspace(1.0, 4.0, 360, dtype=np.float32)
    values = {
        "header": header("base_scan"),
        "angle_min": -math.pi,
        "angle_max": math.pi - math.tau / 360,
        "angle_increment": math.tau / 360,
        "range_min": 0.1,
        "range_max": 10.0,
        "ranges": ranges,
        "time_increment": 0.0,
    }
    return Message(**{**values, **fields})


def image(**fields: Any) -> Message:
    data = np.arange(72 * 96 * 3, dtype=np.uint32).astype(np.uint8).tobytes()
    values = {"encoding": "rgb8", "height": 72, "width": 96, "step": 288, "is_bigendian": 0, "data": data}
    return Message(**{**values, **fields})


def camera_info(**fields: Any) -> Message:
    k = [float(v) for v in CameraConfig(width=96, height=72).intrinsics().ravel()]
    return Message(**{"width": 96, "height": 72, "k": k, "d": [0.0] * 5, "distortion_model": "plumb_bob", **fields})


def odometry(**rotation: float) -> Message:
    q = Message(**{"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0, **rotation})
    return Message(header=header("odom"), child_frame_id="base_link", pose=Message(pose=Message(orientation=q)))


def traffic(role: str, newest: Any = None, period: float | None = None, age: float = 0.01, **fields: Any) -> Traffic:
    period = period or PERIODS.get(role, 0.05)
    times = [NOW - 5.0 + period * i for i in range(1 + round(5.0 / period))]
    stamps = tuple(int(1e9 * (time - age)) for time in times)
    values = {
        "arrivals_s": tuple(times),
        "stamps_ns": stamps,
        "clock_ns": (0,) * len(times),
        "frame": FRAMES.get(role, ""),
    }
    return Traffic(**{**values, "newest": newest, **fields})


def drive(linear: float = 0.5, angular: float = 0.4, **told: float) -> tuple[Odometry, ...]:
    """Two seconds on a circle; told: twists that are published instead of the true ones."""
    twist = Twist2D(told.get("linear", linear), told.get("angular", angular))
    radius = linear / angular
    return tuple(
        Odometry(round(1e9 * t), Pose2D(radius * math.sin(angular * t), radius * (1 - math.cos(angular * t)), angular * t), twist)
        for t in np.arange(0.0, 2.0, 0.05)
    )  # fmt: skip


def healthy() -> GraphSnapshot:
    reliable = {"tf", "tf_static", "guard_status"}
    wanted = {r: Wanted(r, f"/{r}", kind, r in reliable, r == "tf_static") for r, kind in TYPES.items()}
    offered = {r: Endpoint("/drivers", TYPES[r], r in reliable, r == "tf_static") for r in (*PERIODS, "tf_static")}
    publishers = {f"/{role}": (end,) for role, end in offered.items()}
    stack = {name: StackNodeState(f"/{name}", "active", {"use_sim_time": False}) for name in graph.STACK_NODES}
    newest = {"scan": scan(), "image": image(), "camera_info": camera_info(), "odom": odometry()}
    mounts = {"base_scan": np.eye(4), "camera_optical_frame": CameraConfig().base_T_camera()}
    mounts["base_scan"][2, 3] = 0.2
    heard = {role: traffic(role, newest.get(role)) for role in (*PERIODS, "guard_status")}
    heard["tf_static"] = Traffic((NOW - 5.0,))
    return GraphSnapshot(
        seconds=5.0, until_s=NOW, nodes=("/drivers", "/guard", "/inference", "/navigator"),
        publishers={
            **publishers,
            "/cmd_vel": (Endpoint("/guard", graph.TWIST_STAMPED),),
            "/cmd_vel_nav": (Endpoint("/navigator", graph.TWIST_STAMPED),),
            "/guard_status": (Endpoint("/guard", graph.GUARD_STATUS),),
        },
        subscriptions={"/cmd_vel": (Endpoint("/drivers", graph.TWIST_STAMPED),)},
        wanted=wanted, traffic=heard, odometry=drive(), same_scans=1,
        static=tuple(Transform("base_link", child, pose) for child, pose in mounts.items()),
        moving=(Transform("odom", "base_link", np.eye(4)),), stack=stack,
    )  # fmt: skip


def faults(s: GraphSnapshot) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_graph(s) if finding.code}


def test_a_healthy_graph_has_no_fault() -> None:
    found = check_graph(healthy())
    assert [finding for finding in found if finding.level is not Level.OK] == [] and passed(found)
    assert len(found) > 30


def heard(role: str, **fields: Any) -> Edit:
    return lambda s: replace(
        s, traffic={**s.traffic, role: traffic(role, **{"newest": s.heard(role).newest, **fields})}
    )


def published(topic: str, *ends: Endpoint) -> Edit:
    return lambda s: replace(s, publishers={**s.publishers, topic: ends})


def listening(topic: str, *ends: Endpoint) -> Edit:
    return lambda s: replace(s, subscriptions={topic: ends})


def mounted(child: str, *links: Transform) -> Edit:
    return lambda s: replace(s, static=(*(link for link in s.static if link.child != child), *links))


def turned(roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0, z: float = 0.3) -> np.ndarray[Any, Any]:
    from mm_nav.sim.sdf import rotation_rpy

    pose = np.eye(4)
    pose[:3, :3], pose[2, 3] = rotation_rpy(roll, pitch, yaw), z
    return pose


def camera(**angles: float) -> np.ndarray[Any, Any]:
    return CameraConfig(**angles).base_T_camera()  # type: ignore[arg-type]


def stack(name: str, **fields: Any) -> Edit:
    return lambda s: replace(s, stack={**s.stack, name: replace(s.stack[name], **fields)})


def only_cloud(points: bool | None) -> Edit:
    cloud = Message(
        header=header("base_scan"),
        fields=[],
        data=b"",
        point_step=12,
        width=0,
        height=1,
        row_step=0,
        is_bigendian=False,
    )

    def edit(s: GraphSnapshot) -> GraphSnapshot:
        publishers = {**s.publishers, "/points": (Endpoint("/drivers", graph.POINTS, False),)}
        del publishers["/scan"]
        kept = {role: heard for role, heard in s.traffic.items() if role != "scan"}
        kept["points"] = traffic("points", cloud, frame="base_scan", period=0.1)
        return replace(s, publishers=publishers, traffic=kept, needs=replace(s.needs, points=points))

    return edit


def lacking(s: GraphSnapshot) -> GraphSnapshot:
    """A camera whose pictures are lost on their way: six come of fifty, by the count of camera_info."""
    few = traffic("image", image(), period=0.9, bytes=921_600)
    return replace(s, traffic={**s.traffic, "image": few}, needs=replace(s.needs, image_gap_s=2.0))


def without_camera(s: GraphSnapshot) -> GraphSnapshot:
    return published("/image")(published("/camera_info")(s))


KEY = (Endpoint("/teleop", graph.TWIST_STAMPED),)
OPTICAL = "camera_optical_frame"
CASES: dict[str, tuple[Edit, set[str], str]] = {
    "nobody publishes": (published("/odom"), {"missing"}, "start the driver of the base"),
    "compressed only": (
        lambda s: published("/cam/compressed", Endpoint("/cam", graph.COMPRESSED))(without_camera(s)), {"missing"},
        "compressed:=true",
    ),
    "two LiDARs": (
        published("/scan", Endpoint("/a", graph.SCAN), Endpoint("/b", graph.SCAN)), {"two_publishers"}, "all of them but one"
    ),
    "two types": (published("/scan", Endpoint("/a", graph.SCAN), Endpoint("/b", graph.POINTS)), {"two_types"}, "/b"),
    "no device": (heard("scan", arrivals_s=(), stamps_ns=(), newest=None), {"silent"}, "its device does not deliver"),
    "cut short": (heard("image", unreadable="cut short", newest=None), {"unreadable"}, "/drivers"),
    "one long gap": (
        heard("scan", arrivals_s=tuple(t + (0.3 if t > NOW - 2.0 else 0.0) for t in traffic("scan").arrivals_s)), {"gap"}, "top"
    ),
    "fell silent": (
        heard("scan", arrivals_s=traffic("scan").arrivals_s[:20], stamps_ns=traffic("scan").stamps_ns[:20]), {"fell_silent"},
        "cable",
    ),
    "too slow": (heard("scan", period=0.5), {"slow"}, "raise the rate"),
    "not as its file": (
        lambda s: replace(s, robot=RobotNeeds(rates_hz={"scan": 20.0, "image": 10.0}, said_by="guard")), {"below_file"}, "rate_hz"
    ),
    "lost by numbers": (heard("image", lost=400), {"lost"}, "_DEFAULT_PROFILES_FILE"),
    "lost by camera_info": (lacking, {"lost"}, "0.9 MB each"),
    "odometry 3 s old": (heard("odom", age=3.0), {"old"}, "synchronise"),
    "scan a little old": (heard("scan", age=0.3), {"old"}, "faster"),
    "a clock a little ahead": (heard("scan", age=-0.2), {"future"}, "synchronise"),
    "no stamps": (heard("image", stamps_ns=(0,) * 51), {"zero_stamp", "info_stamp"}, "header.stamp"),
    "one stamp": (heard("odom", stamps_ns=(int(1e9 * NOW),) * 101), {"stuck_stamp"}, "stamps"),
    "stamps to and fro": (
        heard("scan", stamps_ns=tuple(traffic("scan").stamps_ns[i ^ 1] for i in range(50))), {"stamps_back"}, "second source"
    ),
    "a simulation's stamps": (heard("scan", stamps_ns=tuple(10**9 + i * 10**8 for i in range(51))), {"other_clock"}, "/clock"),
    "no beams": (heard("scan", newest=scan(ranges=np.zeros(0, np.float32))), {"scan_geometry", "scan_unusable"}, "direction"),
    "increment of another": (heard("scan", newest=scan(angle_increment=0.01)), {"scan_geometry"}, "wrong direction"),
    "limits": (heard("scan", newest=scan(range_min=12.0, ranges=np.full(360, np.inf, np.float32))),
               {"scan_limits", "scan_empty"}, "range_min"),
    "narrow": (
        heard("scan", newest=scan(angle_min=-0.5, angle_max=0.5, angle_increment=1.0 / 359)), {"scan_narrow"}, "angle_min"
    ),
    "NaN": (heard("scan", newest=scan(ranges=np.full(360, np.nan, np.float32))), {"scan_unusable"}, "REP 117"),
    "some zeros": (heard("scan", newest=scan(ranges=np.where(np.arange(360) % 2, 0.0, 2.0))), {"scan_zeros"}, "say inf"),
    "nothing in reach": (heard("scan", newest=scan(ranges=np.full(360, np.inf, np.float32))), {"scan_empty"}, "in its reach"),
    "far range_min": (heard("scan", newest=scan(range_min=0.6)), {"scan_range_min"}, "lower range_min"),
    "own body": (heard("scan", newest=scan(ranges=np.full(360, 0.12, np.float32))), {"own_body"}, "--robot"),
    "cloud, nodes that cannot": (only_cloud(None), {"points_only", "points_data"}, "pointcloud_to_laserscan"),
    "cloud, nodes that could": (only_cloud(False), {"points_only", "points_data"}, "points:=true"),
    "cloud, nodes that do": (only_cloud(True), {"points_data"}, "float32"),
    "depth": (heard("image", newest=image(encoding="32FC1")), {"encoding"}, "colour camera"),
    "depth, 16 bit": (heard("image", newest=image(encoding="16UC1", step=192)), {"depth_picture"}, "colour camera"),
    "pixels missing": (heard("image", newest=image(data=b"123")), {"image_data"}, "driver's log"),
    "lens cap": (heard("image", newest=image(data=bytes(72 * 96 * 3))), {"blank_picture"}, "cap"),
    "other size": (heard("camera_info", newest=camera_info(width=640, height=480)), {"info_size"}, "one resolution"),
    "no calibration": (heard("camera_info", newest=camera_info(k=[0.0] * 9)), {"info_k"}, "calibrate"),
    "odd centre": (heard("camera_info", newest=camera_info(k=[60.0, 0, 500.0, 0, 60.0, 30.0, 0, 0, 1.0])), {"info_k"}, "outside"),
    "odd lens": (heard("camera_info", newest=camera_info(d=[0.1], distortion_model="spline")), {"distortion"}, "spline"),
    "other frame": (heard("camera_info", frame="left_camera"), {"info_frame"}, "another camera"),
    "no pairs": (heard("camera_info", age=0.03), {"info_stamp"}, "pair"),
    "no frame": (heard("scan", frame=""), {"no_frame"}, "frame_id"),
    "hangs from nothing": (heard("scan", frame="laser"), {"tf_missing"}, "--child-frame-id laser"),
    "prefix": (heard("scan", frame="alpha/base_scan"), {"tf_prefix"}, "frame_prefix"),
    "moving mount": (
        lambda s: replace(mounted("base_scan")(s), moving=(*s.moving, Transform("base_link", "base_scan", np.eye(4)))),
        {"tf_moving"}, "fixed in the URDF",
    ),
    "beside the base": (
        lambda s: replace(mounted("base_scan", Transform("base_footprint", "base_link", np.eye(4)),
                                  Transform("base_footprint", "base_scan", turned()))(s),
                          moving=(Transform("odom", "base_footprint", np.eye(4)),)),
        {"tf_beside"}, "hang it from base_link",
    ),
    "two odometries on TF": (
        lambda s: replace(s, moving=(*s.moving, Transform("odom_vio", "base_link", np.eye(4)))),
        {"two_parents", "tf_odom"}, "odom_vio",
    ),
    "two parents": (
        lambda s: replace(s, static=(*s.static, Transform("mast", "base_scan", np.eye(4)))), {"two_parents", "tf_missing"}, "mast"
    ),
    "no rotation": (mounted("base_scan", Transform("base_link", "base_scan", None, 0.0)), {"quaternion", "tf_broken"}, "w 1"),
    "below the floor": (mounted("base_scan", Transform("base_link", "base_scan", turned(z=-0.2))), {"below_floor"}, "of its mount"),
    "leaning LiDAR": (
        mounted("base_scan", Transform("base_link", "base_scan", turned(pitch=0.3))), {"lidar_leans"}, "for level"
    ),
    "LiDAR upside down": (mounted("base_scan", Transform("base_link", "base_scan", turned(roll=math.pi))), set(), ""),
    "camera's body": (mounted(OPTICAL, Transform("base_link", OPTICAL, turned())), {"not_optical"}, "optical frame"),
    "camera upside down": (
        mounted(OPTICAL, Transform("base_link", OPTICAL, camera(roll=math.pi))), {"camera_upside_down"}, "180"
    ),
    "camera on its side": (mounted(OPTICAL, Transform("base_link", OPTICAL, camera(roll=1.57))), {"camera_rolled"}, "roll"),
    "camera looks down": (mounted(OPTICAL, Transform("base_link", OPTICAL, camera(pitch=1.4))), {"camera_down"}, "pitch"),
    "camera looks back": (mounted(OPTICAL, Transform("base_link", OPTICAL, camera(yaw=math.pi))), set(), ""),
    "no odometry on TF": (lambda s: replace(s, moving=()), {"tf_odom"}, "publish_odom_tf"),
    "two maps": (
        lambda s: replace(s, static=(*s.static, Transform("map", "odom", np.eye(4))),
                          moving=(*s.moving, Transform("map", "odom", np.eye(4)))), {"two_maps"}, "localisation",
    ),
    "odometry's frames": (
        heard("odom", newest=Message(**{**vars(odometry()), "child_frame_id": "wheel"})), {"odom_frames"}, "base_frame"
    ),
    "odometry's rotation": (heard("odom", newest=odometry(w=0.0)), {"odom_rotation"}, "w = 1"),
    "turning in degrees": (lambda s: replace(s, odometry=degrees()), {"twist_angular"}, "degrees"),
    "speed of another": (lambda s: replace(s, odometry=drive_told(linear=1.5)), {"twist_linear"}, "3.00 times"),
    "no twist": (lambda s: replace(s, odometry=drive_told(linear=0.0)), {"twist_linear"}, "stands"),
    "twist in odom": (lambda s: replace(s, odometry=world_twist()), {"twist_frame"}, "child_frame_id"),
    "jumps": (lambda s: replace(s, odometry=jumping()), {"odom_jump"}, "REP 105"),
    "NaN pose": (
        lambda s: replace(s, odometry=tuple(replace(o, pose=Pose2D(math.nan, 0.0, 0.0)) for o in s.odometry)), {"odom_nan"},
        "ignored",
    ),
    "Twist base": (listening("/cmd_vel", Endpoint("/base", graph.TWIST)), {"cmd_vel_type"}, "twist_stamped:=false"),
    "deaf base": (
        listening("/cmd_vel", Endpoint("/base", graph.TWIST_STAMPED, True, True)), {"qos_cmd_vel"}, "volatile"
    ),
    "base elsewhere": (listening("/diff_drive/cmd_vel", Endpoint("/base", graph.TWIST)), {"cmd_vel_near"}, "cmd_vel:=/diff_drive"),
    "no base": (listening("/cmd_vel"), {"cmd_vel_unheard"}, "driver of the base"),
    "two masters": (
        lambda s: heard("cmd_vel", period=0.04)(published("/cmd_vel", *s.publishers["/cmd_vel"], *KEY)(s)), {"two_masters"},
        "/teleop"
    ),
    "a joystick whose button nobody holds": (
        lambda s: heard("cmd_vel", period=0.05)(published("/cmd_vel", *s.publishers["/cmd_vel"], *KEY)(s)), {"silent_master"},
        "/teleop may publish"
    ),
    "two navigators": (
        lambda s: published("/cmd_vel_nav", *s.publishers["/cmd_vel_nav"], *KEY)(s), {"two_navigators"}, "/teleop"
    ),
    "guard of another robot": (
        lambda s: replace(published("/cmd_vel")(s), stack={}, nodes=("/alpha/guard",)), {"no_stack"}, "--namespace /alpha",
    ),
    "guard dead": (
        lambda s: replace(s, stack={n: v for n, v in s.stack.items() if n != "guard"},
                          publishers={t: e for t, e in s.publishers.items() if t != "/cmd_vel"}), {"node_missing"}, "must not move",
    ),
    "navigator asleep": (stack("navigator", state="unconfigured"), {"inactive"}, "set /navigator configure"),
    "inference hangs": (stack("inference", state=""), {"no_answer"}, "restarted"),
    "guard silent": (heard("guard_status", arrivals_s=(), stamps_ns=()), {"heartbeat"}, "GUARD_LOST"),
    "two robots": (
        lambda s: stack("guard", parameters={"robot": "jackal"})(stack("navigator", parameters={"robot": "generic"})(s)),
        {"two_robots"}, "same `robot`",
    ),
    "time stands": (stack("guard", parameters={"use_sim_time": True}), {"no_clock"}, "use_sim_time:=false"),
    "clock stands": (published("/clock", Endpoint("/gz", graph.CLOCK)), {"clock_stands"}, "unpause"),
    "two clocks": (published("/clock", *2 * (Endpoint("/gz", graph.CLOCK),)), {"two_clocks"}, "stop one"),
    "nobody": (lambda s: GraphSnapshot(5.0, NOW, environment={"ROS_DOMAIN_ID": "7"}), {"deserted"}, "domain 7"),
}  # fmt: skip


def drive_told(**told: float) -> tuple[Odometry, ...]:
    return tuple(replace(o, twist=Twist2D(told.get("linear", 0.5), told.get("angular", 0.4))) for o in drive())


def degrees() -> tuple[Odometry, ...]:
    return drive_told(angular=math.degrees(0.4))


def world_twist() -> tuple[Odometry, ...]:
    """A robot that drives to the left of odom, and says so in odom's axes."""
    return tuple(
        Odometry(round(1e9 * t), Pose2D(0.0, 0.5 * t, math.pi / 2), Twist2D(0.0, 0.0, 0.5))
        for t in np.arange(0.0, 2.0, 0.05)
    )


def jumping() -> tuple[Odometry, ...]:
    return tuple(
        replace(o, pose=Pose2D(o.pose.x + 3.0 * (i > 20), o.pose.y, o.pose.yaw)) for i, o in enumerate(drive())
    )


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_named(name: str) -> None:
    edit, codes, words = CASES[name]
    found = faults(edit(healthy()))
    assert set(found) == codes, found
    assert not codes or any(words in f"{f.measured} {f.remedy}" for f in found.values()), found
    assert all(finding.remedy for finding in found.values())


def test_a_robot_without_camera_needs_no_pictures() -> None:
    s = replace(healthy(), robot=RobotNeeds(rates_hz={"scan": 10.0}, said_by="--robot"))
    quiet = without_camera(s)
    assert not faults(quiet)
    assert "missing" in faults(replace(quiet, robot=RobotNeeds()))


def test_simulated_time_is_judged_by_its_clock() -> None:
    s = healthy()
    clocked = {
        role: replace(heard, stamps_ns=tuple(10**9 + 10**7 * i for i in range(len(heard.stamps_ns))),
                      clock_ns=tuple(10**9 + 10**7 * i for i in range(len(heard.stamps_ns))))
        for role, heard in s.traffic.items()
    }  # fmt: skip
    uses = {name: replace(node, parameters={"use_sim_time": True}) for name, node in s.stack.items()}
    s = published("/clock", Endpoint("/gz", graph.CLOCK))(
        replace(s, traffic={**clocked, "clock": traffic("clock")}, stack=uses)
    )
    assert not faults(s)
    # Where ranges have no noise, a robot that stands sees the same again and again; one that moves does not.
    same, stands = replace(s, same_scans=50), replace(s, same_scans=50, odometry=(Odometry(0, Pose2D()),))
    assert faults(same)["scan_frozen"].level is Level.FAIL
    finding = faults(stands)["scan_frozen"]
    assert finding.level is Level.WARN and "drive it about" in finding.remedy
    assert faults(replace(healthy(), same_scans=50, odometry=stands.odometry))["scan_frozen"].level is Level.FAIL
    assert set(faults(stack("guard", parameters={"use_sim_time": False})(s))) == {"clock_unused"}
    late = {**s.traffic, "scan": replace(s.traffic["scan"], stamps_ns=traffic("scan").stamps_ns)}
    assert "use_sim_time:=true" in faults(replace(s, traffic=late))["other_clock"].remedy
