"""Worlds with one robot or several: their starts, and a stack for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mm_nav.geometry import Pose2D
from mm_nav.robot import load_robot
from mm_nav.ros.launching.arguments import Values
from mm_nav.ros.launching.bring_up import BringUp
from mm_nav.ros.launching.options import (
    RobotEntry,
    StackOptions,
    integer,
    number,
    robot_entries,
    stack_options,
    world_of,
    yes,
)
from mm_nav.ros.launching.stack import stack, stack_node
from mm_nav.ros.node_list import SIMULATOR
from mm_nav.sim.rig import load_life
from mm_nav.sim.starts import format_starts, starts_in


def embedded(values: Values, pushed: str) -> Sequence[Any]:
    """Return the entities of the embedded simulator, and of a stack for each of its robots."""
    options = stack_options(values, True, pushed, (SIMULATOR.name,))
    robots = robot_entries(values)
    wanted: dict[str, object] = {
        "world": str(world_of(values["world"])),
        "seed": integer(values, "seed", 0, 2**31 - 1),
        "rate": number(values, "rate", 0.0, 100.0),
        "people": integer(values, "people", 0, 200),
        "life": str(Path(values["life"]).expanduser().resolve()),
    }
    if values["life"]:
        load_life(str(wanted["life"]))
    given = {name: value for name, value in wanted.items() if name in values.given}
    if "start" in values.given:
        given["starts"] = format_starts(robot.start for robot in robots if robot.start is not None)
    # The stacks are told of them, too.
    given["robot"] = ",".join(robot.robot for robot in robots)
    given["robots"] = ",".join(robot.name for robot in robots)
    # It makes the time that the others follow. A new one would begin anew, so its end is that of all.
    simulator = stack_node(SIMULATOR, replace(options, use_sim_time=False, respawn=False), autostart=False, **given)
    sequence = BringUp([(f"{options.namespace}/{SIMULATOR.name}", simulator)])
    found = [*sequence.entities(), simulator]
    if yes(values, "stack"):
        for robot in robots:
            found += stack(robot_options(options, robot), sequence)[0]
    return found


def robot_options(options: StackOptions, robot: RobotEntry) -> StackOptions:
    """Return the options of one robot's stack."""
    namespace = f"{options.namespace}/{robot.name}" if robot.name else options.namespace
    return replace(options, namespace=namespace, robot=robot.robot)


def placed(robots: Sequence[RobotEntry], world: Path) -> tuple[Pose2D, ...]:
    """Return where robots start in a world, world frame: as given, else the world's own start for the first one, and free places.

    Raises ConfigError when there is no room.
    """
    given = tuple(robot.start for robot in robots if robot.start is not None)
    return given or starts_in(world, [load_robot(robot.robot) for robot in robots])
