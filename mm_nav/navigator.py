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
from mm_nav.control.delay import CommandDelay
from mm_nav.control.mppi import Mppi
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.goal import Goal, PolicyGoal
from mm_nav.language import Step
from mm_nav.language.knowledge import Knowledge
from mm_nav.mapping.shapes import shipped_shapes
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_confirm import confirm, last_resort, watch
from mm_nav.navigator_drive import drive_along, length_left
from mm_nav.navigator_goal import failure_of, refusal, steps_of
from mm_nav.navigator_guess import guess, placed
from mm_nav.navigator_motion import Drive, MotionRunner
from mm_nav.navigator_perception import SURFACE_M, Perception
from mm_nav.navigator_pose import left_to_turn, way_to
from mm_nav.navigator_recovery import Recovery
from mm_nav.navigator_search import next_view
from mm_nav.navigator_state import GoalState, Outcome, StepState
from mm_nav.navigator_targets import Target
from mm_nav.observation import Observation
from mm_nav.planning.grid_planner import GridPlanner
from mm_nav.robot import RobotConfig
from mm_nav.runtime.policy import PolicySource
from mm_nav.sensing.deskew import all_at_once

Path = npt.NDArray[np.float64]
_NO_PATH: Path = np.empty((0, 2))
# So much nearer to a thing the robot stops that the camera does not show any more, or that is but the likeliest.
_UNSEEN_M, _RESORT_M = 0.3, 0.15
# So near to somebody who moves about the robot is not stuck, but crowded.
_CROWDED_M = 0.3
# Within this distance of what was reached or passed, nothing of another name stands.
_OTHER_THING_M = 0.45
_TURNING_M = 0.1


class Navigator:
    """Drives to one goal at a time.

    policy: called once per step while words are to be grounded; None for poses and motions only. knowledge: which words can
    be grounded at all; None = what the policy says of itself, else all that mm_nav.language has words for. image_goals: whether
    the policy understands pictures as goals; None = what it says of itself. Not thread-safe.
    """

    def __init__(
        self,
        robot: RobotConfig,
        config: NavigatorConfig | None = None,
        policy: PolicySource | None = None,
        knowledge: Knowledge | None = None,
        image_goals: bool | None = None,
    ) -> None:
        self.robot, self.config, self.policy = robot, config or NavigatorConfig(), policy
        self.known = Perception(robot, self.config, policy)
        self.grid, self.targets = self.known.grid, self.known.targets
        self.planner = GridPlanner(robot, self.config.planner)
        self.controller, self._delay = Mppi(robot, self.config.mppi), CommandDelay(robot)
        self.recovery = Recovery(robot, self.config.stuck_time_s)
        self.motion = MotionRunner(robot, self.grid, self.planner, self.controller, self.config.replan_period_s)
        self.plan: Path = _NO_PATH
        self.progress = Progress(Stage.IDLE)
        own = getattr(policy, "knowledge", None)
        self.knowledge = knowledge or (own if isinstance(own, Knowledge) else Knowledge())
        self.targets.high = self.knowledge.coloured_high_up
        self.image_goals = bool(getattr(policy, "image_goals", False)) if image_goals is None else image_goals
        self._goal: Goal | None = None
        self._steps: tuple[Step, ...] = ()
        self._index = 0
        self._run, self._leg = GoalState(), StepState()

    @property
    def policy_goal(self) -> PolicyGoal | None:
        """What the policy is to look for now: the target's phrase and those it is told apart by; or where it is to find ways to;
        None = nothing."""
        if self._goal is None or self.refusal:
            return None
        if not self.targets.phrases:
            name = f"{self._goal.id}/{self._index}.{self._run.moved}"
            return PolicyGoal(name, pose=self._goal.pose) if self._proposes else None
        phrase, *others = (self.knowledge.canonical(phrase) for phrase in self.targets.phrases)
        return PolicyGoal(f"{self._goal.id}/{self._index}", phrase, None, self._goal.image, tuple(others))

    @property
    def refusal(self) -> str:
        """Why the words of the goal cannot be followed, so that the next step ends it; "" when they can."""
        return self._run.refusal

    @property
    def needs_policy(self) -> bool:
        """Whether any step of the goal asks the policy."""
        return (self.goal_pose is not None and self.config.pose_waypoints > 0.0) or any(
            step.reference is not None for step in self._steps
        )

    @property
    def _proposes(self) -> bool:
        """Whether the robot is on its way to a pose and the policy's waypoints are wanted for it."""
        return (
            self.goal_pose is not None
            and self._index >= len(self._steps)
            and self.policy is not None
            and self.config.pose_waypoints > 0.0
        )

    @property
    def active(self) -> bool:
        """Whether a goal is being worked on."""
        return self._goal is not None

    def set_goal(self, goal: Goal) -> None:
        """Start on a goal; one under way is dropped. Raises GoalError when it cannot be followed.

        A goal whose words name nothing known ends at the next step, with UNKNOWN_TARGET.
        """
        steps = steps_of(goal, self.policy is not None, self.image_goals)
        self._goal, self._steps, self._index = goal, steps, 0
        self.controller.reset()
        self._run = GoalState(refusal=refusal(steps, self.knowledge))
        self._enter_step(None)

    @property
    def goal_pose(self) -> Pose2D | None:
        """Where the goal under way ends; None = at no pose."""
        return None if self._goal is None else self._goal.pose

    def move_goal(self, pose: Pose2D) -> None:
        """Move the pose of the goal under way, where it has one: localisation knows better. Raises GoalError when not finite."""
        if self._goal is not None and self._goal.pose is not None:
            self._goal = replace(self._goal, pose=pose)
            self._run.moved += 1
            if self._index >= len(self._steps):
                self.plan, self._leg.next_plan, self._leg.arrived_at = _NO_PATH, -math.inf, None

    def cancel(self) -> None:
        """Drop the goal; the next commands are stops."""
        self._end(Stage.FAILED, ErrorCode.CANCELED, "canceled")

    def step(self, observation: Observation) -> Command:
        """Return the command for one observation."""
        command = self._step(all_at_once(observation))
        self._delay.sent(command.stamp_ns, command.twist)
        return command

    def _step(self, observation: Observation) -> Command:
        now, pose = observation.stamp_ns * 1e-9, observation.odometry.pose
        self.known.sense(observation)
        if self._goal is None:
            return Command(observation.stamp_ns, Twist2D(), self.progress.stage)
        if self._run.refusal:
            return self._finish(observation, (Stage.FAILED, ErrorCode.UNKNOWN_TARGET, self._run.refusal), ())
        if self._run.started is None:
            self._run.started = self._run.last_scan = now
            self.known.begin(now)
            self._run.heard_at = pose
            self.targets.hear(pose, self.known.fov, here=True)
        degraded = () if observation.scan is not None else ("scan",)
        if observation.scan is not None:
            self._run.last_scan, self._run.had_scan = now, True
        asked = self.policy_goal
        failure = failure_of(self._goal, self._run, self.config, self.known, self.recovery, asked is not None, now)
        if failure is not None:
            return self._finish(observation, failure, degraded)
        self._run.blind = observation.scan is None
        # The map may stand in for the LiDAR: for a while, after scans have made one.
        by_map = self._run.had_scan and now - self._run.last_scan <= self.config.blind_time_s
        if self._run.blind and not by_map:
            return Command(observation.stamp_ns, Twist2D(), self.progress.stage, degraded=degraded)

        output = self.known.consult(observation, asked, now)
        if asked is not None and output is None:
            degraded = (*degraded, "policy")
        elif output is not None and output.heatmap is None:
            degraded = (*degraded, "image")
        hold = asked is not None and now - self.known.last_policy > self.config.policy_slow_s
        self._run.driving = False
        twist = self._behave(now, pose, observation, output)
        if twist is None:
            return self._finish(observation, self._run.outcome, degraded)
        twist = Twist2D() if hold else twist
        # Standing before a way that nothing fits through is being stuck, too.
        idle = abs(twist.linear) < 0.02 and abs(twist.angular) < 0.3
        wanted = Twist2D(0.1) if self._run.driving and idle else twist
        near = self.robot.circumscribed_radius + _CROWDED_M
        crowd = self.known.movers.within(np.array([pose.x, pose.y]), near).seen_from(pose)
        if not hold and not self.recovery.active and self.recovery.watch(now, pose, wanted, crowd):
            if len(crowd):
                return Command(observation.stamp_ns, twist, self.progress.stage, degraded=degraded)
            self._leg.blocked.append(self._run.aim if self._run.aim is not None else np.array([pose.x, pose.y]))
            self._leg.next_plan = now
            self._leg.viewpoint = self._leg.last_resort = None
        return Command(observation.stamp_ns, twist, self.progress.stage, degraded=degraded)

    # Behaviour: each returns the twist to drive, or None when the goal has ended (self._run.outcome says how).

    def _behave(
        self, now: float, pose: Pose2D, observation: Observation, output: PolicyOutput | None
    ) -> Twist2D | None:
        if self.recovery.active and (twist := self.recovery.command(now)) is not None:
            self._report(Stage.RECOVERING)
            return twist
        if self._index >= len(self._steps):
            return self._follow_pose(now, pose, observation, output)
        if self._steps[self._index].reference is None:
            return self._move(now, pose, observation)
        target = self.targets.best(now, self.grid)
        if target is not None and self.known.lost_camera(now):
            target = self._placed(now, pose, target)
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

    def _follow_pose(
        self, now: float, pose: Pose2D, observation: Observation, output: PolicyOutput | None
    ) -> Twist2D | None:
        assert self._goal is not None and self._goal.pose is not None
        c, goal = self.config, self._goal.pose
        left = pose.distance_to(goal)
        # Turning must not carry the robot out of where it had arrived.
        if left <= c.pose_tolerance_m + (0.0 if self._leg.arrived_at is None else _TURNING_M):
            self._report(Stage.FOLLOWING, distance=left, target=goal, confidence=1.0)
            turn, heading = left_to_turn(self._goal, pose, self.robot, c.heading_tolerance_rad)
            if turn:
                self._leg.arrived_at = now
                return self.controller.turn(turn)
            return self._settle(observation, f"reached the pose, {left:.2f} m away{heading}")
        if now >= self._leg.next_plan:
            self._leg.next_plan = now + c.replan_period_s
            plan = way_to(goal, pose, self.planner, self.grid, c.pose_tolerance_m, self.plan)
            if plan is None:
                self._leg.no_path += 1
                if self._leg.no_path >= 5:
                    self._run.outcome = (Stage.FAILED, ErrorCode.NO_PATH, "no way to the goal pose")
                    return None
                return Twist2D()
            self._leg.no_path, self.plan = 0, plan
            self._run.aim = np.array([goal.x, goal.y])
        self._report(Stage.FOLLOWING, distance=max(left, length_left(self.plan, pose)), target=goal, confidence=1.0)
        return self._drive(pose, observation, output) if len(self.plan) else Twist2D()

    def _approach(
        self, now: float, pose: Pose2D, observation: Observation, found: Target, output: PolicyOutput | None
    ) -> Twist2D | None:
        c, target = self.config, found.hypothesis
        step = self._steps[self._index]
        left = self.known.distance_to(target, pose)
        bearing = wrap_angle(math.atan2(target.y - pose.y, target.x - pose.x) - pose.yaw)
        place = Pose2D(target.x, target.y)
        self._report(Stage.APPROACHING, distance=left, target=place, confidence=found.confidence)
        sight = self.grid.line_of_sight(np.array([pose.x, pose.y]), target.point, skip=0.35)
        high = self.knowledge.coloured_high_up(self.targets.phrases[0])
        watch(pose, bearing, left, sight, target, output, self._leg, c.high_from_m if high else 0.0)
        if step.kind == "pass" and left <= c.pass_distance_m and sight:
            return self._next_step(observation, f"passed {step.thing}", found)
        to_end = math.hypot(*(self.plan[-1] - (pose.x, pose.y))) if len(self.plan) else math.inf
        standing = abs(observation.odometry.twist.linear) < 0.03
        at_end = to_end < (0.25 if standing else 0.15)
        # Where a last resort stands is known less exactly, and less still what no picture shows any more.
        lost = self.known.lost_camera(now)
        nearer = _UNSEEN_M if lost else _RESORT_M if found is self._leg.last_resort else 0.0
        stop = max(c.stop_distance_m - nearer, self.robot.circumscribed_radius + SURFACE_M)
        believed = math.hypot(target.x - pose.x, target.y - pose.y)
        if standing and to_end < 0.15 and believed <= stop:
            # The LiDAR sees a table's legs, which stand back from its edge; but here the way ends.
            left = min(left, believed)
        if sight and (left <= stop or (at_end and left <= c.reach_distance_m)):
            verdict = confirm(now, bearing, left, step.thing, found, self._run, self._leg, c, lost, high)
            if verdict.rejected:
                self.targets.belief.reject(target.point)
            if verdict.reached:
                return self._next_step(observation, verdict.reached, found)
            return self.controller.turn(verdict.turn) if verdict.turn else Twist2D()
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
            plan = self.planner.approach(target.point, stop - 0.05, self.grid)
            if plan is None:
                plan = self.planner.approach(target.point, c.reach_distance_m - 0.05, self.grid)
            if plan is None:
                # What is out of reach may be a mistake; believing it less leads back to searching.
                self.targets.belief.penalise(target.point, 0.7)
                if found is self._leg.last_resort:
                    self._leg.doubts = [d for d in self._leg.doubts if np.hypot(*(d.point - target.point)) > 0.1]
                    self._leg.blocked.append(target.point)
                    self._leg.last_resort = None
                return Twist2D()
            self.plan = plan
        waypoints = output if output is not None and output.visible >= 0.5 else None
        return self._drive(pose, observation, waypoints)

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
        if self._leg.last_resort is None:
            self._leg.last_resort = self._last_resort(now, pose)
        if self._leg.last_resort is not None:
            return self._approach(now, pose, observation, self._leg.last_resort, None)
        view = self._leg.viewpoint
        if now >= self._leg.next_plan or view is None or view.is_done(pose):
            self._leg.next_plan = now + self.config.replan_period_s
            # Without scans nothing unknown can become known: it is neither crossed nor looked for.
            self.planner.update(self.grid, pose, allow_unknown=not self._run.blind)
            camera = self.known.has_camera(now)
            view = next_view(pose, self._leg, self.known, self.planner, self.config, camera)
            if view is None:
                return self._nothing_left(now)
            self._leg.viewpoint, self._run.aim = view, view.point
            path = None if view.look else self.planner.path_to(float(view.point[0]), float(view.point[1]))
            self.plan = _NO_PATH if path is None else path
        if view.heading is not None:
            return self.controller.turn(wrap_angle(view.heading - pose.yaw))
        if len(self.plan) == 0:
            self._leg.blocked.append(view.point)
            self._leg.viewpoint = None
            return Twist2D()
        return self._drive(pose, observation, None)

    def _last_resort(self, now: float, pose: Pose2D) -> Target | None:
        """Return what has to do when no better target can be hoped for: no picture will come any more, or the time runs out."""
        assert self._goal is not None and self._run.started is not None
        late = now - self._run.started > self.config.settle_share * self._goal.timeout_s
        lost = self.known.lost_camera(now)
        if not lost and not late:
            return None
        least = self.config.drop_confidence if lost else self.config.look_confidence
        found = last_resort(self.targets.likely(now, self.grid), self._leg, least)
        if found is not None and lost:
            found = self._placed(now, pose, found)
        elif found is None and lost and (late or self._leg.explored) and now >= self._leg.next_guess:
            self._leg.next_guess = now + self.config.replan_period_s
            found = guess(self._category(), self.known, pose, self._leg.doubts, self._leg.blocked, shipped_shapes())
        if found is not None:
            self._leg.next_plan = now
        return found

    def _placed(self, now: float, pose: Pose2D, target: Target) -> Target:
        """Return a target that no picture shows any more where the map has it."""
        leg = self._leg
        if leg.placed is None or leg.placed[0] != target or now >= leg.placed_at + self.config.replan_period_s:
            leg.placed = target, placed(target, self._category(), self.known, pose, shipped_shapes())
            leg.placed_at = now
        return leg.placed[1]

    def _category(self) -> str:
        """Return the kind of thing that the step is about, where no more than that and its colour is said of it."""
        reference = self._steps[self._index].reference
        return self.knowledge.category(reference.head) if reference is not None and reference.plain else ""

    def _nothing_left(self, now: float) -> Twist2D | None:
        """Everything was looked at: take what comes nearest to the words, else look once more, then say so."""
        if self.known.lost_camera(now) and not self._leg.explored:
            self._leg.explored = True
            return Twist2D()
        if self.targets.settle():
            return Twist2D()
        if self._leg.doubts:
            self._leg.last_resort = last_resort([], self._leg, self.config.look_confidence)
            return Twist2D()
        if self._leg.rounds >= 1:
            thing = self._steps[self._index].thing
            self._run.outcome = (Stage.FAILED, ErrorCode.TARGET_NOT_FOUND, f"looked everywhere, did not find {thing}")
            return None
        self._leg.rounds += 1
        self._leg.blocked.clear()
        self._leg.tried.clear()
        self.targets.forgive()
        self.known.coverage.reset()
        self._leg.viewpoint, self._leg.next_plan = None, now
        return Twist2D()

    def _driver(self, pose: Pose2D, observation: Observation) -> Drive:
        def drive(path: Path) -> Twist2D:
            self.plan = path
            return self._drive(pose, observation, None)

        return drive

    def _drive(self, pose: Pose2D, observation: Observation, output: PolicyOutput | None) -> Twist2D:
        self._run.driving = length_left(self.plan, pose) > 0.3
        return drive_along(self.plan, observation, self.grid, self.known.movers, self.controller, output, self._delay)

    def _settle(self, observation: Observation, message: str) -> Twist2D | None:
        """Stop first; the goal is reached once the robot stands."""
        twist = observation.odometry.twist
        if abs(twist.linear) > 0.03 or abs(twist.angular) > 0.1:
            return Twist2D()
        self._run.outcome = (Stage.SUCCEEDED, ErrorCode.NONE, message)
        return None

    def _next_step(self, observation: Observation, message: str, found: Target | None = None) -> Twist2D | None:
        """Go on to the next step, or end. found: what this one led to."""
        last = self._index + 1 >= len(self._steps)
        assert self._goal is not None
        if last and self._goal.pose is None:
            return self._settle(observation, message)
        head = self._head()
        sure = found is not None and found is not self._leg.last_resort
        self._index += 1
        self._enter_step(observation)
        if found is not None and sure and self._head() != head:
            # Two names are of two things, however alike they look.
            self.targets.belief.reject(found.hypothesis.point, _OTHER_THING_M)
        return Twist2D()

    def _head(self) -> str:
        """Return the plain phrase of the thing that the step is about; "" where it names none."""
        reference = self._steps[self._index].reference if self._index < len(self._steps) else None
        return "" if reference is None else reference.head

    def _enter_step(self, observation: Observation | None) -> None:
        """Begin the step at `_index`. observation: the present one; None = the goal is only being set."""
        step = self._steps[self._index] if self._index < len(self._steps) else None
        later = (other.reference for other in self._steps[self._index + 1 :] if other.reference is not None)
        remembered = self.targets.reset(step.reference if step is not None else None, next(later, None))
        if observation is not None:
            self.known.last_policy = observation.stamp_ns * 1e-9
            pose = observation.odometry.pose
            near = pose.distance_to(self._run.heard_at) < 0.3
            self.targets.hear(self._run.heard_at, self.known.fov, near)
        self.motion.reset()
        if not remembered:
            self.known.coverage.reset()
        self.recovery.reset()
        self.plan = _NO_PATH
        self._leg = StepState()
        following = step is None
        self._report(Stage.FOLLOWING if following else Stage.SEARCHING if self.targets.phrases else Stage.MOVING)

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
