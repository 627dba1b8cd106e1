"""Split an instruction into steps, each with the noun phrase that the policy grounds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mm_nav.errors import GoalError
from mm_nav.goal import MAX_INSTRUCTION_CHARACTERS

StepKind = Literal["go_to", "pass"]

_SEPARATORS = re.compile(
    r"\s*(?:[.;!?]+\s+|[.;!?]+$|,?\s*\b(?:and\s+)?(?:then|after\s+that|afterwards|next(?!\s+to\b)|finally)\b,?\s*|,\s*and\s+|\s*,\s*)",
    re.IGNORECASE,
)
# "past the table to the red chair", "by the sofa until the door": something on the way, then the place to stop at.
_ON_THE_WAY = re.compile(
    r"^(?P<before>.*?)\b(?:past|pass(?:ing)?(?:\s+by)?|by\s+way\s+of|via|beyond|around|(?:go|drive|move|head|walk)\s+by)\s+"
    r"(?P<passed>.+?)"
    r"(?:\s+(?:(?:and\s+)?(?:on\s+)?(?:to|towards?|until|till|up\s+to|over\s+to|before\s+\w+ing\s+(?:to|at))"
    r"(?:\s+you\s+(?:reach|see|get\s+to|come\s+to))?)\s+(?P<goal>.+))?$",
    re.IGNORECASE,
)
_AND_GO = re.compile(
    r"\s+and\s+(?=(?:go|drive|move|head|continue|proceed|walk|roll|travel|navigate|carry|keep|stop|come|find|visit|reach)\b)",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"^(?:please|kindly|ok(?:ay)?|hey|hi|hello|robot|now|first|so|well|could\s+you|can\s+you|would\s+you|will\s+you|"
    r"i\s+(?:want|need|would\s+like)\s+you(?:\s+to)?|let'?s|you\s+should)\b[\s,]*",
    re.IGNORECASE,
)
_POLITE_END = re.compile(r"[\s,]*\b(?:please|thanks|thank\s+you|for\s+me)\s*$", re.IGNORECASE)
_VERBS = re.compile(
    r"^(?:go|drive|move|head|navigate|walk|travel|roll|run|come|get|proceed|continue|find|locate|reach|approach|visit|"
    r"search|look|seek|take\s+me|bring\s+me|lead\s+me|make\s+your\s+way|carry\s+on|keep\s+going|stop|wait|park|stand)\b\s*",
    re.IGNORECASE,
)
_PREPOSITIONS = re.compile(
    r"^(?:(?:straight|right|directly|over|up|on|along|forward|out|in\s+front|close|next|near|as\s+close\s+as\s+possible|"
    r"to|towards?|at|for|beside|by|of|from|in)\b\s*)+",
    re.IGNORECASE,
)
_DETERMINED = re.compile(r"\b(?:the|that|this|one\s+of\s+the)\s+\S.*$", re.IGNORECASE)
_INDEFINITE = re.compile(r"\b(?:a|an|any|some)\s+\S.*$", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """One thing to do. kind: "go_to" stops there, "pass" only goes by. phrase: what to look for. text: the clause."""

    kind: StepKind
    phrase: str
    text: str


def parse_instruction(text: str) -> tuple[Step, ...]:
    """Return the steps of an English instruction, in order; at least one.

    A clause that no rule knows becomes one "go_to" step whose phrase is the clause itself, so nothing that was said
    is lost. Raises GoalError when the text is empty, has no letters, or is longer than MAX_INSTRUCTION_CHARACTERS.
    """
    if len(text) > MAX_INSTRUCTION_CHARACTERS:
        raise GoalError(
            f"the instruction has {len(text)} characters; at most {MAX_INSTRUCTION_CHARACTERS} are read: shorten it"
        )
    cleaned = re.sub(r"\s+", " ", "".join(ch if ch.isprintable() else " " for ch in text)).strip()
    if not re.search(r"[^\W\d_]", cleaned):
        raise GoalError(f"the instruction {text!r} has no words: say where to go, such as 'go to the red chair'")
    steps: list[Step] = []
    for clause in _clauses(cleaned):
        steps.extend(_steps_of(clause))
    return tuple(steps) or (Step("go_to", cleaned, cleaned),)


def _clauses(text: str) -> list[str]:
    parts: list[str] = []
    for piece in _SEPARATORS.split(text):
        for clause in _AND_GO.split(piece or ""):
            clause = clause.strip(" ,.;!?")
            clause = _POLITE_END.sub("", clause)
            while (shorter := _POLITE.sub("", clause)) != clause:
                clause = shorter
            # A clause without a word of its own ("please", "and") says nothing.
            if re.search(r"[^\W\d_]{2,}", clause) and clause.lower() not in {"and", "then", "stop", "stop there"}:
                parts.append(clause)
    return parts


def _steps_of(clause: str) -> list[Step]:
    match = _ON_THE_WAY.match(clause)
    if match is None or not _noun_phrase(match["passed"]):
        return [Step("go_to", _noun_phrase(clause), clause)]
    steps = [Step("pass", _noun_phrase(match["passed"]), f"past {match['passed'].strip()}")]
    if match["goal"]:
        steps.append(Step("go_to", _noun_phrase(match["goal"]), f"to {match['goal'].strip()}"))
    elif (before := _noun_phrase(match["before"])) and _DETERMINED.search(match["before"]):
        # "go to the chair past the table": the place to stop at was said first.
        steps.append(Step("go_to", before, match["before"].strip()))
    return steps


def _noun_phrase(clause: str) -> str:
    """Return the thing that the clause is about: from its determiner on, or what is left after verb and preposition."""
    for pattern in (_DETERMINED, _INDEFINITE):
        found = pattern.search(clause)
        if found and not re.match(r"a\s+(?:look|bit|little|seat|moment)\b", found[0], re.IGNORECASE):
            return found[0].strip()
    rest = _VERBS.sub("", clause.strip())
    rest = _PREPOSITIONS.sub("", rest)
    return rest.strip() or clause.strip()
