"""A robot in a world: motion with limits and contacts, odometry that drifts, sensors with noise. Deterministic for a
seed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud
from mm_nav.robot import RobotConfig
from mm_nav.sim import sensors
from mm_nav.sim.contacts import contact_world
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import CameraConfig, CloudConfig, LidarConfig, RenderResult
from mm_nav.sim.world import World

__all__ = ["CameraConfig", "CloudConfig", "LidarConfig", "SimConfig", "Simulator"]

_NS = 1_000_000_000
_APART = 0.05  # metres plus radians that the robot must move for a touch to count as a new collision
_STREAMS = {"odometry": 1, "scan": 2, "image": 3, "cloud": 4}


@dataclass(frozen=True)
class SimConfig:
    """What is simulated. None = the robot has no such sensor.

    odometry_linear_noise, odometry_angular_noise: standard deviation of the odometry's error as a share of each
    increment. physics_dt: seconds of one motion step; a step's dt must be a multiple of it.
    """

    robot: RobotConfig = field(default_factory=RobotConfig)
    camera: CameraConfig | None = field(default_factory=CameraConfig)
    lidar: LidarConfig | None = field(default_factory=LidarConfig)
    cloud: CloudConfig | None = None
    odometry_linear_noise: float = 0.005
    odometry_angular_noise: float = 0.01
    physics_dt: float = 0.02

    def __post_init__(self) -> None:
        if not 0.0005 <= self.physics_dt <= 0.2:
            raise ConfigError(f"physics_dt is {self.physics_dt} s: it must be between 0.0005 and 0.2")
        if self.odometry_linear_noise < 0 or self.odometry_angular_noise < 0:
            raise ConfigError("odometry noise is negative: give 0 or more (0.01 = one percent)")


class Simulator:
    """One robot in one scene.

    time_ns: simulated time. pose, twist: the truth, world frame and base_link. collided: whether the last step ran into
    contact. collisions: contacts since reset, one for each time the robot runs into something. collision_with: name
    of the model last touched. The odom frame coincides with the world frame at reset.
    """

    def __init__(
        self, scene: Scene | World, config: SimConfig | None = None, seed: int = 0, start: Pose2D | None = None
    ) -> None:
        self.scene = scene if isinstance(scene, Scene) else Scene(scene)
        self.config = config or SimConfig()
        robot = self.config.robot
        self.contacts = contact_world(self.scene, robot)
        self._footprint = robot.footprint_array()
        self._physics_ns = round(self.config.physics_dt * _NS)
        self._delay_ns = round(robot.command_delay_s * _NS)
        self._seed = seed
        self.reset(start or Pose2D(), seed)

    def reset(self, start: Pose2D | None = None, seed: int | None = None) -> None:
        """Put the robot at `start` (world frame), at rest, at time 0; `seed` None keeps the last one."""
        self._seed = self._seed if seed is None else seed
        self._random = {name: np.random.default_rng((self._seed, stream)) for name, stream in _STREAMS.items()}
        self.time_ns = 0
        self.pose = start or Pose2D()
        self.twist = Twist2D()
        self.collided, self.collisions = False, 0
        self.collision_with: str | None = None
        self._odometry_pose = self.pose
        self._contact_pose: Pose2D | None = None
        self._commands: deque[tuple[int, Twist2D]] = deque()
        self._target = Twist2D()

    # Motion

    def step(self, twist: Twist2D, dt: float) -> None:
        """Drive for `dt` seconds under the command `twist` (taken to the robot's limits, after its delay).

        Raises ConfigError when dt is not a positive multiple of physics_dt or the command is not finite.
        """
        count, rest = divmod(round(dt * _NS), self._physics_ns)
        if count < 1 or rest:
            raise ConfigError(f"dt is {dt} s: it must be a multiple of physics_dt, {self.config.physics_dt} s")
        if not (math.isfinite(twist.linear) and math.isfinite(twist.angular)):
            raise ConfigError(f"the command {twist} is not finite: give m/s and rad/s")
        self._commands.append((self.time_ns + self._delay_ns, twist))
        contact = False
        for _ in range(count):
            while self._commands and self._commands[0][0] <= self.time_ns:
                self._target = self._commands.popleft()[1]
            contact |= self._substep()
            self.time_ns += self._physics_ns
        self.collided = contact

    def _substep(self) -> bool:
        robot, dt = self.config.robot, self.config.physics_dt
        linear = _approach(
            self.twist.linear,
            min(max(self._target.linear, robot.min_linear), robot.max_linear),
            robot.max_linear_accel * dt,
        )
        angular = _approach(
            self.twist.angular,
            min(max(self._target.angular, -robot.max_angular), robot.max_angular),
            robot.max_angular_accel * dt,
        )
        moved = advance(self.pose, linear, angular, dt)
        touched = self.contacts.touching(self._footprint, moved) if linear or angular else None
        # A robot that was put into an obstacle may drive out of it; nobody may drive into one.
        if touched is not None and self.contacts.touching(self._footprint, self.pose) is None:
            self.collisions += self._contact_pose is None  # pushing on against the same thing is one collision
            self._contact_pose, self.twist, self.collision_with = self.pose, Twist2D(), touched
            return True
        self.twist = Twist2D(linear, angular)
        self._drift(linear * dt, angular * dt)
        self.pose, last = moved, self._contact_pose
        if last is not None and moved.distance_to(last) + abs(wrap_angle(moved.yaw - last.yaw)) > _APART:
            self._contact_pose = None
        return False

    def _drift(self, distance: float, angle: float) -> None:
        """Add one increment to the odometry, with an error in proportion to it."""
        random = self._random["odometry"].standard_normal(2)
        distance *= 1.0 + self.config.odometry_linear_noise * float(random[0])
        angle *= 1.0 + self.config.odometry_angular_noise * float(random[1])
        self._odometry_pose = advance(self._odometry_pose, distance, angle, 1.0)

    # Sensors. Each draws its noise from its own stream, so that switching one off does not change the others.

    def odometry(self) -> Odometry:
        """Return the drifting pose in the odom frame, and the velocity."""
        return Odometry(self.time_ns, self._odometry_pose, self.twist)

    def scan(self) -> LaserScan:
        """Return one sweep of the LiDAR, taken at this instant. Raises ConfigError when the robot has none."""
        lidar = _need(self.config.lidar, "LiDAR", "lidar")
        ranges = sensors.cast(self.scene, sensors.lidar_directions(lidar), self._mount(lidar.position))
        if lidar.noise_std > 0:
            noise = self._random["scan"].standard_normal(len(ranges), np.float32)
            ranges = ranges + np.float32(lidar.noise_std) * noise
        ranges = sensors.limit_ranges(ranges, lidar.range_min, lidar.range_max)
        mount = Pose2D(lidar.position[0], lidar.position[1])
        return LaserScan(
            self.time_ns, ranges, lidar.angle_min, lidar.angle_increment, lidar.range_min, lidar.range_max, mount
        )

    def image(self) -> CameraImage:
        """Return one picture of the camera. Raises ConfigError when the robot has none."""
        camera = _need(self.config.camera, "camera", "camera")
        rgb = sensors.render(self.scene, camera, self._pose3d(self.pose) @ camera.base_T_camera()).rgb
        if camera.noise_std > 0:
            noise = self._random["image"].standard_normal(rgb.shape, np.float32) * np.float32(camera.noise_std)
            rgb = np.clip(rgb + noise + np.float32(0.5), 0, 255).astype(np.uint8)
        return CameraImage(self.time_ns, rgb, camera.intrinsics(), camera.base_T_camera())

    def cloud(self) -> PointCloud:
        """Return one turn of the multi-ring LiDAR. Raises ConfigError when the robot has none."""
        cloud = _need(self.config.cloud, "multi-ring LiDAR", "cloud")
        directions = sensors.cloud_directions(cloud)
        ranges = sensors.cast(self.scene, directions, self._mount(cloud.position))
        if cloud.noise_std > 0:
            noise = self._random["cloud"].standard_normal(len(ranges), np.float32)
            ranges = ranges + np.float32(cloud.noise_std) * noise
        hit = (ranges >= cloud.range_min) & (ranges <= cloud.range_max)
        points = directions[hit] * ranges[hit, None] + np.array(cloud.position, np.float32)
        return PointCloud(self.time_ns, np.asarray(points, np.float32))

    def observe(self, image: bool = True) -> Observation:
        """Return everything the robot senses now; `image=False` leaves the camera out (it is the costly one)."""
        config = self.config
        return Observation(
            self.time_ns,
            self.odometry(),
            self.scan() if config.lidar is not None else None,
            self.image() if image and config.camera is not None else None,
            self.cloud() if config.cloud is not None else None,
        )

    def render(
        self, width: int | None = None, height: int | None = None, pose: Pose2D | None = None,
        camera: CameraConfig | None = None,
    ) -> RenderResult:  # fmt: skip
        """Return picture, depth and model labels without noise: of the robot's camera, or `camera`, at `pose` or its
        own.
        """
        base = camera or self.config.camera or CameraConfig()
        view = replace(base, width=width or base.width, height=height or base.height)
        return sensors.render(self.scene, view, self._pose3d(pose or self.pose) @ view.base_T_camera())

    def _pose3d(self, pose: Pose2D) -> npt.NDArray[np.float64]:
        c, s = math.cos(pose.yaw), math.sin(pose.yaw)
        floor = self.scene.floor_z
        return np.array([[c, -s, 0.0, pose.x], [s, c, 0.0, pose.y], [0.0, 0.0, 1.0, floor], [0.0, 0.0, 0.0, 1.0]])

    def _mount(self, position: tuple[float, float, float]) -> npt.NDArray[np.float64]:
        mount = np.eye(4)
        mount[:3, 3] = position
        return self._pose3d(self.pose) @ mount


def advance(pose: Pose2D, linear: float, angular: float, dt: float) -> Pose2D:
    """Return the pose after driving an arc of constant velocity (m/s, rad/s) for dt seconds; exact, not Euler."""
    turn = angular * dt
    half = turn / 2
    # The chord of the arc; sin(x)/x by its series where the quotient loses digits.
    chord = linear * dt * (math.sin(half) / half if abs(half) > 1e-6 else 1.0 - half * half / 6.0)
    direction = pose.yaw + half
    return Pose2D(
        pose.x + chord * math.cos(direction), pose.y + chord * math.sin(direction), wrap_angle(pose.yaw + turn)
    )


def _approach(value: float, target: float, step: float) -> float:
    return min(value + step, target) if target > value else max(value - step, target)


_Config = TypeVar("_Config")


def _need(config: _Config | None, what: str, key: str) -> _Config:
    if config is None:
        raise ConfigError(f"this robot has no {what}: set SimConfig.{key}")
    return config
