"""An inertial measurement unit on a robot that moves in the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import ImuReading
from mm_nav.sim.sdf import rotation_rpy

Vector = npt.NDArray[np.float64]
GRAVITY = 9.80665  # m/s², standard gravity


@dataclass(frozen=True)
class ImuConfig:
    """An IMU. position: metres in base_link; rpy: rad, about the fixed axes of base_link.

    gyro_noise (rad/s/√Hz) and accel_noise (m/s²/√Hz): densities of the white noise. gyro_bias (rad/s) and accel_bias
    (m/s²): standard deviations of the biases drawn at reset; gyro_walk (rad/s/√s) and accel_walk (m/s²/√s): how they
    wander. The defaults are those of a consumer MEMS part. rate_hz: readings per second.
    """

    position: tuple[float, float, float] = (0.0, 0.0, 0.10)
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gyro_noise: float = 2.0e-4
    accel_noise: float = 2.0e-3
    gyro_bias: float = 2.0e-3
    accel_bias: float = 2.0e-2
    gyro_walk: float = 2.0e-5
    accel_walk: float = 3.0e-4
    rate_hz: float = 100.0

    def __post_init__(self) -> None:
        for name in ("gyro_noise", "accel_noise", "gyro_bias", "accel_bias", "gyro_walk", "accel_walk"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"IMU {name} is {getattr(self, name)}: it must not be negative")
        if not 0 < self.rate_hz <= 2000:
            raise ConfigError(f"IMU rate_hz is {self.rate_hz}: it must be above 0 and at most 2000")

    def base_T_sensor(self) -> npt.NDArray[np.float64]:
        """Return the sensor's pose (4, 4) in base_link."""
        pose = np.eye(4)
        pose[:3, :3] = rotation_rpy(*self.rpy)
        pose[:3, 3] = self.position
        return pose


class Imu:
    """Turns the motion of base_link into readings; keeps the biases."""

    def __init__(self, config: ImuConfig, random: np.random.Generator) -> None:
        self.config, self._random = config, random
        self._sensor_R_base = rotation_rpy(*config.rpy).T
        self._gyro_bias = config.gyro_bias * random.standard_normal(3)
        self._accel_bias = config.accel_bias * random.standard_normal(3)
        self._last_ns: int | None = None

    def read(self, stamp_ns: int, pose: Pose2D, twist: Twist2D, acceleration: Twist2D) -> ImuReading:
        """Return a reading. twist: of base_link (m/s, rad/s); acceleration: its rate of change (m/s², rad/s²)."""
        config, random = self.config, self._random
        rate, turn = twist.angular, acceleration.angular
        x, y, _ = config.position
        # Of the sensor's place: that of base_link, turning with the robot, plus that of the lever arm.
        force = np.array(
            [
                acceleration.linear - rate * twist.lateral - turn * y - rate * rate * x,
                acceleration.lateral + rate * twist.linear + turn * x - rate * rate * y,
                GRAVITY,
            ]
        )
        elapsed = 0.0 if self._last_ns is None else 1e-9 * (stamp_ns - self._last_ns)
        self._last_ns = stamp_ns
        if elapsed > 0:
            self._gyro_bias += config.gyro_walk * math.sqrt(elapsed) * random.standard_normal(3)
            self._accel_bias += config.accel_walk * math.sqrt(elapsed) * random.standard_normal(3)
        # A density over the reading's bandwidth, half its rate.
        width = math.sqrt(config.rate_hz)
        gyro = self._sensor_R_base @ np.array([0.0, 0.0, rate]) + self._gyro_bias
        accel = self._sensor_R_base @ force + self._accel_bias
        return ImuReading(
            stamp_ns,
            gyro + config.gyro_noise * width * random.standard_normal(3),
            accel + config.accel_noise * width * random.standard_normal(3),
            rotation_rpy(0.0, 0.0, pose.yaw) @ self._sensor_R_base.T,
        )
