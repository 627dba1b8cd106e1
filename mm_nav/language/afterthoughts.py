"""What is said of a thing after it was named, or taken back: "the cone, the red one", "no, wait, the shelf", "not the bed".

In all patterns a space is the only white space, as the text has been cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mm_nav.language.discourse import TAKEN_BACK
from mm_nav.language.patterns import COLOUR, THING, THINGS
from mm_nav.language.vocabulary import singular

_ANYTHING = r"(?:thing|object|item|one|something|anything)"
_HAS_COLOUR = re.compile(rf"\b{COLOUR}\b", re.IGNORECASE)
# "the box and the chair" are two places to go to, "between the box and the chair" is one.
_AND_THING = re.compile(r" and (?=(?:also )?(?:the|a|an|my|your|that|this) )", re.IGNORECASE)
_RELATED = re.compile(
    r"\b(?:between|middle|both|next|near|beside|by|behind|front|left|right|opposite|from|of|with|around|round|past|via|close|"
    r"closest|against|where)\b",
    re.IGNORECASE,
)

_LEAD = (
    r"(?:(?:and|but|so|i mean|namely|i(?:'m)? (?:think|believe|guess|suppose|pretty sure|sure)|i'm not sure|not sure|maybe|"
    r"probably|perhaps|"
    r"(?:the|its|it's) colou?r (?:is|was)) )*"
)
_KIND_OF = r"(?:(?:kind|sort) of |a bit |quite |rather |more or less )?"
_IS = (
    r"(?:(?:it|that|this|which|they)\s*(?:'s| is| should be| must be| was| has been|'re| are) |"
    r"(?:the one )?(?:that|which)(?:'s| is) )"
)
_ONLY_COLOUR = re.compile(
    rf"^{_LEAD}{_IS}?{_KIND_OF}(?:the|a|an|that|this)?\s*(?:one (?:(?:that(?:'s| is)|which is|in) )?)?(?:(?:painted|colou?red|"
    rf"in) )?(?:colou?r )?(?P<colour>{COLOUR})"
    rf"(?:[\s-]+colou?red)?(?: {_ANYTHING})?(?:(?: in)? colou?r)?(?: i (?:think|believe|guess))?$",
    re.IGNORECASE,
)
_ONLY_THING = re.compile(rf"^{_LEAD}{_IS}?(?:the|a|an|some|that|this)?\s*(?P<noun>(?:{THINGS}))$", re.IGNORECASE)
_SOME_COLOUR = re.compile(
    rf"\b(?:(?:the|a|an|that|this|some) )?(?:(?P<before>{COLOUR}) {_ANYTHING}|{_ANYTHING} (?:that is |in )?(?P<behind>{COLOUR}))\b",
    re.IGNORECASE,
)
_NOT_COLOUR = re.compile(
    rf"^(?:but |and )?(?:not|just not|only not|anything but) (?:the |a |an |any )?(?P<colour>{COLOUR})(?: {_ANYTHING}s?)?$",
    re.IGNORECASE,
)
_RULED_OUT = re.compile(
    r"^(?:(?:but|and|please|so) )*(?:i (?:do not|don't) (?:want|need|mean)\b|(?:do not|don't|never) (?:go|drive|head|visit|"
    r"approach|take|bring|pick|choose|use|confuse|mix|mistake|stop at|"
    r"bother|touch|mind)\b|not (?:the|a|an|that|this|to|at)\b|forget(?: about)? (?:the|a|an|that|about)\b|ignore\b|skip\b|"
    r"leave out\b|no need\b|avoid\b|"
    r"(?:stay|keep) (?:away|clear|off|well clear)\b|watch out\b|be careful\b|(?:instead of|rather than)\b)",
    re.IGNORECASE,
)
_INSTEAD_OF = re.compile(
    rf" (?:instead of|rather than) (?:(?:going|driving|heading) to )?(?:the|a|an) (?:\S+ )?(?:{THINGS})\b",
    re.IGNORECASE,
)
_BUT_NOT = re.compile(rf"\s*,? (?:but |and )?not (?:the|a|an) (?P<what>(?:(?:{COLOUR}) )?(?:{THINGS}))$", re.IGNORECASE)
_AT_HAND = re.compile(
    r"^(?:i|i've|i'm|we|someone|somebody|he|she|they|my)\b(?! (?:want|need|would like|'?d like) (?:you|to (?:go|be|get|see|"
    r"visit|reach))\b)",
    re.IGNORECASE,
)
_BESIDE_THE_POINT = re.compile(
    r"^it's time\b|^(?:i|i've|we|my|someone|somebody) (?:have|'ve|got|left|lost|dropped|forgot|has|had|just|is|am|was|spilled|"
    r"spilt)\b",
    re.IGNORECASE,
)
_COMMAND = re.compile(
    r"^(?:please |now |so |then )*(?:go|drive|move|head|navigate|walk|travel|roll|run|come|get|proceed|continue|find|locate|"
    r"reach|approach|visit|search|look|"
    r"seek|take me|bring me|lead me|make|stop|wait|stand|park|show me|meet me|try|check|turn|follow|pass)\b",
    re.IGNORECASE,
)
_TO_IT = re.compile(r"\b(?:it|(?:that|this) one|there|that|them|this|him|her)$", re.IGNORECASE)


# "you see those bins? head for the green one": the bins are only spoken of.
_MENTION = re.compile(
    r"^(?:(?:do|can|did) you (?:see|know|remember)|you(?: can| know| will|'ll)? (?:see|know|find)|see|remember|there(?:'s| is|"
    r" are)|of|among|out of|"
    r"those|these|look at|which|what)\b",
    re.IGNORECASE,
)
# Of what has just been named.
_THAT_THING = re.compile(
    rf"^(?:(?:go|drive|head|move)(?: (?:over|up|on))?(?: (?:to|towards?))? )?that (?P<noun>{THINGS})$", re.IGNORECASE
)
_ONE = re.compile(r"\bone\b(?! of\b)", re.IGNORECASE)
_QUESTION = re.compile(rf"^which (?P<noun>(?:{COLOUR} )?(?:{THINGS})) (?:is|stands) (?P<where>.+)$", re.IGNORECASE)
# Said without a pause: "go to the ladder wait a bit".
_THE_ONE = re.compile(
    rf"^{_LEAD}(?:the|that) one (?P<where>(?:(?:that(?:'s| is)|which is) )?(?:at|in|on|by|near|nearest|next|with|behind|beside|"
    rf"to|under|between|opposite|closest|"
    r"furthest|farthest|from|over)\b.+)$",
    re.IGNORECASE,
)
_NOT_THE_ONE = re.compile(
    r"\s*,? (?:but )?not the one (?P<where>(?:at|in|on|by|near|next|with|behind|beside|to|under|between|opposite)\b.+)$",
    re.IGNORECASE,
)
_NOT_THAT = re.compile(rf"^not (?:the|a|an) (?:{COLOUR} )?(?:{THINGS})\s*,? (?=(?:the|a|an)\s)", re.IGNORECASE)


class Clause(NamedTuple):
    """What is said between two separators. apart: the separator before it had words ("then"), so that it begins something new."""

    text: str
    apart: bool


def excludes(text: str) -> bool:
    """Return whether a clause says where not to go."""
    return _RULED_OUT.match(text) is not None


def settled(clauses: Sequence[Clause], whole: Callable[[str], bool]) -> list[str]:
    """Return the clauses that count: corrected, with what was added afterwards, without what was ruled out and what is about
    something else. whole: whether a clause is a step by itself, such as a motion, whatever it is about."""
    kept: list[str] = []
    spoken = ""  # what was last said of a thing
    takes_back = False
    for text, apart in clauses:
        if text.startswith(TAKEN_BACK):
            takes_back, text = True, text.strip(f"{TAKEN_BACK} ,.;!?")
        if not text:
            continue
        question = _QUESTION.match(text)
        text = f"the {question['noun']} that is {question['where']}" if question else text
        if takes_back:
            takes_back = False
            text = _instead(kept, _NOT_THAT.sub("", text))
        elif kept and (excluded := _NOT_COLOUR.match(text)) and THING.search(kept[-1]):
            kept[-1] += f" that is not {excluded['colour']}"
            continue
        elif _RULED_OUT.match(text) and not whole(text):
            spoken = text if THING.search(text) else spoken
            continue
        elif kept and not apart and (more := _afterthought(kept[of := _about(kept)], text)):
            kept[of:] = [more]
            continue
        elif (
            kept and (again := _THAT_THING.match(text)) and re.search(rf"\b{again['noun']}\b", kept[-1], re.IGNORECASE)
        ):
            continue
        elif named := _of_those(spoken, text):
            if kept and _MENTION.match(kept[-1]):
                kept.pop()
            text = named
        spoken = text if THING.search(text) else spoken
        text = _NOT_THE_ONE.sub(r" that is not \g<where>", _INSTEAD_OF.sub("", text))
        kept.extend(_one_by_one(_BUT_NOT.sub(_but_not, text)))
    return _to_the_point(kept, whole)


def _instead(kept: list[str], text: str) -> str:
    """Take back the last clause about a thing; return what was said in its place."""
    # All may be said anew: "the bench and then the table, no, the bench and then the sofa".
    at = next((i for i, clause in enumerate(kept) if _same(clause, text)), _about(kept))
    taken = kept[at] if kept else ""
    del kept[max(at, 0) :]
    noun, some = THING.search(taken), _SOME_COLOUR.search(text)
    if noun and some and not THING.search(text):
        # "the green barrel, no, the yellow one"
        return text[: some.start()] + f"the {some['before'] or some['behind']} {noun['noun']}" + text[some.end() :]
    # "the red thing, I mean the barrel"
    return _afterthought(taken, text) or text


def _about(kept: list[str]) -> int:
    """Return which clause was the last about a thing; the last of all where none was."""
    return next((i for i in reversed(range(len(kept))) if THING.search(kept[i])), len(kept) - 1)


def _same(one: str, other: str) -> bool:
    """Return whether two clauses are about one thing, in one colour."""
    (a, b), (c, d) = ((THING.search(text), _HAS_COLOUR.search(text)) for text in (one, other))
    return a is not None and c is not None and a["noun"].lower() == c["noun"].lower() and (b and b[0]) == (d and d[0])


def _afterthought(before: str, text: str) -> str | None:
    """Return the clause before with what is said of its thing afterwards: colour, name or place; None = it is something else."""
    noun, colour = THING.search(before), _ONLY_COLOUR.match(text)
    if colour and noun and not _HAS_COLOUR.search(before[: noun.start()]):
        return before[: noun.start()] + f"{colour['colour']} " + before[noun.start() :]
    where = _THE_ONE.match(text)
    if where and noun:
        return f"{before} {where['where']}"
    thing, some = _ONLY_THING.match(text), _SOME_COLOUR.search(before)
    if thing and some and not noun:
        return before[: some.start()] + f"the {some['before'] or some['behind']} {thing['noun']}" + before[some.end() :]
    return None


def _of_those(before: str, text: str) -> str | None:
    """Return the clause with the name of what was spoken of before in place of "one"; None = it has none, or a name of its own."""
    noun, one = THING.search(before), _ONE.search(text)
    if noun is None or one is None or THING.search(text) or _TO_IT.search(text):
        return None
    *words, last = noun["noun"].split()
    return text[: one.start()] + " ".join([*words, singular(last)]) + text[one.end() :]


def _but_not(match: re.Match[str]) -> str:
    # "the cabinet, not the bed" says nothing more; "a chair but not the red chair" does.
    colour, noun = _HAS_COLOUR.search(match["what"]), THING.search(match["what"])
    same = noun is not None and re.search(
        rf"\b{re.escape(noun['noun'])}\b", match.string[: match.start()], re.IGNORECASE
    )
    return f" that is not {colour[0]}" if colour and same else ""


def _one_by_one(text: str) -> list[str]:
    """Split "the box and the chair"."""
    parts: list[str] = []
    begun = 0
    for match in _AND_THING.finditer(text):
        before = text[begun : match.start()]
        if THING.search(before) and THING.search(text[match.end() :]) and not _RELATED.search(text[: match.start()]):
            parts.append(before)
            begun = match.end()
    return [*parts, text[begun:]]


def _to_the_point(clauses: list[str], whole: Callable[[str], bool]) -> list[str]:
    """Return the clauses without small talk, where something else is said that can be driven to."""
    about = [bool(THING.search(text) or _SOME_COLOUR.search(text)) for text in clauses]
    kept: list[str] = []
    for index, text in enumerate(clauses):
        said_before, said_later = any(about[:index]), any(about[index + 1 :])
        if not about[index] and not whole(text):
            talk = bool(_AT_HAND.match(text)) and said_later
            back = said_before and _TO_IT.search(text) is not None
            idle = (
                (said_before or said_later)
                and not re.search(r"\b(?:the|a|an|any|some) \S", text)
                and not _COMMAND.match(text)
            )
            if talk or back or (idle and (len(text.split()) > 1 or text.lower() in _IDLE)):
                continue
        commands = any(a and _COMMAND.match(c) for a, c in zip(about[index + 1 :], clauses[index + 1 :], strict=True))
        if _BESIDE_THE_POINT.match(text) and commands:
            continue
        kept.append(text)
    return kept


_IDLE = frozenset(
    {"your", "hmm", "no", "yes", "yeah", "going", "last", "first", "firstly", "know", "there", "here", "ok", "okay", "right",
    "sorry", "thanks", "cheers", "actually",
     "instead", "done", "please", "great", "good", "perfect", "alright", "come", "on", "wait"}
)  # fmt: skip
