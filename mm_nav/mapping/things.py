"""Things as a LiDAR sees them: what stands apart from the walls of the map."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.walls import find_walls

Floats = npt.NDArray[np.float64]
_WALL_M = 0.12  # a cell this near to a wall is of the wall
_JOIN_CELLS = 3  # cells this near to each other are of one thing: legs
_LEAST_CELLS = 3


@dataclass(frozen=True)
class MapThing:
    """A cluster of occupied cells. points: (N, 2) map frame, metres. length: of its longest side, metres. seen: 0 to 1, how well
    a camera looked at it."""

    points: Floats
    length: float
    seen: float

    def nearest_to(self, point: Floats) -> Floats:
        """Return its point (2,) that is nearest to another, map frame."""
        return np.asarray(self.points[np.argmin(np.hypot(*(self.points - point).T))])


def find_things(grid: OccupancyGrid, quality: npt.NDArray[np.float32], longest: float) -> list[MapThing]:
    """Return what stands in a grid and is no wall: no straight row of cells longer than `longest` metres.

    quality: (H, W), 0 to 1, how well a camera looked at each cell.
    """
    cells = np.argwhere(grid.occupied())
    if len(cells) == 0:
        return []
    walls = find_walls(grid)
    points = walls.to_walls(grid.to_points(cells))
    wall = np.zeros(len(cells), bool)
    for s in walls.segments:
        if max(s.x1 - s.x0, s.y1 - s.y0) <= longest:
            continue
        gap_x = np.maximum(np.maximum(s.x0 - points[:, 0], points[:, 0] - s.x1), 0.0)
        gap_y = np.maximum(np.maximum(s.y0 - points[:, 1], points[:, 1] - s.y1), 0.0)
        wall |= np.hypot(gap_x, gap_y) < _WALL_M
    mask = np.zeros(grid.shape, np.uint8)
    free = cells[~wall]
    mask[free[:, 0], free[:, 1]] = 1
    kernel = np.ones((_JOIN_CELLS, _JOIN_CELLS), np.uint8)
    _, labels = cv2.connectedComponents(cv2.dilate(mask, kernel), connectivity=8)
    own = labels[free[:, 0], free[:, 1]]
    things = []
    for label in np.unique(own):
        mine = free[own == label]
        if len(mine) < _LEAST_CELLS:
            continue
        places = grid.to_points(mine)
        box = cv2.minAreaRect(places.astype(np.float32))
        length = float(max(box[1])) + grid.resolution
        things.append(MapThing(places, length, float(quality[mine[:, 0], mine[:, 1]].mean())))
    return things
