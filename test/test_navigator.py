"""The navigator in closed loop, with perfect perception: it finds, reaches, gives up and fails as it should."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.command import Command, ErrorCode, PolicyOutput, Stage
from mm_nav.errors import ConfigError, GoalError
from mm_nav.evaluation.oracle import OraclePolicy
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.goal import Goal, PolicyGoal
from mm_nav.navigator import Navigator
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.observation import LaserScan, Observation, Odometry
from mm_nav.robot import RobotConfig
from mm_nav.safety.guard import Guard, GuardConfig
from mm_nav.sim.objects import scene_objects
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import CameraConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world

PICTURE = np.zeros((4, 4, 3), np.uint8)


def box(name: str, x: float, y: float, size: tuple[float, float, float], colour: str = "0.8 0.8 0.8") -> str:
    geometry = f"<geometry><box><size>{size[0]} {size[1]} {size[2]}</size></box></geometry>"
    return (
        f'<model name="{name}"><static>true</static><pose>{x} {y} {size[2] / 2} 0 0 0</pose><link name="l">'
        f'<collision name="c">{geometry}</collision><visual name="v">{geometry}<material><diffuse>{colour} 1</diffuse></material>'
        "</visual></link></model>"
    )


def two_rooms(sealed: bool = False) -> Scene:
    """Two rooms of 4 x 4 m beside each other; a doorway of 1 m in the wall between them; a red box in the second."""
    walls = [
        box("wall_s", 0, -2, (8.1, 0.1, 2)), box("wall_n", 0, 2, (8.1, 0.1, 2)), box("wall_w", -4, 0, (0.1, 4, 2)),
        box("wall_e", 4, 0, (0.1, 4, 2)), box("wall_a", 0, -0.95, (0.1, 2.1, 2)),
        box("wall_b", 0, 1.55, (0.1, 0.9, 2)),
    ]  # fmt: skip
    if sealed:
        walls.append(box("wall_c", 0, 0.6, (0.1, 1.2, 2)))
    things = [
        box("red_box_1", 3, -1.2, (0.4, 0.4, 0.5), "0.8 0.1 0.1"),
        box("blue_box_1", -3, 1.2, (0.4, 0.4, 0.5), "0.1 0.1 0.8"),
    ]
    return Scene(parse_world(f'<sdf version="1.9"><world name="w">{"".join(walls + things)}</world></sdf>'))


def open_scan(stamp_ns: int) -> LaserScan:
    return LaserScan(stamp_ns, np.full(90, 5.0, np.float32), -math.pi, 2 * math.pi / 90, 0.1, 10.0)


Change = Callable[[Observation, float], Observation]


def drive(
    scene: Scene, goal: Goal, targets: dict[str, list[str]], change: Change = lambda o, t: o, seconds: float = 120.0,
    config: NavigatorConfig | None = None,
) -> tuple[Simulator, Command, Navigator]:  # fmt: skip
    sim = Simulator(scene, SimConfig(camera=CameraConfig(width=96, height=72)), seed=1, start=Pose2D(-2.5, -1.0, 2.0))
    navigator = Navigator(RobotConfig(), config, OraclePolicy(sim, targets, targets.get("", ())))
    guard = Guard(RobotConfig())
    navigator.set_goal(goal)
    command = Command(0, Twist2D(), Stage.IDLE)
    for k in range(int(seconds * 10)):
        observation = change(sim.observe(), k / 10)
        command = navigator.step(observation)
        if not navigator.active:
            break
        sim.step(guard.filter(command.twist, observation.odometry, observation.scan, observation.stamp_ns).twist, 0.1)
    return sim, command, navigator


def gap(sim: Simulator, name: str) -> float:
    item = next(o for o in scene_objects(sim.scene.world) if o.name == name)
    return item.distance(sim.pose.x, sim.pose.y)


def test_it_finds_and_reaches_a_thing_in_the_other_room() -> None:
    sim, command, _ = drive(two_rooms(), Goal("go to the red box"), {"the red box": ["red_box_1"]})
    assert command.stage is Stage.SUCCEEDED, command
    assert gap(sim, "red_box_1") < 1.0 and sim.collisions == 0 and abs(sim.twist.linear) < 0.05


def test_steps_are_done_in_order() -> None:
    targets = {"the blue box": ["blue_box_1"], "the red box": ["red_box_1"]}
    nearest: list[float] = []

    def watch(observation: Observation, t: float) -> Observation:
        nearest.append(math.hypot(observation.odometry.pose.x + 3, observation.odometry.pose.y - 1.2))
        return observation

    sim, command, _ = drive(two_rooms(), Goal("go past the blue box to the red box"), targets, watch)
    assert command.stage is Stage.SUCCEEDED and gap(sim, "red_box_1") < 1.0
    assert min(nearest) < 1.9, "it went by the blue box first"


@pytest.mark.parametrize("words", ["go to the blue box and then to the red box", "go past the blue box to the red box"])
def test_what_was_reached_is_not_taken_for_the_next_thing(words: str) -> None:
    """Both boxes are called red; the blue one is the nearer."""
    targets = {"the blue box": ["blue_box_1"], "the red box": ["red_box_1", "blue_box_1"]}
    sim, command, _ = drive(two_rooms(), Goal(words), targets)
    assert command.stage is Stage.SUCCEEDED and gap(sim, "red_box_1") < 1.0


def test_a_table_whose_foot_stands_back_from_its_edge_is_reached() -> None:
    top, foot = (
        "<geometry><box><size>{0} {0} {1}</size></box></geometry>".format(*size) for size in ((0.9, 0.05), (0.5, 0.7))
    )
    shapes = "".join(
        f'<{kind} name="{kind}_{name}"><pose>0 0 {z} 0 0 0</pose>{shape}</{kind}>'
        for kind in ("collision", "visual")
        for name, z, shape in (("top", 0.725, top), ("foot", 0.35, foot))
    )
    table = f'<model name="red_table_1"><static>true</static><pose>1.5 -0.5 0 0 0 0</pose><link name="l">{shapes}</link></model>'
    walls = [box("wall_s", 0, -3, (8.1, 0.1, 2)), box("wall_n", 0, 3, (8.1, 0.1, 2)), box("wall_w", -4, 0, (0.1, 6, 2)),
             box("wall_e", 4, 0, (0.1, 6, 2))]  # fmt: skip
    scene = Scene(parse_world(f'<sdf version="1.9"><world name="w">{"".join(walls)}{table}</world></sdf>'))
    sim, command, _ = drive(scene, Goal("go to the red table"), {"the red table": ["red_table_1"]}, seconds=60.0)
    assert command.stage is Stage.SUCCEEDED and gap(sim, "red_table_1") < 1.0 and sim.collisions == 0


def test_a_pose_is_reached() -> None:
    sim, command, _ = drive(two_rooms(), Goal(pose=Pose2D(2.5, 1.0, 0.0)), {})
    assert command.stage is Stage.SUCCEEDED and math.hypot(sim.pose.x - 2.5, sim.pose.y - 1.0) < 0.35


@pytest.mark.parametrize("yaw", [0.0, 2.0, -1.5, math.pi])
def test_a_heading_is_taken_up_where_one_is_given(yaw: float) -> None:
    goal = Goal(pose=Pose2D(-1.0, 1.0, yaw), facing=True)
    sim, command, _ = drive(two_rooms(), goal, {})
    assert command.stage is Stage.SUCCEEDED and "degrees off" in command.message
    assert sim.pose.distance_to(Pose2D(-1.0, 1.0)) < 0.35
    assert abs(wrap_angle(sim.pose.yaw - yaw)) < 0.15 and sim.collisions == 0
    sim, command, _ = drive(two_rooms(), replace(goal, facing=False), {})
    assert command.stage is Stage.SUCCEEDED and "degrees" not in command.message


def test_a_robot_that_cannot_turn_on_the_spot_says_that_it_did_not() -> None:
    car = RobotConfig(drive="ackermann", wheelbase_m=0.3)
    navigator = Navigator(car)
    navigator.set_goal(Goal(pose=Pose2D(0.1, 0.0, 3.0), facing=True))
    command = navigator.step(Observation(10**9, Odometry(10**9, Pose2D(), Twist2D()), open_scan(10**9)))
    assert command.stage is Stage.SUCCEEDED and "cannot turn on the spot to face 172 degrees" in command.message


def test_a_pose_that_moves_is_followed() -> None:
    """Localisation says where odom lies, and says better later."""
    sim = Simulator(two_rooms(), SimConfig(camera=None), seed=1, start=Pose2D(-2.5, -1.0, 0.0))
    navigator = Navigator(RobotConfig())
    navigator.move_goal(Pose2D(1.0, 1.0))  # nothing is being driven to
    assert not navigator.active
    navigator.set_goal(Goal(pose=Pose2D(-1.0, -1.0)))
    command, asked = Command(0, Twist2D(), Stage.IDLE), Pose2D(-1.0, -1.0)
    for k in range(600):
        if k == 15:
            asked = Pose2D(-2.0, 1.0)
            navigator.move_goal(asked)
        command = navigator.step(sim.observe())
        if not navigator.active:
            break
        sim.step(command.twist, 0.1)
    assert command.stage is Stage.SUCCEEDED and sim.pose.distance_to(asked) < 0.3
    navigator.set_goal(Goal(pose=Pose2D(-1.0, -1.0)))
    with pytest.raises(GoalError, match="not finite"):
        navigator.move_goal(Pose2D(math.nan, 0.0))
    assert navigator.goal_pose == Pose2D(-1.0, -1.0)


def test_a_pose_that_cannot_be_reached_ends_with_no_path() -> None:
    _, command, _ = drive(two_rooms(sealed=True), Goal(pose=Pose2D(2.5, 1.0, 0.0), timeout_s=60), {})
    assert command.stage is Stage.FAILED and command.error in (ErrorCode.NO_PATH, ErrorCode.STUCK)


def test_what_is_not_there_is_not_found() -> None:
    sim, command, _ = drive(two_rooms(sealed=True), Goal("go to the red box"), {"the red box": ["red_box_1"]})
    assert command.error is ErrorCode.TARGET_NOT_FOUND and "looked everywhere" in command.message
    assert sim.collisions == 0


def test_it_goes_to_what_a_picture_shows() -> None:
    sim, command, navigator = drive(two_rooms(), Goal(image=PICTURE), {"": ["red_box_1"]})
    assert command.stage is Stage.SUCCEEDED and "what the picture shows" in command.message
    assert gap(sim, "red_box_1") < 1.0 and navigator.progress.step_text == "to what the picture shows"

    asked: list[PolicyGoal] = []

    def listener(observation: Observation, goal: PolicyGoal) -> None:
        asked.append(goal)

    listening = Navigator(RobotConfig(), None, listener, image_goals=True)
    listening.set_goal(Goal(image=PICTURE))
    listening.step(sim.observe())
    assert [(goal.phrase, goal.image is PICTURE) for goal in asked] == [("", True)]


@pytest.mark.parametrize(("words", "steps"), [("", 2), ("turn left", 3)])
def test_a_picture_comes_after_motions_and_before_the_pose(words: str, steps: int) -> None:
    nearest: list[float] = []

    def watch(observation: Observation, t: float) -> Observation:
        nearest.append(math.hypot(observation.odometry.pose.x + 3, observation.odometry.pose.y - 1.2))
        return observation

    goal = Goal(words, Pose2D(-2.0, -1.0), PICTURE)
    sim, command, navigator = drive(two_rooms(), goal, {"": ["blue_box_1"]}, watch, 60.0)
    assert command.stage is Stage.SUCCEEDED and navigator.progress.step_count == steps
    assert min(nearest) < 1.3, "it went to the blue box first"
    assert math.hypot(sim.pose.x + 2.0, sim.pose.y + 1.0) < 0.35


def test_a_picture_beside_words_that_name_a_thing_is_refused() -> None:
    navigator = Navigator(RobotConfig(), None, lambda o, g: None, image_goals=True)
    with pytest.raises(GoalError, match="is a picture and names 'the red box'"):
        navigator.set_goal(Goal("turn left, then go to the red box", image=PICTURE))
    assert not navigator.active


@pytest.mark.parametrize("better", [True, False])
def test_what_stays_doubtful_is_set_aside_until_nothing_better_is_found(better: bool) -> None:
    """The blue box near the start is only half taken for a red one; the red box is in the other room, or out of reach."""
    sim = Simulator(
        two_rooms(sealed=not better),
        SimConfig(camera=CameraConfig(width=96, height=72)),
        seed=1,
        start=Pose2D(-2.5, -1.0, 2.0),
    )
    right, wrong = (OraclePolicy(sim, {"the red box": [name]}) for name in ("red_box_1", "blue_box_1"))

    def policy(observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        seen = right(observation, goal)
        if seen.visible > 0.5:
            return seen
        other = wrong(observation, goal)
        return replace(other, visible=0.6) if other.visible > 0.5 else seen

    navigator, guard = Navigator(RobotConfig(), None, policy), Guard(RobotConfig())
    navigator.set_goal(Goal("go to the red box", timeout_s=120.0))
    for _ in range(1200):
        observation = sim.observe()
        command = navigator.step(observation)
        if not navigator.active:
            break
        sim.step(guard.filter(command.twist, observation.odometry, observation.scan, observation.stamp_ns).twist, 0.1)
    assert command.stage is Stage.SUCCEEDED and sim.collisions == 0
    assert gap(sim, "red_box_1" if better else "blue_box_1") < 1.0
    assert ("nothing fits better" in command.message) != better, command.message


@pytest.mark.parametrize("seen_before", [True, False])
def test_without_a_camera_it_goes_where_the_thing_was_seen_or_says_how_sure_it_is(seen_before: bool) -> None:
    targets = {"the red box": ["red_box_1"]} if seen_before else {}
    sim = Simulator(
        two_rooms(), SimConfig(camera=CameraConfig(width=96, height=72)), seed=1, start=Pose2D(1.0, 1.3, -0.9)
    )
    navigator, guard = Navigator(RobotConfig(), None, OraclePolicy(sim, targets)), Guard(RobotConfig())
    navigator.set_goal(Goal("go to the red box", timeout_s=60.0))
    for k in range(600):
        observation = sim.observe() if k < 5 else replace(sim.observe(), image=None)
        command = navigator.step(observation)
        if not navigator.active:
            break
        sim.step(guard.filter(command.twist, observation.odometry, observation.scan, observation.stamp_ns).twist, 0.1)
    assert sim.collisions == 0
    if seen_before:
        assert command.stage is Stage.SUCCEEDED and "had been seen" in command.message
        assert gap(sim, "red_box_1") < 1.0
    else:
        # Some box, by its outline: which one, no LiDAR can tell.
        assert command.stage is Stage.SUCCEEDED and "the camera was lost" in command.message and "%" in command.message
        assert min(gap(sim, "red_box_1"), gap(sim, "blue_box_1")) < 1.0


def test_a_time_limit_is_kept() -> None:
    _, command, _ = drive(two_rooms(), Goal("go to the red box", timeout_s=2.0), {"the red box": ["red_box_1"]})
    assert command.error is ErrorCode.TIMEOUT


def test_a_dead_lidar_stops_the_robot_and_ends_the_goal() -> None:
    def blind(observation: Observation, t: float) -> Observation:
        return replace(observation, scan=None) if t > 3.0 else observation

    sim, command, _ = drive(two_rooms(), Goal(pose=Pose2D(2.5, 1.0, 0.0)), {}, blind)
    assert command.error is ErrorCode.SENSOR_LOST and abs(sim.twist.linear) < 1e-6


def test_nan_scans_do_not_crash_and_do_not_drive() -> None:
    def broken(observation: Observation, t: float) -> Observation:
        assert observation.scan is not None
        ranges = np.full_like(observation.scan.ranges, np.nan)
        return replace(observation, scan=replace(observation.scan, ranges=ranges)) if t > 1.0 else observation

    sim, _, _ = drive(two_rooms(), Goal(pose=Pose2D(2.5, 1.0, 0.0)), {}, broken, seconds=4.0)
    assert sim.collisions == 0 and abs(sim.twist.linear) < 1e-6


@pytest.mark.parametrize(("start_s", "answers", "last_s"), [(0.0, 0, 1.1), (3.0, 0, 4.1), (3.0, 1, 1.1)])
def test_a_silent_policy_stops_at_once_and_ends_the_goal(start_s: float, answers: int, last_s: float) -> None:
    """One that has never answered has more time for it."""
    sim = Simulator(two_rooms(), SimConfig(camera=None), start=Pose2D(-2.5, -1.0, 2.0))
    flat, ways, asked = np.full(4, 0.25, np.float32), np.zeros((1, 2, 2), np.float32), 0

    def silent(observation: Observation, goal: PolicyGoal) -> PolicyOutput | None:
        nonlocal asked
        asked += 1
        if asked > answers:
            return None
        return PolicyOutput(observation.stamp_ns, goal.id, flat, flat, flat, 0.0, 0.0, ways, np.ones(1, np.float32))

    navigator = Navigator(RobotConfig(), NavigatorConfig(policy_start_s=start_s), silent)
    navigator.set_goal(Goal("go to the red box"))
    commands = []
    for _ in range(60):
        commands.append(navigator.step(sim.observe()))
        sim.step(Twist2D(), 0.1)
        if not navigator.active:
            break
    assert commands[-1].error is ErrorCode.INFERENCE_LOST and commands[-1].stamp_ns * 1e-9 == pytest.approx(last_s)
    assert all(c.twist == Twist2D() for c in commands[answers + 1 :]) and "policy" in commands[answers + 1].degraded


def test_the_same_inputs_give_the_same_commands() -> None:
    first, second = (
        drive(two_rooms(), Goal("go to the red box"), {"the red box": ["red_box_1"]}, seconds=10.0) for _ in range(2)
    )
    assert first[0].pose == second[0].pose and first[1] == second[1]


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (dict(image=PICTURE), "does not know pictures"),
        (dict(pose=Pose2D(), image=PICTURE), "does not know pictures"),
        (dict(instruction="???"), "no words"),
    ],
)
def test_goals_that_cannot_be_followed_are_refused(goal: dict[str, object], text: str) -> None:
    navigator = Navigator(RobotConfig(), None, lambda o, g: None)
    with pytest.raises(GoalError, match=text):
        navigator.set_goal(Goal(**goal))
    assert not navigator.active


def test_words_need_a_policy() -> None:
    with pytest.raises(GoalError, match="no policy"):
        Navigator(RobotConfig()).set_goal(Goal("go to the chair"))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"stop_distance_m is 9.* between 0.3 and 2.0"):
        NavigatorConfig(stop_distance_m=9.0)


def test_cancel_stops() -> None:
    sim = Simulator(two_rooms(), SimConfig(camera=None), start=Pose2D(-2.5, -1.0, 2.0))
    navigator = Navigator(RobotConfig())
    navigator.set_goal(Goal(pose=Pose2D(2.5, 1.0, 0.0)))
    navigator.step(sim.observe())
    navigator.cancel()
    assert not navigator.active and navigator.step(sim.observe()).twist == Twist2D()


@pytest.mark.parametrize("blind_time_s", [0.0, 30.0])
def test_without_scans_it_drives_on_by_its_map_as_long_as_it_may(blind_time_s: float) -> None:
    config = NavigatorConfig(blind_time_s=blind_time_s)
    guard = Guard(RobotConfig(), GuardConfig(blind_time_s=blind_time_s))
    sim = Simulator(
        two_rooms(), SimConfig(camera=CameraConfig(width=96, height=72)), seed=1, start=Pose2D(2.0, 1.3, -1.2)
    )
    navigator = Navigator(RobotConfig(), config, OraclePolicy(sim, {"the red box": ["red_box_1"]}))
    navigator.set_goal(Goal("go to the red box"))
    fastest = 0.0
    for k in range(400):
        observation = sim.observe() if k < 10 else replace(sim.observe(), scan=None)
        command = navigator.step(observation)
        if not navigator.active:
            break
        twist = guard.filter(command.twist, observation.odometry, observation.scan, observation.stamp_ns).twist
        fastest = max(fastest, twist.linear) if k >= 20 else fastest
        assert blind_time_s or k < 10 or command.twist == Twist2D()
        sim.step(twist, 0.1)
    assert sim.collisions == 0 and "scan" in command.degraded
    if blind_time_s:
        assert command.stage is Stage.SUCCEEDED and gap(sim, "red_box_1") < 1.0 and 0.0 < fastest <= 0.25
    else:
        assert command.error is ErrorCode.SENSOR_LOST and fastest == 0.0


@pytest.mark.parametrize("wanted", [0.0, 1.0])
def test_the_policy_is_asked_for_ways_to_a_pose_where_that_is_wanted(wanted: float) -> None:
    asked: list[PolicyGoal] = []
    flat = np.ones(4, np.float32) / 4

    def policy(observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        asked.append(goal)
        ways = np.linspace(0.25, 2.0, 8, dtype=np.float32)[None, :, None] * np.array([1.0, 0.0], np.float32)
        return PolicyOutput(observation.stamp_ns, goal.id, flat, flat, flat, 0.0, 0.0, ways, np.ones(1, np.float32))

    sim = Simulator(two_rooms(), SimConfig(camera=None), seed=1, start=Pose2D(-2.5, -1.0, 0.0))
    navigator = Navigator(RobotConfig(), NavigatorConfig(pose_waypoints=wanted), policy)
    navigator.set_goal(Goal(pose=Pose2D(-1.5, -1.0, 0.0), id="there"))
    assert navigator.needs_policy == (wanted > 0.0)
    for _ in range(80):
        command = navigator.step(sim.observe())
        if not navigator.active:
            break
        sim.step(command.twist, 0.1)
    assert command.stage is Stage.SUCCEEDED, command
    assert {goal.pose for goal in asked} == ({Pose2D(-1.5, -1.0, 0.0)} if wanted else set())
    assert Navigator(RobotConfig(), NavigatorConfig(pose_waypoints=1.0)).policy_goal is None
