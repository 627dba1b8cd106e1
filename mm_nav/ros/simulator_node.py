"""The embedded simulator as a ROS 2 node: what Gazebo and its bridge, or a robot's drivers, would publish."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry as OdometryMessage
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from std_msgs.msg import Float32, UInt32
from tf2_msgs.msg import TFMessage

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import Odometry
from mm_nav.resources import resource_path
from mm_nav.robot import RobotConfig
from mm_nav.ros import conversions, qos
from mm_nav.ros.parameters import ParameterSpec
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.messages import stamp_ns
from mm_nav.sim.sensors import CameraConfig, LidarConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import load_world

TICK_S = 0.05


class SimulatorNode(StackNode):
    """Steps the simulator in real time (or faster), publishes its sensors and the clock, obeys cmd_vel."""

    PARAMETERS = (
        ParameterSpec("world", "", "SDF world file; empty = the apartment that comes with mm_nav"),
        ParameterSpec("start_x", 0.0, "start position, m", -1000.0, 1000.0),
        ParameterSpec("start_y", 0.0, "start position, m", -1000.0, 1000.0),
        ParameterSpec("start_yaw", 0.0, "start heading, rad", -6.3, 6.3),
        ParameterSpec("seed", 0, "seed of all sensor and odometry noise", 0, 2**31 - 1),
        ParameterSpec("rate", 1.0, "simulated seconds per second; 0 = as fast as possible", 0.0, 100.0),
        ParameterSpec("camera", True, "simulate the camera"),
        ParameterSpec("camera_width", 320, "pixels", 16, 4096),
        ParameterSpec("camera_height", 240, "pixels", 16, 4096),
        ParameterSpec("camera_fov", 1.5, "horizontal field of view, rad", 0.2, 3.0),
        ParameterSpec("sensor_period_ticks", 2, "ticks of 0.05 s from one scan and picture to the next", 1, 100),
        ParameterSpec(
            "command_timeout", 0.15, "without a command for this long the robot stops, s of real time", 0.05, 5.0
        ),
        ParameterSpec("twist_stamped", True, "cmd_vel is TwistStamped; false: Twist"),
    )

    def __init__(self) -> None:
        super().__init__("simulator")
        self._timer = None

    def configure(self) -> None:
        """Load the world and create the publishers."""
        world = str(self.value("world"))
        path = Path(world) if world else resource_path("worlds/apartment.sdf")
        if not path.is_file():
            raise ConfigError(f"world file {path} does not exist: give the parameter `world` a path")
        camera = CameraConfig(
            width=int(self.value("camera_width")), height=int(self.value("camera_height")),
            horizontal_fov=float(self.value("camera_fov")),
        )  # fmt: skip
        config = SimConfig(
            robot=RobotConfig(),
            camera=camera if self.value("camera") else None,
            lidar=LidarConfig(),
            physics_dt=TICK_S / 5,
        )
        start = Pose2D(*(float(self.value(f"start_{axis}")) for axis in ("x", "y", "yaw")))
        self.get_logger().info(f"loading {path}")
        self._simulator = Simulator(load_world(path), config, seed=int(self.value("seed")), start=start)
        self._twist, self._commanded = Twist2D(), 0.0
        self._tick = 0
        self._sent: dict[int, float] = {}
        t = topics()
        self._clock = self.create_publisher(ClockMessage, "/clock", qos.STATUS)
        self._tf = self.create_publisher(TFMessage, "/tf", qos.STATIC_TF)
        self._tf_static = self.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        self._odom = self.create_publisher(OdometryMessage, t.odom, qos.ODOMETRY)
        self._scan = self.create_publisher(LaserScan, t.scan, qos.SENSOR)
        self._image = self.create_publisher(Image, t.image, qos.SENSOR)
        self._info = self.create_publisher(CameraInfo, t.camera_info, qos.SENSOR)
        self._truth = self.create_publisher(OdometryMessage, t.ground_truth, qos.STATUS)
        self._contacts = self.create_publisher(UInt32, t.contacts, qos.LATCHED)
        self._latency = self.create_publisher(Float32, t.stamp_to_command, qos.STATUS)
        kind = TwistStamped if self.value("twist_stamped") else Twist
        self._command = self.create_subscription(kind, t.cmd_vel, self._receive, qos.COMMAND)

    def activate(self) -> None:
        """Start the clock."""
        rate = float(self.value("rate"))
        self._timer = self.create_timer(TICK_S / rate if rate > 0 else 1e-4, self._step, clock=self.steady)
        self._publish_mounts()

    def deactivate(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def cleanup(self) -> None:
        """Drop publishers and world."""
        for publisher in (self._clock, self._tf, self._tf_static, self._odom, self._scan, self._image, self._info,
                          self._truth, self._contacts, self._latency):  # fmt: skip
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
        simulator.step(Twist2D() if silent else self._twist, TICK_S)
        self._tick += 1
        now = simulator.time_ns
        stamp: Time = conversions.to_time(now)
        self._clock.publish(ClockMessage(clock=stamp))
        odometry = simulator.odometry()
        self._odom.publish(conversions.odometry_message(odometry, f.odom, f.base))
        matrix = conversions.planar_matrix(odometry.pose)
        self._tf.publish(TFMessage(transforms=[conversions.transform_message(matrix, now, f.odom, f.base)]))
        truth = Odometry(now, simulator.pose, simulator.twist)
        self._truth.publish(conversions.odometry_message(truth, f.map, f.base))
        self._contacts.publish(UInt32(data=simulator.collisions))
        if self._tick % int(self.value("sensor_period_ticks")):
            return
        self._sent[now] = self.steady_s()
        while len(self._sent) > 50:
            del self._sent[next(iter(self._sent))]
        period = TICK_S * int(self.value("sensor_period_ticks"))
        if simulator.config.camera is not None:
            image = simulator.image()
            self._info.publish(conversions.camera_info_message(image, f.camera))
            self._image.publish(conversions.image_message(image, f.camera))
        self._scan.publish(conversions.scan_message(simulator.scan(), f.scan, period))

    def _publish_mounts(self) -> None:
        f, config = frames(), self._simulator.config
        mounts = []
        if config.lidar is not None:
            matrix = np.eye(4)
            matrix[:3, 3] = config.lidar.position
            mounts.append(conversions.transform_message(matrix, 0, f.base, f.scan))
        if config.camera is not None:
            mounts.append(conversions.transform_message(config.camera.base_T_camera(), 0, f.base, f.camera))
        self._tf_static.publish(TFMessage(transforms=mounts))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(SimulatorNode, argv)


if __name__ == "__main__":
    sys.exit(main())
