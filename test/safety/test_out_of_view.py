"""What stands where the LiDAR does not look is not forgotten by the guard."""

import math

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Odometry
from mm_nav.robot import RobotConfig
from mm_nav.safety.guard import Guard
from mm_nav.safety.out_of_view import OutOfView

BEAMS, FIRST, LAST = 540, -0.75 * math.pi, 0.75 * math.pi
POST, RADIUS = np.array([0.0, 0.32]), 0.05


def scan_of(pose: Pose2D, stamp_ns: int, posts: tuple[np.ndarray, ...] = (POST,)) -> LaserScan:
    """Round posts in the open, seen over 270 degrees."""
    step = (LAST - FIRST) / (BEAMS - 1)
    angles = FIRST + step * np.arange(BEAMS) + pose.yaw
    direction, ranges = np.stack([np.cos(angles), np.sin(angles)], axis=-1), np.full(BEAMS, np.inf)
    for post in posts:
        to = post - (pose.x, pose.y)
        along, aside = direction @ to, np.abs(direction[:, 0] * to[1] - direction[:, 1] * to[0])
        hit = (along > 0) & (aside < RADIUS)
        near = along - np.sqrt(np.maximum(RADIUS**2 - aside**2, 0.0))
        ranges = np.where(hit, np.minimum(ranges, near), ranges)
    return LaserScan(stamp_ns, ranges.astype(np.float32), FIRST, step, 0.05, 10.0)


def drive(guard: Guard, poses: list[Pose2D], first: int = 0) -> int:
    """Show the guard what a robot sees that stands at each of the poses a tenth of a second."""
    for k, pose in enumerate(poses, first):
        guard.filter(Twist2D(), Odometry(k * 100_000_000, pose), scan_of(pose, k * 100_000_000), k * 100_000_000)
    return first + len(poses)


def test_a_post_that_was_passed_is_not_backed_into() -> None:
    """It is passed on the left, and the robot turns away from it: the post is behind then, and no beam meets it."""
    ahead = [Pose2D(-1.0 + 0.05 * k, 0.0, 0.0) for k in range(31)]
    turned = [Pose2D(0.5, 0.0, -0.1 * k) for k in range(1, 6)]
    here = turned[-1]
    behind = here.inverse().transform(POST[None])[0]
    assert abs(math.atan2(behind[1], behind[0])) > LAST, "no beam meets it"
    guard, fresh = Guard(RobotConfig()), Guard(RobotConfig())
    k = drive(guard, ahead + turned)
    nearest = {"remembers": math.inf, "fresh": math.inf}
    for name, one in (("remembers", guard), ("fresh", fresh)):
        pose, twist = here, Twist2D()
        for step in range(60):
            now = (k + step) * 100_000_000
            twist = one.filter(Twist2D(-0.2, 0.0), Odometry(now, pose, twist), scan_of(pose, now), now).twist
            pose = pose @ Pose2D(0.1 * twist.linear, 0.0, 0.0)
            local = pose.inverse().transform(POST[None])[0]
            gap = float(np.hypot(*np.maximum(np.abs(local) - (0.18, 0.16), 0.0))) - RADIUS
            nearest[name] = min(nearest[name], gap)
    assert nearest["remembers"] > 0.0 > nearest["fresh"], nearest


def test_what_is_looked_at_again_and_gone_is_forgotten() -> None:
    memory, ahead, away = OutOfView(), Pose2D(), Pose2D(0.0, 0.0, math.pi)
    post = np.array([0.8, 0.0])
    scans = [scan_of(ahead, 0, (post,)), scan_of(away, 1, (post,)), scan_of(ahead, 2, ()), scan_of(away, 3, ())]
    counts = []
    for scan, pose in zip(scans, (ahead, away, ahead, away), strict=True):
        memory.see(scan, pose.transform(scan.points()), pose, pose, 0.0, 0.0)
        counts.append(len(memory.hidden(scan, pose)[0]))
    assert counts[0] == 0 and counts[1] > 3 and counts[2:] == [0, 0]


def test_it_says_how_far_the_robot_had_come_when_it_was_seen() -> None:
    memory, ahead, away = OutOfView(), Pose2D(), Pose2D(0.0, 0.0, math.pi)
    first, second = (scan_of(pose, k, (np.array([0.8, 0.0]),)) for k, pose in enumerate((ahead, away)))
    memory.see(first, first.points(), ahead, ahead, 1.5, 0.25)
    memory.see(second, away.transform(second.points()), away, away, 1.5, 3.4)
    points, way, turned = memory.hidden(second, away)
    assert len(points) and set(way) == {1.5} and set(turned) == {0.25}


@pytest.mark.parametrize("what", ["around", "back in time", "far"])
def test_what_is_not_kept(what: str) -> None:
    memory, ahead, away = OutOfView(), Pose2D(), Pose2D(0.0, 0.0, math.pi)
    post = np.array([5.0 if what == "far" else 0.8, 0.0])
    scan, later = scan_of(ahead, 10, (post,)), scan_of(away, 5 if what == "back in time" else 11, ())
    if what == "around":
        scan = LaserScan(10, np.full(360, 1.0, np.float32), -math.pi, math.pi / 180, 0.05, 10.0)
    memory.see(scan, scan.points(), ahead, ahead, 0.0, 0.0)
    memory.see(later, away.transform(later.points()), away, away, 0.0, 0.0)
    assert not len(memory.hidden(later, away)[0])
