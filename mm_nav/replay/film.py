"""The film strip: some moments of a replay, small enough for a page."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.command import PolicyOutput
from mm_nav.observation import CameraImage
from mm_nav.replay.drawing import encode_jpeg, reduced_size
from mm_nav.replay.open_loop import scan_points
from mm_nav.replay.projection import as_pinhole, project_ground
from mm_nav.replay.records import FilmFrame, ReplayStep

Floats = npt.NDArray[np.float64]

_WIDTH_PX = 320
_QUALITY = 72
_PLAN_POINTS = 40


class FilmMaker:
    """Keeps frames, evenly over however long the recording turns out to be, and at most `most` of them.

    every_s: between two frames at first; doubled whenever there are too many.
    """

    def __init__(self, most: int = 240, every_s: float = 0.2) -> None:
        self._most, self._every_s = most, every_s
        self._due_s = 0.0
        self.frames: list[FilmFrame] = []

    def add(self, step: ReplayStep, time_s: float) -> None:
        """Take a step for the film, if its turn has come."""
        if time_s < self._due_s:
            return
        self._due_s = time_s + self._every_s
        self.frames.append(film_frame(step, time_s))
        if len(self.frames) > self._most:
            self.frames = self.frames[::2]
            self._every_s *= 2
            self._due_s = self.frames[-1].time_s + self._every_s


def film_frame(step: ReplayStep, time_s: float) -> FilmFrame:
    """Return a step as a frame."""
    observation, output, progress = step.observation, step.output, step.progress
    image, pose = observation.image, observation.odometry.pose
    # The heat map lies over the picture without its lens's distortion.
    image = None if image is None else as_pinhole(image)
    jpeg, size = (None, (0, 0)) if image is None else _small(image)
    waypoints, probs = np.empty((0, 0, 2)), np.empty(0)
    if output is not None:
        probs = output.waypoint_probs.astype(np.float64)
        waypoints = np.full(output.waypoints.shape, np.nan)
        if image is not None:
            waypoints = project_ground(output.waypoints, image, size)
    points = np.empty((0, 2)) if observation.scan is None else pose.transform(scan_points(observation.scan))
    target = None if progress.target is None else (progress.target.x, progress.target.y)
    recorded = observation.odometry.twist
    return FilmFrame(
        time_s=time_s,
        pose=pose,
        jpeg=jpeg,
        size=size,
        waypoints_px=waypoints,
        waypoint_probs=probs,
        heatmap=_heatmap(output),
        scan=points,
        plan=progress.path[:: -(-len(progress.path) // _PLAN_POINTS)] if len(progress.path) else np.empty((0, 2)),
        foreseen=step.foreseen[:, :2] if np.isfinite(step.foreseen).all() else np.empty((0, 2)),
        target=target,
        confidence=progress.confidence,
        visible=0.0 if output is None else output.visible,
        stage=step.command.stage.value,
        step_text=progress.step_text,
        wanted=(step.command.twist.linear, step.command.twist.angular),
        driven=(step.guarded.twist.linear, step.guarded.twist.angular),
        recorded=(recorded.linear, recorded.angular),
        guard=step.guarded.reason if step.guarded.limited else "",
    )


def _small(image: CameraImage) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as JPEG, and its width and height."""
    size = reduced_size(image, _WIDTH_PX)
    return encode_jpeg(np.asarray(cv2.resize(image.rgb, size, interpolation=cv2.INTER_AREA), np.uint8), _QUALITY), size


def _heatmap(output: PolicyOutput | None) -> Floats | None:
    """Return where the policy saw the target, 1 at most; None = it saw none."""
    if output is None or output.heatmap is None or output.visible < 0.2:
        return None
    heat = output.heatmap.astype(np.float64)
    return np.asarray(heat / max(float(heat.max()), 1e-9))
