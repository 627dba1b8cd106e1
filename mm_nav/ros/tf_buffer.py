"""/tf_static, heard and told: where the sensors sit. (tf2_ros has no wheel, and fixed mounts are all that is needed.)"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from rclpy.publisher import Publisher
from tf2_msgs.msg import TFMessage

from mm_nav.errors import SensorError
from mm_nav.ros import conversions
from mm_nav.ros.qos import STATIC_TF
from mm_nav.ros.topics import frames
from mm_nav.sensing.messages import transform_matrix

Matrix = npt.NDArray[np.float64]


class SensorMounts:
    """Says on a publisher of /tf_static where the sensors of a recording sit, as that becomes known."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher, self._mounts = publisher, dict[str, Matrix]()

    def place(self, frame: str, base_T_sensor: Matrix) -> None:
        """Tell a mount (4, 4), when it is new or has changed."""
        if frame not in self._mounts or not np.allclose(base_T_sensor, self._mounts[frame], atol=1e-6):
            self._mounts[frame] = base_T_sensor
            base = frames().base
            # All of them: only a publisher's last message reaches who comes late.
            found = [conversions.transform_message(mount, 0, base, name) for name, mount in self._mounts.items()]
            self._publisher.publish(TFMessage(transforms=found))


class StaticTransforms:
    """Collects fixed transforms; looks up chains of them."""

    def __init__(self, node: Node, on_change: Callable[[], None] | None = None) -> None:
        self._parents: dict[str, tuple[str, Matrix]] = {}
        self._on_change = on_change
        self._logger = node.get_logger()
        self._subscription = node.create_subscription(TFMessage, "/tf_static", self._receive, STATIC_TF)

    def _receive(self, message: TFMessage) -> None:
        for item in message.transforms:
            try:
                self._parents[item.child_frame_id.lstrip("/")] = (
                    item.header.frame_id.lstrip("/"),
                    transform_matrix(item.transform),
                )
            except SensorError as error:
                self._logger.warning(f"/tf_static {item.child_frame_id}: {error}", throttle_duration_sec=5.0)
        if self._on_change is not None:
            self._on_change()

    def lookup(self, base: str, frame: str) -> Matrix | None:
        """Return base_T_frame (4, 4), or None while the chain is not complete. A frame in itself is the identity."""
        frame, base = frame.lstrip("/"), base.lstrip("/")
        pose = np.eye(4)
        for _ in range(64):
            if frame == base:
                return pose
            if frame not in self._parents:
                return None
            frame, step = self._parents[frame]
            pose = step @ pose
        return None
