"""What the arguments of a launch file mean. Whatever is wrong with them is told here, in one line, before anything starts."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mm_nav.config_file import absolute_name, read_yaml
from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.resources import resource_path
from mm_nav.robot import load_robot
from mm_nav.ros.launching.arguments import Values
from mm_nav.ros.namespaces import NAME_PART, robot_kinds, robot_names
from mm_nav.ros.node_list import STACK
from mm_nav.ros.topics import topics
from mm_nav.runtime.edge import load_edge_profile
from mm_nav.sim.starts import parse_starts

_TOPIC_NAME = re.compile(r"(~?/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
_ENCLAVE = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")
# Names of nodes in a file of parameters that stand for any.
_ANY = ("*", "**")


@dataclass(frozen=True)
class StackOptions:
    """How the nodes of one robot's stack are started.

    namespace: absolute, such as "/alpha"; "" = none. robot: a name in config/robots or the whole path of a YAML file. model,
    device, params_file: whole paths or names; "" = none was given, as with provider. use_sim_time: None = as files of parameters
    say. remappings: topics that have other names, (from, to). parameters: of nodes, (node, name, value). respawn: whether a node
    that died is started again, after respawn_delay_s; else its death ends everything. enclaves: path above the nodes' SROS2
    enclaves, "" = none. nav2: whether Nav2's actions are served too. rviz: whether a window opens.
    """

    namespace: str = ""
    robot: str = "generic"
    model: str = ""
    device: str = ""
    provider: str = ""
    params_file: str = ""
    log_level: str = "info"
    use_sim_time: bool | None = False
    respawn: bool = False
    respawn_delay_s: float = 1.0
    nav2: bool = False
    rviz: bool = False
    enclaves: str = ""
    remappings: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str, bool], ...] = ()

    @property
    def files(self) -> list[str]:
        """The file of parameters, where there is one."""
        return [self.params_file] if self.params_file else []

    @property
    def time(self) -> dict[str, bool]:
        """The parameter use_sim_time, where it is not for files to say."""
        return {} if self.use_sim_time is None else {"use_sim_time": self.use_sim_time}

    @property
    def tf_remappings(self) -> tuple[tuple[str, str], ...]:
        """A robot in a namespace has a TF tree of its own there."""
        return (("/tf", "tf"), ("/tf_static", "tf_static")) if self.namespace else ()


@dataclass(frozen=True)
class RobotEntry:
    """One robot of a world. name: "" where there is only one. start: None = none was given."""

    name: str
    robot: str
    start: Pose2D | None


def stack_options(
    values: Values, use_sim_time: bool | None, pushed: str = "", others: Collection[str] = ()
) -> StackOptions:
    """Return the options of a stack from the arguments of a launch file.

    pushed: namespace that an including launch file has pushed. others: names of nodes that the file starts beside the stack.
    Raises ConfigError for values that cannot be used, and where a file is missing.
    """
    delay = number(values, "respawn_delay", 0.0, 600.0)
    model = _file(values["model"], "model", "an ONNX file with its manifest beside it")
    if values["device"]:
        load_edge_profile(values["device"])
    params = _file(values["params_file"], "params_file", "a YAML file of ROS parameters")
    if params:
        check_params_file(Path(params), [*others, *(["nav2_bridge"] if yes(values, "nav2") else [])], values.given)
    return StackOptions(
        namespace=namespace_of(values["namespace"], pushed),
        robot=robot_of(values["robot"]) if "," not in values["robot"] else "generic",
        model=model,
        device=absolute_name(values["device"]),
        provider=values["provider"] if "provider" in values.given else "",
        params_file=params,
        log_level=values["log_level"],
        use_sim_time=use_sim_time,
        respawn=values["on_exit"] == "respawn",
        respawn_delay_s=delay,
        enclaves=_enclaves(values["enclaves"]),
        nav2=yes(values, "nav2"),
        rviz=yes(values, "rviz"),
        remappings=topic_remappings(values),
        parameters=tuple(_node_parameters(values)),
    )


def _node_parameters(values: Values) -> list[tuple[str, str, bool]]:
    own = {"twist_stamped": "guard", "compressed": "inference", "localization": "navigator"}
    found = [(node, name, yes(values, name)) for name, node in own.items() if name in values.given]
    return found + (obstacles_from(values["obstacles"]) if "obstacles" in values.given else [])


def obstacles_from(source: str) -> list[tuple[str, str, bool]]:
    """Return what the nodes must be told of where obstacles come from, "scan" or "points": (node, name, value)."""
    return [(spec.name, "points", source == "points") for spec in STACK]


def _enclaves(path: str) -> str:
    path = path.rstrip("/")
    if path and not _ENCLAVE.fullmatch(path):
        raise ConfigError(f"enclaves is '{path}': give a path such as /mm_nav, below which guard, inference … are")
    return path


def yes(values: Mapping[str, str], name: str) -> bool:
    """Return whether an argument is "true"."""
    return values[name] == "true"


def number(values: Mapping[str, str], name: str, low: float, high: float) -> float:
    """Return an argument that is a number between low and high. Raises ConfigError."""
    try:
        value = float(values[name])
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ConfigError(f"{name} is '{values[name]}': it must be a number between {low:g} and {high:g}")
    return value


def integer(values: Mapping[str, str], name: str, low: int, high: int) -> int:
    """Return an argument that is a whole number between low and high. Raises ConfigError."""
    value = number(values, name, low, high)
    if value != int(value):
        raise ConfigError(f"{name} is '{values[name]}': it must be a whole number between {low} and {high}")
    return int(value)


def namespace_of(name: str, pushed: str = "") -> str:
    """Return an absolute namespace without a slash at its end, "" for none. Raises ConfigError for what is no ROS name."""
    parts = [part for part in (f"{pushed}/{name}" if not name.startswith("/") else name).split("/") if part]
    for part in parts:
        if not NAME_PART.fullmatch(part):
            raise ConfigError(
                f"namespace '{name}' is no ROS name: use letters, digits and single '_', with a letter first, and '/' between names"
            )
    return "/" + "/".join(parts) if parts else ""


def robot_of(name: str) -> str:
    """Return a robot's name, or the whole path of its YAML file. Raises ConfigError when it cannot be read."""
    load_robot(name)
    return absolute_name(name)


def robot_entries(values: Mapping[str, str]) -> tuple[RobotEntry, ...]:
    """Return the robots of a world. Raises ConfigError for names, robots and starts that do not fit together."""
    names = robot_names(values["robots"]) or ("",)
    kinds = [robot_of(kind) for kind in robot_kinds(values["robot"], len(names))]
    starts: list[Pose2D | None] = [*parse_starts(values["start"])]
    if starts and len(starts) != len(names):
        count = f"{len(names)} robot{'s' if len(names) > 1 else ''}"
        raise ConfigError(f"start has {len(starts)} poses for {count}: give one for each, separated by ';'")
    return tuple(
        RobotEntry(name, kind, start)
        for name, kind, start in zip(names, kinds, starts or [None] * len(names), strict=True)
    )


def world_of(name: str) -> Path:
    """Return the world file of a name in worlds/ or a path. Raises ConfigError when there is none."""
    folder = resource_path("worlds")
    known = sorted(path.stem for path in folder.glob("*.sdf"))
    if not name or name in known:
        return folder / f"{name or 'apartment'}.sdf"
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    raise ConfigError(f"world '{name}' does not exist: give one of {', '.join(known)}, or the path of an SDF file")


def topic_remappings(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the remappings of topics that have other names than config/topics.yaml says. Raises ConfigError."""
    found = []
    for name in ("image", "camera_info", "scan", "points", "odom", "cmd_vel"):
        given = values.get(name, "")
        own = getattr(topics(), name)
        if not given or given == own:
            continue
        if not _TOPIC_NAME.fullmatch(given):
            raise ConfigError(
                f"{name} is '{given}', which is no topic's name: give one such as /camera/color/image_raw"
            )
        found.append((own, given))
        if name == "image":
            found.append((f"{own}/compressed", f"{given}/compressed"))
    if values.get("localization") == "true":
        # `map` is that of the localisation.
        found.append((topics().map, "navigator/map"))
    return tuple(found)


def check_params_file(path: Path, others: Collection[str] = (), given: Collection[str] = ()) -> None:
    """Raise ConfigError when a file of parameters is none, or has what would be of no use: ROS would say nothing.

    That is: nodes that are not started, and a robot that is no argument, for its model or its sensors' mounts come from there.
    others: nodes that are started beside the stack. given: names of the arguments that were given.
    """
    nodes = (*(spec.name for spec in STACK), *others)
    data = read_yaml(path, "config/guard.yaml")
    for name, values in data.items():
        inner = values if isinstance(values, dict) else {}
        # A namespace may be a key of its own, with the nodes below it.
        below = inner if inner and "ros__parameters" not in inner else {name: values}
        for node, found in below.items():
            if not isinstance(found, dict) or not isinstance(found.get("ros__parameters"), dict):
                raise ConfigError(f"{path}: {node} has no ros__parameters: compare it with config/guard.yaml")
            last = str(node).split("/")[-1]
            if last not in (*nodes, *_ANY):
                raise ConfigError(f"{path}: no node here is named {last}; nodes are {', '.join(nodes)}")
            for key in ("robot", "robots"):
                if found["ros__parameters"].get(key) and key not in given:
                    value = found["ros__parameters"][key]
                    raise ConfigError(f"{path}: {node} has a {key}, of which others must know too: give {key}:={value}")


def _file(name: str, what: str, wanted: str) -> str:
    if not name:
        return ""
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"{what} '{name}' does not exist: give {wanted}")
    return str(path.resolve())
