"""Runs a launch file and tells systemd and Docker whether the stack in it lives.

    python3 -m mm_nav.ros.stack_watch --heartbeat /tmp/mm_nav_alive -- ros2 launch mm_nav robot.launch.py

Launch files start a node anew that dies; one that hangs nobody notices. Guard, inference and navigator each report in
/diagnostics once a second while they are active. When all have, systemd is told that the service is up; while all do, its watchdog
is fed, and the heartbeat file is touched. What systemd is told is its notification protocol, sd_notify(3): datagrams to
$NOTIFY_SOCKET.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from mm_nav.ros import conversions, qos
from mm_nav.ros.node_list import STACK
from mm_nav.ros.topics import topics
from mm_nav.ros.transports import set_transports

# Nodes report every second at the latest; so long they may be silent.
LIMIT_S = 5.0
_LOOK_S = 0.5
# Launch kills after 15 s what does not end.
_END_S = 25.0
_LOST = 127  # as shells say it of a program that is not there


class Reports:
    """When each node was heard of. nodes: fully qualified names. limit_s: silent for longer = not alive.

    Pure: the time is given.
    """

    def __init__(self, nodes: Sequence[str], limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._heard: dict[str, float | None] = dict.fromkeys(nodes)

    def note(self, message: DiagnosticArray, now_s: float) -> None:
        """Take a message of /diagnostics into account."""
        for node in self._heard:
            if conversions.problems_of(message, node) is not None:
                self._heard[node] = now_s

    def missing(self, now_s: float) -> tuple[str, ...]:
        """Return the nodes that were not heard of lately; () = all live."""
        return tuple(node for node, at in self._heard.items() if at is None or now_s - at > self._limit_s)


class ServiceManager:
    """Tells systemd how the service is. address: $NOTIFY_SOCKET; "" = nobody listens."""

    def __init__(self, address: str) -> None:
        # "@" stands for the zero byte of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None

    def tell(self, *lines: str) -> None:
        """Send lines such as READY=1. A manager that has gone is no reason to stop driving."""
        if self._socket is not None:
            try:
                self._socket.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                sys.stderr.write(f"the service manager cannot be told ({error})\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and report on the stack until it ends; return its exit status, 128 + N when signal N ended it."""
    parser = argparse.ArgumentParser(prog="stack_watch", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--heartbeat", type=Path, metavar="FILE", help="touched while all nodes report")
    parser.add_argument("--namespace", default="", metavar="NAME", help="of the stack, such as alpha")
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, metavar="S", help=f"longest silence of a node (default {LIMIT_S:g})"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="S",
        help="end the command with status 1 when a node that reported has been silent for so long; 0 = never (systemd's watchdog "
        "does it, Docker has none)",
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what is run, after --")
    args = parser.parse_args(argv)
    prefix = f"/{args.namespace.strip('/')}".rstrip("/")
    reports = Reports([f"{prefix}/{node.name}" for node in STACK], args.limit)
    return _run(args.command, prefix, reports, args.heartbeat, args.patience or math.inf)


def _run(command: Sequence[str], namespace: str, reports: Reports, heartbeat: Path | None, patience_s: float) -> int:
    manager = ServiceManager(os.environ.get("NOTIFY_SOCKET", ""))
    # Only this process speaks for the service.
    environment = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_PID")}
    set_transports()
    if heartbeat is not None:
        heartbeat.unlink(missing_ok=True)
    children: list[subprocess.Popen[bytes]] = []
    # Launch ends everything in order when it is interrupted. Set before it starts: it would ignore what a job of a shell ignores.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _end(children, manager))
    try:
        children.append(subprocess.Popen(command, env=environment))
    except OSError as error:
        sys.stderr.write(
            f"error: {command[0]} cannot be run ({error.strerror}): source ROS 2 and the workspace first\n"
        )
        return _LOST
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("stack_watch", namespace=namespace, start_parameter_services=False)
    node.create_subscription(
        DiagnosticArray, topics().diagnostics, lambda m: reports.note(m, time.monotonic()), qos.STATUS
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not _watch(children[0], executor, reports, manager, heartbeat, patience_s):
            _stop(children[0])
            return 1
    finally:
        node.destroy_node()
        rclpy.shutdown()
        if heartbeat is not None:
            heartbeat.unlink(missing_ok=True)
    status = children[0].returncode
    return status if status >= 0 else 128 - status


def _watch(
    child: subprocess.Popen[bytes],
    executor: SingleThreadedExecutor,
    reports: Reports,
    manager: ServiceManager,
    heartbeat: Path | None,
    patience_s: float,
) -> bool:
    """Watch until the command ends; return False when a node has been silent for longer than patience_s instead."""
    look_at, alive_at, before, ready = 0.0, math.inf, None, False
    while child.poll() is None:
        executor.spin_once(timeout_sec=_LOOK_S)
        now = time.monotonic()
        if now < look_at:
            continue
        look_at = now + _LOOK_S
        missing = reports.missing(now)
        if missing != before:
            before = missing
            manager.tell(f"STATUS=waiting for {', '.join(missing)}" if missing else "STATUS=all nodes are active")
        if missing:
            if now - alive_at > patience_s:
                sys.stderr.write(f"error: {', '.join(missing)} silent for {patience_s:g} s: the stack is ended\n")
                return False
            continue
        alive_at = now
        manager.tell("WATCHDOG=1", *(() if ready else ("READY=1",)))
        ready = True
        if heartbeat is not None:
            heartbeat.touch()
    return True


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _end(children: Sequence[subprocess.Popen[bytes]], manager: ServiceManager) -> None:
    manager.tell("STOPPING=1")
    if not children:
        raise SystemExit(0)
    if children[0].poll() is None:
        children[0].send_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
