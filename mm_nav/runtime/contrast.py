"""Is it the named thing, or one that looks like it? Other phrases are asked about the same view, and say what else is there.

The numbers here were fitted on frames of worlds that were not trained on (see docs/training.md).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mm_nav.language.knowledge import Knowledge

# Nothing is called surer than this, so that odds stay finite.
_CLIP = 1e-3
# How much the odds of a rival count: a network answers to each phrase by itself and gives things that look alike more than
# their due, so that their odds in full would take too much.
_KIND, _COLOUR = 0.2, 0.05
# The same of a thing that is told from others of its kind ("the lamp that is not pink"): what it is, is known; which, is asked.
_COLOUR_AMONG = 0.1
# What was never taught together is given too little. Bias, and weights of the log-odds of the phrase itself, of its thing in
# any colour, and of anything in its colour.
_BIAS, _WHOLE, _THING, _OF_COLOUR = -0.3, 0.75, 0.4, 0.65

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """What is asked to know whether a phrase is in view.

    rivals: phrases of what may be taken for it, with how much each counts. parts: of a thing and a colour that were never taught
    together, both alone; they have no rivals, for what was taught would always win.
    """

    phrase: str
    rivals: tuple[tuple[str, float], ...] = ()
    parts: tuple[str, ...] = ()

    def without(self, named: Collection[str]) -> Question:
        """Return the question without those of its rivals that are named beside it: they are there, and may be right before it."""
        return replace(self, rivals=tuple(rival for rival in self.rivals if rival[0] not in named))

    @property
    def phrases(self) -> tuple[str, ...]:
        """All of them, the phrase itself first."""
        return (self.phrase, *(phrase for phrase, _ in self.rivals), *self.parts)

    def answer(self, visible: Floats, bearing_probs: Floats) -> float:
        """Return the probability that the phrase is in view. visible: (N,) of each of `phrases` alone. bearing_probs: (N, B),
        where each is, given that it is in view."""
        if self.parts:
            return compose(visible, bearing_probs)
        return contrast(visible, bearing_probs, np.array([weight for _, weight in self.rivals]))


def question(phrase: str, knowledge: Knowledge) -> Question:
    """Return what to ask about a phrase, by what a model knows."""
    parts = knowledge.parts(phrase)
    if parts is not None:
        return Question(phrase, parts=parts)
    kinds, colours = knowledge.rivals(phrase), knowledge.other_colours(phrase)
    return Question(phrase, (*((kind, _KIND) for kind in kinds), *((colour, _COLOUR) for colour in colours)))


def question_among(phrase: str, kind: str, knowledge: Knowledge) -> Question:
    """Return what to ask about a phrase that is named beside another one, `kind`: of things of that one's category, in which
    colour they are; of all others nothing more, for rivals make a few right things doubtful, and a relation whose other thing
    is missing finds nothing."""
    parts = knowledge.parts(phrase)
    if parts is not None:
        return Question(phrase, parts=parts)
    if knowledge.category(phrase) != knowledge.category(kind):
        return Question(phrase)
    return Question(phrase, tuple((colour, _COLOUR_AMONG) for colour in knowledge.other_colours(phrase)))


def contrast(visible: Floats, bearing_probs: Floats, weights: npt.NDArray[np.float64]) -> float:
    """Return the probability that the first of N phrases is in view, given what the others, its rivals, are given there.

    visible: (N,) of each phrase alone. bearing_probs: (N, B). weights: (N - 1,) of the rivals. The phrases and "none of them"
    share the odds; a rival takes part as far as it is seen in the same place.
    """
    odds = _odds(visible)
    return float(odds[0] / (1.0 + odds[0] + (weights * _same_place(bearing_probs) * odds[1:]).sum()))


def compose(visible: Floats, bearing_probs: Floats) -> float:
    """Return the probability that a thing of a colour is in view, of three phrases: both, the thing, and anything of the colour.

    visible: (3,) of each phrase alone. bearing_probs: (3, B). The parts count as far as they are seen in the same place.
    """
    odds = _odds(visible)
    whole = np.log(odds[0])
    thing, colour = np.log(_odds(visible[1:] * _same_place(bearing_probs)))
    return float(1.0 / (1.0 + np.exp(-(_BIAS + _WHOLE * whole + _THING * thing + _OF_COLOUR * colour))))


def _odds(probability: Floats | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped: npt.NDArray[np.float64] = np.clip(probability.astype(np.float64), _CLIP, 1.0 - _CLIP)
    return clipped / (1.0 - clipped)


def _same_place(bearing_probs: Floats) -> npt.NDArray[np.float64]:
    shared: npt.NDArray[np.float64] = np.minimum(bearing_probs[0], bearing_probs[1:]).sum(axis=1, dtype=np.float64)
    return shared
