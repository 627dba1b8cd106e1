"""The worlds of BARN (Perille, Truong, Xiao and Stone, SSRR 2020): cylinders in the way, and a reference path through them."""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import MmNavError, WorldError
from mm_nav.geometry import Pose2D
from mm_nav.sim.sdf_writer import plain_model
from mm_nav.sim.world import World, load_world, parse_world

Floats = npt.NDArray[np.float64]

START, GOAL = Pose2D(-2.0, 3.0, 1.57), Pose2D(-2.0, 13.0, 1.57)
# Cells of a reference path in metres, as `path_coord_to_gazebo_coord` of the challenge has them: x = 0.15 column - 4.575 and so on.
_CELL_M, _ORIGIN = 0.15, (-4.575, 5.075)
_RADIUS_M, _HEIGHT_M = 0.075, 1.0
_OFFICIAL = 6  # the worlds divisible by this are the official test set


@dataclass(frozen=True)
class BarnWorld:
    """One world. number: its name in the benchmark. cylinders: (N, 2) centres, m. path: (M, 2) from start to goal, m.

    file: the SDF file that it is loaded from; None = it is built from its cylinders.
    """

    number: int
    cylinders: Floats
    path: Floats
    file: Path | None = None

    @property
    def optimal_time_s(self) -> float:
        """The time that the benchmark takes for the best: the reference path at 2 m/s."""
        return float(np.hypot(*np.diff(self.path, axis=0).T).sum()) / 2.0

    @property
    def clearance_m(self) -> float:
        """How much room the reference path has: the mean distance of its cells to the nearest cylinder's surface, m."""
        inner = self.path[1:-1] if len(self.path) > 2 else self.path
        if not len(self.cylinders):
            return math.inf
        apart = np.hypot(*(inner[:, None] - self.cylinders[None]).transpose(2, 0, 1))
        return float(apart.min(axis=1).mean()) - _RADIUS_M

    @property
    def official(self) -> bool:
        """Whether the world is of the official test set."""
        return self.number % _OFFICIAL == 0

    def world(self) -> World:
        """Return the world for the simulator. Raises WorldError when its file cannot be read."""
        return load_world(self.file) if self.file is not None else parse_world(_sdf(self.cylinders))


def load_barn(path: Path) -> tuple[BarnWorld, ...]:
    """Return the worlds of a .npz with cyl_N and path_N, of a folder with world_N.world and path_N.npy, or of one such .world, by
    number. Raises WorldError, naming the file, when there is none or one cannot be read."""
    try:
        if path.is_dir():
            files = [*path.glob("world_*.world"), *path.glob("*/world_*.world")]
            found = [_of_file(file) for file in files]
        elif path.suffix == ".world":
            found = [_of_file(path)]
        else:
            found = _of_npz(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WorldError(
            f"{path} holds no worlds of BARN ({error}): give its .npz, a folder with world_N.world and path_N.npy, or one .world"
        ) from error
    if not found:
        raise WorldError(f"{path} holds no worlds of BARN: it has no world_N.world")
    return tuple(sorted(found, key=lambda world: world.number))


def _of_npz(path: Path) -> list[BarnWorld]:
    with np.load(path, allow_pickle=False) as data:
        numbers = [int(name.removeprefix("cyl_")) for name in data.files if name.startswith("cyl_")]
        if not numbers:
            raise KeyError("cyl_1")
        return [BarnWorld(n, _points(data[f"cyl_{n}"]), _path(data[f"path_{n}"])) for n in numbers]


def _of_file(file: Path) -> BarnWorld:
    number = re.fullmatch(r"world_(\d+)", file.stem)
    if number is None:
        raise ValueError(f"{file.name} is not named world_N.world")
    name = f"path_{number[1]}.npy"
    places = [file.with_name(name), file.parent / "path_files" / name, file.parent.parent / "path_files" / name]
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise FileNotFoundError(f"there is no {name} beside {file.name}")
    try:
        models = load_world(file).models
    except MmNavError as error:
        raise ValueError(f"{file.name}: {error}") from error
    centres = [model.bounds().mean(axis=0)[:2] for model in models if not model.is_plane]
    return BarnWorld(int(number[1]), np.array(centres).reshape(-1, 2), _path(np.load(path, allow_pickle=False)), file)


def _points(array: npt.NDArray[Any]) -> Floats:
    points = np.asarray(array, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"points of shape {points.shape}, not (N, 2) and finite")
    return points


def _path(cells: npt.NDArray[Any]) -> Floats:
    return np.concatenate([[(START.x, START.y)], _points(cells) * _CELL_M + _ORIGIN, [(GOAL.x, GOAL.y)]])


def _sdf(cylinders: Floats) -> str:
    shape = f"<cylinder><radius>{_RADIUS_M}</radius><length>{_HEIGHT_M}</length></cylinder>"
    models = [plain_model("ground", "0 0 0 0 0 0", "<plane><normal>0 0 1</normal><size>100 100</size></plane>")]
    models += [
        plain_model(f"cylinder_{k}", f"{x:.4f} {y:.4f} {_HEIGHT_M / 2} 0 0 0", shape)
        for k, (x, y) in enumerate(cylinders)
    ]
    return f'<sdf version="1.6"><world name="barn">{"".join(models)}</world></sdf>'
