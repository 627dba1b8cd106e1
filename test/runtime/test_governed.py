"""The same policy, with less when time is short."""

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation, Odometry
from mm_nav.resources import resource_path
from mm_nav.runtime.governed import GovernedPolicy
from mm_nav.runtime.governor import GovernorConfig
from mm_nav.runtime.policy import OnnxPolicy

GOAL = PolicyGoal("g", "the red chair")
EAGER = GovernorConfig(deadline_ms=50.0, window=4, settle=2, patience_s=1.0, patience_most_s=4.0)


class Costs(OnnxPolicy):
    """Counts phrases; takes as long as it is told."""

    def __init__(self, milliseconds: float, name: str) -> None:
        super().__init__(resource_path("models/tiny.onnx"), provider="cpu")
        self.path, self._ms, self.asked = self.path.with_name(f"{name}.onnx"), milliseconds, 0

    def typical_ms(self, phrases: int, runs: int = 7) -> float:
        return self._ms * (1.0 + 0.1 * phrases)

    def run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.asked = len(feed["language"])
        return super().run(feed)


def look() -> Observation:
    return Observation(0, Odometry(0, Pose2D()))


def test_levels_are_left_and_taken_again() -> None:
    main, light, said = Costs(6.0, "small"), Costs(3.0, "tiny"), []
    governed = GovernedPolicy(main, light, EAGER, said.append)
    assert [level.name for level in governed.governor.levels] == ["small with rivals", "small", "tiny"]
    asked = []
    for k, latency in enumerate([90.0] * 4 + [5.0] * 60):
        governed(look(), GOAL)
        asked.append((main.asked, light.asked))
        main.asked = light.asked = 0
        governed.note(latency, 0.1 * k)
    assert asked[0] == asked[1] == (14, 0) and asked[2] == (1, 0) and asked[4] == (0, 1)
    assert asked[-1] == (14, 0) and len(said) == 4
    assert "going on with small" in said[0] and "going on with tiny" in said[1] and "with rivals" in said[3]


def test_what_is_no_cheaper_is_no_level() -> None:
    governed = GovernedPolicy(Costs(3.0, "tiny"), Costs(9.0, "small"), EAGER)
    assert [level.name for level in governed.governor.levels] == ["tiny with rivals", "tiny"]


def test_a_policy_says_what_it_takes() -> None:
    policy = OnnxPolicy(provider="cpu")
    assert policy.typical_ms(1, runs=3) > 0.0
