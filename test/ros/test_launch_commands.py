"""What the launch files start: programs, names, remappings and parameters, seen by stand-ins for the packages of ROS."""

from __future__ import annotations

import re
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from launched import ROOT, Prefix, launched, needs_launch

from mm_nav.errors import ConfigError
from mm_nav.ros.launching import arguments

needs_launch()

_GZ = "#!/bin/sh\n[ \"$1\" = help ] && echo '  sim:           Run and manage the Gazebo Simulator.' && exit 0\n"


class Calls:
    """What the stand-ins were called with. all: (program, namespace, arguments); files: name -> content."""

    def __init__(self, texts: list[str]) -> None:
        self.all: list[tuple[str, str, list[str]]] = []
        self.files: dict[str, str] = {}
        for part in [part for text in texts for part in re.split(r"^(?=FILE )", text, flags=re.MULTILINE)]:
            first, _, content = part.partition("\n")
            kind, name, *words = first.split()
            if kind == "CALL":
                spaces = [word.removeprefix("__ns:=") for word in words if word.startswith("__ns:=")]
                self.all.append((Path(name).name, spaces[0] if spaces else "", words))
            else:
                self.files[name] = content

    def words(self, program: str, namespace: str = "/") -> list[str]:
        """Return the arguments of a program's first call in a namespace."""
        return next(words for name, space, words in self.all if (name, space) == (program, namespace))

    def parameters(self, program: str, namespace: str = "/") -> dict[str, object]:
        """Return a node's parameters, as it would take them from its files: the later ones win."""
        found: dict[str, object] = {}
        words = self.words(program, namespace)
        for flag, name in pairwise(words):
            if flag == "--params-file":
                for values in yaml.safe_load(self.files[name]).values():
                    found |= values["ros__parameters"]
        return found

    def remappings(self, program: str, namespace: str = "/") -> dict[str, str]:
        words = self.words(program, namespace)
        rules = [word for flag, word in pairwise(words) if flag == "-r"]
        return dict(rule.split(":=") for rule in rules)


def calls(prefix: Prefix, *words: str, count: int) -> Calls:
    """Launch, wait for so many processes to say how they were called, press Ctrl-C; return what they said."""
    with launched(prefix, *words) as running:
        until = time.monotonic() + 60.0
        while len(said := list(prefix.calls.glob("*.txt"))) < count:
            assert time.monotonic() < until and running.process.poll() is None, (len(said), running.log)
            time.sleep(0.1)
        assert running.interrupt() == 0, running.log
        assert not running.left
        return Calls([path.read_text() for path in said])


def with_gazebo(folder: Path) -> Prefix:
    """Stand-ins for Gazebo and what comes with it."""
    prefix = Prefix(folder).with_stand_ins(
        ros_gz_sim="create",
        ros_gz_bridge="parameter_bridge",
        robot_state_publisher="robot_state_publisher",
        bin="gz",
    )
    program = folder / "bin/gz"
    program.write_text(_GZ + program.read_text().partition("\n")[2])
    return prefix


def test_gazebo_with_two_robots(tmp_path: Path) -> None:
    prefix = with_gazebo(tmp_path)
    own = tmp_path / "own.yaml"
    told = "{margin: 0.07, robot: omni, points: true}"
    own.write_text(f"/**/guard: {{ros__parameters: {told}}}\nbridge: {{ros__parameters: {{lazy: true}}}}")
    found = calls(
        prefix, "gazebo.launch.py", "robots:=alpha,beta", "robot:=generic,jackal", "world:=office", "start:=1,2,0.5;3,4",
        f"params_file:={own}", "log_level:=debug", "provider:=cpu", "obstacles:=scan", count=13,
    )  # fmt: skip
    # Server and window, each a process of its own.
    gazebo = [words for name, _, words in found.all if name == "gz"]
    assert sorted(gazebo) == [["sim", "-g"], ["sim", "-s", "-r", str(ROOT / "worlds/office.sdf")]]
    guard = found.parameters("mm_nav_guard", "/beta")
    assert guard["robot"] == "jackal" and guard["margin"] == 0.07 and guard["use_sim_time"] is True
    assert guard["autostart"] is False and guard["rate"] == 20.0
    # What is given goes before files, though it is what it would have been anyway.
    assert found.parameters("mm_nav_guard", "/alpha")["robot"] == "generic" and guard["points"] is False
    assert found.parameters("mm_nav_inference", "/alpha")["provider"] == "cpu"
    assert found.remappings("mm_nav_navigator", "/alpha") == {
        "__node": "navigator", "__ns": "/alpha", "/tf": "tf", "/tf_static": "tf_static",
    }  # fmt: skip
    assert "alpha.guard:=debug" in found.words("mm_nav_guard", "/alpha")
    assert found.remappings("robot_state_publisher", "/beta")["/tf"] == "tf"
    assert "<robot" in str(found.parameters("robot_state_publisher", "/beta")["robot_description"])
    bridge = found.parameters("parameter_bridge", "")
    assert str(bridge["config_file"]).endswith("bridge.yaml") and bridge["use_sim_time"] is bridge["lazy"] is True
    assert any(name.startswith("qos_overrides./alpha/scan") for name in bridge)
    created = found.words("create", "")
    assert created[created.index("-name") + 1] in ("alpha", "beta") and "-file" in created
    # Models and the bridge's list were there when they were wanted, and are gone.
    assert created[created.index("-file") + 1] in found.files
    assert not Path(created[created.index("-file") + 1]).parent.exists()


def test_a_robot_that_gazebo_refuses_ends_everything(tmp_path: Path) -> None:
    """Humble's `create` says that it failed, and ends with status 0."""
    prefix = with_gazebo(tmp_path)
    said = "[ERROR] [create]: Failed request to create entity."
    (tmp_path / "lib/ros_gz_sim/create").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 0\n")
    with launched(prefix, "gazebo.launch.py", "stack:=false") as running:
        assert running.process.wait(60.0) != 0
        assert "could not be put into Gazebo's world" in running.log and not running.left


def test_robot_with_drivers_in_a_namespace(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path).with_stand_ins(
        realsense2_camera="realsense2_camera_node",
        rplidar_ros="rplidar_composition",
        robot_state_publisher="robot_state_publisher",
    )
    own = tmp_path / "own.yaml"
    own.write_text(
        "/**: {ros__parameters: {use_sim_time: true}}\n"
        "/**/rplidar_node: {ros__parameters: {serial_port: /dev/lidar, serial_baudrate: 256000, scan_mode: Boost}}"
    )
    found = calls(
        prefix, "robot.launch.py", "namespace:=alpha", "camera:=realsense", "camera_device:=0123", "lidar:=rplidar",
        "lidar_device:=/dev/null", "scan:=lidar/scan", "twist_stamped:=false", "device:=orin-nano", "enclaves:=/mm_nav",
        f"params_file:={own}", count=6,
    )  # fmt: skip
    assert "/mm_nav/guard" in found.words("mm_nav_guard", "/alpha")
    lidar = found.parameters("rplidar_composition", "/alpha")
    assert lidar["frame_id"] == "base_scan" and lidar["scan_mode"] == "Boost"
    # The port was given, the baud rate was not.
    assert lidar["serial_port"] == "/dev/null" and lidar["serial_baudrate"] == 256000
    # What the driver calls it is what the stack listens to.
    assert found.remappings("rplidar_composition", "/alpha")["scan"] == "lidar/scan"
    assert found.remappings("mm_nav_guard", "/alpha")["scan"] == "lidar/scan"
    camera = found.remappings("realsense2_camera_node", "/alpha")
    assert camera["~/color/image_raw"] == "image" and camera["~/color/camera_info"] == "camera_info"
    # A serial number is a text, whatever it looks like.
    assert found.parameters("realsense2_camera_node", "/alpha")["serial_no"] == "0123"
    guard, inference = (found.parameters(f"mm_nav_{name}", "/alpha") for name in ("guard", "inference"))
    assert guard["twist_stamped"] is False and guard["use_sim_time"] is True
    assert inference["device"] == "orin-nano" and inference["model"] == ""
    assert "mm_nav_simulator" not in [name for name, _, _ in found.all]


def test_simulator_with_its_parameters(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("simulator: {ros__parameters: {people: 5, rate: 2.0, life: town.yaml}}")
    found = calls(
        Prefix(tmp_path).with_stand_ins(), "sim.launch.py", "world:=cluttered", "people:=0", "seed:=7", "nav2:=false",
        "stack:=false", "start:=1,2", f"params_file:={own}", count=1,
    )  # fmt: skip
    assert [call[:2] for call in found.all] == [("mm_nav_simulator", "/")]
    parameters = found.parameters("mm_nav_simulator")
    assert parameters["world"] == str(ROOT / "worlds/cluttered.sdf") and parameters["people"] == 0
    assert parameters["rate"] == 2.0 and parameters["life"] == "town.yaml"
    assert parameters["starts"] == "1.0,2.0,0.0" and parameters["robots"] == "" and parameters["seed"] == 7
    assert parameters["use_sim_time"] is False and parameters["autostart"] is False
    assert "/tf" not in found.remappings("mm_nav_simulator")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("gazebo", {}, "Gazebo is not installed|ros_gz_sim"),
        ("robot", {"camera": "realsense"}, "realsense2_camera, which is not installed: sudo apt install ros-"),
        ("robot", {"lidar": "velodyne"}, "apt install ros-.*-velodyne"),
        ("robot", {"camera": "none", "urdf": "none.urdf"}, "urdf 'none.urdf' does not exist"),
        ("robot", {"camera": "realsense", "camera_calibration": "a.yaml"}, "not for camera:=realsense: .* camera:=usb"),
        ("robot", {"camera_device": "0123"}, "camera_device is not for camera:=none"),
        ("robot", {"lidar": "ld08", "lidar_device": "/dev/null"}, "lidar_device is not for lidar:=ld08"),
        ("robot", {"lidar": "velodyne", "lidar_baudrate": "115200"}, "lidar_baudrate is not for lidar:=velodyne"),
        ("sim", {"rviz": "true"}, "rviz2"),
        ("sim", {"people": "1.5"}, "whole number"),
        ("sim", {"life": "none.yaml"}, "none.yaml"),
        ("replay", {}, "bag is not given"),
        ("replay", {"bag": "none"}, "none"),
    ],
)
def test_what_is_not_there_is_told_before_anything_starts(name: str, values: dict[str, str], words: str) -> None:
    from mm_nav.errors import MmNavError
    from mm_nav.ros.launching.gazebo import gazebo
    from mm_nav.ros.launching.hardware import hardware
    from mm_nav.ros.launching.replay import replayed
    from mm_nav.ros.launching.simulation import embedded

    start, known = {
        "gazebo": (gazebo, arguments.GAZEBO), "robot": (hardware, arguments.ROBOT), "sim": (embedded, arguments.SIM),
        "replay": (replayed, arguments.REPLAY),
    }[name]  # fmt: skip
    with pytest.raises(MmNavError, match=words) as refused:
        start(arguments.values_of(values, known), "")
    assert "\n" not in str(refused.value)


def test_a_wrong_argument_ends_with_one_line(tmp_path: Path) -> None:
    with launched(Prefix(tmp_path).with_stand_ins(), "sim.launch.py", "world:=moon") as running:
        assert running.process.wait(60.0) == 1
        assert running.log.count("world 'moon' does not exist") == 1 and "Traceback" not in running.log
        assert "process started" not in running.log


def test_which_gazebo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_nav.ros.launching.gazebo import release_of

    def program(name: str, text: str) -> None:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(shutil.which('sh') or '/bin/sh').parent}")
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None)
    with pytest.raises(ConfigError, match="sudo apt install ros-jazzy-ros-gz"):
        release_of("auto")
    # Gazebo 11 has a program gz that knows no `sim`.
    program("gz", "#!/bin/sh\necho 'world stats topic'\n")
    with pytest.raises(ConfigError, match="Gazebo is not installed"):
        release_of("harmonic")
    program("ign", "#!/bin/sh\n")
    assert release_of("auto") == "fortress"
    program("gz", _GZ)
    assert release_of("auto") == "harmonic" and release_of("fortress") == "fortress"
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert release_of("auto") == "fortress"


def test_an_including_launch_file_gives_arguments_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.actions import IncludeLaunchDescription

    from launch import LaunchDescription, LaunchDescriptionSource, LaunchService
    from mm_nav.ros.launching import stack

    monkeypatch.setattr(stack, "prepare_environment", lambda loopback: None)
    seen: list[arguments.Values] = []
    both = []
    for given in ({"robot": "generic", "rviz": "false", "model": ""}, {"people": "0"}):
        ours = stack.launch_description(arguments.SIM, lambda values, pushed: seen.append(values) or [])
        both.append(IncludeLaunchDescription(LaunchDescriptionSource(ours), launch_arguments=given.items()))
    service = LaunchService(argv=["seed:=0"])
    service.include_launch_description(LaunchDescription(both))
    assert service.run() == 0
    # What one file is given, the next one inherits, as ever in launch; its defaults are not given.
    assert [values.given for values in seen] == [{"robot", "rviz"}, {"robot", "rviz", "people"}]
    assert seen[1]["world"] == "apartment" and seen[1]["provider"] == "auto"


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A drive with scans, clouds and compressed pictures."""
    from mm_nav.bags.writer import open_writer
    from mm_nav.sim.simulator import CameraConfig, CloudConfig, SimConfig, Simulator
    from mm_nav.sim.world import load_world

    config = SimConfig(camera=CameraConfig(32, 24), cloud=CloudConfig(rings=4, columns=90))
    simulator = Simulator(load_world(ROOT / "worlds/apartment.sdf"), config)
    with open_writer(tmp_path / "drive", jpeg_quality=80) as writer:
        for _ in range(10):
            writer.add(simulator.observe())
            simulator.step(simulator.twist, 0.1)
    return tmp_path / "drive"


def test_player(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_nav.ros.launching import replay
    from mm_nav.ros.launching.options import stack_options

    values = arguments.values_of({"bag": str(drive), "rate": "2", "namespace": "alpha"}, arguments.REPLAY)
    options = stack_options(values, True)
    points = {**values, "obstacles": "points"}
    scans = {("guard", "points", False), ("inference", "points", False), ("navigator", "points", False)}
    own = replay.player(values, options)
    words = own.command
    assert words[1:3] == ["-m", "mm_nav.ros.bag_player"] and words[words.index("--rate") + 1] == "2"
    assert words.index("--ros-args") > words.index("--rate") and "__ns:=/alpha" in words and "--clouds" not in words
    # Its pictures are decoded, and its clouds are cut into scans.
    assert set(own.parameters) == scans | {("inference", "compressed", False)}
    assert "--clouds" in replay.player(points, options).command
    assert replay.player(points, options).parameters == own.parameters
    monkeypatch.setattr(replay, "package_prefix", lambda package: "/opt")
    played = replay.player(values, options)
    theirs = played.command
    assert theirs[:3] == ["ros2", "bag", "play"] and "/odom:=/alpha/odom" in theirs and "/scan:=/alpha/scan" in theirs
    assert "--clock" in theirs and "/tf:=/alpha/tf" in theirs
    topics = theirs[theirs.index("--topics") + 1 : theirs.index("--rate")]
    assert {"/odom", "/scan", "/tf_static"} <= set(topics)
    assert not any("cmd_vel" in topic or "points" in topic for topic in topics)
    assert "/camera/image_raw/compressed:=/alpha/image/compressed" in theirs
    assert set(played.parameters) == scans | {("inference", "compressed", True)}
    played = replay.player(points, options)
    assert "/points:=/alpha/points" in played.command and ("guard", "points", True) in played.parameters
    with pytest.raises(ConfigError, match="scans too, which are read: give obstacles:=points"):
        replay.player({**values, "points": "/points"}, options)
    with pytest.raises(ConfigError, match="no scans are read"):
        replay.player({**points, "scan": "/scan"}, options)
    with pytest.raises(ConfigError, match="ros2bag, which is not installed"):
        replay.player({**values, "player": "ros2bag"}, options)


def test_a_replayed_goal_has_time_until_the_recording_ends(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.actions import ExecuteProcess

    from mm_nav.ros.launching import replay

    commands: list[list[str]] = []

    class Seen(ExecuteProcess):
        def __init__(self, cmd: list[str], **others: object) -> None:
            commands.append(cmd)
            super().__init__(cmd=cmd, **others)

    monkeypatch.setattr(replay, "ExecuteProcess", Seen)
    replay.replayed(arguments.values_of({"bag": str(drive), "goal": "go on"}, arguments.REPLAY), "")
    goal = next(words for words in commands if "go" in words)
    assert goal[goal.index("go") :] == ["go", "go on", "--timeout", "86400"]
