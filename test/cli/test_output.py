"""JSON files of the commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mm_nav.cli.output import require_writable, write_json
from mm_nav.errors import ConfigError


def test_numbers_that_json_lacks_become_null(tmp_path):
    path = tmp_path / "new" / "result.json"
    write_json(
        path,
        {"a": math.nan, "b": [math.inf, 1], "c": np.float32(0.5), "d": np.array([1, 2]), "e": Path("x"), "f": None},
    )
    assert json.loads(path.read_text()) == {"a": None, "b": [None, 1], "c": 0.5, "d": [1, 2], "e": "x", "f": None}
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_places_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="file"):
        require_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        require_writable(tmp_path / "file" / "x.json")
    require_writable(None)
