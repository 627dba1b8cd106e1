"""The action server: scan + odometry + policy output -> cmd_vel_nav, plan, map, markers, diagnostics."""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from mm_nav_interfaces.action import NavigateTo
from mm_nav_interfaces.msg import GuardStatus
from mm_nav_interfaces.msg import PolicyGoal as PolicyGoalMessage
from mm_nav_interfaces.msg import PolicyOutput as PolicyOutputMessage
from nav_msgs.msg import Odometry
from rclpy.action.server import ServerGoalHandle
from tf2_msgs.msg import TFMessage

from mm_nav.command import ErrorCode, PolicyOutput, Stage
from mm_nav.errors import GoalError, ModelError, SensorError
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.goal import Goal, PolicyGoal
from mm_nav.language.knowledge import Knowledge
from mm_nav.navigator import Navigator
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.observation import LaserScan, Observation
from mm_nav.robot import load_robot
from mm_nav.ros import conversions, inputs, qos
from mm_nav.ros.goal_server import LOST, GoalServer
from mm_nav.ros.health import HEARTBEAT_S, REPEATED_S, SILENCE, Health, Status
from mm_nav.ros.map_frame import MapFrame
from mm_nav.ros.navigator_views import Views
from mm_nav.ros.obstacles import POINTS, ScanInput
from mm_nav.ros.parameters import ROBOT, ParameterSpec, specs_of
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.tf_buffer import StaticTransforms
from mm_nav.ros.topics import frames, topics
from mm_nav.runtime.manifest import load_manifest
from mm_nav.runtime.policy import OnnxPolicy, default_model
from mm_nav.runtime.stages import Arrivals, StageTimes
from mm_nav.safety.inputs import Level, Problem
from mm_nav.safety.watchdog import Watchdog
from mm_nav.sensing.synchronizer import ObservationSynchronizer, SyncConfig

# What the navigator, which drives by speed and turning rate, makes of other drives.
_UNUSED = {
    "omni": "it is driven like a differential drive, never sideways",
    "ackermann": "turning in place is commanded, which its steering cannot do: goals that need it end as stuck",
}
_KEPT_OUTPUTS = 20
_BLIND_PERIOD_NS = 80_000_000
# A look for silent inputs every so often; one that comes later than ATTENTION_S was kept from it by this node's own work.
_CHECK_S, _ATTENTION_S = 0.02, 0.1
# A step's command is sent again when none has followed for so long: scans may come less often than the guard's command_timeout.
_REPEAT_S = 0.12
# So much longer may a sensor or the guard be silent that has never spoken; the policy: policy_start_s.
_STARTING_S = 5.0
# The navigator's own limits are set from this node's parameters: from which one.
_LIMITS = {"scan_timeout_s": "sensor_timeout", "policy_timeout_s": "inference_timeout"}
_NAVIGATOR = tuple(spec for spec in specs_of(NavigatorConfig()) if spec.name not in _LIMITS)
# Localisation that moves a goal by less does not make the robot plan anew.
_CORRECTED_M, _CORRECTED_RAD = 0.05, 0.05


class NavigatorNode(StackNode):
    """Drives to one goal at a time; a new goal takes the place of the one before."""

    PARAMETERS = (
        ROBOT,
        POINTS,
        SILENCE,
        ParameterSpec("policy_deadline", 0.08, "how long a step waits for its policy output, s of real time", 0.0, 1.0),
        ParameterSpec(
            "sensor_timeout", 1.0, "a goal fails when scan or odometry are silent for this long, s", 0.1, 10.0
        ),
        ParameterSpec("inference_timeout", 1.0, "a goal fails when the policy is silent for this long, s", 0.2, 20.0),
        ParameterSpec("guard_timeout", 1.0, "a goal fails when the guard is silent for this long, s", 0.1, 10.0),
        ParameterSpec("default_timeout", 180.0, "time for a goal that names none, s", 1.0, 86400.0),
        ParameterSpec(
            "model", "", "ONNX model whose manifest says what can be named; empty = the one that comes with mm_nav"
        ),
        ParameterSpec("map_period", 1.0, "time between two maps, s", 0.1, 60.0),
        ParameterSpec(
            "localization",
            False,
            "map -> odom comes from elsewhere (AMCL, SLAM): goal poses in map are taken to odom by it, and follow it",
        ),
        *_NAVIGATOR,
    )

    def __init__(self) -> None:
        super().__init__("navigator")
        self._goals: GoalServer | None = None

    def configure(self) -> None:
        """Create the navigator, publishers, subscriptions and the action server."""
        values = {spec.name: self.value(spec.name) for spec in _NAVIGATOR}
        values |= {limit: self.value(name) for limit, name in _LIMITS.items()}
        model = str(self.value("model"))
        categories: tuple[str, ...] = ()
        try:
            categories = load_manifest(FilePath(model) if model else default_model())[0].categories
        except ModelError as error:
            self.get_logger().warning(
                f"which words the model knows cannot be read, so all are taken to be known: {error}"
            )
        robot = load_robot(str(self.value("robot")))
        if robot.drive in _UNUSED:
            self.get_logger().warning(f"robot '{robot.name}' is {robot.drive}: {_UNUSED[robot.drive]}")
        # What the inference node's policy can do; it is asked over topics.
        pictures = bool(getattr(OnnxPolicy, "image_goals", False))
        self.navigator = Navigator(
            robot, replace(NavigatorConfig(), **values), self._policy_output, Knowledge(categories), pictures
        )
        self._sync = ObservationSynchronizer(SyncConfig(triggers=("scan",), expect_images=False))
        self._outputs: dict[tuple[int, str], PolicyOutput] = {}
        self._waiting: deque[tuple[Observation, float]] = deque(maxlen=3)
        self._driven = 0.0
        self._newest: TwistStamped | None = None  # command of the last step, while it counts
        self._stepped_s = self._commanded_s = 0.0
        self._last_pose: Pose2D | None = None
        self._goal_pose: PoseStamped | None = None
        self._sent_goal_id = ""
        self._ever: set[str] = set()  # what has been heard since
        self._blind_time_s, self._ticked_ns = float(self.value("blind_time_s")), 0
        self._stages, self._arrivals = StageTimes(), Arrivals()
        t = topics()
        self._command = self.create_publisher(TwistStamped, t.cmd_vel_nav, qos.COMMAND)
        localized = bool(self.value("localization"))
        self._map_frame = MapFrame(self, listens=localized)
        self._views = Views(self, frames().odom if localized else frames().map)
        self._policy_goal = self.create_publisher(PolicyGoalMessage, t.policy_goal, qos.LATCHED)
        self._tf_static = self.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        self._health = Health(self, robot.name)
        self.create_subscription(Odometry, t.odom, self._odometry, qos.ODOMETRY_HEARD)
        ScanInput(self, StaticTransforms(self), self._health, robot, self._scan)
        self.create_subscription(PolicyOutputMessage, t.policy, self._policy, qos.STATUS)
        self.create_subscription(GuardStatus, t.guard_status, self._guard, qos.STATUS)
        self.create_subscription(DiagnosticArray, t.diagnostics, self._diagnostics, qos.STATUS)
        if self._goals is not None:
            self._goals.destroy()
        self._goals = GoalServer(self, self._accept)

    def activate(self) -> None:
        """Start timers; without localisation the map frame is the odom frame."""
        limit = float(self.value("silence"))
        self._waiting.clear()
        self._watchdog = Watchdog({}, self.steady_s())
        self._inference: dict[str, str] = {}
        if not self.value("localization"):
            identity = conversions.transform_message(np.eye(4), 0, frames().map, frames().odom)
            self._tf_static.publish(TFMessage(transforms=[identity]))
        self.create_timer(_CHECK_S, self._check, clock=self.steady)
        self.create_timer(0.2, self._send_feedback, clock=self.steady)
        self.create_timer(float(self.value("map_period")), self._show_map, clock=self.steady)
        watched = (
            inputs.scan(self, limit, Level.ERROR), inputs.odometry(self, limit), inputs.guard(self, limit),
            inputs.inference(self, limit + HEARTBEAT_S), inputs.policy(self, limit),
        )  # fmt: skip
        self._health.start(watched, self._report, self._problems, on_change=self._send_feedback)

    def deactivate(self) -> None:
        """End the goal and stop the robot."""
        self.navigator.cancel()
        self._end(ErrorCode.CANCELED, "the navigator was deactivated")
        self._health.stop()

    def cleanup(self) -> None:
        """Drop the action server; who waits for a goal that has just ended gets its result before."""
        if self._goals is not None:
            self._goals.retire()

    # Goals

    def _accept(self, handle: ServerGoalHandle) -> None:
        goals = self._goals
        assert goals is not None
        if goals.busy:
            # The robot drives on until the new goal's first step.
            self.navigator.cancel()
            self._finish(ErrorCode.CANCELED, "a new goal took its place")
        self._goal_started_s = now = self.steady_s()
        self._driven, self._last_pose = 0.0, None
        goals.begin(handle)
        if not self.active:
            self._end(ErrorCode.CANCELED, "the navigator was deactivated")
            return
        request = handle.request
        try:
            timeout = float(request.timeout) if request.timeout != 0 else float(self.value("default_timeout"))
            pose = self._map_frame.goal_in_odom(request.pose) if request.use_pose else None
            image = conversions.picture_from(request.image) if request.use_image else None
            facing = bool(request.use_pose) and conversions.has_heading(request.pose)
            self.navigator.set_goal(Goal(request.instruction, pose, image, timeout, facing=facing))
            self._goal_pose = request.pose if request.use_pose else None
        except (GoalError, SensorError) as error:
            self._end(ErrorCode.INVALID_GOAL, str(error))
            return
        if self.navigator.refusal:
            refusal = self.navigator.refusal
            self.navigator.cancel()
            self._end(ErrorCode.UNKNOWN_TARGET, refusal)
            return
        limits = {
            "scan": max(float(self.value("sensor_timeout")), self._blind_time_s),
            "odom": float(self.value("sensor_timeout")),
            "guard_status": float(self.value("guard_timeout")),
        }
        if self.navigator.needs_policy:
            limits["policy"] = float(self.value("inference_timeout"))
        # A little grace at the start: the network is asked only from now on.
        # What has not spoken yet may be starting still.
        starting = {**dict.fromkeys(limits, _STARTING_S), "policy": float(self.value("policy_start_s"))}
        grace = {name: starting[name] for name in limits.keys() - self._ever}
        self._watchdog = Watchdog(limits, now + 0.5, _ATTENTION_S, grace)
        self._announce()

    def _end(self, error: ErrorCode, message: str) -> None:
        """Stop the robot and finish the action, if there is one; the navigator has stopped working on it already."""
        self._stop()
        self._announce()
        self._watchdog = Watchdog({}, self.steady_s())
        self._finish(error, message)

    def _finish(self, error: ErrorCode, message: str) -> None:
        if self._goals is None or not self._goals.busy:
            return
        # What else was wrong may be why: a thing is not found without a camera.
        if error not in (ErrorCode.NONE, ErrorCode.CANCELED):
            message = "; ".join(dict.fromkeys([message, *(p.text for p in self._health.problems)]))
        result = NavigateTo.Result(error_code=int(error), message=message, distance=float(self._driven))
        result.time = float(self.steady_s() - self._goal_started_s)
        self.get_logger().info(f"goal ended: {error.name}: {message}")
        self._goals.end(result)

    def _announce(self) -> None:
        """Tell the inference node what to look for, when that has changed."""
        goal = self.navigator.policy_goal
        if (goal.id if goal is not None else "") != self._sent_goal_id:
            self._sent_goal_id = goal.id if goal is not None else ""
            self._outputs.clear()
            self._policy_goal.publish(conversions.policy_goal_message(goal))

    # Sensors

    def _odometry(self, message: Odometry) -> None:
        try:
            odometry = inputs.finite_odometry(message)
        except SensorError as error:
            self._health.refused("odom", str(error))
            return
        if self._last_pose is not None:
            self._driven += odometry.pose.distance_to(self._last_pose)
        self._last_pose = odometry.pose
        self._heard("odom")
        self._consider(self._sync.push_odometry(odometry))
        if self.navigator.policy_goal is None:
            self._act_blind(odometry.stamp_ns)

    def _scan(self, scan: LaserScan) -> None:
        self._heard("scan")
        self._arrivals.note(scan.stamp_ns, self.steady_s())
        self._consider(self._sync.push_scan(scan))

    def _guard(self, message: GuardStatus) -> None:
        self._heard("guard_status")

    def _diagnostics(self, message: DiagnosticArray) -> None:
        """Hear what the inference node says of itself and of the camera."""
        namespace = self.get_namespace().rstrip("/")
        told = conversions.problems_of(message, f"{namespace}/inference")
        if told is not None:
            self._inference = told
            self._heard("inference")

    def _policy(self, message: PolicyOutputMessage) -> None:
        output = conversions.policy_from(message)
        self._heard("policy")
        self._outputs[(output.stamp_ns, output.goal_id)] = output
        while len(self._outputs) > _KEPT_OUTPUTS:
            del self._outputs[next(iter(self._outputs))]
        self._act_blind(output.stamp_ns)
        self._work()

    def _act_blind(self, stamp_ns: int) -> None:
        """Where it may drive without scans, act on the policy's answers to pictures then, or on odometry when nothing is asked."""
        if self._blind_time_s > 0.0 and abs(stamp_ns - self._ticked_ns) >= _BLIND_PERIOD_NS:
            observations = self._sync.push_tick(stamp_ns)
            if observations:
                self._ticked_ns = stamp_ns
                self._consider(observations)

    def _heard(self, name: str) -> None:
        self._ever.add(name)
        self._excuse(name)

    def _excuse(self, name: str) -> None:
        """Count silence from now on."""
        self._health.heard(name)
        if self._busy and name in self._watchdog.names:
            self._watchdog.heard(name, self.steady_s())

    def _policy_output(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput | None:
        return self._outputs.get((observation.stamp_ns, goal.id))

    def _consider(self, observations: list[Observation]) -> None:
        deadline = self.steady_s() + float(self.value("policy_deadline"))
        self._waiting.extend((observation, deadline) for observation in observations)
        self._work()

    @property
    def _busy(self) -> bool:
        return self._goals is not None and self._goals.busy

    @property
    def _cancel_requested(self) -> bool:
        return self._goals is not None and self._goals.cancel_requested

    # The loop

    def _work(self) -> None:
        """Step the navigator through the observations whose policy output has come or is overdue."""
        while self._waiting:
            observation, deadline = self._waiting[0]
            goal = self.navigator.policy_goal
            missing = goal is not None and (observation.stamp_ns, goal.id) not in self._outputs
            if missing and self.steady_s() < deadline:
                return
            self._waiting.popleft()
            if self.active:
                self._step(observation)

    def _step(self, observation: Observation) -> None:
        had_goal = self._busy
        if self._cancel_requested:
            self.navigator.cancel()
            self._end(ErrorCode.CANCELED, "canceled")
            return
        started = self.steady_s()
        self._correct_goal()
        try:
            command = self.navigator.step(observation)
        except Exception:
            # A fault in the loop must end as a stopped robot and a failed goal, not as a vanished node.
            self.get_logger().error(f"the navigator's step failed:\n{traceback.format_exc()}")
            self.navigator.cancel()
            if had_goal:
                self._end(ErrorCode.INTERNAL, "the navigator's step failed; its log has the traceback")
            return
        if not had_goal:
            return
        self._newest = conversions.twist_message(command.twist, command.stamp_ns, frames().base)
        self._command.publish(self._newest)
        self._stepped_s = self._commanded_s = now = self.steady_s()
        took = self._arrivals.since_ms(command.stamp_ns, now, last=True)
        if took is not None:
            self._stages.note(planning=1e3 * (now - started), scan_to_command=took)
        if command.stage in (Stage.SUCCEEDED, Stage.FAILED) and not self.navigator.active:
            self._end(command.error, command.message)
            return
        self._announce()
        self._views.show(self.navigator, command.stamp_ns)

    def _correct_goal(self) -> None:
        """A goal in map lies elsewhere in odom when localisation has moved odom."""
        before = self.navigator.goal_pose
        if before is None or self._goal_pose is None:
            return
        pose = self._map_frame.goal_in_odom(self._goal_pose)
        if before.distance_to(pose) > _CORRECTED_M or abs(wrap_angle(before.yaw - pose.yaw)) > _CORRECTED_RAD:
            self.navigator.move_goal(pose)

    def _check(self) -> None:
        """By the steady clock: overdue steps, dead inputs, cancel requests while no scan comes."""
        if not self.active:
            return
        self._work()
        self._repeat()
        if not self._busy:
            # Nothing is asked of the policy then, and its silence means nothing.
            self._health.heard("policy")
            return
        if self._cancel_requested:
            self.navigator.cancel()
            self._end(ErrorCode.CANCELED, "canceled")
            return
        if self.navigator.policy_goal is None:
            # A motion asks the policy nothing; its silence counts from the next phrase on.
            self._excuse("policy")
        silent = self._watchdog.silent(self.steady_s())
        if silent:
            self.navigator.cancel()
            self._end(LOST[silent[0]], self._health.silence(silent[0]))

    def _repeat(self) -> None:
        now = self.steady_s()
        if self._newest is None or now - self._commanded_s < _REPEAT_S or now - self._stepped_s > REPEATED_S:
            return
        self._commanded_s = now
        self._command.publish(self._newest)

    def _stop(self) -> None:
        self._newest = None
        now = self.get_clock().now().nanoseconds
        self._command.publish(conversions.twist_message(Twist2D(), now, frames().base))

    # Reports

    def _send_feedback(self) -> None:
        if self._goals is None or not self._goals.busy:
            return
        now, latency = self.get_clock().now().nanoseconds, self._stages.newest("scan_to_command")
        feedback = self._views.feedback(self.navigator.progress, latency, self._health.problems, now)
        self._goals.tell(feedback)

    def _show_map(self) -> None:
        if self.active:  # a timer that was due when it was destroyed may still come
            self._views.map(self.navigator, self.get_clock().now().nanoseconds)

    def _report(self) -> Status:
        return self.navigator.progress.stage.value, self._stages.report()

    def _problems(self) -> tuple[Problem, ...]:
        # While it is silent, what it said last is old; what it shares with this node, this node sees itself.
        if any(problem.name == "inference" for problem in self._health.problems):
            return ()
        return tuple(
            Problem(f"inference: {name}", Level.WARN, text)
            for name, text in self._inference.items()
            if name not in ("scan", "odom", "clock")
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(NavigatorNode, argv)


if __name__ == "__main__":
    sys.exit(main())
