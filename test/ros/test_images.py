"""Pictures get from one process to another: with the transports that Fast DDS has by itself, those of 640x480 do not."""

import os
from pathlib import Path

import pytest

from mm_nav.ros.bench_images import HZ, _measure
from mm_nav.ros.process_group import node_environment, prepare_environment
from mm_nav.ros.transports import VARIABLE, set_transports, transport_profile


def test_the_environment_of_the_user_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4"), (VARIABLE, "mine.xml")):
        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.setenv(name, value)
        set_transports()
        assert os.environ.get(VARIABLE) == (value if name == VARIABLE else None)
        monkeypatch.delenv(name)
    set_transports()
    assert os.environ[VARIABLE] == transport_profile() and Path(transport_profile()).is_file()


def test_nodes_get_what_the_environment_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert node_environment()[VARIABLE] == transport_profile() and node_environment()["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    assert node_environment()["OMP_NUM_THREADS"] == "2" and VARIABLE not in node_environment()
    monkeypatch.setenv(VARIABLE, "/mine.xml")
    assert node_environment()[VARIABLE] == "/mine.xml"


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
