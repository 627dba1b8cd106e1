"""One robot's stack as launch entities: guard, inference and navigator, what brings them up, and what looks at them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_context import LaunchContext
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path
from mm_nav.ros import node_list
from mm_nav.ros.launching.arguments import Argument, Values, check_names, values_of
from mm_nav.ros.launching.bring_up import BringUp, ends_on_failure, ends_with
from mm_nav.ros.launching.options import StackOptions
from mm_nav.ros.node_list import NodeSpec
from mm_nav.ros.process_group import prepare_environment

# Processes that are asked to end get so long, then so long again, s.
PATIENCE = {"sigterm_timeout": "10", "sigkill_timeout": "5"}

Entities = list[Any]
Start = Callable[[Values, str], Sequence[Any]]


def launch_description(arguments: Sequence[Argument], start: Start, local: bool = False) -> LaunchDescription:
    """Return a launch file's description. start: gets the arguments' values and the namespace that an including file has pushed,
    and returns what is started. local: whether nothing of it is for other machines, unless the environment says otherwise.
    """

    given: dict[str, str] = {}

    def look(context: LaunchContext) -> None:
        # On the command line or by an including file: what is there before the defaults are.
        given.update(context.launch_configurations)

    def begin(context: LaunchContext) -> Sequence[Any]:
        check_names([text.partition(":=")[0] for text in context.argv if ":=" in text], arguments)
        for argument in arguments:
            if argument.name not in given:
                # To the next launch file that is included, a default of this one would look given.
                context.launch_configurations.pop(argument.name, None)
        prepare_environment(loopback=local)
        _tie_processes(context)
        return [ends_on_failure(), *start(values_of(given, arguments), given.get("ros_namespace", ""))]

    return LaunchDescription([OpaqueFunction(function=look), *map(declared, arguments), OpaqueFunction(function=begin)])


def declared(argument: Argument) -> DeclareLaunchArgument:
    """Return an argument's declaration."""
    return DeclareLaunchArgument(
        argument.name, default_value=argument.default, description=argument.text, choices=argument.choices or None
    )


def _tie_processes(context: LaunchContext) -> None:
    """Have the kernel end what is started when the launch itself is killed: Ctrl-C it handles itself, SIGTERM and SIGKILL not."""
    if not context.launch_configurations.get("launch-prefix") and shutil.which("setpriv"):
        context.launch_configurations["launch-prefix"] = "setpriv --pdeathsig TERM --"


def ros_node(package: str, executable: str, **arguments: Any) -> Node:
    """Return a node's action. Its lines in the log begin with the program's name, whatever prefix it is started with."""
    return Node(
        package=package, executable=executable, exec_name=executable, **{"output": "both", **PATIENCE, **arguments}
    )


def stack_node(spec: NodeSpec, options: StackOptions, **parameters: Any) -> Node:
    """Return a node of the stack. parameters: what was given, which goes before what files say."""
    namespace = options.namespace or "/"
    logger = ".".join([*options.namespace.strip("/").split("/"), spec.name]).lstrip(".")
    enclave = ["--enclave", f"{options.enclaves}/{spec.name}"] if options.enclaves else []
    files = [*([str(resource_path(spec.parameters))] if spec.parameters else []), *options.files]
    return ros_node(
        "mm_nav",
        spec.executable,
        name=spec.name,
        namespace=namespace,
        ros_arguments=["--log-level", f"{logger}:={options.log_level}", *enclave],
        parameters=[*files, {**options.time, **text_parameters(parameters)}],
        remappings=[*options.tf_remappings, *options.remappings],
        respawn=options.respawn,
        respawn_delay=options.respawn_delay_s,
    )


def stack(options: StackOptions, after: BringUp | None = None) -> tuple[Entities, BringUp]:
    """Return the entities of one robot's stack, and what brings its nodes up once `after` is up."""
    specs = [*node_list.STACK]
    if options.nav2:
        require_package("nav2_msgs", "nav2:=true", "nav2-msgs")
        specs.append(node_list.NAV2_BRIDGE)
    nodes = []
    for spec in specs:
        given = _given(options).get(spec.name, {})
        nodes.append((f"{options.namespace}/{spec.name}", stack_node(spec, options, autostart=False, **given)))
    sequence = BringUp(nodes, after, options.respawn_delay_s + 1.0 if options.respawn else 0.0)
    return [*sequence.entities(), *(node for _, node in nodes), *_rviz(options)], sequence


def _given(options: StackOptions) -> dict[str, dict[str, object]]:
    """Return what was given in arguments, by node, and the robot, which others know too; the rest is for the files to say."""
    found: dict[str, dict[str, object]] = {}

    def give(name: str, *nodes: str) -> None:
        if value := getattr(options, name):
            for node in nodes:
                found.setdefault(node, {})[name] = value

    give("robot", "guard", "inference", "navigator")
    give("model", "inference", "navigator")
    give("device", "inference")
    give("provider", "inference")
    for node, name, value in options.parameters:
        found.setdefault(node, {})[name] = value
    return found


def _rviz(options: StackOptions) -> list[Node]:
    if not options.rviz:
        return []
    require_package("rviz2", "rviz:=true")
    return [
        ros_node(
            "rviz2",
            "rviz2",
            namespace=options.namespace or "/",
            output="log",
            arguments=["-d", str(resource_path("config/mm_nav.rviz"))],
            parameters=[options.time] if options.time else [],
            # The localiser's map stays `map` there, beside the navigator's own.
            remappings=[*options.tf_remappings, *(rule for rule in options.remappings if rule[0] != "map")],
        )
    ]


def text_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of which texts stay texts: launch would make a number of "12", and nothing of ""."""
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def robot_description(urdf: str, options: StackOptions) -> Node:
    """Return robot_state_publisher with a URDF's text: it tells where the sensors sit."""
    require_package("robot_state_publisher", "the robot's description")
    return ros_node(
        "robot_state_publisher",
        "robot_state_publisher",
        name="robot_state_publisher",
        namespace=options.namespace or "/",
        parameters=[*options.files, {**text_parameters({"robot_description": urdf}), **options.time}],
        remappings=[*options.tf_remappings],
        respawn=options.respawn,
        respawn_delay=options.respawn_delay_s,
    )


def required(node: Any, what: str) -> list[Any]:
    """Return an action with what ends the launch when it ends. what: such as "Gazebo"."""
    return [ends_with(node, what), node]


def package_prefix(package: str) -> str:
    """Return where a ROS package is installed, "" where it is not."""
    try:
        return str(get_package_prefix(package))
    except (PackageNotFoundError, OSError):  # the latter where no ROS is sourced at all
        return ""


def require_package(package: str, wanted_by: str, debian: str = "") -> str:
    """Return where a ROS package is installed. Raises ConfigError that says how to install it."""
    prefix = package_prefix(package)
    if not prefix:
        distro = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        raise ConfigError(
            f"{wanted_by} needs the ROS package {package}, which is not installed: "
            f"sudo apt install ros-{distro}-{debian or package.replace('_', '-')}"
        )
    return prefix
