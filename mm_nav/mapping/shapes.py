"""What stands in the map, by its outline: all there is to go by for what the camera has not seen, once it is lost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.walls import find_walls
from mm_nav.resources import resource_path

Floats = npt.NDArray[np.float64]
FORMAT = 1
OTHER = ""
"""The class of what is nothing that can be named: a piece of wall, two things side by side."""

# Cells nearer to one another than this are of one thing: the legs of a chair, not those of a table.
_TOGETHER_M = 0.2
_WALL_CELLS, _LEAST_CELLS = 5, 2


@dataclass(frozen=True)
class Shape:
    """A thing of the map. cells: (N, 2) rows and columns that are occupied. points: their centres, (N, 2), map frame, metres.
    parts: pieces that do not touch. resolution: of the map, m."""

    cells: npt.NDArray[np.int64]
    points: Floats
    parts: int
    resolution: float

    @property
    def center(self) -> Floats:
        """Mean of its points (2,), metres."""
        return np.asarray(self.points.mean(axis=0))

    def features(self) -> Floats:
        """Return what it is told by (5,): logarithms of length and width, m, of the occupied area, cells, of the number of pieces,
        and of how much of its rectangle is filled."""
        _, sides, _ = cv2.minAreaRect(self.points.astype(np.float32))
        length, width = (side + self.resolution for side in (max(sides), min(sides)))
        filled = len(self.cells) * self.resolution**2 / (length * width)
        return np.log([length, width, len(self.cells), self.parts, filled + 0.05])


def find_shapes(grid: OccupancyGrid) -> list[Shape]:
    """Return what stands in a map, but for its walls."""
    left = (grid.occupied() & ~_walls(grid)).astype(np.uint8)
    around = 2 * round(_TOGETHER_M / grid.resolution) + 1
    count, labels = cv2.connectedComponents(cv2.dilate(left, np.ones((around, around), np.uint8)), connectivity=8)
    labels = labels * left
    shapes = []
    for label in range(1, count):
        mask = labels == label
        cells = np.argwhere(mask)
        if len(cells) >= _LEAST_CELLS:
            parts = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
            shapes.append(Shape(cells, grid.to_points(cells), parts, grid.resolution))
    return shapes


def _walls(grid: OccupancyGrid) -> npt.NDArray[np.bool_]:
    walls = find_walls(grid)
    mask = np.zeros(grid.shape, np.uint8)
    for wall in walls.segments:
        ends = Pose2D(0.0, 0.0, walls.yaw).transform(np.array([[wall.x0, wall.y0], [wall.x1, wall.y1]]))
        (r0, c0), (r1, c1) = grid.to_cells(ends).tolist()
        cv2.line(mask, (c0, r0), (c1, r1), 1, _WALL_CELLS)
    return mask > 0


@dataclass(frozen=True)
class ShapeModel:
    """Tells categories by their shapes: a normal distribution of `Shape.features` for each. Written by `mm-nav shapes`.

    names: (C,) of categories, OTHER among them. means: (C, 5). covariances: (C, 5, 5). priors: (C,), how often each stands about,
    sum 1. training: where they are from, and how well they tell.
    """

    names: tuple[str, ...]
    means: Floats
    covariances: Floats
    priors: Floats
    training: Mapping[str, Any]

    def probabilities(self, shape: Shape) -> dict[str, float]:
        """Return how probably a shape is a thing of each category."""
        return self.of_features(shape.features())

    def of_features(self, features: Floats) -> dict[str, float]:
        """Return the same for the features of a shape (5,)."""
        off = features - self.means
        logits = self._at_means - 0.5 * np.einsum("ci,cij,cj->c", off, self._precisions, off)
        odds = np.exp(logits - logits.max())
        return dict(zip(self.names, (odds / odds.sum()).tolist(), strict=True))

    @cached_property
    def _precisions(self) -> Floats:
        return np.asarray(np.linalg.inv(self.covariances), np.float64)

    @cached_property
    def _at_means(self) -> Floats:
        logits: Floats = np.log(self.priors) - 0.5 * np.linalg.slogdet(self.covariances)[1]
        return logits

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        data = {
            "format": FORMAT,
            "names": list(self.names),
            "means": np.round(self.means, 4).tolist(),
            "covariances": np.round(self.covariances, 5).tolist(),
            "priors": np.round(self.priors, 5).tolist(),
            "training": dict(self.training),
        }
        part = path.with_suffix(path.suffix + ".part")
        part.write_text(json.dumps(data) + "\n")
        part.replace(path)


def load_shapes(path: Path) -> ShapeModel:
    """Read what `mm-nav shapes` wrote. Raises ConfigError when the file is missing or no such model."""
    try:
        data = json.loads(path.read_text())
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, this version reads {FORMAT}")
        names = tuple(str(name) for name in data["names"])
        means, covariances, priors = (np.asarray(data[key], np.float64) for key in ("means", "covariances", "priors"))
        n = len(names)
        if means.shape != (n, 5) or covariances.shape != (n, 5, 5) or priors.shape != (n,) or not n:
            raise ValueError("its arrays do not fit together")
        np.linalg.cholesky(covariances)
        if not (math.isclose(priors.sum(), 1.0, abs_tol=1e-2) and (priors > 0.0).all() and np.isfinite(means).all()):
            raise ValueError("its numbers are no probabilities")
        return ShapeModel(names, means, covariances, priors, data["training"])
    except (OSError, ValueError, KeyError, TypeError, np.linalg.LinAlgError) as error:
        raise ConfigError(
            f"{path} cannot be read as shapes of things ({error}): write it with `mm-nav shapes`"
        ) from error


@lru_cache(maxsize=1)
def shipped_shapes() -> ShapeModel:
    """Return the shapes that come with the stack."""
    return load_shapes(resource_path("models/shapes.json"))
