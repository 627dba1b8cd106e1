"""How bases move: limits, steering and slip, and what wheel encoders make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D, towards, wrap_angle
from mm_nav.robot import RobotConfig

_CREEP = 0.02  # m/s; below it an Ackermann base steers for the turn that was asked for at this speed


class Drive:
    """The wheels of a robot: follows commands as its limits allow. twist: what the wheels do now, base_link."""

    def __init__(self, robot: RobotConfig) -> None:
        self.robot = robot
        self.twist = Twist2D()
        self.steer = 0.0

    def stop(self) -> None:
        """Stand still at once, as a robot does that runs into something."""
        self.twist = Twist2D()

    def next_twist(self, target: Twist2D, dt: float) -> Twist2D:
        """Return the wheels' twist `dt` seconds on, under the command `target`; the steering moves on with it."""
        robot, now = self.robot, self.twist
        linear = towards(
            now.linear, min(max(target.linear, robot.min_linear), robot.max_linear), robot.max_linear_accel * dt
        )
        if robot.drive == "ackermann":
            speed = math.copysign(max(abs(target.linear), _CREEP), target.linear)
            wanted = math.atan(robot.wheelbase_m * target.angular / speed)
            wanted = min(max(wanted, -robot.max_steer), robot.max_steer)
            self.steer = towards(self.steer, wanted, robot.max_steer_rate * dt)
            angular = linear * math.tan(self.steer) / robot.wheelbase_m
            return Twist2D(linear, min(max(angular, -robot.max_angular), robot.max_angular))
        angular = towards(
            now.angular, min(max(target.angular, -robot.max_angular), robot.max_angular), robot.max_angular_accel * dt
        )
        if robot.drive != "omni":
            return Twist2D(linear, angular)
        lateral = towards(
            now.lateral, min(max(target.lateral, -robot.max_lateral), robot.max_lateral), robot.max_linear_accel * dt
        )
        return Twist2D(linear, angular, lateral)


def slipped(twist: Twist2D, robot: RobotConfig, random: np.random.Generator) -> Twist2D:
    """Return the motion over ground of wheels that turn as `twist` says. Draws from `random` only if they can slip."""
    if robot.wheel_slip <= 0 and robot.turn_slip <= 0:
        return twist
    lost = np.minimum(np.abs(random.standard_normal(2)) * (robot.wheel_slip, robot.turn_slip), 1.0)
    straight, turn = 1.0 - float(lost[0]), 1.0 - float(lost[1])
    return Twist2D(twist.linear * straight, twist.angular * turn, twist.lateral * straight)


def advance(pose: Pose2D, linear: float, angular: float, dt: float, lateral: float = 0.0) -> Pose2D:
    """Return the pose after dt seconds of constant velocity in base_link (m/s, rad/s); exact, not Euler."""
    turn = angular * dt
    half = turn / 2
    # The chord of the arc; sin(x)/x by its series where the quotient loses digits.
    share = dt * (math.sin(half) / half if abs(half) > 1e-6 else 1.0 - half * half / 6.0)
    direction = pose.yaw + half
    c, s = math.cos(direction), math.sin(direction)
    return Pose2D(
        pose.x + share * (linear * c - lateral * s),
        pose.y + share * (linear * s + lateral * c),
        wrap_angle(pose.yaw + turn),
    )


@dataclass(frozen=True)
class OdometryConfig:
    """How wheel odometry errs. Random walk: after d metres the error along the way has the standard deviation
    linear_noise * √d metres, and that of the heading √(angular_noise² * turned rad + heading_noise² * d) rad, whatever the
    length of a step. Calibration: at reset each robot draws a scale error of its distances and angles with the standard
    deviations linear_scale and angular_scale (0.01 = one percent). gyro: how far it turns is measured over ground, with these
    errors; else by the wheels, which do not know when they slip."""

    linear_noise: float = 0.01
    angular_noise: float = 0.01
    heading_noise: float = 0.002
    linear_scale: float = 0.0
    angular_scale: float = 0.0
    gyro: bool = False

    def __post_init__(self) -> None:
        for name in ("linear_noise", "angular_noise", "heading_noise", "linear_scale", "angular_scale"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"odometry {name} is {getattr(self, name)}: give 0 or more")


class WheelOdometry:
    """Adds up what the wheels did, with errors. pose: in the odom frame."""

    def __init__(self, config: OdometryConfig, random: np.random.Generator, pose: Pose2D) -> None:
        self._config, self._random = config, random
        self.pose = pose
        scales = random.standard_normal(2)
        self._linear_scale = 1.0 + config.linear_scale * float(scales[0])
        self._angular_scale = 1.0 + config.angular_scale * float(scales[1])

    def add(self, twist: Twist2D, dt: float) -> None:
        """Add `dt` seconds of the wheels' twist."""
        config = self._config
        distance = math.hypot(twist.linear, twist.lateral) * dt
        turned = abs(twist.angular) * dt
        noise = self._random.standard_normal(2)
        scale = self._linear_scale
        if distance > 0:
            scale += config.linear_noise * float(noise[0]) / math.sqrt(distance)
        heading = math.sqrt(config.angular_noise**2 * turned + config.heading_noise**2 * distance) * float(noise[1])
        angle = twist.angular * dt * self._angular_scale + heading
        self.pose = advance(self.pose, twist.linear * dt * scale, angle, 1.0, twist.lateral * dt * scale)
