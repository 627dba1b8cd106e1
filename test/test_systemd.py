"""config/systemd: units that systemd takes, and that start what there is."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mm_nav.ros.launching import arguments
from mm_nav.runtime.edge import edge_devices

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "config" / "systemd"
UNIT = (FOLDER / "mm_nav.service").read_text()


def environment() -> dict[str, str]:
    """Return what the environment file sets."""
    lines = (FOLDER / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def executed() -> list[str]:
    """Return the service's command as systemd makes it: quotes first, then variables; $NAME as a word becomes several."""
    line = re.search(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    assert line is not None
    values, found = environment(), []
    for word in shlex.split(line[1]):
        if re.fullmatch(r"\$\w+", word):
            found += values[word[1:]].split()
        else:
            found.append(re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], word).replace("$$", "$"))
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", ["mm_nav", "mm_nav_clocks"])
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    for path in FOLDER.glob("*.service"):
        # Its program is a Jetson's.
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/bin/jetson_clocks", "/bin/true"))
    shutil.copytree(FOLDER / "mm_nav.service.d", tmp_path / "mm_nav.service.d")
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"{name}.service"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    assert told.returncode == 0 and not told.stderr, told.stderr


def test_the_service_starts_what_there_is(tmp_path: Path) -> None:
    words = executed()
    assert words[:2] == ["/bin/bash", "-c"]
    module = words[words.index("-m") + 1]
    assert importlib.util.find_spec(module) is not None
    launch = words[words.index("ros2") :]
    assert launch[:3] == ["ros2", "launch", "mm_nav"] and (ROOT / "launch" / launch[3]).is_file()
    known = {argument.name: argument for argument in arguments.ROBOT}
    given = dict(word.split(":=", 1) for word in launch[4:])
    for name, value in given.items():
        assert name in known and (not known[name].choices or value in known[name].choices), f"{name}:={value}"
    assert given["device"] in edge_devices() and (ROOT / f"config/robots/{given['robot']}.yaml").is_file()
    assert given["on_exit"] == "respawn"


def test_its_command_gets_through_the_shell(tmp_path: Path) -> None:
    words = [word.replace("/opt/", f"{tmp_path}/") for word in executed()]
    for name in ("ros/humble", "mm_nav"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "setup.bash").write_text(f"export PATH={tmp_path}:$PATH\n")
    stub = tmp_path / "python3"
    stub.write_text('#!/bin/sh\nfor word in "$@"; do echo "<$word>"; done\n')
    stub.chmod(0o755)
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:7] == [
        "<-m>", "<mm_nav.ros.stack_watch>", "<--namespace>", "<>", "<-->", "<ros2>", "<launch>"
    ]  # fmt: skip
    assert "<device:=orin-nano>" in told.stdout


def test_every_variable_of_the_unit_is_in_the_environment_file() -> None:
    used = set(re.findall(r"(?<!\$)\$\{?(MM_NAV_\w+|ROS_DISTRO)", UNIT))
    assert used and used <= set(environment())


def test_it_is_started_after_sensors_network_and_clocks() -> None:
    after = re.search(r"^After=(.*)$", UNIT, re.MULTILINE)
    assert after is not None
    assert {"network-online.target", "nvpmodel.service", "mm_nav_clocks.service"} <= set(after[1].split())
    rule = (FOLDER / "99-mm_nav.rules").read_text()
    lidar = (FOLDER / "mm_nav.service.d/lidar.conf").read_text()
    # systemd has a unit of a device only where udev tags it.
    assert 'SYMLINK+="lidar"' in rule and 'TAG+="systemd"' in rule and "After=dev-lidar.device" in lidar
    assert "lidar_device:=/dev/lidar" in (FOLDER / "env").read_text()
    # Whose own bring-up runs: a second driver or robot_state_publisher would be in its way.
    words = environment()["MM_NAV_ARGUMENTS"].split()
    assert "robot:=turtlebot4" in words and "urdf:=none" in words
    assert not any(word.startswith(("lidar:=", "camera:=")) for word in words)


def test_what_hides_devices_is_left_out() -> None:
    for setting in (
        "PrivateDevices",
        "ProtectClock",
        "DeviceAllow",
        "MemoryDenyWriteExecute",
        "PrivateNetwork",
        "PrivateIPC",
    ):
        assert not re.search(rf"^{setting}=", UNIT, re.MULTILINE), (
            f"{setting} hides the GPU, serial ports or other ROS processes"
        )
    for setting in ("NoNewPrivileges=yes", "ProtectSystem=strict", "User=mm_nav", "Restart=on-failure", "WatchdogSec="):
        assert re.search(rf"^{setting}", UNIT, re.MULTILINE), setting
