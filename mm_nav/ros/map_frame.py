"""Where the odom frame lies in the map frame, as whoever localises the robot says on /tf (AMCL, SLAM Toolbox)."""

from __future__ import annotations

import math

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from mm_nav.errors import GoalError, SensorError
from mm_nav.geometry import Pose2D
from mm_nav.ros import conversions, qos
from mm_nav.ros.topics import frames
from mm_nav.sensing.messages import planar, transform_matrix


class MapFrame:
    """map_T_odom: where odom lies in map, None = nobody has said. listens: to /tf and /tf_static; False: map is odom."""

    def __init__(self, node: Node, listens: bool = True) -> None:
        self.map_T_odom = None if listens else Pose2D()
        self._logger = node.get_logger()
        for topic, profile in (("/tf", qos.TF), ("/tf_static", qos.STATIC_TF)) if listens else ():
            node.create_subscription(TFMessage, topic, self._receive, profile)

    def in_map(self, pose: Pose2D) -> Pose2D:
        """Return a pose in odom as one in map; as it is while nobody has said where odom lies."""
        return pose if self.map_T_odom is None else self.map_T_odom @ pose

    def stamped_in_map(self, stamped: PoseStamped) -> Pose2D:
        """Return a pose in map or odom as one in map, see `in_map`."""
        pose = conversions.pose_from(stamped)
        return self.in_map(pose) if stamped.header.frame_id.lstrip("/") == frames().odom else pose

    def goal_in_odom(self, goal: PoseStamped) -> Pose2D:
        """Return a goal pose in odom. Raises GoalError for other frames than map and odom, and while nobody has said."""
        frame, f = goal.header.frame_id.lstrip("/"), frames()
        if frame not in ("", f.map, f.odom):
            raise GoalError(f"the goal pose is in frame '{goal.header.frame_id}': give it in '{f.map}'")
        pose = conversions.pose_from(goal)
        if frame == f.odom:
            return pose
        if self.map_T_odom is None:
            raise GoalError(f"nobody publishes {f.map} -> {f.odom}: start localisation, or set `localization` to false")
        return self.map_T_odom.inverse() @ pose

    def _receive(self, message: TFMessage) -> None:
        f = frames()
        for item in message.transforms:
            if item.child_frame_id.lstrip("/") != f.odom or item.header.frame_id.lstrip("/") != f.map:
                continue
            try:
                found = planar(transform_matrix(item.transform))
            except SensorError as error:
                self._logger.warning(f"{f.map} -> {f.odom}: {error}", throttle_duration_sec=5.0)
                continue
            if all(map(math.isfinite, (found.x, found.y, found.yaw))):
                self.map_T_odom = found
