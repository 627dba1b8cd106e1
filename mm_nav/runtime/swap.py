"""A new model takes over while the robot drives: tried on inputs that were really seen, and given up again when it fails."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mm_nav.command import PolicyOutput
from mm_nav.errors import MmNavError, ModelError
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation

_KEPT = 8  # inputs that a new model is tried on
_PROBATION = 50  # answers after which a new model is trusted
_SUM = 1e-2


class Model(Protocol):
    """An OnnxPolicy, or what governs one."""

    @property
    def path(self) -> Path:
        """The model's file."""

    @property
    def in_thread(self) -> bool:
        """Whether all its work is done by the thread that asks."""

    def prepare(self, goal: PolicyGoal) -> None:
        """Encode the goal's phrases."""

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        """Answer."""


@dataclass(frozen=True)
class Trial:
    """How a new model did. policy: it, ready to be used. inputs: how many it was tried on. difference: mean absolute difference of
    "in view" from what was answered then. slower: how many times as long it took, the fastest run of each."""

    policy: Model
    inputs: int
    difference: float
    slower: float


def faults(output: PolicyOutput) -> str:
    """Return what is wrong with an answer, whatever it says; "" when nothing is."""
    parts = {
        "bearing_probs": output.bearing_probs,
        "bearing_ranges": output.bearing_ranges,
        "waypoints": output.waypoints,
        "waypoint_probs": output.waypoint_probs,
    }
    for name, values in parts.items():
        if not np.isfinite(values).all():
            return f"{name} holds numbers that are not finite"
    for name, value in (("visible", output.visible), ("arrived", output.arrived)):
        if not 0.0 <= value <= 1.0:
            return f"{name} is {value}, no probability"
    for name in ("bearing_probs", "waypoint_probs"):
        if abs(float(parts[name].sum()) - 1.0) > _SUM:
            return f"{name} sums to {float(parts[name].sum()):.3f}, not to 1"
    if (output.bearing_ranges <= 0.0).any():
        return "bearing_ranges holds distances that are not above 0"
    return ""


class SwappablePolicy:
    """A PolicySource whose model can be exchanged. load: opens a model file. most_slower: a new model may take at most so many
    times as long as the present one. say: told of a model that was given up.

    `try_model` may run in another thread meanwhile; everything else belongs to the one that asks.
    """

    image_goals = True

    def __init__(
        self,
        policy: Model,
        load: Callable[[Path], Model],
        most_slower: float = 4.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.policy, self._load, self._most_slower, self._say = policy, load, most_slower, say
        self._recent: deque[tuple[Observation, PolicyGoal, PolicyOutput]] = deque(maxlen=_KEPT)
        self._before: Model | None = None
        self._trusted = 0

    @property
    def on_probation(self) -> bool:
        """Whether the present model has been there for so short a time that the one before is kept ready."""
        return self._before is not None

    def prepare(self, goal: PolicyGoal) -> None:
        """Encode the goal's phrases."""
        self.policy.prepare(goal)

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        """Ask the present model. While it is new, an answer that cannot be ends its time, and the one before answers."""
        output = self._answer(observation, goal)
        self._recent.append((observation, goal, output))
        return output

    def _answer(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        if self._before is None:
            return self.policy(observation, goal)
        try:
            output = self.policy(observation, goal)
            wrong = faults(output)
        except Exception as error:  # whatever a new model does, the robot drives on
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            self._say(
                f"{self.policy.path.name} was given up after {self._trusted} answers ({wrong}): back to {self._before.path.name}"
            )
            self.policy, self._before = self._before, None
            return self.policy(observation, goal)
        self._trusted += 1
        if self._trusted >= _PROBATION:
            self._before = None
        return output

    def try_model(self, path: Path) -> Trial:
        """Open a model and run it on the last inputs. Raises ModelError when it cannot be used; nothing has changed then."""
        try:
            candidate = self._load(path)
        except MmNavError as error:
            raise ModelError(f"{error}; {self.policy.path.name} drives on") from error
        inputs, present = list(self._recent), self.policy.path.name
        differences, fastest = [], {"old": math.inf, "new": math.inf}
        for observation, goal, answered in inputs:
            try:
                candidate.prepare(goal)
                began = time.thread_time()
                output = candidate(observation, goal)
                processor_ms = 1e3 * (time.thread_time() - began)
            except Exception as error:  # whatever a new model does, the robot drives on
                raise ModelError(
                    f"{path.name} failed on an input of this drive ({error}); {present} drives on"
                ) from error
            if wrong := faults(output):
                raise ModelError(f"{path.name} was refused: {wrong}; {present} drives on")
            differences.append(abs(output.visible - answered.visible))
            fastest["old"] = min(fastest["old"], answered.inference_ms)
            # Its thread has to wait for others on a busy machine; it will not, once it drives.
            fastest["new"] = min(fastest["new"], processor_ms if candidate.in_thread else output.inference_ms)
        slower = fastest["new"] / max(fastest["old"], 1e-3) if inputs else 1.0
        if slower > self._most_slower:
            raise ModelError(f"{path.name} takes {slower:.1f} times as long as {present}, which drives on")
        return Trial(candidate, len(inputs), float(np.mean(differences)) if differences else 0.0, slower)

    def take_over(self, trial: Trial) -> None:
        """Use the model of a trial from the next question on. It is on probation for a while."""
        self._before, self.policy, self._trusted = self.policy, trial.policy, 0
