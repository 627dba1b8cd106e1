"""From a recording to the camera's pose in the LiDAR's frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.bags.items import Lens
from mm_nav.calibration.board import Board, find_corners
from mm_nav.calibration.board_pose import board_pose
from mm_nav.calibration.frames import Frames, optical_frame
from mm_nav.calibration.recording import CalibrationRecording, open_calibration
from mm_nav.calibration.search import FirstPose, first_pose
from mm_nav.calibration.solver import Constraint, Prior, Solution, solve
from mm_nav.calibration.track import BoardTrack, Detection
from mm_nav.calibration.views import View, contact_of, find_views
from mm_nav.errors import BagError, ConfigError

Matrix = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]

# Views that are needed at all, and from which on more would not help much: of a planar LiDAR and of a 3D one.
LEAST_VIEWS, ENOUGH_VIEWS = {True: 5, False: 3}, {True: 15, False: 8}
# How far LiDAR points may be off where the pose so far has the board (m), and by what slope turned: it gets better each time.
_GATES = ((0.20, 0.35), (0.10, 0.25), (0.06, 0.15), (0.05, 0.12))
_LEAST_PERIOD_S = 0.09
_MOST_PICTURES = 1500
# A standard deviation below which the offset between the clocks is told.
OFFSET_KNOWN_S = 0.008
# A board that is this much larger or smaller than it was said to be, beyond doubt, was measured wrongly.
_WRONG_SCALE, _DOUBT = 0.02, 4.0
_SCALES = (0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.4, 1.6)
_JPEG = 92
_CLAIMED_M, _CLAIMED_RAD = 0.1, float(np.radians(5.0))
# Corners that a wrong number of columns makes of a pattern do not lie as on a board.
_MOST_PX = 1.5


@dataclass(frozen=True)
class CalibrationOptions:
    """How a recording is read. image, lidar, camera_info: topics, None = found. kind: "scan", "cloud", None = a planar LiDAR
    where there is one. base: the robot's base frame, None = base_link or base_footprint. use_claimed: begin with what the
    recording's transforms say of the camera. offset: whether the clocks' offset is found too."""

    image: str | None = None
    lidar: str | None = None
    camera_info: str | None = None
    kind: str | None = None
    base: str | None = None
    use_claimed: bool = True
    offset: bool = True


@dataclass(frozen=True)
class Calibration:
    """What came of a recording.

    constraints: views and what the LiDAR saw of their boards. solution: the pose. claimed: (4, 4) lidar_T_camera of the
    recording's transforms; None = they do not connect the two. camera_frame, lidar_frame: names; frame_T_optical: (4, 4), of
    drivers that stamp pictures with the camera's body. base_frame, base_T_lidar: of the robot, None = not in the recording.
    pictures, seen: pictures looked at, and those with the board. views: rests, and sweeps of a moving board. thumbnails: JPEG of
    the pictures of `constraints`. warnings: what had to be assumed.
    """

    path: Path
    board: Board
    lens: Lens
    constraints: tuple[Constraint, ...]
    solution: Solution
    claimed: Matrix | None
    camera_frame: str
    lidar_frame: str
    frame_T_optical: Matrix
    frames: Frames
    base_frame: str | None
    base_T_lidar: Matrix | None
    image_topic: str
    lidar_topic: str
    pictures: int
    seen: int
    views: int
    thumbnails: tuple[bytes, ...]
    warnings: tuple[str, ...]

    @property
    def is_planar(self) -> bool:
        """Whether the LiDAR is a planar one."""
        return self.constraints[0].view.sweeps[0].is_planar

    @property
    def still_views(self) -> int:
        """Number of views used in which nothing moved."""
        return sum(c.view.still for c, used in zip(self.constraints, self.solution.used, strict=True) if used)


def calibrate(
    path: Path, board: Board, options: CalibrationOptions | None = None,
    progress: Progress = lambda what, done, of: None,
) -> Calibration:  # fmt: skip
    """Return where the camera is, from a recording in which the board stands before camera and LiDAR in several ways.

    progress: gets what is being done, and how much of how much. Raises BagError for a recording that cannot be read, lacks a
    sensor, shows no board or too few views of it, and ConfigError for a board that was measured wrongly.
    """
    options = options or CalibrationOptions()
    recording = open_calibration(path, options.image, options.lidar, options.camera_info, options.kind)
    try:
        return _calibrated(recording, board, options, progress)
    finally:
        recording.close()


def _calibrated(
    recording: CalibrationRecording, board: Board, options: CalibrationOptions, progress: Progress
) -> Calibration:
    detections, thumbnails, lens, looked = _detections(recording, board, progress)
    if len(detections) < 2:
        raise BagError(
            f"{recording.path}: none of {looked} pictures on {recording.image_topic} shows the board ({board.described()}) well "
            "enough: check its size (--board counts inner corners, --charuco squares), its light and focus, and come nearer"
            if not detections
            else f"{recording.path}: only one picture shows the board: record it longer, in 15 places or more"
        )
    track = BoardTrack(detections, board)
    progress("looking for the board in the scans", 0, 3)
    views = find_views(track, recording.sweeps, lens)
    planar = recording.sweeps[0].is_planar
    least = LEAST_VIEWS[planar]
    if len(views) < least:
        raise BagError(
            f"{recording.path}: the board was seen by the camera in {len(detections)} pictures, but that is {len(views)} views "
            f"(at least {least} are needed, {ENOUGH_VIEWS[planar]} are good): hold it still for a second in each of many places"
        )
    camera, lidar = recording.image_frame, recording.lidar_frame
    found = recording.frames.lookup(lidar, camera)
    frame_T_optical = np.eye(4) if found is None else optical_frame(found, camera)
    claimed = None if found is None else found @ frame_T_optical
    start = first_pose(views, board, claimed if options.use_claimed else None)
    progress("finding the camera's pose", 1, 3)
    if start.matched.sum() < least:
        _look_for_wrong_size(views, board, start)
        raise BagError(
            f"{recording.path}: {recording.lidar_topic} shows the board in {int(start.matched.sum())} of {len(views)} views "
            f"only (at least {least} are needed): hold it so that the LiDAR's beams meet it, free of walls and of who holds it"
        )
    # What somebody measured or drew is rarely farther off; it stands for what the views leave open.
    known = claimed is not None and options.use_claimed and not _far_apart(claimed, start.lidar_T_camera)
    prior = Prior(claimed, _CLAIMED_M, _CLAIMED_RAD) if known and claimed is not None else Prior(start.lidar_T_camera)
    solution, constraints = _solved(views, board, track, start, prior, options.offset, least, recording)
    progress("finding the camera's pose", 2, 3)
    _look_at_scale(constraints, track, solution, board, prior)
    warnings = list(dict.fromkeys(recording.warnings))
    base = recording.frames.base_of(lidar, options.base)
    if options.base is not None and base is None:
        raise ConfigError(
            f"frame '{options.base}' is not above the LiDAR's '{lidar}' in the recording's transforms "
            f"({' > '.join(reversed(recording.frames.above(lidar)))}): give one of these with --base-frame"
        )
    return Calibration(
        recording.path, board, lens, tuple(constraints), solution, claimed, camera, lidar, frame_T_optical,
        recording.frames, base, None if base is None else recording.frames.lookup(base, lidar), recording.image_topic,
        recording.lidar_topic, looked, len(detections), len(views),
        tuple(thumbnails[c.view.detection] for c in constraints), tuple(warnings),
    )  # fmt: skip


def _detections(
    recording: CalibrationRecording, board: Board, progress: Progress
) -> tuple[list[Detection], list[bytes], Lens, int]:
    """Return the board in each picture, these pictures as JPEG, the lens, and how many pictures were looked at."""
    period = _LEAST_PERIOD_S
    begin, end = recording.sweeps[0].time_s - 1.0, recording.sweeps[-1].time_s + 1.0
    period = max(period, (end - begin) / _MOST_PICTURES)
    last, looked, lens = -np.inf, 0, recording.lens
    found: list[tuple[Detection, bytes]] = []

    def wanted(time_s: float) -> bool:
        return begin <= time_s <= end and abs(time_s - last) >= period

    for k, picture in enumerate(recording.pictures(wanted)):
        progress("looking for the board in the pictures", k + 1, recording.picture_count)
        if picture is None:
            continue
        last, looked = picture.time_s, looked + 1
        lens = recording.lens.fitted(*picture.rgb.shape[:2])
        corners = find_corners(np.asarray(cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY), np.uint8), board)
        pose = None if corners is None else board_pose(corners, board, lens)
        if corners is not None and pose is not None and pose.rms_px < _MOST_PX * max(1.0, picture.rgb.shape[1] / 1280):
            _, data = cv2.imencode(".jpg", picture.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG])
            found.append((Detection(picture.time_s, corners, pose), bytes(data.tobytes())))
    found.sort(key=lambda pair: pair[0].time_s)
    return [d for d, _ in found], [data for _, data in found], lens, looked


def _solved(
    views: list[View], board: Board, track: BoardTrack, start: FirstPose, prior: Prior, offset: bool, least: int,
    recording: CalibrationRecording,
) -> tuple[Solution, list[Constraint]]:  # fmt: skip
    pose, offset_s = start.lidar_T_camera, 0.0
    solution, constraints = None, []
    for gate, slope in _GATES:
        constraints = [
            Constraint(view, contact)
            for view in views
            if (contact := contact_of(view, board, pose, gate, slope)) is not None
        ]
        if len(constraints) < least:
            _look_for_wrong_size(views, board, start)
            raise BagError(
                f"{recording.path}: of {len(views)} views the scan has the board, as straight as it should be, in "
                f"{len(constraints)} only (at least {least} are needed): hold it at the LiDAR's height, nearer, and free of walls"
            )
        solution = solve(
            constraints, track, pose, offset=offset and any(not c.view.still for c in constraints), start_s=offset_s,
            prior=prior,
        )  # fmt: skip
        pose, offset_s = solution.lidar_T_camera, solution.offset_s
    assert solution is not None
    if solution.used.sum() < least:
        raise BagError(
            f"{recording.path}: only {int(solution.used.sum())} views agree with each other (at least {least} are needed): record "
            "again, and hold the board still for a second in each place"
        )
    return solution, constraints


def _look_at_scale(
    constraints: list[Constraint], track: BoardTrack, solution: Solution, board: Board, prior: Prior
) -> None:
    """Raise ConfigError when the LiDAR says that the board has another size than was given."""
    kept = [c for c, used in zip(constraints, solution.used, strict=True) if used]
    sized = solve(
        kept, track, solution.lidar_T_camera, offset=False, scale=True, start_s=solution.offset_s, prior=prior,
    )  # fmt: skip
    off, doubt = sized.scale - 1.0, float(sized.deviation[7])
    if abs(off) > _WRONG_SCALE and abs(off) > _DOUBT * doubt:
        raise _wrong_size(board, sized.scale, doubt)


def _far_apart(one: Matrix, other: Matrix) -> bool:
    cosine = (np.trace(one[:3, :3].T @ other[:3, :3]) - 1) / 2
    return bool(np.linalg.norm(one[:3, 3] - other[:3, 3]) > 4 * _CLAIMED_M or cosine < np.cos(4 * _CLAIMED_RAD))


def _look_for_wrong_size(views: list[View], board: Board, start: FirstPose) -> None:
    """Raise ConfigError when the scans fit a board of another size much better."""
    best = 1.0, start.score
    for scale in _SCALES:
        scaled = [replace(v, pose=replace(v.pose, centre=v.pose.centre * scale)) for v in views]
        found = first_pose(
            scaled, replace(board, square_m=board.square_m * scale, marker_m=board.marker_m * scale), None
        )
        if found.score > best[1] + 0.2 and found.matched.mean() > 0.6:
            best = scale, found.score
    if best[0] != 1.0:
        raise _wrong_size(board, best[0], 0.1)


def _wrong_size(board: Board, scale: float, doubt: float) -> ConfigError:
    size, sure = 1e3 * board.square_m * scale, 1e3 * board.square_m * doubt
    return ConfigError(
        f"the LiDAR has the board {scale:.2f} times as far away as its squares of {1e3 * board.square_m:.1f} mm say: they are more "
        f"likely {size:.1f} mm (within {sure:.1f} mm). Measure ten squares and give a tenth as --square; if that is right, the "
        "camera_info is not"
    )
