"""What training never sees: worlds of held-out seeds, and pairs of category and colour that the suite `combination` asks for."""

from __future__ import annotations

from collections.abc import Iterable

from mm_nav.sim.objects import SceneObject

FIRST_HELD_OUT_SEED = 10_000
"""World seeds from here on are for evaluation and are never trained on."""

# Every category and every colour stays in training with most of its partners; chosen by hand before any training run.
HELD_OUT_PAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        ("chair", "green"), ("chair", "purple"), ("table", "red"), ("sofa", "blue"), ("shelf", "white"), ("plant", "black"),
        ("barrel", "orange"), ("barrel", "cyan"), ("box", "pink"), ("box", "yellow"), ("cone", "blue"), ("bin", "green"),
        ("bin", "white"), ("lamp", "yellow"), ("door", "grey"), ("cabinet", "brown"), ("bed", "grey"), ("stool", "orange"),
        ("stool", "brown"),
    }
)  # fmt: skip


def is_held_out(category: str, colour: str) -> bool:
    """Return whether a pair of category and colour is kept out of training."""
    return (category, colour) in HELD_OUT_PAIRS


def held_out(objects: Iterable[SceneObject]) -> tuple[SceneObject, ...]:
    """Return the objects whose pair of category and colour is kept out of training."""
    return tuple(item for item in objects if is_held_out(item.category, item.colour))
