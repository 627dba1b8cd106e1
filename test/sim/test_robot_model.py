"""Robot models for Gazebo and URDF are the presets: bodies that physics accepts, the drives' kinematics, the sensors' numbers."""

from __future__ import annotations

import itertools
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.resources import resource_path
from mm_nav.sim.imu import Imu, ImuConfig
from mm_nav.sim.lidar import cloud_directions, lidar_directions
from mm_nav.sim.rig import load_rig
from mm_nav.sim.robot_body import robot_body
from mm_nav.sim.robot_model import MAX_ROBOTS, not_in_gazebo, robot_sdf, robot_urdf
from mm_nav.sim.sensors import CameraConfig, CloudConfig, LidarConfig
from mm_nav.sim.urdf import link_poses

ROBOTS = sorted(path.stem for path in resource_path("config/robots").glob("*.yaml"))
MANY = """
body: {height_m: 0.5, footprint: [[0.4, 0.2], [-0.1, 0.25], [-0.1, -0.25], [0.4, -0.2]]}
sensors:
  rear: {type: camera, width: 64, height: 48, position: [-0.1, 0.05, 0.4], roll: 0.1, pitch: 0.2, yaw: 3.1}
  top: {type: camera}
  low: {type: lidar, yaw: 0.5}
  high: {type: lidar, position: [0.1, 0.0, 0.45], beams: 90}
  velo: {type: cloud, rings: 4, columns: 90, rpy: [0.05, -0.1, 0.3]}
  imu: {type: imu, rpy: [3.14159265, 0.0, 0.2], rate_hz: 50}
"""
needs_ign = pytest.mark.skipif(
    shutil.which("ign") is None, reason="libsdformat's checker is not installed (ignition-tools)"
)


def model_of(robot: str | Path, **arguments: object) -> ET.Element:
    model = ET.fromstring(robot_sdf(load_rig(robot), **arguments)).find("model")  # type: ignore[arg-type]
    assert model is not None
    return model


def number(element: ET.Element, path: str) -> float:
    text = element.findtext(path)
    assert text is not None, path
    return float(text)


def plugin(model: ET.Element, name: str) -> ET.Element:
    return next(item for item in model.iter("plugin") if (item.get("name") or "").endswith(f"::{name}"))


def many(folder: Path) -> Path:
    path = folder / "many.yaml"
    path.write_text(MANY)
    return path


@pytest.mark.parametrize("name", ROBOTS)
def test_inertias_are_those_that_a_body_can_have(name: str) -> None:
    found = [*model_of(name).iter("inertial"), *ET.fromstring(robot_urdf(load_rig(name))).iter("inertial")]
    assert len(found) >= 6
    for inertial in found:
        tensor = inertial.find("inertia")
        mass = inertial.find("mass")
        assert tensor is not None and mass is not None
        values = {key: tensor.get(key) or tensor.findtext(key) for key in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")}
        xx, yy, zz, xy, xz, yz = (float(value or "nan") for value in values.values())
        moments = np.linalg.eigvalsh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
        assert moments[0] > 0 and float(mass.get("value") or mass.text or 0) > 0
        assert moments[0] + moments[1] >= moments[2] * (
            1 - 1e-9
        )  # the triangle inequality: density is nowhere negative


@pytest.mark.parametrize("name", ROBOTS)
def test_sensors_stand_where_the_preset_has_them(name: str, tmp_path: Path) -> None:
    check_mounts(name, tmp_path)


def test_mounts_of_a_robot_with_many_sensors_that_lean(tmp_path: Path) -> None:
    check_mounts(many(tmp_path), tmp_path)


def check_mounts(robot: str | Path, folder: Path) -> None:
    rig = load_rig(robot)
    path = folder / "robot.urdf"
    path.write_text(robot_urdf(rig))
    poses, model = link_poses(path), model_of(robot)
    by_name = {element.get("name"): element for element in model.iter("sensor")}
    for sensor in robot_body(rig).sensors:
        config = sensor.config
        pose = config.base_T_camera() if isinstance(config, CameraConfig) else config.base_T_sensor()
        np.testing.assert_allclose(poses[sensor.frame], pose, atol=1e-7)
        text = by_name[sensor.name].findtext("pose") or ""
        np.testing.assert_allclose([float(v) for v in text.split()], [*sensor.xyz, *sensor.rpy], atol=1e-8)
        assert by_name[sensor.name].findtext("gz_frame_id") == sensor.frame
    assert set(by_name) == set(rig.sensors())


@pytest.mark.parametrize("name", ROBOTS)
def test_wheels_touch_the_floor_within_the_footprint(name: str) -> None:
    rig, model = load_rig(name), model_of(name)
    corners = rig.robot.footprint_array()
    for link in model.findall("link"):
        if "wheel" not in (link.get("name") or ""):
            continue
        cylinder = link.find("visual/geometry/cylinder")
        pose = link.find("pose")
        assert cylinder is not None and pose is not None
        place = [float(v) for v in (pose.text or "").split()]
        if parent := pose.get("relative_to"):
            holder = next(item for item in model.findall("link") if item.get("name") == parent)
            place = [a + float(b) for a, b in zip(place, (holder.findtext("pose") or "").split(), strict=True)]
        radius, width = number(cylinder, "radius"), number(cylinder, "length")
        assert place[2] == pytest.approx(radius)
        assert corners[:, 1].min() <= place[1] - width / 2 and place[1] + width / 2 <= corners[:, 1].max()
        assert corners[:, 0].min() <= place[0] - radius and place[0] + radius <= corners[:, 0].max()
        assert radius > rig.robot.ground_clearance_m


@pytest.mark.parametrize("name", ROBOTS)
def test_the_body_fills_what_the_embedded_simulator_takes_it_to_be(name: str) -> None:
    robot, base = load_rig(name).robot, model_of(name).find("link")
    assert base is not None
    collision = base.find("collision")
    assert collision is not None
    x, y, z, *_ = (float(v) for v in (collision.findtext("pose") or "").split())
    box = collision.findtext("geometry/box/size")
    if box is not None:
        length, width, height = (float(v) for v in box.split())
    else:
        length = width = 2 * number(collision, "geometry/cylinder/radius")
        height = number(collision, "geometry/cylinder/length")
    corners = robot.footprint_array()
    assert (z - height / 2, z + height / 2) == pytest.approx((robot.ground_clearance_m, robot.height_m))
    assert (x - length / 2, y - width / 2) == pytest.approx(tuple(corners.min(axis=0)))
    assert (x + length / 2, y + width / 2) == pytest.approx(tuple(corners.max(axis=0)))


def test_a_round_robot_is_a_disc() -> None:
    base = model_of("turtlebot4").find("link/collision/geometry/cylinder/radius")
    assert base is not None and float(base.text or 0) == load_rig("turtlebot4").robot.footprint[0][0]


def test_a_differential_drive_has_the_presets_limits() -> None:
    for name in ("generic", "jackal", "turtlebot3_burger", "turtlebot4"):
        robot, model = load_rig(name).robot, model_of(name)
        drive = plugin(model, "DiffDrive")
        links = {link.get("name"): link.findtext("pose") or "" for link in model.findall("link")}
        apart = float(links["left_wheel"].split()[1]) - float(links["right_wheel"].split()[1])
        assert number(drive, "wheel_separation") == pytest.approx(apart)
        assert number(drive, "wheel_radius") == pytest.approx(float(links["left_wheel"].split()[2]))
        limits = {
            "max_linear_velocity": robot.max_linear, "min_linear_velocity": robot.min_linear,
            "max_linear_acceleration": robot.max_linear_accel, "min_linear_acceleration": -robot.max_linear_accel,
            "max_angular_velocity": robot.max_angular, "min_angular_velocity": -robot.max_angular,
            "max_angular_acceleration": robot.max_angular_accel, "min_angular_acceleration": -robot.max_angular_accel,
        }  # fmt: skip
        assert {key: number(drive, key) for key in limits} == pytest.approx(limits)
        joints = {joint.get("name") for joint in model.findall("joint")}
        assert {drive.findtext("left_joint"), drive.findtext("right_joint")} == joints


def test_mecanum_wheels_hold_the_floor_as_their_kinematics_need() -> None:
    """With the wheels at the speeds of inverse kinematics, no contact slips along the direction in which it holds."""
    model = model_of("omni")
    drive = plugin(model, "MecanumDrive")
    radius, arm = number(drive, "wheel_radius"), number(drive, "wheelbase") / 2 + number(drive, "wheel_separation") / 2
    links = {link.get("name"): link for link in model.findall("link")}
    for vx, vy, turn in ((0.5, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 1.0), (0.3, -0.2, 0.7)):
        for name, side, sense in (
            ("front_left", -1, -1), ("front_right", 1, 1), ("back_left", 1, -1), ("back_right", -1, 1),
        ):  # fmt: skip
            # Inverse kinematics of four mecanum wheels, as the plugin has them: (vx -+ vy -+ arm * turn) / radius.
            wheel = (vx + side * vy + sense * arm * turn) / radius
            link = links[f"{name}_wheel"]
            x, y, *_ = (float(v) for v in (link.findtext("pose") or "").split())
            held = link.find("collision/surface/friction/ode/fdir1")
            assert held is not None and held.get("{http://gazebosim.org/schema}expressed_in") == "base_link"
            direction = [float(v) for v in (held.text or "").split()][:2]
            contact = np.array([vx - turn * y - wheel * radius, vy + turn * x])
            assert abs(float(contact @ direction)) < 1e-9
    assert number(drive, "max_velocity") >= load_rig("omni").robot.max_linear


def test_an_ackermann_drive_turns_as_tightly_as_the_preset() -> None:
    robot, model = load_rig("racecar").robot, model_of("racecar")
    drive = plugin(model, "AckermannSteering")
    # The plugin's own formula for the smallest radius.
    tightest = number(drive, "wheel_base") / math.sin(number(drive, "steering_limit"))
    assert tightest == pytest.approx(robot.min_turning_radius)
    inner = math.atan(number(drive, "wheel_base") / (tightest - number(drive, "kingpin_width") / 2))
    steering = [joint for joint in model.findall("joint") if "steering" in (joint.get("name") or "")]
    assert len(steering) == 2
    for joint in steering:
        assert inner < number(joint, "axis/limit/upper") < inner + 0.05
        assert number(joint, "axis/limit/velocity") == robot.max_steer_rate


@pytest.mark.parametrize("name", ROBOTS)
def test_sensors_have_the_presets_numbers(name: str) -> None:
    rig, model = load_rig(name), model_of(name)
    for element in model.iter("sensor"):
        config = rig.sensors()[element.get("name") or ""]
        assert number(element, "update_rate") == config.rate_hz
        if isinstance(config, LidarConfig | CloudConfig):
            assert (number(element, "lidar/range/min"), number(element, "lidar/range/max")) == pytest.approx(
                (config.range_min, config.range_max)
            )
            assert number(element, "lidar/noise/stddev") == pytest.approx(config.noise_std)
            check_beams(element, config)
        elif isinstance(config, CameraConfig):
            size = (number(element, "camera/image/width"), number(element, "camera/image/height"))
            assert size == (config.width, config.height)
            assert number(element, "camera/horizontal_fov") == pytest.approx(config.horizontal_fov)
            noise = element.findtext("camera/noise/stddev")
            assert float(noise or 0) * 255 == pytest.approx(config.noise_std)


def check_beams(element: ET.Element, config: LidarConfig | CloudConfig) -> None:
    """Gazebo's beams, from min_angle to max_angle inclusively, are the embedded simulator's."""
    scan = element.find("lidar/scan")
    assert scan is not None
    count = int(number(scan, "horizontal/samples"))
    azimuth = np.linspace(number(scan, "horizontal/min_angle"), number(scan, "horizontal/max_angle"), count)
    if isinstance(config, LidarConfig):
        expected = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(count)], axis=-1)
        np.testing.assert_allclose(lidar_directions(config), expected, atol=1e-6)
        return
    rings = int(number(scan, "vertical/samples"))
    elevation = np.linspace(number(scan, "vertical/min_angle"), number(scan, "vertical/max_angle"), rings)
    around, up = np.meshgrid(azimuth, elevation, indexing="ij")
    expected = np.stack([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)], axis=-1)
    np.testing.assert_allclose(cloud_directions(config), expected.reshape(-1, 3), atol=1e-6)


def test_imu_noise_is_that_of_the_embedded_simulators_readings() -> None:
    config = ImuConfig(gyro_bias=0.0, accel_bias=0.0, gyro_walk=0.0, accel_walk=0.0, rate_hz=200)
    imu = Imu(config, np.random.default_rng(3))
    readings = [imu.read(k * 5_000_000, Pose2D(), Twist2D(), Twist2D()) for k in range(4000)]
    rig = load_rig("turtlebot3_waffle")
    element = ET.fromstring(robot_sdf(replace(rig, imu=config))).find(".//sensor[@type='imu']/imu")
    assert element is not None and element.findtext("enable_orientation") == "0"
    for group, values in (
        ("angular_velocity", np.array([reading.angular_velocity for reading in readings])),
        ("linear_acceleration", np.array([reading.linear_acceleration for reading in readings])),
    ):
        for axis, column in zip("xyz", values.T, strict=True):
            assert number(element, f"{group}/{axis}/noise/stddev") == pytest.approx(float(column.std()), rel=0.06)


def test_a_robots_sensors_see_all_but_the_robot_itself() -> None:
    """As gz-rendering decides it: seen if the visual's flags and the sensor's mask have a bit in common."""
    everything = 0xFFFFFFFF
    models = [model_of("jackal", namespace=f"r{k}", index=k) for k in range(MAX_ROBOTS)]
    flags = [{int(item.text or 0) for item in model.iter("visibility_flags")} for model in models]
    masks = [{int(item.text or 0) for item in model.iter("visibility_mask")} for model in models]
    assert all(len(seen) == 1 for seen in flags + masks)
    for (a, seen), (b, mask) in itertools.product(enumerate(flags), enumerate(masks)):
        flag, sees = next(iter(seen)), next(iter(mask))
        assert (flag & sees == 0) == (a == b)
        assert everything & sees and flag & 0x2  # the world is seen; the robot can be clicked on
    assert sum(1 for _ in models[0].iter("visibility_mask")) == 3  # camera, scan and points


def test_topics_lie_below_the_namespace_and_releases_differ_in_names_only() -> None:
    harmonic, fortress = (robot_sdf(load_rig("omni"), "team/alpha", gazebo=g) for g in ("harmonic", "fortress"))
    for name in ROBOTS:
        told = [element for element in model_of(name, namespace="team/alpha").iter() if element.tag.endswith("topic")]
        assert len(told) > 5 and all((element.text or "").startswith("/team/alpha/") for element in told), name
    assert "ignition" not in harmonic and "gz" not in fortress
    renamed = harmonic.replace("http://gazebosim.org/schema", "http://ignitionrobotics.org/schema")
    for new, old in (
        ("gz-sim-", "ignition-gazebo-"), ("gz::sim::", "ignition::gazebo::"), ("gz_frame_id", "ignition_frame_id"),
        ("gz:expressed_in", "ignition:expressed_in"), ("xmlns:gz", "xmlns:ignition"), ("Harmonic", "Fortress"),
    ):  # fmt: skip
        renamed = renamed.replace(new, old)
    assert renamed == fortress


def test_what_cannot_be_modelled_is_said(tmp_path: Path) -> None:
    assert not_in_gazebo(load_rig("generic")) == ("drawn odometry errors",)
    jackal = " ".join(not_in_gazebo(load_rig("jackal")))
    assert all(word in jackal for word in ("scan: the sweep", "points: weak and lost", "wheel slip"))
    rig = load_rig("generic")
    for arguments, said in (
        ({"namespace": "1alpha"}, "no ROS name"), ({"namespace": "a b"}, "no ROS name"),
        ({"gazebo": "classic"}, "harmonic, fortress"), ({"index": MAX_ROBOTS}, "give 0 to 15"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            robot_sdf(rig, **arguments)  # type: ignore[arg-type]
    thin = tmp_path / "thin.yaml"
    thin.write_text("body: {footprint: [[0.2, 0.01], [-0.2, 0.01], [-0.2, -0.01], [0.2, -0.01]]}\nsensors: {}\n")
    with pytest.raises(ConfigError, match="no wheels fit"):
        robot_sdf(load_rig(thin))


@needs_ign
def test_libsdformat_accepts_every_model(tmp_path: Path) -> None:
    """All presets for both releases, in one world: one call of the checker."""
    world = ET.Element("sdf", {"version": "1.9"})
    inside = ET.SubElement(world, "world", {"name": "all"})
    for name, gazebo in itertools.product(ROBOTS, ("harmonic", "fortress")):
        inside.append(model_of(name, name=f"{name}_{gazebo}", gazebo=gazebo))
    path = tmp_path / "all.sdf"
    path.write_text(ET.tostring(world, encoding="unicode"))
    result = subprocess.run(["ign", "sdf", "-k", str(path)], capture_output=True, text=True, timeout=120)
    assert "Valid" in result.stdout and "Error" not in result.stderr, result.stderr


@needs_ign
def test_libsdformat_makes_the_same_body_of_the_urdf(tmp_path: Path) -> None:
    path = tmp_path / "robot.urdf"
    path.write_text(robot_urdf(load_rig("racecar")))
    result = subprocess.run(["ign", "sdf", "-p", str(path)], capture_output=True, text=True, timeout=120)
    converted, ours = ET.fromstring(result.stdout[result.stdout.index("<sdf") :]), model_of("racecar")
    theirs = {link.get("name"): link for link in converted.iter("link")}
    for link in ours.findall("link"):
        other = theirs[link.get("name")]
        for key in ("mass", "inertia/ixx", "inertia/iyy", "inertia/izz"):
            assert number(other, f"inertial/{key}") == pytest.approx(number(link, f"inertial/{key}"), rel=1e-5)
    assert {joint.get("name") for joint in converted.iter("joint")} == {j.get("name") for j in ours.findall("joint")}


def test_the_committed_model_is_the_generators(root: Path) -> None:
    assert (root / "config" / "robot.sdf").read_text() == robot_sdf(load_rig("generic"))


@pytest.mark.parametrize("name", [*ROBOTS, "many"])
def test_xacro_gives_the_same_robot(name: str, root: Path, tmp_path: Path) -> None:
    xacro = pytest.importorskip("xacro", reason="xacro is not installed (pip install xacro)")
    robot = many(tmp_path) if name == "many" else name
    given = {"file": str(robot)} if name == "many" else {"robot": name}
    made = xacro.process_file(str(root / "config" / "robot.urdf.xacro"), mappings=given).toxml()
    xacro_robot, ours = described(ET.fromstring(made)), described(ET.fromstring(robot_urdf(load_rig(robot))))
    assert list(xacro_robot) == list(ours)
    for key, values in ours.items():
        assert xacro_robot[key] == pytest.approx(values, abs=1e-6), key


def described(robot: ET.Element) -> dict[str, list[float]]:
    """Return every number of a URDF by the path to it, links and joints sorted by name."""
    found: dict[str, list[float]] = {}
    for part in sorted(robot, key=lambda item: (item.tag, item.get("name") or "")):
        here = f"{part.tag} {part.get('name')} {part.get('type', '')}"
        found[here] = []
        for k, element in enumerate(part.iter()):
            for key, value in sorted(element.attrib.items()):
                try:
                    found[f"{here} {k} {element.tag} {key}"] = [float(v) for v in value.split()]
                except ValueError:
                    found[f"{here} {k} {element.tag} {key} {value}"] = []
    return found
