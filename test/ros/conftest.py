"""ROS tests need rclpy and the built interfaces: `make setup` provides both."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make setup)")
pytest.importorskip("mm_nav_interfaces", reason="mm_nav_interfaces is not built (make setup)")
