"""How a board stands before a camera, from its corners in the picture, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.bags.items import Lens
from mm_nav.calibration.board import Board, Corners

Floats = npt.NDArray[np.float64]

_ITERATIONS = 15
# A second pose that explains the corners this well, and is turned this much, leaves open which one is true.
_AMBIGUOUS_RATIO, _AMBIGUOUS_RAD = 1.25, 0.15
_STEP = 1e-6


@dataclass(frozen=True)
class BoardPose:
    """A board before a camera, in its optical frame (x right, y down, z ahead).

    rotation: (3, 3) and centre: (3,), metres, camera_T_board. information: (6, 6), of a small turn (rad, about the camera's axes
    through the board's centre) and shift (m), for corners that are found to within one pixel; its inverse times the square of their
    error is the covariance. rms_px: what is left of the corners' distances to where this pose has them, root of the mean square of
    both coordinates. count: corners.
    """

    rotation: Floats
    centre: Floats
    information: Floats
    rms_px: float
    count: int

    @property
    def normal(self) -> Floats:
        """Unit normal (3,) of the board, away from the camera."""
        normal = self.rotation[:, 2]
        return normal if normal @ self.centre >= 0 else -normal

    @property
    def offset(self) -> float:
        """Distance of the board's plane from the camera, metres: points p on it have normal @ p = offset."""
        return float(self.normal @ self.centre)

    def turned_about(self) -> BoardPose:
        """Return the pose with the board's other end up: chessboards look the same."""
        return replace(self, rotation=self.rotation * np.array([-1.0, -1.0, 1.0]))


def through_lens(points: Floats, lens: Lens) -> Floats:
    """Return the pixels (N, 2) of points (N, 3) in the optical frame, all in front of the camera."""
    matrix, none = np.asarray(lens.intrinsics, np.float64), np.zeros(3)
    coefficients, model = lens.distortion
    if not coefficients:
        return np.asarray((points[:, :2] / points[:, 2:]) @ matrix[:2, :2].T + matrix[:2, 2])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    seen = project(np.ascontiguousarray(points)[:, None], none, none, matrix, np.array(coefficients))[0]
    return np.asarray(seen, np.float64).reshape(-1, 2)


def board_pose(corners: Corners, board: Board, lens: Lens) -> BoardPose | None:
    """Return how the board stands; None where it cannot be told, or where two answers are about as good.

    Source of the first estimate: Collins and Bartoli, "Infinitesimal plane-based pose estimation", 2014. The reprojection error,
    lens distortion included, is then made least.
    """
    places = board.corners()[corners.index]
    plane = _undistorted(corners.pixels, lens)
    try:
        _, turns, shifts, _ = cv2.solvePnPGeneric(places, plane, np.eye(3), np.zeros(4), flags=cv2.SOLVEPNP_IPPE)
    except cv2.error:
        return None
    found = [
        pose
        for turn, shift in zip(turns, shifts, strict=True)
        if (pose := _refined(cv2.Rodrigues(turn)[0], shift.ravel(), places, corners.pixels, lens)) is not None
    ]
    if not found:
        return None
    best, *others = sorted(found, key=lambda pose: pose.rms_px)
    for other in others:
        apart = np.arccos(np.clip(best.normal @ other.normal, -1.0, 1.0))
        if apart > _AMBIGUOUS_RAD and other.rms_px < _AMBIGUOUS_RATIO * best.rms_px:
            return None
    return best


def _undistorted(pixels: Floats, lens: Lens) -> Floats:
    matrix = np.asarray(lens.intrinsics, np.float64)
    coefficients, model = lens.distortion
    if not coefficients:
        return np.asarray(np.linalg.solve(matrix[:2, :2], (pixels - matrix[:2, 2]).T).T)
    undistort = cv2.fisheye.undistortPoints if model == "equidistant" else cv2.undistortPoints
    return np.asarray(undistort(pixels[:, None], matrix, np.array(coefficients)), np.float64).reshape(-1, 2)


def _refined(rotation: Floats, centre: Floats, places: Floats, pixels: Floats, lens: Lens) -> BoardPose | None:
    """Return the pose (Gauss-Newton from a first one); None where it leaves what is in front of the camera."""
    rotation, centre = np.asarray(rotation, np.float64), np.asarray(centre, np.float64)
    information = np.zeros((6, 6))
    for _ in range(_ITERATIONS):
        arms = places @ rotation.T
        points = arms + centre
        if not (np.isfinite(points).all() and points[:, 2].min() > 0.02):
            return None
        off = pixels - through_lens(points, lens)
        slope = np.stack(
            [(through_lens(points + _STEP * axis, lens) - through_lens(points - _STEP * axis, lens)) / (2 * _STEP)
             for axis in np.eye(3)], axis=-1,
        )  # fmt: skip
        jacobian = np.concatenate([-slope @ _cross(arms), slope], axis=2).reshape(-1, 6)
        information = jacobian.T @ jacobian
        try:
            step = np.linalg.solve(information, jacobian.T @ off.ravel())
        except np.linalg.LinAlgError:
            return None
        rotation, centre = cv2.Rodrigues(step[:3])[0] @ rotation, centre + step[3:]
        if np.abs(step).max() < 1e-9:
            break
    rms = float(np.sqrt(np.mean((pixels - through_lens(places @ rotation.T + centre, lens)) ** 2)))
    return BoardPose(rotation, centre, information, rms, len(places))


def _cross(vectors: Floats) -> Floats:
    """Return the matrices (N, 3, 3) that multiply as cross products of (N, 3) from the left."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
