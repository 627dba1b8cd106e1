"""Simulated drives as recordings, for tests, for the parity of live and replay, and to look at in other tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mm_nav.errors import BagError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud
from mm_nav.sensing.messages import quaternion_from_matrix, quaternion_from_yaw

Storage = Literal["mcap", "sqlite3", "ros1"]

_TF = "tf2_msgs/msg/TFMessage"
ODOM, BASE, LASER, CAMERA = "odom", "base_link", "laser", "camera_optical"


class ObservationWriter:
    """Writes observations and commands as the topics that a robot would publish. Use `open_writer`."""

    def __init__(
        self, writer: Writer1 | Writer2, storage: Storage, start_ns: int, jpeg_quality: int | None = None
    ) -> None:
        self._writer, self._start, self._jpeg = writer, start_ns, jpeg_quality
        self._ros1 = storage == "ros1"
        self._store = get_typestore(Stores.ROS1_NOETIC if self._ros1 else Stores.ROS2_HUMBLE)
        if self._ros1:  # the library's Noetic types lack tf2
            text = "geometry_msgs/TransformStamped[] transforms\n"
            self._store.register(get_types_from_msg(text, _TF))
        self._connections: dict[str, Any] = {}
        self._mounted: set[str] = set()
        self._sequence = 0

    def add(self, observation: Observation, command: Twist2D | None = None) -> None:
        """Write one observation's messages, stamped as measured, and the command that followed.

        Mounts go to /tf_static before the first message of their sensor.
        """
        stamp = observation.stamp_ns
        self.add_odometry(observation.odometry, stamp)
        if observation.scan is not None:
            self.add_scan(observation.scan, stamp)
        if observation.image is not None:
            self.add_image(observation.image, stamp)
        if observation.cloud is not None:
            self.add_cloud(observation.cloud, stamp)
        if command is not None:
            stamped = "geometry_msgs/msg/TwistStamped"
            self._write("/cmd_vel", stamped, stamp, stamp, header=self._header(stamp, BASE), twist=self._twist(command))

    def add_odometry(self, odometry: Odometry, receive: int) -> None:
        """Write odometry and the transform that goes with it. receive: when it is recorded, ns, but not before its stamp."""
        z, w = quaternion_from_yaw(odometry.pose.yaw)
        pose = self._make(
            "geometry_msgs/msg/Pose",
            position=self._vector(odometry.pose.x, odometry.pose.y, kind="Point"),
            orientation=self._make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=z, w=w),
        )
        no_covariance = np.zeros(36)
        self._write(
            "/odom",
            "nav_msgs/msg/Odometry",
            odometry.stamp_ns,
            receive,
            header=self._header(odometry.stamp_ns, ODOM),
            child_frame_id=BASE,
            pose=self._make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=no_covariance),
            twist=self._make(
                "geometry_msgs/msg/TwistWithCovariance", twist=self._twist(odometry.twist), covariance=no_covariance
            ),
        )
        self._transform("/tf", ODOM, BASE, odometry.stamp_ns, (odometry.pose.x, odometry.pose.y, 0.0), (0.0, 0.0, z, w))

    def add_scan(self, scan: LaserScan, receive: int) -> None:
        """Write a scan, and before the first one where its LiDAR is."""
        self._mount(LASER, scan.mount)
        self._write(
            "/scan",
            "sensor_msgs/msg/LaserScan",
            scan.stamp_ns,
            receive,
            header=self._header(scan.stamp_ns, LASER),
            angle_min=scan.angle_min,
            angle_max=scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1),
            angle_increment=scan.angle_increment,
            time_increment=scan.time_increment_s,
            scan_time=0.1,
            range_min=scan.range_min,
            range_max=scan.range_max,
            ranges=np.asarray(scan.ranges, np.float32),
            intensities=np.zeros(0, np.float32),
        )

    def add_image(self, image: CameraImage, receive: int) -> None:
        """Write a picture and its camera's parameters, and before the first one where the camera is."""
        if CAMERA not in self._mounted:
            self._mounted.add(CAMERA)
            position = tuple(float(v) for v in image.base_T_camera[:3, 3])
            quaternion = quaternion_from_matrix(image.base_T_camera[:3, :3])
            self._transform("/tf_static", BASE, CAMERA, 0, (position[0], position[1], position[2]), quaternion)
        height, width = image.rgb.shape[:2]
        header = self._header(image.stamp_ns, CAMERA)
        k = image.intrinsics
        values = {
            "d": np.array(image.distortion or (0.0,) * 5),
            "k": k.ravel(),
            "r": np.eye(3).ravel(),
            "p": np.hstack([k, np.zeros((3, 1))]).ravel(),
        }
        if self._ros1:
            values = {name.upper(): value for name, value in values.items()}
        region = self._make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        shape = {"header": header, "height": height, "width": width}
        self._write(
            "/camera/camera_info", "sensor_msgs/msg/CameraInfo", image.stamp_ns, receive,
            distortion_model=image.distortion_model, binning_x=0, binning_y=0, roi=region, **shape, **values,
        )  # fmt: skip
        if self._jpeg is not None:
            options = [cv2.IMWRITE_JPEG_QUALITY, self._jpeg]
            data = cv2.imencode(".jpg", cv2.cvtColor(image.rgb, cv2.COLOR_RGB2BGR), options)[1]
            self._write(
                "/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", image.stamp_ns, receive,
                header=header, format="rgb8; jpeg compressed bgr8", data=data.ravel(),
            )  # fmt: skip
            return
        self._write(
            "/camera/image_raw", "sensor_msgs/msg/Image", image.stamp_ns, receive,
            encoding="rgb8", is_bigendian=0, step=3 * width, data=np.ascontiguousarray(image.rgb).ravel(), **shape,
        )  # fmt: skip

    def add_cloud(self, cloud: PointCloud, receive: int) -> None:
        """Write a point cloud, in base_link."""
        fields = [
            self._make("sensor_msgs/msg/PointField", name=name, offset=4 * i, datatype=7, count=1)
            for i, name in enumerate("xyz")
        ]
        points = np.ascontiguousarray(cloud.points, np.float32)
        self._write(
            "/points", "sensor_msgs/msg/PointCloud2", cloud.stamp_ns, receive,
            header=self._header(cloud.stamp_ns, BASE), height=1, width=len(points), fields=fields, is_bigendian=False,
            point_step=12, row_step=12 * len(points), data=points.view(np.uint8).ravel(), is_dense=True,
        )  # fmt: skip

    def _mount(self, frame: str, pose: Pose2D) -> None:
        if frame not in self._mounted:
            self._mounted.add(frame)
            z, w = quaternion_from_yaw(pose.yaw)
            self._transform("/tf_static", BASE, frame, 0, (pose.x, pose.y, 0.0), (0.0, 0.0, z, w))

    def _transform(
        self,
        topic: str,
        parent: str,
        child: str,
        stamp: int,
        position: tuple[float, float, float],
        quaternion: tuple[float, float, float, float],
    ) -> None:
        transform = self._make(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp, parent),
            child_frame_id=child,
            transform=self._make(
                "geometry_msgs/msg/Transform",
                translation=self._vector(*position),
                rotation=self._make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", quaternion, strict=True))),
            ),
        )
        self._write(topic, _TF, stamp, stamp, transforms=[transform])

    def _twist(self, twist: Twist2D) -> Any:
        return self._make(
            "geometry_msgs/msg/Twist",
            linear=self._vector(twist.linear, twist.lateral),
            angular=self._vector(0.0, 0.0, twist.angular),
        )

    def _vector(self, x: float, y: float, z: float = 0.0, kind: str = "Vector3") -> Any:
        return self._make(f"geometry_msgs/msg/{kind}", x=float(x), y=float(y), z=float(z))

    def _header(self, stamp: int, frame: str) -> Any:
        seconds, rest = divmod(stamp, 1_000_000_000)
        time = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest)
        self._sequence += 1
        extra = {"seq": self._sequence} if self._ros1 else {}
        return self._make("std_msgs/msg/Header", stamp=time, frame_id=frame, **extra)

    def _make(self, msgtype: str, **fields: Any) -> Any:
        return self._store.types[msgtype](**fields)

    def _write(self, topic: str, msgtype: str, stamp: int, receive: int, **fields: Any) -> None:
        if topic not in self._connections:
            options: dict[str, Any] = {"latching": 1} if self._ros1 and topic == "/tf_static" else {}
            self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=self._store, **options)
        message = self._make(msgtype, **fields)
        serialize = self._store.serialize_ros1 if self._ros1 else self._store.serialize_cdr
        self._writer.write(self._connections[topic], self._start + max(stamp, receive), serialize(message, msgtype))


@contextmanager
def open_writer(
    path: Path,
    storage: Storage = "mcap",
    start_ns: int = 0,
    zstd: bool = False,
    jpeg_quality: int | None = None,
) -> Iterator[ObservationWriter]:
    """Open a new recording: a rosbag2 folder for "mcap" and "sqlite3", a file for "ros1".

    start_ns: added to the recording times, not to the stamps. zstd: compress every message (rosbag2 only).
    jpeg_quality: pictures are written as CompressedImage, 1 to 100; None = raw. Raises BagError when the path exists.
    """
    if path.exists():
        raise BagError(f"{path} exists already: give another path, or remove it")
    writer: Writer1 | Writer2
    if storage == "ros1":
        writer = Writer1(path)
    else:
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        writer = Writer2(path, version=8, storage_plugin=plugin)
        if zstd:
            mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
            writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        yield ObservationWriter(writer, storage, start_ns, jpeg_quality)
