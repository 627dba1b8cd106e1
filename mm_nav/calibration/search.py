"""A first pose of the camera in the LiDAR's frame, from one that is some tens of centimetres and degrees off, or from none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mm_nav.bags.mounts import OPTICAL
from mm_nav.calibration.board import Board
from mm_nav.calibration.views import View

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_GATES = (  # of distance (m), angle (rad) and place along the piece (m), from a first guess on
    (0.8, np.radians(30), 0.8), (0.5, np.radians(20), 0.5), (0.3, np.radians(15), 0.3), (0.15, np.radians(10), 0.2),
    (0.1, np.radians(7), 0.15), (0.1, np.radians(7), 0.15),
)  # fmt: skip
# Yaw in steps of 15 degrees, pitch and roll of what people mount, and LiDARs that hang head down.
_YAWS, _PITCHES = np.radians(np.arange(0, 360, 15)), np.radians([-25.0, 0.0, 25.0])
_ROLLS, _TURNS = np.radians([0.0, 180.0, 90.0, 270.0]), np.radians([0.0, 180.0])
_KEPT = 12


@dataclass(frozen=True)
class FirstPose:
    """lidar_T_camera: (4, 4). matched: which views (N,) have a piece of sweep where it says. score: 0 to 1, how well all views
    do."""

    lidar_T_camera: Matrix
    matched: npt.NDArray[np.bool_]
    score: float


def first_pose(views: Sequence[View], board: Board, claimed: Matrix | None) -> FirstPose:
    """Return the pose that puts pieces of sweeps onto the most boards, starting from the claimed one (4, 4).

    Without one, or where it puts fewer than three in five, all ways are tried in which people mount cameras and LiDARs.
    """
    pieces = _Pieces.of(views, board)
    best = None
    if claimed is not None:
        best = _polish(pieces, claimed, 1)
        if best.matched.mean() >= 0.6:
            return best
    starts = []
    for flip in _TURNS:
        for roll in _ROLLS:
            for pitch in _PITCHES:
                for yaw in _YAWS:
                    pose = np.eye(4)
                    body = Rotation.from_euler("xyz", [roll, pitch, yaw]).as_matrix()
                    pose[:3, :3] = Rotation.from_euler("x", flip).as_matrix() @ body @ OPTICAL[:3, :3]
                    # Mounts as people have them come first where several fit alike.
                    usual = 0.02 * (flip == 0) + 0.02 * (roll == 0) + 0.01 * (pitch == 0)
                    starts.append((pieces.score(pose, *_GATES[0]) + usual, pose))
    starts.sort(key=lambda start: -start[0])
    for _, pose in starts[:_KEPT]:
        found = _polish(pieces, pose, 0)
        if best is None or found.score > best.score:
            best = found
    assert best is not None
    return best


@dataclass(frozen=True)
class _Pieces:
    """The boards and all pieces of all views, as arrays: V views, at most P pieces, K directions each."""

    normals: Floats
    offsets: Floats
    centres: Floats
    middle: Floats
    along: Floats
    there: npt.NDArray[np.bool_]
    half_m: float

    @classmethod
    def of(cls, views: Sequence[View], board: Board) -> _Pieces:
        most = max(max((len(view.patches) for view in views), default=0), 1)
        planar = all(view.sweeps[0].is_planar for view in views)
        size = 1 if planar else 2
        middle, along = np.zeros((len(views), most, 3)), np.zeros((len(views), most, size, 3))
        there = np.zeros((len(views), most), bool)
        for v, view in enumerate(views):
            for p, patch in enumerate(view.patches):
                middle[v, p], along[v, p], there[v, p] = patch.centre, patch.along, True
        poses = [view.pose for view in views]
        return cls(
            np.array([p.normal for p in poses]), np.array([p.offset for p in poses]),
            np.array([p.centre for p in poses]), middle, along, there, float(np.hypot(*board.half_size())),
        )  # fmt: skip

    def costs(self, pose: Matrix, far_m: float, angle: float, aside_m: float) -> Floats:
        """Return how ill (V, P) each piece fits its view's board: 1 = at a gate."""
        normals = self.normals @ pose[:3, :3].T
        centres = self.centres @ pose[:3, :3].T + pose[:3, 3]
        arm = self.middle - centres[:, None]
        far = np.einsum("vi,vpi->vp", normals, arm) / far_m
        turned = np.linalg.norm(np.einsum("vi,vpki->vpk", normals, self.along), axis=-1) / np.sin(angle)
        aside = np.abs(np.einsum("vpki,vpi->vpk", self.along, arm)).max(axis=-1) / (aside_m + 0.5 * self.half_m)
        cost = np.sqrt(far**2 + turned**2 + aside**2 / 2)
        if self.along.shape[2] == 1:
            # A scan's plane that passes above or below the board sees none of it.
            above = np.abs(centres[:, 2]) - self.half_m
            cost = np.where((above > aside_m)[:, None], np.inf, cost)
        return np.where(self.there, cost, np.inf)

    def score(self, pose: Matrix, far_m: float, angle: float, aside_m: float) -> float:
        """Return how well all views do, 0 to 1."""
        least = self.costs(pose, far_m, angle, aside_m).min(axis=1)
        return float(np.maximum(0.0, 1.0 - least**2).mean())


def _polish(pieces: _Pieces, pose: Matrix, first_gate: int) -> FirstPose:
    for gate in _GATES[first_gate:]:
        cost = pieces.costs(pose, *gate)
        chosen, rows = cost.argmin(axis=1), np.arange(len(cost))
        matched = cost[rows, chosen] < 1.0
        if matched.sum() < 3:
            break
        pose = _fitted(pieces, pose, rows[matched], chosen[matched], gate)
    cost = pieces.costs(pose, *_GATES[-1]).min(axis=1)
    return FirstPose(pose, cost < 1.0, pieces.score(pose, *_GATES[-1]))


def _fitted(
    pieces: _Pieces, pose: Matrix, rows: npt.NDArray[np.intp], chosen: npt.NDArray[np.intp],
    gate: tuple[float, float, float],
) -> Matrix:  # fmt: skip
    """Return the pose that puts chosen pieces into their boards' planes best; it keeps near to the one before."""
    normals, offsets, middle, along = (
        pieces.normals[rows], pieces.offsets[rows], pieces.middle[rows, chosen], pieces.along[rows, chosen]
    )  # fmt: skip
    centres = pieces.centres[rows]
    weights = np.r_[np.full(3, 1 / gate[1]), np.full(3, 1 / gate[0])] * 0.5

    def misfit(step: Floats) -> Floats:
        moved = _moved(pose, step)
        turned = normals @ moved[:3, :3].T
        far = np.einsum("vi,vi->v", turned, middle - moved[:3, 3]) - offsets
        lean = np.einsum("vi,vki->vk", turned, along).ravel()
        # Pieces reach across most of the board: their middles say where it is along them, to a hand's breadth.
        aside = np.einsum("vki,vi->vk", along, middle - centres @ moved[:3, :3].T - moved[:3, 3]).ravel()
        return np.concatenate([far / 0.03, lean / 0.05, aside / 0.15, weights * step])

    found = least_squares(misfit, np.zeros(6), loss="soft_l1", max_nfev=20)
    return _moved(pose, found.x)


def _moved(pose: Matrix, step: Floats) -> Matrix:
    moved = pose.copy()
    moved[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix() @ pose[:3, :3]
    moved[:3, 3] = pose[:3, 3] + step[3:]
    return moved
