"""A recording as the stack gets it: observations in their order, what the robot had been told, and where the drive went."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mm_nav.bags.containers import open_recording
from mm_nav.bags.reader import BagMessage, BagReader
from mm_nav.errors import BagError, SensorError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud
from mm_nav.robot import RobotConfig
from mm_nav.runtime.familiarity import Familiarity, Strangeness
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.sensing.clouds import obstacle_scan
from mm_nav.sensing.synchronizer import ObservationSynchronizer

# A command of the recorded robot counts for so long.
_TOLD_S = 0.5


class Recorded(NamedTuple):
    """An observation; what the recorded robot had been told to do by then, None = nobody knows; and how unlike the training it is,
    None = nobody asked."""

    observation: Observation
    told: Twist2D | None
    strange: Strangeness | None = None


def recorded(
    reader: BagReader,
    sync: ObservationSynchronizer,
    familiarity: Familiarity | None = None,
    preprocess: Preprocessor | None = None,
    robot: RobotConfig | None = None,
) -> Iterator[Recorded]:
    """Yield the observations that a live stack would have made of a recording's messages.

    Where there is no planar LiDAR, a scan is made of the point clouds, without those on the body of `robot` (None = the generic
    one). familiarity: scores each of them, by the inputs that `preprocess` makes.
    """

    def scored(observation: Observation) -> Recorded:
        try:
            # Compressed pictures are decoded here, where nobody waits for them.
            _ = None if observation.image is None else observation.image.rgb
        except SensorError as error:
            reader.refuse("image", error)
            observation = replace(observation, image=None)
        strange = None if familiarity is None else familiarity.strangeness(observation, preprocess)
        return Recorded(observation, _told(told, observation.stamp_ns), strange)

    only_clouds = "cloud" in reader.report.used and "scan" not in reader.report.used
    body = (robot or RobotConfig()) if only_clouds else None
    told: deque[tuple[int, Twist2D]] = deque(maxlen=256)
    for message in reader.messages():
        if message.kind == "command":
            command: Any = message.item
            told.append((command.stamp_ns, command.twist))
            continue
        for observation in _push(sync, message, body):
            yield scored(observation)
    for observation in sync.flush():
        yield scored(observation)


def observations(
    reader: BagReader, sync: ObservationSynchronizer, robot: RobotConfig | None = None
) -> Iterator[Observation]:
    """Yield only the observations of `recorded`."""
    return (item.observation for item in recorded(reader, sync, robot=robot))


def driven_goals(
    path: Path | Sequence[Path],
    topics: Mapping[str, str] | None = None,
    timeout_s: float = 1e6,
    every_m: float | None = None,
) -> tuple[Goal, ...]:
    """Return where the recorded drive went, as pose goals: its end or, when that is near its start, its farthest
    place first.

    every_m: the places it came through, so far apart along its way, and its end. Raises BagError when there is no usable odometry.
    """
    with BagReader(path, topics) as reader:
        items = (message.item for message in reader.messages(kinds=("odometry",)))
        poses = (item.pose for item in items if isinstance(item, Odometry) and _finite(item.pose))
        first = end = farthest = next(poses, None)
        if first is None or end is None or farthest is None:
            raise BagError(f"{path} has no usable odometry: give a goal with --goal or --goal-pose")
        passed: list[Pose2D] = []
        gone, due = 0.0, every_m
        for pose in poses:
            gone += end.distance_to(pose)
            end = pose
            if first.distance_to(end) > first.distance_to(farthest):
                farthest = end
            if due is not None and every_m is not None and gone >= due:
                passed.append(end)
                due = gone + every_m
    if every_m is not None:
        near = bool(passed) and passed[-1].distance_to(end) < 0.5 * every_m
        places = (*(passed[:-1] if near else passed), end)
    else:
        round_trip = end.distance_to(first) < 0.5 * farthest.distance_to(first)
        places = (farthest, end) if round_trip else (end,)
    return tuple(Goal(pose=place, timeout_s=timeout_s) for place in places)


def has_transforms(path: Path | Sequence[Path]) -> bool:
    """Return whether a recording says on /tf where its frames are. Raises BagError when it cannot be opened."""
    recording = open_recording(path)
    try:
        return any(c.msgtype == "tf2_msgs/msg/TFMessage" and "static" not in c.topic for c in recording.channels)
    finally:
        recording.close()


def duration_s(path: Path | Sequence[Path]) -> float:
    """Return for how long a recording goes on, s; 0 where that is known only when it has been read. Raises BagError when it
    cannot be opened."""
    recording = open_recording(path)
    try:
        return max(0, recording.end_ns - recording.start_ns) * 1e-9
    finally:
        recording.close()


def fingerprint(path: Path | Sequence[Path]) -> str:
    """Return what tells a recording from others: a hash of its files' names, sizes, and first and last MiB."""
    total = hashlib.sha256()
    files: list[Path] = []
    for part in [path] if isinstance(path, Path) else path:
        files += sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]
    for file in files:
        size = file.stat().st_size
        total.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as data:
            total.update(data.read(1 << 20))
            data.seek(max(0, size - (1 << 20)))
            total.update(data.read(1 << 20))
    return total.hexdigest()[:16]


def _told(told: deque[tuple[int, Twist2D]], stamp_ns: int) -> Twist2D | None:
    """Return the newest command at a stamp; None = there is none, or it is old."""
    found = next((item for item in reversed(told) if item[0] <= stamp_ns), None)
    return found[1] if found is not None and stamp_ns - found[0] <= 1e9 * _TOLD_S else None


def _push(sync: ObservationSynchronizer, message: BagMessage, body: RobotConfig | None) -> list[Observation]:
    item = message.item
    if isinstance(item, Odometry):
        return sync.push_odometry(item)
    if isinstance(item, LaserScan):
        return sync.push_scan(item)
    if isinstance(item, CameraImage):
        return sync.push_image(item)
    assert isinstance(item, PointCloud)
    made = [] if body is None else sync.push_scan(obstacle_scan(item, body))
    return made + sync.push_cloud(item)


def _finite(pose: Pose2D) -> bool:
    return all(map(math.isfinite, (pose.x, pose.y, pose.yaw)))
