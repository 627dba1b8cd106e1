"""Sentences about the objects of a world, for training and evaluation, with the objects that satisfy them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.sim.catalogue import CATEGORIES
from mm_nav.sim.floor_plan import Wall
from mm_nav.sim.objects import SceneObject
from mm_nav.sim.relation_phrases import RELATION_KINDS, describe_by_relation
from mm_nav.sim.vocabulary import CATEGORY_WORDS, COLOUR_WORDS, article, word

Split = Literal["train", "held_out"]
KINDS = ("category", "colour", "synonym", "sequence")
# Made only when asked for by name: the order of KINDS decides what the episode of a seed is.
EXTRA_KINDS = ("relation",)

TRAIN_TEMPLATES = (
    "go to {o}",
    "drive to {o}",
    "move to {o}",
    "navigate to {o}",
    "head to {o}",
    "travel to {o}",
    "proceed to {o}",
    "roll to {o}",
    "go over to {o}",
    "drive over to {o}",
    "head over to {o}",
    "go up to {o}",
    "drive up to {o}",
    "move towards {o}",
    "head towards {o}",
    "head for {o}",
    "find {o}",
    "locate {o}",
    "look for {o}",
    "search for {o}",
    "seek {o}",
    "approach {o}",
    "visit {o}",
    "reach {o}",
    "take me to {o}",
    "bring me to {o}",
    "lead me to {o}",
    "stop at {o}",
    "stop near {o}",
    "stop next to {o}",
    "wait at {o}",
    "park next to {o}",
    "please go to {o}",
    "please find {o}",
    "could you go to {o}",
    "can you find {o}",
    "robot, go to {o}",
    "now drive to {o}",
    "go straight to {o}",
    "make your way to {o}",
    "go and find {o}",
    "{o}, please",
    "{o}",
)
HELD_OUT_TEMPLATES = (
    "i need you at {o}",
    "get over to {o}",
    "would you drive to {o} for me",
    "your goal is {o}",
    "position yourself beside {o}",
    "come to a halt in front of {o}",
    "i would like you to visit {o}",
    "see if you can get to {o}",
    "your destination is {o}",
    "hurry to {o}",
    "walk up to {o}",
    "end up near {o}",
    "try to reach {o}",
    "let's go see {o}",
    "guide me to {o}",
    "scoot over to {o}",
)
SEQUENCE_TEMPLATES = (
    "go past {a} to {b}",
    "go to {a}, then to {b}",
    "first go to {a}, then go to {b}",
    "drive to {a} and then to {b}",
    "pass {a} and go to {b}",
    "find {a}, then find {b}",
)
HELD_OUT_SEQUENCE_TEMPLATES = (
    "visit {a}, after that stop at {b}",
    "drive by {a} until you reach {b}",
)
_COLOURED = ("the {c} {n}", "the {c} {n}", "the {c} {n}", "a {c} {n}", "the {n} that is {c}", "{c} {n}")
_PLAIN = ("the {n}", "the {n}", "a {n}", "any {n}", "{n}")


@dataclass(frozen=True)
class Instruction:
    """A sentence and what satisfies it.

    kind: one of KINDS or EXTRA_KINDS. text: the sentence. steps: per step, the names of all objects that satisfy it; the
    robot stops at the last step's, and goes by or to those of earlier ones. phrases: the noun phrase of each step.
    relation: of kind "relation", which of RELATION_KINDS; else "".
    """

    text: str
    kind: str
    steps: tuple[tuple[str, ...], ...]
    phrases: tuple[str, ...]
    relation: str = ""

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the objects where the robot may stop."""
        return self.steps[-1]


def describe(
    rng: np.random.Generator, category: str, colour: str, synonyms: float = 0.0, split: Split = "train"
) -> str:
    """Return a noun phrase, such as "the red barrel"; colour "" leaves it out; category "" says "thing".

    synonyms: probability of another word for the category, and half of it for the colour. split: indefinite and
    relative forms are drawn in both.
    """
    noun = "thing" if not category else word(rng, CATEGORY_WORDS[category], synonyms)
    if not colour:
        return article(str(rng.choice(_PLAIN)).format(n=noun))
    return article(str(rng.choice(_COLOURED)).format(c=word(rng, COLOUR_WORDS[colour], synonyms / 2), n=noun))


def matching(objects: Sequence[SceneObject], category: str, colour: str) -> tuple[str, ...]:
    """Return the names of the objects that a category and colour describe; "" means any."""
    return tuple(
        item.name
        for item in objects
        if (not category or item.category == category) and (not colour or item.colour == colour)
    )


def sample_instruction(
    rng: np.random.Generator,
    target: SceneObject,
    objects: Sequence[SceneObject],
    kind: str,
    split: Split = "train",
    walls: Sequence[Wall] = (),
    view: Pose2D | None = None,
) -> Instruction:
    """Return a sentence of a kind that sends the robot to `target` (or to whatever else fits the words).

    walls, view: for kind "relation", as in `describe_by_relation`; where no relation tells the target apart without
    doubt, the sentence is of kind "colour", and says so.
    """
    if kind == "relation":
        related = relation_instruction(rng, target, objects, walls, view, split)
        if related is not None:
            return related
        kind = "colour"
    templates = TRAIN_TEMPLATES if split == "train" else HELD_OUT_TEMPLATES
    if kind == "category":
        phrase, names = describe(rng, target.category, ""), matching(objects, target.category, "")
    elif kind == "synonym":
        phrase = describe(rng, target.category, target.colour, synonyms=1.0)
        names = matching(objects, target.category, target.colour)
    else:
        phrase = describe(rng, target.category, target.colour)
        names = matching(objects, target.category, target.colour)
    others = [item for item in objects if item.name not in names]
    if kind == "sequence" and others:
        first = others[int(rng.integers(len(others)))]
        before = describe(rng, first.category, first.colour)
        sequences = SEQUENCE_TEMPLATES if split == "train" else HELD_OUT_SEQUENCE_TEMPLATES
        text = str(rng.choice(sequences)).format(a=before, b=phrase)
        steps = (matching(objects, first.category, first.colour), names)
        return Instruction(text, kind, steps, (before, phrase))
    text = str(rng.choice(templates)).format(o=phrase)
    return Instruction(text, kind, (names,), (phrase,))


def relation_instruction(
    rng: np.random.Generator,
    target: SceneObject,
    objects: Sequence[SceneObject],
    walls: Sequence[Wall] = (),
    view: Pose2D | None = None,
    split: Split = "train",
    relations: Sequence[str] = RELATION_KINDS,
    synonyms: float = 0.0,
) -> Instruction | None:
    """Return a sentence that names `target` by a relation, or None where that cannot be done without doubt.

    The other arguments are those of `describe_by_relation`; view is where the robot stands when it hears the sentence.
    """
    found = describe_by_relation(rng, target, objects, walls, view, relations, synonyms)
    if found is None:
        return None
    templates = TRAIN_TEMPLATES if split == "train" else HELD_OUT_TEMPLATES
    text = str(rng.choice(templates)).format(o=found.text)
    return Instruction(text, "relation", (found.names,), (found.text,), found.kind)


def sample_phrase(rng: np.random.Generator, category: str, colour: str, split: Split = "train") -> str:
    """Return what the policy is conditioned on: mostly a noun phrase, now and then a whole sentence."""
    phrase = describe(rng, category, colour, synonyms=0.3, split=split)
    if rng.random() < 0.15:
        templates = TRAIN_TEMPLATES if split == "train" else HELD_OUT_TEMPLATES
        return str(rng.choice(templates)).format(o=phrase)
    return phrase


def described_objects(phrase: str, objects: Sequence[SceneObject]) -> tuple[SceneObject, ...]:
    """Return the objects that a phrase of catalogue words describes, for judging a run; none for words it does not know."""
    category, colour = phrase_meaning(phrase)
    names = set(matching(objects, category, colour)) if category or colour else set()
    return tuple(item for item in objects if item.name in names)


def phrase_meaning(phrase: str) -> tuple[str, str]:
    """Return the (category, colour) that a phrase of catalogue words asks for; "" = any, or a word that is not known."""
    padded = f" {' '.join(re.findall(r'[a-z]+', phrase.lower()))} "

    def known(table: dict[str, tuple[str, ...]]) -> str:
        # The longest word wins: "orange box" has a colour, "trash can" is no "can".
        found = [(len(word), name) for name, words in table.items() for word in words if f" {word} " in padded]
        return max(found)[1] if found else ""

    return known(CATEGORY_WORDS), known(COLOUR_WORDS)


def other_description(rng: np.random.Generator, objects: Sequence[SceneObject], avoid: Sequence[str]) -> str:
    """Return a phrase for a catalogue item that none of the objects named in `avoid` satisfies."""
    taken = {(item.category, item.colour) for item in objects if item.name in avoid}
    while True:
        category = str(rng.choice(list(CATEGORIES)))
        colour = str(rng.choice(CATEGORIES[category].colours))
        if all(category != c for c, _ in taken):
            return describe(rng, category, colour)
