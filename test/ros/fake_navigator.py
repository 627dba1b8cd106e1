"""A navigator that obeys: an action server with odometry in a thread of this process, for what talks to the real one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rclpy
from mm_nav_interfaces.action import NavigateTo
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future

from mm_nav.command import ErrorCode
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.mapping.occupancy_grid import GridExport
from mm_nav.observation import Odometry as Driven
from mm_nav.ros import conversions, qos
from mm_nav.ros.topics import frames, topics

TICK_S = 0.05


class FakeNavigator:
    """Drives straight to poses at `speed`; of sentences it reaches all but those in `endings`, after 0.4 s."""

    def __init__(self, namespace: str = "") -> None:
        self.endings = {"the unicorn": ErrorCode.UNKNOWN_TARGET, "the stuck door": ErrorCode.STUCK}
        self.pose, self.speed, self.active, self.mute = Pose2D(), 2.0, True, False
        # Where what a sentence names is believed to be, odom.
        self.target: Pose2D | None = None
        # Poses beyond this x cannot be reached.
        self.wall_x = 100.0
        self.requests: list[NavigateTo.Goal] = []
        self.ended: list[ErrorCode] = []
        self._handle, self._since, self._drove, self._leave = None, 0.0, 0.0, False
        # By goal: one may have ended before its execution begins.
        self._results: dict[bytes, Future] = {}
        self.context = Context()
        self.context.init(initialize_logging=False)
        self.node = node = rclpy.create_node("fake_navigator", context=self.context, namespace=namespace)
        self._odom = node.create_publisher(Odometry, topics().odom, qos.ODOMETRY)
        self._map = node.create_publisher(OccupancyGrid, topics().map, qos.LATCHED)
        grid = GridExport(np.array([[0, 100, -1], [0, 0, 0]], np.int8), (-1.0, -2.0), 0.5)
        self._map.publish(conversions.map_message(grid, 0, frames().map))
        self.server = ActionServer(
            node, NavigateTo, topics().navigate_to, execute_callback=self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT if self.active else GoalResponse.REJECT,
            handle_accepted_callback=self._accept, cancel_callback=lambda _: CancelResponse.ACCEPT,
        )  # fmt: skip
        node.create_timer(TICK_S, self._tick)
        self._stopped = threading.Event()
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._handle is not None

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(5.0)
        if self.context.ok():
            self.server.destroy()
            self.node.destroy_node()
            self.context.shutdown()

    def _spin(self) -> None:
        while not self._stopped.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _accept(self, handle: object) -> None:
        self.requests.append(handle.request)
        if self._handle is not None:
            self._end(ErrorCode.CANCELED, "a new goal took its place")
        self._handle, self._since, self._drove = handle, time.monotonic(), 0.0
        self._results[bytes(handle.goal_id.uuid)] = Future()
        handle.execute()

    async def _execute(self, handle: object) -> NavigateTo.Result:
        result = await self._results[bytes(handle.goal_id.uuid)]
        if result.error_code == ErrorCode.NONE:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _end(self, error: ErrorCode, message: str) -> None:
        self.ended.append(error)
        result = NavigateTo.Result(error_code=int(error), message=message, distance=float(self._drove))
        result.time = time.monotonic() - self._since
        self._results[bytes(self._handle.goal_id.uuid)].set_result(result)
        self._handle = None

    def _tick(self) -> None:
        twist = Twist2D()
        if self._handle is not None and not self.mute:
            twist = self._drive(self._handle.request)
        driven = Driven(self.node.get_clock().now().nanoseconds, self.pose, twist)
        self._odom.publish(conversions.odometry_message(driven, frames().odom, frames().base))

    def free(self) -> None:
        """Drop what an earlier test has left."""
        self._leave = True
        end = time.monotonic() + 5.0
        while self.busy and time.monotonic() < end:
            time.sleep(TICK_S)
        self._leave = False

    def _drive(self, request: NavigateTo.Goal) -> Twist2D:
        if self._handle.is_cancel_requested or self._leave:
            self._end(ErrorCode.CANCELED, "canceled")
            return Twist2D()
        feedback = NavigateTo.Feedback(stage="approaching", step_text=request.instruction, step_count=1)
        feedback.distance_remaining = float("nan")
        if self.target is not None:
            feedback.target_pose = conversions.pose_message(self.target, 0, frames().odom)
        if request.use_pose:
            goal = conversions.pose_from(request.pose)
            gap, step = self.pose.distance_to(goal), self.speed * TICK_S
            feedback.distance_remaining = gap
            if goal.x > self.wall_x:
                self._end(ErrorCode.NO_PATH, "no way there")
            elif gap <= step:
                self.pose = goal
                self._end(ErrorCode.NONE, "the pose is reached")
            else:
                self.pose = Pose2D(
                    self.pose.x + (goal.x - self.pose.x) * step / gap, self.pose.y + (goal.y - self.pose.y) * step / gap
                )
                self._drove += step
                self._handle.publish_feedback(feedback)
                return Twist2D(self.speed)
            return Twist2D()
        if time.monotonic() - self._since > 0.4 and request.instruction != "wander":
            error = self.endings.get(request.instruction, ErrorCode.NONE)
            self._end(error, "there" if error is ErrorCode.NONE else f"no: {error.name}")
        else:
            self._handle.publish_feedback(feedback)
        return Twist2D()


@contextmanager
def fake_navigator(namespace: str = "") -> Iterator[FakeNavigator]:
    """The fake navigator, running."""
    navigator = FakeNavigator(namespace)
    try:
        yield navigator
    finally:
        navigator.close()
