"""What walks is told from what stands by the scans alone, and whoever has walked and stands is remembered."""

import math
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.geometry import Pose2D
from mm_nav.observation import LaserScan
from mm_nav.sensing.movers import FollowedTracker, FollowingTracker, Movers, MoverTracker

PERIOD_NS = 100_000_000
Place = tuple[float, float]


def scan_of(pose: Pose2D, posts: list[tuple[Place, float]], stamp_ns: int, beams: int = 360) -> LaserScan:
    """A room of 8 x 6 m with round posts (centre, radius), seen from a pose, with noise of 5 mm."""
    angles = -np.pi + 2 * np.pi / beams * np.arange(beams)
    direction = np.stack([np.cos(angles + pose.yaw), np.sin(angles + pose.yaw)], axis=-1)
    with np.errstate(divide="ignore"):
        walls = [
            ((side - (pose.x, pose.y)[axis]) / direction[:, axis])
            for axis, half in ((0, 4.0), (1, 3.0))
            for side in (half, -half)
        ]
    ranges = np.min([np.where(wall > 0, wall, np.inf) for wall in walls], axis=0)
    for centre, radius in posts:
        to = np.array(centre) - (pose.x, pose.y)
        along = direction @ to
        aside = np.abs(direction[:, 0] * to[1] - direction[:, 1] * to[0])
        hit = (along > 0) & (aside < radius)
        ranges = np.where(hit, np.minimum(ranges, along - np.sqrt(np.maximum(radius**2 - aside**2, 0.0))), ranges)
    noise = np.random.default_rng(stamp_ns % 2**32).normal(0.0, 0.005, beams)
    return LaserScan(stamp_ns, (ranges + noise).astype(np.float32), -np.pi, 2 * np.pi / beams, 0.1, 10.0)


def legs(x: float, y: float) -> list[tuple[Place, float]]:
    """Somebody who looks along x."""
    return [((x, y + 0.1), 0.075), ((x, y - 0.1), 0.075)]


def drive(
    tracker: MoverTracker,
    steps: int,
    posts: Callable[[float], list[tuple[Place, float]]],
    pose: Callable[[float], Pose2D],
    first: int = 0,
) -> Movers:
    """What is told after so many steps of 0.1 s. posts, pose: from the time, s."""
    found = Movers()
    for k in range(first, first + steps):
        found = tracker.update(scan_of(pose(0.1 * k), posts(0.1 * k), (k + 1) * PERIOD_NS), pose(0.1 * k))
    return found


def standing(t: float) -> Pose2D:
    return Pose2D(0.0, 0.0, 0.3)


def driving(t: float) -> Pose2D:
    return Pose2D(-2.0 + 0.5 * t, 0.4 * np.sin(t), 0.5 * t)


@pytest.mark.parametrize("pose", [standing, driving])
def test_somebody_who_walks_is_found_with_their_speed(pose: Callable[[float], Pose2D]) -> None:
    found = drive(MoverTracker(), 25, lambda t: legs(-1.5 + 1.0 * t, 1.5), pose)
    at = np.array([-1.5 + 2.4, 1.5])
    assert 1 <= len(found) <= 2
    assert np.hypot(*(found.positions - at).T).max() < 0.25
    assert found.velocities == pytest.approx(np.tile([1.0, 0.0], (len(found), 1)), abs=0.3)
    # On the robot's side their discs reach as far as a body of 0.25 m, which is wider than the legs.
    robot = np.array([pose(2.4).x, pose(2.4).y])
    edge = (np.hypot(*(found.positions - robot).T) - found.radii).min()
    assert edge < np.hypot(*(at - robot)) - 0.25 + 0.03
    later = found.after(0.5)
    assert later.positions[:, 0] == pytest.approx(found.positions[:, 0] + 0.5 * found.velocities[:, 0])


def test_whoever_has_walked_and_stands_is_remembered_and_forgotten_when_they_leave() -> None:
    tracker = MoverTracker()

    def walker(t: float) -> list[tuple[Place, float]]:
        return legs(min(-1.5 + t, 0.9), 1.2) if t < 12.0 else legs(0.9 + (t - 12.0), 1.2)

    found = drive(tracker, 110, walker, standing)
    assert len(found) and np.hypot(*found.velocities.T).max() < 0.2
    assert np.hypot(*(found.positions - (0.9, 1.2)).T).max() < 0.25
    drive(tracker, 30, walker, standing, first=110)
    gone = drive(tracker, 20, lambda t: [], standing, first=140)
    assert len(gone) == 0


@pytest.mark.parametrize("drift", [0.0, 0.004])
def test_what_stands_is_no_mover_however_the_robot_drives(drift: float) -> None:
    """Posts as thin as a chair's legs, some of which come into view only later. drift: of the odometry's heading, rad/s."""
    posts = [((x, y), 0.02) for x in (-1.0, -0.6, 1.0, 1.4) for y in (1.3, 1.7)] + [
        ((0.2, -1.5), 0.2),
        ((0.5, 2.2), 0.1),
    ]
    tracker = MoverTracker()
    for k in range(80):
        true = driving(0.1 * k)
        told = Pose2D(true.x, true.y, true.yaw + 0.1 * k * drift)
        found = tracker.update(scan_of(true, posts, (k + 1) * PERIOD_NS), told)
        assert len(found.within(np.array([true.x, true.y]), 1.5)) == 0


def test_the_same_scan_again_changes_nothing_and_a_clock_that_leaps_begins_anew() -> None:
    tracker = MoverTracker()
    found = drive(tracker, 20, lambda t: legs(-1.5 + t, 1.0), standing)
    again = tracker.update(scan_of(standing(0.0), [], 20 * PERIOD_NS), standing(0.0))
    assert again is found and len(found)
    assert len(tracker.update(scan_of(standing(0.0), legs(0.6, 1.0), 5 * PERIOD_NS), standing(0.0))) == 0


def test_broken_scans_are_borne() -> None:
    tracker = MoverTracker()
    for k, ranges in enumerate((np.full(360, np.nan), np.full(360, np.inf), np.zeros(360), np.empty(0))):
        scan = LaserScan((k + 1) * PERIOD_NS, ranges.astype(np.float32), -np.pi, np.pi / 180, 0.1, 10.0)
        assert len(tracker.update(scan, Pose2D())) == 0
    assert len(Movers().seen_from(Pose2D(1.0, 2.0, 0.5))) == 0 and not Movers().holding(np.zeros((3, 2))).any()


def test_a_frame_change_turns_places_and_speeds() -> None:
    movers = Movers(np.array([[2.0, 1.0]]), np.array([[1.0, 0.0]]), np.array([0.3]))
    local = movers.seen_from(Pose2D(1.0, 1.0, np.pi / 2))
    assert local.positions == pytest.approx(np.array([[0.0, -1.0]])) and local.velocities == pytest.approx(
        np.array([[0.0, -1.0]])
    )
    assert local.radii.tolist() == [0.3]


def test_drift_of_the_odometry_moves_nothing() -> None:
    """Posts stand for half a minute; the odometry counts 2 % too much of the way, and its heading turns away slowly."""
    posts: list[tuple[Place, float]] = [((-1.0 + 0.7 * k, 1.4 - 2.8 * (k % 2)), 0.06) for k in range(6)]
    tracker, told = MoverTracker(), 0
    for k in range(300):
        t = 0.1 * k
        pose = Pose2D(1.5 * np.sin(0.5 * t), 0.3 * np.sin(t), 0.0 if t < 1.0 else np.sin(t))
        drifted = Pose2D(1.02 * pose.x + 0.002 * t, 1.02 * pose.y, pose.yaw + 0.002 * t)
        told += len(tracker.update(scan_of(pose, posts, (k + 1) * PERIOD_NS), drifted))
    assert told == 0


def scans_of_a_walk(count=60):
    """Scans (and poses) in a room through which somebody walks, past a robot that drives."""
    rng = np.random.default_rng(0)
    for k in range(count):
        angles = -np.pi + 2 * np.pi / 360 * np.arange(360)
        ranges = np.full(360, 4.0) + rng.normal(0, 0.01, 360)
        at = math.atan2(1.5, 2.0 - 0.08 * k)
        ranges[np.abs(angles - at) < 0.08] = math.hypot(1.5, 2.0 - 0.08 * k)
        stamp = 100_000_000 * (k + 1)
        yield LaserScan(stamp, ranges.astype(np.float32), -np.pi, 2 * np.pi / 360, 0.1, 10.0), Pose2D(0.001 * k, 0.0)


@pytest.mark.parametrize("odd", ["none", "skipped", "skipped two", "other pose", "other scan", "twice", "at once"])
def test_who_follows_answers_as_one_by_itself(odd):
    leader, own, moved = FollowedTracker(), MoverTracker(), 0
    follower = FollowingTracker(leader)
    for k, (scan, pose) in enumerate(scans_of_a_walk()):
        leader.update(scan, pose)
        given = scan, pose
        if (odd.startswith("skipped") and k == 30) or (odd == "skipped two" and k == 31):
            continue
        if (odd == "at once" and k == 0) or k == 30:
            if odd == "other pose":
                given = scan, Pose2D(pose.x + 0.05, 0.0)
            if odd in ("other scan", "at once"):
                given = replace(scan, ranges=scan.ranges + np.float32(0.1)), pose
            if odd == "twice":
                follower.update(*given), own.update(*given)
        expected, found = own.update(*given), follower.update(*given)
        np.testing.assert_array_equal(expected.positions, found.positions)
        np.testing.assert_array_equal(expected.velocities, found.velocities)
        np.testing.assert_array_equal(expected.radii, found.radii)
        moved += len(expected)
    assert moved > 10


def test_what_was_known_before_is_not_kept_for_good() -> None:
    leader = FollowedTracker()
    follower = FollowingTracker(leader)
    first = None
    for scan, pose in scans_of_a_walk(6):
        leader.update(scan, pose)
        follower.update(scan, pose)
        first = first or weakref.ref(leader.before)
    assert first is not None and first() is None
