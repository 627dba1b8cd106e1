"""How people really speak: the order of the words is not that of the drive, they correct themselves, and talk of other things.

What comes out is text in the order of driving, which mm_nav.language.instruction takes clause by clause. In all patterns a space
is the only white space, as the text has been cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mm_nav.language.patterns import COLOUR, SOME_THING
from mm_nav.language.vocabulary import singular

# Begins a clause that takes back the one before.
TAKEN_BACK = "@"

_GOING = (
    r"(?:(?:you(?: can)? )?(?:go|drive|head|move|visit|reach|stop|get|pass|check|continue|proceed|come|travel|roll|return|see|"
    r"approach)|going|"
    r"driving|heading|moving|visiting|reaching|stopping|getting|passing|checking|continuing|proceeding|coming|travelling|traveling|"
    r"rolling|returning|seeing|approaching)(?: (?:on|over|up|back|in|along|to|towards?|at|by|past))*"
)
_DONE = (
    r"(?:you(?:'ve| have|'re| are)? (?:been|gone|visited|checked(?: out)?|passed|reached|stopped|finished|got(?:ten)?|arrived|"
    r"looked|seen)"
    r"(?: (?:to|at|by|past|with))*|(?:visiting|going|passing|checking|reaching|stopping|seeing)(?: (?:to|at|by|past))*)"
)
_WAY = r"on (?:the|your) way"
_STOP_NAME = r"(?:stop|destination|goal|target|place to (?:go|be)|port of call)"

_SPELLINGS = tuple(
    (re.compile(rf"\b{words}\b", re.IGNORECASE), instead)
    for words, instead in (
        (r"(that|what|there|here|where)s", r"\1's"), (rf"its(?= (?:the|a|an|{COLOUR})\b)", "it's"), (r"(do|is|are|would|could|"
        r"does)nt", r"\1n't"), (r"youre", "you're"),
        (rf"({COLOUR})[\s-]+colou?red(?=\s)", r"\1"), (r"youve", "you've"), (r"im", "i'm"), (r"ive", "i've"), (r"id(?= like)",
        "i'd"), (r"lets", "let's"),
    )
)  # fmt: skip
# What can be left out wherever it stands.
_SAID_BESIDE = tuple(
    re.compile(words, re.IGNORECASE)
    for words in (
        r"(?<![\w-])(?:u[hm]+|er+m?|hm+|ah+|oh)\b[\s,.…]*",
        r"[\s,]*\b(?:you know|i (?:think|believe|guess|suppose|reckon)(?=\s*(?:[,.;!?]|$))|if (?:you (?:can|could|would|please|"
        r"don't mind)|"
        r"possible|that's ok(?:ay)?)|when you (?:can|get a (?:chance|moment|minute)|have (?:time|a (?:moment|minute)))|"
        r"(?:there's )?no "
        r"(?:hurry|rush)|real (?:quick|fast)|real slow(?:ly)?|get going|off you go(?! to)|by now|in (?:that|this) order|would you"
        r"(?=\s*[?.!]*$)|will you(?=\s*[?.!]*$)|can you(?=\s*[?.!]*$)|ok(?:ay)?(?=\s*[?.!]*$)|right(?=\s*\?)|(?:mate|"
        r"buddy|pal|dear|love|eventually)(?=\s*(?:[,.;!?]|$))|pls|plz|thx|ta|cheers)\b",
        r"[\s,]*\b(?:and |so )?(?:(?:can|could|would|will) you )?(?:please )?(?:go and )?(?:look|check it out|have a look|"
        r"take a look|see to it|"
        r"deal with it|lead the way)(?=\s*[?.!]*$)",
        r"\s(?:anywhere|somewhere)(?=\s*[?.!]*$)",
        r"(?<=\w) go(?=\s*[.!]*$)",
        r"\b(?:please )?(?:do not|don't) forget to\b",
        r"[\s,]*\bby the way\b(?! of)",
        r"\b(?:the )?next thing (?:is|to do is) (?:to )?(?=go|drive|head|move|visit|find)",
        r" (?:lying|standing|sitting) (?:around|about)(?: (?:there|somewhere))?(?=\s*(?:[,.;!?]|$))",
        r"(?<=\w)(?<!you) (?:and |now )?(?:go|drive|head|move|come) (?:over )?(?:there|to it)(?=\s*(?:now|please|thanks|"
        r"thank you)?\s*[.?!]*$)",
        r"(?<=\w) go (?:and )?(?:get|find|see|fetch|check) it(?=\s*[.?!]*$)",
        r" (?:so |and )?(?:can|could|would|will) you (?:please )?(?:go|drive|come|get|head|move) (?:over )?(?:there|"
        r"to it)(?=\s*[.?!]*$)",
        r" (?:somewhere |anywhere )?(?:around|over|about|in) here\b(?! (?:is|to)\b)",
        r" like a good \w+",
        r"\bbe an? (?:dear|darling|love|angel|good \w+) and ",
        r" instead(?=\s*(?:[,.;!?]|$))",
    )
)  # fmt: skip
_ADDRESS = re.compile(
    r"(?:^|(?<=[.!?]\s))(?:hi|hey|hello|good (?:morning|afternoon|evening)|ok(?:ay)?|right|alright|all right|so|well|now|listen|"
    r"come on|go on)"
    r"(?: (?:there|then|now|robot|everyone|you|so))*(?:[\s,.!]+|$)(?!(?:from|side|of|hand|next)\b)",
    re.IGNORECASE,
)
_SET_COURSE = re.compile(r"\bset (?:a |your )?course (?:for|to) ", re.IGNORECASE)
# "the red one of the pallets", "of all the boxes pick the pink one".
_ONE_OF = re.compile(
    rf"\b(?P<colour>{COLOUR}) one of (?:all )?(?:the|these|those) (?P<many>{SOME_THING})\b",
    re.IGNORECASE,
)
_OF_ALL = re.compile(
    rf"\b(?:out )?of (?:all )?(?:the|these|those) (?P<many>{SOME_THING})\s*,? (?:pick|choose|take|go to|find)"
    rf" (?:the )?(?P<colour>{COLOUR}) one\b",
    re.IGNORECASE,
)
_FOLLOWED = re.compile(
    r"\bfollow the (?:walls?|lines?|paths?|arrows?|signs?) (?:until|to|till) (?:you (?:reach|get to|see) )?",
    re.IGNORECASE,
)
# Where not to go is said on its own.
_AND_NOT = re.compile(r" (?:but|and) (?=(?:do not|don't|never|avoid|stay away|keep away)\b)", re.IGNORECASE)
_IS_NEXT = re.compile(
    rf"\b(?:(?:the|your|our|my) )(?:(?:first|next|last|final|second|third|only|new) )?{_STOP_NAME} (?:is|will be|should be|"
    rf"would be) "
    r"(?=(?:the|a|an|any|that|this|my|your)\s)",
    re.IGNORECASE,
)
# "next to the sofa there's a lamp": a lamp next to the sofa.
_THERE_IS = re.compile(
    r"(?:^|(?<=[.!?,;]\s))(?P<where>(?:next to|beside|behind|in front of|near|close to|by|between|opposite|(?:to the )?(?:left|"
    r"right) of|"
    r"in the corner)\b[^,.;!?]*?)\s*,? (?:there\s*(?:'s| is| should be| stands)|(?:you(?:'ll| will| can| should)? (?:find|see))|"
    r"(?:is|stands|sits)(?= an?\s)) (?P<what>(?:a|an|the|some) [^,.;!?]+)",
    re.IGNORECASE,
)
_ELSE = r"(?= (?:the|a|an|any|that \w+ one|my|go|drive|head|move|to|visit|not|actually|make|it's)\b)"
_CORRECTION = re.compile(
    r"[\s,.;!?…–—-]+(?:(?:"
    rf"no[\s,.]+(?:wait|sorry|hold on)|(?<=[,.…–—-]\s)(?:wait|hold on|hang on)(?=[\s,.…–—-]+(?:the|a|an|no|not|i mean|make|"
    rf"actually|go)\b)|"
    rf"(?<=[,.…–—-]\s)no(?=\s*[,.…–—-])|(?<=[,.…–—-]\s)(?:no|sorry|better|rather){_ELSE}|sorry[\s,]+(?=i (?:mean|meant)\b|the\b|"
    rf"a\b|an\b)|"
    r"no(?= not (?:the|a|an)\b)|(?:no[\s,]+)?i (?:mean|meant)(?: to say)?|(?:no[\s,]+)?(?:actually[\s,]+)?(?:make|"
    r"let's make) (?:that|it)(?= (?:the|a|an)\b)|"
    rf"actually(?:[\s,]+no)?{_ELSE}|scratch that|strike that|correction|on second thoughts?|change of plans?|"
    rf"never\s*mind(?: that| it)?|"
    r"forget (?:that|it)|or rather|i changed my mind|that's wrong"
    r")[\s,.;:!…–—-]*)+",
    re.IGNORECASE,
)

_Order = tuple[re.Pattern[str], str]


def _order(words: str, instead: str) -> _Order:
    return re.compile(words, re.IGNORECASE), instead


# In one sentence; x comes last, y before.
_ORDERS: tuple[_Order, ...] = (
    _order(rf"^(?:do not|don't) {_GOING} (?P<x>.+?) (?:until|before) (?:after )?{_DONE} (?P<y>.+)$", "go to {y}, then go to {x}"),
    _order(
        r"^after (?P<y>(?:the|a|an)\s[^,;]+?)\s*,? (?P<x>(?:please )?(?:go|drive|head|move|proceed|continue|visit|find|come|"
        r"roll|stop|the)\b.+)$",
        "go to {y}, then {x}",
    ),
    _order(r"^(?P<y>(?:please )?(?:visit|check|see|pass|stop (?:at|by))\s.+?) before (?P<x>(?:the|a|"
    r"an)\s.+)$", "{y}, then go to {x}"),
    _order(
        r"^having (?:first )?(?:been to|visited|gone to|passed|seen) (?P<y>[^,;]+?)\s*,? (?P<x>(?:please )?(?:go|drive|head|"
        r"move|proceed|continue|visit|"
        r"find|come|roll|stop)\b.+)$",
        "go to {y}, then {x}",
    ),
    _order(r"^(?P<x>.+?)\s*,\s*(?:having|after having) (?:first )?(?:been to|visited|gone to|passed|"
    r"seen) (?P<y>.+)$", "go to {y}, then {x}"),
    _order(rf"^(?P<x>.+?)\s*,? (?:but |and )?{_GOING} (?P<y>(?:the|a|an)\s[^,;]+?) first$", "go to {y}, then {x}"),
    _order(rf"^(?:but |and )?(?:before|prior to) {_GOING} (?P<x>[^,;.]+?)\s*[,;]\s*(?:please )?(?P<y>.+)$", "{y}, then go to {x}"),
    _order(
        rf"^(?P<y>.+?)\s*,? (?:but |and )?(?:before|prior to) {_GOING} (?P<x>(?:the|a|an|any|that|this|my|your|to)\s.+)$",
        "{y}, then go to {x}",
    ),
    _order(rf"^(?:only )?(?:after|once|when|as soon as) {_DONE} (?P<y>[^,;]+?)\s*,\s*(?:you (?:can |"
    rf"should )?)?(?P<x>.+)$", "go to {y}, then {x}"),
    _order(
        rf"^(?:only )?(?:after|once|when|as soon as) {_DONE} (?P<y>[^,;]+?) (?:you (?:can |should )?)?"
        r"(?P<x>(?:go|drive|head|move|proceed|continue|please|visit|find|come|roll|turn|stop)\b.+)$",
        "go to {y}, then {x}",
    ),
    _order(
        rf"^(?P<x>.+?)\s*,? (?:but )?(?:only |not )?(?:after|once|when|as soon as|before|"
        rf"until) {_DONE} (?P<y>.+)$", "go to {y}, then {x}"
    ),
    _order(r"^(?:on|along) (?:the|your) way (?:over )?to (?P<x>[^,;]+?)\s*,\s*(?P<y>.+)$", "{y}, then go to {x}"),
    _order(
        r"^(?:on|along) (?:the|your) way (?:over )?to (?P<x>[^,;]+?) (?:(?:can|could|would) you (?:please )?)?"
        r"(?P<y>(?:go|drive|pass|stop|visit|swing|call|pop|drop|check)\b.+)$",
        "{y}, then go to {x}",
    ),
    _order(rf"^(?P<y>.+?)\s*,? {_WAY} (?:over )?to (?P<x>.+)$", "{y}, then go to {x}"),
    _order(
        rf"^(?P<x>.+?)\s*,? (?:and|but)?\s*{_WAY}(?: there)?\s*,? (?P<y>(?:pass|stop|go|drive|swing|visit|check|call|pop|drop|"
        rf"look)\b.+)$", "{y}, then {x}"
    ),
    _order(rf"^(?P<x>.+?)\s*,? (?:and|but) (?P<y>(?:pass|stop|go|drive|swing|visit|check|call|pop|"
    rf"drop)\b[^,]*?) {_WAY}(?: there)?$", "{y}, then {x}"),
    _order(
        r"^(?P<x>(?:end up|finish|end) (?:at|by|with|near|next to) .+?)\s*,? (?:but|and) (?:start|begin) (?:with|at|by|"
        r"from) (?P<y>.+)$",
        "{y}, then {x}",
    ),
)  # fmt: skip
# Over sentences, too.
_AT_LAST: tuple[_Order, ...] = (
    _order(r"^(?:leave|save|keep) (?P<x>.+?) (?:until|till|for|to)(?: the)? (?:last|"
    r"end)\s*[,;.]\s*(?:and )?(?:do )?(?P<y>.+?)(?: before that| first)?$", "{y}, then {x}"),
    _order(r"^(?P<x>.+?) last\s*[,;.]\s*(?P<y>.+)$", "{y}, then {x}"),
    _order(r"^(?P<x>.+?)\s*[,;.]? but (?:first(?: of all)?|before (?:that|you do(?: that)?)|"
    r"beforehand)\s*,? (?P<y>.+)$", "{y}, then {x}"),
    _order(r"^(?P<x>.+?)\s*[,;.]\s*before that\s*,? (?P<y>.+)$", "{y}, then {x}"),
    _order(
        r"^(?P<x>.+?)\s*[,;.]? but (?P<y>[^,;.]+?)(?: first| before(?: (?:that|you do(?: that)?))?| beforehand)$", "{y}, then {x}"
    ),
    _order(r"^(?P<x>.+?)\s*[,;.]\s*(?P<y>[^,;.]+?) (?:before that|beforehand)$", "{y}, then {x}"),
)  # fmt: skip
_THEN = tuple(
    re.compile(words, re.IGNORECASE)
    for words in (
        r"[\s,]*\b(?:and )?(?:when|once|after) (?:you(?:'re| are|'ve(?: been)?)?|that's|that is) (?:done|finished|there)"
        r"(?: (?:there|with (?:that|it)|that))?\s*,? (?=(?:please|go|drive|head|move|visit|find|proceed|continue|come|stop|turn|"
        r"you|the|a|to|pass)\b)(?:you )?",
        r"[\s,]*\b(?:and )?(?:when|once|after) you (?:get there|get to it|arrive|reach it|have arrived|'ve arrived)\s*,? (?:you )?",
        r"[\s,]*\bfollowed by ",
        r"[\s,]*\b(?:and )?from there\s*,? (?:(?:go|drive|head|move|continue|proceed|carry) )?(?:on |over )?(?=to\b)",
        r"[\s,]*\b(?:and )?(?:(?:(?<!until )(?<!till )(?<!for )last(?:ly)?|secondly|thirdly)\s*,|last of all\b,?)\s*",
    )
)  # fmt: skip
_FIRST_AFTER = re.compile(
    rf"\b({SOME_THING}) (?:(?:comes|goes|is) )?(?:first|second|third)(?=\s*(?:,|;|\.|$|and\b|then\b))",
    re.IGNORECASE,
)
# Said without a pause: "go to the ladder wait a bit".
_NO_PAUSE = re.compile(rf"\b({SOME_THING}) (?=(?:wait|pause) (?:a|there|here|for)\b)", re.IGNORECASE)


def in_order(text: str) -> str:
    """Return an instruction with its steps in the order of driving and what was only said beside left out; what was corrected is
    marked for `settled`."""
    text = text.replace(TAKEN_BACK, " ")
    for pattern, instead in _SPELLINGS:
        text = pattern.sub(instead, text)
    kept = _without_asides(text)
    text = kept if re.search(r"[^\W\d_]{2,}", kept) else text
    for pattern in (_IS_NEXT, _FOLLOWED, _SET_COURSE):
        text = pattern.sub("go to ", text)
    for pattern in (_ONE_OF, _OF_ALL):
        text = pattern.sub(lambda m: f"the {m['colour']} {singular(m['many'])}", text)
    text = re.sub(r"\bthe the\b", "the", _AND_NOT.sub(", ", text))
    text = _THERE_IS.sub(lambda m: f"{m['what']} {m['where'][0].lower()}{m['where'][1:]}", text)
    text = _CORRECTION.sub(f". {TAKEN_BACK} ", text)
    return f" {TAKEN_BACK} ".join(_reordered(part) for part in text.split(TAKEN_BACK))


def _without_asides(text: str) -> str:
    while (shorter := _ADDRESS.sub("", text, count=1)) != text and re.search(r"[^\W\d_]{2,}", shorter):
        text = shorter
    for pattern in _SAID_BESIDE:
        text = pattern.sub(" ", text)
    return " ".join(text.split())


def _reordered(text: str) -> str:
    for pattern in _THEN:
        text = pattern.sub(", then ", text)
    text = _NO_PAUSE.sub(r"\1, then ", text)
    sentences = re.split(r"(?<=[.!?;]) ", text.strip())
    text = " ".join(_first_of(_ORDERS, sentence) for sentence in sentences)
    return _FIRST_AFTER.sub(r"\1", _first_of(_AT_LAST, text))


def _first_of(orders: Sequence[_Order], text: str) -> str:
    end = re.search(r"[\s.!?;,]*$", text)
    assert end is not None
    body = text[: end.start()]
    for pattern, instead in orders:
        match = pattern.match(body)
        # Both must be about something; the y of one order may hold another.
        if match and all(re.search(r"[^\W\d_]{3,}", match[name]) for name in ("x", "y")):
            return instead.format(x=match["x"], y=_first_of(orders, match["y"])) + end[0]
    return text
