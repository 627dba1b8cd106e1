"""The guard as a process of its own: whatever crashes or hangs elsewhere, the robot stops."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from geometry_msgs.msg import Twist, TwistStamped
from mm_nav_interfaces.msg import GuardStatus
from nav_msgs.msg import Odometry

from mm_nav.errors import SensorError
from mm_nav.geometry import Twist2D
from mm_nav.observation import LaserScan as Scan
from mm_nav.observation import Odometry as Driven
from mm_nav.robot import load_robot
from mm_nav.ros import conversions, inputs, qos
from mm_nav.ros.health import SILENCE, Health, Status
from mm_nav.ros.obstacles import POINTS, ScanInput
from mm_nav.ros.parameters import ROBOT, ParameterSpec
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.tf_buffer import StaticTransforms
from mm_nav.ros.topics import frames, topics
from mm_nav.runtime.stages import Arrivals, StageTimes
from mm_nav.safety.guard import Guard, GuardConfig, GuardResult
from mm_nav.safety.inputs import Level, Problem
from mm_nav.safety.watchdog import Watchdog
from mm_nav.sensing.messages import stamp_ns

# What the guard says of a scan that comes and cannot be used.
_REMEDIES = {
    "scan is frozen": "the LiDAR sends the very same ranges while the odometry says that the robot moves: restart its driver",
    "scan is stale": "its stamps are older than max_scan_age: are the clocks of LiDAR and computer the same?",
    "clock jumped": "its stamps are from another time than this computer's: are the clocks the same, and use_sim_time right?",
    "scan has too few usable beams": "nearly all of its ranges are no numbers: is the LiDAR covered?",
}


class GuardNode(StackNode):
    """cmd_vel_nav + scan + odom -> cmd_vel, at least `rate` times a second."""

    PARAMETERS = (
        ROBOT,
        POINTS,
        SILENCE,
        ParameterSpec("margin", 0.03, "kept between body and obstacles, m", 0.0, 0.5),
        ParameterSpec(
            "reaction_time",
            0.15,
            "from a command until the wheels answer the next: period and delay, s; at least 1 / rate + command_delay_s",
            0.0,
            1.0,
        ),
        ParameterSpec(
            "odometry_drift", 0.1, "what odometry errs by since the scan, m for each m and rad for each rad", 0.0, 0.5
        ),
        ParameterSpec("slow_scan_age", 0.25, "an older scan slows the robot, the more the older, s", 0.02, 2.0),
        ParameterSpec("max_scan_age", 0.4, "an older scan stops the robot, s", 0.05, 2.0),
        ParameterSpec(
            "command_timeout", 0.2, "without a command for this long the robot stops, s of real time", 0.05, 2.0
        ),
        ParameterSpec("scan_timeout", 0.35, "without a scan for this long the robot stops, s of real time", 0.05, 2.0),
        ParameterSpec(
            "blind_time",
            0.0,
            "time without a scan for which the robot may drive on slowly by the last ones, s (0 = it stops at once)",
            0.0,
            120.0,
        ),
        ParameterSpec("blind_speed", 0.25, "at most so fast then, m/s", 0.02, 1.0),
        ParameterSpec(
            "frozen_scans",
            10,
            "so many scans in a row with the very same ranges, while the odometry says that it moves, stop the robot; 0 = never",
            0,
            10_000,
        ),
        ParameterSpec("rate", 20.0, "commands and status messages per second of real time", 5.0, 100.0),
        ParameterSpec(
            "deadline_ms", 66.0, "from a scan's arrival to its wheel command; later ones are counted", 1.0, 1000.0
        ),
        ParameterSpec("twist_stamped", True, "publish TwistStamped; false: Twist"),
    )

    def __init__(self) -> None:
        super().__init__("guard")

    def configure(self) -> None:
        """Create the guard, publishers and subscriptions."""
        robot = load_robot(str(self.value("robot")))
        if robot.drive != "differential":
            self.get_logger().warning(
                f"robot '{robot.name}' is {robot.drive}: only forward speed and turning are judged and let through"
            )
        reaction, needed = float(self.value("reaction_time")), 1.0 / float(self.value("rate")) + robot.command_delay_s
        if needed > reaction:
            self.get_logger().warning(
                f"reaction_time is {reaction:g} s, but 1 / rate + command_delay_s of robot '{robot.name}' is {needed:.3g} s, and "
                "that counts"
            )
        self._guard = Guard(
            robot,
            GuardConfig(
                margin_m=float(self.value("margin")),
                reaction_s=max(reaction, needed),
                odometry_drift=float(self.value("odometry_drift")),
                slow_scan_age_s=float(self.value("slow_scan_age")),
                max_scan_age_s=float(self.value("max_scan_age")),
                frozen_scans=int(self.value("frozen_scans")),
                blind_time_s=float(self.value("blind_time")),
                blind_speed=float(self.value("blind_speed")),
            ),
        )
        self._scan: Scan | None = None
        self._odometry: Driven | None = None
        self._stages, self._arrivals, self._misses = StageTimes(), Arrivals(), 0
        t = topics()
        self._stamped = bool(self.value("twist_stamped"))
        self._command = self.create_publisher(TwistStamped if self._stamped else Twist, t.cmd_vel, qos.COMMAND)
        self._status = self.create_publisher(GuardStatus, t.guard_status, qos.STATUS)
        self._health = Health(self, robot.name)
        self.create_subscription(TwistStamped, t.cmd_vel_nav, self._receive_command, qos.COMMAND)
        ScanInput(self, StaticTransforms(self), self._health, robot, self._receive_scan, self._drop_scan)
        self.create_subscription(Odometry, t.odom, self._receive_odometry, qos.ODOMETRY_HEARD)

    def activate(self) -> None:
        """Start publishing. What was commanded before counts no more."""
        self._wanted, self._stamp, self._reason = Twist2D(), 0, ""
        limits = {"command": float(self.value("command_timeout")), "scan": float(self.value("scan_timeout"))}
        self._watchdog = Watchdog(limits, self.steady_s())
        self.create_timer(1.0 / float(self.value("rate")), self._publish, clock=self.steady)
        self._health.start(
            (
                inputs.scan(self, min(limits["scan"], float(self.value("silence"))), Level.ERROR),
                inputs.odometry(self, float(self.value("silence"))),
            ),
            self._report,
            self._problems,
        )

    def deactivate(self) -> None:
        """Stop the robot."""
        self._send(Twist2D(), self.get_clock().now().nanoseconds)
        self._health.stop()

    def _receive_odometry(self, message: Odometry) -> None:
        try:
            self._odometry = inputs.finite_odometry(message)
        except SensorError as error:
            self._health.refused("odom", str(error))
            return
        self._health.heard("odom")

    def _receive_scan(self, scan: Scan) -> None:
        self._scan, now = scan, self.steady_s()
        self._arrivals.note(scan.stamp_ns, now)
        if self.active:
            self._watchdog.heard("scan", now)

    def _drop_scan(self) -> None:
        self._scan = None

    def _receive_command(self, message: TwistStamped) -> None:
        if not self.active:
            return
        self._wanted, self._stamp = conversions.twist_from(message.twist), stamp_ns(message.header)
        started = self.steady_s()
        self._watchdog.heard("command", started)
        self._publish()
        now = self.steady_s()
        took = self._arrivals.since_ms(self._stamp, now, last=True)
        if took is not None:
            self._stages.note(guard=1e3 * (now - started), scan_to_wheels=took)
            self._misses += took > float(self.value("deadline_ms"))

    def _publish(self) -> None:
        if not self.active:  # a timer that was due when it was destroyed may still come
            return
        now = self.get_clock().now().nanoseconds
        silent = self._watchdog.silent(self.steady_s())
        if self._guard.config.blind_time_s > 0.0:
            # The guard itself says how long the robot may do without scans.
            silent = tuple(name for name in silent if name != "scan")
        if silent:
            moving = self._wanted != Twist2D()
            result = GuardResult(Twist2D(), moving, f"no {silent[0]}")
        elif self._odometry is None:
            result = GuardResult(Twist2D(), self._wanted != Twist2D(), "no odometry")
        else:
            result = self._guard.filter(self._wanted, self._odometry, self._scan, now)
        self._reason = result.reason
        self._send(result.twist, now)
        status = GuardStatus(
            header=conversions.to_header(now, frames().base), limited=result.limited, reason=result.reason
        )
        status.stopped = result.limited and result.twist == Twist2D()
        status.requested_linear, status.requested_angular = self._wanted.linear, self._wanted.angular
        status.allowed_linear, status.allowed_angular = result.twist.linear, result.twist.angular
        status.scan_stamp = conversions.to_time(self._stamp)
        self._status.publish(status)

    def _report(self) -> Status:
        values = {
            **self._stages.report(),
            "deadline_ms": float(self.value("deadline_ms")),
            "deadline_misses": self._misses,
        }
        return "guarding", values

    def _problems(self) -> tuple[Problem, ...]:
        if self._reason in _REMEDIES:
            return (Problem("scan", Level.ERROR, f"{self._reason}: {_REMEDIES[self._reason]}"),)
        if self._reason == "no command" and self._wanted != Twist2D():
            topic = self.resolve_topic_name(topics().cmd_vel_nav)
            text = f"navigator: its commands on {topic} stopped while it drove, and the robot stands: is it running?"
            return (Problem("command", Level.WARN, text),)
        return ()

    def _send(self, twist: Twist2D, now: int) -> None:
        """Publish. The stamp is now: bases (diff_drive_controller) drop commands with an old one."""
        stamped = conversions.twist_message(twist, now, frames().base)
        self._command.publish(stamped if self._stamped else stamped.twist)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(GuardNode, argv)


if __name__ == "__main__":
    sys.exit(main())
