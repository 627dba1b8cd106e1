"""`mm-nav record`: the running stack's topics, or a simulated drive, as a recording."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from mm_nav.bags.rosbag2_log import Rosbag2Log
    from mm_nav.ros.recorder import Recorder

NAME = "record"
HELP = "record the stack's topics, or an episode of the simulator"
_LIVE = ("topics", "all", "max_size", "max_duration", "compression")
_EPISODE = ("storage", "cloud", "camera", "zstd", "model")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Record topics of running nodes into a rosbag2 folder of MCAP files, which `ros2 bag`, rosbags and Foxglove open. Topics\n"
        "may appear later. Whatever happens, all but the last half second can be read (after a power cut: the last seconds).\n"
        "Ctrl-C ends a recording. With --episode nothing needs to run: a simulated drive of the stack is recorded, with its\n"
        "commands, and what it was asked to do is written beside.\n"
        "Exit status: 0 recorded, 1 nothing came, 2 it could not be recorded."
    )
    parser.epilog = (
        "Examples: mm-nav record --out out/kitchen\n"
        "          mm-nav record --episode 10001:colour --out out/drive && \\\n"
        '          mm-nav replay out/drive --goal "$(cat out/drive/goal.txt)"'
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="what to record (default: the topics of the stack)")
    parser.add_argument("--all", action="store_true", help="record every topic")
    parser.add_argument("--out", type=Path, metavar="PATH", help="a new folder (default: out/recordings/DATE-TIME)")
    parser.add_argument("--max-size", type=float, default=0.0, metavar="MB", help="begin a new file at this size")
    parser.add_argument("--max-duration", type=float, default=0.0, metavar="S", help="end after so many seconds")
    parser.add_argument(
        "--compression", choices=("none", "zstd", "lz4"), default="none", help="of chunks (default: none)"
    )
    episode = parser.add_argument_group("simulated drives")
    episode.add_argument(
        "--episode", metavar="SEED[:KIND]", help="record the drive of this episode (default kind: the suite's mix)"
    )
    episode.add_argument("--storage", choices=("mcap", "sqlite3", "ros1"), default="mcap", help="default: mcap")
    episode.add_argument("--cloud", action="store_true", help="with a 3D LiDAR's point clouds too")
    episode.add_argument("--camera", default="192x144", metavar="WxH", help="camera pixels (default: 192x144)")
    episode.add_argument("--zstd", action="store_true", help="compress (mcap and sqlite3)")
    episode.add_argument("--model", type=Path, metavar="FILE", help="exported policy (default: the committed one)")
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Record."""
    _check(args)
    require_writable(args.json)
    if args.episode is not None:
        return _record_episode(args)
    return _record_live(args)


def _check(args: argparse.Namespace) -> None:
    """Raise ConfigError for options that do not belong together."""
    if args.topics and args.all:
        raise ConfigError("both topics and --all are given: name topics, or record every one")
    for name in ("max_size", "max_duration"):
        if getattr(args, name) < 0:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(args, name)}: it must be above 0")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    names, of = (_LIVE, "running nodes") if args.episode is not None else (_EPISODE, "--episode")
    for name in names:
        if getattr(args, name) not in (parser.get_default(name), []):
            what = "TOPIC" if name == "topics" else f"--{name.replace('_', '-')}"
            raise ConfigError(f"{what} is for recordings of {of}: leave it out")


def _record_live(args: argparse.Namespace) -> int:
    from mm_nav.bags.mcap_log import LogConfig
    from mm_nav.bags.rosbag2_log import Rosbag2Log

    try:
        from mm_nav.ros.process_group import prepare_environment

        prepare_environment(loopback=False)
        import rclpy
        from rclpy.signals import SignalHandlerOptions
    except ImportError as error:
        raise ConfigError(
            f"recording running nodes needs ROS 2 ({error}): source a ROS 2 installation, or run `make setup`"
        ) from error
    out = args.out or Path("out/recordings") / time.strftime("%Y-%m-%d-%H-%M-%S")
    # Ctrl-C is ours: what was gathered is written before the context goes.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("mm_nav_record")
    try:
        from mm_nav.ros.recorder import Recorder, stack_topics

        wanted = None if args.all else [node.resolve_topic_name(t) for t in args.topics] or stack_topics(node)
        display = _Display()
        with Rosbag2Log(out, LogConfig(args.compression), round(1e6 * args.max_size)) as log:
            recorder = Recorder(node, log, wanted, display.warn)
            with _Signals() as ended:
                began = time.monotonic()
                try:
                    _follow(node, recorder, log, display, args.max_duration, ended)
                finally:
                    recorder.close()
                    display.clear()
                seconds = time.monotonic() - began
    finally:
        node.destroy_node()
        rclpy.shutdown()
    result = _summary(recorder, log, seconds)
    _print(result, named=bool(args.topics))
    if args.json is not None:
        write_json(args.json, result)
    return 0 if result["messages"] else 1


def _follow(node: Any, recorder: Recorder, log: Rosbag2Log, display: _Display, limit_s: float, ended: _Signals) -> None:
    from rclpy.executors import SingleThreadedExecutor

    # Not the events executor: it cannot hand over when a message was sent.
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    began = next_look = time.monotonic()
    try:
        while not ended.seen:
            now = time.monotonic()
            if limit_s and now - began >= limit_s:
                return
            if now >= next_look:
                next_look = now + 0.5
                recorder.check()
                recorder.look()
                display.show(recorder, log, now - began)
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()


class _Signals:
    """Notes Ctrl-C and a request to end instead of dying of them; a second Ctrl-C interrupts as usual."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> _Signals:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.seen = True


class _Display:
    """One line that is written again and again, on a terminal; warnings above it."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def show(self, recorder: Recorder, log: Rosbag2Log, seconds: float) -> None:
        if not self._terminal:
            return
        counts = recorder.counts.values()
        heard = sum(c.messages > 0 for c in counts)
        lost = sum(c.lost + c.dropped for c in counts)
        line = (
            f"{seconds:6.1f} s  {heard} of {len(counts)} topics  {sum(c.messages for c in counts)} messages  "
            f"{log.bytes_written / 1e6:.1f} MB  {lost} lost"
        )
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        self.clear()
        sys.stderr.write(f"warning: {text}\n")

    def clear(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")


def _summary(recorder: Recorder, log: Rosbag2Log, seconds: float) -> dict[str, Any]:
    counts = recorder.counts
    return {
        "path": str(log.folder),
        "files": [path.name for path in log.files],
        "duration_s": round(seconds, 3),
        "messages": sum(log.counts),
        "bytes": log.bytes_written,
        "lost": sum(count.lost for count in counts.values()),
        "dropped": sum(count.dropped for count in counts.values()),
        "silent": list(recorder.silent),
        "missing": list(recorder.missing),
        **{f"messages_{name}": count.messages for name, count in counts.items()},
        **{f"lost_{name}": count.lost + count.dropped for name, count in counts.items() if count.lost + count.dropped},
    }


def _print(result: dict[str, Any], named: bool) -> None:
    files = f", {len(result['files'])} files" if len(result["files"]) > 1 else ""
    print(
        f"{result['path']}: {result['messages']} messages, {result['bytes'] / 1e6:.1f} MB, "
        f"{result['duration_s']:.1f} s{files}"
    )
    for key, count in result.items():
        if key.startswith("messages_"):
            topic = key.removeprefix("messages_")
            lost = result.get(f"lost_{topic}", 0)
            print(f"  {topic}: {count}" + (f", {lost} lost" if lost else ""))
    # Of the stack's topics, a robot has some only.
    silent = result["silent"] if named else [t for t in result["silent"] if t not in result["missing"]]
    if silent:
        print(f"  nothing came on: {', '.join(silent)}")
    if not result["messages"]:
        print("  no message came at all: is the stack running, in the same ROS_DOMAIN_ID?")


def _record_episode(args: argparse.Namespace) -> int:
    from mm_nav.cli.output import progress_bar
    from mm_nav.cli.run_options import size
    from mm_nav.evaluation.episode_bags import write_episode_bag

    seed, _, kind = args.episode.partition(":")
    if not seed.isdecimal():
        raise ConfigError(f"--episode is '{args.episode}': give a seed, or a seed and a kind, such as 10001:colour")
    suffix = ".bag" if args.storage == "ros1" else ""
    out = args.out or Path("out/recordings") / f"episode-{seed}{'-' + kind if kind else ''}{suffix}"
    with progress_bar() as bar:
        task = bar.add_task("driving", total=None)
        written = write_episode_bag(
            out, int(seed), kind or None, storage=args.storage, camera=size(args.camera), cloud=args.cloud,
            zstd=args.zstd, model=args.model, on_time=lambda s: bar.update(task, completed=round(s)),
        )  # fmt: skip
    print(f"{written.path}: {written.steps} steps, {written.result.time_s:.1f} s; goal in {written.goal_file}")
    print(written.goal)
    if args.json is not None:
        write_json(args.json, written.as_dict())
    return 0
