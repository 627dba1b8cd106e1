"""Where the robot is when its command takes effect."""

import pytest

from mm_nav.control.delay import CommandDelay
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import Odometry
from mm_nav.robot import RobotConfig
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import OdometryConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

EMPTY = Scene(parse_world("<sdf version='1.8'><world name='w'/></sdf>"))


def test_without_delay_it_is_where_it_is() -> None:
    delay, odometry = CommandDelay(RobotConfig()), Odometry(5, Pose2D(1.0, 2.0, 3.0), Twist2D(0.5, 0.1))
    delay.sent(0, Twist2D(0.8, 0.0))
    assert delay.ahead(odometry) is odometry


@pytest.mark.parametrize("delay_s", [0.05, 0.2, 0.25])
def test_it_foresees_what_the_simulator_does(delay_s: float) -> None:
    """Other commands every 0.1 s: where the robot is foreseen when each takes effect is where it is then."""
    robot = RobotConfig(command_delay_s=delay_s)
    config = SimConfig(robot=robot, camera=None, lidar=None, odometry=OdometryConfig(0, 0, 0), physics_dt=0.01)
    sim, delay = Simulator(EMPTY, config), CommandDelay(robot)
    foreseen: dict[int, Odometry] = {}
    for k in range(60):
        now = sim.odometry()
        then = delay.ahead(now)
        foreseen[then.stamp_ns] = then
        twist = Twist2D(0.3 * (k % 3) - 0.1, 1.5 * ((k // 2) % 3 - 1))
        delay.sent(now.stamp_ns, twist)
        for part in range(2):
            sim.step(twist, 0.05)
            if sim.time_ns in foreseen:
                real, then = sim.odometry(), foreseen[sim.time_ns]
                assert then.pose.distance_to(real.pose) < 0.004 and abs(then.pose.yaw - real.pose.yaw) < 0.02, (k, part)
                assert then.twist.linear == pytest.approx(real.twist.linear, abs=0.04)
    assert len(foreseen) == 60


def test_a_clock_that_goes_back_forgets_what_was_sent() -> None:
    delay = CommandDelay(RobotConfig(command_delay_s=0.2))
    delay.sent(1_000_000_000, Twist2D(0.8, 0.0))
    delay.sent(0, Twist2D())
    assert delay.ahead(Odometry(1_100_000_000, Pose2D())).pose == Pose2D()
