"""What docs/ say of a running robot: the commands and programs of the pages, against the embedded simulator and the real nodes."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_nav.resources import resource_path
from mm_nav.ros.goal_client import GoalClient
from mm_nav.ros.node_list import EMBEDDED
from mm_nav.ros.process_group import ProcessGroup, prepare_environment
from mm_nav.sim.committed_worlds import committed_world

ROOT = Path(__file__).parents[2]
# Said of every robot, and quickly done: there and back in the free part of the room.
SENTENCES = {"the red barrel": "turn left 20 degrees", "go to the red barrel": "turn left 20 degrees"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The simulated robot and its stack; gives a folder to run in."""
    import rclpy

    folder = tmp_path_factory.mktemp("live")
    before = os.environ["ROS_DOMAIN_ID"]
    # `robot check` sees everything, also what other tests have just left.
    prepare_environment(domain_id=201 + os.getpid() % 14)
    start = committed_world(resource_path("worlds/apartment.sdf")).start  # as `mm-nav sim` does
    simulator = {"camera_width": 96, "camera_height": 72}
    simulator |= {f"start_{axis}": getattr(start, axis) for axis in ("x", "y", "yaw")}
    rclpy.init()
    node = rclpy.create_node("waiting")
    try:
        with ProcessGroup(EMBEDDED, folder, {"simulator": simulator}) as group:
            assert GoalClient(node).wait(60.0, lambda: ", ".join(group.dead())), "the stack did not come up"
            yield folder
    finally:
        node.destroy_node()
        rclpy.shutdown()
        os.environ["ROS_DOMAIN_ID"] = before


def commands(*pages: str) -> list[list[str]]:
    """Return the whole `mm-nav go --pose` and `mm-nav robot check` commands of some pages, without options for other robots."""
    found = importlib.util.spec_from_file_location("docs_of_commands", ROOT / "test/test_docs.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    words = [module.own(command) for command in module.ALL if command.whole and command.page in pages]
    return [each for each in words if each and (each[:2] == ["go", "--pose"] or each == ["robot", "check"])]


def test_commands_of_the_pages(stack: Path) -> None:
    ran = [*commands("README.md"), ["robot", "check"]]
    assert len(ran) >= 2
    for words in ran:
        done = subprocess.run(
            [sys.executable, "-m", "mm_nav.cli", *words], cwd=stack, capture_output=True, text=True, timeout=90
        )
        # On a busy machine rates are too low, and the check says so; test_graph_check has a healthy stack pass it.
        well = done.returncode == 0 if words[0] == "go" else "is active" in done.stdout
        assert well, f"mm-nav {' '.join(words)}: {done.stdout[-1500:]}{done.stderr[-500:]}"


@pytest.mark.parametrize("number", [0, 1])
def test_programs_of_the_page_on_python(stack: Path, number: int) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python_api.md").read_text(), re.MULTILINE | re.DOTALL)
    program = blocks[number]
    for said, quick in SENTENCES.items():
        program = program.replace(f'"{said}"', f'"{quick}"')
    done = subprocess.run([sys.executable, "-c", program], cwd=stack, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-1500:]
    # The second is canceled after two seconds, unless the robot stands there already.
    assert re.search(("turned", "CANCELED|reached the pose")[number], done.stdout), done.stdout
