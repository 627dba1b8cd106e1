"""The first part of training: the camera alone learns what stands where."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")

from mm_nav.errors import ConfigError  # noqa: E402
from mm_nav.language.encoder import TextEncoder  # noqa: E402
from mm_nav.language.vocabulary import COLOURS  # noqa: E402
from mm_nav.learning import looking  # noqa: E402
from mm_nav.learning.batches import BatchSampler  # noqa: E402
from mm_nav.learning.collect import CollectConfig, collect  # noqa: E402
from mm_nav.learning.dataset import FrameDataset, estrange, find_shards  # noqa: E402
from mm_nav.learning.labels import cell_ranges, mirror_rays, semantics  # noqa: E402
from mm_nav.learning.looking import Look, Looking, LookSampler  # noqa: E402
from mm_nav.learning.train import TrainConfig, train  # noqa: E402
from mm_nav.policy.config import PolicyConfig  # noqa: E402
from mm_nav.policy.model import CrossModalPolicy  # noqa: E402

SMALL = PolicyConfig(width=32, feedforward=32, fusion_layers=1, perception_layers=1, stem=(8, 8, 16, 16))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    list(collect(folder, CollectConfig(worlds=2, frames=12, worlds_per_shard=1, showrooms=1.0), SMALL, workers=1))
    return folder


def first(sampler: LookSampler) -> Look:
    return next(iter(sampler.looks()))


def test_labels_and_rays_are_mirrored_with_their_pictures(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_STRANGE", 0.0)
    dataset = FrameDataset(find_shards(data), SMALL)
    frames = np.arange(len(dataset))
    kinds, colours = semantics(dataset, frames)
    ranges, rays = cell_ranges(dataset.arrays["planar"], SMALL), dataset.arrays["rays"]
    originals = standardised(dataset.arrays["image"].mean(3, dtype=np.float32))
    look = first(LookSampler(dataset, 12, seed=3))
    seen = set()
    for k, image in enumerate(standardised(look.image.mean(1).numpy())):
        # Which frame it is, and which way round, is told by the picture alone, whose colours were changed.
        alike = np.stack([(originals * image).mean((1, 2)), (originals[:, :, ::-1] * image).mean((1, 2))])
        mirrored, frame = np.unravel_index(alike.argmax(), alike.shape)
        assert alike.max() > 0.9
        seen.add(int(mirrored))
        across = slice(None, None, -1 if mirrored else 1)
        for label, of_frames in ((look.kind, kinds), (look.colour, colours), (look.log_range, ranges)):
            np.testing.assert_array_equal(label[k], of_frames[frame][:, across])
        expected = mirror_rays(rays[[frame]], SMALL)[0] if mirrored else rays[frame]
        np.testing.assert_array_equal(look.rays[k], expected)
    assert seen == {0, 1}


def standardised(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = images - images.mean((1, 2), keepdims=True)
    return centred / centred.std((1, 2), keepdims=True)


def test_what_has_strange_colours_is_called_by_none(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FrameDataset(find_shards(data), SMALL)
    monkeypatch.setattr(looking, "_STRANGE", 0.0)
    named = first(LookSampler(dataset, 12, seed=3))
    assert (named.colour >= 0).any()
    monkeypatch.setattr(looking, "_STRANGE", 1.0)
    strange = first(LookSampler(dataset, 12, seed=3))
    assert (strange.colour == -1).all() and (strange.kind > 0).any()
    sampler = BatchSampler(dataset, TextEncoder(SMALL.language_tokens), 8, 16)
    items = dataset.objects[dataset.arrays["world"][0]]
    counts = np.full(len(items) + 1, 1000)
    asked = [choice.phrase for choice in sampler._choices(0, counts, (), strange=True)]
    colours = {word for words in COLOURS.values() for word in words}
    assert any(asked) and not colours & set(" ".join(asked).split())
    normal = [choice.phrase for choice in sampler._choices(0, counts, (), strange=False)]
    assert colours & set(" ".join(normal).split())


def test_strange_colours_are_others_but_keep_shapes() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((40, 3, 4, 4), np.float32)
    image[:, 0, :2] = 0.8  # red above black
    strange = estrange(image, rng)
    assert strange.shape == image.shape and strange.min() >= 0.0 and strange.max() <= 1.0
    above, below = strange[:, :, 0, 0], strange[:, :, 3, 0]
    assert (np.abs(above - [0.8, 0.0, 0.0]).max(1) > 0.15).all()
    assert (np.abs(above - below).max(1) > 0.2).all()


def test_frames_that_show_more_are_drawn_more_often(data: Path) -> None:
    dataset = FrameDataset(find_shards(data), SMALL)
    # Frames without any thing are nearly never drawn.
    dataset.arrays["numbers"] = dataset.arrays["numbers"].copy()
    dataset.arrays["numbers"][::2] = 0
    looks = iter(LookSampler(dataset, 48, seed=1).looks())
    empty = np.mean(
        [float(((look.kind > 0).sum((1, 2)) == 0).float().mean()) for look, _ in zip(looks, range(4), strict=False)]
    )
    assert empty < 0.3


def test_parts_of_a_batch_are_different_frames(data: Path) -> None:
    dataset = FrameDataset(find_shards(data), SMALL)
    one, two = (first(LookSampler(dataset, 8, seed=5, part=(index, 2))) for index in (0, 1))
    assert len(one.image) == len(two.image) == 4
    assert not torch.equal(one.kind, two.kind)


def test_looking_learns_to_name_things(data: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    looking = Looking(CrossModalPolicy(SMALL))
    optimizer = torch.optim.AdamW(looking.parameters(), lr=3e-3)
    losses = []
    for step, look in enumerate(LookSampler(FrameDataset(find_shards(data), SMALL), 8).looks()):
        values = looking(look)
        optimizer.zero_grad()
        values["total"].backward()
        optimizer.step()
        losses.append(float(values["total"].detach()))
        if step == 60:
            break
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])


def test_a_run_looks_first_and_then_goes_on(data: Path, tmp_path: Path) -> None:
    seen: list[set[str]] = []
    config = TrainConfig(data=str(data), epochs=40, batch=8, look_share=0.5, look_batch=4, phrases=2, warmup_steps=2)
    metrics = train(config, SMALL, tmp_path, lambda state, steps, values: seen.append(set(values)))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state"]
    assert state["step"] == 40 and state["look_steps"] == 20
    assert "kind" in seen[0] and "path" in seen[-1] and np.isfinite(metrics["total"])
    looked = torch.load(tmp_path / "look.pt", weights_only=True)["state"]
    assert looked["step"] == looked["look_steps"] == 20


def test_half_precision_learns_as_well(data: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=str(data), epochs=10, batch=8, look_share=0.5, look_batch=4, phrases=2, warmup_steps=2, precision="bf16"
    )
    metrics = train(config, replace(SMALL, hue_width=8), tmp_path)
    assert all(np.isfinite(value) for value in metrics.values()) and metrics["hue"] > 0.0
    with pytest.raises(ConfigError, match="fp32 or bf16"):
        TrainConfig(precision="fp8")


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="look_share"):
        TrainConfig(look_share=1.0)
