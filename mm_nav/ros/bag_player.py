"""A recording as the topics of a live robot, with the recording's own time on /clock; for machines without ros2bag, and for formats
that it does not read."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import rclpy
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from tf2_msgs.msg import TFMessage

from mm_nav.bags.reader import BagMessage, BagReader
from mm_nav.errors import BagError, ConfigError, MmNavError
from mm_nav.observation import CameraImage, Odometry, PointCloud
from mm_nav.observation import LaserScan as Scan
from mm_nav.replay.ahead import Prefetched
from mm_nav.robot import RobotConfig, load_robot
from mm_nav.ros import conversions, qos
from mm_nav.ros.tf_buffer import SensorMounts
from mm_nav.ros.topics import frames, topics
from mm_nav.ros.transports import set_transports
from mm_nav.sensing.clouds import obstacle_scan

_CLOCK_S = 0.01
_AHEAD = 64
_PROBED = 60
_MATCH_S = 10.0
_ACQUAINTED_S = 1.0  # then for the listeners' side to know it, too
_SCAN_TIME_S = 0.1


class BagPlayer:
    """Plays to the topics of config/topics.yaml, relative to the node's namespace. Clouds become scans where there are no scans.

    node: of this process; nobody else spins it. reader: open. rate: 2 = twice as fast. listeners: so many nodes are waited for, up
    to ten seconds, before anything is played. robot: whose body is left out of clouds, None = the generic one. clouds: whether
    clouds become scans where there are scans, too. Raises ConfigError where there are no clouds then.
    """

    def __init__(
        self,
        node: Node,
        reader: BagReader,
        rate: float = 1.0,
        listeners: int = 1,
        robot: RobotConfig | None = None,
        clouds: bool = False,
    ) -> None:
        self._node, self._reader, self._rate, self._listeners = node, reader, rate, listeners
        self._robot = robot or RobotConfig()
        t, used = topics(), reader.report.used
        if clouds and "cloud" not in used:
            raise ConfigError(f"{reader.path} has no point clouds with messages")
        self._scan_kind = "scan" if "scan" in used and not clouds else "cloud"
        kinds: Mapping[str, tuple[Any, Any]] = {
            t.odom: (OdometryMessage, qos.ODOMETRY), t.scan: (LaserScan, qos.SENSOR), t.image: (Image, qos.SENSOR),
            t.camera_info: (CameraInfo, qos.SENSOR), "/clock": (Clock, qos.STATUS), "/tf": (TFMessage, qos.TF),
            "/tf_static": (TFMessage, qos.STATIC_TF),
        }  # fmt: skip
        self._publishers = {name: node.create_publisher(kind, name, profile) for name, (kind, profile) in kinds.items()}
        self._mounts = SensorMounts(self._publishers["/tf_static"])
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def play(self) -> int:
        """Play everything; return how many messages were played. Raises BagError when there is nothing to play."""
        wanted = ["odometry", self._scan_kind, "image"]
        with Prefetched(self._reader.messages(wanted), _AHEAD) as source:
            messages = iter(source)
            first = list(islice(messages, _PROBED))
            if not first:
                raise BagError(f"{self._reader.path} has no messages that could be played")
            # Time is the sensors': whoever recorded it may have had another clock, and all stamps would look old.
            lag = min(message.receive_ns - message.item.stamp_ns for message in first)
            self._match()
            return self._send(chain(first, messages), first[0].receive_ns, lag)

    def _send(self, messages: Iterator[BagMessage], origin: int, lag: int) -> int:
        began, count, told, newest = time.perf_counter(), 0, 0.0, origin
        for message in messages:
            # Time does not go back, though the recording may.
            newest = max(newest, message.receive_ns)
            due = began + 1e-9 * (newest - origin) / self._rate
            while (now := time.perf_counter()) < due:
                if now - told >= _CLOCK_S:
                    told = now
                    passed = min(round((now - began) * self._rate * 1e9), newest - origin)
                    self._tell(origin + passed - lag)
                self._executor.spin_once(timeout_sec=min(_CLOCK_S, max(0.0, due - now)))
            self._tell(newest - lag)
            self._publish(message.item)
            count += 1
        return count

    def _tell(self, now_ns: int) -> None:
        self._publishers["/clock"].publish(Clock(clock=conversions.to_time(now_ns)))

    def _publish(self, item: object) -> None:
        t, f = topics(), frames()
        if isinstance(item, Odometry):
            self._publishers[t.odom].publish(conversions.odometry_message(item, f.odom, f.base))
            pose = conversions.planar_matrix(item.pose)
            transform = conversions.transform_message(pose, item.stamp_ns, f.odom, f.base)
            self._publishers["/tf"].publish(TFMessage(transforms=[transform]))
        elif isinstance(item, CameraImage):
            self._mounts.place(f.camera, item.base_T_camera)
            self._publishers[t.camera_info].publish(conversions.camera_info_message(item, f.camera))
            self._publishers[t.image].publish(conversions.image_message(item, f.camera))
        elif isinstance(item, Scan | PointCloud):
            scan = obstacle_scan(item, self._robot) if isinstance(item, PointCloud) else item
            self._mounts.place(f.scan, conversions.planar_matrix(scan.mount))
            self._publishers[t.scan].publish(conversions.scan_message(scan, f.scan, _SCAN_TIME_S))

    def _match(self) -> None:
        """Wait until all listen to scans and odometry; play all the same when they do not."""
        until, t = time.monotonic() + _MATCH_S, topics()
        while time.monotonic() < until and not all(
            self._publishers[name].get_subscription_count() >= self._listeners for name in (t.scan, t.odom)
        ):
            self._executor.spin_once(timeout_sec=0.1)
        time.sleep(_ACQUAINTED_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Play a recording; return 0 when all of it was played."""
    parser = argparse.ArgumentParser(prog="bag_player", description=__doc__)
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or MCAP, sqlite3 or ROS 1 file")
    parser.add_argument("--rate", type=float, default=1.0, help="2 = twice as fast")
    parser.add_argument(
        "--topic", action="append", default=[], metavar="KIND=TOPIC", help="where its type does not decide"
    )
    parser.add_argument("--robot", default="generic", metavar="NAME", help="whose body is left out of point clouds")
    parser.add_argument("--clouds", action="store_true", help="cut scans out of point clouds, though there are scans")
    parser.add_argument("--listeners", type=int, default=1, metavar="N", help="so many are waited for (default: 1)")
    given = list(sys.argv if argv is None else ["bag_player", *argv])
    args = parser.parse_args(remove_ros_args(given)[1:])
    set_transports()
    rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("bag_player")
    try:
        if not 0.01 <= args.rate <= 100.0:
            raise ConfigError(f"rate is {args.rate}: it must be between 0.01 and 100")
        with BagReader(args.bag, dict(text.split("=", 1) for text in args.topic)) as reader:
            node.get_logger().info(f"playing {args.bag}, {reader.report.duration_s:.1f} s")
            robot = load_robot(args.robot)
            count = BagPlayer(node, reader, args.rate, args.listeners, robot, args.clouds).play()
            for warning in reader.report.warnings:
                node.get_logger().warning(warning)
        node.get_logger().info(f"played {count} messages")
        return 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except MmNavError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    finally:
        node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
