"""The guard's node: what it counts on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from mm_nav.ros.guard_node import GuardNode
from mm_nav.ros.process_group import prepare_environment


@pytest.fixture(autouse=True)
def started() -> Iterator[None]:
    prepare_environment()
    rclpy.init()
    yield
    rclpy.shutdown()


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
