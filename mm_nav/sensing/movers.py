"""What moves about, told from the scans alone: it is where beams passed freely some seconds ago.

Of a person the LiDAR sees two thin legs that swing; the body reaches farther. So everything that came where nothing was gets a disc
around it, whether it moves on or stands by now, and its speed from tracks of what has gone on moving.
"""

from __future__ import annotations

import math
from collections import deque
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d
from scipy.spatial import cKDTree

from mm_nav.geometry import Pose2D
from mm_nav.observation import LaserScan
from mm_nav.sensing.odometer import Odometer

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
# Distances of points from a sensor, which beams looked at them, and whether any did.
_Seen = tuple[Floats, Indices, npt.NDArray[np.bool_]]

# A body reaches so much farther than the middle of a leg's surface, as the LiDAR sees it, and than the edge of whatever is wider.
_BODY_M, _BEYOND_M = 0.2, 0.1
_RANGE_M = 6.0
_FINE_ENOUGH_RAD = 0.018  # of a finer LiDAR not every point is looked at
# The scans that points are compared with: about so old. The first two tell what is on the move, the others who came and stands.
_AGES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 45.0)
_RECENT = 2
# What was there at the second of them, within so much, does not walk.
_THERE_M = 0.1
# What was told to have come is taken for it for so long, within so much of where it was: not every scan tells.
_TOLD_S, _TOLD_M = 1.0, 0.08
# Scans are kept one by one for so long, then so far apart.
_DENSE_S, _SPARSE_S = 1.2, 0.5
# Of the points so near to one that came, such a share must have come.
_AROUND_M, _SHARE = 0.1, 0.4
# Nearer than this apart, beams miss nothing that stands: a chair's leg.
_BEAMS_M = 0.035
# So much farther a beam must have gone, and so must those beside it, for a place to have been free.
_FREE_M, _BESIDE_RAD = 0.2, 0.05
# Odometry drifts: nearby, where centimetres are many degrees, more beams must have; and more for each metre and radian since.
_NEARBY_M, _NEARBY_RAD = 1.0, 0.12
_DRIFT_M, _DRIFT_RAD = 0.02, 0.01
_LEG_M = 0.2  # points this near to each other are one thing
_WIDE_M = 0.5  # no leg is wider
_THINNEST_M = 0.06  # nor thinner; a chair's is, and may have stood between two beams before
_DISC_M = 0.15  # of a wider thing, a disc every so often
_GATE_M = 0.5  # what is this near to a track is of it
_STRIDE_M = 0.5  # what is this near to each other begins one track
# Two tracks this near to each other are one: of two that move, and of one that does and one that does not.
_SAME_M, _OWN_M = 0.35, 0.65
# Kalman filter with constant velocity: how well the middle of the legs is known where both are seen, or one, and how hard people
# accelerate.
_BOTH_M, _ONE_M, _ACCEL = 0.08, 0.2, 2.0
# What has come so far from where it was first seen, this fast and for so long, is moving.
_MOVED_M, _SPEED, _LASTED_S = 0.25, 0.3, 0.25
_UNSEEN_S = 0.35  # a track of which nothing moved for so long ends
_TOP_SPEED = 2.5


@dataclass(frozen=True)
class Movers:
    """Discs that hold who moves about at a moment; a person may have two. positions (M, 2) m, velocities (M, 2) m/s: frame of the
    poses that were given (odom). radii: (M,) m.
    """

    positions: Floats = field(default_factory=lambda: np.empty((0, 2)))
    velocities: Floats = field(default_factory=lambda: np.empty((0, 2)))
    radii: Floats = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.positions)

    def after(self, seconds: float) -> Movers:
        """Return where they are so much later if they go on as they do."""
        return Movers(self.positions + seconds * self.velocities, self.velocities, self.radii)

    def seen_from(self, pose: Pose2D) -> Movers:
        """Return them in the frame of a pose."""
        back = pose.inverse()
        turn = Pose2D(0.0, 0.0, back.yaw)
        return Movers(back.transform(self.positions), turn.transform(self.velocities), self.radii)

    def within(self, point: Floats, distance_m: float) -> Movers:
        """Return those that are this near to a point (2,)."""
        near = np.hypot(*(self.positions - point).T) - self.radii <= distance_m
        return Movers(self.positions[near], self.velocities[near], self.radii[near])

    def holding(self, points: Floats) -> npt.NDArray[np.bool_]:
        """Return which of points (N, 2) are in one of them."""
        if not len(self) or not len(points):
            return np.zeros(len(points), bool)
        return np.asarray((_apart(points, self.positions) <= self.radii).any(axis=1))


@dataclass
class _Track:
    """Something on the move. Times in seconds."""

    position: Floats
    born_at: Floats
    born_s: float
    seen_s: float
    velocity: Floats = field(default_factory=lambda: np.zeros(2))
    # Of position and velocity along either axis: the same for both.
    covariance: Floats = field(default_factory=lambda: np.diag([_ONE_M**2, 1.0]))
    moves: bool = False

    def predict(self, dt: float) -> None:
        self.position = self.position + dt * self.velocity
        step = np.array([[1.0, dt], [0.0, 1.0]])
        noise = _ACCEL**2 * np.array([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]])
        self.covariance = step @ self.covariance @ step.T + noise

    def correct(self, legs: list[Floats], now: float) -> None:
        seen = np.mean([leg.mean(axis=0) for leg in legs], axis=0)
        noise = _ONE_M if len(legs) == 1 else _BOTH_M
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + noise**2)
        off = seen - self.position
        self.position = self.position + gain[0] * off
        self.velocity = self.velocity + gain[1] * off
        speed = float(np.hypot(*self.velocity))
        self.velocity *= min(1.0, _TOP_SPEED / max(speed, 1e-9))
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        self.seen_s = now
        moved = float(np.hypot(*(self.position - self.born_at)))
        self.moves |= moved > _MOVED_M and speed > _SPEED and now - self.born_s >= _LASTED_S


@dataclass(frozen=True, eq=False)
class _Past:
    """A scan: its time, s, how far the robot had gone, m, and turned, rad, by then, and where the sensor was. reach: how far each
    beam went, m, 0 where that is not known."""

    stamp_s: float
    way: float
    turned: float
    sensor: Pose2D
    scan: LaserScan
    reach: Floats
    # The shortest reach of so many beams on either side: most scans are asked with the same number again.
    shortest: dict[int, Floats] = field(default_factory=dict)

    def was_free(self, seen: _Seen, way: float, turned: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which of points (N, 2) the beams passed freely; and which of them so near that nothing was between the beams.
        seen: the points from here. way, turned: m and rad by now."""
        distance, index, covered = seen
        off_m, off_rad = _DRIFT_M * (way - self.way), _DRIFT_RAD * (turned - self.turned)
        nearby = self._with_those_beside(_NEARBY_RAD + off_rad + off_m / (0.5 * _NEARBY_M))
        beside = self._with_those_beside(_BESIDE_RAD + off_rad + off_m / (1.5 * _NEARBY_M))
        reach = np.where(distance < _NEARBY_M, nearby[index], beside[index])
        free = covered & (reach > distance + _FREE_M)
        return free, free & (distance * self.scan.angle_increment <= _BEAMS_M)

    def was_there(self, seen: _Seen) -> npt.NDArray[np.bool_]:
        """Return at which of points (N, 2) something was. seen: the points from here."""
        distance, index, covered = seen
        beams = np.clip(index + np.array([[-1], [0], [1]]), 0, len(self.reach) - 1)
        with np.errstate(invalid="ignore"):
            near = np.abs(self.scan.ranges[beams] - distance) <= _THERE_M
        return np.asarray(covered & near.any(axis=0))

    def _with_those_beside(self, width_rad: float) -> Floats:
        """Return how far each beam went, or the shortest of those so near to it."""
        count = min(math.ceil(width_rad / self.scan.angle_increment), len(self.reach) // 2)
        if count not in self.shortest:
            mode = "wrap" if self.scan.looks_around else "nearest"
            self.shortest[count] = np.asarray(minimum_filter1d(self.reach, 2 * count + 1, mode=mode))
        return self.shortest[count]


def _seen_from(references: list[_Past], points: Floats) -> list[_Seen]:
    """Return for each of some scans the distance of points (N, 2) from the sensor, which beams looked at them, and whether any
    did."""
    # The same scan may stand for several ages.
    pasts = list({id(past): past for past in references}.values())
    if not pasts:
        return []
    local = np.stack([past.sensor.inverse().transform(points) for past in pasts])
    first, step, count = np.array([(p.scan.angle_min, p.scan.angle_increment, len(p.reach)) for p in pasts]).T[
        ..., None
    ]
    around = np.array([[past.scan.looks_around] for past in pasts])
    turned = np.mod(np.arctan2(local[..., 1], local[..., 0]) - first, 2 * math.pi)
    index = np.round(turned / step).astype(np.int64)
    beams = count.astype(np.int64)
    index = np.where(around, index % beams, index)
    distance, covered, index = np.hypot(local[..., 0], local[..., 1]), index < beams, np.minimum(index, beams - 1)
    found = {id(past): (distance[k], index[k], covered[k]) for k, past in enumerate(pasts)}
    return [found[id(past)] for past in references]


class MoverTracker:
    """Takes scans with the poses that they were taken at. Pure: the same scans give the same movers."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        # Newest last; those older than _DENSE_S are in _older, as far apart as _SPARSE_S.
        self._past: deque[_Past] = deque()
        self._older: deque[_Past] = deque()
        self._told: deque[tuple[float, Floats]] = deque()
        self._tracks: list[_Track] = []
        self._stamp_ns: int | None = None
        self._odometer = Odometer()
        self.movers = Movers()

    def update(self, scan: LaserScan, pose: Pose2D) -> Movers:
        """Return who moves about at the stamp of a scan. pose: of base_link then, odom frame.

        A clock that went back or leapt begins anew. The same scan again changes nothing.
        """
        if self._stamp_ns is not None and not 0 <= scan.stamp_ns - self._stamp_ns <= 1_000_000_000:
            self._begin()
        if scan.stamp_ns == self._stamp_ns or scan.angle_increment <= 0.0 or not len(scan.ranges):
            return self.movers
        now = 1e-9 * scan.stamp_ns
        for track in self._tracks:
            track.predict(now - 1e-9 * (self._stamp_ns or scan.stamp_ns))
        self._stamp_ns = scan.stamp_ns
        self._odometer.add(pose)
        way, turned = self._odometer.way, self._odometer.turned
        every = max(1, int(_FINE_ENOUGH_RAD / scan.angle_increment))
        base = scan.points()[::every]
        distance = np.hypot(base[:, 0], base[:, 1])
        base, distance = base[distance < _RANGE_M], distance[distance < _RANGE_M]
        points = pose.transform(base)
        references = self._references(now)
        seen = _seen_from(references, points)
        fresh, there, came = np.zeros((3, len(points)), bool)
        for past, view in zip(references[:_RECENT], seen[:_RECENT], strict=True):
            free, surely = past.was_free(view, way, turned)
            fresh, came, there = fresh | free, came | surely, past.was_there(view)
        self._follow(points, fresh, there & ~fresh, now)
        # Far away, only what goes on moving is known to be no chair's leg that the beams missed.
        came |= fresh & (_nearest(points, self._moving, _GATE_M) >= 0)
        for past, view in zip(references[_RECENT:], seen[_RECENT:], strict=True):
            came |= past.was_free(view, way, turned)[1]
        spacing = every * scan.angle_increment * distance
        came = _mostly(points, came)
        told = came | self._were_known(points, came, now)
        self.movers = self._discs(points[told], spacing[told])
        self._keep(_Past(now, way, turned, pose @ scan.mount, scan, _reach(scan)))
        return self.movers

    def copy(self) -> MoverTracker:
        """Return another tracker that knows the same: what either is given later, the other does not know."""
        other = MoverTracker()
        other._stamp_ns, other.movers = self._stamp_ns, self.movers
        other._past, other._older, other._told = deque(self._past), deque(self._older), deque(self._told)
        other._tracks = [copy(track) for track in self._tracks]
        other._odometer = copy(self._odometer)
        return other

    @property
    def _moving(self) -> list[_Track]:
        return [track for track in self._tracks if track.moves]

    def _references(self, now: float) -> list[_Past]:
        """Return the scans that points are compared with, one for each of _AGES_S; none before the second scan."""
        kept = [*self._older, *self._past]
        if not kept:
            return []
        ages = now - np.array([past.stamp_s for past in kept])
        return [kept[k] for k in np.abs(ages - np.array(_AGES_S)[:, None]).argmin(axis=1)]

    def _keep(self, newest: _Past) -> None:
        self._past.append(newest)
        while newest.stamp_s - self._past[0].stamp_s > _DENSE_S:
            old = self._past.popleft()
            if not self._older or old.stamp_s - self._older[-1].stamp_s >= _SPARSE_S:
                self._older.append(old)
        while self._older and newest.stamp_s - self._older[0].stamp_s > _AGES_S[-1]:
            self._older.popleft()

    def _follow(self, points: Floats, fresh: npt.NDArray[np.bool_], there: npt.NDArray[np.bool_], now: float) -> None:
        """Give the tracks what was seen of them, begin new ones with the rest, and end those of which nothing moved."""
        left = np.ones(len(points), bool)
        for tracks in (self._moving, [t for t in self._tracks if not t.moves]):
            owner = _nearest(points, tracks, _GATE_M)
            for k, track in enumerate(tracks):
                mine = np.flatnonzero((owner == k) & left)
                legs = [mine[leg] for leg in _grouped(points[mine], _LEG_M)]
                legs = [leg for leg in legs if np.ptp(points[leg], axis=0).max() <= _WIDE_M]
                moved = [points[leg] for leg in legs if fresh[leg].any()]
                new = [points[leg] for leg in legs if not fresh[leg].any() and not there[leg].any()]
                if moved:
                    track.correct(moved + new if track.moves else moved, now)
            left &= owner < 0
        self._tracks = _merged([track for track in self._tracks if now - track.seen_s <= _UNSEEN_S])
        alone = _nearest(points, self._moving, _OWN_M) < 0
        strangers = points[fresh & left & alone]
        for group in _grouped(strangers, _STRIDE_M):
            middle = strangers[group].mean(axis=0)
            if len(group) > 1:
                self._tracks.append(_Track(middle, middle, now, now))

    def _were_known(self, points: Floats, came: npt.NDArray[np.bool_], now: float) -> npt.NDArray[np.bool_]:
        """Return which of points (N, 2) are where something that came was told a moment ago; came: what is told now."""
        self._told.append((now, points[came]))
        while now - self._told[0][0] > _TOLD_S:
            self._told.popleft()
        told = np.concatenate([known for _, known in self._told])
        if not len(told) or not len(points):
            return np.zeros(len(points), bool)
        return np.asarray(cKDTree(told).query(points, distance_upper_bound=_TOLD_M)[0] <= _TOLD_M)

    def _discs(self, points: Floats, spacing: Floats) -> Movers:
        """Return discs around points (N, 2), each as fast as the track that it is of. spacing: (N,) m, between beams there."""
        middles, radii = [], []
        moving = self._moving
        tracked = _nearest(points, moving, _GATE_M) >= 0
        for group in _grouped(points, _LEG_M):
            thing = points[group]
            width = float(np.ptp(thing, axis=0).max() + spacing[group].mean())
            if width < _THINNEST_M and not tracked[group].any():
                continue
            if np.ptp(thing, axis=0).max() <= 2 * _DISC_M:
                middles.append(thing.mean(axis=0))
                radii.append(max(_BODY_M, _BEYOND_M + float(np.hypot(*(thing - middles[-1]).T).max())))
                continue
            while len(thing):
                middles.append(thing[0])
                radii.append(_BEYOND_M + _DISC_M)
                thing = thing[np.hypot(*(thing - thing[0]).T) > _DISC_M]
        if not middles:
            return Movers()
        positions = np.array(middles)
        owner = _nearest(positions, moving, _GATE_M)
        velocities = np.array([moving[k].velocity if k >= 0 else np.zeros(2) for k in owner])
        return Movers(positions, velocities, np.array(radii))


class FollowedTracker(MoverTracker):
    """A tracker that another one may follow (see FollowingTracker): it keeps what it knew before the first scan that the other one
    was not given yet. pending: how many those are; given: the last of them."""

    def __init__(self) -> None:
        super().__init__()
        self.before = MoverTracker()
        self.pending = 0
        self.given: tuple[LaserScan, Pose2D] | None = None

    def update(self, scan: LaserScan, pose: Pose2D) -> Movers:
        """Return who moves about, as MoverTracker does."""
        if self.pending == 0:
            self.before = self.copy()
        self.pending, self.given = self.pending + 1, (scan, pose)
        return super().update(scan, pose)


class FollowingTracker:
    """Answers as a MoverTracker of its own would. While it is given, scan by scan, the very scans and poses that another one was
    given just before, it takes that one's answers; from the first that differs on it goes on by itself."""

    def __init__(self, leader: FollowedTracker) -> None:
        self._leader = leader
        self._own: MoverTracker | None = None

    def update(self, scan: LaserScan, pose: Pose2D) -> Movers:
        """Return who moves about, as MoverTracker does."""
        leader = self._leader
        if self._own is None:
            if leader.pending == 1 and leader.given is not None and _same(leader.given, (scan, pose)):
                leader.pending = 0
                return leader.movers
            self._own = leader.before if leader.pending else leader.copy()
        return self._own.update(scan, pose)


def _same(one: tuple[LaserScan, Pose2D], other: tuple[LaserScan, Pose2D]) -> bool:
    (a, taken), (b, at) = one, other
    return (
        a.ranges is b.ranges
        and taken == at
        and (a.stamp_ns, a.mount, a.angle_min, a.angle_increment, a.range_min, a.range_max, a.time_increment_s)
        == (b.stamp_ns, b.mount, b.angle_min, b.angle_increment, b.range_min, b.range_max, b.time_increment_s)
    )


def _mostly(points: Floats, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which of the chosen of points (N, 2) have others around them of which a share is chosen, too: of what stands, drift
    of the odometry shows but an edge where it was not."""
    if chosen.any():
        near = _apart(points[chosen], points) <= _AROUND_M
        chosen = chosen.copy()
        chosen[np.flatnonzero(chosen)] = (near & chosen).sum(axis=1) >= _SHARE * near.sum(axis=1)
    return chosen


def _merged(tracks: list[_Track]) -> list[_Track]:
    kept: list[_Track] = []
    for track in sorted(tracks, key=lambda t: (not t.moves, t.born_s)):
        apart = _SAME_M if track.moves else _OWN_M
        if all(np.hypot(*(track.position - other.position)) > apart for other in kept if other.moves):
            kept.append(track)
    return kept


def _nearest(points: Floats, tracks: list[_Track], gate_m: float) -> Indices:
    """Return for each of points (N, 2) the index of the nearest track within gate_m, -1 = none."""
    if not tracks or not len(points):
        return np.full(len(points), -1)
    apart = _apart(points, np.array([track.position for track in tracks]))
    return np.where(apart.min(axis=1) <= gate_m, apart.argmin(axis=1), -1)


def _apart(points: Floats, others: Floats) -> Floats:
    """Return the distances (N, M) between points (N, 2) and others (M, 2)."""
    return np.asarray(np.hypot(*(points[:, None] - others[None]).transpose(2, 0, 1)))


def _reach(scan: LaserScan) -> Floats:
    """Return how far each beam went, m, 0 where that is not known."""
    with np.errstate(invalid="ignore"):
        known = scan.ranges >= scan.range_min
        return np.where(known, np.minimum(scan.ranges.astype(np.float64), scan.range_max), 0.0)


def _grouped(points: Floats, gap_m: float) -> list[Indices]:
    """Return groups of points (N, 2), as indices: those nearer to each other than gap_m, and what hangs together by them."""
    if not len(points):
        return []
    near, label = _apart(points, points) <= gap_m, np.arange(len(points))
    # Everyone takes the lowest label around, and that one's: until all that hangs together has the same.
    while True:
        lower = np.where(near, label, len(points)).min(axis=1)
        lower = lower[lower]
        if (lower == label).all():
            return [np.flatnonzero(label == k) for k in np.unique(label)]
        label = lower
