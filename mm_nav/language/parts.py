"""A phrase taken to pieces, so that a pair of colour and thing that was never taught is still made of what was."""

from __future__ import annotations

import re

from mm_nav.language.patterns import any_of
from mm_nav.language.vocabulary import COLOUR_NAMES, GENERIC

_COLOUR = re.compile(
    rf"(?:,?\s*(?:that|which)(?:['’]s|\s+is)\s+|\bin\s+)?(?:\bcolou?red\s+)?"
    rf"(?P<colour>(?:\b(?:light|dark|pale|bright|deep)[\s-]+)?\b(?:{any_of(COLOUR_NAMES)})\b)(?:[\s-]colou?red)?",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:not|isn['’]t|no|without|but|except)\b", re.IGNORECASE)
_SMALL = frozenset({"the", "a", "an", "any", "some", "that", "this", "which", "is", "one", "of", *GENERIC})


def in_parts(phrase: str) -> tuple[str, ...]:
    """Return what a phrase that names one colour and a thing says of the thing, and of the colour; else the phrase itself.

    The sentence encoder mixes the two, and what it makes of a new pair is like nothing that a policy was trained on.
    """
    found = list(_COLOUR.finditer(phrase))
    if len(found) != 1 or _NOT.search(phrase):
        return (phrase,)
    (match,) = found
    thing = " ".join((phrase[: match.start()] + " " + phrase[match.end() :]).split())
    if all(word in _SMALL for word in re.findall(r"[^\W\d_]+", thing.lower())):
        return (phrase,)
    return thing, f"the {match['colour'].lower()} thing"
