"""Where a board was over time, as a camera saw it: when it stood still, and where it was in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation, Slerp

from mm_nav.bags.items import Lens
from mm_nav.calibration.board import Board, Corners
from mm_nav.calibration.board_pose import BoardPose, board_pose

Floats = npt.NDArray[np.float64]

# Corners that are printed, lit and seen in one way are off in one way; this much of their error does not go away by taking means.
CORNER_FLOOR_PX = 0.05
# A board stands still while its corners keep within this of where they were: what hands cannot avoid, and a third of a pixel.
_STILL_M, _STILL_PX = 0.003, 0.35
_STILL_S, _STILL_LEAST = 0.35, 3
# At both ends of a rest the LiDAR may still, or already, see the board move; also with clocks that differ a little.
_TRIM_S = 0.1
# Between pictures farther apart nobody knows how the board moved.
LONGEST_GAP_S = 0.25


@dataclass(frozen=True)
class Detection:
    """A board in one picture. time_s: of the picture, s after the recording's start."""

    time_s: float
    corners: Corners
    pose: BoardPose


@dataclass(frozen=True)
class Rest:
    """A time, start_s to end_s, in which board and camera kept still, and how the board stood. middle: number of the detection
    halfway. deviation_px: of one coordinate of a corner of this pose, standard deviation as far as noise goes."""

    start_s: float
    end_s: float
    middle: int
    pose: BoardPose
    deviation_px: float


class BoardTrack:
    """The board's way before the camera. detections: in order of time; those of a chessboard all the same way up."""

    def __init__(self, detections: Sequence[Detection], board: Board) -> None:
        ordered = sorted(detections, key=lambda d: d.time_s)
        self.detections = ordered if board.is_charuco else _same_way_up(ordered)
        self.board = board
        self.times = np.array([d.time_s for d in self.detections])
        self._centres = np.array([d.pose.centre for d in self.detections]).reshape(-1, 3)
        if len(self.times) > 1:
            self._turns = Slerp(self.times, Rotation.from_matrix([d.pose.rotation for d in self.detections]))

    @property
    def corner_error_px(self) -> float:
        """How far off single corners are, pixels: the root of the mean square over all pictures, of one coordinate."""
        squares = sum(2 * d.pose.count * d.pose.rms_px**2 for d in self.detections)
        known = sum(2 * d.pose.count - 6 for d in self.detections)
        return float(np.sqrt(squares / max(known, 1)))

    def covered(self, start_s: float, end_s: float) -> bool:
        """Return whether the board's way from start_s to end_s is known: between pictures that are close to each other."""
        first = int(np.searchsorted(self.times, start_s, side="right")) - 1
        last = int(np.searchsorted(self.times, end_s, side="left"))
        if first < 0 or last >= len(self.times) or last == first:
            return first >= 0 and last < len(self.times) and self.times[first] == start_s
        return bool(np.diff(self.times[first : last + 1]).max() <= LONGEST_GAP_S)

    def planes(self, times: Floats) -> tuple[Floats, Floats]:
        """Return unit normals (N, 3) and distances (N,), metres, of the board's plane in the camera at times (N,)."""
        inside = np.clip(times, self.times[0], self.times[-1])
        if len(self.times) == 1:
            normals = np.repeat(self.detections[0].pose.rotation[None, :, 2], len(times), axis=0)
            centres = np.repeat(self._centres, len(times), axis=0)
        else:
            normals = self._turns(inside).as_matrix()[:, :, 2]
            centres = np.stack([np.interp(inside, self.times, column) for column in self._centres.T], axis=-1)
        offsets = np.einsum("ij,ij->i", normals, centres)
        sign = np.where(offsets < 0, -1.0, 1.0)
        return normals * sign[:, None], offsets * sign

    def pose_at(self, time_s: float) -> BoardPose:
        """Return how the board stood at a time; how sure that is, is that of the less sure of the two pictures around it."""
        after = int(np.clip(np.searchsorted(self.times, time_s), 1, len(self.times) - 1))
        around = [self.detections[after - 1].pose, self.detections[after].pose]
        least = min(around, key=lambda pose: float(np.linalg.slogdet(pose.information)[1]))
        inside = float(np.clip(time_s, self.times[0], self.times[-1]))
        centre = np.array([np.interp(inside, self.times, column) for column in self._centres.T])
        return BoardPose(self._turns(inside).as_matrix(), centre, least.information, least.rms_px, least.count)

    def rests(self, lens: Lens) -> list[Rest]:
        """Return when the board stood still for a third of a second or longer."""
        found, start = [], 0
        while start < len(self.times):
            end = self._rest_from(start, lens)
            if end - start >= _STILL_LEAST and self.times[end - 1] - self.times[start] >= _STILL_S:
                rest = self._rest(start, end, lens)
                found += [rest] if rest is not None else []
                start = end
            else:
                start += 1
        return found

    def _rest_from(self, start: int, lens: Lens) -> int:
        """Return the number of the first detection, after the one that starts it, that ends a rest."""
        first = self.detections[start]
        focal = float(lens.intrinsics[0, 0])
        limit = max(_STILL_PX, _STILL_M * focal / max(float(first.pose.centre[2]), 0.1))
        end = start + 1
        while end < len(self.detections):
            d = self.detections[end]
            if d.time_s - self.times[end - 1] > LONGEST_GAP_S or _apart_px(first.corners, d.corners) > limit:
                break
            end += 1
        return end

    def _rest(self, start: int, end: int, lens: Lens) -> Rest | None:
        seen = [d.corners for d in self.detections[start:end]]
        sums, counts = np.zeros((self.board.corner_count, 2)), np.zeros(self.board.corner_count)
        for corners in seen:
            np.add.at(sums, corners.index, corners.pixels)
            np.add.at(counts, corners.index, 1)
        index = np.flatnonzero(2 * counts > len(seen)).astype(np.int32)
        if len(index) < 4:
            return None
        pose = board_pose(Corners(index, sums[index] / counts[index, None]), self.board, lens)
        if pose is None:
            return None
        middle = (start + end) // 2
        aligned = min((pose, pose.turned_about()), key=lambda p: _angle(p, self.detections[middle].pose))
        trim = min(_TRIM_S, (self.times[end - 1] - self.times[start]) / 4)
        return Rest(
            self.times[start] + trim, self.times[end - 1] - trim, middle, aligned,
            float(np.hypot(self.corner_error_px / np.sqrt(len(seen)), CORNER_FLOOR_PX)),
        )  # fmt: skip


def _apart_px(one: Corners, other: Corners) -> float:
    """Return how far corners moved, pixels, root of the mean square; inf where too few are the same."""
    shared, i, j = np.intersect1d(one.index, other.index, return_indices=True)
    if len(shared) < 4:
        return float("inf")
    a, b = one.pixels[i], other.pixels[j]
    moved = np.sqrt(np.mean(np.sum((a - b) ** 2, axis=1)))
    if len(a) == len(one.index) == len(other.index):  # a chessboard may have been found from its other end
        moved = min(moved, np.sqrt(np.mean(np.sum((a - b[::-1]) ** 2, axis=1))))
    return float(moved)


def _same_way_up(detections: list[Detection]) -> list[Detection]:
    """Return detections whose pattern has the same end up as the one before: half a turn between two pictures is none."""
    found: list[Detection] = []
    for d in detections:
        if found and _angle(d.pose, found[-1].pose) > np.pi / 2:
            # Its corners were found from its other end.
            corners = Corners(d.corners.index, d.corners.pixels[::-1])
            d = Detection(d.time_s, corners, d.pose.turned_about())
        found.append(d)
    return found


def _angle(one: BoardPose, other: BoardPose) -> float:
    cosine = (np.trace(one.rotation.T @ other.rotation) - 1) / 2
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))
