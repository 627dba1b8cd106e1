"""configure, activate, deactivate, cleanup and shutdown in every order: refused or done, at once, and nothing stays behind."""

from __future__ import annotations

import gc
import itertools
import os
import random
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from mm_nav_interfaces.action import NavigateTo
from mm_nav_interfaces.srv import LoadModel
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from mm_nav.command import ErrorCode
from mm_nav.errors import MmNavError
from mm_nav.geometry import Twist2D
from mm_nav.resources import resource_path
from mm_nav.ros import conversions, qos
from mm_nav.ros.guard_node import GuardNode
from mm_nav.ros.inference_node import InferenceNode
from mm_nav.ros.navigator_node import NavigatorNode
from mm_nav.ros.stack_node import Executor, StackNode
from mm_nav.ros.topics import topics

sys.path.insert(0, str(Path(__file__).parent))

from sensor_player import Player

pytestmark = pytest.mark.usefixtures("started")

GRAPH = {
    "unconfigured": {"configure": "inactive", "shutdown": "finalized"},
    "inactive": {"activate": "active", "cleanup": "unconfigured", "shutdown": "finalized"},
    "active": {"deactivate": "inactive", "shutdown": "finalized"},
    "finalized": {},
}
NAMES = ("configure", "activate", "deactivate", "cleanup", "shutdown")
CYCLES = 100
# Far above what a transition takes (milliseconds; a model's loading a second): it must not hang.
BOUND_S = 20.0
SUCCESS, FAILURE, ERROR = (getattr(TransitionCallbackReturn, name) for name in ("SUCCESS", "FAILURE", "ERROR"))
LIGHT = [GuardNode, NavigatorNode]


def state(node: StackNode) -> str:
    return str(node._state_machine.current_state[1])


def trigger(node: StackNode, name: str) -> TransitionCallbackReturn:
    """Trigger a transition; one that rclpy will not even begin counts as refused."""
    began = time.monotonic()
    try:
        result = getattr(node, f"trigger_{name}")()
    except Exception as error:
        assert "transtion not possible" in str(error)
        result = ERROR
    assert time.monotonic() - began < BOUND_S, name
    return result


def holdings(node: StackNode, files: bool = True) -> dict[str, int]:
    """What a node has of rclpy, by kind, and what the process has beside."""
    if files:
        gc.collect()  # earlier tests may have left some open
    kinds = ("publishers", "subscriptions", "timers", "services", "clients", "guards", "waitables")
    found = {kind: len(list(getattr(node, kind))) for kind in kinds}
    found["files"] = len(os.listdir("/proc/self/fd")) if files else 0
    return {**found, "threads": threading.active_count()}


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def orders(longest: int) -> list[tuple[str, ...]]:
    """All legal orders of transitions, from unconfigured, that no longer one begins with."""
    found = []
    for order in itertools.product(NAMES, repeat=longest):
        at, taken = "unconfigured", []
        for name in order:
            if name not in GRAPH[at]:
                break
            at = GRAPH[at][name]
            taken.append(name)
        found.append(tuple(taken))
    longer = {order[:k] for order in found for k in range(len(order))}
    return sorted(set(found) - longer)


@pytest.mark.parametrize("node_class", LIGHT)
def test_every_legal_order_and_every_illegal_step(node_class: type[StackNode]) -> None:
    assert len(orders(4)) >= 9
    for order in orders(4):
        node, at = node_class(), "unconfigured"
        before = holdings(node, files=False)
        for name in (*order, None):
            for illegal in (n for n in NAMES if n not in GRAPH[at]):
                assert trigger(node, illegal) == ERROR and state(node) == at, (order, illegal)
            assert node.active == (at == "active")
            if at in ("unconfigured", "finalized"):
                assert holdings(node, files=False) == before, order
            if name is not None:
                assert trigger(node, name) == SUCCESS, (order, name)
                at = GRAPH[at][name]
                assert state(node) == at
        node.destroy_node()


@pytest.mark.parametrize("executor_class", [Executor, SingleThreadedExecutor])
@pytest.mark.parametrize("node_class", LIGHT)
def test_a_long_random_walk_leaves_nothing_behind(node_class: type[StackNode], executor_class: type) -> None:
    """While messages come, with parameters that change in between and steps that are not allowed."""
    rng, node, player, executor = random.Random(7), node_class(), Player(), executor_class()
    for each in (node, player.node):
        executor.add_node(each)
    worst, cycles, at, before, memory = 0.0, 0, "unconfigured", holdings(node), 0
    while cycles < CYCLES:
        name = rng.choice(NAMES[:-1])
        began = time.monotonic()
        result = trigger(node, name)
        worst = max(worst, time.monotonic() - began)
        assert (result == SUCCESS) == (name in GRAPH[at])
        at = GRAPH[at].get(name, at)
        assert state(node) == at
        if result == SUCCESS:
            cycles += name == "cleanup"
            player.play()
            for _ in range(3):
                executor.spin_once(timeout_sec=0.0)
            changed = node.set_parameters([Parameter("silence", value=rng.uniform(0.2, 2.0))])[0]
            assert changed.successful == (at != "active")
        if result == SUCCESS and at == "unconfigured" and cycles in (10, CYCLES):
            assert holdings(node) == before
            gc.collect()
            memory = resident_kb() - memory
    for each in (node, player.node):
        each.destroy_node()
    print(
        f"{node_class.__name__}: {CYCLES} cycles, slowest transition {1e3 * worst:.0f} ms, {memory} kB more after the tenth"
    )
    assert memory < 12_000


def test_a_network_is_loaded_and_dropped(tmp_path: Path) -> None:
    """With everything that has a thread of its own: decoder, shadow, governor."""
    tiny = str(resource_path("models/tiny.onnx"))
    given = {
        "compressed": True, "shadow_model": tiny, "shadow_log": str(tmp_path / "shadow.jsonl"), "deadline_ms": 50.0,
        "light_model": tiny,
    }  # fmt: skip
    node = InferenceNode()
    executor = Executor()
    executor.add_node(node)
    before = holdings(node)
    for cycle in range(3):
        values = given if cycle != 1 else {"compressed": False, "shadow_model": "", "deadline_ms": 0.0}
        assert all(r.successful for r in node.set_parameters([Parameter(k, value=v) for k, v in values.items()]))
        assert trigger(node, "configure") == SUCCESS and trigger(node, "activate") == SUCCESS
        assert threading.active_count() == before["threads"] + (2 if cycle != 1 else 0)
        held = weakref.ref(node._policy.policy)
        # Changed after it was configured: what was made is dropped all the same.
        assert trigger(node, "deactivate") == SUCCESS
        assert node.set_parameters([Parameter("compressed", value=not values["compressed"])])[0].successful
        assert trigger(node, "cleanup") == SUCCESS
        for _ in range(3):
            executor.spin_once(timeout_sec=0.0)
        assert held() is None and holdings(node) == before
    node.destroy_node()


@pytest.mark.parametrize("bad", ["model", "light_model", "shadow_model", "shadow_log"])
def test_after_a_configure_that_failed_a_good_one(bad: str, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    tiny, broken = str(resource_path("models/tiny.onnx")), str(tmp_path / "no.onnx")
    node = InferenceNode()
    before = holdings(node)
    wrong = {
        "model": {"model": broken}, "light_model": {"deadline_ms": 50.0, "light_model": broken},
        "shadow_model": {"shadow_model": broken}, "shadow_log": {"shadow_model": tiny, "shadow_log": f"{broken}/a/b"},
    }[bad]  # fmt: skip
    node.set_parameters([Parameter(name, value=value) for name, value in wrong.items()])
    for _ in range(2):
        assert trigger(node, "configure") == FAILURE and state(node) == "unconfigured"
        assert holdings(node) == before and node._policy is None
    right = {"model": tiny, "deadline_ms": 0.0, "light_model": "", "shadow_model": ""}
    node.set_parameters([Parameter(name, value=value) for name, value in right.items()])
    assert trigger(node, "configure") == SUCCESS
    node.close()
    node.destroy_node()


@pytest.mark.parametrize("node_class", LIGHT)
@pytest.mark.parametrize("step", ["configure", "activate", "deactivate", "cleanup"])
@pytest.mark.parametrize("failure", [RuntimeError("unforeseen"), MmNavError("foreseen")])
def test_a_step_that_breaks(
    node_class: type[StackNode], step: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half done, it leaves nothing, the robot stands, and the node can be configured anew."""
    node = node_class()
    before = holdings(node, files=False)
    done = getattr(node, step)

    def breaks() -> None:
        done()
        raise failure

    for name in NAMES[: NAMES.index(step)]:
        assert trigger(node, name) == SUCCESS
    monkeypatch.setattr(node, step, breaks)
    left = trigger(node, step)
    foreseen = isinstance(failure, MmNavError) and step in ("configure", "activate")
    assert left == (FAILURE if foreseen else ERROR) and not node.active
    assert state(node) == ("inactive" if foreseen and step == "activate" else "unconfigured")
    assert not list(node.timers)
    if state(node) == "inactive":
        assert trigger(node, "cleanup") == SUCCESS
    assert holdings(node, files=False) == before
    monkeypatch.setattr(node, step, done)
    for name in NAMES:
        assert name == "cleanup" or trigger(node, name) == SUCCESS
    assert state(node) == "finalized" and holdings(node, files=False) == before
    node.destroy_node()


class Remote:
    """Asks nodes of the same process over their services, and sends the navigator a goal."""

    def __init__(self, executor: Executor, *nodes: StackNode) -> None:
        self.player, self.executor = Player(), executor
        self.node = rclpy.create_node("remote")
        for each in (self.node, self.player.node, *nodes):
            executor.add_node(each)
        self._clients = {
            (node.get_name(), kind): self.node.create_client(kind, f"/{node.get_name()}/{service}")
            for node in nodes
            for kind, service in ((ChangeState, "change_state"), (GetState, "get_state"))
        }
        assert all(client.wait_for_service(20.0) for client in self._clients.values())

    def spin(self, seconds: float = 20.0, until: object = lambda: False) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.player.play()
            self.executor.spin_once(timeout_sec=0.02)
            if until():  # type: ignore[operator]
                return True
        return False

    def change(self, node: StackNode, name: str) -> bool:
        number = {"shutdown": getattr(Transition, f"TRANSITION_{state(node).upper()}_SHUTDOWN", 0)}.get(
            name, getattr(Transition, f"TRANSITION_{name.upper()}", 0)
        )
        request = ChangeState.Request(transition=Transition(id=number))
        answer = self._clients[node.get_name(), ChangeState].call_async(request)
        assert self.spin(until=answer.done), f"{name} hangs"
        heard = self._clients[node.get_name(), GetState].call_async(GetState.Request())
        assert self.spin(until=heard.done) and heard.result().current_state.label == state(node)
        return bool(answer.result().success)


def test_over_the_services_while_a_goal_runs() -> None:
    """Whatever ends it, who waits for the goal gets its result; a goal is taken again when the node is active again."""
    navigator = NavigatorNode()
    executor = Executor()
    remote = Remote(executor, navigator)
    before = holdings(navigator)
    client = ActionClient(remote.node, NavigateTo, topics().navigate_to)
    commands: list[Twist2D] = []
    remote.node.create_subscription(
        TwistStamped, topics().cmd_vel_nav, lambda m: commands.append(conversions.twist_from(m.twist)), qos.COMMAND
    )
    goal = NavigateTo.Goal(use_pose=True, timeout=60.0)
    goal.pose.pose.position.x = 3.0
    for ending in (("deactivate", "cleanup"), ("deactivate",), ("shutdown",)):
        for name in ("configure", "activate"):
            assert remote.change(navigator, name), name
        assert not remote.change(navigator, "configure")
        assert remote.spin(until=client.server_is_ready)
        commands.clear()
        sent = client.send_goal_async(goal)
        assert remote.spin(until=sent.done) and sent.result().accepted
        result = sent.result().get_result_async()
        remote.player.play_guard = True
        assert remote.spin(until=lambda: any(command != Twist2D() for command in commands))
        for name in ending:
            assert remote.change(navigator, name)
        assert remote.spin(until=result.done)
        assert (
            result.result().result.error_code == ErrorCode.CANCELED and "deactivated" in result.result().result.message
        )
        remote.spin(0.2)
        assert commands[-1] == Twist2D()
        if ending == ("deactivate",):
            refused = client.send_goal_async(goal)
            assert remote.spin(until=refused.done) and not refused.result().accepted
            assert remote.change(navigator, "cleanup")
    remote.spin(0.8)  # the action's server goes when its last result has been delivered
    assert state(navigator) == "finalized"
    client.destroy()
    now = holdings(navigator)
    assert {kind: now[kind] for kind in now if kind != "files"} == {
        kind: before[kind] for kind in now if kind != "files"
    }
    for each in (navigator, remote.node, remote.player.node):
        each.destroy_node()


def test_the_guard_drives_on_nothing_that_was_commanded_before() -> None:
    guard = GuardNode()
    executor = Executor()
    remote = Remote(executor, guard)
    driven: list[Twist2D] = []
    listening = remote.node.create_subscription(
        TwistStamped, topics().cmd_vel, lambda m: driven.append(conversions.twist_from(m.twist)), qos.STATUS
    )
    wanted = remote.node.create_publisher(TwistStamped, topics().cmd_vel_nav, qos.COMMAND)

    def command() -> None:
        wanted.publish(conversions.twist_message(Twist2D(0.2), time.time_ns(), "base_link"))

    for name in ("configure", "activate"):
        assert remote.change(guard, name)
    assert remote.spin(until=lambda: command() or any(twist != Twist2D() for twist in driven))
    assert remote.change(guard, "deactivate")
    remote.spin(0.3)
    assert driven[-1] == Twist2D()
    command()  # nobody listens now
    remote.spin(0.2)
    driven.clear()
    assert remote.change(guard, "activate")
    assert remote.spin(until=lambda: len(driven) > 5)
    assert all(twist == Twist2D() for twist in driven)
    # What has changed meanwhile counts when it is configured next.
    assert remote.change(guard, "deactivate")
    assert guard.set_parameters([Parameter("twist_stamped", value=False)])[0].successful
    assert remote.change(guard, "activate") and remote.change(guard, "deactivate")
    kinds = [publisher.msg_type for publisher in guard.publishers if publisher.topic_name == "/cmd_vel"]
    assert kinds == [TwistStamped]
    remote.node.destroy_subscription(listening)  # one process cannot have a topic in two types
    assert remote.change(guard, "cleanup") and remote.change(guard, "configure")
    assert [publisher.msg_type for publisher in guard.publishers if publisher.topic_name == "/cmd_vel"] == [Twist]
    guard.close()
    for each in (guard, remote.node, remote.player.node):
        each.destroy_node()


def test_a_trial_outlives_a_cleanup(tmp_path: Path) -> None:
    """Who has asked for another model gets an answer, whatever becomes of the node meanwhile."""
    node = InferenceNode()
    executor = Executor()
    remote = Remote(executor, node)
    client = remote.node.create_client(LoadModel, "/inference/load_model")
    assert client.wait_for_service(20.0)
    request = LoadModel.Request(model=str(resource_path("models/small.onnx")))
    early = client.call_async(request)
    assert remote.spin(until=early.done) and "not configured" in early.result().message
    assert remote.change(node, "configure")
    cleaned, attempt = threading.Event(), node._policy.try_model
    node._policy.try_model = lambda path: attempt(path) if cleaned.wait(60.0) else None
    pending = client.call_async(request)
    remote.spin(0.1)
    assert remote.change(node, "cleanup")
    cleaned.set()
    assert remote.spin(until=pending.done, seconds=60.0)
    assert not pending.result().success and "cleaned up" in pending.result().message
    for each in (node, remote.node, remote.player.node):
        each.destroy_node()
