"""Worlds that others made: everything in them is found, and they are where their makers put them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.robot import RobotConfig
from mm_nav.sim.contacts import contact_world
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf_geometry import Cylinder
from mm_nav.sim.world import load_world

SHARED = Path(__file__).parents[2].parent / "shared"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the worlds in {SHARED.name}/, which is not here")

# Geometry counts by hand from the files: visuals + collisions.
WORLDS = {
    "turtlebot3/worlds/turtlebot3_world.world": 32,
    "turtlebot3/worlds/turtlebot3_house.world": 214,
    "turtlebot3/worlds/turtlebot3_dqn_stage1.world": 10,
    "turtlebot3/worlds/turtlebot3_dqn_stage2.world": 18,
    "turtlebot3/worlds/turtlebot3_dqn_stage3.world": 18,
    "turtlebot3/worlds/turtlebot3_dqn_stage4.world": 28,
    "turtlebot3/worlds/empty_world.world": 2,
    "aws_small_warehouse/worlds/small_warehouse.world": 52,
    "aws_small_warehouse/worlds/no_roof_small_warehouse.world": 50,
}


@pytest.mark.parametrize("name", WORLDS)
def test_world_loads_completely(name: str) -> None:
    world = load_world(SHARED / "worlds" / name)
    assert world.missing == ()
    assert world.geometry_count == WORLDS[name]
    assert all("geometry" not in entry for entry in world.unsupported)


def test_a_world_whose_models_are_not_here_still_loads() -> None:
    world = load_world(SHARED / "worlds/turtlebot3/worlds/turtlebot3_autorace_2020.world")
    assert "model://turtlebot3_autorace_2020/course" in world.missing
    assert world.geometry_count == 22


def test_sizes_are_metres() -> None:
    house = load_world(SHARED / "worlds/turtlebot3/worlds/turtlebot3_house.world").bounds
    assert np.allclose(house[1] - house[0], [15.16, 10.7, 2.5], atol=0.05)
    warehouse = load_world(SHARED / "worlds/aws_small_warehouse/worlds/small_warehouse.world")
    assert np.allclose((warehouse.bounds[1] - warehouse.bounds[0])[:2], [14.0, 20.92], atol=0.05)
    assert Scene(warehouse).floor_z == pytest.approx(0.0342, abs=1e-3)
    arena = load_world(SHARED / "worlds/turtlebot3/worlds/turtlebot3_world.world")
    scene = Scene(arena)
    # Nine pillars of 0.15 m stand 1.1 m apart around the origin.
    origins = np.array([[0, 0.55, 0.25]], np.float32)
    assert scene.distances(origins, np.array([[0, -1, 0]], np.float32)) == pytest.approx(0.55 - 0.15, abs=1e-3)


def test_house_has_doors_that_the_robot_fits_through() -> None:
    scene = Scene(load_world(SHARED / "worlds/turtlebot3/worlds/turtlebot3_house.world"))
    truth = GroundTruthMap(scene)
    target = np.zeros(truth.shape, bool)
    target[tuple(truth.world_to_cell([-6.0, 3.0]))] = True
    field = truth.distance_field(target)
    assert np.isfinite(field[tuple(truth.world_to_cell([3.0, 3.0]))])


@pytest.mark.parametrize("number", [1, 43, 85, 127, 169, 211, 253, 295])
def test_barn_obstacles_equal_the_published_ones(number: int) -> None:
    world = load_world(SHARED / "barn" / "worlds" / f"world_{number}.world")
    published = np.load(SHARED / "barn" / "barn_public.npz")[f"cyl_{number}"]
    centres = []
    for model in world.models:
        for shape in model.collisions:
            if isinstance(shape.geometry, Cylinder):
                assert shape.geometry == Cylinder(0.075, 1.0)
                centres.append(shape.pose[:2, 3])
    found = np.array(centres)
    assert len(found) == len(published)
    order = [np.lexsort(np.round(points, 3).T) for points in (found, published)]
    assert np.abs(found[order[0]] - published[order[1]]).max() < 1e-5
    contacts = contact_world(Scene(world), RobotConfig())
    point = RobotConfig().footprint_array() * 0.01
    x, y = found[0]
    assert contacts.touching(point, Pose2D(x, y)) is not None
