"""Where things around the robot are in its camera's picture."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.observation import CameraImage
from mm_nav.sensing.rectify import rectified

Floats = npt.NDArray[np.float64]

_NEAREST_M = 0.05  # nearer to the lens's plane the quotients explode


def project(points_base: npt.ArrayLike, image: CameraImage, size: tuple[int, int] | None = None) -> Floats:
    """Return the pixels (N, 2), column and row, of points (N, 3) in base_link, metres.

    They are those of the picture as it was taken, lens distortion included. size: (width, height) to which the picture was
    reduced, None = as it is. Rows are nan behind the camera and outside of the picture. Pixel (0, 0) is a centre, as in OpenCV.
    """
    points = np.asarray(points_base, np.float64).reshape(-1, 3)
    pose = np.asarray(image.base_T_camera, np.float64)
    pixels = np.full((len(points), 2), np.nan)
    with np.errstate(invalid="ignore"):
        optical = (points - pose[:3, 3]) @ pose[:3, :3]
        ahead = (optical[:, 2] > _NEAREST_M) & np.isfinite(optical).all(axis=1)
    if image.distortion:
        # Past its turning point a lens's polynomial folds back what is far outside of the picture into it.
        off_axis = np.hypot(optical[:, 0], optical[:, 1])
        reach = _reach(image.distortion, image.distortion_model)
        ahead[ahead] = off_axis[ahead] < reach * optical[ahead, 2]
    if ahead.any():
        pixels[ahead] = _through_lens(optical[ahead], image)
    height, width = image.rgb.shape[:2]
    with np.errstate(invalid="ignore"):
        outside = (pixels < -0.5).any(axis=1) | (pixels[:, 0] > width - 0.5) | (pixels[:, 1] > height - 0.5)
    pixels[outside] = np.nan
    if size is not None:
        pixels = (pixels + 0.5) * (np.array(size) / (width, height)) - 0.5
    return pixels


def project_ground(points: npt.ArrayLike, image: CameraImage, size: tuple[int, int] | None = None) -> Floats:
    """Return the pixels (..., 2) of points (..., 2) on the floor, metres in base_link; otherwise as `project`."""
    flat = np.asarray(points, np.float64)
    on_floor = np.concatenate([flat.reshape(-1, 2), np.zeros((flat.size // 2, 1))], axis=1)
    return project(on_floor, image, size).reshape(flat.shape)


def as_pinhole(image: CameraImage) -> CameraImage:
    """Return the image without its lens's distortion: the picture over which PolicyOutput.heatmap lies."""
    return dataclasses.replace(image, rgb=rectified(image), distortion=()) if image.distortion else image


def _through_lens(optical: Floats, image: CameraImage) -> Floats:
    """Return the pixels (N, 2) of points (N, 3) in the optical frame, all in front of it."""
    matrix = np.asarray(image.intrinsics, np.float64)
    if not image.distortion:
        seen = optical @ matrix.T
        return np.asarray(seen[:, :2] / seen[:, 2:])
    lens, none = np.array(image.distortion, np.float64), np.zeros(3)
    if image.distortion_model == "equidistant":
        seen = cv2.fisheye.projectPoints(optical[:, None], none, none, matrix, lens)[0]
    else:
        seen = cv2.projectPoints(optical[:, None], none, none, matrix, lens)[0]
    return np.asarray(seen, np.float64).reshape(-1, 2)


@lru_cache(maxsize=8)
def _reach(distortion: tuple[float, ...], model: str) -> float:
    """Return the tangent of the angle off the axis up to which the lens's radial polynomial grows; inf = everywhere."""
    tangent = np.tan(np.linspace(0.0, np.radians(89.0), 2000))
    k = np.array([*distortion, *[0.0] * (8 - len(distortion))])
    if model == "equidistant":
        angle = np.arctan(tangent)
        seen = angle * np.polyval([*k[3::-1], 1.0], angle**2)
    else:  # k1, k2, p1, p2, k3, k4, k5, k6
        square = tangent**2
        below = np.polyval([k[7], k[6], k[5], 1.0], square)
        seen = tangent * np.polyval([k[4], k[1], k[0], 1.0], square) / np.where(below > 0, below, np.nan)
    falling = ~(np.diff(seen) > 0)
    return float(tangent[np.argmax(falling)]) if falling.any() else float("inf")
