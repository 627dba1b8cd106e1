"""The generated worlds that come with the stack, and their start poses (worlds/worlds.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from mm_nav.errors import WorldError
from mm_nav.geometry import Pose2D
from mm_nav.resources import resource_path
from mm_nav.sim.generator import generate_world

# File name, seed and style of each; all seeds are held out from training.
WORLDS = (("apartment", 10212, "apartment"), ("office", 10301, "office"), ("cluttered", 10302, "cluttered"))
INDEX = "worlds/worlds.yaml"


@dataclass(frozen=True)
class CommittedWorld:
    """One entry of worlds.yaml. start: a free pose, world frame. objects: names of what a sentence can name."""

    name: str
    seed: int
    style: str
    start: Pose2D
    objects: tuple[str, ...]


def write_committed_worlds(folder: Path) -> None:
    """Write all worlds and their index into `folder`; the same files every time."""
    folder.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, seed, style in WORLDS:
        world = generate_world(seed, style)
        world.write(folder / f"{name}.sdf")
        index[name] = {
            "seed": seed,
            "style": style,
            "start": [world.start.x, world.start.y, world.start.yaw],
            "objects": [item.name for item in world.objects],
        }
    header = "# Made by mm_nav.sim.committed_worlds. start: x, y (m), yaw (rad) of a free pose in the world frame.\n"
    (folder / "worlds.yaml").write_text(header + yaml.safe_dump(index, sort_keys=False))


def committed_world(path: Path) -> CommittedWorld | None:
    """Return the entry of a world file that comes with the stack, or None for any other file."""
    try:
        index_path = resource_path(INDEX)
        index = yaml.safe_load(index_path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise WorldError(f"{INDEX} cannot be read ({error}): restore it from the repository") from error
    if path.stem not in index or path.resolve().parent != index_path.parent.resolve():
        return None
    entry = index[path.stem]
    return CommittedWorld(path.stem, entry["seed"], entry["style"], Pose2D(*entry["start"]), tuple(entry["objects"]))
