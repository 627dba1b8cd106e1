"""`mm-nav demo`: real ROS 2 nodes, the simulated robot, a spoken goal, and a film of it."""

from __future__ import annotations

import argparse
import copy
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError, MmNavError
from mm_nav.geometry import Pose2D

if TYPE_CHECKING:
    from mm_nav.ros.process_group import ProcessGroup
    from mm_nav.sim.scene import Scene

NAME = "demo"
HELP = "drive to a spoken goal in the embedded simulator, over ROS 2"
DEFAULT_GOAL = "go to the red barrel"
REACHED_M, POSE_REACHED_M = 1.0, 0.5
_FRAME_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Start simulator, inference, navigator and guard as processes of their own over DDS, send a goal through the "
        "action, show its progress, and write a film, a picture and the run's numbers. Exit status 0: the robot got there "
        "(judged by the simulator's truth), 1: it did not, 2: bad input."
    )
    parser.epilog = "Example: mm-nav demo --goal 'go past the table to the red chair' --world worlds/office.sdf"
    parser.add_argument("--goal", metavar="TEXT", help=f"what to do, in plain English (default '{DEFAULT_GOAL}')")
    parser.add_argument(
        "--goal-pose",
        metavar="X,Y[,YAW]",
        help="drive to a pose: metres and rad, world frame; after what --goal says, if given",
    )
    parser.add_argument("--world", type=Path, metavar="FILE", help="SDF world (default: the apartment of mm_nav)")
    parser.add_argument("--start", metavar="X,Y[,YAW]", help="start pose (default: the world's own, or a free spot)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="ONNX policy (default: the one of mm_nav)")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="time for the goal, s (default 120)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the simulated noise (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="results (default out/demo)")
    parser.add_argument(
        "--domain-id", type=int, metavar="N", help="ROS domain, 0 to 101 (default: one of this run's own)"
    )
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    goal_pose = parse_pose(args.goal_pose, "--goal-pose")
    instruction = args.goal if args.goal is not None else ("" if goal_pose else DEFAULT_GOAL)
    if not 1 <= args.timeout <= 3600:
        raise ConfigError(f"--timeout is {args.timeout}; it must be between 1 and 3600 s")
    if args.domain_id is not None and not 0 <= args.domain_id <= 101:
        raise ConfigError(f"--domain-id is {args.domain_id}; it must be between 0 and 101")
    if instruction:
        from mm_nav.goal import Goal

        Goal(instruction)  # refuses what no navigator would take, before anything starts
    require_writable(args.out / "result.json")
    require_writable(args.json)
    drive = _Drive(args, instruction, goal_pose)
    result = drive.run()
    write_json(args.out / "result.json", result)
    if args.json is not None:
        write_json(args.json, result)
    return 0 if result["success"] else 1


def parse_pose(text: str | None, option: str) -> Pose2D | None:
    """Return the pose of "x,y" or "x,y,yaw". Raises ConfigError."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (2, 3) or not all(math.isfinite(v) for v in values):
        raise ConfigError(f"{option} is '{text}'; give x,y or x,y,yaw in metres and radians, such as {option}=3.5,-1")
    return Pose2D(*values)


def gives_yaw(text: str | None) -> bool:
    """Return whether a pose as `parse_pose` takes it has a yaw."""
    return text is not None and text.count(",") == 2


class _Drive:
    """One demo run."""

    def __init__(self, args: argparse.Namespace, instruction: str, goal_pose: Pose2D | None) -> None:
        from mm_nav.resources import resource_path
        from mm_nav.sim.scene import Scene
        from mm_nav.sim.world import load_world

        self.args, self.instruction, self.goal_pose = args, instruction, goal_pose
        self.world = Path(args.world) if args.world is not None else resource_path("worlds/apartment.sdf")
        world = load_world(self.world)
        self.scene: Scene = Scene(world)
        self.start = parse_pose(args.start, "--start") or default_start(self.world, self.scene)

    def run(self) -> dict[str, Any]:
        """Start everything, drive, and return the numbers."""
        from mm_nav.ros.process_group import ProcessGroup, prepare_environment

        prepare_environment(self.args.domain_id if self.args.domain_id is not None else 1 + os.getpid() % 100)
        from mm_nav.ros.node_list import EMBEDDED
        from mm_nav.sim.starts import format_starts

        parameters: dict[str, dict[str, object]] = {
            "simulator": {
                "world": str(self.world.resolve()), "seed": self.args.seed, "starts": format_starts([self.start]),
            }
        }  # fmt: skip
        if self.args.model is not None:
            # The navigator takes the words of this model, too.
            parameters |= {name: {"model": str(self.args.model.resolve())} for name in ("inference", "navigator")}
        with ProcessGroup(EMBEDDED, self.args.out / "logs", parameters) as group:
            return self._follow(group)

    def _follow(self, group: ProcessGroup) -> dict[str, Any]:
        import rclpy

        from mm_nav.evaluation.recording import DriveRecorder
        from mm_nav.ros.drive_monitor import DriveMonitor
        from mm_nav.ros.goal_client import GoalClient

        rclpy.init()
        node = rclpy.create_node("mm_nav_demo")
        try:
            monitor, client = DriveMonitor(node), GoalClient(node)
            display = _Display()
            said = self.instruction or f"pose {self.args.goal_pose}"
            display.say(f"world {self.world.name}, goal: {said}")
            if not client.wait(30.0, lambda: _obituary(group)):
                raise MmNavError(f"the nodes did not come up: {_obituary(group) or 'no navigator within 30 s'}")
            while not (monitor.heard_truth and monitor.state.image is not None) and not _obituary(group):
                client.spin(0.1)
            recorder = DriveRecorder(self.scene, said)
            monitor.recording = True
            next_frame = 0.0

            def tick() -> str:
                nonlocal next_frame
                if monitor.state.time_s >= next_frame:
                    next_frame = monitor.state.time_s + _FRAME_S
                    recorder.add(copy.copy(monitor.state))
                display.show(monitor.state)
                return _obituary(group)

            def feedback(message: Any) -> None:
                monitor.feedback(message)
                display.feedback = message

            try:
                outcome = client.run(
                    self.instruction, self.goal_pose, self.args.timeout, feedback, tick,
                    facing=gives_yaw(self.args.goal_pose),
                )  # fmt: skip
            finally:
                display.close()
            client.spin(0.7)
            recorder.add(copy.copy(monitor.state))
            result = self._judge(monitor, outcome)
            display.say("writing film and picture")
            verdict = "reached" if result["success"] else "not reached"
            line = f"{verdict} after {result['time_s']:.1f} s and {result['path_length_m']:.1f} m: {result['message']}"
            paths = recorder.save(self.args.out, line)
            display.finish(line, [*map(str, paths), str(self.args.out / "result.json")], result)
            return result
        finally:
            node.destroy_node()
            rclpy.shutdown()

    def _judge(self, monitor: Any, outcome: Any) -> dict[str, Any]:
        """Success by the simulator's truth, not by what the navigator says alone."""
        import numpy as np

        from mm_nav.runtime.stages import shares

        pose = monitor.state.pose
        gap = self._gap(pose)
        limit = POSE_REACHED_M if self.goal_pose is not None else REACHED_M
        near = math.isnan(gap) or gap < limit
        latency = np.percentile(monitor.latencies_ms, [50, 99]) if monitor.latencies_ms else (math.nan, math.nan)
        return {
            "success": bool(outcome.succeeded and near and monitor.contacts == 0),
            "error_code": int(outcome.error),
            "error": outcome.error.name,
            "message": outcome.message,
            "time_s": round(monitor.state.time_s, 2),
            "path_length_m": round(monitor.path_length_m, 3),
            "distance_to_goal_m": None if math.isnan(gap) else round(gap, 3),
            "judged_by_truth": not math.isnan(gap),
            "collisions": monitor.contacts,
            "guard_interventions": monitor.guard_interventions,
            "stamp_to_command_p50_ms": round(float(latency[0]), 2),
            "stamp_to_command_p99_ms": round(float(latency[1]), 2),
            "inference_p50_ms": round(float(np.median(monitor.inference_ms)), 2) if monitor.inference_ms else None,
            "commands": len(monitor.latencies_ms),
            **shares(monitor.stages),
            "goal": self.instruction,
            "goal_pose": None if self.goal_pose is None else [self.goal_pose.x, self.goal_pose.y, self.goal_pose.yaw],
            "world": self.world.name,
            "seed": self.args.seed,
        }

    def _gap(self, pose: Pose2D) -> float:
        """Metres from the robot to the goal pose, or to the nearest object that the last step names; nan when none is known."""
        if self.goal_pose is not None:
            return pose.distance_to(self.goal_pose)
        from mm_nav.language import parse_instruction
        from mm_nav.sim.instructions import described_objects
        from mm_nav.sim.objects import scene_objects

        named = described_objects(parse_instruction(self.instruction)[-1].phrase, scene_objects(self.scene.world))
        return min((item.distance(pose.x, pose.y) for item in named), default=math.nan)


def default_start(world: Path, scene: Scene | None = None) -> Pose2D:
    """Return the start pose of a world file: its own where it comes with the stack, else a free spot of the scene."""
    from mm_nav.robot import RobotConfig
    from mm_nav.sim.starts import starts_in

    return starts_in(world, [RobotConfig()], scene)[0]


def _obituary(group: ProcessGroup) -> str:
    from mm_nav.ros.process_group import last_words

    for name, status in group.dead().items():
        log = group.log(name)
        return f"the {name} process ended (status {status}); its log is {log}: {last_words(log)}"
    return ""


class _Display:
    """Progress in the terminal: one live line, or a line every two seconds where there is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console()
        self.feedback: Any = None
        self._status = self.console.status("starting") if self.console.is_terminal else None
        self._printed = -10.0
        if self._status is not None:
            self._status.start()

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False)

    def show(self, state: Any) -> None:
        """Show where the drive stands."""
        if self.feedback is None:
            return
        f = self.feedback
        left = "distance unknown" if math.isnan(f.distance_remaining) else f"{f.distance_remaining:4.1f} m to go"
        line = (
            f"{state.time_s:5.1f} s  {f.stage:<11} step {f.step_index + 1}/{f.step_count} '{f.step_text}'  {left}  "
            f"confidence {f.confidence:.2f}  latency {state.latency_ms:.0f} ms"
        )
        if self._status is not None:
            self._status.update(line)
        elif state.time_s - self._printed >= 2.0:
            self._printed = state.time_s
            self.say(line)

    def close(self) -> None:
        """End the live line."""
        if self._status is not None:
            self._status.stop()

    def finish(self, line: str, files: list[str], result: dict[str, Any]) -> None:
        """Print the result."""
        self.say(line)
        self.say(
            f"stamp to command p50 {result['stamp_to_command_p50_ms']} ms, p99 {result['stamp_to_command_p99_ms']} ms "
            f"over {result['commands']} commands; collisions {result['collisions']}"
        )
        for file in files:
            self.say(f"  {file}")
