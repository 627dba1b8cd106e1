"""The navigator's node: for how long its inputs may be silent."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import rclpy
from mm_nav_interfaces.action import NavigateTo
from rclpy.parameter import Parameter

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


def test_the_nodes_timeouts_are_the_navigators(node: NavigatorNode) -> None:
    """Of two limits the shorter would count, whatever the other one says."""
    start(node, sensor_timeout=3.0, inference_timeout=7.0)
    assert node.navigator.config.scan_timeout_s == 3.0 and node.navigator.config.policy_timeout_s == 7.0
    assert not {"scan_timeout_s", "policy_timeout_s"} & {spec.name for spec in node.PARAMETERS}


def test_what_has_never_spoken_may_be_starting(node: NavigatorNode) -> None:
    start(node, policy_start_s=12.0, inference_timeout=2.0)
    request = NavigateTo.Goal(instruction="go to the red chair")
    handle = SimpleNamespace(
        request=request, goal_id=SimpleNamespace(uuid=b"one"), is_active=False, execute=lambda: None
    )
    node._accept(handle)
    began, ended = node.steady_s(), dict[str, float]()
    for tick in range(200):
        for name in node._watchdog.silent(began + 0.1 * tick):
            ended.setdefault(name, 0.1 * tick)
    # Half a second until a goal is under way, the limit, and the time to start.
    expected = {"scan": 6.5, "odom": 6.5, "guard_status": 6.5, "policy": 14.5}
    assert ended == pytest.approx(expected, abs=0.25)


def test_a_motion_is_no_answer_of_the_policy(node: NavigatorNode) -> None:
    start(node)
    handle = SimpleNamespace(
        request=NavigateTo.Goal(instruction="turn left"), goal_id=SimpleNamespace(uuid=b"one"), is_active=False,
        is_cancel_requested=False, execute=lambda: None,
    )  # fmt: skip
    node._accept(handle)
    node._check()
    assert "policy" not in node._ever
