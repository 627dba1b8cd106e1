"""A robot in a world: motion with limits, slip and contacts, odometry that drifts, sensors with noise, other people.
Deterministic for a seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.observation import CameraImage, ImuReading, LaserScan, Observation, Odometry, PointCloud
from mm_nav.robot import RobotConfig
from mm_nav.sim import lidar as lidars
from mm_nav.sim.camera import CameraConfig, RenderResult, as_rgb, render, render_colour
from mm_nav.sim.contacts import contact_world
from mm_nav.sim.drive import Drive, OdometryConfig, WheelOdometry, advance, slipped
from mm_nav.sim.imu import Imu, ImuConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.life import Life, LifeConfig
from mm_nav.sim.moving import MovingBodies, Surroundings
from mm_nav.sim.scene import Scene
from mm_nav.sim.sdf import rotation_rpy, transform
from mm_nav.sim.world import World

__all__ = [
    "CameraConfig", "CloudConfig", "ImuConfig", "LidarConfig", "LifeConfig", "OdometryConfig", "SensorConfig", "SimConfig",
    "Simulator",
]  # fmt: skip

_NS = 1_000_000_000
_APART = 0.05  # metres plus radians that the robot must move for a touch to count as a new collision
_STANDING = 0.05  # m/s and rad/s; somebody who walks into a robot slower than this has not been run into by it
STREAMS = {
    "odometry": 1,
    "scan": 2,
    "camera": 3,
    "points": 4,
    "slip": 5,
    "life": 6,
    "imu": 7,
}  # one of random numbers for each of these, from one seed
_EXTRA_STREAM = 100  # further sensors, in the order of their names

SensorConfig = CameraConfig | LidarConfig | CloudConfig | ImuConfig


@dataclass(frozen=True)
class SimConfig:
    """What is simulated.

    camera, lidar, cloud, imu: the sensors that the stack reads, named "camera", "scan", "points" and "imu"; None = the
    robot has no such sensor. extra: any number of further ones, by name. life: who else is about. physics_dt: seconds of
    one motion step; a step's dt must be a multiple of it.
    """

    robot: RobotConfig = field(default_factory=RobotConfig)
    camera: CameraConfig | None = field(default_factory=CameraConfig)
    lidar: LidarConfig | None = field(default_factory=LidarConfig)
    cloud: CloudConfig | None = None
    imu: ImuConfig | None = None
    extra: Mapping[str, SensorConfig] = field(default_factory=dict)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    life: LifeConfig | None = None
    physics_dt: float = 0.02

    def __post_init__(self) -> None:
        if not 0.0005 <= self.physics_dt <= 0.2:
            raise ConfigError(f"physics_dt is {self.physics_dt} s: it must be between 0.0005 and 0.2")
        if taken := sorted(set(self.extra) & {"camera", "scan", "points", "imu"}):
            raise ConfigError(f"extra sensor '{taken[0]}' has the name of a main one: choose another")

    def sensors(self) -> dict[str, SensorConfig]:
        """Return all sensors by name, the main ones first."""
        main = {"camera": self.camera, "scan": self.lidar, "points": self.cloud, "imu": self.imu}
        return {name: config for name, config in main.items() if config is not None} | dict(sorted(self.extra.items()))


class Simulator:
    """One robot in one scene.

    time_ns: simulated time. pose, twist: the truth, world frame and base_link. collided: whether the last step ran into
    contact. collisions: contacts since reset, one for each time the robot runs into something; being run into while it
    stands is none. collision_with: name of what it last touched. life: who else is about, None = nobody. surroundings:
    what moves around it, its life unless a fleet says otherwise. The odom frame coincides with the world frame at reset.
    """

    def __init__(
        self, scene: Scene | World, config: SimConfig | None = None, seed: int = 0, start: Pose2D | None = None,
        member: int = 0,
    ) -> None:  # fmt: skip
        """member: which robot of a fleet it is; from the same seed each draws noise of its own."""
        self.scene = scene if isinstance(scene, Scene) else Scene(scene)
        self.config = config or SimConfig()
        robot = self.config.robot
        self.contacts = contact_world(self.scene, robot)
        self._sensors = self.config.sensors()
        self._footprint = robot.footprint_array()
        self._physics_ns = round(self.config.physics_dt * _NS)
        self._delay_ns = round(robot.command_delay_s * _NS)
        longest = max(
            (max(getattr(c, "sweep_s", 0.0), getattr(c, "exposure_s", 0.0)) for c in self._sensors.values()),
            default=0.0,
        )
        self._past: deque[tuple[int, Pose2D]] = deque(maxlen=2 + math.ceil(longest / self.config.physics_dt))
        self._seed, self._member = seed, member
        self.reset(start or Pose2D(), seed)

    def reset(self, start: Pose2D | None = None, seed: int | None = None) -> None:
        """Put the robot at `start` (world frame), at rest, at time 0; `seed` None keeps the last one."""
        self._seed = self._seed if seed is None else seed
        streams = STREAMS | {name: _EXTRA_STREAM + i for i, name in enumerate(sorted(self.config.extra))}
        own = (self._member,) if self._member else ()
        self._random = {name: np.random.default_rng((self._seed, stream, *own)) for name, stream in streams.items()}
        self.time_ns = 0
        self.pose = start or Pose2D()
        self.twist, self._before, self._step_s = Twist2D(), Twist2D(), 1.0
        self.collided, self.collisions = False, 0
        self.collision_with: str | None = None
        self._drive = Drive(self.config.robot)
        self._odometry = WheelOdometry(self.config.odometry, self._random["odometry"], self.pose)
        life = self.config.life
        self.life = None if life is None else Life(self.scene, life, self._random["life"], [self.pose])
        self.surroundings: Surroundings | None = self.life
        self._imus = {
            name: Imu(config, self._random[name])
            for name, config in self._sensors.items()
            if isinstance(config, ImuConfig)
        }
        self._gains = {
            name: _gain(config, self._random[name])
            for name, config in self._sensors.items()
            if isinstance(config, CameraConfig)
        }
        self._contact_pose: Pose2D | None = None
        self._commands: deque[tuple[int, Twist2D]] = deque()
        self._target = Twist2D()
        self._past.clear()
        self._past.append((0, self.pose))

    # Motion

    def step(self, twist: Twist2D, dt: float) -> None:
        """Drive for `dt` seconds under the command `twist` (taken to the robot's limits, after its delay).

        Raises ConfigError when dt is not a positive multiple of physics_dt or the command is not finite.
        """
        count = self.begin(twist, dt)
        for _ in range(count):
            bumped: str | None = None
            if self.life is not None:
                bumped = self.life.step(self.config.physics_dt, [self.corners], [self.pose])[0]
            self.physics_step(bumped)

    @property
    def corners(self) -> npt.NDArray[np.float64]:
        """The footprint where the robot is: (K, 2), world, metres."""
        return self.pose.transform(self._footprint)

    def begin(self, twist: Twist2D, dt: float) -> int:
        """Give a command for the next `dt` seconds and return how many calls of `physics_step` they take.

        For who moves several robots in turn; `step` does both. Raises ConfigError as it does.
        """
        count, rest = divmod(round(dt * _NS), self._physics_ns)
        if count < 1 or rest:
            raise ConfigError(f"dt is {dt} s: it must be a multiple of physics_dt, {self.config.physics_dt} s")
        if not (math.isfinite(twist.linear) and math.isfinite(twist.angular) and math.isfinite(twist.lateral)):
            raise ConfigError(f"the command {twist} is not finite: give m/s and rad/s")
        self._commands.append((self.time_ns + self._delay_ns, twist))
        self.collided, self._before, self._step_s = False, self.twist, dt
        return count

    def physics_step(self, bumped: str | None = None) -> None:
        """Move for physics_dt. bumped: who has just been kept from walking into the robot."""
        while self._commands and self._commands[0][0] <= self.time_ns:
            self._target = self._commands.popleft()[1]
        self.collided |= self._moved_into(bumped)
        self.time_ns += self._physics_ns
        self._past.append((self.time_ns, self.pose))

    def _moved_into(self, bumped: str | None) -> bool:
        """Move, unless something is in the way; return whether it is."""
        robot, dt = self.config.robot, self.config.physics_dt
        wheels = self._drive.next_twist(self._target, dt)
        ground = slipped(wheels, robot, self._random["slip"])
        moves = bool(ground.linear or ground.angular or ground.lateral)
        moved = advance(self.pose, ground.linear, ground.angular, dt, ground.lateral)
        touched = self._touching(moved) if moves else None
        if bumped is not None and max(abs(ground.linear), abs(ground.lateral), abs(ground.angular)) > _STANDING:
            touched = touched or bumped
        # A robot that was put into an obstacle may drive out of it; nobody may drive into one.
        if touched is not None and self._touching(self.pose) is None:
            self.collisions += self._contact_pose is None  # pushing on against the same thing is one collision
            self._contact_pose, self.collision_with = self.pose, touched
            self.twist = Twist2D()
            self._drive.stop()
            return True
        self._drive.twist, self.twist = wheels, ground
        self._odometry.add(self._measured(wheels, ground), dt)
        self.pose, last = moved, self._contact_pose
        if last is not None and moved.distance_to(last) + abs(wrap_angle(moved.yaw - last.yaw)) > _APART:
            self._contact_pose = None
        return False

    def _touching(self, pose: Pose2D) -> str | None:
        found = self.contacts.touching(self._footprint, pose)
        if found is None and self.surroundings is not None:
            found = self.surroundings.touching(pose.transform(self._footprint))
        return found

    # Sensors. Each draws its noise from its own stream, so that switching one off does not change the others.

    @property
    def moving(self) -> MovingBodies | None:
        """What moves about, as the sensors see it."""
        return None if self.surroundings is None else self.surroundings.moving

    def odometry(self) -> Odometry:
        """Return the drifting pose in the odom frame, and the wheels' velocity."""
        return Odometry(self.time_ns, self._odometry.pose, self._measured(self._drive.twist, self.twist))

    def _measured(self, wheels: Twist2D, ground: Twist2D) -> Twist2D:
        return replace(wheels, angular=ground.angular) if self.config.odometry.gyro else wheels

    def scan(self, name: str = "scan") -> LaserScan:
        """Return one sweep of a planar LiDAR that ends now. Raises ConfigError when the robot has none of that name."""
        lidar = self._sensor(name, LidarConfig, "LiDAR")
        poses = self._sweep(lidar.base_T_sensor(), lidar.sweep_s, lidar.beams)
        ranges, _ = self._ranges(name, lidar, lidars.lidar_directions(lidar), poses)
        ranges = lidars.limit_ranges(ranges, lidar.range_min, lidar.range_max)
        return LaserScan(
            self.time_ns - round(lidar.sweep_s * _NS), ranges, lidar.angle_min, lidar.angle_increment, lidar.range_min,
            lidar.range_max, Pose2D(lidar.position[0], lidar.position[1], lidar.yaw), lidar.sweep_s / lidar.beams,
        )  # fmt: skip

    def image(self, name: str = "camera") -> CameraImage:
        """Return one picture of a camera. Raises ConfigError when the robot has none of that name."""
        camera = self._sensor(name, CameraConfig, "camera")
        colour, random = self._exposed(camera), self._random[name]
        gain = self._gains[name]
        if gain is not None:
            colour = colour * gain
        noise = None
        if camera.noise_std > 0:
            noise = random.standard_normal(colour.shape, np.float32) * np.float32(camera.noise_std)
        return CameraImage(
            self.time_ns, as_rgb(colour, noise), camera.intrinsics(), camera.base_T_camera(), camera.distortion,
            camera.distortion_model,
        )  # fmt: skip

    def cloud(self, name: str = "points") -> PointCloud:
        """Return one turn of a multi-ring LiDAR that ends now: points in base_link as the sensor, which takes itself to
        stand still, sees them. Raises ConfigError when the robot has none of that name."""
        cloud = self._sensor(name, CloudConfig, "multi-ring LiDAR")
        directions, mount = lidars.cloud_directions(cloud), cloud.base_T_sensor()
        poses = self._sweep(mount, cloud.sweep_s, cloud.columns)
        if poses.ndim == 3:
            poses = np.repeat(poses, cloud.rings, axis=0)
        ranges, signal = self._ranges(name, cloud, directions, poses)
        hit = np.flatnonzero((ranges >= cloud.range_min) & (ranges <= cloud.range_max))
        points = directions[hit] * ranges[hit, None]
        points = points @ mount[:3, :3].T.astype(np.float32) + mount[:3, 3].astype(np.float32)
        column_s = cloud.sweep_s / cloud.columns
        return PointCloud(
            self.time_ns - round(cloud.sweep_s * _NS),
            np.asarray(points, np.float32),
            (hit % cloud.rings).astype(np.uint16),
            (hit // cloud.rings * column_s).astype(np.float32),
            None if signal is None else signal[hit],
        )

    def imu(self, name: str = "imu") -> ImuReading:
        """Return one reading of an IMU. Raises ConfigError when the robot has none of that name."""
        self._sensor(name, ImuConfig, "IMU")
        now, before, dt = self.twist, self._before, self._step_s
        acceleration = Twist2D(
            (now.linear - before.linear) / dt, (now.angular - before.angular) / dt, (now.lateral - before.lateral) / dt
        )
        return self._imus[name].read(self.time_ns, self.pose, self.twist, acceleration)

    def _ranges(
        self, name: str, config: LidarConfig | CloudConfig, directions: npt.NDArray[np.float32],
        poses: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:  # fmt: skip
        """Return noisy ranges (N,) and, where returns can be weak, how strong each is."""
        random, signal = self._random[name], None
        if config.min_signal > 0:
            ranges, signal = lidars.cast_signal(self.scene, directions, poses, self.moving)
        else:
            ranges = lidars.cast(self.scene, directions, poses, self.moving)
        true = ranges
        if config.noise_std > 0:
            ranges = ranges + np.float32(config.noise_std) * random.standard_normal(len(ranges), np.float32)
        if config.min_signal > 0 or config.dropout > 0:
            weak = lidars.lose_weak_returns(true, signal, config, random)
            ranges = np.where(np.isinf(weak), weak, ranges)
        return ranges, signal

    def _exposed(self, camera: CameraConfig) -> npt.NDArray[np.float32]:
        """Return the colours (H, W, 3) of a picture taken over the exposure time that ends now."""
        mount = camera.base_T_camera()
        if camera.exposure_s <= 0 or camera.blur_samples < 2:
            return render_colour(self.scene, camera, self._pose3d(self.pose) @ mount, self.moving)[0]
        count = camera.blur_samples
        track = np.stack(self._track_before(camera.exposure_s * (1.0 - (np.arange(count) + 0.5) / count)), axis=-1)
        poses = [self._pose3d(Pose2D(*row)) for row in track.tolist()]
        taken = [render_colour(self.scene, camera, pose @ mount, self.moving)[0] for pose in poses]
        return np.asarray(np.mean(taken, axis=0), np.float32)

    def _sweep(self, mount: npt.NDArray[np.float64], sweep_s: float, count: int) -> npt.NDArray[np.float64]:
        """Return the sensor's pose in the world (4, 4), or while it sweeps one for each of `count` directions."""
        if sweep_s <= 0:
            return self._pose3d(self.pose) @ mount
        x, y, yaw = self._track_before(sweep_s * (1.0 - np.arange(count) / count))
        poses = np.zeros((count, 4, 4))
        poses[:, 0, 0] = poses[:, 1, 1] = np.cos(yaw)
        poses[:, 1, 0] = np.sin(yaw)
        poses[:, 0, 1] = -poses[:, 1, 0]
        poses[:, 2, 2] = poses[:, 3, 3] = 1.0
        poses[:, 0, 3], poses[:, 1, 3], poses[:, 2, 3] = x, y, self.scene.floor_z
        return np.asarray(poses @ mount)

    def _track_before(self, ages: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
        """Return x, y, yaw (N,) of where the robot was `ages` (N,) seconds ago; at reset for times before that."""
        times = np.array([time for time, _ in self._past], np.float64)
        track = np.array([(pose.x, pose.y, pose.yaw) for _, pose in self._past])
        track[:, 2] = np.unwrap(track[:, 2])
        wanted = self.time_ns - ages * _NS
        return [np.interp(wanted, times, column) for column in track.T]

    def _sensor(self, name: str, kind: type[_Sensor], what: str) -> _Sensor:
        config = self._sensors.get(name)
        if not isinstance(config, kind):
            having = [known for known, other in self._sensors.items() if isinstance(other, kind)]
            raise ConfigError(
                f"this robot has no {what} '{name}' (it has {', '.join(having) or 'none'}): see SimConfig and its extra"
            )
        return config

    def observe(self, image: bool = True) -> Observation:
        """Return everything the stack senses now; `image=False` leaves the camera out (it is the costly one)."""
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
        return render(self.scene, view, self._pose3d(pose or self.pose) @ view.base_T_camera(), self.moving)

    def _pose3d(self, pose: Pose2D) -> npt.NDArray[np.float64]:
        return transform(rotation_rpy(0.0, 0.0, pose.yaw), (pose.x, pose.y, self.scene.floor_z))


_Sensor = TypeVar("_Sensor", CameraConfig, LidarConfig, CloudConfig, ImuConfig)


def _gain(camera: CameraConfig, random: np.random.Generator) -> npt.NDArray[np.float32] | None:
    """Return the gain of each channel (3,) of a camera for one run; None = 1. Draws only where something may vary."""
    if camera.exposure_jitter <= 0 and camera.colour_jitter <= 0:
        return None
    stops, channels = camera.exposure_jitter * random.standard_normal(), random.standard_normal(3)
    return np.asarray(2.0**stops * np.maximum(1.0 + camera.colour_jitter * channels, 0.1), np.float32)
