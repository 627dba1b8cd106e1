"""The Nav2 bridge as Nav2's clients see it: against a navigator that obeys, by every distribution's messages, and live."""

import sys
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from mm_nav.command import ErrorCode
from mm_nav.errors import ConfigError, GoalError
from mm_nav.geometry import Pose2D
from mm_nav.resources import resource_path
from mm_nav.ros import conversions, goal_client, nav2_messages, qos
from mm_nav.ros.nav2_bridge_node import Nav2BridgeNode
from mm_nav.ros.nav2_messages import FOLLOW_WAYPOINTS, NAVIGATE_THROUGH_POSES, NAVIGATE_TO_POSE, Status, Waypoint
from mm_nav.ros.node_list import NAV2_BRIDGE, SIMULATOR, STACK
from mm_nav.ros.process_group import ProcessGroup, last_words
from mm_nav.ros.topics import topics
from mm_nav.sensing.messages import odometry_from
from mm_nav.sim.committed_worlds import committed_world

sys.path.insert(0, str(Path(__file__).parent))

from fake_navigator import FakeNavigator, fake_navigator

actions = pytest.importorskip("nav2_msgs.action", reason="nav2_msgs is not built (make setup)")
messages = pytest.importorskip("nav2_msgs.msg")
SUCCEEDED, ABORTED, CANCELED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_ABORTED, GoalStatus.STATUS_CANCELED


def pose(x: float, y: float = 0.0, frame: str = "map") -> PoseStamped:
    return conversions.pose_message(Pose2D(x, y), 0, frame)


class Client:
    """What nav2_simple_commander's BasicNavigator and a behaviour tree's action node do: send, look, cancel."""

    def __init__(self, *nodes: rclpy.node.Node) -> None:
        self.node = rclpy.create_node("nav2_client")
        self.executor = SingleThreadedExecutor()
        for node in (*nodes, self.node):
            self.executor.add_node(node)
        self.clients = {
            NAVIGATE_TO_POSE: ActionClient(self.node, actions.NavigateToPose, NAVIGATE_TO_POSE),
            NAVIGATE_THROUGH_POSES: ActionClient(self.node, actions.NavigateThroughPoses, NAVIGATE_THROUGH_POSES),
            FOLLOW_WAYPOINTS: ActionClient(self.node, actions.FollowWaypoints, FOLLOW_WAYPOINTS),
        }
        self.feedback: list[Any] = []

    def spin(self, until: Callable[[], object], seconds: float = 15.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.executor.spin_once(timeout_sec=0.05)
        return bool(until())

    def send(self, *poses: PoseStamped, action: str = NAVIGATE_TO_POSE, **fields: Any) -> Any:
        self.feedback = []
        if action == NAVIGATE_TO_POSE:
            goal = actions.NavigateToPose.Goal(pose=poses[0], **fields)
        elif action == NAVIGATE_THROUGH_POSES:
            goal = actions.NavigateThroughPoses.Goal(**fields)
            goal.poses.goals = list(poses)
        else:
            goal = actions.FollowWaypoints.Goal(poses=list(poses), **fields)
        client, feedback = self.clients[action], self.feedback
        assert self.spin(client.server_is_ready)
        self.spin(lambda: False, 0.5)  # an answer gets lost where the server does not know this client yet
        sent = client.send_goal_async(goal, feedback_callback=lambda m: feedback.append(m.feedback))
        assert self.spin(sent.done)
        return sent.result()

    def result(self, handle: Any) -> tuple[int, Any]:
        future = handle.get_result_async()
        assert self.spin(future.done, 60.0)
        return future.result().status, future.result().result

    def drive(self, *poses: PoseStamped, action: str = NAVIGATE_TO_POSE, **fields: Any) -> tuple[int, Any]:
        return self.result(self.send(*poses, action=action, **fields))


class Bench:
    """The bridge, its client and the navigator behind it. parameters: of the bridge."""

    def __init__(self, navigator: FakeNavigator, **parameters: object) -> None:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.bridge = Nav2BridgeNode(parameter_overrides=overrides)
        self.bridge.start()
        self.client, self.navigator = Client(self.bridge), navigator
        assert self.client.spin(self.bridge._client.server_is_ready)
        assert self.client.spin(lambda: self.bridge._odometry is not None)

    def close(self) -> None:
        self.client.node.destroy_node()
        self.bridge.destroy_node()


@pytest.fixture(scope="module")
def navigator() -> Iterator[FakeNavigator]:
    rclpy.init()
    with fake_navigator() as one:
        yield one
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def shared_bench(navigator: FakeNavigator) -> Iterator[Bench]:
    one = Bench(navigator, stand_in=True, waypoint_pause=0.0)
    yield one
    one.close()


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    navigator = shared_bench.navigator
    navigator.pose, navigator.speed, navigator.wall_x, navigator.mute = Pose2D(), 4.0, 100.0, False
    # A goal of the test before may only now hear that it was canceled.
    assert shared_bench.client.spin(lambda: not navigator.busy)
    navigator.pose = Pose2D()
    navigator.requests.clear()
    navigator.ended.clear()
    shared_bench.client.spin(lambda: shared_bench.bridge._pose.x == 0.0)
    return shared_bench


def asked(bench: Bench) -> list[float]:
    """The x of every pose that the navigator was sent to."""
    return [request.pose.pose.position.x for request in bench.navigator.requests]


def test_a_pose_is_reached_with_feedback(bench: Bench) -> None:
    asked = conversions.pose_message(Pose2D(3.0, 0.0, 1.2), 0, "odom")
    status, result = bench.client.drive(asked, behavior_tree="navigate.xml")
    assert status == SUCCEEDED and result.error_code == 0 and result.error_msg == ""
    assert bench.navigator.requests[0].pose == asked  # frame and heading as they came
    assert bench.navigator.pose.x == 3.0 and bench.navigator.requests[0].timeout == 600.0
    feedback = bench.client.feedback
    left = [f.distance_remaining for f in feedback]
    assert len(left) > 3 and left == sorted(left, reverse=True) and 0.0 < left[-1] < left[0] <= 3.0
    middle = feedback[len(feedback) // 2]
    assert middle.current_pose.header.frame_id == "map" and 0.0 < middle.current_pose.pose.position.x < 3.0
    assert middle.number_of_recoveries == 0
    assert middle.navigation_time.nanosec > 0 and middle.estimated_time_remaining.nanosec > 0


@pytest.mark.parametrize(
    ("poses", "action", "fields", "code", "text"),
    [
        ([pose(1.0, frame="base_link")], NAVIGATE_TO_POSE, {}, 9002, "frame 'base_link': give it in map or odom"),
        ([pose(float("nan"))], NAVIGATE_TO_POSE, {}, 9002, "not finite"),
        ([], NAVIGATE_THROUGH_POSES, {}, 9102, "no poses"),
        ([], FOLLOW_WAYPOINTS, {}, 602, "no poses"),
        ([pose(1.0)], FOLLOW_WAYPOINTS, {"goal_index": 3}, 602, "goal_index is 3"),
    ],
)
def test_goals_that_cannot_be_driven_end_with_a_reason(
    bench: Bench, poses: list[PoseStamped], action: str, fields: dict[str, int], code: int, text: str
) -> None:
    status, result = bench.client.drive(*poses, action=action, **fields)
    assert status == ABORTED and result.error_code == code and text in result.error_msg
    assert not bench.navigator.requests


def test_failures_carry_nav2s_codes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.navigator.wall_x = 2.0
    status, result = bench.client.drive(pose(3.0))
    assert (status, result.error_code, result.error_msg) == (ABORTED, 208, "NO_PATH: no way there")
    monkeypatch.setattr(goal_client, "SILENCE_S", 0.5)
    handle = bench.client.send(pose(-50.0))
    assert bench.client.spin(lambda: bench.client.feedback)
    bench.navigator.mute = True
    status, result = bench.client.result(handle)
    assert status == ABORTED and result.error_code == 9000 and "NAVIGATOR_LOST" in result.error_msg


@pytest.mark.parametrize("action", [NAVIGATE_TO_POSE, NAVIGATE_THROUGH_POSES, FOLLOW_WAYPOINTS])
def test_cancel_stops_the_robot(bench: Bench, action: str) -> None:
    handle = bench.client.send(pose(50.0), action=action)
    assert bench.client.spin(lambda: bench.client.feedback)
    canceling = handle.cancel_goal_async()
    assert bench.client.spin(canceling.done) and len(canceling.result().goals_canceling) == 1
    status, result = bench.client.result(handle)
    assert status == CANCELED and result.error_code == 0
    assert bench.navigator.ended == [ErrorCode.CANCELED] and not bench.navigator.busy


def test_a_new_goal_of_any_action_takes_the_place_of_the_old(bench: Bench) -> None:
    first = bench.client.send(pose(50.0))
    assert bench.client.spin(lambda: bench.navigator.busy)
    second = bench.client.send(pose(60.0), action=FOLLOW_WAYPOINTS)
    status, result = bench.client.result(first)
    assert status == ABORTED and result.error_msg == "a new goal took its place"
    # One that is refused takes nobody's place.
    refused, _ = bench.client.drive(pose(1.0, frame="moon"))
    assert refused == ABORTED and bench.bridge._route is not None
    bench.navigator.pose = Pose2D(59.0)
    assert bench.client.result(second)[0] == SUCCEEDED and bench.navigator.pose.x == 60.0


def test_another_client_of_the_navigator_ends_it(bench: Bench) -> None:
    handle = bench.client.send(pose(50.0), pose(60.0), action=FOLLOW_WAYPOINTS)
    assert bench.client.spin(lambda: bench.navigator.busy)
    other = rclpy.create_node("other")
    client = ActionClient(other, goal_client.NavigateTo, topics().navigate_to)
    bench.client.executor.add_node(other)
    assert bench.client.spin(client.server_is_ready)
    sent = client.send_goal_async(goal_client.goal_message("the red chair"))
    status, result = bench.client.result(handle)
    assert status == ABORTED and result.error_code == 600 and "another client ended the drive" in result.error_msg
    assert bench.client.spin(lambda: sent.done() and not bench.navigator.busy) and len(bench.navigator.requests) == 2
    other.destroy_node()


def test_through_poses_without_stopping_at_them(bench: Bench) -> None:
    status, result = bench.client.drive(pose(1.5), pose(3.0), pose(4.0), action=NAVIGATE_THROUGH_POSES)
    assert status == SUCCEEDED and asked(bench) == [1.5, 3.0, 4.0]
    # Each pose on the way was left before it was reached.
    assert bench.navigator.ended == [ErrorCode.CANCELED, ErrorCode.CANCELED, ErrorCode.NONE]
    assert [s.waypoint_status for s in result.waypoint_statuses] == [Status.COMPLETED] * 3
    first, last = bench.client.feedback[0], bench.client.feedback[-1]
    assert 3.0 < first.distance_remaining <= 4.0 and (
        first.number_of_poses_remaining,
        last.number_of_poses_remaining,
    ) == (3, 1)
    assert [s.waypoint_status for s in first.waypoint_statuses] == [Status.PENDING] * 3
    bench.navigator.wall_x = 5.0
    status, result = bench.client.drive(pose(5.5), pose(6.0), action=NAVIGATE_THROUGH_POSES)
    assert status == ABORTED and result.error_code == 208
    assert [s.waypoint_status for s in result.waypoint_statuses] == [Status.FAILED, Status.PENDING]
    assert result.waypoint_statuses[0].error_msg == "NO_PATH: no way there"


def test_waypoints_are_followed_in_rounds_and_missed_ones_told(bench: Bench) -> None:
    bench.navigator.wall_x = 5.0
    poses = [pose(0.5), pose(9.0), pose(1.0)]
    status, result = bench.client.drive(*poses, action=FOLLOW_WAYPOINTS, number_of_loops=1, goal_index=1)
    assert status == SUCCEEDED and asked(bench) == [9.0, 1.0, 0.5, 9.0, 1.0]
    assert [(m.waypoint_index, m.waypoint_status, m.error_code) for m in result.missed_waypoints] == [(1, 3, 208)] * 2
    assert result.missed_waypoints[0].waypoint_pose == poses[1]
    assert [index for index, _ in groupby(f.current_waypoint for f in bench.client.feedback)] == [2, 0, 2]


def test_waypoints_stop_at_the_first_that_is_missed(navigator: FakeNavigator, bench: Bench) -> None:
    bench.bridge.trigger_deactivate()
    bench.bridge.trigger_cleanup()
    strict = Bench(navigator, stop_on_failure=True)
    try:
        navigator.wall_x = 5.0
        status, result = strict.client.drive(pose(9.0), pose(1.0), action=FOLLOW_WAYPOINTS)
        assert status == ABORTED and result.error_code == 603 and "waypoint 0 was missed: NO_PATH" in result.error_msg
        assert asked(strict) == [9.0]
    finally:
        strict.close()
        bench.bridge.trigger_configure()
        bench.bridge.trigger_activate()


def test_rviz_and_scripts_that_wait_for_nav2(bench: Bench) -> None:
    client, node = bench.client, bench.client.node
    poses: list[PoseWithCovarianceStamped] = []
    node.create_subscription(PoseWithCovarianceStamped, "amcl_pose", poses.append, qos.LATCHED)
    for name in ("nav2_bridge", "bt_navigator", "amcl"):
        states = node.create_client(GetState, f"{name}/get_state")
        assert client.spin(states.service_is_ready)
        answer = states.call_async(GetState.Request())
        assert client.spin(answer.done) and answer.result().current_state.label == "active"
    for name in ("navigation", "localization"):
        active = node.create_client(Trigger, f"lifecycle_manager_{name}/is_active")
        assert client.spin(active.service_is_ready)
        answer = active.call_async(Trigger.Request())
        assert client.spin(answer.done) and answer.result().success
    assert client.spin(lambda: poses) and poses[0].header.frame_id == "map"
    clicks = node.create_publisher(PoseStamped, "goal_pose", 10)
    assert client.spin(lambda: clicks.get_subscription_count())
    clicks.publish(pose(1.25))
    assert client.spin(lambda: bench.navigator.pose.x == 1.25)


def test_lifecycle(bench: Bench) -> None:
    handle = bench.client.send(pose(50.0))
    assert bench.client.spin(lambda: bench.navigator.busy)
    assert bench.bridge.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    status, result = bench.client.result(handle)
    assert status == ABORTED and "deactivated" in result.error_msg
    assert bench.client.spin(lambda: not bench.navigator.busy) and bench.navigator.ended == [ErrorCode.CANCELED]
    assert not bench.client.send(pose(1.0)).accepted
    for _ in range(3):
        for transition in ("cleanup", "configure", "activate", "deactivate"):
            assert getattr(bench.bridge, f"trigger_{transition}")() == TransitionCallbackReturn.SUCCESS
    bench.bridge.trigger_activate()
    assert bench.client.drive(pose(0.5))[0] == SUCCEEDED


def test_without_nav2_msgs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nav2_msgs", None)
    monkeypatch.setitem(sys.modules, "nav2_msgs.action", None)
    with pytest.raises(ConfigError, match="nav2-msgs"):
        nav2_messages.load_actions()


class Fake:
    """A message of another distribution: its fields with their types."""

    FIELDS: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        for name in self.FIELDS:
            setattr(self, name, None)

    def get_fields_and_field_types(self) -> dict[str, str]:
        return self.FIELDS


class MissedWaypoint(Fake):
    FIELDS: ClassVar = {"index": "uint32", "goal": "geometry_msgs/PoseStamped", "error_code": "uint16"}


def test_results_of_every_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def result(**fields: str) -> Any:
        kind = SimpleNamespace(Result=type("Result", (Fake,), {"FIELDS": fields}))
        return nav2_messages.result_message(kind, 208, "no way", [Waypoint(0, pose(1.0), Status.COMPLETED), missed])

    missed = Waypoint(2, pose(3.0), Status.FAILED, 208, "NO_PATH")
    monkeypatch.setattr(messages, "MissedWaypoint", MissedWaypoint, raising=False)
    # Humble
    assert vars(result(result="std_msgs/Empty")) == {"result": None}
    assert result(missed_waypoints="sequence<int32>").missed_waypoints == [2]
    # Jazzy
    jazzy = result(missed_waypoints="sequence<nav2_msgs/MissedWaypoint>", error_code="uint16")
    assert vars(jazzy.missed_waypoints[0]) == {"index": 2, "goal": missed.pose, "error_code": 208}
    assert len(jazzy.missed_waypoints) == 1 and jazzy.error_code == 208 and not hasattr(jazzy, "error_msg")
    # Humble's and Jazzy's poses are a list; before Kilted.
    listed = SimpleNamespace(poses=[pose(1.0), pose(2.0, frame="/odom")])
    assert len(nav2_messages.poses_of(NAVIGATE_THROUGH_POSES, listed, ("map", "odom"))) == 2
    with pytest.raises(GoalError, match="'moon'"):
        nav2_messages.poses_of(FOLLOW_WAYPOINTS, SimpleNamespace(poses=[pose(1.0, frame="moon")]), ("map",))


def test_the_real_stack_is_driven_by_nav2s_actions(tmp_path: Path, navigator: FakeNavigator, bench: Bench) -> None:
    """Simulator, guard, navigator and bridge as processes: through two poses, in a namespace apart from the fake one."""
    bench.bridge.trigger_deactivate()
    bench.bridge.trigger_cleanup()
    navigator.close()
    start = committed_world(resource_path("worlds/apartment.sdf")).start
    given = {"simulator": {"start_x": start.x, "start_y": start.y, "start_yaw": start.yaw, "camera": False}}
    nodes = [SIMULATOR, *(spec for spec in STACK if spec.name != "inference"), NAV2_BRIDGE]
    client = Client()
    truth: list[Pose2D] = []
    client.node.create_subscription(
        Odometry, topics().ground_truth, lambda m: truth.append(odometry_from(m).pose), qos.STATUS
    )
    with ProcessGroup(nodes, tmp_path, given) as group:
        said = {name: last_words(group.log(name)) for name in group.dead()}
        assert client.spin(client.clients[NAVIGATE_TO_POSE].server_is_ready, 60.0), said
        assert client.spin(lambda: truth, 30.0)
        status, result = client.drive(pose(1.5, 1.0), pose(2.5, 1.0), action=NAVIGATE_THROUGH_POSES)
        assert status == SUCCEEDED and truth[-1].distance_to(Pose2D(2.5, 1.0)) < 0.6, result
        assert client.feedback[0].number_of_poses_remaining == 2 and client.feedback[-1].number_of_poses_remaining == 1
        handle = client.send(pose(3.0, -3.0))
        assert client.spin(lambda: client.feedback)
        handle.cancel_goal_async()
        assert client.result(handle)[0] == CANCELED
    client.node.destroy_node()
