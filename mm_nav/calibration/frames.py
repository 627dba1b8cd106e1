"""The frames of a recording: who is mounted on whom, and which transform to correct."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mm_nav.bags.decode import Pose
from mm_nav.bags.mounts import OPTICAL
from mm_nav.bags.pose_sources import name_of
from mm_nav.bags.transforms import TransformTree
from mm_nav.errors import SensorError
from mm_nav.sensing.messages import rotation_matrix

Matrix = npt.NDArray[np.float64]

BASES = ("base_link", "base_footprint", "base")
# A camera's frame whose z axis points up this much is its body: nobody drives by pictures of the ceiling.
_UP = 0.7


class Frames:
    """The newest transform of every frame to its parent, by name, without slashes around it."""

    def __init__(self) -> None:
        self._tree = TransformTree()
        self._edges: dict[str, tuple[str, Matrix]] = {}

    def add(self, transform: Pose) -> None:
        """Take note of a transform; one whose quaternion is broken is left out."""
        parent, child = name_of(transform.frame), name_of(transform.child)
        x, y, z, *turn = transform.pose
        pose = np.eye(4)
        try:
            pose[:3, :3] = rotation_matrix(*turn)
        except SensorError:
            return
        pose[:3, 3] = x, y, z
        if parent and child and parent != child and np.isfinite(pose).all():
            self._tree.add(parent, child, pose)
            self._edges[child] = parent, pose

    def lookup(self, target: str, source: str) -> Matrix | None:
        """Return the pose (4, 4) of `source` in `target`; None = no transforms connect them, also where only a map does."""
        if target != source and not self._related(target, source):
            return None
        return self._tree.lookup(target, source)

    def base_of(self, frame: str, wanted: str | None = None) -> str | None:
        """Return the robot's base that a sensor is mounted on: `wanted`, or the first of BASES above it; None = there is none."""
        above = self.above(frame)
        if wanted is not None:
            return wanted.strip("/") if wanted.strip("/") in above else None
        names = {name.rsplit("/", 1)[-1]: name for name in reversed(above)}
        return next((names[base] for base in BASES if base in names), None)

    def above(self, frame: str) -> list[str]:
        """Return a frame and what it is mounted on, nearest first."""
        found = [frame]
        while found[-1] in self._edges and self._edges[found[-1]][0] not in found:
            found.append(self._edges[found[-1]][0])
        return found

    def edge_between(self, lidar: str, camera: str) -> tuple[str, str] | None:
        """Return (parent, child) of the transform to correct so that the camera is where it was found to be.

        It is the topmost that moves the camera but not the LiDAR; where the LiDAR is mounted on the camera, the one that moves
        the LiDAR. None = nothing connects the two.
        """
        if not self._related(lidar, camera):
            return None
        ours, theirs = self.above(camera), self.above(lidar)
        common = next(frame for frame in ours if frame in theirs)
        below = ours[: ours.index(common)] or theirs[: theirs.index(common)]
        return (common, below[-1]) if below else None

    def _related(self, one: str, other: str) -> bool:
        common = set(self.above(one)) & set(self.above(other))
        return any(name.rsplit("/", 1)[-1] not in ("odom", "map", "world") for name in common)


def optical_frame(lidar_T_frame: Matrix, name: str) -> Matrix:
    """Return frame_T_optical (4, 4): of drivers that stamp pictures with the camera's body (x ahead, z up), else the identity."""
    return OPTICAL if abs(lidar_T_frame[2, 2]) > _UP and "optical" not in name else np.eye(4)


def xyz_rpy(pose: Matrix) -> tuple[float, float, float, float, float, float]:
    """Return x, y, z (m) and roll, pitch, yaw (rad, about fixed axes, as URDF and SDF have them) of a pose (4, 4)."""
    r = pose[:3, :3]
    roll, yaw = np.arctan2(r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0])
    pitch = np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    x, y, z = (float(value) for value in pose[:3, 3])
    return x, y, z, float(roll), float(pitch), float(yaw)


def body_of(pose: Matrix) -> Matrix:
    """Return the pose (4, 4) of a camera's body (x ahead, y left, z up; REP 103) of that of its optical frame."""
    return np.asarray(pose @ np.linalg.inv(OPTICAL))
