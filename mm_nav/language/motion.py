"""Steps that move the robot without naming a thing: turn, go forward, wait, follow the corridor."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from mm_nav.language.vocabulary import CORRIDOR_WORDS

MotionKind = Literal["turn", "move", "wait", "follow"]

_MAX_TURN, _MAX_MOVE_M, _MAX_WAIT_S = 4 * math.pi, 50.0, 600.0
DEFAULT_MOVE_M, DEFAULT_WAIT_S = 1.0, 3.0
_SLIGHT, _SHARP = math.radians(30.0), math.radians(120.0)
_WORDS = {
    "a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0, "seven": 7.0, "eight": 8.0,
    "nine": 9.0, "ten": 10.0, "fifteen": 15.0, "twenty": 20.0, "thirty": 30.0, "forty-five": 45.0,
    "forty five": 45.0, "sixty": 60.0,
    "ninety": 90.0, "half a": 0.5, "half": 0.5, "a couple of": 2.0, "a few": 3.0, "one and a half": 1.5, "hundred": 100.0,
    "a hundred": 100.0, "a hundred and eighty": 180.0, "one hundred and eighty": 180.0, "one hundred eighty": 180.0,
}  # fmt: skip
_NUMBER = r"(?P<n>\d{1,4}(?:[.,]\d{1,3})?|" + "|".join(sorted(_WORDS, key=len, reverse=True)) + ")"
_METRES = {"m": 1.0, "meter": 1.0, "metre": 1.0, "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01, "foot": 0.3048, "feet": 0.3048,
           "ft": 0.3048, "step": 0.6, "pace": 0.6, "yard": 0.9144, "inch": 0.0254, "inche": 0.0254}  # fmt: skip
_LENGTH = re.compile(
    rf"\b{_NUMBER}\s*(?P<unit>meters?|metres?|m|cm|centimeters?|centimetres?|foot|feet|ft|steps?|paces?|yards?|inch(?:es)?)\b"
    r"(?:\s+and\s+a\s+(?P<half>half))?",
    re.IGNORECASE,
)
_ANGLE = re.compile(rf"\b{_NUMBER}[\s-]*(?P<unit>degrees?|deg|°|rad(?:ians?)?)", re.IGNORECASE)
_TIME = re.compile(rf"\b{_NUMBER}\s*(?P<unit>seconds?|secs?|s|minutes?|mins?|moments?)\b", re.IGNORECASE)
_GO = r"(?:go|drive|move|head|walk|travel|roll|proceed|continue|come|keep\s+(?:going|driving|moving)|carry\s+on|step|back)"
_TURN = re.compile(
    r"^(?:turn|rotate|spin|pivot|swing|face|look|(?:make|take|do|perform|execute)\s+(?:a|an)|go|bear|veer|steer|hang\s+a)\s+"
    r"(?P<how>.*?)$",
    re.IGNORECASE,
)
_AROUND = re.compile(
    r"^(?:all\s+the\s+way\s+)?(?:around|round|about|back(?:wards?)?|u[\s-]?turn|the\s+other\s+way(?:\s+(?:around|round))?|half\s+turn|"
    r"in\s+the\s+(?:other|opposite)\s+direction|on\s+the\s+spot)(?:\s+(?:completely|once|fully))?$",
    re.IGNORECASE,
)
_SIDE = re.compile(
    r"^(?:(?P<slight>slight(?:ly)?|a\s+(?:bit|little)|half)\s+|(?P<sharp>sharp(?:ly)?|hard)\s+|straight\s+|around\s+|"
    r"(?P<angle>[^a-z]*\w*[\s-]*(?:degrees?|deg|°|rad(?:ians?)?)[\s-]*)?)?(?:to\s+)?(?:the\s+|your\s+)?"
    r"(?P<side>left|right|anti-?clockwise|counter-?clockwise|clockwise)(?:[\s-]+hand)?(?:\s+side)?(?:\s+turn)?(?P<rest>.*)$",
    re.IGNORECASE,
)
_WHERE = re.compile(
    r"^\s*(?:at|after|by|before|when\s+you\s+(?:reach|get\s+to|see|come\s+to|are\s+at)|once\s+you\s+(?:reach|see|are\s+at))\s+(?P<where>.+)$",
    re.IGNORECASE,
)
_FORWARD = re.compile(
    rf"^(?:{_GO}\s+)?(?:straight\s+)?(?P<way>forwards?|ahead|straight(?:\s+(?:on|ahead|forwards?))?|onwards?|back(?:wards?)?(?:\s+up)?|"
    r"in\s+reverse|up|backup|reverse)?\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_WAIT = re.compile(
    r"^(?:stop|halt|wait|pause|stay|stand|hold|freeze|rest|stand\s+still|hold\s+(?:still|on|position)|stay\s+(?:put|here|there|still|"
    r"where\s+you\s+are)|do\s+not\s+move|don['’]?t\s+move|remain|come\s+to\s+a\s+(?:stop|halt|standstill))"
    r"(?:\s+(?:here|there|now|still|right\s+there|moving|immediately|at\s+once|driving|motionless))*(?P<rest>(?:\s+for)?\s+.*)?$",
    re.IGNORECASE,
)
_CORRIDOR = "(?:" + "|".join(CORRIDOR_WORDS) + ")"
_FOLLOW = re.compile(
    rf"^(?:(?:follow|take|use|traverse)\s+|(?:{_GO}|stay|run)\s+(?:straight\s+)?(?:all\s+the\s+way\s+)?(?:down|along|through|up|in|"
    rf"on\s+along|ahead\s+(?:down|along|through))\s+)(?:the|this|that|a)\s+(?:\w+\s+)?{_CORRIDOR}\b\s*,?\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_TO_THE_END = re.compile(
    rf"^{_GO}\s+(?:straight\s+)?(?:on\s+)?to\s+the\s+(?:far\s+|other\s+|very\s+)?end\s+of\s+(?:the|this)\s+(?:\w+\s+)?{_CORRIDOR}$",
    re.IGNORECASE,
)
_UNTIL = re.compile(
    r"^(?:(?:and\s+)?(?:all\s+the\s+way\s+)?(?:until|till|to|towards?|up\s+to|as\s+far\s+as|and\s+stop\s+at|and\s+find)\s+)"
    r"(?:you\s+(?:reach|see|get\s+to|come\s+to|find|are\s+at|arrive\s+at|hit)\s+)?(?P<what>.+)$",
    re.IGNORECASE,
)
_END = re.compile(r"^(?:its|the|it)\s*(?:very\s+|far\s+)?(?:ends?|ends)(?:\s+of\s+.+)?$|^it\s+ends$", re.IGNORECASE)


@dataclass(frozen=True)
class Motion:
    """A motion. kind turn: amount in rad, counter-clockwise; move: metres, forward; wait: seconds; follow: unused.

    until: of "follow", the noun phrase at which to stop ("" = at the end); of "turn", the thing to go to before.
    """

    kind: MotionKind
    amount: float = 0.0
    until: str = ""


def parse_motion(clause: str) -> Motion | None:
    """Return the motion that a clause asks for, or None when it names a thing to go to instead."""
    clause = clause.strip(" ,.;!?")
    for rule in (_follow, _turn, _wait, _move):
        found = rule(clause)
        if found is not None:
            return found
    return None


def _follow(clause: str) -> Motion | None:
    if _TO_THE_END.match(clause):
        return Motion("follow")
    match = _FOLLOW.match(clause)
    if match is None:
        return None
    rest = match["rest"].strip(" ,")
    if not rest or _END.match(rest):
        return Motion("follow")
    until = _UNTIL.match(rest)
    if until is None:
        return None
    what = until["what"].strip()
    return Motion("follow") if _END.match(what) else Motion("follow", until=what)


def _turn(clause: str) -> Motion | None:
    bare = re.match(r"^(?P<side>left|right)(?:\s+turn)?$", clause, re.IGNORECASE)
    if bare:
        return Motion("turn", math.copysign(math.pi / 2, 1.0 if bare["side"].lower() == "left" else -1.0))
    match = _TURN.match(clause)
    if match is None:
        return None
    how = match["how"].strip()
    verb = clause.split()[0].lower()
    if not how:
        return Motion("turn", math.pi) if verb in ("spin", "rotate", "turn") else None
    angle = _angle(how)
    if verb in ("turn", "rotate", "spin", "pivot", "make", "take", "do", "perform", "execute", "face", "look", "swing"):
        if verb == "look" and re.fullmatch(r"around|round|about|in\s+all\s+directions", how, re.IGNORECASE):
            return Motion("turn", 2 * math.pi)
        if _AROUND.match(how) and not (verb == "look" and how.lower().startswith(("around", "round", "back"))):
            return Motion("turn", math.pi)
        if angle is not None and not re.search(r"left|right|clockwise|\b(?:to|at|of)\s+the\s+\w", how, re.IGNORECASE):
            return Motion("turn", angle)
        if re.fullmatch(r"(?:full|complete)\s+(?:turn|circle|rotation)", how, re.IGNORECASE):
            return Motion("turn", 2 * math.pi)
    side = _SIDE.match(how)
    if side is None:
        return None
    rest = side["rest"].strip(" ,")
    if re.match(r"of\b|\w*most\b", rest, re.IGNORECASE):
        return None  # "go left of the table"
    left = side["side"].lower() in ("left",) or side["side"].lower().startswith(("anti", "counter"))
    turned = angle if angle is not None else _SLIGHT if side["slight"] else _SHARP if side["sharp"] else math.pi / 2
    where = _WHERE.match(rest)
    if (
        rest
        and where is None
        and not re.fullmatch(rf"(?:by|for|about|around)?\s*{_ANGLE.pattern}.*", rest, re.IGNORECASE)
    ):
        return None
    return Motion("turn", turned if left else -turned, where["where"].strip() if where and angle is None else "")


def _wait(clause: str) -> Motion | None:
    match = _WAIT.match(clause)
    if match is None:
        return None
    rest = (match["rest"] or "").strip()
    verb = clause.split()[0].lower()
    default = 0.0 if verb in ("stop", "halt", "freeze", "come", "stand") else DEFAULT_WAIT_S
    if not rest:
        return Motion("wait", default)
    rest = re.sub(r"^for\s+", "", rest, flags=re.IGNORECASE)
    if re.fullmatch(r"(?:a|one)\s+(?:moment|second|bit|while|minute)|a\s+little(?:\s+while)?", rest, re.IGNORECASE):
        return Motion("wait", DEFAULT_WAIT_S if "minute" not in rest.lower() else 60.0)
    time = _TIME.match(rest)
    if time is None or time.end() < len(rest.rstrip(" .")):
        return None
    seconds = _number(time["n"]) * (60.0 if time["unit"].lower().startswith("min") else 1.0)
    return Motion("wait", min(seconds, _MAX_WAIT_S))


def _move(clause: str) -> Motion | None:
    match = _FORWARD.match(clause)
    if match is None or (not match["way"] and not match["rest"]):
        return None
    way, rest = (match["way"] or "").lower(), match["rest"].strip(" ,")
    if not way and not re.match(_GO + r"\b", clause, re.IGNORECASE):
        return None
    backing = bool(re.match(r"back|in\s+reverse|reverse", way)) or clause.lower().startswith(("back ", "reverse"))
    backing = backing or clause.lower() == "back"
    if way == "up" and not clause.lower().startswith("back"):
        return None
    length = _LENGTH.search(rest)
    if length is not None:
        left = (rest[: length.start()] + rest[length.end() :]).strip(" ,")
        left = re.sub(
            r"^(?:for|by|about|another)\b|\b(?:forwards?|ahead|straight|on|back(?:wards?)?)\b",
            " ",
            left,
            flags=re.IGNORECASE,
        ).strip()
        if left:
            return None
        backing = backing or bool(re.search(r"\bback", rest, re.IGNORECASE))
        unit = length["unit"].lower()
        metres = (_number(length["n"]) + (0.5 if length["half"] else 0.0)) * _METRES.get(
            unit, _METRES.get(unit.rstrip("s"), 1.0)
        )
        metres = min(metres, _MAX_MOVE_M)
    elif way and re.fullmatch(
        r"(?:a\s+(?:bit|little)(?:\s+(?:more|further))?|slowly|now|please)?", rest, re.IGNORECASE
    ):
        metres = 0.5 if "bit" in rest or "little" in rest else DEFAULT_MOVE_M
    else:
        return None
    return Motion("move", -metres if backing else metres)


def _angle(text: str) -> float | None:
    match = _ANGLE.search(text)
    if match is None:
        return None
    value = _number(match["n"])
    return min(value if match["unit"].lower().startswith("rad") else math.radians(value), _MAX_TURN)


def _number(text: str) -> float:
    known = _WORDS.get(" ".join(text.lower().split()))
    return known if known is not None else float(text.replace(",", "."))
