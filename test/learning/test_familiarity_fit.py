"""Statistics of training frames, and what scores by them are worth."""

import argparse
import json

import numpy as np
import pytest

from mm_nav.cli import familiarity as cli
from mm_nav.errors import ConfigError, ModelError
from mm_nav.learning.familiarity_check import KINDS, auroc, check_familiarity, world_frames
from mm_nav.learning.familiarity_fit import FAR, fit_familiarity, fit_statistics, shrunk_covariance
from mm_nav.learning.frames import write_shard
from mm_nav.learning.strange_inputs import image_changes, scan_changes
from mm_nav.resources import resource_path
from mm_nav.runtime.descriptors import Descriptor
from mm_nav.runtime.familiarity import Familiarity
from mm_nav.runtime.manifest import load_manifest
from mm_nav.runtime.preprocess import Preprocessor

TINY = resource_path("models/tiny.onnx")


def shards(folder, count=4, frames=130, preprocessing=None):
    """Write shards of made-up frames: a room's colours, and a round room with a door."""
    manifest, config = load_manifest(TINY)
    rays = Preprocessor(config).image(None)[2].rays
    folder.mkdir()
    for k in range(count):
        rng = np.random.default_rng(k)
        steps = np.linspace(0.0, 1.0, 96)[None, :, None, None]
        image = rng.uniform(60, 200, (frames, 1, 1, 3)) + rng.uniform(-50, 50, (frames, 1, 1, 1)) * steps
        image = np.broadcast_to(image, (frames, 96, 128, 3)) + rng.normal(0, 3, (frames, 96, 128, 3))
        ranges = rng.uniform(1, 4, (frames, 1)) + rng.normal(0, 0.01, (frames, 360))
        ranges[:, 100:130] += rng.uniform(0, 3, (frames, 1))
        arrays = {
            "image": np.clip(image, 0, 255).astype(np.uint8),
            "rays": np.repeat(rays[None], frames, axis=0),
            "ranges": ranges.astype(np.float16),
            "ranges_valid": np.ones((frames, 360), np.uint8),
            "world": np.zeros(frames, np.int32),
        }
        write_shard(folder / f"shard_{k:05d}.zarr", arrays, [{"seed": k, "objects": []}])
    (folder / "collect.json").write_text(json.dumps({"preprocessing": preprocessing or manifest.preprocessing}))
    return folder


def test_shrunk_covariance_is_nearer_to_the_truth_than_the_sample():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(30, 30)) / 5.0 + np.eye(30)
    truth = mix @ mix.T
    few = rng.normal(size=(20, 30)) @ mix.T
    mean, found = shrunk_covariance(few)
    sample = np.cov(few.T, bias=True)
    assert ((found - truth) ** 2).sum() < 0.8 * ((sample - truth) ** 2).sum()
    assert np.linalg.eigvalsh(found).min() > 0.01 > np.linalg.eigvalsh(sample).min()
    assert np.trace(found) == pytest.approx(np.trace(sample)) and mean == pytest.approx(few.mean(axis=0))
    many = rng.normal(size=(100_000, 30)) @ mix.T
    assert shrunk_covariance(many)[1] == pytest.approx(truth, abs=0.1)


def test_one_of_a_hundred_frames_that_were_kept_back_is_far():
    rng = np.random.default_rng(1)
    descriptors = [Descriptor(f"d{k}", 1e-3, "less", "more") for k in range(5)]

    def draw(count):
        values = np.exp(rng.normal(size=(count, 5)))
        values[:, 1] += values[:, 0]
        return values

    statistics = fit_statistics(draw(4000), kept := draw(4000), descriptors)
    scores = statistics.score(statistics.normal(kept))
    assert np.quantile(scores, FAR) == pytest.approx(1.0, abs=1e-6)
    fresh = statistics.score(statistics.normal(draw(4000)))
    assert 0.004 < (fresh > 1.0).mean() < 0.02


def test_a_descriptor_that_is_always_the_same_is_not_made_too_much_of():
    descriptors = [Descriptor("same", 0.5, "less", "more"), Descriptor("other", 0.5, "less", "more")]
    values = np.stack([np.full(500, 3.0), np.random.default_rng(0).normal(size=500)], axis=-1)
    statistics = fit_statistics(values, values, descriptors)
    assert statistics.normal(np.array([3.5, 0.0]))[0] == pytest.approx(1.0)


def test_statistics_of_shards_know_their_frames(tmp_path):
    found = fit_familiarity(TINY, [shards(tmp_path / "data")], 500)
    made = found.provenance
    assert (made["frames"], made["frames_kept_back"]) == (375, 125)
    assert made["world_seeds"] == [0, 3] and made["worlds"] == 4 and made["folders"] == ["data"]
    assert found.preprocessing == load_manifest(TINY)[0].preprocessing
    image = np.full((1, 3, 96, 128), 0.5, np.float32)
    image += np.random.default_rng(9).normal(0, 0.01, image.shape).astype(np.float32)
    rays = Preprocessor(found.config).image(None)[2].rays
    ranges, valid = np.full((1, 360), 2.0, np.float32), np.ones((1, 360), np.float32)
    ranges += np.random.default_rng(9).normal(0, 0.01, ranges.shape).astype(np.float32)
    ranges[:, 100:130] += 1.0
    assert found.of_inputs(image, rays, ranges, valid).why == ""
    image[:, :, ::4] = 1.0
    assert found.of_inputs(image, rays, ranges, valid).image > 1.0
    again = fit_familiarity(TINY, [tmp_path / "data"], 500)
    assert (again.image.precision == found.image.precision).all() and again.scan.far_together == found.scan.far_together


def test_frames_of_other_inputs_or_too_few_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="collected for other inputs"):
        fit_familiarity(TINY, [shards(tmp_path / "other", 2, 10, preprocessing="0" * 16)], 500)
    few = shards(tmp_path / "one", 1, 10)
    with pytest.raises(ConfigError, match="at least 2 shards"):
        fit_familiarity(TINY, [few], 500)
    with pytest.raises(ConfigError, match="at least 2 shards"):
        fit_familiarity(TINY, [few, few], 10)
    with pytest.raises(ConfigError, match="has no shards"):
        fit_familiarity(TINY, [tmp_path], 500)


def test_auroc_is_the_share_of_pairs_in_order():
    assert auroc(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 1.0
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 0.0
    assert auroc(np.array([0.0, 1.0, 1.0, 4.0]), np.array([1.0, 2.0])) == pytest.approx((1 + 0.5 + 0.5 + 3) / 8)


@pytest.mark.parametrize("name", image_changes())
def test_changed_pictures_are_pictures_and_the_original_is_left_alone(name):
    change, rgb = image_changes()[name], np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    before = rgb.copy()
    found = change(rgb, np.random.default_rng(1))
    assert found.shape == rgb.shape and found.dtype == np.uint8 and found.flags.c_contiguous
    assert (rgb == before).all() and (found != rgb).any()
    assert (change(rgb, np.random.default_rng(1)) == found).all()


@pytest.mark.parametrize("name", scan_changes())
def test_changed_scans_are_scans_and_the_original_is_left_alone(name):
    change, rng = scan_changes()[name], np.random.default_rng(0)
    ranges, valid = rng.uniform(0.3, 10, 360).astype(np.float32), np.ones(360, np.float32)
    before = ranges.copy()
    found, seen = change(ranges, valid, np.random.default_rng(1))
    assert found.shape == seen.shape == (360,) and found.dtype == np.float32 and set(np.unique(seen)) <= {0.0, 1.0}
    assert (ranges == before).all() and valid.all() and ((found != ranges).any() or (seen != valid).any())
    assert found.min() >= 0.0 and found.max() <= 10.0


@pytest.fixture(scope="module")
def rows():
    return {(row.sensor, row.kind): row for row in check_familiarity(Familiarity.load(TINY), 1, workers=1)}


def test_the_table_tells_strange_frames_from_familiar_ones(rows):
    own = rows["image", "held-out worlds, as training had them"]
    assert own.auroc == 0.5 and own.frames == 15 and own.above < 0.2
    assert {kind for _, kind in rows} > {f"held-out worlds, {kind}" for kind in KINDS}
    for kind in ("noise (sigma 40)", "dark (a tenth of the light)", "photographs"):
        assert rows["image", kind].auroc > 0.9 and rows["image", kind].above > 0.5 and rows["image", kind].why
    for kind in ("every second beam dead", "everything at 0.3 m", "the robot's own body (a ring)"):
        assert rows["scan", kind].auroc == 1.0 and rows["scan", kind].above == 1.0
    assert rows["scan", "mirrored"].auroc == 0.5
    assert rows["image", "mirrored"].auroc == pytest.approx(0.5, abs=0.05)


def test_held_out_frames_are_the_same_again():
    familiarity = Familiarity.load(TINY)
    collected = familiarity.provenance["collect"]
    (_, _, first), (_, _, second) = (
        world_frames(next(iter(KINDS)), 10_000, collected, familiarity.config) for _ in "ab"
    )
    assert all((first[name] == second[name]).all() for name in first) and len(first["image"]) == 15


def run(*arguments):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args([str(item) for item in arguments]))


def test_the_command_writes_statistics_beside_the_model_or_where_told(tmp_path, capsys):
    folder, out = shards(tmp_path / "data"), tmp_path / "found" / "mine.json"
    assert run("fit", "--data", folder, "--frames", 400, "--out", out, "--json", tmp_path / "made.json") == 0
    assert json.loads(out.read_text())["provenance"] == json.loads((tmp_path / "made.json").read_text())
    assert "300 frames of 4 worlds" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="give 1 or more"):
        run("check", "--worlds", 0)
    with pytest.raises(ModelError, match="does not exist"):
        run("check", "--model", tmp_path / "none.onnx")
