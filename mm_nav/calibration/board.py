"""Calibration boards: what is printed on them, and where their corners are in a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError

Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

DICTIONARIES = ("4X4_50", "4X4_100", "4X4_250", "5X5_50", "5X5_100", "5X5_250", "6X6_50", "6X6_100", "6X6_250")
# Fewer corners of a partly seen ChArUco board say too little about how it is turned.
_LEAST_CORNERS = 8
# Corners are looked for in pictures of at most this width, and made exact in the full one.
_SEARCH_WIDTH = 1280


@dataclass(frozen=True)
class Board:
    """A flat board with a chessboard or ChArUco pattern.

    columns, rows: squares of the pattern (one more than the inner corners each way). square_m, marker_m: side lengths, metres;
    marker_m 0 = a plain chessboard. dictionary: of a ChArUco board's markers, one of DICTIONARIES. border_m: (across, down)
    from the pattern to the edge of the board it is glued to, metres; None = not known. The board's frame has its origin in the
    middle of the pattern, x along the rows, y down the columns, z into the board. Raises ConfigError for what is no such board.
    """

    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = "5X5_100"
    border_m: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not (4 <= self.columns <= 60 and 4 <= self.rows <= 60):
            raise ConfigError(f"a board of {self.columns} x {self.rows} squares: give 4 to 60 squares each way")
        if not 0.005 <= self.square_m <= 1.0:
            raise ConfigError(f"the squares have sides of {self.square_m} m: give metres, from 0.005 to 1")
        if self.border_m is not None and not all(0 <= value <= 1 for value in self.border_m):
            raise ConfigError(f"the board's border is {self.border_m} m: give metres, from 0 to 1")
        if not self.is_charuco:
            return
        if not 0.4 * self.square_m <= self.marker_m <= 0.95 * self.square_m:
            raise ConfigError(
                f"the markers have sides of {self.marker_m} m in squares of {self.square_m} m: give 40 to 95 % of these"
            )
        if self.dictionary not in DICTIONARIES:
            raise ConfigError(
                f"marker dictionary '{self.dictionary}' is not known: give one of {', '.join(DICTIONARIES)}"
            )
        if self.columns * self.rows // 2 > int(self.dictionary.rsplit("_", 1)[1]):
            raise ConfigError(
                f"dictionary {self.dictionary} has too few markers for {self.columns} x {self.rows} squares: take a larger one"
            )

    @property
    def is_charuco(self) -> bool:
        """Whether the white squares hold markers, so that a part of the board is enough."""
        return self.marker_m > 0

    @property
    def corner_count(self) -> int:
        """Number of inner corners."""
        return (self.columns - 1) * (self.rows - 1)

    def corners(self) -> Floats:
        """Return the inner corners (N, 3) in the board's frame, metres, row after row."""
        x = (np.arange(1, self.columns) - self.columns / 2) * self.square_m
        y = (np.arange(1, self.rows) - self.rows / 2) * self.square_m
        grid = np.stack([*np.meshgrid(x, y), np.zeros((self.rows - 1, self.columns - 1))], axis=-1)
        return grid.reshape(-1, 3)

    def half_size(self, outer: bool = False) -> tuple[float, float]:
        """Return half the width and height, metres: of the pattern or, with `outer`, of the whole board.

        A border that is not known is taken for two squares: what lies farther out is no board.
        """
        across, down = (0.0, 0.0) if not outer else self.border_m or (2 * self.square_m, 2 * self.square_m)
        return self.columns * self.square_m / 2 + across, self.rows * self.square_m / 2 + down

    def described(self) -> str:
        """Return the options of `mm-nav calibrate` that mean this board."""
        if self.is_charuco:
            size = f"--charuco {self.columns}x{self.rows} --square {self.square_m:g} --marker {self.marker_m:g}"
            return f"{size} --dictionary {self.dictionary}"
        return f"--board {self.columns - 1}x{self.rows - 1} --square {self.square_m:g}"


@dataclass(frozen=True)
class Corners:
    """Corners of a board that were found in a picture. index: (N,) into Board.corners(). pixels: (N, 2), column and row, a
    pixel's centre at whole numbers."""

    index: npt.NDArray[np.int32]
    pixels: Floats


def parse_size(text: str, what: str) -> tuple[int, int]:
    """Return the two whole numbers of "7x5". Raises ConfigError, naming `what`."""
    found = re.fullmatch(r"\s*(\d{1,3})\s*[xX×]\s*(\d{1,3})\s*", text)
    if found is None:
        raise ConfigError(f"{what} is '{text}': give two numbers such as 7x5")
    return int(found[1]), int(found[2])


def find_corners(grey: Grey, board: Board) -> Corners | None:
    """Return the board's corners in a picture (H, W) uint8; None = it is not there, or too little of it.

    A chessboard must be seen whole. Which of its ends is which cannot be told, nor does it matter here.
    """
    return _find_charuco(grey, board) if board.is_charuco else _find_chessboard(grey, board)


def _find_chessboard(grey: Grey, board: Board) -> Corners | None:
    size = (board.columns - 1, board.rows - 1)
    height, width = grey.shape
    scale = max(1.0, width / _SEARCH_WIDTH)
    small = grey if scale == 1.0 else _reduced(grey, (round(width / scale), round(height / scale)))
    # Finds tilted and blurred boards best, but leaves up to a tenth of a pixel to be refined. Asked to normalise the picture, it
    # misses half of the boards in noise of 3 grey values (16 simulated views: 8 found, without 16).
    found, seen = cv2.findChessboardCornersSB(small, size, flags=0)
    if not found or seen is None:
        return None
    pixels = np.asarray(seen, np.float64).reshape(-1, 2)
    if scale != 1.0:
        pixels = (pixels + 0.5) * (width / small.shape[1], height / small.shape[0]) - 0.5
    return Corners(np.arange(board.corner_count, dtype=np.int32), _refined(grey, pixels, size))


def _reduced(grey: Grey, size: tuple[int, int]) -> Grey:
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _refined(grey: Grey, pixels: Floats, size: tuple[int, int]) -> Floats:
    """Return corners where edges meet in the full picture; the window holds no other corner."""
    grid = pixels.reshape(size[1], size[0], 2)
    apart = min(np.linalg.norm(np.diff(grid, axis=k), axis=2).min() for k in (0, 1))
    half = int(np.clip(apart / 3, 2, 11))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 0.005)
    start = np.ascontiguousarray(pixels, np.float32).reshape(-1, 1, 2)
    made = cv2.cornerSubPix(grey, start, (half, half), (-1, -1), stop)
    return np.asarray(made, np.float64).reshape(-1, 2)


def _find_charuco(grey: Grey, board: Board) -> Corners | None:
    pixels, index, _, _ = _charuco_detector(board).detectBoard(grey)
    if index is None or len(index) < _LEAST_CORNERS:
        return None
    index = np.asarray(index, np.int32).ravel()
    places = board.corners()[index, :2]
    # Corners in one row say nothing about how the board is turned about it.
    if np.linalg.svd(places - places.mean(axis=0), compute_uv=False)[1] < 0.8 * board.square_m:
        return None
    return Corners(index, np.asarray(pixels, np.float64).reshape(-1, 2))


@lru_cache(maxsize=4)
def _charuco_detector(board: Board) -> Any:
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    return cv2.aruco.CharucoDetector(charuco_board(board), detectorParams=parameters)


def charuco_board(board: Board) -> Any:
    """Return the board as OpenCV's CharucoBoard."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{board.dictionary}"))
    return cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
