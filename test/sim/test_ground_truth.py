"""The true map: cells, inflation and path lengths."""

from __future__ import annotations

import numpy as np
import pytest

from mm_nav.errors import WorldError
from mm_nav.robot import RobotConfig
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.world import World, parse_world


def world(*boxes: tuple[float, float, float, float, float]) -> World:
    """Boxes (x, y, size x, size y, size z) on the floor, named b0, b1 …"""
    models = "".join(
        f"<model name='b{i}'><pose>{x} {y} {sz / 2} 0 0 0</pose><link name='l'><collision name='c'><geometry><box>"
        f"<size>{sx} {sy} {sz}"
        "</size></box></geometry></collision></link></model>"
        for i, (x, y, sx, sy, sz) in enumerate(boxes)
    )
    return parse_world(f"<sdf version='1.8'><world name='w'>{models}</world></sdf>")


ROOM = (-2.0, -2.0, 2.0, 2.0)


def test_occupied_cells_are_those_under_the_box() -> None:
    truth = GroundTruthMap(world((0.5, 0.25, 0.6, 0.2, 1.0)), bounds=ROOM)
    assert truth.shape == (80, 80) and truth.origin == (-2.0, -2.0)
    rows, columns = np.nonzero(truth.occupied)
    centres = truth.cell_to_world(np.stack([rows, columns], axis=-1))
    assert np.all(np.abs(centres - (0.5, 0.25)) <= (0.3 + 0.05, 0.1 + 0.05))
    inside = truth.world_to_cell(np.array([[0.25, 0.2], [0.75, 0.3]]))
    assert truth.occupied[inside[:, 0], inside[:, 1]].all()


def test_what_the_robot_passes_over_or_under_is_free() -> None:
    assert not GroundTruthMap(world((0, 0, 1, 1, 0.02)), bounds=ROOM).occupied.any()
    assert GroundTruthMap(world((0, 0, 1, 1, 0.1)), bounds=ROOM).occupied.any()
    tall = RobotConfig(ground_clearance_m=0.2, height_m=1.0)
    assert not GroundTruthMap(world((0, 0, 1, 1, 0.1)), tall, bounds=ROOM).occupied.any()


def test_cells_and_points_are_inverse() -> None:
    truth = GroundTruthMap(world(), bounds=ROOM)
    cells = np.argwhere(np.ones(truth.shape, bool))
    assert np.array_equal(truth.world_to_cell(truth.cell_to_world(cells)), cells)
    assert truth.world_to_cell([-1.99, 1.99]).tolist() == [79, 0]
    assert truth.inside(np.array([[0, 0], [-1, 0], [79, 80]])).tolist() == [True, False, False]


def test_traversable_keeps_the_whole_robot_off_the_walls() -> None:
    truth = GroundTruthMap(world((0.0, 0.0, 0.4, 0.4, 1.0)), bounds=ROOM)
    cells = np.argwhere(truth.traversable)
    centres = truth.cell_to_world(cells)
    outside = np.maximum(np.abs(centres) - 0.2, 0)
    assert np.hypot(*outside.T).min() >= RobotConfig().circumscribed_radius - 1e-6
    assert truth.traversable.mean() > 0.8


def test_distance_goes_around_walls() -> None:
    walls = world((0.0, -0.5, 0.1, 3.0, 1.0))  # from y = -2 to y = 1
    truth = GroundTruthMap(walls, bounds=ROOM, resolution=0.05)
    target = np.zeros(truth.shape, bool)
    target[tuple(truth.world_to_cell([-1.0, -1.0]))] = True
    field = truth.distance_field(target)
    here, there = truth.world_to_cell([1.0, -1.0]), truth.world_to_cell([-1.0, 0.0])
    assert field[tuple(there)] == pytest.approx(1.0, abs=0.06)
    # Twice: the tangent from (1, -1) to the robot's circle about the wall's corner, the arc, half the wall's thickness.
    radius, distance = RobotConfig().circumscribed_radius, np.hypot(0.95, 2.0)
    arc = np.pi / 2 - (np.arctan2(0.95, 2.0) - np.arcsin(radius / distance))
    around = 2 * (np.sqrt(distance**2 - radius**2) + radius * arc + 0.05)
    assert around < field[tuple(here)] < around * 1.06
    assert field[target].max() == 0.0
    assert field.dtype == np.float32


def test_an_obstacle_can_be_the_target_and_distance_counts_to_its_surface() -> None:
    truth = GroundTruthMap(world((0.0, 0.0, 0.6, 0.6, 1.0)), bounds=ROOM)
    mask = truth.model_mask("b0")
    assert np.array_equal(mask, truth.occupied)
    field = truth.distance_field(mask)
    assert field[tuple(truth.world_to_cell([1.3, 0.0]))] == pytest.approx(1.0, abs=0.08)


def test_closed_rooms_are_unreachable() -> None:
    box = [(0, 1, 2.1, 0.1, 1), (0, -1, 2.1, 0.1, 1), (1, 0, 0.1, 2.1, 1), (-1, 0, 0.1, 2.1, 1)]
    truth = GroundTruthMap(world(*box), bounds=ROOM)
    target = np.zeros(truth.shape, bool)
    target[40, 40] = True
    field = truth.distance_field(target)
    assert np.isfinite(field[45, 45]) and np.isinf(field[2, 2])
    assert np.all(np.isinf(truth.distance_field(np.zeros(truth.shape, bool))))


def test_no_path_jumps_over_a_thin_wall() -> None:
    tiny = RobotConfig(footprint=((0.005, 0.005), (-0.005, 0.005), (-0.005, -0.005), (0.005, -0.005)))
    truth = GroundTruthMap(world((0.0, 0.026, 9.0, 0.002, 1.0)), tiny, bounds=ROOM)
    assert (~truth.traversable).any(axis=1).sum() == 1  # the wall is one row of cells thick
    target = np.zeros(truth.shape, bool)
    target[tuple(truth.world_to_cell([0.0, -1.0]))] = True
    field = truth.distance_field(target)
    assert np.isfinite(field[10, 10]) and np.all(np.isinf(field[60]))


def test_unknown_model_and_huge_maps_are_refused() -> None:
    with pytest.raises(WorldError, match="no model"):
        GroundTruthMap(world((0, 0, 1, 1, 1)), bounds=ROOM).model_mask("nothing")
    with pytest.raises(WorldError, match="too large"):
        GroundTruthMap(world(), bounds=(0, 0, 1e4, 1e4))
