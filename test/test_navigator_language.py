"""The navigator follows what a sentence says beside a plain thing: relations, motions, and words that it does not know."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.command import Command, ErrorCode, Stage
from mm_nav.evaluation.oracle import OraclePolicy
from mm_nav.geometry import Pose2D, Twist2D, wrap_angle
from mm_nav.goal import Goal
from mm_nav.language.knowledge import Knowledge
from mm_nav.navigator import Navigator
from mm_nav.robot import RobotConfig
from mm_nav.safety.guard import Guard
from mm_nav.sim.objects import scene_objects
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import CameraConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world


def box(name: str, x: float, y: float, size: tuple[float, float, float]) -> str:
    geometry = f"<geometry><box><size>{size[0]} {size[1]} {size[2]}</size></box></geometry>"
    return (
        f'<model name="{name}"><static>true</static><pose>{x} {y} {size[2] / 2} 0 0 0</pose><link name="l">'
        f'<collision name="c">{geometry}</collision><visual name="v">{geometry}</visual></link></model>'
    )


def room(*things: str, x: float = 4.0, y: float = 3.0) -> Scene:
    """A closed room of 2x by 2y metres around the origin."""
    walls = [
        box("wall_s", 0, -y, (2 * x, 0.1, 2)), box("wall_n", 0, y, (2 * x, 0.1, 2)),
        box("wall_w", -x, 0, (0.1, 2 * y, 2)), box("wall_e", x, 0, (0.1, 2 * y, 2)),
    ]  # fmt: skip
    return Scene(parse_world(f'<sdf version="1.9"><world name="w">{"".join([*walls, *things])}</world></sdf>'))


def drive(
    scene: Scene, sentence: str, targets: dict[str, list[str]] | None = None, start: Pose2D | None = None, seconds: float = 60.0,
    camera_s: float = math.inf,
) -> tuple[Simulator, Command]:  # fmt: skip
    """camera_s: when the camera is lost."""
    config = SimConfig(camera=CameraConfig(width=48, height=36) if targets else None)
    sim = Simulator(scene, config, seed=1, start=start or Pose2D(-2.0, 0.0, 0.0))
    navigator = Navigator(RobotConfig(), None, OraclePolicy(sim, targets) if targets else None)
    guard = Guard(RobotConfig())
    navigator.set_goal(Goal(sentence, timeout_s=seconds))
    command = Command(0, Twist2D(), Stage.IDLE)
    while navigator.active:
        observation = sim.observe()
        if observation.stamp_ns * 1e-9 > camera_s:
            observation = replace(observation, image=None)
        command = navigator.step(observation)
        sim.step(guard.filter(command.twist, observation.odometry, observation.scan, observation.stamp_ns).twist, 0.1)
    assert sim.collisions == 0
    return sim, command


def gap(sim: Simulator, name: str) -> float:
    return next(o for o in scene_objects(sim.scene.world) if o.name == name).distance(sim.pose.x, sim.pose.y)


CHAIR = (0.4, 0.4, 0.8)
CHAIRS = {
    "the chair": ["red_chair_1", "blue_chair_1"],
    "the red chair": ["red_chair_1"],
    "the table": ["brown_table_1"],
}
SCENE = (
    box("red_chair_1", 1.5, 1.6, CHAIR),
    box("blue_chair_1", 2.6, -1.8, CHAIR),
    box("brown_table_1", 1.6, -1.8, (0.8, 0.8, 0.7)),
)


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("go to the chair next to the table", "blue_chair_1"),
        ("go to the chair that is not next to the table", "red_chair_1"),
        ("find the chair that is not red", "blue_chair_1"),
        ("go to the leftmost chair", "red_chair_1"),
        ("go to the first chair from the right", "blue_chair_1"),
        ("stop at the farthest chair", "blue_chair_1"),
        ("drive to the chair behind the table", "blue_chair_1"),
    ],
)
def test_the_right_one_of_two_is_reached(sentence: str, name: str) -> None:
    sim, command = drive(room(*SCENE), sentence, CHAIRS)
    assert command.stage is Stage.SUCCEEDED, command
    assert gap(sim, name) < 1.0


def test_where_nothing_stands_as_said_the_best_is_taken_after_looking() -> None:
    sim, command = drive(room(SCENE[0], SCENE[2]), "go to the chair next to the table", CHAIRS, seconds=90.0)
    assert command.stage is Stage.SUCCEEDED and gap(sim, "red_chair_1") < 1.0


def test_without_the_camera_the_outline_tells_where_to_go() -> None:
    """Of what the camera has not shown, the crate has the shape of a box."""
    things = (box("red_box_1", -2.5, 2.0, (0.7, 0.5, 0.6)), box("post", 2.5, -2.0, (0.1, 0.1, 1.0)))
    sim, command = drive(
        room(*things), "go to the box", {"the box": ["red_box_1"]}, Pose2D(-1.0, 0.0, 0.0), camera_s=0.15
    )
    assert command.stage is Stage.SUCCEEDED and "the camera was lost" in command.message, command
    assert gap(sim, "red_box_1") < 1.0


@pytest.mark.parametrize(
    ("sentence", "turned"),
    [("turn left", 90), ("turn right 45 degrees", -45), ("turn around", 180), ("look around", 0)],
)
def test_turns_need_no_policy(sentence: str, turned: float) -> None:
    sim, command = drive(room(), sentence)
    assert command.stage is Stage.SUCCEEDED and "turned" in command.message
    assert abs(wrap_angle(sim.pose.yaw - math.radians(turned))) < 0.12 and math.hypot(sim.pose.x + 2, sim.pose.y) < 0.1


def test_ways_are_as_long_as_said() -> None:
    sim, command = drive(
        room(), "go forward 2 metres, then turn left, then back up half a metre and wait for 2 seconds"
    )
    assert command.stage is Stage.SUCCEEDED, command
    assert abs(sim.pose.x) < 0.25 and abs(sim.pose.y + 0.5) < 0.25
    assert sim.time_ns > 6e9


@pytest.mark.parametrize("sentence", ["go forward 8 metres", "back up 4 metres"])
def test_a_wall_in_the_way_ends_it_and_says_where(sentence: str) -> None:
    _, command = drive(room(), sentence)
    assert command.error is ErrorCode.NO_PATH and "stands" in command.message


def test_stopping_and_waiting_take_the_time_they_should() -> None:
    _, at_once = drive(room(), "stop")
    _, later = drive(room(), "wait for 3 seconds")
    assert at_once.stage is later.stage is Stage.SUCCEEDED
    assert at_once.stamp_ns < 0.5e9 and 3e9 <= later.stamp_ns < 3.5e9


def corridor() -> Scene:
    """A corridor of 1.6 x 9 m along x, with a red box at its far end, and a bend to the left there."""
    parts = [
        box("wall_s", 0.5, -0.85, (9.1, 0.1, 2)), box("wall_n", -0.3, 0.85, (7.5, 0.1, 2)), box("wall_w", -4.0, 0, (0.1, 1.7, 2)),
        box("wall_e", 5.0, 1.9, (0.1, 5.6, 2)), box("wall_b", 3.4, 2.8, (0.1, 4.0, 2)), box("wall_end", 4.2, 4.7, (1.6, 0.1, 2)),
        box("red_door_1", 4.2, 4.6, (0.9, 0.1, 1.8)),
    ]  # fmt: skip
    return Scene(parse_world(f'<sdf version="1.9"><world name="w">{"".join(parts)}</world></sdf>'))


def test_the_corridor_is_followed_round_its_bend_to_its_end() -> None:
    sim, command = drive(
        corridor(), "turn around, then follow the corridor to its end", start=Pose2D(-3.0, 0.0, math.pi)
    )
    assert command.stage is Stage.SUCCEEDED and "corridor" in command.message
    assert sim.pose.y > 2.8 and sim.pose.x > 3.5


def test_the_corridor_is_followed_to_a_thing() -> None:
    sentence, targets = "turn around, then follow the corridor to the red door", {"the red door": ["red_door_1"]}
    sim, command = drive(corridor(), sentence, targets, Pose2D(-3.0, 0.0, math.pi))
    assert command.stage is Stage.SUCCEEDED and gap(sim, "red_door_1") < 1.0


@pytest.mark.parametrize("sentence", ["go to the elephant", "go to the chair, then to the elephant"])
def test_unknown_things_end_the_goal_at_once(sentence: str) -> None:
    sim, command = drive(room(*SCENE), sentence, CHAIRS)
    assert command.error is ErrorCode.UNKNOWN_TARGET and command.stage is Stage.FAILED
    assert "'elephant'" in command.message and "chair" in command.message
    assert command.stamp_ns == 0 and sim.pose == Pose2D(-2.0, 0.0, 0.0)


def test_what_the_model_knows_decides() -> None:
    sim = Simulator(room(*SCENE), SimConfig(camera=None), start=Pose2D(-2.0, 0.0, 0.0))
    navigator = Navigator(RobotConfig(), None, lambda o, g: None, Knowledge(("barrel",), None))
    navigator.set_goal(Goal("go to the computer"))
    assert navigator.step(sim.observe()).error is ErrorCode.UNKNOWN_TARGET
    navigator.set_goal(Goal("go to the red barrel"))
    assert navigator.step(sim.observe()).error is ErrorCode.NONE


def test_a_relation_asks_for_all_its_phrases_and_a_plain_thing_for_one() -> None:
    navigator = Navigator(RobotConfig(), None, lambda o, g: None)
    navigator.set_goal(Goal("turn left, then go to the armchair next to the red table"))
    assert navigator.policy_goal is None and navigator.needs_policy
    navigator.set_goal(Goal("go to the armchair between the red table and the sofa"))
    goal = navigator.policy_goal
    assert goal is not None and (goal.phrase, goal.others) == ("the chair", ("the red table", "the sofa"))
    navigator.set_goal(Goal("go to the red barrel"))
    goal = navigator.policy_goal
    assert goal is not None and (goal.phrase, goal.others) == ("the red barrel", ())
    navigator.set_goal(Goal("go to the red barrel, turn around, then go to the lamp"))
    goal = navigator.policy_goal
    assert goal is not None and (goal.phrase, goal.others) == ("the red barrel", ("the lamp",)), "it is remembered"


def test_the_same_observations_give_the_same_commands() -> None:
    runs = [drive(room(*SCENE), "go to the chair next to the table", CHAIRS) for _ in range(2)]
    assert runs[0][0].pose == runs[1][0].pose and runs[0][1] == runs[1][1]
    assert np.isfinite(runs[0][0].pose.x)
