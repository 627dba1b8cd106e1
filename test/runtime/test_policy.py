"""The committed model: it loads, it is what its manifest says, and it tells things apart."""

import numpy as np
import pytest

from mm_nav.errors import ModelError
from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.observation import CameraImage, LaserScan
from mm_nav.resources import resource_path
from mm_nav.runtime.accelerated import MOST_PHRASES
from mm_nav.runtime.manifest import load_manifest
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.runtime.preprocess import image_geometry
from mm_nav.sim.sensors import CameraConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world


@pytest.fixture(scope="module")
def policy() -> OnnxPolicy:
    # Without memory: every view is judged alone, so the order of the tests does not matter.
    return OnnxPolicy(resource_path("models/tiny.onnx"), provider="cpu", memory=False)


def drum(name: str, y: float, colour: str) -> str:
    geometry = "<geometry><cylinder><radius>0.28</radius><length>0.85</length></cylinder></geometry>"
    return (
        f'<model name="{name}"><static>true</static><pose>2.2 {y} 0.425 0 0 0</pose><link name="l">'
        f'<collision name="c">{geometry}</collision><visual name="v">{geometry}<material><ambient>{colour} 1</ambient>'
        f"<diffuse>{colour} 1</diffuse></material></visual></link></model>"
    )


def test_the_model_stays_small_and_fits_its_manifest() -> None:
    path = resource_path("models/tiny.onnx")
    manifest, config = load_manifest(path)
    assert path.stat().st_size < 20e6 and manifest.metrics["onnx_parity"] < 1e-4
    assert manifest.training and config.width == 128


def test_words_decide_which_of_two_things_is_meant(policy: OnnxPolicy) -> None:
    """A red and a blue barrel side by side: the sentence alone decides where the policy looks."""
    things = drum("red_barrel_1", 0.9, "0.75 0.09 0.09") + drum("blue_barrel_1", -0.9, "0.1 0.25 0.7")
    world = parse_world(f'<sdf version="1.9"><world name="w">{things}</world></sdf>')
    observation = Simulator(world, SimConfig(camera=CameraConfig()), start=Pose2D()).observe()

    def bearing(phrase: str) -> float:
        out = policy(observation, PolicyGoal("g", phrase))
        return float((out.bearings * out.bearing_probs).sum())

    assert bearing("the red barrel") > 0.15 and bearing("the blue barrel") < -0.15


def test_other_phrases_are_grounded_as_if_they_were_asked_alone() -> None:
    policy = OnnxPolicy(resource_path("models/tiny.onnx"), provider="cpu", memory=False, rivals=False)
    things = drum("red_barrel_1", 0.9, "0.75 0.09 0.09") + drum("blue_barrel_1", -0.9, "0.1 0.25 0.7")
    world = parse_world(f'<sdf version="1.9"><world name="w">{things}</world></sdf>')
    observation = Simulator(world, SimConfig(camera=CameraConfig()), start=Pose2D()).observe()
    both = policy(observation, PolicyGoal("g", "the barrel", others=("the red barrel", "the blue barrel")))
    assert len(both.others) == 2 and not policy(observation, PolicyGoal("g", "the barrel")).others
    for phrase, grounding in zip(("the red barrel", "the blue barrel"), both.others, strict=True):
        alone = policy(observation, PolicyGoal("g", phrase))
        # Not bit for bit: matrices of another size are multiplied in another order.
        np.testing.assert_allclose(grounding.bearing_probs, alone.bearing_probs, atol=1e-5)
        np.testing.assert_allclose(grounding.bearing_ranges, alone.bearing_ranges, rtol=1e-4)
        assert grounding.visible == pytest.approx(alone.visible, abs=1e-5)


def test_no_more_is_asked_at_once_than_the_model_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = OnnxPolicy(resource_path("models/tiny.onnx"), provider="cpu")
    asked: list[int] = []
    run = policy.run
    monkeypatch.setattr(policy, "run", lambda feed: asked.append(len(feed["language"])) or run(feed))
    world = parse_world('<sdf version="1.9"><world name="w"></world></sdf>')
    observation = Simulator(world, SimConfig(camera=CameraConfig()), start=Pose2D()).observe()
    others = tuple(policy.manifest.untaught) * 3
    output = policy(observation, PolicyGoal("g", "the blue chair", others=others))
    assert len(output.others) == len(others) and len(policy.manifest.untaught) < asked[0] <= MOST_PHRASES
    many = tuple(f"the red box {number}" for number in range(100))
    assert len(policy(observation, PolicyGoal("g", "the blue chair", others=many)).others) == MOST_PHRASES - 1


def test_a_manifest_says_what_its_model_knows(policy: OnnxPolicy) -> None:
    assert "barrel" in policy.manifest.categories and "red" in policy.manifest.colours
    assert policy.knowledge.categories == policy.manifest.categories
    assert policy.knowledge.unknown_noun("the elephant") == "elephant"


def test_column_bearings_are_those_of_the_camera(policy: OnnxPolicy) -> None:
    camera = CameraConfig(width=320, height=240, horizontal_fov=1.5)
    geometry = image_geometry(policy.config, 240, 320, camera.intrinsics(), camera.base_T_camera())
    assert geometry.column_bearings[0] == pytest.approx(0.75, abs=0.03) and np.all(
        np.diff(geometry.column_bearings) < 0
    )
    np.testing.assert_allclose(np.linalg.norm(geometry.rays, axis=-1), 1.0, atol=1e-5)


def test_a_missing_model_is_refused() -> None:
    with pytest.raises(ModelError, match="does not exist"):
        OnnxPolicy(resource_path("models") / "none.onnx")


def test_rivals_make_the_wrong_name_less_believed_than_the_right_one() -> None:
    path = resource_path("models/tiny.onnx")
    alone, among = (OnnxPolicy(path, provider="cpu", memory=False, rivals=rivals) for rivals in (False, True))
    world = parse_world(
        f'<sdf version="1.9"><world name="w">{drum("red_barrel_1", 0.0, "0.75 0.09 0.09")}</world></sdf>'
    )
    observation = Simulator(world, SimConfig(camera=CameraConfig()), start=Pose2D()).observe()

    def kept(phrase: str) -> float:
        plain, contrasted = (each(observation, PolicyGoal("g", phrase)) for each in (alone, among))
        np.testing.assert_allclose(plain.bearing_probs, contrasted.bearing_probs, atol=1e-5)
        assert contrasted.visible <= plain.visible + 1e-6 and not contrasted.others
        return contrasted.visible / plain.visible

    assert kept("the red barrel") > kept("the red suitcase")


def test_recent_inputs_are_the_same_and_made_once(monkeypatch):
    from mm_nav.policy.config import PolicyConfig
    from mm_nav.runtime import preprocess
    from mm_nav.runtime.preprocess import Preprocessor, RecentInputs

    rng = np.random.default_rng(0)
    lens, mount = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]), np.eye(4)
    images = [CameraImage(k, rng.integers(0, 256, (48, 64, 3), np.uint8), lens, mount) for k in range(20)]
    scans = [LaserScan(k, rng.uniform(0.2, 9, 90).astype(np.float32), -3.0, 0.06, 0.1, 10.0) for k in range(20)]
    plain, recent = Preprocessor(PolicyConfig()), RecentInputs(PolicyConfig())
    first = recent.image(images[0])[0]
    for image, scan in zip([*images, None], [*scans, None], strict=True):
        for a, b in zip(plain.image(image)[:2], recent.image(image)[:2], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(plain.scan(scan), recent.scan(scan), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first, Preprocessor(PolicyConfig()).image(images[0])[0])  # nobody wrote over it
    monkeypatch.setattr(preprocess, "resample", None)
    assert recent.scan(scans[-1]) is recent.scan(scans[-1])
    with pytest.raises(TypeError):
        recent.scan(scans[0])  # long forgotten
