"""Patterns of the words that sentences are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mm_nav.language.vocabulary import CATEGORIES, COLOUR_NAMES, FURTHER_WORDS


def any_of(words: Iterable[str]) -> str:
    """Return a pattern that matches any of the words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))


# Names of things, in the singular.
THINGS = any_of(
    {word for lists in (CATEGORIES, FURTHER_WORDS) for words in lists.values() for word in words}
    | {"shelves", "bookshelves"}
)
# One of them, also in the plural.
SOME_THING = rf"(?:{THINGS})(?:es|s)?"
THING = re.compile(rf"\b(?P<noun>{SOME_THING})\b", re.IGNORECASE)
COLOUR = rf"(?:(?:light|dark|pale|bright|deep)[\s-]+)?(?:{any_of(COLOUR_NAMES)})"
