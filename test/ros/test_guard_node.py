"""The guard's node: what it counts on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from mm_nav.geometry import Twist2D
from mm_nav.ros import conversions
from mm_nav.ros.guard_node import GuardNode
from mm_nav.sensing.messages import stamp_ns

pytestmark = pytest.mark.usefixtures("started")


def test_commands_are_stamped_when_they_are_sent() -> None:
    """Bases drop those with an old stamp; how old the scan is that they were computed from, guard_status says."""
    node, sent, told = GuardNode(), list[Any](), list[Any]()
    try:
        node.start()
        node._command, node._status = SimpleNamespace(publish=sent.append), SimpleNamespace(publish=told.append)
        now = node.get_clock().now().nanoseconds
        taken = now - 300_000_000
        node._receive_command(conversions.twist_message(Twist2D(0.3), taken, "base_link"))
        assert 0 <= stamp_ns(sent[0].header) - now < 200_000_000
        assert conversions.from_time(told[0].scan_stamp) == taken
    finally:
        node.close()
        node.destroy_node()


@pytest.mark.parametrize(("delay_s", "rate", "expected"), [(0.0, 20.0, 0.15), (0.25, 20.0, 0.3), (0.05, 5.0, 0.25)])
def test_it_counts_on_the_robots_delay(tmp_path: Path, delay_s: float, rate: float, expected: float) -> None:
    """docs/safety.md: delay and period together are no more than the reaction time."""
    robot = tmp_path / "slow.yaml"
    robot.write_text(f"body: {{command_delay_s: {delay_s}}}\n")
    node = GuardNode()
    try:
        for name, value in (("robot", str(robot)), ("rate", rate)):
            assert node.set_parameters([Parameter(name, value=value)])[0].successful
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node._guard.config.reaction_s == pytest.approx(expected)
    finally:
        node.close()
        node.destroy_node()
