"""Boards: options, what is printed, and corners in pictures."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from board_drive import CHARUCO, CHESSBOARD, board_picture

from mm_nav.bags.items import Lens
from mm_nav.calibration.board import Board, find_corners, parse_size
from mm_nav.calibration.board_pose import board_pose, through_lens
from mm_nav.calibration.printing import print_board
from mm_nav.errors import ConfigError

LENS = Lens(
    np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]), (480, 640), ((-0.1, 0.02, 0.001, 0.0), "plumb_bob")
)


@pytest.mark.parametrize("board", [CHESSBOARD, CHARUCO])
@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_a_printed_board_has_its_true_size(tmp_path, board, ending):
    path = tmp_path / f"board{ending}"
    width, height = print_board(board, path)
    assert width == pytest.approx(8 * 0.08 + 0.08) and height > 6 * 0.08
    if ending == ".png":
        page = PIL.Image.open(path)
        dpi = page.info["dpi"][0]
        assert page.size[0] / dpi * 25.4 == pytest.approx(1e3 * width, abs=0.2)
        found = find_corners(np.asarray(page), board)
        assert found is not None and len(found.index) == board.corner_count
        grid = found.pixels.reshape(5, 7, 2)
        squares = np.linalg.norm(np.diff(grid, axis=1), axis=2) / dpi * 25.4
        assert np.abs(squares - 80.0).max() < 0.3
        return
    data = path.read_bytes()
    assert data.startswith(b"%PDF-1.4") and data.rstrip().endswith(b"%%EOF")
    box = [float(v) for v in re.search(rb"MediaBox \[([^]]*)\]", data)[1].split()]
    assert box[2] / 72 * 25.4 == pytest.approx(1e3 * width, abs=0.01)
    start = int(re.search(rb"startxref\n(\d+)", data)[1])
    assert data[start : start + 4] == b"xref"
    rectangles = re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re f", data)
    if not board.is_charuco:
        assert len(rectangles) == 8 * 6 // 2 + 1  # and the ruler
        assert float(rectangles[0][2]) / 72 * 25.4 == pytest.approx(80.0, abs=0.01)


def test_a_page_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.pdf or \.png"):
        print_board(CHESSBOARD, tmp_path / "board.svg")
    assert not list(tmp_path.iterdir())


def test_half_a_charuco_board_is_enough_and_half_a_chessboard_is_not():
    for board, enough in ((CHARUCO, True), (CHESSBOARD, False)):
        picture = cv2.copyMakeBorder(board_picture(board), 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255)
        found = find_corners(np.ascontiguousarray(picture[:, : picture.shape[1] // 2]), board)
        assert (found is not None) == enough
        whole = find_corners(picture, board)
        assert whole is not None and len(whole.index) == board.corner_count


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_the_pose_of_seen_corners_is_the_true_one(model):
    lens = Lens(LENS.intrinsics, LENS.size, ((-0.05, 0.01, 0.002, 0.001), model))
    rotation = cv2.Rodrigues(np.array([0.4, -0.3, 0.2]))[0]
    centre = np.array([0.2, -0.1, 1.5])
    pixels = through_lens(CHESSBOARD.corners() @ rotation.T + centre, lens)
    from mm_nav.calibration.board import Corners

    rng = np.random.default_rng(1)
    corners = Corners(np.arange(35, dtype=np.int32), pixels + rng.normal(0, 0.1, pixels.shape))
    pose = board_pose(corners, CHESSBOARD, lens)
    deviation = 0.1 * np.sqrt(np.diag(np.linalg.inv(pose.information)))
    turn = cv2.Rodrigues(pose.rotation @ rotation.T)[0].ravel()
    assert np.all(np.abs(np.r_[turn, pose.centre - centre]) < 4 * deviation)
    assert pose.rms_px == pytest.approx(0.1, rel=0.3)
    assert pose.offset == pytest.approx(float(pose.normal @ centre), abs=0.01) and pose.offset > 0


def test_wrong_boards_are_refused():
    with pytest.raises(ConfigError, match="two numbers"):
        parse_size("7by5", "--board")
    for wrong in (
        {"columns": 2, "rows": 5, "square_m": 0.1},
        {"columns": 8, "rows": 6, "square_m": 80.0},
        {"columns": 8, "rows": 6, "square_m": 0.08, "marker_m": 0.08},
        {"columns": 8, "rows": 6, "square_m": 0.08, "marker_m": 0.06, "dictionary": "7X7_1"},
        {"columns": 20, "rows": 20, "square_m": 0.08, "marker_m": 0.06},
        {"columns": 8, "rows": 6, "square_m": 0.08, "border_m": (-0.1, 0.0)},
    ):
        with pytest.raises(ConfigError):
            Board(**wrong)
