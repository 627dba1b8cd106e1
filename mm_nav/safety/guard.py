"""The guard: no command passes from which the robot could not stop before touching what the LiDAR sees.

A command (v, w) is let through if the robot, whether it answers early or late, and then braking as hard as is counted on, touches
no scan point on its way to a standstill (`safety.sweep`; docs/safety.md has the reasoning). Otherwise it is scaled down, to zero
if need be. Scaling keeps the arc's curvature, so the planned way stays the way. The guard never raises a speed.

Without scans it stops the robot at once; or, where `blind_time_s` allows it, slows it down, judges by the last scans,
carried along by odometry, and stops it when that time is over.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import LaserScan, Odometry
from mm_nav.robot import RobotConfig
from mm_nav.safety.out_of_view import OutOfView
from mm_nav.safety.repetition import Repetition
from mm_nav.safety.scan_memory import ScanMemory
from mm_nav.safety.sweep import Pending, Poses, clearances, stopping_ways
from mm_nav.safety.track import Track
from mm_nav.sensing.deskew import deskewed, deskewed_points, sweep_end_ns
from mm_nav.sensing.movers import FollowingTracker, Movers, MoverTracker

Floats = npt.NDArray[np.float64]
# What may be left of a command where all of it is too much.
_SCALES = np.array([0.8, 0.6, 0.45, 0.3, 0.2, 0.1])
# A point inside the margin may stay as near as it is, but come no nearer than this.
_SLACK_M = 1e-3
# Who moves about matters from so near on.
_MOVERS_M = 4.0
# Who moves about is left by at least so much with each command that is let through inside the margin.
_DRAWN_AWAY_M = 0.004
# Only a scan that does not come is driven on without; one that is broken, frozen or from another time is no silence.
_BLIND = ("no scan", "scan is stale")
# The same ranges again and again are those of a dead LiDAR once the robot has come so far, metres and radians: one that stands
# in a simulator without noise sees the same, too.
_FROZEN_WAY = 0.03
# Metres that remembered points are taken to be nearer, for each metre or radian since, and at most. Of 20 episodes of
# `lidar_lost` (oracle, seeds 5000 to 5019) one backed into a wall with 0.01 and 0.08: its odometry was 0.14 m off.
_BLIND_DRIFT, _BLIND_DRIFT_M = 0.015, 0.15
# The same for what is where the LiDAR does not look now. More would hold the robot fast among things behind it.
_HIDDEN_DRIFT, _HIDDEN_DRIFT_M = 0.03, 0.06


@dataclass(frozen=True)
class GuardConfig:
    """margin_m: kept between body and obstacles (0 to 0.5). reaction_s: from a command until the wheels answer the next one: period
    and delay together (0 to 1). slow_scan_age_s: an older scan slows the robot, the more the older it is (0.02 to max_scan_age_s).
    max_scan_age_s: an older one stops it (0.05 to 2); both from the end of its sweep. min_valid_share: a scan with fewer usable
    beams stops the robot (0 to 1); inf (nothing in range) is usable, NaN is not. frozen_scans: so many scans in a row with the
    very same ranges, while the odometry says that the robot moves, mean a dead sensor (2 or more; 0 = never). braking_share: of
    the robot's deceleration that is counted on (0.1 to 1). odometry_drift: what the odometry may have got wrong since the scan, in
    metres for each metre and radians for each radian (0 to 0.5); things may be nearer by so much.

    blind_time_s: for so long after the last good scan the robot may drive on slowly, judged by that and some earlier ones (0 to
    120; 0 = it stops at once). blind_speed: at most so fast then, m/s (0.02 to 1).
    """

    margin_m: float = 0.03
    reaction_s: float = 0.15
    slow_scan_age_s: float = 0.25
    max_scan_age_s: float = 0.4
    min_valid_share: float = 0.1
    frozen_scans: int = 10
    braking_share: float = 0.8
    odometry_drift: float = 0.1
    blind_time_s: float = 0.0
    blind_speed: float = 0.25

    def __post_init__(self) -> None:
        for name, low, high in (
            ("margin_m", 0.0, 0.5),
            ("reaction_s", 0.0, 1.0),
            ("max_scan_age_s", 0.05, 2.0),
            ("min_valid_share", 0.0, 1.0),
            ("frozen_scans", 0, 10_000),
            ("braking_share", 0.1, 1.0),
            ("odometry_drift", 0.0, 0.5),
            ("blind_time_s", 0.0, 120.0),
            ("blind_speed", 0.02, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"guard: {name} is {value}; it must be between {low} and {high}")
        if self.frozen_scans == 1:
            raise ConfigError(
                "guard: frozen_scans is 1, and every scan is the same as itself: give 2 or more, or 0 for never"
            )
        if not 0.02 <= self.slow_scan_age_s <= self.max_scan_age_s:
            raise ConfigError(
                f"guard: slow_scan_age_s is {self.slow_scan_age_s}; it must be between 0.02 and max_scan_age_s "
                f"({self.max_scan_age_s})"
            )

    def freshness(self, age_s: float) -> float:
        """Return the share of the wanted speed that a scan of this age allows, 0 to 1."""
        if age_s <= self.slow_scan_age_s:
            return 1.0
        left = self.max_scan_age_s - age_s
        return max(0.0, left / max(self.max_scan_age_s - self.slow_scan_age_s, 1e-9))


@dataclass(frozen=True)
class GuardResult:
    """The twist that may be driven; whether it was reduced; why ("" when it was not)."""

    twist: Twist2D
    limited: bool
    reason: str


@dataclass(frozen=True)
class _Things:
    """What the body keeps clear of. points: (N, 2) m, base_link of now. margins: (N,) m. velocities: (N, 2) m/s; None = all stand.
    movers: how many of them, the last ones, move about."""

    points: Floats
    margins: Floats
    velocities: Floats | None = None
    movers: int = 0

    @property
    def moving(self) -> npt.NDArray[np.bool_]:
        """Which of them are movers: the last ones."""
        return np.arange(len(self.points)) >= len(self.points) - self.movers

    def beside(self, movers: Movers, margin_m: float) -> _Things:
        """Return them and those who move about, base_link of now: as if they stood, since speeds are guesses, and
        as they seem to go."""
        return _Things(
            np.concatenate([self.points, movers.positions, movers.positions]),
            np.concatenate([self.margins, *2 * [movers.radii + margin_m]]),
            np.concatenate([np.zeros((len(self.points) + len(movers), 2)), movers.velocities]),
            2 * len(movers),
        )


@dataclass(frozen=True)
class _Surroundings:
    """What a usable scan shows, and what is remembered beside it. points: (N, 2) m, base_link of now; nearer: (N,) m, what each may
    be off by. movers: base_link of now. fresh: share of a speed that the scan's age allows."""

    points: Floats
    nearer: Floats
    movers: Movers
    fresh: float


@dataclass
class Issued:
    """The last twists that somebody sent to the wheels, and when, ns."""

    twists: deque[tuple[int, Twist2D]] = field(default_factory=lambda: deque(maxlen=16))

    def add(self, now_ns: int, twist: Twist2D) -> None:
        """Note a twist; a clock that went back begins anew."""
        if self.twists and now_ns < self.twists[-1][0]:
            self.twists.clear()
        self.twists.append((now_ns, twist))


class Guard:
    """Holds what is needed to notice a frozen or time-travelling scan, and the last good scan.

    movers: who tells it who moves about; None = a tracker of its own, as on a robot, where nobody else's word counts.
    """

    def __init__(
        self, robot: RobotConfig, config: GuardConfig | None = None, movers: FollowingTracker | None = None
    ) -> None:
        self.robot, self.config = robot, config or GuardConfig()
        self._last_stamp: int | None = None
        self._repetition = Repetition()
        self._memory, self._hidden, self._track = ScanMemory(), OutOfView(), Track()
        self._movers = movers or MoverTracker()
        self._issued = Issued()  # what was let through
        # Of the last call, for `judge`: what there was to keep clear of, or why nothing could be driven.
        self._last: tuple[_Surroundings | None, Twist2D, str] = None, Twist2D(), "no scan"

    def filter(self, twist: Twist2D, odometry: Odometry, scan: LaserScan | None, now_ns: int) -> GuardResult:
        """Return what of `twist` may be driven.

        odometry: the newest. scan: the newest. now_ns: the clock of their stamps.
        """
        self._track.add(odometry)
        if self._issued.twists and now_ns < self._issued.twists[-1][0]:
            self._issued.twists.clear()
        result = self._judge(twist, odometry, scan, now_ns)
        self._issued.add(now_ns, result.twist)
        return result

    def judge(self, twist: Twist2D, issued: Issued, now_ns: int) -> GuardResult:
        """Return what of another twist could have been driven at the last call of `filter`; that call's past stays as it is.

        issued: what was sent to those other wheels before. now_ns: that call's.
        """
        around, current, reason = self._last
        if not (math.isfinite(twist.linear) and math.isfinite(twist.angular)):
            reason = "command is not finite"
        if around is None or reason:
            return GuardResult(Twist2D(), twist != Twist2D(), reason)
        return self._allowed(twist, current, around, now_ns, issued)

    def _judge(self, twist: Twist2D, odometry: Odometry, scan: LaserScan | None, now_ns: int) -> GuardResult:
        current = odometry.twist
        reason = self._refusal(twist, odometry, scan, now_ns)
        self._last = None, current, reason
        if self.config.blind_time_s > 0.0:
            if not reason and scan is not None:
                self._memory.see(scan, self._track.at(scan.stamp_ns))
            self._memory.follow(self._track.at(now_ns), now_ns)
            age_ns = self._memory.age_ns
            if reason in _BLIND and age_ns is not None and 1e-9 * age_ns <= self.config.blind_time_s:
                return self._filter_blind(twist, current, now_ns)
        if reason or scan is None:
            stopped = Twist2D()
            return GuardResult(stopped, twist != stopped, reason)
        around = self._look(scan, now_ns)
        self._last = around, current, ""
        return self._allowed(twist, current, around, now_ns, self._issued)

    def _look(self, scan: LaserScan, now_ns: int) -> _Surroundings:
        come, here, taken = self._track.odometer, self._track.at(now_ns), self._track.at(scan.stamp_ns)
        swept = taken.inverse() @ self._track.at(sweep_end_ns(scan))
        movers = self._movers.update(deskewed(scan, Pose2D(), swept, scan.stamp_ns), taken)
        seen = deskewed_points(scan, Pose2D(), swept)
        self._hidden.see(scan, taken.transform(seen), taken, taken @ swept, come.way, come.turned)
        # The scan was taken from where the robot was then.
        since = here.inverse() @ taken
        hidden, way, turned = self._hidden.hidden(scan, taken)
        points = np.concatenate([since.transform(seen), here.inverse().transform(hidden)])
        drift = math.hypot(since.x, since.y) + abs(since.yaw) * np.hypot(points[:, 0], points[:, 1])
        nearer = self.config.odometry_drift * drift
        longer = come.way - way + (come.turned - turned) * np.hypot(*points[len(seen) :].T)
        nearer[len(seen) :] += np.minimum(_HIDDEN_DRIFT * longer, _HIDDEN_DRIFT_M)
        if len(movers):
            movers = movers.after(1e-9 * (now_ns - scan.stamp_ns)).seen_from(here).within(np.zeros(2), _MOVERS_M)
        fresh = self.config.freshness(max(0.0, (now_ns - sweep_end_ns(scan)) * 1e-9))
        return _Surroundings(points, nearer, movers, fresh)

    def _allowed(
        self, twist: Twist2D, current: Twist2D, around: _Surroundings, now_ns: int, issued: Issued
    ) -> GuardResult:
        wanted = self._within_limits(twist)
        if wanted.linear == 0.0 and wanted.angular == 0.0:
            return GuardResult(Twist2D(), False, "")
        fresh = around.fresh
        if fresh < 1.0:
            wanted = Twist2D(fresh * wanted.linear, fresh * wanted.angular)
        things = self._near(around.points, wanted, current, around.nearer, issued)
        if len(around.movers):
            things = things.beside(around.movers, self.config.margin_m)
        allowed = self._safe_part(wanted, current, things, now_ns, issued)
        if allowed == twist:
            return GuardResult(twist, False, "")
        if allowed != wanted:
            return GuardResult(allowed, True, "obstacle")
        return GuardResult(allowed, True, "speed limit" if fresh == 1.0 else "scan is old")

    def _safe_part(self, wanted: Twist2D, current: Twist2D, things: _Things, now_ns: int, issued: Issued) -> Twist2D:
        """Return the largest share of `wanted` that is safe; standing still always is."""
        whole = np.array([[wanted.linear, wanted.angular]])
        if len(things.points) == 0 or self._are_safe(whole, current, things, now_ns, issued)[0]:
            return wanted
        safe = np.flatnonzero(self._are_safe(_SCALES[:, None] * whole, current, things, now_ns, issued))
        if len(safe) == 0:
            return Twist2D()
        scale = float(_SCALES[safe[0]])
        return Twist2D(wanted.linear * scale, wanted.angular * scale)

    def _filter_blind(self, twist: Twist2D, current: Twist2D, now_ns: int) -> GuardResult:
        wanted = self._within_limits(twist)
        # Turning sweeps corners, which drive as fast as the body may.
        fastest = max(abs(wanted.linear), abs(wanted.angular) * self.robot.circumscribed_radius)
        slow = min(1.0, self.config.blind_speed / max(fastest, 1e-9))
        wanted = Twist2D(wanted.linear * slow, wanted.angular * slow)
        if wanted == Twist2D():
            return GuardResult(wanted, False, "")
        # What was measured is less certain the farther the wheels have turned since.
        points = _drawn_in(self._memory.points(), min(_BLIND_DRIFT * self._memory.travelled, _BLIND_DRIFT_M))
        things = self._near(points, wanted, current, np.zeros(len(points)), self._issued)
        allowed = self._safe_part(wanted, current, things, now_ns, self._issued)
        return GuardResult(allowed, allowed != twist, "no scan: driving slowly by the last one")

    def _refusal(self, twist: Twist2D, odometry: Odometry, scan: LaserScan | None, now_ns: int) -> str:
        c = self.config
        if not (math.isfinite(twist.linear) and math.isfinite(twist.angular)):
            return "command is not finite"
        if not abs(now_ns - odometry.stamp_ns) * 1e-9 <= c.max_scan_age_s:
            return "odometry is stale"
        if scan is None:
            return "no scan"
        age = (now_ns - sweep_end_ns(scan)) * 1e-9
        if age > c.max_scan_age_s:
            return "scan is stale"
        if age < -c.max_scan_age_s or (self._last_stamp is not None and scan.stamp_ns < self._last_stamp):
            self._last_stamp = scan.stamp_ns if self._last_stamp is None else min(self._last_stamp, scan.stamp_ns)
            return "clock jumped"
        if scan.stamp_ns != self._last_stamp:
            self._repetition.see(scan, self._track.at(scan.stamp_ns))
            self._last_stamp = scan.stamp_ns
        if 0 < c.frozen_scans <= self._repetition.count and self._repetition.way > _FROZEN_WAY:
            return "scan is frozen"
        usable = scan.valid() | (scan.ranges > scan.range_max)
        if len(usable) == 0 or usable.mean() < c.min_valid_share:
            return "scan has too few usable beams"
        return ""

    def _within_limits(self, twist: Twist2D) -> Twist2D:
        r = self.robot
        linear = min(max(twist.linear, r.min_linear), r.max_linear)
        return Twist2D(linear, min(max(twist.angular, -r.max_angular), r.max_angular))

    def _near(self, points: Floats, wanted: Twist2D, current: Twist2D, nearer: Floats, issued: Issued) -> _Things:
        """Return those of points (N, 2) that the body could reach before it stands. nearer: (N,) m, what each may be off by."""
        speed = max(abs(wanted.linear), abs(current.linear), *(abs(twist.linear) for _, twist in issued.twists), 0.0)
        brake = self.config.braking_share * self.robot.max_linear_accel
        reach = speed * self.config.reaction_s + speed**2 / (2 * brake)
        reach += self.robot.circumscribed_radius + self.config.margin_m + 0.05
        near = np.hypot(points[:, 0], points[:, 1]) - nearer <= reach
        return _Things(points[near], self.config.margin_m + nearer[near])

    def _are_safe(
        self, wanted: Floats, current: Twist2D, things: _Things, now_ns: int, issued: Issued
    ) -> npt.NDArray[np.bool_]:
        """Return for each of `wanted` (K, 2) whether the robot can stop clear of all things by their margins after it."""
        c, points = self.config, things.points
        ways = stopping_ways(wanted, current, self._pending(now_ns, issued), self.robot, c.reaction_s, c.braking_share)
        nothing = np.zeros((1, 1))
        start = clearances(self.robot, points, Poses(nothing, nothing, nothing))[0]
        clear = clearances(self.robot, points, ways, things.velocities)
        # Where wheels slip, the robot ends up elsewhere, the more so the farther the way and the turn are.
        way, turn = ways.lengths()
        slip = self.robot.wheel_slip * way + self.robot.turn_slip * turn * np.hypot(points[:, 0], points[:, 1])
        safe = clear >= np.minimum(things.margins + slip, start) - _SLACK_M
        if things.velocities is not None:
            # Beside somebody the robot may only draw away: where they are is not known to the centimetre.
            last = Poses(ways.x[:, -1:], ways.y[:, -1:], ways.yaw[:, -1:], ways.times[:, -1:])
            end = clearances(self.robot, points, last, things.velocities)
            safe &= ~things.moving | (start >= things.margins) | (end >= start + _DRAWN_AWAY_M)
        safe = safe.all(axis=1)
        return np.asarray(safe.reshape(len(wanted), -1).all(axis=1))

    def _pending(self, now_ns: int, issued: Issued) -> list[Pending]:
        """Return the commands that the wheels may still follow.

        Of the reaction time, what is not the period (the time since the last command) is taken to be delay.
        """
        sent = list(issued.twists)
        if not sent:
            return []
        delay = self.config.reaction_s - 1e-9 * (now_ns - sent[-1][0])
        nexts = [*(when for when, _ in sent[1:]), now_ns]
        untils = [1e-9 * (when - now_ns) + delay for when in nexts]
        return [Pending(twist, until) for (_, twist), until in zip(sent, untils, strict=True) if until > 0.0]


def _drawn_in(points: Floats, by: float) -> Floats:
    """Return points (N, 2) moved towards the origin by `by` metres."""
    distance = np.hypot(points[:, 0], points[:, 1])
    return points * (np.maximum(distance - by, 0.0) / np.maximum(distance, 1e-9))[:, None]
