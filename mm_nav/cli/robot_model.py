"""`mm-nav robot model`: a robot's links, joints and sensors, and its files for Gazebo and robot_state_publisher."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import add_json_option, refuse_options, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from mm_nav.sim.robot_body import RobotBody
    from mm_nav.sim.simulator import SimConfig

NAME = "model"
HELP = "show a robot's links, joints and sensors; write its Gazebo model, URDF and bridge file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Show what a preset of config/robots, or a robot's own YAML file, is made of, and write it for other programs: as a\n"
        "Gazebo model (SDF), as a URDF for robot_state_publisher, and as the configuration of ros_gz_bridge.\n"
        "The files go to where they are asked for; '-' is the terminal."
    )
    parser.epilog = (
        "Example: mm-nav robot model jackal --sdf out/jackal.sdf --urdf out/jackal.urdf --bridge out/bridge.yaml\n"
        "         mm-nav robot model my_robot.yaml --sdf out/alpha.sdf --namespace alpha --gazebo fortress"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("robot", metavar="ROBOT", help="name in config/robots, or a YAML file")
    parser.add_argument("--sdf", metavar="FILE", help="write the Gazebo model")
    parser.add_argument("--urdf", metavar="FILE", help="write the URDF")
    parser.add_argument("--bridge", metavar="FILE", help="write the configuration of ros_gz_bridge (needs rclpy)")
    parser.add_argument(
        "--namespace", default="", metavar="NS", help="namespace of the topics of --sdf and --bridge (default: none)"
    )
    parser.add_argument(
        "--gazebo", choices=("harmonic", "fortress"), help="release to write --sdf for (default: harmonic)"
    )
    parser.add_argument("--index", type=int, metavar="N", help="which robot of a world --sdf is, 0 to 15 (default: 0)")
    add_json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Write and show."""
    from mm_nav.sim.rig import load_rig
    from mm_nav.sim.robot_body import robot_body
    from mm_nav.sim.robot_model import not_in_gazebo, robot_sdf, robot_urdf

    if not args.sdf:
        refuse_options(args, "gazebo index", "is of the Gazebo model: give --sdf FILE too")
        if not args.bridge:
            refuse_options(
                args, "namespace", "is of the Gazebo model and the bridge: give --sdf FILE or --bridge FILE too"
            )
    files = [file for file in (args.sdf, args.urdf, args.bridge) if file]
    if len(set(files)) < len(files):
        raise ConfigError("two of --sdf, --urdf and --bridge are one file: give each its own")
    rig = load_rig(args.robot)
    body, missing = robot_body(rig), not_in_gazebo(rig)
    texts = {}
    # All is made before anything is written: a wrong argument leaves no half of the files.
    if args.sdf:
        texts[args.sdf] = robot_sdf(rig, args.namespace, gazebo=args.gazebo or "harmonic", index=args.index or 0)
    if args.urdf:
        texts[args.urdf] = robot_urdf(rig)
    if args.bridge:
        texts[args.bridge] = _bridge(rig, args.namespace)
    for file, text in texts.items():
        if file == "-":
            print(text, end="")
        else:
            _write(Path(file), text)
    if "-" not in texts:
        _show(rig, body, missing)
        for file in texts:
            print(f"wrote {file}")
    if args.json:
        write_json(args.json, _as_dict(body, missing))
    return 0


def _bridge(rig: SimConfig, namespace: str) -> str:
    try:
        from mm_nav.ros.gazebo_bridge import bridge_entries, bridge_yaml
    except ImportError as error:
        raise ConfigError(
            f"--bridge needs rclpy ({error}): source a ROS 2 installation, or run make setup in a checkout"
        ) from error
    return bridge_yaml(bridge_entries(rig, namespace), rig.robot.name)


def _write(path: Path, text: str) -> None:
    require_writable(path)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _show(rig: SimConfig, body: RobotBody, missing: tuple[str, ...]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    robot = rig.robot
    # Names and poses are not to be cut, on a narrow terminal or in a pipe neither.
    console = Console(width=max(Console().width, 108), highlight=False)
    console.print(
        f"[bold]{body.name}[/]: {robot.drive} drive, up to {robot.max_linear:g} m/s and {robot.max_angular:g} rad/s, "
        f"{robot.height_m:g} m high, wheels of {2e3 * body.wheels.radius:.0f} mm, {body.wheels.separation:g} m apart"
    )
    links = Table(title="links and the joints that hold them", title_justify="left", box=box.SIMPLE, padding=(0, 1))
    for column in ("link", "joint", "parent", "x y z, m", "turned, rad"):
        links.add_column(column, no_wrap=True)
    links.add_column("kg", justify="right")
    for link in body.links:
        mass = f"{link.inertia.mass:.2f}" if link.inertia is not None else ""
        turned = _numbers(link.rpy) if any(link.rpy) else ""
        links.add_row(link.name, link.joint if link.parent else "", link.parent, _numbers(link.xyz), turned, mass)
    console.print(links)
    sensors = Table(title="sensors", title_justify="left", box=box.SIMPLE, padding=(0, 1))
    for column in ("name", "what", "topic", "frame", "Hz"):
        sensors.add_column(column, justify="right" if column == "Hz" else "left", no_wrap=column in ("topic", "frame"))
    for sensor in body.sensors:
        sensors.add_row(sensor.name, _what(sensor.config), sensor.topic, sensor.frame, f"{sensor.config.rate_hz:g}")
    console.print(sensors)
    if missing:
        console.print("only in the embedded simulator, not in Gazebo: " + "; ".join(missing))


def _what(config: Any) -> str:
    from mm_nav.sim.sensors import CameraConfig, CloudConfig, LidarConfig

    if isinstance(config, CameraConfig):
        return f"camera {config.width} x {config.height}, {config.horizontal_fov:g} rad wide"
    if isinstance(config, LidarConfig):
        return f"LiDAR, {config.beams} beams, {config.range_min:g} to {config.range_max:g} m"
    if isinstance(config, CloudConfig):
        return f"LiDAR, {config.rings} rings of {config.columns}, {config.range_min:g} to {config.range_max:g} m"
    return "IMU"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _as_dict(body: RobotBody, missing: tuple[str, ...]) -> dict[str, Any]:
    return {
        "robot": body.name,
        "links": [
            {"name": link.name, "parent": link.parent, "joint": link.joint if link.parent else "", "xyz": list(link.xyz),
             "rpy": list(link.rpy), "mass_kg": link.inertia.mass if link.inertia is not None else 0.0}
            for link in body.links
        ],
        "sensors": [
            {"name": sensor.name, "topic": sensor.topic, "frame": sensor.frame, "rate_hz": sensor.config.rate_hz}
            for sensor in body.sensors
        ],
        "not_in_gazebo": list(missing),
    }  # fmt: skip
