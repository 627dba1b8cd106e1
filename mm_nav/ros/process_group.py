"""Starts the stack's nodes as processes of their own, watches them, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from mm_nav.resources import resource_path
from mm_nav.ros.namespaces import TF_REMAPPINGS
from mm_nav.ros.node_list import SIMULATOR, NodeSpec
from mm_nav.ros.transports import set_transports, transport_defaults

# How far ROS reaches. Humble knows only the second, which later releases warn of.
REACH = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
if os.environ.get("ROS_DISTRO") == "humble":
    REACH["ROS_LOCALHOST_ONLY"] = "1"
# Per process, beside the transports: loopback only; no spinning threads.
ENVIRONMENT = {
    **REACH,
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


def prepare_environment(domain_id: int | None = None, loopback: bool = True) -> None:
    """Set for this process too what its environment does not say; call before rclpy is initialised.

    loopback: False leaves alone how far it reaches, for what talks to robots on other machines.
    """
    set_transports()
    for name, value in ENVIRONMENT.items():
        if loopback or name not in REACH:
            os.environ.setdefault(name, value)
    if domain_id is not None:
        os.environ["ROS_DOMAIN_ID"] = str(domain_id)


def node_environment() -> dict[str, str]:
    """Return the environment of a node that is started here: this process's, and what that does not say. Loopback in any case: a
    robot on the network must not hear what a simulated one is told."""
    return {**ENVIRONMENT, **transport_defaults(), **os.environ, **REACH}


class ProcessGroup:
    """The processes of some nodes; a context manager that ends them all.

    parameters: by a node's name, and for that of one robot by "alpha/guard", which goes before. robots: namespaces, in each of
    which all nodes but the simulator run once; () = once, without. processes: by name, "guard" or "alpha/guard".
    """

    def __init__(
        self,
        nodes: Iterable[NodeSpec],
        log_dir: Path,
        parameters: Mapping[str, Mapping[str, object]] | None = None,
        use_sim_time: bool = True,
        robots: Sequence[str] = (),
    ) -> None:
        self._nodes: dict[str, tuple[NodeSpec, str]] = {}
        for node in nodes:
            for robot in robots if robots and node.name != SIMULATOR.name else ("",):
                self._nodes[f"{robot}/{node.name}".lstrip("/")] = node, robot
        self._logs = log_dir
        self._parameters = {name: dict(values) for name, values in (parameters or {}).items()}
        self._sim_time = use_sim_time
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> ProcessGroup:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            for name, (node, robot) in self._nodes.items():
                with self.log(name).open("wb") as log:
                    self.processes[name] = subprocess.Popen(
                        self._command(name, node, robot), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                        env=node_environment(), start_new_session=True,
                    )  # fmt: skip
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, name: str, node: NodeSpec, robot: str) -> list[str]:
        command = [sys.executable, "-m", node.module, "--ros-args"]
        if robot:
            for rule in (f"__ns:=/{robot}", *TF_REMAPPINGS):
                command += ["-r", rule]
        if node.parameters:
            command += ["--params-file", str(resource_path(node.parameters))]
        # The simulator makes the time that the others follow.
        values = {
            "use_sim_time": self._sim_time and node.name != SIMULATOR.name,
            **self._parameters.get(node.name, {}),
            **self._parameters.get(name, {}),
        }
        for key, value in values.items():
            command += ["-p", f"{key}:={_yaml(value)}"]
        return command

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self._logs / f"{name.replace('/', '.')}.log"

    def dead(self) -> dict[str, int]:
        """Return the exit status of every process that has ended."""
        return {name: process.returncode for name, process in self.processes.items() if process.poll() is not None}

    def stop(self, patience_s: float = 4.0) -> None:
        """End all: interrupt, then terminate, then kill."""
        for sign, wait in ((signal.SIGINT, patience_s), (signal.SIGTERM, 1.0), (signal.SIGKILL, 2.0)):
            alive = [process for process in self.processes.values() if process.poll() is None]
            for process in alive:
                process.send_signal(sign)
            until = time.monotonic() + wait
            while time.monotonic() < until and any(process.poll() is None for process in alive):
                time.sleep(0.02)


def last_words(log: Path, lines: int = 3) -> str:
    """Return the last lines of a log, for error messages."""
    try:
        return " | ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
