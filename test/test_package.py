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
    for node in ("simulator", "inference", "navigator", "guard"):
        assert f"mm_nav_{node} = mm_nav.ros.{node}_node:main" in scripts


def test_colcon_reads_setup_py(root: Path) -> None:
    identification = pytest.importorskip("colcon_python_setup_py.package_identification.python_setup_py")
    found = identification.get_setup_information(root / "setup.py")
    assert found["metadata"]["name"] == "mm_nav" and found["metadata"]["version"] == mm_nav.__version__
    assert found["python_requires"] == ">=3.10,<3.13"
