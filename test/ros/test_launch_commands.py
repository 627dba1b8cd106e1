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

_GZ = "#!/bin/sh\n[ \"$1\" = help ] && echo 'sim  Run and manage the Gazebo Simulator.' && exit 0\n"


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


def test_gazebo_with_two_robots(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path).with_stand_ins(
        ros_gz_sim="create",
        ros_gz_bridge="parameter_bridge",
        robot_state_publisher="robot_state_publisher",
        bin="gz",
    )
    program = tmp_path / "bin/gz"
    program.write_text(_GZ + program.read_text().partition("\n")[2])
    own = tmp_path / "own.yaml"
    own.write_text("/**/guard: {ros__parameters: {margin: 0.07, robot: omni}}")
    found = calls(
        prefix, "gazebo.launch.py", "robots:=alpha,beta", "robot:=generic,jackal", "world:=office", "start:=1,2,0.5;3,4",
        f"params_file:={own}", "log_level:=debug", "provider:=cpu", count=13,
    )  # fmt: skip
    # Server and window, each a process of its own.
    gazebo = [words for name, _, words in found.all if name == "gz"]
    assert sorted(gazebo) == [["sim", "-g"], ["sim", "-s", "-r", str(ROOT / "worlds/office.sdf")]]
    guard = found.parameters("mm_nav_guard", "/beta")
    assert guard["robot"] == "jackal" and guard["margin"] == 0.07 and guard["use_sim_time"] is True
    assert guard["autostart"] is False and guard["rate"] == 20.0
    # What is left at its default is for the files to say.
    assert found.parameters("mm_nav_guard", "/alpha")["robot"] == "omni"
    assert found.parameters("mm_nav_inference", "/alpha")["provider"] == "cpu"
    assert found.remappings("mm_nav_navigator", "/alpha") == {
        "__node": "navigator", "__ns": "/alpha", "/tf": "tf", "/tf_static": "tf_static",
    }  # fmt: skip
    assert "alpha.guard:=debug" in found.words("mm_nav_guard", "/alpha")
    assert found.remappings("robot_state_publisher", "/beta")["/tf"] == "tf"
    assert "<robot" in str(found.parameters("robot_state_publisher", "/beta")["robot_description"])
    bridge = found.parameters("parameter_bridge", "")
    assert str(bridge["config_file"]).endswith("bridge.yaml") and bridge["use_sim_time"] is True
    assert any(name.startswith("qos_overrides./alpha/scan") for name in bridge)
    created = found.words("create", "")
    assert created[created.index("-name") + 1] in ("alpha", "beta") and "-file" in created
    # Models and the bridge's list were there when they were wanted, and are gone.
    assert created[created.index("-file") + 1] in found.files
    assert not Path(created[created.index("-file") + 1]).parent.exists()


def test_robot_with_drivers_in_a_namespace(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path).with_stand_ins(
        realsense2_camera="realsense2_camera_node",
        rplidar_ros="rplidar_composition",
        robot_state_publisher="robot_state_publisher",
    )
    found = calls(
        prefix, "robot.launch.py", "namespace:=alpha", "camera:=realsense", "camera_device:=0123", "lidar:=rplidar",
        "lidar_device:=/dev/null", "scan:=lidar/scan", "twist_stamped:=false", "device:=orin-nano", "enclaves:=/mm_nav", count=6,
    )  # fmt: skip
    assert "/mm_nav/guard" in found.words("mm_nav_guard", "/alpha")
    lidar = found.parameters("rplidar_composition", "/alpha")
    assert (
        lidar["frame_id"] == "base_scan" and lidar["serial_port"] == "/dev/null" and lidar["serial_baudrate"] == 115200
    )
    # What the driver calls it is what the stack listens to.
    assert found.remappings("rplidar_composition", "/alpha")["scan"] == "lidar/scan"
    assert found.remappings("mm_nav_guard", "/alpha")["scan"] == "lidar/scan"
    camera = found.remappings("realsense2_camera_node", "/alpha")
    assert camera["~/color/image_raw"] == "image" and camera["~/color/camera_info"] == "camera_info"
    # A serial number is a text, whatever it looks like.
    assert found.parameters("realsense2_camera_node", "/alpha")["serial_no"] == "0123"
    guard, inference = (found.parameters(f"mm_nav_{name}", "/alpha") for name in ("guard", "inference"))
    assert guard["twist_stamped"] is False and guard["use_sim_time"] is False
    assert inference["device"] == "orin-nano" and inference["model"] == ""
    assert "mm_nav_simulator" not in [name for name, _, _ in found.all]


def test_simulator_with_its_parameters(tmp_path: Path) -> None:
    found = calls(
        Prefix(tmp_path).with_stand_ins(), "sim.launch.py", "world:=cluttered", "people:=3", "seed:=7", "nav2:=false",
        "stack:=false", "start:=1,2", count=1,
    )  # fmt: skip
    assert [call[:2] for call in found.all] == [("mm_nav_simulator", "/")]
    parameters = found.parameters("mm_nav_simulator")
    assert parameters["world"] == str(ROOT / "worlds/cluttered.sdf") and parameters["people"] == 3
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


def test_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_nav.bags.writer import open_writer
    from mm_nav.ros.launching import replay
    from mm_nav.ros.launching.options import stack_options
    from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
    from mm_nav.sim.world import load_world

    simulator = Simulator(load_world(ROOT / "worlds/apartment.sdf"), SimConfig(camera=CameraConfig(32, 24)))
    path = tmp_path / "drive"
    with open_writer(path) as writer:
        for _ in range(10):
            writer.add(simulator.observe())
            simulator.step(simulator.twist, 0.1)
    values = arguments.values_of({"bag": str(path), "rate": "2", "namespace": "alpha"}, arguments.REPLAY)
    options = stack_options(values, True)
    own = replay.player(values, options)
    assert own[1:3] == ["-m", "mm_nav.ros.bag_player"] and own[own.index("--rate") + 1] == "2"
    assert own.index("--ros-args") > own.index("--rate") and "__ns:=/alpha" in own
    monkeypatch.setattr(replay, "package_prefix", lambda package: "/opt")
    theirs = replay.player(values, options)
    assert theirs[:3] == ["ros2", "bag", "play"] and "/odom:=/alpha/odom" in theirs and "/scan:=/alpha/scan" in theirs
    assert "--clock" in theirs and "/tf:=/alpha/tf" in theirs
    played = theirs[theirs.index("--topics") + 1 : theirs.index("--rate")]
    assert {"/odom", "/scan", "/tf_static"} <= set(played) and not any("cmd_vel" in topic for topic in played)
    with pytest.raises(ConfigError, match="ros2bag, which is not installed"):
        replay.player({**values, "player": "ros2bag"}, options)
