"""A LiDAR's sweep drawn into the camera's pictures, where the transforms had it and where it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.calibration.calibrate import Calibration
from mm_nav.calibration.solver import Constraint
from mm_nav.observation import CameraImage
from mm_nav.replay.projection import project

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]

_WIDTH, _MOST_ROWS, _TITLE_PX, _GAP_PX = 640, 4, 26, 4
_FAR_M = 8.0
_BOARD, _OUTLINE, _BEFORE, _AFTER = (60, 255, 60), (255, 200, 0), (255, 120, 120), (140, 255, 140)


def draw_calibration(calibration: Calibration) -> Rgb:
    """Return pictures (h, w, 3) uint8 RGB: a row each for up to four views, left as claimed (where anything was), right as found.

    Points on the board are green, others from red (near) to blue (8 m); the pattern's outline is yellow.
    """
    rows = [_row(calibration, k) for k in _telling_views(calibration)]
    gap = np.full((_GAP_PX, rows[0].shape[1], 3), 40, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1])


def save_picture(picture: Rgb, path: Path) -> None:
    """Write a picture (h, w, 3) uint8 RGB as the PNG or JPEG that the path's ending says; whole or not at all."""
    from mm_nav.calibration.files import write_whole

    ending = path.suffix.lower() if path.suffix.lower() in (".png", ".jpg", ".jpeg") else ".png"
    _, data = cv2.imencode(ending, np.ascontiguousarray(picture[..., ::-1]))
    write_whole(path, bytes(data.tobytes()))


def _telling_views(calibration: Calibration) -> list[int]:
    """Return the numbers of up to four constraints whose boards are far apart, still ones first."""
    constraints, used = calibration.constraints, calibration.solution.used
    candidates = [k for k, c in enumerate(constraints) if used[k] and c.view.still]
    candidates = candidates or [k for k in range(len(constraints)) if used[k]]
    places = np.array([[*constraints[k].view.pose.centre, *constraints[k].view.pose.normal] for k in candidates])
    chosen = [int(np.argmin(places[:, 2]))]
    while len(chosen) < min(_MOST_ROWS, len(candidates)):
        apart = np.linalg.norm(places[:, None] - places[chosen], axis=2).min(axis=1)
        chosen.append(int(np.argmax(apart)))
    return sorted(candidates[k] for k in chosen)


def _row(calibration: Calibration, number: int) -> Rgb:
    constraint = calibration.constraints[number]
    packed = cv2.imdecode(np.frombuffer(calibration.thumbnails[number], np.uint8), cv2.IMREAD_COLOR)
    picture = np.ascontiguousarray(np.asarray(packed)[..., ::-1], np.uint8)
    off = 1e3 * float(np.sqrt(np.mean(calibration.solution.distances[number] ** 2)))
    after = _drawn(calibration, constraint, picture, calibration.solution.lidar_T_camera)
    sides = [_titled(after, f"calibrated: {off:.0f} mm from the board, {constraint.view.time_s:.1f} s", _AFTER)]
    if calibration.claimed is not None:
        before = _drawn(calibration, constraint, picture, calibration.claimed)
        sides.insert(0, _titled(before, "as the recording's transforms say", _BEFORE))
    gap = np.full((sides[0].shape[0], _GAP_PX, 3), 40, np.uint8)
    return np.concatenate([part for side in sides for part in (side, gap)][:-1], axis=1)


def _drawn(calibration: Calibration, constraint: Constraint, picture: Rgb, lidar_T_camera: Matrix) -> Rgb:
    lens = calibration.lens
    image = CameraImage(0, picture, lens.intrinsics, lidar_T_camera, *lens.distortion)
    height, width = picture.shape[:2]
    size = _WIDTH, round(height * _WIDTH / width)
    drawn = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    view = constraint.view
    across, down = calibration.board.half_size()
    frame = np.array([[-across, -down, 0], [across, -down, 0], [across, down, 0], [-across, down, 0]])
    # The outline is what the camera saw, whatever is claimed of the LiDAR.
    seen = dataclasses.replace(image, base_T_camera=np.eye(4))
    outline = project(frame @ view.pose.rotation.T + view.pose.centre, seen, size)
    if np.isfinite(outline).all():
        cv2.polylines(drawn, [np.round(outline * 16).astype(np.int32)[:, None]], True, _OUTLINE, 1, cv2.LINE_AA, 4)
    sweep = view.sweeps[len(view.sweeps) // 2]
    distance = np.linalg.norm(sweep.points, axis=1)
    for k in np.argsort(-distance):  # near ones over far ones
        _dot(drawn, project(sweep.points[k], image, size)[0], _coloured(float(distance[k])), 2)
    for pixel in project(constraint.contact.on_board[:: max(1, len(constraint.contact.on_board) // 300)], image, size):
        _dot(drawn, pixel, _BOARD, 2)
    return drawn


def _dot(picture: Rgb, pixel: Floats, colour: tuple[int, int, int], radius: int) -> None:
    if np.isfinite(pixel).all():
        centre = (round(16 * float(pixel[0])), round(16 * float(pixel[1])))
        cv2.circle(picture, centre, radius * 16, colour, -1, cv2.LINE_AA, 4)


def _coloured(distance_m: float) -> tuple[int, int, int]:
    share = min(distance_m / _FAR_M, 1.0)
    blue, green, red = cv2.applyColorMap(np.array([[round(255 * (1 - share))]], np.uint8), cv2.COLORMAP_JET)[0, 0]
    return int(red), int(green), int(blue)


def _titled(picture: Rgb, text: str, colour: tuple[int, int, int]) -> Rgb:
    title = np.full((_TITLE_PX, picture.shape[1], 3), 20, np.uint8)
    cv2.putText(title, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return np.concatenate([title, picture])
