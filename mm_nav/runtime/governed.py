"""A policy that gives up some of its quality while its latency budget is threatened."""

from __future__ import annotations

from collections.abc import Callable

from mm_nav.command import PolicyOutput
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation
from mm_nav.runtime.governor import Governor, GovernorConfig, Level
from mm_nav.runtime.policy import OnnxPolicy

_RIVALS = 13  # of a thing in a colour: four things, nine colours


class GovernedPolicy:
    """A PolicySource that steps down from a model with rivals to the model alone, and on to a lighter one, and back.

    main: the model that is used when there is time. light: a cheaper one, or None. config: the budget. say: told of every change.
    What each level costs is measured here. path: of the main model.
    """

    image_goals = True

    def __init__(
        self,
        main: OnnxPolicy,
        light: OnnxPolicy | None,
        config: GovernorConfig,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._say, self.path, self.knowledge, self.in_thread = say, main.path, main.knowledge, main.in_thread
        ways: list[tuple[str, OnnxPolicy, bool]] = [(main.path.stem, main, False)]
        if main.asks_rivals:
            ways.insert(0, (f"{main.path.stem} with rivals", main, True))
        if light is not None:
            ways.append((light.path.stem, light, False))
        levels: list[Level] = []
        self._ways: list[tuple[OnnxPolicy, bool]] = []
        for name, policy, rivals in ways:
            cost = policy.typical_ms(1 + _RIVALS if rivals else 1)
            # What costs no less than the level before it is no way out.
            if not levels or cost < levels[-1].cost:
                levels.append(Level(name, cost))
                self._ways.append((policy, rivals))
        self.governor = Governor(levels, config)
        self._network_ms: float | None = None

    def prepare(self, goal: PolicyGoal) -> None:
        """Encode the goal's phrases for every level, so that no change of level pays for it."""
        for policy in dict.fromkeys(policy for policy, _ in self._ways):
            policy.prepare(goal)

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        """Ask the present level."""
        policy, rivals = self._ways[self.governor.index]
        policy.asks_rivals = rivals
        output = policy(observation, goal)
        self._network_ms = output.inference_ms - output.preprocess_ms
        return output

    def note(self, latency_ms: float, now_s: float) -> None:
        """Take into account how long a step took from stamp to command."""
        before, p99 = self.governor.level, self.governor.p99_ms
        if self.governor.note(latency_ms, now_s, self._network_ms):
            self._say(
                f"latency budget of {self.governor.config.deadline_ms:.0f} ms: p99 {p99:.0f} ms with {before.name}, "
                f"going on with {self.governor.level.name}"
            )
