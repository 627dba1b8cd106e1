"""The phrases a frame is paired with: descriptions of objects, near misses, and anything at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mm_nav.language.vocabulary import RIVALS
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES
from mm_nav.sim.instructions import sample_phrase
from mm_nav.sim.splits import is_held_out

# Phrase, and the colour and category it asks for ("" = any).
Drawn = tuple[str, str, str]
# A fixed number of wordings per (category, colour) keeps the encoder's cache small; all come from the train split.
WORDINGS = 40
# Of the near misses of another kind, those that are easily taken for the thing.
_ALIKE_SHARE = 0.7
_MIXED_SHARE = 0.4  # of the near misses, those that are made of two things in view, where there are such


class PhraseBank:
    """Wordings by category and colour, drawn once from `seed`."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._wordings: dict[tuple[str, str], list[str]] = {}

    def phrase(self, rng: np.random.Generator, category: str, colour: str) -> Drawn:
        """Return one of the wordings for a category and colour."""
        key = (category, colour)
        if key not in self._wordings:
            own = np.random.default_rng([self._seed, *f"{category}/{colour}".encode()])
            self._wordings[key] = [sample_phrase(own, category, colour) for _ in range(WORDINGS)]
        wordings = self._wordings[key]
        return wordings[int(rng.integers(len(wordings)))], colour, category

    def describe(self, rng: np.random.Generator, item: dict[str, Any]) -> Drawn:
        """Return a phrase that `item` satisfies: colour and category, category alone, or (seldom) colour alone."""
        kind = rng.random()
        colour = "" if kind < 0.25 else item["colour"]
        category = "" if 0.25 <= kind < 0.32 and item["colour"] else item["category"]
        return self.phrase(rng, category, colour)

    def near_miss(self, rng: np.random.Generator, item: dict[str, Any], others: Sequence[dict[str, Any]]) -> Drawn:
        """Return a phrase that shares the category or the colour with `item`, and seldom fits it.

        others: what else is in view: the category of the one in the colour of the other is the hardest to refuse. Else, another
        category is mostly one that looks alike: only there is it hard to say no.
        """
        if rng.random() < _MIXED_SHARE:
            kind = item["category"]
            mixed = [other["colour"] for other in others if other["colour"] and other["colour"] != item["colour"]]
            mixed = [colour for colour in mixed if colour in known_colours(kind)]
            if mixed:
                return self.phrase(rng, kind, str(rng.choice(mixed)))
        if item["colour"] and rng.random() < 0.5:
            return self.phrase(rng, item["category"], str(rng.choice(known_colours(item["category"]))))
        fitting = [name for name in ALL_CATEGORIES if not item["colour"] or item["colour"] in known_colours(name)]
        if rng.random() < _ALIKE_SHARE:
            fitting = [name for name in fitting if name in RIVALS[item["category"]]] or fitting
        return self.phrase(rng, str(rng.choice(fitting)), item["colour"])

    def anything(self, rng: np.random.Generator, colours: bool = True) -> Drawn:
        """Return a phrase for any item of the catalogue; of no colour without `colours`."""
        category = str(rng.choice(list(ALL_CATEGORIES)))
        colour = "" if not colours or rng.random() < 0.3 else str(rng.choice(known_colours(category)))
        return self.phrase(rng, category, colour)


@lru_cache(maxsize=64)
def known_colours(category: str) -> tuple[str, ...]:
    """Return the colours that training may pair with a category: a pair that is never there must not be asked for either."""
    return tuple(colour for colour in ALL_CATEGORIES[category].colours if not is_held_out(category, colour))
