"""The policy's short memory: notes of the last few places, kept where they were taken."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D, wrap_angle
from mm_nav.policy.config import PolicyConfig

# A frame is remembered when the robot has moved or turned by this much since the last one that was.
MOVED_M, TURNED_RAD = 0.8, 0.7
# After a gap of this many seconds between frames, or a jump back in time, nothing of before counts.
GAP_S = 5.0

Float32 = npt.NDArray[np.float32]


class FrameMemory:
    """Keeps the notes of the last memory_frames places, in constant time and space."""

    def __init__(self, config: PolicyConfig) -> None:
        self._config = config
        self._kept: deque[tuple[Pose2D, Float32]] = deque(maxlen=config.memory_frames)
        self._stamp_ns: int | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def copy(self) -> FrameMemory:
        """Return another memory of the same: what either takes in later, the other does not know."""
        other = FrameMemory(self._config)
        other._kept.extend(self._kept)
        other._stamp_ns = self._stamp_ns
        return other

    def forget(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._stamp_ns = None

    def recall(self, stamp_ns: int, pose: Pose2D) -> tuple[Float32, Float32, Float32]:
        """Return memory (1, K, M, width), memory_pose (1, K, 3) and memory_present (1, K) as seen from `pose` (map frame)."""
        if self._stamp_ns is not None and not 0 <= stamp_ns - self._stamp_ns <= GAP_S * 1e9:
            self.forget()
        self._stamp_ns = stamp_ns
        c = self._config
        notes = np.zeros((1, c.memory_frames, c.memory_tokens, c.width), np.float32)
        poses = np.zeros((1, c.memory_frames, 3), np.float32)
        present = np.zeros((1, c.memory_frames), np.float32)
        inverse = pose.inverse()
        for slot, (then, note) in enumerate(self._kept):
            relative = inverse @ then
            notes[0, slot], present[0, slot] = note, 1.0
            poses[0, slot] = relative.x, relative.y, wrap_angle(relative.yaw)
        return notes, poses, present

    def add(self, pose: Pose2D, notes: Float32) -> None:
        """Keep notes (M, width) taken at `pose` (map frame), unless the last ones were taken from nearly there."""
        if self._kept:
            last = self._kept[-1][0]
            if pose.distance_to(last) < MOVED_M and abs(wrap_angle(pose.yaw - last.yaw)) < TURNED_RAD:
                return
        self._kept.append((pose, notes.copy()))
