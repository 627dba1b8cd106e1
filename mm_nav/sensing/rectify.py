"""Pictures of distorting lenses as a pinhole camera of the same matrix would have taken them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import SensorError
from mm_nav.observation import CameraImage

# Names of sensor_msgs/CameraInfo; "fisheye" is what some drivers call the equidistant model.
_POLYNOMIAL, _FISHEYE = ("plumb_bob", "rational_polynomial"), ("equidistant", "fisheye")


def distortion_from(info: Any) -> tuple[tuple[float, ...], str]:
    """Return the coefficients and the model of a sensor_msgs/CameraInfo (ROS 1 or 2); () for a rectified camera.

    Raises SensorError for a model that is not known or has another number of coefficients.
    """
    values = tuple(float(value) for value in getattr(info, "d", getattr(info, "D", ())))
    model = str(getattr(info, "distortion_model", "")) or "plumb_bob"
    if not any(values):
        return (), "plumb_bob"
    if model not in (*_POLYNOMIAL, *_FISHEYE):
        raise SensorError(
            f"camera distortion_model '{model}' is not known: publish one of {', '.join((*_POLYNOMIAL, *_FISHEYE))}, or a "
            "rectified picture"
        )
    if len(values) not in ((4,) if model in _FISHEYE else (4, 5, 8)):
        raise SensorError(f"camera distortion_model '{model}' has {len(values)} coefficients: the publisher is broken")
    return values, "equidistant" if model in _FISHEYE else model


def rectified(image: CameraImage) -> npt.NDArray[np.uint8]:
    """Return the picture (H, W, 3) without its lens's distortion; the picture itself where there is none."""
    if not image.distortion:
        return image.rgb
    height, width = image.rgb.shape[:2]
    columns, rows = _maps(height, width, image.intrinsics.tobytes(), image.distortion, image.distortion_model)
    return np.asarray(cv2.remap(image.rgb, columns, rows, cv2.INTER_LINEAR), np.uint8)


@lru_cache(maxsize=8)
def _maps(
    height: int, width: int, intrinsics: bytes, distortion: tuple[float, ...], model: str
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]:
    matrix = np.frombuffer(intrinsics).reshape(3, 3)
    coefficients = np.array(distortion)
    if model == "equidistant":
        made = cv2.fisheye.initUndistortRectifyMap(
            matrix, coefficients, np.eye(3), matrix, (width, height), cv2.CV_16SC2
        )
    else:
        made = cv2.initUndistortRectifyMap(matrix, coefficients, np.eye(3), matrix, (width, height), cv2.CV_16SC2)
    return np.asarray(made[0], np.int16), np.asarray(made[1], np.uint16)
