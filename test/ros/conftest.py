"""ROS tests need rclpy and the built interfaces: `make setup` provides both."""

import os
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (make setup)")
pytest.importorskip("mm_nav_interfaces", reason="mm_nav_interfaces is not built (make setup)")

MODULES = pytest.StashKey[list[object]]()


@pytest.fixture(autouse=True, scope="module")
def own_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """A domain for each file: the graph forgets nodes late, and those of another file must not be taken for this one's."""
    before, modules = os.environ["ROS_DOMAIN_ID"], request.session.stash.setdefault(MODULES, [])
    modules.append(request.path)
    # By twos: the other worker has the numbers in between.
    os.environ["ROS_DOMAIN_ID"] = str(1 + (int(before) - 1 + 2 * len(modules)) % 100)
    yield
    os.environ["ROS_DOMAIN_ID"] = before


@pytest.fixture
def started() -> Iterator[None]:
    """ROS in this process."""
    import rclpy

    from mm_nav.ros.process_group import prepare_environment

    prepare_environment()
    rclpy.init()
    yield
    rclpy.shutdown()
