"""DAgger: what is wrong with a policy's answer, which places are kept, and shards that training can read."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr

from mm_nav.cli.main import main
from mm_nav.command import Grounding
from mm_nav.config_file import from_mapping
from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.learning import dagger as module
from mm_nav.learning.collect import CollectConfig, collect, training_world
from mm_nav.learning.dagger import DaggerConfig, dagger, summarise_dagger
from mm_nav.learning.visits import Reason, Visit, choose, fault_of, mark_ending
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.policy import default_model
from mm_nav.sim.catalogue import COLOURS
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES
from mm_nav.sim.instructions import described_objects, phrase_meaning
from mm_nav.sim.objects import scene_objects
from mm_nav.sim.splits import FIRST_HELD_OUT_SEED

LOOKS = CollectConfig(extra_styles=0.0, textured=0.0, shadows=0.0)
SHORT = DaggerConfig(
    first_seed=2000, worlds=2, episodes=1, frames=6, beta=0.5, mix="step", time_limit_s=1.5, worlds_per_shard=1
)


def grounding(visible: float, peak: int) -> Grounding:
    bearings = np.linspace(0.6, -0.6, 25, dtype=np.float32)  # 0.05 rad apart
    probs = np.zeros(25, np.float32)
    probs[peak] = 1.0
    return Grounding(bearings, probs, np.full(25, 2.0, np.float32), visible)


@pytest.mark.parametrize(
    ("said", "true", "fault"),
    [
        (grounding(0.9, 3), grounding(0.99, 3), Reason(0)),
        (grounding(0.9, 3), grounding(0.99, 5), Reason(0)),
        (grounding(0.9, 3), grounding(0.99, 6), Reason.MISPLACED),
        (grounding(0.9, 3), grounding(0.0, 3), Reason.FALSE_ALARM),
        (grounding(0.1, 3), grounding(0.99, 3), Reason.MISSED),
        (grounding(0.1, 3), grounding(0.0, 20), Reason(0)),
    ],
)
def test_faults_are_told_apart(said: Grounding, true: Grounding, fault: Reason) -> None:
    assert fault_of(said, true) == fault


def drive(count: int, hard: int) -> list[Visit]:
    """A straight drive at 0.1 m a step; the first `hard` steps are decisive."""
    return [
        Visit(k * 100_000_000, Pose2D(0.1 * k, 0.0, 0.0), ("the box",), Reason.MISSED if k < hard else Reason(0))
        for k in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_decisive_places_come_first_and_none_twice(seed: int) -> None:
    def kept(hard: int) -> list[Visit]:
        return choose(drive(200, hard), 12, 0.75, 0.3, 0.35, np.random.default_rng(seed))

    most = kept(100)
    assert len(most) == 12 and sum(bool(visit.reason) for visit in most) == 9
    stamps = [visit.stamp_ns for visit in most]
    assert stamps == sorted(stamps)
    places = [visit.pose.x for visit in most]
    assert min(np.diff(places)) >= 0.3 - 1e-9
    assert len(kept(0)) == 3, "where all goes well, little is kept"
    few = kept(5)  # half a metre: two places at most
    assert 1 <= sum(bool(visit.reason) for visit in few) <= 2 and len(few) <= 5
    other = [replace(visit, phrases=("the cone",)) for visit in drive(1, 1)]
    assert len(choose(drive(1, 1) + other, 12, 0.75, 0.3, 0.35, np.random.default_rng(seed))) == 2


def test_the_end_of_a_failure_is_decisive() -> None:
    visits = drive(60, 0)
    mark_ending(visits)
    assert [bool(visit.reason) for visit in visits] == [False] * 29 + [True] * 31


def test_phrases_mean_what_they_describe() -> None:
    assert phrase_meaning("the crimson carton") == ("box", "red")
    assert phrase_meaning("a plant") == ("plant", "")
    assert phrase_meaning("the elephant") == ("", "")
    assert described_objects("the elephant", scene_objects(training_world(2000, LOOKS)[1])) == ()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"first_seed": FIRST_HELD_OUT_SEED - 1, "worlds": 2}, "held-out"),
        ({"beta": 1.5}, "beta"),
        ({"mix": "day"}, "mix"),
        ({"kinds": ["riddle"]}, "riddle"),
        ({"episodes": 0}, "above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        from_mapping(DaggerConfig, wrong, "dagger")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"episodes": 1, "frames": 3, "time_limit_s": 0.5, "worlds": 5}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"dagger": settings, "collect": {"extra_styles": 0.0}}))
    arguments = ["dagger", "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "out"), "--json"]
    arguments += [str(tmp_path / "d.json"), "--worlds", "1", "--seed", "2001", "--beta", "0", "--workers", "1"]
    assert main(arguments) == 0
    data = json.loads((tmp_path / "d.json").read_text())
    assert data["episodes"] == data["policy_episodes"] == 1 and data["success_rate"] == 0.0
    assert 1 <= data["frames"] <= 3 and 0.0 <= data["wrong_share"] <= data["hard_share"] <= 1.0
    assert data["first_seed"] == 2001 and "1 episodes, 1 of them driven by the policy" in capsys.readouterr().out


def test_shards_are_as_those_of_collect_and_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, model = PolicyConfig(), default_model()
    out, drives = tmp_path / "dagger", []
    assert list(dagger(out, SHORT, LOOKS, policy, model, 1)) == [(1, 2), (2, 2)]
    list(collect(tmp_path / "frames", replace(LOOKS, worlds=1, frames=2), policy, 1))
    plain = zarr.open_group(str(tmp_path / "frames/shard_00000.zarr"), mode="r")
    shard = zarr.open_group(str(out / "shard_02000.zarr"), mode="r")
    assert set(shard.array_keys()) == {*plain.array_keys(), "asked", "reason"}
    for name in plain.array_keys():
        assert shard[name].dtype == plain[name].dtype and shard[name].shape[1:] == plain[name].shape[1:]
    assert set(shard.attrs["worlds"][0]) == set(plain.attrs["worlds"][0])
    (episode,) = shard.attrs["episodes"]
    asked = {tuple(pair) for frame in shard["asked"][:] for pair in frame} - {(-1, -1)}
    category, colour = phrase_meaning(episode["instruction"])
    wanted = list(ALL_CATEGORIES).index(category), list(COLOURS).index(colour) if colour else -1
    assert wanted in asked and len(shard["image"][:]) == episode["frames"] >= 1
    assert np.isfinite(shard["cost"][:]).any(axis=1).all()
    summary = summarise_dagger(out)
    assert summary["episodes"] == 2 and summary["frames"] >= 2
    assert summary["frames_ending"] > 0, "1.5 s are too short for any way"
    assert all(math.isfinite(value) for value in summary.values())

    # The second shard was never written; only it is made again, and is the same.
    first, second = (out / f"shard_0200{k}.zarr" for k in (0, 1))
    before = zarr.open_group(str(second), mode="r")["pose"][:]
    second.rename(out / "shard_02001.part")
    real = module.dagger_world
    monkeypatch.setattr(module, "dagger_world", lambda seed, *rest: drives.append(seed) or real(seed, *rest))
    assert list(dagger(out, SHORT, LOOKS, policy, model, 1))[-1] == (2, 2)
    assert drives == [2001] and first.exists() and not (out / "shard_02001.part").exists()
    np.testing.assert_array_equal(zarr.open_group(str(second), mode="r")["pose"][:], before)

    with pytest.raises(ConfigError, match="other settings"):
        list(dagger(out, replace(SHORT, beta=0.6), LOOKS, policy, model, 1))
    with pytest.raises(ConfigError, match="other settings"):
        list(dagger(tmp_path / "frames", SHORT, LOOKS, policy, model, 1))
    with pytest.raises(ConfigError, match="does not exist"):
        list(dagger(out, SHORT, LOOKS, policy, tmp_path / "none.onnx", 1))
