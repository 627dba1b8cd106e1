"""Gazebo, its ROS bridge and the stack: `ros2 launch mm_nav gazebo.launch.py`. Needs ros_gz_sim and ros_gz_bridge."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription
from mm_nav.resources import resource_path
from mm_nav.ros.node_list import STACK
from mm_nav.ros.transports import VARIABLE, transport_profile
from mm_nav.sim.committed_worlds import committed_world

APARTMENT = resource_path("worlds/apartment.sdf")
START = committed_world(APARTMENT).start


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    arguments = [
        DeclareLaunchArgument("world", default_value=str(APARTMENT), description="SDF world file for Gazebo"),
        DeclareLaunchArgument("x", default_value=str(START.x), description="start position, m"),
        DeclareLaunchArgument("y", default_value=str(START.y), description="start position, m"),
        DeclareLaunchArgument("yaw", default_value=str(START.yaw), description="start heading, rad"),
        DeclareLaunchArgument(
            "headless", default_value="false", description="true: Gazebo's server without its window"
        ),
        DeclareLaunchArgument("model", default_value="", description="ONNX policy; empty = the one of mm_nav"),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="profile of config/edge that the inference node runs by; empty = none",
        ),
        DeclareLaunchArgument("provider", default_value="auto", description="auto, tensorrt, cuda or cpu"),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn or error"),
    ]
    flags = PythonExpression(["'-r -s ' if '", LaunchConfiguration("headless"), "' == 'true' else '-r '"])
    gazebo = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("ros_gz_sim"), "launch", "gz_sim.launch.py"])
        ),
        launch_arguments={"gz_args": [flags, LaunchConfiguration("world")], "on_exit_shutdown": "true"}.items(),
    )
    spawn = Node(
        package="ros_gz_sim",
        executable="create",
        output="screen",
        arguments=["-file", str(resource_path("config/robot.sdf")), "-name", "mm_nav_robot", "-z", "0.05",
                   "-x", LaunchConfiguration("x"), "-y", LaunchConfiguration("y"), "-Y", LaunchConfiguration("yaw")],
    )  # fmt: skip
    bridge = Node(
        package="ros_gz_bridge",
        executable="parameter_bridge",
        output="screen",
        parameters=[{"config_file": str(resource_path("config/bridge.yaml")), "use_sim_time": True}],
    )
    mounts = [
        Node(
            package="tf2_ros",
            executable="static_transform_publisher",
            name=f"{child}_mount",
            arguments=[*values, "--frame-id", "base_link", "--child-frame-id", child],
            parameters=[{"use_sim_time": True}],
        )
        for child, values in (
            ("base_scan", ["--z", "0.20"]),
            ("camera_optical_frame", ["--x", "0.12", "--z", "0.32", "--roll", "-1.5707963", "--yaw", "-1.5707963"]),
        )
    ]
    extra = {
        "inference": {name: LaunchConfiguration(name) for name in ("model", "provider", "device")},
        "navigator": {"model": LaunchConfiguration("model")},
    }
    stack = [
        Node(
            package="mm_nav",
            executable=spec.executable,
            name=spec.name,
            output="screen",
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            parameters=[str(resource_path(spec.parameters)), {"use_sim_time": True, **extra.get(spec.name, {})}],
        )
        for spec in STACK
    ]
    # The bridge's pictures need room in shared memory, too.
    transports = SetEnvironmentVariable(VARIABLE, transport_profile())
    return LaunchDescription([*arguments, transports, gazebo, spawn, bridge, *mounts, *stack])
