"""Generated worlds: the same for a seed, furnished, reachable, and loadable."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path
from mm_nav.robot import RobotConfig
from mm_nav.sim.committed_worlds import WORLDS, committed_world, write_committed_worlds
from mm_nav.sim.generator import STYLES, generate_world
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.objects import scene_objects
from mm_nav.sim.scene import Scene
from mm_nav.sim.world import parse_world


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    assert generate_world(3).sdf == generate_world(3).sdf != generate_world(4).sdf


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_furnished(style: str) -> None:
    world = generate_world(11, style)
    assert world.style == style and len(world.objects) >= 4
    pairs = [(item.category, item.colour) for item in world.objects]
    assert len(pairs) == len(set(pairs)), "a colour and a category name one object"


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown world style"):
        generate_world(1, "castle")


@pytest.mark.parametrize("seed", range(20, 36))
def test_everything_can_be_reached(seed: int) -> None:
    """Checked on the collision geometry that the simulator loads, not on the generator's own map."""
    generated = generate_world(seed)
    world = parse_world(generated.sdf)
    truth = GroundTruthMap(world, RobotConfig())
    row, column = truth.world_to_cell((generated.start.x, generated.start.y))
    assert truth.traversable[row, column]
    start = np.zeros(truth.shape, bool)
    start[row, column] = True
    reach = np.isfinite(truth.distance_field(start))
    for item in scene_objects(world):
        near = np.zeros(truth.shape, np.uint8)
        r, c = truth.world_to_cell(item.center)
        radius = int((max(item.size[:2]) / 2 + 0.75) / truth.resolution)
        cv2.circle(near, (int(c), int(r)), radius, 1, -1)
        assert (reach & (near > 0)).any(), f"{item.name} of seed {seed} is out of reach"
    for room in generated.rooms:
        r, c = truth.world_to_cell(((room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2))
        window = reach[max(0, r - 20) : r + 21, max(0, c - 20) : c + 21]
        assert window.any(), f"a room of seed {seed} is cut off"


@pytest.mark.parametrize("seed", [10_021, 10_063, 10_070])
def test_furniture_is_not_taken_for_the_floor(seed: int) -> None:
    """Rooms with beds: their tops are level and large, but the robot drives on the ground."""
    assert abs(Scene(parse_world(generate_world(seed).sdf)).floor_z) < 1e-3


def test_names_survive_the_world_file() -> None:
    generated = generate_world(5)
    loaded = {item.name: item for item in scene_objects(parse_world(generated.sdf))}
    assert set(loaded) == {item.name for item in generated.objects}
    for item in generated.objects:
        other = loaded[item.name]
        assert (other.category, other.colour) == (item.category, item.colour)
        assert np.hypot(*(np.array(other.center) - item.center)) < 0.3


def test_the_committed_worlds_are_what_the_generator_makes(tmp_path: Path) -> None:
    write_committed_worlds(tmp_path)
    for name, _, _ in WORLDS:
        assert (tmp_path / f"{name}.sdf").read_bytes() == resource_path(f"worlds/{name}.sdf").read_bytes()
    assert (tmp_path / "worlds.yaml").read_bytes() == resource_path("worlds/worlds.yaml").read_bytes()


def test_start_poses_of_committed_worlds_are_found_by_path(tmp_path: Path) -> None:
    entry = committed_world(resource_path("worlds/apartment.sdf"))
    assert entry is not None and "red_barrel_1" in entry.objects
    assert committed_world(tmp_path / "apartment.sdf") is None


@pytest.mark.skipif(shutil.which("ign") is None, reason="libsdformat's checker is not installed (ignition-tools)")
@pytest.mark.parametrize("name", [*(name for name, _, _ in WORLDS)])
def test_libsdformat_accepts_the_worlds(name: str) -> None:
    path = resource_path(f"worlds/{name}.sdf")
    result = subprocess.run(["ign", "sdf", "-k", str(path)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "Error" not in result.stderr, result.stderr
