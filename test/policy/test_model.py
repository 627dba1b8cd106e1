"""The network's shapes, masks and losses."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")

from mm_nav.errors import ConfigError  # noqa: E402
from mm_nav.learning.train import take_over  # noqa: E402
from mm_nav.policy.config import PolicyConfig  # noqa: E402
from mm_nav.policy.losses import PolicyTargets, policy_losses  # noqa: E402
from mm_nav.policy.model import CrossModalPolicy, Links, PolicyInputs  # noqa: E402

CONFIG = PolicyConfig()
OF_PHRASES = ("language", "language_mask", "pose", "goal", "goal_present")
MASKS = {
    "image": "image_present",
    "ranges": "ranges_valid",
    "memory": "memory_present",
    "language": "language_mask",
    "goal": "goal_present",
}


def inputs(batch: int = 2, phrases: int = 1, seed: int = 0) -> PolicyInputs:
    g = torch.Generator().manual_seed(seed)
    n = batch * phrases
    c = CONFIG
    return PolicyInputs(
        torch.rand(batch, 3, c.image_height, c.image_width, generator=g),
        torch.ones(batch, 1),
        torch.nn.functional.normalize(torch.randn(batch, c.camera_tokens, 3, generator=g), dim=-1),
        torch.rand(batch, c.lidar_bins, generator=g) * 5,
        torch.ones(batch, c.lidar_bins),
        torch.randn(batch, c.memory_frames, c.memory_tokens, c.width, generator=g),
        torch.randn(batch, c.memory_frames, 3, generator=g),
        torch.ones(batch, c.memory_frames),
        torch.randn(n, c.language_tokens, c.language_width, generator=g),
        torch.ones(n, c.language_tokens),
        torch.zeros(n, 3),
        torch.randn(n, c.goal_tokens, c.width, generator=g),
        torch.ones(n, 1),
    )


@pytest.fixture(scope="module")
def policy() -> CrossModalPolicy:
    torch.manual_seed(0)
    return CrossModalPolicy(CONFIG).eval()


@pytest.fixture
def hues() -> CrossModalPolicy:
    torch.manual_seed(0)
    return CrossModalPolicy(replace(CONFIG, hue_width=32)).eval()


def test_shapes_with_several_phrases_per_frame(policy: CrossModalPolicy) -> None:
    logits = policy(inputs(batch=2, phrases=3))
    assert logits.cells.shape == (6, CONFIG.grid_rows, CONFIG.grid_columns)
    assert logits.log_range.shape == (2, CONFIG.grid_rows, CONFIG.grid_columns)
    assert logits.waypoints.shape == (6, CONFIG.hypotheses, CONFIG.steps, 2)
    assert logits.waypoint.shape == (6, CONFIG.hypotheses)
    assert logits.visible.shape == logits.arrived.shape == (6,)


def test_several_phrases_per_frame_equal_one_at_a_time(policy: CrossModalPolicy) -> None:
    both = inputs(batch=1, phrases=2)
    together = policy(both)
    for k in range(2):
        own = {name: getattr(both, name)[k : k + 1] for name in OF_PHRASES}
        alone = policy(both._replace(**own))
        torch.testing.assert_close(alone.cells[0], together.cells[k], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("field", ["image", "ranges", "memory", "memory_pose", "language", "goal"])
def test_every_modality_changes_the_answer(policy: CrossModalPolicy, field: str) -> None:
    first, other = inputs(), inputs(seed=1)
    changed = policy(first._replace(**{field: getattr(other, field)}))
    assert (changed.cells - policy(first).cells).abs().max() > 1e-4


def test_a_hidden_modality_cannot_change_the_answer(policy: CrossModalPolicy) -> None:
    """What is masked must not leak into what the other tokens say."""
    first, other = inputs(), inputs(seed=1)
    for field, mask in MASKS.items():
        a = first._replace(**{mask: torch.zeros_like(getattr(first, mask))})
        b = a._replace(**{field: getattr(other, field)})
        torch.testing.assert_close(policy(a).waypoints, policy(b).waypoints, atol=1e-5, rtol=1e-4)


def test_in_training_notes_come_from_the_batch_as_they_would_at_run_time(policy: CrossModalPolicy) -> None:
    """Frame 1 remembers frame 0 and is shown its picture: the same answer as with the notes of frame 0 handed over."""
    both = inputs(batch=2)
    links = Links(torch.zeros(2, CONFIG.memory_frames, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    linked = policy(both, links=links)
    shown = policy(both._replace(ranges_valid=torch.zeros_like(both.ranges_valid))).notes[:1, CONFIG.memory_tokens :]
    memory = linked.notes[:1, : CONFIG.memory_tokens].expand(2, CONFIG.memory_frames, -1, -1)
    handed = policy(both._replace(memory=memory, goal=shown.expand(2, -1, -1)))
    torch.testing.assert_close(linked.cells, handed.cells, atol=1e-5, rtol=1e-4)


def test_late_fusion_hears_words_and_sensors_apart() -> None:
    """What a cell shows cannot depend on the scan, and the words' query cannot depend on the picture."""
    torch.manual_seed(0)
    late = CrossModalPolicy(replace(CONFIG, fusion="late")).eval()
    first, other = inputs(), inputs(seed=1)
    scanned = late(first._replace(ranges=other.ranges))
    torch.testing.assert_close(late(first).cells, scanned.cells)
    assert (late(first).waypoints - scanned.waypoints).abs().max() > 1e-5
    full = CrossModalPolicy(CONFIG).eval()
    assert (full(first).cells - full(first._replace(ranges=other.ranges)).cells).abs().max() > 1e-4


def test_a_size_with_a_backbone_begins_as_the_one_without(policy: CrossModalPolicy) -> None:
    torch.manual_seed(1)
    larger = CrossModalPolicy(replace(CONFIG, backbone="efficientnet_lite0")).eval()
    take_over(larger, policy.state_dict())
    torch.testing.assert_close(larger(inputs()).cells, policy(inputs()).cells, atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="does not fit"):
        take_over(CrossModalPolicy(replace(CONFIG, width=64)), policy.state_dict())


def test_what_has_only_looked_is_a_beginning_for_late_fusion_too(policy: CrossModalPolicy) -> None:
    late = CrossModalPolicy(replace(CONFIG, fusion="late")).eval()
    with pytest.raises(ConfigError, match="does not fit"):
        take_over(late, policy.state_dict())
    take_over(late, policy.state_dict(), only_looked=True)
    seen = inputs()
    for mine, other in zip(late.look(seen.image, seen.rays), policy.look(seen.image, seen.rays), strict=True):
        torch.testing.assert_close(mine, other)


def test_colours_are_told_by_the_pixels_around(hues: CrossModalPolicy) -> None:
    """What stands far off says nothing of a cell's colour, but for the light, which is the mean of the picture."""
    image = inputs().image
    moved = image.clone()
    moved[:, :, :, 64:] = moved[:, :, :, 64:].flip(3).flip(2)
    before, after = (hues.hues(picture) for picture in (image, moved))
    assert before is not None and after is not None
    assert before.logits.shape == (2, CONFIG.grid_rows, CONFIG.grid_columns, CONFIG.semantic_classes[1])
    torch.testing.assert_close(before.logits[:, :, :14], after.logits[:, :, :14], atol=1e-4, rtol=1e-3)
    assert (before.logits - after.logits).abs().max() > 1e-3


def test_both_that_is_asked_of_a_cell_must_hold_there(hues: CrossModalPolicy) -> None:
    """A cell is no better than the worse of the two says."""
    c, query = hues.config, torch.zeros(2, 2 * (CONFIG.cell_width + 1) + 32)
    query[:, 0] = torch.tensor([3.0, 3.0])
    query[:, c.cell_width + 1] = torch.tensor([-4.0, 3.0])
    hues.asked = torch.nn.Module()
    hues.asked.forward = lambda answer: query  # type: ignore[method-assign]
    cells = hues(inputs(batch=1, phrases=2)).cells.detach()
    assert -4.1 < float(cells[0].max()) <= -4.0 and 2.0 < float(cells[1].min()) < 3.0


def test_perfect_logits_have_the_lowest_loss(policy: CrossModalPolicy) -> None:
    n, rows, columns = 2, CONFIG.grid_rows, CONFIG.grid_columns
    cells = torch.zeros(n, rows, columns)
    cells[:, 3:6, 10:14] = 1.0
    targets = PolicyTargets(cells, torch.ones_like(cells), torch.ones(n), torch.zeros(n),
                            torch.ones(n, CONFIG.steps, 2), torch.ones(n), torch.ones(n), torch.ones(n),
                            torch.full((n, rows, columns), 3), torch.full((n, rows, columns), 2))  # fmt: skip
    logits = policy(inputs())
    semantic = torch.full_like(logits.semantic, -9.0)
    semantic[..., [3, CONFIG.semantic_classes[0] + 2]] = 9.0
    good = logits._replace(semantic=semantic, cells=20 * cells - 10, log_range=targets.log_range, visible=torch.full((n,), 9.0),
                           arrived=torch.full((n,), -9.0),
                           waypoints=targets.waypoints[:, None].expand(-1, CONFIG.hypotheses, -1, -1))  # fmt: skip
    assert policy_losses(good, targets)["total"] < 0.1 * policy_losses(logits, targets)["total"]


def test_the_config_refuses_sizes_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match="multiple of the patch"):
        PolicyConfig(image_width=100)
    with pytest.raises(ConfigError, match="cross_attention or late"):
        PolicyConfig(fusion="early")
    with pytest.raises(ConfigError, match="unknown policy settings"):
        PolicyConfig.from_dict({"depth": 3})
    assert PolicyConfig.from_dict(CONFIG.to_dict()) == CONFIG


def test_tiny_stays_below_its_parameter_budget(policy: CrossModalPolicy) -> None:
    assert sum(p.numel() for p in policy.parameters()) < 1_500_000
