"""What README.md and docs/ say works: every command is run here where it can be; of all others options, files and names are checked.

A command that fits none of the tables below fails the test: say there how it is checked, or why it cannot be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mm_nav.cli.main import SUBCOMMANDS, build_parser, main
from mm_nav.ros.launching import arguments

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LAUNCH = {"sim": arguments.SIM, "gazebo": arguments.GAZEBO, "robot": arguments.ROBOT, "replay": arguments.REPLAY}
# Words that stand for what the reader puts in.
PLACEHOLDER = re.compile(r"^(…|\.\.\.|[A-Z][A-Z_]*|<.*>)$")

# Run in a folder that has what they name (`workspace`). The rest of mm-nav's commands is parsed only: they take minutes or a robot.
RUN = (
    r"mm-nav world (check|generate)\b",
    r"mm-nav replay ",
    r"mm-nav robot model\b",
    r"mm-nav calibrate --print-board\b",
    r"mm-nav profile\b",
)
# What belongs to a user's machine, and is not here.
ELSEWHERE = {
    r"(sudo )?(apt|apt-get) ": "installs packages of the system",
    r"(sudo )?rosdep ": "needs a ROS installation",
    r"source /opt/ros/": "needs a ROS installation",
}


@dataclass(frozen=True)
class Command:
    """A command line of a page. whole: in a block for the shell, not in a sentence."""

    page: str
    line: int
    text: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def _split(text: str) -> list[str]:
    """Return the commands of a line: without comments, redirections and what puts them into the background."""
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
            if language in ("sh", "bash", "console"):
                start = start if block else number
                block += line.removeprefix("$ ")
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
    words = re.sub(r"\s*…$", "", command.text).split() if not command.whole else shlex.split(command.text)
    while words and re.match(r"^\w+=", words[0]):
        words.pop(0)
    if words and Path(words[0]).name == "mm-nav":
        return words[1:]
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
        if re.match(pattern, command.text):
            return reason
    try:
        words = shlex.split(command.text)
    except ValueError:
        words = command.text.split()
    while words and (re.match(r"^\w+=", words[0]) or words[0] in ("sudo", "exec", "timeout")):
        words.pop(0)
    if words[:3] == ["ros2", "launch", "mm_nav"]:
        check_launch(command, words[3:])
        return "launch"
    if words[:3] == ["ros2", "run", "mm_nav"]:
        programs = re.search(r"^NODES = \((.*?)\)$", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)
        assert programs is not None and f'"{words[3].removeprefix("mm_nav_")}"' in programs[1], f"{command}: no such program"
        return "run"
    if words[:1] == ["make"]:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for word in words[1:]:
            assert "=" in word or word.startswith("-") or word in targets or is_placeholder(word), f"{command}: no target {word}"
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
        assert any(re.match(pattern, command.text) for command in ALL), f"no page has a command like {pattern}"


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
