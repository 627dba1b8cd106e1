"""From sensor messages to Observations. The same code serves the ROS nodes, the simulator and bag replay.

Everything here is a function of the messages and their stamps: no clock is read, so the same messages in the same order
give the same Observations wherever they come from.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud

STREAMS = ("scan", "cloud", "image")
_TICK = "tick"
_INTERVALS = 5  # that tell a stream's period


class Stamped(Protocol):
    """Anything with a stamp."""

    @property
    def stamp_ns(self) -> int:
        """Nanoseconds of the robot's clock."""


M = TypeVar("M", bound=Stamped)


@dataclass(frozen=True)
class SyncConfig:
    """How messages are put together. All times in seconds of message time.

    triggers: streams that start an observation, first is preferred; the next one takes over while all before it have
    been silent for their timeout, so that a robot whose LiDAR dies goes on with its camera. tolerance_s: an image may
    be this much younger than the scan, and one within it counts as "of the same moment". max_wait_s: how long an
    observation waits for odometry or for a picture that is still on its way; one that is due later than tolerance_s and a
    quarter of the camera's period is not waited for. expect_images: False
    where none will ever come, so that nothing waits. …_timeout_s: a modality older than this
    is None in the observation. reset_s: a stream that jumps back by more starts everything anew (a simulator's reset,
    a bag's loop). queue: observations that may wait at once; older ones are dropped. Raises ConfigError for values
    that cannot work.
    """

    triggers: tuple[str, ...] = STREAMS
    tolerance_s: float = 0.02
    max_wait_s: float = 0.1
    image_timeout_s: float = 0.5
    scan_timeout_s: float = 0.5
    cloud_timeout_s: float = 0.5
    odometry_timeout_s: float = 0.5
    reset_s: float = 1.0
    expect_images: bool = True
    queue: int = 32

    def __post_init__(self) -> None:
        unknown = sorted(set(self.triggers) - set(STREAMS))
        if unknown or not self.triggers or len(set(self.triggers)) < len(self.triggers):
            raise ConfigError(
                f"triggers are {self.triggers}: give some of {STREAMS}, each once, the preferred one first"
            )
        for name in ("image_timeout_s", "scan_timeout_s", "cloud_timeout_s", "odometry_timeout_s", "reset_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be above 0 seconds")
        if not (self.tolerance_s >= 0 and self.max_wait_s >= 0 and self.queue >= 1):
            raise ConfigError("tolerance_s and max_wait_s must be at least 0 seconds, and queue at least 1")


@dataclass
class StreamCounts:
    """What happened to the messages of one stream. late: not younger than the one before it; dropped: nothing came of
    it."""

    received: int = 0
    duplicate: int = 0
    late: int = 0
    invalid: int = 0
    dropped: int = 0


@dataclass
class _Stream(Generic[M]):
    """The recent messages of one sensor, in the order of their stamps."""

    timeout_ns: int
    messages: deque[M] = field(default_factory=lambda: deque(maxlen=512))
    last_ns: int | None = None
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=_INTERVALS))

    def newest(self, until_ns: int) -> M | None:
        return next((m for m in reversed(self.messages) if m.stamp_ns <= until_ns), None)

    def forget(self, until_ns: int) -> None:
        """Drop what is older than the newest message at until_ns; that one may be wanted again."""
        while len(self.messages) > 1 and self.messages[1].stamp_ns <= until_ns:
            self.messages.popleft()

    def period_ns(self) -> int:
        """Return the usual time between two messages; 0 = not known yet."""
        return sorted(self.intervals)[len(self.intervals) // 2] if len(self.intervals) == _INTERVALS else 0

    def alive(self, now_ns: int) -> bool:
        return self.last_ns is not None and now_ns - self.last_ns <= self.timeout_ns


class ObservationSynchronizer:
    """Collects messages; every push returns the Observations that became complete by it, oldest first.

    An observation stands for the stamp of the message that triggered it. Odometry is interpolated to that stamp; it
    waits for odometry at or after it. A picture of the same moment is waited for only while the camera is alive and one is due, or
    may be about to begin. After `max_wait_s` of message time the observation goes out with what there is: odometry
    extrapolated from the newest message, the newest picture, or None. Without any odometry younger than its timeout
    it is dropped and counted.
    """

    def __init__(self, config: SyncConfig | None = None) -> None:
        self.config = config or SyncConfig()
        c = self.config
        self._tolerance, self._max_wait, self._reset = _ns(c.tolerance_s), _ns(c.max_wait_s), _ns(c.reset_s)
        self.counts = {name: StreamCounts() for name in ("odometry", *STREAMS)}
        self.resets = 0
        self._clear()

    def push_odometry(self, odometry: Odometry) -> list[Observation]:
        """Add odometry. A pose or twist that is not finite is counted as invalid and ignored."""
        pose, twist = odometry.pose, odometry.twist
        values = (pose.x, pose.y, pose.yaw, twist.linear, twist.angular, twist.lateral)
        return self._push("odometry", odometry, all(map(math.isfinite, values)))

    def push_scan(self, scan: LaserScan) -> list[Observation]:
        """Add a sweep of the planar LiDAR."""
        return self._push("scan", scan, len(scan.ranges) > 0)

    def push_image(self, image: CameraImage) -> list[Observation]:
        """Add a picture."""
        return self._push("image", image, min(image.shape) > 0)

    def push_cloud(self, cloud: PointCloud) -> list[Observation]:
        """Add a point cloud."""
        return self._push("cloud", cloud, True)

    def push_tick(self, stamp_ns: int) -> list[Observation]:
        """Ask for an observation at a stamp, for an owner that has another reason to act. While any stream that triggers is
        alive, or may be about to begin, nothing comes of it."""
        return self._complete() if self._started(_TICK, stamp_ns) else []

    def flush(self) -> list[Observation]:
        """Return what still waits, as if time had run out. For the end of a recording."""
        return self._complete(finish=True)

    def stale(self, now_ns: int) -> tuple[str, ...]:
        """Return the streams that had delivered and have been silent for longer than their timeout at now_ns."""
        return tuple(name for name, s in self._streams.items() if s.last_ns is not None and not s.alive(now_ns))

    def _clear(self) -> None:
        c = self.config
        self._odometry = _Stream[Odometry](_ns(c.odometry_timeout_s))
        self._scan = _Stream[LaserScan](_ns(c.scan_timeout_s))
        self._cloud = _Stream[PointCloud](_ns(c.cloud_timeout_s), deque(maxlen=c.queue))
        self._image = _Stream[CameraImage](_ns(c.image_timeout_s), deque(maxlen=c.queue))
        self._streams: dict[str, _Stream[Any]] = {
            "odometry": self._odometry,
            "scan": self._scan,
            "cloud": self._cloud,
            "image": self._image,
        }
        self._pending: deque[int] = deque()
        self._started_ns: int | None = None  # stamp of the first message of any stream
        self._now_ns = 0  # newest stamp of any stream
        self._last_trigger_ns = -1

    def _push(self, name: str, message: Stamped, usable: bool) -> list[Observation]:
        stream, counts = self._streams[name], self.counts[name]
        counts.received += 1
        stamp = _stamp(message)
        if stamp is None or not usable:
            counts.invalid += 1
            return []
        if stream.last_ns is not None and stamp <= stream.last_ns:
            if stamp < stream.last_ns - self._reset:
                finished = self.flush()
                self.resets += 1
                counts.received -= 1
                self._clear()
                return finished + self._push(name, message, usable)
            if stamp == stream.last_ns:
                counts.duplicate += 1
            else:
                counts.late += 1
            return []
        stream.messages.append(message)
        if stream.last_ns is not None:
            stream.intervals.append(stamp - stream.last_ns)
        stream.last_ns = stamp
        self._started_ns = stamp if self._started_ns is None else min(stamp, self._started_ns)
        self._now_ns = max(self._now_ns, stamp)
        self._started(name, stamp)
        return self._complete()

    def _started(self, name: str, stamp: int) -> bool:
        """Begin an observation, if this message is one that does."""
        if not self._triggers(name, stamp):
            return False
        self._last_trigger_ns = stamp
        self._pending.append(stamp)
        if len(self._pending) > self.config.queue:
            self._pending.popleft()
            if name in self.counts:
                self.counts[name].dropped += 1
        return True

    def _triggers(self, name: str, stamp: int) -> bool:
        triggers = (*self.config.triggers, _TICK)
        if name not in triggers or stamp <= self._last_trigger_ns:
            return False
        for preferred in triggers[: triggers.index(name)]:
            stream = self._streams[preferred]
            # A stream that never spoke is given its timeout to begin.
            heard = stream.last_ns if stream.last_ns is not None else self._started_ns
            if heard is not None and stamp - heard <= stream.timeout_ns:
                return False
        return True

    def _complete(self, finish: bool = False) -> list[Observation]:
        done: list[Observation] = []
        while self._pending:
            stamp = self._pending[0]
            overdue = finish or self._now_ns > stamp + self._max_wait
            if not overdue and (self._awaits_odometry(stamp) or self._awaits_image(stamp)):
                break
            self._pending.popleft()
            odometry = self._odometry_at(stamp)
            if odometry is None:
                self.counts["odometry"].dropped += 1
                continue
            done.append(
                Observation(
                    stamp_ns=stamp,
                    odometry=odometry,
                    scan=self._fresh(self._scan, stamp),
                    image=self._fresh(self._image, stamp),
                    cloud=self._fresh(self._cloud, stamp),
                )
            )
            for stream in self._streams.values():
                stream.forget(stamp)
        return done

    def _awaits_odometry(self, stamp: int) -> bool:
        return self._odometry.last_ns is None or self._odometry.last_ns < stamp

    def _awaits_image(self, stamp: int) -> bool:
        last = self._image.last_ns
        if not self.config.expect_images:
            return False
        if last is None:
            # A camera's first picture may still be on its way: it is given its timeout to begin.
            return self._started_ns is not None and stamp - self._started_ns <= self._image.timeout_ns
        if last >= stamp - self._tolerance or not self._image.alive(stamp):
            return False
        # A fast camera's next picture is not worth much time: the last one is young.
        period = self._image.period_ns()
        return period == 0 or last + period <= stamp + min(self._tolerance, period // 4)

    def _fresh(self, stream: _Stream[M], stamp: int) -> M | None:
        message = stream.newest(stamp + self._tolerance)
        return message if message is not None and stamp - message.stamp_ns <= stream.timeout_ns else None

    def _odometry_at(self, stamp: int) -> Odometry | None:
        before = self._odometry.newest(stamp)
        after = next((m for m in self._odometry.messages if m.stamp_ns >= stamp), None)
        timeout = self._odometry.timeout_ns
        if before is not None and stamp - before.stamp_ns > timeout:
            before = None
        if after is not None and after.stamp_ns - stamp > timeout:
            after = None
        if before is not None and after is not None:
            return interpolate(before, after, stamp)
        nearest = before or after
        return None if nearest is None else extrapolate(nearest, stamp)


def interpolate(before: Odometry, after: Odometry, stamp_ns: int) -> Odometry:
    """Return the odometry at stamp_ns between two messages: x, y, twist linear, yaw along the shorter way."""
    if stamp_ns == before.stamp_ns:
        return before
    if stamp_ns == after.stamp_ns:
        return after
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    a, b, u, v = before.pose, after.pose, before.twist, after.twist
    return Odometry(
        stamp_ns,
        Pose2D(
            a.x + share * (b.x - a.x),
            a.y + share * (b.y - a.y),
            wrap_angle(a.yaw + share * wrap_angle(b.yaw - a.yaw)),
        ),
        Twist2D(
            u.linear + share * (v.linear - u.linear),
            u.angular + share * (v.angular - u.angular),
            u.lateral + share * (v.lateral - u.lateral),
        ),
    )


def extrapolate(odometry: Odometry, stamp_ns: int) -> Odometry:
    """Return the odometry at another time, at constant twist (exact arc for a differential drive)."""
    dt = 1e-9 * (stamp_ns - odometry.stamp_ns)
    twist = odometry.twist
    turn = twist.angular * dt
    # Integral of the rotating velocity; its series is used near 0, where the quotient loses digits.
    if abs(turn) > 1e-6:
        along, across = math.sin(turn) / turn, (1.0 - math.cos(turn)) / turn
    else:
        along, across = 1.0, turn / 2
    dx, dy = twist.linear * dt, twist.lateral * dt
    moved = odometry.pose @ Pose2D(along * dx - across * dy, across * dx + along * dy, turn)
    return Odometry(stamp_ns, moved, twist)


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)


def _stamp(message: Stamped) -> int | None:
    """Return the stamp, or None when it is no time at all: NaN, a float, or negative."""
    try:
        stamp = operator.index(message.stamp_ns)
    except TypeError:
        return None
    return stamp if stamp >= 0 else None
