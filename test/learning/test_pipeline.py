"""Collect, train, export, run: the whole way, small."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from mm_nav.errors import ConfigError, ModelError
from mm_nav.goal import PolicyGoal
from mm_nav.language.vocabulary import RIVALS
from mm_nav.learning.collect import CollectConfig, collect, collect_world, training_world
from mm_nav.learning.frames import MAX_OBJECTS, RANGE_STRIDE
from mm_nav.learning.phrases import PhraseBank
from mm_nav.policy.config import PolicyConfig
from mm_nav.resources import resource_path
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.sim.generator import generate_world
from mm_nav.sim.objects import scene_objects
from mm_nav.sim.sensors import CameraConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.splits import held_out, is_held_out
from mm_nav.sim.world import parse_world

SMALL = PolicyConfig(width=64, feedforward=64, fusion_layers=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    config = CollectConfig(worlds=4, frames=24, worlds_per_shard=2)
    assert list(collect(folder, config, SMALL, workers=1))[-1] == (4, 4)
    return folder


def test_held_out_worlds_are_refused() -> None:
    with pytest.raises(ConfigError, match="held-out"):
        CollectConfig(first_seed=9_990, worlds=20)


def test_the_same_world_gives_the_same_frames() -> None:
    config = CollectConfig(worlds=1, frames=6)
    first, second = collect_world(2, config, SMALL), collect_world(2, config, SMALL)
    assert first is not None and second is not None
    assert [item.name for item in first.objects] == [item.name for item in second.objects]
    for name in first.arrays:
        np.testing.assert_array_equal(first.arrays[name], second.arrays[name])


def test_labels_agree_with_each_other(data: Path) -> None:
    """What is called near by the expert is near in the picture's distances, and paths lead towards things."""
    group = zarr.open_group(str(data / "shard_00000.zarr"), mode="r")
    shard, worlds = {name: group[name][:] for name in group.array_keys()}, group.attrs["worlds"]
    seen = 0
    for k in range(len(shard["image"])):
        numbers = shard["numbers"][k][::RANGE_STRIDE, ::RANGE_STRIDE]
        for number in set(np.unique(numbers)) - {0}:
            nearest = float(shard["planar"][k][numbers == number].min())
            surface = float(shard["surface"][k][number - 1])
            assert number <= len(worlds[shard["world"][k]]["objects"])
            # A table's top or a lamp's shade can be nearer than the footprint's visible part, never much farther.
            assert nearest > surface - 0.35
            seen += 1
    assert seen > 10
    reachable = np.isfinite(shard["cost"])
    steps = np.hypot(*np.moveaxis(shard["paths"].astype(float)[:, :, 0], -1, 0))
    assert reachable.any() and steps[reachable].max() < 0.3


def test_what_is_held_out_is_never_seen() -> None:
    config = CollectConfig()
    removed = 0
    for seed in range(12):
        generated, world = training_world(seed, config)
        names = {model.name.split("::")[0] for model in world.models}
        hidden = {item.name for item in held_out(generated.objects)}
        assert not hidden & names
        assert names >= {item.name for item in generated.objects} - hidden
        removed += len(hidden)
    assert removed > 5
    bank, rng = PhraseBank(), np.random.default_rng(0)
    item = {"category": "barrel", "colour": "red"}
    drawn = [make(rng) for _ in range(300) for make in (bank.anything, lambda r: bank.near_miss(r, item, ()))]
    assert not any(is_held_out(category, colour) for _, colour, category in drawn)


def test_what_has_no_number_is_not_there() -> None:
    generated, world = training_world(63, CollectConfig())  # a warehouse with 46 things
    assert len(generated.objects) > MAX_OBJECTS == len(scene_objects(world))


def test_near_misses_are_mostly_of_kinds_that_look_alike() -> None:
    bank, rng = PhraseBank(), np.random.default_rng(0)
    drawn = [bank.near_miss(rng, {"category": "chair", "colour": "blue"}, ()) for _ in range(400)]
    others = [category for _, _, category in drawn if category != "chair"]
    alike = sum(category in RIVALS["chair"] for category in others)
    assert 0.6 < alike / len(others) < 0.95 and len(set(others)) > 8
    colours = {colour for _, colour, category in drawn if category == "chair"}
    assert len(colours) > 4


def test_near_misses_mix_what_is_in_view() -> None:
    bank, rng = PhraseBank(), np.random.default_rng(0)
    item, others = {"category": "barrel", "colour": "red"}, [{"category": "box", "colour": "blue"}]
    drawn = [bank.near_miss(rng, item, (item, *others))[1:] for _ in range(300)]
    assert drawn.count(("blue", "barrel")) > 90
    # A pair that is held out is not made of two that are not.
    drawn = [bank.near_miss(rng, item, ({"category": "box", "colour": "orange"},))[1:] for _ in range(300)]
    assert ("orange", "barrel") not in drawn


def test_other_settings_are_not_mixed_in(data: Path) -> None:
    with pytest.raises(ConfigError, match="other settings"):
        list(collect(data, CollectConfig(worlds=5, frames=24, worlds_per_shard=2), SMALL, workers=1))


def test_train_export_run(data: Path, tmp_path: Path) -> None:
    """With a frozen backbone; `mm-nav train --smoke` goes the same way with one that is trained."""
    torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (make setup-train)")
    from mm_nav.learning.closed_loop import compare_closed_loop
    from mm_nav.learning.export import PARITY_TOLERANCE, export_policy
    from mm_nav.learning.torch_policy import TorchPolicy
    from mm_nav.learning.train import TrainConfig, load_policy, train

    torch.set_num_threads(2)
    losses: list[float] = []
    config = TrainConfig(data=str(data), epochs=6, batch=8, phrases=2, warmup_steps=2)
    small = replace(SMALL, backbone="efficientnet_lite0")
    metrics = train(config, small, tmp_path, lambda state, steps, values: losses.append(values["total"]))
    assert np.isfinite(metrics["total"]) and 0.0 <= metrics["visible_accuracy"] <= 1.0
    again = train(config, small, tmp_path, resume=True)
    assert again["total"] == pytest.approx(metrics["total"], rel=1e-3), "a finished run has nothing left to train"
    model = tmp_path / "small.onnx"
    assert export_policy(load_policy(tmp_path / "checkpoint.pt"), model, metrics=metrics) <= PARITY_TOLERANCE

    # Without memory and rivals, for the same view is asked about again and again.
    policy = OnnxPolicy(model, provider="cpu", memory=False, rivals=False)
    generated = generate_world(1)
    simulator = Simulator(parse_world(generated.sdf), SimConfig(camera=CameraConfig()), start=generated.start)
    output = policy(simulator.observe(), PolicyGoal("g", "the red chair"))
    assert output.bearing_probs.sum() == pytest.approx(1.0, abs=1e-4) and 0.0 <= output.visible <= 1.0
    assert output.heatmap is not None and output.heatmap.shape == (SMALL.grid_rows, SMALL.grid_columns)
    assert output.waypoints.shape == (SMALL.hypotheses, SMALL.steps, 2)
    # A second phrase in the same call, a picture as the goal, and what is remembered.
    observation = simulator.observe()
    both = policy(observation, PolicyGoal("g", "the table", others=("the red chair",)))
    assert both.others[0].visible == pytest.approx(output.visible, abs=1e-4)
    assert observation.image is not None
    shown = policy(observation, PolicyGoal("h", image=observation.image.rgb))
    assert shown.visible > 0.0 and shown.heatmap is not None
    blind = policy(simulator.observe(image=False), PolicyGoal("g", "the red chair"))
    assert blind.visible == 0.0 and blind.heatmap is None

    both_drive = compare_closed_loop(tmp_path / "checkpoint.pt", model, 5000, 1, workers=1, time_limit_s=2.0)
    assert both_drive["same_endings"] == 1.0 and both_drive["p_value"] == 1.0
    with pytest.raises(ModelError, match="different networks"):
        TorchPolicy(tmp_path / "checkpoint.pt", resource_path("models/tiny.onnx"))

    manifest = json.loads(model.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps({**manifest, "preprocessing": "other"}))
    with pytest.raises(ModelError, match="another preprocessing"):
        OnnxPolicy(model)
    model.with_suffix(".json").write_text(json.dumps(manifest))
    model.write_bytes(model.read_bytes()[:-10] + b"0123456789")
    with pytest.raises(ModelError, match="hash differs"):
        OnnxPolicy(model)


def test_too_few_shards_are_refused(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
    from mm_nav.learning.train import TrainConfig, train

    with pytest.raises(ConfigError, match="2 shards and 2 of them"):
        train(TrainConfig(data=str(data), validation_shards=2), SMALL, tmp_path)
