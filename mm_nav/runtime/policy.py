"""The policy at run time: observation and goal in, PolicyOutput out, through ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_nav.command import Grounding, PolicyOutput
from mm_nav.errors import ModelError
from mm_nav.goal import PolicyGoal
from mm_nav.language.encoder import shared_encoder
from mm_nav.language.knowledge import Knowledge
from mm_nav.observation import Observation
from mm_nav.resources import resource_path
from mm_nav.runtime.accelerated import MOST_PHRASES, open_model
from mm_nav.runtime.binding import BoundSession
from mm_nav.runtime.contrast import Question, question, question_among
from mm_nav.runtime.manifest import load_manifest
from mm_nav.runtime.memory import FrameMemory
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.runtime.session import PROVIDERS
from mm_nav.sensing.deskew import all_at_once

# Something that says what the policy thinks of an observation; None when no answer came in time.
PolicySource = Callable[[Observation, PolicyGoal], PolicyOutput | None]

# Those of the observation have batch 1; those of what is asked have one row a phrase.
INPUTS = (
    "image", "image_present", "rays", "ranges", "ranges_valid", "memory", "memory_pose", "memory_present",
    "language", "language_mask", "pose", "goal", "goal_present",
)  # fmt: skip
# Inputs with a row for each phrase.
OF_PHRASES = ("language", "language_mask", "pose", "goal", "goal_present")
OUTPUTS = ("bearing_probs", "bearing_ranges", "heatmap", "visible", "arrived", "waypoints", "waypoint_probs", "notes")

# Of a goal: the questions, the row of each phrase, embeddings (N, tokens, width) and mask (N, tokens).
Asked = tuple[tuple[Question, ...], dict[str, int], npt.NDArray[np.float32], npt.NDArray[np.float32]]


def default_model() -> Path:
    """Return the path of the model that is committed with the stack."""
    return resource_path("models/tiny.onnx")


class OnnxPolicy:
    """Callable PolicySource on an exported model. Remembers the last few places of a goal (see `runtime.memory`).

    provider: "auto", "tensorrt", "cuda" or "cpu". memory: False = every frame is looked at as if it were the first. rivals:
    also ask for what a named thing is easily taken for, and believe it the less the more that is seen in its place; of what was
    never taught together, ask for the parts (see `runtime.contrast`). precision: of a TensorRT engine (see
    `runtime.accelerated`). say: told of what takes long.
    Raises ModelError when the model or its manifest is missing, broken or made for other inputs, ConfigError for an unknown
    provider or precision.
    """

    # Goals that are only a picture are understood.
    image_goals = True

    def __init__(
        self,
        model: Path | None = None,
        provider: str = "auto",
        threads: int = 1,
        memory: bool = True,
        rivals: bool = True,
        precision: str = "auto",
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path = model or default_model()
        self.manifest, self.config = load_manifest(self.path)
        self._session = open_model(self.path, provider, threads, precision, self.manifest.preprocessing, say)
        self._bound = BoundSession(self._session, OUTPUTS)
        # Whether all its work is done by the thread that asks.
        self.in_thread = threads == 1 and self._session.get_providers()[0] == PROVIDERS["cpu"]
        names = tuple(item.name for item in self._session.get_inputs())
        if set(names) != set(INPUTS):
            raise ModelError(f"{self.path} reads {sorted(names)}, a policy reads {sorted(INPUTS)}: export it again")
        # Nothing sensed, remembered or asked for, as one phrase; the one axis without a size is the phrases'.
        self._nothing = {
            item.name: np.zeros([size if isinstance(size, int) else 1 for size in item.shape], np.float32)
            for item in self._session.get_inputs()
        }
        self.preprocess = Preprocessor(self.config)
        self._encoder = shared_encoder(self.config.language_tokens, self.config.language_parts)
        self._remembers, self._memory = memory, FrameMemory(self.config)
        self._goal_id = ""
        self._portrait: tuple[str, npt.NDArray[np.float32]] | None = None
        self.asks_rivals = rivals
        # What the model can name; the encoder is shared, since a goal's words are looked at only once.
        known = self.manifest
        self.knowledge = Knowledge(known.categories, lambda: self._encoder, known.colours, known.untaught)
        self._asked: tuple[tuple[tuple[str, ...], bool], Asked] | None = None

    def prepare(self, goal: PolicyGoal) -> None:
        """Encode the goal's phrases now, so that the first step does not pay for it."""
        self._asked_of(goal)

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        """Run the network once, for all phrases of the goal."""
        started = time.perf_counter()
        observation = all_at_once(observation)
        self._begin(goal)
        portrait = self._portrait_of(goal)
        pose = observation.odometry.pose
        image, present, geometry = self.preprocess.image(observation.image)
        ranges, valid = self.preprocess.scan(observation.scan)
        memory, memory_pose, memory_present = self._memory.recall(observation.stamp_ns, pose)
        questions, rows, language, mask = self._asked_of(goal)
        goals, goal_present = self._no_goal(len(rows))
        if portrait is not None:
            goals[0], goal_present[0] = portrait, 1.0
        feed = {
            "image": image,
            "image_present": present,
            "rays": geometry.rays[None],
            "ranges": ranges,
            "ranges_valid": valid,
            "memory": memory,
            "memory_pose": memory_pose,
            "memory_present": memory_present,
            "language": language,
            "language_mask": mask,
            "pose": np.repeat(self.preprocess.pose(goal.pose, pose), len(rows), axis=0),
            "goal": goals,
            "goal_present": goal_present,
        }
        prepared = time.perf_counter()
        out = self.run(feed)
        camera = float(present[0, 0]) > 0
        if camera and self._remembers:
            self._memory.add(pose, out["notes"][0, : self.config.memory_tokens])
        # Without a picture, or when nothing is asked for, nothing can be in view, whatever the network says.
        asked = camera & (mask.any(axis=1) | (goal_present[:, 0] > 0))
        visible = [self._answer(q, rows, out) if asked[rows[q.phrase]] else 0.0 for q in questions]
        others = tuple(
            Grounding(
                geometry.column_bearings,
                out["bearing_probs"][rows[q.phrase]],
                out["bearing_ranges"][rows[q.phrase]],
                seen,
            )
            for q, seen in zip(questions[1:], visible[1:], strict=True)
        )
        return PolicyOutput(
            stamp_ns=observation.stamp_ns,
            goal_id=goal.id,
            bearings=geometry.column_bearings,
            bearing_probs=out["bearing_probs"][0],
            bearing_ranges=out["bearing_ranges"][0],
            visible=visible[0],
            arrived=float(out["arrived"][0]) if asked[0] else 0.0,
            waypoints=out["waypoints"][0],
            waypoint_probs=out["waypoint_probs"][0],
            heatmap=out["heatmap"][0] if camera else None,
            inference_ms=1e3 * (time.perf_counter() - started),
            others=others,
            preprocess_ms=1e3 * (prepared - started),
        )

    def remembered(self) -> tuple[str, FrameMemory]:
        """Return what it remembers of a goal, for `remember`."""
        return self._goal_id, self._memory.copy()

    def remember(self, state: tuple[str, FrameMemory]) -> None:
        """Go back to what was remembered once."""
        self._goal_id, self._memory = state[0], state[1].copy()

    def nothing(self, phrases: int) -> dict[str, npt.NDArray[np.float32]]:
        """Return inputs that say that nothing is sensed, remembered or asked for, with rows for so many phrases."""
        return {
            name: np.repeat(value, phrases, axis=0) if name in OF_PHRASES else value
            for name, value in self._nothing.items()
        }

    def run(self, feed: dict[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the network's outputs by name, for inputs by name."""
        return self._bound.run(feed)

    def typical_ms(self, phrases: int, runs: int = 7) -> float:
        """Return how long the network takes for so many phrases, here and now: the median of some runs, ms."""
        feed, times = self.nothing(phrases), []
        for _ in range(runs):
            started = time.perf_counter()
            self.run(feed)
            times.append(1e3 * (time.perf_counter() - started))
        return float(np.median(times))

    def _asked_of(self, goal: PolicyGoal) -> Asked:
        """Return what is asked at every step of a goal; it is put together once."""
        key = (goal.phrase, *goal.others), self.asks_rivals
        if self._asked is None or self._asked[0] != key:
            questions = self._questions(*key)
            # A phrase that several questions need is looked for once; the goal's is the first.
            rows = {phrase: row for row, phrase in enumerate(dict.fromkeys(p for q in questions for p in q.phrases))}
            words = [self._encoder.encode(phrase) for phrase in rows]
            language, mask = (np.stack(arrays) for arrays in zip(*words, strict=True))
            self._asked = key, (questions, rows, language, mask)
        return self._asked[1]

    def _questions(self, phrases: tuple[str, ...], rivals: bool) -> tuple[Question, ...]:
        """Return what to ask about each phrase of a goal, its own the first.

        What is too much at once is left out.
        """
        phrases = phrases[:MOST_PHRASES]
        if not rivals:
            return tuple(map(Question, phrases))
        head, *others = phrases
        questions = [question(head, self.knowledge).without(phrases)]
        questions += [question_among(other, head, self.knowledge) for other in others]
        left = MOST_PHRASES - len(phrases)
        for k, q in enumerate(questions):
            left -= len(q.phrases) - 1
            questions[k] = q if left >= 0 else Question(q.phrase)
        return tuple(questions)

    @staticmethod
    def _answer(asked: Question, rows: dict[str, int], out: dict[str, npt.NDArray[np.float32]]) -> float:
        among = [rows[phrase] for phrase in asked.phrases]
        return asked.answer(out["visible"][among], out["bearing_probs"][among])

    def _begin(self, goal: PolicyGoal) -> None:
        """Forget what was seen for another goal; the steps of one goal share what is remembered."""
        whole = goal.id.split("/")[0]
        if whole != self._goal_id:
            self._memory.forget()
            self._goal_id = whole

    def _no_goal(self, phrases: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        c = self.config
        return np.zeros((phrases, c.goal_tokens, c.width), np.float32), np.zeros((phrases, 1), np.float32)

    def _portrait_of(self, goal: PolicyGoal) -> npt.NDArray[np.float32] | None:
        """Return what the goal's picture shows (goal_tokens, width); words, where there are any, say it better."""
        if goal.image is None or goal.phrase:
            return None
        if self._portrait is None or self._portrait[0] != goal.id:
            image, geometry = self.preprocess.picture(goal.image)
            shown = {"image": image, "image_present": np.ones((1, 1), np.float32), "rays": geometry.rays[None]}
            out = self.run({**self._nothing, **shown})
            self._portrait = goal.id, out["notes"][0, self.config.memory_tokens :].copy()
        return self._portrait[1]
