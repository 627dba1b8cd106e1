"""Ways of saying where to go that training never uses: a list of our own, and files of other people's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mm_nav.errors import ConfigError
from mm_nav.goal import MAX_INSTRUCTION_CHARACTERS
from mm_nav.sim.instructions import HELD_OUT_TEMPLATES

OBJECT = "{object}"
# An instruction has a limit; this leaves room for the thing's name.
MAX_TEMPLATE_CHARACTERS = MAX_INSTRUCTION_CHARACTERS - 100
_MAX_FILE_BYTES = 1_000_000

# Written by hand, before any training run, as people speak and not as the parser reads.
PARAPHRASES = (
    "show me where {object} is",
    "set course for {object}",
    "pull up alongside {object}",
    "get as close as you can to {object}",
    "keep going until you get to {object}",
    "drive until you are next to {object}",
    "we need you over by {object}",
    "i want you to stand by {object}",
    "bring yourself over to {object}",
    "take yourself to {object}",
    "could you make it over to {object}",
    "your job is to reach {object}",
    "meet me at {object}",
    "i am waiting for you at {object}",
    "{object} is where you should be",
    "{object} is your next stop",
    "look around for {object} and go there",
    "once you spot {object}, go to it",
    "the thing i want you to reach is {object}",
    "where is {object}? go and stand there",
    "roll on over to {object}",
    "i think there is {object} here, drive to it",
    "time to pay {object} a visit",
    "do not stop before {object}",
)
HELD_OUT_PHRASINGS = (*(template.replace("{o}", OBJECT) for template in HELD_OUT_TEMPLATES), *PARAPHRASES)
# Noun phrases, with the noun n and the colour c, in forms that training never uses.
HELD_OUT_FORMS = ("the {c}-coloured {n}", "the {n} painted {c}", "the {n} in {c}", "the {n} whose colour is {c}")

_DETERMINERS = "the|a|an|any|some|that|this"
_BEGINS = re.compile(rf"^(?:{_DETERMINERS})\s+", re.IGNORECASE)
_BEFORE = re.compile(rf"\b(?:{_DETERMINERS}|my|your|our|every|each)\s+(?:\w+\s+)?$", re.IGNORECASE)


def fill(template: str, phrase: str) -> str:
    """Return the template with the thing's name in it: with an article, unless the template has one before `{object}`."""
    bare = _BEGINS.sub("", phrase)
    before, *rest = template.split(OBJECT)
    text = before
    for part in rest:
        named = bare if _BEFORE.search(text) else phrase if bare != phrase else f"the {phrase}"
        text += named + part
    return text


def phrasing_of(phrases: Sequence[str], seed: int) -> str:
    """Return the template of a seed. They take turns; no line meets always the same of the three kinds of `seen`."""
    count = len(phrases)
    # With a multiple of three each line would keep its kind for ever.
    shift = seed // count if count % 3 == 0 else 0
    return phrases[(seed + shift) % count]


def read_phrases(path: Path) -> tuple[str, ...]:
    """Return the templates of a text file: one a line, each with `{object}` in it; empty lines and those that begin with
    "#" are left out. Raises ConfigError with file and line for whatever cannot be used."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): give a text file with one template a line, such as 'go to {OBJECT}'"
        ) from error
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {_MAX_FILE_BYTES // 1000} kB: give one short template a line")
    templates = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        template = _checked(raw, f"{path}:{number}")
        if template and not template.startswith("#"):
            templates.append(template)
    if not templates:
        raise ConfigError(f"{path}:1: the file has no templates: give one a line, such as 'go to {OBJECT}'")
    return tuple(templates)


def _checked(raw: bytes, where: str) -> str:
    try:
        line = raw.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: this is not UTF-8 text: give a text file with one template a line") from error
    if not all(ch.isprintable() or ch == "\t" for ch in line):
        raise ConfigError(f"{where}: the line holds control characters: give a text file with one template a line")
    if len(line) > MAX_TEMPLATE_CHARACTERS:
        raise ConfigError(
            f"{where}: the template has {len(line)} characters, at most {MAX_TEMPLATE_CHARACTERS} are read: shorten it"
        )
    if line and not line.startswith("#"):
        if OBJECT not in line:
            raise ConfigError(f"{where}: '{line[:60]}' has no {OBJECT}: write it where the thing's name belongs")
        if len(line.replace(OBJECT, " " * 80)) > MAX_INSTRUCTION_CHARACTERS:
            raise ConfigError(f"{where}: too many {OBJECT} for one instruction: write one")
    return line
