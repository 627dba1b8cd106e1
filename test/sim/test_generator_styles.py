"""Warehouses, mazes, store rooms and textured looks: reachable, whole, and the same for a seed."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from mm_nav.errors import ConfigError
from mm_nav.robot import RobotConfig
from mm_nav.sim.generator import ALL_STYLES, EXTRA_STYLES, GeneratedWorld, generate_world
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.maze import make_maze
from mm_nav.sim.objects import scene_objects, scene_walls
from mm_nav.sim.world import World, load_world, parse_world


def reached(generated: GeneratedWorld, world: World) -> tuple[GroundTruthMap, np.ndarray]:
    """The cells that the robot can drive to from the start, by the collision geometry that the simulator loads."""
    truth = GroundTruthMap(world, RobotConfig())
    start = np.zeros(truth.shape, bool)
    row, column = truth.world_to_cell((generated.start.x, generated.start.y))
    assert truth.traversable[row, column]
    start[row, column] = True
    return truth, np.isfinite(truth.distance_field(start)) & truth.traversable


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize("style", EXTRA_STYLES)
def test_every_object_and_room_can_be_reached(style: str, seed: int) -> None:
    generated = generate_world(seed, style)
    world = parse_world(generated.sdf)
    truth, reach = reached(generated, world)
    for item in scene_objects(world):
        mask = np.zeros(truth.shape, np.uint8)
        cells = (item.footprint - truth.origin) / truth.resolution - 0.5
        cv2.fillConvexPoly(mask, np.round(cells).astype(np.int32), 1)
        gap = distance_transform_edt(mask == 0) * truth.resolution
        assert (reach & (gap < 0.75)).any(), f"{item.name} of {style} {seed} is out of reach"
        x0, y0, x1, y1 = generated.bounds
        assert (item.footprint > (x0, y0)).all() and (item.footprint < (x1, y1)).all(), f"{item.name} stands outside"
    middles = [((r.x0 + r.x1) / 2, (r.y0 + r.y1) / 2) for r in generated.rooms]
    if style == "maze":
        rng = np.random.default_rng([seed, 0, 3])
        middles = [(cell.x, cell.y) for cell in make_maze(rng).cells]
    for middle in middles:
        r, c = truth.world_to_cell(middle)
        reach_m = 0.6 if style == "maze" else 1.0
        n = int(reach_m / truth.resolution)
        assert reach[max(0, r - n) : r + n + 1, max(0, c - n) : c + n + 1].any(), f"{middle} of {seed} is cut off"


@pytest.mark.parametrize("style", ALL_STYLES)
def test_a_textured_world_loads_from_memory_and_from_a_file_with_nothing_missing(style: str, tmp_path: Path) -> None:
    generated = generate_world(3, style, "textured")
    assert generated.sdf == generate_world(3, style, "textured").sdf
    generated.write(tmp_path / "w.sdf")
    for world in (parse_world(generated.sdf), load_world(tmp_path / "w.sdf")):
        assert world.missing == ()
        shown = [shape.material.texture is not None for model in world.models for shape in model.visuals]
        assert np.mean(shown) > 0.95
    assert {path.stem for path in (tmp_path / "textures").iterdir()} == set(generated.textures)
    (tmp_path / "textures" / f"{generated.textures[0]}.png").unlink()
    assert load_world(tmp_path / "w.sdf").missing == (f"textures/{generated.textures[0]}.png",)


@pytest.mark.parametrize("style", ALL_STYLES)
def test_a_look_changes_nothing_that_can_be_run_into(style: str) -> None:
    plain, textured = (generate_world(5, style, look) for look in ("plain", "textured"))
    assert plain.start == textured.start and plain.walls == textured.walls
    assert [(o.name, o.center) for o in plain.objects] == [(o.name, o.center) for o in textured.objects]
    worlds = [parse_world(world.sdf) for world in (plain, textured)]
    shapes = [[(s.geometry, s.pose.tolist()) for m in world.models for s in m.collisions] for world in worlds]
    if style in EXTRA_STYLES:
        assert shapes[0] == shapes[1]
    else:  # in the old plain worlds even what hangs out of reach can be run into
        assert all(shape in shapes[0] for shape in shapes[1])
    assert plain.textures == () and len(textured.textures) >= 3


@pytest.mark.parametrize("style", ALL_STYLES)
def test_sizes_materials_and_walls_can_be_read_from_the_file(style: str) -> None:
    for seed in range(3):
        generated = generate_world(seed, style, "textured")
        world = parse_world(generated.sdf)
        loaded = scene_objects(world)
        assert [o.name for o in loaded] == [o.name for o in generated.objects]
        assert [o.material for o in loaded] == [o.material for o in generated.objects]
        assert [o.size_word for o in loaded] == [o.size_word for o in generated.objects]
        assert all(o.material for o in loaded)
        walls = scene_walls(world)
        assert len(walls) == len(generated.walls)
        for read, made in zip(walls, generated.walls, strict=True):
            assert np.allclose([read.x0, read.y0, read.x1, read.y1], [made.x0, made.y0, made.x1, made.y1], atol=0.07)


def test_no_picture_is_stretched_far_on_a_wall() -> None:
    world = parse_world(generate_world(0, "warehouse", "textured").sdf)
    panels = [s.geometry.size for s in world.model("walls").visuals]
    panels = [size for size in panels if sorted(size)[1] > 0.2]  # the others cover the walls' narrow ends
    assert max(max(size) for size in panels) < 4.5
    walls = [max(s.geometry.size[:2]) for s in world.model("walls").collisions]
    assert max(walls) > 10.0


def test_a_warehouse_has_racks_with_aisles_and_pallets() -> None:
    for seed in range(4):
        generated = generate_world(seed, "warehouse")
        width, height = generated.bounds[2] - generated.bounds[0], generated.bounds[3] - generated.bounds[1]
        assert 12.0 <= width <= 24.0 and 12.0 <= height <= 24.0
        kinds = [item.category for item in generated.objects]
        assert kinds.count("shelf") >= 4 and kinds.count("pallet") >= 2
        assert max(item.size[2] for item in generated.objects) > 3.0


def test_mazes_have_one_way_or_more_between_any_two_cells() -> None:
    loops = []
    for seed in range(12):
        plan = make_maze(np.random.default_rng(seed))
        doors = sum(4 - sum(cell.closed) for cell in plan.cells) / 2
        assert doors >= len(plan.cells) - 1
        loops.append(doors - len(plan.cells) + 1)
    assert min(loops) == 0 and max(loops) > 3


def test_an_unknown_look_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown look"):
        generate_world(1, "maze", "shiny")


@pytest.mark.skipif(shutil.which("ign") is None, reason="libsdformat's checker is not installed (ignition-tools)")
@pytest.mark.parametrize("style", [*EXTRA_STYLES, "office"])
def test_libsdformat_accepts_textured_worlds(style: str, tmp_path: Path) -> None:
    generate_world(2, style, "textured").write(tmp_path / "w.sdf")
    command = ["ign", "sdf", "-k", str(tmp_path / "w.sdf")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "Valid" in result.stdout and "Error [" not in result.stderr, result.stderr
