"""What was foreseen at each step against what the recorded robot did in the seconds after it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.observation import LaserScan
from mm_nav.replay.foresight import straight_on
from mm_nav.replay.records import AHEAD_S, HORIZONS_S, ReplayStep
from mm_nav.robot import RobotConfig
from mm_nav.safety.sweep import Poses, clearances

Floats = npt.NDArray[np.float64]

# Over a longer gap in the recording nobody knows where the robot was.
_GAP_S = 1.0
# Ways shorter than this have no direction, and no shape to compare.
_WENT_M = 0.15
_CLEAR_FOR_S = 2.0  # so far ahead the foreseen drive is held against the scans
_NEAR_M, _MOST_POINTS = 3.0, 240
_NO_POINTS = np.full((_MOST_POINTS, 2), np.nan)
# Steps are settled together: some seconds of them when the first has waited for so much longer than it must.
_BATCH_S = 1.0
_ORIGIN = Poses(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))
_TIMES = np.array(AHEAD_S)
_CLEAR_STEPS = int(np.searchsorted(_TIMES, _CLEAR_FOR_S + 1e-6))
_UNTIL = {h: int(np.searchsorted(_TIMES, h + 1e-6)) for h in HORIZONS_S}


def clearance(robot: RobotConfig, points: Floats) -> float:
    """Return the distance, m, from the robot's body to the nearest of points (N, 2), base_link; negative = inside it, nan = there
    are none within 3 m."""
    near = points[np.abs(points).max(axis=1) <= _NEAR_M] if len(points) else points
    return float(clearances(robot, near, _ORIGIN)[0].min()) if len(near) else float("nan")


def scan_points(scan: LaserScan) -> Floats:
    """Return at most 240 of a scan's hits (N, 2), m, base_link."""
    points = scan.points()
    return points[:: -(-len(points) // _MOST_POINTS)] if len(points) else points


@dataclass(frozen=True)
class _Pending:
    """A step whose future is not known yet. foreseen, straight: (len(AHEAD_S), 3). way: (T + 1, 2), the policy's likeliest
    waypoints from the robot on; None = there are none. All in the odom frame."""

    index: int
    time_s: float
    pose: Pose2D
    foreseen: Floats
    straight: Floats
    way: Floats | None


@dataclass(frozen=True)
class _Been:
    """Where the robot was. points: (_MOST_POINTS, 2) of the scan, odom frame, nan beyond its last; None = there was none."""

    time_s: float
    x: float
    y: float
    points: Floats | None


class OpenLoop:
    """Takes steps in order and says of each, once enough of what follows is known, how far off it was.

    Of a horizon of h seconds: ade = mean, fde = last of the distances between where the stack would have been and where the robot
    was, every 0.25 s (as trajectory prediction has it; Alahi et al., "Social LSTM", CVPR 2016). policy_…: the same for the
    policy's likeliest waypoints, which are places and no times: each is held against where the robot had gone as far.
    straight_…: for a robot that goes on with its twist. Constant memory.
    """

    def __init__(self, robot: RobotConfig) -> None:
        self._robot = robot
        self._pending: deque[_Pending] = deque()
        self._been: deque[_Been] = deque()

    def add(self, index: int, time_s: float, step: ReplayStep) -> list[tuple[int, dict[str, float]]]:
        """Add a step; return what is known now: LATER_COLUMNS of earlier steps, by their index."""
        odometry = step.observation.odometry
        pose, done = odometry.pose, []
        if self._been and not 0 <= time_s - self._been[-1].time_s <= _GAP_S:
            done = self.finish()
        scan = step.observation.scan
        points = None if scan is None else _padded(pose.transform(scan_points(scan)))
        self._been.append(_Been(time_s, pose.x, pose.y, points))
        if np.isfinite(step.foreseen).all():
            way = None
            if step.output is not None and len(step.output.waypoints):
                likeliest = step.output.waypoints[int(step.output.waypoint_probs.argmax())].astype(np.float64)
                way = pose.transform(np.concatenate([np.zeros((1, 2)), likeliest]))
            straight = straight_on(pose, odometry.twist)
            self._pending.append(_Pending(index, time_s, pose, step.foreseen, straight, way))
        if self._pending and time_s - self._pending[0].time_s >= AHEAD_S[-1] + _BATCH_S:
            ready = [p for p in self._pending if time_s - p.time_s >= AHEAD_S[-1] + _GAP_S / 4]
            done += self._settle(ready)
            for _ in ready:
                self._pending.popleft()
        kept_s = (self._pending[0].time_s if self._pending else time_s) - _GAP_S
        while self._been[0].time_s < kept_s:
            self._been.popleft()
        return done

    def finish(self) -> list[tuple[int, dict[str, float]]]:
        """Return what is known of the steps that are left: the recording ends here, or leaps."""
        done = self._settle(list(self._pending))
        self._pending.clear()
        self._been.clear()
        return done

    def _settle(self, pending: list[_Pending]) -> list[tuple[int, dict[str, float]]]:
        """Return what became of some steps."""
        if not pending:
            return []
        t = np.array([b.time_s for b in self._been])
        x, y = np.array([(b.x, b.y) for b in self._been]).T
        gone = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        times = np.array([[p.time_s] for p in pending]) + _TIMES
        known = (times <= t[-1] + 1e-9).sum(axis=1)
        actual = np.stack([np.interp(times, t, x), np.interp(times, t, y)], axis=-1)
        metres = np.interp(times, t, gone) - np.interp(times[:, :1] - _TIMES[0], t, gone)
        foreseen = np.stack([p.foreseen for p in pending])
        off = {
            "": np.hypot(*np.moveaxis(foreseen[..., :2] - actual, -1, 0)),
            "straight_": np.hypot(*np.moveaxis(np.stack([p.straight[:, :2] for p in pending]) - actual, -1, 0)),
            "policy_": np.stack([_beside(p.way, m, a) for p, m, a in zip(pending, metres, actual, strict=True)]),
        }
        near = self._clearances(times[:, :_CLEAR_STEPS], foreseen[:, :_CLEAR_STEPS], t)
        found: list[tuple[int, dict[str, float]]] = []
        for k, p in enumerate(pending):
            values = {"foreseen_clearance_m": float(near[k])}
            for h, until in _UNTIL.items():
                if until > known[k]:
                    continue
                for name, gaps in off.items():
                    if name != "policy_" or p.way is not None:
                        values[f"{name}ade_{h}s_m"] = float(gaps[k, :until].mean())
                        values[f"{name}fde_{h}s_m"] = float(gaps[k, until - 1])
            if known[k] >= _UNTIL[2]:
                went, would = (way[k, _UNTIL[2] - 1, :2] - (p.pose.x, p.pose.y) for way in (actual, foreseen))
                if min(math.hypot(*went), math.hypot(*would)) >= _WENT_M:
                    turn = math.atan2(would[1], would[0]) - math.atan2(went[1], went[0])
                    values["heading_error"] = abs(wrap_angle(turn))
            found.append((p.index, values))
        return found

    def _clearances(self, times: Floats, foreseen: Floats, t: Floats) -> Floats:
        """Return how near foreseen drives (N, K, 3) come to what was scanned at each of their moments (N, K), (N,) m; nan where
        nothing was near, or scanned."""
        index = np.abs(times[..., None] - t).argmin(axis=-1)
        scans = np.stack([_NO_POINTS if b.points is None else b.points for b in self._been])
        there = scans[index] - foreseen[:, :, None, :2]
        there[np.abs(t[index] - times) > _GAP_S / 4] = np.nan
        cos, sin = np.cos(foreseen[..., 2:]), np.sin(foreseen[..., 2:])
        ahead = cos * there[..., 0] + sin * there[..., 1]
        aside = cos * there[..., 1] - sin * there[..., 0]
        out = np.full(len(times), np.nan)
        with np.errstate(invalid="ignore"):
            close = (np.abs(ahead) <= _NEAR_M) & (np.abs(aside) <= _NEAR_M)
            for k in np.flatnonzero(close.any(axis=(1, 2))):
                out[k] = clearance(self._robot, np.stack([ahead[k][close[k]], aside[k][close[k]]], axis=-1))
        return out


def _beside(way: Floats | None, metres: Floats, actual: Floats) -> Floats:
    """Return how far the policy's way is from where the robot was (K, 2), both after as many metres (K,); nan where the policy did
    not look so far, or the robot went nowhere."""
    if way is None or metres[-1] < _WENT_M:
        return np.full(len(metres), np.nan)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(way, axis=0).T))])
    there = np.stack([np.interp(metres, along, way[:, k]) for k in range(2)], axis=-1)
    gaps = np.hypot(*(there - actual).T)
    gaps[metres > along[-1]] = np.nan
    return np.asarray(gaps)


def _padded(points: Floats) -> Floats:
    """Return points (N, 2) and as many of nan as make _MOST_POINTS."""
    padded = _NO_POINTS.copy()
    padded[: len(points)] = points
    return padded
