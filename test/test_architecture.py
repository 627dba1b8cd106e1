"""Imports point downwards, running the stack needs no torch, and the top level is what it should be."""

import subprocess
import sys
from pathlib import Path

import pytest

TOP_LEVEL = {
    "package.xml", "setup.py", "README.md", "mm_nav", "launch", "models", "worlds", "test", "config",
    "setup.cfg", "pyproject.toml", "Makefile", "LICENSE", "docs", "interfaces", ".ci", ".gitignore", "colcon.pkg",
    "docker", ".dockerignore",
}  # fmt: skip


def test_import_contracts(root: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "module", ["mm_nav.navigator", "mm_nav.runtime.policy", "mm_nav.replay.run", "mm_nav.sim.simulator"]
)
def test_running_the_stack_imports_neither_torch_nor_ros(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'rclpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_top_level_is_fixed(root: Path) -> None:
    result = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    assert {line.split("/")[0] for line in result.stdout.splitlines()} <= TOP_LEVEL


def test_no_file_is_too_long_to_read(root: Path) -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in (root / "mm_nav").rglob("*.py")}
    assert {str(p.relative_to(root)): n for p, n in lengths.items() if n > 500} == {}
