"""A recorded robot's poses as drives: where frames are taken, which way it drove from there, and where it was later.

What it did next is the label: hindsight, as in Andrychowicz et al., "Hindsight Experience Replay", 2017, and Shah et al.,
"ViNT: A Foundation Model for Visual Navigation", 2023. A way ends where the robot backs up, where its odometry jumps and
where nothing was recorded for a while.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.observation import Odometry
from mm_nav.robot import RobotConfig

Frame = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]

MARKER = "bags"  # a folder with bags.json holds frames of recordings

# Why a drive ended before its recording did.
CUTS = {
    "backing": "the robot backed up",
    "jump": "its odometry jumped",
    "gap": "nothing was recorded for a while",
    "clock": "the clock went back",
}
_POINT_M = 0.05  # between two points of a path: less is noise of a robot that stands
_ROUNDING = 1e-6  # of places far from the origin
_MOVED_RAD = 0.05  # that is no noise either
# What a robot's speed may change by while nobody looks; beyond, its odometry jumped. Far above what ground robots do.
_MOST_MPS2, _MOST_RADPS2 = 4.0, 10.0
_SHORT_S = 0.02  # two poses this near in time tell no speed
STRAIGHT = 1 / 3  # a goal that is nearer than this share of the way driven to it was not what the robot was driving to


@dataclass(frozen=True)
class BagConfig:
    """Which frames of recordings are kept.

    every_m, every_rad, every_s: two frames are this far apart: metres, or radians, or seconds of movement. goals_m: metres
    along the way to where the robot was later, each a goal. jump_m, jump_rad: odometry that differs by more from what its
    speed foretold has jumped (what a robot can do in the time between two observations is added). gap_s: without an
    observation. back_m: that the robot backs up before its drive is cut. frames_per_shard: half to one and a half times as many;
    training holds the last shards back. robot: whose body is left out of point clouds.
    """

    every_m: float = 0.25
    every_rad: float = math.radians(20.0)
    every_s: float = 2.0
    goals_m: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    jump_m: float = 0.15
    jump_rad: float = 0.35
    gap_s: float = 2.0
    back_m: float = 0.15
    frames_per_shard: int = 50
    robot: RobotConfig = field(default_factory=RobotConfig)

    def __post_init__(self) -> None:
        for name in ("every_m", "every_rad", "every_s", "jump_m", "jump_rad", "gap_s", "back_m"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be above 0")
        if not self.goals_m or min(self.goals_m) <= 0.0 or list(self.goals_m) != sorted(set(self.goals_m)):
            raise ConfigError(f"goals_m is {self.goals_m}: give distances above 0, each once, the shortest first")
        if self.frames_per_shard < 1:
            raise ConfigError(f"frames_per_shard is {self.frames_per_shard}: it must be at least 1")


@dataclass
class DriveCounts:
    """What became of a recording. ahead: frames with a way ahead. metres, seconds: in drives. cuts: by key of CUTS. backed_m:
    not used. spun: frames not taken, since the robot had turned all around there. roundabout: goals not used, since the way
    there was no way to get there."""

    frames: int = 0
    ahead: int = 0
    drives: int = 0
    metres: float = 0.0
    seconds: float = 0.0
    backed_m: float = 0.0
    spun: int = 0
    roundabout: int = 0
    cuts: Counter[str] = field(default_factory=Counter)


@dataclass
class _Taken:
    """A frame whose way ahead is not yet known. along: metres from where its drive began."""

    frame: Frame
    pose: Pose2D
    stamp_ns: int
    along: float


class DriveLabeller:
    """Gets a recording's poses in turn, says which frames to take, and gives them back with their labels.

    spacing_m, steps: of the waypoints. Memory is bounded: a frame waits until the robot has gone on as far as the farthest
    goal, and no longer.
    """

    def __init__(self, config: BagConfig, spacing_m: float, steps: int) -> None:
        self.counts = DriveCounts()
        self._config, self._spacing, self._steps = config, spacing_m, steps
        self._reach = max(config.goals_m[-1], spacing_m * steps)
        self._last: tuple[int, Odometry] | None = None
        self._speed: tuple[float, float, float] | None = (
            None  # forward, left m/s, and rad/s, between the last two poses
        )
        self._cut_before = False
        self._begin()

    def _begin(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._along: list[float] = []
        self._at: Pose2D | None = None  # the last pose that counted as movement
        self._backed: list[Pose2D] = []
        self._backing = False
        self._waiting: deque[_Taken] = deque()
        self._newest: _Taken | None = None
        self._spun = 0.0
        self._origin = Pose2D()

    def see(self, stamp_ns: int, odometry: Odometry, make: Callable[[], Frame | None]) -> list[Frame]:
        """Take the next pose; return the frames whose labels are complete.

        make: called where a frame is taken; returns what was sensed, or None where that was nothing. The frames get: pose
        (3,) float32, odom frame, from `origin` (2,) float64; drive () int32, counted from 0; stamp_ns () int64; along ()
        float32, metres from the drive's beginning; driven (steps, 2) float32 base_link, the way driven, spaced spacing_m, its
        last point repeated; driven_m () float32, how long it is; goals (G, 2) float32 base_link, where the robot was
        later; goal_m (G,) float32, metres along the way there, 0 = it did not come so far.
        """
        done: list[Frame] = []
        cut = self._broken(stamp_ns, odometry)
        if cut:
            done = self._end(cut)
        self._learn_speed(stamp_ns, odometry, known=not cut)
        if self._newest is not None and self._last is not None and not self._backing:
            self.counts.seconds += 1e-9 * (stamp_ns - self._last[0])
        self._last = stamp_ns, odometry
        done += self._move(odometry.pose)
        if not self._backing and not self._backed and self._due(stamp_ns, odometry.pose):
            frame = make()
            if frame is not None:
                self._take(frame, stamp_ns, odometry.pose)
        return done + self._complete()

    def finish(self) -> list[Frame]:
        """Return what still waits: the recording ends here."""
        return self._end("")

    def _learn_speed(self, stamp_ns: int, odometry: Odometry, known: bool) -> None:
        twist = odometry.twist
        if not known or self._last is None:
            finite = all(map(math.isfinite, (twist.linear, twist.lateral, twist.angular)))
            self._speed = (twist.linear, twist.lateral, twist.angular) if finite else (0.0, 0.0, 0.0)
            return
        before, dt = self._last[1].pose, 1e-9 * (stamp_ns - self._last[0])
        if dt < _SHORT_S:
            return
        moved = before.inverse() @ odometry.pose
        self._speed = moved.x / dt, moved.y / dt, moved.yaw / dt

    def _broken(self, stamp_ns: int, odometry: Odometry) -> str:
        """Return why the way from the last pose to this one is none; "" = it is one."""
        if self._last is None or self._speed is None:
            return ""
        c, dt = self._config, 1e-9 * (stamp_ns - self._last[0])
        if dt <= 0.0:
            return "clock"
        if dt > c.gap_s:
            return "gap"
        moved = self._last[1].pose.inverse() @ odometry.pose
        off = math.hypot(moved.x - self._speed[0] * dt, moved.y - self._speed[1] * dt)
        turned = abs(wrap_angle(moved.yaw - self._speed[2] * dt))
        jumped = off > c.jump_m + 0.5 * _MOST_MPS2 * dt**2 or turned > c.jump_rad + 0.5 * _MOST_RADPS2 * dt**2
        return "jump" if jumped else ""

    def _move(self, pose: Pose2D) -> list[Frame]:
        """Note a movement; a robot that has backed up for long enough ends its drive."""
        if self._at is None:
            self._start(pose)
            return []
        step = pose.distance_to(self._at)
        if step < _POINT_M - _ROUNDING:
            return []
        heading = self._at.yaw + 0.5 * wrap_angle(pose.yaw - self._at.yaw)
        forward = math.cos(heading) * (pose.x - self._at.x) + math.sin(heading) * (pose.y - self._at.y)
        self._at = pose
        if forward < -0.5 * step:
            if self._backing:
                self.counts.backed_m += step
                return []
            self._backed.append(pose)
            backed_m = sum(b.distance_to(a) for a, b in zip(self._tail(), self._backed, strict=False))
            if backed_m < self._config.back_m:
                return []
            self.counts.backed_m += backed_m
            done = self._end("backing")
            self._at, self._backing = pose, True
            return done
        if self._backing:
            self._begin()
            self._start(pose)
            return []
        # It had backed up too little to matter.
        for point in (*self._backed, pose):
            self._extend(point)
        self._backed = []
        return []

    def _tail(self) -> list[Pose2D]:
        return [Pose2D(*self._points[-1]), *self._backed]

    def _start(self, pose: Pose2D) -> None:
        self._at = self._origin = pose
        self._points, self._along = [(pose.x, pose.y)], [0.0]

    def _extend(self, pose: Pose2D) -> None:
        x, y = self._points[-1]
        step = math.hypot(pose.x - x, pose.y - y)
        if step > 1e-6:
            self._points.append((pose.x, pose.y))
            self._along.append(self._along[-1] + step)

    def _due(self, stamp_ns: int, pose: Pose2D) -> bool:
        c, last = self._config, self._newest
        if last is None:
            return True
        moved, turned = pose.distance_to(last.pose), abs(wrap_angle(pose.yaw - last.pose.yaw))
        late = stamp_ns - last.stamp_ns >= 1e9 * c.every_s and (moved >= _POINT_M or turned >= _MOVED_RAD)
        if not (moved >= c.every_m - _ROUNDING or turned >= c.every_rad - _ROUNDING or late):
            return False
        # Once around on the spot shows all there is.
        self._spun = 0.0 if moved >= _POINT_M else self._spun + turned
        if self._spun > 2.0 * math.pi:
            self.counts.spun += 1
            self._newest = _Taken({}, pose, stamp_ns, last.along)
            return False
        return True

    def _take(self, frame: Frame, stamp_ns: int, pose: Pose2D) -> None:
        self._extend(pose)
        self._at = pose
        self._newest = _Taken(frame, pose, stamp_ns, self._along[-1])
        self._waiting.append(self._newest)

    def _complete(self) -> list[Frame]:
        done = []
        while self._waiting and self._along[-1] >= self._waiting[0].along + self._reach:
            done.append(self._labelled(self._waiting.popleft()))
        # What lies behind all frames is not needed any more.
        needed = self._waiting[0].along if self._waiting else math.inf
        first = min(int(np.searchsorted(self._along, needed)), max(len(self._along) - 1, 0))
        del self._points[:first], self._along[:first]
        return done

    def _end(self, cut: str) -> list[Frame]:
        """End the drive; cut: a key of CUTS, "" = it is the recording that ends."""
        done = [self._labelled(taken) for taken in self._waiting]
        # Odometry is interpolated, so a jump may be spread over two observations: it is one all the same.
        if cut and not (cut == "jump" and self._cut_before and self._newest is self._waiting_only()):
            self.counts.cuts[cut] += 1
        self._cut_before = cut == "jump"
        if self._newest is not None:
            self.counts.metres += self._along[-1]
            self.counts.drives += 1
        self._begin()
        return done

    def _waiting_only(self) -> _Taken | None:
        return self._waiting[0] if len(self._waiting) == 1 else None

    def _labelled(self, taken: _Taken) -> Frame:
        c, pose, left = self._config, taken.pose, self._along[-1] - taken.along
        inverse = pose.inverse()
        driven = min(left, self._spacing * self._steps)
        goals = np.zeros((len(c.goals_m), 2), np.float32)
        goal_m = np.zeros(len(c.goals_m), np.float32)
        for k, distance in enumerate(c.goals_m):
            if distance > left + 1e-9:
                break
            place = inverse.transform(self._on_the_way(np.array([taken.along + distance])))[0]
            if math.hypot(*place) < STRAIGHT * distance:
                self.counts.roundabout += 1
                continue
            goals[k], goal_m[k] = place, distance
        ahead = np.minimum(self._spacing * np.arange(1, self._steps + 1), driven)
        self.counts.frames += 1
        self.counts.ahead += bool((goal_m > 0).any())
        return {
            **taken.frame,
            "pose": np.array([pose.x - self._origin.x, pose.y - self._origin.y, pose.yaw], np.float32),
            "origin": np.array([self._origin.x, self._origin.y], np.float64),
            "drive": np.array(self.counts.drives, np.int32),
            "stamp_ns": np.array(taken.stamp_ns, np.int64),
            "along": np.array(taken.along, np.float32),
            "driven": inverse.transform(self._on_the_way(taken.along + ahead)).astype(np.float32),
            "driven_m": np.array(driven, np.float32),
            "goals": goals,
            "goal_m": goal_m,
        }

    def _on_the_way(self, along: Floats) -> Floats:
        """Return where the robot was (N, 2), odom frame, after so many metres (N,) of its drive."""
        points = np.array(self._points)
        return np.stack([np.interp(along, self._along, points[:, axis]) for axis in range(2)], axis=-1)
