"""From the raw messages of a topic to the stack's nouns; what does not change between two messages is worked out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.bags import decode
from mm_nav.bags.decode import Raw, wire_of
from mm_nav.bags.mapping import POSE_COVARIANCE, TRANSFORM, TWIST_STAMPED
from mm_nav.bags.mounts import Mounts
from mm_nav.bags.pose_sources import PoseDifferentiator, planar_pose
from mm_nav.bags.recording import Channel
from mm_nav.errors import SensorError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, LaserScan, Odometry, PointCloud
from mm_nav.sensing.clouds import mounted, unpack_points
from mm_nav.sensing.images import decode_compressed, decode_image
from mm_nav.sensing.messages import is_upside_down, planar, scan_of
from mm_nav.sensing.packed import PackedImage, jpeg_shape
from mm_nav.sensing.rectify import distortion_from

Matrix = npt.NDArray[np.float64]
# Gets stamp and time of recording of a message, ns.
Note = Callable[[int, int], None]

# A field of view for cameras that say nothing about theirs, rad; a TurtleBot's, about.
CAMERA_FOV = 1.2


@dataclass(frozen=True)
class RecordedCommand:
    """What the recorded robot had been told: a velocity in base_link."""

    stamp_ns: int
    twist: Twist2D


Item = Odometry | LaserScan | CameraImage | PointCloud | RecordedCommand
# Gets a message and when it was recorded, ns. Raises SensorError for what cannot be used.
Maker = Callable[[Raw, int], Item]


@dataclass(frozen=True)
class Lens:
    """A camera's parameters.

    intrinsics: (3, 3), pixels of pictures of this size (height, width); (0, 0) = of any. distortion: as distortion_from gives it.
    """

    intrinsics: Matrix
    size: tuple[int, int] = (0, 0)
    distortion: tuple[tuple[float, ...], str] = ((), "plumb_bob")

    def fitted(self, height: int, width: int) -> Lens:
        """Return the lens for pictures of another size, which show the same."""
        if self.size in ((0, 0), (height, width)):
            return self
        scale = np.array([[width / self.size[1]], [height / self.size[0]], [1.0]])
        return replace(self, intrinsics=self.intrinsics * scale, size=(height, width))


def lens_from(info: Any, rectified: bool, warn: Callable[[str], None]) -> Lens | None:
    """Return what a sensor_msgs/CameraInfo (ROS 1 or 2) says of raw pictures or, with `rectified`, of those without distortion.

    None for a camera that was not calibrated.
    """
    # ROS 1 calls the matrices K and P, ROS 2 k and p.
    k = np.asarray(getattr(info, "k", getattr(info, "K", ())), np.float64)
    p = np.asarray(getattr(info, "p", getattr(info, "P", ())), np.float64)
    size = (int(info.height), int(info.width)) if info.height > 0 and info.width > 0 else (0, 0)
    if rectified and p.size == 12 and np.isfinite(p).all() and p[0] > 0 and p[5] > 0:
        return Lens(np.ascontiguousarray(p.reshape(3, 4)[:, :3]), size)
    if k.size != 9 or not np.isfinite(k).all() or not (k[0] > 0 and k[4] > 0):
        return None
    distortion: tuple[tuple[float, ...], str] = ((), "plumb_bob")
    if not rectified:
        try:
            distortion = distortion_from(info)
        except SensorError as error:
            warn(f"{error}; the pictures are used as they are")
    return Lens(k.reshape(3, 3), size, distortion)


class ItemMakers:
    """Makes, for each topic that is read, the function that its messages go through.

    use_receive: stamps are not to be trusted, times of recording are used. without_stamp: topics whose headers have none.
    """

    def __init__(self, mounts: Mounts, warn: Callable[[str], None]) -> None:
        self._mounts, self._warn = mounts, warn
        self.use_receive = False
        self.without_stamp: set[str] = set()
        self.lens: Lens | None = None
        self.differentiator = PoseDifferentiator()

    def maker(self, kind: str, channel: Channel, note: Note) -> Maker:
        """Return what makes an item of a message. note: gets stamp and time of recording of each."""
        make: Callable[[Channel, Note], Maker] = {
            "odometry": self._poses,
            "scan": self._scans,
            "image": self._images,
            "cloud": self._clouds,
            "command": self._commands,
        }[kind]
        return make(channel, note)

    def taken(self, channel: Channel, note: Note) -> Callable[[int, int], int]:
        """Return what tells a message's time of its stamp and its time of recording."""
        if self.use_receive or channel.topic in self.without_stamp:

            def received(stamp: int, receive: int) -> int:
                note(stamp if stamp else receive, receive)
                return receive

            return received

        seen = False

        def measured(stamp: int, receive: int) -> int:
            nonlocal seen
            if stamp:
                seen = True
            elif seen:
                # A time of zero among others would be a jump of years.
                raise SensorError("some have no stamp")
            note(stamp, receive)
            return stamp

        return measured

    def _scans(self, channel: Channel, note: Note) -> Maker:
        taken, encoding, mounts, topic = self.taken(channel, note), channel.encoding, self._mounts, channel.topic
        read = decode.read_scan
        known: dict[bytes, tuple[Pose2D, bool]] = {}
        version = -1

        def make(raw: Raw, receive: int) -> LaserScan:
            nonlocal version
            stamp, frame, first, _, step, beam_s, _, near, far, ranges = read(raw, wire_of(raw, encoding))
            stamp = taken(stamp, receive)
            if version != mounts.version:
                known.clear()
                version = mounts.version
            mount = known.get(frame)
            if mount is None:
                pose = mounts.of_lidar(frame, topic)
                mount = (Pose2D(), False) if pose is None else (planar(pose), is_upside_down(pose))
                known[frame] = mount
                version = mounts.version
            return scan_of(stamp, ranges, first, step, near, far, *mount, beam_s)

        return make

    def _clouds(self, channel: Channel, note: Note) -> Maker:
        taken, encoding, mounts, topic = self.taken(channel, note), channel.encoding, self._mounts, channel.topic
        known: dict[bytes, Matrix | None] = {}
        version, layout = -1, b""
        fields: dict[str, tuple[int, int]] = {}

        def make(raw: Raw, receive: int) -> PointCloud:
            nonlocal version, layout, fields
            wire = wire_of(raw, encoding)
            cloud = decode.read_cloud(raw, wire, layout)
            if cloud.layout is not layout:
                layout, fields = cloud.layout, decode.cloud_fields(cloud.layout, wire)
            stamp = taken(cloud.stamp_ns, receive)
            if version != mounts.version:
                known.clear()
                version = mounts.version
            if cloud.frame not in known:
                known[cloud.frame] = mounts.of_lidar(cloud.frame, topic)
            points = unpack_points(
                cloud.data, fields, cloud.point_step, cloud.width * cloud.height, bool(cloud.is_bigendian),
                row=(cloud.width, cloud.row_step),
            )  # fmt: skip
            return PointCloud(stamp, mounted(points, known[cloud.frame]))

        return make

    def _images(self, channel: Channel, note: Note) -> Maker:
        taken, encoding, mounts, topic = self.taken(channel, note), channel.encoding, self._mounts, channel.topic
        compressed = channel.msgtype.endswith("CompressedImage")
        known: dict[bytes, Matrix] = {}
        lens = Lens(np.eye(3))
        version, shape = -1, (0, 0)

        def make(raw: Raw, receive: int) -> CameraImage:
            nonlocal version, shape, lens
            wire = wire_of(raw, encoding)
            rgb: npt.NDArray[np.uint8] | None = None
            data, size = b"", None
            if compressed:
                packed = decode.read_compressed(raw, wire)
                stamp, frame, data = packed.stamp_ns, packed.frame, bytes(packed.data)
                size = jpeg_shape(data)
                if size is None:
                    # What has no sound outline is looked at now: its error is of this message.
                    rgb = decode_compressed(data)
            else:
                image = decode.read_image(raw, wire)
                stamp, frame = image.stamp_ns, image.frame
                rgb = decode_image(
                    image.data, image.encoding, image.height, image.width, image.step, bool(image.is_bigendian)
                )
            stamp = taken(stamp, receive)
            if rgb is not None:
                size = rgb.shape[0], rgb.shape[1]
            if size is not None and size != shape:
                shape = size
                lens = self._fitted(topic, *shape)
            if version != mounts.version:
                known.clear()
                version = mounts.version
            pose = known.get(frame)
            if pose is None:
                pose = known[frame] = mounts.of_camera(frame, topic)
            if rgb is None:
                return PackedImage.pack(stamp, data, shape, lens.intrinsics, pose, *lens.distortion)
            return CameraImage(stamp, rgb, lens.intrinsics, pose, *lens.distortion)

        return make

    def _fitted(self, topic: str, height: int, width: int) -> Lens:
        if self.lens is None:
            self._warn(f"no CameraInfo for {topic}: a field of view of {CAMERA_FOV} rad is assumed")
            focal = width / 2 / np.tan(CAMERA_FOV / 2)
            return Lens(np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]))
        fitted = self.lens.fitted(height, width)
        if fitted is not self.lens:
            was = "x".join(str(n) for n in reversed(self.lens.size))
            self._warn(f"pictures on {topic} are {width}x{height}, their CameraInfo is for {was}: it is scaled")
        return fitted

    def _poses(self, channel: Channel, note: Note) -> Maker:
        taken, encoding = self.taken(channel, note), channel.encoding
        msgtype = channel.msgtype

        def odometry(raw: Raw, receive: int) -> Odometry:
            found = decode.read_odometry(raw, wire_of(raw, encoding))
            ahead, aside, _, _, _, turn = found.twist
            return Odometry(taken(found.stamp_ns, receive), planar_pose(found.pose), Twist2D(ahead, turn, aside))

        def pose(raw: Raw, receive: int) -> Odometry:
            wire = wire_of(raw, encoding)
            if msgtype == TRANSFORM:
                found = decode.read_transform(raw, wire)
            else:
                found = decode.read_pose(raw, wire, msgtype == POSE_COVARIANCE)
            return self.differentiator.add(taken(found.stamp_ns, receive), planar_pose(found.pose))

        return odometry if msgtype.endswith("Odometry") else pose

    def _commands(self, channel: Channel, note: Note) -> Maker:
        encoding, stamped = channel.encoding, channel.msgtype == TWIST_STAMPED
        taken = self.taken(channel, note)

        def make(raw: Raw, receive: int) -> RecordedCommand:
            stamp, (ahead, aside, _, _, _, turn) = decode.read_twist(raw, wire_of(raw, encoding), stamped)
            if not stamped:
                note(receive, receive)
            return RecordedCommand(taken(stamp, receive) if stamped else receive, Twist2D(ahead, turn, aside))

        return make
