"""What the policy saw, drawn into the camera's picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.command import PolicyOutput
from mm_nav.observation import CameraImage
from mm_nav.replay.projection import as_pinhole, project_ground

RGB = npt.NDArray[np.uint8]

_SHIFT = 4  # fractional bits of what OpenCV draws
_MOST_HEAT = 0.65  # opacity, so that the thing below stays visible
_LETTERS_FROM_PX = 160  # narrower pictures have no room for them
_FAINTEST = 0.25


def reduced_size(image: CameraImage, width: int) -> tuple[int, int]:
    """Return (width, height) of the picture when it is at most `width` pixels wide, in proportion."""
    height, full = image.shape
    narrow = min(width, full)
    return narrow, max(1, round(height * narrow / full))


def relative_heat(output: PolicyOutput, size: tuple[int, int]) -> npt.NDArray[np.float32] | None:
    """Return the heat map at (width, height) as (height, width): 1 where it is highest; None = there is none.

    It lies over the picture without lens distortion, which is what the network is given.
    """
    if output.heatmap is None or output.heatmap.size == 0 or not output.heatmap.max() > 0:
        return None
    heat = cv2.resize(output.heatmap.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(heat / heat.max(), np.float32)


def grounding_picture(image: CameraImage, output: PolicyOutput | None, width: int = 320) -> RGB:
    """Return the picture (h, w, 3) uint8 RGB, at most `width` pixels wide, without lens distortion, with what the policy said.

    The heat map's opacity is the probability that the target is in view; the waypoints of each hypothesis are a line on the
    floor, the brighter the more probable.
    """
    pinhole = as_pinhole(image)
    size = reduced_size(image, width)
    picture = np.ascontiguousarray(cv2.resize(pinhole.rgb, size, interpolation=cv2.INTER_AREA))
    if output is None:
        return np.asarray(picture, np.uint8)
    heat = relative_heat(output, size)
    if heat is not None:
        picture = _heated(picture, heat, float(np.clip(output.visible, 0.0, 1.0)))
    pixels = project_ground(output.waypoints, pinhole, size)
    for k in np.argsort(output.waypoint_probs):
        _draw_way(picture, pixels[k], float(output.waypoint_probs[k] / output.waypoint_probs.max()))
    if size[0] >= _LETTERS_FROM_PX:
        text, place = f"in view {output.visible:.2f}", (4, size[1] - 5)
        picture[-18:, :90] //= 3
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def encode_jpeg(picture: RGB, quality: int = 80) -> bytes:
    """Return an RGB picture (h, w, 3) uint8 as JPEG."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data.tobytes())


def _heated(picture: RGB, heat: npt.NDArray[np.float32], visible: float) -> RGB:
    colours = cv2.applyColorMap(np.round(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = (_MOST_HEAT * visible * heat)[..., None]
    return np.ascontiguousarray(picture + opacity * (colours.astype(np.float32) - picture), np.uint8)


def _draw_way(picture: RGB, pixels: npt.NDArray[np.float64], weight: float) -> None:
    seen = pixels[np.isfinite(pixels).all(axis=1)]  # a way leaves the picture once, at its lower edge
    if len(seen) == 0:
        return
    colour = [float(value) for value in (_FAINTEST + (1 - _FAINTEST) * weight) * np.array([60.0, 230.0, 255.0])]
    points = np.round(seen * (1 << _SHIFT)).astype(np.int32)
    thickness = max(1, round(picture.shape[1] / 160))
    cv2.polylines(picture, [points[:, None]], False, colour, thickness, cv2.LINE_AA, _SHIFT)
    for x, y in points:
        cv2.circle(picture, (int(x), int(y)), (thickness + 1) << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)
