"""A replay as an MCAP file of ROS 2 messages, to be opened beside the recording it was made of."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from mcap.writer import Writer

from mm_nav.errors import BagError
from mm_nav.geometry import Twist2D
from mm_nav.replay.changes import Changes
from mm_nav.replay.drawing import encode_jpeg, grounding_picture
from mm_nav.replay.outputs_messages import ReplayMessages
from mm_nav.replay.records import LATER_COLUMNS, ReplayStep
from mm_nav.robot import RobotConfig

# Names of ReplayStep.live that are written as std_msgs/Float32, for plots.
SCORES = (
    "strange_image", "strange_scan", "clearance_m", "confidence", "visible", "distance_m", "latency_ms", "inference_ms",
)  # fmt: skip
NAMESPACE = "/replay"

_MAP_PERIOD_NS = 2_000_000_000
# About a second of a replay with a camera; what a killed process has not written yet is lost.
_CHUNK_BYTES = 256 * 1024


class McapOutputs:
    """Writes each step's messages; log and publish time are the observation's stamp, as the recording has it.

    path: of the file, *.mcap. While it is written its name is *.partial.mcap, in chunks that stay readable when the process dies
    (`mcap recover` adds the index); it gets its own name when the replay has ended. A replay that ends with an exception leaves
    the *.partial.mcap, complete up to there. with_tf: also /tf from odom to base_link, for recordings that have none.
    provenance: kept as the file's metadata "mm_nav". Raises BagError when the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        robot: RobotConfig,
        odom_frame: str = "odom",
        base_frame: str = "base_link",
        with_tf: bool = False,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        if path.suffix != ".mcap":
            raise BagError(f"{path} does not end in .mcap: give the name of a file such as replay.mcap")
        self.path, self.partial = path, path.with_suffix(".partial.mcap")
        self._robot, self._with_tf = robot, with_tf
        self._messages = ReplayMessages(odom_frame, base_frame)
        self._changes = Changes()
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._stamps: list[int] = []
        self._map_ns: int | None = None
        self._scan_ns = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.partial.open("wb")
        except OSError as error:
            raise BagError(f"{self.partial} cannot be written ({error.strerror}): give another path") from error
        self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES)
        self._writer.start(profile="ros2", library="mm_nav")
        if provenance:
            self._writer.add_metadata("mm_nav", dict(provenance))

    def __enter__(self) -> McapOutputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.finish()
            self._file.close()
        except OSError as failure:
            raise BagError(f"{self.partial} cannot be written ({failure.strerror}): make room on the disk") from failure
        if kind is None:
            os.replace(self.partial, self.path)

    def __call__(self, step: ReplayStep) -> None:
        """Write one step. Raises BagError when the disk is full."""
        stamp, make = step.observation.stamp_ns, self._messages
        self._stamps.append(stamp)
        try:
            self._twists(step, stamp)
            self._guards(step, stamp)
            self._write("plan", make.path(step.progress.path, stamp), stamp)
            self._write("foreseen", make.path(step.foreseen, stamp), stamp)
            self._write("target", make.target(step.progress.target, step.progress.confidence, stamp), stamp)
            self._write("footprint", make.footprint(self._robot.footprint_array(), stamp), stamp)
            self._policy(step, stamp)
            self._map(step, stamp)
            for name in SCORES:
                self._number(f"scores/{name}", step.live.get(name, math.nan), stamp)
            for change in self._changes(step):
                self._write("events", make.log(change, stamp), stamp)
            if self._with_tf:
                self._write("/tf", make.transform(step.observation.odometry.pose, stamp), stamp)
            self._file.flush()
        except OSError as error:
            raise BagError(f"{self.partial} cannot be written ({error.strerror}): make room on the disk") from error

    def later(self, columns: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Write what is known only after the last step, at the steps' times: LATER_COLUMNS, (steps,) each, as `errors/*`."""
        for name in LATER_COLUMNS:
            for stamp, value in zip(self._stamps, columns.get(name, ()), strict=False):
                self._number(f"errors/{name}", float(value), stamp)

    def _twists(self, step: ReplayStep, stamp: int) -> None:
        twists = (
            ("cmd_vel_nav", step.command.twist), ("cmd_vel", step.guarded.twist), ("recorded_twist", recorded(step)),
        )  # fmt: skip
        for name, twist in twists:
            self._write(name, self._messages.twist(twist, stamp), stamp)

    def _guards(self, step: ReplayStep, stamp: int) -> None:
        if step.observation.scan is not None:
            self._scan_ns = step.observation.scan.stamp_ns
        make = self._messages.guard
        self._write("guard", make(step.command.twist, step.guarded, self._scan_ns, stamp), stamp)
        self._write("recorded_guard", make(recorded(step), step.recorded, self._scan_ns, stamp), stamp)

    def _policy(self, step: ReplayStep, stamp: int) -> None:
        output, image = step.output, step.observation.image
        self._write("waypoints", self._messages.waypoints(output, stamp), stamp)
        if output is not None:
            self._write("policy", self._messages.policy(output), stamp)
        if image is not None:
            # image_transport's name for it, by which RViz and rqt_image_view find compressed pictures.
            picture = encode_jpeg(grounding_picture(image, output))
            self._write("grounding/compressed", self._messages.picture(picture, image.stamp_ns), stamp)

    def _map(self, step: ReplayStep, stamp: int) -> None:
        if self._map_ns is None or not 0 <= stamp - self._map_ns < _MAP_PERIOD_NS:
            self._map_ns = stamp
            self._write("map", self._messages.map(step.grid.export(), stamp), stamp)

    def _number(self, name: str, value: float, stamp: int) -> None:
        if math.isfinite(value):
            self._write(name, self._messages.number(value), stamp)

    def _write(self, name: str, message: Any, stamp: int) -> None:
        topic, msgtype = name if name.startswith("/") else f"{NAMESPACE}/{name}", message.__msgtype__
        if msgtype not in self._schemas:
            text = self._messages.definition(msgtype).encode()
            self._schemas[msgtype] = self._writer.register_schema(msgtype, "ros2msg", text)
        if topic not in self._channels:
            # rosbag2 reads this entry; empty = the player's default, reliable and volatile.
            about = {"offered_qos_profiles": ""}
            self._channels[topic] = self._writer.register_channel(topic, "cdr", self._schemas[msgtype], about)
        time = max(0, stamp)
        self._writer.add_message(self._channels[topic], time, self._messages.serialize(message), time)


def recorded(step: ReplayStep) -> Twist2D:
    """Return what the robot did, base_link: as the replay has it, else its odometry."""
    measured = step.observation.odometry.twist
    linear, angular = (step.live.get(f"recorded_{name}", math.nan) for name in ("linear", "angular"))
    if math.isfinite(linear) and math.isfinite(angular):
        return Twist2D(linear, angular, measured.lateral)
    return measured
