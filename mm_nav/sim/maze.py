"""Mazes of corridors: a spanning tree of square cells, of which some dead ends are opened again."""

from __future__ import annotations

import numpy as np

from mm_nav.sim.floor_plan import FloorPlan, MazeCell, Room, Wall

Cell = tuple[int, int]
_STEPS: tuple[Cell, ...] = ((-1, 0), (1, 0), (0, -1), (0, 1))


def make_maze(rng: np.random.Generator) -> FloorPlan:
    """Return a maze of 6 to 9 by 5 to 8 cells, 1.35 to 1.6 m each, centred on the origin.

    Perfect (one way between any two cells) for a third of the seeds; else 30 or 60 % of the dead ends are opened
    (braided).
    Half of the mazes have a chamber of 2 x 2 cells.
    """
    columns, rows = int(rng.integers(6, 10)), int(rng.integers(5, 9))
    side = round(float(rng.uniform(1.35, 1.6)), 3)
    doors = _tree(rng, columns, rows)
    if rng.random() < 0.5:
        i, j = int(rng.integers(1, columns - 2)), int(rng.integers(1, rows - 2))
        square = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
        doors |= {_door(a, b) for a, b in zip(square, [*square[1:], square[0]], strict=True)}
    _braid(rng, doors, columns, rows, float(rng.choice((0.0, 0.3, 0.6))))
    left, low = -columns * side / 2, -rows * side / 2
    cells = []
    for i in range(columns):
        for j in range(rows):
            closed = [_door((i, j), (i + dx, j + dy)) not in doors for dx, dy in _STEPS]
            cells.append(
                MazeCell(
                    left + (i + 0.5) * side,
                    low + (j + 0.5) * side,
                    side,
                    (closed[0], closed[1], closed[2], closed[3]),
                )
            )
    walls = _walls(doors, columns, rows, side)
    whole = Room(left, low, -left, -low, "maze")
    return FloorPlan(-2 * left, -2 * low, (whole,), (), tuple(walls), tuple(cells))


def _door(a: Cell, b: Cell) -> tuple[Cell, Cell]:
    return (a, b) if a < b else (b, a)


def _neighbours(cell: Cell, columns: int, rows: int) -> list[Cell]:
    around = [(cell[0] + dx, cell[1] + dy) for dx, dy in _STEPS]
    return [(i, j) for i, j in around if 0 <= i < columns and 0 <= j < rows]


def _tree(rng: np.random.Generator, columns: int, rows: int) -> set[tuple[Cell, Cell]]:
    """Depth first from a random cell, which makes long corridors."""
    stack: list[Cell] = [(int(rng.integers(columns)), int(rng.integers(rows)))]
    seen, doors = {stack[0]}, set()
    while stack:
        fresh = [n for n in _neighbours(stack[-1], columns, rows) if n not in seen]
        if not fresh:
            stack.pop()
            continue
        following = fresh[int(rng.integers(len(fresh)))]
        doors.add(_door(stack[-1], following))
        seen.add(following)
        stack.append(following)
    return doors


def _braid(rng: np.random.Generator, doors: set[tuple[Cell, Cell]], columns: int, rows: int, share: float) -> None:
    for i in range(columns):
        for j in range(rows):
            around = _neighbours((i, j), columns, rows)
            closed = [n for n in around if _door((i, j), n) not in doors]
            if len(around) - len(closed) == 1 and rng.random() < share:
                doors.add(_door((i, j), closed[int(rng.integers(len(closed)))]))


def _walls(doors: set[tuple[Cell, Cell]], columns: int, rows: int, side: float) -> list[Wall]:
    """Return the walls between cells without a door, each as long as it goes straight on."""
    left, low = -columns * side / 2, -rows * side / 2
    walls = []
    for i in range(columns + 1):
        closed = [not 0 < i < columns or _door((i - 1, j), (i, j)) not in doors for j in range(rows)]
        walls += [Wall(left + i * side, low + a * side, left + i * side, low + b * side) for a, b in _runs(closed)]
    for j in range(rows + 1):
        closed = [not 0 < j < rows or _door((i, j - 1), (i, j)) not in doors for i in range(columns)]
        walls += [Wall(left + a * side, low + j * side, left + b * side, low + j * side) for a, b in _runs(closed)]
    return walls


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    runs, start = [], None
    for k, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = k
        elif not flag and start is not None:
            runs.append((start, k))
            start = None
    return runs
