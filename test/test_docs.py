"""What README.md and docs/ say works: every command is run where it can be; of the others options, files and names are checked.

A command that fits none of the tables below fails the test: say there how it is checked, or why it cannot be.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml

from mm_nav.bags.writer import Storage
from mm_nav.cli.main import SUBCOMMANDS, build_parser, main
from mm_nav.evaluation.episode_bags import write_episode_bag
from mm_nav.robot import RobotConfig
from mm_nav.ros.launching import arguments
from mm_nav.ros.topics import topics
from mm_nav.sim.rig import life_from

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LAUNCH = {"sim": arguments.SIM, "gazebo": arguments.GAZEBO, "robot": arguments.ROBOT, "replay": arguments.REPLAY}
# Words that stand for what the reader puts in.
PLACEHOLDER = re.compile(r"^(…|\.\.\.|[A-Z][A-Z_]*|<.*>)$")

# Run in a folder that has what they name (`workspace`), in the order of the pages. Of mm-nav's other commands only the arguments
# are checked: they take minutes, a GPU, or a running robot (test/ros/test_docs_live.py).
RUN = (
    r"mm-nav world (check|generate) ",
    r"mm-nav replay ",
    r"mm-nav robot model ",
    r"mm-nav calibrate --print-board ",
    r"mm-nav profile ",
)
# Checked elsewhere, or of a user's machine that is not here. Without variables in front.
ELSEWHERE = {
    r"(sudo )?(apt|rosdep) ": "installs packages of the system; test_package.py compares package.xml with what is imported",
    r"(sudo )?python3 -m pip ": "installs on the user's machine; test_docker.py checks the pins",
    r"python3 -c 'import onnxruntime": "of the robot's own ONNX Runtime",
    r"colcon ": "test/ros/test_colcon.py builds and tests a workspace",
    r"(source '?(/opt/|install/)|cd |export |SHARE=)": "the user's shell",
    r"(sudo )?(nvpmodel|jetson_clocks|tegrastats)\b|cat /etc/nv_tegra|grep POWER_MODEL": "a Jetson's own",
    r"(sudo )?(systemctl|journalctl|udevadm|useradd|install|fallocate|chmod|mkswap|swapon) ": "test_systemd.py checks the files",
    r"sudo -u mm_nav ": "the user's shell",
    r"docker compose ": "needs Docker; test_docker.py checks the file",
    r"sed ": "test/ros/test_sros2.py runs it",
    r"ros2 security ": "needs sros2; test/ros/test_sros2.py checks the policy",
    r"ros2 (topic|param|lifecycle|bag|service|launch foxglove_bridge|run camera_calibration)": "needs a ROS installation",
}


# Commands are also in blocks that are merely indented.
INDENTED = re.compile(r"^    (mm-nav|ros2|make) ")


@dataclass(frozen=True)
class Command:
    """A command line of a page. whole: in a block for the shell, not in a sentence."""

    page: str
    line: int
    text: str
    whole: bool

    @property
    def bare(self) -> str:
        """The text without variables in front and without the environment's folder."""
        return re.sub(r"^(\w+=('[^']*'|\S*) )+", "", self.text).removeprefix(".venv/bin/")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def _split(text: str) -> list[str]:
    """Return the commands of a line: without comments, redirections and what puts them into the background."""
    text = re.sub(r"\$\([^)]*\)", "SUBSTITUTED", text)
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;<>")
    except ValueError:
        return [text]
    lexer.whitespace_split = True
    lexer.commenters = "#"
    parts: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set("&|;"):
            parts.append([])
        else:
            parts[-1].append(token)
    return [shlex.join(part) for part in parts if part]


def commands() -> Iterator[Command]:
    """Return every command of every page."""
    for page in PAGES:
        language, block, start = None, "", 0
        for number, line in enumerate(page.read_text().splitlines(), 1):
            if line.startswith("```"):
                language = line[3:].strip() if language is None else None
                continue
            if language in ("sh", "bash", "console") or (language is None and (block or INDENTED.match(line))):
                start = start if block else number
                block += line.strip().removeprefix("$ ")
                if block.endswith("\\"):
                    block = block[:-1]
                    continue
                yield from (Command(page.name, start, text, True) for text in _split(block))
                block = ""
            elif language is None:
                for text in re.findall(r"`((?:mm-nav|ros2 launch|ros2 run|make) [^`]+)`", line):
                    yield Command(page.name, number, text, False)


ALL = list(commands())


def is_placeholder(word: str) -> bool:
    return PLACEHOLDER.match(word) is not None


def own(command: Command) -> list[str] | None:
    """Return the arguments of mm-nav, where the command is one of it."""
    words = re.sub(r"\s*…$", "", command.bare).split() if not command.whole else shlex.split(command.bare)
    if words and Path(words[0]).name == "mm-nav":
        return ["replay-compare", *words[3:]] if words[1:3] == ["replay", "compare"] else words[1:]
    return None


def _sub(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def check_options(command: Command, words: list[str]) -> None:
    """Every word that begins with a dash is an option of the subcommand."""
    name = words[0]
    if name.startswith("-") or is_placeholder(name):
        return
    assert name in SUBCOMMANDS, f"{command}: mm-nav has no such command"
    parser = _sub(build_parser(name))[name]
    rest = words[1:]
    while rest and rest[0] in _sub(parser):
        parser = _sub(parser)[rest.pop(0)]
    known = {option for action in parser._actions for option in action.option_strings}
    for word in rest:
        if re.match(r"^--?[a-z]", word):
            assert word.split("=")[0] in known, f"{command}: no option {word}; there are {', '.join(sorted(known))}"


def check_launch(command: Command, words: list[str]) -> None:
    """The launch file and its arguments are there."""
    file, *given = words
    name = file.split("/")[-1].removesuffix(".launch.py")
    if is_placeholder(name) or is_placeholder(file):
        return
    assert (ROOT / "launch" / f"{name}.launch.py").is_file(), f"{command}: there is no such launch file"
    known = {argument.name: argument for argument in LAUNCH[name]}
    for word in given:
        if ":=" in word:
            key, value = word.split(":=", 1)
            assert key in known, f"{command}: {name}.launch.py has no argument {key}; it has {', '.join(known)}"
            choices = known[key].choices
            assert not choices or value in choices or is_placeholder(value), f"{command}: {key} is one of {choices}"


def check(command: Command) -> str:
    """Check a command; return how, or "" where nothing is known about such."""
    words = own(command)
    if words is not None:
        if not words:
            return "mm-nav"
        check_options(command, words)
        if command.whole and not any(is_placeholder(word) for word in words):
            try:
                build_parser(words[0]).parse_args(words)
            except SystemExit as error:
                assert error.code == 0, f"{command}: is refused"
        return "mm-nav"
    for pattern, reason in ELSEWHERE.items():
        if re.match(pattern, command.bare):
            return reason
    try:
        words = shlex.split(command.bare)
    except ValueError:
        words = command.bare.split()
    if words[:3] == ["ros2", "launch", "mm_nav"]:
        check_launch(command, words[3:])
        return "launch"
    if words[:3] == ["ros2", "run", "mm_nav"]:
        programs = re.search(r"^NODES = \((.*?)\)$", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)
        assert programs is not None and f'"{words[3].removeprefix("mm_nav_")}"' in programs[1], (
            f"{command}: no such program"
        )
        return "run"
    if words[:3] == ["ros2", "action", "send_goal"]:
        *_, name, kind, goal = words
        assert name == f"/{topics().navigate_to}" and kind == "mm_nav_interfaces/action/NavigateTo", (
            f"{command}: no such action"
        )
        fields = re.findall(
            r"^\S+ (\w+)", (ROOT / f"interfaces/{kind}.action").read_text().split("---")[0], re.MULTILINE
        )
        assert set(yaml.safe_load(goal)) <= set(fields), f"{command}: the goal has {fields}"
        return "action"
    if words[:1] == ["make"]:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for word in words[1:]:
            assert "=" in word or word.startswith("-") or word in targets or is_placeholder(word), (
                f"{command}: no target {word}"
            )
        return "make"
    return ""


def test_every_command_is_known_and_right() -> None:
    unknown, wrong = [], []
    for command in ALL:
        try:
            if not check(command):
                unknown.append(str(command))
        except AssertionError as error:
            wrong.append(str(error).splitlines()[0])
    assert not wrong, "\n".join(wrong)
    assert not unknown, "say in this test how these are checked:\n" + "\n".join(unknown)


def test_no_reason_is_left_over() -> None:
    for pattern in (*RUN, *ELSEWHERE):
        assert any(re.match(pattern, command.bare) for command in ALL), f"no page has a command like {pattern}"


def test_files_that_pages_link_to_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_anchors_that_pages_link_to_are_there() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            text = ((page.parent / target) if target else page).read_text()
            titles = {
                re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
                for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            }
            assert anchor in titles, f"{page.name} links to {target}#{anchor}; there are {sorted(titles)}"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has what the pages' commands name: recordings, and the robot's file of docs/robot.md."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("worlds", "config", "models"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "drives").mkdir()
    for name in ("drive_1", "drives/one", "monday", "tuesday.bag"):
        storage: Storage = "ros1" if name.endswith(".bag") else "mcap"
        write_episode_bag(folder / name, 10_001, "pose", camera=(96, 72), time_limit_s=3.0, storage=storage)
    (folder / "drive.mcap").symlink_to(next((folder / "drive_1").glob("*.mcap")))
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/robot.md").read_text(), re.MULTILINE | re.DOTALL)
    (folder / "my_robot.yaml").write_text(next(block for block in blocks if block.startswith("body:")))
    return folder


def test_what_can_be_run_here_does_what_the_pages_say(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    ran: set[str] = set()
    for command in ALL:
        if not command.whole or command.bare in ran or not any(re.match(pattern, command.bare) for pattern in RUN):
            continue
        words = own(command)
        assert words is not None
        if any(is_placeholder(word) for word in words):
            continue
        ran.add(command.bare)
        if words[0] == "replay-compare":
            shutil.copy("before.json", "after.json")  # the other model's would be made in the same way
        assert main(words) == 0, str(command)
        for option in ("--json", "--report", "--sdf", "--urdf", "--bridge", "--out", "--print-board"):
            if option in words:
                assert (workspace / words[words.index(option) + 1]).exists(), f"{command}: wrote nothing"
    assert len(ran) >= 15


def test_keys_of_robots_files_are_told_and_the_life_of_the_page_is_one() -> None:
    page = (ROOT / "docs/robot.md").read_text()
    untold = [field.name for field in fields(RobotConfig) if field.name != "name" and field.name not in page]
    assert not untold, f"robot.md does not name {untold}"
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/simulator.md").read_text(), re.MULTILINE | re.DOTALL)
    life = life_from(yaml.safe_load(block), "simulator.md")
    assert life.walkers and life.doors


def test_blocks_of_python_are_python() -> None:
    for page in PAGES:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            compile(block, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
