"""Without a camera: what was seen is where the map has its outline, and what was not is guessed by outlines."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.mapping.belief import Hypothesis, TargetBelief
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.shapes import shipped_shapes
from mm_nav.navigator_guess import guess, placed
from mm_nav.navigator_perception import Perception
from mm_nav.navigator_state import Doubt
from mm_nav.navigator_targets import Target
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world

CRATE, STOOL = (2.0, 0.0), (2.0, 2.5)


def block(name: str, x: float, y: float, size: tuple[float, float]) -> str:
    geometry = f"<geometry><box><size>{size[0]} {size[1]} 1</size></box></geometry>"
    return (
        f'<model name="{name}"><static>true</static><pose>{x} {y} 0.5 0 0 0</pose><link name="l">'
        f'<collision name="c">{geometry}</collision><visual name="v">{geometry}</visual></link></model>'
    )


@pytest.fixture
def known() -> Perception:
    """What a robot knows that has gone round a crate and a stool of three legs."""
    legs = [
        block(f"leg_{k}", STOOL[0] + dx, STOOL[1] + dy, (0.05, 0.05))
        for k, (dx, dy) in enumerate(((0.14, 0), (-0.1, 0.1), (-0.1, -0.1)))
    ]
    walls = [block("wall_s", 2, -4, (8, 0.1)), block("wall_n", 2, 4, (8, 0.1)), block("wall_w", -2, 0, (0.1, 8))]
    things = "".join([*walls, block("box_1", *CRATE, (0.5, 0.5)), *legs])
    scene = Scene(parse_world(f'<sdf version="1.9"><world name="w">{things}</world></sdf>'))
    grid = OccupancyGrid()
    for x, y in ((0.0, 0.0), (4.0, 0.0), (2.0, -2.0), (2.0, 1.3), (4.0, 2.5), (0.5, 2.5)):
        observation = Simulator(scene, SimConfig(camera=None), start=Pose2D(x, y, 0.3)).observe()
        assert observation.scan is not None
        for _ in range(3):
            grid.update(observation.scan, observation.odometry.pose)
    belief = TargetBelief()
    belief.viewed_from = Pose2D()
    targets = SimpleNamespace(belief=belief)
    return cast(Perception, SimpleNamespace(grid=grid, targets=targets, coverage=CameraCoverage(grid, 4.5)))


@pytest.mark.parametrize("believed", [1.2, 1.75, 2.6], ids=["too near", "right", "too far"])
def test_a_thing_is_where_its_outline_is(believed: float, known: Perception) -> None:
    seen = Target.at(np.array([believed, 0.05]), 0.9)
    found = placed(seen, "box", known, Pose2D(), shipped_shapes())
    assert found.hypothesis.x == pytest.approx(1.75, abs=0.1) and abs(found.hypothesis.y) < 0.3
    assert found.confidence == seen.confidence


def test_where_no_outline_is_a_thing_stays_where_it_was_seen(known: Perception) -> None:
    seen = Target.at(np.array([0.5, -2.5]), 0.9)
    assert placed(seen, "box", known, Pose2D(), shipped_shapes()) is seen


@pytest.mark.parametrize(("seen", "place"), [(False, CRATE), (True, STOOL)])
def test_a_guess_goes_by_outlines_and_by_what_was_half_seen(
    seen: bool, place: tuple[float, float], known: Perception
) -> None:
    if seen:
        known.targets.belief.hypotheses = [Hypothesis(1.9, 2.4, 3.0, 0.1, 2)]
    found = guess("box", known, Pose2D(), (), (), shipped_shapes())
    assert found is not None and math.hypot(found.hypothesis.x - place[0], found.hypothesis.y - place[1]) < 0.5
    doubt = Doubt(np.array([1.8, 2.4]), 0.95)
    found = guess("box", known, Pose2D(), (doubt,), (np.array([1.75, 0.0]),), shipped_shapes())
    assert found is not None and found.hypothesis.y > 2.0, "what was given up is not guessed again"


def test_of_a_thing_without_an_outline_only_what_was_seen_tells(known: Perception) -> None:
    assert guess("", known, Pose2D(), (), (), shipped_shapes()) is None
