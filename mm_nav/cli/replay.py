"""`mm-nav replay BAG`: what the stack would have done."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import add_json_option, progress_bar, refuse_options, require_writable, write_json
from mm_nav.cli.recordings import add_topic_options, topics_of
from mm_nav.errors import BagError, ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mm_nav.goal import Goal
    from mm_nav.replay.run import ReplayConfig, ReplayResult
    from mm_nav.robot import RobotConfig
    from mm_nav.runtime.familiarity import Familiarity
    from mm_nav.runtime.policy import OnnxPolicy

# A process that reads a recording pays for its start from here on.
_LONG_S = 60.0
NAME = "replay"
HELP = "run the stack over a recording and report what it would have done"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Run recordings (ROS 1 .bag, rosbag2 sqlite3 or MCAP; files, split recordings, or folders of them) through the same\n"
        "synchroniser, navigator and guard as the live robot, in message time, as fast as possible. Topics are found by\n"
        "their types. A recording without a camera or without a LiDAR is run without it. Of damaged ones, what can be read\n"
        "is used. The recorded robot does not follow: every step says what the stack would have done from where it was.\n"
        "`mm-nav replay compare A.json B.json` compares two such runs.\n"
        "Exit status: 0 at least one recording was run, 2 none can be used."
    )
    parser.epilog = (
        "Example: mm-nav replay drive.mcap --goal 'go to the red chair' --json replay.json --report out/replay"
    )
    parser.add_argument(
        "bags", type=Path, nargs="+", metavar="BAG", help=".bag, .mcap or .db3 file, rosbag2 folder, or folder of these"
    )
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--goal", metavar="TEXT", help="a sentence, such as 'go to the red chair'")
    goal.add_argument("--goal-pose", metavar="X,Y", help="a place in the odom frame, metres")
    goal.add_argument(
        "--goal-from-end",
        action="store_true",
        help="where the drive ended; for a round trip its farthest place, then its end (default)",
    )
    goal.add_argument(
        "--goal-every",
        type=float,
        metavar="M",
        help="the places that the drive came through, so many metres apart: the stack is asked for what the robot did",
    )
    add_topic_options(parser)
    parser.add_argument(
        "--robot",
        default="generic",
        metavar="NAME",
        help="the recorded robot's body: a name in config/robots, or a file",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="exported policy (default: the committed one)")
    parser.add_argument(
        "--no-policy", action="store_true", help="with a goal that is a place: do not ask the policy for ways to it"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a report there, one HTML page")
    parser.add_argument(
        "--mcap",
        type=Path,
        metavar="FILE",
        help="write the stack's outputs as ROS messages, to open beside the recording in Foxglove or RViz",
    )
    parser.add_argument("--rerun", type=Path, metavar="FILE", help="write a recording for the Rerun viewer (.rrd)")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="afterwards play it to the live nodes over DDS, in real time, and measure late commands",
    )
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="logs of the nodes of --realtime (default: out/replay/logs)"
    )
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Replay the recordings."""
    from rich.console import Console

    from mm_nav.bags.containers import find_recordings
    from mm_nav.replay.run import ReplayConfig
    from mm_nav.replay.together import as_one
    from mm_nav.robot import load_robot

    if args.no_policy:
        refuse_options(args, "model", "is the policy, which --no-policy does not ask: leave out one of them")
    if not args.realtime:
        refuse_options(args, "logs", "is for the nodes of --realtime: give that too, or leave it out")
    for file in (args.json, args.mcap, args.rerun):
        require_writable(file)
    found = find_recordings(args.bags)
    if len(found) > 1 and (args.mcap or args.rerun or args.realtime):
        raise ConfigError("--mcap, --rerun and --realtime take one recording: give one, or leave them out")
    one = _Replay(args, ReplayConfig(robot=load_robot(args.robot), film=args.report is not None))
    console, results, failed = Console(soft_wrap=True), [], []
    for recording in found:
        try:
            results.append(one.run(recording))
        except BagError as error:
            failed.append(str(error))
            continue
        _print(console, results[-1])
    if not results:
        raise BagError("; ".join(failed))
    data = as_one(results)
    data["warnings"] = [*failed, *data["warnings"]]
    for text in failed:
        console.print(f"[yellow]not used[/]: {_escaped(text)}")
    if args.realtime:
        data |= _realtime(args, one, found, results)
        data["warnings"] = [*failed, *as_one(results)["warnings"]]
        _print_realtime(console, data)
    if args.json:
        write_json(args.json, data | {"provenance": results[0].log.provenance})
    if len(results) > 1:
        console.print(f"[bold]{len(results)} recordings together[/]")
        _print_measures(console, data)
    if args.report:
        from mm_nav.replay.report import RecordingReport, write_report

        reports = [
            RecordingReport(result.as_dict(), result.log, footprint=one.config.robot.footprint) for result in results
        ]
        print(f"report: {write_report(args.report, reports)}")
    return 0


class _Replay:
    """What is the same for all recordings of a run."""

    def __init__(self, args: argparse.Namespace, config: ReplayConfig) -> None:
        self.args, self.config = args, config
        self.topics = topics_of(args)
        self.policy: OnnxPolicy | None = None
        self._familiarity: Familiarity | None = None
        if not args.no_policy:
            from mm_nav.runtime.familiarity import Familiarity
            from mm_nav.runtime.policy import OnnxPolicy

            self.policy = OnnxPolicy(args.model, provider="cpu")
            self._familiarity = Familiarity.beside(self.policy.path)
        elif args.goal is not None:
            raise ConfigError("--no-policy is for goals that are places: a sentence needs the policy")

    def goals(self, recording: Path | Sequence[Path]) -> Sequence[Goal]:
        """Return what is asked of the stack in a recording."""
        from mm_nav.geometry import Pose2D
        from mm_nav.goal import Goal
        from mm_nav.replay.source import driven_goals

        args = self.args
        if args.goal is not None:
            return (Goal(args.goal, timeout_s=1e6),)
        if args.goal_every is not None and not 0.5 <= args.goal_every <= 1000:
            raise ConfigError(f"--goal-every is {args.goal_every}: give 0.5 to 1000 metres")
        if args.goal_pose is None:
            return driven_goals(recording, self.topics, every_m=args.goal_every)
        try:
            x, y = (float(part) for part in args.goal_pose.split(","))
        except ValueError as error:
            raise ConfigError(f"--goal-pose is '{args.goal_pose}': give x and y in metres, such as 2.5,-1.0") from error
        return (Goal(pose=Pose2D(x, y), timeout_s=1e6),)

    def run(self, recording: Path | Sequence[Path]) -> ReplayResult:
        """Run one recording through the stack."""
        from mm_nav.replay.provenance import provenance
        from mm_nav.replay.run import replay
        from mm_nav.replay.source import duration_s

        apart = duration_s(recording) >= _LONG_S and (os.cpu_count() or 1) > 1
        config = replace(self.config, reading="process" if apart else "thread")
        name = recording if isinstance(recording, Path) else recording[0]
        told = provenance(self.policy, self.config)
        with ExitStack() as stack, progress_bar() as bar:
            task = bar.add_task(name.name, total=100)
            sinks = [stack.enter_context(sink) for sink in _outputs(self.args, recording, self.config.robot, told)]
            result = replay(
                recording, self.goals(recording), self.policy, config, self.topics, sinks,
                lambda share: bar.update(task, completed=round(100 * share)), self._familiarity,
            )  # fmt: skip
            for sink in sinks:
                sink.later(result.log.columns)
        result.log.provenance = told
        return result


def _outputs(
    args: argparse.Namespace, recording: Path | Sequence[Path], robot: RobotConfig, told: dict[str, str]
) -> list[Any]:
    """Return what else gets every step, as context managers that are sinks."""
    outputs: list[Any] = []
    if args.mcap:
        from mm_nav.replay.outputs_mcap import McapOutputs
        from mm_nav.replay.source import has_transforms

        outputs.append(McapOutputs(args.mcap, robot, with_tf=not has_transforms(recording), provenance=told))
    if args.rerun:
        from mm_nav.replay.outputs_rerun import RerunOutputs

        outputs.append(RerunOutputs(args.rerun, robot))
    return outputs


def _realtime(
    args: argparse.Namespace, one: _Replay, found: Sequence[Path | Sequence[Path]], results: Sequence[ReplayResult]
) -> dict[str, Any]:
    try:
        from mm_nav.ros.replay_player import replay_realtime
    except ImportError as error:
        raise ConfigError(f"no ROS 2 is here ({error}): run `make setup`, or leave --realtime out") from error
    seconds, goals = results[0].message_time_s, one.goals(found[0])
    if len(goals) > 1:
        results[0].bag.warn(f"in real time only the first of {len(goals)} goals was sent")
    with progress_bar() as bar:
        task = bar.add_task("in real time", total=seconds)
        return replay_realtime(
            found[0], goals[0], args.logs or Path("out/replay/logs"), model=args.model, topics=one.topics,
            progress=lambda done, of: bar.update(task, completed=done, total=of), robot=args.robot,
        )  # fmt: skip


def _escaped(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))


def _print(console: Console, result: ReplayResult) -> None:
    data = result.as_dict()
    sensors = ", ".join(f"{name} {100 * data[f'{name}_share']:.0f} %" for name in data["modalities"]) or "none"
    console.print(f"[bold]{_escaped(data['bag'])}[/]: {data['duration_s']:.1f} s, goal: {_escaped(data['goal'])}")
    console.print(f"  {data['steps']} steps, with {sensors}; {data['realtime_factor']:.0f} x real time")
    _print_measures(console, data)
    stages = ", ".join(f"{name} {count}" for name, count in data["stages"].items())
    console.print(f"  stages: {stages}" + (f"; {_escaped(data['ended'])}" if data["ended"] else ""))
    for warning in data["warnings"]:
        console.print(f"  [yellow]warning[/]: {_escaped(warning)}")


def _print_measures(console: Console, data: dict[str, Any]) -> None:
    for h in (1, 2, 4):
        errors = ", ".join(
            f"{name} {data[key]:.2f} m"
            for name, key in (
                ("stack", f"ade_{h}s_m"),
                ("its end", f"fde_{h}s_m"),
                ("straight on", f"straight_ade_{h}s_m"),
                ("policy's waypoints", f"policy_ade_{h}s_m"),
            )
            if math.isfinite(data[key])
        )
        if errors:
            known = data[f"policy_{h}s_share"]
            of = f" (compared in {100 * known:.0f} % of the steps)" if known < 0.995 else ""
            console.print(f"  off what the robot did, mean over {h} s: {errors}{of}")
    console.print(
        f"  commands: mean {data['linear_mean_mps']:.2f} m/s, at most {data['linear_max_mps']:.2f} m/s and "
        f"{data['angular_max_abs_rps']:.2f} rad/s; moving in {100 * data['moving_share']:.0f} % of the steps"
    )
    console.print(
        f"  guard: stopped {data['guard_stops']}, slowed {data['guard_limited'] - data['guard_stops']} steps; would have stopped "
        f"the recorded robot in {data['recorded_guard_stops']}"
    )
    if math.isfinite(data["clearance_min_m"]):
        console.print(
            f"  near-collisions: {data['near_collisions']} foreseen, {data['recorded_near_collisions']} of the recorded robot, "
            f"which came as near as {data['clearance_min_m']:.2f} m"
        )
    strange = [
        f"{name} {100 * data[f'strange_{key}_share']:.0f} % (median score {data[f'strange_{key}_p50']:.2f})"
        for name, key in (("pictures", "image"), ("scans", "scan"))
        if math.isfinite(data[f"strange_{key}_share"])
    ]
    if strange:
        why = next(iter(data["strange_reasons"]), "")
        console.print(f"  unlike the training: {', '.join(strange)}" + (f"; mostly {_escaped(why)}" if why else ""))
    console.print(f"  latency: p50 {data['latency_p50_ms']:.2f} ms, p99 {data['latency_p99_ms']:.2f} ms")


def _print_realtime(console: Console, data: dict[str, Any]) -> None:
    console.print(
        f"  live nodes in real time: {data['realtime_commands']} commands, p50 {data['realtime_latency_p50_ms']:.1f} ms, p99 "
        f"{data['realtime_latency_p99_ms']:.1f} ms, {data['deadline_misses']} later than {data['deadline_ms']:.0f} ms"
    )
