"""`mm-nav replay BAG`: what the stack would have done."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, progress_bar, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mm_nav.goal import Goal
    from mm_nav.replay.run import ReplayResult, ReplayStep
    from mm_nav.runtime.policy import PolicySource

NAME = "replay"
HELP = "run the stack over a recording and report what it would have done"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Run a recording (ROS 1 .bag, rosbag2 sqlite3 or MCAP) through the same synchroniser, navigator and guard as\n"
        "the live robot, in message time, as fast as possible. Topics are found by their types. A recording without a\n"
        "camera or without a LiDAR is run without it.\n"
        "Exit status: 0 the recording was run, 2 it cannot be used."
    )
    parser.epilog = (
        "Example: mm-nav replay drive.mcap --goal 'go to the red chair' --json replay.json --report out/replay"
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help=".bag, .mcap or .db3 file, or rosbag2 folder")
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--goal", metavar="TEXT", help="a sentence, such as 'go to the red chair'")
    goal.add_argument("--goal-pose", metavar="X,Y", help="a place in the odom frame, metres")
    goal.add_argument(
        "--goal-from-end",
        action="store_true",
        help="where the drive ended; for a round trip its farthest place, then its end (default)",
    )
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="KIND=TOPIC",
        help="read odometry, scan, image or cloud from this topic; may be repeated",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="exported policy (default: the committed one)")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a Markdown report with plots there")
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Replay the recording."""
    from rich.console import Console

    from mm_nav.replay.run import replay

    require_writable(args.json)
    topics = _topics(args.topic)
    goals, policy = _goals(args, topics)
    steps: list[ReplayStep] = []

    def keep(step: ReplayStep) -> None:
        if args.report:
            steps.append(_without_pixels(step))

    with progress_bar() as bar:
        task = bar.add_task("replaying", total=100)
        result = replay(
            args.bag, goals, policy, topics=topics, on_step=keep,
            on_time=lambda share: bar.update(task, completed=round(100 * share)),
        )  # fmt: skip
    if args.json:
        write_json(args.json, result.as_dict())
    _print(Console(soft_wrap=True), result)
    if args.report:
        from mm_nav.replay.report import write_report

        print(f"report: {write_report(args.report, result, steps)}")
    return 0


def _goals(args: argparse.Namespace, topics: dict[str, str]) -> tuple[Sequence[Goal], PolicySource | None]:
    from mm_nav.geometry import Pose2D
    from mm_nav.goal import Goal
    from mm_nav.replay.run import driven_goals

    if args.goal is not None:
        from mm_nav.runtime.policy import OnnxPolicy

        return (Goal(args.goal, timeout_s=1e6),), OnnxPolicy(args.model, provider="cpu")
    if args.goal_pose is not None:
        try:
            x, y = (float(part) for part in args.goal_pose.split(","))
        except ValueError as error:
            raise ConfigError(f"--goal-pose is '{args.goal_pose}': give x and y in metres, such as 2.5,-1.0") from error
        return (Goal(pose=Pose2D(x, y), timeout_s=1e6),), None
    return driven_goals(args.bag, topics), None


def _topics(pairs: Sequence[str]) -> dict[str, str]:
    topics = {}
    for pair in pairs:
        kind, separator, topic = pair.partition("=")
        if not separator or not topic:
            raise ConfigError(f"--topic is '{pair}': give KIND=TOPIC, such as scan=/front/scan")
        topics[kind] = topic
    return topics


def _without_pixels(step: ReplayStep) -> ReplayStep:
    """A step without its picture and cloud, so that memory stays flat over long recordings."""
    from dataclasses import replace

    return replace(step, observation=replace(step.observation, image=None, cloud=None))


def _print(console: Console, result: ReplayResult) -> None:
    from rich.markup import escape

    data = result.as_dict()
    sensors = ", ".join(f"{name} {100 * data[f'{name}_share']:.0f} %" for name in data["modalities"]) or "none"
    console.print(f"[bold]{escape(data['bag'])}[/]: {data['duration_s']:.1f} s, goal: {escape(data['goal'])}")
    console.print(f"  {data['steps']} steps, with {sensors}; {data['realtime_factor']:.0f} x real time")
    console.print(
        f"  commands: mean {data['linear_mean_mps']:.2f} m/s, at most {data['linear_max_mps']:.2f} m/s and "
        f"{data['angular_max_abs_rps']:.2f} rad/s; moving in {100 * data['moving_share']:.0f} % of the steps"
    )
    console.print(f"  guard: stopped {data['guard_stops']}, slowed {data['guard_limited'] - data['guard_stops']} steps")
    console.print(f"  latency: p50 {data['latency_p50_ms']:.2f} ms, p99 {data['latency_p99_ms']:.2f} ms")
    stages = ", ".join(f"{name} {count}" for name, count in data["stages"].items())
    console.print(f"  stages: {stages}" + (f"; {escape(data['ended'])}" if data["ended"] else ""))
    for warning in data["warnings"]:
        console.print(f"  [yellow]warning[/]: {escape(warning)}")
