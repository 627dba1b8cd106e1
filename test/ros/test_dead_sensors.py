"""Whatever falls silent is named within a second: on /diagnostics, and to who waits for the goal."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from mm_nav_interfaces.action import NavigateTo
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor

from mm_nav.command import ErrorCode
from mm_nav.resources import resource_path
from mm_nav.ros import qos
from mm_nav.ros.goal_client import GoalClient
from mm_nav.ros.guard_node import GuardNode
from mm_nav.ros.live_stack import LiveStack, live_stack
from mm_nav.ros.node_list import EMBEDDED
from mm_nav.ros.process_group import ProcessGroup, prepare_environment
from mm_nav.ros.topics import topics
from mm_nav.sim.committed_worlds import committed_world

sys.path.insert(0, str(Path(__file__).parent))

from sensor_player import Player

WITHIN_S = 1.0  # the claim
STATUSES = ("/guard: mm_nav", "/inference: mm_nav", "/navigator: mm_nav")


@dataclass
class Listener:
    """When which status said what, and what the goal's sender was told: (steady clock, level, text) by name."""

    node: rclpy.node.Node
    spin: Callable[[float], None]
    told: dict[str, list[tuple[float, bytes, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.node.create_subscription(DiagnosticArray, topics().diagnostics, self._diagnose, qos.STATUS)
        self._client = ActionClient(self.node, NavigateTo, topics().navigate_to)
        self.hardware: set[str] = set()

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._note(status.name, status.level, status.message)
            self.hardware.add(status.hardware_id)

    def _note(self, who: str, level: bytes, text: str) -> None:
        self.told.setdefault(who, []).append((time.monotonic(), level, text))

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            self.spin(0.02)
        return condition()

    def well(self, who: str) -> bool:
        """Whether the newest that was heard of a status is that all is well."""
        return bool(self.told.get(who)) and self.told[who][-1][1] == DiagnosticStatus.OK

    def first(self, who: str, words: str, since: float) -> float:
        """After how long it was said; infinite = it was not."""
        return next((at - since for at, _, text in self.told.get(who, ()) if at >= since and words in text), math.inf)

    def send(self, instruction: str, x: float = 0.0) -> None:
        """Send a goal; what is told of it goes under "feedback" and "result"."""
        goal = NavigateTo.Goal(instruction=instruction, timeout=60.0, use_pose=not instruction)
        goal.pose.pose.position.x = x

        def feedback(message: object) -> None:
            self._note("feedback", b"", message.feedback.step_text)  # type: ignore[attr-defined]

        sent = self._client.send_goal_async(goal, feedback_callback=feedback)
        assert self.until(sent.done) and sent.result().accepted
        self.result = sent.result().get_result_async()
        # Past the grace of a new goal, so that what is measured is how soon a silence is noticed.
        self.until(lambda: False, 0.7)

    def report(self, what: str, words: str, since: float, *who: str) -> None:
        """Wait until all have said it, print after how long, and hold them to the claim."""
        self.until(lambda: all(self.first(name, words, since) < math.inf for name in who), 10.0)
        for name in who:
            heard = [(round(at - since, 2), text) for at, _, text in self.told.get(name, ()) if at >= since]
            assert self.first(name, words, since) < math.inf, (what, name, words, heard)
        times = {name: self.first(name, words, since) for name in who}
        print(f"{what}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in times.items()))
        # A node that busy cores have held up may say it later than the others.
        assert min(times[name] for name in who if name in STATUSES) <= WITHIN_S, what
        assert times.get("feedback", 0.0) <= WITHIN_S, what


def quiet(listener: Listener, player: Player, what: str) -> float:
    """Silence a sensor; return when its last message was sent."""
    listener.until(player.play)
    sent = time.monotonic()
    player.silent.add(what)
    return sent


def test_what_dies_around_the_stack(tmp_path: Path) -> None:
    """Camera, camera_info, LiDAR, odometry fall silent in turn, and come back; then inference and guard are killed."""
    with live_stack("listener", tmp_path, {"navigator": {"robot": "jackal"}}) as live:
        player = Player(live.node)
        listener = Listener(live.node, lambda seconds: (player.play(), live.client.spin(seconds)))  # type: ignore[arg-type, return-value]
        assert listener.until(lambda: all(map(listener.well, STATUSES)), 60.0), listener.told
        assert listener.hardware >= {"generic", "jackal"}

        # The robot goes on without its camera, and says so.
        listener.send("go to the red barrel")
        since = quiet(listener, player, "image")
        listener.report(
            "camera silent", "camera: nothing has come on /image", since, STATUSES[1], STATUSES[2], "feedback"
        )
        assert listener.told[STATUSES[1]][-1][1] == DiagnosticStatus.WARN
        player.silent.clear()
        back = time.monotonic()
        assert listener.until(lambda: all(map(listener.well, STATUSES)))
        print(f"camera back: {time.monotonic() - back:.2f} s")
        assert not listener.result.done()

        for name, words in (
            ("scan", "LiDAR: nothing has come on /scan"),
            ("odom", "odometry: nothing has come on /odom"),
        ):
            since = quiet(listener, player, name)
            listener.report(f"{name} silent", words, since, *STATUSES, "feedback")
            assert all(listener.told[node][-1][1] == DiagnosticStatus.ERROR for node in (STATUSES[0], STATUSES[2]))
            assert listener.until(listener.result.done)
            ended = listener.result.result().result
            assert ended.error_code == ErrorCode.SENSOR_LOST and words in ended.message and "driver" in ended.message
            player.silent.clear()
            assert listener.until(lambda: all(map(listener.well, STATUSES)))
            listener.send("go to the red barrel")

        killed(live, listener, "inference", "inference: nothing has come on", STATUSES[2], "feedback")
        assert listener.until(listener.result.done)
        assert listener.result.result().result.error_code == ErrorCode.INFERENCE_LOST
        listener.send("", x=3.0)  # a pose needs no network
        killed(live, listener, "guard", "guard: nothing has come on /guard_status", STATUSES[2], "feedback")
        assert listener.until(listener.result.done)
        ended = listener.result.result().result
        assert ended.error_code == ErrorCode.GUARD_LOST and "is the guard running" in ended.message


def killed(live: LiveStack, listener: Listener, name: str, words: str, *who: str) -> None:
    process = live.group.processes[name]
    process.send_signal(signal.SIGKILL)
    process.wait()
    listener.report(f"{name} killed", words, time.monotonic(), *who)


def test_a_simulator_that_dies_takes_time_with_it(tmp_path: Path) -> None:
    """All of its messages end at once, and so does simulated time: that is said first, by every node."""
    prepare_environment()
    rclpy.init()
    node = rclpy.create_node("listener")
    start = committed_world(resource_path("worlds/apartment.sdf")).start
    placed = {"start_x": start.x, "start_y": start.y, "camera_width": 96, "camera_height": 72}
    try:
        with ProcessGroup(EMBEDDED, tmp_path, {"simulator": placed}) as group:
            listener = Listener(node, GoalClient(node).spin)
            assert listener.until(lambda: all(map(listener.well, STATUSES)), 60.0), listener.told
            listener.send("go to the red barrel")
            while listener.result.done():  # on busy cores the simulator itself may be silent for too long
                listener.send("go to the red barrel")
            group.processes["simulator"].send_signal(signal.SIGKILL)
            group.processes["simulator"].wait()
            listener.report("simulator killed", "simulated time stands still", time.monotonic(), *STATUSES, "feedback")
            assert listener.until(listener.result.done)
            ended = listener.result.result().result
            assert ended.error_code == ErrorCode.SENSOR_LOST and "simulated time stands still" in ended.message
    finally:
        node.destroy_node()
        rclpy.shutdown()


@pytest.mark.parametrize(("left_out", "words"), [("camera_info", "no camera_info has come on /camera_info")])
def test_what_cannot_be_used_is_as_good_as_silent(left_out: str, words: str, tmp_path: Path) -> None:
    with live_stack("listener", tmp_path, {}) as live:
        player = Player(live.node)
        player.silent.add(left_out)
        listener = Listener(live.node, lambda seconds: (player.play(), live.client.spin(seconds)))  # type: ignore[arg-type, return-value]
        assert listener.until(lambda: listener.first(STATUSES[1], words, 0.0) < math.inf), listener.told


def test_robots_are_told_apart() -> None:
    """Each status has its node's full name and its robot; what never came is named by its full topic."""
    prepare_environment()
    rclpy.init(args=["--ros-args", "-r", "__ns:=/alpha", "-p", "robot:=jackal"])
    guard, node = GuardNode(), rclpy.create_node("listener")
    executor = SingleThreadedExecutor()
    for each in (guard, node):
        executor.add_node(each)
    listener = Listener(node, lambda seconds: executor.spin_once(timeout_sec=seconds))
    try:
        guard.start()
        name = "/alpha/guard: mm_nav"
        words = "LiDAR: nothing has come on /alpha/scan yet"
        assert listener.until(lambda: listener.first(name, words, 0.0) < math.inf), listener.told
        assert listener.hardware == {"jackal"}
        guard.trigger_deactivate()
        assert listener.until(lambda: listener.first(name, "inactive", 0.0) < math.inf)
    finally:
        guard.close()
        guard.destroy_node()
        node.destroy_node()
        rclpy.shutdown()
