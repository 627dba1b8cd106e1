"""Things are found in the map and told by their outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.shapes import Shape, find_shapes, load_shapes, shipped_shapes
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world


def block(name: str, x: float, y: float, size: tuple[float, float]) -> str:
    geometry = f"<geometry><box><size>{size[0]} {size[1]} 1</size></box></geometry>"
    return (
        f'<model name="{name}"><static>true</static><pose>{x} {y} 0.5 0 0 0</pose><link name="l">'
        f'<collision name="c">{geometry}</collision><visual name="v">{geometry}</visual></link></model>'
    )


@pytest.fixture(scope="module")
def shapes() -> list[Shape]:
    """Of a room with a crate and a stool of three legs, scanned from its corners."""
    legs = [
        block(f"leg_{k}", 1.5 + dx, 1.0 + dy, (0.05, 0.05))
        for k, (dx, dy) in enumerate(((0.14, 0), (-0.1, 0.1), (-0.1, -0.1)))
    ]
    walls = [block("wall_s", 0, -3, (8, 0.1)), block("wall_n", 0, 3, (8, 0.1)), block("wall_w", -4, 0, (0.1, 6)),
             block("wall_e", 4, 0, (0.1, 6))]  # fmt: skip
    things = "".join([*walls, block("box_1", -1.0, -0.5, (0.7, 0.5)), *legs])
    scene = Scene(parse_world(f'<sdf version="1.9"><world name="w">{things}</world></sdf>'))
    grid = OccupancyGrid()
    for x, y in ((-3.0, -2.0), (3.0, -2.0), (3.0, 2.0), (-3.0, 2.0), (0.5, 0.5)):
        observation = Simulator(scene, SimConfig(camera=None), start=Pose2D(x, y, 0.3)).observe()
        assert observation.scan is not None
        for _ in range(3):
            grid.update(observation.scan, observation.odometry.pose)
    return find_shapes(grid)


def test_things_are_found_and_walls_are_not(shapes: list[Shape]) -> None:
    centers = sorted(shape.center.tolist() for shape in shapes)
    assert len(shapes) == 2, centers
    np.testing.assert_allclose(centers, [(-1.0, -0.5), (1.45, 1.0)], atol=0.15)


def test_outlines_tell_a_crate_from_a_stool(shapes: list[Shape]) -> None:
    crate, stool = sorted(shapes, key=lambda shape: float(shape.center[0]))
    told = shipped_shapes()
    of_crate, of_stool = told.probabilities(crate), told.probabilities(stool)
    assert sum(of_crate.values()) == pytest.approx(1.0)
    assert of_crate["box"] > 0.3 > of_crate["stool"] and of_stool["stool"] > of_stool["box"]


def test_an_empty_map_has_nothing() -> None:
    assert find_shapes(OccupancyGrid()) == []


def test_files_are_written_and_read(tmp_path: Path, shapes: list[Shape]) -> None:
    path = tmp_path / "s.json"
    shipped_shapes().write(path)
    again = load_shapes(path)
    assert again.names == shipped_shapes().names and again.training["worlds"] >= 100
    for name, probability in again.probabilities(shapes[0]).items():
        assert probability == pytest.approx(shipped_shapes().probabilities(shapes[0])[name], abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"format": 1', '"format": 2'), ('"means": [[', '"means": [[NaN, '), ('"priors"', '"prior"'), ("{", "[")],
)
def test_broken_files_are_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "s.json"
    shipped_shapes().write(path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match="mm-nav shapes"):
        load_shapes(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_shapes(tmp_path / "none.json")
