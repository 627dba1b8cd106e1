"""A replay as a recording for the Rerun viewer (https://rerun.io)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import BagError, ConfigError
from mm_nav.observation import CameraImage
from mm_nav.replay.changes import Changes, stops
from mm_nav.replay.drawing import encode_jpeg, reduced_size, relative_heat
from mm_nav.replay.outputs_mcap import SCORES, recorded
from mm_nav.replay.projection import as_pinhole
from mm_nav.replay.records import LATER_COLUMNS, ReplayStep
from mm_nav.robot import RobotConfig

TIMELINE = "message_time"
_ROBOT, _CAMERA = "world/robot", "world/robot/camera"
_PICTURE_PX = 320
_MAP_PERIOD_NS = 2_000_000_000
# The heat map is written as classes, which compress to little: 0 is clear, the last the hottest.
_HEAT_CLASSES = 16
_WHITE, _GREEN, _ORANGE, _CYAN, _RED, _GREY = (
    (255, 255, 255), (61, 220, 132), (255, 157, 46), (60, 230, 255), (255, 80, 30), (130, 130, 130),
)  # fmt: skip
# The policy's lines and the target fade to this share of their colour where they are improbable.
_FAINTEST = 0.25
_ABOVE_M = 0.02  # plans are drawn over the map's cells


class RerunOutputs:
    """Logs each step on the timeline message_time: the observation's stamp, as the recording has it.

    path: of the file, *.rrd. While it is written its name is *.partial.rrd, which stays readable when the process dies, up to some
    seconds before; it gets its own name when the replay has ended. Nothing is sent anywhere and no viewer is started. The library
    does not tell when the disk is full. Raises ConfigError when rerun-sdk is not installed, BagError when the file cannot
    be written.
    """

    def __init__(self, path: Path, robot: RobotConfig) -> None:
        if path.suffix != ".rrd":
            raise BagError(f"{path} does not end in .rrd: give the name of a file such as replay.rrd")
        try:
            import rerun
        except ImportError as error:
            raise ConfigError("writing .rrd files needs the Rerun SDK: pip install 'mm_nav[rerun]'") from error
        self.path, self.partial = path, path.with_suffix(".partial.rrd")
        self._rr: Any = rerun
        self._changes = Changes()
        self._stamps: list[int] = []
        self._driven: list[tuple[float, float, float]] = []
        self._camera: tuple[object, ...] | None = None
        self._map_ns: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.partial.write_bytes(b"")  # the library only warns of what it cannot write
        except OSError as error:
            raise BagError(f"{self.partial} cannot be written ({error.strerror}): give another path") from error
        self._recording: Any = rerun.RecordingStream("mm_nav_replay")
        self._recording.save(str(self.partial), default_blueprint=_blueprint())
        self._once(robot)

    def __enter__(self) -> RerunOutputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._driven:
            strip = self._rr.LineStrips3D([self._driven], colors=[_GREY], radii=[0.015])
            self._recording.log("world/recorded_drive", strip, static=True)
        self._recording.flush()
        self._recording.disconnect()
        if kind is None:
            os.replace(self.partial, self.path)

    def __call__(self, step: ReplayStep) -> None:
        """Log one step."""
        rr, pose = self._rr, step.observation.odometry.pose
        self._stamps.append(step.observation.stamp_ns)
        self._at(step.observation.stamp_ns)
        turn = rr.Quaternion(xyzw=[0.0, 0.0, math.sin(pose.yaw / 2), math.cos(pose.yaw / 2)])
        self._log(_ROBOT, rr.Transform3D(translation=[pose.x, pose.y, 0.0], rotation=turn))
        self._driven.append((pose.x, pose.y, 0.0))
        self._sensors(step)
        self._policy(step)
        self._line("world/plan", step.progress.path, _GREEN)
        self._line("world/foreseen", step.foreseen, _ORANGE)
        self._target(step)
        self._map(step)
        self._numbers(step)
        for change in self._changes(step):
            self._log(f"log/{change.source}", rr.TextLog(change.text, level=change.level))

    def later(self, columns: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Log what is known only after the last step, at the steps' times: LATER_COLUMNS, (steps,) each, as plots/errors."""
        for name in LATER_COLUMNS:
            for stamp, value in zip(self._stamps, columns.get(name, ()), strict=False):
                if math.isfinite(value):
                    self._at(stamp)
                    self._number(f"plots/errors/{name}", float(value))

    def _once(self, robot: RobotConfig) -> None:
        rr = self._rr
        self._recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        corners = robot.footprint_array()
        ring = np.concatenate([corners, corners[:1]])
        body = [_raised(ring, height) for height in (robot.ground_clearance_m, robot.height_m)]
        self._recording.log(f"{_ROBOT}/body", rr.LineStrips3D(body, colors=[_WHITE], radii=[0.01]), static=True)
        shades = cv2.applyColorMap(np.linspace(0, 255, _HEAT_CLASSES).astype(np.uint8), cv2.COLORMAP_INFERNO)[
            :, 0, ::-1
        ]
        classes = [
            rr.AnnotationInfo(id=k, color=(*(int(v) for v in shade), round(170 * k / (_HEAT_CLASSES - 1))))
            for k, shade in enumerate(shades)
        ]
        self._recording.log(f"{_CAMERA}/heat", rr.AnnotationContext(classes), static=True)
        for group, names in _PLOTS.items():
            for name, colour in names.items():
                self._recording.log(f"plots/{group}/{name}", rr.SeriesLines(colors=[colour], names=[name]), static=True)

    def _sensors(self, step: ReplayStep) -> None:
        rr, scan, image = self._rr, step.observation.scan, step.observation.image
        if scan is not None:
            points = _raised(scan.points(), 0.1)
            self._log(f"{_ROBOT}/scan", rr.Points3D(points, colors=[_WHITE], radii=[0.02]))
        if image is None:
            for name in ("image", "heat"):
                self._clear(f"{_CAMERA}/{name}")
            return
        pinhole = as_pinhole(image)
        size = reduced_size(image, _PICTURE_PX)
        self._place_camera(pinhole, size)
        small = cv2.resize(pinhole.rgb, size, interpolation=cv2.INTER_AREA)
        jpeg = encode_jpeg(np.asarray(small, np.uint8))
        self._log(f"{_CAMERA}/image", rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))
        heat = None if step.output is None else relative_heat(step.output, size)
        if heat is None or step.output is None:
            self._clear(f"{_CAMERA}/heat")
        else:
            warmth = heat * float(np.clip(step.output.visible, 0.0, 1.0))
            classes = np.round(warmth * (_HEAT_CLASSES - 1)).astype(np.uint8)
            self._log(f"{_CAMERA}/heat", rr.SegmentationImage(classes))

    def _place_camera(self, image: CameraImage, size: tuple[int, int]) -> None:
        key = (image.intrinsics.tobytes(), image.base_T_camera.tobytes(), size)
        if key == self._camera:
            return
        self._camera = key
        rr, mount = self._rr, np.asarray(image.base_T_camera, np.float64)
        height, width = image.rgb.shape[:2]
        scale = np.diag([size[0] / width, size[1] / height, 1.0])
        self._log(_CAMERA, rr.Transform3D(translation=mount[:3, 3], mat3x3=mount[:3, :3]))
        self._log(
            _CAMERA,
            rr.Pinhole(
                image_from_camera=scale @ image.intrinsics, resolution=size, camera_xyz=rr.ViewCoordinates.RDF,
                image_plane_distance=0.5,
            ),
        )  # fmt: skip

    def _policy(self, step: ReplayStep) -> None:
        output, entity = step.output, f"{_ROBOT}/waypoints"
        if output is None:
            return self._clear(entity)
        weights = output.waypoint_probs / max(float(output.waypoint_probs.max(initial=0.0)), 1e-6)
        start = np.zeros((1, 2))
        ways = [_raised(np.concatenate([start, way]), _ABOVE_M) for way in output.waypoints]
        colours = [_faded(_CYAN, float(weight)) for weight in weights]
        self._log(entity, self._rr.LineStrips3D(ways, colors=colours, radii=[0.02]))

    def _target(self, step: ReplayStep) -> None:
        target, confidence = step.progress.target, step.progress.confidence
        if target is None or not math.isfinite(target.x + target.y):
            return self._clear("world/target")
        colour = _faded(_RED, confidence)
        label = f"{confidence:.2f}"
        points = self._rr.Points3D([[target.x, target.y, 0.4]], colors=[colour], radii=[0.17], labels=[label])
        self._log("world/target", points)

    def _map(self, step: ReplayStep) -> None:
        stamp = step.observation.stamp_ns
        if self._map_ns is not None and 0 <= stamp - self._map_ns < _MAP_PERIOD_NS:
            return
        self._map_ns = stamp
        grid = step.grid.export()
        rows, columns = np.nonzero(grid.data == 100)
        cells = (np.stack([columns, rows], axis=1) + 0.5) * grid.resolution + grid.origin
        self._log("world/map", self._rr.Points3D(_raised(cells, 0.0), colors=[_GREY], radii=[grid.resolution / 2]))

    def _numbers(self, step: ReplayStep) -> None:
        twists = {"wanted": step.command.twist, "after_guard": step.guarded.twist, "recorded": recorded(step)}
        for name, twist in twists.items():
            self._number(f"plots/speed/{name}", twist.linear)
            self._number(f"plots/turning/{name}", twist.angular)
        self._number("plots/guard/stops_stack", float(stops(step.guarded)))
        self._number("plots/guard/stops_recorded", float(stops(step.recorded)))
        for name in SCORES:
            group = "latency" if name.endswith("_ms") else "distances" if name.endswith("_m") else "scores"
            self._number(f"plots/{group}/{name}", step.live.get(name, math.nan))

    def _line(self, entity: str, points: npt.NDArray[np.floating], colour: tuple[int, int, int]) -> None:
        known = points[np.isfinite(points).all(axis=1)]
        if len(known) < 2:
            return self._clear(entity)
        strip = self._rr.LineStrips3D([_raised(known[:, :2], _ABOVE_M)], colors=[colour], radii=[0.025])
        self._log(entity, strip)

    def _number(self, entity: str, value: float) -> None:
        if math.isfinite(value):
            self._log(entity, self._rr.Scalars([value]))

    def _clear(self, entity: str) -> None:
        self._log(entity, self._rr.Clear(recursive=False))

    def _log(self, entity: str, what: Any) -> None:
        self._recording.log(entity, what)

    def _at(self, stamp_ns: int) -> None:
        self._recording.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))


_TWISTS = {"wanted": _GREEN, "after_guard": _ORANGE, "recorded": _GREY}
_PLOTS: dict[str, dict[str, tuple[int, int, int]]] = {
    "speed": _TWISTS,
    "turning": _TWISTS,
    "guard": {"stops_stack": _RED, "stops_recorded": _GREY},
}


def _blueprint() -> Any:
    """Return what the viewer shows at first: the world and the log, the camera and the plots."""
    import rerun.blueprint as rrb

    plots = (
        ("Speed, m/s", "speed"), ("Turning, rad/s", "turning"), ("Beliefs and strangeness", "scores"),
        ("Away from the recorded drive", "errors"), ("Guard stops", "guard"), ("Latency, ms", "latency"),
        ("Distances, m", "distances"),
    )  # fmt: skip
    series = {name: rrb.TimeSeriesView(origin=f"plots/{name}", name=title) for title, name in plots}
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial3DView(origin="world", name="World"),
                rrb.TextLogView(origin="log", name="Stages and guard"),
                row_shares=[3, 1],
            ),
            rrb.Vertical(
                rrb.Spatial2DView(origin=_CAMERA, name="Where the policy looks"),
                series["speed"],
                series["turning"],
                rrb.Tabs(*(series[name] for name in ("scores", "errors", "guard", "latency", "distances"))),
                row_shares=[2, 1, 1, 1],
            ),
            column_shares=[3, 2],
        ),
        rrb.TimePanel(state="collapsed"),
    )


def _raised(points: npt.NDArray[Any], height: float) -> npt.NDArray[np.float64]:
    """Return points (N, 2) at a height: (N, 3)."""
    return np.concatenate([np.asarray(points, np.float64), np.full((len(points), 1), height)], axis=1)


def _faded(colour: tuple[int, int, int], share: float) -> tuple[int, int, int, int]:
    return (*colour, round(255 * (_FAINTEST + (1 - _FAINTEST) * min(1.0, max(0.0, share)))))
