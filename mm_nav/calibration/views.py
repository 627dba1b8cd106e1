"""Views: times at which camera and LiDAR see the board, and which points of the sweeps are on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.bags.items import Lens
from mm_nav.calibration.board import Board
from mm_nav.calibration.board_pose import BoardPose
from mm_nav.calibration.patches import Patch, patches_of
from mm_nav.calibration.recording import Sweep
from mm_nav.calibration.track import CORNER_FLOOR_PX, LONGEST_GAP_S, BoardTrack

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

# So many sweeps of one rest are enough, and so many views of a moving board.
_MOST_SWEEPS, _MOST_MOVING = 20, 150
# Rests in which the board stood as in another one say nothing new.
_SAME_M, _SAME_RAD = 0.01, np.radians(1.0)
_INLIER_M, _TRIALS = 0.03, 80
# Points this near to the board's edge may be half on it.
_EDGE_M = 0.012


@dataclass(frozen=True)
class View:
    """One time at which both sensors see the board.

    time_s: s after the recording's start. still: whether nothing moved. pose: how the board stood. corner_px: standard deviation
    of its corners. detection: number of the detection in the track. sweeps: of the LiDAR, all of one pose. patches: what of them
    may be the board. gap_s: between the pictures around a moving view.
    """

    time_s: float
    still: bool
    pose: BoardPose
    corner_px: float
    detection: int
    sweeps: tuple[Sweep, ...]
    patches: tuple[Patch, ...]
    gap_s: float = 0.0


@dataclass(frozen=True)
class Contact:
    """The line or plane that fits a view's points on the board, as K control points: two of a line, three of a plane.

    points: (K, 3), metres, in the LiDAR. times_s: (K,) when each was measured. normal: (3,) unit, of the line within the scan's
    plane, or of the plane. lever: (K, K), covariance of the control points along the normal per variance of one point.
    on_board: (N, 3) the points on the board. rss: sum of the squares of their distances from it, m²; dof: degrees of freedom of
    that sum.
    """

    points: Floats
    times_s: Floats
    normal: Floats
    lever: Floats
    rss: float
    dof: int
    on_board: Floats


def find_views(track: BoardTrack, sweeps: Sequence[Sweep], lens: Lens) -> list[View]:
    """Return the views of a recording: rests, each with the sweeps that were taken in it, and sweeps of a moving board.

    Rests that show the board as another one does are made one.
    """
    smallest, largest = _limits(track.board)
    rests = track.rests(lens)
    views: list[View] = []
    moving: list[View] = []
    for rest in rests:
        inside = tuple(s for s in sweeps if s.time_s >= rest.start_s and _end_s(s) <= rest.end_s)
        if not inside or any(_same(rest.pose, view.pose) for view in views):
            continue
        inside = inside[:: -(-len(inside) // _MOST_SWEEPS)]
        middle = inside[len(inside) // 2]
        views.append(
            View(
                middle.time_s, True, rest.pose, rest.deviation_px, rest.middle, inside,
                tuple(patches_of(middle, smallest, largest)),
            )
        )  # fmt: skip
    error = float(np.hypot(track.corner_error_px, CORNER_FLOOR_PX))
    taken = [
        s for s in sweeps
        if track.covered(s.time_s, _end_s(s)) and not any(r.start_s - 0.3 < s.time_s < r.end_s + 0.3 for r in rests)
    ]  # fmt: skip
    for sweep in taken[:: max(1, -(-len(taken) // _MOST_MOVING))]:
        middle_s = 0.5 * (sweep.time_s + _end_s(sweep))
        after = int(np.clip(np.searchsorted(track.times, middle_s), 1, len(track.times) - 1))
        gap = float(track.times[after] - track.times[after - 1])
        moving.append(
            View(
                middle_s, False, track.pose_at(middle_s), error, after, (sweep,),
                tuple(patches_of(sweep, smallest, largest)), min(gap, LONGEST_GAP_S),
            )
        )  # fmt: skip
    return views + moving


def contact_of(view: View, board: Board, lidar_T_camera: Matrix, gate_m: float, slope: float) -> Contact | None:
    """Return what of a view's sweeps lies on the board, if it is where lidar_T_camera (4, 4) says; None = too little.

    gate_m: how far from there points may be. slope: tangent of the angle by which the line or plane may be turned from there.
    """
    rotation = lidar_T_camera[:3, :3] @ view.pose.rotation
    centre = lidar_T_camera[:3, :3] @ view.pose.centre + lidar_T_camera[:3, 3]
    across, down = board.half_size(outer=board.border_m is not None)
    points, times, planar = [], [], view.sweeps[0].is_planar
    for sweep in view.sweeps:
        x, y, z = ((sweep.points - centre) @ rotation).T
        near = (np.abs(x) < across - _EDGE_M) & (np.abs(y) < down - _EDGE_M) & (np.abs(z) < gate_m)
        points.append(sweep.points[near])
        times.append(sweep.time_s + sweep.after_s[near])
    found, when = np.concatenate(points), np.concatenate(times)
    least = 4 * (2 if planar else 4)
    if len(found) < max(least // 2, 2 + (2 if planar else 6)):
        return None
    local = (found - centre) @ rotation
    if planar:
        # Along the line in which the board and the scan's plane meet.
        line = np.cross(rotation[:, 2], [0.0, 0.0, 1.0])
        length = float(np.linalg.norm(line))
        if length < 0.2:
            return None
        regressors = ((found - centre) @ (line / length))[:, None]
        rise = local[:, 2] / length
    else:
        regressors, rise = local[:, :2], local[:, 2]
    inlier = _straightest(regressors, rise, slope)
    span = np.ptp(regressors[inlier], axis=0) if inlier.sum() >= 4 else np.zeros(regressors.shape[1])
    if inlier.sum() < 4 * regressors.shape[1] or (span < 0.25 * 2 * min(across, down)).any():
        return None
    return _contact(found[inlier], when[inlier], planar)


def _straightest(regressors: Floats, rise: Floats, slope: float) -> npt.NDArray[np.bool_]:
    """Return which of N points keep to the line or plane that most keep to: rise as an affine function of regressors (N, K)."""
    count, size = regressors.shape
    design = np.concatenate([np.ones((count, 1)), regressors], axis=1)
    rng, best, most = np.random.default_rng(0), np.zeros(count, bool), 0.0
    for _ in range(_TRIALS):
        rows = rng.choice(count, size + 1, replace=False)
        if abs(np.linalg.det(design[rows])) < 1e-4:
            continue
        fit = np.linalg.solve(design[rows], rise[rows])
        if np.linalg.norm(fit[1:]) > slope:
            continue
        off = np.abs(design @ fit - rise)
        good = float(np.sum(np.maximum(0.0, 1.0 - (off / _INLIER_M) ** 2)))
        if good > most:
            best, most = off < _INLIER_M, good
    for _ in range(2):
        if best.sum() <= size + 1:
            break
        fit = np.linalg.lstsq(design[best], rise[best], rcond=None)[0]
        off = np.abs(design @ fit - rise)
        spread = 1.4826 * float(np.median(off[best]))
        best = off < np.clip(3.5 * spread, 0.006, 1.5 * _INLIER_M)
    return best


def _contact(points: Floats, times: Floats, planar: bool) -> Contact:
    middle = points.mean(axis=0)
    size = 1 if planar else 2
    axes = np.linalg.svd(points - middle, full_matrices=False)[2]
    along = axes[:size]
    normal = np.array([-along[0, 1], along[0, 0], 0.0]) if planar else np.cross(along[0], along[1])
    spread = (points - middle) @ along.T
    reach = np.abs(spread).max(axis=0)
    corners = np.array([[-1.0], [1.0]]) if planar else np.array([[-1.0, -0.6], [1.0, -0.6], [0.0, 1.0]])
    control = corners * reach
    design = np.concatenate([np.ones((len(points), 1)), spread], axis=1)
    wanted = np.concatenate([np.ones((len(control), 1)), control], axis=1)
    lever = wanted @ np.linalg.inv(design.T @ design) @ wanted.T
    nearest = [int(np.argmin(np.linalg.norm(spread - place, axis=1))) for place in control]
    off = (points - middle) @ normal
    return Contact(
        middle + control @ along, times[nearest], normal, lever, float(off @ off), len(points) - size - 1, points
    )


def _limits(board: Board) -> tuple[float, float]:
    """Return the smallest and the largest length, metres, that a sweep's piece of the board may have."""
    inner, outer = board.half_size(), board.half_size(outer=True)
    return 0.5 * min(inner), 2.2 * float(np.hypot(*outer))


def _end_s(sweep: Sweep) -> float:
    return sweep.time_s + float(sweep.after_s.max(initial=0.0))


def _same(one: BoardPose, other: BoardPose) -> bool:
    turned = np.arccos(np.clip(one.normal @ other.normal, -1.0, 1.0))
    return bool(np.linalg.norm(one.centre - other.centre) < _SAME_M and turned < _SAME_RAD)
