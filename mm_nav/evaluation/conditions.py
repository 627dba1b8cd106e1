"""What drives an evaluation episode: the whole stack, the stack with something taken away, or something that knows more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from mm_nav.command import PolicyOutput
from mm_nav.errors import ConfigError, GoalError
from mm_nav.evaluation.classical import ClassicalPolicy
from mm_nav.evaluation.episodes import EpisodeConfig, EpisodeContext, PilotFactory, PolicyFactory
from mm_nav.evaluation.expert_pilot import ExpertPilot
from mm_nav.evaluation.oracle import OraclePolicy
from mm_nav.goal import PolicyGoal
from mm_nav.language import Reference, parse_instruction
from mm_nav.language.knowledge import Knowledge
from mm_nav.observation import Observation
from mm_nav.runtime.policy import OnnxPolicy, PolicySource
from mm_nav.sim.episode import Episode
from mm_nav.sim.instructions import described_objects, other_description
from mm_nav.sim.objects import SceneObject


@dataclass(frozen=True)
class Condition:
    """text: what drives. model: the policy that it needs: "main" (the one under test), "own" (another one, of a file given
    for this condition), "" (none)."""

    text: str
    model: Literal["main", "own", ""] = "main"


CONDITIONS: Mapping[str, Condition] = {
    "full": Condition("the stack as it is: camera, LiDAR and the sentence"),
    "camera_only": Condition("the network is told that there is no LiDAR; navigator and guard keep the scan"),
    "lidar_only": Condition("the network is told that there is no picture; it can name nothing that it sees"),
    "no_language": Condition("the policy is told to look for a thing, but not for which"),
    "random_goal": Condition("the policy is told to look for something else, drawn from the catalogue"),
    "late_fusion": Condition("a network that joins camera, LiDAR and words only at its end", "own"),
    "no_memory": Condition("the network's short memory is switched off: it judges each view alone"),
    "no_waypoints": Condition("the network's waypoints are no candidates of the local planner, which has its own"),
    "no_belief_map": Condition("the navigator believes the last view in full and remembers no earlier one"),
    "no_dagger": Condition("a network trained on the expert's frames only", "own"),
    "classical": Condition("no network: colour segmentation, and sizes from LiDAR and camera geometry", ""),
    "oracle": Condition("perfect perception in place of the policy: the upper bound of the navigator", ""),
    "expert": Condition(
        "knows map, pose and target, and drives a short and safe way: the upper bound of any stack", ""
    ),
}

# Words that fit every object: an empty phrase would stop the policy from looking at all, which no model could survive.
_ANY = "the thing"
_CANONICAL = Knowledge(encoder=None)


def check_conditions(names: Sequence[str]) -> None:
    """Raise ConfigError when one of the names is no condition, or there is none."""
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown or not names:
        raise ConfigError(
            f"conditions {', '.join(unknown) or '(none)'} are not known: give some of {', '.join(CONDITIONS)}"
        )


def missing(condition: str, variants: Mapping[str, str]) -> str:
    """Return why a condition cannot run with the files of other models, by condition; "" when it can."""
    if CONDITIONS[condition].model == "own" and condition not in variants:
        return f"it runs another model: give --variant {condition}=FILE"
    return ""


def policy_factory(condition: str, model: Path | None = None) -> PolicyFactory:
    """Return what makes the policy of a condition; "expert" has none. Raises ConfigError for an unknown condition,
    ModelError by the model."""
    check_conditions((condition,))

    def make(context: EpisodeContext) -> PolicySource | None:
        if condition == "oracle":
            targets = phrase_targets(context.episode, context.task.objects)
            return OraclePolicy(context.simulator, targets, context.episode.target_names)
        if condition == "expert":
            return None
        if condition == "classical":
            return ClassicalPolicy()
        policy = _loaded(model, condition != "no_memory")
        if condition == "camera_only":
            return _Without(policy, "scan")
        if condition == "lidar_only":
            return _Without(policy, "image")
        if condition == "no_language":
            return _Reworded(policy, {}, _ANY)
        if condition == "no_waypoints":
            return _NoWaypoints(policy)
        if condition == "random_goal":
            return _Reworded(policy, _other_phrases(context), _ANY)
        return policy

    return make


def pilot_factory(condition: str) -> PilotFactory | None:
    """Return what drives in place of the navigator; None = the navigator drives."""
    return ExpertPilot if condition == "expert" else None


def condition_config(condition: str, config: EpisodeConfig) -> EpisodeConfig:
    """Return how a condition's episodes are run, where `config` is how those of the whole stack are."""
    if condition != "no_belief_map":
        return config
    belief = replace(config.navigator.belief, over_time=False)
    return replace(config, navigator=replace(config.navigator, belief=belief))


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


class _Without:
    """A policy that is told that a sensor is missing. What else the policy offers (its words, its memory) stays."""

    def __init__(self, policy: OnnxPolicy, sensor: Literal["scan", "image"]) -> None:
        self._policy, self._sensor = policy, sensor
        self.knowledge = policy.knowledge

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput | None:
        if self._sensor == "image":
            return self._policy(replace(observation, image=None), goal)
        return self._policy(replace(observation, scan=None, cloud=None), goal)


class _NoWaypoints:
    """A policy that tells what it sees, but no ways."""

    def __init__(self, policy: OnnxPolicy) -> None:
        self._policy, self.knowledge = policy, policy.knowledge

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        output = self._policy(observation, goal)
        return replace(output, waypoints=output.waypoints[:0], waypoint_probs=output.waypoint_probs[:0])


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


@lru_cache(maxsize=4)
def _loaded(model: Path | None, memory: bool) -> OnnxPolicy:
    return OnnxPolicy(model, provider="cpu", threads=1, memory=memory)
