"""What drives an evaluation episode: the whole stack, the stack with something taken away, or the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mm_nav.command import PolicyOutput
from mm_nav.errors import ConfigError, GoalError
from mm_nav.evaluation.episodes import EpisodeContext, PolicyFactory
from mm_nav.evaluation.oracle import OraclePolicy
from mm_nav.goal import PolicyGoal
from mm_nav.language import Reference, parse_instruction
from mm_nav.language.knowledge import Knowledge
from mm_nav.observation import Observation
from mm_nav.runtime.policy import OnnxPolicy, PolicySource
from mm_nav.sim.episode import Episode
from mm_nav.sim.instructions import described_objects, other_description
from mm_nav.sim.objects import SceneObject

CONDITIONS: Mapping[str, str] = {
    "full": "the stack as it is: camera, LiDAR and the sentence",
    "no_language": "the policy is told to look for a thing, but not for which",
    "random_goal": "the policy is told to look for something else, drawn from the catalogue",
    "oracle": "perfect perception in place of the policy: the upper bound of the navigator",
}

# Words that fit every object: an empty phrase would stop the policy from looking at all, which no model could survive.
_ANY = "the thing"
_CANONICAL = Knowledge(encoder=None)


def policy_factory(condition: str, model: Path | None = None) -> PolicyFactory:
    """Return what makes the policy of a condition. Raises ConfigError for an unknown condition, ModelError by the
    model."""
    if condition not in CONDITIONS:
        raise ConfigError(f"condition '{condition}' is not known: give some of {', '.join(CONDITIONS)}")

    def make(context: EpisodeContext) -> PolicySource:
        if condition == "oracle":
            targets = phrase_targets(context.episode, context.task.objects)
            return OraclePolicy(context.simulator, targets, context.episode.target_names)
        policy = _loaded(model)
        if condition == "no_language":
            return _Reworded(policy, {}, _ANY)
        if condition == "random_goal":
            return _Reworded(policy, _other_phrases(context), _ANY)
        return policy

    return make


def phrase_targets(episode: Episode, objects: Sequence[SceneObject]) -> dict[str, tuple[str, ...]]:
    """Return which objects satisfy each phrase that the navigator will ask about.

    A step that is asked about in one plain phrase is satisfied by what the episode says; the phrases of a relation by all
    that they describe.
    """
    targets = dict(zip(episode.phrases, episode.steps, strict=True))
    for reference, names in zip(_asked(episode), _aligned(episode), strict=True):
        if reference.plain:
            targets[reference.head] = names
            continue
        for phrase in reference.phrases():
            targets[phrase] = tuple(item.name for item in described_objects(phrase, objects))
    return {**targets, **{_CANONICAL.canonical(phrase): names for phrase, names in targets.items()}}


class _Reworded:
    """A policy that hears other words than were said."""

    def __init__(self, policy: PolicySource, phrases: Mapping[str, str], otherwise: str) -> None:
        self._policy, self._phrases, self._otherwise = policy, phrases, otherwise

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput | None:
        others = tuple(self._phrases.get(phrase, self._otherwise) for phrase in goal.others)
        phrase = self._phrases.get(goal.phrase, self._otherwise)
        return self._policy(observation, replace(goal, phrase=phrase, others=others))


def _other_phrases(context: EpisodeContext) -> dict[str, str]:
    rng = np.random.default_rng([context.episode.seed, 13])
    said = [name for step in context.episode.steps for name in step]
    phrases = [phrase for reference in _asked(context.episode) for phrase in reference.phrases()]
    drawn = {phrase: other_description(rng, context.task.objects, said) for phrase in phrases}
    return {**drawn, **{_CANONICAL.canonical(phrase): other for phrase, other in drawn.items()}}


def _asked(episode: Episode) -> list[Reference]:
    """What the navigator reads out of the sentence, in order, but for motions."""
    try:
        return [step.reference for step in parse_instruction(episode.instruction) if step.reference is not None]
    except GoalError:
        return []


def _aligned(episode: Episode) -> list[tuple[str, ...]]:
    """For each asked reference, the objects of its step; a sentence split into other steps keeps its end."""
    asked = _asked(episode)
    padded = [episode.steps[0]] * max(0, len(asked) - len(episode.steps)) + list(episode.steps)
    return padded[-len(asked) :] if asked else []


@lru_cache(maxsize=2)
def _loaded(model: Path | None) -> OnnxPolicy:
    return OnnxPolicy(model, provider="cpu", threads=1)
