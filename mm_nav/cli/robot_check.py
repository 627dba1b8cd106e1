"""`mm-nav robot check`: what is missing or wrong on a live robot, in plain words, with the remedy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mm_nav.ros.graph_snapshot import Finding, GraphSnapshot

_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Listen to the running robot for a few seconds and say, for each thing that the stack needs of it, whether it is well:\n"
        "topics, types, QoS, rates, clocks, TF, camera, LiDAR, odometry, who drives, and the stack's own nodes. Nothing is\n"
        "published. Where the stack runs with other topic names, those are looked at. Exit status: 0 nothing fails, 1 something\n"
        "does, 2 wrong input."
    )
    parser.epilog = (
        "Example: mm-nav robot check --robot turtlebot3_waffle\n"
        "         mm-nav robot check --namespace alpha --remap image:=/camera/color/image_raw --json check.json"
    )
    parser.add_argument("--namespace", default="", metavar="NS", help="namespace of the robot (default: none)")
    parser.add_argument(
        "--robot",
        default="",
        metavar="NAME",
        help="which robot it is: a name in config/robots, or a YAML file; its sensors and rates are expected (default: as the "
        "running guard says, else a camera and a LiDAR)",
    )
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="listen for so long, s (default 5)")
    parser.add_argument("--compressed", action="store_true", help="pictures are expected on image/compressed")
    parser.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="NAME:=TOPIC",
        help="look for the stack's topic NAME (image, camera_info, scan, points, imu, odom, cmd_vel, tf, …) at TOPIC; may be "
        "repeated",
    )
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Listen, judge and print."""
    if not 0.5 <= args.seconds <= 600.0:
        raise ConfigError(f"--seconds is {args.seconds}; it must be between 0.5 and 600")
    remaps = dict(_remap(text) for text in args.remap)
    require_writable(args.json)
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "rclpy is not installed: source your ROS 2 (`source /opt/ros/…/setup.bash`), or install mm_nav[ros]"
        ) from error
    from rich.console import Console

    from mm_nav.ros.process_group import prepare_environment

    prepare_environment(loopback=False)
    from mm_nav.ros.graph_checks import check_graph, passed
    from mm_nav.ros.graph_listener import listen

    with Console(stderr=True).status(f"listening for {args.seconds:g} s"):
        snapshot = listen(args.seconds, args.namespace, args.robot, args.compressed, remaps)
    findings = check_graph(snapshot)
    _print(Console(highlight=False), findings)
    if args.json is not None:
        write_json(args.json, _flat(snapshot, findings))
    return 0 if passed(findings) else 1


def _remap(text: str) -> tuple[str, str]:
    name, separator, topic = text.partition(":=")
    if not (separator and name and topic):
        raise ConfigError(f"--remap is '{text}': give NAME:=TOPIC, such as scan:=/front/scan")
    return name, topic


def _print(console: Console, findings: tuple[Finding, ...]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name in ("", "item", "measured", "expected"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        level = finding.level.value
        mark = f"[{_COLOURS[level]}]{level}[/]"
        table.add_row(mark, escape(finding.item), escape(finding.measured), escape(finding.expected))
    console.print(table)
    faults = [finding for finding in findings if finding.code]
    for number, finding in enumerate(faults, 1):
        level = finding.level.value
        head = f"[{_COLOURS[level]}]{level}[/] {escape(finding.item)}: {escape(finding.measured)}"
        console.print(f"\n{number}. {head}\n   {escape(finding.remedy)}", soft_wrap=True)
    fails = sum(finding.level.value == "FAIL" for finding in findings)
    console.print(f"\n{fails} fail, {len(faults) - fails} to look at, {len(findings) - len(faults)} ok", soft_wrap=True)


def _flat(snapshot: GraphSnapshot, findings: tuple[Finding, ...]) -> dict[str, object]:
    counts = {level: sum(finding.level.value == level for finding in findings) for level in _COLOURS}
    return {
        "ok": counts["FAIL"] == 0,
        "fails": counts["FAIL"],
        "warnings": counts["warn"],
        "seconds": snapshot.seconds,
        "namespace": snapshot.namespace,
        "robot": snapshot.robot.body.name if snapshot.robot.said_by else "",
        "findings": [
            {
                "level": finding.level.value,
                "item": finding.item,
                "code": finding.code,
                "measured": finding.measured,
                "expected": finding.expected,
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
    }
