"""Where a robot will be when the command that is made now reaches its wheels."""

from __future__ import annotations

from collections import deque

from mm_nav.geometry import Twist2D, towards
from mm_nav.observation import Odometry
from mm_nav.robot import RobotConfig
from mm_nav.sensing.synchronizer import extrapolate

_STEP_NS = 10_000_000


class CommandDelay:
    """Remembers the commands that are still on their way, for a robot whose wheels answer after `command_delay_s`."""

    def __init__(self, robot: RobotConfig) -> None:
        self._robot, self._delay_ns = robot, round(1e9 * robot.command_delay_s)
        self._sent: deque[tuple[int, Twist2D]] = deque(maxlen=64)

    def sent(self, stamp_ns: int, twist: Twist2D) -> None:
        """Note a command. A clock that went back begins anew."""
        if self._sent and stamp_ns < self._sent[-1][0]:
            self._sent.clear()
        self._sent.append((stamp_ns, twist))

    def ahead(self, odometry: Odometry) -> Odometry:
        """Return the odometry as it will be when a command that is made at its stamp takes effect: the wheels go towards what was
        commanded before, as fast as the robot's accelerations allow."""
        now, until = odometry.stamp_ns, odometry.stamp_ns + self._delay_ns
        while now < until:
            twist, step_ns = odometry.twist, min(_STEP_NS, until - now)
            target = next((sent for when, sent in reversed(self._sent) if when + self._delay_ns <= now), twist)
            linear = towards(twist.linear, target.linear, 1e-9 * step_ns * self._robot.max_linear_accel)
            angular = towards(twist.angular, target.angular, 1e-9 * step_ns * self._robot.max_angular_accel)
            odometry = Odometry(now, odometry.pose, Twist2D(linear, angular))
            now += step_ns
            odometry = extrapolate(odometry, now)
        return odometry
