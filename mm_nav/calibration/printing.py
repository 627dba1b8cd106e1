"""Boards to print, in their true size."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from mm_nav.calibration.board import Board, charuco_board
from mm_nav.calibration.files import write_whole
from mm_nav.errors import ConfigError

Cells = npt.NDArray[np.bool_]

_POINTS_PER_M = 72 / 0.0254
_DPI, _MOST_PIXELS = 300, 60_000_000
_MARGIN_M, _TEXT_M = 0.02, 0.012
_RULER_M = 0.1


def print_board(board: Board, path: Path) -> tuple[float, float]:
    """Write a board as .pdf (lines, exact) or .png (300 dpi, less for large ones), in its true size; return (width, height), m.

    The page is the pattern, its border (2 cm where the board says none), and below it the options that mean this board and a
    ruler of 10 cm to check the print with. Raises ConfigError for another ending, or where the file cannot be written.
    """
    border = board.border_m or (_MARGIN_M, _MARGIN_M)
    width = max(board.columns * board.square_m + 2 * border[0], _RULER_M + 0.02)
    height = board.rows * board.square_m + 2 * border[1] + 3 * _TEXT_M
    cells, cell_m = pattern_cells(board)
    left = (width - cells.shape[1] * cell_m) / 2
    ending = path.suffix.lower()
    if ending == ".pdf":
        write_whole(path, _pdf(board, cells, cell_m, (width, height), (left, border[1])))
    elif ending == ".png":
        write_whole(path, _png(board, cells, cell_m, (width, height), (left, border[1])))
    else:
        raise ConfigError(f"{path}: boards are written as .pdf or .png: give one of these endings")
    return width, height


def pattern_cells(board: Board) -> tuple[Cells, float]:
    """Return the pattern as dark cells (rows, columns), True = black, and the side of a cell, metres.

    A chessboard's cells are its squares; those of a ChArUco board are fine enough for the bits of its markers, to within 0.2 mm.
    """
    if not board.is_charuco:
        return (np.indices((board.rows, board.columns)).sum(axis=0) % 2) == 0, board.square_m
    # Cells that divide markers' bits and what is left of squares beside them as evenly as can be, 0.2 mm or finer.
    per_square = int(np.ceil(board.square_m / 0.0002))
    picture = charuco_board(board).generateImage(
        (board.columns * per_square, board.rows * per_square), marginSize=0, borderBits=1
    )
    return np.asarray(picture) < 128, board.square_m / per_square


def _pdf(board: Board, cells: Cells, cell_m: float, size: tuple[float, float], corner: tuple[float, float]) -> bytes:
    def pt(metres: float) -> str:
        return f"{metres * _POINTS_PER_M:.4f}"

    lines = ["0 g"]
    for (x, y), (wide, tall) in _rectangles(cells):
        top = size[1] - corner[1] - y * cell_m
        lines.append(
            f"{pt(corner[0] + x * cell_m)} {pt(top - tall * cell_m)} {pt(wide * cell_m)} {pt(tall * cell_m)} re f"
        )
    lines.append(f"BT /F1 8 Tf {pt(0.01)} {pt(2.1 * _TEXT_M)} Td ({_caption(board)}) Tj ET")
    lines.append(f"{pt(0.01)} {pt(0.6 * _TEXT_M)} {pt(_RULER_M)} {pt(0.002)} re f")
    lines.append(f"BT /F1 7 Tf {pt(0.01)} {pt(0.9 * _TEXT_M)} Td (this bar must be 100 mm long) Tj ET")
    content = "\n".join(lines).encode()
    box = f"[0 0 {pt(size[0])} {pt(size[1])}]"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".encode(),
        b"<< /Length " + str(len(content)).encode() + b" >>\nstream\n" + content + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{len(made)}\n%%EOF\n"
    return made + end.encode()


def _rectangles(cells: Cells) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return dark rectangles, (x, y) and (width, height) in cells: runs of a row, as tall as they stay the same."""
    found: list[tuple[tuple[int, int], tuple[int, int]]] = []
    growing: dict[tuple[int, int], int] = {}
    for y in range(len(cells) + 1):
        runs: set[tuple[int, int]] = set()
        if y < len(cells):
            steps = np.flatnonzero(np.diff(np.r_[False, cells[y], False].astype(np.int8)))
            runs = {(int(a), int(b)) for a, b in zip(steps[::2], steps[1::2], strict=True)}
        for run in [run for run in growing if run not in runs]:
            top = growing.pop(run)
            found.append(((run[0], top), (run[1] - run[0], y - top)))
        for run in runs:
            growing.setdefault(run, y)
    return found


def _png(board: Board, cells: Cells, cell_m: float, size: tuple[float, float], corner: tuple[float, float]) -> bytes:
    dpi = min(_DPI, np.sqrt(_MOST_PIXELS / (size[0] * size[1])) * 0.0254)
    scale = dpi / 0.0254
    page = np.full((round(size[1] * scale), round(size[0] * scale)), 255, np.uint8)
    for (x, y), (wide, tall) in _rectangles(cells):
        left, top = ((c + at * cell_m) * scale for c, at in zip(corner, (x, y), strict=True))
        right, bottom = left + wide * cell_m * scale, top + tall * cell_m * scale
        page[round(top) : round(bottom), round(left) : round(right)] = 0
    low, high = page.shape[0] - round(0.6 * _TEXT_M * scale), page.shape[0] - round((0.6 * _TEXT_M + 0.002) * scale)
    page[high:low, round(0.01 * scale) : round((0.01 + _RULER_M) * scale)] = 0
    for text, above in ((_caption(board), 2.1), ("this bar must be 100 mm long", 0.95)):
        place = (round(0.01 * scale), page.shape[0] - round(above * _TEXT_M * scale))
        cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, dpi / 400, 0, max(1, round(dpi / 200)), cv2.LINE_AA)
    data = io.BytesIO()
    PIL.Image.fromarray(page).save(data, "PNG", dpi=(dpi, dpi))
    return data.getvalue()


def _caption(board: Board) -> str:
    return f"mm-nav calibrate BAG {board.described()}   print at 100 %, glue flat"
