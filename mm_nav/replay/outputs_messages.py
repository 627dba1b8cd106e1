"""The nouns of a replay as ROS 2 messages without ROS: the same fields as mm_nav.ros.conversions, for files."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mm_nav.command import PolicyOutput
from mm_nav.errors import MmNavError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.mapping.occupancy_grid import GridExport
from mm_nav.replay.changes import Change, stops
from mm_nav.resources import resource_path
from mm_nav.safety.guard import GuardResult
from mm_nav.sensing.messages import quaternion_from_yaw

Floats = npt.NDArray[np.float64]

_OWN_TYPES = ("GuardStatus", "PolicyOutput")
_LEVELS = {"INFO": 20, "WARN": 30, "ERROR": 40}  # of rcl_interfaces/msg/Log
_SPHERE, _LINE_STRIP, _TEXT = 2, 4, 9  # visualization_msgs/msg/Marker
_ADD, _DELETE_ALL = 0, 3
_FAINTEST = 0.15
_TARGET_HEIGHT_M = 0.4


class ReplayMessages:
    """Makes messages in the two frames of a recording, and writes them as CDR. Types are those of ROS 2 Humble.

    Raises MmNavError when the definitions of mm_nav_interfaces are not installed.
    """

    def __init__(self, odom_frame: str = "odom", base_frame: str = "base_link") -> None:
        self.odom, self.base = odom_frame, base_frame
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        for name in _OWN_TYPES:
            self._store.register(get_types_from_msg(_definition(name), f"mm_nav_interfaces/msg/{name}"))

    def definition(self, msgtype: str) -> str:
        """Return a type's definition with those of all types in it, as MCAP's ros2msg schemas have it."""
        return str(self._store.generate_msgdef(msgtype, ros_version=2)[0])

    def serialize(self, message: Any) -> bytes:
        """Return a message as little-endian CDR."""
        return bytes(self._store.serialize_cdr(message, message.__msgtype__))

    def twist(self, twist: Twist2D, stamp_ns: int) -> Any:
        """geometry_msgs/TwistStamped, base_link."""
        plain = self._make(
            "geometry_msgs/msg/Twist",
            linear=self._vector(twist.linear, twist.lateral),
            angular=self._vector(0.0, 0.0, twist.angular),
        )
        return self._make("geometry_msgs/msg/TwistStamped", header=self._header(stamp_ns, self.base), twist=plain)

    def path(self, points: Floats, stamp_ns: int) -> Any:
        """nav_msgs/Path of points (N, 2 or 3: x, y, yaw), odom frame."""
        header = self._header(stamp_ns, self.odom)
        pose_stamped = self._store.types["geometry_msgs/msg/PoseStamped"]
        known = points[np.isfinite(points).all(axis=1)]
        poses = [pose_stamped(header=header, pose=self._pose(Pose2D(*map(float, row)))) for row in known]
        return self._make("nav_msgs/msg/Path", header=header, poses=poses)

    def footprint(self, corners: Floats, stamp_ns: int) -> Any:
        """geometry_msgs/PolygonStamped of corners (N, 2), base_link."""
        points = [self._make("geometry_msgs/msg/Point32", x=float(x), y=float(y), z=0.0) for x, y in corners]
        polygon = self._make("geometry_msgs/msg/Polygon", points=points)
        return self._make("geometry_msgs/msg/PolygonStamped", header=self._header(stamp_ns, self.base), polygon=polygon)

    def map(self, grid: GridExport, stamp_ns: int) -> Any:
        """nav_msgs/OccupancyGrid, odom frame."""
        height, width = grid.data.shape
        x, y = (float(value) for value in grid.origin)
        info = self._make(
            "nav_msgs/msg/MapMetaData", map_load_time=self._time(stamp_ns), resolution=float(grid.resolution),
            width=width, height=height, origin=self._pose(Pose2D(x, y)),
        )  # fmt: skip
        header = self._header(stamp_ns, self.odom)
        return self._make("nav_msgs/msg/OccupancyGrid", header=header, info=info, data=grid.data.ravel())

    def transform(self, pose: Pose2D, stamp_ns: int) -> Any:
        """tf2_msgs/TFMessage from odom to base_link."""
        z, w = quaternion_from_yaw(pose.yaw)
        rotation = self._make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=z, w=w)
        transform = self._make(
            "geometry_msgs/msg/Transform", translation=self._vector(pose.x, pose.y), rotation=rotation
        )
        stamped = self._make(
            "geometry_msgs/msg/TransformStamped", header=self._header(stamp_ns, self.odom), child_frame_id=self.base,
            transform=transform,
        )  # fmt: skip
        return self._make("tf2_msgs/msg/TFMessage", transforms=[stamped])

    def policy(self, output: PolicyOutput) -> Any:
        """mm_nav_interfaces/PolicyOutput, base_link."""
        heat = np.empty((0, 0)) if output.heatmap is None else output.heatmap
        hypotheses, steps = output.waypoints.shape[:2]
        return self._make(
            "mm_nav_interfaces/msg/PolicyOutput",
            header=self._header(output.stamp_ns, self.base),
            goal_id=output.goal_id,
            bearings=_flat(output.bearings),
            bearing_probs=_flat(output.bearing_probs),
            bearing_ranges=_flat(output.bearing_ranges),
            visible=float(output.visible),
            arrived=float(output.arrived),
            waypoint_hypotheses=hypotheses,
            waypoint_steps=steps,
            waypoints=_flat(output.waypoints),
            waypoint_probs=_flat(output.waypoint_probs),
            heatmap_height=heat.shape[0],
            heatmap_width=heat.shape[1],
            heatmap=_flat(heat),
            others_visible=_flat([other.visible for other in output.others]),
            others_bearing_probs=_flat([other.bearing_probs for other in output.others]),
            others_bearing_ranges=_flat([other.bearing_ranges for other in output.others]),
            inference_ms=float(output.inference_ms),
        )

    def guard(self, asked: Twist2D, result: GuardResult, scan_ns: int, stamp_ns: int) -> Any:
        """mm_nav_interfaces/GuardStatus. scan_ns: stamp of the newest scan, 0 = there was none."""
        return self._make(
            "mm_nav_interfaces/msg/GuardStatus",
            header=self._header(stamp_ns, self.base),
            limited=bool(result.limited),
            stopped=stops(result),
            reason=result.reason,
            requested_linear=float(asked.linear),
            requested_angular=float(asked.angular),
            allowed_linear=float(result.twist.linear),
            allowed_angular=float(result.twist.angular),
            scan_stamp=self._time(scan_ns),
        )

    def waypoints(self, output: PolicyOutput | None, stamp_ns: int) -> Any:
        """visualization_msgs/MarkerArray: a line for each hypothesis in base_link, the more probable the more solid."""
        markers = [self._marker(self.base, stamp_ns, action=_DELETE_ALL)]
        if output is not None:
            most = max(float(output.waypoint_probs.max(initial=0.0)), 1e-6)
            for k, (way, probability) in enumerate(zip(output.waypoints, output.waypoint_probs, strict=True)):
                points = [self._point(0.0, 0.0), *(self._point(float(x), float(y)) for x, y in way)]
                colour = (0.24, 0.9, 1.0, max(_FAINTEST, float(probability) / most))
                markers.append(
                    self._marker(
                        self.base, output.stamp_ns, "waypoints", k, _LINE_STRIP, size=0.04, colour=colour, points=points
                    )
                )
        return self._make("visualization_msgs/msg/MarkerArray", markers=markers)

    def target(self, target: Pose2D | None, confidence: float, stamp_ns: int) -> Any:
        """visualization_msgs/MarkerArray: a sphere where the target is believed to be, odom frame, and how much."""
        markers = [self._marker(self.odom, stamp_ns, action=_DELETE_ALL)]
        if target is not None and math.isfinite(target.x + target.y):
            colour = (1.0, 0.3, 0.1, max(_FAINTEST, min(1.0, confidence)))
            above = _TARGET_HEIGHT_M + 0.4
            markers += [
                self._marker(
                    self.odom, stamp_ns, "target", 0, _SPHERE, (target.x, target.y, _TARGET_HEIGHT_M), 0.35, colour
                ),
                self._marker(
                    self.odom, stamp_ns, "confidence", 1, _TEXT, (target.x, target.y, above), 0.25,
                    (1.0, 1.0, 1.0, 1.0), text=f"{confidence:.2f}",
                ),
            ]  # fmt: skip
        return self._make("visualization_msgs/msg/MarkerArray", markers=markers)

    def picture(self, jpeg: bytes, stamp_ns: int) -> Any:
        """sensor_msgs/CompressedImage."""
        data = np.frombuffer(jpeg, np.uint8)
        header = self._header(stamp_ns, self.base)
        return self._make("sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=data)

    def number(self, value: float) -> Any:
        """std_msgs/Float32."""
        return self._make("std_msgs/msg/Float32", data=float(value))

    def log(self, change: Change, stamp_ns: int) -> Any:
        """rcl_interfaces/Log."""
        return self._make(
            "rcl_interfaces/msg/Log", stamp=self._time(stamp_ns), level=_LEVELS[change.level],
            name=f"replay.{change.source}", msg=change.text, file="", function="", line=0,
        )  # fmt: skip

    def _marker(
        self,
        frame: str,
        stamp_ns: int,
        namespace: str = "",
        number: int = 0,
        kind: int = _SPHERE,
        place: tuple[float, float, float] = (0.0, 0.0, 0.0),
        size: float = 0.1,
        colour: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
        points: list[Any] | None = None,
        text: str = "",
        action: int = _ADD,
    ) -> Any:
        make = self._make
        nothing = np.zeros(0, np.uint8)
        return make(
            "visualization_msgs/msg/Marker",
            header=self._header(stamp_ns, frame),
            ns=namespace, id=number, type=kind, action=action,
            pose=self._pose(Pose2D(place[0], place[1]), place[2]),
            scale=self._vector(size, size, size),
            color=make("std_msgs/msg/ColorRGBA", **dict(zip("rgba", colour, strict=True))),
            lifetime=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
            frame_locked=False, points=points or [], colors=[], text=text,
            texture_resource="", uv_coordinates=[], mesh_resource="", mesh_use_embedded_materials=False,
            texture=make(
                "sensor_msgs/msg/CompressedImage", header=self._header(0, ""), format="", data=nothing
            ),
            mesh_file=make("visualization_msgs/msg/MeshFile", filename="", data=nothing),
        )  # fmt: skip

    def _pose(self, pose: Pose2D, height: float = 0.0) -> Any:
        z, w = quaternion_from_yaw(pose.yaw)
        orientation = self._make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=z, w=w)
        return self._make(
            "geometry_msgs/msg/Pose", position=self._point(pose.x, pose.y, height), orientation=orientation
        )

    def _point(self, x: float, y: float, z: float = 0.0) -> Any:
        return self._make("geometry_msgs/msg/Point", x=x, y=y, z=z)

    def _vector(self, x: float, y: float, z: float = 0.0) -> Any:
        return self._make("geometry_msgs/msg/Vector3", x=float(x), y=float(y), z=float(z))

    def _header(self, stamp_ns: int, frame: str) -> Any:
        return self._make("std_msgs/msg/Header", stamp=self._time(stamp_ns), frame_id=frame)

    def _time(self, stamp_ns: int) -> Any:
        seconds, rest = divmod(max(0, int(stamp_ns)), 1_000_000_000)
        return self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest)

    def _make(self, msgtype: str, **fields: Any) -> Any:
        return self._store.types[msgtype](**fields)


def _definition(name: str) -> str:
    """Return the text of a type of mm_nav_interfaces: from the checkout or from a ROS installation."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    for folder in (Path(prefix) / "share" / "mm_nav_interfaces" / "msg" for prefix in prefixes if prefix):
        if (folder / f"{name}.msg").is_file():
            return (folder / f"{name}.msg").read_text(encoding="utf-8")
    try:
        return resource_path(f"interfaces/mm_nav_interfaces/msg/{name}.msg").read_text(encoding="utf-8")
    except OSError as error:
        raise MmNavError(f"the definition of mm_nav_interfaces/{name} cannot be read ({error})") from error


def _flat(values: Any) -> npt.NDArray[np.float32]:
    return np.asarray(values, np.float32).ravel()
