"""Poses compose and invert."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.errors import GoalError
from mm_nav.geometry import Pose2D, wrap_angle, wrap_angles
from mm_nav.goal import Goal

poses = st.builds(Pose2D, st.floats(-50, 50), st.floats(-50, 50), st.floats(-3.1, 3.1))


@given(poses, poses)
def test_inverse_undoes(a: Pose2D, b: Pose2D) -> None:
    back = a.inverse() @ (a @ b)
    assert back.x == pytest.approx(b.x, abs=1e-9) and back.y == pytest.approx(b.y, abs=1e-9)
    assert wrap_angle(back.yaw - b.yaw) == pytest.approx(0.0, abs=1e-9)


@given(poses, poses)
def test_composition_is_transformation(a: Pose2D, b: Pose2D) -> None:
    np.testing.assert_allclose(a.transform(np.array([b.x, b.y])), ((a @ b).x, (a @ b).y), atol=1e-9)


@given(st.floats(-100, 100))
def test_wrapped_angles_are_the_same_direction(angle: float) -> None:
    wrapped = wrap_angle(angle)
    assert -math.pi <= wrapped < math.pi + 1e-12
    assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-9)
    assert wrap_angles(np.array([angle]))[0] == pytest.approx(wrapped)


@pytest.mark.parametrize(
    "bad", [{}, {"instruction": "x" * 501}, {"pose": Pose2D(math.nan, 0)}, {"instruction": "go", "timeout_s": 0.0}]
)
def test_goals_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(GoalError):
        Goal(**bad)
