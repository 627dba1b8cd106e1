"""The guard: no command that it lets through leads to contact with what the LiDAR saw."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Odometry
from mm_nav.robot import RobotConfig
from mm_nav.safety.guard import Guard, GuardConfig

ROBOT = RobotConfig()
SECOND = 1_000_000_000


def scan_of(ranges: np.ndarray, stamp: int = 0) -> LaserScan:
    n = len(ranges)
    return LaserScan(stamp, np.asarray(ranges, np.float32), -math.pi, 2 * math.pi / n, 0.05, 10.0)


def wall_ahead(distance: float) -> LaserScan:
    """A wide wall `distance` metres in front of base_link."""
    angles = -math.pi + 2 * math.pi / 720 * np.arange(720)
    with np.errstate(divide="ignore"):
        ranges = np.where(np.abs(angles) < 1.2, distance / np.cos(angles), np.inf)
    return scan_of(ranges)


def moving(twist: Twist2D, now: int = 0) -> Odometry:
    return Odometry(now, Pose2D(), twist)


def test_far_from_everything_the_command_passes() -> None:
    result = Guard(ROBOT).filter(Twist2D(0.5, 0.3), moving(Twist2D(0.5, 0.3), 0), wall_ahead(8.0), 0)
    assert result.twist == Twist2D(0.5, 0.3) and not result.limited


def test_a_wall_slows_then_stops() -> None:
    speeds = []
    for distance in (2.0, 0.33, 0.27, 0.20):
        result = Guard(ROBOT).filter(Twist2D(0.8, 0.0), moving(Twist2D(0.2, 0.0), 0), wall_ahead(distance), 0)
        speeds.append(result.twist.linear)
    assert speeds[0] == 0.8 and speeds[0] > speeds[1] >= speeds[2] >= speeds[3] == 0.0


def test_backing_out_and_turning_away_is_allowed() -> None:
    guard, near = Guard(ROBOT), wall_ahead(0.2)
    assert guard.filter(Twist2D(-0.15, 0.0), moving(Twist2D(), 0), near, 0).twist.linear < 0.0


@pytest.mark.parametrize(
    ("scan", "now", "reason"),
    [
        (None, 0, "no scan"),
        (wall_ahead(5.0), SECOND, "stale"),
        (wall_ahead(5.0), -SECOND, "clock"),
        (scan_of(np.full(360, np.nan)), 0, "usable"),
    ],
)
def test_useless_scans_stop_the_robot(scan: LaserScan | None, now: int, reason: str) -> None:
    result = Guard(ROBOT).filter(Twist2D(0.5, 0.0), moving(Twist2D(0.5, 0.0), now), scan, now)
    assert result.twist == Twist2D() and result.limited and reason in result.reason


@pytest.mark.parametrize(("age_s", "share"), [(0.2, 1.0), (0.3, 1.0), (0.44, 1.0), (0.525, 0.5), (0.65, 0.0)])
def test_a_slow_sweep_ages_from_its_end(age_s: float, share: float) -> None:
    """A LiDAR of 5 Hz stamps the first beam and sends 0.2 s later: by its stamp every scan would be old when the next comes."""
    sweep, now = replace(wall_ahead(8.0), time_increment_s=0.2 / 720), round(age_s * SECOND)
    result = Guard(ROBOT).filter(Twist2D(0.5, 0.0), moving(Twist2D(), now), sweep, now)
    assert result.twist.linear == pytest.approx(0.5 * share, abs=0.01)


def drive_on_one_scan(guard: Guard, poses: list[Pose2D], start: int = 0) -> list[str]:
    """What the guard says while the LiDAR sends the very same ranges, ten times a second from scan `start` on."""
    said = []
    for k, pose in enumerate(poses, start):
        now = k * SECOND // 10
        odometry = Odometry(now, pose, Twist2D())
        said.append(guard.filter(Twist2D(0.3, 0.0), odometry, replace(wall_ahead(5.0), stamp_ns=now), now).reason)
    return said


def test_a_frozen_scan_stops_the_robot() -> None:
    guard = Guard(ROBOT, GuardConfig(frozen_scans=4))
    assert drive_on_one_scan(guard, [Pose2D(0.02 * k) for k in range(6)]) == [*3 * [""], *3 * ["scan is frozen"]]
    still = [Pose2D(0.1)] * 9
    assert drive_on_one_scan(guard, still, 6) == 9 * ["scan is frozen"]  # standing still makes it no better
    now = 2 * SECOND
    noisy = wall_ahead(5.0).ranges + np.random.default_rng(0).normal(0, 0.01, 720).astype(np.float32)
    scan = replace(wall_ahead(5.0), stamp_ns=now, ranges=noisy)
    assert guard.filter(Twist2D(0.3, 0.0), moving(Twist2D(), now), scan, now).reason == ""


def test_one_that_was_frozen_before_the_start_is_noticed_after_the_first_centimetres() -> None:
    standing, driving = 100 * [Pose2D()], [Pose2D(0.012 * k) for k in range(1, 5)]
    assert drive_on_one_scan(Guard(ROBOT), standing + driving)[-5:] == ["", "", "", "scan is frozen", "scan is frozen"]
    turning = [Pose2D(yaw=0.012 * k) for k in range(1, 5)]
    assert drive_on_one_scan(Guard(ROBOT), standing + turning)[-1] == "scan is frozen"


def test_a_standing_robot_may_start_in_a_simulator_without_noise() -> None:
    """Its scans are all the same until it moves; its odometry may drift a little."""
    drifting = [Pose2D(yaw=0.0005 * k) for k in range(300)]
    assert set(drive_on_one_scan(Guard(ROBOT), drifting)) == {""}


def test_repeated_scans_may_be_let_pass() -> None:
    poses = [Pose2D(0.02 * k) for k in range(40)]
    assert set(drive_on_one_scan(Guard(ROBOT, GuardConfig(frozen_scans=0)), poses)) == {""}
    with pytest.raises(ConfigError, match="frozen_scans is 1"):
        GuardConfig(frozen_scans=1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_command_that_is_no_number_stops_the_robot(bad: float) -> None:
    assert Guard(ROBOT).filter(Twist2D(bad, 0.0), moving(Twist2D(), 0), wall_ahead(5.0), 0).twist == Twist2D()


def test_the_older_the_scan_the_slower_and_never_faster() -> None:
    """Fresh scans let the command pass; from slow_scan_age_s on it falls, along the same arc, to nothing at max_scan_age_s."""
    guard, wanted = Guard(ROBOT, GuardConfig(slow_scan_age_s=0.2, max_scan_age_s=0.6)), Twist2D(0.4, 0.2)
    speeds = []
    for age in (0.0, 0.19, 0.3, 0.4, 0.5, 0.59, 0.61):
        result = guard.filter(wanted, moving(Twist2D(), round(1e9 * age)), wall_ahead(8.0), round(1e9 * age))
        speeds.append(result.twist.linear)
        assert result.twist.angular == pytest.approx(0.5 * result.twist.linear)
        assert result.limited == (age > 0.2)
    assert speeds[:2] == [0.4, 0.4] and speeds[2:] == pytest.approx([0.3, 0.2, 0.1, 0.01, 0.0], abs=1e-6)
    assert guard.filter(wanted, moving(Twist2D(), 300_000_000), wall_ahead(8.0), 300_000_000).reason == "scan is old"
    assert guard.filter(wanted, moving(Twist2D(), 610_000_000), wall_ahead(8.0), 610_000_000).reason == "scan is stale"


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="slow_scan_age_s"):
        GuardConfig(slow_scan_age_s=0.5, max_scan_age_s=0.4)
    with pytest.raises(ConfigError, match=r"between 0\.0 and 0\.5"):
        GuardConfig(margin_m=2.0)


speeds = st.tuples(st.floats(-0.2, 0.8), st.floats(-1.8, 1.8)).map(lambda v: Twist2D(*v))


@settings(max_examples=200, deadline=None)
@given(
    start=speeds,
    before=speeds,
    wanted=speeds,
    seed=st.integers(0, 10_000),
    late=st.floats(0.0, 1.0),
    held=st.floats(0.3, 1.0),
    share=st.floats(0.8, 1.0),
)
def test_no_command_that_passes_ends_in_contact(
    start: Twist2D, before: Twist2D, wanted: Twist2D, seed: int, late: float, held: float, share: float
) -> None:
    """From any state, among random points: whenever the wheels answer, however long, with any brakes that are counted on."""
    rng = np.random.default_rng(seed)
    ranges = np.full(360, np.inf)
    hit = rng.choice(360, rng.integers(1, 40), replace=False)
    ranges[hit] = rng.uniform(0.30, 2.0, len(hit))
    scan, config, period = scan_of(ranges), GuardConfig(), SECOND // 20
    guard = Guard(ROBOT, config)
    # Nothing was in the way of what was commanded before.
    guard.filter(before, moving(start), scan_of(np.full(360, np.inf)), 0)
    allowed = guard.filter(wanted, moving(start, period), replace(scan, stamp_ns=period), period).twist
    assert abs(allowed.linear) <= abs(wanted.linear) + 1e-12 and abs(allowed.angular) <= abs(wanted.angular) + 1e-12
    # Standing still is what is left where nothing is safe any more.
    if allowed != Twist2D():
        answered = late * (config.reaction_s - 0.05)
        until = answered + held * (config.reaction_s - answered)
        assert nearest(scan.points(), start, [(answered, before), (until, allowed)], share) > 0.0


def nearest(points: np.ndarray, start: Twist2D, schedule: list[tuple[float, Twist2D]], share: float) -> float:
    """Return how near the footprint's edges come to any of the points if each command acts until its time, then zero.

    share: of the robot's decelerations that it has.
    """
    corners = ROBOT.footprint_array()
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=-1) / np.hypot(*edges.T)[:, None]
    pose, v, w, t, dt, least = Pose2D(), start.linear, start.angular, 0.0, 0.004, math.inf
    while t < schedule[-1][0] or abs(v) > 1e-6 or abs(w) > 1e-6:
        local = pose.inverse().transform(points)
        distance = np.max([(local - c) @ n for c, n in zip(corners, normals, strict=True)], axis=0)
        least = min(least, float(distance.min(initial=math.inf)))
        goal = next((twist for until, twist in schedule if t < until), Twist2D())
        v = _towards(v, goal.linear, ROBOT.max_linear_accel * dt, share)
        w = _towards(w, goal.angular, ROBOT.max_angular_accel * dt, share)
        pose = pose @ Pose2D(v * dt, 0.0, w * dt)
        t += dt
    return least


def _towards(now: float, goal: float, step: float, share: float) -> float:
    slows = abs(goal) < abs(now) or now * goal < 0.0
    step *= share if slows else 1.0
    return min(now + step, goal) if goal > now else max(now - step, goal)


def test_an_old_scan_is_judged_from_where_it_was_taken() -> None:
    """Since the scan the robot has come 0.3 m nearer to the wall, and has braked."""
    guard, wall = Guard(ROBOT), wall_ahead(0.9)
    for k in range(4):
        guard.filter(Twist2D(0.8), Odometry(k * SECOND // 10, Pose2D(0.08 * k), Twist2D(0.8)), wall, k * SECOND // 10)
    now = 4 * SECOND // 10
    here = Odometry(now, Pose2D(0.3), Twist2D())
    old = guard.filter(Twist2D(0.4), here, replace(wall, stamp_ns=2 * SECOND // 10), now)
    fresh = Guard(ROBOT).filter(Twist2D(0.4), Odometry(0, Pose2D(), Twist2D()), wall_ahead(0.9 - 0.14), 0)
    assert old.twist == fresh.twist


DISTANCES = np.linspace(0.22, 0.5, 29)


def test_what_the_odometry_may_have_got_wrong_is_kept_clear_of() -> None:
    """The robot has turned a whole radian since the scan; by how much, it knows only roughly."""
    now, speeds = SECOND // 5, []
    for drift in (0.0, 0.1):
        config = GuardConfig(odometry_drift=drift)
        for distance in DISTANCES:
            wall = wall_ahead(distance)
            turned = replace(wall, angle_min=wall.angle_min + 1.0)  # as it was seen with the heading of then
            guard = Guard(ROBOT, config)
            guard.filter(Twist2D(), Odometry(0, Pose2D(yaw=-1.0)), turned, 0)
            speeds.append(guard.filter(Twist2D(0.4), Odometry(now, Pose2D()), turned, now).twist.linear)
    sure, unsure = np.split(np.array(speeds), 2)
    assert (sure >= unsure).all() and sure.sum() > unsure.sum() > 0.0


def test_slippery_wheels_are_counted_on() -> None:
    firm, slippery = (
        np.array(
            [
                Guard(replace(ROBOT, wheel_slip=slip))
                .filter(Twist2D(0.5), moving(Twist2D(0.3)), wall_ahead(d), 0)
                .twist.linear
                for d in DISTANCES
            ]
        )
        for slip in (0.0, 0.3)
    )
    assert (firm >= slippery).all() and firm.sum() > slippery.sum() > 0.0


def test_old_odometry_stops_the_robot() -> None:
    result = Guard(ROBOT).filter(
        Twist2D(0.3), moving(Twist2D(0.3), 0), replace(wall_ahead(5.0), stamp_ns=SECOND), SECOND
    )
    assert result.twist == Twist2D() and result.reason == "odometry is stale"


class Approach:
    """Somebody walks up to a robot at the origin: two legs, as wide as a LiDAR of one degree sees them."""

    def __init__(self, start: tuple[float, float], velocity: tuple[float, float]) -> None:
        self._start, self._velocity = np.array(start), np.array(velocity)

    def scan(self, t: float, until: float = math.inf) -> LaserScan:
        """until: when they stop, s."""
        angles = -math.pi + 2 * math.pi / 360 * np.arange(360)
        direction = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        ranges = np.full(360, 5.0)
        middle = self._start + min(t, until) * self._velocity
        across = np.array([-self._velocity[1], self._velocity[0]]) / np.hypot(*self._velocity)
        for side in (0.1, -0.1):
            leg = middle + side * across
            along, aside = direction @ leg, np.abs(direction[:, 0] * leg[1] - direction[:, 1] * leg[0])
            near = along - np.sqrt(np.maximum(0.075**2 - aside**2, 0.0))
            ranges = np.where((along > 0) & (aside < 0.075), np.minimum(ranges, near), ranges)
        noise = np.random.default_rng(round(1000 * t)).normal(0.0, 0.005, 360)
        return scan_of(ranges + noise, round(1e9 * t))


def test_it_stops_for_somebody_who_will_be_in_the_way_before_it_could_stand() -> None:
    """They come from the side at 1.2 m/s: where they are now is clear of the way, where they will be is not."""
    walk = Approach((0.55, -2.4), (0.0, 1.2))
    guard, stopped_at = Guard(ROBOT), None
    for k in range(30):
        t = 0.1 * k
        result = guard.filter(
            Twist2D(0.7, 0.0), moving(Twist2D(0.7, 0.0), round(1e9 * t)), walk.scan(t), round(1e9 * t)
        )
        if stopped_at is None and result.twist.linear < 0.35:
            stopped_at = -2.4 + 1.2 * t
    assert stopped_at is not None and stopped_at < -0.6
    # The legs alone, as things that stand, are no reason yet.
    still = Approach((0.55, stopped_at), (0.0, 1.2)).scan(0.0)
    assert Guard(ROBOT).filter(Twist2D(0.7, 0.0), moving(Twist2D(0.7, 0.0)), still, 0).twist.linear > 0.5


def test_beside_somebody_who_stands_it_only_draws_away() -> None:
    """Their body is wider than the legs that are seen, also a while after they came."""
    guard, walk, arrived = Guard(ROBOT), Approach((0.48, -1.9), (0.0, 1.0)), 1.9
    for k in range(60):
        now = round(1e8 * k)
        guard.filter(Twist2D(), moving(Twist2D(), now), walk.scan(0.1 * k, arrived), now)
    passed = {}
    for k, wanted in enumerate((Twist2D(0.15, 0.0), Twist2D(0.0, 1.0), Twist2D(-0.15, 0.0))):
        now = round(6e9 + 5e8 * k)
        scan = walk.scan(6.0 + 0.5 * k, arrived)
        passed[wanted] = guard.filter(wanted, moving(Twist2D(), now), scan, now)
        assert Guard(ROBOT).filter(wanted, moving(Twist2D(), now), scan, now).twist == wanted
    assert [result.twist == wanted for wanted, result in passed.items()] == [False, False, True], passed
    assert all(result.reason in ("obstacle", "") for result in passed.values())
