"""Sensors and goal in, policy output out: the node that holds the network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mm_nav_interfaces.msg import PolicyGoal as PolicyGoalMessage
from mm_nav_interfaces.msg import PolicyOutput
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image, LaserScan

from mm_nav.errors import MmNavError, SensorError
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation
from mm_nav.ros import conversions, qos
from mm_nav.ros.parameters import ParameterSpec
from mm_nav.ros.raw_image import parse_image
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.tf_buffer import StaticTransforms
from mm_nav.ros.topics import frames, topics
from mm_nav.runtime.policy import OnnxPolicy, default_model
from mm_nav.sensing.messages import image_from, odometry_from, scan_from
from mm_nav.sensing.rectify import distortion_from
from mm_nav.sensing.synchronizer import ObservationSynchronizer, SyncConfig


class InferenceNode(StackNode):
    """Runs the policy on every observation while there is something to look for."""

    PARAMETERS = (
        ParameterSpec("model", "", "ONNX model with its manifest beside it; empty = the one that comes with mm_nav"),
        ParameterSpec("provider", "auto", "ONNX Runtime provider", choices=("auto", "tensorrt", "cuda", "cpu")),
        ParameterSpec("threads", 1, "threads of the network", 1, 64),
        ParameterSpec("rivals", True, "whether things that look like the named one are asked about too"),
        ParameterSpec("image_timeout", 0.5, "a camera silent for longer is lost, s", 0.05, 10.0),
        ParameterSpec("image_wait", 0.1, "how long a scan waits for its picture, s of message time", 0.0, 1.0),
    )

    def __init__(self) -> None:
        super().__init__("inference")

    def configure(self) -> None:
        """Load the network and subscribe."""
        model = str(self.value("model"))
        self._policy = OnnxPolicy(
            Path(model) if model else default_model(),
            str(self.value("provider")),
            int(self.value("threads")),
            rivals=bool(self.value("rivals")),
        )
        # The first call of a session is slow; let it not be the first step of a drive.
        self._policy.prepare(PolicyGoal("warm-up", "the red barrel"))
        self.get_logger().info(f"policy {self._policy.path.name} loaded")
        self._sync = ObservationSynchronizer(
            SyncConfig(
                triggers=("scan", "image"),
                image_timeout_s=float(self.value("image_timeout")),
                max_wait_s=float(self.value("image_wait")),
            )
        )
        self._goal: PolicyGoal | None = None
        self._latest: Observation | None = None
        self._intrinsics: npt.NDArray[np.float64] | None = None
        self._distortion: tuple[tuple[float, ...], str] = ((), "plumb_bob")
        t = topics()
        self._mounts = StaticTransforms(self)
        self._publisher = self.create_publisher(PolicyOutput, t.policy, qos.STATUS)
        self._subscriptions_own = [
            self.create_subscription(Odometry, t.odom, self._odometry, qos.ODOMETRY),
            self.create_subscription(CameraInfo, t.camera_info, self._camera_info, qos.SENSOR),
            self.create_subscription(Image, t.image, self._image, qos.IMAGE, raw=True),
            self.create_subscription(LaserScan, t.scan, self._scan, qos.SENSOR),
            self.create_subscription(PolicyGoalMessage, t.policy_goal, self._receive_goal, qos.LATCHED),
        ]

    def cleanup(self) -> None:
        """Unsubscribe and drop the network."""
        for subscription in self._subscriptions_own:
            self.destroy_subscription(subscription)
        self.destroy_publisher(self._publisher)
        del self._policy

    def _odometry(self, message: Odometry) -> None:
        self._consider(self._sync.push_odometry(odometry_from(message)))

    def _camera_info(self, message: CameraInfo) -> None:
        try:
            self._distortion = distortion_from(message)
        except SensorError as error:
            self._complain(str(error))
            return
        self._intrinsics = np.asarray(message.k, np.float64).reshape(3, 3)

    def _image(self, buffer: bytes) -> None:
        if self._intrinsics is None:
            self.get_logger().warning(
                "pictures come, but no camera_info: the camera is not used", throttle_duration_sec=5.0
            )
            return
        try:
            message = parse_image(buffer)
            mount = self._mounts.lookup(frames().base, message.header.frame_id)
            if mount is None:
                self._complain(f"no transform from {frames().base} to {message.header.frame_id} on /tf_static")
                return
            self._consider(
                self._sync.push_image(image_from(message, self._intrinsics, mount, distortion=self._distortion))
            )
        except SensorError as error:
            self._complain(str(error))

    def _scan(self, message: LaserScan) -> None:
        try:
            mount = self._mounts.lookup(frames().base, message.header.frame_id)
            if mount is None:
                self._complain(f"no transform from {frames().base} to {message.header.frame_id} on /tf_static")
                return
            self._consider(self._sync.push_scan(scan_from(message, mount)))
        except SensorError as error:
            self._complain(str(error))

    def _complain(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=5.0)

    def _receive_goal(self, message: PolicyGoalMessage) -> None:
        try:
            self._goal = conversions.policy_goal_from(message)
        except SensorError as error:
            self._goal = None
            self._complain(f"the goal's picture cannot be used: {error}")
        # A new goal is answered for the newest observation at once: the navigator may be waiting for just that.
        if self._goal is not None and self._latest is not None:
            self._infer(self._latest)

    def _consider(self, observations: list[Observation]) -> None:
        # The newest wins: an older one could only steer late. But every scan is answered when the node keeps up.
        for observation in observations:
            self._latest = observation
            self._infer(observation)

    def _infer(self, observation: Observation) -> None:
        if not self.active or self._goal is None:
            return
        try:
            output = self._policy(observation, self._goal)
        except MmNavError as error:
            self._complain(str(error))
            return
        self._publisher.publish(conversions.policy_message(output, frames().base))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(InferenceNode, argv)


if __name__ == "__main__":
    sys.exit(main())
