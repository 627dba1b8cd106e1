"""stack_watch tells a service manager, played by a socket, how the stack is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_nav.ros import conversions
from mm_nav.ros.stack_watch import LIMIT_S, Reports, ServiceManager
from mm_nav.safety.inputs import Level

# Plays a stack: all three nodes report, then only some, for ever.
STACK = """
import sys, time, rclpy
from diagnostic_msgs.msg import DiagnosticArray
from mm_nav.ros import conversions, qos
from mm_nav.safety.inputs import Level
rclpy.init()
node = rclpy.create_node("played")
publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.STATUS)
silent, rounds = sys.argv[1].split(","), int(sys.argv[2])
names = [sys.argv[3] + name for name in ("/guard", "/inference", "/navigator")]
n = 0
while True:
    for name in names:
        if n < rounds or name not in silent:
            publisher.publish(conversions.diagnostics_message(name, "generic", "ok", {}, 0, Level.OK))
    n += 1
    time.sleep(0.1)
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(60.0)
        yield heard


def watch(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start stack_watch, and what it says to the played service manager."""
    environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
    command = [sys.executable, "-m", "mm_nav.ros.stack_watch", "--heartbeat", str(folder / "alive"), *words]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def until(heard: socket.socket, line: str) -> set[str]:
    """Return all that is said until a line is."""
    said: set[str] = set()
    while line not in said:
        said |= set(heard.recv(4096).decode().split("\n"))
    return said


def test_nodes_are_alive_while_they_report() -> None:
    reports = Reports(["/guard", "/alpha/guard"])
    assert reports.missing(0.0) == ("/guard", "/alpha/guard")
    reports.note(conversions.diagnostics_message("/guard", "r", "scan is silent", {}, 0, Level.ERROR), 1.0)
    reports.note(conversions.diagnostics_message("/motor", "r", "ok", {}, 0, Level.OK), 1.0)
    # An error is told by a node that lives.
    assert reports.missing(1.0 + LIMIT_S) == ("/alpha/guard",)
    assert reports.missing(1.1 + LIMIT_S) == ("/guard", "/alpha/guard")


def test_it_is_up_when_all_report_and_a_silent_one_ends_it(tmp_path: Path, manager: socket.socket) -> None:
    played = [sys.executable, "-c", STACK, "/alpha/guard", "40", "/alpha"]
    process = watch(tmp_path, "--namespace", "alpha", "--limit", "2", "--patience", "1", "--", *played)
    try:
        said = until(manager, "READY=1")
        assert "STATUS=all nodes are active" in said and "WATCHDOG=1" in said
        until(manager, "WATCHDOG=1")
        assert (tmp_path / "alive").exists()
        until(manager, "STATUS=waiting for /alpha/guard")
        assert process.wait(60) == 1 and not (tmp_path / "alive").exists()
    finally:
        process.kill()


def test_while_a_node_is_missing_it_is_not_up_and_a_signal_ends_all(tmp_path: Path, manager: socket.socket) -> None:
    process = watch(tmp_path, "--", sys.executable, "-c", STACK, "/navigator", "0", "")
    try:
        said = until(manager, "STATUS=waiting for /navigator")
        process.send_signal(signal.SIGTERM)
        said |= until(manager, "STOPPING=1")
        assert not said & {"READY=1", "WATCHDOG=1"}
        assert process.wait(60) != 0  # an interrupted program of Python
    finally:
        process.kill()


def test_it_ends_as_its_command_does(tmp_path: Path) -> None:
    assert watch(tmp_path, "--", "sh", "-c", "exit 3").wait(60) == 3
    assert watch(tmp_path, "--", "sh", "-c", "kill -9 $$").wait(60) == 128 + 9
    assert watch(tmp_path, "--", "no_such_program").wait(60) == 127


def test_a_service_manager_that_has_gone_is_no_reason_to_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ServiceManager("").tell("READY=1")
    ServiceManager(str(tmp_path / "nobody")).tell("READY=1")
    assert "cannot be told" in capsys.readouterr().err
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0mm_nav_test_{os.getpid()}")
        heard.settimeout(10.0)
        ServiceManager(f"@mm_nav_test_{os.getpid()}").tell("READY=1", "STATUS=here")
        assert heard.recv(100) == b"READY=1\nSTATUS=here"
