"""Whether the stack can know what a phrase names: "go to the elephant" must end at once, not in a random drive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mm_nav.language.encoder import TextEncoder
from mm_nav.language.reference import Reference
from mm_nav.language.vocabulary import (
    CATEGORIES,
    COLOUR_NAMES,
    COLOUR_OF,
    COLOURS,
    GENERIC,
    HIGH_COLOURED,
    MATERIALS,
    OTHER_ADJECTIVES,
    OTHER_THINGS,
    RIVALS,
    ROOMS,
    SIZES,
    category_words,
    singular,
)

# Cosine similarity to the nearest category word, from which a noun of no list is taken for a thing of that category.
# Measured in test/language/test_knowledge.py, on 11 unlisted names of such things and 40 other nouns: 0.45 keeps 11 and lets 7
# pass, 0.50 11 and 6, 0.55 10 and 2, 0.60 8 and 2.
SIMILAR = 0.55

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_COLOUR_BEHIND = re.compile(r"\s(?:(?:that|which)(?:\s+(?:is|are)|['’]s)|in)\s+(?!not\b)([\w'’-]+(?:\s+[\w'’-]+)?)\s*$")
_DETERMINER = re.compile(r"^(?:the|a|an|any|some|that|this|my|your|our|his|her|its|their|one|of)\s+", re.IGNORECASE)
_HEAD_END = re.compile(
    r"\s+(?:that|which|who|whose|with|without|in|on|of|at|by|near|next|beside|behind|between|made|standing|sitting|to|from|for|over|past|"
    r"under|inside|along|against|across|opposite|where|you|and|or|is|as|left|right)\b.*$",
    re.IGNORECASE,
)
_ADJECTIVES = COLOUR_NAMES | set(MATERIALS) | set(SIZES) | set(OTHER_ADJECTIVES)


class Knowledge:
    """What a model knows by name.

    categories: names of the things it was taught; () = all of mm_nav.language.vocabulary. encoder: made when the first word
    of no list comes up; None where the sentence encoder is not to be used, so that such words count as known. colours: names
    of those it was taught; () = all. untaught: "colour thing" of what it was never shown together, though of each it was shown
    others.
    """

    def __init__(
        self,
        categories: Iterable[str] = (),
        encoder: Callable[[], TextEncoder] | None = TextEncoder,
        colours: Iterable[str] = (),
        untaught: Iterable[str] = (),
    ) -> None:
        self.categories = tuple(categories) or tuple(CATEGORIES)
        self.colours, self._untaught = tuple(colours) or tuple(COLOURS), frozenset(untaught)
        self._words = category_words(self.categories)
        self._category_of = {word: name for name, words in self._words.items() for word in words}
        self._make_encoder = encoder
        self._vectors: npt.NDArray[np.float64] | None = None
        self._encoder: TextEncoder | None = None
        self._similar = lru_cache(maxsize=256)(self._similarity)

    def unknown_word(self, reference: Reference) -> str | None:
        """Return the noun of a reference that names nothing known, or None. Anchors count as well as the target."""
        for phrase in reference.phrases():
            noun = self.unknown_noun(phrase)
            if noun is not None:
                return noun
        return None

    def unknown_noun(self, phrase: str) -> str | None:
        """Return the noun of a plain phrase when it names nothing known, else None.

        Phrases of colours alone, general words ("thing") and rooms are known.
        """
        words = _head_words(phrase)
        if not words or any(self._is_listed(noun) for noun in _nouns(words)):
            return None
        if all(word in _ADJECTIVES or word in GENERIC for word in words):
            return None
        while words[-1] in _ADJECTIVES:  # "the elephant painted red"
            words.pop()
        noun = words[-1]
        if noun in OTHER_THINGS or singular(noun) in OTHER_THINGS or " ".join(words[-2:]) in OTHER_THINGS:
            return noun
        return None if self._similar(noun) or self._similar(" ".join(words[-2:])) else noun

    def category(self, phrase: str) -> str:
        """Return the category of the thing that a phrase names; "" where it names none."""
        return self._named(phrase)[1]

    def coloured_high_up(self, phrase: str) -> bool:
        """Return whether a phrase names a colour that its thing has only high up, out of a low camera's view from nearby."""
        return self.category(phrase) in HIGH_COLOURED and bool(_colour(phrase)[1])

    def canonical(self, phrase: str) -> str:
        """Return the phrase with the category's plain word for one that no network is taught ("wastebin" -> bin)."""
        noun, category = self._named(phrase)
        if not category or noun in CATEGORIES.get(category, ()) or noun not in self._category_of:
            return phrase
        return _with_word(phrase, noun, category)

    def rivals(self, phrase: str) -> tuple[str, ...]:
        """Return the phrase with the names of things that are easily taken for it in its place; () where it names none."""
        noun, category = self._named(phrase)
        known = (name for name in RIVALS.get(category, ()) if name in self.categories)
        return tuple(_with_word(phrase, noun, name) for name in known)

    def other_colours(self, phrase: str) -> tuple[str, ...]:
        """Return the phrase in all other colours that its thing was taught in; () where it names no thing or no one colour."""
        _, category = self._named(phrase)
        word, colour = _colour(phrase)
        if not category or not colour:
            return ()
        others = (name for name in self.colours if name != colour and f"{name} {category}" not in self._untaught)
        return tuple(_with_word(phrase, word, name) for name in others)

    def parts(self, phrase: str) -> tuple[str, str] | None:
        """Return the phrase without its colour, and with any thing for its thing, where both were never taught together."""
        noun, category = self._named(phrase)
        word, colour = _colour(phrase)
        if not category or f"{colour} {category}" not in self._untaught:
            return None
        return " ".join(_with_word(phrase, word, "").split()), _with_word(phrase, noun, "thing")

    def _named(self, phrase: str) -> tuple[str, str]:
        """Return the noun of a phrase and its category; "" where it has none."""
        for noun in _nouns(_head_words(phrase)):
            category = self._category_of.get(noun) or self._category_of.get(singular(noun))
            if category is not None:
                return noun, category
        return "", ""

    def refusal(self, noun: str) -> str:
        """Return the message for a noun that is not known: it names the word and what would be understood."""
        return (
            f"'{noun}' is nothing that this model can recognise: it knows {', '.join(self.categories)}, by any colour"
        )

    def _is_listed(self, noun: str) -> bool:
        return any(word in self._category_of or word in GENERIC or word in ROOMS for word in (noun, singular(noun)))

    def _similarity(self, noun: str) -> bool:
        if self._make_encoder is None:
            return True
        if self._encoder is None:
            self._encoder = self._make_encoder()
        if self._vectors is None:
            taught = [word for name in self.categories for word in CATEGORIES.get(name, (name,))]
            self._vectors = np.stack([_vector(self._encoder, word) for word in taught])
        return bool((self._vectors @ _vector(self._encoder, noun)).max() >= SIMILAR)


def _head_words(phrase: str) -> list[str]:
    """Return the lower-case words up to the head noun, without determiners."""
    text = phrase.strip()
    while (shorter := _DETERMINER.sub("", text)) != text:
        text = shorter
    text = _HEAD_END.sub("", text)
    return _WORD.findall(text.lower())


def _with_word(phrase: str, word: str, other: str) -> str:
    return re.sub(rf"\b{re.escape(word)}\b", other, phrase, count=1, flags=re.IGNORECASE)


def _colour(phrase: str) -> tuple[str, str]:
    """Return the one word of the phrase that names a colour, and that colour; "" where there is none, or several.

    It stands before the noun ("the red lamp") or behind it ("the lamp that is red", "a lamp in red").
    """
    behind = _COLOUR_BEHIND.search(phrase.lower())
    words = [*_head_words(phrase), *(_WORD.findall(behind[1]) if behind else ())]
    found = [(word, COLOUR_OF[word]) for word in words if word in COLOUR_OF]
    return found[0] if len(found) == 1 else ("", "")


def _nouns(words: list[str]) -> list[str]:
    """Return what may be the noun: the last three, two and one words; hyphens also read as spaces."""
    ends = [" ".join(words[-count:]) for count in (3, 2, 1) if len(words) >= count]
    return list(dict.fromkeys([*ends, *(end.replace("-", " ").split(" ")[-1] for end in ends if "-" in end)]))


def _vector(encoder: TextEncoder, text: str) -> npt.NDArray[np.float64]:
    embedding, mask = encoder.encode(text)
    mean = (embedding * mask[:, None]).sum(axis=0) / max(float(mask.sum()), 1.0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float64)
