"""Pieces of a LiDAR's sweep that may be a board: straight lines of a planar one, flat patches of a 3D one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mm_nav.calibration.recording import Sweep

Floats = npt.NDArray[np.float64]

_LEAST_POINTS = 5
# Points of one line or patch keep within this of it, metres: three times the noise of usual LiDARs.
_FLAT_M = 0.035
_VOXEL_M = 0.04
# Neighbours differ by this in direction (rad) and relative range; up and down by this many times as much.
_REACH, _RINGS_APART = 0.06, 2.0
_FAR_M = 12.0


@dataclass(frozen=True)
class Patch:
    """A straight or flat piece. centre: (3,), metres, in the LiDAR. along: (K, 3) unit vectors in it, one of a line, two of a flat
    piece. length: (K,) how long it is along each, metres. count: points."""

    centre: Floats
    along: Floats
    length: Floats
    count: int


def patches_of(sweep: Sweep, smallest_m: float, largest_m: float) -> list[Patch]:
    """Return the straight or flat pieces of a sweep whose greatest length is between these, metres."""
    found = _lines(sweep, smallest_m) if sweep.is_planar else _flats(sweep, largest_m)
    return [patch for patch in found if smallest_m <= patch.length.max() <= largest_m]


def _lines(sweep: Sweep, smallest_m: float) -> list[Patch]:
    """Return straight lines: the scan is cut where its range jumps, and split where it bends most (Duda and Hart, 1973)."""
    points, found = sweep.points[:, :2], []
    if len(points) < _LEAST_POINTS:
        return []
    ranges = np.linalg.norm(points, axis=1)
    apart = np.linalg.norm(np.diff(points, axis=0), axis=1)
    # Neighbours on a surface seen at less than 15 degrees are farther apart than this: too slanted to be of use.
    usual = 4 * sweep.step_rad * np.minimum(ranges[1:], ranges[:-1]) + _FLAT_M
    cuts = np.flatnonzero((apart > usual) | (np.diff(sweep.beam) > 3)) + 1
    # A sweep's first beam may lie in the middle of a board behind the robot: no camera's place, so that does not matter.
    work = [(a, b) for a, b in zip(np.r_[0, cuts], np.r_[cuts, len(points)], strict=True)]
    while work:
        a, b = work.pop()
        if b - a < _LEAST_POINTS:
            continue
        piece = points[a:b]
        chord = piece[-1] - piece[0]
        length = float(np.linalg.norm(chord))
        if length < min(smallest_m, 0.1):
            continue
        normal = np.array([-chord[1], chord[0]]) / length
        off = np.abs((piece - piece[0]) @ normal)
        worst = int(off.argmax())
        if off[worst] > 2 * _FLAT_M and 0 < worst < len(piece) - 1:
            work += [(a, a + worst + 1), (a + worst, b)]
            continue
        found.append(_patch(sweep.points[a:b], 1))
    return found


def _flats(sweep: Sweep, largest_m: float) -> list[Patch]:
    """Return flat patches: clusters of near points, without what sticks out of their plane."""
    points = sweep.points[np.linalg.norm(sweep.points, axis=1) < _FAR_M]
    if len(points) < 3 * _LEAST_POINTS:
        return []
    _, first = np.unique(np.floor(points / _VOXEL_M).astype(np.int64), axis=0, return_index=True)
    kept = points[first]
    # Beams go apart with distance, and rings are farther apart than columns: near is what differs little in direction and, as a
    # share of it, in range.
    level = np.maximum(np.hypot(kept[:, 0], kept[:, 1]), 1e-6)
    away = np.log(np.maximum(np.linalg.norm(kept, axis=1), 1e-3))
    up = np.arctan2(kept[:, 2], level) / _RINGS_APART
    pairs = cKDTree(np.stack([away, kept[:, 0] / level, kept[:, 1] / level, up], axis=1)).query_pairs(
        _REACH, output_type="ndarray"
    )
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(kept), len(kept)))
    _, label = connected_components(graph, directed=False)
    found = []
    for one in np.flatnonzero(np.bincount(label) >= 3 * _LEAST_POINTS):
        cluster = kept[label == one]
        if np.ptp(cluster, axis=0).max() > 2.0 * largest_m:
            continue
        flat = _flattest(cluster)
        if len(flat) >= 3 * _LEAST_POINTS and np.linalg.matrix_rank(flat - flat.mean(axis=0), tol=0.05) >= 2:
            found.append(_patch(flat, 2))
    return found


def _flattest(points: Floats) -> Floats:
    """Return those points (N, 3) that lie in the plane which most lie in; of planes through three points, 60 of them."""
    rng, best = np.random.default_rng(0), np.zeros(len(points), bool)
    for _ in range(60):
        a, b, c = points[rng.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = float(np.linalg.norm(normal))
        if length < 1e-3:
            continue
        near = np.abs((points - a) @ normal) < _FLAT_M * length
        if near.sum() > best.sum():
            best = near
    return points[best]


def _patch(points: Floats, directions: int) -> Patch:
    centre = points.mean(axis=0)
    along = np.linalg.svd(points - centre, full_matrices=False)[2][:directions]
    spread = (points - centre) @ along.T
    middle = centre + 0.5 * (spread.max(axis=0) + spread.min(axis=0)) @ along
    return Patch(middle, along, np.ptp(spread, axis=0), len(points))
