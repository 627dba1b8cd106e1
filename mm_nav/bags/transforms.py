"""Where a robot's sensors are mounted, from the transforms of a recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_MAX_DEPTH = 64


class TransformTree:
    """The newest transform of every frame to its parent. Mounts do not move, so no history is kept."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, Matrix]] = {}

    def add(self, parent: str, child: str, parent_T_child: Matrix) -> None:
        """Set a frame's pose (4, 4) in its parent. A frame without a name, or its own parent, is ignored."""
        parent, child = parent.strip("/"), child.strip("/")
        if parent and child and parent != child and np.all(np.isfinite(parent_T_child)):
            self._parents[child] = (parent, parent_T_child)

    def lookup(self, target: str, source: str) -> Matrix | None:
        """Return the pose (4, 4) of `source` in `target`, or None when no chain of transforms connects them."""
        target, source = target.strip("/"), source.strip("/")
        if not source:
            return None
        up = self._to_ancestors(source)
        down = self._to_ancestors(target)
        for frame, pose in up.items():
            if frame in down:
                return pose if frame == target else np.linalg.inv(down[frame]) @ pose
        return None

    def _to_ancestors(self, frame: str) -> dict[str, Matrix]:
        """Return the frame's pose in itself and in each of its ancestors, nearest first."""
        pose = np.eye(4)
        found = {frame: pose}
        for _ in range(_MAX_DEPTH):
            if frame not in self._parents:
                break
            frame, step = self._parents[frame]
            if frame in found:  # a loop: somebody publishes nonsense
                break
            pose = step @ pose
            found[frame] = pose
        return found
