"""The log of a long run: a line of JSON with its settings, then one for each result as it comes, so that it can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from mm_nav.errors import ConfigError

Result = TypeVar("Result")


class RunLog(Generic[Result]):
    """results: what the log held of an earlier run with the same settings; empty without `resume`, which begins it anew.

    path: of the log; None = nothing is kept. read: makes a result of a line's JSON; may raise ValueError, TypeError or KeyError.
    Raises ConfigError when the log was written with other settings, or cannot be read.
    """

    def __init__(
        self, path: Path | None, settings: Mapping[str, Any], resume: bool, read: Callable[[dict[str, Any]], Result]
    ) -> None:
        self._path = path
        self.results: list[Result] = []
        if path is None:
            return
        first = json.dumps(settings, sort_keys=True)
        lines: list[str] = []
        if resume and path.exists():
            # What follows the last newline was cut off while it was written.
            head, *lines = path.read_text(encoding="utf-8").split("\n")[:-1] or [""]
            try:
                same = json.loads(head) == json.loads(first)
                self.results = [read(json.loads(line)) for line in lines] if same else []
            except (ValueError, TypeError, KeyError) as error:
                raise ConfigError(f"{path} cannot be read ({error}): run without --resume") from error
            if not same:
                raise ConfigError(
                    f"{path} was written with other settings: run without --resume, or give another --json file"
                )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in (first, *lines)), encoding="utf-8")

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append a result."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
