"""Pictures get from one process to another: with the transports that Fast DDS has by itself, those of 640x480 do not."""

import os
from pathlib import Path

import pytest

from mm_nav.ros.bench_images import HZ, _measure
from mm_nav.ros.process_group import node_environment, prepare_environment
from mm_nav.ros.transports import VARIABLES, profile_variable, set_transports, transport_profile


def test_the_environment_of_the_user_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for said in ("FASTDDS_BUILTIN_TRANSPORTS", *VARIABLES):
        monkeypatch.setenv(said, "mine")
        set_transports()
        assert [os.environ.get(name) for name in VARIABLES] == ["mine" if name == said else None for name in VARIABLES]
        monkeypatch.delenv(said)
    # Fast DDS of Humble and Jazzy has another name for it than that of Kilted, which warns of the old one.
    for distro, read in (("humble", "FASTRTPS"), ("jazzy", "FASTRTPS"), ("kilted", "FASTDDS"), ("", "FASTDDS")):
        monkeypatch.setenv("ROS_DISTRO", distro)
        set_transports()
        told = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
        assert told == {f"{read}_DEFAULT_PROFILES_FILE": transport_profile()}
    assert Path(transport_profile()).is_file()


def test_nodes_get_what_the_environment_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert node_environment()[profile_variable()] == transport_profile()
    assert node_environment()["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    assert node_environment()["OMP_NUM_THREADS"] == "2" and not set(VARIABLES) & set(node_environment())
    monkeypatch.setenv(VARIABLES[0], "/mine.xml")
    assert node_environment()[VARIABLES[0]] == "/mine.xml"


def test_how_far_processes_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated robots are for this machine; what talks to a robot reaches as far as its user says."""
    reach = "ROS_AUTOMATIC_DISCOVERY_RANGE"
    monkeypatch.delenv(reach)
    prepare_environment(loopback=False)
    assert reach not in os.environ
    prepare_environment()
    assert os.environ[reach] == "LOCALHOST"
    monkeypatch.setenv(reach, "SUBNET")
    prepare_environment()
    assert os.environ[reach] == "SUBNET" and node_environment()[reach] == "LOCALHOST"


def test_large_pictures_arrive() -> None:
    found = _measure("ours", 1280, 720, 1.5)
    # Without room in shared memory it is none, or one.
    assert found["per_s"] is not None and found["per_s"] > HZ / 4 and found["latency_ms"] is not None
