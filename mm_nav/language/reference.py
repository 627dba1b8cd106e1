"""Noun phrases taken apart: what to look for, what it is not, and how it stands to other things.

A network grounds plain noun phrases ("the red chair"); everything that is said about order, distance and place is left to
geometry (mm_nav.mapping.resolve).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from mm_nav.language.vocabulary import COLOUR_NAMES, MATERIALS, OTHER_ADJECTIVES, ROOMS, SIZES, category_words, singular

RelationKind = Literal[
    "", "next_to", "between", "corner", "left", "right", "front", "behind", "nearest", "farthest", "ordinal", "along", "closest",
    "room", "big", "small", "biggest", "smallest",
]  # fmt: skip
SIZE_KINDS: tuple[RelationKind, ...] = ("big", "small", "biggest", "smallest")
# Kinds that depend on where the sentence was heard.
SEEN_FROM = ("left", "right", "front", "behind", "nearest", "farthest", "ordinal", "along")
_MAX_DEPTH = 3


@dataclass(frozen=True)
class Reference:
    """A thing as a noun phrase names it.

    text: the whole phrase. head: the plain noun phrase to ground. excluded: plain noun phrases that it must not answer to.
    relation: "" = none; next_to, between (two anchors), corner, left, right, front, behind, nearest and farthest (to or from
    the listener), closest (to the anchor), ordinal (`count`-th from the `side`, "" = from the listener), along (`count`-th of
    those on a `side` of the way ahead), room (in the room with the anchor), big and small (of those that were seen, one will do),
    biggest and smallest (of at least two). count: 1 = first, -1 = last, 0 = the middle one.
    negated: the relation must not hold. anchors: the things that the relation refers to.
    """

    text: str
    head: str
    excluded: tuple[str, ...] = ()
    relation: RelationKind = ""
    anchors: tuple[Reference, ...] = ()
    count: int = 1
    side: Literal["", "left", "right"] = ""
    negated: bool = False

    @property
    def plain(self) -> bool:
        """Whether grounding the head says it all."""
        return not self.relation and not self.excluded

    @property
    def seen_from(self) -> bool:
        """Whether it can only be told from where the sentence was heard."""
        return self.relation in SEEN_FROM

    def phrases(self) -> tuple[str, ...]:
        """Return the plain phrases to ground, its own head first, each once."""
        inner = (phrase for anchor in self.anchors for phrase in anchor.phrases())
        return tuple(dict.fromkeys((self.head, *self.excluded, *inner)))


_NUMBERS = {
    "first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4, "fifth": 5, "5th": 5, "sixth": 6,
    "6th": 6, "seventh": 7, "7th": 7, "eighth": 8, "8th": 8, "last": -1, "final": -1, "middle": 0, "central": 0, "center": 0,
    "centre": 0,
}  # fmt: skip
_ORDINAL = "(?:" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_THE = r"(?:the|a|an|any|some|that|this|my|your|our|one\s+of\s+the)"
_WHICH = (
    r"(?:(?:(?:that|which)(?:\s*['’]s|\s+is|\s+are|\s+stands|\s+sits|\s+lies|\s+was)?|who\s+is)\s+)?"
    r"(?P<no>(?:is\s+)?not\s+|isn['’]?t\s+)?"
    r"(?:(?:(?:located|standing|sitting|placed|situated|positioned|lying|leaning|resting|parked|kept|put|left(?!\s+(?:of|from|hand|side|most))|found|right|just|directly|immediately|somewhere|"
    r"seen|over|there)\s+){0,3})"
)
_ROOM_WORDS = "|".join(ROOMS)
_SIDE_OF = r"(?:(?:to|on|at)\s+(?:the|its|your|my)\s+)?(?P<{0}>left|right)(?:[\s-]+hand)?(?:\s+side)?\s+(?:of|from)"
# Each finds where the head ends; the anchor is what follows. Ordered by what may contain what.
_PLACES: tuple[tuple[RelationKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(rf"\s+{_WHICH}(?:{words})(?=\s|$)", re.IGNORECASE))  # type: ignore[misc]
    for kind, words in (
        ("between", r"(?:in\s+)?between|in\s+the\s+middle\s+of|amid|flanked\s+by"),
        (
            "corner",
            r"(?:in|at|inside|by|near|tucked\s+in(?:to)?)\s+(?:the|a|one|that|this)\s+(?:\w+\s+)?corner(?:\s+of\s+the\s+\w+)?",
        ),
        (
            "closest",
            r"(?:(?:nearest|closest)\s+to|opposite(?:\s+(?:to|of|from))?|across\s+from|facing)(?!\s+(?:me|you|us|here|the\s+robot|yourself|where)\b)",
        ),
        ("left", _SIDE_OF.format("l").replace("left|right", "left")),
        ("right", _SIDE_OF.format("r").replace("left|right", "right")),
        ("front", r"in\s+front\s+of|before|ahead\s+of|on\s+this\s+side\s+of"),
        (
            "behind",
            r"behind|in\s+back\s+of|(?:at|to)\s+the\s+(?:back|rear)\s+of|beyond|on\s+the\s+(?:other|far)\s+side\s+of",
        ),
        (
            "next_to",
            r"next\s+to|beside|besides|by|near|nearby|near\s+to|close\s+(?:to|by)|adjacent\s+to|alongside(?:\s+of)?|"
            r"at\s+the\s+side\s+of|neighbou?ring|adjoining|touching|against|right\s+by|under|underneath|below|beneath|on\s+top\s+of|"
            r"on|at|around|with|not\s+far\s+from|standing\s+with|(?:in|inside|within)(?=\s+(?:the|a|an)\s+(?!(?:\w+\s+)?(?:"
            + _ROOM_WORDS
            + r")\b))",
        ),
        ("room", r"in|inside|within|from|of"),
    )
)
_AWAY = re.compile(rf"\s+{_WHICH}(?:away|far)(?:\s+away)?\s+from(?=\s)", re.IGNORECASE)
_ROOM_WITH = re.compile(
    rf"^{_THE}\s+(?:other\s+)?(?:room|office|space|area)\s+(?:with|containing|that\s+has|which\s+has|that\s+contains|where\s+there\s+is)"
    r"\s+(?P<what>.+?)(?:\s+(?:in\s+it|inside|is))?$",
    re.IGNORECASE,
)
_NEAREST = re.compile(
    rf"^(?:{_THE}\s+)?(?P<which>nearest|closest|farthest|furthest|most\s+distant|remotest)\s+(?P<noun>.+?)"
    r"(?:\s+(?:to|from)\s+(?:me|you|us|here|the\s+robot|yourself))?$",
    re.IGNORECASE,
)
_SIZED = re.compile(
    rf"^(?:{_THE}\s+)?(?P<which>(?:big|larg)(?:e|ger|gest|er|est)?|huge|giant|great|small(?:er|est)?|little|tin(?:y|ier|iest))\s+(?P<noun>(?!of\b).+)$",
    re.IGNORECASE,
)
_TO_ANCHOR = re.compile(r"(?P<noun>.+?)\s+(?:to|from)\s+(?P<anchor>.+)$", re.IGNORECASE)
_NEAREST_AFTER = re.compile(
    r"^(?P<noun>.+?)\s+(?:that\s+is\s+|which\s+is\s+|that['’]s\s+)?(?:the\s+)?(?P<which>nearest|closest|farthest|furthest|"
    r"most\s+distant|farther|further|nearer|closer)(?:\s+(?:away|to|from))*(?:\s+(?:me|you|us|here|the\s+robot|yourself|where\s+you\s+are))?$",
    re.IGNORECASE,
)
_FROM_SIDE = re.compile(
    rf"^(?:{_THE}\s+)?(?P<count>{_ORDINAL})\s+(?P<noun>.+?)(?:,?\s+(?:counting|counted|as\s+seen|when\s+counting|starting))?\s+"
    r"(?P<how>from|on|to|at|down\s+on|along)\s+(?:the|your|my)\s+(?:far\s+)?(?P<side>left|right)(?:[\s-]+hand)?(?:\s+side)?$",
    re.IGNORECASE,
)
_COUNTED = re.compile(rf"^(?:{_THE}\s+)?(?P<count>{_ORDINAL})\s+(?P<noun>(?!of\b|one\s+of\b).+)$", re.IGNORECASE)
_SIDEMOST = re.compile(
    rf"^(?:{_THE}\s+)?(?P<side>left|right)(?:[\s-]?most|[\s-]+hand|\s+hand\s+side)?\s+(?P<noun>(?!of\b|side\b|from\b).+)$",
    re.IGNORECASE,
)
_ON_SIDE = re.compile(
    r"^(?P<noun>.+?)\s+(?:(?:that|which)(?:['’]s|\s+is)\s+)?(?:(?:furthest|farthest|most)\s+(?:to|on)\s+the|(?:all\s+the\s+way\s+)?"
    r"(?:on|to|at)\s+(?:the|your|my)(?:\s+far|\s+very)?)\s+(?P<side>left|right)(?:[\s-]+hand)?(?:\s+side)?$",
    re.IGNORECASE,
)
_NOT = re.compile(
    r",?\s+(?:(?:that|which|who)?\s*(?:is|are)\s*(?:not|n['’]t)|(?:that|which|who)\s+isn['’]?t|(?:that|which)['’]s\s+not|isn['’]?t|but\s+not|"
    r"and\s+not|not|other\s+than|except(?:\s+for)?|excluding|apart\s+from|rather\s+than|(?:that|which)\s+is\s+neither|neither)\s+"
    r"(?P<what>.+)$",
    re.IGNORECASE,
)
_NON = re.compile(r"\bnon[\s-]+(?P<what>[a-z]+)\s+", re.IGNORECASE)
_LISTED = re.compile(
    r"\b(?:" + "|".join(re.escape(word) for words in category_words().values() for word in words) + r")s?\b",
    re.IGNORECASE,
)
_ATTRIBUTES = COLOUR_NAMES | set(MATERIALS) | set(SIZES)
_SKIPPED = _ATTRIBUTES | set(OTHER_ADJECTIVES)
# "the leftmost of the boxes" is the leftmost box.
_OF_THE = re.compile(
    rf"^(?P<order>(?:{_THE}\s+)?(?:{_ORDINAL}|nearest|closest|farthest|furthest|left[\s-]?most|right[\s-]?most|(?:big|large?|small|tall|tini)(?:g)?(?:er|est|st))(?:\s+one)?)\s+of\s+"
    r"(?:all\s+)?(?:the|these|those)\s+(?:(?:two|three|four|five|six)\s+)?(?P<many>(?:\w+\s+){0,3}?\w+s)\b(?P<rest>.*)$",
    re.IGNORECASE,
)
_ANY_DETERMINER = re.compile(rf"^{_THE}\b\s*", re.IGNORECASE)
_TRAILING = re.compile(
    r"[\s,]+(?:over\s+there|there|here|please|you\s+(?:can\s+)?see|in\s+view|in\s+the\s+room|of\s+the\s+room|in\s+the\s+"
    r"(?:house|building|apartment|flat)|in\s+here|around\s+here|ahead(?:\s+of\s+(?:you|us))?|as\s+seen\s+from\s+(?:here|where\s+you\s+are))$",
    re.IGNORECASE,
)


def parse_reference(phrase: str) -> Reference:
    """Return what a noun phrase refers to; what is not understood stays in the head as it was said."""
    text = " ".join(phrase.split())
    return _parse(text, 0) if text else Reference(phrase, phrase)


def _parse(text: str, depth: int) -> Reference:
    plain = Reference(text, text)
    if depth >= _MAX_DEPTH:
        return plain
    core = text
    while (shorter := _TRAILING.sub("", core)) != core and len(shorter.split()) > 1:
        core = shorter
    several = _OF_THE.match(core)
    if several:
        order = re.sub(r"\s+one$", "", several["order"], flags=re.IGNORECASE)
        *adjectives, noun = several["many"].split()
        core = " ".join([order, *adjectives, singular(noun)]) + several["rest"]
    room = _room(text, core, depth)
    if room is not None:
        return room
    for rule in (_ordered, _negated, _placed):
        found = rule(text, core, depth)
        if found is not None:
            return found
    return Reference(text, core)


def _room(text: str, core: str, depth: int) -> Reference | None:
    with_thing = _ROOM_WITH.match(core)
    if with_thing:
        inner = _parse(with_thing["what"].strip(), depth + 1)
        return replace(inner, text=text)
    name = _ANY_DETERMINER.sub("", core).lower()
    if ROOMS.get(name):
        return Reference(text, f"the {ROOMS[name]}")
    return None


def _ordered(text: str, core: str, depth: int) -> Reference | None:
    """Nearest, farthest, ordinals and sides: what is said about an order as the listener sees it."""
    match = _NEAREST.match(core)
    # "the chair nearest to the door" has an anchor, "the nearest chair to the door" too.
    if match and not re.search(r"\s(?:to|from)\s", match["noun"], re.IGNORECASE):
        return _of_noun(text, match["noun"], _by_distance(match["which"]), depth)
    parts = _TO_ANCHOR.match(match["noun"]) if match and _by_distance(match["which"]) == "nearest" else None
    if parts and _is_noun(parts["noun"]):
        anchor = _parse(parts["anchor"], depth + 1)
        return Reference(text, _the(parts["noun"]), relation="closest", anchors=(anchor,))
    match = _NEAREST_AFTER.match(core)
    if match and _is_noun(match["noun"]):
        return _of_noun(text, match["noun"], _by_distance(match["which"]), depth)
    match = _FROM_SIDE.match(core)
    if match and _is_noun(match["noun"]):
        kind: RelationKind = "ordinal" if match["how"].lower() == "from" else "along"
        return _of_noun(text, match["noun"], kind, depth, _NUMBERS[match["count"].lower()], match["side"])
    match = _SIZED.match(core)
    if match and _is_noun(match["noun"]):
        return _of_noun(text, match["noun"], _by_size(match["which"].lower()), depth)
    match = _SIDEMOST.match(core)
    if match and _is_noun(match["noun"]):
        return _of_noun(text, match["noun"], "ordinal", depth, 1, match["side"])
    match = _ON_SIDE.match(core)
    if match and _is_noun(match["noun"]):
        return _of_noun(text, match["noun"], "ordinal", depth, 1, match["side"])
    match = _COUNTED.match(core)
    if match and _is_noun(match["noun"]):
        count = _NUMBERS[match["count"].lower()]
        return _of_noun(text, match["noun"], "ordinal", depth, count, "left" if count == 0 else "")
    return None


def _of_noun(text: str, noun: str, kind: RelationKind, depth: int, count: int = 1, side: str = "") -> Reference | None:
    inner = _parse(_the(noun), depth + 1)
    if inner.relation:
        # "the nearest chair next to the table": one relation is decided; the place says more than the order.
        return replace(inner, text=text)
    return Reference(text, inner.head, inner.excluded, kind, (), count, side.lower())  # type: ignore[arg-type]


def _negated(text: str, core: str, depth: int) -> Reference | None:
    match = _NOT.search(core)
    if match and _is_noun(core[: match.start()]):
        head, what = core[: match.start()].strip(" ,"), match["what"].strip()
        phrases = _excluded(head, what)
        if phrases:
            inner = _parse(head, depth + 1)
            return replace(inner, text=text, excluded=(*inner.excluded, *phrases))
    match = _NON.search(core)
    if match and match["what"].lower() in _ATTRIBUTES:
        head = core[: match.start()] + core[match.end() :]
        noun = _ANY_DETERMINER.sub("", head)
        inner = _parse(head, depth + 1)
        if noun:
            excluded = (*inner.excluded, f"the {match['what']} {noun}")
            return replace(inner, text=text, excluded=excluded)
    return None


def _excluded(head: str, what: str) -> tuple[str, ...]:
    """Return the phrases that "not `what`" takes from `head`; () when `what` is no attribute."""
    noun = _ANY_DETERMINER.sub("", head)
    noun = re.split(r"\s+(?:that|which|in|on|next|near|by|beside|behind|between|left|right|to)\b", noun)[0]
    bare = " ".join(word for word in noun.split() if word.lower() not in _ATTRIBUTES) or noun
    phrases = []
    for part in re.split(r"\s*,\s*|\s+(?:or|nor|and)\s+", what)[:4]:
        words = [
            word
            for word in re.findall(r"[\w-]+", part.lower())
            if word not in ("the", "a", "an", "any", "one", "ones", "of", "made")
        ]
        attributes = [word for word in words if word in _ATTRIBUTES]
        rest = [word for word in words if word not in _SKIPPED]
        if not attributes or any(word not in bare.lower().split() for word in rest):
            return ()
        phrases.append(f"the {' '.join(attributes)} {bare}")
    return tuple(phrases)


def _placed(text: str, core: str, depth: int) -> Reference | None:
    """Where it stands: the relation that is said first."""
    found: list[tuple[int, int, RelationKind, re.Match[str]]] = []
    for rank, (kind, pattern) in enumerate(_PLACES):
        match = pattern.search(core)
        if match and _is_noun(core[: match.start()]):
            found.append((match.start(), rank, kind, match))
    away = _AWAY.search(core)
    if away and _is_noun(core[: away.start()]):
        found.append((away.start(), -1, "next_to", away))
    for start, rank, kind, match in sorted(found, key=lambda entry: entry[:2]):
        head, rest = core[:start].strip(" ,"), core[match.end() :].strip(" ,")
        negated = (bool(match["no"]) or bool(re.search(r"\b(?:is|are)\s*n['’]t\s*$", head))) != (rank == -1)
        head = re.sub(r"\s+(?:that|which)?\s*(?:is|are|isn['’]t)$", "", head, flags=re.IGNORECASE)
        anchors = _anchors(kind, rest, depth)
        # "with a lamp on it" tells a table by a thing, "with a broken leg" does not.
        if anchors is None or (match[0].split()[-1].lower() == "with" and not _LISTED.search(rest)):
            continue
        inner = _parse(head, depth + 1)
        if kind == "room" and not anchors:
            return replace(inner, text=text)
        # Of two relations, such as "the second chair next to the table", the place decides.
        return Reference(text, inner.head, inner.excluded, kind, anchors, negated=negated)
    return None


def _anchors(kind: RelationKind, rest: str, depth: int) -> tuple[Reference, ...] | None:
    """Return the anchors in what follows a relation's words; None when they do not fit it."""
    if kind == "corner":
        return () if len(rest.split()) <= 6 else None
    if kind == "between":
        parts = re.split(r"\s+(?:and|&)\s+", rest, maxsplit=1)
        if len(parts) == 2 and all(_is_noun(part) for part in parts):
            return tuple(_parse(part.strip(" ,"), depth + 1) for part in parts)
        if re.match(r"(?:the|a|this)\s+room$", rest, re.IGNORECASE):
            return None
        if rest and len(parts) == 1 and re.match(r"(?:the\s+)?(?:two|both)\s+\S", rest, re.IGNORECASE):
            noun = re.sub(r"^(?:the\s+)?(?:two|both)\s+(?:the\s+)?", "", rest, flags=re.IGNORECASE)
            *before, last = noun.split()
            one = Reference(rest, " ".join(["the", *before, singular(last)]))
            return one, one
        return None
    rest = re.sub(
        r"\s+(?:(?:standing\s+)?(?:on|beside|by|near|in|under|behind|next\s+to)\s+)?it$", "", rest, flags=re.IGNORECASE
    )
    if not _is_noun(rest):
        return None
    if kind == "room":
        name = _ANY_DETERMINER.sub("", rest).lower()
        telling = _room(rest, rest, depth)
        if telling is not None:
            return (telling,)
        # A room that nothing tells: the thing is looked for everywhere.
        return () if name in ROOMS or name.split(" ")[-1] in ROOMS else None
    return (_parse(rest, depth + 1),)


def _by_distance(word: str) -> RelationKind:
    return "nearest" if word.lower() in ("nearest", "closest", "nearer", "closer") else "farthest"


def _by_size(word: str) -> RelationKind:
    if word.endswith(("er", "est")):
        return "smallest" if word.startswith(("small", "tin")) else "biggest"
    return "small" if word in ("small", "little", "tiny") else "big"


def _is_noun(text: str) -> bool:
    """Whether text may hold a noun: a word that is neither a determiner nor left alone with adjectives."""
    return bool(re.search(r"[^\W\d_]{2,}", _ANY_DETERMINER.sub("", text.strip())))


def _the(noun: str) -> str:
    return noun if _ANY_DETERMINER.match(noun) else f"the {noun}"
