"""The first part of training: the camera alone learns what stands where."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")

from mm_nav.errors import ConfigError  # noqa: E402
from mm_nav.learning.collect import CollectConfig, collect  # noqa: E402
from mm_nav.learning.dataset import FrameDataset, find_shards  # noqa: E402
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


def test_mirrored_labels_lie_where_mirrored_pictures_show_the_things(data: Path) -> None:
    dataset = FrameDataset(find_shards(data), SMALL)
    look = first(LookSampler(dataset, 12, seed=3))
    # Wherever two cells of one picture carry one thing's kind and colour, their pixels are of like colours.
    things = 0
    for image, kind, colour in zip(look.image, look.kind, look.colour, strict=True):
        means = torch.nn.functional.avg_pool2d(image[None], 4)[0]
        for what in kind.unique():
            mask = (kind == what) & (colour >= 0)
            for hue in colour[mask].unique():
                cells = means[:, mask & (colour == hue)]
                if what > 0 and cells.shape[1] >= 12:
                    things += 1
                    assert (cells - cells.mean(1, keepdim=True)).abs().mean() < 0.2
    assert things > 5


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
        if step == 40:
            break
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])


def test_a_run_looks_first_and_then_goes_on(data: Path, tmp_path: Path) -> None:
    seen: list[set[str]] = []
    config = TrainConfig(data=str(data), epochs=40, batch=8, look_share=0.5, look_batch=4, phrases=2, warmup_steps=2)
    metrics = train(config, SMALL, tmp_path, lambda state, steps, values: seen.append(set(values)))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state"]
    assert state["step"] == 40 and state["look_steps"] == 20
    assert "kind" in seen[0] and "path" in seen[-1] and np.isfinite(metrics["total"])


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="look_share"):
        TrainConfig(look_share=1.0)
