"""What a few seconds of listening to a ROS graph brought, and what the stack needs of it. Nothing here needs ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.observation import Odometry
from mm_nav.robot import RobotConfig

Matrix = npt.NDArray[np.float64]

TWIST, TWIST_STAMPED = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, SCAN, POINTS = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/LaserScan", "sensor_msgs/msg/PointCloud2"
IMU, ODOMETRY, TF = "sensor_msgs/msg/Imu", "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"
CLOCK, GUARD_STATUS = "rosgraph_msgs/msg/Clock", "mm_nav_interfaces/msg/GuardStatus"
# The nodes of the stack, in the order in which they come up.
STACK_NODES = ("guard", "inference", "navigator")


@dataclass(frozen=True)
class Endpoint:
    """A publisher or a subscription. node: its full name. type: as "sensor_msgs/msg/Image"."""

    node: str
    type: str
    reliable: bool = True
    transient_local: bool = False


@dataclass(frozen=True)
class Wanted:
    """What the stack subscribes to for a role ("scan", "image", …). topic: full name. reliable, transient_local: what it asks of a
    publisher; one that offers less is not heard."""

    role: str
    topic: str
    type: str
    reliable: bool = False
    transient_local: bool = False


@dataclass(frozen=True)
class Traffic:
    """The messages of one topic that arrived.

    arrivals_s: when they did, system clock, s. stamps_ns: of their headers; empty for messages without. clock_ns: what /clock said
    when each was taken; empty when there is none. lost: by the publisher's numbers, sent and never arrived. bytes: of the newest.
    newest: the newest message, None when it could not be read; unreadable: why.
    """

    arrivals_s: tuple[float, ...] = ()
    stamps_ns: tuple[int, ...] = ()
    clock_ns: tuple[int, ...] = ()
    frame: str = ""
    lost: int = 0
    bytes: int = 0
    newest: Any = None
    unreadable: str = ""

    @property
    def rate_hz(self) -> float:
        """Mean rate over the time from the first to the last message; 0 for fewer than two."""
        spread = self.arrivals_s[-1] - self.arrivals_s[0] if len(self.arrivals_s) > 1 else 0.0
        return (len(self.arrivals_s) - 1) / spread if spread > 0.0 else 0.0

    def gaps_s(self, until_s: float) -> tuple[float, ...]:
        """Return the times between messages, s, the silence up to until_s (system clock) as the last of them."""
        times = (*self.arrivals_s, max(until_s, self.arrivals_s[-1])) if self.arrivals_s else ()
        return tuple(b - a for a, b in pairwise(times))

    def ages_s(self, simulated: bool) -> tuple[float, ...]:
        """Return how old each was when it came, s; below 0 = from the future. simulated: by /clock."""
        if simulated:
            return tuple(1e-9 * (now - stamp) for now, stamp in zip(self.clock_ns, self.stamps_ns, strict=False) if now)
        return tuple(now - 1e-9 * stamp for now, stamp in zip(self.arrivals_s, self.stamps_ns, strict=False))


@dataclass(frozen=True)
class Transform:
    """One link of the TF tree. matrix: parent_T_child (4, 4), None for a quaternion that is none; length: of that quaternion."""

    parent: str
    child: str
    matrix: Matrix | None
    length: float = 1.0


@dataclass(frozen=True)
class StackNodeState:
    """A node of the stack that is there. state: of its lifecycle, "" = it did not answer. parameters: those that matter here."""

    name: str
    state: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StackNeeds:
    """What the stack can live with, s; the running nodes' own parameters where they answered, their defaults elsewhere.

    scan_gap_s: a longer silence of the LiDAR stops the robot. slow_age_s, max_age_s: older scans slow and stop it. image_gap_s: a
    camera silent for longer is taken for lost. min_valid_share, frozen_scans: as GuardConfig's. twist_stamped: what the guard sends
    to the wheels. points: obstacles come from the point cloud; None = these nodes have no such parameter.
    """

    scan_gap_s: float = 0.35
    slow_age_s: float = 0.25
    max_age_s: float = 0.4
    image_gap_s: float = 0.5
    min_valid_share: float = 0.1
    frozen_scans: int = 10
    twist_stamped: bool = True
    points: bool | None = None


@dataclass(frozen=True)
class RobotNeeds:
    """The robot that it should be. rates_hz: of its sensors, by role; a role that is not there is a sensor that it does not have.
    said_by: who said which robot it is ("--robot", "guard"): its file's rates are expected then; "" = nobody."""

    body: RobotConfig = field(default_factory=RobotConfig)
    rates_hz: Mapping[str, float] = field(default_factory=lambda: {"image": 10.0, "scan": 10.0})
    said_by: str = ""


@dataclass(frozen=True)
class GraphSnapshot:
    """Everything that was seen. Topics and nodes have full names; what the listener itself brought is left out.

    until_s: system clock at the end. nodes: with duplicates. publishers, subscriptions: by topic. wanted, traffic: by role.
    odometry: all that came. same_scans: longest run of scans with the very same ranges. static, moving: of /tf_static and /tf, the
    newest of each pair of frames. stack: by "guard", "inference", "navigator". environment: what decides who hears whom here.
    """

    seconds: float
    until_s: float
    namespace: str = ""
    nodes: tuple[str, ...] = ()
    publishers: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    subscriptions: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    odometry: tuple[Odometry, ...] = ()
    same_scans: int = 0
    static: tuple[Transform, ...] = ()
    moving: tuple[Transform, ...] = ()
    stack: Mapping[str, StackNodeState] = field(default_factory=dict)
    needs: StackNeeds = field(default_factory=StackNeeds)
    robot: RobotNeeds = field(default_factory=RobotNeeds)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether /clock is published."""
        return bool(self.heard("clock").arrivals_s)

    def heard(self, role: str) -> Traffic:
        """Return what came for a role."""
        return self.traffic.get(role, Traffic())

    def of_type(self, msgtype: str) -> tuple[str, ...]:
        """Return the topics that somebody publishes as this type."""
        return tuple(t for t, ends in sorted(self.publishers.items()) if any(end.type == msgtype for end in ends))


class Level(str, Enum):
    """How bad a finding is."""

    OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the report. code: a short name of the fault, "" when there is none. remedy: what to do, "" when nothing is."""

    level: Level
    item: str
    measured: str
    expected: str = ""
    code: str = ""
    remedy: str = ""


def ok(item: str, measured: str, expected: str = "") -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, item, measured, expected)


def warn(item: str, code: str, measured: str, expected: str, remedy: str) -> Finding:
    """Return a finding that the stack can live with."""
    return Finding(Level.WARN, item, measured, expected, code, remedy)


def fail(item: str, code: str, measured: str, expected: str, remedy: str) -> Finding:
    """Return a finding that keeps the stack from working as it should."""
    return Finding(Level.FAIL, item, measured, expected, code, remedy)
