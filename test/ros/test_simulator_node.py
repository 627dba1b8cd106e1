"""The simulator node publishes what Gazebo and its bridge would: the same topics, types, frames, sizes and rates."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from mm_nav_interfaces.msg import GuardStatus
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2
from std_msgs.msg import UInt32
from tf2_msgs.msg import TFMessage

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.resources import resource_path
from mm_nav.ros import conversions, qos
from mm_nav.ros.node_list import SIMULATOR
from mm_nav.ros.process_group import ProcessGroup, prepare_environment
from mm_nav.ros.simulator_node import SimulatorNode
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.messages import cloud_from, odometry_from, scan_from, stamp_ns
from mm_nav.sim.committed_worlds import committed_world
from mm_nav.sim.rig import load_rig

TYPES = {"Clock": Clock, "Image": Image, "CameraInfo": CameraInfo, "LaserScan": LaserScan, "Odometry": Odometry,
         "TFMessage": TFMessage}  # fmt: skip
START = committed_world(resource_path("worlds/apartment.sdf")).start


def number(element: ElementTree.Element, path: str) -> float:
    return float(element.findtext(path) or "nan")


def listen(
    parameters: dict[str, Any],
    wanted: dict[str, type],
    seconds: float,
    logs: Path,
    drive: dict[str, float] | None = None,
) -> dict[str, list[Any]]:
    """Run the node and return the messages of each topic over that much simulated time. drive: topics that get a speed, m/s."""
    prepare_environment()
    rclpy.init()
    node = rclpy.create_node("listener")
    heard: dict[str, list[Any]] = {name: [] for name in wanted}
    clock: list[int] = []
    for name, kind in wanted.items():
        profile = qos.STATIC_TF if name.endswith("tf_static") else qos.ODOMETRY if kind is Odometry else qos.SENSOR
        node.create_subscription(kind, name, lambda m, box=heard[name]: box.append(m), profile)
    commands = {name: node.create_publisher(TwistStamped, name, qos.COMMAND) for name in drive or {}}
    node.create_subscription(Clock, "/clock", lambda m: clock.append(stamp_ns_of(m)), qos.STATUS)
    try:
        start = {"start_x": START.x, "start_y": START.y, "start_yaw": START.yaw}
        with ProcessGroup((SIMULATOR,), logs, {"simulator": start | parameters}) as group:
            end = time.monotonic() + 40.0
            while time.monotonic() < end and (not clock or clock[-1] - clock[0] < seconds * 1e9):
                rclpy.spin_once(node, timeout_sec=0.05 if commands else 0.2)
                for name, publisher in commands.items():
                    command = TwistStamped()
                    command.twist.linear.x = (drive or {})[name]
                    publisher.publish(command)
                assert not group.dead(), group.log("simulator").read_text()
    finally:
        node.destroy_node()
        rclpy.shutdown()
    return heard


def stamp_ns_of(message: Clock) -> int:
    return message.clock.sec * 1_000_000_000 + message.clock.nanosec


def period(messages: list[Any]) -> float:
    """Median time from one message to the next, s, in their own stamps."""
    return float(np.median(np.diff([stamp_ns(m.header) for m in messages]))) * 1e-9


def test_topics_are_those_of_the_gazebo_bridge(tmp_path: Path, root: Path) -> None:
    bridge = yaml.safe_load((root / "config" / "bridge.yaml").read_text())
    out = {entry["ros_topic_name"]: entry for entry in bridge if entry["direction"] == "GZ_TO_ROS"}
    wanted = {name: TYPES[entry["ros_type_name"].split("/")[-1]] for name, entry in out.items() if name != "/clock"}
    heard = listen({}, wanted, 2.5, tmp_path)
    assert all(heard.values()), {name: len(messages) for name, messages in heard.items()}
    model = ElementTree.parse(root / "config" / "robot.sdf").getroot()
    sensors = {element.get("type"): element for element in model.iter("sensor")}
    lidar, camera = sensors["gpu_lidar"], sensors["camera"]
    scan, image, info = heard["scan"][-1], heard["image"][-1], heard["camera_info"][-1]
    assert scan.header.frame_id == lidar.findtext("gz_frame_id") == frames().scan
    assert len(scan.ranges) == number(lidar, ".//samples")
    limits = (scan.range_min, scan.range_max, scan.angle_min, scan.angle_max)
    paths = (".//range/min", ".//range/max", ".//min_angle", ".//max_angle")
    assert limits == pytest.approx([number(lidar, path) for path in paths], abs=1e-4)
    assert image.header.frame_id == info.header.frame_id == camera.findtext("gz_frame_id") == frames().camera
    assert (image.width, image.height) == (number(camera, ".//width"), number(camera, ".//height"))
    assert image.encoding == "rgb8" and camera.findtext(".//format") == "R8G8B8"
    assert info.k[0] == pytest.approx(image.width / 2 / np.tan(number(camera, ".//horizontal_fov") / 2))
    assert period(heard["scan"]) == pytest.approx(1 / number(lidar, "update_rate"))
    assert period(heard["image"]) == pytest.approx(1 / number(camera, "update_rate"))
    drive = next(element for element in model.iter("plugin") if "DiffDrive" in (element.get("name") or ""))
    odom = heard["odom"]
    assert (odom[-1].header.frame_id, odom[-1].child_frame_id) == (
        drive.findtext("frame_id"), drive.findtext("child_frame_id"),
    )  # fmt: skip
    assert period(odom) == pytest.approx(1 / number(drive, "odom_publish_frequency"))
    transform = heard["/tf"][-1].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == (frames().odom, frames().base)


def test_the_generic_robot_and_its_gazebo_model_are_one(root: Path) -> None:
    model = ElementTree.parse(root / "config" / "robot.sdf").getroot()
    rig = load_rig("generic")
    assert rig.lidar is not None and rig.camera is not None
    for kind, position in (("gpu_lidar", rig.lidar.position), ("camera", rig.camera.position)):
        sensor = next(element for element in model.iter("sensor") if element.get("type") == kind)
        assert [float(v) for v in (sensor.findtext("pose") or "").split()][:3] == pytest.approx(position)
    lidar = next(element for element in model.iter("sensor") if element.get("type") == "gpu_lidar")
    assert number(lidar, ".//stddev") == rig.lidar.noise_std
    drive = next(element for element in model.iter("plugin") if "DiffDrive" in (element.get("name") or ""))
    robot = rig.robot
    assert number(drive, "max_linear_velocity") == robot.max_linear
    assert number(drive, "min_linear_velocity") == robot.min_linear
    assert number(drive, "max_linear_acceleration") == robot.max_linear_accel
    assert number(drive, "max_angular_velocity") == robot.max_angular


ROBOT = """
body: {max_linear: 1.0}
sensors:
  camera: {type: camera, width: 64, height: 48, rate_hz: 10, distortion: [-0.1, 0.01, 0.0, 0.0]}
  rear: {type: camera, width: 32, height: 24, yaw: 3.14159, rate_hz: 5}
  scan: {type: lidar, beams: 90, rate_hz: 20, sweep_s: 0.05}
  points: {type: cloud, rings: 4, columns: 90, rate_hz: 10, sweep_s: 0.1, min_signal: 0.0001}
  imu: {type: imu, rate_hz: 100}
"""


def test_a_robot_of_ones_own_with_many_sensors_and_people(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT)
    t = topics()
    wanted = {t.image: Image, t.camera_info: CameraInfo, "rear/image": Image, "rear/camera_info": CameraInfo,
              t.scan: LaserScan, t.points: PointCloud2, t.imu: Imu, t.odom: Odometry, "/tf_static": TFMessage,
              t.contacts: UInt32}  # fmt: skip
    heard = listen({"robot": str(path), "people": 2}, wanted, 2.0, tmp_path)
    rates = {t.image: 10, "rear/image": 5, t.scan: 20, t.points: 10, t.imu: 100, t.odom: 20}
    for name, rate in rates.items():
        assert heard[name], name
        assert period(heard[name]) == pytest.approx(1 / rate, rel=0.01), name
    assert heard["rear/image"][-1].header.frame_id == "rear_optical_frame"
    assert list(heard[t.camera_info][-1].d) == [-0.1, 0.01, 0.0, 0.0]
    assert heard[t.scan][-1].time_increment == pytest.approx(0.05 / 90)
    cloud = heard[t.points][-1]
    names = [field.name for field in cloud.fields]
    assert names == ["x", "y", "z", "intensity", "ring", "time"] and cloud.header.frame_id == frames().points
    assert len(cloud_from(cloud).points) > 50
    imu = heard[t.imu][-1]
    assert imu.linear_acceleration.z == pytest.approx(9.8, abs=0.5) and imu.orientation_covariance[0] == -1.0
    mounts = Counter(item.child_frame_id for message in heard["/tf_static"] for item in message.transforms)
    assert set(mounts) == {frames().camera, "rear_optical_frame", frames().scan, frames().points, frames().imu}


START_TEXT = f"{START.x},{START.y},{START.yaw}"
TWO = {"robots": "alpha,beta", "robot": "generic,omni", "starts": "2.0,2.0,0.0; 3.0,2.0,3.14159"}


def test_two_robots_in_one_world_each_in_its_namespace(tmp_path: Path) -> None:
    t = topics()
    kinds = {t.scan: LaserScan, t.image: Image, t.camera_info: CameraInfo, t.odom: Odometry, t.ground_truth: Odometry,
             t.contacts: UInt32, "tf": TFMessage, "tf_static": TFMessage}  # fmt: skip
    wanted: dict[str, type] = {f"{name}/{topic}": kind for name in ("alpha", "beta") for topic, kind in kinds.items()}
    wanted |= {t.scan: LaserScan, "/tf": TFMessage, "/tf_static": TFMessage, t.diagnostics: DiagnosticArray}
    quiet = TWO | {"camera_width": 64, "camera_height": 48}
    heard = listen(quiet, wanted, 4.0, tmp_path, drive={f"beta/{t.cmd_vel}": 0.08})
    for topic in (t.scan, "/tf", "/tf_static"):  # nothing of theirs is where that of one robot would be
        assert not heard.pop(topic)
    assert all(heard.values()), {name: len(messages) for name, messages in heard.items()}
    # Frames are those of one robot, in a TF tree for each.
    for name in ("alpha", "beta"):
        transform = heard[f"{name}/tf"][-1].transforms[0]
        assert (transform.header.frame_id, transform.child_frame_id) == (frames().odom, frames().base)
        assert heard[f"{name}/{t.scan}"][-1].header.frame_id == frames().scan
    mounts = {m.child_frame_id for message in heard["beta/tf_static"] for m in message.transforms}
    assert mounts == {frames().camera, frames().scan}
    # Only the one that was told to has driven, and the other one sees it come.
    first, last = (odometry_from(heard[f"beta/{t.ground_truth}"][index]).pose for index in (0, -1))
    assert last.distance_to(first) > 0.05
    assert odometry_from(heard[f"alpha/{t.ground_truth}"][-1]).pose == Pose2D(2.0, 2.0, 0.0)
    ahead = [float(scan_from(message).ranges[180]) for message in heard[f"alpha/{t.scan}"]]
    assert ahead[0] == pytest.approx(1.0 - 0.25, abs=0.06) and ahead[-1] < ahead[0] - 0.02
    assert heard[f"beta/{t.contacts}"][-1].data == 0
    # One clock, and sensors that take turns.
    stamps = {name: {stamp_ns(m.header) for m in heard[f"{name}/{t.odom}"]} for name in ("alpha", "beta")}
    assert stamps["alpha"] & stamps["beta"]
    phases = [{stamp_ns(m.header) % 100_000_000 for m in heard[f"{name}/{t.scan}"]} for name in ("alpha", "beta")]
    assert phases == [{0}, {50_000_000}]
    status = [s for message in heard[t.diagnostics] for s in message.status]
    values = {item.key: item.value for item in status[-1].values}
    assert (
        status[-1].name == "/simulator: mm_nav" and values["robots"] == "2" and float(values["real_time_factor"]) > 0.1
    )
    assert (status[-1].level == DiagnosticStatus.OK) == (float(values["real_time_factor"]) >= 0.9)
    assert float(values["cpu_share"]) > 0.0


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The node as launch starts it."""
    process = subprocess.Popen([sys.executable, "-m", SIMULATOR.module, "--ros-args", *arguments])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20.0)


def test_a_launch_file_can_remap_tf_into_the_namespace() -> None:
    prepare_environment()
    rclpy.init()
    node = rclpy.create_node("listener")
    parameters = [f"start_x:={START.x}", f"start_y:={START.y}", "camera:=false"]
    rules = [word for p in parameters for word in ("-p", p)] + [
        "-r",
        "__ns:=/site",
        "-r",
        "/tf:=tf",
        "-r",
        "/tf_static:=tf_static",
    ]
    try:
        with running(*rules) as process:
            end = time.monotonic() + 40.0
            while time.monotonic() < end and node.count_publishers("/site/scan") == 0:
                rclpy.spin_once(node, timeout_sec=0.1)
                assert process.poll() is None
            moving, fixed = (node.get_publishers_info_by_topic(f"/site/{name}") for name in ("tf", "tf_static"))
            assert len(moving) == len(fixed) == 1 and node.count_publishers("/tf") == 0 == node.count_publishers(
                "/tf_static"
            )
            assert node.count_publishers("/site/scan") == node.count_publishers("/clock") == 1
    finally:
        node.destroy_node()
        rclpy.shutdown()
    # As tf2's broadcasters do: listeners there ask for no more, and no less is of use to them.
    assert moving[0].qos_profile.reliability == fixed[0].qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert moving[0].qos_profile.durability == DurabilityPolicy.VOLATILE and qos.TF.depth == 100
    assert fixed[0].qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL


def _text(value: str) -> str:
    """A value as YAML has it: numbers as they are."""
    return value if value.replace(".", "").isdigit() else f"'{value}'"


@contextmanager
def unconfigured(parameters: dict[str, str]) -> Iterator[SimulatorNode]:
    rules = [word for name, value in parameters.items() for word in ("-p", f"{name}:={_text(value)}")]
    rclpy.init(args=["--ros-args", *rules, "-p", "camera:=false"])
    try:
        node = SimulatorNode()
        yield node
        node.destroy_node()
    finally:
        rclpy.shutdown()


def test_the_guards_status_times_the_command() -> None:
    """From the sensors' stamp to the first command that was computed from them; repeats and other stamps are not counted."""
    prepare_environment()
    with unconfigured({"start_x": f"{START.x}", "start_y": f"{START.y}"}) as simulator:
        simulator.start()
        (robot,), told = simulator._robots, list[float]()
        robot._latency = SimpleNamespace(publish=lambda message: told.append(message.data))
        robot._sent = {7_000_000_050: simulator.steady_s() - 0.03}
        for stamp in (6_000_000_000, 7_000_000_050, 7_000_000_050):
            robot._time(GuardStatus(scan_stamp=conversions.to_time(stamp)))
        assert told == pytest.approx([30.0], abs=25.0)


def test_people_and_noise_are_the_same_at_any_rate() -> None:
    prepare_environment()
    runs: list[dict[int, bytes]] = []
    for rate in ("2.0", "0.0"):
        scans: dict[int, bytes] = {}
        start = {"start_x": f"{START.x}", "start_y": f"{START.y}"}
        with unconfigured({"people": "4", "seed": "5", "rate": rate, **start}) as simulator:
            listener, executor = rclpy.create_node("listener"), SingleThreadedExecutor()
            listener.create_subscription(
                LaserScan,
                topics().scan,
                lambda m, scans=scans: scans.update({stamp_ns(m.header): np.asarray(m.ranges, np.float32).tobytes()}),
                qos.SENSOR,
            )
            executor.add_node(simulator)
            executor.add_node(listener)
            simulator.trigger_configure()
            # At full speed seconds pass before an unknown listener is found.
            end = time.monotonic() + 10.0
            while time.monotonic() < end and not simulator.count_subscribers(topics().scan):
                executor.spin_once(timeout_sec=0.1)
            time.sleep(0.5)
            simulator.trigger_activate()
            end = time.monotonic() + 30.0
            while time.monotonic() < end and max(scans, default=0) < 8e9:
                executor.spin_once(timeout_sec=0.1)
            simulator.trigger_deactivate()
            simulator.trigger_cleanup()
            executor.shutdown()
            listener.destroy_node()
        runs.append(scans)
    both = sorted(set(runs[0]) & set(runs[1]))
    assert len(both) >= 15
    assert all(runs[0][stamp] == runs[1][stamp] for stamp in both)
    assert len(set(runs[0].values())) == len(runs[0])  # people walk and noise is drawn anew: no two scans are alike


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"robots": "alpha,alpha"}, "'alpha' is there twice"),
        ({"robots": "alpha,2nd"}, "'2nd' of 'alpha,2nd' cannot be a ROS namespace"),
        ({"robots": "alpha,"}, "robot name '' of"),
        ({"robots": "a__b"}, "single underscores"),
        ({"robots": "alpha,beta", "robot": "generic,toaster"}, "give one of"),
        ({"robots": "alpha,beta,gamma", "robot": "generic,jackal"}, "2 robots, but there are 3"),
        ({"robots": "alpha,beta", "starts": START_TEXT}, "are 1 for 2 robots"),
        ({"robots": "alpha,beta", "starts": f"{START_TEXT};{START_TEXT}"}, "'beta' would start at .*, where 'alpha' starts"),
        ({"robots": "alpha,beta", "starts": f"{START_TEXT}; 3.9,3.17"}, "'beta' would start at 3.90,3.17,0.00, in 'brown_chair_1'"),
        ({"robots": "alpha", "starts": "here"}, "x,y,yaw for each robot"),
        ({"robots": "alpha,beta", "lost": "sonar"}, "alpha/scan"),
    ],
)  # fmt: skip
def test_impossible_robots_are_refused_in_one_line(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message), unconfigured(parameters) as node:
        node.configure()


def test_without_starts_robots_stand_free_near_the_worlds_own_start() -> None:
    with unconfigured({"robots": "alpha,beta,gamma"}) as node:
        node.configure()
        poses = [robot.simulator.pose for robot in node._robots]
        assert poses[0] == START and all(1.5 <= pose.distance_to(START) < 4.0 for pose in poses[1:])
        assert node._fleet.names == ("alpha", "beta", "gamma")
        node.cleanup()


def test_where_one_robot_starts() -> None:
    for given in ({}, {"robots": "alpha"}):
        for placed, start in (({}, START), ({"start_x": "2.0", "start_y": "2.5"}, Pose2D(2.0, 2.5, 0.0))):
            with unconfigured(given | placed) as node:
                node.configure()
                assert [robot.simulator.pose for robot in node._robots] == [start]


@pytest.mark.parametrize(
    ("imu", "wanted"),
    [
        ("", {"scan": 15, "points": 20, "front": 8}),
        ("imu: {type: imu, rate_hz: 200}", {"scan": 15, "points": 30, "front": 8, "imu": 100}),
    ],
)
def test_rates_that_do_not_divide_the_step_are_kept_on_average(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], imu: str, wanted: dict[str, int]
) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(f"""sensors:
  scan: {{type: lidar, beams: 9, rate_hz: 15}}
  points: {{type: cloud, rings: 2, columns: 9, rate_hz: 30}}
  front: {{type: lidar, beams: 9, rate_hz: 8}}
  {imu}
""")
    with unconfigured({"robot": str(path)}) as node:
        node.configure()
        sent: Counter[str] = Counter()
        robot = node._robots[0]
        robot._publish = lambda outlet: sent.update([outlet.name])
        node.active = True
        while node._fleet.time_ns < 2_000_000_000:
            node._step()
        assert sent == {name: 2 * rate for name, rate in wanted.items()}
    # Whoever asks for more than there are steps is told.
    told = capfd.readouterr().err
    assert told.count("imu: rate_hz is 200, but it comes at 100 Hz") == bool(imu)
    assert told.count("points: rate_hz is 30, but it comes at 20 Hz") == (not imu)


def test_a_robot_s_shadows_are_rendered(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("sensors: {camera: {type: camera, shadows: true}}")
    with unconfigured({"robot": str(path)}) as node:
        node.set_parameters([Parameter("camera", value=True)])
        camera = node._sim_configs(1)[0].camera
        assert camera is not None and camera.shadows


def test_it_is_configured_anew_as_often_as_one_likes() -> None:
    with unconfigured({"robots": "alpha,beta"}) as node:
        held = []
        for _ in range(4):
            assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
            for _ in range(3):
                node._step()
            assert node._fleet.time_ns == 150_000_000  # from 0 each time
            assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
            held.append([len(list(getattr(node, kind))) for kind in ("publishers", "subscriptions", "timers")])
            assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
            held.append([len(list(getattr(node, kind))) for kind in ("publishers", "subscriptions", "timers")])
        assert held[0] == held[2] == held[6] and held[1] == held[7] and held[0][0] > held[1][0] + 10
        assert node.set_parameters([Parameter("robots", value="alpha,alpha")])[0].reason.startswith(
            "parameter 'robots'"
        )
        node.set_parameters([Parameter("starts", value=START_TEXT)])
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE  # one start for two
        node.set_parameters([Parameter("starts", value="")])
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS


@pytest.mark.parametrize(("lost", "silent"), [("scan", [True, True]), ("beta/scan", [False, True])])
def test_a_sensor_falls_silent_on_all_robots_or_on_one(lost: str, silent: list[bool]) -> None:
    with unconfigured({"robots": "alpha,beta", "lost": lost, "lost_after": "0.0"}) as node:
        node.configure()
        heard: dict[str, int] = {}
        for robot in node._robots:
            robot._receive(conversions.twist_message(Twist2D(0.2, 0.0), 0, frames().base))
            robot._publish = lambda outlet, name=robot.name: heard.update({f"{name}/{outlet.name}": 1})
        node.activate()
        node.active = True  # as the transition does it
        for _ in range(4):
            node._step()
        assert [f"{name}/scan" not in heard for name in ("alpha", "beta")] == silent
        node.deactivate()
