"""What was foreseen at each step against what the recorded robot did in the seconds after it."""

from __future__ import annotations

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
_ORIGIN = Poses(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))
_TIMES = np.array(AHEAD_S)
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
    """Where the robot was. points: of the scan, odom frame; None = there was none."""

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
        points = None if scan is None else pose.transform(scan_points(scan))
        self._been.append(_Been(time_s, pose.x, pose.y, points))
        if np.isfinite(step.foreseen).all():
            way = None
            if step.output is not None and len(step.output.waypoints):
                likeliest = step.output.waypoints[int(step.output.waypoint_probs.argmax())].astype(np.float64)
                way = pose.transform(np.concatenate([np.zeros((1, 2)), likeliest]))
            straight = straight_on(pose, odometry.twist)
            self._pending.append(_Pending(index, time_s, pose, step.foreseen, straight, way))
        while self._pending and time_s - self._pending[0].time_s >= AHEAD_S[-1] + _GAP_S / 4:
            done.append(self._settle(self._pending.popleft()))
            while self._been[0].time_s < (self._pending[0].time_s if self._pending else time_s) - _GAP_S:
                self._been.popleft()
        if not self._pending:
            while self._been[0].time_s < time_s - _GAP_S:
                self._been.popleft()
        return done

    def finish(self) -> list[tuple[int, dict[str, float]]]:
        """Return what is known of the steps that are left: the recording ends here, or leaps."""
        done = [self._settle(pending) for pending in self._pending]
        self._pending.clear()
        self._been.clear()
        return done

    def _settle(self, p: _Pending) -> tuple[int, dict[str, float]]:
        t = np.array([b.time_s for b in self._been])
        x, y = np.array([(b.x, b.y) for b in self._been]).T
        times = p.time_s + _TIMES
        known = int(np.searchsorted(times, t[-1] + 1e-9, side="right"))
        actual = np.stack([np.interp(times, t, x), np.interp(times, t, y)], axis=-1)
        found: dict[str, float] = {}
        off = {
            "": np.hypot(*(p.foreseen[:, :2] - actual).T),
            "straight_": np.hypot(*(p.straight[:, :2] - actual).T),
        }
        if p.way is not None:
            off["policy_"] = self._beside(p, t, x, y, times)
        for h, until in _UNTIL.items():
            if until > known:
                continue
            for name, gaps in off.items():
                found[f"{name}ade_{h}s_m"] = float(gaps[:until].mean())
                found[f"{name}fde_{h}s_m"] = float(gaps[until - 1])
        two = _UNTIL[2] - 1
        if known > two:
            went, would = actual[two] - (p.pose.x, p.pose.y), p.foreseen[two, :2] - (p.pose.x, p.pose.y)
            if min(np.hypot(*went), np.hypot(*would)) >= _WENT_M:
                found["heading_error"] = abs(
                    wrap_angle(float(np.arctan2(would[1], would[0]) - np.arctan2(went[1], went[0])))
                )
        found["foreseen_clearance_m"] = self._clearance(p, t)
        return p.index, found

    def _beside(self, p: _Pending, t: Floats, x: Floats, y: Floats, times: Floats) -> Floats:
        """Return for each of `times` how far the policy's way is from where the robot was, both after as many metres; nan where the
        policy did not look so far, or the robot went nowhere."""
        assert p.way is not None
        began = int(np.searchsorted(t, p.time_s))
        gone = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x[began:]), np.diff(y[began:])))])
        metres = np.interp(times, t[began:], gone)
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(p.way, axis=0).T))])
        there = np.stack([np.interp(metres, along, p.way[:, k]) for k in range(2)], axis=-1)
        actual = np.stack([np.interp(times, t, x), np.interp(times, t, y)], axis=-1)
        gaps = np.hypot(*(there - actual).T)
        gaps[metres > along[-1]] = np.nan
        return gaps if metres[-1] >= _WENT_M else np.full(len(gaps), np.nan)

    def _clearance(self, p: _Pending, t: Floats) -> float:
        """Return how near the foreseen drive comes to what was scanned at each of its moments, m."""
        local = []
        for ahead, (px, py, yaw) in zip(AHEAD_S, p.foreseen, strict=True):
            if ahead > _CLEAR_FOR_S:
                break
            k = int(np.abs(t - (p.time_s + ahead)).argmin())
            points = self._been[k].points
            if points is not None and abs(t[k] - p.time_s - ahead) <= _GAP_S / 4:
                local.append(Pose2D(float(px), float(py), float(yaw)).inverse().transform(points))
        return clearance(self._robot, np.concatenate(local)) if local else float("nan")
