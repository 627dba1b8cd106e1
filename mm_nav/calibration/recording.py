"""What calibration needs of a recording: pictures one by one, all sweeps of a LiDAR in its own frame, and the mounts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_nav.bags import decode
from mm_nav.bags.containers import Channel, open_recording
from mm_nav.bags.decode import wire_of
from mm_nav.bags.items import Lens, lens_from
from mm_nav.bags.mapping import TF, TYPES, camera_info, preference
from mm_nav.bags.pose_sources import name_of
from mm_nav.bags.recording import Recording, reason
from mm_nav.calibration.frames import Frames
from mm_nav.errors import BagError, SensorError
from mm_nav.sensing.clouds import unpack_points
from mm_nav.sensing.images import decode_compressed, decode_image

Floats = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]

# Sensors of one robot share a clock; beyond this their stamps cannot be compared.
_CLOCK_TOLERANCE_NS = 1_000_000_000
# Nobody calibrates from longer recordings; it bounds what is held in memory.
_MOST_SWEEPS = 20_000
_NEAREST_M = 0.05


@dataclass(frozen=True)
class Sweep:
    """One sweep of a LiDAR, in its own frame.

    time_s: when it began, after the recording's start. points: (N, 3) float64, metres, those that hit something; z = 0 for a
    planar LiDAR. after_s: (N,) time of each after time_s. beam: (N,) number of each point's beam, of a planar LiDAR.
    step_rad: angle between beams, 0 = a 3D LiDAR.
    """

    time_s: float
    points: Floats
    after_s: Floats
    beam: npt.NDArray[np.int32]
    step_rad: float = 0.0

    @property
    def is_planar(self) -> bool:
        """Whether it is of a planar LiDAR."""
        return self.step_rad > 0


@dataclass(frozen=True)
class Picture:
    """One picture. time_s: when it was taken, after the recording's start. rgb: (H, W, 3) uint8."""

    time_s: float
    rgb: Rgb


@dataclass
class CalibrationRecording:
    """A recording, open for calibration; close it.

    image_topic, lidar_topic: what is read. image_frame, lidar_frame: what their headers say, known once sweeps and pictures were
    read. picture_count: pictures. sweeps: of the LiDAR, in order of time. frames: all transforms. lens: what CameraInfo says, for
    pictures of its size. warnings: what had to be assumed.
    """

    path: Path
    image_topic: str
    lidar_topic: str
    sweeps: list[Sweep]
    frames: Frames
    lens: Lens
    image_frame: str
    lidar_frame: str
    picture_count: int
    warnings: list[str] = field(default_factory=list)
    _recording: Recording | None = field(default=None, repr=False)
    _image: Channel | None = field(default=None, repr=False)
    _start_ns: int = 0
    _by_receive: bool = False

    def pictures(self, wanted: Callable[[float], bool] = lambda time_s: True) -> Iterator[Picture | None]:
        """Yield the pictures in the order of the recording; None for those that are not wanted (by their time) or are broken."""
        assert self._recording is not None and self._image is not None
        compressed = self._image.msgtype.endswith("CompressedImage")
        broken = 0
        for channel, receive, raw in self._recording.messages([self._image]):
            try:
                wire = wire_of(raw, channel.encoding)
                stamp = receive if self._by_receive else decode.header_stamp_ns(raw, wire)
                time_s = 1e-9 * (stamp - self._start_ns)
                if not wanted(time_s):
                    yield None
                    continue
                if compressed:
                    rgb = decode_compressed(decode.read_compressed(raw, wire).data)
                else:
                    i = decode.read_image(raw, wire)
                    rgb = decode_image(i.data, i.encoding, i.height, i.width, i.step, bool(i.is_bigendian))
                    rgb = rgb.copy()  # its bytes are the reader's
                yield Picture(time_s, rgb)
            except SensorError as error:
                broken += 1
                if broken == 1:
                    self.warnings.append(f"pictures on {channel.topic} cannot be used: {reason(error)}")
                yield None

    def close(self) -> None:
        """Close the files."""
        if self._recording is not None:
            self._recording.close()


def open_calibration(
    path: Path, image: str | None = None, lidar: str | None = None, info: str | None = None, kind: str | None = None
) -> CalibrationRecording:
    """Open a recording and read everything but its pictures.

    image, lidar, info: topics, None = found by their types and names. kind: "scan" or "cloud", None = a planar LiDAR where there
    is one. Raises BagError when there is no picture, no CameraInfo, no LiDAR, or the recording cannot be read.
    """
    recording = open_recording(path)
    try:
        return _read(path, recording, image, lidar, info, kind)
    except BagError:
        recording.close()
        raise
    except Exception as error:
        recording.close()
        raise BagError(f"{path} is damaged ({reason(error)}): record it again") from error


def _read(
    path: Path, recording: Recording, image: str | None, lidar: str | None, info: str | None, kind: str | None
) -> CalibrationRecording:
    warnings: list[str] = []
    camera = _topic(recording, "image", image, path)
    if camera is None:
        raise BagError(
            f"{path} has no pictures ({_topics(recording)}): record the camera's image and camera_info topics"
        )
    ranging = None
    for wanted in ("scan", "cloud") if kind is None else (kind,):
        ranging = ranging or _topic(recording, wanted, lidar, path, lidar is not None and kind is None)
    if ranging is None:
        what = {"scan": "LaserScan", "cloud": "PointCloud2"}.get(kind or "", "LaserScan or PointCloud2")
        named = f" on '{lidar}'" if lidar else ""
        raise BagError(f"{path} has no {what} messages{named} ({_topics(recording)}): record the LiDAR's topic")
    lens = _lens(recording, camera, info, path, warnings)
    frames = Frames()
    transforms = [c for c in recording.channels if c.msgtype in TF and c.count != 0]
    for channel, _, raw in recording.messages(transforms) if transforms else ():
        try:
            for transform in decode.read_transforms(raw, wire_of(raw, channel.encoding)):
                frames.add(transform)
        except SensorError:
            continue
    heads = {c.topic: _heads(recording, c) for c in (camera, ranging)}
    by_receive = _look_at_clocks(heads, warnings)
    first = heads[ranging.topic][0]
    start = first[0] if by_receive else first[1]
    sweeps, frame = _sweeps(recording, ranging, start, by_receive, warnings)
    if not sweeps:
        raise BagError(f"{path}: no message on {ranging.topic} can be used: check the LiDAR's driver, and record again")
    warnings += recording.damage
    return CalibrationRecording(
        path, camera.topic, ranging.topic, sweeps, frames, lens, heads[camera.topic][0][2], frame, camera.count,
        warnings, recording, camera, start, by_receive,
    )  # fmt: skip


def _topic(recording: Recording, kind: str, wanted: str | None, path: Path, lenient: bool = False) -> Channel | None:
    """Return the topic of a kind: the wanted one, or the one whose name and number of messages say most. lenient: a wanted
    one that is not there is no error yet."""
    found = [c for c in recording.channels if c.msgtype in TYPES[kind] and c.count != 0]
    if wanted is not None:
        named = [c for c in found if c.topic.strip("/") == wanted.strip("/")]
        if not named and not lenient:
            have = ", ".join(sorted(c.topic for c in found)) or "none"
            raise BagError(f"{path} has no {kind} messages on '{wanted}': topics of that type are {have}")
        return named[0] if named else None
    if kind == "image":
        found = [c for c in found if preference(kind, c.topic)[0] >= 0]
    return max(found, key=lambda c: (preference(kind, c.topic), c.count, c.topic), default=None)


def _topics(recording: Recording) -> str:
    return "it has " + (", ".join(sorted({f"{c.topic} ({c.msgtype})" for c in recording.channels})) or "no topics")


def _lens(recording: Recording, camera: Channel, wanted: str | None, path: Path, warnings: list[str]) -> Lens:
    channel = camera_info(recording.channels, camera.topic, wanted, path)
    found = None
    for _, _, raw in recording.messages([channel]) if channel is not None else ():
        assert channel is not None
        message = recording.deserialize(raw, channel.msgtype, channel.encoding)
        found = lens_from(message, "rect" in camera.topic, warnings.append)
        if found is not None:
            return found
    what = f"only an uncalibrated one on {channel.topic}" if channel is not None else "none for it"
    raise BagError(
        f"{path} has no CameraInfo of {camera.topic} ({what}): calibrate the lens first (ros2 run camera_calibration "
        "cameracalibrator), and record its camera_info topic too"
    )


def _heads(recording: Recording, channel: Channel) -> list[tuple[int, int, str]]:
    """Return time of recording, stamp and frame of a topic's first messages."""
    found: list[tuple[int, int, str]] = []
    for _, receive, raw in recording.messages([channel]):
        try:
            wire = wire_of(raw, channel.encoding)
            stamp = decode.header_stamp_ns(raw, wire)
            if channel.msgtype.endswith("LaserScan"):
                frame = decode.read_scan(raw, wire).frame
            elif channel.msgtype.endswith("PointCloud2"):
                frame = decode.read_cloud(raw, wire).frame
            elif channel.msgtype.endswith("CompressedImage"):
                frame = decode.read_compressed(raw, wire).frame
            else:
                frame = decode.read_image(raw, wire).frame
        except SensorError:
            continue
        found.append((receive, stamp, name_of(frame)))
        if len(found) == 5:
            break
    if not found:
        raise BagError(f"no message on {channel.topic} can be decoded: record it again")
    return found


def _look_at_clocks(heads: dict[str, list[tuple[int, int, str]]], warnings: list[str]) -> bool:
    """Return whether the times of recording are to be used instead of stamps."""
    for topic, head in heads.items():
        if not any(stamp for _, stamp, _ in head):
            warnings.append(f"messages on {topic} have no stamps: times of recording are used")
            return True
    late = [statistics.median(receive - stamp for receive, stamp, _ in head) for head in heads.values()]
    if max(late) - min(late) > _CLOCK_TOLERANCE_NS:
        apart = 1e-9 * (max(late) - min(late))
        warnings.append(f"the clocks of camera and LiDAR are {apart:.1f} s apart: times of recording are used")
        return True
    return False


def _sweeps(
    recording: Recording, channel: Channel, start_ns: int, by_receive: bool, warnings: list[str]
) -> tuple[list[Sweep], str]:
    sweeps: list[Sweep] = []
    frame, broken = b"", 0
    for _, receive, raw in recording.messages([channel]):
        if len(sweeps) >= _MOST_SWEEPS:
            warnings.append(f"only the first {_MOST_SWEEPS} sweeps on {channel.topic} are used")
            break
        try:
            wire = wire_of(raw, channel.encoding)
            if channel.msgtype.endswith("LaserScan"):
                scan = decode.read_scan(raw, wire)
                stamp, frame = scan.stamp_ns, scan.frame
                sweep = _planar(1e-9 * ((receive if by_receive else stamp) - start_ns), scan)
            else:
                cloud = decode.read_cloud(raw, wire)
                stamp, frame = cloud.stamp_ns, cloud.frame
                points = unpack_points(
                    cloud.data, decode.cloud_fields(cloud.layout, wire), cloud.point_step, cloud.width * cloud.height,
                    bool(cloud.is_bigendian), (cloud.width, cloud.row_step),
                ).astype(np.float64)  # fmt: skip
                points = points[np.einsum("ij,ij->i", points, points) > _NEAREST_M**2]
                sweep = Sweep(
                    1e-9 * ((receive if by_receive else stamp) - start_ns), points, np.zeros(len(points)),
                    np.zeros(len(points), np.int32),
                )  # fmt: skip
        except SensorError as error:
            broken += 1
            if broken == 1:
                warnings.append(f"messages on {channel.topic} cannot be used: {reason(error)}")
            continue
        sweeps.append(sweep)
    sweeps.sort(key=lambda sweep: sweep.time_s)
    return sweeps, name_of(frame)


def _planar(time_s: float, scan: decode.Scan) -> Sweep:
    if not (np.isfinite(scan.angle_min) and np.isfinite(scan.angle_increment) and scan.angle_increment != 0):
        raise SensorError(f"a scan from {scan.angle_min} by {scan.angle_increment} rad is of no use")
    with np.errstate(invalid="ignore"):
        hit = np.flatnonzero((scan.ranges >= max(scan.range_min, 0.0)) & (scan.ranges <= scan.range_max))
    hit = hit[np.isfinite(scan.ranges[hit])]
    ranges = scan.ranges[hit].astype(np.float64)
    angles = scan.angle_min + scan.angle_increment * hit
    points = np.stack([ranges * np.cos(angles), ranges * np.sin(angles), np.zeros(len(hit))], axis=-1)
    between = scan.time_increment if np.isfinite(scan.time_increment) else 0.0
    return Sweep(time_s, points, np.asarray(between * hit, np.float64), hit.astype(np.int32), abs(scan.angle_increment))
