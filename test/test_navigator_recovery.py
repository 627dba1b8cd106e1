"""A stuck robot backs up and turns; among people it draws away from the nearest, and that is no failure."""

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.navigator_recovery import Recovery
from mm_nav.robot import RobotConfig
from mm_nav.sensing.movers import Movers


def stuck(recovery: Recovery, crowd: Movers | None = None, start: float = 0.0) -> float:
    """Want to drive and stand until a recovery starts; return when."""
    for k in range(200):
        now = start + 0.1 * k
        if recovery.watch(now, Pose2D(), Twist2D(0.5), crowd):
            return now
    raise AssertionError("no recovery")


def test_it_backs_up_then_turns_the_other_way_each_time() -> None:
    recovery = Recovery(RobotConfig(), 4.0)
    rates = []
    for _ in range(2):
        began = stuck(recovery, start=100.0 * recovery.count)
        assert began % 100.0 == pytest.approx(3.6, abs=0.2)
        back, turn = recovery.command(began + 0.5), recovery.command(began + 2.0)
        assert back is not None and turn is not None and back.linear < 0.0 and turn.linear == 0.0
        rates.append(turn.angular)
        assert recovery.command(began + 5.0) is None
    assert rates[0] == -rates[1] and recovery.count == 2


@pytest.mark.parametrize("ahead", [0.5, -0.5])
def test_among_people_it_draws_away_from_the_nearest(ahead: float) -> None:
    crowd = Movers(np.array([[ahead, 0.1], [-1.2 * ahead, 0.4]]), np.zeros((2, 2)), np.full(2, 0.3))
    recovery = Recovery(RobotConfig(), 4.0)
    twist = recovery.command(stuck(recovery, crowd) + 0.1)
    assert twist is not None and twist.linear * ahead < 0.0 and recovery.count == 0
