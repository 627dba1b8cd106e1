"""The words for categories, colours and materials. The first of each is the plain one."""

from __future__ import annotations

import numpy as np

from mm_nav.language.vocabulary import CATEGORIES

CATEGORY_WORDS: dict[str, tuple[str, ...]] = dict(CATEGORIES)
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "cyan": ("cyan", "turquoise"),
    "blue": ("blue", "navy"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "brown": ("brown", "chocolate"),
    "white": ("white", "ivory"),
    "grey": ("grey", "gray"),
    "black": ("black", "jet black"),
}
# Per material: as an adjective, and after "made of".
MATERIAL_WORDS: dict[str, tuple[str, str]] = {
    "wood": ("wooden", "wood"),
    "metal": ("metal", "metal"),
    "plastic": ("plastic", "plastic"),
    "fabric": ("fabric", "fabric"),
    "leather": ("leather", "leather"),
    "cardboard": ("cardboard", "cardboard"),
    "ceramic": ("ceramic", "ceramic"),
    "rubber": ("rubber", "rubber"),
}


def word(rng: np.random.Generator, words: tuple[str, ...], other: float) -> str:
    """Return the plain word, or with probability `other` another one."""
    if len(words) > 1 and rng.random() < other:
        return str(rng.choice(words[1:]))
    return words[0]


def article(phrase: str) -> str:
    """Return the phrase with "an" for "a" where its second word begins with a vowel."""
    return f"an{phrase[1:]}" if phrase.startswith("a ") and phrase[2:3] in "aeiou" else phrase
