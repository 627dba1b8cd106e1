"""Shared by all tests: where shared data lies, an own corner of the ROS network, and who has the machine to itself."""

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import hypothesis
import pytest

from mm_nav.ros.transports import set_transports

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
set_transports()
# No other test run, no other worker of this one and no running stack may answer.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["ROS_DOMAIN_ID"] = str(
    1 + (2 * os.getppid() + int(WORKER[2:]) if WORKER.startswith("gw") else os.getpid()) % 100
)
# Workers share the cores: how long an example takes says nothing.
hypothesis.settings.register_profile("mm_nav", deadline=None)
hypothesis.settings.load_profile("mm_nav")

# Programs that tests interrupt inherit what is ignored, and a shell has `… &` ignore SIGINT.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the repository; tests that need it are skipped where it is absent."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"{path} is not here")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs nodes needs the machine to itself, since nodes keep time."""
    for item in items:
        if ROOT / "test" / "ros" in item.path.parents:
            item.add_marker(pytest.mark.alone)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """With several workers, run what is `alone` while nothing else does."""
    if not WORKER:
        return (yield)
    with _turn(item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def _turn(alone: bool) -> Iterator[None]:
    with _lock(os.getppid(), "gate") as gate, _lock(os.getppid(), "room") as room:
        # Whoever wants the room to himself holds the gate while he waits; or others would slip in for ever.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def _lock(run: int, name: str) -> IO[str]:
    return (Path(tempfile.gettempdir()) / f"mm_nav_tests_{run}.{name}").open("w")


def pytest_sessionfinish() -> None:
    """Leave no lock files."""
    if not WORKER:
        for name in ("gate", "room"):
            Path(_lock(os.getpid(), name).name).unlink(missing_ok=True)
