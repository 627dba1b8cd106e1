"""`mm-nav bench`: speeds measured here and now, as ratios to what people would use instead."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path
from typing import Any

from mm_nav.cli.output import add_json_option, progress_bar, refuse_options, require_writable, write_json
from mm_nav.errors import ConfigError

NAME = "bench"
HELP = "measure speeds on this machine"

_OTHERS = (
    "mujoco_frames_per_s", "ratio_mujoco", "mujoco_one_pass_frames_per_s", "ratio_mujoco_one_pass",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Measure how fast parts of the stack are on this machine, beside alternatives in the same run."
    parser.epilog = "Example: mm-nav bench sim --json out/bench_sim.json"
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    sim = actions.add_parser(
        "sim",
        help="the embedded simulator, beside MuJoCo's software renderer",
        description="Frames, rays and full environment steps per second and core. The same scene, poses and outputs (RGB + "
        "depth) are rendered by MuJoCo on software GL (EGL or OSMesa) in turn with ours, on the same core, one sample per "
        "pixel; ratios above 1 mean that ours is faster. MuJoCo is optional: pip install 'mm_nav[bench]'.",
        epilog="Example: mm-nav bench sim --seconds 2 --json out/bench_sim.json",
    )
    sim.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="time of each measurement in each of 5 rounds (default 1)",
    )
    sim.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the camera poses (default 0)")
    add_json_option(sim)
    latency = actions.add_parser(
        "latency",
        help="the networks, and from sensor stamp to wheel command over DDS",
        description="Network and preprocessing on one core; then a recorded drive is played to the real nodes, processes of their "
        "own, with a 640x480 camera at 30 Hz and a 360-beam scan at 10 Hz, and each command is timed. Beside them in the same run "
        "a network of ViNT's shape (needs PyTorch: pip install 'mm_nav[train]'); ratios above 1 mean that ours is faster.",
        epilog="Example: mm-nav bench latency --minutes 5 --json out/bench_latency.json",
    )
    latency.add_argument(
        "--seconds", type=float, default=4.0, metavar="S", help="time of each measurement on one core (default 4)"
    )
    latency.add_argument(
        "--minutes",
        type=float,
        default=5.0,
        metavar="M",
        help="time that the drive is played over DDS; 0 = not (default 5)",
    )
    latency.add_argument("--logs", type=Path, metavar="DIR", help="logs of the nodes (default: out/bench_latency)")
    add_json_option(latency)
    images = actions.add_parser(
        "images",
        help="pictures from one process to another",
        description="Pictures of 640x480 and 1280x720 are sent 30 times a second to another process: as a plain rclpy node gets "
        "them, the same with mm_nav's transport settings (config/fastdds.xml), and as mm_nav's nodes read them.",
        epilog="Example: mm-nav bench images --json out/bench_images.json",
    )
    images.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="time of each measurement (default 10)"
    )
    add_json_option(images)
    governor = actions.add_parser(
        "governor",
        help="whether the governor keeps the latency budget while the processor is loaded",
        description="A recorded drive is played to the real nodes at rest, then beside busy processes, then at rest again, each "
        "for as long; which level the inference node is on, and how long commands take, is noted for each part.",
        epilog="Example: mm-nav bench governor --seconds 60 --load 6 --json out/bench_governor.json",
    )
    governor.add_argument("--seconds", type=float, default=60.0, metavar="S", help="time of each part (default 60)")
    governor.add_argument("--load", type=int, default=6, metavar="N", help="busy processes (default 6)")
    governor.add_argument(
        "--deadline", type=float, default=66.0, metavar="MS", help="from a scan's arrival to its command (default 66)"
    )
    governor.add_argument(
        "--logs", type=Path, default=Path("out/bench_governor"), metavar="DIR", help="logs of the nodes"
    )
    add_json_option(governor)
    replay = actions.add_parser(
        "replay",
        help="reading recordings beside other readers, and evaluating a long one",
        description="Messages a second and MB a second of pictures, point clouds and scans that arrive as the stack's own types, "
        "beside the rosbags reader and mcap-ros2-support (pip install 'mm_nav[bench]') in the same run; ratios above 1 mean that "
        "ours is faster. Then a long drive with a camera and a LiDAR is evaluated as by `mm-nav replay`.",
        epilog="Example: mm-nav bench replay --json out/bench_replay.json",
    )
    replay.add_argument(
        "--minutes", type=float, default=10.0, metavar="M", help="length of the recording; 0 = none (default 10)"
    )
    add_json_option(replay)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark."""
    what = {"latency": _latency, "governor": _governor, "images": _images, "sim": _sim, "replay": _replay}
    return what[args.action](args)


def _latency(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mm_nav.evaluation.bench_latency import bench_networks, bench_preprocess, record_drive
    from mm_nav.evaluation.bench_sim import environment
    from mm_nav.resources import resource_path

    if not (0.05 <= args.seconds <= 600 and 0.0 <= args.minutes <= 600):
        raise ConfigError(f"--seconds is {args.seconds} and --minutes {args.minutes}: give 0.05 to 600, and 0 to 600")
    if args.minutes == 0.0:
        refuse_options(args, "logs", "is for the nodes, which --minutes 0 does not start: leave it out")
    require_writable(args.json)
    folder = resource_path("models")
    models = {path.stem: path for path in sorted(folder.glob("*.onnx"))}
    report: dict[str, Any] = {"environment": environment(), "seconds": args.seconds, "minutes": args.minutes}
    console = Console(stderr=True)
    with console.status("starting") as status, tempfile.TemporaryDirectory() as scratch:
        other: Path | None = Path(scratch) / "vint_like.onnx"
        try:
            from mm_nav.learning.vint_like import export_vint_like

            status.update("exporting a network of ViNT's shape")
            report["vint_like_parameters"] = export_vint_like(Path(scratch) / "vint_like.onnx")
        except ImportError as error:
            other, report["vint_like_missing"] = (
                None,
                f"no network to compare with ({error}): pip install 'mm_nav[train]'",
            )
        report |= bench_networks(models, other, args.seconds, lambda what: status.update(f"measuring {what}"))
        status.update("recording a drive")
        instruction, drive = record_drive(30.0 if args.minutes > 0.0 else 0.2)
        status.update("measuring the preprocessing")
        report |= bench_preprocess(drive[0], args.seconds)
    report["ratio_vint_like"] = report.get("ratio_vint_like_tiny")
    if args.minutes > 0.0:
        report |= _commands(instruction, drive, 60.0 * args.minutes, args.logs or Path("out/bench_latency"))
    if args.json:
        write_json(args.json, report)
    _show_latency(report, tuple(models), Console())
    return 0


def _commands(instruction: str, drive: Any, seconds: float, logs: Path) -> dict[str, Any]:
    bench_commands = _ros("bench_commands", ", or give --minutes 0").bench_commands
    with progress_bar() as bar:
        task = bar.add_task(f'playing "{instruction}"', total=seconds)
        found: dict[str, Any] = bench_commands(
            instruction, drive, seconds, logs, lambda done, of: bar.update(task, completed=done, total=of)
        )
    return found


def _ros(module: str, otherwise: str = "") -> Any:
    try:
        return importlib.import_module(f"mm_nav.ros.{module}")
    except ImportError as error:
        raise ConfigError(f"no ROS 2 is here ({error}): run `make setup`{otherwise}") from error


def _images(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    if not 0.5 <= args.seconds <= 600.0:
        raise ConfigError(f"--seconds is {args.seconds}: give 0.5 to 600")
    require_writable(args.json)
    bench = _ros("bench_images")
    with Console(stderr=True).status("starting") as status:
        report = bench.bench_images(args.seconds, lambda what: status.update(f"sending {what}"))
    if args.json:
        write_json(args.json, report)
    table = Table(title=f"pictures at {bench.HZ:.0f} Hz, for each", title_justify="left")
    for heading in ("size", "way", "came, /s", "CPU, ms", "latency, ms"):
        table.add_column(heading, justify="left" if heading in ("size", "way") else "right")
    for width, height in bench.SIZES:
        for way in bench.WAYS:
            values = [report[f"images_{way}_{width}x{height}_{key}"] for key in ("per_s", "cpu_ms", "latency_ms")]
            table.add_row(f"{width}x{height}", way, *("-" if value is None else f"{value:.1f}" for value in values))
    Console().print(table)
    return 0


def _replay(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mm_nav.bags.bench_decode import bench_decode
    from mm_nav.evaluation.bench_sim import environment
    from mm_nav.replay.bench import bench_evaluation

    if not 0.0 <= args.minutes <= 600.0:
        raise ConfigError(f"--minutes is {args.minutes}: give 0 to 600")
    require_writable(args.json)
    report: dict[str, Any] = {"environment": environment()}
    with Console(stderr=True).status("starting") as status:
        report |= bench_decode(progress=lambda what: status.update(f"reading {what}"))
        if args.minutes > 0:
            report |= bench_evaluation(args.minutes, lambda what, share: status.update(f"{what}: {100 * share:.0f} %"))
    if args.json:
        write_json(args.json, report)
    _show_replay(report, Console())
    return 0


def _show_replay(report: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table(title="from MCAP to the stack's types", title_justify="left")
    for heading in ("message", "messages/s", "MB/s", "times rosbags", "times mcap-ros2-support"):
        table.add_column(heading, justify="left" if heading == "message" else "right")
    for key in [name.removesuffix("_messages_per_s") for name in report if name.endswith("_messages_per_s")]:
        if f"ratio_vs_rosbags_{key}" in report:
            other = report.get(f"ratio_vs_mcap_ros2_{key}")
            table.add_row(
                key,
                f"{report[f'{key}_messages_per_s']:.0f}",
                f"{report[f'{key}_mb_per_s']:.0f}",
                f"{report[f'ratio_vs_rosbags_{key}']:.2f}",
                "-" if other is None else f"{other:.2f}",
            )
    console.print(table)
    if "mcap_ros2_missing" in report:
        console.print(report["mcap_ros2_missing"])
    if "realtime_factor" in report:
        console.print(
            f"{report['minutes']:.0f} minutes with a camera and a LiDAR: {report['realtime_factor']:.1f} times real time "
            f"({report['report_realtime_factor']:.1f} with a report's pictures), {report['rss_mb']:.0f} MB "
            f"({report['rss_growth_mb']:+.1f} MB since a tenth of it)"
        )


def _governor(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mm_nav.evaluation.bench_latency import record_drive
    from mm_nav.resources import resource_path

    if not (5.0 <= args.seconds <= 3600.0 and 1 <= args.load <= 256 and 1.0 <= args.deadline <= 1000.0):
        raise ConfigError("--seconds must be from 5 to 3600, --load from 1 to 256, and --deadline from 1 to 1000")
    require_writable(args.json)
    nodes = _ros("bench_commands")
    with Console(stderr=True).status("recording a drive"):
        instruction, drive = record_drive(30.0)
    settings = {
        "model": str(resource_path("models/small.onnx")),
        "light_model": str(resource_path("models/tiny.onnx")),
        "deadline_ms": args.deadline,
    }
    with progress_bar() as bar:
        task = bar.add_task(f'playing "{instruction}"', total=3.0 * args.seconds)
        report = nodes.bench_governor(
            instruction, drive, args.seconds, args.logs, settings, args.load,
            lambda done, of: bar.update(task, completed=done, total=of),
        )  # fmt: skip
    # Paths of this machine are nobody else's business.
    report |= {name: Path(str(report[name])).name for name in ("setting_model", "setting_light_model")}
    if args.json:
        write_json(args.json, report)
    _show_governor(report, Console())
    return 0


def _show_governor(report: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table(
        title=f"deadline {report['setting_deadline_ms']:.0f} ms, {report['load']} busy processes", title_justify="left"
    )
    late = f"later than {report['rest_deadline_ms']:.0f} ms"
    for heading in ("part", "levels", "p50, ms", "p99, ms", late, "commands"):
        table.add_column(heading, justify="left" if heading in ("part", "levels") else "right")
    for part in ("rest", "loaded", "after"):
        table.add_row(
            part,
            ", ".join(report[f"{part}_levels"]),
            *(f"{report[f'{part}_stamp_to_command_{p}_ms']:.1f}" for p in ("p50", "p99")),
            *(str(report[f"{part}_{name}"]) for name in ("deadline_misses", "commands")),
        )
    console.print(table)
    for key, what in (("down_s", "down under load"), ("up_s", "up at rest")):
        took = report[key]
        console.print(f"first step {what}: " + ("none" if took is None else f"after {took:.1f} s"))


def _show_latency(report: dict[str, Any], models: tuple[str, ...], console: Any) -> None:
    from rich.table import Table

    table = Table(title="one run of the network, ms: p50 (p99)", title_justify="left")
    for heading in ("model", "1 phrase, 1 core", "with rivals, 1 core", "1 phrase, 2 cores", "ViNT's shape takes"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name in models:
        cells = [
            f"{report[f'{name}{way}_p50_ms']:.2f} ({report[f'{name}{way}_p99_ms']:.2f})"
            for way in ("", "_rivals", "_2_threads")
        ]
        ratio = report.get(f"ratio_vint_like_{name}")
        table.add_row(name, *cells, "-" if ratio is None else f"{ratio:.2f} times as long")
    console.print(table)
    console.print(f"preprocessing: p50 {report['preprocess_p50_ms']:.2f} ms, p99 {report['preprocess_p99_ms']:.2f} ms")
    if "vint_like_missing" in report:
        console.print(report["vint_like_missing"])
    if "stamp_to_command_p50_ms" in report:
        console.print(
            f"sensor stamp to wheel command over DDS: p50 {report['stamp_to_command_p50_ms']:.1f} ms, p99 "
            f"{report['stamp_to_command_p99_ms']:.1f} ms, {report['deadline_misses']} of {report['commands']} later than "
            f"{report['deadline_ms']:.0f} ms; inference process {report['rss_mb']:.0f} MB ({report['rss_growth_mb']:+.1f} MB)"
        )


def _sim(args: argparse.Namespace) -> int:
    from rich.console import Console

    from mm_nav.evaluation.bench_sim import bench_sim

    if not 0.005 <= args.seconds <= 60:
        raise ConfigError(f"--seconds is {args.seconds}: it must be between 0.005 and 60")
    if args.seed < 0:
        raise ConfigError(f"--seed is {args.seed}: give 0 or above")
    require_writable(args.json)
    with Console(stderr=True).status("starting") as status:
        report = bench_sim(args.seconds, args.seed, lambda what: status.update(f"measuring {what}"))
    if args.json:
        write_json(args.json, report)
    _show(report, Console())
    return 0


def _show(report: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table(title="RGB + depth, one core", title_justify="left")
    for heading in ("picture", "frames/s", "rays/s", "MuJoCo", "ratio", "one pass", "ratio"):
        table.add_column(heading, justify="left" if heading == "picture" else "right")
    for key in [name.removeprefix("frames_per_s_") for name in report if name.startswith("frames_per_s_")]:
        others = [report[f"{name}_{key}"] for name in _OTHERS]
        table.add_row(
            key.removeprefix("shadows_") + (" shadows" if key.startswith("shadows_") else ""),
            f"{report[f'frames_per_s_{key}']:.0f}",
            f"{report[f'camera_rays_per_s_{key}'] / 1e6:.1f} M",
            *("-" if value is None else f"{value:.2f}" if i % 2 else f"{value:.0f}" for i, value in enumerate(others)),
        )
    console.print(table)
    if "mujoco_missing" in report:
        console.print(report["mujoco_missing"])
    else:
        console.print(
            f"MuJoCo {report['environment']['mujoco']} on {report['mujoco_gl']}, without multisampling: mujoco.Renderer, and its "
            "low-level calls that read colour and depth of one pass"
        )
    console.print(
        f"LiDAR: {report['scan_360_per_s']:.0f} scans of 360 beams/s, {report['cloud_16x1024_per_s']:.0f} clouds of "
        f"16 x 1024/s ({report['cloud_16x1024_rays_per_s'] / 1e6:.1f} M rays/s)"
    )
    console.print(
        f"full steps (96x72 RGB + depth, 360 beams, physics, contacts): {report['steps_per_s_1']:.0f}/s with one worker, "
        f"{report['steps_per_s_2']:.0f}/s with two ({report['scaling_2']:.2f} times)"
    )
