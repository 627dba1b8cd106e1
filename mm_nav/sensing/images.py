"""Camera messages of any common encoding as (H, W, 3) uint8 RGB. Used by the ROS nodes and by bag replay."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import SensorError

Rgb = npt.NDArray[np.uint8]

_EIGHT_BIT = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8uc1": 1, "8uc3": 3, "8uc4": 4}
_BAYER = {
    # OpenCV names a pattern by the second row's second and third pixel, ROS by the first row's first two.
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
_YUV = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
ENCODINGS = (*_EIGHT_BIT, *_BAYER, *_YUV, "mono16", "16uc1")


def decode_image(
    data: bytes | bytearray | memoryview | npt.NDArray[np.uint8],
    encoding: str,
    height: int,
    width: int,
    step: int = 0,
    big_endian: bool = False,
) -> Rgb:
    """Return a sensor_msgs/Image's pixels as (H, W, 3) uint8 RGB; rgb8 without padding is a view, not a copy.

    step: bytes per row, 0 = no padding. 16-bit mono keeps its upper 8 bits. Raises SensorError for an encoding that
    is not in ENCODINGS, and for data that is shorter than height and step say.
    """
    name = encoding.lower()
    if name not in ENCODINGS:
        raise SensorError(f"image encoding '{encoding}' is not known: publish one of {', '.join(ENCODINGS)}")
    channels = 2 if name in _YUV or name in ("mono16", "16uc1") else _EIGHT_BIT.get(name, 1)
    row = width * channels
    step = step or row
    flat = np.frombuffer(data, np.uint8)
    if height < 1 or width < 1 or step < row or flat.size < step * (height - 1) + row:
        raise SensorError(
            f"a {width} x {height} {encoding} image with {step} bytes per row needs {step * height} bytes, "
            f"the message has {flat.size}: the publisher is broken"
        )
    if flat.size < step * height:  # the last row may come without its padding
        flat = np.concatenate([flat, np.zeros(step * height - flat.size, np.uint8)])
    pixels = flat[: step * height].reshape(height, step)[:, :row]
    if name in ("rgb8", "8uc3"):
        return pixels.reshape(height, width, 3)
    if name in _YUV:
        if width % 2:
            raise SensorError(
                f"a {encoding} image must have an even width, this one has {width}: the publisher is broken"
            )
        return _rgb(cv2.cvtColor(pixels.reshape(height, width, 2), _YUV[name]))
    if name in _BAYER:
        return _rgb(cv2.cvtColor(np.ascontiguousarray(pixels), _BAYER[name]))
    if channels == 2:
        pixels = pixels.reshape(height, width, 2)[:, :, 0 if big_endian else 1]
        return np.repeat(pixels[:, :, None], 3, axis=2)
    shaped = pixels.reshape(height, width, channels)
    if channels == 1:
        return np.repeat(shaped, 3, axis=2)
    first_three = shaped[:, :, :3]
    return np.ascontiguousarray(first_three[:, :, ::-1] if name.startswith("bgr") or name == "8uc4" else first_three)


def decode_compressed(data: bytes | bytearray | memoryview | npt.NDArray[np.uint8]) -> Rgb:
    """Return a sensor_msgs/CompressedImage's pixels (JPEG, PNG, …) as (H, W, 3) uint8 RGB. Raises SensorError."""
    flat = np.frombuffer(data, np.uint8)
    try:
        decoded = cv2.imdecode(flat, cv2.IMREAD_COLOR) if flat.size else None
    except cv2.error:
        decoded = None
    if decoded is None:
        raise SensorError(f"a compressed image of {flat.size} bytes cannot be decoded: expected JPEG or PNG data")
    return _rgb(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def _rgb(pixels: npt.NDArray[np.generic]) -> Rgb:
    return np.ascontiguousarray(pixels, np.uint8)
