"""`colcon build` installs mm_nav as ROS expects it, and what is installed runs."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mm_nav.ros.node_list import EMBEDDED

ROOT = Path(__file__).parents[2]
COLCON = shutil.which("colcon", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
NOT_SOURCES = (".*", "build", "install", "log", "out", "data", "*.egg-info", "__pycache__", "*.pt", "test", "docs")

pytestmark = pytest.mark.skipif(COLCON is None, reason="colcon is not installed (make setup)")


def build(workspace: Path, *options: str) -> dict[str, str]:
    """Build mm_nav from a copy of this repository; return the environment of a shell that sourced the result."""
    shutil.copytree(ROOT, workspace / "src" / "mm_nav", ignore=shutil.ignore_patterns(*NOT_SOURCES))
    command = [str(COLCON), "build", "--packages-select", "mm_nav", *options]
    result = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    # colcon fills in what setup.py forgets of the ament index, for now.
    assert "doesn't explicitly install" not in result.stderr
    sourced = subprocess.run(
        ["bash", "-c", ". install/setup.bash && env -0"], cwd=workspace, capture_output=True, text=True
    )
    assert sourced.returncode == 0, sourced.stderr
    return dict(line.split("=", 1) for line in sourced.stdout.split("\0") if "=" in line)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A built workspace and its environment."""
    path = tmp_path_factory.mktemp("workspace")
    return path, build(path)


def test_the_prefix_holds_what_ros_looks_for(workspace: tuple[Path, dict[str, str]]) -> None:
    path, environment = workspace
    prefix = path / "install" / "mm_nav"
    assert environment["AMENT_PREFIX_PATH"].split(os.pathsep)[0] == str(prefix)
    assert (prefix / "share/ament_index/resource_index/packages/mm_nav").is_file()
    share = prefix / "share" / "mm_nav"
    for name in ("package.xml", "LICENSE", *(file.relative_to(ROOT) for top in ("launch", "config", "worlds")
                 for file in (ROOT / top).rglob("*") if file.is_file() and "__pycache__" not in file.parts)):  # fmt: skip
        assert (share / name).is_file(), f"{name} is not installed"
    assert list((share / "models").glob("*.onnx"))
    programs = {file.name for file in (prefix / "lib" / "mm_nav").iterdir()}
    assert {"mm-nav", *(spec.executable for spec in EMBEDDED)} <= programs
    for name in programs:
        first = (prefix / "lib" / "mm_nav" / name).read_text().splitlines()[0]
        # The interpreter that has the libraries: colcon's, which is that of the environment or of the system's ROS.
        interpreter = Path(first.removeprefix("#!").split()[0])
        assert first.startswith("#!") and interpreter.exists() and os.access(prefix / "lib/mm_nav" / name, os.X_OK)


def test_installed_code_finds_installed_resources(workspace: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    path, environment = workspace
    code = "import mm_nav; from mm_nav.resources import resource_path; print(mm_nav.__file__, resource_path('config/guard.yaml'))"
    result = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(str(path / "install") in name for name in result.stdout.split()), result.stdout


def test_an_installed_node_refuses_a_wrong_parameter(workspace: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    path, environment = workspace
    command = [str(path / "install/mm_nav/lib/mm_nav/mm_nav_guard"), "--ros-args", "-p", "margin:=9.0"]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "must be between 0.0 and 0.5" in result.stderr, result.stderr


def test_an_installed_node_starts_with_its_installed_parameters(
    workspace: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    path, environment = workspace
    prefix = path / "install" / "mm_nav"
    command = [str(prefix / "lib/mm_nav/mm_nav_guard"), "--ros-args",
               "--params-file", str(prefix / "share/mm_nav/config/guard.yaml")]  # fmt: skip
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        while line and "active" not in line:
            line = process.stderr.readline()
        assert "[guard]: active" in line
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_a_workspace_of_links_follows_the_sources(tmp_path: Path) -> None:
    environment = build(tmp_path, "--symlink-install")
    source = tmp_path / "src" / "mm_nav"
    (source / "config" / "guard.yaml").write_text("guard: {ros__parameters: {margin: 0.123}}\n")
    (source / "mm_nav" / "added.py").write_text("THERE = True\n")
    code = "import mm_nav.added; from mm_nav.resources import resource_path; print(resource_path('config/guard.yaml').read_text())"
    result = subprocess.run([sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True)
    assert result.returncode == 0 and "0.123" in result.stdout, result.stderr
    installed = tmp_path / "install/mm_nav"
    assert "0.123" in (installed / "share/mm_nav/config/guard.yaml").read_text()
    assert (installed / "share/ament_index/resource_index/packages/mm_nav").is_file()
    assert (installed / "lib/mm_nav/mm_nav_guard").is_file()


def test_colcon_test_runs_tests_that_exist() -> None:
    chosen = yaml.safe_load((ROOT / "colcon.pkg").read_text())
    assert chosen["name"] == "mm_nav" and chosen["python-testing"] == "pytest"
    assert chosen["pytest-args"] and all((ROOT / name).exists() for name in chosen["pytest-args"])


@pytest.mark.skipif(
    importlib.util.find_spec("ros2launch") is None or importlib.util.find_spec("ros2cli") is None,
    reason="ros2 is not installed; there is no wheel of it",
)
def test_ros2_finds_the_installed_launch_files(workspace: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    _, environment = workspace
    paths = (environment.get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", ""))
    environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    for arguments, expected in ((("launch", "mm_nav", "sim.launch.py", "-s"), "'world':"),
                                (("pkg", "executables", "mm_nav"), "mm_nav mm_nav_guard")):  # fmt: skip
        code = "import sys; from ros2cli.cli import main; sys.exit(main(argv=sys.argv[1:]))"
        result = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, cwd=tmp_path,
                                capture_output=True, text=True, timeout=60)  # fmt: skip
        assert result.returncode == 0 and expected in result.stdout, result.stdout + result.stderr
