"""From an Observation to the network's input arrays. The same code feeds training, the ROS node and bag replay."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.observation import CameraImage, LaserScan
from mm_nav.policy.config import PolicyConfig
from mm_nav.sensing.lidar import resample
from mm_nav.sensing.rectify import rectified

# Bump when the arrays below change meaning, so that old models are refused instead of fed wrongly.
PREPROCESSING_VERSION = 1

Float32 = npt.NDArray[np.float32]
_Kept = TypeVar("_Kept")


@dataclass(frozen=True)
class ImageGeometry:
    """Directions that the network's pixels look along, in base_link.

    rays: (P, 3) float32 unit vectors of the camera tokens. column_bearings: (C,) float32 rad, of the grounding columns.
    """

    rays: Float32
    column_bearings: Float32


def preprocessing_fingerprint(config: PolicyConfig) -> str:
    """Return a short hash of everything that decides how observations become arrays."""
    parts = (
        PREPROCESSING_VERSION,
        config.image_height,
        config.image_width,
        config.patch,
        config.cell_rows,
        config.cell_columns,
        config.lidar_bins,
        config.max_range_m,
        config.language_tokens,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def pixel_rays(
    columns: npt.NDArray[np.float64],
    rows: npt.NDArray[np.float64],
    intrinsics: npt.NDArray[np.float64],
    base_T_camera: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return unit directions (N, 3) in base_link of pixel positions (N,), (N,) of a pinhole camera."""
    x = (columns - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (rows - intrinsics[1, 2]) / intrinsics[1, 1]
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ base_T_camera[:3, :3].T
    return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def image_geometry(
    config: PolicyConfig,
    height: int,
    width: int,
    intrinsics: npt.NDArray[np.float64],
    base_T_camera: npt.NDArray[np.float64],
) -> ImageGeometry:
    """Return where the tokens and grounding columns of a (height, width) image look."""
    scale_x, scale_y = width / config.image_width, height / config.image_height
    centre_x = (np.arange(config.token_columns) + 0.5) * config.patch * scale_x - 0.5
    centre_y = (np.arange(config.token_rows) + 0.5) * config.patch * scale_y - 0.5
    columns, rows = np.meshgrid(centre_x, centre_y)
    rays = pixel_rays(columns.ravel(), rows.ravel(), intrinsics, base_T_camera)
    fine = (np.arange(config.grid_columns) + 0.5) * width / config.grid_columns - 0.5
    along = pixel_rays(fine, np.full(len(fine), height / 2 - 0.5), intrinsics, base_T_camera)
    bearings = np.arctan2(along[:, 1], along[:, 0])
    return ImageGeometry(rays.astype(np.float32), bearings.astype(np.float32))


class Preprocessor:
    """Fills preallocated arrays; remembers the geometry of the last camera, which seldom changes."""

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config
        self._image = np.zeros((1, 3, config.image_height, config.image_width), np.float32)
        self._small = np.zeros((config.image_height, config.image_width, 3), np.uint8)
        self._key: tuple[object, ...] | None = None
        self._geometry = self._forward_camera()

    def _forward_camera(self) -> ImageGeometry:
        # Stands in while no camera was ever seen; image_present = 0 then hides it from the network.
        c = self.config
        focal = c.image_width / 2.0
        intrinsics = np.array([[focal, 0, c.image_width / 2], [0, focal, c.image_height / 2], [0, 0, 1]])
        optical = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], np.float64)
        return image_geometry(c, c.image_height, c.image_width, intrinsics, optical)

    def image(self, image: CameraImage | None) -> tuple[Float32, Float32, ImageGeometry]:
        """Return image (1, 3, H, W) in [0, 1], present (1, 1) and the geometry. A lost camera is all zero, present 0."""
        if image is None:
            self._image.fill(0.0)
            return self._image, np.zeros((1, 1), np.float32), self._geometry
        c = self.config
        height, width = image.rgb.shape[:2]
        key = (height, width, image.intrinsics.tobytes(), image.base_T_camera.tobytes())
        if key != self._key:
            self._geometry = image_geometry(c, height, width, image.intrinsics, image.base_T_camera)
            self._key = key
        cv2.resize(rectified(image), (c.image_width, c.image_height), dst=self._small, interpolation=cv2.INTER_AREA)
        np.multiply(self._small.transpose(2, 0, 1), np.float32(1 / 255), out=self._image[0])
        return self._image, np.ones((1, 1), np.float32), self._geometry

    def picture(self, rgb: npt.NDArray[np.uint8]) -> tuple[Float32, ImageGeometry]:
        """Return the picture of a goal (H, W, 3) as image (1, 3, H, W), and the geometry of the camera that was seen last: of
        the one that took the picture nothing is known."""
        c = self.config
        small = cv2.resize(rgb, (c.image_width, c.image_height), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small.transpose(2, 0, 1)[None].astype(np.float32) / 255.0), self._geometry

    def scan(self, scan: LaserScan | None) -> tuple[Float32, Float32]:
        """Return ranges and valid, (1, bins) each. A lost LiDAR is all zero, valid 0."""
        c = self.config
        if scan is None:
            return np.zeros((1, c.lidar_bins), np.float32), np.zeros((1, c.lidar_bins), np.float32)
        ranges, valid = resample(scan, bins=c.lidar_bins, max_range=c.max_range_m)
        return ranges[None], valid[None]

    def pose(self, goal: Pose2D | None, robot: Pose2D) -> Float32:
        """Return (1, 3) = (present, x, y): the map-frame goal seen from the robot's pose in the same frame."""
        if goal is None:
            return np.zeros((1, 3), np.float32)
        relative = robot.inverse() @ goal
        return np.array([[1.0, relative.x, relative.y]], np.float32)


class RecentInputs(Preprocessor):
    """Remembers what it made of the last few pictures and scans, for several who look at the same ones, in several threads."""

    _KEPT = 8

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        self._lock = threading.Lock()
        # By identity: the things are kept too, so that no other one can take their place.
        self._images: dict[int, tuple[CameraImage, tuple[Float32, Float32, ImageGeometry]]] = {}
        self._scans: dict[int, tuple[LaserScan, tuple[Float32, Float32]]] = {}

    def image(self, image: CameraImage | None) -> tuple[Float32, Float32, ImageGeometry]:
        """Return what Preprocessor.image does, in arrays that nobody changes."""
        if image is None:
            with self._lock:
                made, present, geometry = super().image(None)
                return made.copy(), present, geometry
        found = self._images.get(id(image))
        if found is None:
            with self._lock:
                made, present, geometry = super().image(image)
                found = image, (made.copy(), present, geometry)
                _keep(self._images, id(image), found, self._KEPT)
        return found[1]

    def scan(self, scan: LaserScan | None) -> tuple[Float32, Float32]:
        """Return what Preprocessor.scan does, in arrays that nobody changes."""
        if scan is None:
            return super().scan(None)
        found = self._scans.get(id(scan))
        if found is None:
            with self._lock:
                found = scan, super().scan(scan)
                _keep(self._scans, id(scan), found, self._KEPT)
        return found[1]

    def know_image(self, image: CameraImage, made: tuple[Float32, Float32, ImageGeometry]) -> None:
        """Take what another one made of a picture."""
        with self._lock:
            _keep(self._images, id(image), (image, made), self._KEPT)

    def know_scan(self, scan: LaserScan, made: tuple[Float32, Float32]) -> None:
        """Take what another one made of a scan."""
        with self._lock:
            _keep(self._scans, id(scan), (scan, made), self._KEPT)


def _keep(kept: dict[int, _Kept], key: int, value: _Kept, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]
