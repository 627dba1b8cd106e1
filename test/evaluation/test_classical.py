"""The baseline without learning, on pictures of known things in known places."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from mm_nav.evaluation.classical import SHAPES, ClassicalPolicy, fit, words_of
from mm_nav.evaluation.classical_regions import COLOUR_RANGES, find_regions
from mm_nav.geometry import Pose2D
from mm_nav.goal import PolicyGoal
from mm_nav.sim.catalogue import COLOURS
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

BARREL = (3.0, 0.8)
BOX = (2.4, -0.9)


def model(name, shape, x, y, z, rgb):
    colour = " ".join(str(v) for v in rgb)
    return f"""<model name='{name}'><static>true</static><pose>{x} {y} {z} 0 0 0</pose><link name='l'>
      <collision name='c'><geometry>{shape}</geometry></collision>
      <visual name='v'><geometry>{shape}</geometry><material><ambient>{colour} 1</ambient><diffuse>{colour} 1</diffuse>
      </material></visual></link></model>"""


def cylinder(radius, length):
    return f"<cylinder><radius>{radius}</radius><length>{length}</length></cylinder>"


def box(x, y, z):
    return f"<box><size>{x} {y} {z}</size></box>"


@pytest.fixture(scope="module")
def room():
    """A grey wall 6 m ahead; before it a red barrel on the left and a blue box on the right."""
    models = [
        model("wall_1", box(0.1, 12, 2.5), 6, 0, 1.25, (0.6, 0.6, 0.58)),
        model("red_barrel_1", cylinder(0.28, 0.85), *BARREL, 0.425, (0.75, 0.09, 0.09)),
        model("blue_box_1", box(0.5, 0.5, 0.5), *BOX, 0.25, (0.1, 0.27, 0.7)),
    ]
    sdf = f"<sdf version='1.9'><world name='room'>{''.join(models)}</world></sdf>"
    config = SimConfig(camera=CameraConfig(width=192, height=144))
    return Simulator(Scene(parse_world(sdf)), config, seed=1, start=Pose2D())


def asked(room, *phrases):
    return ClassicalPolicy()(room.observe(), PolicyGoal("1", phrases[0], None, None, phrases[1:]))


@pytest.mark.parametrize(
    ("phrase", "place", "half_width"), [("the red barrel", BARREL, 0.28), ("the blue box", BOX, 0.25)]
)
def test_named_thing_is_where_it_stands(room, phrase, place, half_width):
    output = asked(room, phrase)
    bearing = float((output.bearings * output.bearing_probs).sum())
    reach = float(output.bearing_ranges[np.argmax(output.bearing_probs)])
    assert output.visible > 0.6 and output.arrived == 0.0
    # From base_link; the camera sits 12 cm before it.
    assert bearing == pytest.approx(math.atan2(place[1], place[0] - 0.12), abs=0.05)
    assert reach == pytest.approx(math.hypot(*place) - half_width, abs=0.12)
    assert output.bearing_probs.sum() == pytest.approx(1.0) and len(output.waypoints) == 0


@pytest.mark.parametrize("phrase", ["the blue barrel", "the red box", "the green barrel", "the sofa", "the black lamp"])
def test_what_is_not_there_is_not_seen(room, phrase):
    assert asked(room, phrase).visible < 0.3


def test_synonyms_categories_alone_and_colours_alone(room):
    synonym = asked(room, "the crimson drum", "the barrel", "something red")
    assert synonym.visible > 0.6
    category, colour = synonym.others
    assert category.visible > 0.35 and colour.visible > 0.6
    for found in (category, colour):
        assert found.bearings[np.argmax(found.bearing_probs)] > 0.1


def test_measures_are_metric(room):
    seen = room.observe()
    regions = find_regions(seen.image.rgb, seen.image.intrinsics, seen.image.base_T_camera, seen.scan)
    (barrel,) = [r for r in regions if r.colour == "red"]
    width, bottom, top = barrel.measures(barrel.distances[0])
    assert width == pytest.approx(0.56, abs=0.1)
    assert bottom == pytest.approx(0.0, abs=0.05) and top == pytest.approx(0.85, abs=0.06)
    assert fit(barrel, SHAPES["barrel"]) > 0.9 > 0.1 > fit(barrel, SHAPES["lamp"])


def test_without_picture_or_scan_nothing_is_in_view(room):
    seen = room.observe()
    goal = PolicyGoal("1", "the red barrel")
    blind = ClassicalPolicy()(dataclasses.replace(seen, image=None), goal)
    assert blind.visible == 0.0 and blind.heatmap is None
    deaf = ClassicalPolicy()(dataclasses.replace(seen, scan=None), goal)
    assert deaf.visible == 0.0 and deaf.heatmap is not None


@pytest.mark.parametrize(
    ("phrase", "meant"),
    [
        ("the crimson drum", ("barrel", "red")),
        ("any potted plant", ("plant", "")),
        ("trash can that is navy", ("bin", "blue")),
        ("the thing", ("thing", "")),
        ("something orange", ("thing", "orange")),
        ("shelves", ("shelf", "")),
    ],
)
def test_words_of_a_phrase(phrase, meant):
    assert words_of(phrase) == meant


def test_every_colour_of_the_worlds_has_a_range():
    assert set(COLOUR_RANGES) == set(COLOURS)
