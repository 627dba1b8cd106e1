"""The suites of the language evaluation: what is asked, where, and what goes wrong on the way.

An episode is decided by the suite's name and a seed alone. Its world is the one of that seed, or, where that one holds
nothing to ask for, the seed's world of another style; so worlds of held-out seeds stay held out.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm_nav.errors import ConfigError
from mm_nav.evaluation.phrasings import HELD_OUT_FORMS, HELD_OUT_PHRASINGS, fill, phrasing_of
from mm_nav.evaluation.pictures import picture_pose
from mm_nav.evaluation.sensor_loss import LostSensor
from mm_nav.geometry import Pose2D
from mm_nav.sim.episode import PASSING_RADIUS_M, SUCCESS_RADIUS_M, Episode, step_radii
from mm_nav.sim.generator import STYLES
from mm_nav.sim.instructions import TRAIN_TEMPLATES, Instruction, describe, matching, sample_instruction
from mm_nav.sim.objects import SceneObject, scene_walls
from mm_nav.sim.relation_phrases import RELATION_KINDS, describe_by_relation
from mm_nav.sim.splits import held_out, is_held_out
from mm_nav.sim.task_world import TaskWorld, generated_task_world
from mm_nav.sim.vocabulary import COLOUR_WORDS

# The shortest way to success is at least this long, metres, in every world that is taken at first.
MIN_DISTANCE_M = 1.5
SEEN_KINDS = ("category", "colour", "synonym")
COMBINATION_KINDS = ("colour", "synonym")
# Size and material tell things apart too, but they are no relations.
RELATIONS = tuple(kind for kind in RELATION_KINDS if kind not in ("size", "material"))

Tasks = tuple[tuple[Episode, ...], TaskWorld]
_Sentences = Callable[[np.random.Generator, TaskWorld, Pose2D], Iterable[tuple[Instruction, ...]]]


@dataclass(frozen=True)
class Suite:
    """A suite. text: what it measures. kinds: of its episodes. make: from a seed to its episodes (two for "swap", else
    one) and their world. lost: the sensor that stops delivering half-way, "" = none. people: who walk about."""

    name: str
    text: str
    kinds: tuple[str, ...]
    make: Callable[[int], Tasks]
    lost: LostSensor = ""
    people: int = 0

    @property
    def turns(self) -> int:
        """How many episodes a seed has."""
        return 2 if self.name == "swap" else 1


def suite_of(name: str) -> Suite:
    """Return a suite by name. Raises ConfigError for an unknown one."""
    if name not in SUITES:
        raise ConfigError(f"suite '{name}' is not known: give one of {', '.join(SUITES)}")
    return SUITES[name]


def suite_episodes(name: str, seed: int, phrases: Sequence[str] = ()) -> Tasks:
    """Return the episodes of a suite's seed, and their world.

    phrases: other people's templates with `{object}` in them, which take turns by seed and stand in place of the suite's
    own; for suites with one thing to go to. Raises ConfigError for an unknown suite or a world without anything to ask for.
    """
    episodes, task = suite_of(name).make(seed)
    if phrases:
        template = phrasing_of(phrases, seed)
        episodes = tuple(replace(e, instruction=fill(template, e.phrases[-1])) for e in episodes)
    return episodes, task


def _draw(name: str, seed: int, sentences: _Sentences) -> Tasks:
    """Return the first of the sentences, in the first of the seed's worlds, whose ways all are long enough to count.

    Where no world has such, the longest way that is not done at the start.
    """
    best: tuple[float, Tasks] | None = None
    for start, task in _worlds(seed):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        for said in sentences(rng, task, start):
            lengths = [task.shortest_path(start, one.steps, step_radii(len(one.steps))) for one in said]
            shortest = min(lengths)
            if not all(math.isfinite(length) for length in lengths) or (best and shortest <= best[0]):
                continue
            turns = ("first", "second") if len(said) > 1 else (said[0].kind,)
            episodes = tuple(
                Episode(seed, kind, one.text, one.steps, one.phrases, start)
                for kind, one in zip(turns, said, strict=True)
            )
            best = shortest, (episodes, task)
            if shortest >= MIN_DISTANCE_M:
                return best[1]
    if best is None or best[0] <= 0.0:
        raise ConfigError(f"no world of seed {seed} has anything that suite '{name}' could ask for: use another seed")
    return best[1]


def _worlds(seed: int) -> Iterator[tuple[Pose2D, TaskWorld]]:
    generated, task = generated_task_world(seed)
    yield generated.start, task
    for style in STYLES:
        if style != generated.style:
            other, task = generated_task_world(seed, style)
            yield other.start, task


def _shuffled(rng: np.random.Generator, objects: Sequence[SceneObject]) -> list[SceneObject]:
    return [objects[index] for index in rng.permutation(len(objects))]


def _all_seen(said: Instruction, task: TaskWorld) -> bool:
    unseen = {item.name for item in held_out(task.objects)}
    return not any(name in unseen for step in said.steps for name in step)


def _seen(seed: int) -> Tasks:
    kind = SEEN_KINDS[seed % len(SEEN_KINDS)]

    def sentences(rng: np.random.Generator, task: TaskWorld, start: Pose2D) -> Iterator[tuple[Instruction, ...]]:
        for target in _shuffled(rng, task.objects):
            said = sample_instruction(rng, target, task.objects, kind)
            if _all_seen(said, task):
                yield (said,)

    return _draw("seen", seed, sentences)


def _combination(seed: int) -> Tasks:
    kind = COMBINATION_KINDS[seed % len(COMBINATION_KINDS)]

    def alike(item: SceneObject, objects: Sequence[SceneObject]) -> bool:
        return any((o.category == item.category) != (o.colour == item.colour) for o in objects)

    def sentences(rng: np.random.Generator, task: TaskWorld, start: Pose2D) -> Iterator[tuple[Instruction, ...]]:
        targets = _shuffled(rng, held_out(task.objects))
        # Something of the same category or colour tells whether both words were heard.
        for target in sorted(targets, key=lambda item: not alike(item, task.objects)):
            yield (sample_instruction(rng, target, task.objects, kind),)

    return _draw("combination", seed, sentences)


def _phrasing(seed: int) -> Tasks:
    """The worlds and targets of suite "seen", asked for in other words."""
    (episode,), task = _seen(seed)
    rng = np.random.default_rng([seed, zlib.crc32(b"phrasing")])
    phrase = episode.phrases[0]
    if episode.kind == "colour" and rng.random() < 0.5:
        item = next(item for item in task.objects if item.name == episode.target_names[0])
        form = HELD_OUT_FORMS[int(rng.integers(len(HELD_OUT_FORMS)))]
        phrase = form.format(n=item.category, c=COLOUR_WORDS[item.colour][0])
    template = HELD_OUT_PHRASINGS[int(rng.integers(len(HELD_OUT_PHRASINGS)))]
    return (replace(episode, instruction=fill(template, phrase), phrases=(phrase,)),), task


def _picture(seed: int) -> Tasks:
    """The worlds of suite "seen"; instead of words, a picture of the target from nearby."""
    (episode,), task = _seen(seed)
    rng = np.random.default_rng([seed, zlib.crc32(b"picture")])
    asked = [item for item in task.objects if item.name in episode.target_names]
    for item in (*_shuffled(rng, asked), *_shuffled(rng, task.objects)):
        names = matching(task.objects, item.category, item.colour)
        length = task.shortest_path(episode.start, (names,), step_radii(1))
        if held_out((item,)) or not MIN_DISTANCE_M <= length < math.inf:
            continue
        pose = picture_pose(task, item, rng)
        if pose is not None:
            return (Episode(seed, "picture", "", (names,), ("",), episode.start, picture_from=pose),), task
    raise ConfigError(f"nothing in the world of seed {seed} can be taken a picture of: use another seed")


def _relation(seed: int) -> Tasks:
    def sentences(rng: np.random.Generator, task: TaskWorld, start: Pose2D) -> Iterator[tuple[Instruction, ...]]:
        walls = scene_walls(task.world)
        by_name = {item.name: item for item in task.objects}
        # The relation is drawn first, or else the most frequent ("not") would be nearly all there is.
        for relation in rng.permutation(RELATIONS):
            for target in _shuffled(rng, task.objects):
                found = describe_by_relation(rng, target, task.objects, walls, start, (str(relation),))
                if found is None or any(
                    is_held_out(by_name[name].category, by_name[name].colour) for name in (*found.names, *found.anchors)
                ):
                    continue
                if all(item.name in found.names for item in task.objects if item.category == target.category):
                    continue  # no distractor
                text = str(rng.choice(TRAIN_TEMPLATES)).format(o=found.text)
                yield (Instruction(text, "relation", (found.names,), (found.text,), found.kind),)

    return _draw("relation", seed, sentences)


def _sequence(seed: int) -> Tasks:
    def sentences(rng: np.random.Generator, task: TaskWorld, start: Pose2D) -> Iterator[tuple[Instruction, ...]]:
        for target in _shuffled(rng, task.objects):
            said = sample_instruction(rng, target, task.objects, "sequence")
            # A first step that is done where the robot starts would leave one step only.
            done = task.is_near(said.steps[0], start.x, start.y, PASSING_RADIUS_M)
            if len(said.steps) == 2 and not done and _all_seen(said, task):
                yield (said,)

    return _draw("sequence", seed, sentences)


def _swap(seed: int) -> Tasks:
    def sentences(rng: np.random.Generator, task: TaskWorld, start: Pose2D) -> Iterator[tuple[Instruction, ...]]:
        template = str(rng.choice(TRAIN_TEMPLATES))
        items = [item for item in _shuffled(rng, task.objects) if item.colour and not held_out((item,))]
        for i, first in enumerate(items):
            for second in items[i + 1 :]:
                pair = [_named(rng, item, task, template) for item in (first, second)]
                names = [said.target_names for said in pair]
                if names[0] == names[1]:
                    continue
                regions = [task.region(name, SUCCESS_RADIUS_M) for name in names]
                if not (regions[0] & regions[1]).any():  # no place counts for both
                    yield tuple(pair)

    return _draw("swap", seed, sentences)


def _named(rng: np.random.Generator, item: SceneObject, task: TaskWorld, template: str) -> Instruction:
    phrase = describe(rng, item.category, item.colour)
    names = matching(task.objects, item.category, item.colour)
    return Instruction(template.format(o=phrase), "colour", (names,), (phrase,))


SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "seen", "pairs of category and colour that training has, in layouts that it never saw", SEEN_KINDS, _seen
        ),
        Suite(
            "combination",
            "pairs of category and colour that training never showed together, beside something of the same category or "
            "colour where the world has one",
            COMBINATION_KINDS,
            _combination,
        ),
        Suite("phrasing", "the worlds and targets of `seen`, in words that training never used", SEEN_KINDS, _phrasing),
        Suite(
            "relation",
            "relations and negation, with something of the same category that does not fit",
            ("relation",),
            _relation,
        ),
        Suite(
            "picture", "the worlds of `seen`; the goal is a picture of a thing, and no words", ("picture",), _picture
        ),
        Suite("sequence", "two things, one after the other", ("sequence",), _sequence),
        Suite(
            "camera_lost", "the episodes of `seen`; half-way the camera stops delivering", SEEN_KINDS, _seen, "camera"
        ),
        Suite("lidar_lost", "the episodes of `seen`; half-way the LiDAR stops delivering", SEEN_KINDS, _seen, "lidar"),
        *(
            Suite(f"people_{n}", f"the episodes of `seen`, with {n} people who walk about", SEEN_KINDS, _seen, people=n)
            for n in (5, 10)
        ),
        Suite("swap", "the same world and start, two things, one sentence for each", ("first", "second"), _swap),
    )
}
