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
    outcomes = {fuzz.one(seed, pool, tmp_path / "damaged") for seed in range(200)}
    assert {outcome.split(" ", 1)[1] for outcome in outcomes} == {"read", "damage noted", "refused"}


def test_damaged_drives_give_observations_or_an_error(tmp_path):
    fuzz.watch()
    (tmp_path / "samples").mkdir()
    drives = fuzz.robot_samples(tmp_path / "samples")
    outcomes = {fuzz.one(seed, drives, tmp_path / "damaged", reader=True) for seed in range(80)}
    assert {outcome.split(" ", 1)[1] for outcome in outcomes} == {"read", "damage noted", "refused"}
