"""The frame of `mm-nav`: help, version, errors and exit statuses."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from mm_nav import __version__
from mm_nav.cli import main as module
from mm_nav.cli.main import SUBCOMMANDS, load, main
from mm_nav.errors import BagError


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "mm_nav.cli", *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_explains_itself(name, capsys):
    command = load(name)
    given = (command.NAME, command.HELP)
    assert given == (name, SUBCOMMANDS[name])
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    text = " ".join(capsys.readouterr().out.split()).replace("Examples:", "Example:")
    assert ended.value.code == 0
    text = text.replace("mm-nav replay compare", "mm-nav replay-compare")
    assert f"usage: mm-nav {name}" in text and f"Example: mm-nav {name}" in text
    assert "--json" in text or "ACTION" in text or "SUITE" in text


@pytest.mark.parametrize(
    "words",
    [
        ("world", "check"),
        ("world", "generate"),
        ("evaluate", "language"),
        ("evaluate", "ablation"),
        ("robot", "check"),
        ("robot", "model"),
    ],
)
def test_nested_commands_explain_themselves(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0 and "--json" in text and f"Example: mm-nav {' '.join(words)}" in text


def test_help_lists_all_and_imports_nothing_heavy(capsys):
    code = (
        "import sys\nfrom mm_nav.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'numpy', 'cv2', 'torch', 'onnxruntime', 'rclpy', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    assert "HEAVY []" in out
    assert all(name in out for name in SUBCOMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and __version__ in capsys.readouterr().out


def test_wrong_usage_is_status_2():
    for arguments in ([], ["fly"], ["replay"], ["world", "generate", "--seed", "x", "--out", "y"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


@pytest.fixture
def command(monkeypatch):
    def install(run):
        fake = SimpleNamespace(NAME="replay", HELP="", add_arguments=lambda parser: None, run=run)
        monkeypatch.setattr(module, "load", lambda name: fake)

    return install


def test_errors_are_one_line_and_status_2(command, capsys):
    def fail(args):
        raise BagError("drive.bag is empty:\n   record it again")

    command(fail)
    assert main(["replay"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "mm-nav: error: drive.bag is empty: record it again\n" and captured.out == ""


def test_interrupt_is_status_130(command, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    command(interrupted)
    assert main(["replay"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_bugs_are_not_hidden(command):
    def bug(args):
        raise ZeroDivisionError

    command(bug)
    with pytest.raises(ZeroDivisionError):
        main(["replay"])


def test_status_of_the_command_is_passed_on(command):
    command(lambda args: 1)
    assert main(["replay"]) == 1


def test_as_a_process(tmp_path):
    done = run("replay", str(tmp_path / "none.bag"))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("mm-nav: error: ") and done.stderr.count("\n") == 1
