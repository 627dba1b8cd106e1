"""Serves Nav2's actions with this stack: navigate_to_pose, navigate_through_poses, follow_waypoints -> navigate_to."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from mm_nav_interfaces.action import NavigateTo
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from std_srvs.srv import Trigger

from mm_nav.command import ErrorCode, Stage
from mm_nav.errors import GoalError
from mm_nav.geometry import Pose2D
from mm_nav.ros import conversions, nav2_messages, qos
from mm_nav.ros.goal_client import FeedbackMessage, Outcome, SentGoal
from mm_nav.ros.map_frame import MapFrame
from mm_nav.ros.nav2_messages import FOLLOW_WAYPOINTS, NAVIGATE_THROUGH_POSES, NAVIGATE_TO_POSE, Status, Waypoint
from mm_nav.ros.parameters import ParameterSpec
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.topics import frames, topics
from mm_nav.sensing.messages import odometry_from, stamp_ns

_TICK_S = 0.05
_NAVIGATOR_S = 5.0  # so long may the navigator take to be found
_SMOOTHING = 0.1  # of the speed, per odometry message
# What will not get better with the next waypoint.
_FINAL = (ErrorCode.SENSOR_LOST, ErrorCode.INFERENCE_LOST, ErrorCode.GUARD_LOST, ErrorCode.NAVIGATOR_LOST)
_STAND_INS = ("bt_navigator", "amcl")
_MANAGERS = ("lifecycle_manager_navigation", "lifecycle_manager_localization")


@dataclass
class Route:
    """A goal of Nav2's that is being driven. due_s: by the steady clock, when the next pose may be sent. poses: as they came;
    targets: in map."""

    action: str
    handle: ServerGoalHandle
    started_ns: int
    due_s: float
    waypoints: list[Waypoint] = field(default_factory=list)
    poses: Sequence[PoseStamped] = ()
    targets: list[Pose2D] = field(default_factory=list)
    index: int = 0
    loops: int = 0
    missed: list[Waypoint] = field(default_factory=list)
    recoveries: int = 0
    stage: str = ""
    sent: SentGoal | None = None
    done: Future = field(default_factory=Future)


class Nav2BridgeNode(StackNode):
    """One goal at a time, of whichever action; a new one takes the place of the one before, which is aborted."""

    PARAMETERS = (
        ParameterSpec("timeout", 600.0, "time for each pose, s; 0 = the navigator's own limit", 0.0, 86400.0),
        ParameterSpec(
            "passing_radius", 0.7, "navigate_through_poses: this near, a pose on the way counts as passed, m; 0 = stop at each",
            0.0, 10.0,
        ),
        ParameterSpec("stop_on_failure", False, "follow_waypoints: give up at the first pose that is missed"),
        ParameterSpec("waypoint_pause", 0.2, "follow_waypoints: time to stand at each pose, s", 0.0, 3600.0),
        ParameterSpec(
            "stand_in", False, "also answer for bt_navigator, amcl and the lifecycle managers, which scripts for Nav2 wait for"
        ),
    )  # fmt: skip

    def __init__(self, **arguments: Any) -> None:
        super().__init__("nav2_bridge", **arguments)
        self._route: Route | None = None
        self._odometry: Odometry | None = None
        self._endpoints: list[ActionServer | ActionClient] = []

    def configure(self) -> None:
        """Create the servers of Nav2's actions and the client of ours. Raises ConfigError without nav2_msgs."""
        self._actions = nav2_messages.load_actions()
        self._odometry = None
        self._pose, self._speed, self._posed_s = Pose2D(), 0.0, -math.inf
        self._client = ActionClient(self, NavigateTo, topics().navigate_to)
        self._own = ActionClient(self, self._actions[NAVIGATE_TO_POSE], NAVIGATE_TO_POSE)
        servers = [
            ActionServer(
                self, kind, name, execute_callback=lambda handle: None, goal_callback=self._consider_goal,
                handle_accepted_callback=partial(self._accept, name), cancel_callback=lambda _: CancelResponse.ACCEPT,
            )
            for name, kind in self._actions.items()
        ]  # fmt: skip
        self._endpoints = [self._client, self._own, *servers]
        self.create_subscription(Odometry, topics().odom, self._receive_odometry, qos.SENSOR)
        self._map_frame = MapFrame(self)
        # RViz's "2D Goal Pose".
        self.create_subscription(PoseStamped, "goal_pose", self._receive_goal_pose, qos.STATUS)
        if self.value("stand_in"):
            self._stand_in()

    def _stand_in(self) -> None:
        self._amcl_pose = self.create_publisher(PoseWithCovarianceStamped, "amcl_pose", qos.LATCHED)
        for name in _STAND_INS:
            self.create_service(GetState, f"{name}/get_state", self._tell_state)
        for name in _MANAGERS:
            self.create_service(Trigger, f"{name}/is_active", self._tell_active)

    def activate(self) -> None:
        """Take goals."""
        self.create_timer(_TICK_S, self._tick, clock=self.steady)

    def deactivate(self) -> None:
        """End the goal and stop the robot."""
        route = self._route
        if route is not None:
            if route.sent is not None:
                route.sent.cancel()
            code = nav2_messages.nav2_code(route.action, ErrorCode.CANCELED)
            self._end(route, "abort", code, "the Nav2 bridge was deactivated")

    def cleanup(self) -> None:
        """Drop the servers and clients of actions."""
        for endpoint in self._endpoints:
            endpoint.destroy()
        self._endpoints = []

    # Goals

    def _consider_goal(self, goal: Any) -> GoalResponse:
        if not self.active:
            self.get_logger().warning("goal refused: the Nav2 bridge is not active")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _accept(self, action: str, handle: ServerGoalHandle) -> None:
        goal = handle.request
        if getattr(goal, "behavior_tree", ""):
            self.get_logger().warning(
                f"behaviour tree '{goal.behavior_tree}' is not used: this stack drives without one"
            )
        route = Route(action, handle, self.get_clock().now().nanoseconds, self.steady_s())
        handle.execute(partial(self._execute, route))
        try:
            route.poses = poses = nav2_messages.poses_of(action, goal, (frames().map, frames().odom))
            route.targets = [self._map_frame.stamped_in_map(pose) for pose in poses]
            for target in route.targets:
                if not all(map(math.isfinite, (target.x, target.y, target.yaw))):
                    raise GoalError(f"the goal pose {target} is not finite: give numbers in metres and radians")
            route.index, route.loops = int(getattr(goal, "goal_index", 0)), int(getattr(goal, "number_of_loops", 0))
            if route.index >= len(poses):
                raise GoalError(f"goal_index is {route.index}, but there are only {len(poses)} poses")
        except GoalError as error:
            # What runs goes on: this goal has never begun.
            self._end(route, "abort", nav2_messages.frame_code(action), str(error))
            return
        route.waypoints = [Waypoint(index, pose) for index, pose in enumerate(poses)]
        if self._route is not None:
            # The navigator lets the new goal take the old one's place without stopping in between.
            old, self._route = self._route, None
            self._end(
                old, "abort", nav2_messages.nav2_code(old.action, ErrorCode.CANCELED), "a new goal took its place"
            )
        self._route = route
        self._tick()

    async def _execute(self, route: Route, handle: ServerGoalHandle) -> Any:
        ending, result = await route.done
        getattr(handle, ending)()
        return result

    def _end(self, route: Route, ending: str, code: int = 0, text: str = "") -> None:
        """Finish a goal. ending: succeed, abort or canceled, the method of its handle."""
        if route is self._route:
            self._route = None
        waypoints = route.missed if route.action == FOLLOW_WAYPOINTS else route.waypoints
        result = nav2_messages.result_message(self._actions[route.action], code, text, waypoints)
        if ending == "abort":
            self.get_logger().warning(f"{route.action} failed ({code}): {text}")
        else:
            self.get_logger().info(f"{route.action}: {text or 'done'}")
        if not route.done.done():
            route.done.set_result((ending, result))

    # Driving

    def _tick(self) -> None:
        route = self._route
        if route is None:
            return
        canceling = route.handle.is_cancel_requested
        if route.sent is None:
            if canceling:
                self._end(route, "canceled", text="canceled")
            elif self.steady_s() >= route.due_s:
                self._send(route)
            return
        if canceling:
            route.sent.cancel()
        elif self._passes(route):
            self._reached(route)
            return
        outcome = route.sent.poll()
        if outcome is None:
            return
        if canceling:
            # However it ended, the robot was asked to stop, and does.
            self._end(route, "canceled", text=outcome.message)
        elif outcome:
            self._reached(route)
        else:
            self._missed(route, outcome)

    def _send(self, route: Route) -> None:
        if not self._client.server_is_ready():
            if self.steady_s() - route.due_s > _NAVIGATOR_S:
                lost = Outcome(
                    ErrorCode.NAVIGATOR_LOST, f"no navigator on {topics().navigate_to}: is the stack running?"
                )
                self._missed(route, lost)
            return
        goal = NavigateTo.Goal(pose=route.poses[route.index], use_pose=True, timeout=float(self.value("timeout")))
        index = route.index
        route.sent = SentGoal(self._client, goal, lambda message: self._follow(route, index, message))

    def _passes(self, route: Route) -> bool:
        if route.action != NAVIGATE_THROUGH_POSES or route.index + 1 >= len(route.targets) or self._odometry is None:
            return False
        return self._pose.distance_to(route.targets[route.index]) < float(self.value("passing_radius"))

    def _reached(self, route: Route) -> None:
        route.waypoints[route.index] = replace(route.waypoints[route.index], status=Status.COMPLETED)
        pause = float(self.value("waypoint_pause")) if route.action == FOLLOW_WAYPOINTS else 0.0
        self._next(route, pause)

    def _missed(self, route: Route, outcome: Outcome) -> None:
        code, text = nav2_messages.nav2_code(route.action, outcome.error), f"{outcome.error.name}: {outcome.message}"
        missed = replace(route.waypoints[route.index], status=Status.FAILED, code=code, text=text)
        route.waypoints[route.index] = missed
        route.missed.append(missed)
        if outcome.error is ErrorCode.CANCELED:
            self._end(route, "abort", code, f"another client ended the drive: {outcome.message}")
        elif route.action != FOLLOW_WAYPOINTS or outcome.error in _FINAL:
            self._end(route, "abort", code, text)
        elif self.value("stop_on_failure"):
            text = f"waypoint {route.index} was missed: {text}"
            self._end(route, "abort", nav2_messages.STOP_ON_MISSED_WAYPOINT, text)
        else:
            self._next(route, 0.0)

    def _next(self, route: Route, pause_s: float) -> None:
        route.index, route.sent = route.index + 1, None
        if route.index >= len(route.targets):
            if route.loops <= 0:
                self._end(route, "succeed")
                return
            route.index, route.loops = 0, route.loops - 1
        route.due_s = self.steady_s() + pause_s
        self._tick()

    # Feedback

    def _follow(self, route: Route, index: int, message: FeedbackMessage) -> None:
        if route is not self._route or index != route.index or not route.handle.is_active:
            return
        if message.stage == Stage.RECOVERING.value and route.stage != message.stage:
            route.recoveries += 1
        route.stage = message.stage
        feedback = self._actions[route.action].Feedback()
        nav2_messages.fill(feedback, current_waypoint=index)
        if route.action != FOLLOW_WAYPOINTS:
            distance = float(message.distance_remaining)
            if math.isnan(distance):
                distance = self._pose.distance_to(route.targets[index])
            rest = route.targets[index:]
            distance += sum(a.distance_to(b) for a, b in pairwise(rest))
            # As Nav2 does it: nothing can be said of a robot that stands.
            left_s = distance / self._speed if self._speed > 0.01 and distance > 0.1 else 0.0
            spent_ns = max(0, self.get_clock().now().nanoseconds - route.started_ns)
            feedback.distance_remaining = distance
            feedback.estimated_time_remaining = _duration(min(left_s, 2e9))
            feedback.navigation_time = _duration(1e-9 * spent_ns)
            feedback.number_of_recoveries = min(route.recoveries, 32767)
            if self._odometry is not None:
                feedback.current_pose = conversions.pose_message(
                    self._pose, stamp_ns(self._odometry.header), frames().map
                )
            nav2_messages.fill(feedback, number_of_poses_remaining=len(rest))
            if hasattr(feedback, "waypoint_statuses"):
                nav2_messages.fill_waypoints(feedback, "waypoint_statuses", route.waypoints)
        route.handle.publish_feedback(feedback)

    def _receive_odometry(self, message: Odometry) -> None:
        odometry = odometry_from(message)
        self._odometry, self._pose = message, self._map_frame.in_map(odometry.pose)
        speed = math.hypot(odometry.twist.linear, odometry.twist.lateral)
        self._speed += _SMOOTHING * (speed - self._speed)
        now = self.steady_s()
        if self.value("stand_in") and self.active and now - self._posed_s >= 1.0:
            self._posed_s = now
            pose = PoseWithCovarianceStamped(pose=message.pose)
            where = conversions.pose_message(self._pose, odometry.stamp_ns, frames().map)
            pose.header, pose.pose.pose = where.header, where.pose
            self._amcl_pose.publish(pose)

    # What else Nav2's tools ask for

    def _receive_goal_pose(self, message: PoseStamped) -> None:
        if self.active:
            self._own.send_goal_async(self._actions[NAVIGATE_TO_POSE].Goal(pose=message))

    def _tell_state(self, request: GetState.Request, response: GetState.Response) -> GetState.Response:
        state = State.PRIMARY_STATE_ACTIVE if self.active else State.PRIMARY_STATE_INACTIVE
        response.current_state = State(id=state, label="active" if self.active else "inactive")
        return response

    def _tell_active(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.active
        return response


def _duration(seconds: float) -> Duration:
    return Duration(sec=int(seconds), nanosec=int((seconds - int(seconds)) * 1e9))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(Nav2BridgeNode, argv)


if __name__ == "__main__":
    sys.exit(main())
