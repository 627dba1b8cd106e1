"""Noun phrases that name a thing by where it stands, how large it is, what it is made of or what it is not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.sim.floor_plan import Wall
from mm_nav.sim.objects import SceneObject
from mm_nav.sim.relations import between, directed, farthest, in_corner, left_to_right, nearest, next_to
from mm_nav.sim.vocabulary import CATEGORY_WORDS, COLOUR_WORDS, MATERIAL_WORDS, article, word

RELATION_KINDS = (
    "next_to", "between", "corner", "left", "right", "front", "behind", "nearest", "farthest", "ordinal", "not",
    "size", "material",
)  # fmt: skip
_SAID: dict[str, tuple[str, ...]] = {
    "next_to": ("next to {a}", "beside {a}", "by {a}"),
    "between": ("between {a} and {b}",),
    "corner": ("in the corner",),
    "left": ("left of {a}", "to the left of {a}"),
    "right": ("right of {a}", "to the right of {a}"),
    "front": ("in front of {a}",),
    "behind": ("behind {a}",),
}
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MAX_TRIES = 12


@dataclass(frozen=True)
class RelationPhrase:
    """A phrase and what it says. kind: one of RELATION_KINDS. names: exactly the objects that it fits. anchors: the objects
    that it refers to. seen_from: whether it holds only for the viewpoint it was made for."""

    text: str
    kind: str
    names: tuple[str, ...]
    anchors: tuple[str, ...] = ()
    seen_from: bool = False


@dataclass(frozen=True)
class _Scene:
    rng: np.random.Generator
    target: SceneObject
    objects: Sequence[SceneObject]
    same: Sequence[SceneObject]
    walls: Sequence[Wall]
    view: Pose2D | None
    synonyms: float

    @property
    def noun(self) -> str:
        return word(self.rng, CATEGORY_WORDS[self.target.category], self.synonyms)


def describe_by_relation(
    rng: np.random.Generator,
    target: SceneObject,
    objects: Sequence[SceneObject],
    walls: Sequence[Wall] = (),
    view: Pose2D | None = None,
    kinds: Sequence[str] = RELATION_KINDS,
    synonyms: float = 0.0,
) -> RelationPhrase | None:
    """Return a phrase that fits `target`, of a random one of `kinds`, or None when none of them is unambiguous.

    A phrase is given only when it is clear for every object whether it fits, and (but for "not", "size" and
    "material", which may fit several and then say "a") when it fits the target alone. Things it refers to are named so
    that no other answers to the name. view: where it is heard, world; None leaves out what depends on it. walls: "in the
    corner" needs them, and they divide rooms. synonyms: probability of another word for a category.
    """
    scene = _Scene(
        rng, target, objects, [item for item in objects if item.category == target.category], walls, view, synonyms
    )
    for index in rng.permutation(len(kinds)):
        kind = kinds[index]
        maker = _MAKERS.get(kind, _by_place)
        found = maker(scene, kind)
        if found is not None:
            return found
    return None


def _by_place(scene: _Scene, kind: str) -> RelationPhrase | None:
    if kind not in ("next_to", "between", "corner") and scene.view is None:
        return None
    if kind == "corner":
        choices: list[tuple[SceneObject, ...]] = [()]
    else:
        known = [item for item in scene.objects if item.name != scene.target.name and _name_of(scene, item)]
        choices = list(itertools.combinations(known, 2)) if kind == "between" else [(item,) for item in known]
    fitting = [anchors for anchors in choices if _holds(scene, kind, scene.target, anchors) is True]
    for index in scene.rng.permutation(len(fitting))[:_MAX_TRIES]:
        anchors = fitting[index]
        names = {item.name for item in anchors}
        others = [item for item in scene.same if item.name != scene.target.name and item.name not in names]
        # Anything of the same kind must clearly not stand there.
        if any(_holds(scene, kind, item, anchors) is not False for item in others):
            continue
        said = str(scene.rng.choice(_SAID[kind]))
        words = [_name_of(scene, item) for item in anchors]
        place = said.format(**dict(zip("ab", words, strict=False)))
        text = f"the {scene.noun} {place}"
        seen_from = kind not in ("next_to", "between", "corner")
        return RelationPhrase(text, kind, (scene.target.name,), tuple(item.name for item in anchors), seen_from)
    return None


def _holds(scene: _Scene, kind: str, item: SceneObject, anchors: tuple[SceneObject, ...]) -> bool | None:
    if kind == "corner":
        return in_corner(item, scene.walls)
    if kind == "next_to":
        return next_to(item, anchors[0], scene.walls)
    if kind == "between":
        return between(item, anchors[0], anchors[1], scene.walls)
    return directed(kind, item, anchors[0], scene.view or Pose2D(), scene.walls)


def _name_of(scene: _Scene, item: SceneObject) -> str:
    """Return a phrase that only this object answers to, or "" when category and colour do not tell it apart."""
    alike = [other for other in scene.objects if other.category == item.category]
    noun = CATEGORY_WORDS[item.category][0]
    if len(alike) == 1:
        return f"the {noun}"
    if item.colour and sum(other.colour == item.colour for other in alike) == 1:
        return f"the {COLOUR_WORDS[item.colour][0]} {noun}"
    return ""


def _by_distance(scene: _Scene, kind: str) -> RelationPhrase | None:
    if scene.view is None:
        return None
    found = (nearest if kind == "nearest" else farthest)(scene.same, scene.view, scene.walls)
    if found is None or found.name != scene.target.name:
        return None
    said = ("the nearest {n}", "the closest {n}") if kind == "nearest" else ("the farthest {n}", "the furthest {n}")
    return RelationPhrase(str(scene.rng.choice(said)).format(n=scene.noun), kind, (scene.target.name,), (), True)


def _by_order(scene: _Scene, kind: str) -> RelationPhrase | None:
    if scene.view is None or len(scene.same) < 2:
        return None
    ordered = left_to_right(scene.same, scene.view, scene.walls)
    if ordered is None:
        return None
    place = [item.name for item in ordered].index(scene.target.name)
    sides = [(place, "left"), (len(ordered) - 1 - place, "right")]
    count, side = sides[int(scene.rng.integers(2))]
    if count >= len(_ORDINALS):
        return None
    outermost = count == 0 and scene.rng.random() < 0.5
    text = f"the {side}most {scene.noun}" if outermost else f"the {_ORDINALS[count]} {scene.noun} from the {side}"
    return RelationPhrase(text, kind, (scene.target.name,), (), True)


def _by_negation(scene: _Scene, kind: str) -> RelationPhrase | None:
    colours = sorted({item.colour for item in scene.same if item.colour} - {scene.target.colour})
    if not colours or not all(item.colour for item in scene.same):
        return None
    colour = str(scene.rng.choice(colours))
    names = tuple(item.name for item in scene.same if item.colour != colour)
    said = str(scene.rng.choice(("{d} {n} that is not {c}", "{d} {n} which is not {c}")))
    return _some(scene, kind, said.replace("{c}", COLOUR_WORDS[colour][0]), names)


def _by_size(scene: _Scene, kind: str) -> RelationPhrase | None:
    size = scene.target.size_word
    if not size:
        return None
    names = tuple(item.name for item in scene.same if item.size_word == size)
    return _some(scene, kind, f"{{d}} {size} {{n}}", names)


def _by_material(scene: _Scene, kind: str) -> RelationPhrase | None:
    material = scene.target.material
    if material not in MATERIAL_WORDS or not all(item.material for item in scene.same):
        return None
    names = tuple(item.name for item in scene.same if item.material == material)
    if len(names) == len(scene.same):
        return None  # it would tell nothing apart
    adjective, noun = MATERIAL_WORDS[material]
    said = str(scene.rng.choice((f"{{d}} {adjective} {{n}}", f"{{d}} {{n}} made of {noun}")))
    return _some(scene, kind, said, names)


def _some(scene: _Scene, kind: str, said: str, names: tuple[str, ...]) -> RelationPhrase:
    """A phrase that may fit several: then it says "a"."""
    text = said.format(d="the" if len(names) == 1 else "a", n=scene.noun)
    return RelationPhrase(article(text), kind, names)


_MAKERS: dict[str, Callable[[_Scene, str], RelationPhrase | None]] = {
    "nearest": _by_distance,
    "farthest": _by_distance,
    "ordinal": _by_order,
    "not": _by_negation,
    "size": _by_size,
    "material": _by_material,
}
