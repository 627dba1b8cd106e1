"""How unlike its training a frame is."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from mm_nav.errors import ModelError
from mm_nav.observation import Observation
from mm_nav.resources import resource_path
from mm_nav.runtime.descriptors import (
    IMAGE,
    SCAN,
    VIEW,
    Descriptor,
    image_descriptors,
    scan_descriptors,
    view_descriptors,
)
from mm_nav.runtime.familiarity import (
    DESCRIPTORS,
    KNOT_LEVELS,
    KNOT_Z,
    MOST,
    Familiarity,
    Statistics,
    familiarity_path,
    to_normal,
)
from mm_nav.runtime.manifest import load_manifest
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.sim.generator import generate_world
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

TINY = resource_path("models/tiny.onnx")


@pytest.fixture(scope="module")
def familiarity():
    return Familiarity.load(TINY)


@pytest.fixture(scope="module")
def observation():
    """What the robot senses where a held-out world begins."""
    world = generate_world(10_003, "apartment")
    config = SimConfig(camera=CameraConfig(640, 480))
    return Simulator(Scene(parse_world(world.sdf)), config, seed=1, start=world.start).observe()


def coarse_noise():
    """Noise that is still there when five pixels are averaged to one, as they are before the network."""
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8).repeat(5, 0).repeat(5, 1)


def changed(observation, rgb=None, ranges=None):
    image = observation.image if rgb is None else replace(observation.image, rgb=rgb)
    scan = observation.scan if ranges is None else replace(observation.scan, ranges=ranges)
    return replace(observation, image=image, scan=scan)


def copied(tmp_path, statistics=True, **fields):
    """Return a copy of the model, with what is changed in its statistics."""
    model = tmp_path / "tiny.onnx"
    model.symlink_to(TINY)
    (tmp_path / "tiny.json").symlink_to(TINY.with_suffix(".json"))
    if statistics:
        data = json.loads(familiarity_path(TINY).read_text()) | fields
        familiarity_path(model).write_text(json.dumps(data))
    return model


def test_a_world_like_those_of_the_training_is_familiar(familiarity, observation):
    found = familiarity.strangeness(observation)
    assert 0.0 < found.image < 1.0 and 0.0 < found.scan < 1.0 and found.why == ""


def test_what_is_not_there_has_no_score(familiarity, observation):
    none = familiarity.strangeness(Observation(observation.stamp_ns, observation.odometry))
    assert math.isnan(none.image) and math.isnan(none.scan) and none.why == ""
    blind = familiarity.strangeness(replace(observation, image=None))
    assert math.isnan(blind.image) and blind.scan == familiarity.strangeness(observation).scan


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rgb: rgb // 20, "nothing bright in view|darker"),
        (lambda rgb: np.full_like(rgb, 255), "nothing dark in view"),
        (lambda rgb: rgb // 2 + coarse_noise() // 2, "noise|textur"),
    ],
)
def test_a_strange_picture_is_told_and_why(familiarity, observation, change, reason):
    found = familiarity.strangeness(changed(observation, rgb=change(observation.image.rgb)))
    assert 1.0 < found.image <= MOST and found.scan < 1.0
    assert found.why.startswith("camera: ") and any(word in found.why for word in reason.split("|"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: np.full_like(r, 0.3), "same length"),
        (lambda r: np.full_like(r, np.inf), "see nothing"),
        (lambda r: np.where(np.arange(len(r)) % 2 == 0, np.nan, r), "missing here and there"),
        (lambda r: np.full_like(r, np.nan), "smaller part of the surroundings"),
        (lambda r: np.minimum(r, 0.21), "at the robot itself"),
    ],
)
def test_a_strange_scan_is_told_and_why(familiarity, observation, change, reason):
    ranges = change(observation.scan.ranges).astype(np.float32)
    found = familiarity.strangeness(changed(observation, ranges=ranges))
    assert 1.0 < found.scan <= MOST and found.image < 1.0
    assert found.why.startswith("LiDAR: ") and reason in found.why


def test_noise_that_is_averaged_away_before_the_network_is_not_strange(familiarity, observation):
    rgb = observation.image.rgb
    noise = np.random.default_rng(0).integers(-40, 41, rgb.shape)
    found = familiarity.strangeness(changed(observation, rgb=np.clip(rgb + noise, 0, 255).astype(np.uint8)))
    assert found.image < 1.0


def test_another_lens_is_told(familiarity, observation):
    intrinsics = observation.image.intrinsics * np.array([[3.0, 1, 1], [1, 3.0, 1], [1, 1, 1]])
    found = familiarity.strangeness(replace(observation, image=replace(observation.image, intrinsics=intrinsics)))
    assert found.image > 1.0 and "narrower field of view" in found.why


def test_scores_of_what_was_already_prepared_are_the_same(familiarity, observation):
    preprocess = Preprocessor(familiarity.config)
    image, _, geometry = preprocess.image(observation.image)
    ranges, valid = preprocess.scan(observation.scan)
    assert familiarity.of_inputs(image, geometry.rays, ranges, valid) == familiarity.strangeness(observation)
    # The batch axis of the network's own input does no harm.
    assert familiarity.of_inputs(image, geometry.rays[None], ranges, valid) == familiarity.strangeness(observation)


def test_the_same_frame_has_the_same_score_and_is_left_alone(familiarity, observation):
    rgb, ranges = observation.image.rgb.copy(), observation.scan.ranges.copy()
    first = familiarity.strangeness(observation)
    familiarity.strangeness(changed(observation, rgb=rgb // 20))
    assert familiarity.strangeness(observation) == first
    assert (observation.image.rgb == rgb).all() and np.array_equal(observation.scan.ranges, ranges, equal_nan=True)


def test_a_mirrored_frame_has_the_same_descriptors(familiarity, observation):
    preprocess = Preprocessor(familiarity.config)
    ranges, valid = (part[0] for part in preprocess.scan(observation.scan))
    valid = np.where(np.arange(360) % 50 < 3, 0.0, valid)
    here = scan_descriptors(ranges, valid, 10.0)
    assert scan_descriptors(ranges[::-1], valid[::-1], 10.0) == pytest.approx(here, abs=1e-9)
    rgb = np.ascontiguousarray((255 * preprocess.image(observation.image)[0][0]).astype(np.uint8).transpose(1, 2, 0))
    assert image_descriptors(rgb[:, ::-1].copy()) == pytest.approx(image_descriptors(rgb), abs=0.03)


def test_every_descriptor_has_a_name_of_its_own_and_a_value(observation):
    config = load_manifest(TINY)[1]
    assert all(len({item.name for item in group}) == len(group) for group in DESCRIPTORS.values())
    assert all(item.floor > 0 and item.high for group in DESCRIPTORS.values() for item in group)
    for shade in (0, 128, 255):
        values = image_descriptors(np.full((96, 128, 3), shade, np.uint8))
        assert values.shape == (len(IMAGE),) and np.isfinite(values).all()
    rays = Preprocessor(config).image(observation.image)[2].rays
    width, height, up, aside = view_descriptors(rays, config.token_columns)
    assert len(VIEW) == 4 and 1.3 < width < 1.5 and 0.9 < height < 1.2 and abs(up) < 0.01 and aside < 0.01
    values = scan_descriptors(np.full(360, 2.0, np.float32), np.ones(360, np.float32), 10.0)
    assert values.shape == (len(SCAN),) and np.isfinite(values).all()


def test_knots_are_quantiles_of_the_normal_distribution():
    assert pytest.approx(norm.ppf(KNOT_LEVELS), abs=1e-4) == KNOT_Z


@given(
    st.lists(st.floats(0.01, 5.0), min_size=len(KNOT_Z), max_size=len(KNOT_Z)), st.floats(-50, 50), st.floats(0.01, 9)
)
def test_brought_to_normal_values_rise_with_the_values(steps, value, more):
    knots = np.cumsum(steps)[None]
    low, high = to_normal(np.array([[value], [value + more]]), knots)[:, 0]
    assert low < high and np.isfinite([low, high]).all()


def test_brought_to_normal_at_the_knots_beyond_them_and_where_nothing_is_known():
    knots = np.array([np.arange(9.0), 10.0 * np.arange(9.0)])
    assert to_normal(np.array([[k, 10.0 * k] for k in range(9)]), knots) == pytest.approx(np.array([KNOT_Z, KNOT_Z]).T)
    slope = (KNOT_Z[-1] - KNOT_Z[-3]) / 2.0
    beyond = to_normal(np.array([-4.0, 120.0]), knots)
    assert beyond == pytest.approx([KNOT_Z[0] - 4.0 * slope, KNOT_Z[-1] + 4.0 * slope])
    assert to_normal(np.array([np.nan, 40.0]), knots) == pytest.approx([0.0, 0.0])


def test_reasons_name_what_is_out_by_itself_or_given_the_rest():
    descriptors = (Descriptor("a", 1.0, "less a", "more a"), Descriptor("b", 1.0, "less b", "more b"))
    covariance = np.array([[1.0, 0.98], [0.98, 1.0]])
    knots = np.tile(np.array(KNOT_Z), (2, 1))
    statistics = Statistics(knots, np.zeros(2), np.linalg.inv(covariance), 3.0, 3.0)
    assert statistics.reasons(np.array([-6.0, 0.1]), descriptors) == ["less a"]
    assert statistics.reasons(np.array([4.0, 5.0]), descriptors) == ["more b", "more a"]
    together = np.array([1.5, -1.5])
    assert statistics.score(together[None])[0] > 1.0 > np.abs(together).max() / 3.0
    assert set(statistics.reasons(together, descriptors)) == {"more a, given the rest", "less b, given the rest"}
    assert statistics.score(np.array([[1e9, 0.0]]))[0] == MOST


def test_an_eight_bit_copy_has_the_statistics_of_its_origin(familiarity):
    eight = Familiarity.load(resource_path("models/tiny_int8.onnx"))
    assert eight.model_sha256 == familiarity.model_sha256 and (eight.image.knots == familiarity.image.knots).all()


def test_a_model_without_statistics_has_none(tmp_path):
    model = copied(tmp_path, statistics=False)
    assert Familiarity.beside(model) is None
    with pytest.raises(ModelError, match="mm-nav familiarity fit --model"):
        Familiarity.load(model)
    assert Familiarity.beside(TINY) is not None


def test_statistics_of_something_else_are_refused(tmp_path):
    model = copied(tmp_path, model_sha256="0" * 64)
    with pytest.raises(ModelError, match="another model file"):
        Familiarity.beside(model)
    data = json.loads(familiarity_path(TINY).read_text())
    for change, why in (
        ({"preprocessing": "0" * 16}, "other inputs"),
        ({"format": 99}, "format 99"),
        ({"scan": {**data["scan"], "descriptors": ["colour"]}}, "scan descriptors"),
        ({"scan": {**data["scan"], "mean": [0.0]}}, "cannot be read"),
        ({"image": {**data["image"], "mean": [math.nan] * len(data["image"]["mean"])}}, "not finite"),
        ({"image": {**data["image"], "far_alone": [0.0]}}, "not above 0"),
        ({"image": []}, "cannot be read"),
    ):
        familiarity_path(model).write_text(json.dumps(data | change))
        with pytest.raises(ModelError, match=why):
            Familiarity.load(model)
    for text in ("{", "[]", ""):
        familiarity_path(model).write_text(text)
        with pytest.raises(ModelError, match="cannot be read"):
            Familiarity.load(model)


def test_written_statistics_are_read_again(tmp_path, familiarity, observation):
    model = copied(tmp_path, statistics=False)
    familiarity.write(familiarity_path(model))
    assert Familiarity.load(model).strangeness(observation) == familiarity.strangeness(observation)
    assert not list(tmp_path.glob("*.part")) and familiarity_path(model).stat().st_size < 100_000
