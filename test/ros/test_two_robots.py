"""Two robots in one world, each with a stack of its own, told two different things at the same time."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import rclpy
from nav_msgs.msg import Odometry
from std_msgs.msg import UInt32

from mm_nav.geometry import Pose2D
from mm_nav.resources import resource_path
from mm_nav.ros import qos
from mm_nav.ros.goal_client import GoalClient, Outcome
from mm_nav.ros.node_list import EMBEDDED, SIMULATOR, STACK
from mm_nav.ros.process_group import ProcessGroup, prepare_environment
from mm_nav.ros.topics import topics
from mm_nav.sensing.messages import odometry_from
from mm_nav.sim.objects import SceneObject, scene_objects
from mm_nav.sim.world import load_world

# Side by side in one room, and what they are sent to is on either side of it.
STARTS = {"alpha": Pose2D(2.2, 3.4, -0.2), "beta": Pose2D(1.9, 2.2, 2.6)}
GOALS = {"alpha": ("go to the brown chair", "brown_chair_1"), "beta": ("go to the white chair", "white_chair_1")}


class Driven:
    """One robot, from outside."""

    def __init__(self, name: str) -> None:
        t = topics()
        self.node = rclpy.create_node("two_robots_test", namespace=name)
        self.client = GoalClient(self.node)
        self.pose, self.contacts = Pose2D(math.nan, math.nan, 0.0), 0
        self.node.create_subscription(Odometry, t.ground_truth, self._truth, qos.STATUS)
        self.node.create_subscription(UInt32, t.contacts, self._contact, qos.LATCHED)

    def _truth(self, message: Odometry) -> None:
        self.pose = odometry_from(message).pose

    def _contact(self, message: UInt32) -> None:
        self.contacts = int(message.data)


def named(name: str) -> SceneObject:
    objects = scene_objects(load_world(resource_path("worlds/apartment.sdf")))
    return next(item for item in objects if item.name == name)


def test_two_sentences_at_once_are_both_carried_out(tmp_path: Path) -> None:
    prepare_environment()
    simulator = {
        "robots": ",".join(STARTS), "starts": "; ".join(f"{s.x},{s.y},{s.yaw}" for s in STARTS.values()),
        "camera_width": 96, "camera_height": 72,
    }  # fmt: skip
    rclpy.init()
    robots = {name: Driven(name) for name in STARTS}
    outcomes: dict[str, Outcome] = {}

    def drive(name: str) -> None:
        client = robots[name].client
        if client.wait(40.0):
            until = time.monotonic() + 30.0
            while time.monotonic() < until and "active" not in (tmp_path / f"{name}.inference.log").read_text():
                client.spin(0.2)
            client.spin(1.0)
            outcomes[name] = client.run(GOALS[name][0], None, 60.0, lambda f: None)
            client.spin(0.5)

    try:
        with ProcessGroup(EMBEDDED, tmp_path, {"simulator": simulator}, robots=tuple(STARTS)) as group:
            assert set(group.processes) == {SIMULATOR.name} | {f"{r}/{node.name}" for r in STARTS for node in STACK}
            threads = [threading.Thread(target=drive, args=(name,)) for name in robots]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not group.dead()
    finally:
        for robot in robots.values():
            robot.node.destroy_node()
        rclpy.shutdown()
    for name, robot in robots.items():
        assert outcomes[name].succeeded, (name, outcomes[name])
        assert named(GOALS[name][1]).distance(robot.pose.x, robot.pose.y) < 1.0, (name, robot.pose)
        assert robot.contacts == 0, name
    assert robots["alpha"].pose.x > 2.8 and robots["beta"].pose.x < 1.5  # each went its own way


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_mm_nav_sim_tells_where_they_stand_and_leaves_nothing_behind(tmp_path: Path, sign: signal.Signals) -> None:
    found = tmp_path / "sim.json"
    command = [
        sys.executable,
        "-m",
        "mm_nav.cli",
        "sim",
        "--robots",
        "alpha,beta",
        "--robot",
        "generic,omni",
        "--json",
        str(found),
    ]
    process = subprocess.Popen([*command, "--logs", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and "beta/navigator" in process.stdout.readline()
        told = json.loads(found.read_text())
        assert list(told["starts"]) == ["alpha", "beta"]
        pids = [pid for key, pid in told.items() if key.startswith("pid_")]
        assert len(pids) == 1 + 2 * len(STACK)
        arguments = Path(f"/proc/{told['pid_beta/guard']}/cmdline").read_text().split("\0")
        assert {"__ns:=/beta", "/tf:=tf", "/tf_static:=tf_static", "robot:='omni'"} <= set(arguments)
    finally:
        process.send_signal(sign)
        assert process.wait(20.0) == 130
    until = time.monotonic() + 5.0
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
