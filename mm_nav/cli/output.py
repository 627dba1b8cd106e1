"""Results of a command as files and on the terminal."""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mm_nav.errors import ConfigError


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Declare --json FILE."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE as flat JSON")


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Declare --workers and --ray."""
    parser.add_argument("--workers", type=int, metavar="N", help="jobs at once (default: one a core)")
    parser.add_argument(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="run on Ray instead of plain processes: local (one is started here), auto or host:port (a running cluster)",
    )


def add_drive_options(parser: argparse.ArgumentParser) -> None:
    """Declare --episodes and --seed, of episodes that two models drive, and how they are run."""
    parser.add_argument(
        "--episodes", type=int, default=0, metavar="N", help="episodes that both drive (default: 0, none)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="first seed of these (default: 5000)")
    add_worker_options(parser)


def drive_seed(args: argparse.Namespace) -> int:
    """Return the first seed of `add_drive_options`. Raises ConfigError for numbers that cannot be run, and where nothing drives."""
    seed = 5_000 if args.seed is None else int(args.seed)
    if args.episodes < 0 or seed < 0:
        raise ConfigError(f"--episodes {args.episodes} and --seed {seed}: give 0 or more")
    if args.episodes == 0:
        refuse_options(args, "seed workers ray", "is of the episodes that both models drive: give --episodes N too")
    return seed


def refuse_options(args: argparse.Namespace, names: str, why: str) -> None:
    """Raise ConfigError where one of these options is given. names: separated by spaces; of options that hold None, False, "" or []
    where they are not given."""
    for name in names.split():
        value = getattr(args, name.replace("-", "_"))
        if not (value is None or value is False or value in ("", [])):
            raise ConfigError(f"--{name} {why}")


def require_writable(path: Path | None) -> None:
    """Create the folder of an output file before long work begins. Raises ConfigError when it cannot be written."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path.parent} cannot be made ({error.strerror}): give a path in a folder you may write"
        ) from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: give the path of a file in a folder you may write")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object; a reader sees the old file or the whole new one. Numbers that JSON lacks become null."""
    require_writable(path)
    text = json.dumps(_plain(data), indent=2, allow_nan=False) + "\n"
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def progress_bar() -> Progress:
    """Return a progress display on stderr, so that stdout stays clean for results."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
