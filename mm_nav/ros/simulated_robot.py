"""A robot of the embedded simulator on the ROS graph: its sensors go out, its cmd_vel comes in."""

from __future__ import annotations

from dataclasses import dataclass

from geometry_msgs.msg import Twist, TwistStamped
from mm_nav_interfaces.msg import GuardStatus
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2
from std_msgs.msg import Float32, UInt32
from tf2_msgs.msg import TFMessage

from mm_nav.geometry import Twist2D
from mm_nav.observation import Odometry
from mm_nav.ros import conversions, qos
from mm_nav.ros.stack_node import StackNode
from mm_nav.ros.topics import frames, topics
from mm_nav.sim.sensors import CameraConfig, CloudConfig, ImuConfig, LidarConfig
from mm_nav.sim.simulator import SensorConfig, Simulator

# Odometry goes out this often, and so does everything of a robot without an IMU; one with an IMU is stepped faster.
TICK_S, FAST_TICK_S = 0.05, 0.01
_KINDS = {
    CameraConfig: (Image, "image"), LidarConfig: (LaserScan, "scan"), CloudConfig: (PointCloud2, "points"),
    ImuConfig: (Imu, "imu"),
}  # fmt: skip


@dataclass
class _Outlet:
    """A sensor and where it is published. period_ns: from one message to the next, on average; due_ns: when the next is due."""

    name: str
    config: SensorConfig
    frame: str
    publisher: Publisher
    info: Publisher | None
    period_ns: int
    due_ns: int


class SimulatedRobot:
    """Publishers and subscription of one robot, made in the node's configure.

    name: namespace of its topics and its TF tree, below the node's own; "" = the node's own, with the TF tree that everybody
    shares. member: which one it is; the sensors of robots take turns, so that no step of the simulator gets them all.
    """

    def __init__(self, node: StackNode, name: str, simulator: Simulator, tick_s: float, member: int = 0) -> None:
        self.name, self.simulator = name, simulator
        self._node, self._tick_s = node, tick_s
        self._twist, self._commanded = Twist2D(), 0.0
        self._lost, self._lost_after_ns, self._moved_ns = "", 0.0, -1
        self._sent: dict[int, float] = {}
        t = topics()
        # Relative names where they can be: a launch file remaps /tf to tf where it gives the node a namespace.
        self._tf = node.create_publisher(TFMessage, self._topic("tf") if name else "/tf", qos.TF)
        self._tf_static = node.create_publisher(
            TFMessage, self._topic("tf_static") if name else "/tf_static", qos.STATIC_TF
        )
        self._odom = node.create_publisher(OdometryMessage, self._topic(t.odom), qos.ODOMETRY)
        self._truth = node.create_publisher(OdometryMessage, self._topic(t.ground_truth), qos.STATUS)
        self._contacts = node.create_publisher(UInt32, self._topic(t.contacts), qos.LATCHED)
        self._latency = node.create_publisher(Float32, self._topic(t.stamp_to_command), qos.STATUS)
        self._outlets = [self._outlet(key, sensor, member) for key, sensor in simulator.config.sensors().items()]
        kind = TwistStamped if node.value("twist_stamped") else Twist
        node.create_subscription(kind, self._topic(t.cmd_vel), self._receive, qos.COMMAND)
        node.create_subscription(GuardStatus, self._topic(t.guard_status), self._time, qos.STATUS)

    def _topic(self, name: str) -> str:
        return f"{self.name}/{name}" if self.name and not name.startswith("/") else name

    def _outlet(self, name: str, config: SensorConfig, member: int) -> _Outlet:
        """Create the publishers of a sensor: the main ones as config/topics.yaml says, others below their own name."""
        t, f, info = topics(), frames(), None
        main = {"camera": (t.image, f.camera), "scan": (t.scan, f.scan), "points": (t.points, f.points),
                "imu": (t.imu, f.imu)}  # fmt: skip
        kind, suffix = _KINDS[type(config)]
        optical = isinstance(config, CameraConfig)
        topic, frame = main.get(name, (f"{name}/{suffix}", f"{name}_optical_frame" if optical else f"{name}_link"))
        if optical:
            info_topic = t.camera_info if name == "camera" else f"{name}/camera_info"
            info = self._node.create_publisher(CameraInfo, self._topic(info_topic), qos.SENSOR)
        publisher = self._node.create_publisher(kind, self._topic(topic), qos.SENSOR)
        if config.rate_hz * self._tick_s > 1.0 + 1e-9:
            self._node.get_logger().warning(
                f"{self._topic(name)}: rate_hz is {config.rate_hz:g}, but it comes at {1.0 / self._tick_s:g} Hz, as time is stepped"
            )
        # Rounded down: a message that is due with a step comes with it.
        period = max(int(1e9 / config.rate_hz), round(self._tick_s * 1e9))
        return _Outlet(name, config, frame, publisher, info, period, period + member * round(TICK_S * 1e9) % period)

    def lose(self, sensor: str, after_s: float) -> None:
        """Let a sensor fall silent that long after the first motion, s of simulated time."""
        self._lost, self._lost_after_ns = sensor, 1e9 * after_s

    def _receive(self, message: TwistStamped | Twist) -> None:
        self._twist = conversions.twist_from(message.twist if isinstance(message, TwistStamped) else message)
        self._commanded = self._node.steady_s()

    def _time(self, message: GuardStatus) -> None:
        """From the sensors' stamp to the first wheel command that was computed from them, transport included: the guard sends its
        status right behind each."""
        sent = self._sent.pop(conversions.from_time(message.scan_stamp), None)
        if sent is not None:
            self._latency.publish(Float32(data=1e3 * (self._node.steady_s() - sent)))

    def command(self, timeout_s: float) -> Twist2D:
        """Return what the robot is to do now. As with a real base: no command for timeout_s (real time), no motion."""
        silent = self._node.steady_s() - self._commanded > timeout_s
        twist = Twist2D() if silent else self._twist
        if self._moved_ns < 0 and twist != Twist2D():
            self._moved_ns = self.simulator.time_ns + round(self._tick_s * 1e9)
        return twist

    def publish(self) -> None:
        """Send what is due now."""
        simulator, f, now = self.simulator, frames(), self.simulator.time_ns
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
        return name == self._lost and self._moved_ns >= 0 and now_ns - self._moved_ns >= self._lost_after_ns

    def _publish(self, outlet: _Outlet) -> None:
        simulator, name, frame = self.simulator, outlet.name, outlet.frame
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
        self._sent[stamp] = self._node.steady_s()
        while len(self._sent) > 50:
            del self._sent[next(iter(self._sent))]
        outlet.publisher.publish(message)

    def publish_mounts(self) -> None:
        """Say where the sensors sit."""
        mounts = []
        for outlet in self._outlets:
            config = outlet.config
            pose = config.base_T_camera() if isinstance(config, CameraConfig) else config.base_T_sensor()
            mounts.append(conversions.transform_message(pose, 0, frames().base, outlet.frame))
        self._tf_static.publish(TFMessage(transforms=mounts))
