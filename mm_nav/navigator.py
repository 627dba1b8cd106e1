"""The whole stack without ROS: observations in, commands out. Nodes, simulator episodes and bag replay drive this object.

All time comes from the observations' stamps and all randomness from seeds, so that the same inputs give the same commands.
The map frame is the odom frame.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mm_nav.command import Command, ErrorCode, PolicyOutput, Progress, Stage
from mm_nav.control.mppi import Mppi, ObstacleField
from mm_nav.errors import GoalError
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.goal import Goal, PolicyGoal
from mm_nav.language import Step, parse_instruction
from mm_nav.language.knowledge import Knowledge
from mm_nav.mapping.belief import Hypothesis
from mm_nav.mapping.coverage import CameraCoverage
from mm_nav.mapping.expected_scan import expected_scan
from mm_nav.mapping.occupancy_grid import OccupancyGrid
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_motion import Drive, MotionRunner
from mm_nav.navigator_recovery import Recovery
from mm_nav.navigator_state import GoalState, Outcome, StepState
from mm_nav.navigator_targets import StepTargets, Target
from mm_nav.observation import Observation
from mm_nav.planning.exploration import Viewpoint, closer_look, find_viewpoints, stay_with
from mm_nav.planning.grid_planner import GridPlanner
from mm_nav.robot import RobotConfig
from mm_nav.runtime.policy import PolicySource

Path = npt.NDArray[np.float64]
_NO_PATH: Path = np.empty((0, 2))


class Navigator:
    """Drives to one goal at a time.

    policy: called once per step while words are to be grounded; None for poses and motions only. knowledge: which words can
    be grounded at all; None = what the policy says of itself, else all that mm_nav.language has words for. Not thread-safe.
    """

    def __init__(
        self,
        robot: RobotConfig,
        config: NavigatorConfig | None = None,
        policy: PolicySource | None = None,
        knowledge: Knowledge | None = None,
    ) -> None:
        self.robot, self.config, self.policy = robot, config or NavigatorConfig(), policy
        self.grid = OccupancyGrid()
        self.coverage = CameraCoverage(self.grid, self.config.camera_range_m)
        self.targets = StepTargets(self.config.belief)
        self.planner = GridPlanner(robot, self.config.planner)
        self.controller = Mppi(robot, self.config.mppi)
        self.recovery = Recovery(robot, self.config.stuck_time_s)
        self.motion = MotionRunner(robot, self.grid, self.planner, self.controller, self.config.replan_period_s)
        self.plan: Path = _NO_PATH
        self.progress = Progress(Stage.IDLE)
        self.last_policy_output: PolicyOutput | None = None
        own = getattr(policy, "knowledge", None)
        self.knowledge = knowledge or (own if isinstance(own, Knowledge) else Knowledge())
        self._fov = self.config.default_fov_rad
        self._goal: Goal | None = None
        self._steps: tuple[Step, ...] = ()
        self._index = 0
        self._run, self._leg = GoalState(), StepState()

    @property
    def policy_goal(self) -> PolicyGoal | None:
        """What the policy is to look for now: the target's phrase and those it is told apart by; None = nothing to ground."""
        if self._goal is None or self.refusal or not self.targets.phrases:
            return None
        phrase, *others = (self.knowledge.canonical(phrase) for phrase in self.targets.phrases)
        return PolicyGoal(f"{self._goal.id}/{self._index}", phrase, None, self._goal.image, tuple(others))

    @property
    def refusal(self) -> str:
        """Why the words of the goal cannot be followed, so that the next step ends it; "" when they can."""
        return self._run.refusal

    @property
    def needs_policy(self) -> bool:
        """Whether any step of the goal asks the policy."""
        return any(step.phrase for step in self._steps)

    @property
    def active(self) -> bool:
        """Whether a goal is being worked on."""
        return self._goal is not None

    def set_goal(self, goal: Goal) -> None:
        """Start on a goal; one under way is dropped. Raises GoalError when it cannot be followed.

        A goal whose words name nothing known ends at the next step, with UNKNOWN_TARGET.
        """
        steps = parse_instruction(goal.instruction) if goal.instruction.strip() else ()
        if not steps and goal.pose is None:
            raise GoalError("goals that are only a picture are not supported yet: add an instruction or a pose")
        if any(step.phrase for step in steps) and self.policy is None:
            raise GoalError("no policy is loaded, so instructions cannot be followed: load a model, or give a pose")
        self._goal, self._steps, self._index = goal, steps, 0
        self.controller.reset()
        self._run = GoalState(refusal=self._refusal(steps))
        self._enter_step(None)

    def cancel(self) -> None:
        """Drop the goal; the next commands are stops."""
        self._end(Stage.FAILED, ErrorCode.CANCELED, "canceled")

    def step(self, observation: Observation) -> Command:
        """Return the command for one observation."""
        now, pose = observation.stamp_ns * 1e-9, observation.odometry.pose
        self._sense(observation)
        if self._goal is None:
            return Command(observation.stamp_ns, Twist2D(), self.progress.stage)
        if self._run.refusal:
            return self._finish(observation, (Stage.FAILED, ErrorCode.UNKNOWN_TARGET, self._run.refusal), ())
        if self._run.started is None:
            self._run.started = self._run.last_scan = self._run.last_policy = now
            self._run.heard_at = pose
            self.targets.hear(pose, self._fov, here=True)
        degraded = () if observation.scan is not None else ("scan",)
        if observation.scan is not None:
            self._run.last_scan, self._run.had_scan = now, True
        failure = self._failure(now)
        if failure is not None:
            return self._finish(observation, failure, degraded)
        self._run.blind = observation.scan is None
        if self._run.blind and not self._may_drive_blind(now):
            return Command(observation.stamp_ns, Twist2D(), self.progress.stage, degraded=degraded)

        output = self._consult(observation, now)
        if self.policy_goal is not None and output is None:
            degraded = (*degraded, "policy")
        elif output is not None and output.heatmap is None:
            degraded = (*degraded, "image")
        hold = self.policy_goal is not None and now - self._run.last_policy > self.config.policy_slow_s
        self._run.driving = False
        twist = self._behave(now, pose, observation, output)
        if twist is None:
            return self._finish(observation, self._run.outcome, degraded)
        twist = Twist2D() if hold else twist
        # Standing before a way that nothing fits through is being stuck, too.
        idle = abs(twist.linear) < 0.02 and abs(twist.angular) < 0.3
        wanted = Twist2D(0.1) if self._run.driving and idle else twist
        if not hold and not self.recovery.active and self.recovery.watch(now, pose, wanted):
            self._leg.blocked.append(self._run.aim if self._run.aim is not None else np.array([pose.x, pose.y]))
            self._leg.next_plan = now
            self._leg.viewpoint = None
        return Command(observation.stamp_ns, twist, self.progress.stage, degraded=degraded)

    # Sensing

    def _sense(self, observation: Observation) -> None:
        pose = observation.odometry.pose
        if observation.scan is not None:
            self.grid.update(observation.scan, pose)
            self.grid.clear_footprint(pose.transform(self.robot.footprint_array()))

    def _may_drive_blind(self, now: float) -> bool:
        """Whether the map may stand in for the LiDAR: for a while, after scans have made one."""
        last = self._run.last_scan
        return self._run.had_scan and now - last <= self.config.blind_time_s

    def _consult(self, observation: Observation, now: float) -> PolicyOutput | None:
        goal = self.policy_goal
        if goal is None or self.policy is None:
            return None
        output = self.policy(observation, goal)
        self.last_policy_output = output
        if output is None:
            return None
        self._run.last_policy = now
        # The policy's node has the camera, this one need not: a heat map tells that there was a picture.
        if output.heatmap is not None:
            self._run.saw_camera = True
            self._fov = _field_of_view(output)
            pose = observation.odometry.pose
            # The LiDAR's view bounds the camera's; without one, what the map expects of it.
            scan = observation.scan or expected_scan(self.grid, pose, observation.stamp_ns)
            self.coverage.update(pose, scan, self._fov)
            self.targets.update(output, pose, self.grid, self._fov)
        return output

    def _failure(self, now: float) -> Outcome | None:
        assert self._goal is not None and self._run.started is not None
        if now - self._run.started > self._goal.timeout_s:
            return Stage.FAILED, ErrorCode.TIMEOUT, f"not reached within {self._goal.timeout_s:.0f} s"
        if now - self._run.last_scan > max(self.config.scan_timeout_s, self.config.blind_time_s):
            return Stage.FAILED, ErrorCode.SENSOR_LOST, f"no scan for {now - self._run.last_scan:.1f} s"
        if self.policy_goal is not None and now - self._run.last_policy > self.config.policy_timeout_s:
            return Stage.FAILED, ErrorCode.INFERENCE_LOST, f"no policy output for {now - self._run.last_policy:.1f} s"
        if self.recovery.count > self.config.max_recoveries:
            return Stage.FAILED, ErrorCode.STUCK, f"still stuck after {self.recovery.count - 1} recoveries"
        return None

    # Behaviour: each returns the twist to drive, or None when the goal has ended (self._run.outcome says how).

    def _behave(
        self, now: float, pose: Pose2D, observation: Observation, output: PolicyOutput | None
    ) -> Twist2D | None:
        if self.recovery.active and (twist := self.recovery.command(now)) is not None:
            self._report(Stage.RECOVERING)
            return twist
        if self._index >= len(self._steps):
            return self._follow_pose(now, pose, observation)
        if not self._steps[self._index].phrase:
            return self._move(now, pose, observation)
        target = self.targets.best(now, self.grid)
        threshold = self.config.drop_confidence if self._leg.approaching else self.config.commit_confidence
        if target is not None and target.confidence >= threshold and not self.targets.headings:
            if not self._leg.approaching:
                self._leg.approaching, self._leg.next_plan, self._leg.arrived_at = True, now, None
            return self._approach(now, pose, observation, target, output)
        if self._leg.approaching:
            self._leg.approaching, self._leg.next_plan, self._leg.viewpoint = False, now, None
        return self._search(now, pose, observation, target)

    def _move(self, now: float, pose: Pose2D, observation: Observation) -> Twist2D | None:
        """A step that names no thing."""
        result = self.motion.run(self._steps[self._index], now, observation, self._driver(pose, observation))
        self.plan = _NO_PATH if result.path is None else result.path
        self._run.aim = None if result.path is None else result.path[-1]
        self._report(Stage.MOVING, distance=result.left)
        if result.failed is not None:
            self._run.outcome = (Stage.FAILED, *result.failed)
            return None
        return self._next_step(observation, result.done) if result.done else result.twist

    def _follow_pose(self, now: float, pose: Pose2D, observation: Observation) -> Twist2D | None:
        assert self._goal is not None and self._goal.pose is not None
        goal = self._goal.pose
        left = pose.distance_to(goal)
        if left <= self.config.pose_tolerance_m:
            self._report(Stage.FOLLOWING, distance=left, target=goal, confidence=1.0)
            return self._settle(observation, f"reached the pose, {left:.2f} m away")
        if now >= self._leg.next_plan:
            self._leg.next_plan = now + self.config.replan_period_s
            self.planner.update(self.grid, pose)
            plan = self.planner.path_to(goal.x, goal.y)
            if plan is None:
                plan = self.planner.approach(np.array([goal.x, goal.y]), self.config.pose_tolerance_m, self.grid)
            if plan is None:
                self._leg.no_path += 1
                if self._leg.no_path >= 5:
                    self._run.outcome = (Stage.FAILED, ErrorCode.NO_PATH, "no way to the goal pose")
                    return None
                return Twist2D()
            self._leg.no_path = 0
            self.plan = plan
            self._run.aim = np.array([goal.x, goal.y])
        self._report(Stage.FOLLOWING, distance=max(left, _length_left(self.plan, pose)), target=goal, confidence=1.0)
        return self._drive(pose, observation, None) if len(self.plan) else Twist2D()

    def _approach(
        self, now: float, pose: Pose2D, observation: Observation, found: Target, output: PolicyOutput | None
    ) -> Twist2D | None:
        c, target = self.config, found.hypothesis
        step = self._steps[self._index]
        left = math.hypot(target.x - pose.x, target.y - pose.y)
        bearing = wrap_angle(math.atan2(target.y - pose.y, target.x - pose.x) - pose.yaw)
        place = Pose2D(target.x, target.y)
        self._report(Stage.APPROACHING, distance=left, target=place, confidence=found.confidence)
        sight = self.grid.line_of_sight(np.array([pose.x, pose.y]), target.point, skip=0.35)
        if step.kind == "pass" and left <= c.pass_distance_m and sight:
            return self._next_step(observation, f"passed {step.phrase}")
        at_end = len(self.plan) > 0 and math.hypot(*(self.plan[-1] - (pose.x, pose.y))) < 0.15
        if sight and (left <= c.stop_distance_m or (at_end and left <= c.reach_distance_m + 0.1)):
            return self._confirm(now, bearing, left, observation, target, output)
        self._leg.arrived_at = None
        if (
            now >= self._leg.next_plan
            or len(self.plan) == 0
            or np.hypot(*(self._run.planned_for - target.point)) > 0.25
        ):
            self._leg.next_plan = now + c.replan_period_s
            self._run.planned_for = target.point
            self._run.aim = target.point
            self.planner.update(self.grid, pose)
            plan = self.planner.approach(target.point, c.stop_distance_m - 0.05, self.grid)
            if plan is None:
                plan = self.planner.approach(target.point, c.reach_distance_m - 0.05, self.grid)
            if plan is None:
                # What is out of reach may be a wrong guess; believing it less leads back to searching.
                self.targets.belief.penalise(target.point, 0.7)
                return Twist2D()
            self.plan = plan
        waypoints = output if output is not None and output.visible >= 0.5 else None
        return self._drive(pose, observation, waypoints)

    def _confirm(
        self,
        now: float,
        bearing: float,
        left: float,
        observation: Observation,
        target: Hypothesis,
        output: PolicyOutput | None,
    ) -> Twist2D | None:
        """Stand before the target, face it, and look twice before saying so."""
        if self._leg.arrived_at is None:
            self._leg.arrived_at, self._run.confirmations = now, 0
        if abs(bearing) > 0.3:
            if now - self._leg.arrived_at > 4 * self.config.confirm_timeout_s:
                self.targets.belief.reject(target.point)
            return self.controller.turn(bearing)
        if output is not None and output.visible >= self.config.confirm_visible:
            self._run.confirmations += 1
        if output is not None and output.heatmap is None and target.views >= self.config.confirm_views:
            # The camera is gone: what was seen before has to do.
            self._run.confirmations += 1
        if self._run.confirmations >= self.config.confirm_views:
            return self._next_step(observation, f"reached {self._steps[self._index].phrase}, {left:.2f} m away")
        if now - self._leg.arrived_at > self.config.confirm_timeout_s + 2.0:
            self.targets.belief.reject(target.point)
            self._leg.arrived_at = None
        return Twist2D()

    def _search(self, now: float, pose: Pose2D, observation: Observation, target: Target | None) -> Twist2D | None:
        confidence = target.confidence if target is not None else 0.0
        self._report(Stage.SEARCHING, distance=math.nan, target=None, confidence=confidence)
        if self.targets.headings:
            turn = wrap_angle(self.targets.headings[0] - pose.yaw)
            if abs(turn) < 0.1:
                self.targets.headings.pop(0)
            return self.controller.turn(turn)
        if self._steps[self._index].kind == "follow" and not self._leg.at_corridor_end:
            result = self.motion.run(self._steps[self._index], now, observation, self._driver(pose, observation))
            if not result.done:
                self.plan = _NO_PATH if result.path is None else result.path
                return result.twist
            self._leg.at_corridor_end = True
        view = self._leg.viewpoint
        done = view is not None and view.is_done(pose)
        if now >= self._leg.next_plan or view is None or done:
            if view is not None and view.look and done:
                self._leg.looked.append(view.point)
            self._leg.next_plan = now + self.config.replan_period_s
            # Without scans nothing unknown can become known: it is neither crossed nor looked for.
            self.planner.update(self.grid, pose, allow_unknown=not self._run.blind)
            doubt = self.targets.to_look_at(self.config.look_confidence, self.config.commit_confidence)
            view = closer_look(*doubt, pose, self.grid, self.planner, self._leg.blocked) if doubt is not None else None
            if view is None:
                coverage = self.coverage if self._run.saw_camera else None
                views = find_viewpoints(
                    self.grid, coverage, self.planner, pose, self._leg.blocked, self._leg.looked, self.targets.hints()
                )
                view = stay_with(self._leg.viewpoint, views)
            if view is None:
                return self._nothing_left(now)
            self._leg.viewpoint, self._run.aim = view, view.point
            self.plan = _NO_PATH if view.look else self._path_or_none(view)
        if view.look:
            turn = wrap_angle(math.atan2(view.point[1] - pose.y, view.point[0] - pose.x) - pose.yaw)
            return self.controller.turn(turn)
        if len(self.plan) == 0:
            self._leg.blocked.append(view.point)
            self._leg.viewpoint = None
            return Twist2D()
        return self._drive(pose, observation, None)

    def _path_or_none(self, view: Viewpoint) -> Path:
        path = self.planner.path_to(float(view.point[0]), float(view.point[1]))
        return _NO_PATH if path is None else path

    def _nothing_left(self, now: float) -> Twist2D | None:
        """Everything was looked at: take what comes nearest to the words, else look once more, then say so."""
        if self.targets.settle():
            return Twist2D()
        if self._leg.rounds >= 1:
            phrase = self._steps[self._index].phrase
            self._run.outcome = (Stage.FAILED, ErrorCode.TARGET_NOT_FOUND, f"looked everywhere, did not find {phrase}")
            return None
        self._leg.rounds += 1
        self._leg.blocked.clear()
        self._leg.looked.clear()
        self.targets.forgive()
        self.coverage.reset()
        self._leg.viewpoint, self._leg.next_plan = None, now
        return Twist2D()

    # Driving

    def _driver(self, pose: Pose2D, observation: Observation) -> Drive:
        def drive(path: Path) -> Twist2D:
            self.plan = path
            return self._drive(pose, observation, None)

        return drive

    def _drive(self, pose: Pose2D, observation: Observation, output: PolicyOutput | None) -> Twist2D:
        points = self.grid.to_points(np.argwhere(self.grid.occupied()))
        if observation.scan is not None:
            points = np.concatenate([points, pose.transform(observation.scan.points())])
        field = ObstacleField(pose, points)
        waypoints = output.waypoints.astype(np.float64) if output is not None else None
        self._run.driving = _length_left(self.plan, pose) > 0.3
        return self.controller.command(pose, observation.odometry.twist, self.plan, field, waypoints)

    def _settle(self, observation: Observation, message: str) -> Twist2D | None:
        """Stop first; the goal is reached once the robot stands."""
        twist = observation.odometry.twist
        if abs(twist.linear) > 0.03 or abs(twist.angular) > 0.1:
            return Twist2D()
        self._run.outcome = (Stage.SUCCEEDED, ErrorCode.NONE, message)
        return None

    def _next_step(self, observation: Observation, message: str) -> Twist2D | None:
        last = self._index + 1 >= len(self._steps)
        assert self._goal is not None
        if last and self._goal.pose is None:
            return self._settle(observation, message)
        self._index += 1
        self._enter_step(observation)
        return Twist2D()

    def _enter_step(self, observation: Observation | None) -> None:
        """Begin the step at `_index`. observation: the present one; None = the goal is only being set."""
        step = self._steps[self._index] if self._index < len(self._steps) else None
        later = (other.reference for other in self._steps[self._index + 1 :] if other.phrase)
        remembered = self.targets.reset(step.reference if step is not None else None, next(later, None))
        if observation is not None:
            self._run.last_policy = observation.stamp_ns * 1e-9
            pose = observation.odometry.pose
            near = pose.distance_to(self._run.heard_at) < 0.3
            self.targets.hear(self._run.heard_at, self._fov, near)
        self.motion.reset()
        if not remembered:
            self.coverage.reset()
        self.recovery.reset()
        self.plan = _NO_PATH
        self._leg = StepState()
        following = step is None
        self._report(Stage.FOLLOWING if following else Stage.SEARCHING if self.targets.phrases else Stage.MOVING)

    def _refusal(self, steps: tuple[Step, ...]) -> str:
        """Return why the words cannot be followed; "" when they can."""
        for step in steps:
            noun = self.knowledge.unknown_word(step.reference) if step.reference is not None else None
            if noun is not None:
                return self.knowledge.refusal(noun)
        return ""

    def _report(
        self, stage: Stage, distance: float = math.nan, target: Pose2D | None = None, confidence: float = 0.0
    ) -> None:
        count = len(self._steps) + (self._goal is not None and self._goal.pose is not None)
        text = self._steps[self._index].text if self._index < len(self._steps) else "to the goal pose"
        self.progress = Progress(stage, self._index, max(1, count), text, distance, target, confidence, self.plan)

    def _finish(self, observation: Observation, outcome: Outcome, degraded: tuple[str, ...]) -> Command:
        stage, error, message = outcome
        self._end(stage, error, message)
        return Command(observation.stamp_ns, Twist2D(), stage, error, message, degraded)

    def _end(self, stage: Stage, error: ErrorCode, message: str) -> None:
        self._goal, self._steps, self._index = None, (), 0
        self.targets.reset(None)
        self.plan = _NO_PATH
        self.progress = replace(self.progress, stage=stage, path=_NO_PATH)
        self._run.outcome = (stage, error, message)


def _length_left(path: Path, pose: Pose2D) -> float:
    if len(path) < 2:
        return 0.0
    nearest = int(np.argmin(np.hypot(path[:, 0] - pose.x, path[:, 1] - pose.y)))
    return float(np.hypot(*np.diff(path[nearest:], axis=0).T).sum())


def _field_of_view(output: PolicyOutput) -> float:
    """Return the camera's horizontal field of view, rad: the bins' centres and half a bin on either side."""
    spread = float(output.bearings.max() - output.bearings.min())
    return spread * len(output.bearings) / max(1, len(output.bearings) - 1)
