"""Gazebo with robots in it, and what carries its topics to ROS."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from launch.actions import EmitEvent, ExecuteProcess, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit, OnProcessIO, OnShutdown
from launch.launch_context import LaunchContext
from launch_ros.actions import Node

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.ros.gazebo_bridge import bridge_entries, bridge_yaml, qos_overrides
from mm_nav.ros.launching.arguments import Values
from mm_nav.ros.launching.bring_up import Failed
from mm_nav.ros.launching.options import StackOptions, robot_entries, stack_options, world_of, yes
from mm_nav.ros.launching.simulation import placed, robot_options
from mm_nav.ros.launching.stack import PATIENCE, require_package, required, robot_description, ros_node, stack
from mm_nav.sim.rig import load_rig
from mm_nav.sim.robot_model import MAX_ROBOTS, robot_sdf, robot_urdf
from mm_nav.sim.simulator import SimConfig

# Humble's `create` says so, and ends with status 0.
_NOT_CREATED = (b"Failed request to create entity", b"Request to create entity from service")
# It falls so far when it appears; wheels must not begin inside the floor.
_DROP_M = 0.03
_PROGRAMS = {"harmonic": ("gz", "sim"), "fortress": ("ign", "gazebo")}


def gazebo(values: Values, pushed: str) -> Sequence[Any]:
    """Return the entities of Gazebo, its robots, the bridge, and a stack for each robot."""
    options = stack_options(values, True, pushed, ("bridge", "robot_state_publisher"))
    robots, world = robot_entries(values), world_of(values["world"])
    if len(robots) > MAX_ROBOTS:
        raise ConfigError(f"robots has {len(robots)} names: Gazebo takes up to {MAX_ROBOTS}")
    release = release_of(values["gazebo"])
    require_package("ros_gz_sim", "gazebo.launch.py", "ros-gz")
    require_package("ros_gz_bridge", "gazebo.launch.py", "ros-gz")
    starts = placed(robots, world)
    owns = [robot_options(options, robot) for robot in robots]
    rigs = [load_rig(robot.robot) for robot in robots]
    folder = TemporaryDirectory(prefix="mm_nav_gazebo_")

    def tidy(event: object, context: LaunchContext) -> None:
        folder.cleanup()

    found: list[Any] = [RegisterEventHandler(OnShutdown(on_shutdown=tidy))]
    found += _simulator(release, world, yes(values, "headless"))
    for index, (own, rig, start) in enumerate(zip(owns, rigs, starts, strict=True)):
        name = own.namespace.strip("/").replace("/", "_") or "mm_nav_robot"
        model = Path(folder.name) / f"{name}.sdf"
        model.write_text(robot_sdf(rig, own.namespace, name, release, index), encoding="utf-8")
        found += [*_spawned(name, model, start), robot_description(robot_urdf(rig), own)]
    found.append(_bridge(Path(folder.name) / "bridge.yaml", owns, rigs))
    if yes(values, "stack"):
        for own in owns:
            found += stack(own)[0]
    return found


def release_of(wanted: str) -> str:
    """Return which Gazebo there is, "harmonic" (and later) or "fortress". Raises ConfigError when the wanted one is not there."""
    # A Gazebo of the time before (11) has a program gz, too, which has no `sim`; Humble's own one is Fortress.
    order = ("fortress", "harmonic") if os.environ.get("ROS_DISTRO") == "humble" else ("harmonic", "fortress")
    for release in (wanted,) if wanted != "auto" else order:
        program, command = _PROGRAMS[release]
        path = shutil.which(program)
        if path is not None and (release == "fortress" or _knows(path, command)):
            return release
    programs = [" ".join(_PROGRAMS[release]) for release in ((wanted,) if wanted != "auto" else order)]
    distro = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
    raise ConfigError(
        f"Gazebo is not installed (looked for {' and '.join(f'`{text}`' for text in programs)}): sudo apt install "
        f"ros-{distro}-ros-gz, or use sim.launch.py, which needs none"
    )


def _knows(program: str, command: str) -> bool:
    """Return whether a `gz` has a subcommand."""
    try:
        told = subprocess.run([program, "help"], capture_output=True, text=True, timeout=20.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    # "  sim:           Run and manage the Gazebo Simulator."
    return command in {word.rstrip(":") for word in f"{told.stdout} {told.stderr}".split()}


def _simulator(release: str, world: Path, headless: bool) -> list[Any]:
    """Return server and window as processes of their own: a signal then reaches each, and neither outlives the other."""
    program, command = _PROGRAMS[release]
    libraries = os.environ.get("LD_LIBRARY_PATH", "")
    environment = {}
    for name in ("GZ_SIM_SYSTEM_PLUGIN_PATH", "IGN_GAZEBO_SYSTEM_PLUGIN_PATH"):
        environment[name] = os.pathsep.join(filter(None, [os.environ.get(name, ""), libraries]))
    for name in ("GZ_SIM_RESOURCE_PATH", "IGN_GAZEBO_RESOURCE_PATH"):
        environment[name] = os.pathsep.join(filter(None, [os.environ.get(name, ""), str(world.parent)]))

    def process(*arguments: str, name: str) -> ExecuteProcess:
        cmd = [shutil.which(program) or program, command, *arguments]
        return ExecuteProcess(cmd=cmd, name=name, output="both", additional_env=environment, **PATIENCE)

    server = process("-s", "-r", str(world), *(["--headless-rendering"] if headless else []), name="gazebo")
    found = required(server, "Gazebo")
    if not headless:
        window = process("-g", name="gazebo_window")
        found += [RegisterEventHandler(OnProcessExit(target_action=window, on_exit=_closed)), window]
    return found


def _closed(event: object, context: LaunchContext) -> Shutdown | None:
    """Whoever closes the window is done."""
    return None if context.is_shutdown else Shutdown(reason="Gazebo's window was closed")


def _spawned(name: str, model: Path, start: Pose2D) -> list[Any]:
    """Return what puts a robot into the world; without it there is nothing to drive."""
    node = ros_node(
        "ros_gz_sim",
        "create",
        name=f"create_{name}",
        arguments=["-file", str(model), "-name", name, "-x", f"{start.x:.4f}", "-y", f"{start.y:.4f}", "-z", str(_DROP_M),
                   "-Y", f"{start.yaw:.4f}"],
    )  # fmt: skip

    failed = Failed(f"{name} could not be put into Gazebo's world; the lines above say why")

    def said(event: Any) -> EmitEvent | None:
        return EmitEvent(event=failed) if any(words in event.text for words in _NOT_CREATED) else None

    def ended(event: Any, context: LaunchContext) -> None:
        if event.returncode != 0 and not context.is_shutdown:
            context.emit_event_sync(failed)

    return [
        RegisterEventHandler(OnProcessIO(target_action=node, on_stdout=said, on_stderr=said)),
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended)),
        node,
    ]


def _bridge(path: Path, owns: Sequence[StackOptions], rigs: Sequence[SimConfig]) -> Node:
    """Return one bridge for all robots; it writes its list of topics."""
    entries = [
        entry
        for index, (own, rig) in enumerate(zip(owns, rigs, strict=True))
        for entry in bridge_entries(rig, own.namespace, clock=index == 0)
    ]
    path.write_text(bridge_yaml(entries, ", ".join(rig.robot.name for rig in rigs)), encoding="utf-8")
    return ros_node(
        "ros_gz_bridge",
        "parameter_bridge",
        name="bridge",
        parameters=[*owns[0].files, {"config_file": str(path), "use_sim_time": True, **qos_overrides(entries)}],
        # Gazebo's base keeps the last command when it dies, so a new one must come up at once.
        respawn=True,
        respawn_delay=1.0,
    )
