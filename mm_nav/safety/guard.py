"""The guard: no command passes from which the robot could not stop before touching what the LiDAR sees.

A command (v, w) is let through if the robot, after driving on for the reaction time and then braking as hard as it can
along the same arc, has touched no scan point. Otherwise it is scaled down, to zero if need be. Scaling keeps the arc's
curvature, so the planned way stays the way. The guard never raises a speed.

Without scans it stops the robot at once; or, where `blind_time_s` allows it, slows it down, judges by the last scans,
carried along by odometry, and stops it when that time is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Twist2D
from mm_nav.observation import LaserScan
from mm_nav.robot import RobotConfig
from mm_nav.safety.scan_memory import ScanMemory

Floats = npt.NDArray[np.float64]
_SCALES = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1)
# Poses along the way are no farther apart than this, in metres of the body's fastest corner.
_SWEEP_STEP_M = 0.03
# A point inside the margin may stay as near as it is, but come no nearer than this.
_SLACK_M = 1e-3
# Only a scan that does not come is driven on without; one that is broken, frozen or from another time is no silence.
_BLIND = ("no scan", "scan is stale")
# Metres that remembered points are taken to be nearer, for each metre or radian since, and at most. Of 20 episodes of
# `lidar_lost` (oracle, seeds 5000 to 5019) one backed into a wall with 0.01 and 0.08: its odometry was 0.14 m off.
_BLIND_DRIFT, _BLIND_DRIFT_M = 0.015, 0.15


@dataclass(frozen=True)
class GuardConfig:
    """margin_m: kept between body and obstacles (0 to 0.5). reaction_s: from scan to the wheels' answer, beside the scan's
    own age (0 to 1). slow_scan_age_s: an older scan slows the robot, the more the older it is (0.02 to max_scan_age_s).
    max_scan_age_s: an older one stops it (0.05 to 2). min_valid_share: a scan with fewer usable beams
    stops the robot (0 to 1); inf (nothing in range) is usable, NaN is not. frozen_scans: so many scans in a row with the
    very same ranges mean a dead sensor (2 or more). braking_share: of the robot's deceleration that is counted on (0.1 to 1).

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
    blind_time_s: float = 0.0
    blind_speed: float = 0.25

    def __post_init__(self) -> None:
        for name, low, high in (
            ("margin_m", 0.0, 0.5),
            ("reaction_s", 0.0, 1.0),
            ("max_scan_age_s", 0.05, 2.0),
            ("min_valid_share", 0.0, 1.0),
            ("frozen_scans", 2, 10_000),
            ("braking_share", 0.1, 1.0),
            ("blind_time_s", 0.0, 120.0),
            ("blind_speed", 0.02, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"guard: {name} is {value}; it must be between {low} and {high}")
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


class Guard:
    """Holds what is needed to notice a frozen or time-travelling scan, and the last good scan."""

    def __init__(self, robot: RobotConfig, config: GuardConfig | None = None) -> None:
        self.robot, self.config = robot, config or GuardConfig()
        self._last_ranges: npt.NDArray[np.float32] | None = None
        self._last_stamp = -1
        self._same = 0
        self._memory = ScanMemory()

    def filter(self, twist: Twist2D, current: Twist2D, scan: LaserScan | None, now_ns: int) -> GuardResult:
        """Return what of `twist` may be driven.

        current: measured velocity. scan: the newest. now_ns: the clock of the scan's stamp.
        """
        reason = self._refusal(twist, scan, now_ns)
        if self.config.blind_time_s > 0.0:
            if not reason and scan is not None:
                self._memory.see(scan, current)
            self._memory.follow(current, now_ns)
            age_ns = self._memory.age_ns
            if reason in _BLIND and age_ns is not None and 1e-9 * age_ns <= self.config.blind_time_s:
                return self._filter_blind(twist, current)
        if reason or scan is None:
            stopped = Twist2D()
            return GuardResult(stopped, twist != stopped, reason)
        wanted = self._within_limits(twist)
        if wanted.linear == 0.0 and wanted.angular == 0.0:
            return GuardResult(Twist2D(), False, "")
        points = scan.points()
        age = max(0.0, (now_ns - scan.stamp_ns) * 1e-9)
        fresh = self.config.freshness(age)
        if fresh < 1.0:
            wanted = Twist2D(fresh * wanted.linear, fresh * wanted.angular)
        points = self._near(points, wanted, current, age)
        allowed = self._safe_part(wanted, current, points, age)
        if allowed == twist:
            return GuardResult(twist, False, "")
        if allowed != wanted:
            return GuardResult(allowed, True, "obstacle")
        return GuardResult(allowed, True, "speed limit" if fresh == 1.0 else "scan is old")

    def _safe_part(self, wanted: Twist2D, current: Twist2D, points: Floats, age: float) -> Twist2D:
        """Return the largest share of `wanted` that is safe; standing still always is."""
        for scale in _SCALES:
            candidate = Twist2D(wanted.linear * scale, wanted.angular * scale)
            if self._is_safe(candidate, current, points, age):
                return candidate
        return Twist2D()

    def _filter_blind(self, twist: Twist2D, current: Twist2D) -> GuardResult:
        wanted = self._within_limits(twist)
        # Turning sweeps corners, which drive as fast as the body may.
        fastest = max(abs(wanted.linear), abs(wanted.angular) * self.robot.circumscribed_radius)
        slow = min(1.0, self.config.blind_speed / max(fastest, 1e-9))
        wanted = Twist2D(wanted.linear * slow, wanted.angular * slow)
        if wanted == Twist2D():
            return GuardResult(wanted, False, "")
        # What was measured is less certain the farther the wheels have turned since.
        points = _drawn_in(self._memory.points(), min(_BLIND_DRIFT * self._memory.travelled, _BLIND_DRIFT_M))
        points = self._near(points, wanted, current, 0.0)
        allowed = self._safe_part(wanted, current, points, 0.0)
        return GuardResult(allowed, allowed != twist, "no scan: driving slowly by the last one")

    def _refusal(self, twist: Twist2D, scan: LaserScan | None, now_ns: int) -> str:
        c = self.config
        if not (math.isfinite(twist.linear) and math.isfinite(twist.angular)):
            return "command is not finite"
        if scan is None:
            return "no scan"
        age = (now_ns - scan.stamp_ns) * 1e-9
        if age > c.max_scan_age_s:
            return "scan is stale"
        if age < -c.max_scan_age_s or scan.stamp_ns < self._last_stamp:
            self._last_stamp = min(self._last_stamp, scan.stamp_ns)
            return "clock jumped"
        if scan.stamp_ns != self._last_stamp:
            same = self._last_ranges is not None and np.array_equal(scan.ranges, self._last_ranges, equal_nan=True)
            # A world without returns is the same everywhere; only measured ranges carry noise that must change.
            self._same = self._same + 1 if same and bool(scan.valid().any()) else 0
            self._last_ranges, self._last_stamp = scan.ranges.copy(), scan.stamp_ns
        if self._same + 1 >= c.frozen_scans:
            return "scan is frozen"
        usable = scan.valid() | (scan.ranges > scan.range_max)
        if len(usable) == 0 or usable.mean() < c.min_valid_share:
            return "scan has too few usable beams"
        return ""

    def _within_limits(self, twist: Twist2D) -> Twist2D:
        r = self.robot
        linear = min(max(twist.linear, r.min_linear), r.max_linear)
        return Twist2D(linear, min(max(twist.angular, -r.max_angular), r.max_angular))

    def _near(self, points: Floats, wanted: Twist2D, current: Twist2D, age: float) -> Floats:
        """Return the points that the body could reach before standing still."""
        speed = max(abs(wanted.linear), abs(current.linear))
        brake = self.config.braking_share * self.robot.max_linear_accel
        reach = speed * (self.config.reaction_s + age) + speed**2 / (2 * brake)
        reach += self.robot.circumscribed_radius + self.config.margin_m + 0.05
        return points[np.hypot(points[:, 0], points[:, 1]) <= reach]

    def _is_safe(self, twist: Twist2D, current: Twist2D, points: Floats, age: float) -> bool:
        if len(points) == 0:
            return True
        start = self._signed_distance(points, np.zeros(1), np.zeros(1), np.zeros(1))[0]
        allowed = np.minimum(self.config.margin_m, start) - _SLACK_M
        x, y, yaw = self._sweep(twist, current, age)
        return bool((self._signed_distance(points, x, y, yaw) >= allowed).all())

    def _sweep(self, twist: Twist2D, current: Twist2D, age: float) -> tuple[Floats, Floats, Floats]:
        """Return the poses from now until standstill: on for the reaction time, then braking along the arc."""
        c, r = self.config, self.robot
        # Until the command acts the robot may still move as it does now: count on the faster of both.
        v = twist.linear if abs(twist.linear) >= abs(current.linear) else _same_sign(current.linear, twist.linear)
        w = twist.angular if abs(twist.angular) >= abs(current.angular) else _same_sign(current.angular, twist.angular)
        linear_stop = abs(v) / (c.braking_share * r.max_linear_accel)
        angular_stop = abs(w) / (c.braking_share * r.max_angular_accel)
        stop = max(linear_stop, angular_stop)
        reaction = c.reaction_s + age
        travel = (abs(v) + abs(w) * r.circumscribed_radius) * (reaction + 0.5 * stop)
        count = int(np.clip(math.ceil(travel / _SWEEP_STEP_M), 2, 60))
        times = np.linspace(0.0, reaction + stop, 2 * count)
        fade = 1.0 - np.clip((times - reaction) / max(stop, 1e-6), 0.0, 1.0)
        dt = np.diff(times, prepend=0.0)
        yaw = np.cumsum(w * fade * dt)
        middle = yaw - 0.5 * w * fade * dt
        return np.cumsum(v * fade * np.cos(middle) * dt), np.cumsum(v * fade * np.sin(middle) * dt), yaw

    def _signed_distance(self, points: Floats, x: Floats, y: Floats, yaw: Floats) -> Floats:
        """Return (poses, points) metres from the footprint's edges, negative inside (a lower bound outside corners)."""
        corners = self.robot.footprint_array()
        edges = np.roll(corners, -1, axis=0) - corners
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=-1) / np.hypot(*edges.T)[:, None]
        dx, dy = points[:, 0] - x[:, None], points[:, 1] - y[:, None]
        cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
        local_x, local_y = cos * dx + sin * dy, -sin * dx + cos * dy
        distances = [
            (local_x - corner[0]) * normal[0] + (local_y - corner[1]) * normal[1]
            for corner, normal in zip(corners, normals, strict=True)
        ]
        return np.asarray(np.max(distances, axis=0))


def _drawn_in(points: Floats, by: float) -> Floats:
    """Return points (N, 2) moved towards the origin by `by` metres."""
    distance = np.hypot(points[:, 0], points[:, 1])
    return points * (np.maximum(distance - by, 0.0) / np.maximum(distance, 1e-9))[:, None]


def _same_sign(now: float, wanted: float) -> float:
    """Return the present speed where it points the wanted way or nothing is wanted, else the wanted one."""
    return now if now * wanted >= 0.0 else wanted
