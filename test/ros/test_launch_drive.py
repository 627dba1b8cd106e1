"""`ros2 launch` with the real nodes: goals are reached, nodes die under both policies, Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from launched import ROOT, Launched, Prefix, launched, needs_launch

from mm_nav.resources import resource_path

needs_launch()
if not resource_path("models").joinpath("tiny.onnx").is_file():
    pytest.skip("no trained model here", allow_module_level=True)


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[Prefix]:
    yield Prefix(tmp_path).with_nodes()


def go(*words: str) -> tuple[int, str]:
    """Send a goal with the command line; return its exit status and what it said."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "mm_nav.cli", "go", *words], capture_output=True, text=True, timeout=180.0, cwd=ROOT
    )
    return done.returncode, done.stdout[-400:] + done.stderr[-400:]


def order(running: Launched, *names: str) -> None:
    """Assert that nodes became active in this order."""
    places = [running.log.index(f"{name} is active") for name in names]
    assert places == sorted(places), running.log


def test_two_robots_reach_what_two_sentences_say_and_a_dead_node_comes_back(prefix: Prefix) -> None:
    # Each sees its target from where it starts: this is about the launch, not about searching.
    words = ["robots:=alpha,beta", "start:=-1.3,-1.9,-1.57; 2.17,3.72,-0.4", "on_exit:=respawn", "respawn_delay:=0.2"]
    with launched(prefix, "sim.launch.py", *words) as running:
        running.wait_for("navigator is active", 2)
        for name in ("alpha", "beta"):
            order(running, "/simulator", f"/{name}/guard", f"/{name}/inference", f"/{name}/navigator")
        with ThreadPoolExecutor(2) as both:
            goals = (("go to the red barrel", "alpha"), ("go to the brown chair", "beta"))
            found = list(both.map(lambda goal: go(goal[0], "--namespace", goal[1]), goals))
        assert [status for status, _ in found] == [0, 0], (found, running.log)
        assert "red barrel" in found[0][1] and "brown chair" in found[1][1]
        os.kill(running.pid("mm_nav_guard-2"), signal.SIGKILL)
        running.wait_for("/alpha/guard is active", 2)
        assert running.process.poll() is None
        assert running.interrupt() == 0
        assert not running.left


def test_a_dead_node_ends_everything(prefix: Prefix) -> None:
    with launched(prefix, "sim.launch.py") as running:
        running.wait_for("/navigator is active")
        order(running, "/simulator", "/guard", "/inference", "/navigator")
        os.kill(running.pid("mm_nav_inference-3"), signal.SIGKILL)
        assert running.process.wait(60.0) == 1
        assert "/inference ended with status -9, so everything is shut down" in running.log
        assert not running.left


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
def test_whoever_kills_the_launch_kills_what_it_started(prefix: Prefix) -> None:
    with launched(prefix, "sim.launch.py", "stack:=false") as running:
        running.wait_for("/simulator is active")
        running.process.kill()
        running.process.wait(10.0)
        until = time.monotonic() + 30.0
        while running.left and time.monotonic() < until:
            time.sleep(0.1)
        assert not running.left


def test_what_is_wrong_from_the_start_is_not_started_again(prefix: Prefix, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("/alpha/guard: {ros__parameters: {margin: 99.0}}")
    words = ["urdf:=none", "namespace:=alpha", "on_exit:=respawn", f"params_file:={own}"]
    with launched(prefix, "robot.launch.py", *words) as running:
        assert running.process.wait(120.0) == 1
        assert "it must be between 0.0 and 0.5" in running.log and running.log.count("it must be between") == 1
        assert "/alpha/guard ended with status 2 before all were up" in running.log
        assert not running.left


def test_a_node_that_cannot_be_configured_ends_everything(prefix: Prefix, tmp_path: Path) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"no model")
    with launched(prefix, "robot.launch.py", "urdf:=none", f"model:={model}") as running:
        assert running.process.wait(120.0) == 1
        assert "/inference could not configure" in running.log and "/navigator is active" not in running.log
        assert not running.left


def test_a_recording_is_played_to_the_stack(prefix: Prefix, tmp_path: Path) -> None:
    from mm_nav.bags.reader import BagReader
    from mm_nav.bags.writer import open_writer
    from mm_nav.geometry import Twist2D
    from mm_nav.sim.committed_worlds import committed_world
    from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
    from mm_nav.sim.world import load_world

    world = ROOT / "worlds/apartment.sdf"
    entry = committed_world(world)
    assert entry is not None
    simulator = Simulator(load_world(world), SimConfig(camera=CameraConfig(64, 48)), start=entry.start)
    with open_writer(tmp_path / "drive", start_ns=1_700_000_000_000_000_000) as writer:
        for _ in range(30):
            writer.add(simulator.observe(), Twist2D(0.2))
            simulator.step(Twist2D(0.2), 0.1)
    words = [
        f"bag:={tmp_path / 'drive'}",
        f"record:={tmp_path / 'new'}",
        "goal:=go to the red barrel",
        "namespace:=alpha",
    ]
    with launched(prefix, "replay.launch.py", "player:=mm_nav", *words) as running:
        assert running.process.wait(120.0) == 0, running.log
        assert "the recording has been played" in running.log or "was required" in running.log
        assert not running.left
    topics = {"scan": "/alpha/scan", "odometry": "/alpha/odom", "command": "/alpha/cmd_vel_replayed"}
    with BagReader(tmp_path / "new", topics) as reader:
        kinds = [message.kind for message in reader.messages(["scan", "command"])]
    assert kinds.count("scan") >= 25 and kinds.count("command") > 20
