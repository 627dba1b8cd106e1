"""Where a robot's sensors are: the transforms of a recording, what is assumed without them, and no work where nothing changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mm_nav.bags.decode import Pose
from mm_nav.bags.pose_sources import last_name, name_of
from mm_nav.bags.transforms import TransformTree
from mm_nav.errors import SensorError
from mm_nav.sensing.messages import rotation_matrix

Matrix = npt.NDArray[np.float64]

# Where a camera is taken to be when nothing says so: a TurtleBot's, about.
CAMERA_POSITION = (0.1, 0.0, 0.3)
# From an optical frame (x right, y down, z ahead) to the camera's body (x ahead, y left, z up); REP 103.
OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
# A picture's frame whose z axis points up this much is the camera's body: nobody drives by pictures of the ceiling.
_UP = 0.7
_BASES = ("base_link", "base_footprint", "base")


class Mounts:
    """The newest transforms of a recording, and the poses of sensors that follow from them.

    base: the frame that the robot's pose is of. version: is another one when a pose that was asked for may have changed.
    missing: frames that were asked for and are not connected to the base. warn: gets what had to be assumed.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._tree = TransformTree()
        self._newest: dict[bytes, tuple[bytes, tuple[float, ...]]] = {}
        self._waiting: set[bytes] = set()
        self._parents: dict[str, str] = {}
        # Frames whose transforms are part of poses that were asked for.
        self._involved: set[str] = set()
        self._names: dict[bytes, str] = {}
        self._base = _BASES[0]
        self.version = 0
        self.missing: list[str] = []

    @property
    def base(self) -> str:
        """The robot's base frame."""
        return self._base

    @base.setter
    def base(self, frame: str) -> None:
        frame = frame.strip("/")
        if frame and frame != self._base:
            self._base = frame
            self._forget()

    def add(self, transform: Pose) -> None:
        """Take note of a transform."""
        child, new = transform.child, (transform.frame, transform.pose)
        old = self._newest.get(child)
        if old == new:
            return
        self._newest[child] = new
        self._waiting.add(child)
        name = self._names.get(child)
        if name is None:
            name = self._names[child] = name_of(child)
        if old is None or old[0] != transform.frame or name in self._involved:
            self._parents[name] = name_of(transform.frame)
            self._forget()

    def lookup(self, frame: bytes) -> Matrix | None:
        """Return the pose (4, 4) of a frame in the base, None = no transforms connect them.

        Robots differ in namespaces and in which frame the base is: where the names as they are do not do, others are tried.
        """
        self._apply()
        base, name = self._base, name_of(frame)
        space, _, short = base.rpartition("/")
        frames = [name, f"{space}/{name}" if space else name, last_name(name)]
        bases = [base]
        if not self._knows(base):
            bases += [short, *(f"{space}/{b}" if space else b for b in _BASES), *_BASES]
        for target in dict.fromkeys(bases):
            for source in dict.fromkeys(frames):
                found = self._tree.lookup(target, source)
                if found is None or (source != target and not self._knows(source)):
                    continue
                if target != base:
                    self._warn(f"no transform names the robot's frame '{base}': {target} is taken for it")
                self._note_chain(source, target)
                return found
        return None

    def of_lidar(self, frame: bytes, topic: str) -> Matrix | None:
        """Return the pose (4, 4) of a LiDAR in the base; None = it is taken to be at the base's origin."""
        found = self.lookup(frame)
        if found is None:
            self._miss(frame, topic, "at base_link's origin")
        return found

    def of_camera(self, frame: bytes, topic: str) -> Matrix:
        """Return the pose (4, 4) of a camera's optical frame in the base."""
        found = self.lookup(frame)
        if found is None:
            self._miss(frame, topic, f"looking ahead from {CAMERA_POSITION} m")
            found = OPTICAL.copy()
            found[:3, 3] = CAMERA_POSITION
        elif found[2, 2] > _UP and "optical" not in name_of(frame):
            self._warn(
                f"frame '{name_of(frame)}' of {topic} has its z axis up: it is taken for the camera's body, x ahead"
            )
            found = found @ OPTICAL
        return found

    def _miss(self, frame: bytes, topic: str, where: str) -> None:
        name = name_of(frame)
        if name not in self.missing:
            self.missing.append(name)
        self._warn(f"no transform from {self._base} to '{name}' of {topic}: it is taken to be {where}")

    def _knows(self, frame: str) -> bool:
        return frame in self._parents or frame in self._parents.values()

    def _apply(self) -> None:
        for child in self._waiting:
            parent, (x, y, z, *turn) = self._newest[child]
            try:
                pose = np.eye(4)
                pose[:3, :3] = rotation_matrix(*turn)
                pose[:3, 3] = x, y, z
            except SensorError as error:
                self._warn(f"the transform to '{name_of(child)}' is not used: {error}")
                continue
            self._tree.add(name_of(parent), name_of(child), pose)
        self._waiting.clear()

    def _note_chain(self, source: str, target: str) -> None:
        up, down = self._chain(source), self._chain(target)
        self._involved |= set(up) ^ set(down)

    def _chain(self, frame: str) -> list[str]:
        found = [frame]
        while frame in self._parents and self._parents[frame] not in found:
            frame = self._parents[frame]
            found.append(frame)
        return found

    def _forget(self) -> None:
        self.version += 1
        self._involved.clear()
