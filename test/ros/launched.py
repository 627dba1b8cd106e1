"""`ros2 launch` as a process, the packages it finds, and what is left of it."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODES = ("simulator", "guard", "inference", "navigator", "nav2_bridge")
_ROS2 = "import sys; from ros2cli.cli import main; sys.exit(main())"
# Says what it was called with and what its parameter files hold, in a file of its own, and waits to be ended.
_RECORDER = """\
#!/bin/sh
(
  echo "CALL $0 $*"
  for word in "$@"; do if [ -f "$word" ]; then echo "FILE $word"; cat "$word"; echo; fi; done
) > {calls}/$$.part
mv {calls}/$$.part {calls}/$$.txt
exec sleep 600
"""


def needs_launch() -> None:
    """Skip where ROS 2's launch is not installed."""
    # The folder launch/ of this repository can pass for a package of that name, so ask for modules inside.
    pytest.importorskip("launch.actions", reason="ROS 2 launch is not installed; there is no wheel of it")
    pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed; there is no wheel of it")
    pytest.importorskip("ros2launch", reason="ros2launch is not installed; there is no wheel of it")


class Prefix:
    """An install folder in which packages are found. calls: folder in which the stand-ins write how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        self.calls.mkdir()
        share = folder / "share" / "mm_nav"
        (share / "launch").mkdir(parents=True)
        for path in (ROOT / "launch").glob("*.py"):
            (share / "launch" / path.name).symlink_to(path)
        self._index("mm_nav")

    def _index(self, package: str) -> None:
        index = self.folder / "share/ament_index/resource_index/packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        (self.folder / "share" / package).mkdir(parents=True, exist_ok=True)

    def with_nodes(self) -> Prefix:
        """Give it the real nodes."""
        folder = self.folder / "lib/mm_nav"
        folder.mkdir(parents=True)
        for name in NODES:
            program = Path(sys.executable).parent / f"mm_nav_{name}"
            if program.exists():
                (folder / program.name).symlink_to(program)
        if not (folder / "mm_nav_guard").exists():
            pytest.skip("mm_nav is not installed with its programs (make setup)")
        return self

    def with_stand_ins(self, **programs: str | tuple[str, ...]) -> Prefix:
        """Give it packages with programs that only say how they were called; those of bin= go on the PATH."""
        programs = {"mm_nav": tuple(f"mm_nav_{name}" for name in NODES), **programs}
        for package, names in programs.items():
            folder = self.folder / ("bin" if package == "bin" else f"lib/{package}")
            folder.mkdir(parents=True, exist_ok=True)
            if package != "bin":
                self._index(package)
            for name in (names,) if isinstance(names, str) else names:
                path = folder / name
                path.write_text(_RECORDER.format(calls=self.calls))
                path.chmod(path.stat().st_mode | stat.S_IEXEC)
        return self

    @property
    def environment(self) -> dict[str, str]:
        found = os.pathsep.join([str(self.folder), str(Path(sys.prefix)), os.environ.get("AMENT_PREFIX_PATH", "")])
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        # ROS keeps logs of every launch; here they go with the test's folder.
        return {**os.environ, "AMENT_PREFIX_PATH": found, "PATH": path, "ROS_LOG_DIR": str(self.folder / "log"),
                "ROS_DISTRO": os.environ.get("ROS_DISTRO", "jazzy")}  # fmt: skip


class Launched:
    """A running `ros2 launch`. log: what it has said so far."""

    def __init__(self, prefix: Prefix, *arguments: str) -> None:
        self._log = prefix.folder / "launch.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _ROS2, "launch", "mm_nav", *arguments], stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=prefix.environment, cwd=prefix.folder, start_new_session=True,
                # A shell in the background would have its children ignore Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, count: int = 1, seconds: float = 120.0) -> None:
        """Wait until it has said a text so often."""
        until = time.monotonic() + seconds
        while self.log.count(text) < count:
            assert self.process.poll() is None and time.monotonic() < until, f"'{text}' never came:\n{self.log}"
            time.sleep(0.1)

    def pid(self, program: str) -> int:
        """Return the process of the program's newest start. program: its name with launch's number, such as mm_nav_guard-2."""
        return int(re.findall(rf"\[{program}\]: process started with pid \[(\d+)\]", self.log)[-1])

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60.0)

    @property
    def left(self) -> list[str]:
        """What still runs of it."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = status.read_text()
            except OSError:
                continue
            # After the name in brackets: state, parent, process group.
            name, fields = text.rpartition(")")[0], text.rpartition(")")[2].split()
            if int(fields[2]) == self.process.pid and fields[0] != "Z":
                found.append(name)
        return found


@contextmanager
def launched(prefix: Prefix, *arguments: str) -> Iterator[Launched]:
    """Run `ros2 launch mm_nav ARGUMENTS`, and end it whatever happens."""
    running = Launched(prefix, *arguments)
    try:
        yield running
    finally:
        if running.left:
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait(10.0)
