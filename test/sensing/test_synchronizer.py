"""The synchroniser: what goes together, what waits, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, LaserScan, Odometry, PointCloud
from mm_nav.sensing.synchronizer import ObservationSynchronizer, SyncConfig, extrapolate, interpolate

MS = 1_000_000
# The first half second waits for a camera that may be about to begin; most tests are not about that.
BLIND = {"image_timeout_s": 1e-9}


REST = Twist2D()


def odometry(ms, x=0.0, yaw=0.0, twist=REST):
    return Odometry(ms * MS, Pose2D(x, 0.0, yaw), twist)


def scan(ms):
    return LaserScan(ms * MS, np.ones(4, np.float32), 0.0, 1.5, 0.1, 10.0)


def image(ms):
    return CameraImage(ms * MS, np.zeros((2, 2, 3), np.uint8), np.eye(3), np.eye(4))


def cloud(ms):
    return PointCloud(ms * MS, np.zeros((0, 3), np.float32))


def feed(sync, *messages):
    push = {
        Odometry: sync.push_odometry,
        LaserScan: sync.push_scan,
        CameraImage: sync.push_image,
        PointCloud: sync.push_cloud,
    }
    return [o for m in messages for o in push[type(m)](m)]


def stamps(observations):
    return [o.stamp_ns // MS for o in observations]


def test_scan_waits_for_odometry_on_its_far_side_and_gets_it_interpolated():
    sync = ObservationSynchronizer(SyncConfig(**BLIND))
    assert feed(sync, odometry(0, 0.0, 3.0), scan(40)) == []
    (out,) = feed(sync, odometry(100, 1.0, -3.0))
    assert out.stamp_ns == out.odometry.stamp_ns == 40 * MS
    assert out.odometry.pose.x == pytest.approx(0.4)
    # From 3.0 over pi to -3.0, not back through 0.
    assert abs(out.odometry.pose.yaw) == pytest.approx(3.0 + 0.4 * (2 * math.pi - 6.0), abs=1e-9)
    assert out.image is None and out.cloud is None and out.scan.stamp_ns == 40 * MS


def test_odometry_of_the_same_stamp_is_passed_on_untouched():
    sync = ObservationSynchronizer(SyncConfig(**BLIND))
    exact = odometry(100, 0.123456789)
    (out,) = feed(sync, odometry(50, 7.0), exact, scan(100))
    assert out.odometry is exact


def test_picture_of_the_same_moment_is_waited_for_in_either_order():
    for late in (image(100), scan(100)):
        sync = ObservationSynchronizer()
        early = scan(100) if isinstance(late, CameraImage) else image(100)
        feed(sync, odometry(0), scan(0), image(0), odometry(100))
        assert feed(sync, early) == []
        (out,) = feed(sync, late)
        assert out.stamp_ns == 100 * MS and out.image.stamp_ns == 100 * MS


def test_newest_picture_at_most_tolerance_younger():
    sync = ObservationSynchronizer(SyncConfig(tolerance_s=0.02))
    feed(sync, odometry(0), image(60), image(95), image(130))
    (out,) = feed(sync, odometry(100), scan(100))
    assert out.image.stamp_ns == 95 * MS
    sync = ObservationSynchronizer(SyncConfig(tolerance_s=0.05))
    feed(sync, odometry(0), image(60), image(95), image(130))
    (out,) = feed(sync, odometry(100), scan(100))
    assert out.image.stamp_ns == 130 * MS


def test_the_first_picture_is_waited_for():
    sync = ObservationSynchronizer(SyncConfig(max_wait_s=0.1))
    assert feed(sync, odometry(0), scan(0)) == []
    (out,) = feed(sync, image(0))
    assert out.image is not None
    # Who has no camera waits a moment at the start, then no more.
    sync = ObservationSynchronizer(SyncConfig(max_wait_s=0.1, image_timeout_s=0.5))
    out = feed(sync, *(m for k in range(20) for m in (odometry(100 * k), scan(100 * k))))
    assert stamps(out) == list(range(0, 2000, 100))
    assert feed(sync, odometry(2000)) == [] and stamps(feed(sync, scan(2000))) == [2000]


def test_wait_for_a_picture_ends_after_max_wait():
    sync = ObservationSynchronizer(SyncConfig(max_wait_s=0.1))
    feed(sync, odometry(0), image(0), odometry(100))
    assert feed(sync, scan(100), odometry(200)) == []
    (out,) = feed(sync, odometry(201))
    assert out.stamp_ns == 100 * MS and out.image.stamp_ns == 0


def test_a_picture_that_is_due_later_is_not_waited_for():
    sync = ObservationSynchronizer()
    for ms in range(0, 199, 33):
        feed(sync, odometry(ms), image(ms))
    # The next one comes at 231: later than a quarter of 33 ms after this scan, so the one before it has to do.
    (out,) = feed(sync, scan(220), odometry(222))
    assert out.image.stamp_ns == 198 * MS
    # This one is due.
    assert feed(sync, scan(228), odometry(230)) == []
    (out,) = feed(sync, image(231))
    assert out.stamp_ns == 228 * MS and out.image.stamp_ns == 231 * MS


def test_dead_camera_is_not_waited_for_and_becomes_none():
    sync = ObservationSynchronizer(SyncConfig(image_timeout_s=0.5))
    feed(sync, image(0), odometry(0), odometry(590))
    (out,) = feed(sync, odometry(600), scan(600))
    assert out.image is None
    assert sync.stale(600 * MS) == ("image",)


def test_lost_odometry_is_extrapolated_then_refused():
    sync = ObservationSynchronizer(SyncConfig(max_wait_s=0.1, odometry_timeout_s=0.5, **BLIND))
    feed(sync, odometry(0, 0.0, 0.0, Twist2D(1.0)))
    out = feed(sync, scan(100), scan(300), scan(500), scan(700), scan(900))
    assert stamps(out) == [100, 300, 500]
    assert out[1].odometry.pose.x == pytest.approx(0.3)
    assert sync.counts["odometry"].dropped == 1
    assert sync.flush() == [] and sync.counts["odometry"].dropped == 2


def test_no_odometry_at_all_gives_nothing():
    sync = ObservationSynchronizer(SyncConfig(**BLIND))
    assert feed(sync, *(scan(100 * k) for k in range(20))) == [] and sync.flush() == []


def test_odometry_across_a_gap_is_not_interpolated():
    sync = ObservationSynchronizer(SyncConfig(odometry_timeout_s=0.5, **BLIND))
    out = feed(sync, odometry(0, 0.0), scan(1000), odometry(2000, 100.0))
    assert out == [] and sync.counts["odometry"].dropped == 1


def test_duplicates_and_late_messages_are_counted_and_ignored():
    sync = ObservationSynchronizer(SyncConfig(**BLIND))
    out = feed(sync, odometry(0), odometry(100), scan(50), scan(50), scan(40), odometry(100), odometry(90))
    assert stamps(out) == [50]
    assert (sync.counts["scan"].duplicate, sync.counts["scan"].late) == (1, 1)
    assert (sync.counts["odometry"].duplicate, sync.counts["odometry"].late) == (1, 1)


@pytest.mark.parametrize("stamp", [float("nan"), 1.5, -1, None])
def test_a_stamp_that_is_no_time_is_refused(stamp):
    sync = ObservationSynchronizer()
    assert sync.push_scan(LaserScan(stamp, np.ones(4, np.float32), 0.0, 1.5, 0.1, 10.0)) == []
    assert sync.push_odometry(Odometry(stamp, Pose2D())) == []
    assert sync.counts["scan"].invalid == sync.counts["odometry"].invalid == 1
    assert stamps(feed(sync, odometry(0), scan(0)) + sync.flush()) == [0]


def test_odometry_that_is_not_finite_is_refused():
    sync = ObservationSynchronizer(SyncConfig(**BLIND))
    out = feed(sync, odometry(0), odometry(50, math.nan), odometry(60, 0.0, math.inf), scan(70), odometry(100))
    assert sync.counts["odometry"].invalid == 2 and math.isfinite(out[0].odometry.pose.x)


def test_clock_that_jumps_back_starts_anew():
    sync = ObservationSynchronizer(SyncConfig(reset_s=1.0, **BLIND))
    assert stamps(feed(sync, odometry(49_900), odometry(50_000), scan(50_000))) == [50_000]
    out = feed(sync, scan(0), odometry(0, 1.0), scan(100), odometry(100, 2.0)) + sync.flush()
    assert stamps(out) == [0, 100] and sync.resets == 1
    assert out[1].odometry.pose.x == 2.0


def test_one_stamp_far_ahead_does_not_stop_the_flow():
    sync = ObservationSynchronizer(SyncConfig(**BLIND))
    feed(sync, odometry(0), scan(0), odometry(10**9))
    out = feed(sync, *(m for k in range(1, 20) for m in (odometry(100 * k), scan(100 * k))))
    assert len(out) >= 17


def test_lower_triggers_take_over_and_give_way():
    sync = ObservationSynchronizer(SyncConfig(triggers=("scan", "image"), scan_timeout_s=0.5))
    # Camera at 10 Hz throughout, LiDAR from 0 to 1 s and again from 3 s.
    out = []
    for k in range(40):
        ms = 100 * k
        lidar = [scan(ms)] if k <= 10 or k >= 30 else []
        out += feed(sync, odometry(ms), image(ms), *lidar)
    blind = [o for o in out if o.scan is None or o.scan.stamp_ns != o.stamp_ns]
    # At 3 s the picture comes first, and nobody knows yet that the LiDAR is back.
    assert stamps(blind) == list(range(1600, 3001, 100))
    assert all(o.scan is None for o in blind)
    assert stamps(out) == [*range(0, 1001, 100), *range(1600, 4000, 100)]


def test_ticks_count_while_nothing_else_triggers():
    """LiDAR until 1 s and again from 2 s; the owner would act at any time."""
    sync, out = ObservationSynchronizer(SyncConfig(triggers=("scan",), scan_timeout_s=0.5, **BLIND)), []
    for ms in range(0, 3000, 100):
        lidar = [scan(ms)] if ms <= 1000 or ms >= 2000 else []
        out += feed(sync, odometry(ms), *lidar) + sync.push_tick(ms * MS)
    assert stamps([o for o in out if o.scan is None]) == list(range(1600, 2000, 100))
    assert stamps(out) == [*range(0, 1001, 100), *range(1600, 3000, 100)]


def test_without_any_lidar_the_camera_triggers_after_the_timeout():
    sync = ObservationSynchronizer()
    out = feed(sync, *(m for k in range(20) for m in (odometry(100 * k), image(100 * k))))
    assert stamps(out) == list(range(600, 2000, 100))


def test_cloud_alone_triggers_when_asked_to():
    sync = ObservationSynchronizer(SyncConfig(triggers=("cloud",), **BLIND))
    (out,) = feed(sync, odometry(0), odometry(10), scan(10), cloud(10))
    assert out.cloud.stamp_ns == 10 * MS and out.scan is not None


def test_waiting_observations_are_bounded():
    sync = ObservationSynchronizer(SyncConfig(queue=4, max_wait_s=100.0, **BLIND))
    assert feed(sync, odometry(0), *(scan(10 * k) for k in range(1, 21))) == []
    assert stamps(feed(sync, odometry(1000))) == [170, 180, 190, 200]
    assert sync.counts["scan"].dropped == 16


@pytest.mark.parametrize(
    "wrong",
    [
        {"triggers": ("odometry",)},
        {"triggers": ()},
        {"triggers": ("scan", "scan")},
        {"image_timeout_s": 0.0},
        {"odometry_timeout_s": math.nan},
        {"max_wait_s": -1.0},
        {"queue": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError):
        SyncConfig(**wrong)


def test_extrapolation_follows_the_arc():
    quarter = extrapolate(Odometry(0, Pose2D(), Twist2D(math.pi / 2, math.pi / 2)), 10**9)
    assert (quarter.pose.x, quarter.pose.y, quarter.pose.yaw) == pytest.approx((1.0, 1.0, math.pi / 2))
    straight = extrapolate(Odometry(0, Pose2D(0, 0, math.pi / 2), Twist2D(2.0)), 500 * MS)
    assert (straight.pose.x, straight.pose.y) == pytest.approx((0.0, 1.0))


messages = st.lists(st.tuples(st.sampled_from("osic"), st.integers(-5, 3000), st.booleans()), min_size=1, max_size=120)


@settings(max_examples=150, deadline=None)
@given(messages)
def test_any_order_of_messages(drawn):
    make = {"o": odometry, "s": scan, "i": image, "c": cloud}
    stream = [make[kind](ms) for kind, ms, _ in drawn]
    first, second = ObservationSynchronizer(), ObservationSynchronizer()
    out = feed(first, *stream) + first.flush()
    again = feed(second, *stream) + second.flush()
    assert stamps(out) == stamps(again)
    if first.resets == 0:
        assert stamps(out) == sorted(set(stamps(out)))
    for o in out:
        assert o.odometry.stamp_ns == o.stamp_ns
        for item, timeout in ((o.scan, 500), (o.image, 500), (o.cloud, 500)):
            if item is not None:
                assert -20 * MS <= o.stamp_ns - item.stamp_ns <= timeout * MS
    for counts in first.counts.values():
        assert counts.received >= counts.duplicate + counts.late + counts.invalid


@settings(max_examples=60, deadline=None)
@given(st.permutations([odometry(100, 1.0), scan(100), image(100), cloud(100)]))
def test_arrival_order_of_one_moment_does_not_matter(order):
    sync = ObservationSynchronizer(SyncConfig(triggers=("scan",)))
    assert stamps(feed(sync, odometry(0), scan(0), image(0))) == [0]
    (out,) = feed(sync, *order) or sync.flush()
    assert out.stamp_ns == out.image.stamp_ns == 100 * MS
    assert out.odometry.pose.x == 1.0


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 100))
def test_interpolated_heading_lies_on_the_shorter_way(a, b, percent):
    from mm_nav.geometry import wrap_angle

    mid = interpolate(odometry(0, 0.0, a), odometry(100, 1.0, b), percent * MS)
    gap = abs(wrap_angle(b - a))
    assert abs(wrap_angle(mid.pose.yaw - a)) <= gap + 1e-9 and abs(wrap_angle(mid.pose.yaw - b)) <= gap + 1e-9
    assert mid.pose.x == pytest.approx(percent / 100)
