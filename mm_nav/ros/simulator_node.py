"""The embedded simulator as a ROS 2 node: what Gazebo and its bridge, or a robot's drivers, would publish."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2
from std_msgs.msg import Float32, UInt32
from tf2_msgs.msg import TFMessage

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import Odometry
from mm_nav.resources import resource_path
from mm_nav.ros import conversions, qos
from mm_nav.ros.parameters import ParameterSpec
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.messages import stamp_ns
from mm_nav.sim.rig import load_life, load_rig
from mm_nav.sim.sensors import CameraConfig, CloudConfig, ImuConfig, LidarConfig
from mm_nav.sim.simulator import LifeConfig, SensorConfig, SimConfig, Simulator
from mm_nav.sim.world import load_world

TICK_S, FAST_TICK_S = 0.05, 0.01  # the fast one for robots with an IMU, whose rate it limits
PHYSICS_S = 0.01
_KINDS = {
    CameraConfig: (Image, "image"), LidarConfig: (LaserScan, "scan"), CloudConfig: (PointCloud2, "points"),
    ImuConfig: (Imu, "imu"),
}  # fmt: skip


@dataclass
class Outlet:
    """A sensor and where it is published. period_ns: from one message to the next; due_ns: when the next one is due."""

    name: str
    config: SensorConfig
    frame: str
    publisher: Publisher
    info: Publisher | None
    period_ns: int
    due_ns: int


class SimulatorNode(StackNode):
    """Steps the simulator in real time (or faster), publishes its sensors and the clock, obeys cmd_vel."""

    PARAMETERS = (
        ParameterSpec("world", "", "SDF world file; empty = the apartment that comes with mm_nav"),
        ParameterSpec("start_x", 0.0, "start position, m", -1000.0, 1000.0),
        ParameterSpec("start_y", 0.0, "start position, m", -1000.0, 1000.0),
        ParameterSpec("start_yaw", 0.0, "start heading, rad", -6.3, 6.3),
        ParameterSpec("seed", 0, "seed of all sensor and odometry noise, and of the people", 0, 2**31 - 1),
        ParameterSpec("rate", 1.0, "simulated seconds per second; 0 = as fast as possible", 0.0, 100.0),
        ParameterSpec("robot", "generic", "robot with its sensors: a name in config/robots, or a YAML file"),
        ParameterSpec("urdf", "", "URDF file with the links that the robot's sensors are mounted on; empty = its own"),
        ParameterSpec("people", 0, "people who wander about", 0, 200),
        ParameterSpec("life", "", "YAML file with people, robots and doors that move; empty = none but `people`"),
        ParameterSpec("camera", True, "simulate the camera"),
        ParameterSpec("camera_width", 0, "pixels; 0 = as the robot's file says", 0, 4096),
        ParameterSpec("camera_height", 0, "pixels; 0 = as the robot's file says", 0, 4096),
        ParameterSpec("camera_fov", 0.0, "horizontal field of view, rad; 0 = as the robot's file says", 0.0, 3.0),
        ParameterSpec("shadows", False, "render shadows (costs about twice the time)"),
        ParameterSpec(
            "command_timeout", 0.15, "without a command for this long the robot stops, s of real time", 0.05, 5.0
        ),
        ParameterSpec("twist_stamped", True, "cmd_vel is TwistStamped; false: Twist"),
        ParameterSpec("lost", "", "sensor that falls silent, to see what the stack does then: its name; empty = none"),
        ParameterSpec("lost_after", 2.0, "when it does: after the first motion, s of simulated time", 0.0, 3600.0),
    )

    def __init__(self) -> None:
        super().__init__("simulator")
        self._timer = None

    def configure(self) -> None:
        """Load robot and world, and create the publishers."""
        world = str(self.value("world"))
        path = Path(world) if world else resource_path("worlds/apartment.sdf")
        if not path.is_file():
            raise ConfigError(f"world file {path} does not exist: give the parameter `world` a path")
        config = self._sim_config()
        start = Pose2D(*(float(self.value(f"start_{axis}")) for axis in ("x", "y", "yaw")))
        self.get_logger().info(f"loading {path}")
        self._simulator = Simulator(load_world(path), config, seed=int(self.value("seed")), start=start)
        self._tick_s = FAST_TICK_S if any(isinstance(c, ImuConfig) for c in config.sensors().values()) else TICK_S
        self._twist, self._commanded = Twist2D(), 0.0
        self._lost, self._moved_ns = str(self.value("lost")), -1
        if self._lost and self._lost not in config.sensors():
            raise ConfigError(f"lost is '{self._lost}': give one of {', '.join(config.sensors())}, or nothing")
        self._sent: dict[int, float] = {}
        t = topics()
        self._clock = self.create_publisher(ClockMessage, "/clock", qos.STATUS)
        self._tf = self.create_publisher(TFMessage, "/tf", qos.STATIC_TF)
        self._tf_static = self.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        self._odom = self.create_publisher(OdometryMessage, t.odom, qos.ODOMETRY)
        self._truth = self.create_publisher(OdometryMessage, t.ground_truth, qos.STATUS)
        self._contacts = self.create_publisher(UInt32, t.contacts, qos.LATCHED)
        self._latency = self.create_publisher(Float32, t.stamp_to_command, qos.STATUS)
        self._outlets = [self._outlet(name, sensor) for name, sensor in config.sensors().items()]
        kind = TwistStamped if self.value("twist_stamped") else Twist
        self._command = self.create_subscription(kind, t.cmd_vel, self._receive, qos.COMMAND)

    def _sim_config(self) -> SimConfig:
        config = load_rig(str(self.value("robot")), str(self.value("urdf")) or None)
        camera = config.camera if self.value("camera") else None
        if camera is not None:
            given = {"width": "camera_width", "height": "camera_height", "horizontal_fov": "camera_fov"}
            changes = {field: self.value(name) for field, name in given.items() if self.value(name)}
            camera = replace(camera, shadows=bool(self.value("shadows")), **changes)
        life = load_life(str(self.value("life"))) if self.value("life") else config.life
        if self.value("people"):
            life = replace(life or LifeConfig(), people=int(self.value("people")))
        return replace(config, camera=camera, life=life, physics_dt=PHYSICS_S)

    def _outlet(self, name: str, config: SensorConfig) -> Outlet:
        """Create the publishers of a sensor: the main ones as config/topics.yaml says, others below their own name."""
        t, f, info = topics(), frames(), None
        main = {"camera": (t.image, f.camera), "scan": (t.scan, f.scan), "points": (t.points, f.points),
                "imu": (t.imu, f.imu)}  # fmt: skip
        kind, suffix = _KINDS[type(config)]
        optical = isinstance(config, CameraConfig)
        topic, frame = main.get(name, (f"{name}/{suffix}", f"{name}_optical_frame" if optical else f"{name}_link"))
        if optical:
            info_topic = t.camera_info if name == "camera" else f"{name}/camera_info"
            info = self.create_publisher(CameraInfo, info_topic, qos.SENSOR)
        period = max(round(1.0 / config.rate_hz / self._tick_s), 1) * round(self._tick_s * 1e9)
        return Outlet(name, config, frame, self.create_publisher(kind, topic, qos.SENSOR), info, period, period)

    def activate(self) -> None:
        """Start the clock."""
        rate = float(self.value("rate"))
        self._timer = self.create_timer(self._tick_s / rate if rate > 0 else 1e-4, self._step, clock=self.steady)
        self._publish_mounts()

    def deactivate(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def cleanup(self) -> None:
        """Drop publishers and world."""
        outlets = (publisher for o in self._outlets for publisher in (o.publisher, o.info) if publisher is not None)
        for publisher in (self._clock, self._tf, self._tf_static, self._odom, self._truth, self._contacts, self._latency,
                          *outlets):  # fmt: skip
            self.destroy_publisher(publisher)
        self.destroy_subscription(self._command)
        del self._simulator

    def _receive(self, message: TwistStamped | Twist) -> None:
        self._twist = conversions.twist_from(message.twist if isinstance(message, TwistStamped) else message)
        now = self.steady_s()
        self._commanded = now
        # From the sensors' stamp to the first wheel command that was computed from them, transport included.
        sent = self._sent.pop(stamp_ns(message.header), None) if isinstance(message, TwistStamped) else None
        if sent is not None:
            self._latency.publish(Float32(data=1e3 * (now - sent)))

    def _step(self) -> None:
        # As a real base does: no command, no motion.
        silent = self.steady_s() - self._commanded > float(self.value("command_timeout"))
        simulator, f = self._simulator, frames()
        twist = Twist2D() if silent else self._twist
        simulator.step(twist, self._tick_s)
        now = simulator.time_ns
        if self._moved_ns < 0 and twist != Twist2D():
            self._moved_ns = now
        stamp: Time = conversions.to_time(now)
        self._clock.publish(ClockMessage(clock=stamp))
        if now % round(TICK_S * 1e9) == 0:
            odometry = simulator.odometry()
            self._odom.publish(conversions.odometry_message(odometry, f.odom, f.base))
            matrix = conversions.planar_matrix(odometry.pose)
            self._tf.publish(TFMessage(transforms=[conversions.transform_message(matrix, now, f.odom, f.base)]))
            truth = Odometry(now, simulator.pose, simulator.twist)
            self._truth.publish(conversions.odometry_message(truth, f.map, f.base))
            self._contacts.publish(UInt32(data=simulator.collisions))
        for outlet in self._outlets:
            if now >= outlet.due_ns:
                outlet.due_ns += outlet.period_ns
                if not self._is_lost(outlet.name, now):
                    self._publish(outlet)

    def _is_lost(self, name: str, now_ns: int) -> bool:
        return (
            name == self._lost
            and self._moved_ns >= 0
            and now_ns - self._moved_ns >= 1e9 * float(self.value("lost_after"))
        )

    def _publish(self, outlet: Outlet) -> None:
        simulator, name, frame = self._simulator, outlet.name, outlet.frame
        if isinstance(outlet.config, ImuConfig):
            outlet.publisher.publish(conversions.imu_message(simulator.imu(name), frame))
            return
        if isinstance(outlet.config, CameraConfig):
            image = simulator.image(name)
            stamp = image.stamp_ns
            if outlet.info is not None:
                outlet.info.publish(conversions.camera_info_message(image, frame))
            message = conversions.image_message(image, frame)
        elif isinstance(outlet.config, LidarConfig):
            scan = simulator.scan(name)
            stamp, message = scan.stamp_ns, conversions.scan_message(scan, frame, 1e-9 * outlet.period_ns)
        else:
            cloud = simulator.cloud(name)
            stamp, message = cloud.stamp_ns, conversions.cloud_message(cloud, outlet.config.base_T_sensor(), frame)
        self._sent[stamp] = self.steady_s()
        while len(self._sent) > 50:
            del self._sent[next(iter(self._sent))]
        outlet.publisher.publish(message)

    def _publish_mounts(self) -> None:
        mounts = []
        for outlet in self._outlets:
            config = outlet.config
            pose = config.base_T_camera() if isinstance(config, CameraConfig) else config.base_T_sensor()
            mounts.append(conversions.transform_message(pose, 0, frames().base, outlet.frame))
        self._tf_static.publish(TFMessage(transforms=mounts))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(SimulatorNode, argv)


if __name__ == "__main__":
    sys.exit(main())
