"""The navigator's node: for how long its inputs may be silent."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from mm_nav_interfaces.action import NavigateTo
from rclpy.parameter import Parameter

from mm_nav.command import Command, ErrorCode, Stage
from mm_nav.geometry import Twist2D
from mm_nav.ros import conversions
from mm_nav.ros.navigator_node import NavigatorNode
from mm_nav.ros.process_group import prepare_environment


@pytest.fixture
def node() -> Iterator[NavigatorNode]:
    prepare_environment()
    rclpy.init()
    one = NavigatorNode()
    yield one
    one.close()
    one.destroy_node()
    rclpy.shutdown()


def start(node: NavigatorNode, **parameters: float) -> None:
    for name, value in parameters.items():
        assert node.set_parameters([Parameter(name, value=value)])[0].successful, name
    node.start()


def accepted(key: bytes, request: NavigateTo.Goal) -> Any:
    """The handle of a goal."""
    return SimpleNamespace(
        request=request, goal_id=SimpleNamespace(uuid=key), is_active=False, is_cancel_requested=False,
        execute=lambda: None,
    )  # fmt: skip


def test_the_nodes_timeouts_are_the_navigators(node: NavigatorNode) -> None:
    """Of two limits the shorter would count, whatever the other one says."""
    start(node, sensor_timeout=3.0, inference_timeout=7.0)
    assert node.navigator.config.scan_timeout_s == 3.0 and node.navigator.config.policy_timeout_s == 7.0
    assert not {"scan_timeout_s", "policy_timeout_s"} & {spec.name for spec in node.PARAMETERS}


def test_what_has_never_spoken_may_be_starting(node: NavigatorNode) -> None:
    start(node, policy_start_s=12.0, inference_timeout=2.0)
    node._accept(accepted(b"one", NavigateTo.Goal(instruction="go to the red chair")))
    began, ended = node.steady_s(), dict[str, float]()
    for tick in range(200):
        for name in node._watchdog.silent(began + 0.1 * tick):
            ended.setdefault(name, 0.1 * tick)
    # Half a second until a goal is under way, the limit, and the time to start.
    expected = {"scan": 6.5, "odom": 6.5, "guard_status": 6.5, "policy": 14.5}
    assert ended == pytest.approx(expected, abs=0.25)


@pytest.fixture
def driving(node: NavigatorNode) -> Iterator[tuple[NavigatorNode, list[Twist2D]]]:
    """One that has just driven at 0.3 m/s for a goal, and what it commands from then on."""
    start(node, policy_deadline=0.0)
    sent: list[Twist2D] = []
    node._command = SimpleNamespace(publish=lambda m: sent.append(conversions.twist_from(m.twist)))
    node._accept(accepted(b"one", NavigateTo.Goal(instruction="go forward")))
    command = Command(0, Twist2D(0.3), Stage.MOVING)
    node.navigator.step = lambda observation: command  # type: ignore[method-assign]
    node._step(SimpleNamespace(stamp_ns=0))
    assert sent == [Twist2D(0.3)]
    yield node, sent


def test_a_command_is_repeated_where_scans_are_slow(driving: tuple[NavigatorNode, list[Twist2D]]) -> None:
    """The guard stops the robot after 0.2 s without one; a LiDAR of 5 Hz comes as seldom, a slow simulation's more so."""
    node, sent = driving
    began, times = node._stepped_s, list[float]()
    for tick in range(50):
        node.steady_s = lambda after=0.02 * tick: began + after  # type: ignore[misc]
        before = len(sent)
        node._repeat()
        times += [0.02 * tick] * (len(sent) - before)
    assert times == pytest.approx([0.13, 0.27], abs=0.03) and set(sent) == {Twist2D(0.3)}
    # A goal's end is a stop, once.
    node._end(ErrorCode.CANCELED, "canceled")
    node._repeat()
    assert sent[-1] == Twist2D() and len(sent) == 4


def test_a_new_goal_takes_over_without_a_stop(driving: tuple[NavigatorNode, list[Twist2D]]) -> None:
    node, sent = driving
    goals = node._goals
    assert goals is not None
    old = goals._results[b"one"]
    node._accept(accepted(b"two", NavigateTo.Goal(instruction="turn left")))
    assert old.result().error_code == ErrorCode.CANCELED and goals.busy and sent == [Twist2D(0.3)]
    # One that is refused leaves nothing to drive to.
    node._accept(accepted(b"three", NavigateTo.Goal(instruction="?!")))
    assert not goals.busy and sent == [Twist2D(0.3), Twist2D()]


def test_a_motion_is_no_answer_of_the_policy(node: NavigatorNode) -> None:
    start(node)
    node._accept(accepted(b"one", NavigateTo.Goal(instruction="turn left")))
    node._check()
    assert "policy" not in node._ever
