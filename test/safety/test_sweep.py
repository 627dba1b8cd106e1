"""The ways that the guard counts on are those that wheels take, and clearances are those of the body."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.robot import RobotConfig
from mm_nav.safety.sweep import Pending, Poses, clearances, stopping_ways
from mm_nav.sim.drive import Drive, advance

ROBOT = RobotConfig()
PHYSICS_S = 0.001
REACTION_S = 0.15


def wheels(start: Twist2D, schedule: list[tuple[float, Twist2D]]) -> Iterator[tuple[float, Pose2D, Twist2D]]:
    """Drive a real base by commands, each until a time; then zero, until it stands."""
    drive, pose, now = Drive(ROBOT), Pose2D(), 0.0
    drive.twist = start
    while now < schedule[-1][0] or drive.twist != Twist2D():
        target = next((twist for until, twist in schedule if now < until), Twist2D())
        drive.twist = drive.next_twist(target, PHYSICS_S)
        pose = advance(pose, drive.twist.linear, drive.twist.angular, PHYSICS_S)
        now += PHYSICS_S
        yield now, pose, drive.twist


speeds = st.tuples(st.floats(-0.2, 0.8), st.floats(-1.8, 1.8)).map(lambda v: Twist2D(*v))


@settings(max_examples=60, deadline=None)
@given(start=speeds, before=speeds, wanted=speeds, until=st.floats(0.0, REACTION_S))
def test_ways_end_where_wheels_that_brake_fully_end(
    start: Twist2D, before: Twist2D, wanted: Twist2D, until: float
) -> None:
    ways = stopping_ways(
        np.array([[wanted.linear, wanted.angular]]), start, [Pending(before, until)], ROBOT, REACTION_S, 1.0
    )
    schedules = [
        [(REACTION_S, wanted)],
        [(REACTION_S, wanted)],
        [(0.5 * REACTION_S, wanted)],
        [(until, before), (REACTION_S, wanted)],
    ]
    for row, schedule in enumerate(schedules):
        _, pose, _ = list(wheels(start, schedule))[-1]
        assert ways.x[row, -1] == pytest.approx(pose.x, abs=0.006)
        assert ways.y[row, -1] == pytest.approx(pose.y, abs=0.006)
        assert ways.yaw[row, -1] == pytest.approx(pose.yaw, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(start=speeds, wanted=speeds, share=st.floats(0.3, 1.0))
def test_weaker_brakes_and_a_later_answer_lead_no_less_far(start: Twist2D, wanted: Twist2D, share: float) -> None:
    ways = stopping_ways(np.array([[wanted.linear, 0.0]]), Twist2D(start.linear), [], ROBOT, REACTION_S, share)
    farthest = np.abs(ways.x).max(axis=1)
    # Who turns back with weak brakes has no time left to go far the other way.
    if start.linear * wanted.linear >= 0.0:
        assert farthest[0] >= max(farthest[1], farthest[2]) - 1e-3


def test_each_wanted_command_has_four_ways() -> None:
    wanted = np.array([[0.8, 0.0], [0.2, 1.0], [0.0, 0.0]])
    ways = stopping_ways(wanted, Twist2D(0.4, 0.3), [Pending(Twist2D(0.8, -1.0), 0.1)], ROBOT, REACTION_S, 0.8)
    assert ways.x.shape[0] == ways.yaw.shape[0] == 12
    alone = stopping_ways(wanted[1:2], Twist2D(0.4, 0.3), [Pending(Twist2D(0.8, -1.0), 0.1)], ROBOT, REACTION_S, 0.8)
    assert ways.x[4:8, -1] == pytest.approx(alone.x[:, -1], abs=3e-3)
    # Only in the last does what was commanded before still act: it turns the other way first.
    assert ways.yaw[7, -1] < ways.yaw[4:7, -1].min()


def test_clearances_are_distances_to_the_body() -> None:
    points = np.array([[0.5, 0.0], [0.0, 0.4], [-0.3, 0.1], [0.0, 0.0]])
    here = np.zeros((1, 1))
    found = clearances(ROBOT, points, Poses(here, here, here))[0]
    assert found == pytest.approx([0.32, 0.24, 0.12, -0.16])
    turned = clearances(ROBOT, points, Poses(here, here, here + math.pi / 2))[0]
    assert turned == pytest.approx([0.34, 0.22, 0.14, -0.16])
    # The least over a way of two poses.
    way = np.array([[0.0, 0.2]])
    assert clearances(ROBOT, points, Poses(way, 0.0 * way, 0.0 * way))[0] == pytest.approx([0.12, 0.24, 0.12, -0.16])
