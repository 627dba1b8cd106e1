"""Shared by all tests: where shared data lies, and an own corner of the ROS network."""

import os
from pathlib import Path

import pytest

from mm_nav.ros.transports import VARIABLE, transport_profile

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault(VARIABLE, transport_profile())
# No other test run and no running stack may answer.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

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
