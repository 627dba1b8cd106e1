"""A ray-cast pinhole or fisheye camera with depth. A pure function of scene, moving bodies and camera pose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.sim.layer import repeated
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf import rotation_rpy
from mm_nav.sim.shading import shade
from mm_nav.sim.surface import Floats

if TYPE_CHECKING:
    from mm_nav.sim.moving import MovingBodies

Matrix = npt.NDArray[np.float64]
Colours = npt.NDArray[np.float32]

# Camera axes (x right, y down, z forward; REP 103) in the axes of a body (x forward, y left, z up).
BODY_R_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
# Rays are shaded in pieces whose arrays stay in the cache (of 4k to 1M, 16k was fastest at 320x240 and 640x480).
_CHUNK = 16384
_COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
_WIDEST = 50.0  # tangent of the widest angle off the axis that a ray may have
_LENS_PX = 0.05  # a pixel whose ray does not project back to within this lies outside the lens's field


@dataclass(frozen=True)
class CameraConfig:
    """A camera.

    horizontal_fov: rad, of the pinhole without its distortion. position: metres in base_link; roll, pitch (down
    positive), yaw: rad, about the fixed axes of base_link. distortion: OpenCV's coefficients of distortion_model:
    plumb_bob (k1 k2 p1 p2 [k3]), rational_polynomial (8) or equidistant (k1 k2 k3 k4); () = none. rate_hz: pictures per
    second where something publishes them.

    noise_std: of each colour value, in [0, 255]. exposure_jitter: standard deviation, in stops, of a brightness drawn at
    reset; colour_jitter: standard deviation of each channel's gain drawn at reset. exposure_s: shutter time; above 0 the
    picture is the mean of blur_samples taken over it, so that it blurs as the robot moves. supersample: rays per pixel
    side (2 = four rays). shadows: of the strongest directional light, and of lamps that cast them.
    """

    width: int = 320
    height: int = 240
    horizontal_fov: float = 1.5
    position: tuple[float, float, float] = (0.12, 0.0, 0.32)
    pitch: float = 0.0
    noise_std: float = 0.0
    supersample: int = 1
    shadows: bool = False
    roll: float = 0.0
    yaw: float = 0.0
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"
    exposure_jitter: float = 0.0
    colour_jitter: float = 0.0
    exposure_s: float = 0.0
    blur_samples: int = 4
    rate_hz: float = 10.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or self.width * self.height > 2**25:
            raise ConfigError(f"camera of {self.width} x {self.height} pixels: give 1 to 33 million pixels")
        if not 0.01 < self.horizontal_fov < 3.1:
            raise ConfigError(f"camera horizontal_fov is {self.horizontal_fov} rad: it must be between 0.01 and 3.1")
        if not 1 <= self.supersample <= 4:
            raise ConfigError(f"camera supersample is {self.supersample}: it must be 1 to 4")
        for name in ("noise_std", "exposure_jitter", "colour_jitter"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"camera {name} is {getattr(self, name)}: it must not be negative")
        if not 0 <= self.exposure_s <= 0.5 or not 1 <= self.blur_samples <= 64 or not self.rate_hz > 0:
            raise ConfigError(
                f"camera exposure_s {self.exposure_s}, blur_samples {self.blur_samples}, rate_hz {self.rate_hz}: give 0 to "
                "0.5 s, 1 to 64 samples and a rate above 0"
            )
        counts = _COEFFICIENTS.get(self.distortion_model)
        if counts is None or len(self.distortion) not in counts:
            raise ConfigError(
                f"camera distortion_model '{self.distortion_model}' with {len(self.distortion)} coefficients: give "
                "plumb_bob with 4 or 5, rational_polynomial with 8, or equidistant with 4"
            )

    def intrinsics(self) -> Matrix:
        """Return the (3, 3) camera matrix, pixels; pixel (0, 0)'s centre is at (0, 0), as in OpenCV."""
        half = self.horizontal_fov / 2
        focal = self.width / 2 / (half if self.distortion_model == "equidistant" else math.tan(half))
        return np.array([[focal, 0.0, (self.width - 1) / 2], [0.0, focal, (self.height - 1) / 2], [0.0, 0.0, 1.0]])

    def base_T_camera(self) -> Matrix:
        """Return the pose (4, 4) of the optical frame in base_link."""
        pose = np.eye(4)
        pose[:3, :3] = rotation_rpy(self.roll, self.pitch, self.yaw) @ BODY_R_OPTICAL
        pose[:3, 3] = self.position
        return pose


@dataclass(frozen=True)
class RenderResult:
    """What a camera saw.

    rgb: (H, W, 3) uint8. depth: (H, W) float32, metres along the optical axis, inf = nothing. model_index: (H, W)
    int32 into Scene.model_names, and beyond their end into the moving bodies; -1 = sky or floor plane.
    """

    rgb: npt.NDArray[np.uint8]
    depth: Floats
    model_index: npt.NDArray[np.int32]


def render(
    scene: Scene, camera: CameraConfig, world_T_camera: Matrix, moving: MovingBodies | None = None
) -> RenderResult:
    """Render what a camera sees from world_T_camera (4, 4; optical frame), without noise or blur."""
    colour, depth, model = render_colour(scene, camera, world_T_camera, moving)
    return RenderResult(as_rgb(colour), depth, model)


def render_colour(
    scene: Scene, camera: CameraConfig, world_T_camera: Matrix, moving: MovingBodies | None = None
) -> tuple[Colours, Floats, npt.NDArray[np.int32]]:
    """Return colour (H, W, 3) float32, 1 = white and more where light is brighter, depth and model index (H, W)."""
    samples, height, width = camera.supersample, camera.height, camera.width
    rays, seen = camera_rays(camera)
    pixel = 1.0 / (float(camera.intrinsics()[0, 0]) * samples)
    rotation = world_T_camera[:3, :3].T.astype(np.float32)
    colour, depth = np.empty((len(rays), 3), np.float32), np.empty(len(rays), np.float32)
    model = np.empty(len(rays), np.int32)
    for start in range(0, len(rays), _CHUNK):
        rows = slice(start, start + _CHUNK)
        directions = rays[rows] @ rotation
        origins = repeated(world_T_camera[:3, 3], len(directions))
        colour[rows], depth[rows], model[rows] = shade(scene, origins, directions, pixel, camera.shadows, moving)
    if seen is not None:
        colour[~seen], depth[~seen], model[~seen] = 0.0, np.inf, -1
    if samples > 1:
        blocks = (height, samples, width, samples)
        colour = colour.reshape(*blocks, 3).mean(axis=(1, 3))
        middle = samples // 2  # depth and labels are those of one ray: their mean is on neither side of an edge
        depth, model = depth.reshape(blocks)[:, middle, :, middle], model.reshape(blocks)[:, middle, :, middle]
    return colour.reshape(height, width, 3), depth.reshape(height, width), model.reshape(height, width)


def as_rgb(colour: Colours, noise: Colours | None = None) -> npt.NDArray[np.uint8]:
    """Return colours (H, W, 3), 1 = white, as uint8; noise (H, W, 3) is added in units of 1/255."""
    scaled = colour * np.float32(255.0) + np.float32(0.5)
    return np.asarray(np.clip(scaled if noise is None else scaled + noise, 0, 255), np.uint8)


@lru_cache(maxsize=32)
def camera_rays(camera: CameraConfig) -> tuple[Floats, npt.NDArray[np.bool_] | None]:
    """Return ray directions (H * W * samples², 3) in the optical frame, z = 1, so that a hit's distance is its depth;
    and which of them (same order) lie in the lens's field, None = all."""
    samples, matrix = camera.supersample, camera.intrinsics()
    columns = (np.arange(camera.width * samples) + 0.5) / samples - 0.5
    rows = (np.arange(camera.height * samples) + 0.5) / samples - 0.5
    grid = np.empty((len(rows), len(columns), 3), np.float32)
    grid[..., 2] = 1.0
    if not camera.distortion:
        grid[..., 0] = ((columns - matrix[0, 2]) / matrix[0, 0])[None, :]
        grid[..., 1] = ((rows - matrix[1, 2]) / matrix[1, 1])[:, None]
        return grid.reshape(-1, 3), None
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    plane, seen = _undistorted(camera, pixels)
    grid.reshape(-1, 3)[:, :2] = plane
    return grid.reshape(-1, 3), None if seen.all() else seen


def _undistorted(camera: CameraConfig, pixels: Matrix) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Return where the rays of pixels (N, 2) meet the plane z = 1 (N, 2), and which of them the lens really sees."""
    matrix, coefficients, zero = camera.intrinsics(), np.array(camera.distortion), np.zeros(3)
    fisheye = camera.distortion_model == "equidistant"
    model = cv2.fisheye if fisheye else cv2
    with np.errstate(all="ignore"):
        plane = np.asarray(model.undistortPoints(pixels[:, None], matrix, coefficients), np.float64).reshape(-1, 2)
        for last in (False, False, False, True):
            usable = np.isfinite(plane).all(axis=1) & (np.abs(plane).max(axis=1) < _WIDEST)
            plane[~usable] = 0.0
            points = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
            back, slope = model.projectPoints(points[:, None], zero, zero, matrix, coefficients)
            off = pixels - back.reshape(-1, 2)
            if (
                last or fisheye
            ):  # OpenCV inverts the fisheye exactly, polynomials only roughly: Newton's steps finish it
                break
            # How a pixel moves with the point is how it moves with the translation: the fourth and fifth column.
            jacobian = slope[:, 3:5].reshape(-1, 2, 2)
            flat = np.abs(np.linalg.det(jacobian)) < 1e-6
            jacobian[flat] = np.eye(2) * matrix[0, 0]
            plane += np.linalg.solve(jacobian, off[..., None])[..., 0]
    return plane, usable & (np.abs(off).max(axis=1) < _LENS_PX)
