"""Things stand apart from the walls of a map, and their size tells what they may be."""

import numpy as np
import pytest

from mm_nav.language.dimensions import size_fit
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.mapping.things import find_things


def test_things_are_found_and_walls_are_not() -> None:
    grid = OccupancyGrid(size_m=10.0)
    quality = np.zeros(grid.shape, np.float32)

    def put(x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        (r0, c0), (r1, c1) = grid.to_cells(np.array([[x0, y0], [x1, y1]]))
        grid.log_odds[r0 : r1 + 1, c0 : c1 + 1] = 3.0
        return slice(r0, r1 + 1), slice(c0, c1 + 1)

    for wall in ((-4, -4, 4, -3.95), (-4, 4, 4, 4.05), (-4, -4, -3.95, 4), (4, -4, 4.05, 4)):
        put(*wall)
    put(1.0, 1.0, 1.4, 1.05)
    quality[put(-2.0, -1.0, -1.95, 1.0)] = 0.8
    small = find_things(grid, quality, longest=0.9)
    assert [thing.length for thing in small] == [pytest.approx(0.45, abs=0.06)] and small[0].seen == 0.0
    assert np.hypot(*(small[0].nearest_to(np.zeros(2)) - (1.0, 1.0))) < 0.1
    both = sorted(find_things(grid, quality, longest=2.5), key=lambda thing: thing.length)
    assert [thing.length for thing in both] == [small[0].length, pytest.approx(2.05, abs=0.06)]
    assert both[1].seen == pytest.approx(0.8)
    assert find_things(OccupancyGrid(), np.zeros((160, 160), np.float32), 1.0) == []


def test_a_sofa_is_no_cone() -> None:
    assert size_fit("sofa", 1.8) == size_fit("cone", 0.3) == 1.0
    assert size_fit("cone", 1.8) < 0.01 and 0.1 < size_fit("sofa", 0.5) < 0.7
    assert size_fit(None, 0.5) == 1.0
