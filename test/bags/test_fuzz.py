"""A few hundred of the damaged recordings of fuzz.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return fuzz.samples(tmp_path_factory.mktemp("samples"))


def test_damaged_recordings_give_messages_or_an_error(pool, tmp_path):
    fuzz.watch()
    outcomes = {fuzz.one(seed, pool, tmp_path / "damaged") for seed in range(300)}
    assert {outcome.split(" ", 1)[1] for outcome in outcomes} == {"read", "damage noted", "refused"}
