"""Listens to a drive for the demo: camera, grounding, truth, contacts, latency."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from mm_nav_interfaces.action import NavigateTo
from mm_nav_interfaces.msg import GuardStatus, PolicyOutput
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Float32, UInt32

from mm_nav.errors import SensorError
from mm_nav.evaluation.recording import DriveState
from mm_nav.ros import conversions, qos
from mm_nav.ros.raw_image import parse_image
from mm_nav.ros.topics import topics
from mm_nav.sensing.images import decode_image
from mm_nav.sensing.messages import odometry_from, scan_from, stamp_ns


class DriveMonitor:
    """Keeps the newest of everything. path_length_m: driven, by the truth. latencies_ms: sensor stamp to wheel command. stages:
    medians of the stages on that way, ms, as the nodes report them."""

    def __init__(self, node: Node) -> None:
        t = topics()
        self.state = DriveState()
        self.latencies_ms: list[float] = []
        self.inference_ms: list[float] = []
        self.stages: dict[str, float] = {}
        self.contacts = 0
        self.path_length_m = 0.0
        self.guard_interventions = 0
        self._limited = False
        self._start_ns: int | None = None
        self.recording = False
        self._subscriptions = [
            node.create_subscription(Image, t.image, self._image, qos.IMAGE, raw=True),
            node.create_subscription(LaserScan, t.scan, self._scan, qos.SENSOR),
            node.create_subscription(Odometry, t.ground_truth, self._truth, qos.STATUS),
            node.create_subscription(UInt32, t.contacts, self._contact, qos.LATCHED),
            node.create_subscription(Float32, t.stamp_to_command, self._latency, qos.STATUS),
            node.create_subscription(PolicyOutput, t.policy, self._policy, qos.STATUS),
            node.create_subscription(Path, t.plan, self._plan, qos.STATUS),
            node.create_subscription(GuardStatus, t.guard_status, self._guard, qos.STATUS),
            node.create_subscription(DiagnosticArray, t.diagnostics, self._diagnose, qos.STATUS),
        ]
        self.heard_truth = False

    def feedback(self, feedback: NavigateTo.Feedback) -> None:
        """Take the action's feedback into the state."""
        self.state.stage, self.state.confidence = feedback.stage, feedback.confidence
        p = feedback.target_pose
        self.state.target = (p.pose.position.x, p.pose.position.y) if p.header.frame_id else None

    def _image(self, buffer: bytes) -> None:
        try:
            m = parse_image(buffer)
            self.state.image = decode_image(m.data, m.encoding, m.height, m.width, m.step, bool(m.is_bigendian)).copy()
        except SensorError:
            return

    def _scan(self, message: LaserScan) -> None:
        self.state.scan = self.state.pose.transform(scan_from(message).points())

    def _truth(self, message: Odometry) -> None:
        pose = odometry_from(message).pose
        now = stamp_ns(message.header)
        if self.recording:
            self.path_length_m += pose.distance_to(self.state.pose) if self._start_ns is not None else 0.0
            self._start_ns = now if self._start_ns is None else self._start_ns
            self.state.time_s = (now - self._start_ns) * 1e-9
        self.state.pose = pose
        self.heard_truth = True

    def _diagnose(self, message: DiagnosticArray) -> None:
        self.stages |= conversions.times_from(message)

    def _contact(self, message: UInt32) -> None:
        self.contacts = int(message.data)

    def _latency(self, message: Float32) -> None:
        self.state.latency_ms = float(message.data)
        if self.recording:
            self.latencies_ms.append(float(message.data))

    def _policy(self, message: PolicyOutput) -> None:
        self.state.visible = float(message.visible)
        self.inference_ms.append(float(message.inference_ms))
        if message.heatmap_height:
            grid = np.asarray(message.heatmap, np.float32)
            self.state.heatmap = grid.reshape(message.heatmap_height, message.heatmap_width)

    def _plan(self, message: Path) -> None:
        points = [(p.pose.position.x, p.pose.position.y) for p in message.poses]
        self.state.plan = np.asarray(points, np.float64).reshape(-1, 2)

    def _guard(self, message: GuardStatus) -> None:
        if self.recording and message.limited and not self._limited:
            self.guard_interventions += 1
        self._limited = bool(message.limited)
