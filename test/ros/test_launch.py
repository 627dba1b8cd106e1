"""The list of nodes is complete; the launch files load, their arguments are described, and wrong ones are refused."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from mm_nav.errors import ConfigError, MmNavError
from mm_nav.geometry import Pose2D
from mm_nav.ros.launching import arguments
from mm_nav.ros.launching.options import (
    check_params_file,
    namespace_of,
    robot_entries,
    stack_options,
    topic_remappings,
    world_of,
)
from mm_nav.ros.node_list import EMBEDDED, NodeSpec

ROOT = Path(__file__).parents[2]
FILES = {"sim": arguments.SIM, "gazebo": arguments.GAZEBO, "robot": arguments.ROBOT, "replay": arguments.REPLAY}


def given(name: str, **values: str) -> arguments.Values:
    return arguments.values_of(values, FILES[name])


@pytest.mark.parametrize("spec", EMBEDDED, ids=lambda spec: spec.name)
def test_every_node_has_a_program_and_known_parameters(spec: NodeSpec) -> None:
    nodes = re.search(r"^NODES = [(\[](.*?)[)\]]$", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)
    assert nodes is not None and f'"{spec.name}"' in nodes[1], f"setup.py installs no {spec.executable}"
    assert callable(importlib.import_module(spec.module).main)
    assert set(yaml.safe_load((ROOT / spec.parameters).read_text())) <= {f"/**/{spec.name}", spec.name, "/**"}


@pytest.mark.parametrize("name", FILES)
def test_arguments_are_described(name: str) -> None:
    names = [argument.name for argument in FILES[name]]
    assert len(set(names)) == len(names) and {"robot", "namespace", "params_file", "log_level", "on_exit"} <= set(names)
    for argument in FILES[name]:
        assert len(argument.text) > 15, argument.name
        assert not argument.choices or argument.default in argument.choices, argument.name
    assert (ROOT / f"launch/{name}.launch.py").is_file()


def test_every_launch_file_is_known_here() -> None:
    assert {path.name for path in (ROOT / "launch").iterdir() if path.is_file()} == {f"{n}.launch.py" for n in FILES}


@pytest.mark.parametrize("name", FILES)
def test_launch_file_loads_and_declares_its_arguments(name: str) -> None:
    # The folder launch/ of this repository can pass for a package of that name, so ask for a module inside.
    pytest.importorskip("launch.actions", reason="ROS 2 launch is not installed; there is no wheel of it")
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed; there is no wheel of it")
    found = importlib.util.spec_from_file_location(f"{name}_launch", ROOT / "launch" / f"{name}.launch.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    declared = module.generate_launch_description().get_launch_arguments()
    assert [argument.name for argument in declared] == [argument.name for argument in FILES[name]]
    for argument, wanted in zip(declared, FILES[name], strict=True):
        # Launch adds what may be chosen.
        assert argument.description.startswith(wanted.text) and argument.default_value[0].text == wanted.default


def test_a_misspelt_argument_is_told_and_another_file_s_is_not() -> None:
    with pytest.raises(ConfigError, match="did you mean world"):
        arguments.check_names(["wrold", "rate"], arguments.SIM)
    arguments.check_names(["world", "speech_recognition"], arguments.SIM)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"robot": "r2d2"}, "generic"),
        ({"robots": "alpha,alpha"}, "name of its own"),
        ({"robots": "alpha,3po"}, "no ROS name"),
        ({"robots": "alpha,"}, "no ROS name"),
        ({"robot": "generic,jackal"}, "2 kinds for 1 robot"),
        ({"robots": "a,b", "robot": "generic,jackal,omni"}, "3 kinds for 2 robots"),
        ({"start": "1,2; 3,4"}, "2 poses for 1 robot"),
        ({"start": "here"}, "x,y,yaw"),
    ],
)
def test_robots_that_do_not_fit_are_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        robot_entries(given("sim", **values))


def test_robots() -> None:
    one = robot_entries(given("sim", start="1,2"))
    assert [(entry.name, entry.robot, entry.start) for entry in one] == [("", "generic", Pose2D(1.0, 2.0, 0.0))]
    two = robot_entries(given("sim", robots="alpha, beta", robot="generic,jackal", start="1,2,0.5; -3,4"))
    assert [(entry.name, entry.robot) for entry in two] == [("alpha", "generic"), ("beta", "jackal")]
    assert [entry.start for entry in two] == [Pose2D(1.0, 2.0, 0.5), Pose2D(-3.0, 4.0, 0.0)]
    assert {entry.robot for entry in robot_entries(given("sim", robots="a,b", robot="omni"))} == {"omni"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "none.onnx"}, r"model 'none.onnx' does not exist"),
        ({"device": "toaster"}, "orin-nano"),
        ({"params_file": "none.yaml"}, "params_file 'none.yaml' does not exist"),
        ({"respawn_delay": "soon"}, "number between 0 and 600"),
        ({"namespace": "3po"}, "no ROS name"),
        ({"scan": "a b"}, "no topic's name"),
        ({"robot": "none.yaml"}, "none.yaml"),
    ],
)
def test_options_that_cannot_be_are_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(MmNavError, match=words) as refused:
        stack_options(given("robot", **values), False)
    assert "\n" not in str(refused.value)


def test_options() -> None:
    options = stack_options(
        given("robot", namespace="alpha/", twist_stamped="false", image="/cam/image"), True, "/fleet"
    )
    assert options.namespace == "/fleet/alpha" and options.use_sim_time and not options.respawn
    assert options.tf_remappings == (("/tf", "tf"), ("/tf_static", "tf_static"))
    assert options.parameters == (("guard", "twist_stamped", False),) and options.provider == ""
    # What equals the default was given all the same.
    options_given = stack_options(given("robot", localization="false", provider="auto"), True)
    assert options_given.parameters == (("navigator", "localization", False),) and options_given.provider == "auto"
    assert dict(options.remappings) == {"image": "/cam/image", "image/compressed": "/cam/image/compressed"}
    assert stack_options(given("sim"), True).tf_remappings == ()
    assert topic_remappings(given("robot", scan="scan")) == ()
    assert [namespace_of(*names) for names in (("",), ("/a/b",), ("/a", "/x"), ("a", "/"))] == ["", "/a/b", "/a", "/a"]


def test_what_localises_and_where_obstacles_come_from() -> None:
    options = stack_options(
        given("robot", localization="true", obstacles="points", enclaves="/mm_nav/"), use_sim_time=False
    )
    nodes = [(node, name) for node, name, value in options.parameters if value]
    assert nodes == [("navigator", "localization"), *((node, "points") for node in ("guard", "inference", "navigator"))]
    assert dict(options.remappings) == {"map": "navigator/map"} and options.enclaves == "/mm_nav"
    with pytest.raises(ConfigError, match="enclaves is 'mm_nav'"):
        stack_options(given("sim", enclaves="mm_nav"), use_sim_time=True)


def test_worlds() -> None:
    assert world_of("").name == "apartment.sdf" and world_of("office") == ROOT / "worlds/office.sdf"
    assert world_of(str(ROOT / "worlds/cluttered.sdf")).is_absolute()
    with pytest.raises(ConfigError, match="apartment, cluttered, office"):
        world_of("moon")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gaurd: {ros__parameters: {margin: 0.1}}", "no node here is named gaurd"),
        ("guard: {margin: 0.1}", "guard|margin"),
        ("- 1", "mapping"),
        ("alpha: {gaurd: {ros__parameters: {margin: 0.1}}}", "no node here is named gaurd"),
        ("simulator: {ros__parameters: {people: 1}}", "no node here is named simulator"),
        ("nav2_bridge: {ros__parameters: {use_sim_time: true}}", "no node here is named nav2_bridge"),
        ("/**: {ros__parameters: {robot: omni}}", "has a robot, of which others must know too: give robot:=omni"),
    ],
)
def test_files_of_parameters_for_nobody_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        check_params_file(path)


@pytest.mark.parametrize(
    "text",
    [
        "/**: {ros__parameters: {use_sim_time: true}}",
        "/alpha/guard: {ros__parameters: {margin: 0.1}}",
        "alpha: {guard: {ros__parameters: {margin: 0.1}}}",
        "/**/navigator: {ros__parameters: {map_period: 2.0}}",
    ],
)
def test_files_of_parameters(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    check_params_file(path)


def test_drivers_that_are_not_started_may_not_be_named(tmp_path: Path) -> None:
    pytest.importorskip("launch.actions", reason="ROS 2 launch is not installed; there is no wheel of it")
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed; there is no wheel of it")
    from mm_nav.ros.launching.hardware import hardware

    path = tmp_path / "own.yaml"
    path.write_text("usb_cam: {ros__parameters: {framerate: 30.0}}")
    with pytest.raises(ConfigError, match="no node here is named usb_cam"):
        hardware(given("robot", params_file=str(path)), "")


def test_nodes_that_a_file_of_parameters_may_name(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("nav2_bridge: {ros__parameters: {use_sim_time: true}}")
    stack_options(given("robot", nav2="true", params_file=str(path)), False)
    path.write_text("guard: {ros__parameters: {robot: omni}}")
    check_params_file(path, given=("robot",))
