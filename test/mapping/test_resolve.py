"""References are resolved over hypotheses: relations, order, negation, and what cannot be told yet."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm_nav.command import Grounding
from mm_nav.geometry import Pose2D
from mm_nav.language import parse_reference
from mm_nav.mapping.belief import BeliefConfig
from mm_nav.mapping.instances import Instance, InstanceBelief
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.resolve import Scene, doubtful, resolve
from mm_nav.mapping.walls import WallMap, WallSegment, find_walls
from mm_nav.navigator_targets import StepTargets
from mm_nav.observation import LaserScan

VIEW = Pose2D(0.0, 0.0, 0.0)
ROOM = WallMap(
    0.0,
    (
        WallSegment(-1.0, -4.0, 9.0, -4.0), WallSegment(-1.0, 4.0, 9.0, 4.0),
        WallSegment(-1.0, -4.0, -1.0, 4.0), WallSegment(9.0, -4.0, 9.0, 4.0),
    ),
)  # fmt: skip


def thing(x: float, y: float, evidence: float = 4.0, side: float = 0.4) -> Instance:
    steps = range(round((x - side / 2) * 10), round((x + side / 2) * 10))
    rows = range(round((y - side / 2) * 10), round((y + side / 2) * 10))
    return Instance(x, y, evidence, 0.01, 10, {(i, j): 1.0 for i in steps for j in rows})


def scene(looked_around: bool = True, **things: list[Instance]) -> Scene:
    beliefs = {}
    for phrase, found in things.items():
        belief = InstanceBelief()
        belief.hypotheses = list(found)
        beliefs[phrase.replace("_", " ")] = belief
    return Scene(beliefs, ROOM, VIEW, looked_around)


def where(phrase: str, known: Scene, settle: bool = False) -> tuple[float, float] | None:
    found = resolve(parse_reference(phrase), known, settle)
    return None if found is None else (found.instance.x, found.instance.y)


NEAR, FAR, TABLE = thing(2.0, 1.0), thing(6.0, -2.0), thing(5.2, -2.0)


def test_next_to_needs_both_and_takes_the_one_that_is() -> None:
    known = scene(the_chair=[NEAR, FAR], the_table=[TABLE])
    assert where("the chair next to the table", known) == (6.0, -2.0)
    assert where("the chair that is not next to the table", known) == (2.0, 1.0)
    alone = scene(the_chair=[NEAR, FAR], the_table=[])
    assert where("the chair next to the table", alone) is None
    assert where("the chair next to the table", alone, settle=True) is not None


def test_what_nothing_stands_next_to_is_searched_for_first() -> None:
    known = scene(the_chair=[NEAR], the_table=[TABLE])
    assert where("the chair next to the table", known) is None
    assert where("the chair next to the table", known, settle=True) == (2.0, 1.0)


def test_a_wall_between_parts_them() -> None:
    walls = WallMap(0.0, (*ROOM.segments, WallSegment(5.6, -3.0, 5.6, -1.0)))
    known = scene(the_chair=[FAR], the_table=[TABLE])
    assert where("the chair next to the table", Scene(known.beliefs, walls, VIEW)) is None


def test_directions_are_seen_from_where_it_was_heard() -> None:
    known = scene(
        the_box=[thing(4.0, 1.2), thing(4.0, -1.2), thing(5.5, 0.0), thing(2.5, 0.0)], the_sofa=[thing(4.0, 0.0)]
    )
    assert where("the box left of the sofa", known) == (4.0, 1.2)
    assert where("the box to the right of the sofa", known) == (4.0, -1.2)
    assert where("the box behind the sofa", known) == (5.5, 0.0)
    assert where("the box in front of the sofa", known) == (2.5, 0.0)
    turned = Scene(known.beliefs, ROOM, Pose2D(8.0, 0.0, math.pi))
    assert where("the box left of the sofa", turned) == (4.0, -1.2)


def test_order_waits_until_the_robot_has_looked_around() -> None:
    boxes = [thing(4.0, 2.0), thing(3.0, 0.0), thing(4.0, -2.0)]
    known, blind = scene(the_box=boxes), scene(False, the_box=boxes)
    assert where("the first box from the left", known) == (4.0, 2.0)
    assert where("the second box from the right", known) == (3.0, 0.0)
    assert where("the rightmost box", known) == (4.0, -2.0) == where("the last box from the left", known)
    assert where("the middle box", known) == where("the nearest box", known) == (3.0, 0.0)
    assert where("the fourth box from the left", known) is None
    assert where("the second box on the left", known) is None and where("the first box on the left", known) == (
        4.0,
        2.0,
    )
    assert where("the nearest box", blind) is None and where("the nearest box", blind, settle=True) is not None
    assert where("the farthest box", scene(the_box=[*boxes, thing(7.0, 0.5)])) == (7.0, 0.5)


def test_size_is_told_by_the_outlines() -> None:
    boxes = [thing(4.0, 2.0, side=0.4), thing(3.0, 0.0, side=0.2), thing(4.0, -2.0, side=0.6)]
    known = scene(the_box=boxes)
    assert where("the biggest box", known) == where("the large box", known) == (4.0, -2.0)
    assert where("the smallest box", known) == where("the little box", known) == (3.0, 0.0)
    alone = scene(the_box=boxes[:1])
    assert where("the big box", alone) == (4.0, 2.0), "it was called big, not bigger than another"
    assert where("the bigger box", alone) is None and where("the bigger box", alone, settle=True) == (4.0, 2.0)
    assert where("the big box", scene(False, the_box=boxes)) is None, "look around first"
    lamps = scene(the_box=boxes, the_lamp=[thing(4.5, -2.0, side=0.2), thing(3.4, 0.2, side=0.2)])
    assert where("the lamp next to the big box", lamps) == (4.5, -2.0)


def test_between_the_corner_and_negation() -> None:
    known = scene(the_bin=[NEAR, thing(8.7, 3.7), thing(4.0, -2.0)], the_lamp=[thing(2.5, -2.0), thing(5.5, -2.0)])
    known.beliefs["the red bin"] = scene(the_red_bin=[thing(2.02, 1.05)]).beliefs["the red bin"]  # type: ignore[index]
    assert where("the bin between the lamp and the lamp", known) == (4.0, -2.0)
    assert where("the bin in the corner", known) == (8.7, 3.7)
    found = resolve(parse_reference("the bin that is not red"), known)
    assert found is not None and (found.instance.x, found.instance.y) != (NEAR.x, NEAR.y)


def test_relations_nest_and_doubt_is_named() -> None:
    tables = [thing(8.7, 3.7), thing(2.0, 2.0)]
    known = scene(the_chair=[thing(8.1, 3.7), thing(2.6, 2.0)], the_table=tables)
    assert where("the chair next to the table in the corner", known) == (8.1, 3.7)
    weak = scene(the_chair=[NEAR], the_table=[thing(5.2, -2.0, evidence=0.0)])
    found = doubtful(parse_reference("the chair next to the table"), weak.beliefs, 0.2, 0.75)
    assert found is not None and found[0] is weak.beliefs["the table"] and found[1].x == 5.2


def view_of(places: list[tuple[float, float]], pose: Pose2D, visible: float = 0.99) -> Grounding:
    """Perfect grounding of square things of 0.4 m."""
    bearings = np.linspace(0.73, -0.73, 48).astype(np.float32)
    counts, ranges = np.zeros(48), np.full(48, 3.0, np.float32)
    for place in sorted(places, key=lambda p: -math.hypot(p[0] - pose.x, p[1] - pose.y)):
        local = pose.inverse().transform(np.array(place))
        distance = float(np.hypot(*local))
        inside = np.abs(bearings - math.atan2(local[1], local[0])) < 0.2 / distance
        counts[inside] = 30.0 / distance
        ranges[inside] = distance - 0.2
    return Grounding(bearings, (counts / counts.sum()).astype(np.float32), ranges, visible)


def test_things_of_one_name_are_kept_apart_and_things_seen_twice_are_one() -> None:
    belief, grid = InstanceBelief(), OccupancyGrid()
    places = [(3.0, 0.5), (3.2, -0.5), (5.5, 1.4)]
    for x in np.linspace(0.0, 1.0, 11):
        pose = Pose2D(float(x), 0.0, 0.0)
        belief.update(view_of(places, pose), pose, grid, 1.5)
    assert len(belief.instances()) == 3
    for place in places:
        assert min(float(np.hypot(*(h.point - place))) for h in belief.hypotheses) < 0.35
    assert all(h.confidence > 0.9 and len(h.outline()) >= 3 for h in belief.instances())


def test_what_is_not_there_any_more_is_forgotten() -> None:
    belief, grid = InstanceBelief(), OccupancyGrid()
    belief.update(view_of([(3.0, 0.0)], VIEW), VIEW, grid, 1.5)
    blank = Grounding(
        *(lambda g: (g.bearings, np.full(48, 1 / 48, np.float32), g.bearing_ranges))(view_of([(3.0, 0.0)], VIEW)), 0.01
    )
    for k in range(20):
        belief.update(blank, Pose2D(VIEW.x, VIEW.y + 0.1 * (k % 2), VIEW.yaw), grid, 1.5)
    assert not belief.hypotheses


@pytest.mark.parametrize("yaw", [0.0, 0.35])
def test_walls_are_found_whatever_way_the_map_is_turned(yaw: float) -> None:
    angles = np.arange(720) * 2 * np.pi / 720 - np.pi
    # A room of 6 x 4 m around the robot, at an angle of yaw.
    c, s = np.cos(angles - yaw), np.sin(angles - yaw)
    with np.errstate(divide="ignore"):
        ranges = np.minimum(3.0 / np.abs(c), 2.0 / np.abs(s)).astype(np.float32)
    grid = OccupancyGrid()
    for _ in range(3):
        grid.update(LaserScan(0, ranges, -math.pi, 2 * math.pi / 720, 0.1, 10.0), Pose2D())
    walls = find_walls(grid)
    assert min(abs(walls.yaw - yaw), abs(walls.yaw - yaw - math.pi / 2)) < 0.04
    assert sorted(w.vertical for w in walls.segments) == [False, False, True, True]
    lengths = sorted(w.x1 - w.x0 + w.y1 - w.y0 for w in walls.segments)
    assert lengths == pytest.approx([4.0, 4.0, 6.0, 6.0], abs=0.3)


def test_when_no_better_is_to_come_the_words_still_decide() -> None:
    targets, grid = StepTargets(BeliefConfig()), OccupancyGrid()
    targets.reset(parse_reference("the biggest box"))
    targets.belief.hypotheses = [thing(2.0, 1.0, evidence=6.0), thing(6.0, -2.0, side=0.8)]
    assert [(h.x, h.y) for h in targets.likely(0.0, grid)] == [(6.0, -2.0)]
    targets.reset(parse_reference("the box"))
    targets.belief.hypotheses = [NEAR, FAR]
    assert targets.likely(0.0, grid) == [NEAR, FAR]
    targets.reset(None)
    assert targets.likely(0.0, grid) == []
