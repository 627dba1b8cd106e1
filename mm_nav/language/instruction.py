"""Split an instruction into steps: things to go to or to pass, and motions that need no thing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mm_nav.errors import GoalError
from mm_nav.goal import MAX_INSTRUCTION_CHARACTERS
from mm_nav.language.afterthoughts import Clause, excludes, settled
from mm_nav.language.discourse import in_order
from mm_nav.language.motion import Motion, parse_motion
from mm_nav.language.patterns import COLOUR, THINGS, any_of
from mm_nav.language.reference import Reference, parse_reference
from mm_nav.language.vocabulary import COLOUR_NAMES, MATERIALS, SIZES

StepKind = Literal["go_to", "pass", "follow", "turn", "move", "wait"]

_SEPARATORS = re.compile(
    r"\s*(?:[.;!?]+\s+|[.;!?]+$|\s[-–—]+\s|…\s*|,?\s*\b(?:and\s+)?(?:then|after\s+that|afterwards|next(?!\s+to\b)|"
    r"finally)\b,?\s*|,\s*and\s+|\s*,\s*)",
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
# Asks to stay where the robot is; of a thing it is said, too: "stand by the door".
_STAY = "wait|stand|stay|halt|park|pause|rest|remain|dock"
_AND_GO = re.compile(
    r"\s+and\s+(?=(?:go|drive|move|head|continue|proceed|walk|roll|travel|navigate|carry|keep|stop|come|find|visit|reach|turn|"
    rf"rotate|follow|back|pass|spin|approach|finish|end\s+up|{_STAY})\b)",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"^(?:please|kindly|ok(?:ay)?|hey|hi|hello|robot|now|first(?!\s+\S+\s+(?:from|on|in|along)\b)|so|well|could\s+you|can\s+you|"
    r"would\s+you|will\s+you|"
    r"i\s+(?:want|need|would\s+like)\s+you(?:\s+to)?|let'?s|you\s+should|(?:find|get|show|fetch)\s+me(?=\s))\b[\s,]*",
    re.IGNORECASE,
)
_POLITE_END = re.compile(
    r"[\s,]*\b(?:please|thanks|thank\s+you|for\s+me|slowly|quickly|carefully|immediately|right\s+away|now|as\s+(?:fast|quickly|"
    r"soon)\s+as\s+"
    r"(?:you\s+can|possible)|without\s+\w+ing\b[^,]*)\s*$",
    re.IGNORECASE,
)
_VERBS = re.compile(
    r"^(?:go|drive|move|head|navigate|walk|travel|roll|run|come|get|proceed|continue|find|locate|reach|approach|visit|"
    rf"search|look|seek|take\s+me|bring\s+me|lead\s+me|make\s+your\s+way|carry\s+on|keep\s+going|stop|start|begin|finish|"
    rf"end(?:\s+up)?|{_STAY})\b\s*",
    re.IGNORECASE,
)
_PREPOSITIONS = re.compile(
    r"^(?:(?:straight|right|directly|over|up|on|along|forward|out|in\s+front|close|next|near|as\s+close\s+as\s+possible|"
    r"to|towards?|at|for|beside|by|of|from|in)\b\s*)+",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"\bgo\s+ahead\s+and\b|(?<=look)\s+around(?=\s+for\b)|(?<=looking)\s+around(?=\s+for\b)", re.IGNORECASE
)
_SAYS_NOTHING = {"and", "then", "go", "drive", "go and", "turn", "move", "if so", "if there is", "quick", "hurry"}
_PRONOUNS = {"it", "there", "them", "this", "that", "here", "him", "her"}
_AFTER_THE_THING = re.compile(
    r"\s+(?:is\s+(?:where|what|your|the\s+(?:goal|target|destination))\b.*|somewhere(?:\s+(?:in|around)\b.*)?|"
    r"so\s+(?:that\s+)?(?:i|we|you)\b.*|because\b.*|needs?\s+(?:you|help|this|that|it)|"
    r"(?:that\s+)?(?:i|we)\s+(?:need|want|would\s+like)\s+you\s+to\s+\w+(?:\s+to)?|(?:is|stands?|are)(?:\s+(?:here|there|now))?|"
    r"here|"
    r"in\s+(?:a|this|the)\s+(?:minute|moment|second|hurry|room(?=$)|place)\b.*|(?:until|till|once)\s+you(?:\s+are|"
    r"['’]re)\s+(?:close|near|there|done)(?:\s+enough)?)$",
    re.IGNORECASE,
)
# "what you must find is the lamp": what comes after says it.
_NAMED_LATER = re.compile(
    r"^(?:(?:the\s+)?(?:thing|object|item|one|place)|what)\s.*?\bis\s+(?=(?:the|a|an|any)\s)", re.IGNORECASE
)
# "bring this parcel to the door": where it is to be brought, and not the parcel, is where to go.
_CARRY = re.compile(
    r"^(?:bring|carry|deliver|take|transport|ship|move)\s+(?:(?:this|that|these|the|a|an|my|your|our|his|"
    r"her)\s+(?:\S+\s+){1,3}?|(?:this|that|it|"
    r"them)\s+)(?:over\s+|back\s+)?(?:to|towards?)\s+(?=\S)",
    re.IGNORECASE,
)
_DETERMINER = re.compile(r"\b(?:the|that|this|one\s+of\s+the|a|an|any|some)\s+(?=\S)", re.IGNORECASE)
_DEFINITE = re.compile(r"\b(?:the|that|this)\s+\S", re.IGNORECASE)
# "take a look at the door", "come to a halt", "wait a moment", "see if that works": no things to go to.
_IDIOMS = re.compile(
    r"(?:a|an|the|some)\s+(?:quick\s+|short\s+|good\s+|complete\s+|full\s+)?(?:look|bit|little|seat|moment|halt|stop|standstill|"
    r"walk|trip|"
    r"ride|drive|tour|visit|peek|glance|beeline|way|direction|position|location|place|spot|vicinity|presence|job|task|goal|"
    r"target|destination|"
    r"front|side|left|right|robot|room(?=\s+(?:for|and|until)\b)|area|environment|scene)\b(?!\s+(?:door|chair|\w+\s+(?:from|"
    r"on)))|(?:that|this)\s+(?:is|you|can|way)\b",
    re.IGNORECASE,
)
_NOUNS = rf"{THINGS}|thing|object|item"
_ADJECTIVES = any_of({*COLOUR_NAMES, *MATERIALS, *SIZES})
_ORDERS = (
    r"first|second|third|fourth|fifth|last|nearest|closest|farthest|furthest|left[\s-]?most|right[\s-]?most|left|right|"
    r"middle|other"
)
# "pay the barrel a visit", "the plant the cat likes": after its noun, with nothing that relates the two, another thing begins.
_ANOTHER = re.compile(rf"(?<=\s)(?P<noun>(?:{_NOUNS})s?)\s+(?:a|an|the)\s.*$", re.IGNORECASE)
# "the chair painted red", "the chair whose colour is red", "a chair of red colour": the red chair.
_COLOURED = tuple(
    re.compile(rf"(?<!\bis\s)\b(?P<noun>(?:{_NOUNS})(?:es|s)?)\s+(?:{words})\b(?![\s-]+(?:{_NOUNS})\b)", re.IGNORECASE)
    for words in (
        r"(?:(?:that|which)\s+(?:is|was|has\s+been)\s+)?(?:(?:painted|colou?red|dyed)(?:\s+in)?|whose\s+colou?r\s+is|it['’]s|"
        r"it\s+is|the(?=\s+\w+(?:\s+\w+)?\s+one\b)|"
        rf"(?:with|of|in|that\s+has|which\s+has)\s+the\s+colou?r)\s+(?P<colour>{COLOUR})(?:\s+colou?r|\s+one)?",
        rf"(?:with|of|in|that\s+has|which\s+has)\s+(?:(?:a|the)\s+)?(?P<colour>{COLOUR})\s+colou?r",
        rf"(?:that|which)(?:['’]s|\s+is)\s+(?P<colour>{COLOUR})\s+in\s+colou?r",
        rf"(?:(?:that\s+)?(?:i|we|you)(?:['’](?:re|m))?(?:\s+(?:are|am))?\s+(?:want|mean|need|looking\s+for|should\s+find|"
        rf"will\s+find)\s+)?(?:is|was|has\s+been|looks|should\s+be)\s+(?:a\s+|"
        rf"the\s+)?(?:painted\s+)?(?P<colour>{COLOUR})(?:\s+one)?$",
        rf"(?P<colour>{COLOUR})$",
    )
)
# "the plant looks thirsty"
_IS_SAID_OF_IT = re.compile(
    rf"\b(?P<noun>{_NOUNS})\s+(?:(?:probably|really|badly|urgently|just)\s+)?(?:needs|looks|seems)\b.*$", re.IGNORECASE
)
_NOT_COLOURED = re.compile(r"\bwhose\s+colou?r\s+(?=is\s+not\b|isn['’]?t\b)", re.IGNORECASE)
_BARE = re.compile(rf"\b(?:(?:{_ORDERS}|{_ADJECTIVES})\s+){{0,3}}(?:{_NOUNS})s?\b.*$", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """One thing to do.

    kind: "go_to" stops at a thing, "pass" only goes by it, "follow" keeps to the corridor until the thing ("" = to its end);
    "turn" (amount: rad, counter-clockwise), "move" (amount: metres, forward) and "wait" (amount: seconds) need no thing.
    phrase: the noun phrase of the thing, "" = none. text: the clause. reference: the phrase taken apart; None = no thing. A
    "go_to" without a phrase goes to what the goal's picture shows.
    """

    kind: StepKind
    phrase: str
    text: str
    amount: float = 0.0

    @property
    def reference(self) -> Reference | None:
        """What the phrase, or the picture, refers to."""
        if self.kind == "go_to" and not self.phrase:
            return Reference(self.text, "")
        return parse_reference(self.phrase) if self.phrase else None

    @property
    def thing(self) -> str:
        """What the step is about, for messages; "" = no thing."""
        return self.phrase or ("what the picture shows" if self.kind == "go_to" else "")


# The whole of a goal that is only a picture.
PICTURE_STEP = Step("go_to", "", "to what the picture shows")


def parse_instruction(text: str) -> tuple[Step, ...]:
    """Return the steps of an English instruction, in the order of driving; at least one.

    A clause that no rule knows becomes one "go_to" step whose phrase is the clause itself, unless it is about something else and
    another names a thing. How fast, how near and how carefully are not heard. Raises GoalError when the text is empty, has no
    letters, only says where not to go, or is longer than MAX_INSTRUCTION_CHARACTERS.
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
        found = _steps_of(clause)
        if steps and [step.kind for step in found] == ["wait"] and found[0].amount == 0.0:
            continue  # "and stop there": it stops anyway
        if steps and found[0].phrase.lower() in _PRONOUNS:
            continue  # "... and drive up to it"
        steps.extend(found)
    if not steps and excludes(cleaned):
        raise GoalError(f"the instruction {text!r} only says where not to go: say where to go")
    return tuple(steps) or (Step("go_to", cleaned, cleaned),)


def _clauses(text: str) -> list[str]:
    parts: list[Clause] = []
    text = _FILLER.sub(" ", in_order(text))
    begun, apart = 0, True
    for separator in [*_SEPARATORS.finditer(text), None]:
        piece = text[begun : None if separator is None else separator.start()]
        for number, clause in enumerate(_AND_GO.split(piece)):
            clause = clause.strip(" ,.;!?")
            while (shorter := _POLITE_END.sub("", clause)) != clause:
                clause = shorter
            while (shorter := _POLITE.sub("", clause)) != clause:
                clause = shorter
            # A clause without a word of its own ("please", "and") says nothing.
            if re.search(r"[^\W\d_]{2,}", clause) and clause.lower() not in _SAYS_NOTHING:
                parts.append(Clause(clause, apart or number > 0))
                apart = False
        if separator is not None:
            begun, apart = separator.end(), apart or bool(re.search(r"\w", separator[0]))
    return settled(parts, lambda clause: parse_motion(clause) is not None)


def _steps_of(clause: str) -> list[Step]:
    motion = parse_motion(clause)
    if motion is not None:
        return _motion_steps(motion, clause)
    match = _ON_THE_WAY.match(clause)
    if match is None or not _noun_phrase(match["passed"]):
        return [Step("go_to", _noun_phrase(clause), clause)]
    before = _noun_phrase(match["before"])
    if re.match(r".*\baround\s", clause[: match.start("passed")], re.IGNORECASE) and _DEFINITE.search(match["before"]):
        return [Step("go_to", _noun_phrase(clause), clause)]
    steps = [Step("pass", _noun_phrase(match["passed"]), f"past {match['passed'].strip()}")]
    if match["goal"]:
        steps.append(Step("go_to", _noun_phrase(match["goal"]), f"to {match['goal'].strip()}"))
    elif before and _DEFINITE.search(match["before"]):
        # "go to the chair past the table": the place to stop at was said first.
        steps.append(Step("go_to", before, match["before"].strip()))
    return steps


def _motion_steps(motion: Motion, clause: str) -> list[Step]:
    if motion.kind == "turn" and motion.until:
        place = _noun_phrase(motion.until)
        return [Step("pass", place, f"to {motion.until}"), Step("turn", "", clause, motion.amount)]
    return [Step(motion.kind, _noun_phrase(motion.until) if motion.until else "", clause, motion.amount)]


def _noun_phrase(clause: str) -> str:
    """Return the thing that the clause is about: from its determiner on, or what is left after verb and preposition."""
    clause = _NOT_COLOURED.sub("that ", clause)
    for pattern in _COLOURED:
        clause = pattern.sub(_coloured, clause)
    clause = _IS_SAID_OF_IT.sub(r"\g<noun>", clause)
    return _ANOTHER.sub(r"\g<noun>", _thing_of(_CARRY.sub("to ", _NAMED_LATER.sub("", clause.strip()))))


def _coloured(match: re.Match[str]) -> str:
    before = match.string[: match.start()].split()
    # "the red chair painted blue" stays as it is: who knows what it means.
    return match[0] if before and before[-1].lower() in COLOUR_NAMES else f"{match['colour']} {match['noun']}"


def _thing_of(clause: str) -> str:
    shorter = _AFTER_THE_THING.sub("", clause)
    clause = shorter if re.search(r"[^\W\d_]{2,}", shorter) else clause
    rest = _PREPOSITIONS.sub("", _VERBS.sub("", clause)).strip()
    bare = _BARE.search(clause)
    for found in _DETERMINER.finditer(clause):
        if _IDIOMS.match(clause, found.start()):
            continue
        if bare and bare.start() < found.start():
            break  # "chair next to the table": the noun without a determiner comes first
        if (
            found[0].lower().startswith(("that", "this"))
            and found.start()
            and rest
            and not clause[found.start() :].startswith(rest)
        ):
            break  # "chair that is red"
        return clause[found.start() :].strip()
    if bare and (not rest or len(rest.split()) > 4 or bare[0] in rest):
        return bare[0].strip()
    return rest or clause
