"""The embedded simulator and the stack: `ros2 launch mm_nav sim.launch.py`."""

from launch.actions import DeclareLaunchArgument, EmitEvent, RegisterEventHandler, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription
from mm_nav.resources import resource_path
from mm_nav.ros.node_list import EMBEDDED, SIMULATOR
from mm_nav.ros.process_group import ENVIRONMENT
from mm_nav.sim.committed_worlds import committed_world

START = committed_world(resource_path("worlds/apartment.sdf")).start


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    arguments = [
        DeclareLaunchArgument("world", default_value="", description="SDF world file; empty = the apartment of mm_nav"),
        DeclareLaunchArgument("x", default_value=str(START.x), description="start position, m"),
        DeclareLaunchArgument("y", default_value=str(START.y), description="start position, m"),
        DeclareLaunchArgument("yaw", default_value=str(START.yaw), description="start heading, rad"),
        DeclareLaunchArgument("model", default_value="", description="ONNX policy; empty = the one of mm_nav"),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="profile of config/edge that the inference node runs by; empty = none",
        ),
        DeclareLaunchArgument("provider", default_value="auto", description="auto, tensorrt, cuda or cpu"),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of all nodes and topics"),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn or error"),
        DeclareLaunchArgument("stack", default_value="true", description="false: only the simulator"),
    ]
    extra = {
        "simulator": {
            "world": LaunchConfiguration("world"),
            **{f"start_{axis}": LaunchConfiguration(axis) for axis in ("x", "y", "yaw")},
        },
        "inference": {name: LaunchConfiguration(name) for name in ("model", "provider", "device")},
        "navigator": {"model": LaunchConfiguration("model")},
    }
    nodes = [
        Node(
            package="mm_nav",
            executable=spec.executable,
            name=spec.name,
            namespace=LaunchConfiguration("namespace"),
            output="screen",
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            parameters=[
                str(resource_path(spec.parameters)),
                {"use_sim_time": spec is not SIMULATOR, **extra.get(spec.name, {})},
            ],
            condition=None if spec is SIMULATOR else IfCondition(LaunchConfiguration("stack")),
        )
        for spec in EMBEDDED
    ]
    environment = [SetEnvironmentVariable(name, value) for name, value in ENVIRONMENT.items()]
    # One dead process ends all: half a stack must not drive a robot.
    ends = [
        RegisterEventHandler(
            OnProcessExit(target_action=node, on_exit=EmitEvent(event=Shutdown(reason="a node ended")))
        )
        for node in nodes
    ]
    return LaunchDescription([*arguments, *environment, *nodes, *ends])
