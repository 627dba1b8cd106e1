"""What the robot senses, as plain arrays with units and frames. Times are integer nanoseconds of the robot's clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, Twist2D


@dataclass(frozen=True)
class LaserScan:
    """One sweep of a planar LiDAR.

    stamp_ns: time of the first beam. ranges: (N,) float32, metres, in the sensor frame; inf = no return,
    nan = invalid. Beam i looks along angle_min + i * angle_increment (rad, counter-clockwise).
    mount: pose of the sensor in base_link. time_increment_s: from one beam to the next; 0 = all at once.
    """

    stamp_ns: int
    ranges: npt.NDArray[np.float32]
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    mount: Pose2D = field(default_factory=Pose2D)
    time_increment_s: float = 0.0

    def angles(self) -> npt.NDArray[np.float64]:
        """Return the beam directions (N,) in the sensor frame, rad."""
        return np.asarray(self.angle_min + self.angle_increment * np.arange(len(self.ranges)), np.float64)

    @property
    def looks_around(self) -> bool:
        """Whether the beams go all around, so that the last is beside the first."""
        step = abs(self.angle_increment)
        return bool(step * len(self.ranges) > 2 * np.pi - 1.5 * step)

    def valid(self) -> npt.NDArray[np.bool_]:
        """Return which beams (N,) hit something: finite and inside [range_min, range_max]."""
        with np.errstate(invalid="ignore"):
            hit = (self.ranges >= self.range_min) & (self.ranges <= self.range_max)
        return np.asarray(hit & np.isfinite(self.ranges))

    def points(self) -> npt.NDArray[np.float64]:
        """Return the hits (M, 2) in base_link, metres."""
        hit = self.valid()
        angles, ranges = self.angles()[hit], self.ranges[hit].astype(np.float64)
        return self.mount.transform(np.stack([ranges * np.cos(angles), ranges * np.sin(angles)], axis=-1))


@dataclass(frozen=True)
class CameraImage:
    """One picture of a camera.

    rgb: (H, W, 3) uint8. intrinsics: (3, 3) float64, pixels. base_T_camera: (4, 4) float64, pose of the camera's
    optical frame (x right, y down, z forward; REP 103) in base_link, metres. distortion: OpenCV's coefficients of
    distortion_model (sensor_msgs/CameraInfo's names); () = a rectified picture.
    """

    stamp_ns: int
    rgb: npt.NDArray[np.uint8]
    intrinsics: npt.NDArray[np.float64]
    base_T_camera: npt.NDArray[np.float64]
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.rgb.shape[:2]
        return height, width


@dataclass(frozen=True)
class PointCloud:
    """Points of a 3D LiDAR: points (N, 3) float32, metres, in base_link (x forward, y left, z up, z = 0 on the floor).

    ring: (N,) uint16, 0 = lowest. time_s: (N,) float32, after stamp_ns. intensity: (N,) float32, 0 to 1. None = unknown.
    """

    stamp_ns: int
    points: npt.NDArray[np.float32]
    ring: npt.NDArray[np.uint16] | None = None
    time_s: npt.NDArray[np.float32] | None = None
    intensity: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ImuReading:
    """One reading of an inertial measurement unit, in its own frame.

    angular_velocity: (3,) rad/s. linear_acceleration: (3,) m/s², gravity included (0, 0, +9.81 at rest; REP 145).
    orientation: (3, 3) rotation of the sensor in the world; a simulator's truth, not measured.
    """

    stamp_ns: int
    angular_velocity: npt.NDArray[np.float64]
    linear_acceleration: npt.NDArray[np.float64]
    orientation: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Odometry:
    """Pose of base_link in the odom frame, and its velocity in base_link."""

    stamp_ns: int
    pose: Pose2D
    twist: Twist2D = field(default_factory=Twist2D)


@dataclass(frozen=True)
class Observation:
    """Everything one step of the navigator gets. A missing modality is None, never zeros.

    stamp_ns: the time the observation stands for (the scan's stamp where there is a scan). The image's own stamp may
    be older; odometry is given for stamp_ns.
    """

    stamp_ns: int
    odometry: Odometry
    scan: LaserScan | None = None
    image: CameraImage | None = None
    cloud: PointCloud | None = None
