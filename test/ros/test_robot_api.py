"""mm_nav.Robot against a navigator that obeys: drives, feedback, ends, several robots, threads, asyncio, Ctrl-C."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.utilities import get_default_context
from tf2_msgs.msg import TFMessage

from mm_nav import NavigatorLostError, Robot
from mm_nav.command import ErrorCode
from mm_nav.errors import ConfigError, GoalError
from mm_nav.geometry import Pose2D
from mm_nav.ros import conversions, goal_client, qos

sys.path.insert(0, str(Path(__file__).parent))

from fake_navigator import FakeNavigator, fake_navigator


@pytest.fixture(scope="module")
def shared_navigator() -> Iterator[FakeNavigator]:
    with fake_navigator() as navigator:
        yield navigator


@pytest.fixture
def navigator(shared_navigator: FakeNavigator) -> FakeNavigator:
    shared_navigator.pose, shared_navigator.active, shared_navigator.mute = Pose2D(), True, False
    shared_navigator.free()
    shared_navigator.requests.clear()
    shared_navigator.ended.clear()
    return shared_navigator


@pytest.fixture(scope="module")
def robot(shared_navigator: FakeNavigator) -> Iterator[Robot]:
    with Robot() as one:
        one.wait_until_ready(20.0)
        yield one


def until(condition: object, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return bool(condition())


def test_importing_mm_nav_imports_no_rclpy() -> None:
    code = "import sys, mm_nav; assert 'rclpy' not in sys.modules; mm_nav.Robot; assert 'rclpy' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_rclpy_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['rclpy'] = None; from mm_nav import Robot"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "ConfigError" in result.stderr and "source a ROS 2 installation" in result.stderr


def test_a_sentence_a_pose_and_a_picture(navigator: FakeNavigator, robot: Robot, tmp_path: Path) -> None:
    assert robot.go_to("the red chair", timeout_s=30.0)
    outcome = robot.go_to((1.0, 0.5, 0.3))
    assert outcome and outcome.distance_m > 0.9 and 0.1 < outcome.time_s < 10.0
    assert robot.pose.distance_to(Pose2D(1.0, 0.5)) < 0.01
    picture = np.full((4, 6, 3), (200, 30, 10), np.uint8)
    file = tmp_path / "chair.png"
    cv2.imwrite(str(file), picture[..., ::-1])
    assert robot.go_to(file) and robot.go_to("turn left", image=picture)
    assert robot.go_to((1.0, 0.0))
    sentence, pose, from_file, both, anyhow = navigator.requests
    assert conversions.pose_from(pose.pose).yaw == pytest.approx(0.3) and not conversions.has_heading(anyhow.pose)
    assert sentence.instruction == "the red chair" and sentence.timeout == 30.0 and not sentence.use_pose
    assert (
        pose.use_pose
        and pose.pose.pose.position.x == 1.0
        and pose.timeout == 0.0
        and pose.pose.header.frame_id == "map"
    )
    assert from_file.use_image and (from_file.image.height, from_file.image.width) == (4, 6)
    assert bytes(from_file.image.data) == picture.tobytes() and both.instruction == "turn left" and both.use_image


def test_failures_are_false_and_say_why(navigator: FakeNavigator, robot: Robot) -> None:
    outcome = robot.go_to("the unicorn")
    assert (
        not outcome
        and outcome.error is ErrorCode.UNKNOWN_TARGET
        and str(outcome) == "UNKNOWN_TARGET: no: UNKNOWN_TARGET"
    )
    navigator.active = False
    assert "is it active" in robot.go_to("the red chair").message


@pytest.mark.parametrize("target", ["  ", (1.0,), (1.0, float("nan")), np.zeros((4, 4), np.uint8), "x" * 501])
def test_nonsense_is_refused_before_it_is_sent(navigator: FakeNavigator, robot: Robot, target: object) -> None:
    with pytest.raises(GoalError):
        robot.go_to(target)
    with pytest.raises(ConfigError, match="cannot be read"):
        robot.go_to(image="/nowhere.png")
    with pytest.raises(GoalError, match="two pictures"):
        robot.go_to(Path("a.png"), image=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(GoalError, match="two poses"):
        robot.go_to((1.0, 0.0), pose=(2.0, 0.0))
    assert not navigator.requests


def test_feedback_is_iterated_and_a_drive_canceled(navigator: FakeNavigator, robot: Robot) -> None:
    drive = robot.go_to((3.0, 0.0), wait=False)
    left = [feedback.distance_m for feedback in drive]
    assert len(left) > 3 and left == sorted(left, reverse=True) and drive.outcome
    assert list(drive)[-1:] == [drive.feedback]
    drive = robot.go_to("wander", wait=False)
    with pytest.raises(TimeoutError):
        drive.wait(0.2)
    for feedback in drive:
        assert feedback.stage == "approaching" and "'wander'" in str(feedback) and feedback.target is None
        drive.cancel()
    assert drive.wait(5.0).error is ErrorCode.CANCELED and not navigator.busy


def test_a_new_drive_takes_the_place_of_the_old(navigator: FakeNavigator, robot: Robot) -> None:
    old = robot.go_to("wander", wait=False)
    assert robot.go_to("the red chair")
    assert "took its place" in old.wait(5.0).message


def test_stop_ends_whatever_runs(navigator: FakeNavigator, robot: Robot) -> None:
    with Robot() as other:
        drive = other.go_to("wander", wait=False)
        assert until(lambda: navigator.busy)
        robot.stop()
        assert drive.wait(5.0).error is ErrorCode.CANCELED
    robot.stop()  # nothing to stop is no error


def test_pose_and_map(navigator: FakeNavigator, robot: Robot) -> None:
    navigator.pose = Pose2D(0.25, -0.5, 1.0)
    assert until(lambda: robot.pose == navigator.pose)
    grid = robot.map
    assert grid.data.tolist() == [[0, 100, -1], [0, 0, 0]] and grid.origin == (-1.0, -2.0) and grid.resolution == 0.5


def test_without_a_stack_it_says_what_to_do(navigator: FakeNavigator) -> None:
    with Robot("nobody", timeout_s=0.6) as lost:
        assert not lost.is_ready
        for call in (lambda: lost.go_to("the red chair"), lost.stop, lost.wait_until_ready):
            with pytest.raises(NavigatorLostError, match=r"/nobody/navigate_to .*mm-nav sim.*ROS_DOMAIN_ID"):
                call()
        with pytest.raises(NavigatorLostError, match="no odometry on /nobody/odom"):
            _ = lost.pose
        with pytest.raises(NavigatorLostError, match="no map on /nobody/map"):
            _ = lost.map
        assert until(lambda: "; there is one in namespace /:" in str(lost._lost(0.0)))
    with pytest.raises(NavigatorLostError, match="closed"):
        lost.go_to("the red chair")
    with pytest.raises(ConfigError, match="no namespace"):
        Robot("two words")


def test_a_navigator_that_falls_silent_is_lost(
    navigator: FakeNavigator, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(goal_client, "SILENCE_S", 0.5)
    drive = robot.go_to("wander", wait=False)
    next(iter(drive))
    navigator.mute = True
    assert drive.wait(10.0).error is ErrorCode.NAVIGATOR_LOST
    navigator.mute = False
    # It was only out of reach: what it was doing has been canceled.
    assert until(lambda: not navigator.busy) and navigator.ended[-1] is ErrorCode.CANCELED


def test_two_robots_drive_at_once() -> None:
    with fake_navigator("alpha") as one, fake_navigator("beta") as two, Robot("alpha") as alpha, Robot("/beta") as beta:
        drives = [alpha.go_to((1.0, 0.0), wait=False), beta.go_to((0.0, 2.0), wait=False)]
        assert all(drive.wait(10.0) for drive in drives)
        assert one.pose == Pose2D(1.0, 0.0) and two.pose == Pose2D(0.0, 2.0)
        assert until(lambda: alpha.pose.x == 1.0 and beta.pose.y == 2.0)
        assert not get_default_context().ok()


def test_poses_follow_the_localisation_of_a_robot_in_a_namespace() -> None:
    """Its TF tree is below its namespace, as the stack's nodes have it there; targets come in odom."""
    with fake_navigator("alpha") as one, Robot("alpha") as robot:
        one.pose, one.target = Pose2D(1.0, 0.0), Pose2D(2.0, 0.0)
        tf = one.node.create_publisher(TFMessage, "/alpha/tf", qos.TF)
        where = conversions.transform_message(conversions.planar_matrix(Pose2D(0.0, 5.0, np.pi / 2)), 1, "map", "odom")
        assert until(
            lambda: tf.publish(TFMessage(transforms=[where])) or robot.pose.distance_to(Pose2D(0.0, 6.0)) < 1e-6
        )
        feedback = next(iter(robot.go_to("wander", wait=False)))
        assert feedback.target is not None and feedback.target.distance_to(Pose2D(0.0, 7.0)) < 1e-6


def test_threads_share_a_robot(navigator: FakeNavigator, robot: Robot) -> None:
    outcomes: list[object] = []
    threads = [threading.Thread(target=lambda: outcomes.append(robot.go_to("the red chair"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15.0)
    # One took the place of another, and the last one arrived.
    assert len(outcomes) == 3 and any(outcomes) and all(o or o.error is ErrorCode.CANCELED for o in outcomes)


def test_asyncio(navigator: FakeNavigator, robot: Robot) -> None:
    async def drive() -> None:
        assert await robot.go_to("the red chair", wait=False)
        stages = [feedback.stage async for feedback in robot.go_to("the table", wait=False)]
        assert stages and set(stages) == {"approaching"}
        endless = robot.go_to("wander", wait=False)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(endless, 0.3)
        # The task was canceled, and the drive with it.
        assert (await endless).error is ErrorCode.CANCELED

    asyncio.run(drive())


def test_an_initialised_rclpy_is_used_and_left_alone(navigator: FakeNavigator) -> None:
    rclpy.init()
    try:
        with Robot() as one:
            assert one._context is get_default_context()
            assert one.go_to("the red chair")
        assert rclpy.ok()
        mine = rclpy.create_node("mine")
        mine.destroy_node()
        with Robot() as one:
            drive = one.go_to("wander", wait=False)
            assert until(lambda: navigator.busy)
            rclpy.shutdown()
            assert drive.wait(5.0).error is ErrorCode.NAVIGATOR_LOST
        # The end of the block has canceled it by another way.
        assert until(lambda: not navigator.busy) and navigator.ended[-1] is ErrorCode.CANCELED
    finally:
        rclpy.try_shutdown()


SCRIPTS = {
    "waiting": "robot.go_to('wander')",
    "iterating": "for f in robot.go_to('wander', wait=False): print(f, flush=True)",
    "elsewhere": "robot.go_to('wander', wait=False); time.sleep(60)",
}


@pytest.mark.parametrize(
    ("script", "initialised"), [("waiting", False), ("waiting", True), ("iterating", False), ("elsewhere", True)]
)
def test_ctrl_c_stops_the_robot(navigator: FakeNavigator, script: str, initialised: bool) -> None:
    lines = ["import time, rclpy", "from mm_nav import Robot", *(["rclpy.init()"] if initialised else []),
             "robot = Robot(timeout_s=20.0)", SCRIPTS[script]]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert until(lambda: navigator.busy, 30.0)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20.0)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in said.decode()
    assert navigator.ended == [ErrorCode.CANCELED] and not navigator.busy
