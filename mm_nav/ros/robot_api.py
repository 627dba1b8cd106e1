"""The stack for scripts: `from mm_nav import Robot; Robot().go_to("the red chair")`."""

from __future__ import annotations

import atexit
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import rclpy
from action_msgs.srv import CancelGoal
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from mm_nav_interfaces.action import NavigateTo
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidNamespaceException
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from rclpy.validate_namespace import validate_namespace

from mm_nav.command import ErrorCode
from mm_nav.errors import ConfigError, GoalError, MmNavError, SensorError
from mm_nav.geometry import Pose2D
from mm_nav.goal import Goal
from mm_nav.mapping.occupancy_grid import GridExport
from mm_nav.ros import qos
from mm_nav.ros.goal_client import Outcome, SentGoal, goal_message
from mm_nav.ros.map_frame import MapFrame
from mm_nav.ros.namespaces import TF_REMAPPINGS
from mm_nav.ros.navigation import Feedback, Navigation
from mm_nav.ros.node_list import STACK
from mm_nav.ros.own_context import cancel_from_elsewhere, close_context, open_context
from mm_nav.ros.topics import topics
from mm_nav.sensing.images import decode_compressed
from mm_nav.sensing.messages import odometry_from

__all__ = ["ErrorCode", "Feedback", "Navigation", "NavigatorLostError", "Outcome", "Pose2D", "Robot"]

# A picture of the target: a PNG or JPEG file, or (H, W, 3) uint8 RGB.
Picture: TypeAlias = "Path | str | npt.NDArray[np.uint8]"
# A pose in the map frame: (x, y) or (x, y, yaw), metres and radians.
PoseLike: TypeAlias = "Pose2D | Sequence[float] | npt.NDArray[Any]"
_POLL_S, _FRESH_S = 0.05, 1.0
_NAVIGATOR = STACK[-1].name


class NavigatorLostError(MmNavError):
    """There is no stack to talk to, or it does not answer any more."""


class Robot:
    """A robot on which the stack runs, anywhere in the ROS network.

    namespace: of the robot's nodes, such as "alpha"; "" = none. timeout_s: how long each call waits for the stack to answer.

    Everything that ROS needs happens in a thread of the object's own, so it can be used from scripts, threads, notebooks and
    asyncio, several robots at once. Where rclpy is initialised it is used as it is, else the object has a context of its own and
    never touches the default one, nor any signal handler. `close`, the end of a `with` block and the end of the process cancel
    the drives that were started here. Raises ConfigError for a namespace that ROS does not allow.
    """

    def __init__(self, namespace: str = "", *, timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s
        try:
            validate_namespace("/" + namespace.strip("/"))
        except InvalidNamespaceException as error:
            raise ConfigError(f"'{namespace}' is no namespace of ROS: letters, digits and _, such as alpha") from error
        self._context = open_context()
        name = f"mm_nav_client_{os.getpid()}_{id(self) & 0xFFFFFF:x}"
        space = namespace.strip("/")
        remaps = [part for rule in TF_REMAPPINGS for part in ("-r", rule)] if space else []
        self._node = rclpy.create_node(
            name,
            context=self._context,
            cli_args=["--ros-args", *remaps],
            namespace=space,
            start_parameter_services=False,
        )
        self._name = self._node.resolve_service_name(topics().navigate_to)
        self._client = ActionClient(self._node, NavigateTo, topics().navigate_to)
        self._canceling = self._node.create_client(CancelGoal, f"{topics().navigate_to}/_action/cancel_goal")
        self._states = self._node.create_client(GetState, f"{_NAVIGATOR}/get_state")
        self._drives: list[Navigation] = []
        self._heard = threading.Condition()
        self._pose: tuple[float, Pose2D] | None = None
        self._map: bytes | None = None
        self._node.create_subscription(Odometry, topics().odom, self._odometry, qos.SENSOR)
        self._map_frame = MapFrame(self._node)
        # Maps are large: one is unpacked only when it is asked for.
        self._node.create_subscription(OccupancyGrid, topics().map, self._keep_map, qos.LATCHED, raw=True)
        self._node.create_timer(_POLL_S, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # Driving

    @overload
    def go_to(
        self, target: str | Path | PoseLike = ..., *, pose: PoseLike | None = ...,
        image: Picture | None = ..., timeout_s: float | None = ..., wait: Literal[True] = ...,
    ) -> Outcome: ...  # fmt: skip

    @overload
    def go_to(
        self, target: str | Path | PoseLike = ..., *, pose: PoseLike | None = ...,
        image: Picture | None = ..., timeout_s: float | None = ..., wait: Literal[False],
    ) -> Navigation: ...  # fmt: skip

    def go_to(
        self,
        target: str | Path | PoseLike = "",
        *,
        pose: PoseLike | None = None,
        image: Picture | None = None,
        timeout_s: float | None = None,
        wait: bool = True,
    ) -> Outcome | Navigation:
        """Drive to what a sentence names, to a pose, or to what a picture shows.

        target: a sentence in plain English; or a pose, (x, y) with any heading or (x, y, yaw), metres and rad, map frame; or a
        picture, a pathlib.Path or (H, W, 3) uint8 RGB. pose, image: beside it; what the sentence says comes first, then what the
        picture shows, then the pose, and a picture beside a sentence that names a thing ends with INVALID_GOAL. timeout_s: after
        which the drive fails; None = the navigator's own limit. wait: return the outcome when the drive has ended; False: return
        the drive at once. A new drive takes the place of the one before, which ends with CANCELED. Ctrl-C while it waits cancels
        it.

        Raises NavigatorLostError when no stack answers, GoalError when there is nothing to do or a pose or a picture is given
        twice, ConfigError for a picture that cannot be read.
        """
        instruction = target if isinstance(target, str) else ""
        if isinstance(target, Path) or (isinstance(target, np.ndarray) and target.ndim != 1):
            if image is not None:
                raise GoalError("two pictures are given, one as the target and one as image=: give one")
            image = target
        elif not isinstance(target, str):
            if pose is not None:
                raise GoalError("two poses are given, one as the target and one as pose=: give one")
            pose = target
        goal = Goal(
            instruction,
            _pose(pose),
            None if image is None else _picture(image),
            1.0 if timeout_s is None else timeout_s,
            facing=isinstance(pose, Pose2D) or (pose is not None and len(pose) == 3),
        )
        message = goal_message(instruction, goal.pose, goal.image, timeout_s or 0.0, goal.facing)
        self._require_navigator()
        drive = Navigation(
            lambda feedback: SentGoal(self._client, message, feedback), self._within, self._rescue, self._map_frame
        )
        self._drives.append(drive)
        self._within(drive.begin)
        return drive.wait() if wait else drive

    def stop(self) -> None:
        """Cancel whatever the robot is driving to, whoever asked for it, and wait until that has ended.

        Raises NavigatorLostError when nobody answers (the guard stops a robot whose navigator is gone).
        """
        self._require_navigator()
        self._ask(self._canceling, CancelGoal.Request(), "the cancel request")
        until = time.monotonic() + self.timeout_s
        while any(not drive.done for drive in list(self._drives)) and time.monotonic() < until:
            time.sleep(0.02)

    # What is known of the robot

    @property
    def is_ready(self) -> bool:
        """Whether a navigator is there and active, so that it would take a goal."""
        if not self._usable() or not self._client.server_is_ready():
            return False
        if not self._states.service_is_ready():
            return True  # a navigator that is no lifecycle node, or goes by another name
        try:
            answer = self._ask(self._states, GetState.Request(), "the lifecycle state")
        except NavigatorLostError:
            return False
        return bool(answer.current_state.id == State.PRIMARY_STATE_ACTIVE)

    def wait_until_ready(self, timeout_s: float | None = None) -> None:
        """Wait until it takes goals. timeout_s: None = the object's. Raises NavigatorLostError when it does not become ready."""
        wait_s = self.timeout_s if timeout_s is None else timeout_s
        until = time.monotonic() + wait_s
        while not self.is_ready:
            if time.monotonic() >= until:
                raise self._lost(wait_s)
            time.sleep(0.05)

    @property
    def pose(self) -> Pose2D:
        """Where the robot is, map frame, not older than a second. Raises NavigatorLostError when no odometry comes."""
        until = time.monotonic() + self.timeout_s
        with self._heard:
            while self._pose is None or time.monotonic() - self._pose[0] > _FRESH_S:
                if time.monotonic() >= until or not self._usable():
                    topic = self._node.resolve_topic_name(topics().odom)
                    raise NavigatorLostError(f"no odometry on {topic}: is the robot's base or the simulator running?")
                self._heard.wait(0.05)
            return self._pose[1]

    @property
    def map(self) -> GridExport:
        """The newest map: data (H, W) int8 -1 unknown, 0 free, 100 occupied; origin (x, y) m of its corner; resolution m. It is
        in the map frame, or in odom where the robot is localised.

        Raises NavigatorLostError when none comes.
        """
        until = time.monotonic() + self.timeout_s
        with self._heard:
            while self._map is None:
                if time.monotonic() >= until or not self._usable():
                    topic = self._node.resolve_topic_name(topics().map)
                    raise NavigatorLostError(f"no map on {topic}: is the navigator active?")
                self._heard.wait(0.05)
            message = deserialize_message(self._map, OccupancyGrid)
        info = message.info
        data = np.asarray(message.data, np.int8).reshape(info.height, info.width)
        return GridExport(data, (info.origin.position.x, info.origin.position.y), float(info.resolution))

    # The end

    def close(self) -> None:
        """Cancel the drives that were started here, and let ROS go. Twice does no harm."""
        if self._closing.is_set():
            return
        for drive in list(self._drives):
            if not drive.done:
                drive.cancel()
        for drive in list(self._drives):
            drive.stop()
        self._closing.set()
        atexit.unregister(self.close)
        if threading.current_thread() is not self._thread:
            self._thread.join(2.0)
        self._end_all("the Robot was closed")
        if self._context.ok():
            self._executor.shutdown(timeout_sec=1.0)
            self._client.destroy()
            self._node.destroy_node()
        close_context(self._context)

    def __enter__(self) -> Robot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The thread that spins

    def _spin(self) -> None:
        while not self._closing.is_set() and self._context.ok():
            try:
                self._executor.spin_once(timeout_sec=0.2)
            except (ExternalShutdownException, ShutdownException):
                break
            except Exception:
                if not self._context.ok():
                    break
                self._node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
        if not self._closing.is_set():
            self._end_all("rclpy was shut down while the robot drove: the drive was canceled if that was possible")

    def _end_all(self, message: str) -> None:
        for drive in list(self._drives):
            if not drive.done:
                drive.end(Outcome(ErrorCode.NAVIGATOR_LOST, message), severed=True)

    def _within(self, call: Callable[[], None]) -> None:
        """Have something done by the thread that spins: not every rclpy lets others use a client meanwhile."""
        if self._usable():
            self._executor.create_task(call)

    def _poll(self) -> None:
        self._drives = [drive for drive in self._drives if not drive.poll()]

    def _odometry(self, message: Odometry) -> None:
        with self._heard:
            self._pose = time.monotonic(), self._map_frame.in_map(odometry_from(message).pose)
            self._heard.notify_all()

    def _keep_map(self, message: bytes) -> None:
        with self._heard:
            self._map = message
            self._heard.notify_all()

    def _rescue(self, drive: Navigation) -> None:
        if drive.goal_id is not None:
            cancel_from_elsewhere(self._name, drive.goal_id)

    # Errors

    def _usable(self) -> bool:
        return not self._closing.is_set() and self._context.ok()

    def _require_navigator(self) -> None:
        if threading.current_thread() is self._thread:
            raise ConfigError("a Robot cannot be waited for in its own callbacks: use another thread")
        until = time.monotonic() + self.timeout_s
        while self._usable() and not self._client.server_is_ready():
            if time.monotonic() >= until:
                raise self._lost(self.timeout_s)
            time.sleep(0.02)
        if not self._usable():
            raise NavigatorLostError("this Robot was closed, or rclpy was shut down: make a new one")

    def _lost(self, waited_s: float) -> NavigatorLostError:
        if not self._usable():
            return NavigatorLostError("this Robot was closed, or rclpy was shut down: make a new one")
        if self._client.server_is_ready():
            return NavigatorLostError(
                f"the navigator of {self._name} is there but has not become active within {waited_s:.0f} s: look at its log"
            )
        end = f"/{topics().navigate_to}/_action/status"
        names = (name for name, _ in self._node.get_topic_names_and_types() if name.endswith(end))
        # Clients such as this one subscribe to it; servers publish it.
        others = sorted(name[: -len(end)] for name in names if self._node.count_publishers(name))
        hint = f"; there is one in namespace {', '.join(o or '/' for o in others)}" if others else ""
        return NavigatorLostError(
            f"no navigator answered on {self._name} within {waited_s:.0f} s{hint}: start the stack (mm-nav sim, or "
            "ros2 launch mm_nav sim.launch.py), in the same ROS_DOMAIN_ID and within ROS_AUTOMATIC_DISCOVERY_RANGE, and give "
            "Robot its namespace"
        )

    def _ask(self, client: Any, request: Any, what: str) -> Any:
        """Call a service and wait for its answer. Raises NavigatorLostError."""
        answered = threading.Event()
        answers: list[Any] = []

        def done(future: Any) -> None:
            answers.append(future.result())
            answered.set()

        self._within(lambda: client.call_async(request).add_done_callback(done))
        if not answered.wait(self.timeout_s) or not answers or answers[0] is None:
            raise NavigatorLostError(
                f"the navigator did not answer {what} within {self.timeout_s:.0f} s: look at its log"
            )
        return answers[0]


def _pose(pose: PoseLike | None) -> Pose2D | None:
    if pose is None or isinstance(pose, Pose2D):
        return pose
    values = [float(value) for value in pose]
    if len(values) not in (2, 3):
        raise GoalError(f"the pose {tuple(values)} has {len(values)} numbers: give (x, y) or (x, y, yaw), m and rad")
    return Pose2D(*values)


def _picture(image: Picture) -> npt.NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise GoalError(f"the picture is {image.dtype} of shape {image.shape}: give (H, W, 3) uint8, RGB")
        return image
    try:
        return decode_compressed(Path(image).read_bytes())
    except OSError as error:
        raise ConfigError(f"the picture {image} cannot be read: {error.strerror}") from error
    except SensorError as error:
        raise ConfigError(f"the picture {image} cannot be read: give a PNG or JPEG file") from error
