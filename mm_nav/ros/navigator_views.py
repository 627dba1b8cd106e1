"""What the navigator shows: plan, target and map for RViz, and the feedback of its action."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mm_nav_interfaces.action import NavigateTo
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from mm_nav.command import Progress
from mm_nav.navigator import Navigator
from mm_nav.ros import conversions, qos
from mm_nav.ros.topics import topics
from mm_nav.safety.inputs import Problem


class Views:
    """Publishers of a node, for people and their tools; nothing drives by them. frame: that the navigator's poses are in."""

    def __init__(self, node: Node, frame: str) -> None:
        t, self._frame = topics(), frame
        self._plan = node.create_publisher(Path, t.plan, qos.STATUS)
        self._map = node.create_publisher(OccupancyGrid, t.map, qos.LATCHED)
        self._markers = node.create_publisher(MarkerArray, t.markers, qos.STATUS)

    def show(self, navigator: Navigator, stamp_ns: int) -> None:
        """Publish the plan and the target."""
        progress, frame = navigator.progress, self._frame
        self._plan.publish(conversions.path_message(navigator.plan, stamp_ns, frame))
        markers = MarkerArray()
        if progress.target is not None:
            target = progress.target
            markers.markers = [conversions.target_marker(target.x, target.y, progress.confidence, stamp_ns, frame)]
        self._markers.publish(markers)

    def map(self, navigator: Navigator, stamp_ns: int) -> None:
        """Publish the map."""
        self._map.publish(conversions.map_message(navigator.grid.export(), stamp_ns, self._frame))

    def feedback(
        self, progress: Progress, latency_ms: float | None, problems: Iterable[Problem], stamp_ns: int
    ) -> NavigateTo.Feedback:
        """Return the action's feedback. What is wrong stands in brackets behind the step's text, for people."""
        message = NavigateTo.Feedback(stage=progress.stage.value, step_text=progress.step_text)
        message.step_index, message.step_count = progress.step_index, progress.step_count
        message.distance_remaining = float(progress.distance_m)
        if progress.target is not None:
            message.target_pose = conversions.pose_message(progress.target, stamp_ns, self._frame)
        message.confidence = float(progress.confidence)
        message.latency_ms = math.nan if latency_ms is None else latency_ms
        if texts := [problem.text for problem in problems]:
            message.step_text = f"{message.step_text} [{'; '.join(texts)}]".lstrip()
        return message
