"""A recording to the stack: a player, the goal, and what comes of it recorded."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launch.actions import ExecuteProcess, RegisterEventHandler, Shutdown
from launch.event_handler import EventHandler
from launch.event_handlers import OnProcessExit
from launch.launch_context import LaunchContext

from mm_nav.bags.containers import Channel, open_recording
from mm_nav.bags.mapping import camera_info
from mm_nav.bags.reader import BagReader
from mm_nav.errors import ConfigError
from mm_nav.ros.launching.arguments import Values
from mm_nav.ros.launching.bring_up import Active, Failed, ends_with
from mm_nav.ros.launching.options import StackOptions, number, obstacles_from, stack_options, topic_remappings
from mm_nav.ros.launching.stack import PATIENCE, package_prefix, require_package, stack
from mm_nav.ros.node_list import STACK
from mm_nav.ros.topics import topics

# What the guard lets through in a replay must not move the robot that it runs on.
REPLAYED_COMMAND = "cmd_vel_replayed"
# The reader's kinds of topics by argument.
_KINDS = {"image": "image", "camera_info": "camera_info", "scan": "scan", "points": "cloud", "odom": "odometry"}
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
# The recording's end is the goal's. A navigator takes no longer timeout, s.
_TIMEOUT_S = 86400


@dataclass(frozen=True)
class Player:
    """What plays a recording. parameters: what the nodes must be told of how it does: (node, name, value)."""

    command: list[str]
    parameters: tuple[tuple[str, str, bool], ...]


def replayed(values: Values, pushed: str) -> Sequence[Any]:
    """Return the entities of the stack and, as soon as that is active, of player, goal and recorder."""
    topic_remappings(values)  # what is no topic's name is told
    options = stack_options(Values({**values, **dict.fromkeys(_KINDS, "")}, values.given), True, pushed)
    play = player(values, options)
    options = replace(options, remappings=((topics().cmd_vel, REPLAYED_COMMAND),), parameters=play.parameters)
    record = Path(values["record"]).expanduser() if values["record"] else None
    if record is not None and record.exists():
        raise ConfigError(f"record '{record}' exists: give a new folder, or remove it")

    def process(name: str, *command: str, output: str = "both") -> ExecuteProcess:
        return ExecuteProcess(cmd=[*command], name=name, output=output, **PATIENCE)

    playing = process("player", *play.command)
    started: list[Any] = []
    if record is not None:
        recorder = process(
            "recorder", sys.executable, "-m", "mm_nav.cli", "record", *_recorded(options), "--out", str(record)
        )
        started += [ends_with(recorder, "the recorder"), recorder]
    started += [RegisterEventHandler(OnProcessExit(target_action=playing, on_exit=_played)), playing]
    if values["goal"]:
        where = ["--namespace", options.namespace.strip("/")] if options.namespace else []
        go = ["go", values["goal"], "--timeout", str(_TIMEOUT_S), *where]
        started.append(process("goal", sys.executable, "-m", "mm_nav.cli", *go, output="log"))
    entities, sequence = stack(options)
    begin = EventHandler(
        matcher=lambda event: isinstance(event, Active) and event.sequence is sequence,
        entities=started,
        handle_once=True,
    )
    return [RegisterEventHandler(begin), *entities]


def _played(event: Any, context: LaunchContext) -> Any:
    if context.is_shutdown:
        return None
    if event.returncode == 0:
        return Shutdown(reason="the recording has been played")
    context.emit_event_sync(Failed("the recording could not be played; the lines above say why"))
    return None


def player(values: Mapping[str, str], options: StackOptions) -> Player:
    """Return what plays a recording. Raises ConfigError for what it or the player cannot do, BagError for a bad recording."""
    if not values["bag"]:
        raise ConfigError("bag is not given: bag:=PATH of a rosbag2 folder, or of an MCAP or ROS 1 file")
    bag, rate = Path(values["bag"]).expanduser(), f"{number(values, 'rate', 0.01, 100.0):g}"
    wanted = {kind: values[name] for name, kind in _KINDS.items() if values[name]}
    with BagReader(bag, wanted) as reader:
        used = dict(reader.report.used)
    obstacles = values["obstacles"]
    _check_obstacles(values, bag, used)
    reason = _not_for_ros2bag(bag, used, obstacles)
    if values["player"] == "ros2bag":
        require_package("ros2bag", "player:=ros2bag")
        if reason:
            raise ConfigError(f"player:=ros2bag: {reason}; player:=mm_nav plays it")
    if values["player"] == "mm_nav" or reason or not package_prefix("ros2bag"):
        given = [part for kind, topic in wanted.items() for part in ("--topic", f"{kind}={topic}")]
        namespace = ["--ros-args", "-r", f"__ns:={options.namespace}"] if options.namespace else []
        namespace += ["-r", "/tf:=tf", "-r", "/tf_static:=tf_static"] if options.namespace else []
        # The nodes, and whoever records: nothing is played before all listen.
        given += ["--robot", options.robot, "--rate", rate, "--listeners", str(len(STACK) + bool(values["record"]))]
        given += ["--clouds"] if obstacles == "points" else []
        command = [sys.executable, "-m", "mm_nav.ros.bag_player", str(bag), *given, *namespace]
        # It cuts clouds into scans, and decodes pictures.
        return Player(command, (*obstacles_from("scan"), ("inference", "compressed", False)))
    if obstacles != "points":
        used.pop("cloud", None)
    recording = open_recording(bag)
    try:
        compressed = any(c.topic == used.get("image") and c.msgtype == _COMPRESSED for c in recording.channels)
        info = wanted.get("camera_info")
        found = camera_info(recording.channels, used["image"], info, bag) if "image" in used else None
    finally:
        recording.close()
    command = [*_ros2bag(bag, used, compressed, found, options), "--rate", rate]
    return Player(command, (*obstacles_from(obstacles), ("inference", "compressed", compressed)))


def _check_obstacles(values: Mapping[str, str], bag: Path, used: Mapping[str, str]) -> None:
    """Raise ConfigError where arguments and recording do not agree on where obstacles come from."""
    points = values["obstacles"] == "points"
    if points and "cloud" not in used:
        raise ConfigError(f"obstacles:=points: {bag} has no point clouds with messages: leave it out")
    if points and values["scan"]:
        raise ConfigError(f"scan:={values['scan']}: with obstacles:=points no scans are read: leave out one of the two")
    if values["points"] and not points and "scan" in used:
        raise ConfigError(f"points:={values['points']}: {bag} has scans too, which are read: give obstacles:=points")


def _not_for_ros2bag(bag: Path, used: Mapping[str, str], obstacles: str) -> str:
    """Return why `ros2 bag play` cannot give the stack what it needs, "" when it can."""
    if not (bag.is_dir() and (bag / "metadata.yaml").is_file()) and bag.suffix not in (".mcap", ".db3"):
        return f"{bag} is no rosbag2 recording"
    if "odometry" not in used:
        return "the pose comes from transforms, and the stack reads odometry"
    if obstacles == "scan" and "scan" not in used:
        return "there are no scans, and the stack reads them"
    return ""


def _ros2bag(
    bag: Path, used: Mapping[str, str], compressed: bool, info: Channel | None, options: StackOptions
) -> list[str]:
    t, names = topics(), dict[str, str]()
    image = f"{t.image}/compressed" if compressed else t.image
    for kind, own in (("odometry", t.odom), ("scan", t.scan), ("cloud", t.points), ("image", image)):
        if kind in used:
            names[used[kind]] = f"{options.namespace}/{own}"
    if info is not None:
        names[info.topic] = f"{options.namespace}/{t.camera_info}"
    names |= {topic: f"{options.namespace}{topic}" for topic in ("/tf", "/tf_static")}
    remaps = [f"{old}:={new}" for old, new in names.items() if old != new]
    return [
        "ros2",
        "bag",
        "play",
        str(bag),
        "--clock",
        "100",
        *(["--remap", *remaps] if remaps else []),
        "--topics",
        *names,
    ]


def _recorded(options: StackOptions) -> list[str]:
    """Return the topics of the stack and what it is played, by their full names."""
    own = vars(topics())
    names = [REPLAYED_COMMAND if name == own["cmd_vel"] else name for key, name in own.items() if key != "navigate_to"]
    names += ["tf", "tf_static"]
    return [name if name.startswith("/") else f"{options.namespace}/{name}" for name in names]
