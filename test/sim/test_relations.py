"""Relations on layouts made by hand, and phrases that fit exactly what they say they fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.geometry import Pose2D
from mm_nav.language import parse_instruction
from mm_nav.sim.floor_plan import Wall
from mm_nav.sim.generator import generate_world
from mm_nav.sim.instructions import EXTRA_KINDS, KINDS, relation_instruction, sample_instruction
from mm_nav.sim.objects import SceneObject, name_parts, with_size_words
from mm_nav.sim.relation_phrases import RELATION_KINDS, describe_by_relation
from mm_nav.sim.relations import (
    DIRECTIONS,
    between,
    directed,
    farthest,
    gap,
    in_corner,
    left_to_right,
    nearest,
    next_to,
)

ROOM = (Wall(0.0, 0.0, 0.0, 6.0), Wall(8.0, 0.0, 8.0, 6.0), Wall(0.0, 0.0, 8.0, 0.0), Wall(0.0, 6.0, 8.0, 6.0))
VIEW = Pose2D(1.0, 3.0, 0.0)


def thing(name: str, x: float, y: float, side: float = 0.4, material: str = "") -> SceneObject:
    category, colour = name_parts(name)
    half = side / 2
    square = np.array([(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)])
    return SceneObject(name, category, colour, (x, y), (side, side, side), square, material=material)


def test_gap_is_between_footprints() -> None:
    distance, here, there = gap(thing("red_box_1", 1.0, 1.0), thing("blue_box_1", 3.0, 1.0))
    assert distance == pytest.approx(1.6) and here[0] == pytest.approx(1.2) and there[0] == pytest.approx(2.8)
    assert gap(thing("red_box_1", 1.0, 1.0), thing("blue_box_1", 1.1, 1.1))[0] == 0.0


@pytest.mark.parametrize(("x", "answer"), [(3.9, True), (4.4, None), (5.0, False), (3.1, None)])
def test_next_to_has_a_range_where_it_is_not_clear(x: float, answer: bool | None) -> None:
    assert next_to(thing("red_box_1", x, 3.0), thing("blue_chair_1", 3.0, 3.0)) is answer


def test_a_wall_parts_what_stands_at_its_two_sides() -> None:
    wall = (Wall(3.5, 0.0, 3.5, 6.0),)
    a, b = thing("red_box_1", 3.2, 3.0), thing("blue_chair_1", 3.8, 3.0)
    assert next_to(a, b) is True and next_to(a, b, wall) is False
    assert directed("behind", b, a, VIEW) is True and directed("behind", b, a, VIEW, wall) is False
    assert directed("behind", a, b, VIEW, wall) is None, "the viewer does not see the chair"


@pytest.mark.parametrize(
    ("x", "y", "answer"),
    [
        (4.0, 3.0, True),
        (4.0, 3.6, True),
        (4.0, 4.2, None),
        (4.0, 5.5, False),
        (2.3, 3.0, False),
        (7.0, 3.0, False),
    ],
)
def test_between(x: float, y: float, answer: bool | None) -> None:
    left, right = thing("red_box_1", 2.0, 3.0), thing("blue_chair_1", 6.0, 3.0)
    assert between(thing("red_cone_1", x, y), left, right) is answer
    assert between(thing("red_cone_1", x, y), right, left) is answer


@pytest.mark.parametrize(
    ("x", "y", "answer"),
    [(0.4, 0.4, True), (7.6, 5.6, True), (0.4, 3.0, False), (4.0, 3.0, False), (0.7, 0.4, None)],
)
def test_in_the_corner(x: float, y: float, answer: bool | None) -> None:
    assert in_corner(thing("red_box_1", x, y), ROOM) is answer


def test_the_outside_of_a_corner_is_none() -> None:
    bend = (Wall(0.0, 0.0, 0.0, 3.0), Wall(0.0, 0.0, 3.0, 0.0))
    assert in_corner(thing("red_box_1", 0.4, 0.4), bend) is True
    assert in_corner(thing("red_box_1", -0.4, -0.4), bend) is False


@pytest.mark.parametrize(
    ("which", "x", "y"),
    [("left", 4.0, 4.0), ("right", 4.0, 2.0), ("front", 3.0, 3.0), ("behind", 5.0, 3.0)],
)
def test_directions_are_the_viewers(which: str, x: float, y: float) -> None:
    sofa, item = thing("red_sofa_1", 4.0, 3.0), thing("blue_box_1", x, y)
    assert directed(which, item, sofa, VIEW) is True
    assert [directed(other, item, sofa, VIEW) for other in DIRECTIONS if other != which] == [False] * 3
    # From the other side of the room it is the other way round.
    opposite = {"left": "right", "right": "left", "front": "behind", "behind": "front"}[which]
    assert directed(opposite, item, sofa, Pose2D(7.0, 3.0, 3.14)) is True
    assert directed(which, thing("blue_box_1", 4.8, 3.75), sofa, VIEW) in (None, False), "on the diagonal"


@given(st.floats(-3.1, 3.1), st.floats(0.6, 6.0), st.floats(-3.1, 3.1), st.floats(-50.0, 50.0))
def test_at_most_one_direction_holds_wherever_one_looks_from(
    angle: float, distance: float, turn: float, shift: float
) -> None:
    """And turning and moving everything together changes no answer."""
    a, b = (4.0 + distance * np.cos(angle), 3.0 + distance * np.sin(angle)), (4.0, 3.0)
    item, other = thing("blue_box_1", *a, side=0.1), thing("red_sofa_1", *b, side=0.1)
    answers = [directed(which, item, other, VIEW) for which in DIRECTIONS]
    assert answers.count(True) <= 1

    def moved(p: tuple[float, float]) -> tuple[float, float]:
        x, y = p
        return x * np.cos(turn) - y * np.sin(turn) + shift, x * np.sin(turn) + y * np.cos(turn) - shift

    view = Pose2D(*moved((VIEW.x, VIEW.y)), VIEW.yaw + turn)
    there = [thing("blue_box_1", *moved(a), side=0.1), thing("red_sofa_1", *moved(b), side=0.1)]
    for which, answer in zip(DIRECTIONS, answers, strict=True):
        after = directed(which, there[0], there[1], view)
        # The squares do not turn with the scene, so a distance near a threshold may change an answer to unclear.
        assert after == answer or None in (after, answer) or distance > 2.0


def test_nearest_and_farthest_need_a_clear_difference() -> None:
    chairs = [thing("red_chair_1", 2.0, 3.0), thing("blue_chair_1", 4.0, 3.0), thing("green_chair_1", 7.0, 3.0)]
    found = nearest(chairs, VIEW)
    assert found is not None and found.name == "red_chair_1"
    last = farthest(chairs, VIEW)
    assert last is not None and last.name == "green_chair_1"
    assert nearest([chairs[0], thing("grey_chair_1", 2.3, 3.0)], VIEW) is None
    assert nearest(chairs[:1], VIEW) is None, "of one there is no nearest"
    hidden = (Wall(1.5, 0.0, 1.5, 6.0),)
    assert nearest(chairs, VIEW, hidden) is None and farthest(chairs, VIEW, hidden) is None


def test_counting_goes_from_left_to_right_as_seen() -> None:
    chairs = [thing("red_chair_1", 4.0, 2.0), thing("blue_chair_1", 4.0, 4.0), thing("green_chair_1", 5.0, 3.0)]
    ordered = left_to_right(chairs, VIEW)
    assert ordered is not None and [c.colour for c in ordered] == ["blue", "green", "red"]
    assert left_to_right(chairs, Pose2D(1.0, 3.0, 3.0)) is None, "they are behind the robot"
    assert left_to_right([*chairs, thing("grey_chair_1", 6.0, 3.0)], VIEW) is None, "two in one line"


LAYOUT = (
    thing("red_chair_1", 3.0, 3.0, material="wood"),
    thing("blue_chair_1", 6.5, 5.0, material="wood"),
    thing("green_table_1", 3.9, 3.0, 0.8, material="plastic"),
    thing("red_box_1", 0.4, 0.4, material="cardboard"),
    thing("red_box_2", 5.5, 1.5, 0.7, material="wood"),
)


def phrase(target: int, kind: str, seed: int = 0) -> str:
    found = describe_by_relation(np.random.default_rng(seed), LAYOUT[target], LAYOUT, ROOM, VIEW, [kind])
    assert found is not None and LAYOUT[target].name in found.names and found.kind == kind
    return found.text


def test_phrases_say_what_is_there() -> None:
    assert phrase(0, "next_to") in (
        "the chair next to the table",
        "the chair beside the table",
        "the chair by the table",
    )
    assert phrase(3, "corner") == "the box in the corner"
    assert phrase(0, "not") in ("the chair that is not blue", "the chair which is not blue")
    assert phrase(0, "nearest") in ("the nearest chair", "the closest chair")
    assert phrase(4, "material") in ("the wooden box", "the box made of wood")
    assert describe_by_relation(np.random.default_rng(0), LAYOUT[0], LAYOUT, ROOM, VIEW, ["corner", "between"]) is None


def test_two_things_of_one_name_are_nothing_to_refer_to() -> None:
    boxes = [thing("red_box_1", 3.0, 3.0), thing("red_box_2", 6.0, 3.0), thing("blue_chair_1", 3.7, 3.0)]
    assert describe_by_relation(np.random.default_rng(0), boxes[2], boxes, ROOM, VIEW, ["next_to"]) is None
    # And where a second one of the kind might be meant, nothing is said.
    chairs = [thing("red_box_1", 3.0, 3.0), thing("blue_chair_1", 3.7, 3.0), thing("red_chair_1", 3.0, 4.3)]
    assert describe_by_relation(np.random.default_rng(0), chairs[1], chairs, ROOM, VIEW, ["next_to"]) is None


def test_without_a_viewpoint_nothing_depends_on_one() -> None:
    for seed in range(20):
        for target in LAYOUT:
            found = describe_by_relation(np.random.default_rng(seed), target, LAYOUT, ROOM)
            assert found is None or not found.seen_from


@pytest.mark.parametrize("style", ["cluttered", "maze", "storeroom", "warehouse"])
def test_relations_of_generated_worlds_are_all_found_somewhere_and_true(style: str) -> None:
    seen = set()
    for seed in range(3):
        world = generate_world(seed, style, "textured")
        by_name = {item.name: item for item in world.objects}
        for target in world.objects:
            rng = np.random.default_rng([seed, len(target.name), int(100 * abs(target.center[0]))])
            found = describe_by_relation(rng, target, world.objects, world.walls, world.start)
            if found is None:
                continue
            seen.add(found.kind)
            assert target.name in found.names
            assert {by_name[name].category for name in found.names} == {target.category}
            if found.kind in DIRECTIONS:
                anchor = by_name[found.anchors[0]]
                fits = [
                    item.name
                    for item in world.objects
                    if item.category == target.category
                    and directed(found.kind, item, anchor, world.start, world.walls) is not False
                ]
                assert fits == [target.name]
    assert len(seen) >= 4 and seen <= set(RELATION_KINDS)


def test_relation_sentences_are_understood_and_fall_back_openly() -> None:
    assert not set(KINDS) & set(EXTRA_KINDS)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        target = LAYOUT[rng.integers(len(LAYOUT))]
        said = relation_instruction(rng, target, LAYOUT, ROOM, VIEW, relations=["next_to", "between", "corner", "left"])
        if said is not None:
            assert said.kind == "relation" and said.relation and said.phrases[0] in said.text
            assert parse_instruction(said.text)[-1].phrase.endswith(said.phrases[0].split()[-1]), said.text
    alone = [LAYOUT[0]]
    assert sample_instruction(np.random.default_rng(0), alone[0], alone, "relation").kind == "colour"


def test_size_words_need_a_clear_difference() -> None:
    def words(*sides: float) -> list[str]:
        things = [thing(f"red_box_{k}", 2.0 * k, 0.0, side) for k, side in enumerate(sides)]
        corners = [np.array([(x, y, z) for x, y in item.footprint for z in (0.0, item.size[2])]) for item in things]
        return [item.size_word for item in with_size_words(things, corners)]

    assert words(0.4, 0.42) == ["", ""] and words(0.4) == [""]
    assert words(0.4, 0.42, 0.7) == ["small", "small", "large"]
