"""`mm-nav calibrate BAG`: where the camera is relative to the LiDAR, from a recording of a board; and the board to print."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from mm_nav.cli.output import add_json_option, progress_bar, refuse_options, require_writable, write_json
from mm_nav.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mm_nav.calibration.board import Board
    from mm_nav.calibration.calibrate import Calibration
    from mm_nav.calibration.outcome import Outcome

NAME = "calibrate"
HELP = "find where the camera is relative to the LiDAR, from a recording of a board"
_OF_RECORDINGS = "image camera-info lidar use base-frame no-guess no-time-offset picture yaml urdf-snippet json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Find the camera's pose in the frame of a planar or 3D LiDAR from a short recording in which a printed board is held\n"
        "before both, still for a second in each of 15 places or more, tilted in all ways (docs/calibration.md).\n"
        "Exit status: 0 well determined, 1 some direction is not (the output says which views are missing), 2 wrong input."
    )
    parser.epilog = (
        "Example: mm-nav calibrate --print-board board.pdf --board 7x5 --square 0.08\n"
        "         mm-nav calibrate drive.mcap --board 7x5 --square 0.08 --picture out/calibration.png --yaml camera.yaml\n"
        "         mm-nav calibrate drive.mcap --charuco 8x6 --square 0.08 --marker 0.06 --urdf-snippet"
    )
    parser.add_argument(
        "bag", type=Path, nargs="?", metavar="BAG", help=".mcap, .db3 or .bag file, or a rosbag2 folder"
    )
    board = parser.add_argument_group("the board")
    kinds = board.add_mutually_exclusive_group()
    kinds.add_argument("--board", metavar="7x5", help="a chessboard of so many inner corners (default 7x5)")
    kinds.add_argument("--charuco", metavar="8x6", help="a ChArUco board of so many squares; a part in view is enough")
    board.add_argument("--square", type=float, metavar="M", default=0.08, help="side of a square, m (%(default)s)")
    board.add_argument(
        "--marker", type=float, metavar="M", help="side of a ChArUco marker, m (three quarters of a square)"
    )
    board.add_argument("--dictionary", metavar="NAME", help="of ChArUco markers (5X5_100)")
    board.add_argument(
        "--border", metavar="M[,M]", help="from the pattern to the board's edges, m, across and down as --board or --charuco "
        "counts; unknown = only what lies on the pattern is used",
    )  # fmt: skip
    board.add_argument("--print-board", type=Path, metavar="FILE", help="write the board as .pdf or .png, true to size")
    source = parser.add_argument_group("the recording")
    source.add_argument("--image", metavar="TOPIC", help="the camera's topic (found by type and name)")
    source.add_argument("--camera-info", metavar="TOPIC", help="its CameraInfo (the one beside it)")
    source.add_argument("--lidar", metavar="TOPIC", help="the LiDAR's topic, LaserScan or PointCloud2")
    source.add_argument(
        "--use", choices=("scan", "cloud"), help="which kind of LiDAR, where the recording has both (scan)"
    )
    source.add_argument("--base-frame", metavar="FRAME", help="the robot's base (base_link, or base_footprint)")
    source.add_argument("--no-guess", action="store_true", help="do not begin with what /tf_static says of the camera")
    source.add_argument("--no-time-offset", action="store_true", help="take the stamps of both to be of one clock")
    output = parser.add_argument_group("the result")
    output.add_argument("--picture", type=Path, metavar="FILE", help="scans over pictures, before and after (.png)")
    output.add_argument("--yaml", type=Path, metavar="FILE", help="lines for a robot's file in config/robots")
    output.add_argument("--urdf-snippet", action="store_true", help="print the joint to put into the robot's URDF")
    add_json_option(output)  # type: ignore[arg-type]


def run(args: argparse.Namespace) -> int:
    """Calibrate, or print a board; return 1 where something is poorly determined."""
    board = _board(args)
    if args.print_board is not None and args.bag is None:
        refuse_options(args, _OF_RECORDINGS, "is of a calibration: give a recording too, or leave it out")
    if args.print_board is not None:
        from mm_nav.calibration.printing import print_board

        require_writable(args.print_board)
        width, height = print_board(board, args.print_board)
        print(f"{args.print_board}: {1e3 * width:.0f} x {1e3 * height:.0f} mm; {board.described()}")
        if args.bag is None:
            return 0
    if args.bag is None:
        raise ConfigError("no recording is given: give a .mcap, .db3 or .bag file, or a folder (or --print-board FILE)")
    for path in (args.picture, args.yaml, args.json):
        require_writable(path)
    return _calibrate(args, board)


def _calibrate(args: argparse.Namespace, board: Board) -> int:
    from rich.console import Console

    from mm_nav.calibration.advice import advice_on, poor_directions
    from mm_nav.calibration.calibrate import CalibrationOptions, calibrate
    from mm_nav.calibration.outcome import as_dict, as_urdf, as_yaml, outcome_of

    options = CalibrationOptions(
        args.image, args.lidar, args.camera_info, args.use, args.base_frame, not args.no_guess, not args.no_time_offset
    )
    with progress_bar() as bar:
        task = bar.add_task("opening the recording", total=None)

        def progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of if of > 0 else None)

        calibration = calibrate(args.bag, board, options, progress)
    outcome = outcome_of(calibration)
    wanted, poor = advice_on(calibration, outcome), poor_directions(calibration)
    console = Console(soft_wrap=True, highlight=False)
    _print(console, calibration, outcome, poor, wanted)
    if args.picture:
        from mm_nav.calibration.picture import draw_calibration, save_picture

        save_picture(draw_calibration(calibration), args.picture)
        print(f"picture: {args.picture}")
    if args.yaml:
        from mm_nav.calibration.files import write_whole

        write_whole(args.yaml, as_yaml(calibration, outcome).encode())
        print(f"yaml: {args.yaml}")
    if args.json:
        write_json(args.json, as_dict(calibration, outcome, wanted) | {"poorly_determined": poor})
    if args.urdf_snippet:
        print(as_urdf(outcome), end="")
    return 1 if poor else 0


def _board(args: argparse.Namespace) -> Board:
    from mm_nav.calibration.board import Board, parse_size

    border = None
    if args.border is not None:
        try:
            values = [float(value) for value in args.border.split(",")]
        except ValueError as error:
            raise ConfigError(f"--border is '{args.border}': give metres, one or two such as 0.04,0.03") from error
        if len(values) not in (1, 2):
            raise ConfigError(f"--border is '{args.border}': give metres, one or two such as 0.04,0.03")
        border = values[0], values[-1]
    if args.charuco is not None:
        columns, rows = parse_size(args.charuco, "--charuco")
        marker = 0.75 * args.square if args.marker is None else args.marker
        dictionary = (args.dictionary or "5X5_100").upper().removeprefix("DICT_")
        return Board(columns, rows, args.square, marker, dictionary, border)
    refuse_options(args, "marker dictionary", "is of ChArUco boards: give --charuco 8x6 instead of --board")
    columns, rows = parse_size(args.board or "7x5", "--board")
    if columns < rows:
        # A chessboard looks the same lying and standing; the longer side is across.
        columns, rows, border = rows, columns, None if border is None else (border[1], border[0])
    return Board(columns + 1, rows + 1, args.square, border_m=border)


def _print(console: Console, calibration: Calibration, outcome: Outcome, poor: list[str], wanted: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from mm_nav.calibration.advice import offset_text
    from mm_nav.calibration.outcome import NAMES, as_command

    solution, body = calibration.solution, outcome.body
    used = int(solution.used.sum())
    console.print(
        f"{calibration.seen} of {calibration.pictures} pictures show the board; {used} of {calibration.views} views used "
        f"({calibration.still_views} still); LiDAR points are {1e3 * solution.rms_m:.1f} mm from the board (their own noise "
        f"{1e3 * solution.noise_m:.1f} mm)"
    )
    kind = "planar" if calibration.is_planar else "3D"
    title = f"the camera's body (x ahead) in {body.parent}, by the {kind} LiDAR '{calibration.lidar_frame}'"
    table = Table(title=escape(title), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for k, column in enumerate(("", "found", "± 1 sigma", "/tf_static", "off by")):
        table.add_column(column, justify="left" if k == 0 else "right", no_wrap=True)
    before = outcome.claimed_body
    for k, name in enumerate(NAMES):
        unit, factor, digits = ("cm", 100.0, 2) if k < 3 else ("deg", 180 / math.pi, 2)
        value = (*body.xyz, *body.rpy)[k]
        cells = [f"{name} ({unit})", f"{factor * value:.{digits}f}", f"{factor * body.deviation[k]:.{digits}f}", "", ""]
        if before is not None:
            claimed = (*before.xyz, *before.rpy)[k]
            off = claimed - value if k < 3 else (claimed - value + math.pi) % (2 * math.pi) - math.pi
            cells[3:] = [f"{factor * claimed:.{digits}f}", f"{factor * off:+.{digits}f}"]
        table.add_row(*cells)
    console.print(table)
    if before is not None:
        console.print(
            f"the recording's transforms are {100 * outcome.moved_m:.1f} cm and {math.degrees(outcome.turned_rad):.1f} "
            "degrees off"
        )
    else:
        console.print("the recording's transforms do not connect camera and LiDAR: nothing to compare with")
    console.print(escape(offset_text(calibration, outcome)))
    for text in poor:
        console.print(f"[yellow]poorly determined[/]: {escape(text)}")
    for text in wanted:
        console.print(f"[cyan]advice[/]: {escape(text)}")
    for text in calibration.warnings:
        console.print(f"[yellow]warning[/]: {escape(text)}")
    console.print(f"to use it: {escape(as_command(outcome))}")
